//! `repair`: prints the plan, does it, and prints what was done. With `--dry-run` only the plan.
//!
//! Invariant: the plan is printed before anything is changed, and if nobody reads it, nothing is; the exit code is 1 while
//! damage is there, also such as stays because nothing else was asked for, whether or not anybody reads the report.

use std::io::ErrorKind;
use std::path::PathBuf;

use epochlog::{Remedy, RepairPlan, RepairReport, RepairStep};
use serde_json::{Value, json};

use crate::args::RepairArgs;
use crate::bytes::counted;
use crate::failure::{Failure, Outcome};
use crate::open::Context;
use crate::output;

pub(crate) fn run(context: &Context<'_>, args: &RepairArgs) -> Outcome {
    let repair = context.options().repair(context.data()?, args.on_damage())?;
    let damaged = if args.dry_run { !repair.plan().steps.is_empty() } else { repair.plan().leaves_damage() };
    let gone = gone(repair.plan());
    let planned = if context.json() { Ok(()) } else { output::print(&told_plan(repair.plan(), &gone)) };
    match !args.dry_run && !repair.plan().is_empty() {
        true => {
            planned
                .map_err(|error| Failure::Told(format!("the plan can't be told, so nothing was changed: {error}")))?;
        }
        false => output::or_closed(planned)?,
    }
    if args.dry_run {
        if context.json() {
            output::or_closed(output::print_json(&document(repair.plan(), None, &gone)))?;
        }
    } else {
        let report = repair.apply()?;
        output::or_closed(match context.json() {
            true => output::print_json(&document(&report.plan, Some(&report), &gone)),
            false => output::print(&tell(&report)),
        })?;
    }
    if damaged { Err(Failure::Damage) } else { Ok(()) }
}

/// The files that the plan names and that aren't there before it is done: what is told anew has no original then.
fn gone(plan: &RepairPlan) -> Vec<PathBuf> {
    let files = plan.steps.iter().flat_map(|step| &step.files);
    let is_gone = |file: &&PathBuf| file.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    files.filter(is_gone).cloned().collect()
}

fn told_plan(plan: &RepairPlan, gone: &[PathBuf]) -> String {
    let line = |file: &PathBuf| format!("\n  original: `{}`", file.display());
    gone.iter().fold(plan.to_string(), |told, file| told.replace(&line(file), "")) + "\n"
}

fn tell(report: &RepairReport) -> String {
    let mut told = String::new();
    for (from, to) in &report.quarantined {
        told += &format!("kept `{}` as `{}`\n", from.display(), to.display());
    }
    for (topic, partition, epoch) in &report.epochs {
        told += &format!("partition {partition} of `{topic}` goes on in epoch {epoch}\n");
    }
    let done = report.plan.steps.iter().filter(|step| step.changes()).count() as u64;
    let left = report.plan.steps.len() as u64 - done;
    if done > 0 {
        told += &format!("{} repaired\n", counted(done, "thing"));
    }
    if left > 0 {
        told += &format!("{} left; read around it with `consume --skip-damaged`\n", counted(left, "damaged thing"));
    }
    told
}

fn document(plan: &RepairPlan, report: Option<&RepairReport>, gone: &[PathBuf]) -> Value {
    let mut document = json!({
        "applied": report.is_some(),
        "steps": plan.steps.iter().map(|one| step(one, gone)).collect::<Vec<_>>(),
    });
    if let Some(report) = report {
        let kept = report.quarantined.iter();
        let kept = kept.map(|(from, to)| json!({ "from": from.display().to_string(), "to": to.display().to_string() }));
        document["quarantined"] = kept.collect();
        let begun = report.epochs.iter().map(|(topic, partition, epoch)| {
            json!({ "topic": topic.as_str(), "partition": partition, "epoch": epoch.to_string() })
        });
        document["epochs"] = begun.collect();
    }
    document
}

fn step(step: &RepairStep, gone: &[PathBuf]) -> Value {
    let originals = step.files.iter().filter(|file| !gone.contains(file));
    let corruption = match &step.problem {
        epochlog::Error::Corrupt(corruption) => Some(corruption),
        _ => None,
    };
    let (remedy, at) = match &step.remedy {
        Remedy::Cut { at } => ("cut", Some(at.get())),
        Remedy::Trim { to } => ("trim", Some(to.get())),
        Remedy::Rebuild => ("rebuild", None),
        Remedy::SetAside => ("set aside", None),
        Remedy::Keep => ("keep", None),
        _ => ("refuse", None),
    };
    let way_out = if let Remedy::Refuse(way_out) = &step.remedy { Some(way_out) } else { None };
    json!({
        "topic": step.topic.as_ref().map(epochlog::TopicName::as_str),
        "partition": step.partition,
        "path": corruption.map(|corruption| corruption.path.display().to_string()),
        "position": corruption.and_then(|corruption| corruption.position).map(epochlog::Position::get),
        "message": step.problem.to_string(),
        "remedy": remedy,
        "offset": at,
        "lost_start": step.lost.as_ref().map(|lost| lost.start.get()),
        "lost_end": step.lost.as_ref().map(|lost| lost.end.get()),
        "bytes": step.bytes,
        "files": originals.map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "note": step.note,
        "way_out": way_out,
    })
}
