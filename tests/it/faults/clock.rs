//! F14: the wall clock jumps forward or back, before any append, roll or maintenance.

use std::time::Duration;

use epochlog::testing::SimDisk;
use epochlog::{AppendOptions, Durability, Partition, Start, Timestamp, TopicOptions};

use crate::support::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Where the clock is set to, from where it stands.
const JUMPS: [i64; 6] = [-20_000 * DAY_MS, -DAY_MS, -1, 1, 3 * DAY_MS, 20_000 * DAY_MS];

const STEPS: u64 = 24;

/// Rolls by size and by age, and forgets what is older than a day.
fn forgetful() -> TopicOptions {
    let day = Duration::from_millis(DAY_MS.unsigned_abs());
    small().segment_bytes_max(1024).segment_age(Duration::from_secs(60)).retention_age(day)
}

fn jump(disk: &SimDisk, by: i64) {
    let now = epochlog::testing::Clock::now(&disk.clock()).as_millis();
    disk.clock().set_wall(Timestamp::from_millis(now + by));
}

fn append(partition: &Partition, n: u64) {
    let durability = if n.is_multiple_of(3) { Durability::Durable } else { Durability::Written };
    let value = format!("v{n}-{}", "x".repeat(200));
    partition.append_with(&value, AppendOptions::new().durability(durability)).expect("appends");
}

/// Everything is there in the order of the offsets, and time is asked as a walk over all records would answer.
fn check(partition: &Partition, count: u64, story: &str) {
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    let mut times = Vec::new();
    loop {
        let records = reader.read().expect("reads");
        if records.is_empty() {
            break;
        }
        for record in &records {
            let value = String::from_utf8_lossy(record.value()).into_owned();
            assert!(value.starts_with(&format!("v{}-", record.offset())), "{story}: {value} at {}", record.offset());
            times.push(record.timestamp().as_millis());
        }
    }
    assert_eq!((partition.start().get(), times.len() as u64), (0, count), "{story}: retention took what is young");
    assert!(times.is_sorted(), "{story}: the time of appends goes back: {times:?}");
    let asked = times.iter().flat_map(|time| [time - 1, *time, time + 1]);
    for time in asked.chain([i64::MIN, i64::MAX]) {
        let walked = times.iter().position(|there| *there >= time).unwrap_or(times.len()) as u64;
        let found = partition.offset_at(Timestamp::from_millis(time)).expect("looks up").get();
        assert_eq!(found, walked, "{story}: the first record that isn't older than {time}");
    }
}

#[test]
fn a_clock_that_jumps_reorders_nothing_and_deletes_nothing() {
    let mut cases = 0;
    for at in 0..STEPS {
        for by in JUMPS {
            // There, or there and back again two steps later.
            for back in [false, true] {
                both_ways(|mapping| {
                    let story = format!("{mapping:?}, {by} ms at step {at}, back: {back}");
                    let mut world = world(mapping);
                    let topic = world.store().create_topic("orders", forgetful()).expect("creates");
                    let partition = topic.partition(0).expect("is there");
                    for n in 0..STEPS {
                        if n == at {
                            jump(&world.disk, by);
                        }
                        if back && n == at + 2 {
                            jump(&world.disk, -by);
                        }
                        append(&partition, n);
                        if n % 4 == 3 {
                            world.store().maintain().expect("maintains");
                        }
                    }
                    check(&partition, STEPS, &story);
                    drop((partition, topic));
                    world.power_cut();
                    let partition = world.topic("orders").partition(0).expect("recovers");
                    let kept = partition.end().get();
                    assert!(kept >= STEPS - 2, "{story}: {kept} records are left");
                    (kept..STEPS + 4).for_each(|n| append(&partition, n));
                    check(&partition, STEPS + 4, &story);
                });
                cases += 2;
            }
        }
    }
    println!("F14: {cases} cases");
}

#[test]
fn records_that_are_really_old_go_once_the_clock_is_right() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let topic = world.store().create_topic("orders", forgetful()).expect("creates");
        let partition = topic.partition(0).expect("is there");
        (0..12).for_each(|n| append(&partition, n));
        jump(&world.disk, 20_000 * DAY_MS);
        assert!(world.store().maintain().expect("maintains").retention_suspended);
        jump(&world.disk, -20_000 * DAY_MS);
        world.disk.clock().advance(Duration::from_millis(2 * DAY_MS.unsigned_abs()));
        let done = world.store().maintain().expect("maintains");
        assert!(!done.retention_suspended && done.segments_removed > 0);
        let start = partition.start();
        drop((partition, topic));
        world.reopen();
        assert_eq!(world.topic("orders").partition(0).expect("is there").start(), start);
    });
}

#[test]
fn a_record_is_never_older_than_the_epoch_that_it_was_appended_in() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("orders", forgetful()).expect("creates");
        let partition = topic.partition(0).expect("is there");
        jump(&world.disk, -20_000 * DAY_MS);
        append(&partition, 0);
        jump(&world.disk, 20_000 * DAY_MS);
        let created = partition.lineage()[0].time;
        let found = partition.get(epochlog::Offset::ZERO).expect("reads");
        assert_eq!(found.iter().next().expect("is there").timestamp(), created);
    });
}

#[test]
fn a_clock_that_was_set_back_makes_no_append_roll() {
    for reopens in [false, true] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let options = TopicOptions::new().segment_age(Duration::from_secs(60));
            let topic = world.store().create_topic("orders", options).expect("creates");
            append(&topic.partition(0).expect("is there"), 0);
            jump(&world.disk, DAY_MS);
            append(&topic.partition(0).expect("is there"), 1);
            jump(&world.disk, -DAY_MS);
            drop(topic);
            if reopens {
                world.reopen();
            }
            let partition = world.topic("orders").partition(0).expect("is there");
            for n in 2..22 {
                append(&partition, n);
                world.store().maintain().expect("maintains");
            }
            assert!(partition.segments().len() <= 3, "{} segments", partition.segments().len());
            world.disk.clock().advance(2 * Duration::from_millis(DAY_MS.unsigned_abs()));
            let before = partition.segments().len();
            assert!(world.store().maintain().expect("maintains").segments_rolled > 0);
            append(&partition, 22);
            assert_eq!(partition.segments().len(), before + 1);
        });
    }
}
