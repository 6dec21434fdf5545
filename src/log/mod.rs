//! The ordered records of one partition: segments in order, and the history that is evidence of them.
//!
//! Invariant: records are dense from `start` to `end`; what readers see is an immutable [`LogView`], so rolling,
//! retention, truncate and delete never pull a file from under anyone; everything below the durable end is on the
//! medium, over all segments and directory entries. Appenders take one lock, readers none.
//!
//! A record goes in: `append` -> `segment::writer` -> `sync`. A log comes back: `history` -> `recover`. A reader goes on:
//! `admit` -> `resolve` -> `read`.

mod admit;
mod append;
mod bell;
mod crowd;
mod history;
mod leader;
mod lineage;
mod live;
mod read;
mod recover;
mod reopen;
mod resolve;
mod rest;
mod retention;
mod signal;
mod sync;
mod truncate;

use std::path::PathBuf;
use std::sync::{Arc, Weak};

pub(crate) use admit::Origin;
pub use append::Ack;
use append::Appender;
pub(crate) use history::{Evidence, History, HistoryRead};
pub(crate) use lineage::{Begun, Lineage};
use live::Live;
pub use read::{Gap, Reader, Target};
pub(crate) use recover::Aside;
use recover::Known;
pub(crate) use recover::repair::PartitionRepair;
pub use recover::repair::{OnDamage, Remedy, RepairStep};
pub use recover::{Finding, PartitionRecovery};
pub(crate) use rest::Awake;
pub(crate) use retention::{MaintainedLog, may_expire};
pub(crate) use signal::Signal;
use sync::SyncState;

use crate::error::{Corruption, Damage, Error, IoContext, Latched, Result};
use crate::format::{Entry, HISTORY, parse_segment};
use crate::io::latch::Latch;
use crate::name::TopicName;
use crate::offset::{Epoch, Offset, Timestamp};
use crate::options::TopicOptions;
use crate::place::Place;
use crate::segment::{Home, Segment, missing};
use crate::threads::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::threads::{Mutex, RwLock};

/// Issues epochs: durable before they are given out, always rising.
pub(crate) trait Epochs: Send + Sync + std::fmt::Debug {
    fn next(&self) -> Result<Epoch>;

    /// Takes note of a number that was found in a history: only greater ones are issued from now on.
    fn seen(&self, number: u64);
}

/// What the partitions of one topic share: its name, its options, and whether it still lives.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) topic: TopicName,
    pub(crate) creation: Epoch,
    pub(crate) options: TopicOptions,
    pub(crate) signal: Signal,
    pub(crate) epochs: Arc<dyn Epochs>,
    /// The partitions of the whole store whose files are open.
    awake: Arc<Awake>,
    /// What was recovered in the whole store.
    recovered: Arc<Recovered>,
    life: AtomicU8,
}

/// What recovery did, partition by partition, in the order in which it came to an end. Also where the open of the partition,
/// of which it is a part, failed behind it: the next one finds nothing more to tell.
pub(crate) type Recovered = Mutex<Vec<PartitionRecovery>>;

const LIVES: u8 = 0;
const CLOSED: u8 = 1;
const DELETED: u8 = 2;

impl Owner {
    pub(crate) fn new(
        topic: TopicName,
        creation: Epoch,
        options: TopicOptions,
        epochs: Arc<dyn Epochs>,
        awake: Arc<Awake>,
        recovered: Arc<Recovered>,
    ) -> Owner {
        let (signal, life) = (Signal::default(), AtomicU8::new(LIVES));
        Owner { topic, creation, options, signal, epochs, awake, recovered, life }
    }

    /// Refuses if the topic was deleted or the store closed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.life.load(Ordering::Acquire) {
            LIVES => Ok(()),
            CLOSED => Err(Error::Closed),
            _ => Err(Error::TopicDeleted { topic: self.topic.clone(), epoch: self.creation }),
        }
    }

    pub(crate) fn lives(&self) -> bool {
        self.life.load(Ordering::Acquire) == LIVES
    }

    /// Says that the topic was deleted, for ever. The caller notifies.
    pub(crate) fn deleted(&self) {
        self.life.store(DELETED, Ordering::Release);
    }

    /// Says that the store was closed. A deleted topic stays deleted. The caller notifies.
    pub(crate) fn closed(&self) {
        // Fails only if it was deleted or closed before, and then that stands.
        let _stands = self.life.compare_exchange(LIVES, CLOSED, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.life.load(Ordering::Acquire) == CLOSED
    }

    /// An error that came from a file which is gone because the topic is: the topic's own error says it better.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.check().err().unwrap_or(error)
    }
}

/// A segment in a view, up to the offset where the next one, or a cut, takes over.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) segment: Arc<Segment>,
    /// `Offset::MAX` while it is active.
    pub(crate) end: Offset,
}

/// What readers see of a log; replaced as a whole, never changed.
#[derive(Debug)]
pub(crate) struct LogView {
    pub(crate) parts: Vec<Part>,
    pub(crate) start: Offset,
    pub(crate) lineage: Arc<Lineage>,
}

impl LogView {
    /// The part that holds an offset.
    fn part_of(&self, offset: Offset) -> Option<&Part> {
        let i = self.parts.partition_point(|part| part.end <= offset);
        self.parts.get(i).filter(|part| part.segment.id.base <= offset)
    }
}

/// One partition's log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) home: Arc<Home>,
    pub(crate) owner: Arc<Owner>,
    view: RwLock<Arc<LogView>>,
    /// Changes whenever an epoch begins or ends, so that readers are admitted anew.
    version: AtomicU64,
    end: AtomicU64,
    durable: AtomicU64,
    appender: Mutex<Appender>,
    history: Mutex<History>,
    sync: SyncState,
    latch: Latch,
    /// In a read-only store: what was last seen of the writing process.
    live: Mutex<Live>,
    me: Weak<Log>,
}

impl Log {
    /// Writes a new, empty partition into its directory, which must exist. Synced, except for the entry in the parent.
    pub(crate) fn create(home: &Arc<Home>) -> Result<()> {
        History::create(home, home.creation)?;
        home.seam.dir.sync(&home.dir).at("sync", &home.shown(&home.dir))
    }

    /// Opens a partition for writing. Recovers it first if it wasn't closed cleanly. What that did, and what was found beside
    /// the log, is told to the store.
    pub(crate) fn open(home: &Arc<Home>, owner: &Arc<Owner>) -> Result<Arc<Log>> {
        let (mut history, evidence) = History::load_complete(home)?;
        owner.epochs.seen(evidence.lineage.newest().epoch.number);
        let (mut recovered, mut report) = (None, None);
        if !evidence.is_closed() {
            // Before anything is cut: it keeps the partition closed, and all as it is.
            nothing_foreign(home, &evidence)?;
            let (after, told) = recover::recover(home, owner, &mut history, &evidence, Known::default())?;
            (recovered, report) = (Some(after), Some(told));
        } else if home.unclean {
            // What was read may live in the page cache alone, also in pages that a failed sync has marked clean: no later one
            // writes them, and the lines of this session would say that they are durable. So it goes into a new file.
            let kept = evidence.without_retired();
            history.rewrite(&kept, &Latch::default())?;
            recovered = Some(kept);
        }
        let now = recovered.as_ref().unwrap_or(&evidence);
        let has_recovered = report.is_some();
        let end = now.clean.unwrap_or(now.start);
        let mut report = report.unwrap_or_else(|| PartitionRecovery::nothing(home, owner, end));
        let cleared = clear(home, now, &evidence, &mut report.findings);
        if has_recovered || !report.findings.is_empty() {
            owner.recovered.lock().push(report);
        }
        let (view, end) = cleared?;
        Ok(Log::new(home, owner, history, view, end))
    }

    /// Opens a partition for reading beside whoever writes it.
    pub(crate) fn open_read_only(home: &Arc<Home>, owner: &Arc<Owner>) -> Result<Arc<Log>> {
        let (history, _) = History::load_complete(home)?;
        let mut live = Live::default();
        let (view, extent) = live.see(home, None)?;
        let log = Log::new(home, owner, history, view, extent.end);
        log.durable.store(extent.durable.get(), Ordering::Release);
        *log.live.lock() = live;
        Ok(log)
    }

    fn new(home: &Arc<Home>, owner: &Arc<Owner>, history: History, view: LogView, end: Offset) -> Arc<Log> {
        let append_time = append_time_of(&view);
        Arc::new_cyclic(|me| Log {
            home: home.clone(),
            owner: owner.clone(),
            view: RwLock::new(Arc::new(view)),
            version: AtomicU64::new(0),
            end: AtomicU64::new(end.get()),
            durable: AtomicU64::new(end.get()),
            appender: Mutex::new(Appender::idle(end, append_time)),
            history: Mutex::new(history),
            sync: SyncState::default(),
            latch: Latch::default(),
            live: Mutex::new(Live::default()),
            me: me.clone(),
        })
    }

    pub(crate) fn view(&self) -> Arc<LogView> {
        self.view.read().clone()
    }

    /// A view, and an end that was reached in it: the record in front of it is there, whatever rolls meanwhile.
    fn now(&self) -> (Arc<LogView>, Offset) {
        let view = self.view.read();
        // Under the lock: a roll shows its segment before a record of it.
        (view.clone(), self.end())
    }

    pub(crate) fn start(&self) -> Offset {
        self.view.read().start
    }

    pub(crate) fn end(&self) -> Offset {
        Offset::new(self.end.load(Ordering::Acquire))
    }

    pub(crate) fn durable_end(&self) -> Offset {
        Offset::new(self.durable.load(Ordering::Acquire))
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The place at an offset of a view: stamped with the epoch of the record that stands before it there.
    fn place_in(&self, view: &LogView, next: Offset) -> Place {
        Place::new(self.home.partition, next, view.lineage.epoch_before(next))
    }

    pub(crate) fn out_of_range(&self, offset: Offset) -> Error {
        Error::OffsetOutOfRange {
            topic: self.owner.topic.clone(),
            partition: self.home.partition,
            offset,
            start: self.start(),
            end: self.end(),
        }
    }

    /// Admits a place: the epoch check.
    pub(crate) fn admit(&self, place: Place, origin: Origin<'_>) -> Result<admit::Admitted> {
        self.owner.check()?;
        self.is_mine(place)?;
        let (view, end) = self.now();
        admit::admit(place, &view.lineage, end, &self.owner.topic, origin)
    }

    /// Refuses a place of another partition.
    pub(crate) fn is_mine(&self, place: Place) -> Result<()> {
        let mine = self.home.partition;
        if place.partition() == mine {
            return Ok(());
        }
        let reason = format!("it belongs to partition {}, not to partition {mine}", place.partition());
        Err(Error::InvalidPlace { place: place.to_string(), reason })
    }

    /// An error that may come from files which a delete has just taken away, seen before the topic says so; damage is told
    /// with whose it is. The caller doesn't hold the appender's lock: the delete does, from its rename until it has said it.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let is_missing = |corruption: &Corruption| matches!(corruption.damage, Damage::Missing);
        if matches!(&error, Error::Io { .. } | Error::Latched { .. })
            || matches!(&error, Error::Corrupt(corruption) if is_missing(corruption))
        {
            drop(self.hold());
        }
        self.owner.explain(self.mine(error))
    }

    /// Damage that is met here is this partition's.
    fn mine(&self, error: Error) -> Error {
        error.of(&self.owner.topic, Some(self.home.partition))
    }

    /// Refuses if a sync has failed and the partition wasn't reopened since.
    pub(crate) fn latched(&self) -> Result<()> {
        let (topic, partition) = (&self.owner.topic, self.home.partition);
        self.latch.check(|| Latched::Partition { topic: topic.clone(), partition })
    }

    /// The bytes of all segment files that are part of the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.view().parts.iter().map(|part| part.segment.bytes()).sum()
    }

    fn replace_view(&self, change: impl FnOnce(&LogView) -> LogView) {
        let mut view = self.view.write();
        let changed = change(&view);
        *view = Arc::new(changed);
    }
}

/// The time of the last append to a log whose segments are all sealed.
fn append_time_of(view: &LogView) -> Timestamp {
    let newest = view.parts.last().and_then(|part| part.segment.seal_of());
    let appended = newest.map_or(Timestamp::MIN, |sealed| sealed.append_time);
    // Also where no record is left: a clock that was set back would make the next ones look old once it is right.
    appended.max(view.lineage.newest().time)
}

/// Takes away what is no part of a partition whose segments are all sealed, and adds it to what was found; gives the view and
/// the end. `told` is what the history said before a recovery.
fn clear(
    home: &Arc<Home>,
    evidence: &Evidence,
    told: &Evidence,
    findings: &mut Vec<Finding>,
) -> Result<(LogView, Offset)> {
    let strays = recover::strays(home, evidence, told)?;
    let view = view_of(home, evidence)?;
    recover::remove(home, strays, findings)?;
    Ok(view)
}

/// The view of a partition whose segments are all sealed, and its end.
fn view_of(home: &Arc<Home>, evidence: &Evidence) -> Result<(LogView, Offset)> {
    let mut parts: Vec<Part> = Vec::new();
    for recorded in evidence.live() {
        let (Some(sealed), Some(end)) = (recorded.seal, evidence.sealed_end(recorded)) else {
            return Err(unsealed(home));
        };
        parts.push(Part { segment: Segment::sealed(home, recorded.id, sealed), end });
    }
    check_dense(home, evidence)?;
    let end = evidence.end_after(parts.last().map(|part| part.end));
    if evidence.clean != Some(end) {
        let claimed = evidence.clean.unwrap_or(Offset::ZERO);
        return Err(missing("records", &home.shown(&home.dir), Some(end.min(claimed)..end.max(claimed))));
    }
    Ok((LogView { parts, start: evidence.start, lineage: Arc::new(evidence.lineage.clone()) }, end))
}

fn unsealed(home: &Home) -> Error {
    missing("seal of a segment", &home.shown(&home.dir.join(HISTORY)), None)
}

/// Segments follow one another without a gap or an overlap, from the start on; where one without a seal ends is not asked.
fn check_dense(home: &Home, evidence: &Evidence) -> Result<()> {
    let gap = |between| Err(missing("records", &home.shown(&home.dir), Some(between)));
    let mut live = evidence.live();
    let Some(mut last) = live.next() else {
        let end = evidence.end_after(None);
        return if end > evidence.start { gap(evidence.start..end) } else { Ok(()) };
    };
    if last.id.base > evidence.start {
        return gap(evidence.start..last.id.base);
    }
    for recorded in live {
        let next = recorded.id.base;
        let end = evidence.sealed_end(last).unwrap_or(next);
        if end != next {
            return gap(end.min(next)..end.max(next));
        }
        last = recorded;
    }
    Ok(())
}

/// Whether the history itself tells of all records: those of a partition that was closed up to its end.
pub(crate) fn nothing_missing(home: &Arc<Home>, evidence: &Evidence) -> Result<()> {
    if evidence.is_closed() { view_of(home, evidence).map(drop) } else { check_dense(home, evidence) }
}

/// Whether every segment file in the partition's directory is this partition's, named in its history or not.
pub(crate) fn nothing_foreign(home: &Home, evidence: &Evidence) -> Result<()> {
    recover::strays(home, evidence, evidence).map(drop)
}

/// The segment files in a partition's directory, as far as their names go, in the order of their base offsets.
fn segment_files(home: &Home) -> Result<Vec<(PathBuf, Offset, u64)>> {
    let entries = home.seam.dir.list(&home.dir).at("list", &home.shown(&home.dir))?;
    let named = entries.iter().filter_map(|entry| {
        let (base, number) = parse_segment(&entry.name)?;
        Some((home.dir.join(&entry.name), base, number))
    });
    let mut files: Vec<_> = named.collect();
    files.sort_by_key(|&(_, base, number)| (base, number));
    Ok(files)
}

/// What a clean close writes.
fn clean_entry(end: Offset) -> Entry {
    Entry::Clean { end }
}
