//! Reading 1,000,000 records of 100 bytes, verified: in order, and one by its offset. Times are per record.

mod support;

use std::cell::LazyCell;
use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use epochlog::{Offset, Partition, Reader, Start};
use support::floor::Frames;
use support::{Home, MAPPINGS, fill, home, per_record, scattered, share, timed};

const RECORDS: usize = 1_000_000;
const VALUE: [u8; 100] = [b'v'; 100];
const BATCHES: [usize; 2] = [1, 100];

/// A closed and opened store, so that everything is sealed, and its partition, read once so that it is in the cache and
/// mapped.
fn filled(mapping: epochlog::Mapping, batch: usize) -> (Home, Partition) {
    let Home { dir, store } = home(mapping);
    let topic = store.create_topic(support::TOPIC, support::options()).expect("creates");
    fill(&topic.partition(0).expect("has one"), &VALUE, RECORDS, batch);
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
                    while done < count.max(RECORDS as u64) {
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
    group.bench_function("floor/1", |bencher| {
        let mut frames = Frames::new(&dir, 132 * RECORDS);
        frames.fill(&VALUE, 1);
        let mut number = scattered(RECORDS as u64);
        bencher.iter(|| frames.get(usize::try_from(number()).expect("is small"), VALUE.len()));
    });
    for batch in BATCHES {
        for (mapping, name) in MAPPINGS {
            let filled = LazyCell::new(|| filled(mapping, batch));
            let mut number = scattered(RECORDS as u64);
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

criterion_group!(benches, sequential, random);
criterion_main!(benches);
