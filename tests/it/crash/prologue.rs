//! What is done before the filming begins: it fills files up to where `maintain` compacts them.
//!
//! Invariant: when the film begins nothing is pending, and the oracle knows what is there.

use std::sync::Arc;

use epochlog::testing::Fault;
use epochlog::{Durability, Mapping, Start};

use super::call::{Call, Shape};
use super::machine::{Machine, read_to_the_end};
use super::oracle::{GROUPS, TOPIC};
use super::workload::{Preface, Workload};

const METADATA_BYTES: usize = 4096;
/// More commits than the least size of a file that is compacted, with the longest metadata.
const COMMITS: usize = 70;
/// Each append rolls, and retention follows: three lines in the history, more in all than it holds before it is compacted.
const ROLLS: u64 = 900;
const ROLLING_BYTES: usize = 800;

/// A machine as the workload finds it.
pub fn prologue(workload: &Workload, mapping: Mapping) -> Machine {
    let mut machine = Machine::new(7, mapping);
    if workload.calls.iter().any(|call| matches!(call, Call::Beside(_))) {
        machine.create_beside();
    }
    match workload.preface {
        Preface::Nothing => {}
        Preface::Lies => machine.disk.ignore_syncs(true),
        Preface::Commits => {
            machine.apply(Call::Create(Shape::Plain));
            machine.apply(Call::Append(Durability::Durable));
            machine.apply(Call::Commit(0));
            // A commit and a close would compact them. These find no room for that, and leave it to the calls.
            let no_room = || Fault::of("create").on("commits.new");
            machine.disk.fail(no_room());
            commit_often(&machine);
            machine.disk.fail(no_room());
            settle(&mut machine);
        }
        Preface::History => {
            machine.apply(Call::Create(Shape::BySize));
            roll_often(&machine);
            settle(&mut machine);
        }
    }
    machine
}

fn settle(machine: &mut Machine) {
    machine.apply(Call::Close);
    machine.apply(Call::Open);
}

/// Commits there and back again, and ends where the oracle's commit stands.
fn commit_often(machine: &Machine) {
    let topic = machine.store().topic(TOPIC).expect("is there");
    let mut consumer = topic.consumer(GROUPS[0]).open().expect("opens");
    read_to_the_end(&mut consumer);
    for _ in 0..COMMITS {
        consumer.seek(0, Start::Earliest).expect("seeks");
        consumer.commit_with_metadata(&[7; METADATA_BYTES]).expect("commits");
        consumer.seek(0, Start::Latest).expect("seeks");
        consumer.commit().expect("commits");
    }
}

/// Fills a segment with each record. Places of what retention takes meanwhile are of no interest: they would be too many.
fn roll_often(machine: &Machine) {
    let partition = machine.store().topic(TOPIC).expect("is there").partition(0).expect("is there");
    let value: Arc<str> = "x".repeat(ROLLING_BYTES).into();
    for i in 0..ROLLS {
        machine.append_to(TOPIC, 0, &partition, vec![(1_000_000 + i, value.clone())], Durability::Durable);
    }
    machine.follow_retention();
    machine.know().handed.retain(|place, _| place.next() >= partition.start());
}
