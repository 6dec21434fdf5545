//! The calls of a workload, and which may follow which.
//!
//! Invariant: [`Model`] knows just enough of a store that every call it allows is one that must succeed.

use std::collections::BTreeSet;

use epochlog::Durability::{self, Durable, Written};

/// What a topic is created as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Segments of 1 KiB, durable.
    Plain,
    /// The same with acknowledgements that survive a kill alone.
    Written,
    /// Keeps 2 KiB.
    BySize,
    /// Keeps and rolls by age.
    ByAge,
    /// Records and batches of several pages, in segments of 16 KiB.
    Wide,
    /// Two partitions.
    Two,
}

pub const SHAPES: [Shape; 6] = [Shape::Plain, Shape::Written, Shape::BySize, Shape::ByAge, Shape::Wide, Shape::Two];

/// One call. What it does to a partition it does to each in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create(Shape),
    Delete,
    Append(Durability),
    /// Appends a record whose value is that of others, too.
    Same(Durability),
    Batch(u64, Durability),
    /// Appends to the topic beside.
    Beside(Durability),
    /// Appends until the segment is full.
    Roll(Durability),
    Sync,
    /// Trims to so many records behind the start.
    Trim(u64),
    /// Takes back so many records.
    Truncate(u64),
    /// One of the groups reads to the end and commits.
    Commit(usize),
    /// Deletes a group.
    Forget(usize),
    /// Adds a partition.
    Grow,
    /// Ten minutes pass.
    Wait,
    Maintain,
    Close,
    Open,
    Kill,
    Power,
}

impl Call {
    /// What is told apart when pairs of calls are counted.
    pub fn kind(self) -> &'static str {
        match self {
            Call::Create(_) => "create",
            Call::Delete => "delete",
            Call::Append(Durable) | Call::Same(Durable) => "append",
            Call::Append(Written) | Call::Same(Written) => "scribble",
            Call::Batch(_, Durable) => "append many",
            Call::Batch(_, Written) => "scribble many",
            Call::Beside(_) => "append beside",
            Call::Roll(Durable) => "roll",
            Call::Roll(Written) => "roll written",
            Call::Sync => "sync",
            Call::Trim(_) => "trim",
            Call::Truncate(_) => "truncate",
            Call::Commit(_) => "commit",
            Call::Forget(_) => "forget",
            Call::Grow => "grow",
            Call::Wait => "wait",
            Call::Maintain => "maintain",
            Call::Close => "close",
            Call::Open => "open",
            Call::Kill => "kill",
            Call::Power => "power",
        }
    }
}

/// What decides which calls are legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Model {
    pub open: bool,
    pub topic: Option<Shape>,
    pub partitions: u8,
    pub groups: [bool; 2],
}

const PARTITIONS_MAX: u8 = 3;

impl Model {
    /// A store that was just created.
    pub const NEW: Model = Model { open: true, topic: None, partitions: 0, groups: [false; 2] };

    pub fn allows(&self, call: Call) -> bool {
        match call {
            Call::Open => !self.open,
            Call::Kill | Call::Power => true,
            _ if !self.open => false,
            Call::Close | Call::Maintain | Call::Wait | Call::Beside(_) => true,
            Call::Create(_) => self.topic.is_none(),
            _ if self.topic.is_none() => false,
            Call::Grow => self.partitions < PARTITIONS_MAX,
            Call::Forget(group) => self.groups[group],
            _ => true,
        }
    }

    #[must_use]
    pub fn after(mut self, call: Call) -> Model {
        match call {
            Call::Create(shape) => {
                self.topic = Some(shape);
                self.partitions = if shape == Shape::Two { 2 } else { 1 };
            }
            Call::Delete => self = Model { open: self.open, ..Model::NEW },
            Call::Commit(group) => self.groups[group] = true,
            Call::Forget(group) => self.groups[group] = false,
            Call::Grow => self.partitions += 1,
            Call::Close => self.open = false,
            Call::Open | Call::Kill | Call::Power => self.open = true,
            _ => {}
        }
        self
    }
}

/// Every call that a generated workload may make.
pub fn calls() -> Vec<Call> {
    let mut calls: Vec<Call> = SHAPES.map(Call::Create).into();
    calls.extend([Call::Delete, Call::Sync, Call::Grow, Call::Wait, Call::Maintain]);
    calls.extend([Call::Close, Call::Open, Call::Kill, Call::Power]);
    for durability in [Durable, Written] {
        calls.extend([Call::Append(durability), Call::Same(durability), Call::Beside(durability)]);
        calls.extend([Call::Batch(2, durability), Call::Batch(4, durability), Call::Roll(durability)]);
    }
    calls.extend([1, 2, 5].map(Call::Trim));
    calls.extend([1, 2, 5].map(Call::Truncate));
    for group in [0, 1] {
        calls.extend([Call::Commit(group), Call::Forget(group)]);
    }
    calls
}

/// Two calls, one behind the other.
pub type Pair = (&'static str, &'static str);

/// Every pair of calls that some workload can make.
pub fn possible_pairs() -> BTreeSet<Pair> {
    let calls = calls();
    let (mut pairs, mut known, mut todo) = (BTreeSet::new(), BTreeSet::from([Model::NEW]), vec![Model::NEW]);
    while let Some(model) = todo.pop() {
        for &first in calls.iter().filter(|&&call| model.allows(call)) {
            let next = model.after(first);
            pairs.extend(calls.iter().filter(|&&then| next.allows(then)).map(|then| (first.kind(), then.kind())));
            if known.insert(next) {
                todo.push(next);
            }
        }
    }
    pairs
}

pub fn pairs_of(calls: &[Call]) -> impl Iterator<Item = Pair> + '_ {
    calls.windows(2).map(|pair| (pair[0].kind(), pair[1].kind()))
}
