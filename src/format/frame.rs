//! The frame of `STORE`, `topic`, `commits` and `history`: one or more entries that are there together or not at all.
//!
//! Invariant: what ends a file is called torn only if no valid frame behind it knew it to be synced. Owners encode a
//! frame for the position at which they append it, and read a whole file at once when they open it.

use super::{Cursor, DecodeError, Entry, HEADER_BYTES, NO_MARK, Seed};

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
    let mut frame = vec![0; FRAME_HEADER_BYTES];
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
    let (mut entries, mut ends) = (Vec::new(), HEADER_BYTES);
    loop {
        if bytes[ends..].iter().all(|&byte| byte == 0) {
            return Ok(Frames { entries, ends, rest: Rest::Clean });
        }
        match take_frame(bytes, ends, seed, &mut entries) {
            Ok(next) => ends = next,
            Err(unsupported @ DecodeError::Unsupported { .. }) => return Err(unsupported),
            Err(error) => {
                let rest = judge(bytes, ends, error, seed);
                return Ok(Frames { entries, ends, rest });
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
fn judge(bytes: &[u8], bad: usize, error: DecodeError, seed: Seed) -> Rest {
    let mut budget = SEARCH_BYTES_MAX;
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
