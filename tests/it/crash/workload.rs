//! What is filmed: workloads written by hand, each a promise with a name, and generated ones without end.
//!
//! Invariant: a generated workload is known by its seed and number alone, makes [`CALLS_MAX`] legal calls, and prefers
//! pairs of calls that the workloads before it didn't have.

use std::borrow::Cow;
use std::collections::BTreeSet;

use epochlog::Durability::{Durable, Written};

use super::call::Call::{self, *};
use super::call::{Model, Pair, SHAPES, Shape, calls, pairs_of, possible_pairs};
use super::dice::Dice;

pub const CALLS_MAX: usize = 12;
/// So many calls ahead a new pair is looked for.
const LOOK_AHEAD: usize = 4;

/// What is done before the filming begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    Nothing,
    /// Commits until the file of commits is worth compacting.
    Commits,
    /// Rolls until the history is worth compacting.
    History,
    /// The disk answers every sync well and does nothing: not survived by any engine.
    Lies,
}

#[derive(Clone, Debug)]
pub struct Workload {
    pub name: Cow<'static, str>,
    pub preface: Preface,
    pub calls: Cow<'static, [Call]>,
}

const PLAIN: Call = Create(Shape::Plain);
const APPEND: Call = Append(Durable);
const SCRIBBLE: Call = Append(Written);
const COMMIT: Call = Commit(0);

const BY_HAND: &[(&str, Preface, &[Call])] = &[
    (
        "append",
        Preface::Nothing,
        &[PLAIN, APPEND, SCRIBBLE, Batch(3, Durable), SCRIBBLE, SCRIBBLE, Sync, SCRIBBLE, Close, Open, APPEND],
    ),
    (
        "roll",
        Preface::Nothing,
        &[PLAIN, Roll(Written), SCRIBBLE, Roll(Written), Sync, SCRIBBLE, Roll(Durable), Close, Open, SCRIBBLE],
    ),
    (
        "cut",
        Preface::Nothing,
        &[PLAIN, Batch(3, Durable), SCRIBBLE, Truncate(2), SCRIBBLE, Same(Durable), Truncate(1), Same(Durable)],
    ),
    (
        "cut far",
        Preface::Nothing,
        &[PLAIN, Roll(Written), SCRIBBLE, Truncate(4), SCRIBBLE, SCRIBBLE, Truncate(6), APPEND, COMMIT],
    ),
    (
        "trim",
        Preface::Nothing,
        &[PLAIN, Roll(Written), Trim(2), SCRIBBLE, Trim(5), Roll(Written), Trim(9), APPEND, Trim(99), SCRIBBLE],
    ),
    (
        "trim clean",
        Preface::Nothing,
        &[PLAIN, Roll(Written), Roll(Written), Close, Open, Trim(9), Trim(2), Close, Open, Trim(2), APPEND],
    ),
    (
        "retain",
        Preface::Nothing,
        &[Create(Shape::BySize), Roll(Written), Roll(Durable), Roll(Written), Maintain, Roll(Durable), SCRIBBLE],
    ),
    (
        "retain by age",
        Preface::Nothing,
        &[Create(Shape::ByAge), Roll(Written), APPEND, Wait, Maintain, SCRIBBLE, Wait, SCRIBBLE, Maintain, APPEND],
    ),
    (
        "commit",
        Preface::Nothing,
        &[PLAIN, APPEND, COMMIT, SCRIBBLE, COMMIT, Truncate(1), COMMIT, APPEND, COMMIT, Close, Open, COMMIT],
    ),
    (
        "commit written",
        Preface::Nothing,
        &[Create(Shape::Written), SCRIBBLE, COMMIT, SCRIBBLE, COMMIT, Truncate(1), SCRIBBLE, COMMIT, Close, Open],
    ),
    (
        "two groups",
        Preface::Nothing,
        &[
            Create(Shape::Two),
            APPEND,
            COMMIT,
            SCRIBBLE,
            Commit(1),
            Forget(0),
            COMMIT,
            Grow,
            APPEND,
            Commit(1),
            Forget(1),
        ],
    ),
    (
        "recreate",
        Preface::Nothing,
        &[PLAIN, APPEND, COMMIT, Delete, PLAIN, SCRIBBLE, APPEND, COMMIT, Maintain, Delete, PLAIN, APPEND],
    ),
    (
        "recreate smaller",
        Preface::Nothing,
        &[Create(Shape::Two), Grow, SCRIBBLE, SCRIBBLE, COMMIT, Delete, PLAIN, Grow, APPEND, COMMIT, Delete, PLAIN],
    ),
    (
        "kill",
        Preface::Nothing,
        &[PLAIN, SCRIBBLE, Kill, SCRIBBLE, COMMIT, Kill, Batch(2, Written), Power, SCRIBBLE, Kill, Roll(Written)],
    ),
    (
        "kill and cut",
        Preface::Nothing,
        &[PLAIN, Roll(Written), Kill, Truncate(3), Kill, SCRIBBLE, Trim(2), Kill, SCRIBBLE, Power, APPEND],
    ),
    (
        "kill and recreate",
        Preface::Nothing,
        &[PLAIN, APPEND, COMMIT, Kill, Delete, Kill, PLAIN, Kill, APPEND, COMMIT, Kill, Maintain],
    ),
    (
        "sessions",
        Preface::Nothing,
        &[PLAIN, APPEND, Close, Open, SCRIBBLE, Close, Open, COMMIT, Close, Open, Truncate(1), Close],
    ),
    (
        "pages",
        Preface::Nothing,
        &[Create(Shape::Wide), Batch(3, Written), APPEND, Batch(4, Written), Batch(3, Durable), SCRIBBLE, Truncate(2)],
    ),
    ("compact commits", Preface::Commits, &[SCRIBBLE, Maintain, COMMIT, SCRIBBLE, Commit(1), Kill, Forget(1)]),
    ("compact history", Preface::History, &[SCRIBBLE, Maintain, SCRIBBLE, Trim(1), Maintain, Truncate(1), APPEND]),
    ("compact history open", Preface::History, &[Roll(Written), SCRIBBLE, Sync, Maintain, Kill, SCRIBBLE, Maintain]),
];

/// What no engine survives, to see that it is seen.
pub const LIE: Workload =
    Workload { name: Cow::Borrowed("lie"), preface: Preface::Lies, calls: Cow::Borrowed(&[PLAIN, APPEND, SCRIBBLE]) };

/// The workload of this name.
pub fn named(name: &str) -> Option<Workload> {
    by_hand().chain([LIE]).find(|workload| workload.name == name).or_else(|| Generator::again(name))
}

pub fn by_hand() -> impl Iterator<Item = Workload> {
    BY_HAND.iter().map(|&(name, preface, calls)| Workload { name: name.into(), preface, calls: calls.into() })
}

/// Workloads without end.
pub struct Generator {
    seed: u64,
    number: usize,
    dice: Dice,
    made: BTreeSet<Pair>,
    /// How many pairs there are to make.
    possible: usize,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let made = by_hand().flat_map(|workload| pairs_of(&workload.calls).collect::<Vec<_>>()).collect();
        Generator { seed, number: 0, dice: Dice::new(seed), made, possible: possible_pairs().len() }
    }

    /// One that was generated before, by its name.
    fn again(name: &str) -> Option<Workload> {
        let (seed, number) = name.strip_prefix("seed ")?.split_once(" number ")?;
        Generator::new(seed.parse().ok()?).nth(number.parse().ok()?)
    }

    /// The call that leads to a pair that was never made, over as few calls as may be; if there is none near, and now and
    /// then, any.
    fn choose(&mut self, model: Model, last: Option<Call>) -> Call {
        let mut legal = self.legal(model);
        if let Some(last) = last.filter(|_| self.dice.below(4) > 0) {
            let near = (0..LOOK_AHEAD).find(|&steps| legal.iter().any(|&call| self.leads_on(model, last, call, steps)));
            if let Some(steps) = near {
                legal.retain(|&call| self.leads_on(model, last, call, steps));
            }
        }
        legal[self.dice.below(legal.len())]
    }

    /// Only some workloads have a topic beside: every start has to recover it.
    fn legal(&self, model: Model) -> Vec<Call> {
        let alone = !self.number.is_multiple_of(3);
        let is_legal = |call: &Call| model.allows(*call) && !(alone && matches!(call, Call::Beside(_)));
        calls().into_iter().filter(is_legal).collect()
    }

    /// Whether this call makes a new pair, or one so many steps behind it can.
    fn leads_on(&self, model: Model, last: Call, call: Call, steps: usize) -> bool {
        if self.made.len() == self.possible {
            return false;
        }
        if steps == 0 {
            return !self.made.contains(&(last.kind(), call.kind()));
        }
        let model = model.after(call);
        let mut next = self.legal(model);
        next.dedup_by_key(|call| call.kind());
        next.into_iter().any(|next| self.leads_on(model, call, next, steps - 1))
    }
}

impl Iterator for Generator {
    type Item = Workload;

    fn next(&mut self) -> Option<Workload> {
        let mut model = Model::NEW;
        let mut made: Vec<Call> = Vec::new();
        while made.len() < CALLS_MAX {
            let call = if made.is_empty() {
                Create(SHAPES[self.dice.below(SHAPES.len())])
            } else {
                self.choose(model, made.last().copied())
            };
            if let Some(&last) = made.last() {
                self.made.insert((last.kind(), call.kind()));
            }
            model = model.after(call);
            made.push(call);
        }
        let name = format!("seed {} number {}", self.seed, self.number).into();
        self.number += 1;
        Some(Workload { name, preface: Preface::Nothing, calls: made.into() })
    }
}
