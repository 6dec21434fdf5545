//! Brings the pages of a mapped file into memory ahead of its writer: a page fault costs more than many appends.
//!
//! Invariant: zeros are written at or above `warm` alone, by whoever holds the lock, and the writer touches nothing there
//! before it has moved `warm` under the same lock. So no zero ever falls on a byte of a record, whichever thread writes
//! it. After [`stop`](Ahead::stop) none is written any more: a file that was cut to its end stays so. The writer does it
//! itself, or asks [`Runner`], which does it on a thread of the store. Used by `region`.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::{File, RegionReader};
use crate::threads::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::threads::{Condvar, Mutex};

/// How much is brought in at a time: some ten microseconds' work.
pub(super) const STEP_BYTES: usize = 256 << 10;
/// How much room a runner reserves at a time.
const RESERVE_BYTES: usize = 4 << 20;
/// How far a runner goes ahead of the writer.
const LEAD_BYTES: usize = 4 << 20;
/// How often a writer looks at most whether its runner is far enough ahead.
const LOOK_BYTES: usize = 128 << 10;
const PAGE_BYTES: usize = 4096;
static ZEROS: [u8; STEP_BYTES] = [0; STEP_BYTES];

/// The pages in front of one writer.
#[derive(Debug)]
pub(super) struct Ahead {
    file: Arc<dyn File>,
    memory: RegionReader,
    /// Pages below this position are in memory, or were touched by the writer.
    warm: AtomicUsize,
    /// How far the file has room.
    reserved: AtomicUsize,
    /// How far it may ever have.
    capacity: usize,
    /// Whether the file may have been cut to its end.
    stopped: Mutex<bool>,
    /// Whether a runner has it in its queue.
    asked: AtomicBool,
}

impl Ahead {
    pub(super) fn new(file: Arc<dyn File>, memory: RegionReader, capacity: usize) -> Ahead {
        let published = memory.published();
        Ahead {
            file,
            memory,
            warm: AtomicUsize::new(published),
            reserved: AtomicUsize::new(published),
            capacity,
            stopped: Mutex::new(false),
            asked: AtomicBool::new(false),
        }
    }

    /// Below this position the writer may write.
    pub(super) fn warm(&self) -> usize {
        self.warm.load(Ordering::Acquire)
    }

    /// Reserves the file's space up to `len`, or more; says how far it is reserved. On failure nothing has changed.
    pub(super) fn reserve(&self, len: usize) -> io::Result<usize> {
        let reserved = self.reserved.load(Ordering::Acquire);
        if len <= reserved {
            // A runner did it, and may hold the lock for its next step.
            return Ok(reserved);
        }
        let _one_at_a_time = self.stopped.lock();
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
        let _nobody_writes_zeros = self.stopped.lock();
        self.warm.fetch_max(end, Ordering::AcqRel);
    }

    /// Leaves everything below `end` to a writer that syncs often, and the next step behind it with its blocks written
    /// once: a file system notes which blocks ever were, has to make that note durable with the first record in each, and
    /// so takes up to twice as long for the sync. Page by page: what is written in one piece the kernel keeps as one,
    /// and writes all of it out when a byte of it has changed.
    pub(super) fn write_once(&self, end: usize) {
        let stopped = self.stopped.lock();
        let mut at = self.warm().max(end);
        let to = (at + STEP_BYTES).min(self.reserved.load(Ordering::Acquire));
        while !*stopped && at < to {
            let page_end = (at / PAGE_BYTES + 1) * PAGE_BYTES;
            let _else_with_its_first_record = self.file.write_at(&ZEROS[..page_end.min(to) - at], at as u64);
            at = page_end;
        }
        self.warm.fetch_max(to.max(end), Ordering::AcqRel);
    }

    /// Brings in the next step, and everything below `end`, unless a runner has just done it.
    pub(super) fn bring(&self, end: usize) {
        let stopped = self.stopped.lock();
        if self.warm() < end {
            self.step(end, *stopped);
            self.warm.fetch_max(end, Ordering::AcqRel);
        }
    }

    /// What a runner does for it, step by step, with the lock free in between. Ends when it is far enough ahead, or can
    /// go no further.
    pub(super) fn run(&self) {
        while self.warm() < self.memory.published() + LEAD_BYTES {
            let stopped = self.stopped.lock();
            if *stopped || self.make_room().is_err() || !self.step(0, *stopped) {
                return;
            }
        }
    }

    /// Reserves what the next step needs, and some more.
    fn make_room(&self) -> io::Result<usize> {
        let reserved = self.reserved.load(Ordering::Acquire);
        if self.warm() + STEP_BYTES <= reserved {
            return Ok(reserved);
        }
        self.reserve_locked((reserved + RESERVE_BYTES).min(self.capacity))
    }

    /// Brings in the next step, or more to reach `end`, of what is reserved; says whether there was any. The lock is held.
    /// Zeros that are
    /// written in one piece and mapped in one step cost a third of as many page faults. If it fails they are brought in
    /// one by one, when they are touched.
    fn step(&self, end: usize, stopped: bool) -> bool {
        let from = self.warm();
        let to = end.max(from + STEP_BYTES).min(self.reserved.load(Ordering::Acquire));
        if stopped || from >= to {
            return false;
        }
        let zeros = &ZEROS[..(to - from).min(STEP_BYTES)];
        let _one_by_one = self.file.write_at(zeros, from as u64).and_then(|_| self.memory.populate(from..to));
        self.warm.store(to, Ordering::Release);
        true
    }

    /// No zero is written from now on.
    pub(super) fn stop(&self) {
        *self.stopped.lock() = true;
    }
}

/// Runs ahead of the writers that ask for it, while a thread is [`run`](Runner::run)ning.
#[derive(Default)]
pub(crate) struct Runner {
    queue: Mutex<Queue>,
    news: Condvar,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    running: bool,
    ahead: Vec<Arc<Ahead>>,
    /// What nobody waits for. To unmap a full segment takes as long as ten thousand appends.
    later: Vec<Box<dyn FnOnce() + Send>>,
}

impl Runner {
    /// Asks for pages if less than half of the lead is there. Gives the position at which the writer looks again.
    pub(super) fn ask(&self, ahead: &Arc<Ahead>) -> usize {
        let (warm, published) = (ahead.warm(), ahead.memory.published());
        let wanted = warm < (published + LEAD_BYTES / 2).min(ahead.capacity);
        if wanted && !ahead.asked.swap(true, Ordering::AcqRel) {
            let mut queue = self.queue.lock();
            if queue.running {
                queue.ahead.push(ahead.clone());
                drop(queue);
                self.news.notify_all();
            } else {
                ahead.asked.store(false, Ordering::Release);
                return warm;
            }
        }
        warm.min((published + LOOK_BYTES).max(warm.saturating_sub(LEAD_BYTES / 2)))
    }

    /// Whether a thread runs.
    pub(crate) fn is_running(&self) -> bool {
        self.queue.lock().running
    }

    /// Does something that may take long and that nobody waits for, on the thread that runs; at once if none does.
    pub(crate) fn later(&self, work: impl FnOnce() + Send + 'static) {
        let mut queue = self.queue.lock();
        if !queue.running {
            drop(queue);
            return work();
        }
        queue.later.push(Box::new(work));
        drop(queue);
        self.news.notify_all();
    }

    /// From now on writers may ask.
    pub(crate) fn start(&self) {
        self.queue.lock().running = true;
    }

    /// Runs ahead of whoever asks, until [`stop`](Runner::stop).
    pub(crate) fn run(&self) {
        let mut queue = self.queue.lock();
        while queue.running {
            // Writers first: they are about to wait.
            if let Some(ahead) = queue.ahead.pop() {
                drop(queue);
                ahead.run();
                ahead.asked.store(false, Ordering::Release);
            } else if let Some(work) = queue.later.pop() {
                drop(queue);
                work();
            } else {
                self.news.wait(&mut queue);
                continue;
            }
            queue = self.queue.lock();
        }
    }

    /// Ends the run, and does what was left for later. Writers bring in their pages themselves.
    pub(crate) fn stop(&self) {
        let left = std::mem::take(&mut *self.queue.lock());
        self.news.notify_all();
        left.later.into_iter().for_each(|work| work());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::io::{Dir, OsDir, RegionWriter, Tail, Way, read_full_at};

    const CAPACITY: usize = 8 << 20;

    fn file(dir: &Path) -> Arc<dyn File> {
        OsDir::new(dir).create("segment".as_ref()).expect("creates")
    }

    /// A file with room, and what runs ahead of its writer.
    fn ahead(file: &Arc<dyn File>, room: usize) -> (RegionWriter, Ahead) {
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
        writer.spare()[..5000].fill(7);
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
    fn what_is_written_beside_a_runner_is_there() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let runner = Arc::new(Runner::default());
        let (mut tail, source) = Tail::begin(file(dir.path()), Some(&runner), CAPACITY, 0).expect("maps");
        runner.start();
        std::thread::scope(|scope| {
            scope.spawn(|| runner.run());
            for i in 0..(CAPACITY / 1000) as u64 {
                if tail.reserved() - tail.published() < 1000 {
                    tail.reserve((tail.published() + RESERVE_BYTES).min(CAPACITY)).expect("there is room");
                }
                tail.spare(1000, if i % 7 == 0 { Way::Map } else { Way::Bulk }).fill(i.to_le_bytes()[0] | 1);
                tail.publish(1000).expect("publishes");
            }
            runner.stop();
        });
        let bytes = source.view(0, CAPACITY).expect("reads");
        let whole = |(i, chunk): (usize, &[u8])| chunk.iter().all(|&byte| byte == i.to_le_bytes()[0] | 1);
        assert_eq!(bytes.len(), CAPACITY / 1000 * 1000);
        assert!(bytes.chunks(1000).enumerate().all(whole));
    }

    #[test]
    fn without_a_thread_that_runs_nobody_is_asked() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let (_writer, ahead) = ahead(&file(dir.path()), STEP_BYTES);
        let (runner, ahead) = (Runner::default(), Arc::new(ahead));
        ahead.bring(1);
        assert_eq!(runner.ask(&ahead), STEP_BYTES);
        assert!(runner.queue.lock().ahead.is_empty());
        runner.start();
        assert_eq!(runner.ask(&ahead), LOOK_BYTES);
        assert_eq!(runner.queue.lock().ahead.len(), 1);
        runner.ask(&ahead);
        assert_eq!(runner.queue.lock().ahead.len(), 1);
    }

    #[test]
    fn nobody_is_asked_for_more_than_the_file_may_have() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let (mut writer, ahead) = ahead(&file(dir.path()), CAPACITY);
        let (runner, ahead) = (Runner::default(), Arc::new(ahead));
        runner.start();
        writer.grow(CAPACITY);
        ahead.claim(CAPACITY);
        writer.publish(CAPACITY - 1000);
        runner.ask(&ahead);
        assert!(runner.queue.lock().ahead.is_empty());
    }

    #[test]
    fn what_nobody_waits_for_is_done_by_who_runs_and_else_at_once() {
        let done_by = Arc::new(Mutex::new(Vec::new()));
        let note = || {
            let done_by = done_by.clone();
            move || done_by.lock().push(std::thread::current().id())
        };
        let me = std::thread::current().id();
        let runner = Runner::default();
        runner.later(note());
        assert_eq!(*done_by.lock(), [me]);
        runner.start();
        let running = std::thread::scope(|scope| {
            let thread = scope.spawn(|| runner.run());
            runner.later(note());
            while done_by.lock().len() < 2 {
                std::thread::yield_now();
            }
            runner.stop();
            thread.thread().id()
        });
        assert_eq!(*done_by.lock(), [me, running]);
        runner.start();
        runner.later(note());
        assert_eq!(done_by.lock().len(), 2, "nobody runs yet");
        runner.stop();
        assert_eq!(*done_by.lock(), [me, running, me], "what is left when the run ends is done all the same");
    }
}
