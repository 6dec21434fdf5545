//! Makes what was written durable: one leader syncs for everybody who waits.
//!
//! Invariant: the durable end moves only when everything below it is on the medium: all earlier segments in order, the
//! names in the directory, and the rolls in the history. After a failed sync the log is latched and every waiter is
//! told; nothing is tried twice over pages of which nothing is known.

use std::path::Path;
use std::sync::Arc;

use super::append::{Appender, Rolled};
use super::leader::{Leader, Reached};
use super::{Log, Origin};
use crate::error::{Error, IoContext, Result};
use crate::io::File;
use crate::offset::Offset;
use crate::place::Place;
use crate::segment::SegmentId;
use crate::threads::atomic::{AtomicU64, Ordering};
use crate::threads::{Mutex, MutexGuard};

/// Who syncs, and how far it has come.
#[derive(Debug, Default)]
pub(super) struct SyncState {
    leader: Leader,
    synced_bytes: AtomicU64,
    /// Held by who syncs the directory.
    names: Mutex<()>,
}

impl SyncState {
    /// How many of the written bytes aren't known to be durable.
    pub(super) fn unsynced_bytes(&self, written: u64) -> u64 {
        written.saturating_sub(self.synced_bytes.load(Ordering::Acquire))
    }

    /// Takes everything that was ever written for durable.
    pub(super) fn all_synced(&self, written: u64) {
        self.synced_bytes.store(written, Ordering::Release);
    }

    /// Makes everyone who waits look again.
    pub(super) fn wake(&self) {
        self.leader.wake();
    }
}

/// What is to be synced.
#[derive(Clone, Copy)]
enum Cover {
    All,
    /// Full segments alone: while the active one is synced, its writer meets a fault in each page.
    Rolled,
}

/// What one sync has to do.
struct Job {
    rolled: Vec<Rolled>,
    active: Option<(SegmentId, Arc<dyn File>)>,
    /// Set if names of segments are unsynced: how many had been created.
    created: Option<u64>,
    end: Offset,
    written_bytes: u64,
    version: u64,
}

impl Log {
    /// Waits until everything below the place is durable, leading the sync if nobody does.
    pub(crate) fn wait_durable(&self, place: Place) -> Result<()> {
        let mut admitted_in = None;
        self.lead_until(place.next(), Cover::All, || {
            // Before the check: an end that is reached behind a cut is that of other records.
            let durable_end = self.durable_end();
            let version = self.version();
            if admitted_in != Some(version) {
                self.admit(place, Origin::Caller)?;
                admitted_in = Some(version);
            }
            Ok(durable_end >= place.next())
        })
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let (view, end) = self.now();
        self.sync_to(self.place_in(&view, end))
    }

    /// Makes everything below the place durable, unless a truncate takes it away.
    fn sync_to(&self, place: Place) -> Result<()> {
        match self.wait_durable(place) {
            // Whoever truncates syncs all first. What is gone for another reason was lost.
            Err(Error::Diverged { .. }) if self.view().lineage.is_truncated(place) => Ok(()),
            other => other,
        }
    }

    /// Makes the segments durable that are full, and leaves the active one to its writer.
    pub(crate) fn sync_rolled(&self) -> Result<()> {
        let mut appender = self.appender.lock();
        let Some(wanted) = appender.rolled.last().map(|last| last.sealed.end) else { return Ok(()) };
        if self.durable_end() >= wanted {
            self.owner.check()?;
            self.latched()?;
            // What failed when they were synced may do now.
            let job = self.job(&appender, Cover::Rolled);
            let _sealed_later = self.seal_rolled(&mut appender, &job);
            return Ok(());
        }
        let version = self.version();
        drop(appender);
        // Behind a cut the durable end may stay lower: what it took was synced before.
        self.lead_until(wanted, Cover::Rolled, || Ok(self.durable_end() >= wanted || self.version() != version))
    }

    fn lead_until(&self, wanted: Offset, cover: Cover, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let done = || {
            self.owner.check()?;
            match done()? {
                true => Ok(true),
                // What failed once isn't led again.
                false => self.latched().map(|()| false).map_err(|error| self.explain(error)),
            }
        };
        // What a delete took away meanwhile can't be synced, and needn't be.
        let lead = || self.lead(cover).map_err(|error| self.explain(error));
        self.sync.leader.lead_until(wanted.get(), done, lead)
    }

    /// Does something that no sync may overlap with. Whoever waits for one goes on afterwards.
    pub(super) fn while_nobody_leads<T>(&self, work: impl FnOnce() -> T) -> T {
        self.sync.leader.while_nobody_leads(work)
    }

    /// Nothing more is written here until the partition is reopened; whoever waits is told.
    pub(super) fn latch_down(&self, path: &Path) {
        self.latch.fall("sync", path);
        self.owner.signal.notify();
    }

    /// One sync for everything written up to its beginning, or for the full segments of it.
    fn lead(&self, cover: Cover) -> Result<Reached> {
        let job = self.job(&self.appender.lock(), cover);
        self.carry_out(&job)?;
        let mut appender = self.appender.lock();
        // What was closed may be another process's by now, and nothing is written behind a failed sync: no seal either.
        self.owner.check()?;
        self.latched()?;
        self.publish(&mut appender, &job);
        // The records are durable, whatever becomes of the seals: they wait for the next sync, and a close insists.
        let _sealed_later = self.seal_rolled(&mut appender, &job);
        let is_same = job.version == self.version();
        Ok(if is_same { Reached::End(self.durable_end().get()) } else { Reached::Changed })
    }

    /// The same for who holds the appender's lock already.
    pub(super) fn sync_under(&self, appender: &mut Appender) -> Result<()> {
        let job = self.lead_under(appender)?;
        self.home.reserve.with_room(|| self.seal_rolled(appender, &job))
    }

    /// The same for an append, which seals that find no room don't keep from its turn.
    #[cold]
    pub(super) fn sync_for_append(&self, appender: &mut Appender) -> Result<()> {
        let job = self.lead_under(appender)?;
        let _sealed_later = self.seal_rolled(appender, &job);
        Ok(())
    }

    fn lead_under(&self, appender: &mut Appender) -> Result<Job> {
        let job = self.job(appender, Cover::All);
        self.carry_out(&job)?;
        self.publish(appender, &job);
        Ok(job)
    }

    fn job(&self, appender: &Appender, cover: Cover) -> Job {
        let all = Job {
            rolled: appender.rolled.clone(),
            active: appender.writer.as_ref().map(|writer| (writer.segment.id, writer.file().clone())),
            created: (appender.created > appender.created_synced).then_some(appender.created),
            end: appender.end,
            written_bytes: appender.written_bytes,
            version: self.version(),
        };
        match (cover, appender.rolled.last()) {
            (Cover::Rolled, Some(last)) => {
                Job { active: None, end: last.sealed.end, written_bytes: last.written_bytes, ..all }
            }
            _ => all,
        }
    }

    fn carry_out(&self, job: &Job) -> Result<()> {
        for rolled in &job.rolled {
            if let Some(file) = &rolled.file {
                self.sync_segment(rolled.id, &**file)?;
            }
        }
        if let Some((id, file)) = &job.active {
            self.sync_segment(*id, &**file)?;
        }
        if job.created.is_some() {
            self.sync_dir()?;
        }
        let mut history = self.history.lock();
        history.sync().inspect_err(|_| self.latch_down(&history.shown()))
    }

    fn sync_dir(&self) -> Result<()> {
        let (dir, shown) = (&self.home.dir, self.home.shown(&self.home.dir));
        let _alone = self.alone_with_names()?;
        // First: for want of open files no sync has failed, and the next one makes up for it.
        let sync = self.home.seam.dir.open_dir(dir).at("open", &shown)?;
        sync().at("sync", &shown).inspect_err(|_| self.latch_down(&shown))
    }

    /// Taken, and held until a failure has latched, by who syncs the directory: each opens it anew, and the kernel tells of
    /// a failure once, so that a sync behind or beside one that failed would answer well. Behind all other locks.
    pub(super) fn alone_with_names(&self) -> Result<MutexGuard<'_, ()>> {
        let alone = self.sync.names.lock();
        self.latched().map(|()| alone)
    }

    fn sync_segment(&self, id: SegmentId, file: &dyn File) -> Result<()> {
        let path = || self.home.shown(&self.home.segment_path(id));
        file.sync().at("sync", &path()).inspect_err(|_| self.latch_down(&path()))
    }

    /// Publishes the new durable end, unless the log was cut meanwhile.
    fn publish(&self, appender: &mut Appender, job: &Job) {
        self.sync.synced_bytes.fetch_max(job.written_bytes, Ordering::AcqRel);
        if job.version == self.version() {
            self.durable.fetch_max(job.end.get(), Ordering::AcqRel);
        }
        appender.created_synced = appender.created_synced.max(job.created.unwrap_or(0));
        self.owner.signal.notify();
    }

    /// Marks what was synced and rolled as sealed in the history, each segment once. Those for which that fails keep
    /// waiting.
    fn seal_rolled(&self, appender: &mut Appender, job: &Job) -> Result<()> {
        let is_synced = |rolled: &Rolled| job.rolled.iter().any(|synced| synced.id == rolled.id);
        let (synced, waiting): (Vec<Rolled>, Vec<Rolled>) = appender.rolled.iter().cloned().partition(is_synced);
        self.record_seals(&synced)?;
        appender.rolled = waiting;
        Ok(())
    }

    /// Wakes everyone who waits for a sync, because the topic was deleted or the store closed.
    pub(crate) fn wake_waiters(&self) {
        self.sync.wake();
    }

    /// The policy of so many bytes: syncs when they have gathered, up to the place behind an append. What others append
    /// behind it may be lost, and is told to them.
    pub(super) fn sync_if_due(&self, place: Place) -> Result<()> {
        let Some(bytes) = self.owner.options.sync_bytes else { return Ok(()) };
        if self.has_unsynced(bytes) { self.sync_to(place) } else { Ok(()) }
    }

    /// Whether at least so many bytes wait for a sync.
    pub(crate) fn has_unsynced(&self, bytes: u64) -> bool {
        let written = self.appender.lock().written_bytes;
        self.sync.unsynced_bytes(written) >= bytes.max(1)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;
    use crate::io::sim::{Operation, SimDisk};
    use crate::{AppendOptions, Durability, Store, StoreOptions, TopicOptions};

    const DIR: &str = "topics/orders@1/0";

    /// A partition whose one record, and the name of its segment, wait for their sync.
    fn written() -> (SimDisk, Store, Arc<Log>) {
        let disk = SimDisk::new(7);
        let store = StoreOptions::new().seam(disk.seam()).create("/sim").expect("creates");
        let topic = store.create_topic("orders", TopicOptions::new()).expect("creates");
        topic.append_with("v", AppendOptions::new().durability(Durability::Written)).expect("appends");
        let log = topic.log(0).expect("is there");
        (disk, store, log)
    }

    /// Does something, once, as the partition's directory is about to be synced.
    fn at_sync_dir(disk: &SimDisk, act: impl FnOnce() + Send + 'static) {
        let mut act = Some(act);
        disk.on_operation(Box::new(move |operation: &Operation| {
            if operation.name == "sync_dir" && operation.path.ends_with(DIR) {
                act.take().into_iter().for_each(|act| act());
            }
        }));
    }

    #[test]
    fn a_lead_over_which_the_latch_falls_publishes_nothing() {
        let (disk, _store, log) = written();
        let other = log.clone();
        at_sync_dir(&disk, move || other.latch_down(&other.home.dir));
        let error = log.sync().expect_err("may rest on what was lost");
        assert!(matches!(error, Error::Latched { .. }), "{error}");
        assert_eq!(log.durable_end(), Offset::ZERO);
    }

    #[test]
    fn a_lead_that_outlives_the_close_writes_nothing() {
        let (disk, _store, log) = written();
        let mut appender = log.appender.lock();
        log.retire_writer(&mut appender);
        drop(appender);
        let other = log.clone();
        at_sync_dir(&disk, move || other.owner.closed());
        let lines = log.history.lock().position();
        let error = log.sync().expect_err("is closed");
        assert!(matches!(error, Error::Closed), "{error}");
        assert_eq!(log.history.lock().position(), lines);
    }

    #[test]
    fn nobody_syncs_the_directory_beside_one_whose_sync_fails() {
        let (disk, _store, log) = written();
        let before = disk.count("sync_dir");
        let alone = log.alone_with_names().expect("nothing failed");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| log.sync());
            // Until it ends, which it can't; and so for a while.
            for _ in 0..200 {
                if other.is_finished() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            log.latch_down(&log.home.dir);
            drop(alone);
            let error = other.join().expect("ends").expect_err("would answer well");
            assert!(matches!(error, Error::Latched { .. }), "{error}");
        });
        assert_eq!(disk.count("sync_dir"), before);
    }

    #[test]
    fn whoever_syncs_the_directory_is_alone_with_it() {
        let (disk, store, log) = written();
        let (syncs, alone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (other, counted) = (log.clone(), (syncs.clone(), alone.clone()));
        disk.on_operation(Box::new(move |operation: &Operation| {
            if operation.name == "sync_dir" && operation.path.ends_with(DIR) {
                counted.0.fetch_add(1, Ordering::Relaxed);
                counted.1.fetch_add(usize::from(other.sync.names.try_lock().is_none()), Ordering::Relaxed);
            }
        }));
        log.sync().expect("syncs");
        let replaced = disk.count("rename");
        while disk.count("rename") == replaced {
            let topic = store.topic("orders").expect("is there");
            (0..100).for_each(|_| _ = topic.append("v").expect("appends"));
            (log.start().get() + 1..log.end().get()).for_each(|to| log.trim(Offset::new(to)).expect("trims"));
            store.maintain().expect("maintains");
        }
        let [syncs, alone] = [syncs, alone].map(|count| count.load(Ordering::Relaxed));
        assert!(syncs >= 2 && alone == syncs, "{alone} of {syncs}");
    }
}
