//! Wakes whoever waits for news of a topic: new records, a new durable end, a delete, a close.
//!
//! Invariant: a notification after a change is never lost, and costs an appender one load while nobody waits. A waiter
//! makes no system call between going to sleep and being woken.

use crate::threads::small::atomic::{AtomicUsize, Ordering, fence};
use std::time::Instant;

use crate::threads::small::{Condvar, Mutex};

/// One for each topic.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waiters: AtomicUsize,
    lock: Mutex<()>,
    news: Condvar,
}

impl Signal {
    /// Sleeps until `ready` or the deadline; says whether it is ready.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>, ready: impl Fn() -> bool) -> bool {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        // Pairs with the one in `notify`: either the waiter is counted there, or it sees the change here. The increment
        // alone, however it is ordered, doesn't keep a weak memory from answering what `ready` asks with an old value.
        fence(Ordering::SeqCst);
        let mut guard = self.lock.lock();
        let answer = loop {
            if ready() {
                break true;
            }
            match deadline {
                None => self.news.wait(&mut guard),
                Some(deadline) => {
                    if self.news.wait_until(&mut guard, deadline).timed_out() {
                        break ready();
                    }
                }
            }
        };
        drop(guard);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// Tells every waiter to look again. Called after the change was published.
    pub(crate) fn notify(&self) {
        // Pairs with the one in `wait_until`.
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            drop(self.lock.lock());
            self.news.notify_all();
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;

    use super::*;

    /// In a model nobody's deadline passes, so a waiter that misses the change is a deadlock, and loom says so.
    #[test]
    fn a_notification_behind_a_change_is_never_lost() {
        loom::model(|| {
            let shared = Arc::new((Signal::default(), AtomicBool::new(false)));
            let theirs = shared.clone();
            let appender = loom::thread::spawn(move || {
                theirs.1.store(true, Ordering::Release);
                theirs.0.notify();
            });
            assert!(shared.0.wait_until(None, || shared.1.load(Ordering::Acquire)));
            appender.join().expect("notifies");
        });
    }

    #[test]
    fn both_of_two_waiters_are_woken() {
        loom::model(|| {
            let shared = Arc::new((Signal::default(), AtomicBool::new(false)));
            let waiters = [0, 1].map(|_| {
                let theirs = shared.clone();
                loom::thread::spawn(move || theirs.0.wait_until(None, || theirs.1.load(Ordering::Acquire)))
            });
            shared.1.store(true, Ordering::Release);
            shared.0.notify();
            assert!(waiters.into_iter().all(|waiter| waiter.join().expect("is woken")));
        });
    }
}
