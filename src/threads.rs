//! Locks, condition variables and atomics: the real ones, or those of a model checker that runs the orders in which
//! threads may take their steps.
//!
//! Invariant: the engine takes them from here alone, so that the code that is shipped is the code that is checked.
//! `--cfg shuttle` puts the whole engine under the scheduler of shuttle (`tests/threads`). `--cfg loom` puts the four
//! small machines that use [`small`] under loom, which tries every order and knows what a weak memory may show. Without
//! either, all of it is `parking_lot` and `std`.

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Condvar, MappedMutexGuard, Mutex, MutexGuard, RwLock};
#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic;

#[cfg(shuttle)]
pub(crate) use self::shuttled::Condvar;
#[cfg(shuttle)]
pub(crate) use ::shuttle::sync::atomic;
#[cfg(shuttle)]
pub(crate) use ::shuttle_parking_lot::{MappedMutexGuard, Mutex, MutexGuard, RwLock};

/// What the small machines are made of: `io::mark`, `io::turns`, `log::leader` with `log::bell`, and `log::signal`.
pub(crate) mod small {
    #[cfg(loom)]
    pub(crate) use super::loomed::{Condvar, Mutex};
    #[cfg(not(loom))]
    pub(crate) use super::{Condvar, Mutex, atomic};
    #[cfg(loom)]
    pub(crate) use ::loom::sync::atomic;

    /// A condition variable that wakes all who wait with one call to the kernel. That of `parking_lot` lets each wake the
    /// next.
    pub(crate) mod at_once {
        #[cfg(loom)]
        pub(crate) use ::loom::sync::{Condvar, Mutex, MutexGuard};
        #[cfg(shuttle)]
        pub(crate) use ::shuttle::sync::{Condvar, Mutex, MutexGuard};
        #[cfg(not(any(loom, shuttle)))]
        pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    }
}

/// How a wait with a deadline ended, in a model: no time passes there, so only a deadline that lies behind is met, and a
/// waiter that is never woken shows as a deadlock.
#[cfg(any(shuttle, loom))]
pub(crate) struct Waited(bool);

#[cfg(any(shuttle, loom))]
impl Waited {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

#[cfg(shuttle)]
mod shuttled {
    //! A condition variable for `parking_lot`'s guards, which shuttle doesn't have.

    use std::time::{Duration, Instant};

    use ::shuttle::sync::{Condvar as News, Mutex as Turns};

    use super::{MutexGuard, Waited};

    #[derive(Debug, Default)]
    pub(crate) struct Condvar {
        turns: Turns<u64>,
        news: News,
    }

    impl Condvar {
        pub(crate) fn new() -> Condvar {
            Condvar::default()
        }

        /// The turn is looked at before the guard is let go, so a notification between the two is not lost.
        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let turns = self.turns.lock().expect("nobody panics with it");
            let before = *turns;
            MutexGuard::unlocked(guard, || {
                drop(self.news.wait_while(turns, |turns| *turns == before).expect("nobody panics with it"));
            });
        }

        pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> Waited {
            if deadline <= Instant::now() {
                return Waited(true);
            }
            self.wait(guard);
            Waited(false)
        }

        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _pause: Duration) -> Waited {
            self.wait(guard);
            Waited(false)
        }

        pub(crate) fn notify_all(&self) {
            *self.turns.lock().expect("nobody panics with it") += 1;
            self.news.notify_all();
        }
    }
}

#[cfg(loom)]
mod loomed {
    //! Loom's lock and condition variable in the shape of `parking_lot`'s.

    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    use super::Waited;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(::loom::sync::Mutex<T>);

    pub(crate) struct MutexGuard<'a, T>(Option<::loom::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(::loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("nobody panics with it")))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("is only away while it waits")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("is only away while it waits")
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(::loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let inner = guard.0.take().expect("is only away while it waits");
            guard.0 = Some(self.0.wait(inner).expect("nobody panics with it"));
        }

        pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> Waited {
            if deadline <= Instant::now() {
                return Waited(true);
            }
            self.wait(guard);
            Waited(false)
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
