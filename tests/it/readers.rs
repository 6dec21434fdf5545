//! Reading without a group: by place, by offset, by bytes, tailing; and what is read outlives everything.

use std::time::{Duration, Instant};

use epochlog::{
    AppendOptions, Durability, Error, Mapping, Offset, Partition, Place, Record, Records, Start, Store, StoreOptions,
    Timestamp, TopicOptions, Visibility,
};

use crate::support::*;

#[test]
fn records_tell_their_first_and_last_and_how_many_they_are() {
    both_ways(|mapping| {
        let world = world(mapping);
        world.store().create_topic("orders", small().partitions(3)).expect("creates");
        let orders = world.topic("orders");
        for number in [0, 2] {
            fill(&orders.partition(number).expect("is there"), "v", 150);
        }
        let mut consumer = orders.consumer("billing").open().expect("opens");
        let records = consumer.poll(AT_ONCE).expect("polls");
        let told = |record: epochlog::RecordView<'_>| (record.partition(), record.offset().get());
        let walked: Vec<_> = records.iter().map(told).collect();
        assert_eq!(walked.len(), 300);
        assert_eq!(records.first().map(told), walked.first().copied());
        assert_eq!(records.last().map(told), walked.last().copied());
        let mut iter = records.iter();
        assert_eq!(iter.size_hint(), (300, Some(300)));
        while iter.next().is_some() {
            let (least, most) = iter.size_hint();
            let left = iter.clone().count();
            assert!(least <= left && most.is_none_or(|most| left <= most), "{least}..{most:?} for {left}");
        }
        let none = consumer.poll(AT_ONCE).expect("polls");
        assert!(none.first().is_none() && none.last().is_none() && none.iter().size_hint() == (0, Some(0)));
    });
}

#[test]
fn a_read_gives_about_as_many_bytes_as_were_asked_for_and_at_least_one_batch() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        for n in 0..30 {
            orders.append(&format!("{n:0100}")).expect("appends");
        }
        let mut one = orders.read_from(Start::Earliest).expect("begins").bytes_max(1);
        assert_eq!((one.read().expect("reads").len(), one.read().expect("reads").len()), (1, 1));
        let mut some = orders.read_from(Start::Earliest).expect("begins").bytes_max(1000);
        let (mut polls, mut seen) = (0, 0);
        loop {
            let records = some.read().expect("reads");
            if records.is_empty() {
                break;
            }
            assert!((1..=8).contains(&records.len()), "{} records", records.len());
            (polls, seen) = (polls + 1, seen + records.len());
        }
        assert!(seen == 30 && (4..=10).contains(&polls), "{seen} in {polls} reads");
        assert_eq!(orders.read_from(Start::Earliest).expect("begins").bytes_max(0).read().expect("reads").len(), 1);
    });
}

#[test]
fn a_reader_of_durable_records_sees_no_other() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 3);
        scribble(&orders, "v", 2);
        let mut safe = orders.read_from(Start::Earliest).expect("begins").visibility(Visibility::Durable);
        let mut soon = orders.read_from(Start::Earliest).expect("begins");
        assert_eq!((safe.lag(), soon.lag()), (3, 5));
        assert_eq!((drain(&mut safe).len(), drain(&mut soon).len()), (3, 5));
        assert_eq!((safe.lag(), soon.lag()), (0, 0));
        assert!(safe.poll(Duration::from_millis(1)).expect("polls").is_empty());
        let waiting = std::thread::spawn(move || values(&safe.poll(Duration::from_secs(60)).expect("polls")));
        orders.sync().expect("syncs");
        assert_eq!(waiting.join().expect("ends"), numbered("v", 3..5));
    });
}

#[test]
fn a_tailing_reader_waits_for_its_time_or_for_a_record() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        let mut tail = orders.read_from(Start::Latest).expect("begins");
        let begun = Instant::now();
        assert!(tail.poll(Duration::from_millis(20)).expect("polls").is_empty());
        assert!(begun.elapsed() >= Duration::from_millis(20));
        let waiting = std::thread::spawn(move || {
            let mut got = Vec::new();
            while got.len() < 5 {
                got.extend(values(&tail.poll(Duration::from_secs(60)).expect("polls")));
            }
            got
        });
        scribble(&orders, "v", 5);
        assert_eq!(waiting.join().expect("ends"), numbered("v", 0..5));
    });
}

#[test]
fn a_reader_goes_on_exactly_behind_the_record_whose_place_was_kept() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 60);
        let batch: Vec<String> = numbered("v", 60..100);
        let batch: Vec<Record<'_>> = batch.iter().map(Record::from).collect();
        world.partition().append_batch(&batch).expect("appends");
        world.reopen();
        fill(&world.partition(), "v", 60);
        let records = world.partition().read_from(Start::Earliest).expect("begins").read().expect("reads");
        let places: Vec<Place> = records.iter().map(|record| record.next()).collect();
        assert_eq!(places.len(), 160);
        world.reopen();
        for (n, place) in (1..).zip(places) {
            let place = place.to_string().parse::<Place>().expect("parses");
            assert_eq!(place, world.partition().place_at(Offset::new(n)).expect("is there"));
            let mut reader = world.partition().read_from(place).expect("goes on");
            assert_eq!(reader.place(), place);
            assert_eq!(drain(&mut reader), numbered("v", n..160));
        }
    });
}

#[test]
fn a_readers_place_is_that_of_the_record_it_gave_last_also_where_sessions_meet() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.reopen();
        fill(&world.partition(), "v", 3);
        let mut reader = world.partition().read_from(Start::Earliest).expect("begins").bytes_max(1);
        for _ in 0..6 {
            let last = reader.read().expect("reads").iter().last().expect("is there").next();
            assert_eq!(reader.place(), last);
            world.partition().read_from(reader.place()).expect("is there");
        }
    });
}

#[test]
fn get_gives_the_one_record() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 50);
        world.partition().append_batch(&["v50", "v51", "v52"].map(Record::new)).expect("appends");
        fill(&world.partition(), "v", 147);
        for _ in 0..2 {
            for n in 0..200 {
                let records = world.partition().get(Offset::new(n)).expect("reads");
                let record = records.iter().next().expect("is there");
                assert_eq!((records.len(), record.offset().get()), (1, n));
                assert_eq!(record.value(), format!("v{n}").as_bytes());
            }
            world.reopen();
        }
    });
}

#[test]
fn a_trimmed_place_is_out_of_range_and_not_elsewhere() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 100);
        let place = orders.place_at(Offset::new(10)).expect("is there");
        orders.trim(Offset::new(50)).expect("trims");
        let error = refused(orders.read_from(place));
        assert!(matches!(error, Error::OffsetOutOfRange { offset, .. } if offset.get() == 10), "{error}");
        let start = orders.read_from(Start::Earliest).expect("begins").place();
        assert_eq!(drain(&mut orders.read_from(start).expect("begins")), numbered("v", 50..100));
    });
}

#[test]
fn a_truncate_inside_a_batch_leaves_its_first_records() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let batch = numbered("v", 0..10);
        let batch: Vec<Record<'_>> = batch.iter().map(Record::from).collect();
        world.partition().append_batch(&batch).expect("appends");
        fill(&world.partition(), "v", 5);
        world.partition().truncate(Offset::new(4)).expect("truncates");
        for lives in 0..4 {
            let orders = world.partition();
            assert_eq!((orders.start().get(), orders.end().get()), (0, 4));
            assert_eq!(all(&orders), numbered("v", 0..4));
            assert!(matches!(refused(orders.get(Offset::new(4))), Error::OffsetOutOfRange { .. }));
            match lives {
                0 => world.kill(),
                1 => world.power_cut(),
                2 => world.reopen(),
                _ => {}
            }
        }
        fill(&world.partition(), "new", 3);
        world.power_cut();
        let expected = [numbered("v", 0..4), numbered("new", 4..7)].concat();
        assert_eq!(all(&world.partition()), expected);
    });
}

#[test]
fn truncate_to_the_start_and_to_the_end_are_both_allowed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 100);
        let epochs = world.partition().lineage().len();
        world.partition().truncate(Offset::new(100)).expect("takes nothing");
        assert_eq!(world.partition().lineage().len(), epochs, "and begins nothing");
        world.partition().trim(Offset::new(30)).expect("trims");
        world.partition().truncate(Offset::new(30)).expect("truncates");
        assert_eq!(world.partition().lineage().last().expect("one").reason, "truncated");
        for _ in 0..2 {
            assert_eq!((world.partition().start().get(), world.partition().end().get()), (30, 30));
            assert!(all(&world.partition()).is_empty());
            world.reopen();
        }
        fill(&world.partition(), "w", 2);
        assert_eq!(all(&world.partition()), numbered("w", 30..32));
    });
}

#[test]
fn a_living_reader_learns_of_a_truncate_though_its_offset_is_there_again() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 10);
        let mut reader = orders.read_from(Start::Earliest).expect("begins");
        assert_eq!(drain(&mut reader).len(), 10);
        orders.truncate(Offset::new(4)).expect("truncates");
        fill(&orders, "new", 20);
        for _ in 0..2 {
            assert!(matches!(refused(reader.read()), Error::Diverged { fork, .. } if fork.get() == 4));
        }
        reader.seek(Start::At(Offset::new(4))).expect("seeks");
        assert_eq!(drain(&mut reader), numbered("new", 4..24));
    });
}

#[test]
fn a_reader_before_the_cut_reads_on_over_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 10);
        let mut reader = orders.read_from(Start::Earliest).expect("begins").bytes_max(1);
        assert_eq!(values(&reader.read().expect("reads")), ["v0"]);
        orders.truncate(Offset::new(4)).expect("truncates");
        fill(&orders, "new", 2);
        assert_eq!(drain(&mut reader), [numbered("v", 1..4), numbered("new", 4..6)].concat());
    });
}

#[test]
fn records_are_whole_while_the_log_is_trimmed_truncated_and_deleted_under_them() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 200);
        let records = orders.read_from(Start::Earliest).expect("begins").read().expect("reads");
        orders.truncate(Offset::new(120)).expect("truncates");
        orders.trim(Offset::new(100)).expect("trims");
        fill(&orders, "new", 100);
        world.store().delete_topic("orders").expect("deletes");
        assert_eq!(values(&records), numbered("v", 0..200));
    });
}

#[test]
fn records_and_their_bytes_outlive_the_store_and_its_directory() {
    both_ways(|mapping| {
        let dir = tempfile::tempdir().expect("makes");
        let path = dir.path().join("data");
        let (records, value) = {
            let store = StoreOptions::new().mapping(mapping).create(&path).expect("creates");
            let orders = store.create_topic("orders", small()).expect("creates").partition(0).expect("is there");
            for n in 0..200 {
                orders.append_with(&format!("v{n}"), written()).expect("appends");
            }
            let records = orders.read_from(Start::Earliest).expect("begins").read().expect("reads");
            let value = records.iter().nth(7).expect("is there").value_bytes();
            store.close().expect("closes");
            (records, value)
        };
        Store::open(&path).expect("the lock was released").close().expect("closes");
        std::fs::remove_dir_all(&path).expect("removes");
        let there = std::thread::spawn(move || values(&records)).join().expect("ends");
        assert_eq!(there, numbered("v", 0..200));
        assert_eq!(&value[..], b"v7");
    });
}

#[test]
fn records_are_empty_by_default_and_count_what_they_hold() {
    assert!(Records::default().is_empty() && Records::default().iter().next().is_none());
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 10);
    let records = world.partition().read_from(Start::FromEnd(3)).expect("begins").read().expect("reads");
    assert_eq!((records.len(), records.iter().count()), (3, 3));
}

#[test]
fn partitions_that_are_added_are_there_after_every_end() {
    both_ways(|mapping| {
        for end in [World::reopen as fn(&mut World), World::kill, World::power_cut] {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 10);
            world.topic("orders").add_partitions(4).expect("adds");
            let last = world.topic("orders").partition(3).expect("is there");
            fill(&last, "w", 10);
            drop(last);
            end(&mut world);
            let orders = world.topic("orders");
            assert_eq!((orders.partitions(), orders.options().get_partitions()), (4, 4));
            assert_eq!(all(&orders.partition(0).expect("is there")), numbered("v", 0..10));
            assert_eq!(all(&orders.partition(3).expect("is there")), numbered("w", 0..10));
            assert!(all(&orders.partition(1).expect("is there")).is_empty());
        }
    });
}

#[test]
fn a_key_keeps_its_partition_and_its_order() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.store().create_topic("orders", small().partitions(4)).expect("creates");
        for n in 0..50 {
            for key in ["a", "b", "c", "device-7"] {
                orders.append_with(Record::new(&format!("{key}{n}")).key(key), written()).expect("appends");
            }
        }
        for key in ["a", "b", "c", "device-7"] {
            let mine = |number| {
                let records = orders.partition(number).expect("is there").read_from(Start::Earliest);
                let records = records.expect("begins").read().expect("reads");
                let mine = records.iter().filter(|record| record.key() == Some(key.as_bytes()));
                mine.map(|record| String::from_utf8_lossy(record.value()).into_owned()).collect::<Vec<_>>()
            };
            let homes: Vec<Vec<String>> = (0..4).map(mine).filter(|mine| !mine.is_empty()).collect();
            assert_eq!(homes, [numbered(key, 0..50)]);
        }
    });
}

#[test]
fn a_deleted_topic_is_gone_with_its_files_and_its_name_is_free() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 100);
        world.topic("audit");
        let (topic, orders) = (world.topic("orders"), world.partition());
        world.store().delete_topic("orders").expect("deletes");
        assert!(!tree(&world.disk).keys().any(|path| path.to_string_lossy().contains("orders")));
        assert_eq!(world.store().topics().expect("lists").len(), 1);
        assert!(matches!(refused(orders.append("v")), Error::TopicDeleted { .. }));
        assert!(matches!(refused(topic.sync()), Error::TopicDeleted { .. }));
        assert!(matches!(refused(world.store().delete_topic("orders")), Error::TopicNotFound { .. }));
        assert!(all(&world.partition()).is_empty());
        world.power_cut();
        assert!(all(&world.partition()).is_empty());
        assert_ne!(world.topic("orders").epoch(), topic.epoch());
    });
}

#[test]
fn an_append_says_what_it_survives_and_an_empty_batch_writes_nothing() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        let before = tree(&world.disk);
        let ack = orders.append_batch(&[]).expect("is no error");
        assert_eq!((ack.offsets(), tree(&world.disk) == before), (Offset::ZERO..Offset::ZERO, true));
        let ack = orders.append_batch_with(&["a", "b"].map(Record::new), written()).expect("appends");
        assert_eq!((ack.offset().get(), ack.next().next().get()), (0, 2));
        assert_eq!((ack.durability(), orders.durable_end().get()), (Durability::Written, 0));
        orders.wait_durable(&ack).expect("syncs");
        assert_eq!(orders.durable_end().get(), 2);
        let ack = orders.append_with("c", AppendOptions::new()).expect("appends");
        assert_eq!((ack.durability(), orders.durable_end().get()), (Durability::Durable, 3));
        let lax = TopicOptions::new().durability(Durability::Written);
        let lax = world.store().create_topic("lax", lax).expect("creates");
        assert_eq!(lax.append("v").expect("appends").durability(), Durability::Written);
    });
}

#[test]
fn a_reader_that_begins_beside_the_writer_sees_what_was_cut_before() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 2);
        let beside = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let seen = beside.topic("orders").expect("is there").partition(0).expect("is there");
        assert_eq!(all(&seen).len(), 2);
        let place = partition.place_at(Offset::new(2)).expect("is there");
        partition.truncate(Offset::new(1)).expect("truncates");
        assert!(matches!(refused(seen.read_from(place)), Error::Diverged { .. }));
        assert_eq!(all(&seen), ["v0"]);
    });
}

/// Two ways lead to a record: by its share of what lies around it, where all are of one length, and from header to header.
#[test]
fn a_record_read_by_its_offset_is_right_or_refused_whatever_bit_around_it_is_flipped() {
    for lengths in [[90, 90, 90], [60, 100, 110]] {
        let mut world = world(Mapping::Never);
        let topic = world.store().create_topic("wide", TopicOptions::new()).expect("creates");
        let value = |n: usize| format!("{n:0width$}", width = lengths[n % 3]);
        (0..200).for_each(|n| _ = topic.append(&value(n)).expect("appends"));
        world.reopen();
        let wide = world.store().topic("wide").expect("is there").partition(0).expect("has one");
        let read = |n: u64| wide.get(Offset::new(n)).map(|records| values(&records));
        let file = world.disk.files().into_iter().find(|path| path.to_string_lossy().ends_with("@2.log"));
        let file = file.expect("one segment");
        let stood = world.disk.read(&file);
        let text = value(70);
        let begins = stood.windows(text.len()).position(|bytes| bytes == text.as_bytes()).expect("stands there");
        for bit in (begins - 200) * 8..(begins + text.len()) * 8 {
            world.disk.flip(&file, bit as u64);
            match read(70) {
                Ok(found) => assert_eq!(found, std::slice::from_ref(&text), "bit {bit}"),
                Err(error) => {
                    assert!(matches!(error, Error::Corrupt(_)) && bit / 8 >= begins - 48, "{error}: bit {bit}");
                }
            }
            world.disk.flip(&file, bit as u64);
        }
        assert_eq!(read(70).expect("reads"), [text]);
    }
}

/// The end of what another process writes is behind the last entry of its index, not behind all that lies before.
#[test]
fn opening_beside_a_writer_reads_little_of_what_it_has_written() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("wide", TopicOptions::new()).expect("creates");
        (0..60_000).for_each(|n| _ = topic.append_with(&format!("{n:0100}"), written()).expect("appends"));
        let before = world.disk.count("read");
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let wide = reading.topic("wide").expect("is there").partition(0).expect("has one");
        assert_eq!(wide.end(), Offset::new(60_000));
        assert_eq!(values(&wide.get(Offset::new(59_999)).expect("reads")), [format!("{:0100}", 59_999)]);
        let reads = world.disk.count("read") - before;
        assert!((1..=24).contains(&reads), "{reads} reads");
    });
}

/// 300 records, of which 250 go when the next file of a segment is opened.
fn trimmed_by_a_look(mapping: Mapping) -> (World, Partition) {
    let world = world(mapping);
    let partition = world.partition();
    fill(&partition, "v", 300);
    let other = partition.clone();
    at_nth(&world.disk, 1, "open", ".log", move || other.trim(Offset::new(250)).expect("trims"));
    (world, partition)
}

#[test]
fn what_retention_takes_while_it_is_looked_up_is_out_of_range_and_no_damage() {
    both_ways(|mapping| {
        let (_world, partition) = trimmed_by_a_look(mapping);
        let error = refused(partition.get(Offset::ZERO));
        assert!(matches!(error, Error::OffsetOutOfRange { start, .. } if start == Offset::new(250)), "{error}");
    });
}

#[test]
fn a_time_is_found_in_what_retention_leaves_while_it_is_looked_up() {
    both_ways(|mapping| {
        let (_world, partition) = trimmed_by_a_look(mapping);
        assert_eq!(partition.offset_at(Timestamp::from_millis(0)).expect("finds"), Offset::new(250));
    });
}

/// Every append rolls, and the look at the segments and the one at the end are two.
#[test]
fn a_record_is_there_or_out_of_range_while_segments_roll_and_never_none() {
    both_ways(|mapping| {
        let world = world(mapping);
        let options = small().segment_bytes_max(1024).retention_bytes(100_000);
        let orders = world.store().create_topic("orders", options).expect("creates");
        let partition = orders.partition(0).expect("is there");
        let ends = Instant::now() + Duration::from_millis(1500);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while Instant::now() < ends {
                    partition.append_with(&[b'v'; 700], written()).expect("appends");
                }
            });
            let mut next = Offset::ZERO;
            while Instant::now() < ends {
                match partition.get(next) {
                    Err(Error::OffsetOutOfRange { start, .. }) => next = next.max(start),
                    found => {
                        assert_eq!(found.expect("reads").len(), 1, "at {next}");
                        next = Offset::new(next.get() + 1);
                    }
                }
            }
        });
    });
}

/// 100 records, of which those from 80 on are a second younger; a truncate to 50 comes when a file is next read.
fn cut_by_a_look(mapping: Mapping) -> (World, Partition, Start) {
    let world = world(mapping);
    let topic = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    let partition = topic.partition(0).expect("is there");
    fill(&partition, "v", 80);
    world.disk.clock().advance(Duration::from_secs(1));
    fill(&partition, "v", 20);
    let (other, time) = (partition.clone(), epochlog::testing::Clock::now(&world.disk.clock()));
    at_nth(&world.disk, 1, "read", ".log", move || other.truncate(Offset::new(50)).expect("truncates"));
    (world, partition, Start::Time(time))
}

/// A place tells what lies before it as it was when it was looked up, not as it has become meanwhile.
#[test]
fn a_cut_while_a_time_is_looked_up_is_told_to_who_reads_from_there() {
    let is_cut = |error| matches!(error, Error::Diverged { fork, .. } if fork == Offset::new(50));
    let (_world, partition, start) = cut_by_a_look(Mapping::Never);
    let mut reader = partition.read_from(start).expect("begins");
    assert_eq!(reader.place().next(), Offset::new(80));
    fill(&partition, "w", 60);
    assert!(is_cut(refused(reader.read())));

    let (_world, partition, start) = cut_by_a_look(Mapping::Never);
    let places = partition.topic().plan_reset("billing", &[(0, start.into())]).expect("finds it");
    fill(&partition, "w", 60);
    assert!(is_cut(refused(partition.read_from(places[0]))));
}

/// A place is judged, and looked up, by one look at the log.
#[test]
fn a_place_that_is_cut_while_it_is_looked_up_diverges_and_is_never_out_of_range() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 100);
        let place = partition.place_at(Offset::new(72)).expect("is there");
        let (tell, told) = std::sync::mpsc::channel();
        let other = partition.clone();
        let reads = std::thread::spawn(move || {
            tell.send(()).expect("is heard");
            other.read_from(place).map(drop)
        });
        told.recv().expect("begins");
        std::thread::sleep(Duration::from_millis(10));
        partition.truncate(Offset::new(50)).expect("truncates");
        let answer = reads.join().expect("ends");
        assert!(matches!(answer, Ok(()) | Err(Error::Diverged { .. })), "{answer:?}");
    });
}
