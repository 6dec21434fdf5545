//! Finds the neighbourhood of an offset or a time in a segment.
//!
//! Invariant: derived data is never evidence. The file may be missing, short, odd-sized, zeroed, foreign, stale or ahead
//! of its log: an entry is used only if its checksum, seeded by the file's identity and its place, matches, and
//! `reader` then checks the batch at the position it names. Anything else means `None` or `Wrong`, and a rebuild.

use super::scan::next_header;
use super::writer::INDEX_EVERY_BYTES;
use super::{Home, Segment, SegmentId, Window, open_checked};
use crate::error::{IoContext, Result};
use crate::format::{BatchHeader, FileKind, HEADER_BYTES, INDEX_ENTRY_BYTES, IndexEntry, Seed, check_records};
use crate::io::{Access, File, Source};
use crate::offset::{Offset, Timestamp};

/// The entries of one segment, in its file or rebuilt in memory.
#[derive(Debug)]
pub(crate) enum Index {
    /// As the file has them.
    Stored {
        source: Source,
        seed: Seed,
        /// Another process is appending to it: an entry that doesn't validate isn't written yet.
        live: bool,
    },
    /// As a scan of the log gave them.
    Built(Vec<IndexEntry>),
}

/// An entry didn't validate: the index is to be rebuilt.
#[derive(Debug)]
pub(crate) struct Wrong;

impl Index {
    /// The index that the writer of the active segment appends to.
    pub(super) fn active(source: Source, seed: Seed) -> Index {
        Index::Stored { source, seed, live: false }
    }

    /// Opens the file's entries, as far as `counts`; `None` if there is no such file or it isn't this segment's.
    pub(super) fn open(home: &Home, id: SegmentId, counts: usize, live: bool) -> Option<Index> {
        let file = open_checked(home, &home.index_path(id), FileKind::Index, id, Access::Read).ok()?;
        let len = usize::try_from(file.len().ok()?).ok()?.min(counts);
        if len < HEADER_BYTES {
            return None;
        }
        // The process that writes the store may cut off what it had reserved.
        let maps = home.mapped && !home.read_only;
        let source = if maps { Source::Mapped(file.map_read(len).ok()?) } else { Source::positioned(file, len) };
        let seed = home.identity(FileKind::Index, id).seed();
        Some(Index::Stored { source: in_memory(source, len).ok()?, seed, live })
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Index::Stored { source, .. } => source.published().saturating_sub(HEADER_BYTES) / INDEX_ENTRY_BYTES,
            Index::Built(entries) => entries.len(),
        }
    }

    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Index::Stored { .. })
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self, Index::Stored { live: true, .. })
    }

    fn entry(&self, i: usize) -> Result<IndexEntry, Wrong> {
        match self {
            Index::Built(entries) => entries.get(i).copied().ok_or(Wrong),
            Index::Stored { source, seed, .. } => {
                let at = HEADER_BYTES + i * INDEX_ENTRY_BYTES;
                if let Source::Mapped(reader) = source {
                    let bytes = reader.bytes().get(at..).ok_or(Wrong)?;
                    return IndexEntry::decode(bytes, *seed, at as u64).map_err(|_| Wrong);
                }
                let view = source.view(at, INDEX_ENTRY_BYTES).map_err(|_| Wrong)?;
                IndexEntry::decode(&view, *seed, at as u64).map_err(|_| Wrong)
            }
        }
    }

    /// The entry as it stands in memory, unchecked: only for a guess.
    fn trusted(&self, i: usize) -> Option<IndexEntry> {
        match self {
            Index::Stored { source: Source::Mapped(reader), .. } => {
                IndexEntry::trusted(reader.bytes().get(HEADER_BYTES + i * INDEX_ENTRY_BYTES..)?)
            }
            _ => self.entry(i).ok(),
        }
    }

    /// The last entry at or before this offset.
    pub(crate) fn floor(&self, base: Offset, offset: Offset) -> Result<Option<Floor>, Wrong> {
        self.last_where(self.guess(base, offset), at_or_before(base, offset))
    }

    /// Between which entries an offset's batch stands. Nothing but a guess.
    pub(crate) fn stretch(&self, base: Offset, offset: Offset) -> Stretch {
        let (behind, _) = self.search(self.guess(base, offset), at_or_before(base, offset));
        let border = |entry: IndexEntry| (base.plus(u64::from(entry.relative)), entry.position as usize);
        let before = behind.checked_sub(1).and_then(|i| self.trusted(i)).map_or((base, HEADER_BYTES), border);
        Stretch { from: before, to: self.trusted(behind).map(border) }
    }

    /// The last entry before which every record is older than this time.
    pub(crate) fn floor_time(&self, time: Timestamp) -> Result<Option<Floor>, Wrong> {
        self.last_where(self.guess_time(time), |entry| entry.greatest < time)
    }

    /// Where a time's entry would be if as much was written at all times.
    fn guess_time(&self, time: Timestamp) -> usize {
        let last = self.len().saturating_sub(1);
        // In front of the first entry there is no record, or hardly any.
        let (Some(second), Some(newest)) = (self.trusted(last.min(1)), self.trusted(last)) else { return last / 2 };
        share(since(second.greatest, time), since(second.greatest, newest.greatest), last)
    }

    /// Where an offset's entry would be if all batches were alike.
    fn guess(&self, base: Offset, offset: Offset) -> usize {
        let last = self.len().saturating_sub(1);
        let Some(entry) = self.trusted(last) else { return last / 2 };
        share(offset.since(base), entry.relative.into(), last)
    }

    /// The last entry that meets a condition which holds up to some entry and not from there on. Looks at the checksums of
    /// that entry and the next alone, and so knows that it is the one, whatever the others say.
    fn last_where(&self, guess: usize, holds: impl Fn(&IndexEntry) -> bool) -> Result<Option<Floor>, Wrong> {
        let (behind, len) = self.search(guess, &holds);
        let mut next = None;
        // Not what has been added since: that may meet the condition, too.
        if behind < len {
            next = self.entry(behind).ok();
            if next.as_ref().map_or(!self.is_live(), &holds) {
                return Err(Wrong);
            }
        }
        let Some(last) = behind.checked_sub(1) else { return Ok(None) };
        let entry = Some(self.entry(last)?).filter(holds).ok_or(Wrong)?;
        Ok(Some(Floor { entry, next }))
    }

    /// The first entry that doesn't meet such a condition, or their number; and their number. Searches outwards from a guess
    /// in doubling steps, then by halves, and believes every entry.
    fn search(&self, guess: usize, holds: impl Fn(&IndexEntry) -> bool) -> (usize, usize) {
        let len = self.len();
        let (mut low, mut high, mut at, mut step) = (0, len, guess, 1);
        while low < high {
            if self.trusted(at).is_some_and(|entry| holds(&entry)) {
                low = at + 1;
            } else {
                high = at;
            }
            at = match (low > 0, high < len) {
                (true, false) => (low + step).min(high.saturating_sub(1)),
                (false, true) => high.saturating_sub(step),
                _ => low + (high - low) / 2,
            };
            step *= 2;
        }
        (low, len)
    }
}

fn at_or_before(base: Offset, offset: Offset) -> impl Fn(&IndexEntry) -> bool {
    let relative = offset.since(base);
    move |entry| u64::from(entry.relative) <= relative
}

/// An entry that was looked for, and the one behind it, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) entry: IndexEntry,
    next: Option<IndexEntry>,
}

impl Floor {
    /// How far behind the entry a time's record stands if as much was written at all times. Nothing but a guess.
    pub(crate) fn share_of_time(&self, time: Timestamp) -> usize {
        let Some(next) = self.next else { return 0 };
        let bytes = next.position.saturating_sub(self.entry.position);
        share(since(self.entry.greatest, time), since(self.entry.greatest, next.greatest), bytes as usize)
    }
}

/// How many milliseconds one time is after another.
fn since(earlier: Timestamp, later: Timestamp) -> u64 {
    later.as_millis().saturating_sub(earlier.as_millis()).max(0).cast_unsigned()
}

/// As large a part of `of` as `part` is of `whole`, roughly.
fn share(part: u64, whole: u64, of: usize) -> usize {
    // What is longer than 2^32 is taken for that: hardly anything is.
    let whole = whole.clamp(1, u32::MAX.into());
    let share = part.min(whole) * (of as u64).min(u32::MAX.into()) / whole;
    usize::try_from(share).map_or(of, |share| share.min(of))
}

/// What lies between two entries of an index: offset and position of the first batch there, and of the one behind the
/// last, unless it is the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: (Offset, usize),
    pub(crate) to: Option<(Offset, usize)>,
}

impl Stretch {
    /// Its length, if it is known.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.to?.1.checked_sub(self.from.1)
    }

    /// How far from its beginning an offset's record stands if all are of one length; and whether they can be.
    pub(crate) fn share(&self, offset: Offset) -> Option<(usize, bool)> {
        let records = self.to?.0.since(self.from.0);
        let bytes = self.bytes()? as u64;
        let (further, each) = (offset.since(self.from.0), bytes.checked_div(records)?);
        let alike = each * records == bytes;
        let share = if alike { further.checked_mul(each)? } else { further.checked_mul(bytes)? / records };
        Some((usize::try_from(share).ok()?, alike))
    }
}

/// The most bytes that the index of a log of so many may have.
pub(crate) fn capacity_of(log_bytes: usize) -> usize {
    HEADER_BYTES + (log_bytes / INDEX_EVERY_BYTES + 1) * INDEX_ENTRY_BYTES
}

/// Entries of a file that isn't mapped are read once.
fn in_memory(source: Source, len: usize) -> std::io::Result<Source> {
    match source {
        Source::Positioned { .. } => {
            let bytes = source.view(0, len)?;
            let (mut writer, reader) = crate::io::Memory::heap(bytes.len()).split(0, bytes.len());
            writer.spare(bytes.len()).copy_from_slice(&bytes);
            writer.publish(bytes.len());
            Ok(Source::Mapped(reader))
        }
        mapped @ Source::Mapped(_) => Ok(mapped),
    }
}

/// Builds the entries of a segment anew from its log: about one for every 4 KiB. Says whether they tell of every batch up
/// to the seal.
pub(crate) fn build(segment: &Segment, file: std::sync::Arc<dyn File>, len: usize) -> Result<(Index, bool)> {
    let mut window = Window::new(file, len);
    let shown = segment.home.shown(&segment.path());
    let mut builder = Builder {
        base: segment.id.base,
        next: segment.id.base,
        is_whole: true,
        due: HEADER_BYTES + INDEX_EVERY_BYTES,
        entries: Vec::new(),
        greatest: Timestamp::MIN,
    };
    let mut at = HEADER_BYTES;
    while let Some((position, header)) = next_header(&mut window, segment.seed, at).at("read", &shown)? {
        let greatest = greatest_of(&mut window, segment.seed, position, &header).at("read", &shown)?;
        builder.take(position, &header, greatest);
        at = position.saturating_add(header.bytes());
    }
    let is_whole = builder.is_whole && segment.seal_of().is_none_or(|sealed| builder.next >= sealed.end);
    Ok((Index::Built(builder.entries), is_whole))
}

struct Builder {
    base: Offset,
    /// The base offset that the next batch must have.
    next: Offset,
    /// Whether none is missing so far.
    is_whole: bool,
    due: usize,
    entries: Vec<IndexEntry>,
    greatest: Timestamp,
}

impl Builder {
    fn take(&mut self, position: usize, header: &BatchHeader, greatest: Timestamp) {
        if header.base != self.next {
            // Nobody knows the times of what is missing: who looks for one comes to it, and is told.
            (self.is_whole, self.greatest) = (false, Timestamp::MAX);
        }
        self.next = header.end();
        if position >= self.due {
            self.due = position + INDEX_EVERY_BYTES;
            if let (Ok(relative), Ok(position)) = (u32::try_from(header.base.since(self.base)), u32::try_from(position))
            {
                self.entries.push(IndexEntry { relative, position, greatest: self.greatest });
            }
        }
        self.greatest = self.greatest.max(greatest);
    }
}

/// The greatest timestamp of a batch, or a later one if its payload is damaged.
fn greatest_of(window: &mut Window, seed: Seed, position: usize, header: &BatchHeader) -> std::io::Result<Timestamp> {
    if header.is_near_in_time() {
        return Ok(header.greatest_timestamp());
    }
    let bytes = window.at(position, header.bytes())?;
    let checked = header.verify(bytes, seed, position as u64).and_then(|payload| {
        check_records(header, payload)?;
        Ok(header.greatest_in(payload))
    });
    Ok(checked.unwrap_or(header.greatest_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries whose gaps are even, then wide, then narrow.
    fn entries(count: u32) -> Vec<IndexEntry> {
        let relative = |i: u32| if i < count / 3 { i } else { i * i };
        let entry =
            |i| IndexEntry { relative: relative(i), position: 96 + i, greatest: Timestamp::from_millis(i.into()) };
        (1..=count).map(entry).collect()
    }

    #[test]
    fn a_stretch_lies_between_the_entries_around_an_offset_or_the_ends() {
        let (all, base) = (entries(20), Offset::new(1000));
        let border = |entry: &IndexEntry| (base.plus(u64::from(entry.relative)), entry.position as usize);
        for relative in 0..420 {
            let before = all.iter().rev().find(|entry| u64::from(entry.relative) <= relative);
            let next = all.iter().find(|entry| u64::from(entry.relative) > relative);
            let expected = Stretch { from: before.map_or((base, HEADER_BYTES), border), to: next.map(border) };
            assert_eq!(Index::Built(all.clone()).stretch(base, base.plus(relative)), expected, "{relative}");
        }
        let whole = Stretch { from: (base, HEADER_BYTES), to: None };
        assert_eq!(Index::Built(Vec::new()).stretch(base, base.plus(7)), whole);
        assert_eq!((whole.bytes(), whole.share(base.plus(7))), (None, None));
    }

    #[test]
    fn an_offsets_share_of_a_stretch_is_told_and_nothing_that_makes_no_sense() {
        let stretch = |to| Stretch { from: (Offset::new(1000), 96), to: Some((Offset::new(1041), to)) };
        let share = |to, offset| stretch(to).share(Offset::new(offset));
        assert_eq!(
            [1000, 1001, 1040].map(|offset| share(4196, offset)),
            [(0, true), (100, true), (4000, true)].map(Some)
        );
        assert_eq!(share(4197, 1040), Some((4000, false)));
        assert_eq!((stretch(4196).bytes(), stretch(95).bytes(), share(95, 1040)), (Some(4100), None, None));
        assert_eq!(share(usize::MAX, u64::MAX), None, "it would lie behind any file");
        let empty = Stretch { from: (Offset::new(1000), 96), to: Some((Offset::new(1000), 4196)) };
        assert_eq!(empty.share(Offset::new(1001)), None);
    }

    /// The entries as a file has them.
    fn stored(entries: &[IndexEntry], flip: Option<usize>) -> Index {
        let seed = crate::format::fixtures::INDEX.seed();
        let mut bytes = vec![0; HEADER_BYTES];
        for entry in entries {
            let at = bytes.len() as u64;
            bytes.extend_from_slice(&entry.encode(seed, at));
        }
        if let Some(bit) = flip {
            bytes[HEADER_BYTES + bit / 8] ^= 1 << (bit % 8);
        }
        let (mut writer, reader) = crate::io::Memory::heap(bytes.len()).split(0, bytes.len());
        writer.spare(bytes.len()).copy_from_slice(&bytes);
        writer.publish(bytes.len());
        Index::Stored { source: Source::Mapped(reader), seed, live: false }
    }

    #[test]
    fn an_entry_that_is_added_during_a_search_is_none_of_it() {
        let (all, seed) = (entries(20), crate::format::fixtures::INDEX.seed());
        let capacity = HEADER_BYTES + all.len() * INDEX_ENTRY_BYTES;
        let (mut writer, reader) = crate::io::Memory::heap(capacity).split(HEADER_BYTES, capacity);
        let mut left = all.iter();
        let mut add = |count| {
            for entry in left.by_ref().take(count) {
                let at = writer.published();
                writer.spare(INDEX_ENTRY_BYTES).copy_from_slice(&entry.encode(seed, at as u64));
                writer.publish(INDEX_ENTRY_BYTES);
            }
        };
        add(10);
        let index = Index::active(Source::Mapped(reader), seed);
        let added = std::cell::Cell::new(1);
        let add = std::cell::RefCell::new(add);
        let of_all = |_: &IndexEntry| {
            (add.borrow_mut())(added.take());
            true
        };
        let found = index.last_where(9, of_all).ok().flatten().expect("is no reason to build it anew");
        assert_eq!((found.entry.position, index.len()), (all[9].position, 11));
    }

    #[test]
    fn whatever_bit_is_flipped_the_answer_is_the_one_or_none() {
        let (all, base) = (entries(20), Offset::new(1000));
        let mut refused = 0;
        for bit in 0..all.len() * INDEX_ENTRY_BYTES * 8 {
            let index = stored(&all, Some(bit));
            for relative in (0..420).step_by(3) {
                let walked = all.iter().rev().find(|entry| u64::from(entry.relative) <= relative);
                match index.floor(base, base.plus(relative)) {
                    Ok(found) => assert_eq!(found.map(|found| found.entry).as_ref(), walked, "{relative}, bit {bit}"),
                    Err(Wrong) => refused += 1,
                }
            }
            for time in (0..22).map(Timestamp::from_millis) {
                let walked = all.iter().rev().find(|entry| entry.greatest < time);
                if let Ok(found) = index.floor_time(time) {
                    assert_eq!(found.map(|found| found.entry).as_ref(), walked, "{time}, bit {bit}");
                }
            }
        }
        assert!(refused > 1000, "{refused}");
        assert!(stored(&all, None).floor(base, base).is_ok());
    }

    #[test]
    fn a_search_finds_what_a_walk_over_all_entries_finds() {
        for count in [0, 1, 2, 3, 10, 57] {
            let (all, base) = (entries(count), Offset::new(1000));
            let index = Index::Built(all.clone());
            for relative in 0..=u64::from(count * count + 20) {
                let walked = all.iter().rev().find(|entry| u64::from(entry.relative) <= relative);
                let found = index.floor(base, base.plus(relative)).expect("every entry validates");
                assert_eq!(found.map(|found| found.entry).as_ref(), walked, "{relative} of {count}");
            }
            for time in (0..=i64::from(count) + 1).map(Timestamp::from_millis) {
                let walked = all.iter().rev().find(|entry| entry.greatest < time);
                let found = index.floor_time(time).expect("every entry validates");
                assert_eq!(found.map(|found| found.entry).as_ref(), walked, "{time} of {count}");
            }
        }
    }
}
