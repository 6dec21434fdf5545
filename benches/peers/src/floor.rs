//! The floor: what this machine can do at best, for the same work and without an engine around it.

#[allow(dead_code, reason = "the benches of the engine use the rest")]
#[path = "../../support/floor.rs"]
mod machine;

use std::time::Instant;

use machine::{Frames, HEADER_BYTES, Synced};
use tempfile::TempDir;

use crate::peer::{BATCH, Result, Work};
use crate::share::{Plan, Sample, per_record};
use crate::values::scattered;

/// The name of its lines.
pub const NAME: &str = "floor";

pub fn reach(work: Work) -> &'static str {
    match work {
        Work::Append | Work::Batch => "a value, a header and a checksum copied into a warm mapped file",
        Work::Durable => "`pwrite` and `fdatasync` into reserved space",
        Work::Threads16 | Work::Threads64 => "the records of all threads in one `pwrite` and one `fdatasync`",
        Work::Scan => "a walk over frames of 100 values, checksums verified",
        Work::Random => "a frame at a known position of a mapped file, checksum verified",
        Work::Reopen => "nothing to compare with",
    }
}

pub fn share(plan: &Plan, works: &[Work]) -> Result<Vec<Sample>> {
    let samples = works.iter().map(|&work| {
        let dir = plan.dir()?;
        Ok(match work {
            Work::Append => Some(append(plan, &dir, 1)),
            Work::Batch => Some(append(plan, &dir, BATCH)),
            Work::Durable => Some(durable(plan, &dir, 1)),
            Work::Threads16 => Some(durable(plan, &dir, 16)),
            Work::Threads64 => Some(durable(plan, &dir, 64)),
            Work::Scan => Some(scan(plan, &dir)),
            Work::Random => Some(random(plan, &dir)),
            Work::Reopen => None,
        }
        .map(|(nanos, records)| Sample { work, nanos, records }))
    });
    samples.filter_map(Result::transpose).collect()
}

fn frames(plan: &Plan, dir: &TempDir, count: usize, records: u64) -> Frames {
    let bytes = (HEADER_BYTES + count * plan.values.size()) as u64 * records / count as u64;
    Frames::new(dir, usize::try_from(bytes).expect("fits the memory"))
}

fn append(plan: &Plan, dir: &TempDir, count: usize) -> (f64, u64) {
    let records = plan.append_records;
    let mut frames = frames(plan, dir, count, records);
    let started = Instant::now();
    for number in (0..records).step_by(count) {
        frames.append(plan.values.of(number), count);
    }
    (per_record(started.elapsed(), records), records)
}

fn durable(plan: &Plan, dir: &TempDir, at_once: usize) -> (f64, u64) {
    let bytes = at_once * (HEADER_BYTES + plan.values.size()) - HEADER_BYTES;
    let mut synced = Synced::new(dir, bytes);
    synced.append();
    let (started, mut syncs) = (Instant::now(), 0);
    while started.elapsed() < plan.durable_time {
        synced.append();
        syncs += 1;
    }
    let records = syncs * at_once as u64;
    (per_record(started.elapsed(), records), records)
}

fn scan(plan: &Plan, dir: &TempDir) -> (f64, u64) {
    let records = plan.read_records;
    let mut frames = frames(plan, dir, BATCH, records);
    frames.fill(plan.values.of(0), BATCH);
    let started = Instant::now();
    for _ in (0..records).step_by(BATCH) {
        frames.verify(plan.values.size(), BATCH);
    }
    (per_record(started.elapsed(), records), records)
}

fn random(plan: &Plan, dir: &TempDir) -> (f64, u64) {
    let mut frames = frames(plan, dir, 1, plan.read_records);
    frames.fill(plan.values.of(0), 1);
    let mut number = scattered(plan.read_records);
    let started = Instant::now();
    for _ in 0..plan.random_reads {
        frames.get(usize::try_from(number()).expect("is small"), plan.values.size());
    }
    (per_record(started.elapsed(), plan.random_reads), plan.random_reads)
}
