//! Where a `consume` begins and where it stops.
//!
//! Invariant: the stop of each partition is settled before the first record is read, so that reading ends beside a
//! writer that never rests; with `--follow` only what was asked for stops it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use epochlog::{Error, Offset, Partition, RecordView, Start};

use crate::args::{ConsumeArgs, FromArgs};
use crate::format::Template;
use crate::json;

/// Where to begin in this partition where there is no place. The last N of fewer than N records are all of them.
pub(crate) fn start_in(partition: &Partition, from: &FromArgs) -> Start {
    match from.tail {
        Some(records) if records >= partition.end().since(partition.start()) => Start::Earliest,
        Some(records) => Start::FromEnd(records),
        None => start(from),
    }
}

/// Where to begin where there is no place, the same in all partitions.
pub(crate) fn start(from: &FromArgs) -> Start {
    if let Some(offset) = from.start {
        return Start::At(offset);
    }
    from.since.map_or(Start::Earliest, Start::Time)
}

/// How far each partition is read.
pub(crate) struct Limits {
    partitions: BTreeMap<u32, Limit>,
    /// For partitions that are added while following.
    added: Limit,
}

#[derive(Clone, Debug)]
struct Limit {
    stop: Offset,
    left: u64,
    done: bool,
}

impl Limits {
    pub(crate) fn new(partitions: &[Partition], args: &ConsumeArgs) -> Result<Limits, Error> {
        let limit = |partition: &Partition| {
            let mut stop = if args.follow { Offset::MAX } else { partition.end() };
            stop = stop.min(args.end.unwrap_or(Offset::MAX));
            if let Some(until) = args.until {
                stop = stop.min(partition.offset_at(until)?);
            }
            let left = args.head.unwrap_or(u64::MAX);
            Ok::<_, Error>((partition.number(), Limit { stop, left, done: left == 0 }))
        };
        let added = Limit {
            stop: args.end.unwrap_or(Offset::MAX),
            left: args.head.unwrap_or(u64::MAX),
            done: !args.follow || args.head == Some(0),
        };
        Ok(Limits { partitions: partitions.iter().map(limit).collect::<Result<_, _>>()?, added })
    }

    /// Whether the record is to be printed; takes note that it was.
    pub(crate) fn admits(&mut self, record: &RecordView<'_>) -> bool {
        let limit = self.partitions.entry(record.partition()).or_insert_with(|| self.added.clone());
        limit.done = limit.done || record.offset() >= limit.stop;
        if limit.done {
            return false;
        }
        limit.left -= 1;
        limit.done = limit.left == 0 || record.offset().next() >= limit.stop;
        true
    }

    /// Takes note of a partition that was added while following.
    pub(crate) fn add(&mut self, partition: u32) {
        self.partitions.entry(partition).or_insert_with(|| self.added.clone());
    }

    /// There is nothing more of this partition.
    pub(crate) fn finish(&mut self, partition: u32) {
        if let Some(limit) = self.partitions.get_mut(&partition) {
            limit.done = true;
        }
    }

    pub(crate) fn is_done(&self, partition: u32) -> bool {
        self.partitions.get(&partition).is_none_or(|limit| limit.done)
    }

    pub(crate) fn all_done(&self) -> bool {
        self.partitions.values().all(|limit| limit.done)
    }
}

/// How records are printed.
pub(crate) struct Printer {
    json: bool,
    template: Template,
}

impl Printer {
    pub(crate) fn new(json: bool, args: &ConsumeArgs) -> Printer {
        Printer { json: json && args.format.is_none(), template: args.format.clone().unwrap_or_default() }
    }

    pub(crate) fn print(&self, record: &RecordView<'_>, out: &mut dyn Write) -> io::Result<()> {
        if self.json { json::line(&json::record(record), out) } else { self.template.print(record, out) }
    }
}
