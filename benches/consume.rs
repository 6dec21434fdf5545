//! A consumer that polls and commits. Times are per record.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use epochlog::{Consumer, Durability, Start, TopicOptions};
use support::{Home, MAPPINGS, fill, home, level, per_record, timed};

const RECORDS: usize = 200_000;
const BATCH: usize = 100;
const VALUE: [u8; 100] = [b'v'; 100];

/// A group that has everything before it, and gets one batch from each poll.
fn consumer(home: &Home, durability: Durability) -> Consumer {
    if home.store.topic(support::TOPIC).is_ok() {
        home.store.delete_topic(support::TOPIC).expect("deletes");
    }
    let options = TopicOptions::new().durability(durability);
    let topic = home.store.create_topic(support::TOPIC, options).expect("creates");
    fill(&topic.partition(0).expect("has one"), &VALUE, RECORDS, BATCH);
    topic.sync().expect("syncs");
    topic.consumer("bench").start(Start::Earliest).bytes_max(1).open().expect("opens")
}

fn poll_and_commit(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "consume/batches of 100/100B");
    for (mapping, name) in MAPPINGS {
        for (durability, level) in [(Durability::Written, "written"), (Durability::Durable, "durable")] {
            let home = home(mapping);
            group.bench_function(format!("{name}/commit {level}"), |bencher| {
                bencher.iter_custom(|count| {
                    let fresh = || consumer(&home, durability);
                    timed(count, BATCH as u64, RECORDS as u64, fresh, |consumer| {
                        let records = consumer.poll(Duration::ZERO).expect("polls");
                        assert_eq!(records.len(), BATCH, "one batch a poll");
                        assert!(records.iter().all(|record| !black_box(record.value()).is_empty()));
                        consumer.commit().expect("commits");
                    })
                });
            });
        }
    }
    group.finish();
}

/// The way of one record: the time from the append's call to the record in hand.
fn one_by_one(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "consume/append and poll one/100B");
    let home = home(epochlog::Mapping::Auto);
    let topic = home.fresh_topic();
    let mut consumer = topic.consumer("bench").start(Start::Latest).open().expect("opens");
    consumer.poll(Duration::ZERO).expect("resolves where it starts");
    let partition = topic.partition(0).expect("has one");
    group.bench_function("mapped", |bencher| {
        bencher.iter(|| {
            partition.append_with(&VALUE, level(Durability::Written)).expect("appends");
            assert_eq!(consumer.poll(Duration::ZERO).expect("polls").len(), 1);
        });
    });
    group.finish();
}

criterion_group!(benches, poll_and_commit, one_by_one);
criterion_main!(benches);
