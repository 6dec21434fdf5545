//! `repair`: prints the plan, does it, and prints what was done; as JSON in one document. With `--dry-run` only the plan.
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
    let json = context.json();
    let planned =
        output::print(&if json { opened(&steps(repair.plan(), &gone)) } else { told_plan(repair.plan(), &gone) });
    match !args.dry_run && !repair.plan().is_empty() {
        true => {
            planned
                .map_err(|error| Failure::Told(format!("the plan can't be told, so nothing was changed: {error}")))?;
        }
        false => output::or_closed(planned)?,
    }
    let done = if args.dry_run { Ok(None) } else { repair.apply().map(Some) };
    let report = done.as_ref().ok().and_then(Option::as_ref);
    let told = if json { closed(&outcome(report)) } else { report.map(tell).unwrap_or_default() };
    output::or_closed(output::print(&told))?;
    done?;
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
    let kept = report.plan.steps.iter().filter(|step| step.remedy == Remedy::Keep).count() as u64;
    let refused = report.plan.steps.len() as u64 - done - kept;
    if done > 0 {
        told += &format!("{} repaired\n", counted(done, "thing"));
    }
    if kept > 0 {
        told += &format!("{} left; read around it with `consume --skip-damaged`\n", counted(kept, "damaged thing"));
    }
    if refused > 0 {
        told += &format!("{} left that can't be repaired; see above what to do\n", counted(refused, "damaged thing"));
    }
    told
}

/// The beginning of a document, which goes on with what was done.
fn opened(steps: &Value) -> String {
    let text = format!("{steps:#}");
    text.trim_end_matches("\n}").to_owned() + ","
}

/// Its end.
fn closed(outcome: &Value) -> String {
    format!("{outcome:#}\n").trim_start_matches('{').to_owned()
}

fn steps(plan: &RepairPlan, gone: &[PathBuf]) -> Value {
    json!({ "steps": plan.steps.iter().map(|one| step(one, gone)).collect::<Vec<_>>() })
}

fn outcome(report: Option<&RepairReport>) -> Value {
    let mut outcome = json!({ "applied": report.is_some() });
    if let Some(report) = report {
        let kept = report.quarantined.iter();
        let kept = kept.map(|(from, to)| json!({ "from": from.display().to_string(), "to": to.display().to_string() }));
        outcome["quarantined"] = kept.collect();
        let begun = report.epochs.iter().map(|(topic, partition, epoch)| {
            json!({ "topic": topic.as_str(), "partition": partition, "epoch": epoch.to_string() })
        });
        outcome["epochs"] = begun.collect();
    }
    outcome
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
        "message": step.problem.in_one_line(),
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
