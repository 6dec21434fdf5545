//! `demo`: real lines through a real store, and the refusal that this engine exists for.
//!
//! Invariant: everything goes through the public API, in a fresh store of its own; what is printed was measured in this
//! run. The store stays, for the commands that the demo ends with.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use epochlog::{Error, Place, Start, Store, Topic, TopicOptions};

use crate::bytes::{count, counted, size};
use crate::demo_source::{self, Sources};
use crate::failure::{Failure, Outcome};
use crate::hint::typed;
use crate::open::{Context, close};
use crate::output;
use crate::produce_input::{Batch, Input};

const TOPIC: &str = "cloud-command";
const GROUP: &str = "demo";
const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: u64 = 1 << 20;

pub(crate) fn run(context: &Context<'_>, path: Option<&Path>) -> Outcome {
    let root = demo_source::root(path)?;
    let sources = demo_source::find(&root)?;
    let dir = context.typed_data().map_or_else(fresh_dir, Path::to_path_buf);
    let store = context.options().create(&dir)?;
    let mut out = output::stdout();
    writeln!(out, "a fresh store: {}", dir.display())?;
    writeln!(out, "reading {}: {}", root.display(), described(&sources))?;
    out.flush()?;
    let topic = store.create_topic(TOPIC, TopicOptions::new())?;
    writeln!(out, "\n1. append every line to topic `{TOPIC}`, created in epoch {}", topic.epoch())?;
    out.flush()?;
    let appended = append(&topic, &sources)?;
    writeln!(out, "   {}", appended.told("appended", "durable batches of up to 1000"))?;
    writeln!(out, "\n2. consume it as group `{GROUP}` and commit")?;
    out.flush()?;
    let (consumed, place) = consume(&topic, appended.records)?;
    writeln!(out, "   {}", consumed.told("consumed", "durable commits"))?;
    writeln!(out, "   the place it reached, to be kept anywhere: {place}")?;
    recreate(&store, &topic, place, &mut out)?;
    drop(topic);
    next_commands(&dir, place, &mut out)?;
    out.flush()?;
    close(store)
}

fn fresh_dir() -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    std::env::temp_dir().join(format!("epochlog-demo-{}-{now}", std::process::id()))
}

fn described(sources: &Sources) -> String {
    let skipped = match sources.binaries {
        0 => String::new(),
        binaries => format!("; {} skipped", counted(binaries, "binary file")),
    };
    format!("{}, {}{skipped}", counted(sources.files.len() as u64, "text file"), size(sources.bytes))
}

/// What one half of the demo took.
struct Measured {
    records: u64,
    bytes: u64,
    /// Batches or commits.
    steps: u64,
    time: Duration,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "told")]
    fn told(&self, done: &str, steps: &str) -> String {
        let seconds = self.time.as_secs_f64().max(1e-9);
        format!(
            "{done} {}, {} in {:.3} s with {} {steps}: {} records/s, {:.1} MB/s",
            counted(self.records, "record"),
            size(self.bytes),
            seconds,
            count(self.steps),
            count((self.records as f64 / seconds) as u64),
            self.bytes as f64 / seconds / 1e6
        )
    }
}

/// Appends all lines; the time is that of the appends, without reading the files.
fn append(topic: &Topic, sources: &Sources) -> Outcome<Measured> {
    let bar = output::bytes_bar("appending", sources.bytes);
    let mut appender = Appender {
        topic,
        batch: Batch::default(),
        measured: Measured { records: 0, bytes: 0, steps: 0, time: Duration::ZERO },
    };
    let mut line = Vec::new();
    for path in &sources.files {
        let failed = |source| Failure::input(path, source);
        let mut input = Input::open(Some(path)).map_err(failed)?;
        let key = path.to_string_lossy();
        while let Some(read) = input.line(&mut line, u64::MAX).map_err(failed)? {
            appender.push(key.as_bytes(), &line)?;
            bar.inc(read);
        }
    }
    appender.append()?;
    bar.finish_and_clear();
    Ok(appender.measured)
}

struct Appender<'a> {
    topic: &'a Topic,
    batch: Batch,
    measured: Measured,
}

impl Appender<'_> {
    fn push(&mut self, key: &[u8], line: &[u8]) -> Result<(), Error> {
        if self.batch.len() == BATCH_RECORDS || self.batch.content_bytes() + line.len() as u64 > BATCH_BYTES {
            self.append()?;
        }
        self.batch.push(Some(key), line);
        self.measured.bytes += line.len() as u64;
        Ok(())
    }

    fn append(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let records = self.batch.records(&[]);
        let began = Instant::now();
        self.topic.append_batch(&records)?;
        self.measured.time += began.elapsed();
        self.measured.records += records.len() as u64;
        self.measured.steps += 1;
        self.batch.clear();
        Ok(())
    }
}

/// Consumes everything, commits after each poll, and gives the place that was reached.
fn consume(topic: &Topic, total: u64) -> Outcome<(Measured, Place)> {
    let bar = output::records_bar("consuming", total);
    let mut consumer = topic.consumer(GROUP).start(Start::Earliest).open()?;
    let mut measured = Measured { records: 0, bytes: 0, steps: 0, time: Duration::ZERO };
    let mut place = None;
    let began = Instant::now();
    loop {
        let records = consumer.poll(Duration::ZERO)?;
        for record in &records {
            measured.bytes += record.value().len() as u64;
            place = Some(record.next());
        }
        if records.is_empty() {
            break;
        }
        consumer.commit()?;
        measured.steps += 1;
        measured.records += records.len() as u64;
        bar.set_position(measured.records);
    }
    measured.time = began.elapsed();
    bar.finish_and_clear();
    let place = place.ok_or_else(|| Failure::Told("the files hold no lines; name others".into()))?;
    Ok((measured, place))
}

/// Deletes the topic, creates it again, and offers the old place to the new one.
fn recreate(store: &Store, old: &Topic, place: Place, out: &mut dyn Write) -> Outcome {
    writeln!(out, "\n3. delete the topic and create it again, with two records")?;
    store.delete_topic(TOPIC)?;
    let topic = store.create_topic(TOPIC, TopicOptions::new())?;
    topic.append("door open")?;
    topic.append("door closed")?;
    writeln!(out, "   created in epoch {}; it holds offsets 0..2", topic.epoch())?;
    writeln!(out, "\n4. offer the old place to the new topic: `partition.read_from({place})`")?;
    match topic.partition(0)?.read_from(place) {
        Err(error @ Error::StaleEpoch { .. }) => writeln!(out, "   refused, Error::StaleEpoch:\n   {error}")?,
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(Failure::Told("the old place was accepted; this is a bug".into())),
    }
    if let Err(error) = old.append("too late") {
        writeln!(out, "   the old topic's handle, asked to append:\n   {error}")?;
    }
    if let Err(error) = topic.group(GROUP) {
        writeln!(out, "   the old group's commit went with its topic:\n   {error}")?;
    }
    writeln!(out, "\n5. only the caller may choose where to go on: `partition.read_from(Start::Earliest)`")?;
    for record in &topic.partition(0)?.read_from(Start::Earliest)?.read()? {
        let value = String::from_utf8_lossy(record.value());
        writeln!(out, "   offset {}, place behind it {}: {value}", record.offset(), record.next())?;
    }
    Ok(())
}

fn next_commands(dir: &Path, place: Place, out: &mut dyn Write) -> Outcome {
    let program = typed(Path::new(&std::env::args_os().next().unwrap_or_else(|| "epochlog".into())));
    writeln!(out, "\nnext, try (the last one is refused, as above, with exit code 1):")?;
    writeln!(out, "   export EPOCHLOG_DATA={}", typed(dir))?;
    for command in [
        "topic describe cloud-command",
        "consume cloud-command --format '{{offset}} {{timestamp}} {{value}}'",
        "consume cloud-command --group billing",
        "group describe cloud-command billing",
        "verify",
    ] {
        writeln!(out, "   {program} {command}")?;
    }
    writeln!(out, "   {program} consume {TOPIC} --at {place}")?;
    Ok(())
}
