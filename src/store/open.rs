//! From a path to an open store.
//!
//! Invariant: nothing is changed at a path that doesn't turn out to be a store, or a free place for one; the lock is
//! taken before anything is written; `STORE` is written last at creation, and says "not clean" before anything else is
//! written at an open.

use crate::threads::atomic::AtomicBool;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::threads::{Mutex, RwLock};

use super::background::Background;
use super::identity::{self, STORE_NEW, StoreFile, missing_store};
use super::numbers::Numbers;
use super::recover::recover_all;
use super::report::RecoveryReport;
use super::{Closer, Inner, Store};
use crate::error::{Error, IoContext, Result};
use crate::format::{HEADER_BYTES, LOCK, NEW_PREFIX, QUARANTINE, RESERVE, TOPICS, TRASH};
use crate::io::latch::Latch;
use crate::io::{Access, Lock, OsClock, OsDir, OsEntropy, Reserve, Seam, read_all, remove_tree, write_all_at};
use crate::log::Awake;
use crate::options::{Mapping, StoreOptions};
use crate::segment::Cache;
use crate::topic::{Catalog, Shared, list};

/// At most so many sealed segments are open at once.
const OPEN_SEGMENTS_MAX: usize = 512;
const PID_BYTES_MAX: u64 = 64;
/// The greatest number of a topic or a segment that is believed to have been issued.
pub(super) const NUMBER_MAX: u64 = u64::MAX / 2;

/// What may happen if there is no store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Existing,
    New,
    Either,
}

impl StoreOptions {
    /// Creates a store and opens it: [`Store::create`].
    ///
    /// # Errors
    ///
    /// As [`Store::create`]; [`Error::InvalidOption`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<Store> {
        self.writable(path.as_ref(), Wanted::New)
    }

    /// Opens a store for writing: [`Store::open`].
    ///
    /// # Errors
    ///
    /// As [`Store::open`]; [`Error::InvalidOption`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        self.writable(path.as_ref(), Wanted::Existing)
    }

    /// Opens a store for writing, and creates it if need be: [`Store::open_or_create`].
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`]; [`Error::InvalidOption`].
    pub fn open_or_create(self, path: impl AsRef<Path>) -> Result<Store> {
        self.writable(path.as_ref(), Wanted::Either)
    }

    /// Opens a store for reading: [`Store::open_read_only`].
    ///
    /// # Errors
    ///
    /// As [`Store::open_read_only`]; [`Error::InvalidOption`].
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Store> {
        self.check()?;
        let seam = self.seam_at(path.as_ref());
        let file = find(&seam, path.as_ref())?.map_err(|names| no_store(path.as_ref(), names.as_deref()))?;
        self.assemble(path.as_ref(), &seam, &file, None)
    }

    pub(super) fn seam_at(&self, path: &Path) -> Seam {
        self.seam.clone().unwrap_or_else(|| Seam {
            dir: Arc::new(OsDir::new(path)),
            clock: Arc::new(OsClock::new()),
            entropy: Arc::new(OsEntropy),
        })
    }

    fn writable(self, path: &Path, wanted: Wanted) -> Result<Store> {
        self.check()?;
        let seam = self.seam_at(path);
        let judge = || match find(&seam, path)? {
            Err(names) if wanted == Wanted::Existing || !is_free(names.as_deref()) => {
                Err(no_store(path, names.as_deref()))
            }
            found => Ok(found),
        };
        if let Err(None) = judge()? {
            make_dir(&seam, "")?;
        }
        let lock = take_lock(&seam, path)?;
        // Judged again under the lock: another process may have been faster.
        let file = match judge()? {
            Ok(_) if wanted == Wanted::New => return Err(Error::StoreExists { path: path.to_path_buf() }),
            Ok(file) => file,
            Err(_) => create(&seam)?,
        };
        leave_pid(&seam);
        self.assemble(path, &seam, &file, Some(lock))
    }

    /// Puts the parts together; with a lock the store is open for writing.
    fn assemble(self, path: &Path, seam: &Seam, file: &StoreFile, lock: Option<Box<dyn Lock>>) -> Result<Store> {
        let reserve = Reserve::new(&seam.dir, RESERVE, self.reserve_bytes);
        let numbers = Arc::new(Numbers::new(seam.clone(), reserve.clone(), file.id, next_number(seam, file)?));
        let shared = Arc::new(Shared {
            mapped: self.mapping == Mapping::Auto && seam.dir.reserves(),
            runner: Arc::default(),
            read_only: lock.is_none(),
            unclean: !file.clean,
            cache: Arc::new(Cache::new(OPEN_SEGMENTS_MAX)),
            awake: Arc::new(Awake::new(self.open_partitions_max)),
            recovered: Arc::default(),
            reserve,
            store: file.id,
            epochs: numbers.clone(),
            seam: seam.clone(),
        });
        let (catalog, recovery) = come_up(&shared, &numbers)?;
        let inner = Arc::new(Inner {
            path: path.to_path_buf(),
            shared,
            numbers,
            catalog: Mutex::new(catalog),
            closed: AtomicBool::new(false),
            closing: Mutex::new(()),
            latch: Latch::default(),
            lock: Mutex::new(lock),
            recovery,
            opened_at: (seam.clock.now(), seam.clock.monotonic_ms()),
            background: Mutex::new(None),
            maintaining: Mutex::new(()),
            unlinking: RwLock::new(()),
            last_maintenance: Mutex::new(None),
        });
        if self.background && !inner.shared.read_only {
            *inner.background.lock() = Some(Background::start(&inner)?);
        }
        Ok(Store { _closer: Arc::new(Closer(inner.clone())), inner })
    }
}

/// Finds the topics; for writing it marks the store as open first, clears away what was interrupted, and recovers.
fn come_up(shared: &Arc<Shared>, numbers: &Numbers) -> Result<(Catalog, RecoveryReport)> {
    let (mut catalog, mut recovery) = (Catalog::default(), RecoveryReport::default());
    if !shared.read_only {
        // First: the sync of the directory that comes with the number block makes its name durable.
        shared.reserve.keep();
        numbers.begin()?;
        sweep(shared)?;
        harden_names(shared)?;
    }
    catalog.update(list(shared)?);
    if shared.unclean && !shared.read_only {
        recover_all(shared, &mut catalog, &mut recovery);
    }
    Ok((catalog, recovery))
}

/// What `STORE` says, or else the names that are there.
type Found = std::result::Result<StoreFile, Option<Vec<String>>>;

/// Looks for a store. Topics that have lost `STORE` are damage.
fn find(seam: &Seam, path: &Path) -> Result<Found> {
    let names = names_at(seam, path)?;
    if let Some(file) = identity::read(&*seam.dir)? {
        return Ok(Ok(file));
    }
    let has_topics = has_topics(seam)?;
    // Behind the topics: another process may have created the store meanwhile, and `STORE` before them.
    match identity::read(&*seam.dir)? {
        Some(file) => Ok(Ok(file)),
        None if has_topics => Err(missing_store(&*seam.dir)),
        None => Ok(Err(names)),
    }
}

/// The names in the directory; `None` if there is no directory.
pub(super) fn names_at(seam: &Seam, path: &Path) -> Result<Option<Vec<String>>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match seam.dir.list(Path::new("")) {
        Ok(entries) => Ok(Some(entries.into_iter().map(|entry| entry.name).collect())),
        Err(error) if error.kind() == NotFound => Ok(None),
        Err(error) if error.kind() == NotADirectory => {
            Err(not_a_store(path, "it is not a directory; give the path of a directory"))
        }
        Err(error) => Err(error).at("list", path),
    }
}

const OURS: [&str; 6] = [LOCK, TOPICS, TRASH, QUARANTINE, RESERVE, STORE_NEW];

/// Whether a store may be created here: nothing is there, or what an interrupted creation left.
fn is_free(names: Option<&[String]>) -> bool {
    names.is_none_or(|names| names.iter().all(|name| OURS.contains(&name.as_str())))
}

/// Whether there are topics. `STORE` is written before the first of them, so without it they have lost it.
pub(super) fn has_topics(seam: &Seam) -> Result<bool> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let entries = match seam.dir.list(Path::new(TOPICS)) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(false),
        other => other.at("list", &seam.dir.root().join(TOPICS))?,
    };
    Ok(entries.iter().any(|entry| crate::format::parse_topic_dir(&entry.name).is_some()))
}

pub(super) fn no_store(path: &Path, names: Option<&[String]>) -> Error {
    let reason = match names {
        None => "nothing is there; create a store first",
        Some([]) => "the directory is empty; create a store first",
        Some(_) if is_free(names) => "its creation was interrupted; create it again, or use open_or_create",
        Some(_) => "the directory holds other files and no file `STORE`; give an empty or a new directory",
    };
    not_a_store(path, reason)
}

fn not_a_store(path: &Path, reason: &str) -> Error {
    Error::NotAStore { path: path.to_path_buf(), reason: reason.into() }
}

fn create_file(seam: &Seam, name: &str) -> Result<()> {
    let made = unless_there(seam.dir.create(Path::new(name)).map(drop));
    made.taking(HEADER_BYTES, "create", &seam.dir.root().join(name))
}

fn make_dir(seam: &Seam, name: &str) -> Result<()> {
    unless_there(seam.dir.create_dir(Path::new(name))).taking(HEADER_BYTES, "create", &shown(seam, name))
}

fn unless_there(made: std::io::Result<()>) -> std::io::Result<()> {
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The path as a person would type it.
fn shown(seam: &Seam, name: &str) -> PathBuf {
    let root = seam.dir.root();
    // Joining an empty name would add a slash.
    if name.is_empty() { root.to_path_buf() } else { root.join(name) }
}

/// Takes the kernel's lock. Writes nothing but its file, which may have been removed.
pub(super) fn take_lock(seam: &Seam, path: &Path) -> Result<Box<dyn Lock>> {
    let (name, shown) = (Path::new(LOCK), seam.dir.root().join(LOCK));
    if let Err(error) = seam.dir.open(name, Access::Write) {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Err(error).at("open", &shown);
        }
        create_file(seam, LOCK)?;
    }
    let Some(lock) = seam.dir.try_lock(name).at("lock", &shown)? else {
        return Err(Error::Locked { path: path.to_path_buf(), pid: pid_in(seam) });
    };
    Ok(lock)
}

/// Leaves this process's number in the lock's file, for whoever is refused.
pub(super) fn leave_pid(seam: &Seam) {
    let pid = format!("{:<10}\n", std::process::id());
    // Only a hint for messages: a disk that is full mustn't keep the store from opening.
    if let Ok(file) = seam.dir.open(Path::new(LOCK), Access::Write) {
        let _only_a_hint = write_all_at(&*file, pid.as_bytes(), 0);
    }
}

fn pid_in(seam: &Seam) -> Option<u32> {
    let file = seam.dir.open(Path::new(LOCK), Access::Read).ok()?;
    String::from_utf8(read_all(&*file, PID_BYTES_MAX).ok()?).ok()?.trim().parse().ok()
}

/// Builds an empty store, `STORE` last.
fn create(seam: &Seam) -> Result<StoreFile> {
    [TOPICS, TRASH, QUARANTINE].iter().try_for_each(|name| make_dir(seam, name))?;
    seam.dir.sync(Path::new("")).at("sync", seam.dir.root())?;
    sync_name(seam)?;
    let mut id = [0; 16];
    seam.entropy.fill(&mut id).at("draw a random id for", seam.dir.root())?;
    let file = StoreFile { id, next_number: 1, clean: true };
    identity::write(seam, &file)?;
    Ok(file)
}

/// Makes the name of the store's directory durable, also if an interrupted creation or the host made it. One that the host
/// made in a directory which it keeps from us is the host's; one where a file system is mounted may stand in a directory of
/// another that is never written, and so knows no sync.
fn sync_name(seam: &Seam) -> Result<()> {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match seam.dir.sync_name() {
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem) => {
            Ok(())
        }
        other => other.at("sync the name of", seam.dir.root()),
    }
}

/// The first number that was never issued, by what `STORE` says and by the directories that are there.
pub(super) fn next_number(seam: &Seam, file: &StoreFile) -> Result<u64> {
    let mut next = file.next_number;
    for dir in [TOPICS, TRASH] {
        let path = Path::new(dir);
        let entries = match seam.dir.list(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && dir == TRASH => continue,
            other => other.at("list", &seam.dir.root().join(dir))?,
        };
        let numbers = entries.iter().filter_map(|entry| Some(crate::format::parse_topic_dir(&entry.name)?.1));
        // No store comes that far: a directory that somebody has named so is damage of that topic alone.
        let numbers = numbers.filter(|&number| number <= NUMBER_MAX);
        next = next.max(numbers.max().map_or(0, |number| number.saturating_add(1)));
    }
    Ok(next)
}

/// Removes what an interrupted creation of a topic left, and makes directories that are missing, durably: what goes into
/// them must not be lost with their names. What fails otherwise fails again, and is reported, where it matters.
fn sweep(shared: &Shared) -> Result<()> {
    let dir = &shared.seam.dir;
    let made = [TRASH, QUARANTINE].map(|name| dir.create_dir(Path::new(name)).is_ok());
    if made.contains(&true) {
        dir.sync(Path::new("")).at("sync", dir.root())?;
    }
    for entry in dir.list(Path::new(TOPICS)).unwrap_or_default() {
        if entry.name.starts_with(NEW_PREFIX) {
            let _found_again = remove_tree(&**dir, &Path::new(TOPICS).join(&entry.name));
        }
    }
    Ok(())
}

/// A topic that was created or deleted when the process was killed may be so in the page cache alone. What this open
/// shows, and what is built on it, must not be taken back by a power cut; so names come first.
fn harden_names(shared: &Shared) -> Result<()> {
    let dirs: &[&str] = if shared.unclean { &[TOPICS, TRASH] } else { &[] };
    dirs.iter().try_for_each(|name| {
        let path = Path::new(name);
        shared.seam.dir.sync(path).at("sync", &shared.shown(path))
    })
}
