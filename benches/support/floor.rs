//! What this machine can do at best: the same bytes moved and checked with nothing around them.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use memmap2::MmapMut;
use rustix::fs::{FallocateFlags, fallocate};
use tempfile::TempDir;

/// What stands in front of the value of each frame: its checksum, its length, and bytes that stand for the rest.
pub const HEADER_BYTES: usize = 32;

/// A file whose blocks are reserved.
pub fn reserved(dir: &TempDir, bytes: u64) -> File {
    let path = dir.path().join("floor");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).expect("opens");
    fallocate(&file, FallocateFlags::empty(), 0, bytes).expect("room");
    file
}

/// A mapped file whose pages were all touched: frames are copied in, one behind the other, round and round.
pub struct Frames {
    map: MmapMut,
    at: usize,
}

impl Frames {
    pub fn new(dir: &TempDir, bytes: usize) -> Frames {
        let file = reserved(dir, bytes as u64);
        // SAFETY: the file is this bench's own, in a directory of its own; nobody cuts it while it is mapped.
        let mut map = unsafe { MmapMut::map_mut(&file) }.expect("maps");
        map.fill(1);
        Frames { map, at: 0 }
    }

    /// Copies one frame of `count` values and its checksum.
    pub fn append(&mut self, value: &[u8], count: usize) {
        let bytes = HEADER_BYTES + value.len() * count;
        if self.at + bytes > self.map.len() {
            self.at = 0;
        }
        let frame = &mut self.map[self.at..self.at + bytes];
        let (header, payload) = frame.split_at_mut(HEADER_BYTES);
        payload.chunks_exact_mut(value.len()).for_each(|slot| slot.copy_from_slice(value));
        header[4..8].copy_from_slice(&u32::try_from(payload.len()).expect("is small").to_le_bytes());
        header[8..].fill(7);
        let checksum = crc32fast::hash(&frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        self.at += bytes;
    }

    /// Fills the file with frames and goes to its beginning.
    pub fn fill(&mut self, value: &[u8], count: usize) {
        let bytes = HEADER_BYTES + value.len() * count;
        (0..self.map.len() / bytes).for_each(|_| self.append(value, count));
        self.at = 0;
    }

    /// Verifies the next frame; from the beginning again behind the last.
    pub fn verify(&mut self, value_bytes: usize, count: usize) {
        if self.at + HEADER_BYTES + value_bytes * count > self.map.len() {
            self.at = 0;
        }
        self.at += self.check(self.at);
    }

    pub fn sync(&self) {
        self.map.flush().expect("syncs");
    }

    /// Verifies all frames, and copies them into a new file, which is synced: what nobody can do without who finds bytes of
    /// which he doesn't know whether they are on the medium.
    pub fn verify_and_copy(&mut self, dir: &TempDir, value_bytes: usize) {
        self.at = 0;
        let bytes = HEADER_BYTES + value_bytes;
        (0..self.map.len() / bytes).for_each(|_| self.verify(value_bytes, 1));
        let copy = File::create(dir.path().join("copy")).expect("creates");
        copy.write_all_at(&self.map, 0).expect("writes");
        copy.sync_data().expect("syncs");
    }

    /// Verifies the frame with this number, where all are of one size; gives its checksum.
    pub fn get(&self, number: usize, value_bytes: usize) -> u32 {
        let at = number * (HEADER_BYTES + value_bytes);
        self.check(at);
        u32::from_le_bytes(self.map[at..at + 4].try_into().expect("four bytes"))
    }

    fn check(&self, at: usize) -> usize {
        let word = |at: usize| u32::from_le_bytes(self.map[at..at + 4].try_into().expect("four bytes"));
        let bytes = HEADER_BYTES + word(at + 4) as usize;
        let frame = &self.map[at..at + bytes];
        assert_eq!(crc32fast::hash(&frame[4..]), word(at), "the frame is as it was written");
        black_box(&frame[HEADER_BYTES..]);
        bytes
    }
}

/// A bare loop of `pwrite` and `fdatasync` into reserved space.
pub struct Synced {
    file: File,
    frame: Vec<u8>,
    at: u64,
}

const SYNCED_BYTES: u64 = 64 << 20;

impl Synced {
    pub fn new(dir: &TempDir, value_bytes: usize) -> Synced {
        Synced { file: reserved(dir, SYNCED_BYTES), frame: vec![7; HEADER_BYTES + value_bytes], at: 0 }
    }

    /// Writes one frame and syncs it.
    pub fn append(&mut self) {
        self.write();
        self.file.sync_data().expect("syncs");
    }

    pub fn write(&mut self) {
        if self.at + self.frame.len() as u64 > SYNCED_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.frame, self.at).expect("writes");
        self.at += self.frame.len() as u64;
    }
}
