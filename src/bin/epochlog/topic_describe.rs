//! `topic describe`: options, partitions and their lineage.

use std::time::Duration;

use epochlog::{Partition, Topic, TopicOptions};
use serde_json::{Value, json};

use crate::bytes::size;
use crate::failure::Outcome;
use crate::open::{self, Context};
use crate::table::{table, text};
use crate::{json as words, output, time};

pub(crate) fn run(context: &Context<'_>, name: &str) -> Outcome {
    let store = context.read()?;
    let topic = store.topic(name)?;
    let (partitions, refusal) = open::those_that_open(&topic, &[])?;
    if context.json() {
        output::print_json(&document(&topic, &partitions))?;
        return refusal;
    }
    let mut told = format!("topic `{}`, created in epoch {}\n\n", topic.name(), topic.epoch());
    told += &options_table(topic.options());
    told += "\n";
    told += &partitions_table(&partitions);
    told += "\n";
    told += &lineage_table(&partitions);
    output::print(&told)?;
    refusal
}

fn options_table(options: &TopicOptions) -> String {
    let age = |age: Option<Duration>| age.map_or("-".into(), time::show_duration);
    let bytes = |bytes: Option<u64>| bytes.map_or("-".into(), size);
    let retention = options.get_retention();
    let mut rows = table(&["OPTION", "VALUE"]);
    for (name, value) in [
        ("durability", words::durability(options.get_durability()).to_owned()),
        ("segment bytes", size(options.get_segment_bytes_max())),
        ("segment age", age(options.get_segment_age().or(retention.age))),
        ("retention age", age(retention.age)),
        ("retention bytes", bytes(retention.bytes)),
        ("unsynced bytes max", size(options.get_unsynced_bytes_max())),
        ("sync interval", age(options.get_sync_interval())),
        ("sync bytes", bytes(options.get_sync_bytes())),
    ] {
        rows.add_row([name.to_owned(), value]);
    }
    text(&rows)
}

fn partitions_table(partitions: &[Partition]) -> String {
    let mut rows = table(&["PARTITION>", "START>", "END>", "DURABLE>", "RECORDS>", "BYTES>", "SEGMENTS>"]);
    for partition in partitions {
        rows.add_row([
            partition.number().to_string(),
            partition.start().to_string(),
            partition.end().to_string(),
            partition.durable_end().to_string(),
            partition.end().since(partition.start()).to_string(),
            size(partition.bytes()),
            partition.segments().len().to_string(),
        ]);
    }
    text(&rows)
}

fn lineage_table(partitions: &[Partition]) -> String {
    let mut rows = table(&["PARTITION>", "EPOCH", "FROM>", "REASON", "BEGAN"]);
    for partition in partitions {
        for epoch in partition.lineage() {
            rows.add_row([
                partition.number().to_string(),
                epoch.epoch.to_string(),
                epoch.start.to_string(),
                epoch.reason.to_owned(),
                time::show(epoch.time),
            ]);
        }
    }
    text(&rows)
}

fn document(topic: &Topic, partitions: &[Partition]) -> Value {
    let options = topic.options();
    let ms = |age: Option<Duration>| age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let retention = options.get_retention();
    json!({
        "topic": topic.name().as_str(),
        "epoch": topic.epoch().to_string(),
        "options": {
            "durability": words::durability(options.get_durability()),
            "segment_bytes_max": options.get_segment_bytes_max(),
            "segment_age_ms": ms(options.get_segment_age()),
            "retention_age_ms": ms(retention.age),
            "retention_bytes": retention.bytes,
            "unsynced_bytes_max": options.get_unsynced_bytes_max(),
            "sync_interval_ms": ms(options.get_sync_interval()),
            "sync_bytes": options.get_sync_bytes(),
        },
        "partitions": partitions.iter().map(partition_json).collect::<Vec<_>>(),
    })
}

fn partition_json(partition: &Partition) -> Value {
    let lineage: Vec<Value> = partition
        .lineage()
        .iter()
        .map(|epoch| {
            json!({
                "epoch": epoch.epoch.to_string(),
                "start": epoch.start.get(),
                "reason": epoch.reason,
                "time": time::show(epoch.time),
            })
        })
        .collect();
    json!({
        "partition": partition.number(),
        "start": partition.start().get(),
        "end": partition.end().get(),
        "durable_end": partition.durable_end().get(),
        "bytes": partition.bytes(),
        "segments": partition.segments().len(),
        "lineage": lineage,
    })
}
