//! Appending, by size, batch and durability, with the floor of the machine in the same group. Times are per record.

mod support;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use epochlog::{Durability, Mapping, Record, StoreOptions};
use support::floor::{Frames, Synced};
use support::{MAPPINGS, home, home_with, level, per_record, taking_turns, timed};

const SIZES: [usize; 2] = [100, 1024];
const BATCHES: [usize; 3] = [1, 10, 100];
/// So many bytes go to a topic before an empty one takes its place.
const BYTES_PER_TOPIC: usize = 128 << 20;

fn written(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = per_record(criterion, &format!("append/written/{size}B"));
        let value = vec![b'v'; size];
        let per_topic = (BYTES_PER_TOPIC / size) as u64;
        for batch in BATCHES {
            let frames = support::dir();
            group.bench_function(BenchmarkId::new("floor", batch), |bencher| {
                let mut frames = Frames::new(&frames, 64 << 20);
                bencher.iter_custom(|count| {
                    timed(count, batch as u64, u64::MAX, || (), |()| frames.append(&value, batch))
                });
            });
            let stores = MAPPINGS.map(|(mapping, name)| (StoreOptions::new().mapping(mapping), name));
            let with_background = (StoreOptions::new().background(true), "mapped, with background threads");
            for (options, name) in stores.into_iter().chain([with_background]) {
                let home = home_with(options);
                let records = vec![Record::new(&value); batch];
                group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                    bencher.iter_custom(|count| {
                        timed(
                            count,
                            batch as u64,
                            per_topic,
                            || home.fresh(),
                            |partition| {
                                partition.append_batch_with(&records, level(Durability::Written)).expect("appends");
                            },
                        )
                    });
                });
            }
        }
        group.finish();
    }
}

/// The engine and the floor take turns, and only one of them is timed: whatever else the disk is doing falls on both, so
/// that the ratio can be read off in one run.
fn durable(criterion: &mut Criterion) {
    for size in SIZES {
        let mut group = per_record(criterion, &format!("append/durable/{size}B"));
        group.measurement_time(Duration::from_secs(4));
        let value = vec![b'v'; size];
        let dir = support::dir();
        let mut floor = Synced::new(&dir, size);
        let beside = home(Mapping::Auto);
        let other = beside.fresh();
        group.bench_function("floor/1", |bencher| {
            bencher.iter_custom(|count| {
                let untimed = || assert!(other.append(&value).is_ok());
                taking_turns(count, 1, || floor.append(), untimed)
            });
        });
        for (mapping, name) in MAPPINGS {
            for batch in BATCHES {
                let home = home(mapping);
                let partition = home.fresh();
                let records = vec![Record::new(&value); batch];
                group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                    bencher.iter_custom(|count| {
                        let timed = || assert!(partition.append_batch(&records).is_ok());
                        taking_turns(count, batch as u64, timed, || floor.append())
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, written, durable);
criterion_main!(benches);
