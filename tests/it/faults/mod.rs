//! Whatever fails at whatever operation: F5, F7, F8, F9, F12, F14 and F19 of `faults.md`, on the simulated disk.
//!
//! A workload of all kinds of calls runs once for each operation that it makes, and that operation fails, or lies. `player`
//! makes the calls and goes on after every error, `oracle` says what may be there. A failure names the workload, the
//! mapping, the operation and the fault, which is all that is needed to run it again.

mod clock;
mod every_operation;
mod every_sync;
mod full_disk;
mod ignored_syncs;
mod lies;
mod oracle;
mod player;
mod stale_blocks;
mod waiters;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use epochlog::Durability::{Durable, Written};
use epochlog::Mapping;
use epochlog::testing::Loss;

use oracle::{Fate, Verdict};
use player::Call::{self, *};
use player::{Hit, Player};

/// Calls of all kinds, with sessions, cuts and a topic that comes again.
const WORKLOADS: [(&str, &[Call]); 3] = [
    (
        "cut",
        &[
            Create,
            Append(Durable),
            Append(Written),
            Batch(3, Durable),
            Roll(Written),
            Sync,
            Trim(3),
            Batch(2, Written),
            Truncate(1),
            Append(Written),
            Commit,
            Maintain,
            Roll(Durable),
            Truncate(4),
            Append(Durable),
            Commit,
            Trim(99),
            Append(Written),
        ],
    ),
    (
        "sessions",
        &[
            Create,
            Batch(3, Durable),
            Close,
            Open,
            Append(Written),
            Commit,
            Append(Written),
            Close,
            Open,
            Roll(Written),
            Trim(9),
            Close,
            Open,
            Append(Durable),
        ],
    ),
    (
        "recreate",
        &[
            Create,
            Append(Durable),
            Commit,
            Delete,
            Create,
            Append(Written),
            Commit,
            Maintain,
            Append(Written),
            Delete,
            Close,
            Open,
            Create,
            Batch(2, Durable),
        ],
    ),
];

/// Runs one case and says which it was if it fails.
fn case(story: &str, run: impl FnOnce() -> Verdict) {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => {}
        Ok(Err(verdict)) => panic!("{story}: {verdict}"),
        Err(panic) => {
            eprintln!("{story}");
            resume_unwind(panic);
        }
    }
}

/// Runs all cases of a fault, both ways, and prints how many there were; fewer than `least` means that some are no
/// longer looked at.
fn cases(fault: &str, least: u64, run: impl Fn(Mapping) -> u64) {
    for mapping in [Mapping::Auto, Mapping::Never] {
        let began = Instant::now();
        let cases = run(mapping);
        println!("{fault} ({mapping:?}): {cases} cases in {:?}", began.elapsed());
        assert!(cases >= least, "{fault} ({mapping:?}): {cases} cases");
    }
}

/// The operations that a workload makes when nothing disturbs it. With a fault it makes the same ones, up to that.
fn operations(mapping: Mapping, calls: &[Call]) -> Vec<Hit> {
    let mut player = Player::new(mapping);
    let made = player.watch();
    player.play(calls);
    assert!(player.failed.is_empty(), "undisturbed: {:?}", player.failed);
    let made = made.lock().clone();
    player.go_down();
    made
}

/// After the disk has healed: what is there without a reopen, after one, and after a power cut; and it goes on. `kept` is
/// what must have stayed in the cache.
fn survive(mut player: Player, kept: Fate) -> Verdict {
    player.disk.heal();
    let image = player.disk.image();
    let told = player.told.clone();
    if let Some(store) = player.store.as_ref().filter(|_| kept == Fate::Written) {
        // What one look finds says nothing of what a reopen may find.
        told.clone().accept(store, kept).map_err(|story| format!("healed: {story}"))?;
    }
    player.call(Close);
    player.look(kept).map_err(|story| format!("reopened: {story}"))?;
    let reopened = (player.go_down(), player.told.clone());
    for (story, (image, told)) in [("power cut", (image, told)), ("reopened, then power cut", reopened)] {
        let mut player = Player::adopt(image.after(Loss::All), player.mapping, told);
        player.look(Fate::Durable).map_err(|verdict| format!("{story}: {verdict}"))?;
        if story == "power cut" {
            player.go_on().map_err(|verdict| format!("{story}: {verdict}"))?;
        }
        player.go_down();
    }
    Ok(())
}
