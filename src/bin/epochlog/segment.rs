//! `segment`: the files of a topic, and the batches in one of them. Read-only.

use std::io::Write;

use epochlog::inspect::{self, BatchDescription, RecordDescription};
use epochlog::{Offset, SegmentDescription};
use serde_json::{Map, Value, json};

use crate::args::SegmentCommand;
use crate::bytes::{counted, size};
use crate::failure::{Failure, Outcome};
use crate::open::{self, Context};
use crate::table::{table, text};
use crate::{json as words, output, say, time};

pub(crate) fn run(context: &Context<'_>, command: &SegmentCommand) -> Outcome {
    match command {
        SegmentCommand::List { topic, partitions } => list(context, topic, partitions),
        SegmentCommand::Dump { topic, base, partition, records } => dump(context, topic, *partition, *base, *records),
    }
}

fn list(context: &Context<'_>, topic: &str, partitions: &[u32]) -> Outcome {
    let store = context.read()?;
    let topic = store.topic(topic)?;
    let mut rows = table(&["PARTITION>", "BASE>", "END>", "EPOCH", "BYTES>", "STATE", "LAST APPEND", "FILE"]);
    let mut objects = Vec::new();
    let (partitions, refusal) = open::those_that_open(&topic, partitions)?;
    for partition in partitions {
        for segment in partition.segments() {
            rows.add_row([
                partition.number().to_string(),
                segment.base.to_string(),
                segment.end.to_string(),
                segment.epoch.to_string(),
                size(segment.bytes),
                state(&segment).to_owned(),
                segment.append_time.map_or("-".into(), time::show),
                segment.path.display().to_string(),
            ]);
            objects.push(segment_json(partition.number(), &segment));
        }
    }
    if context.json() {
        output::print_json(&Value::Array(objects))?;
    } else if objects.is_empty() && refusal.is_ok() {
        say("no segments");
    } else {
        output::print(&text(&rows))?;
    }
    refusal
}

fn state(segment: &SegmentDescription) -> &'static str {
    if segment.sealed { "sealed" } else { "active" }
}

fn segment_json(partition: u32, segment: &SegmentDescription) -> Value {
    json!({
        "partition": partition,
        "base": segment.base.get(),
        "end": segment.end.get(),
        "epoch": segment.epoch.to_string(),
        "bytes": segment.bytes,
        "sealed": segment.sealed,
        "greatest_timestamp": segment.greatest.map(time::show),
        "append_time": segment.append_time.map(time::show),
        "path": segment.path.display().to_string(),
    })
}

fn dump(context: &Context<'_>, topic: &str, partition: u32, base: Offset, records: bool) -> Outcome {
    let store = context.read()?;
    let dump = inspect::dump(&store, topic, partition, base, records)?;
    let mut out = output::stdout();
    if !context.json() {
        writeln!(out, "segment `{}`", dump.path().display())?;
    }
    let mut damaged = false;
    for batch in dump {
        let batch = batch?;
        damaged |= batch.damage.is_some();
        if context.json() {
            words::line(&batch_json(&batch), &mut out)?;
        } else {
            tell(&batch, &mut out)?;
        }
    }
    out.flush()?;
    if damaged { Err(Failure::Damage) } else { Ok(()) }
}

fn tell(batch: &BatchDescription, out: &mut dyn Write) -> Outcome {
    if let Some(damage) = &batch.damage {
        writeln!(out, "position {}: {damage}", batch.position)?;
        return Ok(());
    }
    if batch.unfinished {
        writeln!(out, "position {}: unfinished end, offset {}", batch.position, batch.base)?;
        return Ok(());
    }
    let end = batch.end.unwrap_or(batch.base);
    let appended = batch.append_time.map_or("-".into(), time::show);
    let durable = batch.durable_end.map_or("-".into(), |offset| offset.to_string());
    writeln!(
        out,
        "position {}: offsets {}..{end}, {}, {} bytes, appended {appended}, durable below {durable}",
        batch.position,
        batch.base,
        counted(batch.count.into(), "record"),
        batch.bytes
    )?;
    for record in &batch.records {
        tell_record(record, out)?;
    }
    Ok(())
}

fn tell_record(record: &RecordDescription, out: &mut dyn Write) -> Outcome {
    write!(out, "  {}  {}", record.offset, time::show(record.timestamp))?;
    if let Some(key) = &record.key {
        write!(out, "  key `{}`", key.escape_ascii())?;
    }
    for (name, value) in &record.headers {
        write!(out, "  {}=`{}`", name.as_bytes().escape_ascii(), value.escape_ascii())?;
    }
    match &record.value {
        Some(value) => writeln!(out, "  `{}`", value.escape_ascii())?,
        None => writeln!(out, "  tombstone")?,
    }
    Ok(())
}

fn batch_json(batch: &BatchDescription) -> Value {
    let mut object = json!({
        "position": batch.position.get(),
        "base": batch.base.get(),
        "end": batch.end.map(Offset::get),
        "count": batch.count,
        "bytes": batch.bytes,
        "append_time": batch.append_time.map(time::show),
        "durable_end": batch.durable_end.map(Offset::get),
        "damage": batch.damage.as_ref().map(ToString::to_string),
    });
    if batch.unfinished {
        object["unfinished"] = true.into();
    }
    if !batch.records.is_empty() {
        object["records"] = batch.records.iter().map(record_json).collect();
    }
    object
}

fn record_json(record: &RecordDescription) -> Value {
    let mut object = Map::new();
    object.insert("offset".into(), record.offset.get().into());
    object.insert("timestamp".into(), time::show(record.timestamp).into());
    words::put_option(&mut object, "key", record.key.as_deref());
    words::put_option(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    object.insert("headers".into(), words::headers(headers));
    Value::Object(object)
}
