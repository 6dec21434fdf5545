//! Every moment within a few calls, and every single loss there.

use std::time::Duration;

use epochlog::{Consumer, Durability::Durable, Durability::Written, Offset, Topic, TopicOptions};

use super::*;

/// Crashes at each moment with each loss: the store opens, and shows all that was durable and nothing that wasn't
/// appended, without a hole.
fn a_prefix_stays(mapping: Mapping, moments: &[Moment]) {
    for moment in moments {
        moment.each_loss(|at, disk| {
            let store = open(&disk, mapping);
            let partition = the_partition(&store).unwrap_or_else(|error| panic!("{at}: {error}"));
            let end = partition.end().get();
            assert!(end >= moment.durable, "{at}: ends at {end}, durable were {}", moment.durable);
            assert_eq!(all(&partition), heavies(partition.start().get()..end), "{at}");
        });
    }
}

fn orders(world: &World, options: TopicOptions) -> Partition {
    world.store().create_topic("orders", options).expect("creates").partition(0).expect("is there")
}

#[test]
fn what_is_acknowledged_in_a_topic_just_created_survives_a_power_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 1, Durable);
        world.power_cut();
        assert_eq!(all(&the_partition(world.store()).expect("is there")), heavies(0..1));
    });
}

#[test]
fn a_topic_just_created_is_whole_after_a_power_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        world.topic("orders");
        world.power_cut();
        assert_eq!(shown(world.store()), (0, vec![]));
        assert_eq!(world.topic("orders").groups().expect("are there").len(), 0);
    });
}

#[test]
fn a_loss_in_a_tail_or_between_two_segments_leaves_a_prefix() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, small());
        pile(&partition, 1, Durable);
        let moments = moments(&world.disk, Some(&partition), || {
            pile(&partition, 4, Written);
            pile(&partition, 1, Durable);
            pile(&partition, 3, Written);
        });
        a_prefix_stays(mapping, &moments);
    });
}

#[test]
fn a_loss_within_a_close_leaves_everything_that_the_close_answers_for() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, small());
        pile(&partition, 5, Written);
        let disk = world.disk.clone();
        let mut moments = moments(&disk, Some(&partition), || world.close());
        moments.last_mut().expect("the end").durable = 5;
        a_prefix_stays(mapping, &moments);
    });
}

#[test]
fn a_loss_within_a_trim_or_retention_leaves_a_prefix_from_either_start() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, small().retention_bytes(9000));
        pile(&partition, 7, Written);
        let moments = moments(&world.disk, Some(&partition), || {
            partition.trim(Offset::new(4)).expect("trims");
            pile(&partition, 1, Durable);
            pile(&partition, 6, Written);
        });
        assert!(partition.start() > Offset::new(4), "retention took some");
        a_prefix_stays(mapping, &moments);
    });
}

#[test]
fn a_trim_over_unsynced_records_leaves_no_gap_behind_its_start() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, small());
        pile(&partition, 5, Written);
        partition.trim(Offset::new(4)).expect("trims");
        assert!(partition.durable_end() >= partition.start(), "a start is durable only where what it presumes is");
        world.power_cut();
        let partition = the_partition(world.store()).expect("opens");
        assert_eq!((partition.start(), partition.end() >= Offset::new(4)), (Offset::new(4), true));
        assert_eq!(all(&partition), heavies(4..partition.end().get()));
    });
}

#[test]
fn a_batch_is_there_whole_or_not_at_all_whatever_sector_is_lost() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new());
        let values = heavies(0..3);
        let records: Vec<_> = values.iter().map(|value| record_of(value)).collect();
        let moments = moments(&world.disk, None, || _ = partition.append_batch(&records).expect("appends"));
        for moment in &moments {
            moment.each_loss(|at, disk| {
                let end = the_partition(&open(&disk, mapping)).expect("opens").end().get();
                assert!(end == 0 || end == 3, "{at}: {end} records of a batch of three");
            });
        }
    });
}

#[test]
fn a_truncate_is_durable_when_it_returns() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 5);
        world.partition().truncate(Offset::new(2)).expect("truncates");
        world.power_cut();
        assert_eq!(all(&world.partition()), numbered("v", 0..2));
    });
}

#[test]
fn a_place_of_a_session_of_which_no_record_was_synced_is_told_the_fork() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.reopen();
        let place = world.partition().append_with("lost", written()).expect("appends").next();
        world.power_cut();
        let error = refused(world.partition().read_from(place));
        assert!(matches!(error, Error::Diverged { fork, .. } if fork == Offset::new(3)), "{error}");
    });
}

#[test]
fn a_commit_that_is_torn_costs_none_in_front_of_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new().durability(Written));
        let mut consumer = partition.topic().consumer("billing").open().expect("opens");
        let moments = moments(&world.disk, None, || {
            for _ in 0..4 {
                pile(&partition, 1, Written);
                consumer.poll(AT_ONCE).expect("polls");
                consumer.commit_with_metadata(&[b'm'; 700]).expect("commits");
            }
        });
        for moment in &moments {
            moment.each_loss(|at, disk| {
                let store = open(&disk, mapping);
                let group = store.topic("orders").expect("opens").group("billing");
                assert!(!matches!(group, Err(Error::Corrupt(_))), "{at}: {group:?}");
            });
        }
    });
}

fn committed(topic: &Topic) -> Vec<u64> {
    let group = topic.group("billing").expect("is there");
    group.commits.iter().map(|commit| commit.place.next().get()).collect()
}

#[test]
fn a_commit_over_two_partitions_is_there_for_both_or_for_none_at_any_loss() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("orders", small().partitions(2)).expect("creates");
        let append = || (0..2).for_each(|number| fill(&topic.partition(number).expect("is there"), "v", 1));
        let mut consumer = topic.consumer("billing").open().expect("opens");
        let consume = |consumer: &mut Consumer| {
            consumer.poll(AT_ONCE).expect("polls");
            consumer.commit().expect("commits");
        };
        append();
        consume(&mut consumer);
        append();
        for moment in moments(&world.disk, None, || consume(&mut consumer)) {
            moment.each_loss(|at, disk| {
                let found = committed(&open(&disk, mapping).topic("orders").expect("opens"));
                assert!(found == [1, 1] || found == [2, 2], "{at}: {found:?}");
            });
        }
    });
}

#[test]
fn where_a_start_policy_led_survives_a_power_cut_also_where_appends_do_not() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, TopicOptions::new().durability(Written));
        pile(&partition, 3, Written);
        let mut consumer = partition.topic().consumer("billing").start(Start::Latest).open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        drop((consumer, partition));
        world.power_cut();
        assert_eq!(committed(&world.topic("orders")), [3]);
        assert_eq!(all(&world.partition()), heavies(0..3));
    });
}

#[test]
fn partitions_are_added_all_or_none_at_any_loss() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.topic("orders");
        fill(&world.partition(), "v", 1);
        let latest = |topic: &Topic| topic.consumer("billing").start(Start::Latest).open().expect("opens");
        latest(&topic).poll(AT_ONCE).expect("begins");
        let moments = moments(&world.disk, None, || topic.add_partitions(3).expect("adds"));
        for moment in &moments {
            moment.each_loss(|at, disk| {
                let store = open(&disk, mapping);
                assert!(store.recovery().failed.is_empty(), "{at}: {}", store.recovery());
                let topic = store.topic("orders").unwrap_or_else(|error| panic!("{at}: {error}"));
                assert!([1, 3].contains(&topic.partitions()), "{at}: {} partitions", topic.partitions());
                for number in 0..topic.partitions() {
                    fill(&topic.partition(number).unwrap_or_else(|error| panic!("{at}: {error}")), "w", 1);
                }
                let lag = latest(&topic).lag().unwrap_or_else(|error| panic!("{at}: {error}"));
                assert_eq!(lag, u64::from(topic.partitions()), "{at}: a group that had begun misses a record");
            });
        }
    });
}

#[test]
fn a_time_finds_its_record_in_a_segment_that_was_sealed_since() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let clock = world.disk.clock();
        let late = epochlog::Timestamp::from_millis(1_900_000_000_000);
        let value = heavy(0);
        let partition = world.partition();
        partition.append(record_of(&value).timestamp(late)).expect("appends");
        clock.advance(Duration::from_secs(1));
        pile(&partition, 6, Durable);
        assert_eq!(partition.offset_at(late).expect("looks it up"), Offset::ZERO);
        drop(partition);
        world.reopen();
        assert_eq!(world.partition().offset_at(late).expect("looks it up"), Offset::ZERO);
    });
}
