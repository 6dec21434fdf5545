//! Wakes whoever waits for news of a topic: new records, a new durable end, a delete, a close.
//!
//! Invariant: a notification after a change is never lost, and costs an appender one load while nobody waits. A waiter
//! makes no system call between going to sleep and being woken. Who keeps looking instead is none.

use crate::threads::small::atomic::{AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use crate::threads::small::{Condvar, Mutex};

/// One for each topic.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waiters: AtomicUsize,
    lock: Mutex<()>,
    news: Condvar,
}

impl Signal {
    /// Waits until `ready` or the deadline; says whether it is ready. Sleeps, but not before it has kept looking for as long
    /// as told.
    pub(crate) fn wait_until(&self, spin: Duration, deadline: Option<Instant>, ready: impl Fn() -> bool) -> bool {
        if !spin.is_zero() && keeps_looking(spin, deadline, &ready) {
            return true;
        }
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

/// So many looks are worth a glance at the clock.
const LOOKS: usize = 64;

/// Looks until it is ready, or the time is over; says whether it is ready. Gives way to other threads.
fn keeps_looking(spin: Duration, deadline: Option<Instant>, ready: impl Fn() -> bool) -> bool {
    let now = Instant::now();
    let over = now.checked_add(spin).into_iter().chain(deadline).min();
    loop {
        for _ in 0..LOOKS {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if over.is_some_and(|over| over <= Instant::now()) {
            return false;
        }
        std::thread::yield_now();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(1 << 20);

    #[test]
    fn who_keeps_looking_is_no_waiter_and_who_sleeps_is() {
        let (signal, looks) = (Signal::default(), Cell::new(0));
        let waiters_at = |spin, enough| {
            let waiters = Cell::new(0);
            assert!(signal.wait_until(spin, None, || {
                waiters.set(signal.waiters.load(Ordering::Relaxed));
                looks.set(looks.get() + 1);
                looks.get() >= enough
            }));
            waiters.get()
        };
        assert_eq!((waiters_at(FOR_EVER, 10 * LOOKS), looks.get()), (0, 10 * LOOKS));
        assert_eq!(waiters_at(Duration::ZERO, 0), 1);
    }

    #[test]
    fn who_keeps_looking_ends_at_the_deadline_or_sleeps_on_to_it() {
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        for spin in [FOR_EVER, Duration::MAX, Duration::from_nanos(1)] {
            assert!(!Signal::default().wait_until(spin, soon(), || false));
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
            assert!(shared.0.wait_until(Duration::ZERO, None, || shared.1.load(Ordering::Acquire)));
            appender.join().expect("notifies");
        });
    }

    #[test]
    fn both_of_two_waiters_are_woken() {
        loom::model(|| {
            let shared = Arc::new((Signal::default(), AtomicBool::new(false)));
            let waiters = [0, 1].map(|_| {
                let theirs = shared.clone();
                loom::thread::spawn(move || {
                    theirs.0.wait_until(Duration::ZERO, None, || theirs.1.load(Ordering::Acquire))
                })
            });
            shared.1.store(true, Ordering::Release);
            shared.0.notify();
            assert!(waiters.into_iter().all(|waiter| waiter.join().expect("is woken")));
        });
    }
}
