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

#[test]
fn no_number_is_issued_twice_though_nothing_is_left_of_whom_it_was_given_to() {
    for go_down_and_open in [World::reopen, World::kill, World::power_cut] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            for _ in 0..2 {
                let before = world.topic("orders").epoch().number;
                world.store().delete_topic("orders").expect("deletes");
                go_down_and_open(&mut world);
                let after = world.topic("orders").epoch().number;
                assert!(after > before, "{after} after {before}");
            }
        });
    }
}
