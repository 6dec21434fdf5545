//! The frame of `STORE`, `topic`, `commits` and `history`: one or more entries that are there together or not at all.
//!
//! Invariant: what ends a file is called torn only if no valid frame behind it knew it to be synced. Owners encode a
//! frame for the position at which they append it, and read a whole file at once when they open it.

use super::cursor::Cursor;
use super::entry::ENTRY_BYTES_USUAL;
use super::{DecodeError, Entry, HEADER_BYTES, NO_MARK, Seed};

/// The most bytes of a frame's payload.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;
/// The length of the header in front of the payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 13;

/// How many bytes may be looked at in all in the search for frames behind a bad one. Hostile bytes can make every
/// position look like a long frame; honest ones hardly ever do.
const SEARCH_BYTES_MAX: usize = 64 << 20;

/// What a file of frames holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) entries: Vec<Entry>,
    /// The position behind the last good frame.
    pub(crate) ends: usize,
    /// Whether the last good frame has entries that count.
    pub(crate) open_ended: bool,
    pub(crate) rest: Rest,
}

/// What stands behind the last good frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing, or only zeros.
    Clean,
    /// Bytes that are no frame, and no later frame that knew them synced: a crash cut them.
    Torn { position: usize },
    /// Bytes that were synced and have changed since. Also where that could not be ruled out.
    Damaged { position: usize, error: DecodeError },
}

/// Encodes these entries as one frame for this position of the file.
///
/// The mark is how many bytes in front of the position are not known to be synced, [`NO_MARK`] if that is unknown.
/// Panics without an entry or above [`FRAME_BYTES_MAX`]: the caller's errors.
pub(crate) fn encode_frame(entries: &[Entry], seed: Seed, position: u64, mark: u32) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + ENTRY_BYTES_USUAL);
    frame.resize(FRAME_HEADER_BYTES, 0);
    for entry in entries {
        entry.encode(&mut frame);
    }
    let payload_bytes = frame.len() - FRAME_HEADER_BYTES;
    assert!((1..=FRAME_BYTES_MAX).contains(&payload_bytes), "a frame holds 1 byte to 16 MiB, not {payload_bytes}");
    let length = u32::try_from(payload_bytes).expect("is at most 16 MiB");
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8..12].copy_from_slice(&mark.to_le_bytes());
    let checksum = seed.checksum(position, &frame[4..]);
    frame[..4].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// Whether a file of frames, of at least so many bytes, is more than so many times as long as what still counts.
pub(crate) fn is_worth_rewriting(bytes: u64, bytes_min: u64, times: u64, live_bytes: impl FnOnce() -> u64) -> bool {
    bytes >= bytes_min && live_bytes() * times < bytes
}

/// Reads all frames of a file, whose bytes these are from its header on.
///
/// # Errors
///
/// `Short` if not even the header is there, `Unsupported` if a valid frame needs a later version. Damage behind the
/// header is no error but a [`Rest`], and what was read before it is there.
pub(crate) fn read_frames(bytes: &[u8], seed: Seed) -> Result<Frames, DecodeError> {
    if bytes.len() < HEADER_BYTES {
        return Err(DecodeError::Short { found: bytes.len() as u64, expected: HEADER_BYTES as u64 });
    }
    let (mut entries, mut ends, mut open_ended) = (Vec::new(), HEADER_BYTES, false);
    loop {
        if bytes[ends..].iter().all(|&byte| byte == 0) {
            return Ok(Frames { entries, ends, open_ended, rest: Rest::Clean });
        }
        let before = entries.len();
        match take_frame(bytes, ends, seed, &mut entries) {
            Ok(next) => (ends, open_ended) = (next, entries.len() > before),
            Err(unsupported @ DecodeError::Unsupported { .. }) => return Err(unsupported),
            Err(error) => {
                let rest = judge(bytes, ends, error, seed, SEARCH_BYTES_MAX);
                return Ok(Frames { entries, ends, open_ended, rest });
            }
        }
    }
}

/// Reads the frame at this position whole, or adds nothing.
fn take_frame(bytes: &[u8], position: usize, seed: Seed, entries: &mut Vec<Entry>) -> Result<usize, DecodeError> {
    let frame = Frame::parse(bytes, position)?;
    frame.check(seed, position)?;
    let before = entries.len();
    frame.take_entries(entries).inspect_err(|_| entries.truncate(before))?;
    Ok(position + FRAME_HEADER_BYTES + frame.payload.len())
}

/// What of a damaged file of frames still validates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvage {
    /// Of the frames in front of the first damage.
    pub(crate) before: Vec<Entry>,
    /// Of the frames behind it. Checksums know their positions: these stood here, in this order.
    pub(crate) behind: Vec<Entry>,
    /// How many bytes are no frame, up to the last one that isn't zero.
    pub(crate) lost_bytes: usize,
}

/// Takes every frame that validates, trying each byte behind a bad one. Doesn't look at the file's header. The search is
/// bounded as that of [`read_frames`]; what it doesn't come to is lost.
///
/// # Errors
///
/// `Unsupported`, as [`read_frames`].
pub(crate) fn salvage_frames(bytes: &[u8], seed: Seed) -> Result<Salvage, DecodeError> {
    salvage_within(bytes, seed, SEARCH_BYTES_MAX)
}

fn salvage_within(bytes: &[u8], seed: Seed, mut budget: usize) -> Result<Salvage, DecodeError> {
    let mut salvage = Salvage::default();
    let (mut at, mut damaged) = (HEADER_BYTES, false);
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    while at < end && budget > 0 {
        budget = budget.saturating_sub(Frame::parse(bytes, at).map_or(1, |frame| frame.checked.len()));
        let entries = if damaged { &mut salvage.behind } else { &mut salvage.before };
        match take_frame(bytes, at, seed, entries) {
            Ok(next) => at = next,
            Err(unsupported @ DecodeError::Unsupported { .. }) => return Err(unsupported),
            Err(_) => (at, damaged, salvage.lost_bytes) = (at + 1, true, salvage.lost_bytes + 1),
        }
    }
    salvage.lost_bytes += end.saturating_sub(at);
    Ok(salvage)
}

/// A frame whose length fits its file; nothing more is known of it.
#[derive(Clone, Copy)]
struct Frame<'a> {
    checksum: u32,
    mark: u32,
    flags: u8,
    /// What the checksum is over.
    checked: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn parse(bytes: &'a [u8], position: usize) -> Result<Frame<'a>, DecodeError> {
        let mut cursor = Cursor::starting_at(bytes, position);
        let (checksum, length) = (cursor.take_u32()?, cursor.take_u32()?);
        let (mark, flags) = (cursor.take_u32()?, cursor.take_u8()?);
        if !(1..=FRAME_BYTES_MAX).contains(&(length as usize)) {
            return Err(DecodeError::Malformed("frame of an impossible length"));
        }
        let payload = cursor.take_bytes(u64::from(length))?;
        Ok(Frame { checksum, mark, flags, checked: &bytes[position + 4..cursor.at()], payload })
    }

    fn check(&self, seed: Seed, position: usize) -> Result<(), DecodeError> {
        seed.check(position as u64, self.checked, self.checksum)
    }

    fn take_entries(&self, entries: &mut Vec<Entry>) -> Result<(), DecodeError> {
        if self.flags != 0 {
            let found = format!("version 1 with frame flags {:#04x}", self.flags);
            return Err(DecodeError::Unsupported { found, supported: "version 1 with none" });
        }
        let mut cursor = Cursor::new(self.payload);
        while cursor.left() > 0 {
            entries.extend(Entry::take(&mut cursor)?);
        }
        Ok(())
    }

    /// Whether, if the frame is valid, the byte at `bad` was synced when it was written.
    fn covers(&self, bad: usize, position: usize) -> bool {
        self.mark != NO_MARK && (self.mark as usize) < position - bad
    }

    /// Whether the payload is entries from end to end, and how many bytes it took to see that.
    fn looks_whole(&self) -> (bool, usize) {
        let mut cursor = Cursor::new(self.payload);
        let mut entries = 0;
        while cursor.left() > 0 {
            entries += 1;
            let skipped = cursor.take_u8().and_then(|kind| cursor.take_prefixed().map(|_| kind));
            if !matches!(skipped, Ok(1..)) {
                return (false, entries);
            }
        }
        (true, entries)
    }
}

/// Torn or damaged: searches every byte behind a bad frame for one that knew it synced.
fn judge(bytes: &[u8], bad: usize, error: DecodeError, seed: Seed, mut budget: usize) -> Rest {
    for position in bad + 1..bytes.len() {
        let Ok(frame) = Frame::parse(bytes, position) else { continue };
        if !frame.covers(bad, position) {
            continue;
        }
        let (whole, entries) = frame.looks_whole();
        let cost = entries * 8 + if whole { frame.checked.len() } else { 0 };
        let Some(left) = budget.checked_sub(cost) else { return Rest::Damaged { position: bad, error } };
        budget = left;
        if whole && frame.check(seed, position).is_ok() {
            return Rest::Damaged { position: bad, error };
        }
    }
    Rest::Torn { position: bad }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{HISTORY, TIME, entries, frames_file};

    fn read(bytes: &[u8]) -> Frames {
        read_frames(bytes, HISTORY.seed()).expect("has a header")
    }

    /// A file of three frames, each of which was written with everything in front of it synced, and their ends.
    fn synced() -> (Vec<u8>, Vec<usize>) {
        frames_file(&HISTORY, entries().chunks(3), 0)
    }

    #[test]
    fn frames_come_back_with_zeros_behind_them_or_nothing() {
        let (mut bytes, ends) = synced();
        let expected = Frames { entries: entries(), ends: ends[2], open_ended: true, rest: Rest::Clean };
        assert_eq!(read(&bytes), expected);
        bytes.extend([0; 4096]);
        assert_eq!(read(&bytes), expected);
        assert_eq!(
            read(&HISTORY.encode(TIME)),
            Frames { entries: vec![], ends: 96, open_ended: false, rest: Rest::Clean }
        );
    }

    #[test]
    fn every_flipped_bit_of_the_last_frame_is_torn_and_of_an_earlier_one_is_damage() {
        let (good, ends) = synced();
        for bit in HEADER_BYTES * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().position(|&end| bit / 8 < end).expect("lies in a frame");
            let frames = read(&bad);
            assert_eq!((frames.entries.len(), frames.ends), (hit * 3, if hit == 0 { 96 } else { ends[hit - 1] }));
            match frames.rest {
                Rest::Torn { position } => assert_eq!((hit, position), (2, frames.ends), "bit {bit}"),
                Rest::Damaged { position, .. } => assert_eq!((hit < 2, position), (true, frames.ends), "bit {bit}"),
                Rest::Clean => panic!("bit {bit} went unnoticed"),
            }
        }
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_frames() {
        let (good, ends) = synced();
        for length in HEADER_BYTES..good.len() {
            let whole = ends.iter().filter(|&&end| end <= length).count();
            assert_eq!(read(&good[..length]).entries.len(), whole * 3, "{length}");
        }
        assert!(matches!(read_frames(&good[..95], HISTORY.seed()), Err(DecodeError::Short { found: 95, .. })));
    }

    #[test]
    fn a_hole_that_no_later_frame_knew_synced_is_torn() {
        let (mut bytes, ends) = frames_file(&HISTORY, entries().chunks(3), NO_MARK);
        bytes[ends[0]..ends[1]].fill(0);
        assert_eq!(read(&bytes).rest, Rest::Torn { position: ends[0] });
    }

    #[test]
    fn a_synced_frame_that_became_zeros_is_damage() {
        let (mut bytes, ends) = synced();
        bytes[ends[0]..ends[1]].fill(0);
        assert!(matches!(read(&bytes).rest, Rest::Damaged { position, .. } if position == ends[0]));
    }

    #[test]
    fn a_mark_covers_exactly_what_lies_in_front_of_it() {
        let first = encode_frame(&entries(), HISTORY.seed(), 96, 0);
        let position = HEADER_BYTES + first.len();
        for (mark, damaged) in [(first.len() - 1, true), (first.len(), false)] {
            let mark = u32::try_from(mark).expect("is small");
            let mut bytes = [HISTORY.encode(TIME).as_slice(), &first].concat();
            bytes.extend(encode_frame(&entries(), HISTORY.seed(), position as u64, mark));
            bytes[100] ^= 1;
            assert_eq!(matches!(read(&bytes).rest, Rest::Damaged { position: 96, .. }), damaged, "{mark}");
        }
    }

    #[test]
    fn a_copy_of_a_frame_elsewhere_or_of_another_file_never_validates() {
        let (mut bytes, ends) = synced();
        let copy = bytes[96..ends[0]].to_vec();
        bytes.extend(copy);
        assert_eq!(read(&bytes).rest, Rest::Torn { position: ends[2] });
        let other = read_frames(&bytes, Seed(HISTORY.seed().0 ^ 1)).expect("has a header");
        assert_eq!((other.entries.len(), other.rest), (0, Rest::Torn { position: 96 }));
    }

    #[test]
    fn a_frame_is_there_whole_or_not_at_all() {
        let mut frame = encode_frame(&entries(), HISTORY.seed(), 96, 0);
        *frame.last_mut().expect("is not empty") = 9;
        let checksum = HISTORY.seed().checksum(96, &frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        let frames = read(&[HISTORY.encode(TIME).as_slice(), &frame].concat());
        assert_eq!((frames.entries, frames.ends), (vec![], 96));
    }

    #[test]
    fn what_validates_before_and_behind_damage_is_salvaged() {
        let (good, ends) = synced();
        for bit in HEADER_BYTES * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let hit = ends.iter().position(|&end| bit / 8 < end).expect("lies in a frame");
            let salvage = salvage_frames(&bad, HISTORY.seed()).expect("is of this version");
            let all = entries();
            assert_eq!(salvage.before, all[..hit * 3], "bit {bit}");
            assert_eq!(salvage.behind, all[(hit * 3 + 3).min(all.len())..], "bit {bit}");
            assert!(salvage.lost_bytes > 0);
        }
        let whole = salvage_frames(&good, HISTORY.seed()).expect("is of this version");
        assert_eq!((whole.before, whole.behind, whole.lost_bytes), (entries(), vec![], 0));
        assert_eq!(salvage_frames(&good[..50], HISTORY.seed()), Ok(Salvage::default()));
    }

    #[test]
    fn a_file_is_rewritten_if_it_is_long_and_less_than_half_of_it_counts() {
        let is_worth = |bytes, live| is_worth_rewriting(bytes, 1000, 2, || live);
        assert_eq!([is_worth(999, 0), is_worth(1000, 499)], [false, true]);
        assert_eq!([is_worth(1000, 500), is_worth(4000, 1999), is_worth(4000, 2000)], [false, true, false]);
    }

    #[test]
    fn flags_that_must_be_understood_are_refused_by_name() {
        let mut frame = encode_frame(&entries(), HISTORY.seed(), 96, 0);
        frame[12] = 1;
        let checksum = HISTORY.seed().checksum(96, &frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        let refused = read_frames(&[HISTORY.encode(TIME).as_slice(), &frame].concat(), HISTORY.seed());
        let found = "version 1 with frame flags 0x01".to_string();
        let unsupported = DecodeError::Unsupported { found, supported: "version 1 with none" };
        assert_eq!(refused, Err(unsupported.clone()));
        let salvaged = salvage_frames(&[HISTORY.encode(TIME).as_slice(), &frame].concat(), HISTORY.seed());
        assert_eq!(salvaged, Err(unsupported));
    }

    #[test]
    fn a_length_that_no_frame_has_is_refused_before_its_bytes_are_looked_for() {
        for length in [0, (16 << 20) + 1, u32::MAX] {
            let mut bytes = encode_frame(&entries(), HISTORY.seed(), 0, 0);
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
            let refused = Frame::parse(&bytes, 0).map(|frame| frame.payload.len());
            assert_eq!(refused, Err(DecodeError::Malformed("frame of an impossible length")), "{length}");
        }
    }

    /// What the search behind a byte of damage makes of this candidate, with so much to spend.
    fn judged(candidate: &[u8], budget: usize) -> Rest {
        let (mut bytes, ends) = synced();
        bytes.push(0xff);
        bytes.extend(candidate);
        judge(&bytes, ends[2], DecodeError::Malformed("frame"), HISTORY.seed(), budget)
    }

    #[test]
    fn the_search_counts_what_it_looks_at() {
        // One entry, that is whole, and a checksum that isn't right.
        let whole = vec![0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0, 200, 1, 0xff];
        let mut broken = whole.clone();
        broken[FRAME_HEADER_BYTES] = 0;
        for (candidate, cost) in [(&whole, 8 + whole.len() - 4), (&broken, 8)] {
            assert!(matches!(judged(candidate, cost), Rest::Torn { .. }), "{cost} are enough");
            assert!(matches!(judged(candidate, cost - 1), Rest::Damaged { .. }), "less than {cost} are not");
        }
    }

    #[test]
    fn the_search_begins_behind_the_bad_byte() {
        let (mut bytes, ends) = synced();
        // From the last good byte on it reads as a frame of one byte.
        bytes.extend([9, 9, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(read(&bytes).rest, Rest::Torn { position: ends[2] });
    }

    #[test]
    fn a_salvage_counts_what_it_looks_at_and_what_is_lost() {
        let (good, ends) = synced();
        let mut bad = good[..ends[0]].to_vec();
        bad.extend([0xff; 3]);
        let frame = encode_frame(&entries()[..1], HISTORY.seed(), bad.len() as u64, 0);
        bad.extend(&frame);
        bad.extend([0xff; 2]);
        bad.extend([0; 100]);
        let all = salvage_frames(&bad, HISTORY.seed()).expect("is of this version");
        assert_eq!((all.behind.len(), all.lost_bytes), (1, 5));
        // A byte that no frame begins at costs one, a frame what its checksum is over.
        let front = ends[0] - HEADER_BYTES - 4;
        let none = salvage_within(&bad, HISTORY.seed(), front + 3).expect("is of this version");
        assert_eq!((none.before.len(), none.behind.len(), none.lost_bytes), (3, 0, 3 + frame.len() + 2));
        let one = salvage_within(&bad, HISTORY.seed(), front + 4).expect("is of this version");
        assert_eq!((one.before.len(), one.behind.len(), one.lost_bytes), (3, 1, 5));
    }

    #[test]
    fn hostile_bytes_end_the_search_in_bounded_time_and_on_the_safe_side() {
        let (mut bytes, ends) = synced();
        // At every fourth byte a frame of 131,328 bytes that claims to cover and is entries all through.
        bytes.extend([0, 1, 2, 0].repeat(1 << 19));
        let frames = read(&bytes);
        assert_eq!(frames.ends, ends[2]);
        assert!(matches!(frames.rest, Rest::Damaged { position, .. } if position == ends[2]), "{:?}", frames.rest);
    }
}
