//! A consumer that polls and commits, beside a plain read and the write that a commit can't do without; and what a commit
//! costs among many groups. Times are per record, or per commit.

mod support;

use std::cell::LazyCell;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use epochlog::{Consumer, Durability, Offset, Reader, Start, TopicOptions};
use support::floor::Synced;
use support::{Home, MAPPINGS, fill, home, level, per_record, timed};

const RECORDS: usize = 200_000;
const BATCH: usize = 100;
/// The records behind the batch that each reader and consumer begins with.
const LEFT: u64 = (RECORDS - BATCH) as u64;
const VALUE: [u8; 100] = [b'v'; 100];
const LEVELS: [(Durability, &str); 2] = [(Durability::Written, "written"), (Durability::Durable, "durable")];
/// A commit of a group with a short name and one partition takes about so much, header and all.
const COMMIT_BYTES: usize = 60;

/// A filled topic, and synced.
fn filled(home: &Home, durability: Durability) -> epochlog::Topic {
    if home.store.topic(support::TOPIC).is_ok() {
        home.store.delete_topic(support::TOPIC).expect("deletes");
    }
    let options = TopicOptions::new().durability(durability);
    let topic = home.store.create_topic(support::TOPIC, options).expect("creates");
    fill(&topic.partition(0).expect("has one"), &VALUE, RECORDS, BATCH);
    topic.sync().expect("syncs");
    topic
}

/// A group that has one batch behind it, and gets one batch from each poll. The first poll of a group stores where it
/// begins, durably, once for ever: that is no part of what a batch costs.
fn consumer(home: &Home, durability: Durability) -> Consumer {
    let topic = filled(home, durability);
    let mut consumer = topic.consumer("bench").start(Start::Earliest).bytes_max(1).open().expect("opens");
    assert_eq!(consumer.poll(Duration::ZERO).expect("polls").len(), BATCH);
    consumer.commit().expect("commits");
    consumer
}

fn reader(home: &Home) -> Reader {
    let partition = filled(home, Durability::Written).partition(0).expect("has one");
    let mut reader = partition.read_from(Start::Earliest).expect("begins").bytes_max(1);
    assert_eq!(reader.read().expect("reads").len(), BATCH);
    reader
}

fn poll_and_commit(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "consume/batches of 100/100B");
    for (mapping, name) in MAPPINGS {
        for (durability, level) in LEVELS {
            let home = home(mapping);
            let dir = support::dir();
            group.bench_function(format!("{name}/plain read, a write {level}"), |bencher| {
                let mut floor = Synced::new(&dir, COMMIT_BYTES - support::floor::HEADER_BYTES);
                bencher.iter_custom(|count| {
                    let fresh = || reader(&home);
                    timed(count, BATCH as u64, LEFT, fresh, |reader| {
                        let records = reader.read().expect("reads");
                        assert_eq!(records.len(), BATCH, "one batch a read");
                        assert!(records.iter().all(|record| !black_box(record.value()).is_empty()));
                        if durability == Durability::Durable { floor.append() } else { floor.write() }
                    })
                });
            });
            group.bench_function(format!("{name}/commit {level}"), |bencher| {
                bencher.iter_custom(|count| {
                    let fresh = || consumer(&home, durability);
                    timed(count, BATCH as u64, LEFT, fresh, |consumer| {
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

/// A topic with so many groups but one that have a commit.
fn crowd(durability: Durability, groups: u64) -> (Home, epochlog::Topic) {
    let home = home(epochlog::Mapping::Auto);
    let topic = filled(&home, durability);
    let partition = topic.partition(0).expect("has one");
    for n in 1..groups {
        let mut consumer = topic.consumer(&format!("group-{n}")).open().expect("opens");
        consumer.commit_to(partition.place_at(Offset::new(n)).expect("is there")).expect("commits");
    }
    home.store.maintain().expect("maintains");
    (home, topic)
}

fn among_groups(criterion: &mut Criterion) {
    let mut group = per_record(criterion, "consume/commit among groups");
    for (durability, level) in LEVELS {
        for groups in [1, 10_000] {
            let crowd = LazyCell::new(|| crowd(durability, groups));
            let mut next = (1..RECORDS as u64).cycle();
            group.bench_function(format!("{level}/{groups}"), |bencher| {
                let (_home, topic) = &*crowd;
                let partition = topic.partition(0).expect("has one");
                let mut consumer = topic.consumer("bench").open().expect("opens");
                bencher.iter(|| {
                    let place = partition.place_at(Offset::new(next.next().expect("goes on"))).expect("is there");
                    consumer.commit_to(place).expect("commits");
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

criterion_group!(benches, poll_and_commit, among_groups, one_by_one);
criterion_main!(benches);
