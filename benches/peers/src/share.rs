//! One engine's share of a round: it is opened afresh for each kind of writing, timed, and made to give every record back.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::peer::{BATCH, Engine, Mode, Peer, Result, Setup, Work};
use crate::values::{NUMBERS, Values, scattered};
use crate::verify;

/// How much is done in a round with values of one size.
pub struct Plan {
    pub values: Values,
    /// The most records of `append`, and how long it may take.
    pub append_records: u64,
    pub append_time: Duration,
    /// The records of `batch`, which are then read.
    pub read_records: u64,
    pub random_reads: u64,
    /// How long each of the durable kinds takes.
    pub durable_time: Duration,
    pub base: PathBuf,
    pub unsynced_bytes_max: Option<u64>,
}

impl Plan {
    /// A directory that goes when it is dropped.
    pub fn dir(&self) -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("peer").tempdir_in(&self.base)?)
    }
}

/// What one round found.
pub struct Sample {
    pub work: Work,
    /// For a record; for `reopen`, as a whole.
    pub nanos: f64,
    pub records: u64,
}

pub fn per_record(time: Duration, records: u64) -> f64 {
    time.as_nanos() as f64 / records.max(1) as f64
}

pub fn share(peer: &Peer, plan: &Plan, works: &[Work]) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let wanted = |work: Work| works.contains(&work) && (peer.reach)(work).can();
    if wanted(Work::Append) {
        samples.push(append(peer, plan)?);
    }
    if [Work::Batch, Work::Scan, Work::Random, Work::Reopen].into_iter().any(wanted) {
        let found = batch_and_read(peer, plan, &wanted)?;
        samples.extend(found.into_iter().filter(|sample| wanted(sample.work)));
    }
    if wanted(Work::Durable) {
        samples.push(durable(peer, plan)?);
    }
    for (work, threads) in [(Work::Threads16, 16), (Work::Threads64, 64)] {
        if wanted(work) {
            samples.push(by_threads(peer, plan, work, threads)?);
        }
    }
    Ok(samples)
}

type Open = Box<dyn Engine>;

fn open(peer: &Peer, plan: &Plan, dir: &Path, mode: Mode) -> Result<Open> {
    (peer.open)(&Setup { dir, mode, unsynced_bytes_max: plan.unsynced_bytes_max })
}

/// The engine as it can be read: some must be opened again before they hand their records over.
fn readable(peer: &Peer, plan: &Plan, dir: &TempDir, engine: Open) -> Result<Open> {
    engine.settle()?;
    if !peer.reopen_to_scan {
        return Ok(engine);
    }
    engine.close()?;
    open(peer, plan, dir.path(), Mode::Written)
}

fn append(peer: &Peer, plan: &Plan) -> Result<Sample> {
    let dir = plan.dir()?;
    let engine = open(peer, plan, dir.path(), Mode::Written)?;
    let most = plan.append_records.min(peer.records_max);
    engine.append(plan.values.of(0))?;
    let (started, mut number) = (Instant::now(), 1);
    while number < most && started.elapsed() < plan.append_time {
        // The clock is not asked before each.
        for _ in 0..BATCH {
            engine.append(plan.values.of(number))?;
            number += 1;
        }
    }
    let nanos = per_record(started.elapsed(), number - 1);
    let engine = readable(peer, plan, &dir, engine)?;
    verify::in_order(engine.as_ref(), &plan.values, number)?;
    engine.close()?;
    Ok(Sample { work: Work::Append, nanos, records: number - 1 })
}

fn batch_and_read(peer: &Peer, plan: &Plan, wanted: &impl Fn(Work) -> bool) -> Result<Vec<Sample>> {
    let dir = plan.dir()?;
    let mut engine = open(peer, plan, dir.path(), Mode::Written)?;
    let records = plan.read_records.min(peer.records_max);
    let mut samples = vec![batches(engine.as_ref(), plan, records)?];
    engine = readable(peer, plan, &dir, engine)?;
    if wanted(Work::Scan) {
        samples.push(scan(engine.as_ref(), records)?);
        engine = readable(peer, plan, &dir, engine)?;
    }
    verify::in_order(engine.as_ref(), &plan.values, records)?;
    if wanted(Work::Random) {
        samples.push(random(engine.as_ref(), plan, records)?);
    }
    engine.close()?;
    let started = Instant::now();
    let engine = open(peer, plan, dir.path(), Mode::Written)?;
    let nanos = started.elapsed().as_nanos() as f64;
    samples.push(Sample { work: Work::Reopen, nanos, records });
    verify::in_order(engine.as_ref(), &plan.values, records)?;
    engine.close()?;
    Ok(samples)
}

fn batches(engine: &dyn Engine, plan: &Plan, records: u64) -> Result<Sample> {
    let mut batch = vec![&[][..]; BATCH];
    plan.values.fill(0, &mut batch);
    engine.append_batch(&batch)?;
    let started = Instant::now();
    for from in (0..records).step_by(BATCH).skip(1) {
        plan.values.fill(from, &mut batch);
        engine.append_batch(&batch)?;
    }
    let timed = records - BATCH as u64;
    Ok(Sample { work: Work::Batch, nanos: per_record(started.elapsed(), timed), records: timed })
}

fn scan(engine: &dyn Engine, records: u64) -> Result<Sample> {
    let (started, mut seen) = (Instant::now(), 0);
    engine.scan(&mut |value| {
        black_box(value);
        seen += 1;
    })?;
    let nanos = per_record(started.elapsed(), seen);
    if seen != records {
        return Err(format!("the timed scan gave {seen} of {records} records").into());
    }
    Ok(Sample { work: Work::Scan, nanos, records })
}

fn random(engine: &dyn Engine, plan: &Plan, records: u64) -> Result<Sample> {
    let mut next = scattered(records);
    // kafko needs a hundred microseconds or more for each.
    let reads = plan.random_reads.min(records / 5);
    let (started, mut right) = (Instant::now(), 0);
    for _ in 0..reads {
        let number = next();
        engine.get(number, &mut |value| right += u64::from(value == plan.values.of(number)))?;
    }
    let nanos = per_record(started.elapsed(), reads);
    if right != reads {
        return Err(format!("{right} of {reads} random reads gave the right record").into());
    }
    Ok(Sample { work: Work::Random, nanos, records: reads })
}

fn durable(peer: &Peer, plan: &Plan) -> Result<Sample> {
    let dir = plan.dir()?;
    let engine = open(peer, plan, dir.path(), Mode::Durable)?;
    engine.durable(0, plan.values.of(0))?;
    let (started, mut number) = (Instant::now(), 1);
    while started.elapsed() < plan.durable_time {
        engine.durable(0, plan.values.of(number))?;
        number += 1;
    }
    let nanos = per_record(started.elapsed(), number - 1);
    let engine = readable(peer, plan, &dir, engine)?;
    verify::in_order(engine.as_ref(), &plan.values, number)?;
    engine.close()?;
    Ok(Sample { work: Work::Durable, nanos, records: number - 1 })
}

/// So many numbers are each thread's own.
pub const NUMBERS_OF_A_THREAD: u64 = NUMBERS / 64;

fn by_threads(peer: &Peer, plan: &Plan, work: Work, threads: usize) -> Result<Sample> {
    let dir = plan.dir()?;
    let engine = open(peer, plan, dir.path(), Mode::Durable)?;
    engine.durable(0, plan.values.of(0))?;
    let barrier = Barrier::new(threads + 1);
    let (counts, elapsed) = std::thread::scope(|scope| {
        let shared = (engine.as_ref(), &barrier);
        let spawn = |thread| scope.spawn(move || one_thread(shared.0, plan, thread, shared.1));
        let handles: Vec<_> = (0..threads).map(spawn).collect();
        barrier.wait();
        let started = Instant::now();
        let counts: Result<Vec<u64>> = handles.into_iter().map(|handle| handle.join().expect("no panic")).collect();
        (counts, started.elapsed())
    });
    let counts = counts?;
    let records = counts.iter().sum::<u64>() - 1;
    let engine = readable(peer, plan, &dir, engine)?;
    verify::of_threads(engine.as_ref(), &plan.values, &counts)?;
    engine.close()?;
    Ok(Sample { work, nanos: per_record(elapsed, records), records })
}

/// Gives how many records of this thread there are, the one written before among them.
fn one_thread(engine: &dyn Engine, plan: &Plan, thread: usize, barrier: &Barrier) -> Result<u64> {
    let base = thread as u64 * NUMBERS_OF_A_THREAD;
    let mut count = u64::from(thread == 0);
    barrier.wait();
    let started = Instant::now();
    while started.elapsed() < plan.durable_time && count < NUMBERS_OF_A_THREAD {
        engine.durable(thread, plan.values.of(base + count))?;
        count += 1;
    }
    Ok(count)
}
