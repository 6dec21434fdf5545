//! Appending from several threads at once. Times are per record, all threads together: those of one thread are in the same
//! group, and what counts is the ratio to them.

mod support;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use epochlog::{Durability, Mapping, Partition};
use support::{RECORDS_MIN, home, level, options, per_record, share};

const VALUE: [u8; 100] = [b'v'; 100];
/// So many records go to a topic before an empty one takes its place.
const RECORDS_PER_TOPIC: u64 = 1_000_000;

/// The time in which each of so many threads has done its part `each` times.
fn together(threads: usize, each: u64, step: impl Fn(usize) + Sync) -> Duration {
    let all_there = Barrier::new(threads + 1);
    let (step, all_there) = (&step, &all_there);
    std::thread::scope(|scope| {
        let working: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    all_there.wait();
                    (0..each).for_each(|_| step(number));
                })
            })
            .collect();
        all_there.wait();
        let started = Instant::now();
        working.into_iter().for_each(|one| one.join().expect("ends well"));
        started.elapsed()
    })
}

/// Threads that have one partition take turns at it; with one for each, they have nothing in common but the store.
fn written(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "append/written/threads/100B");
    for (name, threads, partitions) in
        [("1 thread", 1, 1), ("4 threads, 1 partition", 4, 1), ("4 threads, 4 partitions", 4, 4)]
    {
        let home = home(Mapping::Auto);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let (mut left, mut done, mut total) = (count.max(RECORDS_MIN), 0, Duration::ZERO);
                while left > 0 {
                    let each = left.min(RECORDS_PER_TOPIC).div_ceil(threads as u64);
                    let partitions = begun(&home, partitions);
                    let append = |partition: &Partition| {
                        partition.append_with(&VALUE, level(Durability::Written)).expect("appends");
                    };
                    total += together(threads, each, |number| append(&partitions[number % partitions.len()]));
                    done += each * threads as u64;
                    left = left.saturating_sub(each * threads as u64);
                }
                share(total, count, done)
            });
        });
    }
    group.finish();
}

/// An empty topic's partitions, their sessions begun.
fn begun(home: &support::Home, count: u32) -> Vec<Partition> {
    if home.store.topic(support::TOPIC).is_ok() {
        home.store.delete_topic(support::TOPIC).expect("deletes");
    }
    let topic = home.store.create_topic(support::TOPIC, options().partitions(count)).expect("creates");
    let partitions: Vec<_> = (0..count).map(|number| topic.partition(number).expect("is there")).collect();
    partitions.iter().for_each(|partition| assert!(partition.append("begins").is_ok()));
    partitions
}

/// One sync is shared by whoever waits.
fn durable(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "append/durable/threads/100B");
    group.measurement_time(Duration::from_secs(4));
    let home = home(Mapping::Auto);
    let partition = home.fresh();
    for threads in [1, 4, 16, 64] {
        group.bench_function(format!("{threads} threads"), |bencher| {
            bencher.iter_custom(|count| {
                let each = count.div_ceil(threads as u64);
                let took = together(threads, each, |_| assert!(partition.append(&VALUE).is_ok()));
                share(took, count, each * threads as u64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, written, durable);
criterion_main!(benches);
