//! Reads every byte of a store that counts, and goes on behind what is damaged.
//!
//! Invariant: what another process changes meanwhile is not taken for damage: a topic that vanished was deleted, a
//! segment that vanished was retired, a batch that isn't whole yet is looked at again. The work goes down to `topic` and
//! `partition`.

use super::pace::Pace;
use super::site::{Site, TopicDir};
use super::{Progress, Verification, VerifyOptions, Whose, topic};
use crate::error::{Corruption, Damage, Error, Result};
use crate::format::TOPICS;
use crate::io::Seam;
use crate::store::{Store, missing_store, read_identity};

/// What one run carries through all topics.
pub(super) struct Verifier<'a> {
    pub(super) site: Site,
    pub(super) found: Verification,
    progress: Progress,
    report: &'a mut dyn FnMut(Progress),
    pace: Option<Pace>,
}

/// Reads everything: every topic, also one that refuses to open, its header, commits and histories, and every batch of
/// every segment. Names everything that is damaged and goes on behind it. Tells `progress` about every MiB.
///
/// # Errors
///
/// Only what keeps it from beginning: [`Error::Closed`], or an [`Error::Io`] or [`Error::Corrupt`] of the store's own
/// file or of the list of topics. Whatever is wrong below that is in the [`Verification`].
pub fn verify(store: &Store, progress: &mut dyn FnMut(Progress)) -> Result<Verification> {
    verify_with(store, VerifyOptions::new(), progress)
}

/// Verifies as [`verify`] does, at a limited rate if that is asked for: beside a store that is in use, in this process or
/// in another.
///
/// ```
/// use epochlog::{Store, inspect};
///
/// # let dir = tempfile::tempdir()?;
/// let store = Store::create(dir.path().join("data"))?;
/// let gently = inspect::VerifyOptions::new().bytes_per_second(50 << 20);
/// assert!(inspect::verify_with(&store, gently, &mut |_| {})?.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`verify`]; [`Error::InvalidOption`] for a rate of 0.
pub fn verify_with(store: &Store, options: VerifyOptions, progress: &mut dyn FnMut(Progress)) -> Result<Verification> {
    if options.bytes_per_second == Some(0) {
        let reason = "0 was given; allowed is at least 1".into();
        return Err(Error::InvalidOption { option: "bytes_per_second", reason });
    }
    verify_files(&store.seam()?, options, progress)
}

fn verify_files(seam: &Seam, options: VerifyOptions, report: &mut dyn FnMut(Progress)) -> Result<Verification> {
    let site = Site::find(seam)?;
    let dirs = site.topic_dirs()?;
    let total = total(dirs.iter().map(|dir| topic::segment_bytes(&site, dir)));
    let pace = options.bytes_per_second.map(|rate| Pace::new(seam, rate));
    let mut verifier =
        Verifier { site, found: Verification::default(), progress: Progress { bytes: 0, total }, report, pace };
    verifier.store_file();
    verifier.duplicates(&dirs);
    for dir in &dirs {
        topic::verify(&mut verifier, dir);
    }
    verifier.step(0);
    Ok(verifier.found)
}

/// The sum of lengths, which a file system may give as it likes.
pub(super) fn total(lengths: impl Iterator<Item = u64>) -> u64 {
    lengths.fold(0, u64::saturating_add)
}

impl Verifier<'_> {
    /// Counts bytes that were read and says so.
    pub(super) fn step(&mut self, bytes: u64) {
        self.progress.bytes = self.progress.bytes.saturating_add(bytes);
        self.progress.total = self.progress.total.max(self.progress.bytes);
        (self.report)(self.progress);
        if let Some(pace) = &mut self.pace {
            pace.read(bytes);
        }
    }

    /// Counts bytes that needn't be read.
    pub(super) fn pass(&mut self, bytes: u64) {
        self.progress.total = self.progress.total.saturating_sub(bytes).max(self.progress.bytes);
    }

    fn store_file(&mut self) {
        let read = read_identity(&*self.site.seam.dir);
        if let Err(error) = read.and_then(|file| file.ok_or_else(|| missing_store(&*self.site.seam.dir))) {
            self.found.damaged(&Whose::default(), error);
        }
    }

    /// Two living directories of one name.
    fn duplicates(&mut self, dirs: &[TopicDir]) {
        for pair in dirs.windows(2).filter(|pair| pair[0].name == pair[1].name) {
            let whose = Whose { topic: Some(pair[1].name.to_string()), partition: None };
            let path =
                self.site.shown(std::path::Path::new(TOPICS)).join(format!("{}@{}", pair[1].name, pair[1].number));
            let corruption = Corruption {
                damage: Damage::Duplicate,
                what: "topic",
                path,
                position: None,
                offsets: None,
                topic: Some(pair[1].name.clone()),
                partition: None,
            };
            self.found.damaged(&whose, Error::from(Box::new(corruption)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_no_disk_holds_are_summed_up_all_the_same() {
        assert_eq!(total([u64::MAX, 1, 2].into_iter()), u64::MAX);
    }
}
