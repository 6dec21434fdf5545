//! The real side of the seam: the operating system's files, clocks and randomness. Contracts in [`super`].
//!
//! Invariant: no call answers `Ok` before the kernel did what the contract says, and none keeps a state of its own that
//! could differ from the kernel's, but for the failed syncs, which the kernel forgets. Made by the store when it opens;
//! everything above holds it as a `Seam`.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memmap2::MmapOptions;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::dirtied::Dirtied;
use super::reserving;
use super::syncs::Syncs;
use super::{Access, Clock, Dir, DirSync, Entropy, Entry, File, Kind, Lock, Memory, RegionReader, RegionWriter};
use crate::offset::Timestamp;

/// So many syncs of different files are on their way together: 2.4 times as many a second as one by one, on a disk of a
/// virtual machine; 32 would be 3.4 times as many.
const THREADS_MAX: usize = 8;

/// A directory of the operating system. It need not exist yet. It stays where the path led when this was made, wherever the
/// process goes.
#[derive(Clone, Debug)]
pub struct OsDir {
    /// As it was given, for messages.
    root: PathBuf,
    /// A relative path would lead elsewhere once the host has changed its working directory.
    place: PathBuf,
}

impl OsDir {
    /// The directory at this path.
    #[must_use]
    pub fn new(root: &Path) -> OsDir {
        // Only an empty path has no absolute one, and any other where the working directory is gone: nothing is there then.
        let place = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
        OsDir { root: root.to_path_buf(), place }
    }

    fn at(&self, path: &Path) -> PathBuf {
        // Joining an empty path would add a slash, which follows a symbolic link where the bare path doesn't.
        if path.as_os_str().is_empty() { self.place.clone() } else { self.place.join(path) }
    }

    /// The directories that have a name of the root: the one that it stands in, and behind a link the link's.
    fn named_in(&self) -> io::Result<Vec<PathBuf>> {
        let parent = |path: PathBuf| path.parent().map_or_else(|| path.clone(), Path::to_path_buf);
        let mut dirs = vec![parent(fs::canonicalize(&self.place)?), parent(self.place.clone())];
        dirs.dedup();
        Ok(dirs)
    }

    fn list_once(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.at(path))? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => Kind::File,
                Ok(kind) if kind.is_dir() => Kind::Dir,
                Ok(_) => Kind::Other,
                // Removed since it was read, and the file system gave no type with the name.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind });
        }
        Ok(entries)
    }

    fn file(&self, options: &fs::OpenOptions, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = options.open(self.at(path))?;
        Ok(Arc::new(OsFile { file, limit: AtomicU64::new(0), syncs: Syncs::default(), dirtied: Dirtied::default() }))
    }
}

impl Dir for OsDir {
    fn root(&self) -> &Path {
        &self.root
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        // `std` takes up every other call again that a signal has interrupted, but not these.
        loop {
            match self.list_once(path) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(self.at(path))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        fs::File::open(self.at(path))?.sync_all()
    }

    fn open_dir(&self, path: &Path) -> io::Result<DirSync<'_>> {
        let dir = fs::File::open(self.at(path))?;
        Ok(Box::new(move || dir.sync_all()))
    }

    fn sync_name(&self) -> io::Result<()> {
        self.named_in()?.iter().try_for_each(|dir| fs::File::open(dir)?.sync_all())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.at(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.file(fs::OpenOptions::new().read(true).write(access == Access::Write), path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.file(fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600), path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let path = self.at(path);
        let dir = OsLock::of(fs::File::open(path.parent().unwrap_or(&path))?);
        match dir.file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            // Some file systems lock no directories, or none that is open for reading: there the file alone counts.
            Ok(()) | Err(fs::TryLockError::Error(_)) => {}
        }
        let mut looks = LOOKS_AT_LOCK;
        loop {
            let lock = OsLock::of(fs::OpenOptions::new().read(true).write(true).open(&path)?);
            match lock.file.try_lock() {
                Ok(()) if looks == 0 || is_at(&lock.file, &path)? => {
                    return Ok(Some(Box::new(OsLocks { _file: lock, _dir: dir })));
                }
                // Replaced since it was opened.
                Ok(()) => looks -= 1,
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn reserves(&self) -> bool {
        reserving::is_known(&self.place)
    }

    fn threads_max(&self) -> usize {
        THREADS_MAX
    }
}

/// The lock lives as long as the open file, which a child made by fork has open too. So it isn't only closed but released;
/// by the process that took it alone, lest such a child releases its parent's lock when it ends.
#[derive(Debug)]
struct OsLock {
    file: fs::File,
    taken_by: u32,
}

/// A file that is another one each time is on a file system that gives no file one identity for long.
const LOOKS_AT_LOCK: u32 = 16;

/// What can't be replaced is let go of last.
#[derive(Debug)]
struct OsLocks {
    _file: OsLock,
    _dir: OsLock,
}

impl Lock for OsLocks {}

impl OsLock {
    fn of(file: fs::File) -> OsLock {
        OsLock { file, taken_by: std::process::id() }
    }
}

/// Whether the path still names this file.
fn is_at(file: &fs::File, path: &Path) -> io::Result<bool> {
    let named = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let ours = file.metadata()?;
    Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
}

impl Drop for OsLock {
    fn drop(&mut self) {
        if self.taken_by == std::process::id() {
            // If it fails, closing the file releases it, as far as no child has it open.
            let _closed_next = self.file.unlock();
        }
    }
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
    /// What `RLIMIT_FSIZE` was when the file was last about to grow beyond it.
    limit: AtomicU64,
    syncs: Syncs,
    dirtied: Dirtied,
}

impl OsFile {
    /// Refuses what the process's limit on the size of files (`ulimit -f`) forbids. Asked of the kernel by trying, it
    /// would end the process with SIGXFSZ.
    /// A limit that was lowered since the file grew last is seen by the next reservation; a write asks only above it.
    fn check_limit(&self, end: u64) -> io::Result<()> {
        if end <= self.limit.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.ask_limit(end)
    }

    fn ask_limit(&self, end: u64) -> io::Result<()> {
        let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
        self.limit.store(limit, Ordering::Relaxed);
        if end <= limit { Ok(()) } else { Err(Errno::FBIG.into()) }
    }
}

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.check_limit(position.saturating_add(bytes.len() as u64))?;
        self.file.write_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        // Covers the length: a changed length is data that a later read needs, unlike the times. Covers what was
        // written through a map: those are the same pages.
        self.dirtied.let_go();
        self.syncs.one(|| self.file.sync_data())
    }

    #[cfg(target_os = "linux")]
    fn begin_sync(&self, written: std::ops::Range<u64>) {
        // Told that nobody needs them, the kernel begins to write dirty pages out, and drops those that are clean. An error
        // of that is told to the next sync.
        let len = std::num::NonZeroU64::new(written.end.saturating_sub(written.start));
        if len.is_some() {
            let _only_a_hint = rustix::fs::fadvise(&self.file, written.start, len, rustix::fs::Advice::DontNeed);
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let before = self.len()?;
        if len <= before {
            return Ok(());
        }
        self.ask_limit(len)?;
        reserving::extend(&self.file, before, len).inspect_err(|_| {
            // A full disk can stop half way, with the file longer and the blocks taken: give them back. Should that
            // fail too, the file has zeros behind its end, which every reader must expect after a crash anyway.
            let _longer = self.file.set_len(before);
        })
    }

    fn map_write(&self, capacity: usize, published: usize) -> io::Result<(RegionWriter, RegionReader)> {
        let map = MmapOptions::new().len(capacity).map_raw(&self.file)?;
        // A child made by fork must not write into the log.
        #[cfg(target_os = "linux")]
        map.advise(memmap2::Advice::DontFork)?;
        // Without readahead a fault brings in one page. In larger pieces, which it would bring in here, a sync after a few
        // bytes writes all of the piece.
        #[cfg(target_os = "linux")]
        map.advise(memmap2::Advice::Random)?;
        let (writer, reader) = Memory::mapped(map).split(published, published);
        self.dirtied.through(&reader);
        Ok((writer, reader))
    }

    fn map_read(&self, len: usize) -> io::Result<RegionReader> {
        let map = MmapOptions::new().len(len).map_raw_read_only(&self.file)?;
        // The writer has nothing to write (`published` is all there is) and ends here.
        Ok(Memory::mapped(map).split(len, len).1)
    }
}

/// The clocks of the operating system.
#[derive(Clone, Debug)]
pub struct OsClock {
    started: Duration,
}

/// The kernel's monotonic time, with the time that the machine slept: the wall clock has it, too.
#[cfg(target_os = "linux")]
const ELAPSED: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const ELAPSED: ClockId = ClockId::Monotonic;

fn elapsed() -> Duration {
    let now = clock_gettime(ELAPSED);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

impl OsClock {
    /// The clocks; monotonic time counts from here.
    #[must_use]
    pub fn new() -> OsClock {
        OsClock { started: elapsed() }
    }
}

impl Default for OsClock {
    fn default() -> OsClock {
        OsClock::new()
    }
}

impl Clock for OsClock {
    /// The kernel's clock of a few milliseconds' grain: every append asks, and it costs a fifth of the fine one.
    #[cfg(target_os = "linux")]
    fn now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Timestamp::from_millis(now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000))
    }

    #[cfg(not(target_os = "linux"))]
    fn now(&self) -> Timestamp {
        std::time::SystemTime::now().into()
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(elapsed().saturating_sub(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn dir() -> (tempfile::TempDir, OsDir) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = OsDir::new(temp.path());
        (temp, dir)
    }

    fn read(file: &dyn File) -> Vec<u8> {
        crate::io::read_all(file, 1 << 20).expect("read")
    }

    #[test]
    fn the_roots_name_stands_where_the_root_does_also_behind_a_link_or_dots() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let here = fs::canonicalize(temp.path())?;
        fs::create_dir_all(here.join("volume/store/topics"))?;
        std::os::unix::fs::symlink("volume/store", here.join("data"))?;
        let named_in = |path: &str| OsDir::new(&here.join(path)).named_in();
        assert_eq!(named_in("volume/store")?, [here.join("volume")]);
        assert_eq!(named_in("data")?, [here.join("volume"), here.clone()]);
        assert_eq!(named_in("volume/store/topics/..")?[0], here.join("volume"));
        assert_eq!(OsDir::new(Path::new("/")).named_in()?, [Path::new("/")]);
        Ok(())
    }

    #[test]
    fn what_is_published_through_a_map_is_what_a_positioned_read_finds() -> io::Result<()> {
        let (_temp, dir) = dir();
        let file = dir.create(Path::new("a"))?;
        file.write_at(b"head", 0)?;
        let (mut writer, reader) = file.map_write(1 << 20, 4)?;
        file.reserve(8192)?;
        writer.grow(8192);
        writer.spare(4).copy_from_slice(b"tail");
        writer.publish(4);
        assert_eq!(reader.bytes(), b"headtail");
        assert_eq!(read(&*file)[..9], *b"headtail\0");
        assert_eq!(dir.open(Path::new("a"), Access::Read)?.map_read(8)?.bytes(), b"headtail");
        file.sync()
    }

    #[test]
    fn a_file_whose_sync_has_failed_is_not_synced_again() -> io::Result<()> {
        let (temp, _) = dir();
        let file = fs::File::create(temp.path().join("a"))?;
        let file = OsFile { file, limit: AtomicU64::new(0), syncs: Syncs::default(), dirtied: Dirtied::default() };
        file.sync()?;
        file.syncs.one(|| Err(io::Error::other("lost"))).expect_err("fails");
        file.sync().expect_err("the kernel would say that all is well");
        Ok(())
    }

    #[test]
    fn a_map_of_nothing_is_empty() -> io::Result<()> {
        let (_temp, dir) = dir();
        let file = dir.create(Path::new("a"))?;
        assert_eq!(file.map_read(0)?.bytes(), b"");
        assert_eq!(file.map_write(0, 0)?.0.reserved(), 0);
        Ok(())
    }

    #[test]
    fn reserve_adds_zeros_and_never_shrinks() -> io::Result<()> {
        let (_temp, dir) = dir();
        let file = dir.create(Path::new("a"))?;
        file.write_at(b"abc", 0)?;
        file.reserve(5)?;
        assert_eq!(read(&*file), b"abc\0\0");
        file.reserve(2)?;
        assert_eq!(file.len()?, 5);
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn blocks_are_taken_where_the_file_system_is_known_to() -> io::Result<()> {
        let (_temp, dir) = dir();
        dir.create(Path::new("a"))?.reserve(1 << 20)?;
        let blocks = fs::metadata(dir.at(Path::new("a")))?.blocks();
        assert!(!dir.reserves() || blocks * 512 >= 1 << 20, "{blocks} blocks");
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn zeros_are_written_exactly_up_to_the_end_where_fallocate_is_missing() -> io::Result<()> {
        let (temp, dir) = dir();
        let file = dir.create(Path::new("a"))?;
        file.write_at(b"abc", 0)?;
        let raw = fs::OpenOptions::new().write(true).open(temp.path().join("a"))?;
        reserving::write_zeros(&raw, 3, 5000)?;
        assert_eq!((file.len()?, &read(&*file)[..4]), (5000, &b"abc\0"[..]));
        Ok(())
    }

    #[test]
    fn what_is_being_synced_reads_as_it_was_written() -> io::Result<()> {
        let (_temp, dir) = dir();
        let file = dir.create(Path::new("a"))?;
        for piece in 0..4 {
            file.write_at(&[piece; 5000], u64::from(piece) * 5000)?;
            file.begin_sync(u64::from(piece) * 5000..(u64::from(piece) + 1) * 5000);
        }
        file.begin_sync(7..7);
        file.sync()?;
        assert_eq!(read(&*file), (0..4).flat_map(|piece| [piece; 5000]).collect::<Vec<_>>());
        Ok(())
    }

    #[test]
    fn a_lock_is_held_by_one_until_it_is_dropped() -> io::Result<()> {
        let (_temp, dir) = dir();
        dir.create(Path::new("LOCK"))?;
        let held = dir.try_lock(Path::new("LOCK"))?;
        assert!(held.is_some());
        assert!(dir.try_lock(Path::new("LOCK"))?.is_none());
        drop(held);
        assert!(dir.try_lock(Path::new("LOCK"))?.is_some());
        Ok(())
    }

    #[test]
    fn a_lock_is_held_also_where_its_file_was_replaced() -> io::Result<()> {
        let (_temp, dir) = dir();
        dir.create(Path::new("LOCK"))?;
        let held = dir.try_lock(Path::new("LOCK"))?;
        dir.remove_file(Path::new("LOCK"))?;
        dir.create(Path::new("LOCK"))?;
        assert!(dir.try_lock(Path::new("LOCK"))?.is_none());
        drop(held);
        assert!(dir.try_lock(Path::new("LOCK"))?.is_some());
        Ok(())
    }

    #[test]
    fn a_file_that_was_replaced_is_not_the_one_of_that_name() -> io::Result<()> {
        let (temp, dir) = dir();
        let path = temp.path().join("LOCK");
        dir.create(Path::new("LOCK"))?;
        let old = fs::File::open(&path)?;
        assert!(is_at(&old, &path)?);
        dir.remove_file(Path::new("LOCK"))?;
        assert!(!is_at(&old, &path)?);
        dir.create(Path::new("LOCK"))?;
        assert!(!is_at(&old, &path)?);
        Ok(())
    }

    #[test]
    fn files_and_directories_are_their_owners_alone() -> io::Result<()> {
        let (temp, dir) = dir();
        dir.create_dir(Path::new("d"))?;
        dir.create(Path::new("d/f"))?;
        let mode = |path: &str| fs::metadata(temp.path().join(path)).map(|meta| meta.permissions().mode() & 0o777);
        assert_eq!((mode("d")?, mode("d/f")?), (0o700, 0o600));
        Ok(())
    }

    #[test]
    fn a_name_that_is_taken_is_never_taken_over_but_by_rename() -> io::Result<()> {
        let (_temp, dir) = dir();
        let old = dir.create(Path::new("a"))?;
        old.write_at(b"old", 0)?;
        assert_eq!(dir.create(Path::new("a")).expect_err("taken").kind(), io::ErrorKind::AlreadyExists);
        dir.create(Path::new("b"))?.write_at(b"new", 0)?;
        dir.rename(Path::new("b"), Path::new("a"))?;
        dir.sync(Path::new(""))?;
        assert_eq!(dir.list(Path::new(""))?, [Entry { name: "a".into(), kind: Kind::File }]);
        assert_eq!(read(&*dir.open(Path::new("a"), Access::Read)?), b"new");
        assert_eq!(read(&*old), b"old");
        Ok(())
    }

    #[test]
    fn a_root_that_is_not_there_reserves_nothing_and_lists_as_not_found() {
        let (temp, _dir) = dir();
        let dir = OsDir::new(&temp.path().join("later"));
        assert!(!dir.reserves());
        assert_eq!(dir.list(Path::new("")).expect_err("absent").kind(), io::ErrorKind::NotFound);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn monotonic_time_goes_on_while_the_machine_sleeps() {
        let before = clock_gettime(ClockId::Boottime);
        let since_boot = elapsed();
        assert!((before.tv_sec..=clock_gettime(ClockId::Boottime).tv_sec).contains(&(since_boot.as_secs() as i64)));
        // Once more as on a machine that slept for two hours, where whoever runs this may ask for it.
        if std::env::var_os("SLEPT").is_none() {
            let mut again = std::process::Command::new("unshare");
            again.args(["--time", "--boottime", "7200"]).arg(std::env::current_exe().expect("knows itself"));
            let again = again.args(["--exact", "io::os::tests::monotonic_time_goes_on_while_the_machine_sleeps"]);
            let failed = again.env("SLEPT", "").output().is_ok_and(|done| done.status.code() == Some(101));
            assert!(!failed, "the time that it slept is left out");
        }
    }

    #[test]
    fn randomness_differs_from_one_call_to_the_next() -> io::Result<()> {
        let (mut a, mut b) = ([0; 16], [0; 16]);
        OsEntropy.fill(&mut a)?;
        OsEntropy.fill(&mut b)?;
        assert_ne!(a, b);
        Ok(())
    }
}
