//! From each disk of a film, every disk that a crash at that moment can leave.
//!
//! Invariant: a state is a disk that was opened and judged. One that reads the same as another of this workload, and of
//! which the same is known, is counted as equal and not opened again.

use std::collections::HashSet;
use std::fmt;
use std::ops::AddAssign;

use epochlog::Mapping;
use epochlog::testing::{Image, Loss};

use super::dice::Dice;
use super::fate::{Crash, Fate, Ticket, losses};
use super::film::{Shot, film};
use super::prologue::prologue;
use super::verdict::{go_on, judge, look_in, recovery, stages, start_again};
use super::workload::Workload;

/// How much is looked at. Where a number says *every*, the others are left out.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Every subset of so many pending units at most, and so many by chance if there are more.
    pub whole: usize,
    pub chance: usize,
    /// Every so many moments, by sectors too.
    pub torn: usize,
    /// Every so many states, going on until offsets are given out again.
    pub onward: usize,
    /// Every so many moments, a kill and then the power.
    pub later: usize,
    /// Every so many moments, a crash in the recovery.
    pub again: usize,
    /// As `whole` and `chance`, for the second of two crashes.
    pub inner: (usize, usize),
}

impl Depth {
    pub const BOUNDED: Depth = Depth { whole: 4, chance: 3, torn: 5, onward: 12, later: 7, again: 20, inner: (2, 0) };
    /// For stores that take long to open.
    pub const THIN: Depth = Depth { whole: 1, chance: 1, torn: 9, onward: 12, later: 19, again: 60, inner: (1, 0) };
    pub const WHOLE: Depth = Depth { whole: 10, chance: 64, torn: 1, onward: 1, later: 1, again: 1, inner: (4, 8) };
}

/// What was explored, in states unless it says otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub workloads: u64,
    pub moments: u64,
    pub killed: u64,
    pub lost: u64,
    pub torn: u64,
    pub later: u64,
    pub again: u64,
    /// Not explored, as they were equal to others.
    pub equal: u64,
}

impl Count {
    pub fn states(&self) -> u64 {
        self.killed + self.lost + self.torn + self.later + self.again
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, more: Count) {
        self.workloads += more.workloads;
        self.moments += more.moments;
        self.killed += more.killed;
        self.lost += more.lost;
        self.torn += more.torn;
        self.later += more.later;
        self.again += more.again;
        self.equal += more.equal;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { workloads, moments, killed, lost, torn, later, again, equal } = self;
        write!(
            f,
            "{} states of {workloads} workloads, {moments} moments: {killed} kills, {lost} power cuts by pages, {torn} by \
             sectors, {later} after a kill, {again} within a recovery; {equal} equal ones were left out",
            self.states()
        )
    }
}

/// A state in which something doesn't hold.
#[derive(Debug)]
pub struct Failure {
    pub ticket: Ticket,
    pub story: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EPOCHLOG_CRASH_REPLAY='{}'\n{}", self.ticket, self.story)
    }
}

/// Explores one workload.
pub struct Explorer<'a> {
    workload: &'a Workload,
    mapping: Mapping,
    depth: Depth,
    dice: Dice,
    known: HashSet<u64>,
    pub count: Count,
}

pub type Explored<T = ()> = Result<T, Box<Failure>>;

impl<'a> Explorer<'a> {
    pub fn new(workload: &'a Workload, mapping: Mapping, depth: Depth) -> Explorer<'a> {
        let (dice, count) = (Dice::new(workload.calls.len() as u64), Count { workloads: 1, ..Count::default() });
        Explorer { workload, mapping, depth, dice, known: HashSet::new(), count }
    }

    /// Every loss at every moment.
    pub fn explore(&mut self) -> Explored {
        let (workload, mapping) = (self.workload, self.mapping);
        let filmed = judge(|| Ok(film(prologue(workload, mapping), &workload.calls)));
        let shots = filmed.map_err(|story| self.failure(0, Fate::Filmed, story))?;
        for (i, shot) in shots.iter().enumerate() {
            if !self.is_new(shot, &shot.image) {
                continue;
            }
            self.count.moments += 1;
            self.once(i, shot, Crash::Kill)?;
            self.power(i, shot, false)?;
            if i.is_multiple_of(self.depth.torn) {
                self.power(i, shot, true)?;
            }
            if (i + 3).is_multiple_of(self.depth.later) {
                self.later(i, shot)?;
            }
            if (i + 5).is_multiple_of(self.depth.again) {
                self.again(i, shot)?;
            }
        }
        Ok(())
    }

    fn failure(&self, moment: usize, fate: Fate, story: String) -> Box<Failure> {
        let ticket = Ticket { workload: self.workload.name.to_string(), mapping: self.mapping, moment, fate };
        Box::new(Failure { ticket, story })
    }

    /// Whether no moment before was the same: what is written, synced and pending, and what is known.
    fn is_new(&mut self, shot: &Shot, image: &Image) -> bool {
        let (written, synced) = (image.after(Loss::None).fingerprint(), image.after(Loss::All).fingerprint());
        let pending = image.pending().iter().fold(0, |sum, unit| mixed(sum, hash_of(&format!("{unit:?}"))));
        self.known.insert(mixed(mixed(mixed(written, synced), pending), shot.version << 1))
    }

    fn once(&mut self, i: usize, shot: &Shot, crash: Crash) -> Explored {
        let disk = crash.disk(&shot.image);
        if crash != Crash::Kill && !self.known.insert(mixed(disk.fingerprint(), (shot.version << 1) | 1)) {
            self.count.equal += 1;
            return Ok(());
        }
        let goes_on = self.count.states().is_multiple_of(self.depth.onward as u64);
        let verdict = judge(|| match goes_on {
            true => go_on(disk, self.mapping, &shot.oracle),
            false => look_in(disk, self.mapping, &shot.oracle).map(drop),
        });
        let states = match crash {
            Crash::Kill => &mut self.count.killed,
            Crash::Power { torn: false, .. } => &mut self.count.lost,
            Crash::Power { torn: true, .. } => &mut self.count.torn,
        };
        *states += 1 + u64::from(goes_on);
        verdict.map_err(|story| self.failure(i, Fate::Once(crash), story))
    }

    fn power(&mut self, i: usize, shot: &Shot, torn: bool) -> Explored {
        let pages = shot.image.pending().len();
        let n = if torn { shot.image.clone().by_sector().pending().len() } else { pages };
        if torn && n == pages {
            return Ok(());
        }
        for lost in losses(n, self.depth.whole, self.depth.chance, &mut self.dice) {
            self.once(i, shot, Crash::Power { torn, lost })?;
        }
        Ok(())
    }

    /// A kill; then a power cut, at once and after each step of going on.
    fn later(&mut self, i: usize, shot: &Shot) -> Explored {
        let staged = judge(|| stages(&shot.image, self.mapping, &shot.oracle));
        let staged = staged.map_err(|story| self.failure(i, Fate::Later(0, Crash::Kill), story))?;
        self.count.later += 1;
        let (whole, chance) = self.depth.inner;
        for (stage, (image, oracle)) in staged.iter().enumerate() {
            let mut known = HashSet::new();
            for lost in losses(image.pending().len(), whole, chance, &mut self.dice) {
                let crash = Crash::Power { torn: false, lost };
                let disk = crash.disk(image);
                if !known.insert(disk.fingerprint()) {
                    self.count.equal += 1;
                    continue;
                }
                let verdict = judge(|| look_in(disk, self.mapping, oracle));
                self.count.later += 1;
                verdict.map_err(|story| self.failure(i, Fate::Later(stage, crash), story))?;
            }
        }
        Ok(())
    }

    /// Crashes again at every operation of the recovery from a kill, from the loss of everything, and from one by chance.
    fn again(&mut self, i: usize, shot: &Shot) -> Explored {
        let n = shot.image.pending().len();
        let mut firsts = vec![Crash::Kill];
        if n > 0 {
            firsts.push(Crash::everything(&shot.image));
        }
        if n > 1 && self.depth.inner.1 > 0 {
            let lost = (0..n).map(|_| self.dice.below(2) == 0).collect();
            firsts.push(Crash::Power { torn: false, lost });
        }
        firsts.into_iter().try_for_each(|first| self.again_after(i, shot, &first))
    }

    fn again_after(&mut self, i: usize, shot: &Shot, first: &Crash) -> Explored {
        let recovered = judge(|| recovery(first, &shot.image, self.mapping, &shot.oracle));
        let failed = |story| self.failure(i, Fate::Again(first.clone(), 0, Crash::Kill), story);
        let (shots, plain) = recovered.map_err(failed)?;
        let (mut known, (whole, chance)) = (HashSet::new(), self.depth.inner);
        for (moment, inner) in shots.iter().enumerate() {
            let lost = losses(inner.image.pending().len(), whole, chance, &mut self.dice);
            let powers = lost.into_iter().map(|lost| Crash::Power { torn: false, lost });
            for then in std::iter::once(Crash::Kill).chain(powers) {
                let print = then.disk(&inner.image).fingerprint();
                if !known.insert((print, inner.version, then == Crash::Kill)) {
                    self.count.equal += 1;
                    continue;
                }
                let verdict = judge(|| start_again(first, inner, &then, self.mapping, &plain));
                self.count.again += 1;
                verdict.map_err(|story| self.failure(i, Fate::Again(first.clone(), moment, then), story))?;
            }
        }
        Ok(())
    }
}

fn mixed(a: u64, b: u64) -> u64 {
    (a.rotate_left(23) ^ b).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn hash_of(text: &str) -> u64 {
    text.bytes().fold(0, |sum, byte| mixed(sum, u64::from(byte)))
}
