//! `init` and `topic`: what there is, and making, cutting and deleting it.

use epochlog::{Durability, Error, Partition, Topic, TopicOptions};
use serde_json::{Value, json};

use crate::args::{CreateArgs, CutArgs, DurabilityArg, TopicCommand};
use crate::bytes::{counted, size};
use crate::failure::{Failure, Outcome, report_refusal};
use crate::open::{Context, close, one_partition};
use crate::table::{table, text};
use crate::{output, say, topic_describe};

pub(crate) fn init(context: &Context<'_>) -> Outcome {
    let store = context.create()?;
    let path = store.path().display().to_string();
    tell(context, &format!("created store `{path}`"), &json!({ "created": path }))?;
    close(store)
}

pub(crate) fn run(context: &Context<'_>, command: &TopicCommand) -> Outcome {
    match command {
        TopicCommand::Create(args) => create(context, args),
        TopicCommand::List => list(context),
        TopicCommand::Describe { topic } => topic_describe::run(context, topic),
        TopicCommand::Delete { topic } => delete(context, topic),
        TopicCommand::AddPartitions { topic, total } => add_partitions(context, topic, *total),
        TopicCommand::Trim(args) => cut(context, args, "trimmed", |partition| partition.trim(args.to)),
        TopicCommand::Truncate(args) => cut(context, args, "truncated", |partition| partition.truncate(args.to)),
    }
}

/// Tells what was done: a sentence, or an object.
fn tell(context: &Context<'_>, sentence: &str, object: &Value) -> Outcome {
    if context.json() {
        output::print_json(object)?;
    } else {
        output::print(&format!("{sentence}\n"))?;
    }
    Ok(())
}

fn options(args: &CreateArgs) -> TopicOptions {
    let durability = match args.durability {
        DurabilityArg::Durable => Durability::Durable,
        DurabilityArg::Written => Durability::Written,
    };
    let mut options = TopicOptions::new().partitions(args.partitions).durability(durability);
    if let Some(bytes) = args.segment_bytes {
        options = options.segment_bytes_max(bytes);
    }
    if let Some(age) = args.segment_age {
        options = options.segment_age(age);
    }
    if let Some(age) = args.retention_age {
        options = options.retention_age(age);
    }
    if let Some(bytes) = args.retention_bytes {
        options = options.retention_bytes(bytes);
    }
    if let Some(interval) = args.sync_interval {
        options = options.sync_interval(interval);
    }
    if let Some(bytes) = args.sync_bytes {
        options = options.sync_bytes(bytes);
    }
    if let Some(bytes) = args.unsynced_bytes_max {
        options = options.unsynced_bytes_max(bytes);
    }
    options
}

fn create(context: &Context<'_>, args: &CreateArgs) -> Outcome {
    let store = context.write(false)?;
    let topic = store.create_topic(&args.topic, options(args))?;
    let (name, epoch) = (topic.name(), topic.epoch());
    let partitions = counted(topic.partitions().into(), "partition");
    tell(
        context,
        &format!("created topic `{name}` with {partitions} in epoch {epoch}"),
        &json!({ "topic": name.as_str(), "epoch": epoch.to_string(), "partitions": topic.partitions() }),
    )?;
    drop(topic);
    close(store)
}

/// How many records and bytes a topic holds.
pub(crate) fn contents(topic: &Topic) -> Result<(u64, u64), Error> {
    let partitions = (0..topic.partitions()).map(|number| topic.partition(number));
    let (mut records, mut bytes) = (0_u64, 0_u64);
    for partition in partitions {
        let partition = partition?;
        records = records.saturating_add(partition.end().since(partition.start()));
        bytes = bytes.saturating_add(partition.bytes());
    }
    Ok((records, bytes))
}

fn list(context: &Context<'_>) -> Outcome {
    let store = context.read()?;
    let mut rows = table(&["TOPIC", "EPOCH", "PARTITIONS>", "RECORDS>", "BYTES>"]);
    let mut objects = Vec::new();
    let mut damaged = false;
    for name in store.topics()? {
        let opened = store.topic(name.as_str()).and_then(|topic| Ok((contents(&topic)?, topic)));
        match opened {
            Ok(((records, bytes), topic)) => {
                let (epoch, partitions) = (topic.epoch().to_string(), topic.partitions());
                rows.add_row([
                    name.to_string(),
                    epoch.clone(),
                    partitions.to_string(),
                    records.to_string(),
                    size(bytes),
                ]);
                objects.push(json!({
                    "topic": name.as_str(), "epoch": epoch, "partitions": partitions, "records": records, "bytes": bytes,
                }));
            }
            // Deleted since it was listed.
            Err(Error::TopicNotFound { .. } | Error::TopicDeleted { .. }) => {}
            Err(error) => {
                damaged = true;
                rows.add_row([name.as_str(), "refuses to open", "-", "-", "-"]);
                objects.push(json!({ "topic": name.as_str(), "problem": error.in_one_line() }));
                report_refusal(&error);
            }
        }
    }
    if context.json() {
        output::print_json(&Value::Array(objects))?;
    } else if objects.is_empty() {
        say("no topics");
    } else {
        output::print(&text(&rows))?;
    }
    if damaged { Err(Failure::Damage) } else { Ok(()) }
}

fn delete(context: &Context<'_>, name: &str) -> Outcome {
    let store = context.write(false)?;
    let contents = store.topic(name).and_then(|topic| Ok((topic.epoch().to_string(), contents(&topic)?.0)));
    store.delete_topic(name)?;
    match contents {
        Ok((epoch, records)) => tell(
            context,
            &format!("deleted topic `{name}` of epoch {epoch} with {} and all commits", counted(records, "record")),
            &json!({ "deleted": name, "epoch": epoch, "records": records }),
        )?,
        Err(error) => tell(
            context,
            &format!("deleted topic `{name}`, which could not be opened: {}", error.in_one_line()),
            &json!({ "deleted": name, "problem": error.in_one_line() }),
        )?,
    }
    close(store)
}

fn add_partitions(context: &Context<'_>, name: &str, total: u32) -> Outcome {
    let store = context.write(false)?;
    let topic = store.topic(name)?;
    let before = topic.partitions();
    topic.add_partitions(total)?;
    let now = topic.partitions();
    tell(
        context,
        &format!("topic `{name}` has {} now, {before} before", counted(now.into(), "partition")),
        &json!({ "topic": name, "partitions": now, "before": before }),
    )?;
    drop(topic);
    close(store)
}

/// Trims or truncates, and tells how many records that took.
fn cut(
    context: &Context<'_>,
    args: &CutArgs,
    done: &str,
    cut: impl FnOnce(&Partition) -> Result<(), Error>,
) -> Outcome {
    let store = context.write(false)?;
    let topic = store.topic(&args.topic)?;
    let partition = one_partition(&topic, args.partition)?;
    let before = partition.start()..partition.end();
    cut(&partition)?;
    let (start, end) = (partition.start(), partition.end());
    let removed = before.end.since(before.start).saturating_sub(end.since(start));
    let (name, number) = (&args.topic, partition.number());
    tell(
        context,
        &format!(
            "{done} partition {number} of `{name}` at offset {}: {} removed, it holds {start}..{end}",
            args.to,
            counted(removed, "record")
        ),
        &json!({
            "topic": name, "partition": number, "removed": removed, "start": start.get(), "end": end.get(),
        }),
    )?;
    drop((partition, topic));
    close(store)
}
