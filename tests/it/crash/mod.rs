//! Crashes at every operation, with every loss: P1-P5, P7-P11 and P13 of `faults.md`.
//!
//! A workload runs once; the disk is taken before each operation and after each call, together with what must be there.
//! From each of these disks come all that a crash at that moment can leave, and a second crash within the recovery.
//! `call` and `workload` say what is done, `prologue` what was done before, `machine` does it, `film` takes the disks,
//! `fate` says what can happen to them, `oracle` and `verdict` what must hold then, `sight` looks, `explore` goes through
//! all of it.
//!
//! The tests here leave most states out. A run that leaves out none is `long`; `replay` brings one state back.

mod call;
mod dice;
mod explore;
mod fate;
mod film;
mod long;
mod machine;
mod oracle;
mod prologue;
mod replay;
mod sight;
mod verdict;
mod workload;

use std::collections::BTreeSet;
use std::time::Instant;

use epochlog::Mapping;

use call::{Pair, pairs_of, possible_pairs};
use explore::{Count, Depth, Explored, Explorer};
use fate::{Crash, Fate, Ticket};
use film::film;
use prologue::prologue;
use replay::replay;
use workload::{Generator, LIE, Preface, Workload, by_hand, named};

const SEED: u64 = 1;
const GENERATED: usize = 110;

/// About how many states each half finds; less means that some moments aren't looked at any more.
const STATES_MIN: u64 = 120_000;

fn generated() -> impl Iterator<Item = Workload> {
    Generator::new(SEED).take(GENERATED)
}

/// Each half takes every second of the generated ones.
fn explore(mapping: Mapping) {
    let began = Instant::now();
    let mut count = Count::default();
    let half = generated().skip(usize::from(mapping == Mapping::Never)).step_by(2);
    for workload in by_hand().chain(half) {
        let depth = if workload.preface == Preface::Nothing { Depth::BOUNDED } else { Depth::THIN };
        let mut explorer = Explorer::new(&workload, mapping, depth);
        explorer.explore().unwrap_or_else(|failure| panic!("{failure}"));
        println!("{:24} {}", workload.name, explorer.count.states());
        count += explorer.count;
    }
    println!("{mapping:?}: {count}, in {:?}", began.elapsed());
    assert!(count.states() >= STATES_MIN, "{count}");
}

#[test]
fn every_crash_of_a_mapped_store_leaves_what_was_promised() {
    explore(Mapping::Auto);
}

#[test]
fn every_crash_of_a_store_without_maps_leaves_what_was_promised() {
    explore(Mapping::Never);
}

#[test]
fn every_two_calls_that_can_follow_one_another_do() {
    let all = by_hand().chain(generated());
    let made: BTreeSet<Pair> = all.flat_map(|workload| pairs_of(&workload.calls).collect::<Vec<_>>()).collect();
    let missing: Vec<_> = possible_pairs().into_iter().filter(|pair| !made.contains(pair)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_prologue_fills_a_file_so_far_that_it_is_compacted() {
    for (name, file) in [("compact commits", "commits.new"), ("compact history", "history.new")] {
        let workload = named(name).expect("is there");
        let shots = film(prologue(&workload, Mapping::Auto), &workload.calls[..2]);
        assert!(shots.iter().any(|shot| shot.name == "rename" && shot.path.ends_with(file)), "{name}");
    }
}

fn explore_lies() -> Explored<Count> {
    let mut explorer = Explorer::new(&LIE, Mapping::Auto, Depth::BOUNDED);
    explorer.explore().map(|()| explorer.count)
}

#[test]
fn a_disk_that_lies_is_seen_and_the_ticket_shows_it_again() {
    let failure = explore_lies().expect_err("is seen");
    let ticket: Ticket = failure.ticket.to_string().parse().expect("reads");
    assert_eq!(ticket, failure.ticket);
    let story = replay(&ticket, &LIE).expect_err("is seen again");
    assert_eq!(story, failure.story);
}

#[test]
fn every_ticket_reads_as_it_was_written() {
    let power = |torn| Crash::Power { torn, lost: vec![true, false, true] };
    let fates = [
        Fate::Filmed,
        Fate::Once(Crash::Kill),
        Fate::Later(3, power(false)),
        Fate::Again(power(true), 12, Crash::Kill),
    ];
    for fate in fates {
        let ticket = Ticket { workload: "seed 1 number 2".into(), mapping: Mapping::Never, moment: 7, fate };
        assert_eq!(ticket.to_string().parse(), Ok(ticket));
    }
}
