//! What a topic tells of itself. Data, for people and programs to print.

use std::path::PathBuf;

use crate::format::Reason;
use crate::log::{Begun, Part};
use crate::name::GroupName;
use crate::offset::{Epoch, Offset, Timestamp};
use crate::place::Place;

/// One epoch of a partition's lineage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpochDescription {
    /// The epoch.
    pub epoch: Epoch,
    /// The offset from which on it wrote.
    pub start: Offset,
    /// Why it began: `created`, `session`, `truncated`, `healed` or `restored`.
    pub reason: &'static str,
    /// When it began.
    pub time: Timestamp,
}

impl EpochDescription {
    pub(super) fn of(begun: &Begun) -> EpochDescription {
        let reason = match begun.reason {
            Reason::Created => "created",
            Reason::Session => "session",
            Reason::Truncated => "truncated",
            Reason::Healed => "healed",
            Reason::Restored => "restored",
        };
        EpochDescription { epoch: begun.epoch, start: begun.start, reason, time: begun.time }
    }
}

/// One segment of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentDescription {
    /// The offset of its first record.
    pub base: Offset,
    /// The offset behind the last record that counts.
    pub end: Offset,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// The bytes of its file that count.
    pub bytes: u64,
    /// Whether nothing will be added to it.
    pub sealed: bool,
    /// The file.
    pub path: PathBuf,
    /// The greatest timestamp of its records, or later; `None` while it is active.
    pub greatest: Option<Timestamp>,
    /// The time of its last append; `None` while it is active.
    pub append_time: Option<Timestamp>,
}

impl SegmentDescription {
    pub(super) fn of(part: &Part, end: Offset) -> SegmentDescription {
        let segment = &part.segment;
        let seal = segment.seal_of();
        SegmentDescription {
            base: segment.id.base,
            end: part.end.min(end),
            epoch: segment.id.epoch,
            bytes: segment.bytes(),
            sealed: seal.is_some(),
            path: segment.home.shown(&segment.path()),
            greatest: seal.map(|sealed| sealed.greatest),
            append_time: seal.map(|sealed| sealed.append_time),
        }
    }
}

/// A group and how far it has come in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// The group.
    pub group: GroupName,
    /// Its commits, by partition.
    pub commits: Vec<CommitDescription>,
}

/// One commit of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitDescription {
    /// Where the group goes on.
    pub place: Place,
    /// When it was committed.
    pub time: Timestamp,
    /// What was committed with it.
    pub metadata: Option<Vec<u8>>,
    /// How many records are still to be read; `None` if the place is refused or its partition can't be read.
    pub lag: Option<u64>,
    /// Why, if it is so.
    pub problem: Option<String>,
}
