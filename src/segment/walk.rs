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
    /// The end that the seal promises; `None` for a segment without one.
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

    /// Behind the last batch of a segment whose seal promises more.
    fn ends_early(&mut self) -> Option<Step> {
        let error = DecodeError::Malformed("the batches end before the offset that the seal promises");
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
