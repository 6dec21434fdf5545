//! Who brings in which pages of a file, and up to where they are its writer's: the part of `ahead` that two threads share.
//!
//! Invariant: of everything from `warm` on the writer touches nothing, and zeros are written there alone, by one at a time,
//! into a step that it has taken. `warm` passes a step only when its zeros are written. Steps that others take
//! meanwhile are brought in without writing. Used by `ahead`.

use std::ops::Range;

use crate::threads::small::atomic::{AtomicUsize, Ordering};
use crate::threads::small::{Condvar, Mutex};

/// The turns of one file.
#[derive(Debug)]
pub(super) struct Turns {
    /// Below this position no zero is written any more.
    warm: AtomicUsize,
    state: Mutex<State>,
    /// Told when nobody writes zeros any more.
    written: Condvar,
}

#[derive(Debug)]
struct State {
    /// Everything below was brought in, is being brought in, or was left to the writer.
    taken: usize,
    /// Where the zeros begin that somebody is writing.
    writing: Option<usize>,
    /// Whether the file may have been cut to its end.
    stopped: bool,
}

impl State {
    fn warm(&self) -> usize {
        self.writing.unwrap_or(self.taken)
    }
}

/// A step that somebody has taken.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) range: Range<usize>,
    /// Whether it is for who has taken it to write zeros there, and to say when it is [`done`](Turns::done).
    pub(super) writes: bool,
}

impl Turns {
    /// Everything below is the writer's.
    pub(super) fn new(warm: usize) -> Turns {
        Turns {
            warm: AtomicUsize::new(warm),
            state: Mutex::new(State { taken: warm, writing: None, stopped: false }),
            written: Condvar::default(),
        }
    }

    /// Below this position the writer may write.
    pub(super) fn warm(&self) -> usize {
        self.warm.load(Ordering::Acquire)
    }

    /// Where the next step begins; `None` if there is none any more.
    pub(super) fn next(&self) -> Option<usize> {
        let state = self.state.lock();
        (!state.stopped).then_some(state.taken)
    }

    /// Takes the next step, of so many bytes or more to reach `end`, but not beyond the limit.
    pub(super) fn take(&self, bytes: usize, end: usize, limit: usize) -> Option<Step> {
        let mut state = self.state.lock();
        let from = state.taken;
        let to = end.max(from + bytes).min(limit);
        if state.stopped || from >= to {
            return None;
        }
        let writes = state.writing.is_none();
        state.taken = to;
        if writes {
            state.writing = Some(from);
        }
        Some(Step { range: from..to, writes })
    }

    /// The zeros of a step are written.
    pub(super) fn done(&self) {
        let mut state = self.state.lock();
        state.writing = None;
        self.warm.store(state.warm(), Ordering::Release);
        drop(state);
        self.written.notify_all();
    }

    /// Leaves everything below `end` to the writer, once nobody writes zeros there.
    pub(super) fn claim(&self, end: usize) {
        let mut state = self.state.lock();
        state.taken = state.taken.max(end);
        while state.warm() < end {
            self.written.wait(&mut state);
        }
        self.warm.store(state.warm(), Ordering::Release);
    }

    /// No step is taken from now on, and nobody writes zeros any more.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        while state.writing.is_some() {
            self.written.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn take(turns: &Turns, end: usize, limit: usize) -> Option<(usize, usize, bool)> {
        turns.take(10, end, limit).map(|step| (step.range.start, step.range.end, step.writes))
    }

    /// Does it on another thread; it must not end before `turns` are told that the zeros are written.
    fn waits_for_the_zeros(turns: &Turns, work: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(work);
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            turns.done();
        });
    }

    #[test]
    fn while_one_writes_zeros_another_takes_the_next_step_without() {
        let turns = Turns::new(3);
        assert_eq!(take(&turns, 0, 100), Some((3, 13, true)));
        assert_eq!(take(&turns, 50, 100), Some((13, 50, false)));
        assert_eq!((turns.warm(), turns.next()), (3, Some(50)));
        turns.done();
        assert_eq!(turns.warm(), 50);
        assert_eq!(take(&turns, 0, 55), Some((50, 55, true)));
        assert_eq!(take(&turns, 0, 55), None);
    }

    #[test]
    fn what_is_written_is_waited_for_and_what_lies_behind_is_not() {
        let turns = Turns::new(0);
        assert_eq!(take(&turns, 0, 100), Some((0, 10, true)));
        waits_for_the_zeros(&turns, || turns.claim(1));
        assert_eq!(turns.warm(), 10);
        assert_eq!(take(&turns, 0, 100), Some((10, 20, true)));
        turns.claim(10);
        assert_eq!(turns.warm(), 10);
    }

    #[test]
    fn who_stops_waits_for_what_is_written_and_nothing_is_taken_behind_it() {
        let turns = Turns::new(0);
        assert_eq!(take(&turns, 0, 100), Some((0, 10, true)));
        waits_for_the_zeros(&turns, || turns.stop());
        assert_eq!((take(&turns, 0, 100), turns.next()), (None, None));
        turns.claim(30);
        assert_eq!(turns.warm(), 30);
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU8;

    use super::*;

    type File = Arc<(Turns, [AtomicU8; 3])>;

    fn bring(file: &File, end: usize) -> bool {
        let Some(step) = file.0.take(1, end, 3) else { return false };
        if step.writes {
            file.1[step.range].iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
            file.0.done();
        }
        true
    }

    /// The bytes are relaxed atomics: in loom's memory a zero may fall on a record, unless the turns forbid it.
    #[test]
    fn no_zero_falls_on_what_was_written_whoever_brings_in_what() {
        loom::model(|| {
            let file: File = Arc::new((Turns::new(0), [0; 3].map(AtomicU8::new)));
            let theirs = file.clone();
            let runner = loom::thread::spawn(move || while bring(&theirs, 0) {});
            for (i, byte) in file.1[..2].iter().enumerate() {
                if file.0.warm() < i + 1 {
                    bring(&file, i + 1);
                    file.0.claim(i + 1);
                }
                byte.store(7, Ordering::Relaxed);
            }
            file.0.stop();
            file.1[2].store(9, Ordering::Relaxed);
            runner.join().expect("ends");
            let found: Vec<u8> = file.1.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
            assert_eq!(found, [7, 7, 9]);
        });
    }
}
