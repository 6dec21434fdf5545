//! `produce`: appends lines as records.
//!
//! Invariant: an acknowledged place is printed and flushed before the next batch is appended, so whatever kills the
//! program, every record before the last printed place is kept. What was appended is told also when the rest is refused.
//! Of what is longer than any record no more is read than shows that, and none of it is appended.

use std::io::{ErrorKind, Write};
use std::time::Instant;

use epochlog::{Ack, AppendOptions, Durability, Partition, Record, Topic};
use indicatif::ProgressBar;

use crate::args::ProduceArgs;
use crate::bytes::{counted, size};
use crate::failure::{Failure, Outcome};
use crate::open::{Context, close};
use crate::produce_input::{Batch, Input};
use crate::{json, output, say};

/// A batch is appended when it has come to so many bytes.
const BATCH_BYTES: u64 = 1 << 20;
/// From this size on a file gets a progress bar.
const LONG_FILE_BYTES: u64 = 8 << 20;

pub(crate) fn run(context: &Context<'_>, args: &ProduceArgs) -> Outcome {
    let named = args.file.as_deref().unwrap_or("-".as_ref());
    let mut input = Input::open(args.file.as_deref()).map_err(|source| Failure::input(named, source))?;
    let store = context.write(true)?;
    let topic = store.topic(&args.topic)?;
    let mut producer = Producer::new(context, args, &topic)?;
    let outcome = if args.raw { producer.raw(&mut input) } else { producer.lines(&mut input) };
    let outcome = outcome.and_then(|()| close(store));
    producer.tell();
    outcome
}

/// Where records go.
enum Target {
    Topic(Topic),
    Partition(Partition),
}

impl Target {
    /// Gives each acknowledgement, with the records that it is for, also when what comes behind it is refused.
    fn append(
        &self,
        records: &[Record<'_>],
        options: AppendOptions,
        mut each: impl FnMut(Ack, &[Record<'_>]),
    ) -> Result<(), epochlog::Error> {
        match self {
            Target::Topic(topic) => topic.append_batch_each(records, options, each),
            Target::Partition(partition) => {
                each(partition.append_batch_with(records, options)?, records);
                Ok(())
            }
        }
    }
}

/// Appends batches and counts what was acknowledged.
struct Producer<'a> {
    args: &'a ProduceArgs,
    json: bool,
    target: Target,
    options: AppendOptions,
    record_bytes_max: u64,
    batch: Batch,
    records: u64,
    bytes: u64,
    began: Instant,
    /// Whether whoever was to read the acknowledgements has gone.
    unheard: bool,
}

impl<'a> Producer<'a> {
    fn new(context: &Context<'_>, args: &'a ProduceArgs, topic: &Topic) -> Outcome<Producer<'a>> {
        let target = match args.partition {
            Some(number) => Target::Partition(topic.partition(number)?),
            None => Target::Topic(topic.clone()),
        };
        let options = AppendOptions::new();
        let options = if args.written { options.durability(Durability::Written) } else { options };
        let record_bytes_max = topic.options().get_segment_bytes_max();
        Ok(Producer {
            args,
            json: context.json(),
            target,
            options,
            record_bytes_max,
            batch: Batch::default(),
            records: 0,
            bytes: 0,
            began: Instant::now(),
            unheard: false,
        })
    }

    /// All of the input as one record.
    fn raw(&mut self, input: &mut Input) -> Outcome {
        let value = input.all(self.record_bytes_max + 1).map_err(|source| Failure::input(input.path(), source))?;
        if value.len() as u64 > self.record_bytes_max {
            return Err(self.too_long("the input"));
        }
        self.batch.push(self.args.key.as_deref().map(str::as_bytes), &value);
        self.append()
    }

    fn lines(&mut self, input: &mut Input) -> Outcome {
        let bar = progress(input);
        // A separator and a line's end are no part of a record.
        let read_max = self.record_bytes_max + 2 + self.args.key_separator.as_ref().map_or(0, String::len) as u64;
        let mut line = Vec::new();
        let mut number = 0_u64;
        loop {
            if !input.has_line() {
                self.append()?;
            }
            let read = input.line(&mut line, read_max);
            let Some(read) = read.map_err(|source| Failure::input(input.path(), source))? else { break };
            number += 1;
            bar.inc(read);
            if line.len() as u64 == read_max {
                self.append()?;
                return Err(self.too_long(&format!("line {number}")));
            }
            self.push(&line, number)?;
        }
        bar.finish_and_clear();
        self.append()
    }

    /// What wasn't read to its end: nobody knows how long it is.
    fn too_long(&self, what: &str) -> Failure {
        Failure::Told(format!(
            "{what} of more than {} bytes is larger than a segment of the topic; `epochlog topic create \
             --segment-bytes SIZE` sets that for a new one",
            self.record_bytes_max
        ))
    }

    fn push(&mut self, line: &[u8], number: u64) -> Outcome {
        let (key, value) = match &self.args.key_separator {
            None => (self.args.key.as_deref().map(str::as_bytes), line),
            Some(separator) => match split(line, separator.as_bytes()) {
                Some((key, value)) => (Some(key), value),
                None => {
                    self.append()?;
                    return Err(Failure::Told(format!(
                        "line {number} has no key separator `{separator}`; the lines before it were appended"
                    )));
                }
            },
        };
        let more = (key.map_or(0, <[u8]>::len) + value.len()) as u64;
        let room = BATCH_BYTES.min(self.record_bytes_max / 2);
        if self.batch.encoded_bytes(self.headers_bytes()) + more > room {
            self.append()?;
        }
        self.batch.push(key, value);
        if self.batch.len() >= self.args.batch as usize {
            self.append()?;
        }
        Ok(())
    }

    fn headers_bytes(&self) -> usize {
        self.args.headers.iter().map(|(name, value)| name.len() + value.len() + 20).sum()
    }

    /// Appends what was gathered, and tells its acknowledgements.
    fn append(&mut self) -> Outcome {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.unheard {
            let left_out = "nobody reads the acknowledgements any more, so the rest of the input was not appended";
            return Err(Failure::Told(left_out.into()));
        }
        let headers: Vec<(&str, &[u8])> =
            self.args.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (mut acks, mut count, mut bytes) = (Vec::new(), 0, 0);
        let appended = self.target.append(&self.batch.records(&headers), self.options, |ack, records| {
            acks.push(ack);
            count += records.len() as u64;
            bytes += records.iter().map(content_bytes).sum::<u64>();
        });
        self.records += count;
        self.bytes += bytes;
        self.batch.clear();
        if self.args.acks {
            match self.tell_acks(&acks) {
                Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => self.unheard = true,
                other => other?,
            }
        }
        Ok(appended?)
    }

    fn tell_acks(&self, acks: &[Ack]) -> Outcome {
        let mut out = output::stdout();
        for ack in acks {
            if self.json {
                json::line(&json::ack(ack), &mut out)?;
            } else {
                writeln!(out, "{}", ack.next())?;
            }
        }
        out.flush()?;
        Ok(())
    }

    fn tell(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        say(&format!("appended {}, {} in {seconds:.3} s", counted(self.records, "record"), size(self.bytes)));
    }
}

fn progress(input: &Input) -> ProgressBar {
    match input.len {
        Some(len) if len >= LONG_FILE_BYTES => output::bytes_bar("appending", len),
        _ => ProgressBar::hidden(),
    }
}

/// The bytes of key and value.
fn content_bytes(record: &Record<'_>) -> u64 {
    (record.get_key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len)) as u64
}

/// What is before and behind the first separator.
fn split<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    if separator.is_empty() {
        return None;
    }
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}
