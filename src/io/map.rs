//! Memory over a file, mapped or on the heap, split into one writer and its readers. Beside five blocks in
//! `format` the only unsafe code of the crate.
//!
//! Invariant: bytes below `published` never change; bytes from `published` to `reserved` belong to the one
//! [`RegionWriter`]; nothing from `reserved` on is touched. So no reference ever overlaps one that can be written
//! through: the writer's `&mut` covers what it is about to publish and ends before `publish`, the readers' `&` covers
//! `0..published`, and a release store and an acquire load order the two.
//!
//! What this can't rule out is said in the docs of `Store::open`: an I/O error under a mapped page, or another program
//! that cuts the file, ends the process (SIGBUS); `Mapping::Never` maps nothing.

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Weak};

use memmap2::MmapRaw;

use super::mark::Mark;

/// The least size of a page; advice is given for whole ones.
#[cfg(target_os = "linux")]
const PAGE_BYTES: usize = 4096;

/// A stretch of memory that is valid as long as this lives, and that nobody has a reference to.
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
    backing: Backing,
}

/// What keeps the memory valid.
enum Backing {
    Mapped {
        map: MmapRaw,
    },
    /// A box taken apart: moved as one, it would claim its bytes for itself alone.
    Heap {
        raw: *mut [u8],
    },
}

impl Drop for Backing {
    fn drop(&mut self) {
        if let Backing::Heap { raw } = *self {
            // SAFETY: `raw` comes from `Box::into_raw` in `Memory::holding`, which put it into this backing alone; whoever
            // borrows the bytes keeps the memory alive.
            drop(unsafe { Box::from_raw(raw) });
        }
    }
}

// SAFETY: the memory is plain bytes, owned by the backing and valid on every thread; which of them may be written, and
// by whom, is what `RegionWriter` and `RegionReader` uphold.
unsafe impl Send for Memory {}
// SAFETY: as above; `Memory` itself hands out no access.
unsafe impl Sync for Memory {}

impl Memory {
    /// Takes a mapping over. The caller opened the file and keeps to the contracts of `File::map_write` and
    /// `File::map_read`: only bytes below the file's length are published or reserved.
    #[must_use]
    pub fn mapped(map: MmapRaw) -> Memory {
        let start = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address 0");
        Memory { start, len: map.len(), backing: Backing::Mapped { map } }
    }

    /// Zeroed memory on the heap: the simulated side, and what Miri runs on.
    #[must_use]
    pub fn heap(len: usize) -> Memory {
        Memory::holding(vec![0; len].into_boxed_slice())
    }

    /// Memory on the heap that holds these bytes: what a map of a file finds there.
    #[must_use]
    pub fn holding(bytes: Box<[u8]>) -> Memory {
        let len = bytes.len();
        let raw = Box::into_raw(bytes);
        let start = NonNull::new(raw.cast::<u8>()).expect("a box is never at address 0");
        Memory { start, len, backing: Backing::Heap { raw } }
    }

    /// Splits the memory into its one writer and the first reader. The first `published` bytes are readable at once;
    /// the writer may touch what lies behind, up to `reserved`.
    ///
    /// # Panics
    ///
    /// Unless `published <= reserved <= len`.
    #[must_use]
    pub fn split(self, published: usize, reserved: usize) -> (RegionWriter, RegionReader) {
        assert!(published <= reserved && reserved <= self.len, "published <= reserved <= length of the memory");
        let shared = Arc::new(Shared { memory: self, published: Mark::new(published) });
        (RegionWriter { shared: shared.clone(), published, reserved }, RegionReader { shared })
    }
}

struct Shared {
    memory: Memory,
    published: Mark,
}

/// The one writer of a region. Not `Clone`: whoever holds it is alone.
pub struct RegionWriter {
    shared: Arc<Shared>,
    published: usize,
    reserved: usize,
}

impl RegionWriter {
    /// The first `n` bytes behind `published`, to be written. They hold what was last written there, or zero.
    ///
    /// # Panics
    ///
    /// If fewer than `n` are reserved.
    pub fn spare(&mut self, n: usize) -> &mut [u8] {
        assert!(n <= self.reserved - self.published, "writes only what is reserved");
        // SAFETY: `published + n <= reserved <= memory.len` (just checked, and by `split`, `grow` and `publish`), so the
        // bytes lie in the memory, which `shared` keeps alive. No other reference covers them: readers end at
        // `published`, which only `publish` moves, and that takes `&mut self`, so this borrow has ended by then; the
        // writer isn't `Clone`. Who brings in pages ahead writes to the file, behind what the writer was given.
        unsafe { std::slice::from_raw_parts_mut(self.shared.memory.start.as_ptr().add(self.published), n) }
    }

    /// Takes note of bytes that were written to the file at the end of what is published. A map shows the kernel's own
    /// pages and has them already; memory on the heap is given a copy.
    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        if matches!(self.shared.memory.backing, Backing::Heap { .. }) {
            self.spare(bytes.len()).copy_from_slice(bytes);
        }
    }

    /// Makes the first `n` spare bytes readable, for ever unchanged.
    ///
    /// # Panics
    ///
    /// If fewer than `n` are reserved.
    pub fn publish(&mut self, n: usize) {
        assert!(n <= self.reserved - self.published, "publishes only what is reserved");
        self.published += n;
        self.shared.published.publish(self.published);
    }

    /// Says that the file now has room up to `reserved` bytes.
    ///
    /// # Panics
    ///
    /// If that is less than before or more than the memory.
    pub fn grow(&mut self, reserved: usize) {
        assert!(
            self.reserved <= reserved && reserved <= self.shared.memory.len,
            "a region only grows, within its memory"
        );
        self.reserved = reserved;
    }

    /// The end of what readers see.
    #[must_use]
    pub fn published(&self) -> usize {
        self.published
    }

    /// The end of what may be written.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.reserved
    }
}

impl fmt::Debug for RegionWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionWriter({}..{})", self.published, self.reserved)
    }
}

/// A reader of a region: sees what was published. Keeps the memory alive.
#[derive(Clone)]
pub struct RegionReader {
    shared: Arc<Shared>,
}

impl RegionReader {
    /// Everything published so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let published = self.shared.published.published();
        // SAFETY: `published` lies within the memory, which `shared` keeps alive as long as the slice; the bytes below
        // it were written before the release store that this acquire load has seen, and nobody writes them again.
        unsafe { std::slice::from_raw_parts(self.shared.memory.start.as_ptr(), published) }
    }

    /// The end of what was published.
    #[must_use]
    pub fn published(&self) -> usize {
        self.shared.published.published()
    }

    /// Brings the pages of a range into memory, ready to be written by the writer. Advice: the bytes stay as they are.
    #[cfg(target_os = "linux")]
    pub(super) fn populate(&self, range: std::ops::Range<usize>) -> std::io::Result<()> {
        let Backing::Mapped { map } = &self.shared.memory.backing else { return Ok(()) };
        let start = range.start & !(PAGE_BYTES - 1);
        map.advise_range(memmap2::Advice::PopulateWrite, start, range.end - start)
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "elsewhere there is no such advice")]
    pub(super) fn populate(&self, _range: std::ops::Range<usize>) -> std::io::Result<()> {
        Ok(())
    }

    /// Takes the whole pages within a range out of the map. Whoever touches them has them back as they were.
    #[cfg(target_os = "linux")]
    pub(super) fn let_go(&self, range: std::ops::Range<usize>) -> std::io::Result<()> {
        let Backing::Mapped { map } = &self.shared.memory.backing else { return Ok(()) };
        let start = range.start.next_multiple_of(PAGE_BYTES);
        let bytes = (range.end / PAGE_BYTES * PAGE_BYTES).saturating_sub(start);
        // SAFETY: the mapping is a shared one of a file (`OsFile` makes no other), so that what was written through it is in
        // the kernel's own pages, and these are what is found there again.
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, bytes) }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "elsewhere there is no such advice")]
    pub(super) fn let_go(&self, _range: std::ops::Range<usize>) -> std::io::Result<()> {
        Ok(())
    }

    /// The same for who doesn't keep the memory alive.
    pub(super) fn weak(&self) -> WeakReader {
        WeakReader { shared: Arc::downgrade(&self.shared) }
    }

    /// Whether no writer and no other reader is left. If so, `bytes` has everything that was ever published.
    #[cfg(feature = "testing")]
    pub(crate) fn is_alone(&self) -> bool {
        let alone = Arc::strong_count(&self.shared) == 1;
        // The count is a relaxed load; the writer published before it let go.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        alone
    }
}

/// A reader that doesn't keep the memory alive.
#[derive(Default)]
pub(super) struct WeakReader {
    shared: Weak<Shared>,
}

impl WeakReader {
    pub(super) fn get(&self) -> Option<RegionReader> {
        self.shared.upgrade().map(|shared| RegionReader { shared })
    }
}

impl fmt::Debug for RegionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionReader(..{})", self.published())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_exactly_what_was_published() {
        let (mut writer, reader) = Memory::heap(16).split(0, 8);
        writer.spare(3).copy_from_slice(b"abc");
        assert_eq!(reader.bytes(), b"");
        writer.publish(2);
        assert_eq!(reader.bytes(), b"ab");
        assert_eq!(writer.spare(6), [b'c', 0, 0, 0, 0, 0]);
        writer.grow(16);
        assert_eq!(writer.spare(14).len(), 14);
    }

    #[test]
    #[should_panic(expected = "writes only what is reserved")]
    fn more_than_is_reserved_is_never_written() {
        let (mut writer, _reader) = Memory::heap(16).split(0, 8);
        writer.spare(9).fill(1);
    }

    #[test]
    #[should_panic(expected = "publishes only what is reserved")]
    fn more_than_is_reserved_is_never_published() {
        let (mut writer, _reader) = Memory::heap(16).split(0, 8);
        writer.publish(9);
    }

    #[test]
    fn what_is_published_stays_as_it_is_while_another_thread_writes_on() {
        let (mut writer, reader) = Memory::heap(64 * 100).split(0, 64 * 100);
        let watch = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 100 {
                let bytes = reader.bytes();
                assert!(
                    bytes.chunks(64).enumerate().all(|(i, chunk)| chunk.iter().all(|&byte| usize::from(byte) == i))
                );
                seen = bytes.len() / 64;
            }
        });
        for i in 0..100u8 {
            writer.spare(64).fill(i);
            writer.publish(64);
        }
        watch.join().expect("the reader saw only whole chunks");
    }
}
