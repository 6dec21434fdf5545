//! `verify`: reads everything and names what is damaged. Read-only.
//!
//! Invariant: the exit code is 1 if damage was found, whether or not anybody reads what is printed.

use std::time::Instant;

use epochlog::inspect::{self, Damaged, Verification, VerifyOptions};
use serde_json::{Value, json};

use crate::args::VerifyArgs;
use crate::bytes::{count, counted, size};
use crate::failure::{Failure, Outcome};
use crate::open::Context;
use crate::output;

pub(crate) fn run(context: &Context<'_>, args: &VerifyArgs) -> Outcome {
    let store = context.read()?;
    let began = Instant::now();
    let bar = output::bytes_bar("verifying", 0);
    let mut options = VerifyOptions::new();
    if let Some(rate) = args.rate {
        options = options.bytes_per_second(rate);
    }
    let found = inspect::verify_with(&store, options, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.bytes);
    })?;
    bar.finish_and_clear();
    output::or_closed(match context.json() {
        true => output::print_json(&document(&found)),
        false => output::print(&tell(&found, began.elapsed().as_secs_f64())),
    })?;
    if found.is_clean() { Ok(()) } else { Err(Failure::Damage) }
}

fn tell(found: &Verification, seconds: f64) -> String {
    let mut told = String::new();
    for damaged in &found.damage {
        told += &format!("damaged: {}{}\n", whose(damaged), damaged.error.in_one_line());
    }
    if found.damage_unlisted > 0 {
        told += &format!("damaged: and {} more\n", count(found.damage_unlisted));
    }
    for note in &found.notes {
        told += &format!("note: {note}\n");
    }
    if found.notes_unlisted > 0 {
        told += &format!("note: and {} more\n", count(found.notes_unlisted));
    }
    told += &format!(
        "read {}, {}, {}, {}, {}, {} in {seconds:.3} s\n",
        counted(found.topics, "topic"),
        counted(found.partitions, "partition"),
        counted(found.segments, "segment"),
        counted(found.batches, "batch"),
        counted(found.records, "record"),
        size(found.bytes)
    );
    let damage = found.damage.len() as u64 + found.damage_unlisted;
    told += &match damage {
        0 => "nothing is damaged\n".to_owned(),
        // How much can be read beside it depends on what it is: a damaged history keeps its partition closed.
        damage => {
            let found = counted(damage, "damaged thing");
            format!("{found} found; `epochlog repair --dry-run` says what can be done\n")
        }
    };
    told
}

/// `topic `orders`, partition 0: `, where the path alone wouldn't say it as shortly.
fn whose(damaged: &Damaged) -> String {
    match (&damaged.topic, damaged.partition) {
        (Some(topic), Some(partition)) => format!("topic `{topic}`, partition {partition}: "),
        (Some(topic), None) => format!("topic `{topic}`: "),
        (None, _) => String::new(),
    }
}

fn document(found: &Verification) -> Value {
    let notes = found.notes.iter().map(|note| json!({ "path": note.path.display().to_string(), "what": note.what }));
    json!({
        "topics": found.topics,
        "partitions": found.partitions,
        "segments": found.segments,
        "batches": found.batches,
        "records": found.records,
        "bytes": found.bytes,
        "damage": found.damage.iter().map(damage_json).collect::<Vec<_>>(),
        "damage_unlisted": found.damage_unlisted,
        "notes": notes.collect::<Vec<_>>(),
        "notes_unlisted": found.notes_unlisted,
    })
}

fn damage_json(damaged: &Damaged) -> Value {
    let corruption = damaged.corruption();
    let offsets = corruption.and_then(|corruption| corruption.offsets.as_ref());
    json!({
        "topic": damaged.topic,
        "partition": damaged.partition,
        "path": corruption.map(|corruption| corruption.path.display().to_string()),
        "position": corruption.and_then(|corruption| corruption.position).map(epochlog::Position::get),
        "start": offsets.map(|offsets| offsets.start.get()),
        "end": offsets.map(|offsets| offsets.end.get()),
        "message": damaged.error.in_one_line(),
    })
}
