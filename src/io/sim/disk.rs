//! The disk as the engine sees it (a [`Dir`]) and as a test sees it (everything else).
//!
//! Invariant: one mutex guards all state and is never held while code of the user runs. Every call of the seam passes
//! [`SimDisk::enter`], which numbers it, shows it to the hook and asks the script; the effect comes after.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::threads::Mutex;
use parking_lot::ReentrantMutex;

use super::clock::{Family, SimClock, SimEntropy};
use super::content::PAGE_BYTES;
use super::faults::{Failure, Fault, Operation, Script, Untrue};
use super::file::SimFile;
use super::image::{Image, Loss};
use super::medium::{Medium, NodeId, refused};
use crate::io::{Access, Dir, DirSync, Entry, File, Kind, Lock, RegionReader, Seam};

type Hook = Box<dyn FnMut(&Operation) + Send>;

/// A simulated disk with one directory tree at `/sim`. Clones are the same disk.
///
/// As a [`Dir`] it is what the engine runs on; its other calls look at it, harm it and cut its power, and are not
/// operations: neither counted nor failed.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    // Reentrant, and borrowed only by the outermost call: a hook that itself calls the disk is not called again.
    hook: ReentrantMutex<RefCell<Option<Hook>>>,
    clock: SimClock,
    entropy: SimEntropy,
    family: Family,
}

/// Everything behind the mutex.
pub(super) struct State {
    pub(super) medium: Medium,
    pub(super) script: Script,
    pub(super) settings: Settings,
    pub(super) sync_delay: Duration,
    handles: BTreeMap<NodeId, usize>,
    locks: BTreeSet<NodeId>,
    regions: BTreeMap<NodeId, Vec<Region>>,
}

/// What a disk is, whatever happens to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) reserves: bool,
    pub(super) capacity: Option<u64>,
    pub(super) names_need_room: bool,
}

/// A map of a file, and how much of it the file's written bytes have taken over.
struct Region {
    reader: RegionReader,
    absorbed: usize,
}

impl State {
    /// Takes over what was published through maps of the file.
    ///
    /// # Panics
    ///
    /// If that lies behind the file's end: on a real disk the write had killed the process.
    pub(super) fn absorb(&mut self, id: NodeId) {
        let Some(regions) = self.regions.get_mut(&id) else { return };
        regions.retain_mut(|region| {
            // Asked first: a writer may publish and let go while we copy.
            let alone = region.reader.is_alone();
            let fresh = &region.reader.bytes()[region.absorbed..];
            if !fresh.is_empty() {
                let end = (region.absorbed + fresh.len()) as u64;
                assert!(end <= self.medium.inode(id).written.len(), "published through a map behind the file's end");
                write(self.medium.inode_mut(id), fresh, region.absorbed as u64);
                region.absorbed += fresh.len();
            }
            !alone
        });
    }

    pub(super) fn absorb_all(&mut self) {
        for id in self.regions.keys().copied().collect::<Vec<_>>() {
            self.absorb(id);
        }
        self.regions.retain(|_, regions| !regions.is_empty());
    }

    pub(super) fn watch(&mut self, id: NodeId, reader: &RegionReader) {
        let region = Region { reader: reader.clone(), absorbed: reader.published() };
        self.regions.entry(id).or_default().push(region);
    }

    /// The end of what living maps show of the file.
    pub(super) fn mapped(&self, id: NodeId) -> u64 {
        let regions = self.regions.get(&id).into_iter().flatten();
        regions.map(|region| region.absorbed as u64).max().unwrap_or(0)
    }

    /// How many pages are still free.
    pub(super) fn pages_free(&self) -> u64 {
        let Some(capacity) = self.settings.capacity else { return u64::MAX };
        let named = self.medium.tree.files().into_iter().map(|(_, id)| id);
        let held: BTreeSet<NodeId> = named.chain(self.handles.keys().copied()).collect();
        let used: u64 = held.into_iter().map(|id| self.medium.inode(id).written.allocated()).sum();
        capacity.saturating_sub(used) / PAGE_BYTES
    }

    pub(super) fn hold(&mut self, id: NodeId) {
        *self.handles.entry(id).or_default() += 1;
    }

    pub(super) fn release(&mut self, id: NodeId) {
        let handles = self.handles.entry(id).or_default();
        *handles -= 1;
        if *handles == 0 {
            self.handles.remove(&id);
        }
    }

    /// Forgets files that no name, now or after any loss, and no handle leads to.
    fn forget(&mut self) {
        self.absorb_all();
        let named = self.medium.named_ids();
        let State { medium, handles, regions, .. } = self;
        medium.files.retain(|id, _| named.contains(id) || handles.contains_key(id) || regions.contains_key(id));
    }
}

/// Writes to a file's cache, which makes the pages worth writing back again.
pub(super) fn write(inode: &mut super::medium::Inode, bytes: &[u8], position: u64) {
    inode.written.write(bytes, position);
    let end = (position + bytes.len() as u64).div_ceil(PAGE_BYTES);
    inode.clean.retain(|page| !(position / PAGE_BYTES..end).contains(page));
}

impl SimDisk {
    /// An empty disk; the seed decides its randomness.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        let settings = Settings { reserves: true, capacity: None, names_need_room: false };
        SimDisk::with(Medium::empty(), settings, SimClock::start(), Family::new(seed))
    }

    pub(super) fn with(medium: Medium, settings: Settings, clock: SimClock, family: Family) -> SimDisk {
        let state = State {
            medium,
            script: Script::default(),
            settings,
            sync_delay: Duration::ZERO,
            handles: BTreeMap::new(),
            locks: BTreeSet::new(),
            regions: BTreeMap::new(),
        };
        let (hook, entropy) = (ReentrantMutex::new(RefCell::new(None)), family.member());
        SimDisk { shared: Arc::new(Shared { state: Mutex::new(state), hook, clock, entropy, family }) }
    }

    /// What to open a store on: this disk, its clock and its randomness.
    #[must_use]
    pub fn seam(&self) -> Seam {
        Seam { dir: Arc::new(self.clone()), clock: Arc::new(self.clock()), entropy: Arc::new(self.entropy()) }
    }

    /// Its clock, to move it.
    #[must_use]
    pub fn clock(&self) -> SimClock {
        self.shared.clock.clone()
    }

    /// Its randomness.
    #[must_use]
    pub fn entropy(&self) -> SimEntropy {
        self.shared.entropy.clone()
    }

    pub(super) fn state(&self) -> crate::threads::MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Numbers an operation and says whether it takes effect, or lies.
    pub(super) fn enter(&self, name: &'static str, path: &Path) -> Result<Option<Untrue>, Failure> {
        let operation = {
            let mut state = self.state();
            let number = state.script.number(name);
            state.script.stopped(number)?;
            Operation { number, name, path: path.into(), disk: self.clone() }
        };
        if let Ok(mut hook) = self.shared.hook.lock().try_borrow_mut()
            && let Some(hook) = &mut *hook
        {
            hook(&operation);
        }
        self.state().script.judge(&operation)
    }

    fn dir_operation(&self, name: &'static str, path: &Path) -> io::Result<crate::threads::MutexGuard<'_, State>> {
        self.enter(name, path).map_err(|failure| failure.error)?;
        Ok(self.state())
    }

    /// The same for one that gives a file or a directory a new name.
    fn naming_operation(&self, name: &'static str, path: &Path) -> io::Result<crate::threads::MutexGuard<'_, State>> {
        let state = self.dir_operation(name, path)?;
        if state.settings.names_need_room && state.pages_free() == 0 { Err(full()) } else { Ok(state) }
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().script.operations
    }

    /// How many operations of this name there were, failed ones included; see [`Operation`]. A file's sync is `sync`, a
    /// directory's `sync_dir`.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.state().script.counts.get(name).copied().unwrap_or(0)
    }

    /// How many files are open, each as often as it was opened.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.state().handles.values().sum()
    }

    /// Calls the hook before each operation takes effect; it replaces the one before. It may take an
    /// [`image`](Operation::image): what a kill at this very point leaves. Other threads' operations wait for it.
    pub fn on_operation(&self, hook: Box<dyn FnMut(&Operation) + Send>) {
        *self.shared.hook.lock().borrow_mut() = Some(hook);
    }

    /// Stops the machine: the operation of this number and all after it fail.
    pub fn stop_after(&self, number: u64) {
        self.state().script.stop_after = Some(number);
    }

    /// Adds a rule that makes operations fail, or lie.
    pub fn fail(&self, fault: Fault) {
        self.state().script.faults.push(fault);
    }

    /// Answers every sync, of files and directories, well and does nothing.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.state().script.ignore_syncs = ignore;
    }

    /// Lets a read or write move at most so many bytes.
    ///
    /// # Panics
    ///
    /// If that is 0: no disk reads nothing of something for ever.
    pub fn set_io_bytes_max(&self, bytes: Option<usize>) {
        assert_ne!(bytes, Some(0), "a read or write moves at least one byte");
        self.state().script.io_bytes_max = bytes;
    }

    /// Lets every n-th read or write answer `Interrupted`.
    ///
    /// # Panics
    ///
    /// If `n` is less than 2: whoever resumes would do so for ever.
    pub fn interrupt_every(&self, n: Option<u64>) {
        assert!(n.is_none_or(|n| n >= 2), "at most every second read or write is interrupted");
        self.state().script.interrupt_every = n;
    }

    /// Ends every fault, the stop, ignored syncs and short I/O. Capacity and hook stay, and so does what a lie has done.
    pub fn heal(&self) {
        self.state().script.heal();
    }

    /// Limits the bytes, in whole pages, that files take together; `None` for no limit. Removed files count as long as
    /// they are open.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().settings.capacity = bytes;
    }

    /// Whether a disk without a free page refuses new names, too: `create`, `create_dir` and `rename` (it doesn't unless
    /// told). File systems differ in that.
    pub fn set_names_need_room(&self, need: bool) {
        self.state().settings.names_need_room = need;
    }

    /// Whether the disk reserves blocks (it does unless told), and so is written through maps.
    pub fn set_reserves(&self, reserves: bool) {
        self.state().settings.reserves = reserves;
    }

    /// Lets each sync of a file take this long in real time, so that waiters can gather. What is written meanwhile is
    /// not covered by it.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.state().sync_delay = delay;
    }

    /// The whole disk at this moment: what is written, what is synced, and what a power cut may lose of the difference.
    /// Bytes that lie in a map but weren't published are in neither.
    #[must_use]
    pub fn image(&self) -> Image {
        let mut state = self.state();
        state.absorb_all();
        let (medium, settings) = (state.medium.clone(), state.settings);
        Image::of(medium, settings, self.shared.clock.copy(), self.shared.family.clone())
    }

    /// A copy of the tree as it reads now, on a disk of its own, all of it synced: a backup.
    #[must_use]
    pub fn clone_synced(&self) -> SimDisk {
        self.image().after(Loss::None)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk({} files, {} operations)", self.files().len(), self.operations())
    }
}

impl Dir for SimDisk {
    fn root(&self) -> &Path {
        Path::new("/sim")
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.dir_operation("list", path)?;
        let dir = state.medium.tree.find_dir(path)?;
        let entries = state.medium.tree.entries(dir);
        Ok(entries.map(|(name, link)| Entry { name: name.clone(), kind: link.kind }).collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.naming_operation("create_dir", path)?.medium.create("create_dir", path, Kind::Dir).map(|_| ())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let lies = self.enter("sync_dir", path).map_err(|failure| failure.error)?.is_some();
        let mut state = self.state();
        let dir = state.medium.tree.find_dir(path)?;
        if !lies && !state.script.ignore_syncs {
            state.medium.sync_dir(dir);
            state.forget();
        }
        Ok(())
    }

    fn open_dir(&self, path: &Path) -> io::Result<DirSync<'_>> {
        self.dir_operation("open_dir", path)?.medium.tree.find_dir(path)?;
        let path = path.to_path_buf();
        Ok(Box::new(move || self.sync(&path)))
    }

    /// The root of a simulated disk has no name that could be lost; that it is asked for can be seen.
    fn sync_name(&self) -> io::Result<()> {
        self.dir_operation("sync_name", Path::new("")).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.naming_operation("rename", from)?.medium.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.dir_operation("remove_file", path)?.medium.remove("remove_file", path, Kind::File)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.dir_operation("remove_dir", path)?.medium.remove("remove_dir", path, Kind::Dir)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let mut state = self.dir_operation("open", path)?;
        let id = state.medium.tree.find_file(path)?;
        Ok(Arc::new(SimFile::hold(self, &mut state, id, path, access)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.naming_operation("create", path)?;
        let id = state.medium.create("create", path, Kind::File)?;
        Ok(Arc::new(SimFile::hold(self, &mut state, id, path, Access::Write)))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.dir_operation("try_lock", path)?;
        let id = state.medium.tree.find_file(path)?;
        if !state.locks.insert(id) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { disk: self.clone(), id })))
    }

    fn reserves(&self) -> bool {
        self.state().settings.reserves
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    id: NodeId,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.id);
    }
}

pub(super) fn full() -> io::Error {
    refused(ErrorKind::StorageFull)
}
