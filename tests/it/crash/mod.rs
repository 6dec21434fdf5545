//! Crashes at every operation, with every loss: P1-P5, P7, P10, P11 and P13 of `faults.md`.
//!
//! A workload runs once; the disk is taken before each operation and after each call, together with what must be there.
//! From each of these disks come all that a crash at that moment can leave. `machine` makes the calls, `oracle` says what
//! must hold, `explore` crashes.

mod explore;
mod machine;
mod oracle;

use std::time::Instant;

use epochlog::Durability::{Durable, Written};
use epochlog::Mapping;

use explore::Explorer;
use machine::Machine;
use machine::Op::{self, *};

const WORKLOADS: &[(&str, &[Op])] = &[
    ("append", &[Create, Append, Scribble, Batch(3, Durable), Scribble, Scribble, Sync, Scribble, Close, Open, Append]),
    ("roll", &[Create, Roll(Written), Scribble, Roll(Written), Sync, Scribble, Roll(Durable), Close, Open, Scribble]),
    ("cut", &[Create, Batch(3, Durable), Scribble, Truncate(2), Scribble, Same(Durable), Truncate(1), Same(Durable)]),
    ("cut far", &[Create, Roll(Written), Scribble, Truncate(4), Scribble, Scribble, Truncate(6), Append, Commit]),
    ("trim", &[Create, Roll(Written), Trim(2), Scribble, Trim(5), Roll(Written), Trim(9), Append, Trim(99), Scribble]),
    (
        "trim clean",
        &[Create, Roll(Written), Roll(Written), Close, Open, Trim(9), Trim(2), Close, Open, Trim(2), Append],
    ),
    ("retain", &[CreateRetaining, Roll(Written), Roll(Durable), Roll(Written), Maintain, Roll(Durable), Scribble]),
    ("commit", &[Create, Append, Commit, Scribble, Commit, Truncate(1), Commit, Append, Commit, Close, Open, Commit]),
    (
        "commit written",
        &[CreateWritten, Scribble, Commit, Scribble, Commit, Truncate(1), Scribble, Commit, Close, Open],
    ),
    ("recreate", &[Create, Append, Commit, Delete, Create, Scribble, Append, Commit, Maintain, Delete, Create, Append]),
    (
        "kill",
        &[Create, Scribble, Kill, Scribble, Commit, Kill, Batch(2, Written), Power, Scribble, Kill, Roll(Written)],
    ),
    (
        "kill and cut",
        &[Create, Roll(Written), Kill, Truncate(3), Kill, Scribble, Trim(2), Kill, Scribble, Power, Append],
    ),
    ("kill and recreate", &[Create, Append, Commit, Kill, Delete, Kill, Create, Kill, Append, Commit, Kill, Maintain]),
    ("sessions", &[Create, Append, Close, Open, Scribble, Close, Open, Commit, Close, Open, Truncate(1), Close, Open]),
];

/// About how many states each half finds; less means that some moments aren't looked at any more.
const STATES_MIN: u64 = 50_000;

fn explore(mapping: Mapping) {
    let began = Instant::now();
    let mut states = 0;
    for (name, ops) in WORKLOADS {
        let shots = Machine::new(7, mapping).film(ops);
        let mut explorer = Explorer::new(name, mapping);
        explorer.explore(&shots);
        println!("{name:20} {:4} moments {:6} states", shots.len(), explorer.states);
        states += explorer.states;
    }
    println!("{states} states in {:?}", began.elapsed());
    assert!(states >= STATES_MIN, "{states} states");
}

#[test]
fn every_crash_of_a_mapped_store_leaves_what_was_promised() {
    explore(Mapping::Auto);
}

#[test]
fn every_crash_of_a_store_without_maps_leaves_what_was_promised() {
    explore(Mapping::Never);
}
