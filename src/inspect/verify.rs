//! Reads every byte of a store that counts, and goes on behind what is damaged.
//!
//! Invariant: what another process changes meanwhile is not taken for damage: a topic that vanished was deleted, a
//! segment that vanished was retired, a batch that isn't whole yet is looked at again. The work goes down to `topic` and
//! `partition`.

use super::site::{Site, TopicDir};
use super::{Progress, Verification, Whose, topic};
use crate::error::{Corruption, Damage, Error, Result};
use crate::format::{FileKind, STORE, TOPICS};
use crate::io::Seam;
use crate::store::Store;

/// What one run carries through all topics.
pub(super) struct Verifier<'a> {
    pub(super) site: Site,
    pub(super) found: Verification,
    progress: Progress,
    report: &'a mut dyn FnMut(Progress),
}

/// Reads everything: every topic, also one that refuses to open, its header, commits and histories, and every batch of
/// every segment. Names everything that is damaged and goes on behind it. Tells `progress` about every MiB.
///
/// # Errors
///
/// Only what keeps it from beginning: [`Error::Closed`], or an [`Error::Io`] or [`Error::Corrupt`] of the store's own
/// file or of the list of topics. Whatever is wrong below that is in the [`Verification`].
pub fn verify(store: &Store, progress: &mut dyn FnMut(Progress)) -> Result<Verification> {
    verify_files(&store.seam()?, progress)
}

pub(super) fn verify_files(seam: &Seam, report: &mut dyn FnMut(Progress)) -> Result<Verification> {
    let site = Site::find(seam)?;
    let dirs = site.topic_dirs()?;
    let total = dirs.iter().map(|dir| topic::segment_bytes(&site, dir)).sum();
    let mut verifier =
        Verifier { site, found: Verification::default(), progress: Progress { bytes: 0, total }, report };
    verifier.store_file();
    verifier.duplicates(&dirs);
    for dir in &dirs {
        topic::verify(&mut verifier, dir);
    }
    verifier.step(0);
    Ok(verifier.found)
}

impl Verifier<'_> {
    /// Counts bytes that were read and says so.
    pub(super) fn step(&mut self, bytes: u64) {
        self.progress.bytes += bytes;
        self.progress.total = self.progress.total.max(self.progress.bytes);
        (self.report)(self.progress);
    }

    fn store_file(&mut self) {
        let path = std::path::Path::new(STORE);
        let identity = self.site.header(path, FileKind::Store, "store file");
        if let Err(error) = identity.and_then(|identity| topic::frames(&self.site, path, &identity).map(drop)) {
            self.found.damaged(&Whose::default(), error);
        }
    }

    /// Two living directories of one name.
    fn duplicates(&mut self, dirs: &[TopicDir]) {
        for pair in dirs.windows(2).filter(|pair| pair[0].name == pair[1].name) {
            let whose = Whose { topic: Some(pair[1].name.to_string()), partition: None };
            let path =
                self.site.shown(std::path::Path::new(TOPICS)).join(format!("{}@{}", pair[1].name, pair[1].number));
            let corruption =
                Corruption { damage: Damage::Duplicate, what: "topic", path, position: None, offsets: None };
            self.found.damaged(&whose, Error::from(Box::new(corruption)));
        }
    }
}
