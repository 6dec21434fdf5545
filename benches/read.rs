//! Reading 1,000,000 records of 100 bytes, or `EPOCHLOG_BENCH_RECORDS`, verified: in order, one by its offset, and one by
//! its time. Times are per record.

mod support;

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use epochlog::{Durability, Offset, Partition, Reader, Record, Start, Timestamp};
use support::floor::Frames;
use support::{Home, MAPPINGS, fill, home, level, per_record, scattered, share, timed};

const VALUE: [u8; 100] = [b'v'; 100];
const BATCHES: [usize; 2] = [1, 100];

/// How many records there are.
fn records() -> usize {
    std::env::var("EPOCHLOG_BENCH_RECORDS").ok().map_or(1_000_000, |told| told.parse().expect("is a number"))
}

/// When a record was made: one in each millisecond from when the bench began.
fn time_of(number: u64) -> Timestamp {
    static BEGAN: LazyLock<i64> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("is later");
        i64::try_from(since.as_millis()).expect("is small")
    });
    Timestamp::from_millis(*BEGAN + i64::try_from(number).expect("is small"))
}

/// A closed and opened store, so that everything is sealed, and its partition, read once so that it is in the cache and
/// mapped.
fn filled(mapping: epochlog::Mapping, batch: usize) -> (Home, Partition) {
    filled_by(mapping, |partition| fill(partition, &VALUE, records(), batch))
}

/// The same with a time in each record.
fn timed_records(mapping: epochlog::Mapping, batch: usize) -> (Home, Partition) {
    filled_by(mapping, |partition| {
        for first in (0..records() as u64).step_by(batch) {
            let records: Vec<_> =
                (first..first + batch as u64).map(|number| Record::new(&VALUE).timestamp(time_of(number))).collect();
            partition.append_batch_with(&records, level(Durability::Written)).expect("appends");
        }
    })
}

fn filled_by(mapping: epochlog::Mapping, fills: impl FnOnce(&Partition)) -> (Home, Partition) {
    let Home { dir, store } = home(mapping);
    let topic = store.create_topic(support::TOPIC, support::options()).expect("creates");
    fills(&topic.partition(0).expect("has one"));
    drop(topic);
    store.close().expect("closes");
    let options = epochlog::StoreOptions::new().mapping(mapping);
    let store = options.open(dir.path().join("store")).expect("opens");
    let partition = store.topic(support::TOPIC).expect("is there").partition(0).expect("has one");
    let mut reader = from_start(&partition);
    while some(&partition, &mut reader) > 0 {}
    (Home { dir, store }, partition)
}

fn from_start(partition: &Partition) -> Reader {
    partition.read_from(Start::Earliest).expect("begins")
}

/// Reads on, and from the start again at the end; gives how many records that were.
fn some(partition: &Partition, reader: &mut Reader) -> u64 {
    let records = reader.read().expect("reads");
    if records.is_empty() {
        *reader = from_start(partition);
    }
    records.iter().map(|record| u64::from(!black_box(record.value()).is_empty())).sum()
}

fn sequential(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "read/sequential/100B");
    for batch in BATCHES {
        let dir = support::dir();
        group.bench_function(BenchmarkId::new("floor", batch), |bencher| {
            let mut frames = Frames::new(&dir, 128 << 20);
            frames.fill(&VALUE, batch);
            bencher.iter_custom(|count| {
                timed(count, batch as u64, u64::MAX, || (), |()| frames.verify(VALUE.len(), batch))
            });
        });
        for (mapping, name) in MAPPINGS {
            let filled = LazyCell::new(|| filled(mapping, batch));
            group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                let partition = &filled.1;
                let mut reader = from_start(partition);
                bencher.iter_custom(|count| {
                    let (mut done, started) = (0, Instant::now());
                    while done < count.max(records() as u64) {
                        done += some(partition, &mut reader);
                    }
                    share(started.elapsed(), count, done)
                });
            });
        }
    }
    group.finish();
}

fn random(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "read/random/100B");
    let dir = support::dir();
    let frames = LazyCell::new(|| {
        let mut frames = Frames::new(&dir, 132 * records());
        frames.fill(&VALUE, 1);
        frames
    });
    group.bench_function("floor/1", |bencher| {
        let mut number = scattered(records() as u64);
        bencher.iter(|| frames.get(usize::try_from(number()).expect("is small"), VALUE.len()));
    });
    // The processor fetches several of those above at once. Who needs one to know the next can't have that.
    group.bench_function("floor, one after the other/1", |bencher| {
        let (mut number, mut last) = (scattered(records() as u64), 0);
        bencher.iter(|| {
            let next = (number() + u64::from(last)) % records() as u64;
            last = frames.get(usize::try_from(next).expect("is small"), VALUE.len());
        });
    });
    for batch in BATCHES {
        for (mapping, name) in MAPPINGS {
            let filled = LazyCell::new(|| filled(mapping, batch));
            let mut number = scattered(records() as u64);
            group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                let partition = &filled.1;
                bencher.iter(|| {
                    let records = partition.get(Offset::new(number())).expect("is there");
                    black_box(records.iter().next().expect("one record").value().len())
                });
            });
        }
    }
    group.finish();
}

fn by_time(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "read/by time/100B");
    for batch in BATCHES {
        for (mapping, name) in MAPPINGS {
            let filled = LazyCell::new(|| timed_records(mapping, batch));
            let mut number = scattered(records() as u64);
            group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                let partition = &filled.1;
                bencher.iter(|| {
                    let wanted = number();
                    let reader = partition.read_from(Start::Time(time_of(wanted))).expect("is there");
                    assert_eq!(reader.place().next().get(), wanted);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, sequential, random, by_time);
criterion_main!(benches);
