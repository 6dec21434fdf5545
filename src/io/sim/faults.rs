//! What goes wrong, when: the numbered operations, and the rules that make some of them fail, or lie.
//!
//! Invariant: an operation that a rule fails has no effect on the disk, but for what [`Pages`] says of a failed sync, for
//! what [`Fault::partly`] says of a failed write, and for the part of a write that fitted on a full disk. Asked by the
//! disk before every call takes effect.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::disk::SimDisk;
use super::image::Image;
use super::lies::Lie;

/// One call to the simulated disk, about to take effect.
///
/// The names are `list`, `create_dir`, `open_dir`, `sync_dir`, `rename`, `remove_file`, `remove_dir`, `open`, `create` and
/// `try_lock` for directories, and `len`, `read`, `write`, `sync`, `set_len`, `reserve`, `map_write` and `map_read` for
/// files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Operation {
    /// Counted from 1 since the disk was made.
    pub number: u64,
    /// Which call.
    pub name: &'static str,
    /// On which path: for files the one they were opened by, for renames the old one.
    pub path: PathBuf,
    pub(super) disk: SimDisk,
}

impl Operation {
    /// The disk as it is now, the operation not yet done. A hook that asks here needs no clone of the disk, which would
    /// keep itself alive.
    #[must_use]
    pub fn image(&self) -> Image {
        self.disk.image()
    }
}

/// What a failed sync leaves in the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pages {
    /// Everything as it was: the next sync tries again.
    #[default]
    Dirty,
    /// The new bytes, marked clean: they are read, and a later sync answers well without writing them. They stay
    /// pending until they are written again. What Linux does on ext4 and xfs.
    Clean,
    /// The old bytes, from the medium: a read no longer finds what was written. A map keeps what was published.
    Reverted,
}

/// A rule that makes operations fail, or answer well and do something else. Without narrowing, the next one, once.
///
/// ```
/// use epochlog::testing::{Dir, Fault, SimDisk};
/// # use std::path::Path;
/// let disk = SimDisk::new(1);
/// let file = disk.create(Path::new("a"))?;
/// disk.fail(Fault::of("sync").on("a").nth(2));
/// file.sync()?;
/// assert!(file.sync().is_err());
/// file.sync()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is given to `SimDisk::fail`"]
pub struct Fault {
    name: Option<&'static str>,
    number: Option<u64>,
    path: String,
    skip: u64,
    forever: bool,
    kind: ErrorKind,
    os_error: Option<i32>,
    pages: Pages,
    partly: usize,
    lie: Option<Lie>,
    page: Option<usize>,
}

impl Fault {
    /// Of any operation.
    pub fn any() -> Fault {
        Fault {
            name: None,
            number: None,
            path: String::new(),
            skip: 0,
            forever: false,
            kind: ErrorKind::Other,
            os_error: None,
            pages: Pages::default(),
            partly: 0,
            lie: None,
            page: None,
        }
    }

    /// Of operations with this name; see [`Operation`].
    pub fn of(name: &'static str) -> Fault {
        Fault { name: Some(name), ..Fault::any() }
    }

    /// Of the operation of this number and no other; see [`Operation::number`].
    pub fn at(number: u64) -> Fault {
        Fault { number: Some(number), ..Fault::any() }
    }

    /// Only where the path contains this text.
    pub fn on(mut self, part_of_path: impl Into<String>) -> Fault {
        self.path = part_of_path.into();
        self
    }

    /// Only the n-th that matches, counted from 1 from now on.
    pub fn nth(mut self, n: u64) -> Fault {
        self.skip = n.saturating_sub(1);
        self
    }

    /// From then on for ever, not once; with [`at`](Fault::at), from that number on.
    pub fn forever(mut self) -> Fault {
        self.forever = true;
        self
    }

    /// With this kind of error; `Other`, as for EIO, unless said.
    pub fn kind(mut self, kind: ErrorKind) -> Fault {
        self.kind = kind;
        self
    }

    /// With this error of the operating system, which has no kind of its own: 24 for too many open files.
    pub fn os_error(mut self, code: i32) -> Fault {
        self.os_error = Some(code);
        self
    }

    /// What a failed file sync leaves in the cache.
    pub fn leaves(mut self, pages: Pages) -> Fault {
        self.pages = pages;
        self
    }

    /// So many of a failed write's first bytes are in the cache all the same, and a longer file with them.
    pub fn partly(mut self, bytes: usize) -> Fault {
        self.partly = bytes;
        self
    }

    /// The operation doesn't fail: it answers well and does something else. Of the operations that match, only those
    /// that can tell this lie are counted and met; see [`Lie`].
    pub fn lies(mut self, lie: Lie) -> Fault {
        self.lie = Some(lie);
        self
    }

    /// A sync lies only about one of the pages that it was to write, counted from 0; about none if there are fewer.
    pub fn page(mut self, n: usize) -> Fault {
        self.page = Some(n);
        self
    }

    fn matches(&self, operation: &Operation) -> bool {
        self.name.is_none_or(|name| name == operation.name)
            && self
                .number
                .is_none_or(|number| number == operation.number || (self.forever && number < operation.number))
            && operation.path.to_str().is_none_or(|path| path.contains(&self.path))
            && self.lie.as_ref().is_none_or(|lie| lie.is_told_by(operation.name))
    }

    fn verdict(&self, operation: &Operation) -> Result<Option<Untrue>, Failure> {
        if let Some(lie) = &self.lie {
            return Ok(Some(Untrue { lie: lie.clone(), page: self.page }));
        }
        let failed = || io::Error::new(self.kind, format!("the simulated disk failed operation {}", operation.number));
        let error = self.os_error.map_or_else(failed, io::Error::from_raw_os_error);
        Err(Failure { error, pages: self.pages, partly: self.partly })
    }
}

/// Why an operation doesn't take effect.
pub(super) struct Failure {
    pub(super) error: io::Error,
    pub(super) pages: Pages,
    pub(super) partly: usize,
}

/// What an operation does instead of what it says.
pub(super) struct Untrue {
    pub(super) lie: Lie,
    pub(super) page: Option<usize>,
}

/// The count of operations and the rules for them.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) operations: u64,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) stop_after: Option<u64>,
    pub(super) faults: Vec<Fault>,
    pub(super) ignore_syncs: bool,
    pub(super) io_bytes_max: Option<usize>,
    pub(super) interrupt_every: Option<u64>,
    transfers: u64,
}

impl Script {
    pub(super) fn number(&mut self, name: &'static str) -> u64 {
        self.operations += 1;
        *self.counts.entry(name).or_default() += 1;
        self.operations
    }

    pub(super) fn stopped(&self, number: u64) -> Result<(), Failure> {
        match self.stop_after {
            Some(n) if number >= n => {
                let error = io::Error::other("the simulated machine stopped");
                Err(Failure { error, pages: Pages::Dirty, partly: 0 })
            }
            _ => Ok(()),
        }
    }

    /// Lets the operation pass, fail or lie, and spends the rules that it meets; the first of them counts.
    pub(super) fn judge(&mut self, operation: &Operation) -> Result<Option<Untrue>, Failure> {
        self.stopped(operation.number)?;
        let mut hit = None;
        self.faults.retain_mut(|fault| {
            if !fault.matches(operation) {
                return true;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return true;
            }
            if hit.is_none() {
                hit = Some(fault.verdict(operation));
            }
            fault.forever
        });
        hit.unwrap_or(Ok(None))
    }

    /// Forgets every rule; the count goes on.
    pub(super) fn heal(&mut self) {
        let (operations, counts) = (self.operations, std::mem::take(&mut self.counts));
        *self = Script { operations, counts, ..Script::default() };
    }

    /// How many of the bytes a read or write moves this time.
    pub(super) fn transfer(&mut self, len: usize) -> io::Result<usize> {
        self.transfers += 1;
        if self.interrupt_every.is_some_and(|n| self.transfers.is_multiple_of(n)) {
            return Err(ErrorKind::Interrupted.into());
        }
        Ok(self.io_bytes_max.map_or(len, |most| len.min(most)))
    }
}
