//! Random operations of every kind, crashes, faults and diverging copies, against an oracle of plain vectors: P1-P13 of
//! every list that a seed draws.
//!
//! A seed draws a list of operations (`ops`); `player` plays each on the engine and on the `oracle` and compares
//! everything after it; at the end every place that was ever handed out, by any copy of the store, is offered to all of
//! them. A list that fails is shrunk (`shrink`) and printed with the command that plays it again (`run`).
//!
//! `EPOCHLOG_SIM_SEEDS=100000 cargo test --release --features testing --test it simulate::long -- --nocapture` runs for
//! long, from `EPOCHLOG_SIM_FIRST` on.

mod check;
mod crash;
mod dice;
mod groups;
mod ops;
mod oracle;
mod player;
mod readers;
mod records;
mod run;
mod shrink;
mod topics;

use std::time::Duration;

use ops::{bytes_of, chosen_by, draw, parse, print};
use run::{play, run};

/// So many seeds are run with every test run.
const SHORT: u64 = 2500;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn whatever_is_done_to_a_store_it_does_what_plain_vectors_do() {
    let (seeds, totals) = run(0, SHORT, 1, Duration::MAX).unwrap_or_else(|story| panic!("{story}"));
    println!("{seeds} seeds: {totals:?}");
    assert_eq!(seeds, SHORT);
}

/// Plays what bytes choose: the fuzz target `operations`.
pub fn must_hold(bytes: &[u8]) {
    let (seed, ops) = chosen_by(bytes);
    if let Err(said) = play(seed, &ops) {
        panic!("EPOCHLOG_SIM_SEED={seed} EPOCHLOG_SIM_OPS='{}' fails {said}", print(&ops));
    }
}

#[test]
fn what_bytes_choose_is_played_as_what_dice_choose() {
    (0..5).for_each(|seed| must_hold(&bytes_of(seed, &draw(u64::from(seed)))));
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..12 {
        let digest = || play(seed, &draw(seed)).map_or_else(|said| panic!("{said}"), |ended| ended.digest);
        assert_eq!(digest(), digest(), "seed {seed}");
    }
}

/// Does nothing unless `EPOCHLOG_SIM_SEEDS` says how many.
#[test]
fn long() {
    let Some(count) = number("EPOCHLOG_SIM_SEEDS") else { return };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let time = number("EPOCHLOG_SIM_SECONDS").map_or(Duration::MAX, Duration::from_secs);
    let first = number("EPOCHLOG_SIM_FIRST").unwrap_or(1_000_000);
    match run(first, count, threads, time) {
        Ok((seeds, totals)) => println!("{seeds} seeds: {totals:?}"),
        Err(story) => panic!("{story}"),
    }
}

/// Plays `EPOCHLOG_SIM_SEED` again, or with its randomness the operations of `EPOCHLOG_SIM_OPS`.
#[test]
fn replay() {
    let Some(seed) = number("EPOCHLOG_SIM_SEED") else { return };
    let ops = std::env::var("EPOCHLOG_SIM_OPS").map_or_else(|_| draw(seed), |ops| parse(&ops));
    if let Err(said) = play(seed, &ops) {
        panic!("{}", run::story(seed, ops, &said));
    }
}
