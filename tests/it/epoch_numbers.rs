//! Epoch numbers and append times only rise, whatever happens to `STORE` and to the clock.

use std::time::Duration;

use epochlog::{Start, Timestamp};

use crate::support::*;

#[test]
fn numbers_rise_behind_an_older_copy_of_the_store_file() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 1);
        world.close();
        let older = world.disk.read("STORE");
        for _ in 0..3 {
            world.open();
            fill(&world.partition(), "v", 1);
            world.close();
        }
        world.disk.write("STORE", older);
        world.open();
        fill(&world.partition(), "v", 1);
        let numbers: Vec<u64> = world.partition().lineage().iter().map(|begun| begun.epoch.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        world.reopen();
        assert_eq!(all(&world.partition()), numbered("v", 0..5));
    });
}

#[test]
fn append_times_never_go_back_though_the_clock_does_between_sessions() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 1);
        world.close();
        world.disk.clock().set_wall(Timestamp::from_millis(1));
        world.open();
        fill(&world.partition(), "v", 1);
        world.disk.clock().advance(Duration::from_millis(5));
        fill(&world.partition(), "v", 1);
        let records = world.partition().read_from(Start::Earliest).expect("begins").read().expect("reads");
        let times: Vec<Timestamp> = records.iter().map(|record| record.append_time()).collect();
        assert_eq!(times.len(), 3);
        assert!(times.is_sorted(), "{times:?}");
    });
}
