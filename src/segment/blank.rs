//! The two files of a segment before they hold anything: made at once, or ahead, while the segment before them fills up.
//!
//! Invariant: a file that is made ahead bears a name that says so, which no history mentions and the next open removes.
//! It has its header before it bears the segment's. Whoever is handed prepared files gets both of them whole, or is told
//! and makes others; those that nobody takes are removed. Nothing here is synced: that is asked for as for any segment.
//! Used by `writer`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Home, SegmentId};
use crate::format::FileKind;
use crate::io::{File, Source, Tail};
use crate::offset::Timestamp;
use crate::threads::Mutex;

/// So much of a prepared log has its pages in memory.
const READY_BYTES: usize = 4 << 20;

/// A file without a byte, with room for some.
#[derive(Debug)]
pub(super) struct Blank {
    tail: Tail,
    source: Source,
}

impl Blank {
    /// Takes over a file that was just created and never grows past `capacity`.
    pub(super) fn new(home: &Home, file: Arc<dyn File>, capacity: usize, reserve: usize) -> io::Result<Blank> {
        let (mut tail, source) = Tail::begin(file, home.mapped.then_some(&home.runner), capacity, 0)?;
        tail.reserve(reserve.min(capacity))?;
        Ok(Blank { tail, source })
    }

    /// Writes the header. On failure the file is of no use.
    pub(super) fn begin(mut self, header: &[u8]) -> io::Result<(Tail, Source)> {
        self.tail.begin_with(header)?;
        Ok((self.tail, self.source))
    }
}

/// A file of a segment to come.
#[derive(Debug)]
struct Unplaced {
    home: Arc<Home>,
    name: PathBuf,
    /// Taken when it goes to its place.
    blank: Option<Blank>,
    placed: bool,
}

impl Unplaced {
    fn create(home: &Arc<Home>, name: PathBuf, capacity: usize, ready: usize) -> io::Result<Unplaced> {
        let file = home.seam.dir.create(&name)?;
        let mut unplaced = Unplaced { home: home.clone(), name, blank: None, placed: false };
        let blank = Blank::new(home, file, capacity, ready)?;
        blank.tail.run_ahead();
        unplaced.blank = Some(blank);
        Ok(unplaced)
    }

    fn place(mut self, path: &Path, header: &[u8]) -> io::Result<(Tail, Source)> {
        let begun = self.blank.take().ok_or(io::ErrorKind::NotFound)?.begin(header)?;
        self.home.seam.dir.rename(&self.name, path)?;
        self.placed = true;
        Ok(begun)
    }
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        if !self.placed {
            // If it can't be removed, the next open does it.
            let _left_over = self.home.seam.dir.remove_file(&self.name);
        }
    }
}

/// The files of a segment to come.
#[derive(Debug)]
pub(crate) struct Prepared {
    log: Unplaced,
    index: Unplaced,
}

impl Prepared {
    fn create(home: &Arc<Home>, before: SegmentId, (log_bytes, index_bytes): (usize, usize)) -> io::Result<Prepared> {
        let segment = home.segment_path(before);
        let log = Unplaced::create(home, segment.with_extension("next.log.new"), log_bytes, READY_BYTES)?;
        let index = Unplaced::create(home, segment.with_extension("next.index.new"), index_bytes, index_bytes)?;
        Ok(Prepared { log, index })
    }

    /// Makes them the files of this segment. The index may be missing; on failure the log is too.
    pub(super) fn begin(self, home: &Home, id: SegmentId, created: Timestamp) -> io::Result<Begun> {
        let header = |kind| home.identity(kind, id).encode(created);
        let log = self.log.place(&home.segment_path(id), &header(FileKind::Segment))?;
        let index = self.index.place(&home.index_path(id), &header(FileKind::Index)).ok();
        Ok((log, index))
    }
}

/// What is written and read through, of a log and of its index.
type Begun = ((Tail, Source), Option<(Tail, Source)>);

/// Where the files of the next segment are handed over.
#[derive(Debug, Default)]
pub(super) struct Next {
    prepared: Mutex<Option<Prepared>>,
}

impl Next {
    /// Has the files prepared by who runs ahead, if somebody does. What goes wrong there costs the next roll its time.
    pub(super) fn prepare(self: &Arc<Self>, home: &Arc<Home>, before: SegmentId, room: (usize, usize)) {
        if !home.runner.is_running() {
            return;
        }
        let (next, with) = (Arc::downgrade(self), home.clone());
        home.runner.later(move || {
            let prepared = Prepared::create(&with, before, room).ok();
            if let Some(next) = next.upgrade() {
                *next.prepared.lock() = prepared;
            }
        });
    }

    pub(super) fn take(&self) -> Option<Prepared> {
        self.prepared.lock().take()
    }
}
