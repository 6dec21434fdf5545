//! Judges the bytes of a segment from its first batch on. Nobody else does.
//!
//! Invariant: a scan changes nothing, believes no length before its checksum, and tells three endings apart: nothing
//! behind the last valid batch, something that is no batch, or valid batches behind something that is none. An I/O
//! error is none of these and is passed on. Called by `log::recover` and `inspect`.

use std::io;

use super::{Sealed, Window};
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, DecodeError, HEADER_BYTES, Seed, check_records};
use crate::offset::{Offset, Timestamp};

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The unbroken run of valid batches from the beginning.
    pub(crate) run: Reached,
    /// The greatest durable end that any valid batch told of, behind a hole too.
    pub(crate) durable_end: Offset,
    pub(crate) ending: Ending,
    /// The beginning, and how far the run had come after about every [`MILESTONE_BYTES`].
    milestones: Vec<Reached>,
}

/// Some batches of a segment, from its first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The position behind the last of them.
    pub(crate) position: usize,
    /// The offset behind it.
    pub(crate) end: Offset,
    pub(crate) greatest: Timestamp,
    pub(crate) append_time: Timestamp,
}

/// So little is walked again to find where batches are parted.
const MILESTONE_BYTES: usize = 256 << 10;

/// How the unbroken run of valid batches ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing but zeros, or the end of the file.
    Clean,
    /// Other bytes, and no valid batch behind them.
    Torn(DecodeError),
    /// Other bytes, and valid batches behind them.
    Hole(DecodeError),
}

/// Scans a segment that begins at `base`; offsets from `limit` on are not looked at.
pub(crate) fn scan(window: &mut Window, seed: Seed, base: Offset, limit: Offset) -> io::Result<Scan> {
    scan_from(window, seed, Reached::nothing(base), limit)
}

/// The same behind these batches.
pub(crate) fn scan_from(window: &mut Window, seed: Seed, begin: Reached, limit: Offset) -> io::Result<Scan> {
    let mut scan = Scan { run: begin, durable_end: Offset::ZERO, ending: Ending::Clean, milestones: vec![begin] };
    let error = loop {
        if scan.run.end >= limit || scan.run.position >= window.len() {
            return Ok(scan);
        }
        let from = scan.run;
        BatchHeader::each_whole(window.held(from.position), seed, from.position as u64, from.end, |header| {
            scan.take(header);
            scan.run.end < limit
        });
        if scan.run.position > from.position {
            continue;
        }
        // Not in memory to its end, of another version, or none.
        match batch_at(window, seed, scan.run.position, scan.run.end)? {
            Ok(header) => scan.take(&header),
            Err(error) => break error,
        }
    };
    scan.ending = ending(window, seed, scan.run.position, error, &mut scan.durable_end)?;
    Ok(scan)
}

impl Scan {
    fn take(&mut self, header: &BatchHeader) {
        self.run.take(header);
        self.durable_end = self.durable_end.max(header.durable_end());
        if self.milestones.last().is_none_or(|last| self.run.position - last.position >= MILESTONE_BYTES) {
            self.milestones.push(self.run);
        }
    }

    /// The batches of the run that end at or below `end`.
    pub(crate) fn up_to(&self, window: &mut Window, seed: Seed, end: Offset) -> io::Result<Reached> {
        let after = self.milestones.partition_point(|reached| reached.end <= end);
        let mut reached = self.milestones[after.saturating_sub(1)];
        while reached.position < self.run.position {
            match batch_at(window, seed, reached.position, reached.end)? {
                Ok(header) if header.end() <= end => reached.take(&header),
                _ => break,
            }
        }
        Ok(reached)
    }
}

impl Reached {
    /// No batch of a segment that begins at `base`.
    pub(crate) fn nothing(base: Offset) -> Reached {
        Reached { position: HEADER_BYTES, end: base, greatest: Timestamp::MIN, append_time: Timestamp::MIN }
    }

    /// Goes behind the next batch.
    #[inline]
    pub(crate) fn take(&mut self, header: &BatchHeader) {
        self.position += header.bytes();
        self.end = header.end();
        self.greatest = self.greatest.max(header.greatest_timestamp());
        self.append_time = self.append_time.max(header.append_time);
    }

    /// What a segment of just these is sealed as; `None` if there are none.
    pub(crate) fn sealed(&self) -> Option<Sealed> {
        let Reached { position, end, greatest, append_time } = *self;
        (position > HEADER_BYTES).then_some(Sealed { bytes: position as u64, end, greatest, append_time })
    }
}

/// The batch at a position, verified to its last byte; it must begin at `base`.
pub(crate) fn batch_at(
    window: &mut Window,
    seed: Seed,
    position: usize,
    base: Offset,
) -> io::Result<Result<BatchHeader, DecodeError>> {
    let at = position as u64;
    // Most are whole and in memory: judged in one step.
    if let Some(header) = BatchHeader::whole(window.held(position), seed, at, base) {
        return Ok(Ok(header));
    }
    let header = match BatchHeader::decode(window.at(position, usize::from(u8::MAX))?, seed, at) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    if header.base != base {
        return Ok(Err(DecodeError::Malformed("the batch doesn't continue the offsets")));
    }
    if header.bytes() > window.len() - position {
        return Ok(Err(DecodeError::Malformed("the batch reaches beyond the file")));
    }
    let bytes = window.at(position, header.bytes())?;
    let checked = header.verify(bytes, seed, at).and_then(|payload| check_records(&header, payload));
    Ok(checked.map(|()| header))
}

fn ending(
    window: &mut Window,
    seed: Seed,
    position: usize,
    error: DecodeError,
    durable_end: &mut Offset,
) -> io::Result<Ending> {
    if only_zeros(window, position)? {
        return Ok(Ending::Clean);
    }
    match next_header(window, seed, position + 1)? {
        None => Ok(Ending::Torn(error)),
        Some((found, _)) => {
            *durable_end = (*durable_end).max(known_durable(window, seed, found)?);
            Ok(Ending::Hole(error))
        }
    }
}

/// The greatest durable end that any valid batch from a position on tells of, whatever stands between them.
pub(crate) fn known_durable(window: &mut Window, seed: Seed, mut at: usize) -> io::Result<Offset> {
    let mut durable_end = Offset::ZERO;
    while let Some((found, header)) = next_header(window, seed, at)? {
        durable_end = durable_end.max(header.durable_end());
        at = found.saturating_add(header.bytes());
    }
    Ok(durable_end)
}

/// Whether there is nothing but zeros from `position` on.
pub(crate) fn only_zeros(window: &mut Window, mut position: usize) -> io::Result<bool> {
    while position < window.len() {
        let bytes = window.at(position, 1 << 16)?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        if bytes.is_empty() {
            break;
        }
        position += bytes.len();
    }
    Ok(true)
}

/// The first position from `from` on at which a batch header validates. Tries every byte, since a damaged length tells
/// nothing; the cheap look at three bytes sends almost all of them away.
pub(crate) fn next_header(window: &mut Window, seed: Seed, from: usize) -> io::Result<Option<(usize, BatchHeader)>> {
    const STEP: usize = 1 << 16;
    let mut position = from;
    while window.len().saturating_sub(position) >= BATCH_HEADER_BYTES {
        let bytes = window.at(position, STEP + usize::from(u8::MAX))?;
        let candidates = bytes.len().saturating_sub(BATCH_HEADER_BYTES - 1).min(STEP);
        for i in 0..candidates {
            if !BatchHeader::may_begin(&bytes[i..]) {
                continue;
            }
            if let Some(header) = BatchHeader::evident(&bytes[i..], seed, (position + i) as u64) {
                return Ok(Some((position + i, header)));
            }
        }
        if candidates == 0 {
            break;
        }
        position += candidates;
    }
    Ok(None)
}
