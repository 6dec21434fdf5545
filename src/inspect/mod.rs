//! Looks at a store's files as they are: [`verify`] reads every byte that counts, [`dump`] tells the batches of one
//! segment.
//!
//! Invariant: read-only, also in a store that is open for writing, and beside a writer in another process; whatever the
//! bytes are, nothing here panics, hangs or takes memory by a length that was not compared with the file. Nothing is
//! printed and nothing is repaired: damage comes back as data. A topic that refuses to open is looked at all the same,
//! since the files are found by walking the directory and not by asking the topic. Called by the shells; the way goes
//! on to the owners of the files, as `log::history`, for what must exist, and to `segment::walk` for what the bytes are.

mod dump;
mod index;
mod pace;
mod partition;
mod site;
mod topic;
mod verify;

use std::fmt;
use std::path::PathBuf;

pub use dump::{BatchDescription, Dump, RecordDescription, dump};
pub use verify::{verify, verify_with};

use crate::error::{Corruption, Error};
use crate::name::TopicName;

/// How many damaged things are listed one by one; beyond that they are counted.
const LISTED_MAX: usize = 10_000;

/// How [`verify_with`] goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct VerifyOptions {
    bytes_per_second: Option<u64>,
}

impl VerifyOptions {
    /// As fast as the disk gives it.
    pub fn new() -> VerifyOptions {
        VerifyOptions::default()
    }

    /// Reads about so many bytes of segments a second, a MiB at a time, and pauses in between. At least 1.
    pub fn bytes_per_second(mut self, bytes: u64) -> VerifyOptions {
        self.bytes_per_second = Some(bytes);
        self
    }
}

/// How far [`verify`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes of segments that were read.
    pub bytes: u64,
    /// The bytes of segments that there were when it began.
    pub total: u64,
}

/// What [`verify`] read and what it found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// How many topics there are, damaged ones included.
    pub topics: u64,
    /// How many partitions they have.
    pub partitions: u64,
    /// How many segments were read.
    pub segments: u64,
    /// How many batches were whole.
    pub batches: u64,
    /// How many records they hold.
    pub records: u64,
    /// The bytes of these batches.
    pub bytes: u64,
    /// What is wrong: the first 10,000 of it.
    pub damage: Vec<Damaged>,
    /// How much more is wrong than is listed.
    pub damage_unlisted: u64,
    /// What is worth knowing and no damage, the first 10,000 of it: an index that the next writer rebuilds, an end that a
    /// crash tore.
    pub notes: Vec<Note>,
    /// How much more is worth knowing than is listed.
    pub notes_unlisted: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty() && self.damage_unlisted == 0
    }

    fn damaged(&mut self, whose: &Whose, error: Error) {
        let topic = whose.topic.as_deref().and_then(|name| TopicName::new(name).ok());
        let error = topic.into_iter().fold(error, |error, topic| error.of(&topic, whose.partition));
        if self.damage.len() < LISTED_MAX {
            self.damage.push(Damaged { topic: whose.topic.clone(), partition: whose.partition, error });
        } else {
            self.damage_unlisted += 1;
        }
    }

    fn note(&mut self, path: PathBuf, what: String) {
        if self.notes.len() < LISTED_MAX {
            self.notes.push(Note { path, what });
        } else {
            self.notes_unlisted += 1;
        }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub struct Damaged {
    /// The topic it belongs to; none for the store's own files.
    pub topic: Option<String>,
    /// The partition, if it is a partition's file.
    pub partition: Option<u32>,
    /// What is wrong with it: [`Error::Corrupt`], or why it couldn't be read.
    pub error: Error,
}

impl Damaged {
    /// File, position and offsets of bytes that are there and wrong.
    #[must_use]
    pub fn corruption(&self) -> Option<&Corruption> {
        match &self.error {
            Error::Corrupt(corruption) => Some(corruption),
            _ => None,
        }
    }
}

/// Something that is worth knowing and no damage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// The file.
    pub path: PathBuf,
    /// What is to be known.
    pub what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (`{}`)", self.what, self.path.display())
    }
}

/// Whose files are being looked at.
#[derive(Clone, Debug, Default)]
struct Whose {
    topic: Option<String>,
    partition: Option<u32>,
}
