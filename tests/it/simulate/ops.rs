//! The operations: a word and a few numbers each, so that any of them can be drawn, shrunk, printed and pasted back.
//!
//! Invariant: every list of operations can be played, whatever is missing before: numbers are taken modulo what there is
//! to choose from, and an operation that finds nothing to do does nothing. The shrinker relies on it.

use std::fmt;
use std::str::FromStr;

use super::dice::Dice;

pub const NUMBERS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Create,
    Delete,
    Widen,
    Append,
    Fill,
    Spread,
    Sync,
    Wait,
    Trim,
    Truncate,
    Maintain,
    Time,
    Reopen,
    Look,
    Join,
    Poll,
    Commit,
    CommitTo,
    Seek,
    Leave,
    Tail,
    Offer,
    Find,
    Reset,
    Forget,
    Crash,
    Stop,
    Fault,
    Heal,
    Full,
    Room,
    Short,
    Lie,
    Copy,
    Backup,
    Restore,
}

/// A word, how often it is drawn, and below what its numbers are; each begins with the site. What the numbers mean is
/// said where they are taken.
struct Row {
    what: What,
    word: &'static str,
    weight: u32,
    limits: &'static [u32],
    /// Whole seeds do without it, so that the others come closer together.
    optional: bool,
}

const fn row(what: What, word: &'static str, weight: u32, limits: &'static [u32], optional: bool) -> Row {
    Row { what, word, weight, limits, optional }
}

const SITE: u32 = 3;
const NAME: u32 = 3;
const PART: u32 = 3;
const GROUP: u32 = 2;
const MANY: u32 = 1000;
const SEED: u32 = 1 << 20;

const TABLE: &[Row] = &[
    row(What::Create, "create", 5, &[SITE, NAME, 3, 4], false),
    row(What::Delete, "delete", 3, &[SITE, NAME], true),
    row(What::Widen, "widen", 1, &[SITE, NAME, 2], true),
    row(What::Append, "append", 30, &[SITE, NAME, PART, 12, 400, 2], false),
    row(What::Fill, "fill", 4, &[SITE, NAME, PART, 100, 2], true),
    row(What::Spread, "spread", 4, &[SITE, NAME, 300, 2], true),
    row(What::Sync, "sync", 4, &[SITE, NAME, PART, 3], true),
    row(What::Wait, "wait", 3, &[SITE, MANY], true),
    row(What::Trim, "trim", 4, &[SITE, NAME, PART, MANY], true),
    row(What::Truncate, "truncate", 6, &[SITE, NAME, PART, MANY], true),
    row(What::Maintain, "maintain", 4, &[SITE], true),
    row(What::Time, "time", 4, &[SITE, 5000, 5], true),
    row(What::Reopen, "reopen", 4, &[SITE], true),
    row(What::Look, "look", 3, &[SITE], true),
    row(What::Join, "join", 6, &[SITE, NAME, GROUP, 7, 16, 40], true),
    row(What::Poll, "poll", 10, &[SITE, NAME, GROUP], true),
    row(What::Commit, "commit", 7, &[SITE, NAME, GROUP, 2], true),
    row(What::CommitTo, "commit_to", 3, &[SITE, NAME, GROUP, MANY], true),
    row(What::Seek, "seek", 4, &[SITE, NAME, GROUP, MANY, 3], true),
    row(What::Leave, "leave", 2, &[SITE, NAME, GROUP], true),
    row(What::Tail, "tail", 8, &[SITE, NAME, PART, 2], true),
    row(What::Offer, "offer", 6, &[SITE, NAME, MANY], true),
    row(What::Find, "find", 3, &[SITE, NAME, PART, MANY], true),
    row(What::Reset, "reset", 2, &[SITE, NAME, GROUP, MANY, 2], true),
    row(What::Forget, "forget", 2, &[SITE, NAME, GROUP], true),
    row(What::Crash, "crash", 6, &[SITE, 4, SEED, 90], true),
    row(What::Stop, "stop", 8, &[SITE, 40, 4, SEED, 90], true),
    row(What::Fault, "fault", 8, &[SITE, 8, 8, 3, 4], true),
    row(What::Heal, "heal", 4, &[SITE], true),
    row(What::Full, "full", 3, &[SITE, 12], true),
    row(What::Room, "room", 3, &[SITE], true),
    row(What::Short, "short", 1, &[SITE, 4, 3], true),
    row(What::Lie, "lie", 1, &[SITE], true),
    row(What::Copy, "copy", 3, &[SITE, SITE, 2], true),
    row(What::Backup, "backup", 2, &[SITE], true),
    row(What::Restore, "restore", 2, &[SITE, 3], true),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    pub what: What,
    pub with: [u32; NUMBERS],
}

impl Op {
    fn row(&self) -> &'static Row {
        TABLE.iter().find(|row| row.what == self.what).expect("every word has a row")
    }

    /// The numbers that mean something.
    pub fn numbers(&self) -> usize {
        self.row().limits.len()
    }
}

/// The operations of a seed. Two topics are there from the beginning.
pub fn draw(seed: u64) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    let drawn: Vec<&Row> = TABLE.iter().filter(|row| !row.optional || !dice.one_in(4)).collect();
    let total: u32 = drawn.iter().map(|row| row.weight).sum();
    let op = |dice: &mut Dice| {
        let mut at = dice.below(total);
        let row = drawn.iter().find(|row| {
            let found = at < row.weight;
            at = at.saturating_sub(row.weight);
            found
        });
        let row = row.expect("the weights make up the total");
        let mut with = [0; NUMBERS];
        with.iter_mut().zip(row.limits).for_each(|(number, limit)| *number = dice.below(*limit));
        // Most of it happens in one place, so that something happens there.
        with[0] = if dice.one_in(4) { with[0] } else { 0 };
        Op { what: row.what, with }
    };
    let create = |name, kind| Op { what: What::Create, with: [0, name, 1, kind, 0, 0] };
    let mut ops = vec![create(0, 0), create(1, dice.below(4))];
    let count = 10 + dice.below(90);
    ops.extend((0..count).map(|_| op(&mut dice)));
    ops
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().word)?;
        self.with[..self.numbers()].iter().try_for_each(|number| write!(f, " {number}"))
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Op, String> {
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or_default();
        let row =
            TABLE.iter().find(|row| row.word == word).ok_or_else(|| format!("no operation is called `{word}`"))?;
        let mut with = [0; NUMBERS];
        for number in with.iter_mut().take(row.limits.len()) {
            let word = words.next().ok_or_else(|| format!("`{text}` needs {} numbers", row.limits.len()))?;
            *number = word.parse().map_err(|error| format!("`{text}`: {error}"))?;
        }
        Ok(Op { what: row.what, with })
    }
}

/// Operations as they are printed: between semicolons.
pub fn parse(text: &str) -> Vec<Op> {
    let ops = text.split([';', '\n']).map(str::trim).filter(|op| !op.is_empty());
    ops.map(|op| op.parse().unwrap_or_else(|told| panic!("{told}"))).collect()
}

pub fn print(ops: &[Op]) -> String {
    ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_is_printed_can_be_pasted_back() {
    for seed in 0..50 {
        let ops = draw(seed);
        assert_eq!(parse(&print(&ops)), ops);
    }
}

/// So many operations are played of what bytes choose: a fuzzer makes long inputs, and each takes its time.
const CHOSEN_MAX: usize = 64;

/// How many bytes choose a number below a limit.
fn width(limit: u32) -> usize {
    if limit <= 256 { 1 } else { 3 }
}

/// The seed of the randomness, and the operations, that bytes choose: any bytes choose some.
pub fn chosen_by(bytes: &[u8]) -> (u64, Vec<Op>) {
    let mut bytes = bytes.iter().copied();
    let mut next = |width| (0..width).fold(0, |number, _| number << 8 | u32::from(bytes.next().unwrap_or(0)));
    let (seed, mut ops) = (next(1), Vec::new());
    loop {
        let word = next(1) as usize;
        let Some(row) = word.checked_sub(1).map(|word| &TABLE[word % TABLE.len()]) else { break };
        let mut with = [0; NUMBERS];
        with.iter_mut().zip(row.limits).for_each(|(number, limit)| *number = next(width(*limit)) % limit);
        ops.push(Op { what: row.what, with });
        if ops.len() == CHOSEN_MAX {
            break;
        }
    }
    (u64::from(seed), ops)
}

/// The bytes that choose these operations.
pub fn bytes_of(seed: u8, ops: &[Op]) -> Vec<u8> {
    let mut bytes = vec![seed];
    for op in ops {
        let word = TABLE.iter().position(|row| row.what == op.what).expect("every word has a row");
        bytes.push(u8::try_from(word + 1).expect("there are fewer words"));
        for (number, limit) in op.with.iter().zip(op.row().limits) {
            bytes.extend_from_slice(&number.to_be_bytes()[4 - width(*limit)..]);
        }
    }
    bytes
}

#[test]
fn operations_are_chosen_by_the_bytes_that_were_made_of_them() {
    for seed in 0..50 {
        let ops: Vec<Op> = draw(seed).into_iter().take(CHOSEN_MAX).collect();
        assert_eq!(chosen_by(&bytes_of(7, &ops)), (7, ops));
    }
}
