//! What opening and maintaining tell. Data; `Display` is for people.

use std::fmt;

use crate::log::{MaintainedLog, PartitionRecovery};
use crate::name::TopicName;

/// What recovery did when a store was opened, and since: of what failed then, some may have been recovered when it was
/// used, and partitions are reopened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the store had not been closed cleanly, so that its partitions were looked at.
    pub needed: bool,
    /// What was done, for each partition that hadn't been closed cleanly; those of the open first.
    pub partitions: Vec<PartitionRecovery>,
    /// What couldn't be recovered when the store was opened, and wasn't since. Everything else can be used. Where
    /// there was any of it no close is a clean one: the next open recovers the store again.
    pub failed: Vec<Unrecovered>,
}

/// Something that couldn't be recovered. It is tried again when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unrecovered {
    /// The topic.
    pub topic: TopicName,
    /// The partition, unless it is the topic itself, or its commits.
    pub partition: Option<u32>,
    /// The message of the error that `Store::topic` gave for it, or `Topic::partition`, or whoever asks for a commit, with
    /// its causes.
    pub error: String,
}

impl fmt::Display for Unrecovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.partition {
            write!(f, "partition {number} of ")?;
        }
        write!(f, "topic `{}` was not recovered: {}", self.topic, self.error)
    }
}

impl RecoveryReport {
    /// Whether there was nothing to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.partitions.is_empty() && self.failed.is_empty()
    }

    /// Whether records were cut off.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.partitions.iter().flat_map(|partition| &partition.findings).any(|finding| finding.cut_at.is_some())
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("nothing to recover");
        }
        let mut lines = Vec::new();
        for partition in &self.partitions {
            let (topic, number, end) = (&partition.topic, partition.partition, partition.end);
            lines.push(format!("recovered partition {number} of `{topic}` up to offset {end}"));
            lines.extend(partition.findings.iter().map(|finding| format!("  {finding}")));
        }
        lines.extend(self.failed.iter().map(ToString::to_string));
        f.write_str(&lines.join("\n"))
    }
}

/// What `maintain` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    /// How many segments were rolled by age.
    pub segments_rolled: usize,
    /// How many segments retention removed.
    pub segments_removed: usize,
    /// How many bytes of log that gave back.
    pub bytes_removed: u64,
    /// Whether retention by age was left out, because the wall clock has run more than an hour ahead of the monotonic
    /// one since the store was opened. Reopen the store once the clock is right.
    pub retention_suspended: bool,
}

impl Maintenance {
    pub(super) fn add(&mut self, log: &MaintainedLog) {
        self.segments_rolled += usize::from(log.rolled);
        self.segments_removed += log.segments_removed;
        self.bytes_removed += log.bytes_removed;
    }
}

/// How the last `maintain` went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastMaintenance {
    /// What it did.
    pub done: Maintenance,
    /// The message of the first error that it met, with its causes; everything else was done all the same.
    pub error: Option<String>,
}

impl fmt::Display for LastMaintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.done.fmt(f)?;
        self.error.as_ref().map_or(Ok(()), |error| write!(f, "; failed: {error}"))
    }
}

impl fmt::Display for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Maintenance { segments_rolled, segments_removed, bytes_removed, retention_suspended } = self;
        write!(f, "segments rolled: {segments_rolled}, removed: {segments_removed} ({bytes_removed} bytes)")?;
        if *retention_suspended {
            f.write_str("; retention by age is suspended: the wall clock has run ahead")?;
        }
        Ok(())
    }
}
