//! A store that is opened for reading beside its writer: what it sees, when, and what it is told when things change.

use std::path::PathBuf;

use epochlog::testing::SimDisk;
use epochlog::{Error, Offset, Partition, Start, Store, Topic, inspect};

use crate::support::*;

/// The same disk, opened for reading.
fn beside(world: &World) -> Store {
    options(&world.disk, world.mapping).open_read_only("/sim").expect("opens")
}

fn seen(store: &Store) -> Topic {
    store.topic("orders").expect("is there")
}

fn first(topic: &Topic) -> Partition {
    topic.partition(0).expect("is there")
}

/// Reads and commits all there is, for the group `billing`.
fn commit_all(topic: &Topic) {
    let mut consumer = topic.consumer("billing").open().expect("opens");
    while !consumer.poll(AT_ONCE).expect("polls").is_empty() {}
    consumer.commit().expect("commits");
}

#[test]
fn a_reader_whose_segment_was_truncated_away_learns_of_the_fork_and_not_of_damage() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 600);
        let store = beside(&world);
        let mut reader = first(&seen(&store)).read_from(Start::At(Offset::new(500))).expect("begins");
        world.partition().truncate(Offset::new(10)).expect("truncates");
        let error = refused(reader.read());
        assert!(matches!(error, Error::Diverged { fork, .. } if fork == Offset::new(10)), "{error}");
    });
}

/// From now on reads come to an end a little behind what this file holds: who reads it all asks twice, and what the writer
/// appends in between, each append synced, is read without the first.
fn read_by_halves(disk: &SimDisk, suffix: &str) {
    let path: PathBuf = disk.files().into_iter().find(|path| path.ends_with(suffix)).expect("is there");
    let used = disk.read(path).iter().rposition(|&byte| byte != 0).expect("holds something") + 1;
    disk.set_io_bytes_max(Some(used + 10));
}

#[test]
fn two_commits_that_come_while_the_commits_are_read_are_no_damage() {
    both_ways(|mapping| {
        for verified in [false, true] {
            let world = world(mapping);
            let orders = world.topic("orders");
            fill(&first(&orders), "v", 1);
            commit_all(&orders);
            let store = beside(&world);
            let topic = seen(&store);
            first(&topic);
            read_by_halves(&world.disk, "commits");
            let writing = orders.clone();
            // To verify is to look at the header first.
            at_nth(&world.disk, if verified { 3 } else { 2 }, "read", "commits", move || {
                for _ in 0..2 {
                    fill(&first(&writing), "v", 1);
                    commit_all(&writing);
                }
            });
            if verified {
                let found = inspect::verify(&store, &mut |_| {}).expect("verifies");
                assert!(found.damage.is_empty(), "{:?}", found.damage);
            } else {
                let group = topic.group("billing").expect("is there");
                assert_eq!(group.commits[0].place.next(), Offset::new(3));
            }
            assert_eq!(world.partition().end(), Offset::new(3), "the writer came in between");
        }
    });
}

#[test]
fn two_lines_that_come_while_a_history_is_read_are_no_damage() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 4);
        let store = beside(&world);
        let topic = seen(&store);
        read_by_halves(&world.disk, "history");
        let writing = partition.clone();
        at_nth(&world.disk, 2, "read", "history", move || {
            (1..3).for_each(|n| writing.trim(Offset::new(n)).expect("trims"));
        });
        assert_eq!(first(&topic).start(), Offset::new(2));
        assert_eq!(partition.start(), Offset::new(2), "the writer came in between");
    });
}
