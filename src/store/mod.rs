//! All data under one directory: open, lock, recover, maintain, close.
//!
//! Invariant: one process writes, held by the kernel's lock; `STORE` is written last at creation, so a directory without
//! it is no store; between the open and a clean close `STORE` says that nothing may be taken for synced. Open isn't
//! create, unless it is asked to be.

mod background;
mod identity;
mod numbers;
mod open;
mod recover;
mod repair;
mod report;

use crate::threads::atomic::{AtomicBool, Ordering};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::threads::{Mutex, MutexGuard, RwLock};

pub(crate) use identity::{missing_store, read as read_identity};
pub use repair::{Repair, RepairPlan, RepairReport};
pub use report::{LastMaintenance, Maintenance, RecoveryReport, Unrecovered};

use crate::error::{Error, IoContext, Latched, Result, first_error};
use crate::format::{TOPICS, TRASH, parse_topic_dir, topic_dir};
use crate::io::latch::Latch;
use crate::io::{DirSync, Entry, Kind, Lock, Seam, remove_tree};
use crate::log::may_expire;
use crate::name::TopicName;
use crate::offset::Timestamp;
use crate::options::{StoreOptions, TopicOptions};
use crate::topic::{Catalog, Shared, Topic, list};

use background::Background;
use numbers::Numbers;

/// An open store. Cheap to clone; the last clone that is dropped closes it, without being able to say so if that fails:
/// call [`close`](Store::close) to know.
///
/// ```
/// use epochlog::{Record, Start, Store, TopicOptions};
/// use std::time::Duration;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("data");
/// let store = Store::open_or_create(&path)?;
/// let orders = store.topic_or_create("orders", TopicOptions::new())?;
/// let ack = orders.append(Record::new("up").key("device-7"))?;
/// assert_eq!(ack.offset().get(), 0);
///
/// let mut billing = orders.consumer("billing").start(Start::Earliest).open()?;
/// for record in &billing.poll(Duration::from_millis(100))? {
///     assert_eq!(record.value(), b"up");
/// }
/// billing.commit()?;
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Dropped with the last clone.
    _closer: Arc<Closer>,
}

struct Inner {
    path: PathBuf,
    shared: Arc<Shared>,
    numbers: Arc<Numbers>,
    catalog: Mutex<Catalog>,
    closed: AtomicBool,
    /// Held by whoever closes it: a second one that answered at once would promise what isn't so yet.
    closing: Mutex<()>,
    /// Falls when a directory of topics couldn't be synced.
    latch: Latch,
    lock: Mutex<Option<Box<dyn Lock>>>,
    /// Of the open.
    recovery: RecoveryReport,
    /// Wall and monotonic time at open, to notice a clock that jumps.
    opened_at: (Timestamp, u64),
    background: Mutex<Option<Background>>,
    /// Held while `maintain` is at work: the lock isn't given away before.
    maintaining: Mutex<()>,
    /// Held by deletes that unlink: the same.
    unlinking: RwLock<()>,
    last_maintenance: Mutex<Option<LastMaintenance>>,
}

struct Closer(Arc<Inner>);

impl Drop for Closer {
    fn drop(&mut self) {
        // Nobody is left to tell. Whatever wasn't closed cleanly is recovered by the next open.
        let _untold = self.0.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.inner.path.display())
    }
}

impl Store {
    /// Creates a store in a directory that is empty or isn't there, and opens it.
    ///
    /// # Errors
    ///
    /// [`Error::StoreExists`]; [`Error::NotAStore`] if something else is there; [`Error::Locked`];
    /// [`Error::StorageFull`]; [`Error::Io`]. What was there is as it was.
    pub fn create(path: impl AsRef<Path>) -> Result<Store> {
        StoreOptions::new().create(path)
    }

    /// Opens a store for writing. If it wasn't closed cleanly it is recovered; [`recovery`](Store::recovery) says how.
    ///
    /// Files are memory-mapped by default, and this is a safe function because of three things: the kernel's lock keeps
    /// a second writer out, the files are readable and writable by their owner only, and the engine never shrinks what
    /// is mapped. What remains: if the disk fails to read a mapped page, if another program cuts one of the files, or if a
    /// full XFS finds no block of its own for one that a plain `cp` of the open store shares (`cp --reflink=never` shares
    /// none), the operating system ends the process (SIGBUS). Who can't accept that opens with
    /// [`Mapping::Never`](crate::Mapping::Never), at the price of a system call for each append.
    ///
    /// The lock ends with the store, and with the process. A child that the process forked, and that became no other
    /// program, must not use the store. If it outlives a process that was killed it holds the lock until it ends too.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`] if there is nothing, something else, or a store whose creation was interrupted;
    /// [`Error::Locked`] if another process has it open for writing; [`Error::UnsupportedVersion`]; [`Error::Corrupt`] if
    /// the file `STORE` is damaged; [`Error::StorageFull`]; [`Error::Io`]. A damaged topic doesn't keep the store from
    /// opening: its error comes from [`topic`](Store::topic).
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        StoreOptions::new().open(path)
    }

    /// Opens a store for writing; creates it first if there is nothing, or a creation that was interrupted.
    ///
    /// # Errors
    ///
    /// As [`open`](Store::open) and [`create`](Store::create).
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Store> {
        StoreOptions::new().open_or_create(path)
    }

    /// Opens a store for reading, also while another process writes it. Takes no lock, writes nothing, recovers nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`], [`Error::UnsupportedVersion`], [`Error::Corrupt`], [`Error::Io`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Store> {
        StoreOptions::new().open_read_only(path)
    }

    /// Where it is, as it was given: a relative path counts from the directory in which the process was at the opening.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The outside world that it stands in, for those who look at its files.
    pub(crate) fn seam(&self) -> Result<Seam> {
        self.inner.check()?;
        Ok(self.inner.shared.seam.clone())
    }

    /// What recovery did when the store was opened, and since: a partition that couldn't be recovered then is when it is
    /// used, and one that is reopened is recovered too. Asked again it tells of them all.
    #[must_use]
    pub fn recovery(&self) -> RecoveryReport {
        let mut report = self.inner.recovery.clone();
        report.partitions.extend(self.inner.shared.recovered.lock().iter().cloned());
        let catalog = self.inner.catalog.lock();
        report.failed.retain(|failed| match catalog.loaded_one(&failed.topic) {
            Some(topic) => !topic.is_recovered(failed.partition),
            None => !catalog.numbers(&failed.topic).is_empty(),
        });
        report
    }

    /// The names of all topics, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; [`Error::Io`] in a read-only store.
    pub fn topics(&self) -> Result<Vec<TopicName>> {
        self.inner.check()?;
        let mut catalog = self.inner.catalog.lock();
        self.inner.look(&mut catalog)?;
        Ok(catalog.names())
    }

    /// The topic of this name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; [`Error::TopicNotFound`]; [`Error::Corrupt`] if it is damaged;
    /// [`Error::UnsupportedVersion`]; [`Error::Closed`]; [`Error::Io`].
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let name = TopicName::new(name)?;
        self.inner.check()?;
        let mut catalog = self.inner.catalog.lock();
        self.inner.look(&mut catalog)?;
        loop {
            let numbers = catalog.numbers(&name);
            let found = self.inner.load(&mut catalog, &name);
            if found.is_ok() || !self.inner.shared.read_only {
                return found;
            }
            // The writing process may have deleted it between the look and the load, and created another of its name.
            self.inner.look(&mut catalog)?;
            if catalog.numbers(&name) == numbers {
                return found;
            }
        }
    }

    /// Creates a topic. It is there durably, with all its partitions, or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; [`Error::InvalidOption`]; [`Error::TopicExists`], or if the topic of that name is damaged the
    /// error of [`topic`](Store::topic), [`Error::Corrupt`] or [`Error::UnsupportedVersion`]; [`Error::ReadOnly`];
    /// [`Error::Closed`]; [`Error::StorageFull`], [`Error::Io`]: nothing was created; only if it says `sync`, the topic may be there, empty,
    /// when the store is opened again. [`Error::Latched`] after a sync of the store's own files has failed.
    pub fn create_topic(&self, name: &str, options: TopicOptions) -> Result<Topic> {
        let name = TopicName::new(name)?;
        options.check()?;
        self.inner.writable()?;
        let mut catalog = self.inner.catalog.lock();
        self.inner.create(&mut catalog, &name, options)
    }

    /// The topic of this name; creates it if there is none. The options count only then.
    ///
    /// # Errors
    ///
    /// As [`topic`](Store::topic) and [`create_topic`](Store::create_topic).
    pub fn topic_or_create(&self, name: &str, options: TopicOptions) -> Result<Topic> {
        let name = TopicName::new(name)?;
        options.check()?;
        self.inner.writable()?;
        let mut catalog = self.inner.catalog.lock();
        match self.inner.load(&mut catalog, &name) {
            Err(Error::TopicNotFound { .. }) => self.inner.create(&mut catalog, &name, options),
            other => other,
        }
    }

    /// Deletes a topic: its name, records and commits go together, in one atomic and durable step. Every handle, reader,
    /// consumer and waiter of it answers [`Error::TopicDeleted`] from then on. A damaged topic can be deleted too.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; [`Error::TopicNotFound`]; [`Error::ReadOnly`]; [`Error::Closed`]. [`Error::Io`]: if it
    /// says `open`, nothing has changed; if it says `rename`, neither, but where two directories have the name the other
    /// one may be gone, so call again; if it says `sync`, the topic is deleted but might come back after a power cut, and
    /// the store refuses to create or delete topics until it is opened again ([`Error::Latched`]).
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let name = TopicName::new(name)?;
        self.inner.writable()?;
        self.inner.delete(self.inner.catalog.lock(), &name)
    }

    /// Does what time asks for: syncs by interval and of full segments, rolls by age, retention, compaction of commits and
    /// histories, and unlinks what was deleted. With a background thread there is no need to call it, but look at
    /// [`last_maintenance`](Store::last_maintenance) now and then.
    ///
    /// # Errors
    ///
    /// The first error met; everything else was done all the same. [`Error::ReadOnly`], [`Error::Closed`].
    pub fn maintain(&self) -> Result<Maintenance> {
        self.inner.writable()?;
        self.inner.maintain(true, Ok(()))
    }

    /// How the last [`maintain`](Store::maintain) went, the host's or the background thread's, which has nobody else to tell
    /// that it failed, or that retention by age is suspended; `None` before the first.
    #[must_use]
    pub fn last_maintenance(&self) -> Option<LastMaintenance> {
        self.inner.last_maintenance.lock().clone()
    }

    /// Makes everything written so far durable, records and commits, in all topics that were used.
    ///
    /// # Errors
    ///
    /// As [`Topic::sync`], so also [`Error::ReadOnly`]; the first error met, and the other topics were synced all the same.
    pub fn sync(&self) -> Result<()> {
        self.inner.writable()?;
        let topics = self.inner.catalog.lock().loaded();
        first_error(topics.iter().map(|topic| unless_deleted(topic.sync())))
    }

    /// Closes the store, for all its clones: wakes whoever waits, makes everything durable, and says so on disk, so that
    /// the next open has nothing to scan; unless something couldn't be recovered when the store was opened: then the next open
    /// scans all that it would after a crash. Everything answers [`Error::Closed`] from then on.
    /// Closing twice is no error: the second call waits for the first, which is the one that is told what failed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::StorageFull`], [`Error::Latched`]: the store is closed, and the next open recovers it.
    pub fn close(self) -> Result<()> {
        self.inner.close()
    }
}

impl Inner {
    fn check(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    fn writable(&self) -> Result<()> {
        self.check()?;
        self.shared.writable()
    }

    /// In a read-only store the directory is looked at anew: another process changes it.
    fn look(&self, catalog: &mut Catalog) -> Result<()> {
        if self.shared.read_only {
            catalog.update(list(&self.shared)?);
        }
        Ok(())
    }

    fn load(&self, catalog: &mut Catalog, name: &TopicName) -> Result<Topic> {
        self.check()?;
        let found = catalog.get(&self.shared, name, |number| Topic::load(&self.shared, name, number));
        found.map_err(|error| error.of(name, None))
    }

    fn latched(&self) -> Result<()> {
        self.latch.check(|| Latched::Store { path: self.path.clone() })
    }

    fn create(&self, catalog: &mut Catalog, name: &TopicName, options: TopicOptions) -> Result<Topic> {
        self.check()?;
        self.latched()?;
        if !catalog.numbers(name).is_empty() {
            let epoch = self.load(catalog, name)?.epoch();
            return Err(Error::TopicExists { topic: name.clone(), epoch });
        }
        let sync_topics = self.open_dir(TOPICS)?;
        let topic = Topic::create(&self.shared, name, options)?;
        // Before anybody can use it: an append to it would be called durable, and go with the name.
        self.sync_dir(TOPICS, sync_topics)?;
        catalog.insert(&topic);
        Ok(topic)
    }

    /// Before anything is renamed there: want of open files is met while nothing has changed, and latches nothing.
    fn open_dir(&self, name: &str) -> Result<DirSync<'_>> {
        self.shared.seam.dir.open_dir(Path::new(name)).at("open", &self.shared.shown(Path::new(name)))
    }

    /// A directory whose sync failed may or may not remember what was renamed: no more of that until the next open.
    fn sync_dir(&self, name: &str, sync: DirSync<'_>) -> Result<()> {
        let shown = self.shared.shown(Path::new(name));
        sync().at("sync", &shown).inspect_err(|_| self.latch.fall("sync", &shown))
    }

    /// Whoever works with other topics waits for the syncs, and not for what is unlinked behind them.
    fn delete(&self, mut catalog: MutexGuard<'_, Catalog>, name: &TopicName) -> Result<()> {
        self.check()?;
        self.latched()?;
        let numbers = catalog.numbers(name);
        if numbers.is_empty() {
            return Err(Error::TopicNotFound { topic: name.clone() });
        }
        let (sync_topics, sync_trash) = (self.open_dir(TOPICS)?, self.open_dir(TRASH)?);
        let all_renamed = numbers.iter().try_for_each(|&number| self.rename_one(&mut catalog, name, number));
        let left = catalog.numbers(name);
        if left == numbers {
            return all_renamed;
        }
        // Of several directories of one name those that were renamed are gone, also if another couldn't be.
        self.sync_dir(TOPICS, sync_topics)?;
        self.sync_dir(TRASH, sync_trash)?;
        let _close_waits = self.unlinking.read();
        drop(catalog);
        for number in numbers.into_iter().filter(|number| !left.contains(number)) {
            let trash = Path::new(TRASH).join(topic_dir(name, number));
            // Nothing of it is visible any more; what can't be unlinked now is unlinked by `maintain`.
            let _later = remove_tree(&*self.shared.seam.dir, &trash);
        }
        self.shared.reserve.keep();
        all_renamed
    }

    fn rename_one(&self, catalog: &mut Catalog, name: &TopicName, number: u64) -> Result<()> {
        let to_trash = || self.shared.reserve.with_room(|| self.to_trash(name, number));
        match catalog.loaded_one(name) {
            Some(topic) => topic.delete(to_trash)?,
            None => to_trash()?,
        }
        catalog.remove(name, number);
        Ok(())
    }

    fn to_trash(&self, name: &TopicName, number: u64) -> Result<()> {
        let from = Path::new(TOPICS).join(topic_dir(name, number));
        let to = Path::new(TRASH).join(topic_dir(name, number));
        self.shared.seam.dir.rename(&from, &to).at("rename", &self.shared.shown(&from))
    }

    /// The time to measure ages by; `None` if the wall clock has run ahead of the monotonic one.
    fn age_now(&self) -> Option<Timestamp> {
        let now = (self.shared.seam.clock.now(), self.shared.seam.clock.monotonic_ms());
        may_expire(self.opened_at, now).then_some(now.0)
    }

    /// With or without the sync of topics that have an interval. What was met since the last is told with it.
    fn maintain(&self, sync: bool, met: Result<()>) -> Result<Maintenance> {
        let _maintaining = self.maintaining.lock();
        self.check()?;
        let topics: Vec<Result<Topic>> = {
            let mut catalog = self.catalog.lock();
            let names = catalog.names();
            names.iter().map(|name| self.load(&mut catalog, name)).collect()
        };
        let age_now = self.age_now();
        let mut done = Maintenance { retention_suspended: age_now.is_none(), ..Maintenance::default() };
        let maintained = first_error(topics.into_iter().map(|topic| {
            // Whoever closes waits for this.
            self.check()?;
            unless_deleted(topic.and_then(|topic| topic.maintain(age_now, sync, |log| done.add(log))))
        }));
        let emptied = self.deleted().and_then(|deleted| self.unlink(&deleted));
        self.shared.reserve.keep();
        let result = met.and(maintained).and(emptied);
        let error = result.as_ref().err().map(Error::in_one_line);
        *self.last_maintenance.lock() = Some(LastMaintenance { done: done.clone(), error });
        result.map(|()| done)
    }

    /// The topics that lie in the trash and won't come back; what else is there isn't ours. After a failed sync, and until a
    /// delete has done its syncs, for which it keeps the catalog, a power cut may bring a deleted topic back; it has to come
    /// back whole.
    fn deleted(&self) -> Result<Vec<PathBuf>> {
        let _no_delete_is_at_work = self.catalog.lock();
        if self.latch.is_down() {
            return Ok(Vec::new());
        }
        let trash = Path::new(TRASH);
        let entries = self.shared.seam.dir.list(trash).at("list", &self.shared.shown(trash))?;
        let is_topic = |entry: &Entry| entry.kind == Kind::Dir && parse_topic_dir(&entry.name).is_some();
        Ok(entries.into_iter().filter(is_topic).map(|entry| trash.join(entry.name)).collect())
    }

    fn unlink(&self, deleted: &[PathBuf]) -> Result<()> {
        let unlink = |path: &PathBuf| remove_tree(&*self.shared.seam.dir, path).at("remove", &self.shared.shown(path));
        first_error(deleted.iter().map(unlink))
    }

    fn close(&self) -> Result<()> {
        let _closing = self.closing.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let background = self.background.lock().take();
        drop(background);
        // Another thread may be emptying the trash, where the next process that opens the store puts something.
        drop(self.maintaining.lock());
        let catalog = self.catalog.lock();
        drop(self.unlinking.write());
        let closed = first_error(catalog.loaded().iter().map(Topic::close));
        let mut result = closed.and_then(|()| self.latched());
        if !self.shared.read_only && result.is_ok() && self.recovery.failed.is_empty() {
            result = self.numbers.closed_cleanly();
        }
        *self.lock.lock() = None;
        result
    }
}

/// What was deleted while this was on its way needs it no more.
fn unless_deleted<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(Error::TopicDeleted { .. }) => Ok(T::default()),
        other => other,
    }
}
