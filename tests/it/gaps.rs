//! Reading on behind damage: only when asked, exactly behind it, and with a gap that says what was passed over (P6, P8).

use std::time::Duration;

use epochlog::{Error, Mapping, Offset, Start, Timestamp, TopicName};

use crate::repair::{RECORDS, at_rest, damage, repair, segments};
use crate::support::*;
use epochlog::OnDamage;

/// Damages the batches of these records and opens the store.
fn damaged(mapping: Mapping, offsets: &[u64]) -> World {
    let mut world = at_rest(mapping);
    for &offset in offsets {
        damage(&world, offset);
    }
    world.open();
    world
}

#[test]
fn without_being_asked_a_reader_stays_before_the_damage() {
    both_ways(|mapping| {
        let world = damaged(mapping, &[50]);
        let mut reader = world.partition().read_from(Start::Earliest).expect("begins");
        assert_eq!(values(&reader.read().expect("reads up to it")), numbered("v", 0..50));
        let messages: Vec<String> = (0..3).map(|_| refused(reader.read()).to_string()).collect();
        assert!(messages[0].contains("offsets 50..51") && messages.iter().all(|m| *m == messages[0]), "{messages:?}");
        assert_eq!(reader.place().next().get(), 50);
    });
}

#[test]
fn when_asked_it_goes_on_exactly_behind_and_says_what_it_passed_over() {
    both_ways(|mapping| {
        let world = damaged(mapping, &[50, 52]);
        let mut reader = world.partition().read_from(Start::Earliest).expect("begins");
        let mut read = values(&reader.read().expect("reads up to it"));
        let gap = reader.skip_damaged().expect("goes around").expect("there is one");
        assert_eq!((gap.partition, gap.from.get(), gap.to.get()), (0, 50, 51));
        assert!(matches!(&gap.reason, Error::Corrupt(c) if c.offsets == Some(gap.from..gap.to)));
        assert!(
            gap.to_string().starts_with("partition 0: the records 50..51 can't be read: corrupt batch in "),
            "{gap}"
        );
        assert_eq!(values(&reader.read().expect("reads on")), ["v51"]);
        read.push("v51".into());
        refused(reader.read());
        reader.skip_damaged().expect("goes around").expect("there is one");
        read.extend(drain(&mut reader));
        let expected: Vec<String> =
            numbered("v", 0..RECORDS).into_iter().filter(|v| v != "v50" && v != "v52").collect();
        assert_eq!(read, expected);
    });
}

#[test]
fn where_nothing_is_damaged_nothing_is_passed_over() {
    both_ways(|mapping| {
        let world = damaged(mapping, &[50]);
        for start in [0, 49, 51, RECORDS] {
            let mut reader = world.partition().read_from(Start::At(Offset::new(start))).expect("begins");
            let place = reader.place();
            assert!(reader.skip_damaged().expect("looks").is_none());
            assert_eq!(reader.place(), place);
            assert_eq!(
                reader.read().expect("reads").iter().next().map(|r| r.offset().get()),
                (start < RECORDS).then_some(start)
            );
        }
    });
}

#[test]
fn a_place_within_a_damaged_batch_goes_on_behind_it_too() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = world.partition();
        orders.append_batch(&["a", "b", "c"].map(record)).expect("appends");
        orders.append("d").expect("appends");
        world.close();
        damage(&world, 0);
        world.open();
        let mut reader = world.partition().read_from(Start::At(Offset::new(1))).expect("begins");
        refused(reader.read());
        let gap = reader.skip_damaged().expect("goes around").expect("there is one");
        assert_eq!((gap.from.get(), gap.to.get()), (1, 3));
        assert_eq!(drain(&mut reader), ["d"]);
    });
}

#[test]
fn a_segment_that_is_gone_is_one_gap() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        let all = segments(&world);
        world.disk.remove(&all[1].0);
        world.open();
        let mut reader = world.partition().read_from(Start::Earliest).expect("begins");
        let mut read = values(&reader.read().expect("reads up to it"));
        let gap = reader.skip_damaged().expect("goes around").expect("there is one");
        assert_eq!((gap.from.get(), gap.to.get()), (all[1].1, all[2].1));
        read.extend(drain(&mut reader));
        assert_eq!(read, [numbered("v", 0..all[1].1), numbered("v", all[2].1..RECORDS)].concat());
    });
}

/// Whose the damage is, as far as the error says.
fn whose(error: &Error) -> (Option<&str>, Option<u32>) {
    let Error::Corrupt(corruption) = error else { panic!("{error}") };
    (corruption.topic.as_ref().map(TopicName::as_str), corruption.partition)
}

#[test]
fn damage_that_keeps_something_closed_says_whose_it_is() {
    for (harmed, whose_it_is) in [
        ("topics/orders@1/0/history", (Some("orders"), Some(0))),
        ("topics/orders@1/commits", (Some("orders"), None)),
        ("topics/orders@1/topic", (Some("orders"), None)),
    ] {
        let world = {
            let mut world = at_rest(Mapping::Never);
            world.disk.flip(harmed, 8 * 20);
            world.open();
            world
        };
        let opened = world.store().topic("orders").and_then(|topic| {
            topic.partition(0)?;
            topic.groups()
        });
        assert_eq!(whose(&refused(opened)), whose_it_is, "{harmed}");
    }
}

#[test]
fn a_place_behind_a_gap_is_kept_committed_and_admitted_like_any_other() {
    both_ways(|mapping| {
        let mut world = damaged(mapping, &[50]);
        let orders = world.topic("orders");
        let mut consumer = orders.consumer("late").open().expect("opens");
        assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 50);
        assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Corrupt(_)));
        let gap = consumer.skip_damaged(0).expect("goes around").expect("there is one");
        assert_eq!((gap.from.get(), gap.to.get()), (50, 51));
        consumer.commit().expect("commits behind the gap");
        let place = consumer.places()[0];
        drop((consumer, orders));
        world.reopen();
        let orders = world.topic("orders");
        assert_eq!(orders.group("late").expect("is there").commits[0].place, place);
        let mut consumer = orders.consumer("late").open().expect("opens");
        assert_eq!(consumer.poll(AT_ONCE).expect("polls").iter().next().expect("is there").offset().get(), 51);
        let mut reader = world.partition().read_from(place).expect("is admitted");
        assert_eq!(drain(&mut reader), numbered("v", 51..RECORDS));
    });
}

#[test]
fn a_place_behind_a_gap_that_is_cut_later_diverges() {
    both_ways(|mapping| {
        let mut world = damaged(mapping, &[50]);
        let mut reader = world.partition().read_from(Start::At(Offset::new(50))).expect("begins");
        reader.skip_damaged().expect("goes around").expect("there is one");
        let place = reader.place();
        drop(reader);
        world.close();
        repair(&mut world, OnDamage::Cut);
        let error = refused(world.partition().read_from(place));
        assert!(matches!(error, Error::Diverged { fork, .. } if fork.get() == 50), "{error}");
    });
}

#[test]
fn one_damaged_partition_keeps_no_other_from_being_consumed() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        damage(&world, 0);
        world.open();
        let orders = world.topic("orders");
        orders.add_partitions(2).expect("adds");
        fill(&orders.partition(1).expect("is there"), "w", 5);
        let mut consumer = orders.consumer("late").open().expect("opens");
        let polled: Vec<_> = (0..2).map(|_| consumer.poll(AT_ONCE)).collect();
        assert!(polled.iter().any(|records| records.as_ref().is_ok_and(|records| records.len() == 5)));
        assert!(polled.iter().any(|records| matches!(records, Err(Error::Corrupt(_)))));
        assert!(consumer.skip_damaged(1).expect("looks").is_none());
        assert!(matches!(refused(consumer.skip_damaged(2)), Error::PartitionNotFound { .. }));
    });
}

/// Eighty records, the later half of which are an hour younger, and when that half begins.
fn half_an_hour_younger(mapping: Mapping) -> (World, Timestamp) {
    let world = world(mapping);
    fill(&world.partition(), "v", 40);
    world.disk.clock().advance(Duration::from_secs(3600));
    let time = epochlog::testing::Clock::now(&world.disk.clock());
    fill(&world.partition(), "v", 40);
    (world, time)
}

#[test]
fn a_start_by_time_that_meets_damage_stands_before_it_and_can_go_around() {
    both_ways(|mapping| {
        let (mut world, time) = half_an_hour_younger(mapping);
        world.close();
        damage(&world, 40);
        world.open();
        let orders = world.topic("orders");
        let mut consumer = orders.consumer("billing").start(Start::Time(time)).open().expect("opens");
        let mut reader = world.partition().read_from(Start::Time(time)).expect("begins");
        for told in
            [refused(consumer.poll(AT_ONCE)), refused(reader.read()), refused(world.partition().offset_at(time))]
        {
            assert!(told.to_string().contains("offsets 40..41"), "{told}");
        }
        for gap in [consumer.skip_damaged(0), reader.skip_damaged()] {
            let gap = gap.expect("goes around").expect("there is one");
            assert_eq!((gap.from.get(), gap.to.get()), (40, 41));
        }
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", 41..80));
        assert_eq!(drain(&mut reader), numbered("v", 41..80));
    });
}

#[test]
fn a_start_by_time_that_meets_a_segment_that_is_gone_stands_before_it() {
    both_ways(|mapping| {
        let (mut world, time) = half_an_hour_younger(mapping);
        world.close();
        let (path, base) = segments(&world).into_iter().rfind(|(_, base)| *base <= 40).expect("holds it");
        world.disk.remove(&path);
        world.open();
        let mut reader = world.partition().read_from(Start::Time(time)).expect("begins");
        assert_eq!(reader.place().next().get(), base);
        reader.skip_damaged().expect("goes around").expect("there is one");
        assert_eq!(reader.read().expect("reads").last().expect("is there").offset().get(), 79);
    });
}

/// Damage is what was met where the reader stands, and not what stood there before a cut.
#[test]
fn damage_that_is_cut_while_it_is_gone_around_is_not_told_of_what_came_in_its_place() {
    both_ways(|mapping| {
        let world = damaged(mapping, &[50]);
        let mut reader = world.partition().read_from(Start::At(Offset::new(50))).expect("begins");
        let (tell, told) = std::sync::mpsc::channel();
        let skips = std::thread::spawn(move || {
            tell.send(()).expect("is heard");
            let gap = reader.skip_damaged().expect("looks");
            (gap.is_some(), reader)
        });
        told.recv().expect("begins");
        std::thread::sleep(Duration::from_millis(10));
        world.partition().truncate(Offset::new(50)).expect("truncates");
        fill(&world.partition(), "w", 10);
        let (was_gap, mut reader) = skips.join().expect("ends");
        match reader.read() {
            Err(Error::Diverged { fork, .. }) if was_gap => assert_eq!(fork.get(), 50),
            read => assert_eq!((was_gap, values(&read.expect("reads"))), (false, numbered("w", 50..60))),
        }
    });
}
