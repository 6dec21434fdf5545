//! A topic: a name, a creation epoch, and one log for each partition.
//!
//! Invariant: a handle is bound to the epoch it was made for, never to the name. Once the topic is deleted every handle,
//! reader, consumer and waiter of it answers `TopicDeleted`, also when a topic of the same name exists again. Delete
//! takes the locks that appends and commits take, so nothing is half in and half out. Called by `store`; a record goes on
//! to `log::append`.

mod build;
mod catalog;
mod commits;
mod describe;
mod dirs;
mod header;
mod partition;
mod partitioner;
mod repair;
mod widen;

use crate::threads::atomic::{AtomicBool, AtomicU32, Ordering};
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;

use crate::threads::{Mutex, MutexGuard, RwLock};

use build::build;
pub(crate) use catalog::{Catalog, duplicate, list};
pub(crate) use commits::{Commit, Commits, check_commits, check_metadata};
pub use describe::{CommitDescription, EpochDescription, GroupDescription, SegmentDescription};
pub(crate) use dirs::{creation_told, identity_in, partitions_there};
pub(crate) use header::read_complete as read_header;
pub use partition::Partition;
pub(crate) use partitioner::Partitioner;
pub(crate) use repair::{TopicRepair, refused};

use crate::error::{Error, IoContext, Result, first_error};
use crate::format::{HEADER_BYTES, NEW_PREFIX, TOPICS, topic_dir};
use crate::io::latch::Latch;
use crate::io::{Reserve, Runner, Seam, remove_tree};
use crate::log::{Ack, Awake, Epochs, Log, MaintainedLog, Owner, PartitionRecovery, Recovered};
use crate::name::{GroupName, TopicName};
use crate::offset::{Epoch, Timestamp};
use crate::options::{AppendOptions, TopicOptions};
use crate::place::Place;
use crate::record::Record;
use crate::segment::{Cache, Home};

/// What all topics of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) seam: Seam,
    pub(crate) mapped: bool,
    pub(crate) runner: Arc<Runner>,
    pub(crate) read_only: bool,
    /// Whether the store wasn't closed cleanly before, so that nothing may be taken for synced.
    pub(crate) unclean: bool,
    pub(crate) cache: Arc<Cache>,
    /// The partitions whose files are open for appending.
    pub(crate) awake: Arc<Awake>,
    /// What was recovered since the store was opened.
    pub(crate) recovered: Arc<Recovered>,
    /// Room for what has to work on a full disk.
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) store: [u8; 16],
    pub(crate) epochs: Arc<dyn Epochs>,
}

impl Shared {
    /// The path as a person would type it, for messages.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        self.seam.dir.root().join(path)
    }

    pub(crate) fn writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly { path: self.seam.dir.root().to_path_buf() }) } else { Ok(()) }
    }

    /// Where a partition is; whether what it says may live in the page cache alone.
    fn home(&self, dir: &Path, creation: Epoch, partition: u32, unclean: bool) -> Arc<Home> {
        Arc::new(Home {
            seam: self.seam.clone(),
            mapped: self.mapped,
            runner: self.runner.clone(),
            read_only: self.read_only,
            unclean,
            cache: self.cache.clone(),
            reserve: self.reserve.clone(),
            dir: dir.join(partition.to_string()),
            store: self.store,
            creation,
            partition,
        })
    }
}

/// A topic of an open store. Cheap to clone; bound to one epoch for ever.
///
/// It doesn't keep the store open, and neither does what comes from it: when the last [`Store`](crate::Store) is dropped,
/// all of them answer [`Error::Closed`].
#[derive(Clone)]
pub struct Topic {
    inner: Arc<Inner>,
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({}@{})", self.name(), self.epoch())
    }
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    dir: PathBuf,
    slots: RwLock<Vec<Arc<Slot>>>,
    /// Taken by what changes the topic as a whole: opening a partition, adding some, delete, close.
    admin: Mutex<()>,
    commits: Mutex<Option<Commits>>,
    /// The partitions that live consumers hold, by group.
    held: Mutex<HashSet<(GroupName, u32)>>,
    /// How often a consumer has let go of its own.
    releases: AtomicU32,
    round: AtomicU32,
    /// How many partitions it had when this session found it; none if this session created it. What the files of later ones
    /// say is synced, however the session before ended.
    found: u32,
    /// Whether the names in its directory may not be durable, since nothing has synced it after a crash.
    soft: AtomicBool,
    /// Falls when the topic's own directory couldn't be synced.
    latch: Latch,
}

/// A partition that is opened when it is first used.
#[derive(Debug, Default)]
struct Slot {
    log: OnceLock<Arc<Log>>,
    /// Whether an open has failed: a sync of it may have, so that what it wrote can't be taken for durable.
    failed: AtomicBool,
}

impl Topic {
    /// Builds a new topic under a temporary name, syncs all of it, and gives it its name in one step.
    pub(crate) fn create(shared: &Arc<Shared>, name: &TopicName, options: TopicOptions) -> Result<Topic> {
        let creation = shared.epochs.next()?;
        let dir = Path::new(TOPICS).join(topic_dir(name, creation.number));
        let new = Path::new(TOPICS).join(format!("{NEW_PREFIX}{}", topic_dir(name, creation.number)));
        let rename = || shared.seam.dir.rename(&new, &dir).taking(HEADER_BYTES, "rename", &shared.shown(&new));
        if let Err(error) = build(shared, &new, name, creation, &options).and_then(|()| rename()) {
            // Nobody has seen it; what can't be removed now goes at the next open.
            let _left_over = remove_tree(&*shared.seam.dir, &new);
            return Err(error);
        }
        Ok(Topic::new(shared, &dir, name.clone(), creation, options, 0))
    }

    /// Reads a topic's header. Its partitions and commits are opened when they are first used.
    pub(crate) fn load(shared: &Arc<Shared>, name: &TopicName, number: u64) -> Result<Topic> {
        let dir = Path::new(TOPICS).join(topic_dir(name, number));
        let (creation, options) = header::read_complete(&shared.seam, shared.store, &dir, name, number)?;
        let found = options.partitions;
        Ok(Topic::new(shared, &dir, name.clone(), creation, options, found))
    }

    /// Opens a partition of a store that wasn't closed cleanly, before anybody has the topic. If it fails, whoever uses the
    /// partition is told, or recovers it then.
    pub(crate) fn recover(&self, number: u32) -> Result<()> {
        self.open_log(number).map(drop)
    }

    /// Whether what couldn't be recovered when the store was opened was recovered since, or has gone: a partition, or
    /// anything of the topic.
    pub(crate) fn is_recovered(&self, number: Option<u32>) -> bool {
        let has_commits = self.inner.commits.lock().as_ref().is_some_and(|commits| !commits.is_latched());
        let slots = self.inner.slots.read();
        let is_open = |slot: &Arc<Slot>| slot.log.get().is_some();
        match number {
            _ if self.inner.found == 0 => true,
            Some(number) => slots.get(number as usize).is_some_and(is_open),
            None => has_commits && slots.iter().all(is_open),
        }
    }

    /// Makes durable what the commits say, though nobody may ask before this session closes cleanly: the next one takes
    /// for synced what it reads. Damaged commits keep no record from being read; whoever uses them is told.
    pub(crate) fn harden_commits(&self) -> Result<()> {
        match self.commits().map(drop) {
            // The rewrite of whole ones makes the directory's names durable, also that of a header with new partitions.
            Ok(()) => self.inner.soft.store(false, Ordering::Release),
            Err(Error::Corrupt(_) | Error::UnsupportedVersion { .. }) => self.harden_names()?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn new(
        shared: &Arc<Shared>,
        dir: &Path,
        name: TopicName,
        creation: Epoch,
        options: TopicOptions,
        found: u32,
    ) -> Topic {
        let slots = (0..options.partitions).map(|_| Arc::default()).collect();
        let soft = AtomicBool::new(shared.unclean && found > 0 && !shared.read_only);
        let (awake, recovered) = (shared.awake.clone(), shared.recovered.clone());
        let owner = Arc::new(Owner::new(name, creation, options, shared.epochs.clone(), awake, recovered));
        Topic {
            inner: Arc::new(Inner {
                shared: shared.clone(),
                owner,
                dir: dir.to_path_buf(),
                slots: RwLock::new(slots),
                admin: Mutex::new(()),
                commits: Mutex::new(None),
                held: Mutex::new(HashSet::new()),
                releases: AtomicU32::new(0),
                round: AtomicU32::new(0),
                found,
                soft,
                latch: Latch::default(),
            }),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.inner.owner.topic
    }

    /// Its creation epoch: what tells it from every other topic that ever had its name. The oldest of each partition's
    /// [`lineage`](Partition::lineage), of which [`Error::StaleEpoch`] names the newest.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.owner.creation
    }

    /// What it was created with. The number of partitions may have grown since: see
    /// [`partitions`](Topic::partitions).
    #[must_use]
    pub fn options(&self) -> &TopicOptions {
        &self.inner.owner.options
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.look();
        u32::try_from(self.inner.slots.read().len()).unwrap_or(u32::MAX)
    }

    /// Sees which partitions the writing process has added, in a read-only store. What can't be read now leaves those that
    /// are known.
    fn look(&self) {
        if !self.inner.shared.read_only {
            return;
        }
        match self.header() {
            Ok((_, options)) => self.show_partitions(options.partitions),
            Err(error) => drop(self.explain(error)),
        }
    }

    fn header(&self) -> Result<(Epoch, TopicOptions)> {
        let shared = &self.inner.shared;
        header::read(&shared.seam, shared.store, &self.inner.dir, self.name(), self.epoch().number)
    }

    /// An error beside a writer in another process may come of a topic that it has deleted.
    fn explain(&self, error: Error) -> Error {
        let shared = &self.inner.shared;
        if shared.read_only { self.inner.owner.explain_beside(&shared.seam, &self.inner.dir, error) } else { error }
    }

    /// One of its partitions, numbered from 0.
    ///
    /// # Errors
    ///
    /// [`Error::PartitionNotFound`]; [`Error::TopicDeleted`]; [`Error::Closed`]; when it is first used, also
    /// [`Error::Corrupt`], [`Error::Io`], and [`Error::StorageFull`] if it had to be recovered.
    pub fn partition(&self, number: u32) -> Result<Partition> {
        self.inner.owner.check()?;
        Ok(Partition::new(self.clone(), self.log(number)?))
    }

    /// Appends one record: to the partition of its key, or round-robin if it has none.
    ///
    /// # Errors
    ///
    /// As [`Partition::append`], and those of [`partition`](Topic::partition).
    pub fn append<'r>(&self, record: impl Into<Record<'r>>) -> Result<Ack> {
        self.append_with(record, AppendOptions::new())
    }

    /// Appends one record, with options that differ from the topic's.
    ///
    /// # Errors
    ///
    /// As [`append`](Topic::append).
    pub fn append_with<'r>(&self, record: impl Into<Record<'r>>, options: AppendOptions) -> Result<Ack> {
        self.inner.shared.writable()?;
        let record = record.into();
        let number = Partitioner::new(self.partitions(), &self.inner.round).of(&record);
        self.log(number)?.append(&[record], self.durability(options))
    }

    /// Appends records: one batch for each partition that they belong to, each all or nothing. Those without a key go to
    /// one partition together. One acknowledgement for each partition, in the order of their numbers. The batches are
    /// written one after the other: if they are to be durable, there is a sync for each in turn.
    ///
    /// # Errors
    ///
    /// As [`append`](Topic::append). [`Error::TooLarge`] if the batch for any partition can't fit: nothing was written
    /// anywhere. If the batch for one partition fails otherwise, those before it stay: append to a [`Partition`] where
    /// all must be one, and see [`append_batch_each`](Topic::append_batch_each).
    pub fn append_batch(&self, records: &[Record<'_>]) -> Result<Vec<Ack>> {
        self.append_batch_with(records, AppendOptions::new())
    }

    /// Appends records, with options that differ from the topic's.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Topic::append_batch).
    pub fn append_batch_with(&self, records: &[Record<'_>], options: AppendOptions) -> Result<Vec<Ack>> {
        let mut acks = Vec::new();
        self.append_batch_each(records, options, |ack, _| acks.push(ack))?;
        Ok(acks)
    }

    /// The same, for whoever must know what stays if a later partition fails: `each` is given every acknowledgement as it
    /// comes, with the records that it is for.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Topic::append_batch).
    pub fn append_batch_each(
        &self,
        records: &[Record<'_>],
        options: AppendOptions,
        mut each: impl FnMut(Ack, &[Record<'_>]),
    ) -> Result<()> {
        self.inner.shared.writable()?;
        // Nothing of an empty batch comes to a partition, which would ask.
        self.inner.owner.check()?;
        let durability = self.durability(options);
        let batches = Partitioner::new(self.partitions(), &self.inner.round).split(records);
        let logs = batches.iter().map(|(number, _)| self.log(*number)).collect::<Result<Vec<_>>>()?;
        let both = || logs.iter().zip(&batches);
        if batches.len() > 1 {
            both().try_for_each(|(log, (_, batch))| log.check_size(batch))?;
        }
        both().try_for_each(|(log, (_, batch))| {
            each(log.append(batch, durability)?, batch);
            Ok(())
        })
    }

    fn durability(&self, options: AppendOptions) -> crate::options::Durability {
        options.durability.unwrap_or(self.options().durability)
    }

    /// Makes everything written so far durable: the records of all partitions, and then what groups have committed. If a
    /// partition fails the others are synced all the same, but no commits.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a sync fails, and [`Error::Latched`] from then on; [`Error::TopicDeleted`]; [`Error::Closed`];
    /// [`Error::ReadOnly`]: whether what another process wrote is durable, only that one can tell.
    pub fn sync(&self) -> Result<()> {
        self.inner.shared.writable()?;
        self.inner.owner.check()?;
        first_error(self.opened().iter().map(|log| log.sync()))?;
        // Only now: a commit that survives a power cut without its records sends its group to ask where to go on.
        match self.inner.commits.lock().as_mut() {
            Some(commits) => self.inner.owner.check().and_then(|()| commits.sync()),
            None => Ok(()),
        }
    }

    /// Reopens whatever of the topic refuses writes since a sync has failed, in place: its partitions, as
    /// [`Partition::reopen`] does, its commits, and its directory. Gives what was done to the partitions. The commit that
    /// failed counts as not made; partitions that a failed [`add_partitions`](Topic::add_partitions) may have added are
    /// there afterwards, all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Partition::reopen`], the first error met. What failed stays latched, so call again; the rest was reopened all the
    /// same, and [`Store::recovery`](crate::Store::recovery) tells what was done to it.
    pub fn reopen(&self) -> Result<Vec<PartitionRecovery>> {
        self.inner.shared.writable()?;
        let _admin = self.inner.admin.lock();
        self.inner.owner.check()?;
        let mut recovered = Vec::new();
        let logs = first_error(self.opened().iter().map(|log| log.reopen().map(|report| recovered.extend(report))));
        let commits = self.inner.commits.lock().as_mut().map_or(Ok(()), Commits::reopen);
        let dir = self.reopen_dir();
        logs.and(commits).and(dir).map(|()| recovered)
    }

    /// The log of a partition, opened if need be.
    pub(crate) fn log(&self, number: u32) -> Result<Arc<Log>> {
        let slot = self.slot(number)?;
        if let Some(log) = slot.log.get().filter(|_| !self.is_soft()) {
            return Ok(log.clone());
        }
        let _admin = self.inner.admin.lock();
        self.inner.owner.check()?;
        self.harden_names()?;
        self.open_log(number)
    }

    fn slot(&self, number: u32) -> Result<Arc<Slot>> {
        let known = || self.inner.slots.read().get(number as usize).cloned();
        if let Some(slot) = known() {
            return Ok(slot);
        }
        let partitions = self.partitions();
        let topic = self.name().clone();
        known().ok_or(Error::PartitionNotFound { topic, partition: number, partitions })
    }

    /// Opens a partition. The caller holds `admin`, or is the only one to have the topic and comes once for each partition.
    fn open_log(&self, number: u32) -> Result<Arc<Log>> {
        let slot = self.slot(number)?;
        if let Some(log) = slot.log.get() {
            return Ok(log.clone());
        }
        let shared = &self.inner.shared;
        let unclean = (shared.unclean && number < self.inner.found) || slot.failed.load(Ordering::Acquire);
        let home = shared.home(&self.inner.dir, self.epoch(), number, unclean);
        let log = if home.read_only {
            Log::open_read_only(&home, &self.inner.owner).map_err(|error| self.explain(error))
        } else {
            Log::open(&home, &self.inner.owner)
        };
        let log = log.map_err(|error| {
            slot.failed.store(true, Ordering::Release);
            error.of(self.name(), Some(number))
        })?;
        Ok(slot.log.get_or_init(|| log).clone())
    }

    /// The logs that were used so far.
    pub(crate) fn opened(&self) -> Vec<Arc<Log>> {
        self.inner.slots.read().iter().filter_map(|slot| slot.log.get().cloned()).collect()
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.inner.owner
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The topic's commits, read when they are first used. Refuses if the topic was deleted: whoever holds this lock
    /// can't race a delete.
    pub(crate) fn commits(&self) -> Result<crate::threads::MappedMutexGuard<'_, Commits>> {
        let mut slot = self.inner.commits.lock();
        self.inner.owner.check()?;
        if slot.is_none() || self.inner.shared.read_only {
            let (shared, dir) = (&self.inner.shared, &self.inner.dir);
            let harden = shared.unclean && self.inner.found > 0;
            let loaded = Commits::load(shared, dir, self.epoch(), self.name(), harden);
            let (commits, hardened) = loaded.map_err(|error| self.explain(error.of(self.name(), None)))?;
            *slot = Some(commits).filter(|commits| hardened.is_ok() || commits.is_latched());
            hardened?;
        }
        Ok(MutexGuard::map(slot, |slot| slot.as_mut().expect("was just filled")))
    }

    /// Commits places of a group, all of them or none. What was committed for long is compacted first, so that the file stays
    /// small also where nobody calls `maintain`; what fails in that can wait.
    pub(crate) fn commit(
        &self,
        group: &GroupName,
        places: &[Place],
        metadata: Option<&[u8]>,
        durable: bool,
    ) -> Result<()> {
        let mut commits = self.commits()?;
        if commits.has_grown() {
            drop(commits);
            let _left_long = self.compact_commits();
            commits = self.commits()?;
        }
        commits.commit(group, places, metadata, durable)
    }

    /// Rewrites the commits if most of what the file says no longer counts. That makes them durable, and so the records that
    /// they stand behind come first, as in [`sync`](Topic::sync).
    fn compact_commits(&self) -> Result<()> {
        if !self.inner.commits.lock().as_mut().is_some_and(Commits::is_worth_compacting) {
            return Ok(());
        }
        first_error(self.opened().iter().map(|log| log.sync()))?;
        let mut commits = self.inner.commits.lock();
        self.inner.owner.check()?;
        commits.as_mut().map_or(Ok(()), Commits::compact_if_worth)
    }

    pub(crate) fn held(&self) -> &Mutex<HashSet<(GroupName, u32)>> {
        &self.inner.held
    }

    /// Lets go of what a consumer held, and wakes those that wait for it.
    pub(crate) fn release(&self, group: &GroupName, numbers: impl Iterator<Item = u32>) {
        let mut held = self.inner.held.lock();
        for number in numbers {
            held.remove(&(group.clone(), number));
        }
        drop(held);
        self.inner.releases.fetch_add(1, Ordering::Release);
        self.inner.owner.signal.notify();
    }

    /// Another number after each release; asked without a lock, as whoever waits is asked under one.
    pub(crate) fn releases(&self) -> u32 {
        self.inner.releases.load(Ordering::Acquire)
    }

    /// Deletes the topic by `rename`, which is atomic, while nobody can append or commit. If it fails nothing changed.
    pub(crate) fn delete(&self, rename: impl FnOnce() -> Result<()>) -> Result<()> {
        let _admin = self.inner.admin.lock();
        self.inner.owner.check()?;
        let logs = self.opened();
        {
            let _appenders: Vec<_> = logs.iter().map(|log| log.hold()).collect();
            let _commits = self.inner.commits.lock();
            rename()?;
            self.inner.owner.deleted();
        }
        self.wake(&logs);
        Ok(())
    }

    fn wake(&self, logs: &[Arc<Log>]) {
        self.inner.owner.signal.notify();
        logs.iter().for_each(|log| log.wake_waiters());
    }

    /// Makes everything durable, says so in the histories, and refuses everything from then on. The first error is
    /// given; the other partitions are closed all the same, but no commits are synced, as in [`sync`](Topic::sync).
    pub(crate) fn close(&self) -> Result<()> {
        let _admin = self.inner.admin.lock();
        self.inner.owner.closed();
        let logs = self.opened();
        self.wake(&logs);
        if !self.inner.owner.is_closed() || self.inner.shared.read_only {
            return Ok(());
        }
        first_error(logs.iter().map(|log| log.close()))?;
        self.inner.commits.lock().as_mut().map_or(Ok(()), Commits::close)?;
        self.latched()
    }

    /// Syncs if told to, rolls, retires, compacts; `each` is given what was done. An error of one partition keeps no other
    /// from it. `age_now` is `None` while the clock isn't trusted.
    pub(crate) fn maintain(
        &self,
        age_now: Option<Timestamp>,
        sync: bool,
        mut each: impl FnMut(&MaintainedLog),
    ) -> Result<()> {
        let synced = if sync && self.options().sync_interval.is_some() { self.sync() } else { Ok(()) };
        let logs = (0..self.partitions()).map(|number| self.maintain_log(number, age_now));
        let maintained = first_error(logs.map(|done| done.map(|log| each(&log))));
        let compacted = self.compact_commits().inspect_err(|_| {
            self.inner.commits.lock().as_mut().map(Commits::look_soon);
        });
        synced.and(maintained).and(compacted)
    }

    fn maintain_log(&self, number: u32, age_now: Option<Timestamp>) -> Result<MaintainedLog> {
        let log = self.log(number)?;
        log.sync_rolled()?;
        log.maintain(age_now)
    }
}
