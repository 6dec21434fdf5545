//! Appends batches to the active segment.
//!
//! Invariant: a batch is encoded into space that is reserved, checksummed, and only then published; whatever fails
//! before that leaves nothing behind. No system call is made while the reserved space lasts, the file is mapped, and so
//! much is unsynced that a batch is worth a page fault. Called by `log::append` under the partition's lock; the bytes go on
//! to `io::region`.

use std::path::Path;
use std::sync::Arc;

use super::blank::{Blank, Next, Prepared};
use super::index::capacity_of;
use super::{Index, Lengths, Sealed, Segment, SegmentId, open_checked};
use crate::error::{Error, IoContext, Result, is_full};
use crate::format::{BATCH_HEADER_BYTES, Draft, FileKind, HEADER_BYTES, INDEX_ENTRY_BYTES, IndexEntry, Seed, encode};
use crate::io::{Access, File, Source, Tail, Way};
use crate::offset::{Offset, Timestamp};
use crate::segment::Home;

/// The first reservation of a segment, and the most that is reserved ahead later.
const RESERVE_BYTES_MIN: usize = 16 << 10;
const RESERVE_BYTES_MAX: usize = 4 << 20;
/// From so many unsynced bytes on, a batch is worth a page fault.
const MAP_FROM_BYTES: u64 = 16 << 10;
/// From so many unsynced bytes on, fresh pages are brought in ahead of their use.
const BULK_FROM_BYTES: u64 = 64 << 10;
/// The same of an index.
const INDEX_RESERVE_BYTES_MIN: usize = 4 << 10;
const INDEX_RESERVE_BYTES_MAX: usize = 64 << 10;
/// One index entry for about so many bytes of log.
pub(super) const INDEX_EVERY_BYTES: usize = 4096;

/// The one writer of the active segment.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    pub(crate) segment: Arc<Segment>,
    tail: Tail,
    index: Option<IndexWriter>,
    bytes_max: usize,
    end: Offset,
    greatest: Timestamp,
    append_time: Timestamp,
    /// The time of its first append.
    since: Option<Timestamp>,
    /// The files of the next segment.
    next: Arc<Next>,
}

impl SegmentWriter {
    /// Begins a new segment, in files that were prepared or in ones that it creates. Nothing is synced; on failure no
    /// file is left.
    pub(crate) fn create(
        home: &Arc<Home>,
        id: SegmentId,
        bytes_max: u64,
        prepared: Option<Prepared>,
    ) -> Result<SegmentWriter> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let created = home.now();
        // Whatever is wrong with prepared files, new ones may do.
        let begun = prepared.and_then(|prepared| prepared.begin(home, id, created).ok());
        let ((tail, source), index) = match begun {
            Some((log, index)) => (log, index.map(|(tail, source)| IndexWriter::begun(home, id, tail, source))),
            None => (create_log(home, id, bytes_max, created)?, None),
        };
        let index = index.or_else(|| IndexWriter::create(home, id, bytes_max, created));
        let reader = index.as_ref().map(|index| Arc::new(Index::active(index.source.clone(), index.seed)));
        let segment = Segment::active(home, id, source, reader);
        Ok(SegmentWriter {
            segment,
            tail,
            index,
            bytes_max,
            end: id.base,
            greatest: Timestamp::MIN,
            append_time: Timestamp::MIN,
            since: None,
            next: Arc::default(),
        })
    }

    /// The files of the next segment, if somebody has prepared them.
    pub(crate) fn take_next(&self) -> Option<Prepared> {
        self.next.take()
    }

    /// Whether a batch with this payload still fits.
    pub(crate) fn fits(&self, payload_bytes: usize) -> bool {
        let free = self.bytes_max - self.tail.published();
        payload_bytes.saturating_add(BATCH_HEADER_BYTES) <= free
    }

    /// Since when it holds something; `None` if it is empty.
    pub(crate) fn written_since(&self) -> Option<Timestamp> {
        self.since
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        self.tail.file()
    }

    /// Encodes and publishes one batch, behind so many bytes that aren't synced; gives the bytes it took. On failure
    /// nothing changed.
    ///
    /// # Panics
    ///
    /// If it doesn't fit.
    pub(crate) fn append(&mut self, draft: &Draft<'_, '_>, payload_bytes: usize, unsynced_bytes: u64) -> Result<usize> {
        let bytes = BATCH_HEADER_BYTES + payload_bytes;
        let position = self.tail.published();
        let way = way(unsynced_bytes);
        if bytes > self.tail.reserved() - position {
            self.reserve(bytes, way)?;
        }
        let spare = self.tail.spare(bytes, way);
        let (greatest, append_time) = encode(draft, payload_bytes, self.segment.seed, position as u64, spare);
        if let Err(source) = self.tail.publish(bytes) {
            return Err(storage_error(source, "write", &self.segment.home, self.segment.id, bytes));
        }
        if let Some(index) = &mut self.index {
            index.note(position, way, (self.segment.id.base, draft.base), self.greatest);
        }
        self.end = draft.base.plus(draft.records.len() as u64);
        self.greatest = self.greatest.max(greatest);
        self.append_time = append_time;
        self.since.get_or_insert(append_time);
        Ok(bytes)
    }

    /// Reserves room for `bytes` more: a growing step ahead if the disk has it, else just what is needed. When that is the
    /// last of the segment, the next one is prepared for who writes a lot.
    fn reserve(&mut self, bytes: usize, way: Way) -> Result<()> {
        let need = self.tail.published() + bytes;
        assert!(need <= self.bytes_max, "a batch that doesn't fit is rolled or refused before");
        let step = self.tail.reserved().clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        let ahead = need.max(self.tail.reserved() + step).min(self.bytes_max);
        match self.tail.reserve(ahead) {
            Err(error) if is_full(&error) && ahead > need => self.tail.reserve(need),
            other => other,
        }
        .map_err(|error| storage_error(error, "reserve space in", &self.segment.home, self.segment.id, bytes))?;
        if way == Way::Bulk && self.tail.reserved() == self.bytes_max {
            let room = (self.bytes_max, capacity_of(self.bytes_max));
            self.next.prepare(&self.segment.home, self.segment.id, room);
        }
        Ok(())
    }

    /// What the segment would be sealed as now.
    pub(crate) fn sealed(&self) -> Sealed {
        Sealed {
            bytes: self.tail.published() as u64,
            end: self.end,
            greatest: self.greatest,
            append_time: self.append_time,
        }
    }

    /// How far its files are written.
    pub(crate) fn lengths(&self) -> Lengths {
        Lengths { log: self.tail.published(), index: self.index.as_ref().map_or(0, |index| index.tail.published()) }
    }

    /// Closes the files. Every byte must be synced: an error of the disk is told to open files alone.
    pub(crate) fn rest(self) -> RestingWriter {
        let (sealed, lengths) = (self.sealed(), self.lengths());
        let index = self.index.as_ref().map(|index| (index.tail.published(), index.due));
        let resting = RestingWriter {
            segment: self.segment.clone(),
            sealed,
            index,
            bytes_max: self.bytes_max,
            since: self.since,
        };
        drop(self);
        resting.segment.rest(lengths);
        resting
    }

    /// Gives back the space that was reserved and never published, of log and index. The file may stay long if that
    /// fails: the seal's length counts.
    pub(crate) fn trim(&self) {
        self.tail.stop();
        let _stays_long = self.tail.file().set_len(self.tail.published() as u64);
        if let Some(index) = &self.index {
            index.tail.stop();
            let _stays_long = index.tail.file().set_len(index.tail.published() as u64);
        }
    }
}

/// The writer of an active segment while its files are closed.
#[derive(Debug)]
pub(crate) struct RestingWriter {
    pub(crate) segment: Arc<Segment>,
    sealed: Sealed,
    /// How far the index is written, and where its next entry is due; `None` if there is none.
    index: Option<(usize, usize)>,
    bytes_max: usize,
    since: Option<Timestamp>,
}

impl RestingWriter {
    /// Opens the files again, where they were left. On failure nothing changed.
    pub(crate) fn resume(&self) -> Result<SegmentWriter> {
        let (home, id) = (&self.segment.home, self.segment.id);
        let path = home.segment_path(id);
        let shown = home.shown(&path);
        let file = open_checked(home, &path, FileKind::Segment, id, Access::Write)?;
        let published = usize::try_from(self.sealed.bytes).unwrap_or(usize::MAX);
        let len = usize::try_from(file.len().at("read the length of", &shown)?).unwrap_or(usize::MAX);
        if len < published {
            return Err(self.segment.cut_at_rest(len, published));
        }
        let mapped = home.mapped.then_some(&home.runner);
        let lengths = (published, len.min(self.bytes_max));
        let (tail, source) = Tail::resume(file, mapped, self.bytes_max, lengths).at("map", &shown)?;
        let index =
            self.index.and_then(|(published, due)| IndexWriter::resume(home, id, self.bytes_max, published, due));
        let reader = index.as_ref().map(|index| Arc::new(Index::active(index.source.clone(), index.seed)));
        self.segment.resume(source, reader);
        Ok(SegmentWriter {
            segment: self.segment.clone(),
            tail,
            index,
            bytes_max: self.bytes_max,
            end: self.sealed.end,
            greatest: self.sealed.greatest,
            append_time: self.sealed.append_time,
            since: self.since,
            next: Arc::default(),
        })
    }

    /// Since when it holds something; `None` if it is empty.
    pub(crate) fn written_since(&self) -> Option<Timestamp> {
        self.since
    }

    /// What the segment would be sealed as now.
    pub(crate) fn sealed(&self) -> Sealed {
        self.sealed
    }

    /// How far its files are written.
    pub(crate) fn lengths(&self) -> Lengths {
        let log = usize::try_from(self.sealed.bytes).unwrap_or(usize::MAX);
        Lengths { log, index: self.index.map_or(0, |(published, _)| published) }
    }

    /// As for a [`SegmentWriter`]; gives the file if it was cut, which isn't synced then. One that somebody else has made
    /// shorter is left as it is, for whoever reads it to be told.
    pub(crate) fn trim(&self) -> Option<Arc<dyn File>> {
        let (home, id) = (&self.segment.home, self.segment.id);
        let cut = |path: &Path, len: u64| -> std::io::Result<Option<Arc<dyn File>>> {
            let file = home.seam.dir.open(path, Access::Write)?;
            if file.len()? <= len {
                return Ok(None);
            }
            file.set_len(len).map(|()| Some(file))
        };
        if let Some((published, _)) = self.index {
            let _stays_long = cut(&home.index_path(id), published as u64);
        }
        cut(&home.segment_path(id), self.sealed.bytes).ok().flatten()
    }
}

/// How the next batch is brought to the file, behind so many bytes that aren't synced.
fn way(unsynced_bytes: u64) -> Way {
    match unsynced_bytes {
        0..MAP_FROM_BYTES => Way::Call,
        MAP_FROM_BYTES..BULK_FROM_BYTES => Way::Map,
        _ => Way::Bulk,
    }
}

/// A full disk has its own error; everything else is I/O.
fn storage_error(source: std::io::Error, operation: &'static str, home: &Home, id: SegmentId, bytes: usize) -> Error {
    let path = home.shown(&home.segment_path(id));
    if is_full(&source) {
        return Error::StorageFull { path, bytes: bytes as u64 };
    }
    Error::Io { operation, path, source }
}

fn create_log(home: &Home, id: SegmentId, bytes_max: usize, created: Timestamp) -> Result<(Tail, Source)> {
    let path = home.segment_path(id);
    let file = home.seam.dir.create(&path).taking(HEADER_BYTES, "create", &home.shown(&path))?;
    let begun = Blank::new(home, file, bytes_max, RESERVE_BYTES_MIN)
        .and_then(|blank| blank.begin(&home.identity(FileKind::Segment, id).encode(created)));
    begun.map_err(|error| {
        // The file holds nothing; if it can't be removed either, recovery drops it as never begun.
        let _ignored = home.seam.dir.remove_file(&path);
        storage_error(error, "write the header of", home, id, HEADER_BYTES)
    })
}

/// Appends to the index of the active segment. The index is derived: whatever goes wrong here only makes it sparser.
#[derive(Debug)]
struct IndexWriter {
    tail: Tail,
    source: Source,
    seed: Seed,
    /// The log position from which on the next entry is due.
    due: usize,
    capacity: usize,
}

impl IndexWriter {
    fn create(home: &Home, id: SegmentId, log_bytes_max: usize, created: Timestamp) -> Option<IndexWriter> {
        let path = home.index_path(id);
        // One that an interrupted creation left holds nothing.
        let _not_there = home.seam.dir.remove_file(&path);
        let file = home.seam.dir.create(&path).ok()?;
        let blank = Blank::new(home, file, capacity_of(log_bytes_max), INDEX_RESERVE_BYTES_MIN).ok()?;
        let (tail, source) = blank.begin(&home.identity(FileKind::Index, id).encode(created)).ok()?;
        Some(IndexWriter::begun(home, id, tail, source))
    }

    /// In a file that has nothing but its header.
    fn begun(home: &Home, id: SegmentId, tail: Tail, source: Source) -> IndexWriter {
        let seed = home.identity(FileKind::Index, id).seed();
        let capacity = tail.capacity();
        IndexWriter { tail, source, seed, due: HEADER_BYTES + INDEX_EVERY_BYTES, capacity }
    }

    /// Goes on in the file that another writer of the segment has left.
    fn resume(home: &Home, id: SegmentId, log_bytes_max: usize, published: usize, due: usize) -> Option<IndexWriter> {
        let file = open_checked(home, &home.index_path(id), FileKind::Index, id, Access::Write).ok()?;
        let capacity = capacity_of(log_bytes_max);
        let len = usize::try_from(file.len().ok()?).ok()?;
        if len < published {
            return None;
        }
        let mapped = home.mapped.then_some(&home.runner);
        let (tail, source) = Tail::resume(file, mapped, capacity, (published, len.min(capacity))).ok()?;
        let seed = home.identity(FileKind::Index, id).seed();
        Some(IndexWriter { tail, source, seed, due, capacity })
    }

    /// Notes a batch at this position, which was written in this way, if an entry is due.
    #[inline]
    fn note(&mut self, position: usize, way: Way, bases: (Offset, Offset), greatest: Timestamp) {
        if position >= self.due {
            self.add(position, way, bases, greatest);
        }
    }

    fn add(&mut self, position: usize, way: Way, (segment_base, base): (Offset, Offset), greatest: Timestamp) {
        self.due = position + INDEX_EVERY_BYTES;
        let (Ok(relative), Ok(position)) = (u32::try_from(base.since(segment_base)), u32::try_from(position)) else {
            return;
        };
        let at = self.tail.published();
        if self.tail.reserved() - at < INDEX_ENTRY_BYTES && !self.grow() {
            return;
        }
        let entry = IndexEntry { relative, position, greatest }.encode(self.seed, at as u64);
        // Nobody syncs an index: no page of it is protected, and a fault in 200 entries is less than 200 writes.
        let way = if way == Way::Bulk { way } else { Way::Map };
        self.tail.spare(INDEX_ENTRY_BYTES, way).copy_from_slice(&entry);
        let _sparser = self.tail.publish(INDEX_ENTRY_BYTES);
    }

    fn grow(&mut self) -> bool {
        let step = self.tail.reserved().clamp(INDEX_RESERVE_BYTES_MIN, INDEX_RESERVE_BYTES_MAX);
        let reserved = (self.tail.reserved() + step).min(self.capacity);
        reserved - self.tail.published() >= INDEX_ENTRY_BYTES && self.tail.reserve(reserved).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{EPOCH, SEGMENT, TIME};
    use crate::format::payload_bytes;
    use crate::io::{Dir, OsClock, OsDir, OsEntropy, Reserve, Runner, Seam};
    use crate::record::Record;
    use crate::segment::{Cache, Cursor};

    const LOG_BYTES: u64 = 1 << 20;

    fn home(root: &Path, read_only: bool) -> Arc<Home> {
        let dir: Arc<dyn Dir> = Arc::new(OsDir::new(root));
        Arc::new(Home {
            reserve: Reserve::new(&dir, "RESERVE", 0),
            seam: Seam { dir, clock: Arc::new(OsClock::new()), entropy: Arc::new(OsEntropy) },
            mapped: true,
            runner: Arc::new(Runner::default()),
            read_only,
            unclean: false,
            cache: Arc::new(Cache::new(2)),
            dir: std::path::PathBuf::new(),
            store: SEGMENT.store,
            creation: SEGMENT.creation,
            partition: 0,
        })
    }

    fn empty(home: &Arc<Home>) -> SegmentWriter {
        let id = SegmentId { base: Offset::ZERO, epoch: EPOCH };
        SegmentWriter::create(home, id, LOG_BYTES, None).expect("creates")
    }

    /// A full segment whose files are as long as they were reserved: whoever trims them hasn't come to it.
    fn untrimmed(home: &Arc<Home>) -> SegmentWriter {
        filled(empty(home))
    }

    fn filled(mut writer: SegmentWriter) -> SegmentWriter {
        let records = [Record::new(&[7; 1000])];
        while writer.fits(1100) {
            let draft = Draft { base: writer.end, append_time: TIME, mark: 0, records: &records };
            let payload_bytes = payload_bytes(&records, TIME).try_into().expect("is small");
            writer.append(&draft, payload_bytes, 0).expect("appends");
        }
        writer
    }

    #[test]
    fn an_index_is_read_no_further_than_it_is_written_since_the_rest_is_cut_off() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let home = home(temp.path(), false);
        let writer = untrimmed(&home);
        let written = writer.lengths().index;
        let segment = writer.segment.clone();
        segment.seal(writer.sealed(), writer.lengths());
        let index = segment.index().expect("is there");
        let at_file = home.index_path(segment.id);
        let long = temp.path().join(&at_file).metadata().expect("is there").len();
        writer.trim();
        let trimmed = temp.path().join(&at_file).metadata().expect("is there").len();
        assert!(written as u64 == trimmed && trimmed < long, "{written} {trimmed} {long}");
        assert_eq!(HEADER_BYTES + index.len() * INDEX_ENTRY_BYTES, written);
        assert!(index.floor(Offset::ZERO, Offset::new(900)).expect("validates").is_some());
    }

    #[test]
    fn an_index_that_was_rebuilt_is_read_as_far_as_it_goes_after_its_segment_was_closed() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let mut writer = empty(&home(temp.path(), false));
        writer.index = None;
        let writer = filled(writer);
        let segment = writer.segment.clone();
        segment.seal(writer.sealed(), writer.lengths());
        let _rebuilds = Cursor::seek(&segment, Offset::new(900)).expect("finds it");
        let rebuilt = segment.index().expect("is there").len();
        segment.evict();
        assert!(rebuilt > 200);
        assert_eq!(segment.index().map(|index| index.len()), Some(rebuilt));
    }

    #[test]
    fn who_only_reads_maps_no_index_that_its_writer_may_cut() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let writer = untrimmed(&home(temp.path(), false));
        let segment = Segment::sealed(&home(temp.path(), true), writer.segment.id, writer.sealed());
        let index = segment.index().expect("is there");
        let file = temp.path().join(segment.home.index_path(segment.id));
        std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(0)).expect("cuts");
        assert!(index.floor(Offset::ZERO, Offset::new(100)).expect("validates").is_some());
    }

    #[test]
    fn an_index_of_any_length_is_taken_for_no_longer_than_that_of_its_log_can_be() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let writer = untrimmed(&home(temp.path(), false));
        for read_only in [false, true] {
            let segment = Segment::sealed(&home(temp.path(), read_only), writer.segment.id, writer.sealed());
            let file = temp.path().join(segment.home.index_path(segment.id));
            std::fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(64 << 20)).expect("grows");
            let bytes = HEADER_BYTES + segment.index().expect("is there").len() * INDEX_ENTRY_BYTES;
            let most = capacity_of(writer.lengths().log);
            assert!((writer.lengths().index..=most).contains(&bytes), "{bytes} of {most}");
        }
    }
}
