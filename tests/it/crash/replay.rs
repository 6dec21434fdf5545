//! One state again.
//!
//! Invariant: it is judged as the explorer judged it, and always goes on as far as the explorer may have.

use epochlog::Mapping;
use epochlog::testing::Image;

use super::fate::{Fate, Ticket};
use super::film::film;
use super::oracle::{Oracle, Verdict};
use super::prologue::prologue;
use super::verdict::{go_on, judge, look_in, recovery, stages, start_again};
use super::workload::{Workload, named};

/// Brings one state back and judges it.
pub fn replay(ticket: &Ticket, workload: &Workload) -> Verdict {
    let mapping = ticket.mapping;
    let shots = judge(|| Ok(film(prologue(workload, mapping), &workload.calls)))?;
    let shot = shots.get(ticket.moment).ok_or("the film is shorter")?;
    println!("call {} `{:?}`, before `{}` on `{}`", shot.call, workload.calls[shot.call], shot.name, shot.path);
    println!("pending: {:#?}", shot.image.pending());
    judge(|| replay_fate(&ticket.fate, &shot.image, mapping, &shot.oracle))
}

fn replay_fate(fate: &Fate, image: &Image, mapping: Mapping, oracle: &Oracle) -> Verdict {
    match fate {
        Fate::Filmed => Ok(()),
        Fate::Once(crash) => go_on(crash.disk(image), mapping, oracle),
        Fate::Later(stage, crash) => {
            let staged = stages(image, mapping, oracle)?;
            let (image, oracle) = &staged[*stage];
            println!("then pending: {:#?}", image.pending());
            look_in(crash.disk(image), mapping, oracle).map(drop)
        }
        Fate::Again(first, moment, then) => {
            let (shots, plain) = recovery(first, image, mapping, oracle)?;
            let inner = shots.get(*moment).ok_or("the recovery is shorter")?;
            println!("then before `{}` on `{}`, pending: {:#?}", inner.name, inner.path, inner.image.pending());
            start_again(first, inner, then, mapping, &plain)
        }
    }
}

#[test]
#[ignore = "brings back the state that EPOCHLOG_CRASH_REPLAY says"]
fn the_state_that_a_failure_printed() {
    let ticket = std::env::var("EPOCHLOG_CRASH_REPLAY").expect("EPOCHLOG_CRASH_REPLAY holds what a failure printed");
    let ticket: Ticket = ticket.parse().unwrap_or_else(|story| panic!("{story}"));
    let workload = named(&ticket.workload).expect("there is such a workload");
    println!("{:?}", workload.calls);
    replay(&ticket, &workload).unwrap_or_else(|story| panic!("{story}"));
}
