//! One thread leads for all that wait: the heart of group commit.
//!
//! Invariant: at most one thread leads; whoever waits is told when a lead has reached what it waits for, when a lead
//! failed, and when waiting became useless; and as long as somebody waits, somebody leads or is on the way to. Used by
//! `sync`, which says what is waited for and what leading means.
//!
//! Three things keep syncs and wakings few. A thread is woken when its own work is done, not at each sync; of those whose
//! work is not done, one is, the heir, to lead next. Those whom the same lead serves sleep at the same [`Bell`] and are
//! woken at one stroke. And the next lead waits a moment for those whom the last one let go: they are about to come back,
//! and a sync without them makes them wait for two. The idea is that of PostgreSQL's `commit_delay` and
//! `commit_siblings`, but measured instead of set: see [`Crowd`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bell::{Bell, Heard};
use super::crowd::Crowd;
use crate::threads::small::Mutex;

/// Whether somebody leads, and who waits for the end of it.
#[derive(Debug, Default)]
pub(super) struct Leader {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leading: bool,
    /// How many want to be where nobody leads: no lead begins before they have been.
    alone: usize,
    /// Who waits, in the order they came.
    groups: Vec<Group>,
    /// Somebody waits with a deadline for the crowd to gather, and leads then.
    watched: bool,
    crowd: Crowd,
}

/// Those who came between the beginnings of two leads: the next one serves them all.
#[derive(Debug)]
struct Group {
    bell: Arc<Bell>,
    members: usize,
    /// A lead that reaches less is of no use to any of them; nobody's lead reaches what is greater than any end.
    least: u64,
    /// A lead has begun: who comes now may have come too late for it.
    closed: bool,
}

/// What a lead came to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reached {
    /// Whoever waits for no more than this is done.
    End(u64),
    /// Things have changed: everyone looks again.
    Changed,
}

impl Leader {
    /// Returns once `done` says so or refuses: until then waits for whoever leads, or leads itself. A lead that reached
    /// `wanted` makes it look again, and so does one that failed.
    pub(super) fn lead_until<E>(
        &self,
        wanted: u64,
        mut done: impl FnMut() -> Result<bool, E>,
        mut lead: impl FnMut() -> Result<Reached, E>,
    ) -> Result<(), E> {
        let mut turn = Turn::default();
        let result = loop {
            match done() {
                Ok(false) => {}
                ended => break ended.map(|_done| ()),
            }
            if !self.begin_or_wait(wanted, &mut done, &mut turn) {
                continue;
            }
            let mut term = Term::of(self);
            let began = Instant::now();
            match lead() {
                Ok(reached) => (term.reached, term.took) = (reached, Some(began.elapsed())),
                Err(error) => break Err(error),
            }
        };
        if turn.inherited {
            self.bequeath();
        }
        result
    }

    /// Says whether the caller leads now; else it has waited, or needn't.
    fn begin_or_wait<E>(&self, wanted: u64, done: &mut impl FnMut() -> Result<bool, E>, turn: &mut Turn) -> bool {
        let mut state = self.state.lock();
        // Looked at again: what it waits for may have come between the look and the lock.
        if !matches!(done(), Ok(false)) {
            return false;
        }
        if state.may_lead(turn.impatient) {
            state.begin(turn.impatient);
            *turn = Turn::default();
            return true;
        }
        let watches = !state.leading && !state.watched && state.alone == 0;
        state.watched |= watches;
        let patience = state.crowd.patience;
        let bell = state.join(wanted);
        drop(state);
        let heard = if watches { bell.wait_for(patience) } else { Some(bell.wait()) };
        // Whoever watched in vain is an heir as well.
        *turn = Turn { inherited: heard != Some(Heard::Look), impatient: heard.is_none() };
        if turn.inherited {
            let mut state = self.state.lock();
            state.leave(&bell);
            // Also if it was appointed before its time was over. Then somebody else may watch by now, and doesn't do so
            // alone any more; the other way round nobody would.
            state.watched &= !watches;
        }
        false
    }

    fn end(&self, reached: Reached, took: Option<Duration>) {
        let mut state = self.state.lock();
        state.leading = false;
        if let Some(took) = took {
            let present = 1 + state.waiting();
            state.crowd.learn(present, took);
        }
        let served = state.served(reached);
        let heir = state.heir();
        drop(state);
        served.iter().for_each(|group| group.bell.ring());
        heir.inspect(|bell| bell.appoint());
    }

    /// An heir that doesn't lead passes it on.
    fn bequeath(&self) {
        let state = self.state.lock();
        let heir = if state.leading || state.watched { None } else { state.heir() };
        drop(state);
        heir.inspect(|bell| bell.appoint());
    }

    /// Does something that no lead may overlap with. Whoever waits for one looks again afterwards.
    pub(super) fn while_nobody_leads<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut state = self.state.lock();
        state.alone += 1;
        while state.leading {
            let bell = state.join(0);
            drop(state);
            bell.wait();
            state = self.state.lock();
            state.leave(&bell);
        }
        state.alone -= 1;
        state.leading = true;
        drop(state);
        let _term = Term::of(self);
        work()
    }

    /// Makes everyone who waits look again.
    pub(super) fn wake(&self) {
        // Taken, so that nobody is between looking and going to sleep.
        let everyone = self.state.lock().served(Reached::Changed);
        everyone.iter().for_each(|group| group.bell.ring());
    }
}

/// A lead that goes on. It ends with this, also where a panic ends it: else nobody would ever lead again.
struct Term<'a> {
    leader: &'a Leader,
    reached: Reached,
    took: Option<Duration>,
}

impl Term<'_> {
    fn of(leader: &Leader) -> Term<'_> {
        Term { leader, reached: Reached::Changed, took: None }
    }
}

impl Drop for Term<'_> {
    fn drop(&mut self) {
        self.leader.end(self.reached, self.took);
    }
}

/// Where a thread stands between two looks.
#[derive(Debug, Default)]
struct Turn {
    /// It is the one who sees to it that somebody leads.
    inherited: bool,
    /// It has waited for the crowd long enough.
    impatient: bool,
}

impl State {
    fn may_lead(&self, impatient: bool) -> bool {
        !self.leading && self.alone == 0 && (impatient || self.crowd.is_gathered(self.waiting() + 1))
    }

    fn begin(&mut self, impatient: bool) {
        self.leading = true;
        self.crowd.settle(self.waiting() + 1, impatient);
        self.groups.iter_mut().for_each(|group| group.closed = true);
    }

    fn waiting(&self) -> usize {
        self.groups.iter().map(|group| group.members).sum()
    }

    fn join(&mut self, wanted: u64) -> Arc<Bell> {
        if self.groups.last().is_none_or(|last| last.closed) {
            self.groups.push(Group { bell: Arc::default(), members: 0, least: wanted, closed: false });
        }
        let group = self.groups.last_mut().expect("there is one now");
        group.members += 1;
        group.least = group.least.min(wanted);
        group.bell.clone()
    }

    /// One goes before the bell was rung for all.
    fn leave(&mut self, bell: &Arc<Bell>) {
        self.groups.iter_mut().filter(|group| Arc::ptr_eq(&group.bell, bell)).for_each(|group| group.members -= 1);
        self.groups.retain(|group| group.members > 0);
    }

    /// Takes out who is to look again.
    fn served(&mut self, reached: Reached) -> Vec<Group> {
        self.watched = false;
        let served = |group: &mut Group| match reached {
            Reached::End(end) => group.least <= end,
            Reached::Changed => true,
        };
        self.groups.extract_if(.., served).collect()
    }

    /// The bell at which one of those sleeps who came first.
    fn heir(&self) -> Option<Arc<Bell>> {
        self.groups.first().map(|group| group.bell.clone())
    }
}

#[cfg(not(any(loom, shuttle)))]
#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread::{ScopedJoinHandle, scope, sleep};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn expecting(expected: usize, patience: Duration) -> Leader {
        let mut state = State::default();
        (state.crowd.expected, state.crowd.patience) = (expected, patience);
        Leader { state: Mutex::new(state) }
    }

    fn until_waiting(leader: &Leader, n: usize) {
        while leader.state.lock().waiting() < n {
            sleep(Duration::from_millis(1));
        }
    }

    /// Whether a thread comes to its end; one that sleeps for ever would keep the test from failing.
    fn ends<T>(thread: &ScopedJoinHandle<'_, T>) -> bool {
        for _ in 0..5000 {
            if thread.is_finished() {
                return true;
            }
            sleep(Duration::from_millis(1));
        }
        false
    }

    /// Waits for a lead, and counts those it has to do itself.
    fn wait(leader: &Leader, leads: &AtomicU64) -> Result<(), ()> {
        let done = || Ok(leads.load(Ordering::Acquire) > 0);
        leader.lead_until(1, done, || Ok(Reached::End(leads.fetch_add(1, Ordering::AcqRel) + 1)))
    }

    #[test]
    fn one_lead_begins_when_all_have_come_back() {
        let (leader, leads) = (expecting(3, LONG), AtomicU64::new(0));
        scope(|scope| {
            for n in 1..=2 {
                scope.spawn(|| wait(&leader, &leads));
                until_waiting(&leader, n);
            }
            assert_eq!(leads.load(Ordering::Acquire), 0);
            wait(&leader, &leads).expect("leads");
        });
        assert_eq!((leads.into_inner(), leader.state.lock().crowd.expected), (1, 3));
    }

    #[test]
    fn who_does_not_come_back_is_waited_for_in_vain_and_not_again() {
        let (leader, leads) = (expecting(3, Duration::from_millis(1)), AtomicU64::new(0));
        wait(&leader, &leads).expect("leads alone");
        let crowd = &leader.state.lock().crowd;
        assert_eq!((leads.into_inner(), crowd.expected, crowd.skips_left), (1, 1, 1));
    }

    #[test]
    fn whoever_waits_for_a_lead_that_panics_leads_next() {
        for alone in [false, true] {
            let (leader, leads) = (Leader::default(), AtomicU64::new(0));
            scope(|scope| {
                let panicking = scope.spawn(|| {
                    let panics = || -> Result<Reached, ()> {
                        until_waiting(&leader, 1);
                        panic!("as it is meant to");
                    };
                    if alone {
                        leader.while_nobody_leads(panics).map(drop)
                    } else {
                        leader.lead_until(1, || Ok(false), panics)
                    }
                });
                while !leader.state.lock().leading {
                    sleep(Duration::from_millis(1));
                }
                let other = scope.spawn(|| wait(&leader, &leads));
                panicking.join().expect_err("panics");
                let led = ends(&other);
                leads.fetch_add(1, Ordering::AcqRel);
                leader.wake();
                assert!(led, "the other was told");
            });
            assert_eq!(leads.into_inner(), 2);
        }
    }

    #[test]
    fn whoever_watches_and_is_refused_passes_the_lead_on() {
        let (leader, leads) = (expecting(3, LONG), AtomicU64::new(0));
        let refused = AtomicBool::new(false);
        scope(|scope| {
            let watcher = scope.spawn(|| {
                let done = || if refused.load(Ordering::Acquire) { Err(()) } else { Ok(false) };
                leader.lead_until(1, done, || panic!("is refused before"))
            });
            until_waiting(&leader, 1);
            let watchers = {
                let mut state = leader.state.lock();
                // The other sleeps elsewhere, and watches for a moment when it is its turn.
                state.groups[0].closed = true;
                state.crowd.patience = Duration::from_millis(1);
                state.heir().expect("one waits")
            };
            let other = scope.spawn(|| wait(&leader, &leads));
            until_waiting(&leader, 2);
            refused.store(true, Ordering::Release);
            watchers.appoint();
            assert_eq!(watcher.join().expect("ends"), Err(()));
            let led = ends(&other);
            leads.fetch_add(1, Ordering::AcqRel);
            leader.wake();
            assert!(led, "the other was told");
        });
        assert_eq!(leads.into_inner(), 2);
    }

    #[test]
    fn whoever_watches_and_is_appointed_watches_anew() {
        let (leader, leads) = (expecting(3, Duration::from_millis(200)), AtomicU64::new(0));
        scope(|scope| {
            let watcher = scope.spawn(|| wait(&leader, &leads));
            until_waiting(&leader, 1);
            let bell = leader.state.lock().heir().expect("one waits");
            // By somebody who chose the bell before there was a watcher.
            bell.appoint();
            let led = ends(&watcher);
            leader.wake();
            leads.fetch_add(1, Ordering::AcqRel);
            leader.wake();
            assert!(led, "it sleeps without a deadline");
        });
    }

    #[test]
    fn no_lead_begins_before_whoever_wants_to_be_alone_has_been() {
        let mut state = State { alone: 1, ..State::default() };
        assert!(!state.may_lead(false) && !state.may_lead(true));
        state.alone = 0;
        assert!(state.may_lead(false));
    }

    #[test]
    fn a_lead_wakes_those_it_served_and_one_that_leads_next() {
        let mut state = State::default();
        let early = [5, 7].map(|wanted| state.join(wanted));
        state.begin(false);
        let late = [9, 8].map(|wanted| state.join(wanted));
        assert!(Arc::ptr_eq(&early[0], &early[1]) && Arc::ptr_eq(&late[0], &late[1]));
        let served = state.served(Reached::End(7));
        assert!(served.len() == 1 && Arc::ptr_eq(&served[0].bell, &early[0]));
        assert!(Arc::ptr_eq(&state.heir().expect("two wait"), &late[0]));
        assert_eq!(state.waiting(), 2);
    }

    #[test]
    fn whoever_comes_too_late_for_a_lead_leads_the_next() {
        let (leader, reached) = (Leader::default(), AtomicU64::new(0));
        let wait = |wanted, meanwhile: &dyn Fn()| {
            let done = || Ok(reached.load(Ordering::Acquire) >= wanted);
            leader.lead_until(wanted, done, || {
                meanwhile();
                reached.store(wanted, Ordering::Release);
                Ok::<_, ()>(Reached::End(wanted))
            })
        };
        scope(|scope| {
            let late = wait(1, &|| {
                scope.spawn(|| wait(2, &|| {}));
                until_waiting(&leader, 1);
            });
            assert_eq!(late, Ok(()));
            for _ in 0..5000 {
                if reached.load(Ordering::Acquire) == 2 {
                    break;
                }
                sleep(Duration::from_millis(1));
            }
            let led = reached.load(Ordering::Acquire);
            leader.wake();
            assert_eq!(led, 2, "the other was told");
        });
    }

    #[test]
    fn nobody_waits_for_company_as_long_as_a_disk_stalled() {
        let leader = Leader::default();
        leader.state.lock().crowd.learn(4, LONG / 3);
        let began = Instant::now();
        wait(&leader, &AtomicU64::new(0)).expect("leads");
        assert!(began.elapsed() < LONG / 10);
        let fails = leader.lead_until(
            1,
            || Ok(false),
            || {
                sleep(Duration::from_millis(20));
                Err::<Reached, _>(())
            },
        );
        assert_eq!((fails, leader.state.lock().crowd.expected), (Err(()), 1));
    }

    #[test]
    fn who_came_behind_a_lead_that_took_in_its_work_is_served_by_it() {
        let mut state = State::default();
        state.begin(false);
        let bell = state.join(7);
        let served = state.served(Reached::End(7));
        assert!(Arc::ptr_eq(&served[0].bell, &bell) && state.heir().is_none());
    }

    #[test]
    fn an_heir_is_no_longer_counted_and_the_others_are() {
        let mut state = State::default();
        let bell = state.join(5);
        state.join(5);
        state.leave(&bell);
        assert_eq!(state.waiting(), 1);
        state.leave(&bell);
        assert!(state.groups.is_empty());
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
        /// Whoever waits for this much is refused once anything was synced.
        refused: AtomicUsize,
    }

    impl Log {
        fn append(&self) -> Result<(), ()> {
            let mine = self.written.fetch_add(1, Ordering::AcqRel) + 1;
            let done = || match self.synced.load(Ordering::Acquire) {
                synced if synced > 0 && self.refused.load(Ordering::Acquire) == mine => Err(()),
                synced if synced >= mine => Ok(true),
                _ if self.latched.load(Ordering::Acquire) => Err(()),
                _ => Ok(false),
            };
            self.leader.lead_until(mine as u64, done, || self.sync())
        }

        fn sync(&self) -> Result<Reached, ()> {
            assert_eq!(self.leading.fetch_add(1, Ordering::AcqRel), 0, "one leads at a time");
            let end = self.written.load(Ordering::Acquire);
            let result = match self.fails.load(Ordering::Acquire) {
                true => Err(self.latched.store(true, Ordering::Release)),
                false => {
                    self.synced.fetch_max(end, Ordering::AcqRel);
                    Ok(Reached::End(end as u64))
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

    /// Three threads have too many orders to try them all: those in which a thread is interrupted twice at most.
    fn interrupted_twice() -> loom::model::Builder {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model
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
    fn whoever_inherits_the_lead_and_is_refused_passes_it_on() {
        interrupted_twice().check(|| {
            let log = Arc::new(Log::default());
            log.refused.store(2, Ordering::Release);
            let theirs = log.clone();
            let third = loom::thread::spawn(move || theirs.append());
            let two = two_append(&log);
            let results = [two[0], two[1], third.join().expect("returns")];
            assert!(results.iter().filter(|result| result.is_ok()).count() >= 2, "{results:?}");
        });
    }

    #[test]
    fn nobody_leads_beside_what_wants_to_be_alone() {
        interrupted_twice().check(|| {
            let log = Arc::new(Log::default());
            let theirs = log.clone();
            let alone = loom::thread::spawn(move || {
                theirs.leader.while_nobody_leads(|| {
                    assert_eq!(theirs.leading.fetch_add(1, Ordering::AcqRel), 0, "nobody leads");
                    theirs.leading.fetch_sub(1, Ordering::AcqRel);
                });
            });
            assert_eq!(two_append(&log), [Ok(()), Ok(())]);
            alone.join().expect("is let in");
        });
    }

    #[test]
    fn whoever_waits_for_a_leader_is_woken_by_what_makes_waiting_useless() {
        loom::model(|| {
            let log = Arc::new((Leader::default(), AtomicBool::new(false)));
            let theirs = log.clone();
            let waiter = loom::thread::spawn(move || {
                let closed = || if theirs.1.load(Ordering::Acquire) { Err(()) } else { Ok(false) };
                theirs.0.lead_until(1, closed, || {
                    loom::thread::yield_now();
                    Ok(Reached::End(0))
                })
            });
            log.1.store(true, Ordering::Release);
            log.0.wake();
            assert_eq!(waiter.join().expect("is woken"), Err(()));
        });
    }
}
