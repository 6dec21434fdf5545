//! What the benches share: stores in real files, records, and a stopwatch that leaves the setup out.
//!
//! Every time that is reported is a time per record, unless the bench says otherwise. The files lie in the system's
//! directory for temporary files, or in `EPOCHLOG_BENCH_DIR`: figures of durable appends are that disk's.

#![allow(dead_code, reason = "each bench uses a part")]

pub mod floor;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use epochlog::{AppendOptions, Durability, Mapping, Partition, Record, Store, StoreOptions, Topic, TopicOptions};
use tempfile::TempDir;

pub const TOPIC: &str = "bench";
pub const MAPPINGS: [(Mapping, &str); 2] = [(Mapping::Auto, "mapped"), (Mapping::Never, "positioned")];

/// A directory that goes when it is dropped.
pub fn dir() -> TempDir {
    let base = std::env::var_os("EPOCHLOG_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new().prefix("epochlog-bench").tempdir_in(base).expect("a temporary directory")
}

/// A store in a directory of its own.
pub struct Home {
    pub dir: TempDir,
    pub store: Store,
}

pub fn home(mapping: Mapping) -> Home {
    home_with(StoreOptions::new().mapping(mapping))
}

pub fn home_with(options: StoreOptions) -> Home {
    let dir = dir();
    let store = options.create(dir.path().join("store")).expect("creates");
    Home { dir, store }
}

/// The defaults, but the cap on unsynced bytes: otherwise the benches of written appends would measure the disk.
pub fn options() -> TopicOptions {
    TopicOptions::new().unsynced_bytes_max(1 << 40)
}

impl Home {
    /// An empty topic; one that is there is deleted.
    pub fn fresh_topic(&self) -> Topic {
        if self.store.topic(TOPIC).is_ok() {
            self.store.delete_topic(TOPIC).expect("deletes");
        }
        self.store.create_topic(TOPIC, options()).expect("creates")
    }

    /// An empty topic's partition, its session begun: the first append makes the files.
    pub fn fresh(&self) -> Partition {
        let partition = self.fresh_topic().partition(0).expect("has one");
        partition.append("begins").expect("appends");
        partition
    }
}

pub fn level(durability: Durability) -> AppendOptions {
    AppendOptions::new().durability(durability)
}

/// Appends `count` records of this value, in batches, written and not synced.
pub fn fill(partition: &Partition, value: &[u8], count: usize, batch: usize) {
    let records = vec![Record::new(value); batch];
    for _ in 0..count / batch {
        partition.append_batch_with(&records, level(Durability::Written)).expect("appends");
    }
}

/// Fewer records than this say nothing when one takes nanoseconds.
pub const RECORDS_MIN: u64 = 20_000;

/// Runs a step until it has done at least `count` records, `per_step` in each, and gives the time that `count` of them
/// took. A fresh state is made, untimed, for every `per_state` records.
pub fn timed<S>(
    count: u64,
    per_step: u64,
    per_state: u64,
    mut fresh: impl FnMut() -> S,
    mut step: impl FnMut(&mut S),
) -> Duration {
    let steps = count.max(RECORDS_MIN).div_ceil(per_step);
    let (mut left, mut total) = (steps, Duration::ZERO);
    while left > 0 {
        let now = left.min((per_state / per_step).max(1));
        let mut state = fresh();
        let started = Instant::now();
        for _ in 0..now {
            step(&mut state);
        }
        total += started.elapsed();
        left -= now;
    }
    share(total, count, steps * per_step)
}

/// The same for steps that take so long that one of them says enough, with another one, untimed, before each.
pub fn taking_turns(count: u64, per_step: u64, mut timed: impl FnMut(), mut untimed: impl FnMut()) -> Duration {
    let steps = count.div_ceil(per_step);
    let mut total = Duration::ZERO;
    for _ in 0..steps {
        untimed();
        let started = Instant::now();
        timed();
        total += started.elapsed();
    }
    share(total, count, steps * per_step)
}

/// The part of a time that `count` of `done` records took.
pub fn share(total: Duration, count: u64, done: u64) -> Duration {
    Duration::from_secs_f64(total.as_secs_f64() * count as f64 / done as f64)
}

/// A group whose times are times per record.
pub fn per_record<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group
}

/// A group whose times are times of something that takes milliseconds.
pub fn per_call<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(3));
    group
}

/// Numbers below `below` in no order that a cache would know.
pub fn scattered(below: u64) -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}
