//! A topic's own directory: the partitions that it names, adding some, and whether its names are durable.
//!
//! Invariant: a partition is shown when the header that names it is durable, with the commits of the groups that had begun;
//! one that no header names is removed. After a failed sync of the directory nothing is added until it is reopened, and what
//! a crash may have left in the page cache alone is synced before anybody appends to it. Called by `topic`.

use std::sync::Arc;

use super::build::Unnamed;
use super::{Topic, header};
use crate::error::{Error, IoContext, Latched, Result};
use crate::io::DirSync;
use crate::options::TopicOptions;
use crate::threads::atomic::Ordering;

impl Topic {
    /// Adds partitions until there are `total`. Records of one key may go to another partition from then on.
    ///
    /// Every group that has commits in the topic gets one at the beginning of each new partition, whatever its consumers'
    /// start policy is: they miss no record of it, however late they first look at it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] unless `total` is more than there are and at most 10,000; [`Error::ReadOnly`];
    /// [`Error::TopicDeleted`]; [`Error::Closed`]; [`Error::Io`]; [`Error::StorageFull`]; [`Error::Latched`];
    /// [`Error::Corrupt`] if the commits are damaged; [`Error::TooLarge`] if they fill 4 GiB. The topic is as it was then.
    pub fn add_partitions(&self, total: u32) -> Result<()> {
        self.inner.shared.writable()?;
        let _admin = self.inner.admin.lock();
        self.inner.owner.check()?;
        self.latched()?;
        let had = self.partitions();
        if total <= had {
            let reason = format!("{total} was given and there are {had}; partitions can only be added");
            return Err(Error::InvalidOption { option: "partitions", reason });
        }
        let options = TopicOptions { partitions: total, ..self.options().clone() };
        options.check()?;
        let mut unnamed = Unnamed::new(&self.inner.shared);
        (had..total).try_for_each(|number| unnamed.make(&self.inner.dir, self.epoch(), number))?;
        self.sync_dir()?;
        self.widen(&options, || unnamed.keep())
    }

    /// Makes partitions whose directories are there part of the topic; says when the header names them. The groups that
    /// have begun begin them at their first record: their start policy was followed once, and `Latest` would pass over what
    /// is appended before they look. That is committed first, since a crash may come in between, and the lock keeps others
    /// from beginning meanwhile.
    fn widen(&self, options: &TopicOptions, named: impl FnOnce()) -> Result<()> {
        let added = self.partitions()..options.partitions;
        // Damaged ones keep no directory latched that needs none of them.
        let mut commits = if added.is_empty() { None } else { Some(self.commits()?) };
        commits.as_mut().map_or(Ok(()), |commits| commits.begin(&added))?;
        let sync = header::replace(&self.inner.shared, &self.inner.dir, self.name(), self.epoch(), options)?;
        named();
        self.sync_names(sync)?;
        self.show_partitions(options.partitions);
        Ok(())
    }

    pub(super) fn show_partitions(&self, total: u32) {
        let mut slots = self.inner.slots.write();
        // Never fewer: another look may have been faster, and seen more.
        if slots.len() < total as usize {
            slots.resize_with(total as usize, Arc::default);
        }
        drop(slots);
        self.inner.owner.signal.notify();
    }

    fn sync_dir(&self) -> Result<()> {
        let (shared, dir) = (&self.inner.shared, &self.inner.dir);
        // First: for want of open files no sync has failed, and the next one makes up for it.
        let sync = shared.seam.dir.open_dir(dir).at("open", &shared.shown(dir))?;
        self.sync_names(sync)
    }

    /// A directory whose sync failed may or may not remember its names: none is added until it is reopened.
    fn sync_names(&self, sync: DirSync<'_>) -> Result<()> {
        let shown = self.inner.shared.shown(&self.inner.dir);
        sync().at("sync", &shown).inspect_err(|_| self.inner.latch.fall("sync", &shown))
    }

    pub(super) fn latched(&self) -> Result<()> {
        self.inner.latch.check(|| Latched::Topic { topic: self.name().clone() })
    }

    /// Whatever the header says now is written anew, and counts.
    pub(super) fn reopen_dir(&self) -> Result<()> {
        if !self.inner.latch.is_down() {
            return Ok(());
        }
        let (_, options) = self.header()?;
        self.inner.shared.reserve.with_room(|| self.widen(&options, || {}))?;
        self.inner.latch.lift();
        self.inner.soft.store(false, Ordering::Release);
        Ok(())
    }

    /// Makes durable the names in the directory that a crash may have left in the page cache alone, above all that of a
    /// header with new partitions: who appends to one of them must not lose it with the header.
    pub(super) fn harden_names(&self) -> Result<()> {
        if self.is_soft() {
            self.latched()?;
            self.sync_dir()?;
            self.inner.soft.store(false, Ordering::Release);
        }
        Ok(())
    }

    pub(super) fn is_soft(&self) -> bool {
        self.inner.soft.load(Ordering::Acquire)
    }
}
