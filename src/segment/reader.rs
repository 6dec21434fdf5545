//! Reads verified batches of one segment, from an offset on.
//!
//! Invariant: what is handed out was verified in this very read, header, payload and records; a damaged batch costs
//! itself, and the error says which offsets it held. Called by `log::read`; positions come from `segment::index` and are
//! believed only when a batch with the promised offset stands there.

use std::io;
use std::sync::Arc;

use super::index::{Floor, Wrong};
use super::near::{self, around};
use super::scan::{known_durable, next_header};
use super::writer::INDEX_EVERY_BYTES;
use super::{Index, Run, Segment, Window, build_index};
use crate::error::{Error, IoContext, Result};
use crate::format::{BatchHeader, DecodeError, FileKind, HEADER_BYTES, check_records, fetch};
use crate::io::{Access, File, Source, View, remove_if_there, write_all_at};
use crate::offset::{Offset, Position, Timestamp};

/// At least so much is asked for by one positioned read.
const READ_BYTES_MIN: usize = 64 << 10;
const REACHES_BEYOND: &str = "the batch reaches beyond its segment";
/// The first positioned read when a single record is looked up.
const LOOKUP_BYTES: usize = 8 << 10;

/// Where a sequential reader stands in a segment.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    segment: Arc<Segment>,
    source: Source,
    position: usize,
    /// The base offset that the batch at `position` must have.
    next: Offset,
    /// The greatest durable end that the batches told of over which it walked.
    marked: Offset,
    /// Where the batch stands over which it walked last, of which only the header was looked at.
    passed: Option<(usize, Offset)>,
    /// The end of another process's file, as it was judged last.
    judged: Option<JudgedEnd>,
}

/// Whether what stands at a position of a file of this length, and begins with these bytes, may be unfinished.
#[derive(Clone, Debug)]
struct JudgedEnd {
    position: usize,
    len: usize,
    bytes: View,
    is_unfinished: bool,
    /// How often that was believed: what is written behind it meanwhile may tell otherwise.
    believed: u32,
}

/// After so many looks, about one a second, an end that didn't change is judged anew.
const BELIEVED_MAX: u32 = 500;

/// What stands at a position.
enum Step {
    Batch(BatchHeader),
    /// A batch of so many bytes, more than the view holds.
    Longer(usize),
    End,
}

impl Cursor {
    /// Stands at the batch that holds `offset`, or at the end of the segment.
    pub(crate) fn seek(segment: &Arc<Segment>, offset: Offset) -> Result<Cursor> {
        if let Some((position, next)) = near::position_of(segment, offset) {
            let source = segment.source()?;
            return Ok(Cursor::new(segment, source, position, next));
        }
        let mut cursor = Cursor::at_index(segment, &Lookup::Offset(offset))?;
        let from = cursor.position;
        cursor.walk_to(offset)?;
        cursor.walked(from);
        Ok(cursor)
    }

    /// After so long a way from where the index led to, the process that writes the segment may have told more since the
    /// index was read; of a full segment the index has lost entries, and is rebuilt for those who come later.
    fn walked(&self, from: usize) {
        if self.position - from > READ_BYTES_MIN && self.segment.is_foreign_tail() {
            self.segment.forget_live_index();
        }
        let passed = self.passed.map_or(0, |(position, _)| position.saturating_sub(from));
        let is_full = self.segment.seal_of().is_some();
        if passed >= INDEX_EVERY_BYTES && is_full && self.segment.index().is_some_and(|index| index.is_stored()) {
            let _slower_next_time = self.rebuild(false);
        }
    }

    /// Stands somewhere before the first record from `first` on that isn't older than `time`, and before no damage that
    /// ends below `first`.
    pub(crate) fn seek_time(segment: &Arc<Segment>, time: Timestamp, first: Offset) -> Result<Cursor> {
        let cursor = Cursor::at_index(segment, &Lookup::Time(time))?;
        if cursor.next < first { Cursor::seek(segment, first) } else { Ok(cursor) }
    }

    /// Walks on to the end of what is there; gives the offset behind it.
    pub(crate) fn walk_on(&mut self) -> Result<Offset> {
        self.walk_to(Offset::MAX)?;
        self.step_back()?;
        Ok(self.next)
    }

    /// Stands before the batch over which it walked last unless that is whole: whoever writes it may be at work on it, or
    /// may have been killed there.
    fn step_back(&mut self) -> Result<()> {
        let Some(before) = self.passed.take() else { return Ok(()) };
        let behind = (self.position, self.next);
        (self.position, self.next) = before;
        let view = self.view(behind.0 - before.0)?;
        if let Ok(Step::Batch(_)) = self.judge(&view, self.position, self.next) {
            (self.position, self.next) = behind;
        }
        Ok(())
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Everything below was synced: so say the batches over which it walked.
    pub(crate) fn known_durable(&self) -> Offset {
        self.marked
    }

    fn new(segment: &Arc<Segment>, source: Source, position: usize, next: Offset) -> Cursor {
        Cursor { segment: segment.clone(), source, position, next, marked: Offset::ZERO, passed: None, judged: None }
    }

    fn at_index(segment: &Arc<Segment>, lookup: &Lookup) -> Result<Cursor> {
        let source = segment.source()?;
        let mut cursor = Cursor::new(segment, source, HEADER_BYTES, segment.id.base);
        if let Some((position, next)) = cursor.indexed(lookup)? {
            (cursor.position, cursor.next) = (position, next);
        }
        Ok(cursor)
    }

    /// What the index says, checked against the log: a batch's position and base offset. A wrong index is rebuilt and
    /// asked again. Where a sound one leads to damage, one that was built over it is asked first.
    fn indexed(&self, lookup: &Lookup) -> Result<Option<(usize, Offset)>> {
        let mut is_sound = false;
        if let Some(index) = self.segment.index() {
            if let Ok(answer) = self.ask(&index, lookup) {
                return Ok(answer);
            }
            is_sound = self.floor(&index, lookup).is_ok();
        } else if self.segment.seal_of().is_none() {
            return Ok(None);
        }
        if is_sound
            && let Some(kept) = self.segment.partial_index()
            && let Ok(answer) = self.ask(&kept, lookup)
        {
            return Ok(answer);
        }
        let built = self.rebuild(is_sound)?;
        self.ask(&built, lookup).or(Ok(None))
    }

    fn floor(&self, index: &Index, lookup: &Lookup) -> Result<Option<Floor>, Wrong> {
        match lookup {
            Lookup::Offset(offset) => index.floor(self.segment.id.base, *offset),
            Lookup::Time(time) => index.floor_time(*time),
        }
    }

    fn ask(&self, index: &Index, lookup: &Lookup) -> Result<Option<(usize, Offset)>, Wrong> {
        let base = self.segment.id.base;
        let Some(floor) = self.floor(index, lookup)? else { return Ok(None) };
        let far = if let Lookup::Time(time) = lookup { floor.share_of_time(*time) } else { 0 };
        let entry = floor.entry;
        let header = self.header_at(entry.position as usize, far)?;
        let promised = base.plus(u64::from(entry.relative));
        if header.base == promised { Ok(Some((entry.position as usize, promised))) } else { Err(Wrong) }
    }

    /// The batch that a hint points at; whatever keeps it from being one, the hint is wrong. What stands so far behind it
    /// is asked for.
    fn header_at(&self, position: usize, far: usize) -> Result<BatchHeader, Wrong> {
        let view = self.source.view(position, usize::from(u8::MAX)).map_err(|_| Wrong)?;
        fetch(around(&view, far));
        BatchHeader::decode(&view, self.segment.seed, position as u64).map_err(|_| Wrong)
    }

    /// Builds the index anew, for all lookups. If that leaves batches out it takes the place of none whose entries are
    /// sound: those know more, and it is kept beside them.
    fn rebuild(&self, is_sound: bool) -> Result<Arc<Index>> {
        let (file, len) = self.file()?;
        let (index, is_whole) = build_index(&self.segment, file, len)?;
        if is_sound && !is_whole {
            return Ok(self.segment.keep_partial(index));
        }
        // What a damaged batch or a bad read left out would be passed over by every later session.
        let is_storable = is_whole && self.segment.seal_of().is_some() && !self.segment.home.read_only;
        // Derived: a file that can't be written only means that the next open builds it again.
        let stored = is_storable.then(|| store_index(&self.segment, &index).ok()).flatten();
        Ok(self.segment.replace_index(index, stored))
    }

    fn file(&self) -> Result<(Arc<dyn File>, usize)> {
        let path = self.segment.path();
        let shown = self.segment.home.shown(&path);
        let file = self.segment.home.seam.dir.open(&path, Access::Read).at("open", &shown)?;
        Ok((file, self.source.published()))
    }

    /// Walks over batch headers until the batch that holds `offset`, over damaged ones too, if valid ones come behind.
    fn walk_to(&mut self, offset: Offset) -> Result<()> {
        let mut view = self.view(LOOKUP_BYTES)?;
        loop {
            if self.walk_while(view, |header| header.end() <= offset)?
                || self.position >= self.source.published()
                || self.is_unfinished()?
                || !self.resync(offset)?
            {
                return Ok(());
            }
            view = self.view(LOOKUP_BYTES)?;
        }
    }

    /// Passes over batches of which every record is older, without a look at the records.
    pub(crate) fn pass_older(&mut self, time: Timestamp) -> Result<()> {
        let (view, from) = (self.view(LOOKUP_BYTES)?, self.position);
        self.walk_while(view, |header| header.greatest_timestamp() < time)?;
        self.walked(from);
        Ok(())
    }

    /// Walks over batch headers as long as they say so; `view` is what stands here. Says whether it stopped before a batch,
    /// and not at the end or before something that is none.
    fn walk_while(&mut self, mut view: View, goes_on: impl Fn(&BatchHeader) -> bool) -> Result<bool> {
        let mut start = self.position;
        while self.position < self.source.published() {
            let at = self.position - start;
            if at > 0 && at + usize::from(u8::MAX) > view.len() && start + view.len() < self.source.published() {
                view = self.view(READ_BYTES_MIN)?;
                start = self.position;
                continue;
            }
            let bytes = view.get(at..).unwrap_or_default();
            let (from, mut stops) = (self.position, false);
            BatchHeader::each_header(bytes, self.segment.seed, from as u64, self.next, |header| {
                stops = !goes_on(header);
                if !stops {
                    self.passed = Some((self.position, self.next));
                    (self.position, self.next) = (self.position.saturating_add(header.bytes()), header.end());
                    self.marked = self.marked.max(header.durable_end());
                }
                !stops
            });
            if stops {
                return Ok(true);
            }
            if self.position > from {
                continue;
            }
            // At the end of the view, with a longer header, or none.
            match self.header(bytes) {
                Ok(header) if goes_on(&header) => self.pass(&header),
                Ok(_) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    fn pass(&mut self, header: &BatchHeader) {
        self.passed = Some((self.position, self.next));
        self.position = self.position.saturating_add(header.bytes());
        self.next = header.end();
        self.marked = self.marked.max(header.durable_end());
    }

    /// Goes on behind a damaged batch if a valid one at or before `offset` follows.
    fn resync(&mut self, offset: Offset) -> Result<bool> {
        match self.behind_damage()? {
            Some((position, header)) if header.base > self.next && header.base <= offset => {
                self.position = position;
                self.next = header.base;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether what stands here may be a batch that another process is still writing: nothing behind it was written when
    /// it was known to be durable.
    fn is_unfinished(&mut self) -> Result<bool> {
        if !self.segment.is_foreign_tail() {
            return Ok(false);
        }
        let (bytes, position) = (self.view(HEADER_BYTES)?, self.position);
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(true);
        }
        let len = self.source.published();
        let is_same = |end: &&mut JudgedEnd| {
            (end.position, end.len) == (position, len) && *end.bytes == *bytes && end.believed < BELIEVED_MAX
        };
        if let Some(end) = self.judged.as_mut().filter(is_same) {
            end.believed += 1;
            return Ok(end.is_unfinished);
        }
        let (file, len) = self.file()?;
        let shown = self.segment.home.shown(&self.segment.path());
        let durable = known_durable(&mut Window::new(file, len), self.segment.seed, position + 1);
        let is_unfinished = durable.at("read", &shown)? <= self.next;
        self.judged = Some(JudgedEnd { position, len, bytes, is_unfinished, believed: 0 });
        Ok(is_unfinished)
    }

    fn behind_damage(&self) -> Result<Option<(usize, BatchHeader)>> {
        let (file, len) = self.file()?;
        let shown = self.segment.home.shown(&self.segment.path());
        next_header(&mut Window::new(file, len), self.segment.seed, self.position + 1).at("read", &shown)
    }

    fn header(&self, bytes: &[u8]) -> Result<BatchHeader, DecodeError> {
        let header = BatchHeader::decode(bytes, self.segment.seed, self.position as u64)?;
        in_order(header, self.next)
    }

    /// Reads about `bytes_max` bytes of batches below `limit`; at least one batch if there is one. Records before
    /// `first` are left out. `None` at the end.
    pub(crate) fn read(&mut self, first: Offset, limit: Offset, bytes_max: usize) -> Result<Option<Run>> {
        let want = if bytes_max < LOOKUP_BYTES { LOOKUP_BYTES } else { bytes_max.max(READ_BYTES_MIN) };
        let mut view = self.view(want)?;
        let (mut taken, mut next, mut dense) = (0, self.next, true);
        while next < limit && taken < bytes_max.max(1) {
            let (from, base) = (taken, next);
            BatchHeader::each_whole(&view[from..], self.segment.seed, (self.position + from) as u64, base, |header| {
                taken += header.bytes();
                next = header.end();
                dense &= header.count == header.span;
                next < limit && taken < bytes_max.max(1)
            });
            if taken > from {
                continue;
            }
            let position = self.position + taken;
            match self.judge(&view[taken..], position, next) {
                Ok(Step::Batch(header)) => {
                    taken += header.bytes();
                    next = header.end();
                    dense &= header.count == header.span;
                }
                Ok(Step::Longer(bytes)) if taken == 0 => match self.view(bytes)? {
                    longer if longer.len() > view.len() => view = longer,
                    same => return self.stop(cut_short(bytes, same.len()), limit),
                },
                Err(error) if taken == 0 => return self.stop(error, limit),
                Ok(Step::Longer(_) | Step::End) | Err(_) => break,
            }
        }
        if taken == 0 {
            let early = if next < limit { self.cut(limit).or_else(|| self.ends_early(limit)) } else { None };
            return early.map_or(Ok(None), Err);
        }
        self.position += taken;
        let base = std::mem::replace(&mut self.next, next);
        let (partition, epoch) = (self.segment.home.partition, self.segment.id.epoch);
        Ok(Some(Run { view: view.cut(taken), partition, epoch, first, limit, base, behind: next, dense }))
    }

    fn view(&self, want: usize) -> Result<View> {
        let shown = || self.segment.home.shown(&self.segment.path());
        self.source.view(self.position, want).map_err(|error| io_error(error, shown()))
    }

    fn judge(&self, bytes: &[u8], position: usize, next: Offset) -> Result<Step, Damaged> {
        let at = position as u64;
        let published = self.source.published();
        if position >= published {
            return Ok(Step::End);
        }
        let seed = self.segment.seed;
        let header = match BatchHeader::decode(bytes, seed, at).and_then(|header| in_order(header, next)) {
            Ok(header) => header,
            Err(DecodeError::Short { .. }) if bytes.len() < published - position => {
                return Ok(Step::Longer(usize::from(u8::MAX)));
            }
            Err(error) => return Err(Damaged { error, header: None }),
        };
        if header.bytes() > bytes.len() {
            if header.bytes() <= published - position {
                return Ok(Step::Longer(header.bytes()));
            }
            let error = DecodeError::Malformed(REACHES_BEYOND);
            return Err(Damaged { error, header: Some(header) });
        }
        match header.verify(bytes, seed, at).and_then(|payload| check_records(&header, payload)) {
            Ok(()) => Ok(Step::Batch(header)),
            Err(error) => Err(Damaged { error, header: Some(header) }),
        }
    }

    /// The error for all that is left, if the file was cut before the end that its seal promises.
    fn cut(&self, limit: Offset) -> Option<Error> {
        self.segment.short(self.source.published() as u64, self.position as u64, self.next..limit)
    }

    /// The error for all that is left, if no more bytes count and the seal promises more records.
    fn ends_early(&self, limit: Offset) -> Option<Error> {
        self.segment.seal_of().filter(|sealed| self.next < sealed.end)?;
        let error = DecodeError::Malformed("the batches end before the offset that the seal promises");
        let shown = self.segment.home.shown(&self.segment.path());
        Some(error.at("segment", &shown, Some(Position::new(self.position as u64)), Some(self.next..limit)))
    }

    /// A batch that doesn't validate is damage, except at the end of a file that another process is writing: there it
    /// isn't finished yet.
    fn stop(&mut self, damaged: Damaged, limit: Offset) -> Result<Option<Run>> {
        if self.is_unfinished()? {
            return Ok(None);
        }
        let at_the_end = matches!(damaged.error, DecodeError::Short { .. } | DecodeError::Malformed(REACHES_BEYOND));
        if at_the_end && let Some(error) = self.cut(limit) {
            return Err(error);
        }
        let offsets = match damaged.header {
            Some(header) => header.base..header.end(),
            None => self.next..self.behind_damage()?.map_or(limit, |(_, header)| header.base),
        };
        let shown = self.segment.home.shown(&self.segment.path());
        Err(damaged.error.at("batch", &shown, Some(Position::new(self.position as u64)), Some(offsets)))
    }
}

/// What an index is asked for.
enum Lookup {
    Offset(Offset),
    Time(Timestamp),
}

struct Damaged {
    error: DecodeError,
    header: Option<BatchHeader>,
}

/// The file ends before the batch does, although it was longer when it was opened.
fn cut_short(expected: usize, found: usize) -> Damaged {
    let error = DecodeError::Short { found: found as u64, expected: expected as u64 };
    Damaged { error, header: None }
}

fn in_order(header: BatchHeader, next: Offset) -> Result<BatchHeader, DecodeError> {
    if header.base == next { Ok(header) } else { Err(DecodeError::Malformed("the batch doesn't continue the offsets")) }
}

fn io_error(source: io::Error, path: std::path::PathBuf) -> Error {
    Error::Io { operation: "read", path, source }
}

/// Writes a rebuilt index to a new file in place of the old one, whose map a reader may still hold; gives its length.
fn store_index(segment: &Segment, index: &Index) -> io::Result<usize> {
    let Index::Built(entries) = index else { return Ok(0) };
    let home = &segment.home;
    let identity = home.identity(FileKind::Index, segment.id);
    let mut bytes = identity.encode(home.now()).to_vec();
    for entry in entries {
        let at = bytes.len() as u64;
        bytes.extend_from_slice(&entry.encode(identity.seed(), at));
    }
    let path = home.index_path(segment.id);
    remove_if_there(&*home.seam.dir, &path)?;
    // If there is one by now, another reader has just stored it.
    let file = home.seam.dir.create(&path)?;
    if let Err(error) = write_all_at(&*file, &bytes, 0) {
        let _a_part_of_it = home.seam.dir.remove_file(&path);
        return Err(error);
    }
    Ok(bytes.len())
}
