//! Brings the pages of a mapped file into memory ahead of its writer: a page fault costs more than many appends.
//!
//! Invariant: zeros are written at or above `warm` alone, into a step that was taken (see `turns`), and the writer touches
//! nothing there. So no zero ever falls on a byte of a record, whichever thread writes it. After [`stop`](Ahead::stop) none
//! is written any more: a file that was cut to its end stays so. The writer does it itself, or asks `runner`, which does it
//! on a thread of the store; a writer that has caught up with that does every other step. Used by `region`.

use std::io;
use std::sync::Arc;

use super::turns::{Step, Turns};
use super::{File, RegionReader};
use crate::threads::Mutex;
use crate::threads::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How much is brought in at a time: some ten microseconds' work.
pub(super) const STEP_BYTES: usize = 256 << 10;
/// How much room a runner reserves at a time.
pub(super) const RESERVE_BYTES: usize = 4 << 20;
/// How far a runner goes ahead of the writer.
pub(super) const LEAD_BYTES: usize = 4 << 20;
const PAGE_BYTES: usize = 4096;
static ZEROS: [u8; STEP_BYTES] = [0; STEP_BYTES];

/// The pages in front of one writer.
#[derive(Debug)]
pub(super) struct Ahead {
    file: Arc<dyn File>,
    memory: RegionReader,
    turns: Turns,
    /// How far the file has room; grows under a lock of its own, since that may take as long as a step.
    reserved: AtomicUsize,
    reserving: Mutex<()>,
    /// How far it may ever have.
    capacity: usize,
    /// Whether a runner has it in its queue.
    pub(super) asked: AtomicBool,
}

impl Ahead {
    pub(super) fn new(file: Arc<dyn File>, memory: RegionReader, capacity: usize) -> Ahead {
        let published = memory.published();
        Ahead {
            file,
            memory,
            turns: Turns::new(published),
            reserved: AtomicUsize::new(published),
            reserving: Mutex::new(()),
            capacity,
            asked: AtomicBool::new(false),
        }
    }

    /// The end of what the writer has published.
    pub(super) fn published(&self) -> usize {
        self.memory.published()
    }

    /// The most bytes that the file may ever have.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Below this position the writer may write.
    pub(super) fn warm(&self) -> usize {
        self.turns.warm()
    }

    /// Reserves the file's space up to `len`, or more; says how far it is reserved. On failure nothing has changed.
    pub(super) fn reserve(&self, len: usize) -> io::Result<usize> {
        let reserved = self.reserved.load(Ordering::Acquire);
        if len <= reserved {
            // A runner did it, and may hold the lock for its next step.
            return Ok(reserved);
        }
        let _one_at_a_time = self.reserving.lock();
        self.reserve_locked(len)
    }

    fn reserve_locked(&self, len: usize) -> io::Result<usize> {
        let reserved = self.reserved.load(Ordering::Acquire);
        if len <= reserved {
            return Ok(reserved);
        }
        self.file.reserve(len as u64)?;
        self.reserved.store(len, Ordering::Release);
        Ok(len)
    }

    /// Leaves everything below `end` to the writer, cold as it may be.
    pub(super) fn claim(&self, end: usize) {
        self.turns.claim(end);
    }

    /// Leaves everything below `end` to a writer that syncs often, and the next step behind it with its blocks written
    /// once: a file system notes which blocks ever were, has to make that note durable with the first record in each, and
    /// so takes up to twice as long for the sync. Page by page: what is written in one piece the kernel keeps as one,
    /// and writes all of it out when a byte of it has changed.
    pub(super) fn write_once(&self, end: usize) {
        self.claim(end);
        let Some(Step { range, writes: true }) = self.take(0) else { return };
        let mut at = range.start;
        while at < range.end {
            let page_end = ((at / PAGE_BYTES + 1) * PAGE_BYTES).min(range.end);
            let _else_with_its_first_record = self.file.write_at(&ZEROS[..page_end - at], at as u64);
            at = page_end;
        }
        self.turns.done();
    }

    /// Brings in everything below `end`, unless a runner has just done it: the next step, while a runner that is at work on
    /// the one before finishes it.
    pub(super) fn bring(&self, end: usize) {
        if self.warm() < end {
            self.step(end);
            self.claim(end);
        }
    }

    /// What a runner does for it, step by step. Ends when it is far enough ahead, or can go no further.
    pub(super) fn run(&self) {
        while self.warm() < self.published() + LEAD_BYTES && self.make_room().is_ok() && self.step(0) {}
    }

    /// Reserves what the next step needs, and some more.
    fn make_room(&self) -> io::Result<()> {
        let _one_at_a_time = self.reserving.lock();
        let reserved = self.reserved.load(Ordering::Acquire);
        if self.turns.next().is_some_and(|next| next + STEP_BYTES > reserved) {
            self.reserve_locked((reserved + RESERVE_BYTES).min(self.capacity))?;
        }
        Ok(())
    }

    /// Brings in the next step, or more to reach `end`, of what is reserved; says whether there was any. Zeros that are
    /// written in one piece and mapped in one step cost a third of as many page faults. If it fails they are brought in
    /// one by one, when they are touched. The kernel lets one at a time write to a file: who meets another takes the
    /// faults, which don't wait for that.
    fn step(&self, end: usize) -> bool {
        let Some(Step { range, writes }) = self.take(end) else { return false };
        if writes {
            let zeros = &ZEROS[..range.len().min(STEP_BYTES)];
            let _one_by_one = self.file.write_at(zeros, range.start as u64);
        }
        let _when_touched = self.memory.populate(range);
        if writes {
            self.turns.done();
        }
        true
    }

    fn take(&self, end: usize) -> Option<Step> {
        self.turns.take(STEP_BYTES, end, self.reserved.load(Ordering::Acquire))
    }

    /// No zero is written from now on, and a runner reserves no room.
    pub(super) fn stop(&self) {
        self.turns.stop();
        drop(self.reserving.lock());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::io::{Dir, OsDir, RegionWriter, read_full_at};

    pub(in crate::io) const CAPACITY: usize = 8 << 20;

    pub(in crate::io) fn file(dir: &Path) -> Arc<dyn File> {
        OsDir::new(dir).create("segment".as_ref()).expect("creates")
    }

    /// A file with room, and what runs ahead of its writer.
    pub(in crate::io) fn ahead(file: &Arc<dyn File>, room: usize) -> (RegionWriter, Ahead) {
        let (writer, reader) = file.map_write(CAPACITY, 0).expect("maps");
        let ahead = Ahead::new(file.clone(), reader, CAPACITY);
        ahead.reserve(room).expect("there is room");
        (writer, ahead)
    }

    #[test]
    fn no_zero_falls_on_what_the_writer_has_claimed() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let file = file(dir.path());
        let (mut writer, ahead) = ahead(&file, STEP_BYTES);
        writer.grow(STEP_BYTES);
        ahead.claim(5000);
        writer.spare(5000).fill(7);
        ahead.bring(6000);
        assert_eq!(ahead.warm(), STEP_BYTES);
        writer.publish(5000);
        ahead.run();
        let mut bytes = vec![0; 5001];
        read_full_at(&*file, &mut bytes, 0).expect("reads");
        assert!(bytes[..5000].iter().all(|&byte| byte == 7) && bytes[5000] == 0);
    }

    #[test]
    fn the_step_in_front_of_a_writer_that_syncs_is_written_once() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let file = file(dir.path());
        let (_writer, ahead) = ahead(&file, STEP_BYTES);
        let ones = vec![1; STEP_BYTES];
        file.write_at(&ones, 0).expect("writes");
        ahead.write_once(5000);
        assert_eq!(ahead.warm(), STEP_BYTES);
        ahead.write_once(5001);
        let mut bytes = vec![0; STEP_BYTES];
        read_full_at(&*file, &mut bytes, 0).expect("reads");
        assert!(bytes[..5000] == ones[..5000] && bytes[5000..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_runner_reserves_as_it_goes_and_keeps_its_distance() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let file = file(dir.path());
        let (mut writer, ahead) = ahead(&file, 4096);
        ahead.run();
        assert_eq!(ahead.warm(), LEAD_BYTES);
        let reserved = ahead.reserve(0).expect("asks only");
        assert_eq!((reserved, file.len().expect("is open")), (4096 + RESERVE_BYTES, reserved as u64));
        writer.grow(reserved);
        writer.publish(reserved);
        ahead.claim(reserved);
        ahead.run();
        assert_eq!((ahead.warm(), ahead.reserve(0).expect("asks only")), (CAPACITY, CAPACITY));
    }

    #[test]
    fn a_file_that_was_cut_to_its_end_stays_so() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let file = file(dir.path());
        let (_writer, ahead) = ahead(&file, STEP_BYTES);
        ahead.stop();
        file.set_len(100).expect("cuts");
        ahead.run();
        ahead.bring(200);
        ahead.write_once(300);
        assert_eq!(file.len().expect("is open"), 100);
    }

    #[test]
    fn who_meets_a_step_that_is_being_written_brings_in_the_next_one_without_writing() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let file = file(dir.path());
        let (_writer, ahead) = ahead(&file, 2 * STEP_BYTES);
        file.write_at(&[1; 2 * STEP_BYTES], 0).expect("writes");
        let theirs = ahead.take(0).expect("there is room");
        assert!(ahead.step(1) && ahead.warm() == 0);
        ahead.turns.done();
        ahead.bring(1);
        assert_eq!((theirs.range, ahead.warm()), (0..STEP_BYTES, 2 * STEP_BYTES));
        let mut bytes = vec![0; 2 * STEP_BYTES];
        read_full_at(&*file, &mut bytes, 0).expect("reads");
        assert!(bytes.iter().all(|&byte| byte == 1), "two don't write at once");
    }

    #[test]
    fn a_file_is_not_cut_while_somebody_reserves_room() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let (_writer, ahead) = ahead(&file(dir.path()), STEP_BYTES);
        let reserving = ahead.reserving.lock();
        std::thread::scope(|scope| {
            let stopped = scope.spawn(|| ahead.stop());
            while ahead.turns.next().is_some() {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!stopped.is_finished());
            drop(reserving);
        });
    }
}
