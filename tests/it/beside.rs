//! A store that is opened for reading beside its writer: what it sees, when, and what it is told when things change.

use epochlog::{Error, Offset, Partition, Start, Store, Topic};

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
