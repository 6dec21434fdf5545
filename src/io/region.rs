//! One append-only stretch of a file behind one small type: [`Tail`] writes it, [`Source`] reads it, mapped or by
//! positioned calls.
//!
//! Invariant: whichever side is chosen, what `publish` returned for is in the kernel, can be read, and never changes.
//! Called by segments and indexes; nobody above knows whether a file is mapped.

use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::ahead::Ahead;
use super::mark::Mark;
use super::{File, RegionReader, RegionWriter, Runner, read_full_at, write_all_at};

/// A buffer that is longer is given back once it is written.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// How the next bytes are brought to the file where it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a write: after a sync the kernel protects the page, and a fault costs more than the write.
    Call,
    /// Through the map.
    Map,
    /// Through the map, by a writer of so much that pages are brought in ahead of it. Not for who syncs after a few
    /// bytes: the kernel keeps such a piece as one, and writes all of it out when a byte of it has changed.
    Bulk,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Tail {
    file: Arc<dyn File>,
    capacity: usize,
    side: Side,
}

#[derive(Debug)]
enum Side {
    Mapped {
        writer: RegionWriter,
        ahead: Arc<Ahead>,
        /// Who brings in pages when asked.
        runner: Arc<Runner>,
        /// Up to here the writer needn't look at `ahead`.
        look_at: usize,
        /// What is published by a write instead of through the map; empty otherwise.
        buffer: Vec<u8>,
    },
    Positioned {
        buffer: Vec<u8>,
        end: Arc<Mark>,
        reserved: usize,
    },
}

impl Tail {
    /// Begins to write behind the first `published` bytes of a file. It never grows past `capacity`.
    pub(crate) fn begin(
        file: Arc<dyn File>,
        mapped: Option<&Arc<Runner>>,
        capacity: usize,
        published: usize,
    ) -> io::Result<(Tail, Source)> {
        if let Some(runner) = mapped {
            let (writer, reader) = file.map_write(capacity, published)?;
            let ahead = Arc::new(Ahead::new(file.clone(), reader.clone(), capacity));
            let side = Side::Mapped { writer, ahead, runner: runner.clone(), look_at: published, buffer: Vec::new() };
            return Ok((Tail { file, capacity, side }, Source::Mapped(reader)));
        }
        let end = Arc::new(Mark::new(published));
        let source = Source::Positioned { file: file.clone(), end: end.clone() };
        let side = Side::Positioned { buffer: Vec::new(), end, reserved: published };
        Ok((Tail { file, capacity, side }, source))
    }

    /// Publishes the first bytes of a file that has none, which must be reserved: its header. On failure nothing is.
    pub(crate) fn begin_with(&mut self, header: &[u8]) -> io::Result<()> {
        if let Side::Mapped { ahead, .. } = &self.side {
            ahead.claim(header.len());
        }
        write_all_at(&*self.file, header, 0)?;
        match &mut self.side {
            Side::Mapped { writer, look_at, .. } => {
                writer.absorb(header);
                writer.publish(header.len());
                *look_at = header.len();
            }
            Side::Positioned { end, .. } => end.publish(header.len()),
        }
        Ok(())
    }

    /// Brings in the pages that it will write first.
    pub(crate) fn run_ahead(&self) {
        if let Side::Mapped { ahead, .. } = &self.side {
            ahead.run();
        }
    }

    /// The most bytes that it may have.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Goes on behind the first `published` bytes of a file that has room for `reserved`: a writer that was there before
    /// has brought in what lies between.
    pub(crate) fn resume(
        file: Arc<dyn File>,
        mapped: Option<&Arc<Runner>>,
        capacity: usize,
        (published, reserved): (usize, usize),
    ) -> io::Result<(Tail, Source)> {
        let (mut tail, source) = Tail::begin(file, mapped, capacity, published)?;
        tail.reserve(reserved)?;
        if let Side::Mapped { ahead, look_at, .. } = &mut tail.side {
            ahead.claim(reserved);
            *look_at = reserved;
        }
        Ok((tail, source))
    }

    /// The file behind it.
    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The end of what was published.
    pub(crate) fn published(&self) -> usize {
        match &self.side {
            Side::Mapped { writer, .. } => writer.published(),
            Side::Positioned { end, .. } => end.published(),
        }
    }

    /// The end of the space that was reserved.
    pub(crate) fn reserved(&self) -> usize {
        match &self.side {
            Side::Mapped { writer, .. } => writer.reserved(),
            Side::Positioned { reserved, .. } => *reserved,
        }
    }

    /// Reserves the file's space up to `len`, or more. On failure nothing has changed.
    pub(crate) fn reserve(&mut self, len: usize) -> io::Result<()> {
        match &mut self.side {
            Side::Mapped { writer, ahead, .. } => writer.grow(ahead.reserve(len)?),
            Side::Positioned { reserved, .. } => {
                self.file.reserve(len as u64)?;
                *reserved = len;
            }
        }
        Ok(())
    }

    /// `n` bytes to fill, behind the published ones, and published in this way. They hold anything.
    ///
    /// # Panics
    ///
    /// If they aren't reserved.
    #[inline]
    pub(crate) fn spare(&mut self, n: usize, way: Way) -> &mut [u8] {
        assert!(n <= self.reserved() - self.published(), "fills only what is reserved");
        let buffer = match &mut self.side {
            Side::Mapped { writer, ahead, runner, look_at, buffer } => {
                let end = writer.published() + n;
                if end > *look_at {
                    *look_at = make_way(ahead, runner, end, way);
                }
                if way != Way::Call {
                    buffer.clear();
                    return writer.spare(n);
                }
                buffer
            }
            Side::Positioned { buffer, .. } => buffer,
        };
        buffer.resize(n, 0);
        buffer
    }

    /// Nothing more is added: whatever brings in pages ahead stops, and the file may be cut to its end.
    pub(crate) fn stop(&self) {
        if let Side::Mapped { ahead, .. } = &self.side {
            ahead.stop();
        }
    }

    /// Publishes the bytes that were filled. On failure nothing is published, and the next ones go to the same place.
    pub(crate) fn publish(&mut self, n: usize) -> io::Result<()> {
        let position = self.published();
        match &mut self.side {
            Side::Mapped { writer, buffer, .. } => {
                if !buffer.is_empty() {
                    write_all_at(&*self.file, &buffer[..n], position as u64)?;
                    writer.absorb(&buffer[..n]);
                    keep_if_small(buffer);
                }
                writer.publish(n);
            }
            Side::Positioned { buffer, end, .. } => {
                write_all_at(&*self.file, &buffer[..n], position as u64)?;
                end.publish(position + n);
                keep_if_small(buffer);
            }
        }
        Ok(())
    }
}

/// A batch that was larger than most isn't worth its memory for ever.
fn keep_if_small(buffer: &mut Vec<u8>) {
    if buffer.capacity() > BUFFER_BYTES_KEPT {
        *buffer = Vec::new();
    }
}

/// Makes everything below `end` the writer's own; gives the position at which it has to do so again.
#[cold]
fn make_way(ahead: &Arc<Ahead>, runner: &Runner, end: usize, way: Way) -> usize {
    if way != Way::Bulk {
        ahead.write_once(end);
        return ahead.warm();
    }
    if end > ahead.warm() {
        ahead.bring(end);
    }
    runner.ask(ahead).max(end)
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The reading end; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Lends bytes from the map.
    Mapped(RegionReader),
    /// Reads bytes into memory.
    Positioned {
        /// The file.
        file: Arc<dyn File>,
        /// The end of what was published.
        end: Arc<Mark>,
    },
}

impl Source {
    /// Reads a file whose first `len` bytes will not change, by positioned reads.
    pub(crate) fn positioned(file: Arc<dyn File>, len: usize) -> Source {
        Source::Positioned { file, end: Arc::new(Mark::new(len)) }
    }

    /// Sees what another process has added to the file since, or cut off its unused end.
    pub(crate) fn look_again(&self) -> io::Result<()> {
        if let Source::Positioned { file, end } = self {
            end.publish(usize::try_from(file.len()?).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// The end of what was published.
    pub(crate) fn published(&self) -> usize {
        match self {
            Source::Mapped(reader) => reader.published(),
            Source::Positioned { end, .. } => end.published(),
        }
    }

    /// The published bytes from `position` on: all of them from a map, about `want` of them by a read. Empty at the
    /// end.
    pub(crate) fn view(&self, position: usize, want: usize) -> io::Result<View> {
        self.clone().into_view(position, want)
    }

    /// The same for who needs it no more.
    pub(crate) fn into_view(self, position: usize, want: usize) -> io::Result<View> {
        match self {
            Source::Mapped(reader) => {
                let end = reader.published();
                Ok(View::mapped(reader, position.min(end)..end))
            }
            Source::Positioned { file, end } => {
                let end = end.published();
                let mut bytes = vec![0; want.min(end.saturating_sub(position))];
                let got = read_full_at(&*file, &mut bytes, position as u64)?;
                bytes.truncate(got);
                Ok(View::owned(bytes.into()))
            }
        }
    }
}

/// Bytes that are lent from a map or owned; they stay valid and unchanged as long as this lives.
#[derive(Clone)]
pub(crate) enum View {
    /// A range of a region.
    Mapped(RegionReader, Range<usize>),
    /// Bytes on the heap.
    Owned(Bytes),
}

impl View {
    fn mapped(reader: RegionReader, range: Range<usize>) -> View {
        View::Mapped(reader, range)
    }

    /// Bytes on the heap.
    pub(crate) fn owned(bytes: Bytes) -> View {
        View::Owned(bytes)
    }

    /// The first `n` bytes of it, or all if it has fewer.
    pub(crate) fn cut(self, n: usize) -> View {
        match self {
            View::Mapped(reader, whole) => {
                let end = whole.end.min(whole.start + n);
                View::Mapped(reader, whole.start..end)
            }
            View::Owned(mut bytes) => {
                bytes.truncate(n);
                View::Owned(bytes)
            }
        }
    }

    /// Without the first `n` bytes of it, or empty if it has fewer.
    pub(crate) fn behind(self, n: usize) -> View {
        match self {
            View::Mapped(reader, whole) => {
                let start = whole.end.min(whole.start.saturating_add(n));
                View::Mapped(reader, start..whole.end)
            }
            View::Owned(mut bytes) => {
                bytes.advance(n.min(bytes.len()));
                View::Owned(bytes)
            }
        }
    }

    /// A part of it.
    pub(crate) fn slice(&self, range: Range<usize>) -> View {
        match self {
            View::Mapped(reader, whole) => {
                assert!(range.start <= range.end && range.end <= whole.len(), "a slice lies within its view");
                View::Mapped(reader.clone(), whole.start + range.start..whole.start + range.end)
            }
            View::Owned(bytes) => View::Owned(bytes.slice(range)),
        }
    }

    /// A part of it as `Bytes`, which keep the map alive; nothing is copied.
    pub(crate) fn to_bytes(&self, range: Range<usize>) -> Bytes {
        match self.slice(range) {
            View::Owned(bytes) => bytes,
            mapped @ View::Mapped(..) => Bytes::from_owner(mapped),
        }
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            View::Mapped(reader, range) => &reader.bytes()[range.clone()],
            View::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Dir, OsDir};

    #[test]
    fn a_large_batch_costs_no_memory_once_it_is_written() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let file = OsDir::new(temp.path()).create("a".as_ref()).expect("creates");
        let (mut tail, _source) = Tail::begin(file, None, 8 << 20, 0).expect("begins");
        tail.reserve(8 << 20).expect("reserves");
        for bytes in [100, 2 * BUFFER_BYTES_KEPT, 100] {
            tail.spare(bytes, Way::Call).fill(7);
            tail.publish(bytes).expect("writes");
            let Side::Positioned { buffer, .. } = &tail.side else { panic!("it isn't mapped") };
            assert!(buffer.capacity() <= BUFFER_BYTES_KEPT, "{}", buffer.capacity());
        }
    }
}
