//! Killed at a random moment, again and again over one store: P1-P5, P7, P10, P11 and P13 against what was acknowledged.

use std::path::Path;
use std::time::{Duration, Instant};

use epochlog::Mapping;
use rustix::process::Signal;

use crate::aloud::aloud;
use crate::chance::{Chance, seed};
use crate::look::{Seen, look, note, open};
use crate::oracle::{Loss, Oracle};
use crate::part::{Part, was_killed};
use crate::report::Line;

/// So many calls for each topic, if nothing happens before.
pub const CALLS: u64 = 400;

/// What became of all rounds.
#[derive(Debug, Default)]
struct Tally {
    killed: u64,
    before_ready: u64,
    closed: u64,
    looks: u64,
    offered: u64,
}

/// Follows what a child tells on a healthy disk.
pub struct Listener<'a> {
    oracle: &'a mut Oracle,
    seen: Seen,
    ready: bool,
}

impl<'a> Listener<'a> {
    pub fn new(oracle: &'a mut Oracle) -> Listener<'a> {
        Listener { oracle, seen: Seen::new(), ready: false }
    }

    /// Hears so many lines, or all until the child has ended.
    pub fn listen(&mut self, child: &mut Part, lines: u64) {
        for _ in 0..lines {
            match child.line() {
                Some(line) => self.hear(line),
                None => return,
            }
        }
    }

    fn hear(&mut self, line: Line) {
        match line {
            Line::Ready => self.ready = true,
            Line::SeenTopic(..) | Line::SeenPart(..) | Line::SeenCommit(..) => note(&mut self.seen, line),
            Line::SeenAll => {
                let seen = std::mem::take(&mut self.seen);
                self.oracle.accept(&seen, Loss::Kill).unwrap_or_else(|story| panic!("the child's open: {story}"));
            }
            Line::Refused(topic, refusal) | Line::Denied(topic, refusal) => {
                panic!("{topic}: refused on a healthy disk: {refusal}");
            }
            other => self.oracle.note(&other),
        }
    }
}

fn round(number: u64, chance: &mut Chance, path: &Path, mapping: Mapping, oracle: &mut Oracle, tally: &mut Tally) {
    // Now and then it has so little to do that it closes, and may be killed while it does.
    let calls = if chance.once_in(6) { 1 + chance.below(40) } else { CALLS };
    let words = format!("work {} {} {calls}", chance.next(), number << 20);
    let mut child = Part::start(&words, path, mapping);
    let mut listener = Listener::new(oracle);
    // A third of the time soon after it was started, while it recovers.
    let most = if chance.once_in(20) { 1200 } else { 250 };
    let lines = if chance.once_in(3) { 0 } else { 1 + chance.below(most) };
    listener.listen(&mut child, lines);
    std::thread::sleep(Duration::from_micros(chance.below(if lines == 0 { 9000 } else { 800 })));
    child.signal(Signal::KILL);
    // What it had told before was acknowledged too.
    listener.listen(&mut child, u64::MAX);
    let (ready, status) = (listener.ready, child.end());
    assert!(was_killed(status) || status.success(), "the child ended by itself: {status}");
    tally.killed += u64::from(was_killed(status));
    tally.before_ready += u64::from(was_killed(status) && !ready);
    tally.closed += u64::from(status.success());
}

/// Opens the store here and compares.
pub fn check(path: &Path, mapping: Mapping, oracle: &mut Oracle, loss: Loss) -> Result<u64, String> {
    let store = open(path, mapping).map_err(|error| format!("P11: {error}"))?;
    oracle.accept(&look(&store)?, loss)?;
    let offered = oracle.offer_all(&store)?;
    let verified = epochlog::inspect::verify(&store, &mut |_| {}).map_err(|error| error.to_string())?;
    if !verified.is_clean() {
        return Err(format!("P8: {:?}", verified.damage));
    }
    store.close().map_err(|error| error.to_string())?;
    Ok(offered)
}

fn is_killed_for_many_rounds(mapping: Mapping, own_seed: u64) {
    let rounds = std::env::var("EPOCHLOG_KILL_ROUNDS").map_or(100, |text| text.parse().expect("a number"));
    let (seed, began) = (seed(own_seed), Instant::now());
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    let (mut chance, mut oracle, mut tally) = (Chance::new(seed), Oracle::default(), Tally::default());
    aloud(&format!("{mapping:?}: {rounds} rounds, EPOCHLOG_SEED={seed}"));
    for number in 0..rounds {
        round(number, &mut chance, &path, mapping, &mut oracle, &mut tally);
        if number % 1000 == 999 {
            aloud(&format!("{mapping:?}: {tally:?} after {} rounds, {:?}", number + 1, began.elapsed()));
        }
        // Else the next child is the one that recovers, and says what it finds.
        if chance.once_in(2) {
            tally.looks += 1;
            match check(&path, mapping, &mut oracle, Loss::Kill) {
                Ok(offered) => tally.offered += offered,
                Err(story) => panic!("{mapping:?}, EPOCHLOG_SEED={seed}, round {number}: {story}; {}", kept(dir)),
            }
        }
    }
    check(&path, mapping, &mut oracle, Loss::Kill).unwrap_or_else(|story| panic!("at the end: {story}"));
    aloud(&format!("{mapping:?}: {tally:?}, {} appends acknowledged, {:?}", oracle.acknowledged, began.elapsed()));
    assert!(tally.killed > rounds / 2 && oracle.acknowledged > rounds, "hardly anything was killed");
}

/// The store of a failure is kept to be looked at.
fn kept(dir: tempfile::TempDir) -> String {
    format!("kept in {}", dir.keep().display())
}

#[test]
fn a_mapped_store_keeps_what_it_acknowledged_however_often_it_is_killed() {
    is_killed_for_many_rounds(Mapping::Auto, 1);
}

#[test]
fn a_store_without_maps_keeps_what_it_acknowledged_however_often_it_is_killed() {
    is_killed_for_many_rounds(Mapping::Never, 2);
}
