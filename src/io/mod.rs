//! The outside world, as five small contracts: a directory tree, a file, a region of memory over a file, a clock and a
//! source of randomness.
//!
//! Invariant: everything the engine does to the outside passes through here, so that whatever can be done to a log by
//! a disk, a crash or a clock can be done to it in a test. [`os`] is the real side; `sim` (feature `testing`) the side
//! that loses, tears and fails. The engine has no other branch for tests.
//!
//! What holds at each edge:
//!
//! - *write* moves bytes to the kernel: they survive the process. *sync* moves them to the medium: they survive the
//!   power. Neither implies the other's order: unsynced pages, lengths and directory entries reach the medium in any
//!   order, or not at all.
//! - A file's sync covers its bytes and its length, not the entry that names it; that is the directory's sync.
//! - A rename is atomic, also over an existing file.
//! - After a failed sync nothing is known of what was written since the last good one.

mod abreast;
mod ahead;
mod dirtied;
pub(crate) mod latch;
mod map;
mod mark;
mod os;
mod region;
mod replace;
mod reserve;
mod reserving;
mod runner;
#[cfg(feature = "testing")]
pub mod sim;
mod syncs;
mod turns;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(crate) use abreast::abreast;
pub use map::{Memory, RegionReader, RegionWriter};
pub use os::{OsClock, OsDir, OsEntropy};
pub(crate) use region::{Source, Tail, View, Way};
pub(crate) use replace::{replace, write_new};
pub(crate) use reserve::{Reserve, is_want_of_room};
pub(crate) use runner::Runner;

use crate::offset::Timestamp;

/// The outside world of one store.
#[derive(Clone)]
pub struct Seam {
    /// The store's directory tree.
    pub dir: Arc<dyn Dir>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// Its randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Seam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seam({})", self.dir.root().display())
    }
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else; the engine never makes one.
    Other,
}

/// One entry of a directory: its name (lossy where not UTF-8: such a name is never ours) and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name within its directory.
    pub name: String,
    /// What it names.
    pub kind: Kind,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading only.
    Read,
    /// For reading and writing.
    Write,
}

/// The sync of a directory that is already open.
pub type DirSync<'d> = Box<dyn FnOnce() -> io::Result<()> + 'd>;

/// A directory tree. Every path is relative to its root and uses no `..`; the empty path is the root itself.
///
/// No call but [`sync`](Dir::sync) and [`sync_name`](Dir::sync_name) makes anything durable.
pub trait Dir: Send + Sync + fmt::Debug {
    /// Where the tree stands, for messages only.
    fn root(&self) -> &Path;

    /// The entries of a directory, in no order. Fails with `NotFound` where there is none, `NotADirectory` for a file.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Makes a directory, readable by its owner only; its parent must exist. Fails with `AlreadyExists`.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in this directory durable: what was created, renamed and removed.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Opens a directory and gives what syncs it, as [`sync`](Dir::sync) does: whoever couldn't go back once names have
    /// changed knows before that only the sync itself can fail.
    fn open_dir<'d>(&'d self, path: &Path) -> io::Result<DirSync<'d>> {
        let path = path.to_path_buf();
        Ok(Box::new(move || self.sync(&path)))
    }

    /// Makes the name of the root itself durable, in the directory that it stands in.
    fn sync_name(&self) -> io::Result<()>;

    /// Renames a file (replacing one that is there) or a directory (to a name that is free), in one atomic step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name; open handles and maps live on.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Opens a file that exists.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Creates a file for reading and writing, readable by its owner only. Fails with `AlreadyExists`.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Takes the kernel's exclusive lock on an existing file, and as far as the file system can also on the directory that
    /// it is in, lest a second one be had by replacing the file; `None` if another holds either. Held until dropped; dies
    /// with the process.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;

    /// Whether the file system is known to reserve the blocks that [`File::reserve`] asks for, so that writing to them
    /// through a map can't fail for want of room.
    fn reserves(&self) -> bool;

    /// How many threads may work in it at once, so that they wait for its medium together.
    fn threads_max(&self) -> usize {
        1
    }
}

/// A kernel lock; dropping it releases it.
pub trait Lock: Send + Sync + fmt::Debug {}

/// An open file. Positions are bytes from its beginning.
// Asking a file for its length is a call that can fail; nobody asks whether it is empty.
#[allow(clippy::len_without_is_empty)]
pub trait File: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads some bytes at a position; 0 only at or behind the end (or for an empty buffer). May read fewer than asked.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes some bytes at a position, growing the file if need be. May write fewer than asked, never 0 of some.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize>;

    /// Makes bytes and length durable, those written through a map included.
    fn sync(&self) -> io::Result<()>;

    /// Lets the system begin to bring written bytes to the medium, so that the sync that follows finds less to do.
    /// Promises nothing.
    fn begin_sync(&self, _written: std::ops::Range<u64>) {}

    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Grows the file to `len` zero bytes behind what it has, with blocks reserved for them where
    /// [`Dir::reserves`] says so. Fails with `StorageFull` (or a quota's or limit's error) and changes nothing then.
    /// Never shrinks.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// Maps the file for one writer and its readers, `capacity` bytes from the beginning; the file may be shorter, and
    /// only bytes below its length may be touched. The first `published` bytes exist and will not change.
    fn map_write(&self, capacity: usize, published: usize) -> io::Result<(RegionWriter, RegionReader)>;

    /// Maps the first `len` bytes for reading. They exist and will not change, and the file isn't cut below them.
    fn map_read(&self, len: usize) -> io::Result<RegionReader>;
}

/// A wall clock that people set, and a monotonic one that nobody does.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Milliseconds since an arbitrary moment, never going back; those of a suspended machine count where the system tells.
    fn monotonic_ms(&self) -> u64;

    /// Lets this much time pass for the calling thread.
    fn pause(&self, duration: std::time::Duration) {
        std::thread::sleep(duration);
    }
}

/// Randomness for tags and ids.
pub trait Entropy: Send + Sync {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// Writes all the bytes, resuming after short writes and interruptions.
pub(crate) fn write_all_at(file: &dyn File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                position += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Room that a small, growing file has reserved ahead of what it writes, so that a little more can be written to it on a
/// full disk: the lines that give room back are themselves written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Headroom {
    reserved: u64,
}

impl Headroom {
    const BYTES_MIN: u64 = 16 << 10;
    const BYTES_MAX: u64 = 256 << 10;

    /// Reserves more when little is left behind `end`: as much as there is, within bounds. Where that fails the file grows
    /// as it is written.
    pub(crate) fn keep(&mut self, dir: &dyn Dir, file: &dyn File, end: u64) {
        if end + Headroom::BYTES_MIN / 2 <= self.reserved || !dir.reserves() {
            return;
        }
        let more = end.clamp(Headroom::BYTES_MIN, Headroom::BYTES_MAX);
        let reserved = [more, Headroom::BYTES_MIN].into_iter().find(|more| file.reserve(end + more).is_ok());
        self.reserved = reserved.map_or(self.reserved, |more| end + more);
    }
}

/// Reads until the buffer is full or the file ends, resuming after short reads and interruptions; says how much it got.
pub(crate) fn read_full_at(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], position + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Opens a file for reading; `None` if it isn't there.
pub(crate) fn open_if_there(dir: &dyn Dir, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
    match dir.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Removes a file; one that isn't there is no error.
pub(crate) fn remove_if_there(dir: &dyn Dir, path: &Path) -> io::Result<()> {
    unless_gone(dir.remove_file(path))
}

fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a directory and everything in it; what isn't there, or is gone since it was listed, is no error: a delete
/// and a `maintain` may both be at the same trash.
pub(crate) fn remove_tree(dir: &dyn Dir, path: &Path) -> io::Result<()> {
    let entries = match dir.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let child = path.join(&entry.name);
        match entry.kind {
            Kind::Dir => remove_tree(dir, &child)?,
            Kind::File | Kind::Other => remove_if_there(dir, &child)?,
        }
    }
    unless_gone(dir.remove_dir(path))
}

/// Reads a whole file of at most `limit` bytes; a longer one is an `InvalidData` error before memory is taken.
pub(crate) fn read_all(file: &dyn File, limit: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes, more than {limit}")));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let got = read_full_at(file, &mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// How often something is looked at again that another process writes.
pub(crate) const LOOKS_MAX: usize = 16;

/// Reads a file to which another process may be appending, until what it reads is judged well. Of two appends, each synced,
/// one look may see the second without the first: that is damage only if the next look sees the same bytes.
pub(crate) fn read_settled<T, E>(
    mut read: impl FnMut() -> Result<Vec<u8>, E>,
    judge: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<T, E> {
    let mut bytes = read()?;
    for _ in 1..LOOKS_MAX {
        if let Ok(judged) = judge(&bytes) {
            return Ok(judged);
        }
        let before = std::mem::replace(&mut bytes, read()?);
        if before == bytes {
            break;
        }
    }
    judge(&bytes)
}
