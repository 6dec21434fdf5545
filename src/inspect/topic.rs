//! Verifies one topic: its header, its commits, and then its partitions.
//!
//! Invariant: what is wrong with one file keeps no other from being read, as long as the topic's creation epoch is
//! known. Called by `verify`; goes on to `partition`.

use std::path::Path;

use super::site::{Site, TopicDir};
use super::verify::Verifier;
use super::{Whose, partition};
use crate::error::{Error, IoContext, Result};
use crate::format::{
    COMMITS, DecodeError, Entry, FileKind, HEADER_BYTES, Identity, NO_EPOCH, Rest, parse_segment, read_frames,
};
use crate::io::{File, read_all, read_settled};
use crate::offset::{Epoch, Offset, Position};
use crate::options::TopicOptions;
use crate::segment::{header_of, missing, what_of};
use crate::topic::{COMMITS_BYTES_MAX, creation_elsewhere, partitions_there, read_header};

/// Files of frames are read at once; a longer one isn't one. Commits may be longer.
const FRAMES_BYTES_MAX: u64 = 1 << 30;

pub(super) fn verify(verifier: &mut Verifier<'_>, topic: &TopicDir) {
    let whose = Whose { topic: Some(topic.name.to_string()), partition: None };
    verifier.found.topics += 1;
    let (creation, options) = match read_topic(&verifier.site, topic) {
        Ok((creation, Ok(options))) => (creation, Some(options)),
        Ok((creation, Err(error))) => {
            blame(verifier, topic, &whose, error);
            (creation, None)
        }
        Err(error) => return blame(verifier, topic, &whose, error),
    };
    if let Err(error) = commits(&verifier.site, topic, creation) {
        blame(verifier, topic, &whose, error);
    }
    match partitions(&verifier.site, topic, options.as_ref()) {
        Ok(numbers) => {
            for number in numbers {
                partition::verify(verifier, topic, creation, number);
            }
        }
        Err(error) => blame(verifier, topic, &whose, error),
    }
}

/// Reports an error, unless the topic was deleted meanwhile.
pub(super) fn blame(verifier: &mut Verifier<'_>, topic: &TopicDir, whose: &Whose, error: Error) {
    if verifier.site.is_there(topic) {
        verifier.found.damaged(whose, error);
    }
}

type Described = (Epoch, Result<TopicOptions>);

/// The topic's creation epoch, by its header or else by its other files, and what its header says.
pub(super) fn read_topic(site: &Site, topic: &TopicDir) -> Result<Described> {
    match read_header(&site.seam, site.store, &topic.path, &topic.name, topic.number) {
        Ok((creation, options)) => Ok((creation, Ok(options))),
        Err(error) => match creation_elsewhere(&site.seam, site.store, &topic.path, topic.number) {
            Ok(Some(creation)) => Ok((creation, Err(error))),
            _ => Err(error),
        },
    }
}

fn topic_identity(site: &Site, kind: FileKind, creation: Epoch) -> Identity {
    Identity { kind, store: site.store, creation, partition: None, epoch: NO_EPOCH, base: Offset::ZERO }
}

fn commits(site: &Site, topic: &TopicDir, creation: Epoch) -> Result<()> {
    let path = topic.path.join(COMMITS);
    let identity = topic_identity(site, FileKind::Commits, creation);
    check(site, &path, &identity)?;
    frames(site, &path, &identity).map(drop)
}

/// Checks that a file's header is the one that its path promises.
fn check(site: &Site, path: &Path, expected: &Identity) -> Result<()> {
    let shown = site.shown(path);
    let file = site.open(path, what_of(expected.kind))?;
    let mut header = [0; HEADER_BYTES];
    let got = crate::io::read_full_at(&*file, &mut header, 0).at("read", &shown)?;
    let checked = expected.check(&header[..got]);
    checked.map(drop).map_err(|error| error.at(header_of(expected.kind), &shown, Some(Position::new(0)), None))
}

/// The entries of a file of frames; a torn end is no damage.
pub(super) fn frames(site: &Site, path: &Path, identity: &Identity) -> Result<Vec<Entry>> {
    let shown = site.shown(path);
    // What has but one frame is all header.
    let what = match identity.kind {
        FileKind::Store | FileKind::Topic => header_of(identity.kind),
        kind => what_of(kind),
    };
    let corrupt =
        |error: DecodeError, position: usize| error.at(what, &shown, Some(Position::new(position as u64)), None);
    let judge = |bytes: &[u8]| {
        let frames = read_frames(bytes, identity.seed()).map_err(|error| corrupt(error, HEADER_BYTES))?;
        match frames.rest {
            Rest::Damaged { position, error } => Err(corrupt(error, position)),
            Rest::Clean | Rest::Torn { .. } => Ok(frames.entries),
        }
    };
    read_settled(|| bytes_of(&*site.open(path, what_of(identity.kind))?, identity.kind, &shown), judge)
}

/// As many as a store would read, too.
fn bytes_of(file: &dyn File, kind: FileKind, shown: &Path) -> Result<Vec<u8>> {
    let bytes_max = if kind == FileKind::Commits { COMMITS_BYTES_MAX } else { FRAMES_BYTES_MAX };
    read_all(file, bytes_max).at("read", shown)
}

/// The partitions that must exist, or as many as there are if the topic can't say.
fn partitions(site: &Site, topic: &TopicDir, options: Option<&TopicOptions>) -> Result<Vec<u32>> {
    match options {
        Some(options) => Ok((0..options.partitions).collect()),
        None => partitions_there(&site.seam, &topic.path),
    }
}

/// The bytes of a topic's segments, for the measure of progress.
pub(super) fn segment_bytes(site: &Site, topic: &TopicDir) -> u64 {
    let partitions = partitions_there(&site.seam, &topic.path).unwrap_or_default();
    partitions.iter().map(|number| partition_bytes(site, &topic.path.join(number.to_string()))).sum()
}

fn partition_bytes(site: &Site, dir: &Path) -> u64 {
    let entries = site.seam.dir.list(dir).unwrap_or_default();
    let segments = entries.iter().filter(|entry| parse_segment(&entry.name).is_some());
    segments.filter_map(|entry| site.open(&dir.join(&entry.name), "segment").ok()?.len().ok()).sum()
}

/// A partition whose directory is gone.
pub(super) fn missing_partition(site: &Site, dir: &Path) -> Error {
    missing("partition", &site.shown(dir), None)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::io::{RegionReader, RegionWriter};

    /// A file that is longer than what of it can be read, so that no test has to read it.
    #[derive(Debug)]
    struct Long(u64);

    impl File for Long {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0)
        }

        fn read_at(&self, _buffer: &mut [u8], _position: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn write_at(&self, _bytes: &[u8], _position: u64) -> io::Result<usize> {
            unreachable!("is only read")
        }

        fn sync(&self) -> io::Result<()> {
            unreachable!("is only read")
        }

        fn set_len(&self, _len: u64) -> io::Result<()> {
            unreachable!("is only read")
        }

        fn reserve(&self, _len: u64) -> io::Result<()> {
            unreachable!("is only read")
        }

        fn map_write(&self, _capacity: usize, _published: usize) -> io::Result<(RegionWriter, RegionReader)> {
            unreachable!("is only read")
        }

        fn map_read(&self, _len: usize) -> io::Result<RegionReader> {
            unreachable!("is only read")
        }
    }

    #[test]
    fn commits_that_can_be_opened_are_not_too_long_to_be_verified() {
        let refused = |kind: FileKind, len: u64| {
            let is_read = |error: &Error| matches!(error, Error::Io { operation: "read", .. });
            bytes_of(&Long(len), kind, "file".as_ref()).is_err_and(|error| is_read(&error))
        };
        assert!(!refused(FileKind::Commits, FRAMES_BYTES_MAX + 1));
        assert!(refused(FileKind::Commits, COMMITS_BYTES_MAX + 1));
        assert!(!refused(FileKind::History, FRAMES_BYTES_MAX));
        assert!(refused(FileKind::History, FRAMES_BYTES_MAX + 1));
    }
}
