//! The file of a topic's commits: when it is compacted, and what its last line says.

use epochlog::testing::Fault;
use epochlog::{Error, Mapping, Start, Topic};

use crate::support::*;

const COMMITS: &str = "topics/orders@1/commits";

/// Commits with much metadata in so many groups, which all count.
fn commit_in_groups(topic: &Topic, groups: usize) {
    (0..groups).for_each(|n| commit_in(topic, n));
}

fn commit_in(topic: &Topic, group: usize) {
    let mut consumer = topic.consumer(&format!("g{group}")).open().expect("opens");
    consumer.seek(0, Start::Earliest).expect("seeks");
    consumer.commit_with_metadata(&[7; 4000]).expect("commits");
}

#[test]
fn an_end_that_a_close_left_unsaid_is_said_by_the_next() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 10);
    commit_in_groups(&world.topic("orders"), 1);
    world.disk.fail(Fault::of("write").on(COMMITS).forever());
    world.close();
    world.disk.heal();
    let unsaid = world.disk.read(COMMITS);
    let last = unsaid.iter().rposition(|&byte| byte != 0).expect("has commits");
    for is_said_by_now in [true, false] {
        world.open();
        assert_eq!(world.topic("orders").groups().expect("is whole").len(), 1);
        let written = world.disk.count("write");
        world.close();
        assert!(world.disk.read(COMMITS)[last + 1..].iter().any(|&byte| byte != 0));
        assert!(is_said_by_now || world.disk.count("write") - written < 3, "nothing is said twice");
    }
    world.disk.flip(COMMITS, last as u64 * 8);
    world.open();
    assert!(matches!(refused(world.topic("orders").groups()), Error::Corrupt(_)));
}

#[test]
fn commits_are_compacted_once_groups_are_forgotten_or_what_failed_can_be_done() {
    let world = world(Mapping::Never);
    fill(&world.partition(), "v", 1);
    let (topic, store) = (world.topic("orders"), world.store());
    commit_in_groups(&topic, 70);
    store.maintain().expect("all of them count");
    (0..60).for_each(|n| topic.delete_group(&format!("g{n}")).expect("deletes"));
    let replaced = world.disk.count("rename");
    commit_in(&topic, 69);
    assert_eq!(world.disk.count("rename"), replaced, "no commit looks for that");
    world.disk.fail(Fault::of("rename").on(format!("{COMMITS}.new")));
    refused(store.maintain());
    assert_eq!(world.disk.count("rename"), replaced + 1);
    store.maintain().expect("can do it now");
    assert_eq!(world.disk.count("rename"), replaced + 2);
    store.maintain().expect("has nothing to do");
    assert_eq!(world.disk.count("rename"), replaced + 2);
    assert_eq!(topic.groups().expect("lists").len(), 10);
}
