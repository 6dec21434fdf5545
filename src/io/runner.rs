//! Does on a thread of the store what a writer would have to wait for: pages ahead of it, and what nobody waits for.
//!
//! Invariant: nothing depends on it. While no thread runs, writers bring in their pages themselves and the rest is done at
//! once; what is left when the run ends is done then. Used by `region`; run by `store::background`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::ahead::{Ahead, LEAD_BYTES};
use crate::threads::atomic::Ordering;
use crate::threads::{Condvar, Mutex};

/// How often a writer looks at most whether its runner is far enough ahead.
const LOOK_BYTES: usize = 128 << 10;

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
    ahead: VecDeque<Arc<Ahead>>,
    /// What nobody waits for. To unmap a full segment takes as long as ten thousand appends.
    later: VecDeque<Box<dyn FnOnce() + Send>>,
}

impl Runner {
    /// Asks for pages if less than half of the lead is there. Gives the position at which the writer looks again.
    pub(super) fn ask(&self, ahead: &Arc<Ahead>) -> usize {
        let (warm, published) = (ahead.warm(), ahead.published());
        let wanted = warm < (published + LEAD_BYTES / 2).min(ahead.capacity());
        if wanted && !ahead.asked.swap(true, Ordering::AcqRel) {
            let mut queue = self.queue.lock();
            if queue.running {
                queue.ahead.push_back(ahead.clone());
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
        queue.later.push_back(Box::new(work));
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
            // Writers first: they are about to wait. Behind each of them something of the rest, which holds files open.
            let (ahead, later) = (queue.ahead.pop_front(), queue.later.pop_front());
            if ahead.is_none() && later.is_none() {
                self.news.wait(&mut queue);
                continue;
            }
            drop(queue);
            if let Some(ahead) = ahead {
                ahead.run();
                ahead.asked.store(false, Ordering::Release);
            }
            if let Some(work) = later {
                work();
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
    use super::*;
    use crate::io::ahead::tests::{CAPACITY, ahead, file};
    use crate::io::ahead::{RESERVE_BYTES, STEP_BYTES};
    use crate::io::{Tail, Way};

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

    #[test]
    fn what_nobody_waits_for_is_done_in_order_and_comes_between_the_writers() {
        let runner = Arc::new(Runner::default());
        runner.start();
        let writers = [0, 1, 2].map(|_| {
            let dir = tempfile::tempdir().expect("makes a directory");
            let (writer, ahead) = ahead(&file(dir.path()), CAPACITY);
            let ahead = Arc::new(ahead);
            runner.ask(&ahead);
            (writer, ahead)
        });
        let asking: Vec<_> = writers.iter().map(|(_, ahead)| ahead.clone()).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for n in 0..2 {
            let (seen, asking, stops) = (seen.clone(), asking.clone(), runner.clone());
            runner.later(move || {
                let served = asking.iter().map(|ahead| !ahead.asked.load(Ordering::Acquire)).collect::<Vec<_>>();
                seen.lock().push((n, served));
                if n == 1 {
                    stops.stop();
                }
            });
        }
        runner.run();
        assert_eq!(*seen.lock(), [(0, vec![true, false, false]), (1, vec![true, true, false])]);
    }
}
