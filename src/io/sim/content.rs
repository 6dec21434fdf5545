//! The bytes of one file, by pages that copies share.
//!
//! Invariant: no byte behind the length is anything but zero, so that what grows again grows with zeros. A page that is
//! absent reads as zeros and takes no room. Used by [`Inode`](super::medium::Inode), twice for each file: what is
//! written and what is synced.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// What a kernel writes back at once.
pub(super) const PAGE_BYTES: u64 = 4096;
const PAGE: usize = 4096;

type Page = Arc<[u8; PAGE]>;

static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE]));

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    pages: BTreeMap<u64, Page>,
}

impl Content {
    pub(super) fn of(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.write(bytes, 0);
        content
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes of disk that its pages take.
    pub(super) fn allocated(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }

    pub(super) fn page(&self, page: u64) -> &Page {
        self.pages.get(&page).unwrap_or(&ZEROS)
    }

    /// Fills the buffer as far as the file goes; says how far.
    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let n = index(self.len.saturating_sub(position).min(buffer.len() as u64));
        for part in parts(position, n) {
            buffer[part.at..part.at + part.len].copy_from_slice(&self.page(part.page)[part.range()]);
        }
        n
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; index(self.len)];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Writes all the bytes, growing the file if need be.
    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
        for part in parts(position, bytes.len()) {
            let page = Arc::make_mut(self.pages.entry(part.page).or_insert_with(|| ZEROS.clone()));
            page[part.range()].copy_from_slice(&bytes[part.at..part.at + part.len]);
        }
        if !bytes.is_empty() {
            self.len = self.len.max(position + bytes.len() as u64);
        }
    }

    /// How many of `len` bytes at `position` can be written if there is room for so many more pages.
    pub(super) fn writable(&self, position: u64, len: usize, mut pages_free: u64) -> usize {
        for part in parts(position, len) {
            if !self.pages.contains_key(&part.page) {
                if pages_free == 0 {
                    return part.at;
                }
                pages_free -= 1;
            }
        }
        len
    }

    /// Cuts, or grows by a hole that takes no room.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES));
            if let Some(last) = self.pages.get_mut(&(len / PAGE_BYTES)) {
                Arc::make_mut(last)[index(len % PAGE_BYTES)..].fill(0);
            }
        }
        self.len = len;
    }

    /// Grows to `len`, with a page for everything from the old end on.
    pub(super) fn reserve(&mut self, len: u64) {
        for page in self.unreserved(len) {
            self.pages.insert(page, ZEROS.clone());
        }
        self.len = self.len.max(len);
    }

    /// The pages from the end up to `len` that are not there yet.
    pub(super) fn unreserved(&self, len: u64) -> Vec<u64> {
        (self.len / PAGE_BYTES..len.div_ceil(PAGE_BYTES)).filter(|page| !self.pages.contains_key(page)).collect()
    }

    /// Takes one page over from another content of the same file, as far as this one's length goes.
    pub(super) fn take(&mut self, from: &Content, position: u64, len: u64) {
        let mut bytes = vec![0; index(len.min(self.len.saturating_sub(position)))];
        for part in parts(position, bytes.len()) {
            bytes[part.at..part.at + part.len].copy_from_slice(&from.page(part.page)[part.range()]);
        }
        self.write(&bytes, position);
    }

    /// Takes over the page at `position` from bytes of the same layout, as far as they and this content's length go.
    pub(super) fn take_bytes(&mut self, from: &[u8], position: u64) {
        let end = (position + PAGE_BYTES).min(self.len).min(from.len() as u64);
        if position < end {
            self.write(&from[index(position)..index(end)], position);
        }
    }

    /// Mixes the length and the bytes into a sum. Zeros count the same whether a page holds them or none does.
    pub(super) fn mix_into(&self, mut sum: u64) -> u64 {
        sum = mixed(sum, self.len);
        for (&number, page) in self.pages.iter().filter(|(_, page)| !Arc::ptr_eq(page, &ZEROS)) {
            let words = page.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word));
            let (of_page, bits) = words.fold((number, 0), |(sum, bits), word| (mixed(sum, word), bits | word));
            sum = if bits == 0 { sum } else { mixed(sum, of_page) };
        }
        sum
    }

    /// Where blocks of `grain` bytes differ from another content, within this one's length.
    pub(super) fn differences(&self, other: &Content, grain: u64) -> Vec<u64> {
        let mut pages: Vec<u64> = self.pages.keys().chain(other.pages.keys()).copied().collect();
        pages.sort_unstable();
        pages.dedup();
        pages.retain(|&page| page * PAGE_BYTES < self.len && !Arc::ptr_eq(self.page(page), other.page(page)));
        let mut found = Vec::new();
        for page in pages {
            let blocks = self.page(page).chunks(index(grain)).zip(other.page(page).chunks(index(grain)));
            let differ = (0..).zip(blocks).filter(|(_, (ours, theirs))| ours != theirs);
            found.extend(differ.map(|(i, _): (u64, _)| page * PAGE_BYTES + i * grain));
        }
        found
    }
}

/// A stretch of bytes within one page, and where it lies in the caller's buffer.
struct Part {
    page: u64,
    start: usize,
    at: usize,
    len: usize,
}

impl Part {
    fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

fn parts(position: u64, len: usize) -> impl Iterator<Item = Part> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let here = position + at as u64;
        let start = index(here % PAGE_BYTES);
        let part = Part { page: here / PAGE_BYTES, start, at, len: (PAGE - start).min(len - at) };
        at += part.len;
        (part.len > 0).then_some(part)
    })
}

/// One step of a sum over words; finds accidents, not attackers.
pub(super) fn mixed(sum: u64, word: u64) -> u64 {
    (sum.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("a simulated file fits in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_across_pages_and_holes_are_zero() {
        let mut content = Content::of(b"abc");
        content.write(&[7; 5000], 4000);
        let mut expected = vec![0; 9000];
        expected[..3].copy_from_slice(b"abc");
        expected[4000..].fill(7);
        assert_eq!(content.bytes(), expected);
    }

    #[test]
    fn what_was_cut_comes_back_as_zeros() {
        let mut content = Content::of(&[7; 5000]);
        content.set_len(10);
        content.set_len(5000);
        assert_eq!(content.bytes(), [&[7; 10][..], &[0; 4990]].concat());
    }

    #[test]
    fn a_copy_keeps_what_it_had() {
        let mut content = Content::of(&[7; 9000]);
        let copy = content.clone();
        content.write(b"x", 5000);
        assert_eq!(copy.bytes(), [7; 9000]);
        assert_eq!(content.differences(&copy, PAGE_BYTES), [4096]);
        assert_eq!(content.differences(&copy, 512), [4608]);
    }
}
