//! Where those sleep who wait for the same event: one stroke wakes them all.
//!
//! Invariant: once it was rung nobody sleeps here, and each appointment is heard by one, if there is or comes anybody. Used
//! by `leader`, for whom a waking costs more than all else: with a condition variable for each thread, or with one of
//! `parking_lot`, whose threads wake each other in turn, it is a call to the kernel for each.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::threads::small::at_once::{Condvar, Mutex, MutexGuard};

#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<Rung>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    for_all: bool,
    for_one: bool,
}

/// What the bell means for one who slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Look,
    /// Look, and see to it that somebody leads.
    Inherit,
}

impl Bell {
    pub(super) fn wait(&self) -> Heard {
        let mut rung = self.lock();
        loop {
            if let Some(heard) = rung.hear() {
                return heard;
            }
            rung = self.news.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing if the time was over first.
    pub(super) fn wait_for(&self, patience: Duration) -> Option<Heard> {
        let deadline = Instant::now() + patience;
        let mut rung = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let heard = rung.hear();
            if heard.is_some() || left.is_zero() {
                return heard;
            }
            rung = self.news.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everyone looks again.
    pub(super) fn ring(&self) {
        self.lock().for_all = true;
        self.news.notify_all();
    }

    /// One inherits.
    pub(super) fn appoint(&self) {
        self.lock().for_one = true;
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rung {
    /// An appointment is heard by the first who listens, also where the bell was rung for all meanwhile.
    fn hear(&mut self) -> Option<Heard> {
        if std::mem::take(&mut self.for_one) {
            return Some(Heard::Inherit);
        }
        self.for_all.then_some(Heard::Look)
    }
}

#[cfg(test)]
#[cfg(not(any(loom, shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn an_appointment_is_heard_once_and_a_ring_by_all() {
        let bell = Bell::default();
        assert_eq!(bell.wait_for(Duration::ZERO), None);
        bell.appoint();
        bell.ring();
        assert_eq!([bell.wait(), bell.wait(), bell.wait()], [Heard::Inherit, Heard::Look, Heard::Look]);
    }

    #[test]
    fn a_ring_wakes_all_who_sleep_and_an_appointment_one() {
        let bell = Bell::default();
        std::thread::scope(|scope| {
            let sleepers = [(); 3].map(|()| scope.spawn(|| bell.wait()));
            bell.appoint();
            while sleepers.iter().filter(|sleeper| sleeper.is_finished()).count() < 1 {
                std::thread::yield_now();
            }
            bell.ring();
            let heard = sleepers.map(|sleeper| sleeper.join().expect("was woken"));
            assert_eq!(heard.iter().filter(|heard| **heard == Heard::Inherit).count(), 1);
        });
    }
}
