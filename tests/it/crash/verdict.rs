//! What must hold after each kind of crash.
//!
//! Invariant: everything here is a function of a disk, a mapping and an oracle, so that a replay judges as the explorer
//! did.

use std::panic::{AssertUnwindSafe, catch_unwind};

use epochlog::testing::{Image, Loss, SimDisk};
use epochlog::{Durability, Mapping, inspect};

use super::call::Call;
use super::fate::Crash;
use super::film::{Shot, film};
use super::machine::Machine;
use super::oracle::{Oracle, TOPIC, Verdict, must};
use super::sight::Sight;
use crate::support::one_awake;

/// Judges; a panic is a verdict too.
pub fn judge<T>(check: impl FnOnce() -> Verdict<T>) -> Verdict<T> {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    };
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| Err(format!("panicked: {}", panicked(panic))))
}

/// Opens what a crash left and offers every place: P1-P5, P7, P9, P11 and P13.
fn start(disk: SimDisk, mapping: Mapping, oracle: &Oracle) -> Verdict<(Machine, Sight)> {
    let mut machine = Machine::adopt(disk, mapping, oracle.clone());
    let sight = machine.try_open()?;
    let settled = machine.know().clone();
    settled.offer_all(machine.store())?;
    Ok((machine, sight))
}

/// Starts and stops.
pub fn look_in(disk: SimDisk, mapping: Mapping, oracle: &Oracle) -> Verdict<Sight> {
    let (mut machine, sight) = start(disk, mapping, oracle)?;
    machine.go_down();
    Ok(sight)
}

/// Where a start refuses nothing, nothing is damaged before it either: P8.
fn verify(disk: &SimDisk, mapping: Mapping) -> Verdict {
    let told = |error: epochlog::Error| format!("P8: verify fails: {error}");
    let reading = one_awake(disk, mapping).open_read_only("/sim").map_err(told)?;
    let found = inspect::verify(&reading, &mut |_| {}).map_err(told)?;
    must!(found.is_clean(), "P8: a crash left what verify calls damage: {:?}", found.damage);
    Ok(())
}

/// Verifies, starts, goes on until every offset that was ever given out has been given out again, cuts the power and starts again.
pub fn go_on(disk: SimDisk, mapping: Mapping, oracle: &Oracle) -> Verdict {
    let verified = verify(&disk, mapping);
    let (mut machine, _) = start(disk, mapping, oracle)?;
    verified?;
    let settled = machine.know().clone();
    if !settled.topics.contains_key(TOPIC) {
        machine.apply(Call::Create(super::call::Shape::Plain));
    }
    let logs = machine.know().topics[TOPIC].logs.len();
    for _ in 0..logs {
        machine.apply(Call::Append(Durability::Durable));
    }
    let most = settled.handed.values().map(|(_, before)| before.len()).max().unwrap_or(0);
    let end = machine.know().topics[TOPIC].logs.iter().map(|log| log.records.len()).min().unwrap_or(0);
    for _ in 0..if most > end { logs } else { 0 } {
        machine.apply(Call::Batch((most - end).min(5) as u64, Durability::Durable));
    }
    let grown = machine.know().clone();
    grown.offer_all(machine.store())?;
    let image = machine.disk.image();
    machine.go_down();
    look_in(image.after(Loss::All), mapping, &grown).map(drop)
}

/// The steps that a start after a kill goes on by.
pub const STAGES: usize = 4;

/// Starts after a kill and goes on; gives the disk and what must be there after each step. What a start has shown is there
/// after a power cut.
pub fn stages(image: &Image, mapping: Mapping, oracle: &Oracle) -> Verdict<Vec<(Image, Oracle)>> {
    let (mut machine, _) = start(image.after_kill(), mapping, oracle)?;
    let mut stages = Vec::new();
    for stage in 0..STAGES {
        match stage {
            1 if machine.know().topics.contains_key(TOPIC) => machine.apply(Call::Append(Durability::Durable)),
            2 => machine.apply(Call::Maintain),
            3 => machine.apply(Call::Close),
            _ => {}
        }
        let known = machine.know().clone();
        stages.push((machine.disk.image(), known));
    }
    machine.go_down();
    Ok(stages)
}

/// The recovery from a crash, filmed, and what a recovery that isn't disturbed finds.
pub fn recovery(crash: &Crash, image: &Image, mapping: Mapping, oracle: &Oracle) -> Verdict<(Vec<Shot>, Sight)> {
    let plain = look_in(crash.disk(image), mapping, oracle)?;
    let shots = film(Machine::adopt(crash.disk(image), mapping, oracle.clone()), &[Call::Open]);
    Ok((shots, plain))
}

/// Starts after a crash within a recovery: P10. Only what the first crash left pending can be lost by the second.
pub fn start_again(first: &Crash, shot: &Shot, then: &Crash, mapping: Mapping, plain: &Sight) -> Verdict {
    let sight = look_in(then.disk(&shot.image), mapping, &shot.oracle)?;
    if sight != *plain && (*first != Crash::Kill || *then == Crash::Kill) {
        return Err(format!("P10: {sight:?} and not {plain:?}"));
    }
    Ok(())
}
