//! How far each group has read: begun once, committed when said, never lost, never anybody else's.

use std::time::Duration;

use epochlog::testing::Fault;
use epochlog::{Consumer, Durability, Error, Expired, Mapping, Offset, Record, Start, Timestamp, Topic};

use crate::support::*;

/// A topic `orders` of three partitions with ten records in each: `a0`.., `b0`.., `c0`..
fn three(world: &World) -> Topic {
    let orders = world.store().create_topic("orders", small().partitions(3)).expect("creates");
    for (number, prefix) in (0..3).zip(["a", "b", "c"]) {
        fill(&orders.partition(number).expect("is there"), prefix, 10);
    }
    orders
}

fn poll(consumer: &mut Consumer) -> Vec<String> {
    values(&consumer.poll(AT_ONCE).expect("polls"))
}

fn billing(world: &World) -> Consumer {
    world.topic("orders").consumer("billing").open().expect("opens")
}

/// The group's commits as the topic tells them: partition and next offset.
fn committed(topic: &Topic, group: &str) -> Vec<(u32, u64)> {
    let commits = topic.group(group).map(|group| group.commits).unwrap_or_default();
    commits.iter().map(|commit| (commit.place.partition(), commit.place.next().get())).collect()
}

#[test]
fn where_a_start_policy_leads_is_stored_before_a_record_is_handed_out() {
    both_ways(|mapping| {
        let time = Timestamp::from_millis;
        let table = [
            (Start::Earliest, 0),
            (Start::Latest, 10),
            (Start::FromBeginning(3), 3),
            (Start::FromEnd(4), 6),
            (Start::At(Offset::new(7)), 7),
            (Start::Time(time(i64::MAX)), 10),
            (Start::Time(time(0)), 0),
        ];
        for (start, offset) in table {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 10);
            let mut consumer = world.topic("orders").consumer("billing").start(start).open().expect("opens");
            assert!(world.topic("orders").groups().expect("lists").is_empty(), "opening stores nothing");
            assert_eq!(poll(&mut consumer), numbered("v", offset..10));
            assert_eq!(committed(&world.topic("orders"), "billing"), [(0, offset)], "{start:?}");
            drop(consumer);
            // The policy was followed once: later records and another policy don't move it.
            fill(&world.partition(), "v", 5);
            world.power_cut();
            let orders = world.topic("orders");
            let mut consumer = orders.consumer("billing").start(Start::Latest).open().expect("opens");
            assert_eq!(poll(&mut consumer), numbered("v", offset..15));
        }
    });
}

#[test]
fn nothing_is_handed_out_if_where_it_began_cannot_be_stored() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 10);
        let mut consumer = billing(&world);
        world.disk.fail(Fault::of("write").on("commits"));
        assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Io { .. }));
        assert!(consumer.places().is_empty());
        assert_eq!(poll(&mut consumer), numbered("v", 0..10));
    });
}

#[test]
fn a_start_policy_that_leads_nowhere_is_told_and_seek_goes_on() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 3);
    let mut consumer = world.topic("orders").consumer("billing").start(Start::FromEnd(9)).open().expect("opens");
    assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::TooFewRecords { partition: 0, records: 9, .. }));
    consumer.seek(0, Start::Earliest).expect("seeks");
    assert_eq!(poll(&mut consumer), numbered("v", 0..3));
}

#[test]
fn a_reopened_consumer_goes_on_at_its_commit_after_close_kill_and_power_cut() {
    both_ways(|mapping| {
        for end in [World::reopen as fn(&mut World), World::kill, World::power_cut] {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 10);
            let mut consumer = billing(&world);
            assert_eq!(poll(&mut consumer).len(), 10);
            consumer.commit().expect("commits");
            fill(&world.partition(), "v", 5);
            assert_eq!(poll(&mut consumer), numbered("v", 10..15));
            drop(consumer);
            end(&mut world);
            assert_eq!(poll(&mut billing(&world)), numbered("v", 10..15), "what wasn't committed comes again");
        }
    });
}

#[test]
fn a_durable_commit_makes_the_records_before_it_durable() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        scribble(&world.partition(), "v", 10);
        assert_eq!(world.partition().durable_end().get(), 0);
        let mut consumer = billing(&world);
        assert_eq!(poll(&mut consumer).len(), 10);
        consumer.commit().expect("commits");
        world.power_cut();
        assert_eq!(world.partition().end().get(), 10);
        assert!(poll(&mut billing(&world)).is_empty());
    });
}

#[test]
fn commit_to_commits_what_is_finished_and_no_more() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        let mut consumer = billing(&world);
        let records = consumer.poll(AT_ONCE).expect("polls");
        let fourth = records.iter().nth(3).expect("is there");
        consumer.commit_to(fourth.next()).expect("commits");
        assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 4)]);
        drop(consumer);
        world.reopen();
        let mut consumer = billing(&world);
        assert_eq!(consumer.lag().expect("counts"), 6);
        assert_eq!(poll(&mut consumer), numbered("v", 4..10));
        let back = world.partition().place_at(Offset::new(2)).expect("is there");
        consumer.commit_to(back).expect("a commit may go back");
        drop(consumer);
        assert_eq!(poll(&mut billing(&world)), numbered("v", 2..10));
    });
}

#[test]
fn seek_moves_the_consumer_and_commits_nothing() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 10);
        let mut consumer = billing(&world);
        assert_eq!(poll(&mut consumer).len(), 10);
        consumer.commit().expect("commits");
        consumer.seek(0, Start::FromEnd(2)).expect("seeks");
        assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 10)]);
        assert_eq!((consumer.lag().expect("counts"), poll(&mut consumer)), (2, numbered("v", 8..10)));
        consumer.seek(0, world.partition().place_at(Offset::new(5)).expect("is there")).expect("seeks");
        consumer.commit().expect("commits");
        assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 5)]);
        let stood = consumer.places();
        refused(consumer.seek(0, Start::At(Offset::new(11))));
        assert_eq!(consumer.places(), stood, "a refused seek leaves it where it was");
    });
}

#[test]
fn a_group_begins_where_it_was_sought_before_a_record_is_handed_out() {
    both_ways(|mapping| {
        for end in [World::kill as fn(&mut World), World::power_cut] {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 100);
            let mut consumer = latest(&world.topic("orders"), "billing", &[0]);
            consumer.seek(0, Start::FromEnd(10)).expect("seeks");
            assert!(committed(&world.topic("orders"), "billing").is_empty(), "seeking stores nothing");
            assert_eq!(poll(&mut consumer), numbered("v", 90..100));
            assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 90)]);
            drop(consumer);
            fill(&world.partition(), "v", 50);
            end(&mut world);
            assert_eq!(poll(&mut latest(&world.topic("orders"), "billing", &[0])), numbered("v", 90..150));
        }
    });
}

#[test]
fn the_first_commit_of_a_group_is_durable_whoever_makes_it() {
    both_ways(|mapping| {
        for begin in [
            |consumer: &mut Consumer| poll(consumer).len(),
            |consumer: &mut Consumer| consumer.commit().map_or(0, |()| poll(consumer).len()),
            |consumer: &mut Consumer| consumer.commit_to(consumer.places()[0]).map_or(0, |()| poll(consumer).len()),
        ] {
            let mut world = world(mapping);
            let options = small().durability(Durability::Written);
            let topic = world.store().create_topic("written", options).expect("creates");
            let partition = topic.partition(0).expect("has one");
            fill(&partition, "v", 100);
            let opened = topic.consumer("billing").start(Start::Latest).auto_commit(true).open();
            let mut consumer = opened.expect("opens");
            consumer.seek(0, Start::FromEnd(10)).expect("seeks");
            assert_eq!(begin(&mut consumer), 10);
            drop(consumer);
            fill(&partition, "v", 50);
            partition.sync().expect("syncs");
            drop((partition, topic));
            world.power_cut();
            assert_eq!(poll(&mut latest(&world.topic("written"), "billing", &[0])), numbered("v", 90..150));
        }
    });
}

#[test]
fn a_group_that_sought_before_its_first_poll_begins_an_added_partition_at_its_first_record() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 10);
    let orders = world.topic("orders");
    let mut consumer = orders.consumer("billing").start(Start::Latest).open().expect("opens");
    consumer.seek(0, Start::FromEnd(1)).expect("seeks");
    assert_eq!(poll(&mut consumer), ["v9"]);
    orders.add_partitions(2).expect("adds");
    fill(&orders.partition(1).expect("is there"), "w", 2);
    assert_eq!(poll(&mut consumer), numbered("w", 0..2));
}

#[test]
fn where_the_group_has_a_commit_a_place_that_is_sought_is_not_stored() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 10);
    let mut consumer = billing(&world);
    assert_eq!(poll(&mut consumer).len(), 10);
    consumer.commit().expect("commits");
    drop(consumer);
    let mut consumer = billing(&world);
    consumer.seek(0, Start::FromEnd(2)).expect("seeks");
    assert_eq!(poll(&mut consumer), numbered("v", 8..10));
    assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 10)]);
    let before = world.disk.count("write");
    consumer.commit().expect("has nothing to do");
    assert_eq!(world.disk.count("write"), before, "it stands at its commit");
}

#[test]
fn a_commit_without_a_move_writes_nothing() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 10);
    let mut consumer = billing(&world);
    poll(&mut consumer);
    consumer.commit().expect("commits");
    let before = world.disk.read("topics/orders@1/commits");
    consumer.commit().expect("commits");
    poll(&mut consumer);
    consumer.commit().expect("commits");
    assert_eq!(world.disk.read("topics/orders@1/commits"), before);
}

#[test]
fn auto_commit_commits_the_poll_before_and_nothing_on_drop() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 10);
        let orders = world.topic("orders");
        let open = || orders.consumer("billing").auto_commit(true).bytes_max(1).open().expect("opens");
        let mut consumer = open();
        assert_eq!(poll(&mut consumer), ["v0"]);
        assert_eq!(committed(&orders, "billing"), [(0, 0)], "only just handed out");
        assert_eq!(poll(&mut consumer), ["v1"]);
        assert_eq!(committed(&orders, "billing"), [(0, 1)]);
        drop(consumer);
        assert_eq!(committed(&orders, "billing"), [(0, 1)], "a drop commits nothing");
        assert_eq!(poll(&mut open()), ["v1"]);
    });
}

#[test]
fn without_auto_commit_nothing_but_commit_commits() {
    let mut world = world(Mapping::Auto);
    fill(&world.partition(), "v", 10);
    let mut consumer = billing(&world);
    assert_eq!(poll(&mut consumer).len(), 10);
    assert!(poll(&mut consumer).is_empty());
    drop(consumer);
    world.reopen();
    assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 0)]);
}

#[test]
fn records_that_were_cut_keep_auto_commit_from_no_other_partition() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        let mut consumer = orders.consumer("billing").auto_commit(true).open().expect("opens");
        assert_eq!(poll(&mut consumer).len(), 30);
        let cut = orders.partition(1).expect("is there");
        cut.truncate(Offset::new(4)).expect("truncates");
        fill(&cut, "new", 20);
        fill(&orders.partition(2).expect("is there"), "c", 1);
        let (mut read, mut told) = (Vec::new(), 0);
        for _ in 0..6 {
            match consumer.poll(AT_ONCE) {
                Ok(records) => read.extend(values(&records)),
                Err(Error::Diverged { place, fork, .. }) => {
                    assert_eq!((place.partition(), fork.get()), (1, 4));
                    told += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(read, ["c10"]);
        assert!(told >= 2, "it is told until somebody seeks");
        assert_eq!(committed(&orders, "billing"), [(0, 10), (1, 0), (2, 11)]);
        consumer.seek(1, Start::At(Offset::new(4))).expect("seeks");
        assert_eq!(poll(&mut consumer), numbered("new", 4..24));
    });
}

#[test]
fn one_commit_over_several_partitions_is_all_or_nothing() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = three(&world);
        let mut consumer = orders.consumer("billing").open().expect("opens");
        assert_eq!(poll(&mut consumer).len(), 30);
        orders.partition(2).expect("is there").truncate(Offset::new(4)).expect("truncates");
        assert!(matches!(refused(consumer.commit()), Error::Diverged { .. }));
        assert_eq!(committed(&orders, "billing"), [(0, 0), (1, 0), (2, 0)], "nothing of it was written");
        consumer.seek(2, Start::Latest).expect("seeks");
        consumer.commit().expect("commits");
        drop((consumer, orders));
        world.power_cut();
        assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 10), (1, 10), (2, 4)]);
    });
}

#[test]
fn a_partition_has_one_live_consumer_of_a_group_and_drop_releases_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        let first = orders.consumer("billing").partitions(&[0, 1]).open().expect("opens");
        let error = refused(orders.consumer("billing").partitions(&[2, 1]).open());
        assert!(matches!(error, Error::GroupInUse { partition: 1, .. }), "{error}");
        let second = orders.consumer("billing").partitions(&[2]).open().expect("what was refused holds nothing");
        orders.consumer("audit").open().expect("another group");
        drop(first);
        assert!(matches!(refused(orders.consumer("billing").open()), Error::GroupInUse { partition: 2, .. }));
        drop(second);
        orders.consumer("billing").open().expect("all are free");
    });
}

#[test]
fn two_groups_know_nothing_of_each_other() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        let mut billing = billing(&world);
        let mut audit = world.topic("orders").consumer("audit").open().expect("opens");
        assert_eq!(poll(&mut billing), poll(&mut audit));
        billing.commit().expect("commits");
        drop((billing, audit));
        world.topic("orders").delete_group("audit").expect("deletes");
        world.reopen();
        let orders = world.topic("orders");
        assert_eq!(committed(&orders, "billing"), [(0, 10)]);
        assert!(matches!(refused(orders.group("audit")), Error::GroupNotFound { .. }));
    });
}

#[test]
fn groups_are_listed_and_described_with_lag_and_problems() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        let mut consumer = orders.consumer("billing").open().expect("opens");
        poll(&mut consumer);
        consumer.commit_with_metadata(b"host 7").expect("commits");
        orders.consumer("audit").open().expect("opens").poll(AT_ONCE).expect("polls");
        fill(&orders.partition(1).expect("is there"), "b", 4);
        orders.partition(2).expect("is there").truncate(Offset::new(5)).expect("truncates");
        let names: Vec<String> = orders.groups().expect("lists").iter().map(|group| group.group.to_string()).collect();
        assert_eq!(names, ["audit", "billing"]);
        let commits = orders.group("billing").expect("is there").commits;
        let told: Vec<_> = commits.iter().map(|commit| (commit.place.next().get(), commit.lag)).collect();
        assert_eq!(told, [(10, Some(0)), (10, Some(4)), (10, None)]);
        assert!(commits.iter().all(|commit| commit.metadata.as_deref() == Some(b"host 7")));
        let problem = commits[2].problem.as_deref().expect("is told");
        assert!(problem.contains("lies beyond offset 5"), "{problem}");
        assert!(commits[0].problem.is_none());
        assert_eq!(commits[0].time, Timestamp::from_millis(1_700_000_000_000));
    });
}

#[test]
fn metadata_comes_back_and_the_next_commit_replaces_it() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        let bytes: Vec<u8> = (0..=255).collect();
        let mut consumer = billing(&world);
        poll(&mut consumer);
        consumer.commit_with_metadata(&bytes).expect("commits");
        drop(consumer);
        world.power_cut();
        let told =
            |world: &World| world.topic("orders").group("billing").expect("is there").commits[0].metadata.clone();
        assert_eq!(told(&world), Some(bytes));
        let mut consumer = billing(&world);
        consumer.seek(0, Start::Earliest).expect("seeks");
        consumer.commit().expect("commits");
        assert_eq!(told(&world), None);
    });
}

/// What stands beside the group's commits, by partition.
fn metadata(topic: &Topic, group: &str) -> Vec<Option<Vec<u8>>> {
    topic.group(group).expect("is there").commits.into_iter().map(|commit| commit.metadata).collect()
}

#[test]
fn metadata_is_stored_also_where_nothing_has_moved() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = three(&world);
        let told = |text: &str| vec![Some(text.as_bytes().to_vec()); 3];
        let mut consumer = orders.consumer("billing").open().expect("opens");
        consumer.commit_with_metadata(b"begun").expect("commits before the first poll");
        assert_eq!(
            (committed(&orders, "billing"), metadata(&orders, "billing")),
            (vec![(0, 0), (1, 0), (2, 0)], told("begun"))
        );
        assert_eq!(poll(&mut consumer).len(), 30);
        consumer.commit().expect("commits");
        assert_eq!(metadata(&orders, "billing"), [None, None, None]);
        consumer.commit_with_metadata(b"m1").expect("commits");
        consumer.commit_with_metadata(b"m2").expect("commits");
        assert_eq!(metadata(&orders, "billing"), told("m2"));
        fill(&orders.partition(1).expect("is there"), "b", 1);
        assert_eq!(poll(&mut consumer), ["b10"]);
        consumer.commit().expect("commits");
        let kept = [Some(b"m2".to_vec()), None, Some(b"m2".to_vec())];
        assert_eq!(metadata(&orders, "billing"), kept, "a plain commit replaces it where it has moved");
        drop((consumer, orders));
        world.power_cut();
        assert_eq!(metadata(&world.topic("orders"), "billing"), kept);
    });
}

#[test]
fn a_commit_of_metadata_that_begins_all_partitions_begins_those_that_were_added_too() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.topic("orders");
        let mut consumer = orders.consumer("billing").start(Start::Latest).open().expect("opens");
        orders.add_partitions(2).expect("adds");
        consumer.commit_with_metadata(b"m").expect("commits");
        assert_eq!(metadata(&orders, "billing"), [Some("m".into()), Some("m".into())]);
        fill(&orders.partition(1).expect("is there"), "w", 1);
        assert_eq!(poll(&mut consumer), ["w0"]);
    });
}

#[test]
fn metadata_that_is_too_large_is_refused_also_where_nothing_has_moved() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 3);
        let mut consumer = billing(&world);
        for _ in 0..2 {
            let error = refused_untouched(&world.disk, || consumer.commit_with_metadata(&[7; 5000]));
            assert!(matches!(error, Error::TooLarge { size: 5000, limit: 4096, .. }), "{error}");
            poll(&mut consumer);
            consumer.commit().expect("commits");
        }
    });
}

#[test]
fn a_reset_moves_a_group_that_nobody_uses() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = three(&world);
        let mut consumer = orders.consumer("billing").partitions(&[0, 1]).open().expect("opens");
        poll(&mut consumer);
        consumer.commit().expect("commits");
        let targets = [(0, Start::FromBeginning(2).into()), (1, Start::Latest.into())];
        assert!(matches!(refused(orders.reset_group("billing", &targets)), Error::GroupInUse { partition: 0, .. }));
        orders.reset_group("billing", &[(2, Start::Latest.into())]).expect("nobody has that one");
        drop(consumer);
        let planned = orders.plan_reset("billing", &targets).expect("plans");
        assert_eq!(committed(&orders, "billing"), [(0, 10), (1, 10), (2, 10)], "a plan changes nothing");
        assert_eq!(orders.reset_group("billing", &targets).expect("resets"), planned);
        drop(orders);
        world.power_cut();
        let orders = world.topic("orders");
        assert_eq!(committed(&orders, "billing"), [(0, 2), (1, 10), (2, 10)]);
        let mut consumer = orders.consumer("billing").open().expect("opens");
        assert_eq!(poll(&mut consumer), numbered("a", 2..10));
    });
}

#[test]
fn a_deleted_group_begins_anew() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        let mut consumer = billing(&world);
        poll(&mut consumer);
        consumer.commit().expect("commits");
        let delete = |world: &World| world.topic("orders").delete_group("billing");
        assert!(matches!(refused(delete(&world)), Error::GroupInUse { .. }));
        drop(consumer);
        delete(&world).expect("deletes");
        assert!(matches!(refused(delete(&world)), Error::GroupNotFound { .. }));
        world.power_cut();
        assert!(world.topic("orders").groups().expect("lists").is_empty());
        assert_eq!(poll(&mut billing(&world)), numbered("v", 0..10));
    });
}

#[test]
fn every_partition_gets_its_turn() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        let mut consumer = orders.consumer("billing").bytes_max(1).open().expect("opens");
        let polled: Vec<String> = (0..9).flat_map(|_| poll(&mut consumer)).collect();
        assert_eq!(polled, ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]);
    });
}

#[test]
fn an_error_of_one_partition_blocks_no_other_and_names_it() {
    both_ways(|mapping| {
        for damaged in 0..3 {
            let mut world = world(mapping);
            drop(three(&world));
            world.close();
            let segments =
                world.disk.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "log"));
            let segment = segments.into_iter().nth(damaged).expect("is there");
            world.disk.flip(&segment, (96 + 46 + 3) * 8);
            world.open();
            let orders = world.topic("orders");
            let mut consumer = orders.consumer("billing").open().expect("opens");
            let (mut read, mut told) = (Vec::new(), 0);
            for _ in 0..8 {
                match consumer.poll(AT_ONCE) {
                    Ok(records) => read.extend(values(&records)),
                    Err(Error::Corrupt(corruption)) => {
                        assert!(corruption.path.ends_with(&segment), "{corruption}");
                        assert_eq!(corruption.offsets, Some(Offset::new(0)..Offset::new(1)));
                        told += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(read.len(), 20, "the others are read: {read:?}");
            assert!(told >= 2, "and the damage is told each time");
            consumer.seek(u32::try_from(damaged).expect("is small"), Start::At(Offset::new(1))).expect("seeks");
            assert_eq!(poll(&mut consumer).len(), 9, "behind the damage everything is there");
        }
    });
}

#[test]
fn a_consumer_of_all_partitions_follows_those_that_are_added() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 1);
        let orders = world.topic("orders");
        let mut consumer = orders.consumer("billing").start(Start::Latest).open().expect("opens");
        let mut fixed = orders.consumer("audit").partitions(&[0]).open().expect("opens");
        assert!(poll(&mut consumer).is_empty());
        assert_eq!(poll(&mut fixed), ["v0"]);
        let adding = orders.clone();
        let waiting = std::thread::spawn(move || {
            let records = values(&consumer.poll(Duration::from_secs(60)).expect("polls"));
            (records, consumer)
        });
        adding.add_partitions(3).expect("adds");
        fill(&orders.partition(0).expect("is there"), "v", 1);
        let (mut read, mut consumer) = waiting.join().expect("ends");
        read.extend(poll(&mut consumer));
        assert_eq!((read, consumer.partitions()), (vec!["v1".to_string()], vec![0, 1, 2]));
        fill(&orders.partition(2).expect("is there"), "w", 1);
        assert_eq!(poll(&mut consumer), ["w0"]);
        assert!(poll(&mut fixed).contains(&"v1".to_string()));
        assert_eq!(fixed.partitions(), [0]);
        consumer.commit().expect("commits");
        drop((consumer, fixed, adding, orders));
        world.power_cut();
        assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 2), (1, 0), (2, 1)]);
    });
}

fn latest(topic: &Topic, group: &str, partitions: &[u32]) -> Consumer {
    topic.consumer(group).start(Start::Latest).partitions(partitions).open().expect("opens")
}

#[test]
fn a_group_that_has_begun_begins_a_partition_that_is_added_at_its_first_record() {
    both_ways(|mapping| {
        let restarts = [None, Some(World::reopen as fn(&mut World)), Some(World::kill), Some(World::power_cut)];
        for restart in restarts {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 3);
            let open = |world: &World| world.topic("orders").consumer("billing").start(Start::Latest).open();
            let mut consumer = open(&world).expect("opens");
            assert!(poll(&mut consumer).is_empty(), "it has begun");
            world.topic("orders").add_partitions(2).expect("adds");
            fill(&world.topic("orders").partition(1).expect("is there"), "w", 2);
            if let Some(restart) = restart {
                drop(consumer);
                restart(&mut world);
                consumer = open(&world).expect("opens");
            }
            assert_eq!(consumer.lag().expect("counts"), 2);
            assert_eq!(poll(&mut consumer), numbered("w", 0..2));
            consumer.commit().expect("commits");
            assert_eq!(committed(&world.topic("orders"), "billing"), [(0, 3), (1, 2)]);
        }
    });
}

#[test]
fn a_partition_that_was_there_when_a_group_began_follows_the_start_policy_however_late_it_is_first_read() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = three(&world);
        assert!(poll(&mut latest(&orders, "billing", &[0])).is_empty());
        orders.add_partitions(4).expect("adds");
        for (number, prefix) in [(1, "b"), (3, "d")] {
            fill(&orders.partition(number).expect("is there"), prefix, 2);
        }
        drop(orders);
        world.power_cut();
        let orders = world.topic("orders");
        let mut others = latest(&orders, "billing", &[1, 2, 3]);
        assert_eq!(poll(&mut others), numbered("d", 0..2));
        others.commit().expect("commits");
        let mut late = latest(&orders, "audit", &[1, 3]);
        assert!(poll(&mut late).is_empty(), "a group that begins after that finds the partition there");
        assert_eq!(committed(&orders, "billing"), [(0, 10), (1, 12), (2, 10), (3, 2)]);
        assert_eq!(committed(&orders, "audit"), [(1, 12), (3, 2)]);
    });
}

#[test]
fn a_partition_that_could_not_be_added_has_no_commits() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        let orders = world.topic("orders");
        assert!(poll(&mut latest(&orders, "billing", &[0])).is_empty());
        world.disk.fail(Fault::of("rename").on("topic.new"));
        assert!(matches!(refused(orders.add_partitions(2)), Error::Io { operation: "rename", .. }));
        assert_eq!((orders.partitions(), committed(&orders, "billing")), (1, vec![(0, 3)]));
        drop(orders);
        world.power_cut();
        let orders = world.topic("orders");
        assert_eq!((orders.partitions(), committed(&orders, "billing")), (1, vec![(0, 3)]));
        // Who begins between the two attempts has begun before the partition.
        assert!(poll(&mut latest(&orders, "audit", &[0])).is_empty());
        orders.add_partitions(2).expect("adds");
        for group in ["audit", "billing"] {
            assert_eq!(committed(&orders, group), [(0, 3), (1, 0)]);
        }
    });
}

#[test]
fn no_partition_is_added_while_the_groups_that_have_begun_cannot_begin_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 3);
        let orders = world.topic("orders");
        let mut consumer = orders.consumer("billing").start(Start::Latest).open().expect("opens");
        assert!(poll(&mut consumer).is_empty());
        world.disk.fail(Fault::of("sync").on("commits"));
        assert!(matches!(refused(orders.add_partitions(2)), Error::Io { operation: "sync", .. }));
        assert!(matches!(refused(orders.add_partitions(2)), Error::Latched { .. }));
        assert_eq!(orders.partitions(), 1);
        orders.reopen().expect("reopens");
        orders.add_partitions(2).expect("adds");
        fill(&orders.partition(1).expect("is there"), "w", 1);
        assert_eq!(poll(&mut consumer), ["w0"]);
    });
}

#[test]
fn a_partition_that_was_just_added_can_be_sought_in_before_a_poll() {
    let world = world(Mapping::Auto);
    let orders = world.topic("orders");
    let mut consumer = orders.consumer("billing").open().expect("opens");
    orders.add_partitions(2).expect("adds");
    let added = orders.partition(1).expect("is there");
    fill(&added, "w", 5);
    consumer.seek(1, Start::FromEnd(2)).expect("seeks");
    assert_eq!(poll(&mut consumer), numbered("w", 3..5));
    orders.add_partitions(3).expect("adds");
    let place = orders.partition(2).expect("is there").place_at(Offset::ZERO).expect("is there");
    consumer.commit_to(place).expect("commits");
}

#[test]
fn an_added_partition_that_another_consumer_of_the_group_has_keeps_no_other_from_being_read() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.topic("orders");
        fill(&world.partition(), "v", 1);
        let mut all = orders.consumer("billing").open().expect("opens");
        orders.add_partitions(3).expect("adds");
        fill(&orders.partition(1).expect("is there"), "w", 1);
        let other = orders.consumer("billing").partitions(&[1]).open().expect("opens");
        let in_use = |error: Error| matches!(error, Error::GroupInUse { partition: 1, .. });
        all.seek(0, Start::Earliest).expect("is another");
        assert!(in_use(refused(all.poll(AT_ONCE))), "it is told once");
        assert_eq!(poll(&mut all), ["v0"]);
        assert!(in_use(refused(all.seek(1, Start::Earliest))));
        all.commit().expect("commits");
        fill(&orders.partition(2).expect("is there"), "x", 1);
        assert_eq!(poll(&mut all), ["x0"]);
        drop(other);
        assert_eq!(poll(&mut all), ["w0"], "it takes what the other has let go of");
        all.commit().expect("commits");
    });
}

#[test]
fn a_waiting_consumer_takes_an_added_partition_when_the_other_lets_go_of_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.topic("orders");
        let mut all = orders.consumer("billing").open().expect("opens");
        orders.add_partitions(2).expect("adds");
        fill(&orders.partition(1).expect("is there"), "w", 1);
        let other = orders.consumer("billing").partitions(&[1]).open().expect("opens");
        assert!(matches!(refused(all.poll(AT_ONCE)), Error::GroupInUse { partition: 1, .. }));
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || tell.send(values(&all.poll(Duration::from_secs(5)).expect("polls"))));
        told.recv_timeout(Duration::from_millis(50)).expect_err("it waits");
        drop(other);
        assert_eq!(told.recv().expect("is told"), ["w0"]);
        waiting.join().expect("ends").expect("was heard");
    });
}

#[test]
fn lag_counts_what_is_still_to_be_read() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        let mut consumer = orders.consumer("billing").bytes_max(1).open().expect("opens");
        for left in (25..=30).rev() {
            assert_eq!(consumer.lag().expect("counts"), left);
            poll(&mut consumer);
        }
    });
}

#[test]
fn a_waiting_consumer_is_woken_by_a_record_and_by_a_delete() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        let mut consumer = orders.consumer("billing").start(Start::Latest).open().expect("opens");
        assert!(poll(&mut consumer).is_empty());
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            tell.send(values(&consumer.poll(Duration::from_secs(60)).expect("polls"))).expect("is heard");
            consumer.poll(Duration::from_secs(60)).expect_err("the topic goes")
        });
        orders.partition(2).expect("is there").append(Record::new("news")).expect("appends");
        assert_eq!(told.recv().expect("is told"), ["news"]);
        world.store().delete_topic("orders").expect("deletes");
        let error = waiting.join().expect("ends");
        assert!(matches!(error, Error::TopicDeleted { .. }), "{error}");
    });
}

#[test]
fn a_waiting_consumer_of_no_partitions_is_woken_by_a_delete_and_by_a_close() {
    let ends: [fn(&mut World); 2] =
        [|world| world.store().delete_topic("orders").expect("deletes"), |world| world.close()];
    for end in ends {
        let mut world = world(Mapping::Auto);
        let mut consumer = world.topic("orders").consumer("billing").partitions(&[]).open().expect("opens");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(consumer.poll(Duration::from_secs(60)).map(|records| records.len())));
        told.recv_timeout(Duration::from_millis(50)).expect_err("it waits");
        end(&mut world);
        let error = refused(told.recv_timeout(Duration::from_secs(20)).expect("ends"));
        assert!(matches!(error, Error::TopicDeleted { .. } | Error::Closed), "{error}");
    }
}

#[test]
fn the_room_in_front_of_the_commits_stays_small() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 3);
    let pages = |path: &std::path::PathBuf| (world.disk.read(path).len() as u64).div_ceil(4096);
    let used: u64 = world.disk.files().iter().map(pages).sum();
    world.disk.set_capacity(Some(used * 4096 + (200 << 10)));
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    for n in 0..100 {
        consumer.seek(0, Start::At(Offset::new(n % 3))).expect("seeks");
        consumer.commit().expect("commits");
    }
    // Of 200 KiB that were free, most are left to others.
    for _ in 0..16 {
        world.partition().append(&"v".repeat(3900)).expect("has room");
    }
}

#[test]
fn a_reset_that_names_a_partition_twice_is_refused_and_changes_nothing() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        orders.reset_group("billing", &[(0, Start::Latest.into())]).expect("resets");
        let twice = [(1, Start::Earliest.into()), (0, Start::Earliest.into()), (1, Start::Latest.into())];
        // So many places would be longer than a line of the file may be.
        for targets in [&twice[..], &vec![(1, Start::Earliest.into()); 600_000]] {
            let error = refused(orders.reset_group("billing", targets));
            assert_eq!(error.to_string(), "option `targets` is invalid: partition 1 is named twice");
            assert_eq!(refused(orders.plan_reset("billing", targets)).to_string(), error.to_string());
        }
        assert_eq!(committed(&orders, "billing"), [(0, 10)]);
    });
}

#[test]
fn lag_counts_nothing_that_retention_has_removed() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = three(&world);
        let mut reader = world.partition().read_from(Start::Earliest).expect("begins");
        let builder = orders.consumer("billing").when_expired(Expired::Earliest);
        let mut consumer = builder.bytes_max(1).open().expect("opens");
        assert_eq!((reader.lag(), consumer.lag().expect("counts")), (10, 30));
        world.partition().trim(Offset::new(4)).expect("trims");
        assert_eq!((reader.lag(), consumer.lag().expect("counts")), (6, 26));
        reader.seek(Start::Latest).expect("seeks");
        assert_eq!(reader.lag(), 0);
    });
}

#[test]
fn lag_is_no_number_where_a_place_is_refused() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 100);
        let mut consumer = billing(&world);
        assert_eq!(poll(&mut consumer).len(), 100);
        partition.truncate(Offset::new(50)).expect("truncates");
        fill(&partition, "w", 30);
        assert!(matches!(refused(consumer.lag()), Error::Diverged { fork, .. } if fork == Offset::new(50)));
        consumer.seek(0, Start::Earliest).expect("seeks");
        assert_eq!(consumer.lag().expect("counts"), 80);
        let end = if mapping == Mapping::Auto {
            world.store().delete_topic("orders").expect("deletes");
            refused(consumer.lag())
        } else {
            world.close();
            refused(consumer.lag())
        };
        assert!(matches!(end, Error::TopicDeleted { .. } | Error::Closed), "{end}");
    });
}

#[test]
fn a_partition_that_cannot_be_opened_is_told_by_poll_and_keeps_no_other_from_being_read() {
    both_ways(|mapping| {
        for chosen in [None, Some(vec![0, 1, 2])] {
            let mut world = world(mapping);
            three(&world);
            world.close();
            let history = "topics/orders@1/1/history";
            let good = world.disk.read(history);
            world.disk.write(history, vec![7; 200]);
            world.open();
            let builder = world.topic("orders").consumer("billing");
            let builder = chosen.iter().fold(builder, |builder, chosen| builder.partitions(chosen));
            let mut consumer = builder.open().expect("opens");
            assert_eq!(consumer.partitions(), [0, 2]);
            assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Corrupt(_)));
            assert_eq!(poll(&mut consumer), [numbered("a", 0..10), numbered("c", 0..10)].concat());
            assert!(matches!(refused(consumer.seek(1, Start::Earliest)), Error::Corrupt(_)));
            let opened = world.disk.count("open");
            consumer.seek(0, Start::Latest).expect("is another");
            assert!(poll(&mut consumer).is_empty());
            assert_eq!(world.disk.count("open"), opened, "it is left alone for a while");
            let (disk, good) = (world.disk.clone(), good.clone());
            let mends = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(400));
                disk.write(history, good);
            });
            let waited =
                (0..3).find_map(|_| consumer.poll(Duration::from_secs(5)).ok()).expect("gives what was mended");
            assert_eq!(values(&waited), numbered("b", 0..10));
            mends.join().expect("writes");
        }
    });
}

/// A consumer of three partitions, the second of which can't be opened.
fn with_a_broken_one(mapping: Mapping) -> (World, Consumer) {
    let mut world = world(mapping);
    three(&world);
    world.close();
    world.disk.write("topics/orders@1/1/history", vec![7; 200]);
    world.open();
    let consumer = billing(&world);
    (world, consumer)
}

#[test]
fn a_partition_that_cannot_be_opened_lets_the_others_have_their_turn_however_seldom_polls_are() {
    let pause = || std::thread::sleep(Duration::from_millis(300));
    let (world, mut consumer) = with_a_broken_one(Mapping::Auto);
    let first = world.topic("orders").partition(0).expect("is there");
    assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Corrupt(_)));
    pause();
    assert_eq!(poll(&mut consumer), [numbered("a", 0..10), numbered("c", 0..10)].concat());
    fill(&first, "a", 1);
    pause();
    assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Corrupt(_)), "it is told again");
    pause();
    assert_eq!(poll(&mut consumer), ["a10"]);
    pause();
    refused(consumer.poll(AT_ONCE));
    let waited =
        consumer.poll(Duration::from_millis(700)).expect("looks again as it waits, and tells no more than once");
    assert!(waited.is_empty());
}

#[test]
fn a_partition_that_cannot_be_opened_is_not_tried_again_because_others_let_go_of_theirs() {
    both_ways(|mapping| {
        let (world, mut consumer) = with_a_broken_one(mapping);
        let orders = world.topic("orders");
        let come_and_go = || drop(orders.consumer("audit").partitions(&[0]).open().expect("opens"));
        assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Corrupt(_)));
        come_and_go();
        assert_eq!(poll(&mut consumer), [numbered("a", 0..10), numbered("c", 0..10)].concat());
        let opened = world.disk.count("open");
        come_and_go();
        assert!(poll(&mut consumer).is_empty());
        assert_eq!(world.disk.count("open"), opened, "it is left alone for a while");
    });
}

#[test]
fn metadata_of_a_consumer_none_of_whose_partitions_can_be_opened_is_refused() {
    let mut world = world(Mapping::Auto);
    fill(&world.partition(), "v", 1);
    world.close();
    world.disk.write("topics/orders@1/0/history", vec![7; 200]);
    world.open();
    let mut consumer = billing(&world);
    assert!(matches!(refused(consumer.commit_with_metadata(b"kept")), Error::Corrupt(_)));
}

#[test]
fn an_added_partition_that_cannot_be_opened_is_told_of_again_and_keeps_no_other_from_being_read() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.topic("orders");
        fill(&world.partition(), "v", 1);
        let mut consumer = orders.consumer("billing").bytes_max(1).open().expect("opens");
        assert_eq!(poll(&mut consumer), ["v0"]);
        orders.add_partitions(2).expect("adds");
        let history = "topics/orders@1/1/history";
        let good = world.disk.read(history);
        world.disk.write(history, vec![7; 200]);
        for n in 1..4 {
            let told = (0..1000).find_map(|_| consumer.poll(Duration::from_millis(10)).err());
            assert!(matches!(told, Some(Error::Corrupt(_))), "{told:?}");
            assert!(matches!(refused(consumer.lag()), Error::Corrupt(_)));
            fill(&world.partition(), "v", 1);
            assert_eq!(poll(&mut consumer), [format!("v{n}")]);
        }
        world.disk.write(history, good);
        fill(&orders.partition(1).expect("opens"), "w", 1);
        assert_eq!(consumer.lag().expect("counts"), 1);
        assert_eq!(poll(&mut consumer), ["w0"]);
    });
}

#[test]
fn metadata_that_no_commit_could_carry_is_refused() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 1);
    let mut consumer = world.topic("orders").consumer("billing").partitions(&[]).open().expect("opens");
    assert!(poll(&mut consumer).is_empty());
    consumer.commit().expect("has nothing to commit");
    let error = refused_untouched(&world.disk, || consumer.commit_with_metadata(b"kept"));
    let reason = "the consumer has none, so there is no commit to keep metadata beside";
    assert_eq!(error.to_string(), format!("option `partitions` is invalid: {reason}"));
}

#[test]
fn adding_a_partition_destroys_no_records_that_are_there() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.close();
        let older = world.disk.read("topics/orders@1/topic");
        world.open();
        let orders = world.topic("orders");
        orders.add_partitions(2).expect("adds");
        fill(&orders.partition(1).expect("is there"), "w", 5);
        drop(orders);
        world.close();
        let mut held = world.disk.files();
        held.retain(|path| path.starts_with("topics/orders@1/1") && path.extension().is_none_or(|end| end != "index"));
        let held: Vec<_> = held.into_iter().map(|path| (world.disk.read(&path), path)).collect();
        assert_eq!(held.len(), 2, "a history and a segment");
        // The header alone is restored from a copy, and once the topic is open, somebody puts back what it doesn't count.
        world.disk.write("topics/orders@1/topic", older);
        held.iter().for_each(|(_, path)| world.disk.remove(path));
        world.open();
        let orders = world.topic("orders");
        assert_eq!(orders.partitions(), 1);
        held.iter().for_each(|(bytes, path)| world.disk.write(path, bytes));
        world.disk.fail(Fault::of("rename").on("orders@1/1/"));
        refused(orders.add_partitions(2));
        orders.add_partitions(2).expect("adds");
        assert!(all(&orders.partition(1).expect("is there")).is_empty());
        drop(orders);
        world.power_cut();
        let kept = world.disk.files().into_iter().filter(|path| path.starts_with("quarantine"));
        let kept: Vec<_> = kept.map(|path| world.disk.read(path)).collect();
        assert!(held.iter().all(|(bytes, _)| kept.contains(bytes)), "{:?}", world.disk.files());
        assert_eq!(world.topic("orders").partitions(), 2);
    });
}

#[test]
fn a_reset_makes_the_records_below_it_durable_also_where_they_are_only_written() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let options = small().durability(Durability::Written);
        let orders = world.store().create_topic("orders", options).expect("creates");
        fill(&orders.partition(0).expect("is there"), "v", 5);
        orders.reset_group("billing", &[(0, Start::FromBeginning(3).into())]).expect("resets");
        drop(orders);
        world.power_cut();
        assert_eq!(poll(&mut billing(&world))[..1], numbered("v", 3..4));
    });
}

#[test]
fn a_close_whose_partition_failed_lets_no_commit_outlive_its_records() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let options = small().durability(Durability::Written);
        let orders = world.store().create_topic("orders", options).expect("creates");
        fill(&orders.partition(0).expect("is there"), "v", 3);
        let mut consumer = billing(&world);
        assert_eq!(poll(&mut consumer).len(), 3);
        fill(&orders.partition(0).expect("is there"), "v", 3);
        assert_eq!(poll(&mut consumer).len(), 3);
        consumer.commit().expect("commits");
        world.disk.fail(Fault::of("sync").on(".log"));
        drop((orders, consumer));
        assert!(matches!(refused(world.take().close()), Error::Io { operation: "sync", .. }));
        let image = world.disk.image();
        world.disk = image.after(epochlog::testing::Loss::All);
        world.open();
        // What was lost was only written; the group goes on at what there is.
        let again = billing(&world).poll(AT_ONCE);
        assert!(again.is_ok(), "{again:?}");
    });
}

#[test]
fn a_partition_that_cannot_be_read_now_keeps_no_other_from_being_described() {
    const MFILE: i32 = 24;
    both_ways(|mapping| {
        let mut world = world(mapping);
        three(&world);
        let mut consumer = billing(&world);
        while !consumer.poll(AT_ONCE).expect("polls").is_empty() {}
        consumer.commit().expect("commits");
        drop(consumer);
        world.reopen();
        let lags = |world: &World| {
            let group = world.topic("orders").group("billing")?;
            Ok::<Vec<_>, Error>(group.commits.iter().map(|commit| (commit.lag, commit.problem.is_some())).collect())
        };
        let unread = Fault::of("open").on("orders@1/1/").forever();
        world.disk.fail(unread.clone().os_error(MFILE));
        assert!(matches!(lags(&world), Err(Error::Io { .. })), "want of files is no partition's fault");
        world.disk.heal();
        world.disk.fail(unread);
        let (known, unknown) = ((Some(0), false), (None, true));
        assert_eq!(lags(&world).expect("describes"), [known, unknown, known]);
        world.disk.heal();
        assert_eq!(lags(&world).expect("describes"), [known; 3]);
    });
}

#[test]
fn damage_says_in_which_partition_it_is_so_that_a_group_goes_around_it_there() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = world.store().create_topic("orders", small().partitions(2)).expect("creates");
        (0..2).for_each(|n| fill(&orders.partition(n).expect("is there"), "v", 10));
        drop(orders);
        world.close();
        tear(&world.disk, last_segment(&world.disk, "topics/orders@1/1"));
        world.open();
        let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
        let error = (0..10).find_map(|_| consumer.poll(AT_ONCE).err()).expect("is damaged");
        let Error::Corrupt(corruption) = &error else { panic!("{error}") };
        let topic = corruption.topic.as_ref().map(ToString::to_string);
        assert_eq!((topic.as_deref(), corruption.partition), (Some("orders"), Some(1)));
        let gap = consumer.skip_damaged(1).expect("goes around").expect("there is one");
        assert_eq!((gap.partition, gap.from, gap.to), (1, Offset::new(9), Offset::new(10)));
        assert!(consumer.poll(AT_ONCE).expect("polls").is_empty());
    });
}
