//! Wakes whoever waits for news of a topic: new records, a new durable end, a delete, a close.
//!
//! Invariant: a notification after a change is never lost, and costs an appender one load while nobody waits. A waiter
//! makes no system call between going to sleep and being woken.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

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
        self.waiters.fetch_add(1, Ordering::SeqCst);
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
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    /// Tells every waiter to look again. Called after the change was published.
    pub(crate) fn notify(&self) {
        // Pairs with the increment in `wait_until`: either the waiter is counted here, or it looks after the change.
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            drop(self.lock.lock());
            self.news.notify_all();
        }
    }
}
