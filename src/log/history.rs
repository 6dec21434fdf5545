//! A partition's evidence: what was begun, rolled, sealed, raised and closed, in order, each line checksummed.
//!
//! Invariant: the history says what must exist; files that it doesn't name are no part of the log. An epoch stands here
//! durably before a record of it is published; a new start before the files below it are removed; a roll no later than
//! the first durable acknowledgement in its segment; a seal only when the segment's bytes are synced. Written by
//! `append`, `sync`, `truncate`, `retention` and `recover`; read at open.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use super::lineage::{Begun, Cuts, Lineage};
use super::recover::unrecorded;
use crate::error::{IoContext, Result};
use crate::format::{
    DecodeError, Entry, FRAME_HEADER_BYTES, FileKind, HEADER_BYTES, HISTORY, Identity, NO_EPOCH, Reason, Rest, Salvage,
    Seed, encode_frame, is_worth_rewriting, read_frames, salvage_frames,
};
use crate::io::latch::Latch;
use crate::io::{
    Access, File, Headroom, LOOKS_MAX, open_if_there, read_all, read_full_at, read_settled, replace, write_all_at,
    write_new,
};
use crate::offset::{Epoch, Offset, Position, Timestamp};
use crate::segment::{Home, Sealed, SegmentId, header_of, not_found};

/// A history is a few bytes for each session and segment; a longer file isn't one.
const HISTORY_BYTES_MAX: u64 = 1 << 30;
/// From this size on a history is worth compacting.
const COMPACT_BYTES_MIN: u64 = 64 << 10;
/// So many entries stand in a line of a history that is written whole; millions of them would be longer than a line may be.
const LINE_ENTRIES_MAX: usize = 1024;

/// No append ever comes so far. What began behind it might end where there are no offsets left.
pub(super) const OFFSETS_END: Offset = Offset::new(1 << 63);

/// So many of the bytes in front of where a history ended when it was read are remembered.
const LAST_BYTES: usize = 64;
const _: () = assert!(LAST_BYTES <= HEADER_BYTES);

/// A segment that the history names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) id: SegmentId,
    pub(crate) seal: Option<Sealed>,
    /// Given up before a later cut, and for good.
    pub(crate) gone: bool,
}

impl Recorded {
    pub(crate) fn new(id: SegmentId, seal: Option<Sealed>) -> Recorded {
        Recorded { id, seal, gone: false }
    }
}

/// What a history says.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) lineage: Lineage,
    pub(crate) start: Offset,
    pub(crate) segments: Vec<Recorded>,
    /// The end at which the partition was closed, if nothing was begun since.
    pub(crate) clean: Option<Offset>,
    /// Bytes of an unfinished line at the end.
    pub(crate) torn_bytes: usize,
}

impl Evidence {
    pub(crate) fn of(entries: &[Entry]) -> Result<Evidence, DecodeError> {
        let mut epochs = Vec::new();
        let (mut start, mut clean) = (Offset::ZERO, None);
        let mut segments: Vec<Recorded> = Vec::new();
        let mut alive = Alive::default();
        // The last that was begun under each name: there may be as many seals as segments.
        let mut begun: HashMap<SegmentId, usize> = HashMap::new();
        for entry in entries {
            match entry {
                Entry::Epoch { epoch, start: from, reason, time } => {
                    alive.give_up(&mut segments, start, *from);
                    alive.cuts.begun(*epoch, *from);
                    epochs.push(Begun { epoch: *epoch, start: *from, reason: *reason, time: *time });
                    clean = None;
                }
                Entry::Start { start: raised } => {
                    start = start.max(*raised);
                    // Not known to be synced, and what lies below it is only removed once it is.
                    clean = None;
                }
                Entry::Roll { base, epoch } => {
                    let id = SegmentId { base: *base, epoch: *epoch };
                    alive.segments.push_back(segments.len());
                    begun.insert(id, segments.len());
                    segments.push(Recorded::new(id, None));
                    clean = None;
                }
                Entry::Seal { base, epoch, bytes, end, greatest_timestamp, append_time } => {
                    let id = SegmentId { base: *base, epoch: *epoch };
                    let sealed =
                        Sealed { bytes: *bytes, end: *end, greatest: *greatest_timestamp, append_time: *append_time };
                    let never = DecodeError::Malformed("a seal of a segment that was never begun");
                    segments[*begun.get(&id).ok_or(never)?].seal = Some(sealed);
                }
                Entry::Clean { end } => clean = Some(*end),
                _ => return Err(DecodeError::Malformed("an entry that doesn't belong into a history")),
            }
        }
        let lineage = Lineage::new(epochs)?;
        if segments.iter().any(|segment| lineage.find(segment.id.epoch).is_none()) {
            return Err(DecodeError::Malformed("a segment of an epoch that was never begun"));
        }
        let evidence = Evidence { lineage, start, segments, clean, torn_bytes: 0 };
        if evidence.furthest() >= OFFSETS_END {
            return Err(DecodeError::Malformed("an offset that no append comes to"));
        }
        Ok(evidence)
    }

    /// The greatest offset that it tells of.
    fn furthest(&self) -> Offset {
        let begun = self.lineage.epochs().iter().map(|begun| begun.start);
        let segments = self.segments.iter().map(|one| one.seal.map_or(one.id.base, |seal| seal.end.max(one.id.base)));
        begun.chain(segments).chain(self.clean).fold(self.start, Offset::max)
    }

    /// The same evidence, without what no longer matters.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.lineage.epochs().iter().map(Begun::entry).collect();
        entries.push(Entry::Start { start: self.start });
        for segment in &self.segments {
            entries.push(Entry::Roll { base: segment.id.base, epoch: segment.id.epoch });
            entries.extend(segment.seal.map(|sealed| seal_entry(segment.id, &sealed)));
        }
        entries.extend(self.clean.map(|end| Entry::Clean { end }));
        entries
    }

    /// The same evidence for a history that begins with all epochs: there a cut no longer tells what it gave up.
    pub(crate) fn without_retired(&self) -> Evidence {
        Evidence { segments: self.live().copied().collect(), ..self.clone() }
    }

    /// The segments that it hasn't retired, in order.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Recorded> {
        (0..self.segments.len()).filter(|&i| !self.is_retired(i)).map(|i| &self.segments[i])
    }

    /// Where a sealed segment ends: at its seal's end, or where a later epoch has cut it off since.
    pub(crate) fn sealed_end(&self, segment: &Recorded) -> Option<Offset> {
        Some(segment.seal?.end.min(self.lineage.cut_of(segment.id.epoch)))
    }

    /// Whether the partition was closed cleanly: nothing was begun since, and every segment is sealed.
    pub(crate) fn is_closed(&self) -> bool {
        self.clean.is_some() && self.torn_bytes == 0 && self.live().all(|segment| segment.seal.is_some())
    }

    /// The end of the log when its last segment ends here, or when it has none.
    pub(crate) fn end_after(&self, last: Option<Offset>) -> Offset {
        last.unwrap_or(self.lineage.newest().start).max(self.start)
    }

    /// Whether the history itself says that this segment should be gone: nothing of it lies below the cut of its epoch,
    /// or it ended before the start and isn't the newest.
    pub(crate) fn is_retired(&self, i: usize) -> bool {
        let segment = &self.segments[i];
        let cut = self.lineage.cut_of(segment.id.epoch);
        if segment.gone || cut <= segment.id.base {
            return true;
        }
        let Some(sealed) = segment.seal else { return false };
        sealed.end <= segment.id.base || (sealed.end.min(cut) <= self.start && !self.is_newest(i))
    }

    fn is_newest(&self, i: usize) -> bool {
        !(i + 1..self.segments.len())
            .any(|later| self.lineage.cut_of(self.segments[later].id.epoch) > self.segments[later].id.base)
    }
}

/// The segments that nothing has given up yet, oldest first, as far as a history was read. Each goes in once and comes out
/// once: a history may tell of thousands of cuts, and of as many segments.
#[derive(Default)]
struct Alive {
    segments: VecDeque<usize>,
    cuts: Cuts,
}

impl Alive {
    /// What lay below the start was unlinked while another segment was the newest. A cut that takes that one away makes it
    /// the newest again, but doesn't bring it back.
    fn give_up(&mut self, segments: &mut [Recorded], start: Offset, cut: Offset) {
        let Some(&newest) = self.segments.back().filter(|&&i| segments[i].id.base >= cut) else { return };
        while let Some(&oldest) = self.segments.front()
            && oldest != newest
            && segments[oldest]
                .seal
                .is_some_and(|sealed| sealed.end.min(self.cuts.of(segments[oldest].id.epoch)) <= start)
        {
            segments[oldest].gone = true;
            self.segments.pop_front();
        }
        while let Some(&last) = self.segments.back()
            && segments[last].id.base >= cut
        {
            segments[last].gone = true;
            self.segments.pop_back();
        }
    }
}

impl Begun {
    pub(crate) fn entry(&self) -> Entry {
        Entry::Epoch { epoch: self.epoch, start: self.start, reason: self.reason, time: self.time }
    }
}

pub(crate) fn seal_entry(id: SegmentId, sealed: &Sealed) -> Entry {
    Entry::Seal {
        base: id.base,
        epoch: id.epoch,
        bytes: sealed.bytes,
        end: sealed.end,
        greatest_timestamp: sealed.greatest,
        append_time: sealed.append_time,
    }
}

/// The file, ready to be appended to.
#[derive(Debug)]
pub(crate) struct History {
    home: Arc<Home>,
    path: PathBuf,
    seed: Seed,
    file: Option<Arc<dyn File>>,
    position: u64,
    synced: u64,
    headroom: Headroom,
}

/// How much of which file was read. A compacted one is told from its predecessor by the header, which says when the file
/// was made, and by the last bytes that were read, should both be of one millisecond.
#[derive(Clone, Debug)]
pub(crate) struct HistoryRead {
    header: [u8; HEADER_BYTES],
    last: [u8; LAST_BYTES],
    ends: u64,
}

fn history_id() -> SegmentId {
    SegmentId { base: Offset::ZERO, epoch: NO_EPOCH }
}

fn identity_of(home: &Home) -> Identity {
    home.identity(FileKind::History, history_id())
}

impl History {
    /// Writes the first history of a new partition and syncs it.
    pub(crate) fn create(home: &Arc<Home>, creation: Epoch) -> Result<()> {
        let begun = Begun { epoch: creation, start: Offset::ZERO, reason: Reason::Created, time: home.now() };
        let path = home.dir.join(HISTORY);
        write_new(&*home.seam.dir, &path, &encode_all(home, &[begun.entry(), Entry::Clean { end: Offset::ZERO }]))
    }

    /// Whether the file is still the one that was read, and nothing was added behind `ends`.
    pub(crate) fn is_unchanged(home: &Home, read: &HistoryRead) -> Result<bool> {
        let path = home.dir.join(HISTORY);
        let shown = home.shown(&path);
        let file = home.seam.dir.open(&path, Access::Read).at("open", &shown)?;
        let (mut header, mut around) = ([0; HEADER_BYTES], [0; LAST_BYTES + 4]);
        read_full_at(&*file, &mut header, 0).at("read", &shown)?;
        read_full_at(&*file, &mut around, read.ends - LAST_BYTES as u64).at("read", &shown)?;
        let (last, next) = around.split_at(LAST_BYTES);
        Ok(header == read.header && last == read.last && next == [0; 4])
    }

    /// Reads what the history says.
    pub(crate) fn load(home: &Arc<Home>) -> Result<(History, Evidence)> {
        History::load_with(home).map(|(history, evidence, _)| (history, evidence))
    }

    /// The same, and what [`is_unchanged`](History::is_unchanged) compares with.
    pub(crate) fn load_with(home: &Arc<Home>) -> Result<(History, Evidence, HistoryRead)> {
        let path = home.dir.join(HISTORY);
        let shown = home.shown(&path);
        let read = || {
            let file = home.seam.dir.open(&path, Access::Read);
            let file = file.map_err(|source| not_found(source, &shown, "history"))?;
            read_all(&*file, HISTORY_BYTES_MAX).at("read", &shown)
        };
        let judge = |bytes: &[u8]| judged(home, bytes, &shown);
        let judged = if home.read_only { read_settled(read, judge) } else { judge(&read()?) };
        let (evidence, read) = judged?;
        let position = read.ends;
        let seed = identity_of(home).seed();
        let history = History {
            home: home.clone(),
            path,
            seed,
            file: None,
            position,
            // After a kill the lines may live in the page cache alone: whoever adds one writes all of them anew first.
            synced: position,
            headroom: Headroom::default(),
        };
        Ok((history, evidence, read))
    }

    /// The same, sure that no segment tells of a line that the history has lost.
    pub(crate) fn load_complete(home: &Arc<Home>) -> Result<(History, Evidence)> {
        // Another process may begin a segment between the two looks; then the history has grown as well.
        let mut looks = if home.read_only { LOOKS_MAX } else { 1 };
        loop {
            let (history, evidence, read) = History::load_with(home)?;
            let Some(error) = unrecorded(home, &evidence, &history)? else { return Ok((history, evidence)) };
            looks -= 1;
            if looks == 0 || History::is_unchanged(home, &read)? {
                return Err(error);
            }
        }
    }

    /// Where the next line goes.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// A history that is yet to be written, in place of one that is lost.
    pub(crate) fn anew(home: &Arc<Home>) -> History {
        History {
            home: home.clone(),
            path: home.dir.join(HISTORY),
            seed: identity_of(home).seed(),
            file: None,
            position: HEADER_BYTES as u64,
            synced: 0,
            headroom: Headroom::default(),
        }
    }

    /// What of a damaged or missing file still validates. Changes nothing.
    pub(crate) fn salvage(home: &Arc<Home>) -> Result<Salvage> {
        let path = home.dir.join(HISTORY);
        let shown = home.shown(&path);
        let file = open_if_there(&*home.seam.dir, &path).at("open", &shown)?;
        let bytes = file.map_or(Ok(Vec::new()), |file| read_all(&*file, HISTORY_BYTES_MAX)).at("read", &shown)?;
        let salvage = salvage_frames(&bytes, identity_of(home).seed());
        salvage.map_err(|error| error.at("history", &shown, Some(Position::new(HEADER_BYTES as u64)), None))
    }

    /// Appends entries as one line, all or nothing. Not synced. On failure nothing was added.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Result<()> {
        let shown = self.shown();
        let mark = u32::try_from(self.position - self.synced).unwrap_or(u32::MAX);
        let frame = encode_frame(entries, self.seed, self.position, mark);
        let file = self.file()?;
        self.headroom.keep(&*self.home.seam.dir, &*file, self.position + frame.len() as u64);
        write_all_at(&*file, &frame, self.position).taking(frame.len(), "write", &shown)?;
        self.position += frame.len() as u64;
        Ok(())
    }

    /// The same for lines that must be told also on a full disk.
    pub(crate) fn append_surely(&mut self, entries: &[Entry]) -> Result<()> {
        let home = self.home.clone();
        home.reserve.with_room(|| self.append(entries))
    }

    /// Whether lines were added since the last sync.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.synced < self.position
    }

    /// Makes all lines durable. On failure the caller latches.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if !self.is_unsynced() {
            return Ok(());
        }
        let shown = self.shown();
        self.file()?.sync().at("sync", &shown)?;
        self.synced = self.position;
        // Only a file with unsynced bytes has to stay open: an error of the disk is told to open files alone.
        self.file = None;
        Ok(())
    }

    /// Whether a rewrite would make the file much smaller.
    pub(crate) fn is_worth_compacting(&self, evidence: &Evidence) -> bool {
        is_worth_rewriting(self.position, COMPACT_BYTES_MIN, 2, || bytes_of(&evidence.entries()))
    }

    /// Replaces the file by one with just this evidence, atomically and durably. On failure before the rename nothing
    /// changed; a failed sync of the directory latches.
    pub(crate) fn rewrite(&mut self, evidence: &Evidence, latch: &Latch) -> Result<()> {
        let home = self.home.clone();
        home.reserve.with_room(|| self.replace(evidence, latch))
    }

    fn replace(&mut self, evidence: &Evidence, latch: &Latch) -> Result<()> {
        let bytes = encode_all(&self.home, &evidence.entries());
        let position = bytes.len() as u64;
        let sync = replace(&*self.home.seam.dir, &self.path, &bytes)?;
        let shown = self.home.shown(&self.home.dir);
        sync().at("sync", &shown).inspect_err(|_| latch.fall("sync", &shown))?;
        (self.file, self.position, self.synced) = (None, position, position);
        self.headroom = Headroom::default();
        Ok(())
    }

    fn file(&mut self) -> Result<Arc<dyn File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = self.home.seam.dir.open(&self.path, Access::Write).at("open", &self.shown())?;
        self.file = Some(file.clone());
        Ok(file)
    }

    pub(crate) fn shown(&self) -> PathBuf {
        self.home.shown(&self.path)
    }
}

/// What the bytes of a history say.
fn judged(home: &Home, bytes: &[u8], shown: &std::path::Path) -> Result<(Evidence, HistoryRead)> {
    let identity = identity_of(home);
    identity
        .check(bytes)
        .map_err(|error| error.at(header_of(FileKind::History), shown, Some(Position::new(0)), None))?;
    let corrupt = |error: DecodeError, position| error.at("history", shown, Some(Position::new(position)), None);
    let frames = read_frames(bytes, identity.seed()).map_err(|error| corrupt(error, HEADER_BYTES as u64))?;
    let torn_bytes = match frames.rest {
        Rest::Clean => 0,
        Rest::Torn { .. } => bytes.len() - frames.ends,
        Rest::Damaged { position, error } => return Err(corrupt(error, position as u64)),
    };
    let mut evidence = Evidence::of(&frames.entries).map_err(|error| corrupt(error, HEADER_BYTES as u64))?;
    evidence.torn_bytes = torn_bytes;
    let header = bytes[..HEADER_BYTES].try_into().expect("the header was checked");
    let last = bytes[frames.ends - LAST_BYTES..frames.ends].try_into().expect("the header alone is as long");
    Ok((evidence, HistoryRead { header, last, ends: frames.ends as u64 }))
}

pub(crate) fn remove_if_there(home: &Home, path: &std::path::Path) -> Result<()> {
    crate::io::remove_if_there(&*home.seam.dir, path).at("remove", &home.shown(path))
}

/// A whole history of a partition.
fn encode_all(home: &Home, entries: &[Entry]) -> Vec<u8> {
    encode_lines(identity_of(home), home.now(), entries)
}

/// The same, in lines of bounded length.
fn encode_lines(identity: Identity, now: Timestamp, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = identity.encode(now).to_vec();
    for line in entries.chunks(LINE_ENTRIES_MAX) {
        let at = bytes.len() as u64;
        bytes.extend_from_slice(&encode_frame(line, identity.seed(), at, 0));
    }
    bytes
}

/// How long that is, without the checksums, and without more memory than for a line.
fn bytes_of(entries: &[Entry]) -> u64 {
    let mut payload = Vec::new();
    entries.chunks(LINE_ENTRIES_MAX).fold(HEADER_BYTES as u64, |bytes, line| {
        payload.clear();
        line.iter().for_each(|entry| entry.encode(&mut payload));
        bytes + (FRAME_HEADER_BYTES + payload.len()) as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATION: Epoch = Epoch { number: 1, tag: 100 };
    const FAR: u64 = 1 << 63;
    const STRANGE: Epoch = Epoch { number: 1, tag: 101 };

    fn begins(number: u64, start: u64, reason: Reason) -> Entry {
        let epoch = Epoch { number, tag: number * 100 };
        Entry::Epoch { epoch, start: Offset::new(start), reason, time: Timestamp::default() }
    }

    fn roll(base: u64, epoch: Epoch) -> Entry {
        Entry::Roll { base: Offset::new(base), epoch }
    }

    fn seal(base: u64, epoch: Epoch, end: u64) -> Entry {
        let time = Timestamp::default();
        let sealed = Sealed { bytes: 200, end: Offset::new(end), greatest: time, append_time: time };
        seal_entry(SegmentId { base: Offset::new(base), epoch }, &sealed)
    }

    fn live(entries: &[Entry]) -> Vec<u64> {
        let evidence = Evidence::of(entries).expect("is a history");
        evidence.live().map(|segment| segment.id.base.get()).collect()
    }

    #[test]
    fn lines_that_contradict_each_other_are_refused_with_the_rule() {
        let created = || begins(1, 0, Reason::Created);
        let cases = [
            (vec![created(), seal(0, CREATION, 5)], "a seal of a segment that was never begun"),
            (vec![created(), roll(0, CREATION), seal(0, STRANGE, 5)], "a seal of a segment that was never begun"),
            (vec![created(), roll(0, STRANGE)], "a segment of an epoch that was never begun"),
            (
                vec![created(), Entry::Store { next_number: 1, clean: true }],
                "an entry that doesn't belong into a history",
            ),
            (vec![roll(0, CREATION)], "the history names no epoch"),
            (vec![created(), begins(2, FAR, Reason::Session)], "an offset that no append comes to"),
            (vec![created(), Entry::Start { start: Offset::new(FAR) }], "an offset that no append comes to"),
            (vec![created(), Entry::Clean { end: Offset::MAX }], "an offset that no append comes to"),
            (vec![created(), roll(FAR, CREATION)], "an offset that no append comes to"),
            (vec![created(), roll(0, CREATION), seal(0, CREATION, FAR)], "an offset that no append comes to"),
            // Also where segments were to be given up by the cut of a lineage that is none.
            (
                vec![roll(5, CREATION), begins(1, 0, Reason::Session)],
                "the history doesn't begin with the creation epoch",
            ),
        ];
        for (entries, rule) in cases {
            assert_eq!(Evidence::of(&entries).map(|_| ()), Err(DecodeError::Malformed(rule)), "{entries:?}");
        }
    }

    /// A line of them is short; a history of a GiB may hold ten million.
    #[test]
    fn seals_in_any_order_and_number_are_taken_in_time_that_grows_with_them() {
        const MANY: u64 = 200_000;
        let rolls = (0..MANY).map(|base| roll(base, CREATION));
        let backwards = (0..MANY).rev().map(|base| seal(base, CREATION, base + 1));
        let of_one = (0..MANY).map(|_| seal(0, CREATION, 1));
        let told: Vec<Entry> =
            [begins(1, 0, Reason::Created)].into_iter().chain(rolls).chain(backwards).chain(of_one).collect();
        let segments = Evidence::of(&told).expect("is a history").segments;
        assert!(segments.iter().all(|segment| segment.seal.is_some_and(|seal| seal.end == segment.id.base.next())));
    }

    #[test]
    fn a_partition_is_closed_if_nothing_that_lives_is_unsealed_behind_the_word_for_it() {
        let is_closed = |entries: &[Entry]| Evidence::of(entries).expect("is a history").is_closed();
        let clean = || Entry::Clean { end: Offset::new(5) };
        let created = || begins(1, 0, Reason::Created);
        assert!(is_closed(&[created(), roll(0, CREATION), seal(0, CREATION, 5), clean()]));
        assert!(!is_closed(&[created(), roll(0, CREATION), seal(0, CREATION, 5)]));
        assert!(!is_closed(&[created(), roll(0, CREATION), clean()]));
        let cut =
            [created(), roll(0, CREATION), seal(0, CREATION, 5), roll(5, CREATION), begins(2, 5, Reason::Truncated)];
        assert!(is_closed(&[&cut[..], &[clean()]].concat()), "what a cut took away needs no seal");
    }

    #[test]
    fn the_newest_segment_stays_wherever_the_start_is() {
        let mut entries = vec![begins(1, 0, Reason::Created), roll(0, CREATION), seal(0, CREATION, 5)];
        entries.extend([roll(5, CREATION), seal(5, CREATION, 9), Entry::Start { start: Offset::new(9) }]);
        assert_eq!(live(&entries), [5]);
        // A segment that a cut left nothing of isn't the newest.
        let mut entries = vec![begins(1, 0, Reason::Created), roll(0, CREATION), seal(0, CREATION, 5)];
        entries.extend([roll(5, CREATION), begins(2, 5, Reason::Truncated), Entry::Start { start: Offset::new(5) }]);
        assert_eq!(live(&entries), [0]);
    }

    /// The same by the definition: what was to be gone when it was cut, looked at with everything that was known then.
    fn live_by_definition(entries: &[Entry]) -> Vec<u64> {
        let mut gone = Vec::new();
        for (i, entry) in entries.iter().enumerate().skip(1) {
            let Entry::Epoch { start: cut, .. } = entry else { continue };
            let before = with_gone(&entries[..i], &gone);
            if before.segments.iter().any(|segment| !segment.gone && segment.id.base >= *cut) {
                let segments = before.segments.iter().enumerate();
                gone = segments.map(|(i, one)| before.is_retired(i) || one.id.base >= *cut).collect();
            }
        }
        let live = with_gone(entries, &gone).without_retired().segments;
        live.iter().map(|segment| segment.id.base.get()).collect()
    }

    fn with_gone(entries: &[Entry], gone: &[bool]) -> Evidence {
        let mut evidence = Evidence::of(entries).expect("is a history");
        let gone = gone.iter().copied().chain(std::iter::repeat(false));
        evidence.segments.iter_mut().zip(gone).for_each(|(segment, gone)| segment.gone = gone);
        evidence
    }

    /// What six steps in any order leave of a log, each told in lines of its history.
    fn told(mut steps: u32) -> Vec<Entry> {
        let mut entries = vec![begins(1, 0, Reason::Created)];
        let (mut number, mut start, mut end, mut newest) = (1, 0, 0, 0);
        for _ in 0..6 {
            let epoch = Epoch { number, tag: number * 100 };
            match steps % 6 {
                0 => {
                    entries.extend([roll(end, epoch), seal(end, epoch, end + 4)]);
                    (newest, end) = (end, end + 4);
                }
                1 => start = newest.max(start),
                2 => start = end,
                3 => end = start,
                4 => end = start.max(end.saturating_sub(2)),
                _ => {}
            }
            if steps % 6 >= 3 {
                number += 1;
                entries.push(begins(number, end, Reason::Truncated));
            }
            newest = newest.min(end);
            entries.push(Entry::Start { start: Offset::new(start) });
            steps /= 6;
        }
        entries
    }

    #[test]
    fn what_trims_and_cuts_in_any_order_give_up_is_what_the_definition_says() {
        for steps in 0..6_u32.pow(6) {
            let entries = told(steps);
            assert_eq!(live(&entries), live_by_definition(&entries), "{entries:#?}");
        }
    }

    #[test]
    fn the_length_of_a_history_is_known_before_it_is_written() {
        let identity = Identity {
            kind: FileKind::History,
            store: [7; 16],
            creation: CREATION,
            partition: Some(0),
            epoch: NO_EPOCH,
            base: Offset::ZERO,
        };
        // The last of them is longer than one line may be.
        for segments in [0, 1, 511, 512, 200_000] {
            let mut entries = vec![begins(1, 0, Reason::Created)];
            entries.extend((0..segments).flat_map(|n| [roll(n * 5, CREATION), seal(n * 5, CREATION, n * 5 + 5)]));
            let bytes = encode_lines(identity, Timestamp::default(), &entries);
            assert_eq!(bytes_of(&entries), bytes.len() as u64);
            assert_eq!(read_frames(&bytes, identity.seed()).expect("is a history").entries, entries);
        }
    }

    #[test]
    fn what_lay_below_the_start_does_not_come_back_when_a_cut_makes_it_the_newest() {
        let mut entries = vec![begins(1, 0, Reason::Created), roll(0, CREATION), seal(0, CREATION, 5)];
        entries.extend([roll(5, CREATION), Entry::Start { start: Offset::new(5) }]);
        assert_eq!(live(&entries), [5]);
        entries.push(begins(2, 5, Reason::Truncated));
        assert_eq!(live(&entries), [0; 0]);
    }
}
