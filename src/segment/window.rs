//! Positioned reading of a long file through a buffer, for scans that must not map it.
//!
//! Invariant: memory is bounded by the longest single request, and a request is only made after its length was checked
//! against the file's. Nothing is read behind the longest that a segment can be: a file may say that it is of any length.

use std::io;
use std::sync::Arc;

use crate::io::{File, read_full_at};
use crate::options::SEGMENT_BYTES;

const WINDOW_BYTES: usize = 256 << 10;

/// How many bytes of a file so long can be a segment's.
pub(super) fn counted(len: u64) -> usize {
    usize::try_from(len.min(*SEGMENT_BYTES.end())).unwrap_or(usize::MAX)
}

/// A file and the part of it that was read last.
pub(crate) struct Window {
    file: Arc<dyn File>,
    len: usize,
    start: usize,
    bytes: Vec<u8>,
}

impl Window {
    /// Looks at the first `len` bytes of a file, as far as they can be a segment's.
    pub(crate) fn new(file: Arc<dyn File>, len: usize) -> Window {
        Window { file, len: counted(len as u64), start: 0, bytes: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Up to `n` bytes from `position` on: fewer only where the file ends.
    pub(crate) fn at(&mut self, position: usize, n: usize) -> io::Result<&[u8]> {
        let end = position.saturating_add(n).min(self.len);
        let position = position.min(end);
        if position < self.start || end > self.start + self.bytes.len() {
            self.fill(position, (end - position).max(WINDOW_BYTES))?;
        }
        let from = position - self.start;
        let to = (end - self.start).min(self.bytes.len());
        Ok(&self.bytes[from.min(to)..to])
    }

    /// What was already read from `position` on; nothing is read for it.
    pub(crate) fn held(&self, position: usize) -> &[u8] {
        position.checked_sub(self.start).and_then(|from| self.bytes.get(from..)).unwrap_or_default()
    }

    fn fill(&mut self, position: usize, n: usize) -> io::Result<()> {
        let n = n.min(self.len - position);
        self.bytes.resize(n, 0);
        self.start = position;
        let got = read_full_at(&*self.file, &mut self.bytes, position as u64)?;
        self.bytes.truncate(got);
        Ok(())
    }
}
