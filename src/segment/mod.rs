//! One segment: a data file and its index, written by one epoch, from one base offset.
//!
//! Invariant: a segment is active (one [`SegmentWriter`] appends to it) and then sealed for ever; its published bytes
//! never change. Everything here is handed the identity that the file must have, and believes only bytes whose
//! checksums, seeded by it, match. Called by `log`; the way of a record goes on to `io::region`.

mod blank;
mod cache;
mod index;
mod near;
mod reader;
mod records;
mod scan;
mod walk;
mod window;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::threads::RwLock;

pub(crate) use blank::Prepared;
pub(crate) use cache::{Cache, Open};
use index::Stretch;
pub(crate) use index::{Index, build as build_index, capacity_of as index_capacity_of};
pub(crate) use near::read_one;
pub(crate) use reader::Cursor;
pub(crate) use records::Run;
pub use records::{Headers, Iter as RecordsIter, RecordView, Records};
pub(crate) use scan::{Ending, Reached, Scan, batch_at, known_durable, next_header, only_zeros, scan, scan_from};
pub(crate) use walk::{Bad, Step, Walk};
pub(crate) use window::Window;
pub(crate) use writer::{RestingWriter, SegmentWriter};

use crate::error::{Corruption, Damage, Error, IoContext, Result};
use crate::format::{DecodeError, FileKind, HEADER_BYTES, Identity, Seed, index_file, segment_file};
use crate::io::{Access, File, Reserve, Runner, Seam, Source, read_full_at};
use crate::offset::{Epoch, Offset, Position, Timestamp};

/// Where a partition's files live and whose they are.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) seam: Seam,
    /// Whether files are mapped.
    pub(crate) mapped: bool,
    /// Brings in pages ahead of writers.
    pub(crate) runner: Arc<Runner>,
    /// Whether nothing may be written.
    pub(crate) read_only: bool,
    /// Whether the store wasn't closed cleanly before, so that nothing that is read may be taken for synced.
    pub(crate) unclean: bool,
    pub(crate) cache: Arc<Cache>,
    /// Room for what has to work on a full disk.
    pub(crate) reserve: Arc<Reserve>,
    /// The partition's directory, relative to the store.
    pub(crate) dir: PathBuf,
    pub(crate) store: [u8; 16],
    pub(crate) creation: Epoch,
    pub(crate) partition: u32,
}

impl Home {
    /// The identity of one of the partition's files.
    pub(crate) fn identity(&self, kind: FileKind, id: SegmentId) -> Identity {
        Identity {
            kind,
            store: self.store,
            creation: self.creation,
            partition: Some(self.partition),
            epoch: id.epoch,
            base: id.base,
        }
    }

    pub(crate) fn segment_path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(segment_file(id.base, id.epoch.number))
    }

    pub(crate) fn index_path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(index_file(id.base, id.epoch.number))
    }

    /// The path as a person would type it, for messages.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        self.seam.dir.root().join(path)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.seam.clock.now()
    }
}

/// Which segment: where it begins and who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SegmentId {
    pub(crate) base: Offset,
    pub(crate) epoch: Epoch,
}

/// What is known of a segment whose bytes are all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The length of the file that counts; what lies behind is ignored.
    pub(crate) bytes: u64,
    pub(crate) end: Offset,
    /// The greatest timestamp of its records, or later.
    pub(crate) greatest: Timestamp,
    /// The time of its last append.
    pub(crate) append_time: Timestamp,
}

/// A segment as readers see it. Its source is opened when first read and may be dropped from the cache at any time;
/// who reads holds a clone.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) home: Arc<Home>,
    pub(crate) seed: Seed,
    sealed: OnceLock<Sealed>,
    slot: RwLock<Slot>,
}

/// What is open of a segment.
#[derive(Debug, Default)]
struct Slot {
    source: Option<Source>,
    index: Option<Arc<Index>>,
    /// One that was built over damage, beside a sound one that leads to it.
    partial: Option<Arc<Index>>,
    /// How far its files are written, once their writer has closed them.
    written: Option<Lengths>,
}

/// How many bytes of a segment's two files count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    log: usize,
    index: usize,
}

impl Segment {
    pub(crate) fn sealed(home: &Arc<Home>, id: SegmentId, sealed: Sealed) -> Arc<Segment> {
        let segment = Segment::new(home, id, Slot::default());
        segment.sealed.set(sealed).expect("is new");
        Arc::new(segment)
    }

    fn active(home: &Arc<Home>, id: SegmentId, source: Source, index: Option<Arc<Index>>) -> Arc<Segment> {
        Arc::new(Segment::new(home, id, Slot { source: Some(source), index, ..Slot::default() }))
    }

    /// A segment that another process is writing, or has left behind: its readable end is wherever its valid batches
    /// end now.
    pub(crate) fn foreign_tail(home: &Arc<Home>, id: SegmentId) -> Arc<Segment> {
        Arc::new(Segment::new(home, id, Slot::default()))
    }

    fn new(home: &Arc<Home>, id: SegmentId, slot: Slot) -> Segment {
        let seed = home.identity(FileKind::Segment, id).seed();
        Segment { id, home: home.clone(), seed, sealed: OnceLock::new(), slot: RwLock::new(slot) }
    }

    /// Says that nothing will be added to it. The writing map is given up; readers open the files anew, as far as they are
    /// written: what lies behind may be cut off while they read.
    pub(crate) fn seal(&self, sealed: Sealed, lengths: Lengths) {
        self.sealed.set(sealed).expect("a segment is sealed once");
        let at_rest = Slot { written: Some(lengths), ..Slot::default() };
        let written_through = std::mem::replace(&mut *self.slot.write(), at_rest);
        if written_through.source.is_some() {
            self.home.runner.later(move || drop(written_through));
        }
    }

    /// Takes over from the same segment, as it was known before, how far its files are written: its writer may be yet to cut
    /// off what lies behind.
    pub(crate) fn take_over(&self, before: &Segment) {
        let written = before.slot.read().written;
        self.slot.write().written = written;
    }

    /// Says that the writer has closed its files; readers open them anew.
    fn rest(&self, lengths: Lengths) {
        *self.slot.write() = Slot { written: Some(lengths), ..Slot::default() };
    }

    /// Says that the writer goes on, through these.
    fn resume(&self, source: Source, index: Option<Arc<Index>>) {
        *self.slot.write() = Slot { source: Some(source), index, ..Slot::default() };
    }

    /// How many bytes of the file count.
    pub(crate) fn bytes(self: &Arc<Self>) -> u64 {
        if let Some(sealed) = self.sealed.get() {
            return sealed.bytes;
        }
        let written = self.slot.read().written;
        let published = || self.source().map_or(0, |source| source.published());
        written.map_or_else(published, |lengths| lengths.log) as u64
    }

    pub(crate) fn seal_of(&self) -> Option<&Sealed> {
        self.sealed.get()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.home.segment_path(self.id)
    }

    /// What its bytes are read through.
    pub(crate) fn source(self: &Arc<Self>) -> Result<Source> {
        if let Some(source) = &self.slot.read().source {
            return Ok(source.clone());
        }
        let mut slot = self.slot.write();
        if let Some(source) = &slot.source {
            return Ok(source.clone());
        }
        let source = self.open(slot.written.map(|lengths| lengths.log))?;
        slot.source = Some(source.clone());
        drop(slot);
        self.home.cache.opened(Arc::downgrade(self)).iter().for_each(|oldest| oldest.evict());
        Ok(source)
    }

    /// Opens the file, of which so many bytes count if it isn't sealed and no other process writes it.
    fn open(&self, written: Option<usize>) -> Result<Source> {
        let path = self.path();
        let file = open_checked(&self.home, &path, FileKind::Segment, self.id, Access::Read)
            .map_err(|error| self.costs_all(error))?;
        let len = self.file_len(&*file)?;
        let bytes = match (self.sealed.get(), written) {
            // What a file that was cut still holds can be read; who comes to its end is told.
            (Some(sealed), _) => len.min(usize::try_from(sealed.bytes).unwrap_or(usize::MAX)),
            (None, Some(counts)) if len < counts => return Err(self.cut_at_rest(len, counts)),
            (None, Some(counts)) => counts,
            (None, None) => return Ok(Source::positioned(file, len)),
        };
        if !self.home.mapped {
            return Ok(Source::positioned(file, bytes));
        }
        Ok(Source::Mapped(file.map_read(bytes).at("map", &self.home.shown(&path))?))
    }

    fn file_len(&self, file: &dyn File) -> Result<usize> {
        let len = file.len().at("read the length of", &self.home.shown(&self.path()))?;
        Ok(window::counted(len))
    }

    /// Damage of the file as a whole keeps all its offsets from being read.
    fn costs_all(&self, error: Error) -> Error {
        match self.sealed.get() {
            Some(sealed) => error.with_offsets(self.id.base..sealed.end),
            None => error,
        }
    }

    /// The error for a file that was cut while its writer had closed it.
    fn cut_at_rest(&self, found: usize, expected: usize) -> Error {
        let error = DecodeError::Short { found: found as u64, expected: expected as u64 };
        let shown = self.home.shown(&self.path());
        error.at("segment", &shown, Some(Position::new(found as u64)), None)
    }

    /// The error for a file that was cut: it ends at `found`, and the batch at `position` isn't whole.
    fn short(&self, found: u64, position: u64, offsets: std::ops::Range<Offset>) -> Option<Error> {
        let sealed = self.sealed.get().filter(|sealed| found < sealed.bytes)?;
        Some(Error::from(Box::new(Corruption {
            damage: Damage::Short { found, expected: sealed.bytes },
            what: "segment",
            path: self.home.shown(&self.path()),
            position: Some(Position::new(position)),
            offsets: Some(offsets),
            topic: None,
            partition: None,
        })))
    }

    /// Whether another process may be writing it.
    pub(crate) fn is_foreign_tail(&self) -> bool {
        self.home.read_only && self.sealed.get().is_none()
    }

    /// Sees what another process has added.
    pub(crate) fn look_again(&self) -> Result<()> {
        match &self.slot.read().source {
            Some(source) => source.look_again().at("read the length of", &self.home.shown(&self.path())),
            None => Ok(()),
        }
    }

    /// What its bytes are read through, and between which entries of its index an offset's batch stands, if both are open.
    fn stretch(&self, offset: Offset) -> Option<(Source, Stretch)> {
        let slot = self.slot.read();
        let stretch = slot.index.as_ref()?.stretch(self.id.base, offset);
        Some((slot.source.clone()?, stretch))
    }

    /// Its index, as it stands in the file. Nothing it says is believed unchecked; see `reader`.
    pub(crate) fn index(self: &Arc<Self>) -> Option<Arc<Index>> {
        if let Some(index) = &self.slot.read().index {
            return Some(index.clone());
        }
        // No more than an index of this log can be: the file may be of any length.
        let most = index::capacity_of(window::counted(self.bytes()));
        let mut slot = self.slot.write();
        if slot.index.is_none() {
            let counts = slot.written.map_or(most, |lengths| lengths.index);
            slot.index = Index::open(&self.home, self.id, counts, self.is_foreign_tail()).map(Arc::new);
        }
        slot.index.clone()
    }

    /// Puts a rebuilt index in place of one that was found wrong, or wasn't there. `stored` is how long its file is, if it
    /// has one.
    fn replace_index(&self, index: Index, stored: Option<usize>) -> Arc<Index> {
        let index = Arc::new(index);
        let mut slot = self.slot.write();
        (slot.index, slot.partial) = (Some(index.clone()), None);
        // How much of the file in whose place it stands was written says nothing of this one.
        if let (Some(written), Some(bytes)) = (&mut slot.written, stored) {
            written.index = bytes;
        }
        index
    }

    /// The index that was built over damage, if one was since the files were opened.
    fn partial_index(&self) -> Option<Arc<Index>> {
        self.slot.read().partial.clone()
    }

    /// Keeps an index that was built over damage beside the one that is sound.
    fn keep_partial(&self, index: Index) -> Arc<Index> {
        self.slot.write().partial.insert(Arc::new(index)).clone()
    }

    /// Whoever asks for the index next reads it anew, if another process is appending to it.
    fn forget_live_index(&self) {
        self.slot.write().index.take_if(|index| index.is_live());
    }

    /// Closes what is open; the next reader opens it again.
    fn evict(&self) {
        let mut slot = self.slot.write();
        if self.sealed.get().is_some() || slot.written.is_some() {
            *slot = Slot { written: slot.written, ..Slot::default() };
        }
    }
}

/// Opens a file and checks that its header is the one that path and history promise.
pub(crate) fn open_checked(
    home: &Home,
    path: &Path,
    kind: FileKind,
    id: SegmentId,
    access: Access,
) -> Result<Arc<dyn File>> {
    let shown = home.shown(path);
    let file = home.seam.dir.open(path, access).map_err(|source| not_found(source, &shown, what_of(kind)))?;
    let mut header = [0; HEADER_BYTES];
    let got = read_full_at(&*file, &mut header, 0).at("read", &shown)?;
    home.identity(kind, id)
        .check(&header[..got])
        .map_err(|error| error.at(header_of(kind), &shown, Some(Position::new(0)), None))?;
    Ok(file)
}

/// A file that the history names and that isn't there is damage, not an I/O error.
pub(crate) fn not_found(source: std::io::Error, path: &Path, what: &'static str) -> Error {
    if source.kind() != std::io::ErrorKind::NotFound {
        return Error::Io { operation: "open", path: path.to_path_buf(), source };
    }
    missing(what, path, None)
}

/// The error for a file, or records, that should be there.
pub(crate) fn missing(what: &'static str, path: &Path, offsets: Option<std::ops::Range<Offset>>) -> Error {
    Error::from(Box::new(Corruption {
        damage: Damage::Missing,
        what,
        path: path.to_path_buf(),
        position: None,
        offsets,
        topic: None,
        partition: None,
    }))
}

/// What a file of this kind is called in errors.
pub(crate) fn what_of(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Store => "store file",
        FileKind::Topic => "topic file",
        FileKind::Commits => "commits",
        FileKind::History => "history",
        FileKind::Segment => "segment",
        FileKind::Index => "index",
    }
}

/// What the beginning of a file of this kind is called in errors.
pub(crate) fn header_of(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Store => "store header",
        FileKind::Topic => "topic header",
        FileKind::Commits => "commits header",
        FileKind::History => "history header",
        FileKind::Segment => "segment header",
        FileKind::Index => "index header",
    }
}
