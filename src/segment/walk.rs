//! Walks the batches of one segment and goes on behind what is damaged.
//!
//! Invariant: every step moves on, in the file or in the offsets, and never beyond either end; a length is believed only
//! behind its checksum. Bytes are judged by `scan`. Used by `inspect` and by repair.

use std::io;
use std::ops::Range;

use super::{Window, batch_at, next_header, only_zeros};
use crate::format::{BatchHeader, DecodeError, HEADER_BYTES, Seed};
use crate::offset::Offset;

/// What stands at one position.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole batch.
    Batch(usize, BatchHeader),
    /// Something that should be a batch.
    Bad(Bad),
}

/// Something that should be a batch and isn't one.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) position: usize,
    /// The offset that a batch here would begin with.
    pub(crate) base: Offset,
    /// The offset at which reading goes on; `None` if nothing that is valid follows and nobody knows how far it went.
    pub(crate) next: Option<Offset>,
    pub(crate) error: DecodeError,
}

impl Bad {
    /// Whether it was written by a later version: never torn, never damage.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self.error, DecodeError::Unsupported { .. })
    }

    pub(crate) fn offsets(&self) -> Option<Range<Offset>> {
        self.next.map(|next| self.base..next)
    }
}

/// The walk over one segment.
pub(crate) struct Walk {
    pub(crate) window: Window,
    pub(crate) seed: Seed,
    pub(crate) position: usize,
    /// The offset that the next batch must begin with.
    pub(crate) expected: Offset,
    /// The end that the seal promises, or without one the next segment; `None` for the newest without one.
    pub(crate) end: Option<Offset>,
    /// Batches from here on belong to another segment, or to nobody.
    pub(crate) limit: Offset,
}

impl Walk {
    pub(crate) fn new(window: Window, seed: Seed, base: Offset, end: Option<Offset>, limit: Offset) -> Walk {
        Walk { window, seed, position: HEADER_BYTES, expected: base, end, limit }
    }

    /// The next batch or the next damage; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Step>> {
        if self.expected >= self.end.unwrap_or(Offset::MAX).min(self.limit) {
            return Ok(None);
        }
        if self.position >= self.window.len() {
            return Ok(self.ends_early());
        }
        match batch_at(&mut self.window, self.seed, self.position, self.expected)? {
            Ok(header) => {
                let position = self.position;
                self.position += header.bytes();
                self.expected = header.end();
                Ok(Some(Step::Batch(position, header)))
            }
            Err(error) => self.go_behind(error),
        }
    }

    /// Behind the last batch of a segment that should go further.
    fn ends_early(&mut self) -> Option<Step> {
        let error =
            DecodeError::Malformed("the batches end before the offset that the seal or the next segment promises");
        self.end.map(|end| Step::Bad(self.bad(self.position, error, Some(end))))
    }

    fn go_behind(&mut self, error: DecodeError) -> io::Result<Option<Step>> {
        let position = self.position;
        if self.end.is_none() && only_zeros(&mut self.window, position)? {
            self.position = self.window.len();
            return Ok(None);
        }
        let here = self.window.at(position, usize::from(u8::MAX))?;
        let step = match BatchHeader::decode(here, self.seed, position as u64) {
            Ok(header) if header.bytes() <= self.window.len() - position => self.behind_header(&header, error),
            _ => self.behind_nothing(error)?,
        };
        Ok(Some(Step::Bad(step)))
    }

    /// The header is whole: its length and its offsets can be trusted.
    fn behind_header(&mut self, header: &BatchHeader, error: DecodeError) -> Bad {
        let position = self.position;
        if header.base > self.expected {
            return self.bad(position, error, Some(header.base));
        }
        self.position += header.bytes();
        let next = header.end().max(self.expected);
        self.bad(position, error, Some(next))
    }

    /// The header is damaged: the next valid one says where to go on.
    fn behind_nothing(&mut self, error: DecodeError) -> io::Result<Bad> {
        let position = self.position;
        match next_header(&mut self.window, self.seed, position + 1)? {
            Some((found, header)) => {
                self.position = found;
                let next = header.base.max(self.expected);
                Ok(self.bad(position, error, Some(next)))
            }
            None => {
                self.position = self.window.len();
                Ok(self.bad(position, error, self.end))
            }
        }
    }

    fn bad(&mut self, position: usize, error: DecodeError, next: Option<Offset>) -> Bad {
        let base = self.expected;
        let next = next.map(|next| next.min(self.limit));
        self.expected = next.unwrap_or(base);
        Bad { position, base, next, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{SEGMENT, TIME, batch, plain, resealed};
    use crate::io::{Dir, OsDir, write_all_at};
    use crate::segment::{Ending, scan};

    const BASE: Offset = SEGMENT.base;

    type Change = fn(&mut Vec<u8>);

    /// The golden segment's header and three batches of one record, the second of them changed as its checksum knows.
    fn bytes(change: impl Fn(&mut Vec<u8>)) -> (Vec<u8>, usize) {
        let mut bytes = SEGMENT.encode(TIME).to_vec();
        for offset in BASE.get()..BASE.get() + 3 {
            let at = bytes.len() as u64;
            let whole = batch(&plain(), offset, at);
            bytes.extend(if offset == BASE.get() + 1 { resealed(&whole, at, &change) } else { whole });
        }
        (bytes, HEADER_BYTES + batch(&plain(), 100, 96).len())
    }

    fn window(bytes: &[u8]) -> Window {
        let dir = tempfile::tempdir().expect("makes a directory");
        let file = OsDir::new(dir.path()).create("segment".as_ref()).expect("creates");
        write_all_at(&*file, bytes, 0).expect("writes");
        Window::new(file, bytes.len())
    }

    /// The bad things, by position, offset and rule.
    fn walked(bytes: &[u8], sealed_end: u64) -> Vec<(usize, u64, DecodeError)> {
        let end = Some(BASE.plus(sealed_end));
        let mut walk = Walk::new(window(bytes), SEGMENT.seed(), BASE, end, Offset::MAX);
        let steps = std::iter::from_fn(|| walk.next().expect("reads"));
        let bad = steps.filter_map(|step| if let Step::Bad(bad) = step { Some(bad) } else { None });
        bad.map(|bad| (bad.position, bad.base.get(), bad.error)).collect()
    }

    #[test]
    fn a_whole_batch_in_the_wrong_place_is_told_by_what_it_says_of_itself() {
        let wrong: [(Change, &str); 2] = [
            (|batch| batch[12] += 7, "the batch doesn't continue the offsets"),
            (|batch| batch[10] = 1, "the batch reaches beyond the file"),
        ];
        for (change, rule) in wrong {
            let (bytes, second) = bytes(change);
            let bad = DecodeError::Malformed(rule);
            assert_eq!(walked(&bytes, 3)[0], (second, 101, bad.clone()));
            let scanned = scan(&mut window(&bytes), SEGMENT.seed(), BASE, Offset::MAX).expect("reads");
            assert_eq!((scanned.run.position, scanned.run.end.get(), scanned.ending), (second, 101, Ending::Hole(bad)));
        }
    }

    #[test]
    fn behind_the_last_position_there_is_no_header() {
        let (bytes, _) = bytes(|_| {});
        for from in [bytes.len(), usize::MAX - 1, usize::MAX] {
            assert_eq!(next_header(&mut window(&bytes), SEGMENT.seed(), from).expect("reads"), None);
        }
    }

    #[test]
    fn what_the_seal_promises_and_no_batch_holds_is_told() {
        let (bytes, _) = bytes(|_| {});
        assert_eq!(walked(&bytes, 3), []);
        let rule = "the batches end before the offset that the seal or the next segment promises";
        assert_eq!(walked(&bytes, 5), [(bytes.len(), 103, DecodeError::Malformed(rule))]);
    }
}
