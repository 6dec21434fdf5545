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

/// Who syncs, and how far it has come.
#[derive(Debug, Default)]
pub(super) struct SyncState {
    leader: Leader,
    synced_bytes: AtomicU64,
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
        // First: for want of open files no sync has failed, and the next one makes up for it.
        let sync = self.home.seam.dir.open_dir(dir).at("open", &shown)?;
        sync().at("sync", &shown).inspect_err(|_| self.latch_down(&shown))
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
