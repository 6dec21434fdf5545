//! What goes in comes out.

use epochlog::{Error, Mapping, Offset, Record, Start, Timestamp, TopicOptions};

use crate::support::*;

#[test]
fn what_a_program_holds_is_printed_in_a_few_words() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 10);
        let topic = partition.topic().clone();
        let epoch = topic.epoch();
        assert_eq!(format!("{topic:?}"), format!("Topic(orders@{epoch})"));
        assert_eq!(format!("{partition:?}"), format!("Partition(0 of orders@{epoch})"));
        let reader = partition.read_from(Start::Latest).expect("begins");
        assert_eq!(format!("{reader:?}"), format!("Reader(orders at {})", reader.place()));
        let mut consumer = topic.consumer("billing").open().expect("opens");
        assert_eq!(format!("{consumer:?}"), format!("Consumer(billing of orders@{epoch} at [])"));
        consumer.poll(AT_ONCE).expect("polls");
        let place = consumer.places()[0];
        assert_eq!(format!("{consumer:?}"), format!("Consumer(billing of orders@{epoch} at [{place}])"));
    });
}

#[test]
fn records_come_back_in_order_across_segments_and_reopens() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 200);
        assert_eq!(all(&world.partition()), numbered("v", 0..200));
        assert!(world.partition().segments().len() > 1);
        world.reopen();
        assert!(world.store().recovery().is_clean());
        assert_eq!(all(&world.partition()), numbered("v", 0..200));
        fill(&world.partition(), "v", 50);
        assert_eq!(all(&world.partition()), numbered("v", 0..250));
    });
}

#[test]
fn what_was_written_survives_a_kill_and_what_was_synced_a_power_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 100);
        scribble(&world.partition(), "v", 100);
        world.kill();
        assert_eq!(all(&world.partition()), numbered("v", 0..200));
        world.power_cut();
        assert_eq!(all(&world.partition()), numbered("v", 0..200));
        scribble(&world.partition(), "w", 10);
        world.power_cut();
        assert_eq!(all(&world.partition()), numbered("v", 0..200));
    });
}

#[test]
fn every_part_of_a_record_comes_back() {
    both_ways(|mapping| {
        let world = world(mapping);
        let headers = [("unit", b"celsius".as_slice()), ("empty", b"")];
        let time = Timestamp::from_millis(-5);
        let full = Record::new("up").key("device-7").headers(&headers).timestamp(time);
        world.partition().append_batch(&[full, Record::tombstone("device-8"), Record::new("")]).expect("appends");
        let records = world.partition().get(Offset::new(0)).expect("reads");
        let first = records.iter().next().expect("is there");
        assert_eq!(
            (first.key(), first.value(), first.timestamp()),
            (Some(b"device-7".as_slice()), b"up".as_slice(), time)
        );
        assert_eq!(first.headers().collect::<Vec<_>>(), headers);
        let records = world.partition().read_from(Start::At(Offset::new(1))).expect("begins").read().expect("reads");
        let rest: Vec<_> = records.iter().map(|record| (record.is_tombstone(), record.key().is_some())).collect();
        assert_eq!(rest, [(true, true), (false, false)]);
    });
}

#[test]
fn an_offset_that_is_not_there_is_out_of_range() {
    let world = world(epochlog::Mapping::Auto);
    fill(&world.partition(), "v", 3);
    let error = refused(world.partition().read_from(Start::At(Offset::new(4))));
    assert!(matches!(error, Error::OffsetOutOfRange { .. }));
    assert_eq!(error.to_string(), "offset 4 of partition 0 of `orders` is out of range; it holds 0..3");
}

#[test]
fn a_time_finds_the_first_record_that_is_not_older() {
    both_ways(|mapping| {
        let world = world(mapping);
        for n in 0..300 {
            world.partition().append(Record::new("v").timestamp(Timestamp::from_millis(n * 10))).expect("appends");
        }
        let at = |ms| world.partition().offset_at(Timestamp::from_millis(ms)).expect("finds").get();
        assert_eq!([at(-1), at(0), at(1), at(1500), at(2990), at(2991)], [0, 0, 1, 150, 299, 300]);
    });
}

#[test]
fn a_time_is_found_where_a_walk_over_all_records_finds_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        // Times that rise, stand still and fall back, in batches of one to seven.
        let began = Timestamp::from_millis(1_700_000_000_000).as_millis();
        let times: Vec<i64> = (0..600_i64).map(|n| began + n / 3 * 2 - n * 7 % 13 * i64::from(n % 5 == 0)).collect();
        let (mut rest, mut batch) = (&times[..], 0);
        while !rest.is_empty() {
            batch = batch % 7 + 1;
            let (now, later) = rest.split_at(batch.min(rest.len()));
            let record = |time: &i64| Record::new("a value").timestamp(Timestamp::from_millis(*time));
            partition.append_batch_with(&now.iter().map(record).collect::<Vec<_>>(), written()).expect("appends");
            rest = later;
        }
        for time in began - 20..began + 420 {
            let walked = times.iter().position(|&other| other >= time).unwrap_or(times.len());
            let found = partition.read_from(Start::Time(Timestamp::from_millis(time))).expect("looks");
            assert_eq!(found.place().next(), Offset::new(walked as u64), "{}", time - began);
        }
    });
}

/// The header of a batch can tell only of times within a month of its append.
#[test]
fn a_time_long_before_or_after_the_append_is_found_without_reading_all() {
    const BATCHES: u64 = 3000;
    let millis = |year: i64, n: u64| Timestamp::from_millis((year - 1970) * 365 * 86_400_000 + n.cast_signed());
    for year in [2005, 2055] {
        let mut world = world(Mapping::Never);
        let topic = world.store().create_topic("times", TopicOptions::new()).expect("creates");
        let partition = topic.partition(0).expect("has one");
        for n in 0..BATCHES {
            let record = Record::new("a value of some length").timestamp(millis(year, n));
            partition.append_batch_with(&[record], written()).expect("appends");
        }
        for lost in [false, true] {
            world.close();
            if lost {
                let files = world.disk.files().into_iter();
                let index = files.filter(|path| path.extension().is_some_and(|end| end == "index"));
                index.for_each(|path| world.disk.remove(path));
            }
            world.open();
            let partition = world.store().topic("times").expect("is there").partition(0).expect("has one");
            // The first lookup opens the files, and builds the index if there is none.
            partition.read_from(Start::Time(millis(year, 0))).expect("looks");
            let before = world.disk.count("read");
            for wanted in (0..BATCHES).step_by(300) {
                let found = partition.read_from(Start::Time(millis(year, wanted))).expect("looks");
                assert_eq!(found.place().next(), Offset::new(wanted), "{year}, index lost: {lost}");
            }
            let reads = world.disk.count("read") - before;
            assert!(reads > 0 && reads < 10 * 200, "{reads} reads in {year}, index lost: {lost}");
        }
    }
}
