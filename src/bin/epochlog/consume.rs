//! `consume`: prints records. Without a group it opens read-only, beside a live writer.
//!
//! Invariant: nothing is read beyond what is printed as far as anybody can tell: without a group there is no state. With
//! one, `consume_group` takes over.

use std::io::Write;
use std::time::Duration;

use epochlog::{Error, Partition, Place, Reader, Records, Start, Topic};

use crate::args::ConsumeArgs;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Context};
use crate::plan::{Limits, Printer, start_in};
use crate::{consume_group, output, say};

/// How long all partitions together are waited for in one round.
const ROUND: Duration = Duration::from_millis(200);

pub(crate) fn run(context: &Context<'_>, args: &ConsumeArgs) -> Outcome {
    let place = args.from.place()?;
    if let Some(group) = &args.group {
        return consume_group::run(context, args, group, place);
    }
    let store = context.read()?;
    let topic = store.topic(&args.topic)?;
    let named = numbers(args, place)?;
    let mut known = topic.partitions();
    let (partitions, refusal) = open::those_that_open(&topic, &named)?;
    let mut limits = Limits::new(&partitions, args)?;
    let mut streams = streams(&partitions, args, place)?;
    let printer = Printer::new(context.json(), args);
    let mut out = output::stdout();
    let mut idle = false;
    while !limits.all_done() {
        let wait = if idle { ROUND / u32::try_from(streams.len()).unwrap_or(u32::MAX).max(1) } else { Duration::ZERO };
        let printed = round(&mut streams, &mut limits, wait, args, &printer, &mut out)?;
        idle = args.follow && !printed;
        if args.follow {
            out.flush()?;
        }
        if idle && named.is_empty() {
            follow_added(&topic, &mut known, &mut streams, &mut limits)?;
        }
    }
    out.flush()?;
    refusal
}

/// Begins the partitions that were added since, at their first records.
fn follow_added(topic: &Topic, known: &mut u32, streams: &mut Vec<Stream>, limits: &mut Limits) -> Result<(), Error> {
    while *known < topic.partitions() {
        // It may have been added between two looks at how many there are.
        if streams.iter().any(|(number, _)| number == known) {
            *known += 1;
            continue;
        }
        streams.push((*known, topic.partition(*known)?.read_from(Start::Earliest)?));
        limits.add(*known);
        *known += 1;
    }
    Ok(())
}

/// The partitions that were named; a place names its own.
pub(crate) fn numbers(args: &ConsumeArgs, place: Option<Place>) -> Outcome<Vec<u32>> {
    match place {
        None => Ok(args.partitions.clone()),
        Some(place) if args.partitions.iter().all(|number| *number == place.partition()) => Ok(vec![place.partition()]),
        Some(place) => Err(Failure::Told(format!(
            "place `{place}` belongs to partition {}; leave `--partition` out",
            place.partition()
        ))),
    }
}

/// A reader and its partition's number.
type Stream = (u32, Reader);

fn streams(partitions: &[Partition], args: &ConsumeArgs, place: Option<Place>) -> Result<Vec<Stream>, epochlog::Error> {
    let stream = |partition: &Partition| {
        let reader = match place {
            Some(place) => partition.read_from(place)?,
            None => partition.read_from(start_in(partition, &args.from))?,
        };
        Ok((partition.number(), reader))
    };
    partitions.iter().map(stream).collect()
}

/// With `--skip-damaged` damage is gone around, and told.
fn read(reader: &mut Reader, wait: Duration, skip_damaged: bool) -> Result<Records, Error> {
    loop {
        match if wait.is_zero() { reader.read() } else { reader.poll(wait) } {
            Err(damage @ Error::Corrupt(_)) if skip_damaged => match reader.skip_damaged()? {
                Some(gap) => say(&gap.to_string()),
                None => return Err(damage),
            },
            other => return other,
        }
    }
}

/// Reads every partition once; says whether anything was printed.
fn round(
    streams: &mut [Stream],
    limits: &mut Limits,
    wait: Duration,
    args: &ConsumeArgs,
    printer: &Printer,
    out: &mut dyn Write,
) -> Outcome<bool> {
    let mut printed = false;
    for (number, reader) in streams {
        if limits.is_done(*number) {
            continue;
        }
        let records = read(reader, wait, args.skip_damaged)?;
        if records.is_empty() && !args.follow {
            limits.finish(*number);
        }
        printed |= print(&records, limits, printer, out)?;
    }
    Ok(printed)
}

fn print(records: &Records, limits: &mut Limits, printer: &Printer, out: &mut dyn Write) -> Outcome<bool> {
    let mut printed = false;
    for record in records {
        if limits.admits(&record) {
            printer.print(&record, out)?;
            printed = true;
        }
    }
    Ok(printed)
}
