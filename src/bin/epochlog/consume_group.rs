//! `consume --group`: prints records and commits what was printed.
//!
//! Invariant: a commit covers only what was printed and flushed before it, so a kill at any moment prints something
//! twice rather than never. A start option counts only where the group has no commit; where it doesn't, that is said.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use epochlog::{Consumer, Error, Partition, Place, Records, Topic};

use crate::args::ConsumeArgs;
use crate::consume::numbers;
use crate::failure::Outcome;
use crate::open::{self, Context, close};
use crate::plan::{Limits, Printer, start, start_in};
use crate::{output, say};

/// How long one poll waits when following.
const WAIT: Duration = Duration::from_secs(1);

pub(crate) fn run(context: &Context<'_>, args: &ConsumeArgs, group: &str, place: Option<Place>) -> Outcome {
    let store = context.write(args.follow)?;
    let topic = store.topic(&args.topic)?;
    let (partitions, refusal) = open::those_that_open(&topic, &numbers(args, place)?)?;
    let mut limits = Limits::new(&partitions, args)?;
    let mut consumer = open_consumer(&topic, group, args, place, refusal.is_err().then_some(&partitions))?;
    let (committed, uncommitted) = by_commit(&topic, group, partitions)?;
    check_place(&committed, place)?;
    tell_ignored(args, group, &committed);
    for partition in uncommitted {
        match (place, args.from.tail) {
            (Some(place), _) => consumer.seek(partition.number(), place)?,
            (None, Some(_)) => consumer.seek(partition.number(), start_in(&partition, &args.from))?,
            (None, None) => {}
        }
    }
    // Also where nothing comes of it now: the next call goes on there.
    consumer.commit()?;
    consume(&mut consumer, &mut limits, args, &Printer::new(context.json(), args))?;
    drop(consumer);
    close(store)?;
    refusal
}

/// With all partitions, also those that are added meanwhile, unless some were named, or only some `opened`.
fn open_consumer(
    topic: &Topic,
    group: &str,
    args: &ConsumeArgs,
    place: Option<Place>,
    opened: Option<&Vec<Partition>>,
) -> Outcome<Consumer> {
    let consumer = topic.consumer(group).start(start(&args.from));
    if let Some(opened) = opened {
        let numbers: Vec<u32> = opened.iter().map(Partition::number).collect();
        return Ok(consumer.partitions(&numbers).open()?);
    }
    let named = numbers(args, place)?;
    Ok(if named.is_empty() { consumer.open()? } else { consumer.partitions(&named).open()? })
}

/// The partitions in which the group has a commit, and those in which it has none, so that a start option counts.
fn by_commit(
    topic: &Topic,
    group: &str,
    partitions: Vec<Partition>,
) -> Result<(Vec<Partition>, Vec<Partition>), Error> {
    let committed: Vec<u32> = match topic.group(group) {
        Ok(description) => description.commits.iter().map(|commit| commit.place.partition()).collect(),
        Err(Error::GroupNotFound { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(partitions.into_iter().partition(|partition| committed.contains(&partition.number())))
}

/// A place that isn't used is looked at all the same: one that this topic never had is a mistake. One that retention has
/// passed since is none, for whoever gives the same place again and again, to begin with.
fn check_place(committed: &[Partition], place: Option<Place>) -> Result<(), Error> {
    let Some(place) = place else { return Ok(()) };
    for partition in committed {
        match partition.read_from(place) {
            Err(Error::OffsetOutOfRange { offset, start, .. }) if offset < start => {}
            other => drop(other?),
        }
    }
    Ok(())
}

fn tell_ignored(args: &ConsumeArgs, group: &str, committed: &[Partition]) {
    let (Some(option), [first, others @ ..]) = (args.from.option(), committed) else { return };
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    say(&format!(
        "group `{group}` goes on at its commit in partition {}{more}: `{option}` counts only where it has none; \
         `epochlog group reset {} {group} --to WHERE` moves it",
        first.number(),
        args.topic
    ));
}

fn consume(consumer: &mut Consumer, limits: &mut Limits, args: &ConsumeArgs, printer: &Printer) -> Outcome {
    let mut out = output::stdout();
    // Once something was handed out and not printed, "all that was handed out" is no longer what may be committed.
    let mut all_printed = true;
    while !limits.all_done() {
        let records = match consumer.poll(if args.follow { WAIT } else { Duration::ZERO }) {
            Err(damage @ Error::Corrupt(_)) if args.skip_damaged => {
                go_around(consumer, damage)?;
                if all_printed {
                    consumer.commit()?;
                }
                continue;
            }
            other => other?,
        };
        if records.is_empty() && !args.follow {
            break;
        }
        let printed = print(&records, limits, printer, &mut out)?;
        out.flush()?;
        all_printed &= printed.records == records.len();
        commit(consumer, all_printed, printed)?;
    }
    Ok(())
}

/// Goes around the damage that a partition stands before, and tells it.
fn go_around(consumer: &mut Consumer, damage: Error) -> Result<(), Error> {
    let Error::Corrupt(corruption) = &damage else { return Err(damage) };
    let Some(partition) = corruption.partition else { return Err(damage) };
    let Some(gap) = consumer.skip_damaged(partition)? else { return Err(damage) };
    say(&gap.to_string());
    Ok(())
}

/// What was printed: how many records, and how far in each partition.
struct Printed {
    records: usize,
    places: BTreeMap<u32, Place>,
}

fn print(records: &Records, limits: &mut Limits, printer: &Printer, out: &mut dyn Write) -> Outcome<Printed> {
    let mut printed = Printed { records: 0, places: BTreeMap::new() };
    for record in records {
        if limits.admits(&record) {
            printer.print(&record, out)?;
            printed.records += 1;
            printed.places.insert(record.partition(), record.next());
        }
    }
    Ok(printed)
}

/// Commits all that was handed out in one step, or else each partition as far as it was printed.
fn commit(consumer: &mut Consumer, all_printed: bool, printed: Printed) -> Result<(), Error> {
    if all_printed {
        return consumer.commit();
    }
    printed.places.into_values().try_for_each(|place| consumer.commit_to(place))
}
