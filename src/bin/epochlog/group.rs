//! `group`: how far groups have read, and moving them.

use epochlog::{CommitDescription, Error, GroupDescription, Offset, Partition, Place, Start, Target, Topic};
use serde_json::{Value, json};

use crate::args::{GroupCommand, ResetArgs};
use crate::failure::{Failure, Outcome, report_refusal};
use crate::open::{self, Context, close};
use crate::table::{table, text};
use crate::{output, say, time};

pub(crate) fn run(context: &Context<'_>, command: &GroupCommand) -> Outcome {
    match command {
        GroupCommand::List { topic } => list(context, topic.as_deref()),
        GroupCommand::Describe { topic, group } => describe(context, topic, group),
        GroupCommand::Reset(args) => reset(context, args),
        GroupCommand::Delete { topic, group } => delete(context, topic, group),
    }
}

fn list(context: &Context<'_>, named: Option<&str>) -> Outcome {
    let store = context.read()?;
    let names: Vec<String> = match named {
        Some(name) => vec![name.to_owned()],
        None => store.topics()?.iter().map(ToString::to_string).collect(),
    };
    let mut rows = table(&["TOPIC", "GROUP", "PARTITIONS>", "LAG>", "REFUSED>", "COMMITTED"]);
    let mut objects = Vec::new();
    let mut damaged = false;
    for name in names {
        let (topic, groups) = match store.topic(&name).and_then(|topic| Ok((topic.groups()?, topic))) {
            Ok((groups, topic)) => (topic, groups),
            Err(error) if named.is_some() => return Err(error.into()),
            // Deleted since it was listed.
            Err(Error::TopicNotFound { .. } | Error::TopicDeleted { .. }) => continue,
            Err(error) => {
                damaged = true;
                rows.add_row([name.as_str(), "refuses to open", "-", "-", "-", "-"]);
                objects.push(json!({ "topic": name, "problem": error.in_one_line() }));
                report_refusal(&error);
                continue;
            }
        };
        for group in groups {
            rows.add_row([
                topic.name().to_string(),
                group.group.to_string(),
                group.commits.len().to_string(),
                shown_lag(lag(&group)),
                refused(&group).to_string(),
                group.commits.iter().map(|commit| commit.time).max().map(time::show).unwrap_or_default(),
            ]);
            objects.push(group_json(&topic, &group));
        }
    }
    finish(context, &text(&rows), objects.is_empty().then_some("no groups"), &Value::Array(objects))?;
    if damaged { Err(Failure::Damage) } else { Ok(()) }
}

/// How many records the group has still to read. Nobody knows where the place of one of its commits is refused: it
/// stands there, and what the others have left to read would look like progress.
fn lag(group: &GroupDescription) -> Option<u64> {
    group.commits.iter().try_fold(0_u64, |sum, commit| Some(sum.saturating_add(commit.lag?)))
}

fn shown_lag(lag: Option<u64>) -> String {
    lag.map_or("-".into(), |lag| lag.to_string())
}

fn refused(group: &GroupDescription) -> usize {
    group.commits.iter().filter(|commit| commit.problem.is_some()).count()
}

/// Prints a document to programs; to people a table, or a word on standard error if it has no rows.
fn finish(context: &Context<'_>, table: &str, empty: Option<&str>, json: &Value) -> Outcome {
    if context.json() {
        output::print_json(json)?;
    } else if let Some(empty) = empty {
        say(empty);
    } else {
        output::print(table)?;
    }
    Ok(())
}

fn describe(context: &Context<'_>, topic: &str, group: &str) -> Outcome {
    let store = context.read()?;
    let topic = store.topic(topic)?;
    let group = topic.group(group)?;
    let mut rows = table(&["PARTITION>", "NEXT>", "LAG>", "PLACE", "COMMITTED", "PROBLEM"]);
    for commit in &group.commits {
        rows.add_row([
            commit.place.partition().to_string(),
            commit.place.next().to_string(),
            shown_lag(commit.lag),
            commit.place.to_string(),
            time::show(commit.time),
            commit.problem.clone().unwrap_or_default(),
        ]);
    }
    finish(context, &text(&rows), None, &group_json(&topic, &group))
}

fn group_json(topic: &Topic, group: &GroupDescription) -> Value {
    json!({
        "topic": topic.name().as_str(),
        "group": group.group.as_str(),
        "lag": lag(group),
        "commits": group.commits.iter().map(commit_json).collect::<Vec<_>>(),
    })
}

fn commit_json(commit: &CommitDescription) -> Value {
    let mut object = serde_json::Map::new();
    object.insert("partition".into(), commit.place.partition().into());
    object.insert("next".into(), commit.place.next().get().into());
    object.insert("place".into(), commit.place.to_string().into());
    object.insert("time".into(), time::show(commit.time).into());
    object.insert("lag".into(), commit.lag.into());
    object.insert("problem".into(), commit.problem.clone().into());
    if let Some(metadata) = &commit.metadata {
        crate::json::put_bytes(&mut object, "metadata", metadata);
    }
    Value::Object(object)
}

/// What `--to` asks for.
fn target(to: &str) -> Outcome<Target> {
    if let Some(start) = match to {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        _ => to.parse::<Offset>().ok().map(Start::At),
    } {
        return Ok(start.into());
    }
    if to.contains('@') {
        return Ok(to.parse::<Place>()?.into());
    }
    time::parse_time(to).map(|time| Start::Time(time).into()).map_err(|_| {
        crate::usage(format!(
            "`{to}` is no place to reset to; expected `earliest`, `latest`, an offset, a time such as `10m` or \
             `2026-11-22T10:00:00Z`, or a place such as `0:72@7.9f3a5c01d2e4b687`"
        ))
    })
}

fn reset(context: &Context<'_>, args: &ResetArgs) -> Outcome {
    let target = target(&args.to)?;
    let store = if args.dry_run { context.read()? } else { context.write(false)? };
    let topic = store.topic(&args.topic)?;
    let partitions = match (target, args.partitions.is_empty()) {
        (Target::Place(place), true) => vec![topic.partition(place.partition())?],
        _ => open::partitions(&topic, &args.partitions)?,
    };
    let before = topic.group(&args.group).ok();
    let targets: Vec<(u32, Target)> = partitions.iter().map(|partition| (partition.number(), target)).collect();
    let places = match args.dry_run {
        true => topic.plan_reset(&args.group, &targets)?,
        false => topic.reset_group(&args.group, &targets)?,
    };
    tell_reset(context, args, &partitions, before.as_ref(), &places)?;
    close(store)
}

fn tell_reset(
    context: &Context<'_>,
    args: &ResetArgs,
    partitions: &[Partition],
    before: Option<&GroupDescription>,
    places: &[Place],
) -> Outcome {
    let mut rows = table(&["PARTITION>", "FROM", "TO", "LAG>"]);
    let mut objects = Vec::new();
    for place in places {
        let from = before
            .and_then(|group| group.commits.iter().find(|commit| commit.place.partition() == place.partition()))
            .map(|commit| commit.place.to_string());
        let partition = partitions.iter().find(|partition| partition.number() == place.partition());
        let lag = partition.map_or(0, |partition| partition.end().since(place.next()));
        rows.add_row([
            place.partition().to_string(),
            from.clone().unwrap_or("-".into()),
            place.to_string(),
            lag.to_string(),
        ]);
        objects.push(json!({
            "partition": place.partition(), "from": from, "to": place.to_string(), "lag": lag,
        }));
    }
    let json = json!({ "group": args.group, "topic": args.topic, "dry_run": args.dry_run, "partitions": objects });
    finish(context, &text(&rows), None, &json)?;
    if args.dry_run {
        say("nothing was changed: this was a dry run");
    }
    Ok(())
}

fn delete(context: &Context<'_>, topic: &str, group: &str) -> Outcome {
    let store = context.write(false)?;
    let topic = store.topic(topic)?;
    topic.delete_group(group)?;
    let json = json!({ "topic": topic.name().as_str(), "deleted": group });
    finish(context, &format!("deleted the commits of group `{group}` in topic `{}`\n", topic.name()), None, &json)?;
    close(store)
}
