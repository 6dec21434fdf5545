//! What a user may choose, with defaults, limits and the check of both.
//!
//! Invariant: an option out of range is refused with its name, what was given and what is allowed, before anything is
//! done. Options of a topic are written into its header at creation; options of a store hold while it is open.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::offset::{Offset, Timestamp};

/// What an acknowledgement survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Synced to the medium, together with whoever else waits: survives the loss of power.
    #[default]
    Durable,
    /// In the kernel: survives a kill of the process. A power cut may take it, from the end; the next open makes that
    /// visible as [`Error::Diverged`].
    Written,
}

/// What a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Visibility {
    /// Everything appended.
    #[default]
    Written,
    /// Only what is synced.
    ///
    /// A read-only store beside a live writer goes by what the files tell: full segments that are synced, and how far the
    /// newest batch says that everything was when it was written. So it may lag by some batches, and sees the last ones
    /// when others come behind them, or the writer closes.
    Durable,
}

/// Whether files are memory-mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mapping {
    /// On file systems known to reserve blocks (ext4, xfs, tmpfs); positioned reads and writes elsewhere.
    #[default]
    Auto,
    /// Never, for reads and indexes too. An append then costs a system call.
    Never,
}

/// Where to begin when there is no place to resume from. An explicit request, never a resumption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Start {
    /// The first record that is there.
    #[default]
    Earliest,
    /// Behind the last record: only what comes from now on.
    Latest,
    /// So many records behind the first one. Refused with [`Error::TooFewRecords`] if there are fewer, and never moved to
    /// the end instead; with just as many it is the end. Where that may be, look at
    /// [`Partition::end`](crate::Partition::end) first, or use [`Start::Latest`] when it is refused.
    FromBeginning(u64),
    /// So many records before the end. Refused with [`Error::TooFewRecords`] if there are fewer, and never moved to the
    /// first record instead; with just as many it is the first. For "the last so many, or all", use [`Start::Earliest`]
    /// when it is refused.
    FromEnd(u64),
    /// This offset.
    At(Offset),
    /// The first record whose timestamp is at or after this time; the end if there is none. Where damage may hide it,
    /// reading begins before that, and tells of it.
    Time(Timestamp),
}

/// How long sealed segments are kept. Without a limit: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Retention {
    /// Whole segments whose newest append is older than this are removed.
    pub age: Option<Duration>,
    /// The oldest whole segments are removed while a partition takes more than this many bytes.
    pub bytes: Option<u64>,
}

/// How a store is opened. Every option holds while the store is open and isn't written down.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub(crate) mapping: Mapping,
    pub(crate) background: bool,
    pub(crate) reserve_bytes: u64,
    pub(crate) open_partitions_max: usize,
    pub(crate) seam: Option<crate::io::Seam>,
}

/// The least and the most bytes of a reserve, unless there is none.
const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 16 << 10..=1 << 30;

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            mapping: Mapping::default(),
            background: false,
            reserve_bytes: 256 << 10,
            open_partitions_max: 256,
            seam: None,
        }
    }
}

impl StoreOptions {
    /// The defaults: mapped where that is safe, no background thread.
    #[must_use]
    pub fn new() -> StoreOptions {
        StoreOptions::default()
    }

    /// Whether files are memory-mapped. Default: [`Mapping::Auto`].
    #[must_use]
    pub fn mapping(mut self, mapping: Mapping) -> StoreOptions {
        self.mapping = mapping;
        self
    }

    /// Whether two threads run beside the host's: one does interval syncs, early syncs of rolled segments and
    /// `maintain()`, the other brings fresh pages into memory ahead of whoever appends a lot, prepares their next segment
    /// (some 4 MiB of disk for a partition) and unmaps the full one. Default: no; the host then calls `Store::maintain`
    /// itself, and an append that meets a fresh page, or begins a segment, waits for it: up to some milliseconds.
    #[must_use]
    pub fn background(mut self, background: bool) -> StoreOptions {
        self.background = background;
        self
    }

    /// How much room is set aside for a full disk, 16 KiB to 1 GiB, or 0 for none. Default: 256 KiB.
    ///
    /// It is a file `RESERVE` in the store's directory, on file systems that reserve blocks (ext4, xfs, tmpfs). On a full
    /// disk it is given back to whatever keeps a promise or gives room back: opening for writing, recovery, closing,
    /// commits, `trim`, `truncate`, retention, `delete_topic`, `maintain` and reopening after a failed sync. Appends and
    /// what adds topics or partitions never use it: they fail with [`Error::StorageFull`]. It is made again as soon as
    /// one of those, or an open, finds room for it.
    ///
    /// What even then needs more room: recovery of a partition whose unsynced bytes, which it copies, are more than the
    /// reserve, as after a kill with many of them; a topic's commits after a kill, if those that count are longer than the
    /// reserve, without which no group of it can poll or commit; and more commits than fit, until `maintain` compacts them,
    /// which takes as much room as those that count. Until the reserve is made again others may use the room that it gave,
    /// appends among them.
    #[must_use]
    pub fn reserve_bytes(mut self, bytes: u64) -> StoreOptions {
        self.reserve_bytes = bytes;
        self
    }

    /// How many partitions may keep files open for appending at a time, at least one. Default: 256.
    ///
    /// Each keeps two, and as many maps; four while a background thread has the next segment ready. Where one more is
    /// appended to, the one opened longest ago is synced and its files are closed, until its next append opens them
    /// again: that costs some ten microseconds and the sync. So it should be no less than the number of partitions that
    /// are appended to all the time, and twice as many files must be well within what the process may open (`ulimit
    /// -n`).
    #[must_use]
    pub fn open_partitions_max(mut self, partitions: usize) -> StoreOptions {
        self.open_partitions_max = partitions;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        within("open_partitions_max", self.open_partitions_max as u64, 1, u64::MAX)?;
        match self.reserve_bytes {
            0 => Ok(()),
            bytes => within("reserve_bytes", bytes, *RESERVE_BYTES.start(), *RESERVE_BYTES.end()),
        }
    }

    /// Runs the store over another outside world, such as the simulated disk.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn seam(mut self, seam: crate::io::Seam) -> StoreOptions {
        self.seam = Some(seam);
        self
    }
}

/// How a topic is created; written into its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    pub(crate) partitions: u32,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes_max: u64,
    pub(crate) segment_age: Option<Duration>,
    pub(crate) retention: Retention,
    pub(crate) unsynced_bytes_max: u64,
    pub(crate) sync_interval: Option<Duration>,
    pub(crate) sync_bytes: Option<u64>,
}

/// The most partitions a topic may have.
pub const PARTITIONS_MAX: u32 = 10_000;
/// The least and the most bytes of a segment.
pub const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 1024..=1 << 31;
/// The least bytes of a size limit other than a segment's.
const BYTES_MIN: u64 = 1024;

impl Default for TopicOptions {
    fn default() -> TopicOptions {
        TopicOptions {
            partitions: 1,
            durability: Durability::Durable,
            segment_bytes_max: 64 << 20,
            segment_age: None,
            retention: Retention::default(),
            unsynced_bytes_max: 64 << 20,
            sync_interval: None,
            sync_bytes: None,
        }
    }
}

impl TopicOptions {
    /// The defaults: one partition, durable appends, segments of 64 MiB, nothing is ever removed.
    #[must_use]
    pub fn new() -> TopicOptions {
        TopicOptions::default()
    }

    /// The number of partitions, 1 to 10,000. Default: 1. More can be added later, never fewer.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> TopicOptions {
        self.partitions = partitions;
        self
    }

    /// What an append's acknowledgement survives unless the append says otherwise. Default: [`Durability::Durable`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> TopicOptions {
        self.durability = durability;
        self
    }

    /// The most bytes of a segment, 1 KiB to 2 GiB; a record or batch must fit into one. Default: 64 MiB.
    #[must_use]
    pub fn segment_bytes_max(mut self, bytes: u64) -> TopicOptions {
        self.segment_bytes_max = bytes;
        self
    }

    /// Begins a new segment when the active one is older than this, at the next append or `maintain()`. Default: the age of
    /// [`retention_age`](TopicOptions::retention_age), where there is one, and else never.
    #[must_use]
    pub fn segment_age(mut self, age: Duration) -> TopicOptions {
        self.segment_age = Some(age);
        self
    }

    /// Removes whole segments whose newest append is older than this, at `maintain()`; never the newest, which is rolled
    /// by [`segment_age`](TopicOptions::segment_age) first. So a record stays up to as long again as its segment takes to
    /// roll; and the last ones stay while their partition has its files closed, until it is appended to. Suspended once the
    /// wall clock has run ahead: see [`Maintenance::retention_suspended`](crate::Maintenance::retention_suspended). Default:
    /// never.
    #[must_use]
    pub fn retention_age(mut self, age: Duration) -> TopicOptions {
        self.retention.age = Some(age);
        self
    }

    /// Removes the oldest whole segments while a partition takes more bytes than this, at every roll and `maintain()`;
    /// never the newest. At a roll, half as much again may be there as long as the oldest aren't synced. At least 1 KiB.
    /// Default: no limit.
    #[must_use]
    pub fn retention_bytes(mut self, bytes: u64) -> TopicOptions {
        self.retention.bytes = Some(bytes);
        self
    }

    /// The most bytes of a partition that may be written and not synced, or one batch, if that is larger; an append that
    /// would pass it syncs first. At least 1 KiB. Default: 64 MiB.
    #[must_use]
    pub fn unsynced_bytes_max(mut self, bytes: u64) -> TopicOptions {
        self.unsynced_bytes_max = bytes;
        self
    }

    /// Syncs what is unsynced about this often, by the background thread; and whenever the host calls `maintain()`. 1 ms at
    /// least. Default: never.
    #[must_use]
    pub fn sync_interval(mut self, interval: Duration) -> TopicOptions {
        self.sync_interval = Some(interval);
        self
    }

    /// Syncs whenever this many bytes of a partition are unsynced; at least 1 KiB. Default: never.
    #[must_use]
    pub fn sync_bytes(mut self, bytes: u64) -> TopicOptions {
        self.sync_bytes = Some(bytes);
        self
    }

    /// The number of partitions.
    #[must_use]
    pub fn get_partitions(&self) -> u32 {
        self.partitions
    }

    /// What an append's acknowledgement survives by default.
    #[must_use]
    pub fn get_durability(&self) -> Durability {
        self.durability
    }

    /// The most bytes of a segment.
    #[must_use]
    pub fn get_segment_bytes_max(&self) -> u64 {
        self.segment_bytes_max
    }

    /// The greatest age of the active segment, if one was set.
    #[must_use]
    pub fn get_segment_age(&self) -> Option<Duration> {
        self.segment_age
    }

    /// How long sealed segments are kept.
    #[must_use]
    pub fn get_retention(&self) -> Retention {
        self.retention
    }

    /// The most unsynced bytes of a partition.
    #[must_use]
    pub fn get_unsynced_bytes_max(&self) -> u64 {
        self.unsynced_bytes_max
    }

    /// How often what is unsynced is synced.
    #[must_use]
    pub fn get_sync_interval(&self) -> Option<Duration> {
        self.sync_interval
    }

    /// After how many unsynced bytes a partition is synced.
    #[must_use]
    pub fn get_sync_bytes(&self) -> Option<u64> {
        self.sync_bytes
    }

    pub(crate) fn check(&self) -> Result<()> {
        within("partitions", u64::from(self.partitions), 1, u64::from(PARTITIONS_MAX))?;
        within("segment_bytes_max", self.segment_bytes_max, *SEGMENT_BYTES.start(), *SEGMENT_BYTES.end())?;
        within("unsynced_bytes_max", self.unsynced_bytes_max, BYTES_MIN, u64::MAX)?;
        if let Some(bytes) = self.retention.bytes {
            within("retention_bytes", bytes, BYTES_MIN, u64::MAX)?;
        }
        if let Some(bytes) = self.sync_bytes {
            within("sync_bytes", bytes, BYTES_MIN, u64::MAX)?;
        }
        for (option, duration) in [
            ("segment_age", self.segment_age),
            ("retention_age", self.retention.age),
            ("sync_interval", self.sync_interval),
        ] {
            if let Some(duration) = duration {
                let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                within_ms(option, ms)?;
            }
        }
        Ok(())
    }
}

fn within(option: &'static str, given: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    let allowed = if most == u64::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
    Err(Error::InvalidOption { option, reason: format!("{given} was given; allowed is {allowed}") })
}

/// A thousand years, so that no sum of times can overflow.
const MS_MAX: u64 = 1000 * 366 * 24 * 3600 * 1000;

fn within_ms(option: &'static str, ms: u64) -> Result<()> {
    if (1..=MS_MAX).contains(&ms) {
        return Ok(());
    }
    Err(Error::InvalidOption { option, reason: format!("{ms} ms was given; allowed is 1 ms to {MS_MAX} ms") })
}

/// How one append differs from its topic's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    pub(crate) durability: Option<Durability>,
}

impl AppendOptions {
    /// As the topic says.
    #[must_use]
    pub fn new() -> AppendOptions {
        AppendOptions::default()
    }

    /// What this append's acknowledgement survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> AppendOptions {
        self.durability = Some(durability);
        self
    }
}
