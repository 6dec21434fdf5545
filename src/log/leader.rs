//! Group commit: whoever needs a sync leads it, who comes meanwhile waits and forms the next group.
//!
//! Invariant: at most one thread leads; whoever waits looks again when a lead has ended, well or not, so nobody is left
//! waiting for a sync that failed. Used by `sync`, which says what is waited for and what leading means.

use crate::threads::small::{Condvar, Mutex};

/// Whether somebody leads, and who waits for the end of it.
#[derive(Debug, Default)]
pub(super) struct Leader {
    leading: Mutex<bool>,
    ended: Condvar,
}

impl Leader {
    /// Leads, or waits for who does, until it is `done` or either fails.
    pub(super) fn lead_until<E>(
        &self,
        mut done: impl FnMut() -> Result<bool, E>,
        mut lead: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut leading = self.leading.lock();
        while !done()? {
            if *leading {
                self.ended.wait(&mut leading);
                continue;
            }
            *leading = true;
            drop(leading);
            let result = lead();
            leading = self.leading.lock();
            *leading = false;
            self.ended.notify_all();
            result?;
        }
        Ok(())
    }

    /// Does something that no lead may overlap with. Whoever waits for one looks again afterwards.
    pub(super) fn while_nobody_leads<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut leading = self.leading.lock();
        while *leading {
            self.ended.wait(&mut leading);
        }
        *leading = true;
        drop(leading);
        let answer = work();
        *self.leading.lock() = false;
        self.ended.notify_all();
        answer
    }

    /// Makes everyone who waits look again.
    pub(super) fn wake(&self) {
        // Taken, so that nobody is between looking and going to sleep.
        drop(self.leading.lock());
        self.ended.notify_all();
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// What a log is to its leader: an end that was written, one that was synced, and a latch.
    #[derive(Default)]
    struct Log {
        leader: Leader,
        written: AtomicUsize,
        synced: AtomicUsize,
        leading: AtomicUsize,
        latched: AtomicBool,
        fails: AtomicBool,
    }

    impl Log {
        fn append(&self) -> Result<(), ()> {
            let mine = self.written.fetch_add(1, Ordering::AcqRel) + 1;
            let done = || match self.synced.load(Ordering::Acquire) >= mine {
                true => Ok(true),
                false if self.latched.load(Ordering::Acquire) => Err(()),
                false => Ok(false),
            };
            self.leader.lead_until(done, || self.sync())
        }

        fn sync(&self) -> Result<(), ()> {
            assert_eq!(self.leading.fetch_add(1, Ordering::AcqRel), 0, "one leads at a time");
            let end = self.written.load(Ordering::Acquire);
            let result = match self.fails.load(Ordering::Acquire) {
                true => Err(self.latched.store(true, Ordering::Release)),
                false => {
                    self.synced.fetch_max(end, Ordering::AcqRel);
                    Ok(())
                }
            };
            self.leading.fetch_sub(1, Ordering::AcqRel);
            result
        }
    }

    fn two_append(log: &Arc<Log>) -> [Result<(), ()>; 2] {
        let theirs = log.clone();
        let other = loom::thread::spawn(move || theirs.append());
        let mine = log.append();
        [mine, other.join().expect("returns")]
    }

    #[test]
    fn everybody_who_waits_for_a_sync_gets_one() {
        loom::model(|| {
            let log = Arc::new(Log::default());
            assert_eq!(two_append(&log), [Ok(()), Ok(())]);
            assert_eq!(log.synced.load(Ordering::Acquire), 2);
        });
    }

    #[test]
    fn everybody_who_waits_for_a_sync_that_fails_is_told() {
        loom::model(|| {
            let log = Arc::new(Log::default());
            log.fails.store(true, Ordering::Release);
            assert_eq!(two_append(&log), [Err(()), Err(())]);
        });
    }

    #[test]
    fn whoever_waits_for_a_leader_is_woken_by_what_makes_waiting_useless() {
        loom::model(|| {
            let log = Arc::new((Leader::default(), AtomicBool::new(false)));
            let theirs = log.clone();
            let waiter = loom::thread::spawn(move || {
                let closed = || if theirs.1.load(Ordering::Acquire) { Err(()) } else { Ok(false) };
                theirs.0.lead_until(closed, || Ok(loom::thread::yield_now()))
            });
            log.1.store(true, Ordering::Release);
            log.0.wake();
            assert_eq!(waiter.join().expect("is woken"), Err(()));
        });
    }
}
