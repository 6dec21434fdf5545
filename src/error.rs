//! Every way in which the engine says no, and every message it says it with.
//!
//! Invariant: torn, corrupt and I/O error are three things. A torn end is not an error at all (it stands in the
//! recovery report); changed bytes are [`Error::Corrupt`]; a refusal of the operating system is [`Error::Io`], which
//! never travels without its operation and path. Decoders know bytes but no file: they return a private error that
//! becomes [`Corruption`] in one place, `format::DecodeError::at`.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::name::{GroupName, TopicName};
use crate::offset::{Epoch, Offset, Position};
use crate::place::Place;

/// The result of every fallible call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, what was expected, and what to do.
///
/// `Display` doesn't repeat [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. What was acknowledged before stays; nothing of the call itself may be relied on.
    /// Try again when the cause is gone; but records that were appended may be there nevertheless, as
    /// [`Partition::append`](crate::Partition::append) says.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was being done: `read`, `sync`, ...
        operation: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The disk, or a quota, is full, or the process may make no larger files. The call was undone. Reads go on, and by
    /// the reserve ([`StoreOptions::reserve_bytes`](crate::StoreOptions::reserve_bytes)) so do opening for writing,
    /// closing, commits, trim, truncate, retention, delete and reopening; if one of those gives this error, not even the
    /// reserve had room for it, or there is none. Appends work again as soon as there is room.
    #[error("no space left for {bytes} bytes in `{}`; the call was undone, make room and try again", path.display())]
    StorageFull {
        /// The file that could not grow.
        path: PathBuf,
        /// How much room was asked for.
        bytes: u64,
    },

    /// A sync failed earlier, so what reached the disk is unknown and nothing more is written there. What was
    /// acknowledged as durable is safe, and everything can still be read. Reopen what the message names, and recovery
    /// finds out: a partition by [`Partition::reopen`](crate::Partition::reopen), a topic or its commits by
    /// [`Topic::reopen`](crate::Topic::reopen), the store by closing and opening it; that reopens all of it.
    #[error("{what} refuses writes since {operation} of `{}` failed; reopen the {} to recover", path.display(), what.to_reopen())]
    Latched {
        /// What refuses, and so what to reopen.
        what: Latched,
        /// The operation that failed.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
    },

    /// The store is open for writing: in another process, so wait for it or open with `Store::open_read_only`; or in this
    /// one, so clone the [`Store`](crate::Store) that it has, which costs next to nothing.
    #[error("store `{}` is open for writing in {}", path.display(), holder(*pid))]
    Locked {
        /// The store.
        path: PathBuf,
        /// The process that holds the lock, where it could be read.
        pid: Option<u32>,
    },

    /// The store was opened with `Store::open_read_only`. Open it with `Store::open` to write.
    #[error("store `{}` is open read-only; open it for writing to do this", path.display())]
    ReadOnly {
        /// The store.
        path: PathBuf,
    },

    /// The store was closed, by this handle or by another one, or its last handle was dropped: topics, partitions, readers
    /// and consumers don't keep it open. Keep a [`Store`](crate::Store) as long as you use what came from it; after a
    /// close, open it again.
    #[error("the store is closed, or its last handle was dropped; keep a `Store` as long as you use what came from it")]
    Closed,

    /// There is no store at this path, or something that isn't one. Nothing was changed there.
    #[error("`{}` is not a store: {reason}", path.display())]
    NotAStore {
        /// Where a store was expected.
        path: PathBuf,
        /// What is there instead and what to do.
        reason: String,
    },

    /// The path already holds a store. Open it with `Store::open`.
    #[error("`{}` already holds a store; open it instead of creating it", path.display())]
    StoreExists {
        /// The store.
        path: PathBuf,
    },

    /// The file was written by a later version of this library, or uses a feature that this one doesn't have. Nothing
    /// was changed.
    #[error("`{}` has format {found}; this epochlog reads {supported}, open it with a later one", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// What the file says of itself.
        found: String,
        /// What this version reads.
        supported: String,
    },

    /// Bytes changed, or a file vanished, after it was synced. Everything else stays readable: a reader goes around a
    /// damaged batch with [`Reader::skip_damaged`](crate::Reader::skip_damaged), and what stays closed is opened again by
    /// [`StoreOptions::repair`](crate::StoreOptions::repair).
    #[error(transparent)]
    Corrupt(#[from] Box<Corruption>),

    /// The store has no topic of this name. Create it, or use `Store::topic_or_create`.
    #[error("topic `{topic}` not found; create it first")]
    TopicNotFound {
        /// The name that was asked for.
        topic: TopicName,
    },

    /// The store already has a topic of this name.
    #[error("topic `{topic}` exists already, created in epoch {epoch}; open it, or delete it first")]
    TopicExists {
        /// The name.
        topic: TopicName,
        /// The creation epoch of the topic that is there.
        epoch: Epoch,
    },

    /// This handle's topic was deleted. It is never bound again by name, even if a topic of the same name was created
    /// since; ask the store for the new one.
    #[error("topic `{topic}` of epoch {epoch} was deleted; ask the store for a topic of that name again")]
    TopicDeleted {
        /// The name it had.
        topic: TopicName,
        /// Its creation epoch.
        epoch: Epoch,
    },

    /// The topic has no such partition.
    #[error("topic `{topic}` has no partition {partition}; it has {partitions}, numbered from 0")]
    PartitionNotFound {
        /// The topic.
        topic: TopicName,
        /// The number that was asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },

    /// The group has committed nothing in this topic.
    #[error("group `{group}` has no commit in topic `{topic}`")]
    GroupNotFound {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
    },

    /// The consumer wasn't opened with this partition. Open it with that one, or with all.
    #[error("the consumer of group `{group}` doesn't have partition {partition} of `{topic}`; open it with that one")]
    NotAssigned {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
        /// The partition that was asked for, which the topic has.
        partition: u32,
    },

    /// A live consumer of the same group has this partition. Drop it first, or choose other partitions.
    #[error("group `{group}` already has a live consumer of partition {partition} of `{topic}`; drop it first")]
    GroupInUse {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
        /// The partition that is taken.
        partition: u32,
    },

    /// The text can't be a name.
    #[error("{what} name `{}` is invalid: {reason}", name.escape_debug())]
    InvalidName {
        /// `topic` or `group`.
        what: &'static str,
        /// The text.
        name: String,
        /// The rule it breaks and what is allowed.
        reason: String,
    },

    /// An option is out of range. Nothing was done.
    #[error("option `{option}` is invalid: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What was given and what is allowed.
        reason: String,
    },

    /// The bytes or the text are not a place, or a place that no log can ever have given out.
    #[error("place `{}` is invalid: {reason}", place.escape_debug())]
    InvalidPlace {
        /// What was given.
        place: String,
        /// What is wrong with it and what is allowed.
        reason: String,
    },

    /// The text is not an epoch.
    #[error("epoch `{}` is invalid: expected `number.tag`, such as `7.9f3a5c01d2e4b687`", epoch.escape_debug())]
    InvalidEpoch {
        /// What was given.
        epoch: String,
    },

    /// The record, the batch or what groups have committed can't fit. Nothing was written. Split it, or raise the limit.
    #[error("{what} of {size} bytes is larger than the limit of {limit}; {}", way_out(what))]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },

    /// The partition doesn't hold this offset: it was removed by retention or trim, or was never written. The consumer
    /// or reader stays where it is; seek to go on.
    #[error("offset {offset} of partition {partition} of `{topic}` is out of range; it holds {start}..{end}")]
    OffsetOutOfRange {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// The offset that was asked for.
        offset: Offset,
        /// The first offset there.
        start: Offset,
        /// The offset after the last.
        end: Offset,
    },

    /// The partition doesn't hold as many records as [`Start::FromBeginning`](crate::Start::FromBeginning) or
    /// [`Start::FromEnd`](crate::Start::FromEnd) asks for. The consumer or reader stays where it is. What is meant by it
    /// then, only the caller knows: [`Start::Earliest`](crate::Start::Earliest) reads all that there are, and
    /// [`Start::Latest`](crate::Start::Latest) waits for more.
    #[error(
        "partition {partition} of `{topic}` holds {start}..{end}, fewer than the {records} records asked for; start at the earliest or the latest"
    )]
    TooFewRecords {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
        /// How many records were asked for.
        records: u64,
        /// The first offset there.
        start: Offset,
        /// The offset after the last.
        end: Offset,
    },

    /// The place belongs to a history that this partition never had: the topic was deleted and created again, or the
    /// place comes from another topic or store. Refused before it was resolved; only the caller may choose where to go
    /// on: seek.
    #[error(
        "place `{place}` belongs to an epoch that `{topic}`, now in epoch {current}, never had: the topic was recreated, or the place is of another topic or store; seek to choose where to go on"
    )]
    StaleEpoch {
        /// The topic it was offered to.
        topic: TopicName,
        /// The place.
        place: Place,
        /// The newest epoch of the partition's lineage. That is not [`Topic::epoch`](crate::Topic::epoch), which is the oldest.
        current: Epoch,
    },

    /// The records before this place were lost in a power cut, or truncated, or belong to a copy that went its own way.
    /// Seek to choose where to go on; the histories agree up to `fork`.
    #[error(
        "place `{place}` of `{topic}` lies beyond offset {fork}, where its history was cut; seek to choose where to go on"
    )]
    Diverged {
        /// The topic.
        topic: TopicName,
        /// The place.
        place: Place,
        /// The offset up to which the place's history and this one are the same.
        fork: Offset,
    },
}

impl Error {
    /// The error and everything that caused it, in one line: its `Display` alone leaves out what the operating system said.
    ///
    /// ```
    /// use epochlog::Error;
    ///
    /// let source = std::io::Error::other("no such device");
    /// let error = Error::Io { operation: "read", path: "a.log".into(), source };
    /// assert_eq!(error.in_one_line(), format!("{error}: no such device"));
    /// ```
    #[must_use]
    pub fn in_one_line(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |&cause| cause.source());
        causes.fold(self.to_string(), |told, cause| format!("{told}: {cause}"))
    }

    /// Adds the offsets that can't be read because of it, where it doesn't say so itself.
    pub(crate) fn with_offsets(mut self, offsets: Range<Offset>) -> Error {
        if let Error::Corrupt(corruption) = &mut self {
            corruption.offsets.get_or_insert(offsets);
        }
        self
    }

    /// Adds whose bytes they are, where it doesn't say so itself.
    pub(crate) fn of(mut self, topic: &TopicName, partition: Option<u32>) -> Error {
        if let Error::Corrupt(corruption) = &mut self
            && corruption.topic.is_none()
        {
            (corruption.topic, corruption.partition) = (Some(topic.clone()), partition);
        }
        self
    }
}

/// Who holds the lock, and so what to do. Two containers may each have a process of the same number.
fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => format!(
            "this process already (pid {pid}; or in one of that number in another container); clone the `Store` that is open"
        ),
        Some(pid) => format!("another process (pid {pid}); close it there or open read-only"),
        None => "another process; close it there or open read-only".into(),
    }
}

/// What refuses writes since a sync has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Latched {
    /// A partition: [`Partition::reopen`](crate::Partition::reopen).
    Partition {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: u32,
    },
    /// What groups have committed in a topic: [`Topic::reopen`](crate::Topic::reopen).
    Commits {
        /// The topic.
        topic: TopicName,
    },
    /// A topic's directory, which adding partitions writes: [`Topic::reopen`](crate::Topic::reopen).
    Topic {
        /// The topic.
        topic: TopicName,
    },
    /// The store's own files: close it and open it again.
    Store {
        /// The store.
        path: PathBuf,
    },
}

impl Latched {
    fn to_reopen(&self) -> &'static str {
        match self {
            Latched::Partition { .. } => "partition or the store",
            Latched::Commits { .. } | Latched::Topic { .. } => "topic or the store",
            Latched::Store { .. } => "store",
        }
    }
}

impl fmt::Display for Latched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Latched::Partition { topic, partition } => write!(f, "partition {partition} of `{topic}`"),
            Latched::Commits { topic } => write!(f, "the commits file of `{topic}`"),
            Latched::Topic { topic } => write!(f, "topic `{topic}`"),
            Latched::Store { path } => write!(f, "store `{}`", path.display()),
        }
    }
}

/// What to do about something that is too large.
fn way_out(what: &str) -> &'static str {
    match what {
        "record" => "the topic's `segment_bytes_max` sets it",
        "batch" => "split it, or create the topic with a larger `segment_bytes_max`",
        "file of commits" => "`maintain` compacts it, once what is latched was reopened",
        _ => "keep the rest elsewhere",
    }
}

/// The first error of what is done for one after another, all of it, whatever becomes of the others.
pub(crate) fn first_error(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    results.into_iter().fold(Ok(()), Result::and)
}

/// Adds operation and path to an `io::Error`: `file.sync().at("sync", path)?`.
pub(crate) trait IoContext<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T>;

    /// The same for what takes so many bytes of room: a full disk has an error of its own.
    fn taking(self, bytes: usize, operation: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { operation, path: path.to_path_buf(), source })
    }

    fn taking(self, bytes: usize, operation: &'static str, path: &Path) -> Result<T> {
        match self {
            Err(source) if is_full(&source) => Err(Error::StorageFull { path: path.into(), bytes: bytes as u64 }),
            other => other.at(operation, path),
        }
    }
}

/// Whether the operating system said that there is no room: a full disk, a quota, a file size limit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether no file could be opened for want of descriptors.
pub(crate) fn is_want_of_files(error: &Error) -> bool {
    use rustix::io::Errno;
    let Error::Io { source, .. } = error else { return false };
    [Errno::MFILE, Errno::NFILE].iter().any(|want| source.raw_os_error() == Some(want.raw_os_error()))
}

/// Which bytes are wrong, where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corruption {
    /// What is wrong with them.
    pub damage: Damage,
    /// What they should have been: `batch`, `file header`, `history`, ...
    pub what: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The byte at which the damaged thing begins.
    pub position: Option<Position>,
    /// The offsets that can't be read because of it, where known.
    pub offsets: Option<Range<Offset>>,
    /// The topic, where it is one's.
    pub topic: Option<TopicName>,
    /// The partition, where it is one's: the one to [skip](crate::Consumer::skip_damaged) the damage in.
    pub partition: Option<u32>,
}

/// The ways in which bytes can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The checksum doesn't match the bytes.
    Checksum {
        /// What the file says.
        found: u32,
        /// What the bytes give.
        expected: u32,
    },
    /// The bytes are well formed but belong to another store, topic, epoch, partition or base offset.
    Foreign {
        /// Whose they are.
        found: String,
        /// Whose they should be.
        expected: String,
    },
    /// A file that should be there is gone, or records between two files are.
    Missing,
    /// Two live things that exclude each other.
    Duplicate,
    /// The file ends too early.
    Short {
        /// Its length in bytes.
        found: u64,
        /// The length that was recorded.
        expected: u64,
    },
    /// The checksum matches but the content breaks the format.
    Malformed(String),
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let adjective = match self.damage {
            Damage::Foreign { .. } => "foreign",
            Damage::Missing => "missing",
            Damage::Duplicate => "duplicate",
            Damage::Checksum { .. } | Damage::Short { .. } | Damage::Malformed(_) => "corrupt",
        };
        write!(f, "{adjective} {} in `{}`", self.what, self.path.display())?;
        if let Some(position) = self.position {
            write!(f, " at position {position}")?;
        }
        if let Some(offsets) = &self.offsets {
            write!(f, ", offsets {}..{}", offsets.start, offsets.end)?;
        }
        match &self.damage {
            Damage::Checksum { found, expected } => write!(f, ": checksum {found:#010x}, expected {expected:#010x}"),
            Damage::Foreign { found, expected } => write!(f, ": belongs to {found}, expected {expected}"),
            Damage::Short { found, expected } => write!(f, ": {found} bytes, expected {expected}"),
            Damage::Malformed(reason) => write!(f, ": {reason}"),
            Damage::Missing | Damage::Duplicate => Ok(()),
        }
    }
}

impl std::error::Error for Corruption {}
