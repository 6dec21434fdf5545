//! A store that is opened for reading beside its writer: what it sees, when, and what it is told when things change.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use epochlog::testing::{Access, Clock, Dir, Image, SimDisk};
use epochlog::{Error, Mapping, Offset, Partition, Start, Store, Timestamp, Topic, TopicOptions, Visibility, inspect};

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

/// The file of the first topic's one segment.
fn active_log(world: &World) -> PathBuf {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|end| end == "log");
    world.disk.files().into_iter().find(is_log).expect("is there")
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

#[test]
fn a_torn_end_that_stays_as_it_is_is_judged_once() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 9);
        scribble(&world.partition(), "v", 1);
        world.go_down(Image::after_kill);
        let log = active_log(&world);
        let bytes = world.disk.read(&log);
        let torn = bytes.windows(2).position(|two| two == b"v9").expect("is there") - 2 - 46;
        world.disk.flip(&log, torn as u64 * 8);
        let store = beside(&world);
        let mut reader = first(&seen(&store)).read_from(Start::Earliest).expect("begins");
        assert_eq!(drain(&mut reader), numbered("v", 0..9));
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = opened.clone();
        world.disk.on_operation(Box::new(move |operation| {
            let is_log = operation.path.extension().is_some_and(|end| end == "log");
            counted.fetch_add(usize::from(operation.name == "open" && is_log), Relaxed);
        }));
        for _ in 0..9 {
            assert!(reader.read().expect("waits for it").is_empty());
        }
        assert_eq!(opened.load(Relaxed), 0);
        // Whole now, it is read.
        world.disk.flip(&log, torn as u64 * 8);
        assert_eq!(drain(&mut reader), ["v9"]);
    });
}

#[test]
fn every_question_is_answered_by_what_the_writer_has_written_since() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 3);
        let store = beside(&world);
        let orders = seen(&store);
        let (looked_up, seeking) = (first(&orders), first(&orders));
        let mut reader = seeking.read_from(Start::Earliest).expect("begins");
        assert_eq!(drain(&mut reader).len(), 3);
        let behind = |n| partition.place_at(Offset::new(n)).expect("is there");
        fill(&partition, "v", 5);
        assert_eq!(values(&looked_up.get(Offset::new(7)).expect("is there")), ["v7"]);
        fill(&partition, "v", 1);
        reader.seek(behind(9)).expect("no fork");
        fill(&partition, "v", 1);
        assert_eq!(reader.lag(), 1);
        fill(&partition, "v", 1);
        assert_eq!(orders.plan_reset("billing", &[(0, Start::Latest.into())]).expect("plans"), [behind(11)]);
        fill(&partition, "v", 1);
        commit_all(&world.topic("orders"));
        fill(&partition, "v", 2);
        let group = orders.group("billing").expect("is there");
        assert_eq!((group.commits[0].lag, &group.commits[0].problem), (Some(2), &None));
        fill(&partition, "v", 200);
        let sealed = |partition: &Partition| partition.segments().iter().filter(|segment| segment.sealed).count();
        let bytes = looked_up.bytes();
        assert!(sealed(&partition) > 1 && bytes > 2 * 4096, "{bytes}");
    });
}

#[test]
fn partitions_that_the_writer_adds_are_there() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.topic("orders");
        let store = beside(&world);
        let before = seen(&store);
        assert!(matches!(refused(before.partition(1)), Error::PartitionNotFound { partitions: 1, .. }));
        orders.add_partitions(3).expect("adds");
        fill(&orders.partition(2).expect("is there"), "v", 2);
        assert_eq!(all(&before.partition(2).expect("is there")), ["v0", "v1"]);
        assert_eq!((before.partitions(), seen(&store).partitions()), (3, 3));
        assert!(matches!(refused(before.partition(3)), Error::PartitionNotFound { partitions: 3, .. }));
    });
}

#[test]
fn whatever_is_asked_of_a_topic_that_the_writer_deleted_it_was_deleted() {
    type Question = (&'static str, fn(&Topic, &Partition) -> Result<(), Error>);
    let questions: [Question; 7] = [
        ("groups", |topic, _| topic.groups().map(drop)),
        ("group", |topic, _| topic.group("billing").map(drop)),
        ("partition", |topic, _| topic.partition(1).map(drop)),
        ("plan_reset", |topic, _| topic.plan_reset("billing", &[(0, Start::Latest.into())]).map(drop)),
        ("get", |_, partition| partition.get(Offset::ZERO).map(drop)),
        ("offset_at", |_, partition| partition.offset_at(epochlog::Timestamp::from_millis(0)).map(drop)),
        ("read_from", |_, partition| partition.read_from(Start::Earliest).map(drop)),
    ];
    for (name, ask) in questions {
        for recreated in [false, true] {
            both_ways(|mapping| {
                let world = world(mapping);
                let orders = world.store().create_topic("orders", small().partitions(2)).expect("creates");
                fill(&first(&orders), "v", 3);
                commit_all(&orders);
                let store = beside(&world);
                let topic = seen(&store);
                let partition = first(&topic);
                world.store().delete_topic("orders").expect("deletes");
                if recreated {
                    world.topic("orders");
                }
                let error = refused(ask(&topic, &partition));
                assert!(matches!(error, Error::TopicDeleted { .. }), "{name}, {recreated}: {error}");
            });
        }
    }
}

#[test]
fn a_topic_that_is_deleted_and_created_again_while_it_is_opened_is_the_new_one() {
    both_ways(|mapping| {
        let world = world(mapping);
        world.topic("orders");
        let store = beside(&world);
        let writer = world.store().clone();
        at_nth(&world.disk, 1, "open", "/topic", move || {
            writer.delete_topic("orders").expect("deletes");
            writer.create_topic("orders", small()).expect("creates");
        });
        let found = seen(&store);
        assert_eq!(found.epoch(), world.topic("orders").epoch());
    });
}

#[test]
fn a_topic_that_is_deleted_while_it_is_opened_is_not_found() {
    both_ways(|mapping| {
        let world = world(mapping);
        world.topic("orders");
        let store = beside(&world);
        let writer = world.store().clone();
        at_nth(&world.disk, 1, "open", "/topic", move || writer.delete_topic("orders").expect("deletes"));
        assert!(matches!(refused(store.topic("orders")), Error::TopicNotFound { .. }));
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

#[test]
fn only_what_the_files_say_was_synced_is_durable_and_a_power_cut_takes_none_of_it() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 2);
        scribble(&world.partition(), "v", 2);
        let store = beside(&world);
        let partition = first(&seen(&store));
        assert_eq!((partition.durable_end(), partition.end()), (Offset::new(2), Offset::new(4)));
        let mut reader = partition.read_from(Start::Earliest).expect("begins").visibility(Visibility::Durable);
        let mut read = drain(&mut reader);
        assert_eq!(read, numbered("v", 0..2));
        world.partition().sync().expect("syncs");
        scribble(&world.partition(), "v", 1);
        read.extend(drain(&mut reader));
        assert_eq!(read, numbered("v", 0..4), "the batch behind them says so");
        drop((reader, partition, store));
        world.power_cut();
        assert_eq!(all(&world.partition()), read);
        world.close();
        let store = beside(&world);
        let partition = first(&seen(&store));
        assert_eq!(partition.durable_end(), partition.end(), "a clean close says that of everything");
    });
}

#[test]
fn the_durable_end_beside_a_writer_is_never_above_the_writers_and_falls_only_by_a_cut() {
    both_ways(|mapping| {
        let world = world(mapping);
        let writer = world.partition();
        let store = beside(&world);
        let partition = first(&seen(&store));
        let mut before = Offset::ZERO;
        for step in 0..400_u64 {
            match step % 40 {
                13 | 27 => fill(&writer, "v", 1),
                35 if step > 200 => {
                    // Grown again when it is looked at: what was durable there before the cut is not.
                    writer.truncate(Offset::new(writer.end().get() / 2)).expect("truncates");
                    scribble(&writer, "v", 200);
                    before = Offset::ZERO;
                }
                _ => scribble(&writer, "v", 5),
            }
            let fresh = first(&seen(&beside(&world))).durable_end();
            for durable in [partition.durable_end(), fresh] {
                let known = writer.durable_end();
                assert!(durable <= known, "step {step}: {durable} above {known}");
            }
            let durable = partition.durable_end();
            assert!(durable >= before, "step {step}: {durable} after {before}");
            before = durable;
        }
        assert!(before > Offset::new(200), "{before}");
    });
}

/// A history whose last line was cut by a kill stays so until the next open: it isn't news at every look.
#[test]
fn damage_beside_a_history_with_a_torn_end_is_told_and_not_looked_at_for_ever() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 200);
    world.go_down(epochlog::testing::Image::after_kill);
    let file = |part: &str| world.disk.files().into_iter().find(|path| path.to_string_lossy().contains(part));
    let (history, log) = (file("history").expect("is there"), file("00000@2.log").expect("is there"));
    let mut bytes = world.disk.read(&history);
    let used = bytes.iter().rposition(|&byte| byte != 0).expect("holds something") + 1;
    bytes.truncate(used);
    bytes.extend([1, 2, 3, 4, 5]);
    world.disk.write(&history, bytes);
    world.disk.flip(&log, 8 * 144);
    let store = beside(&world);
    let partition = first(&seen(&store));
    assert!(matches!(refused(partition.get(Offset::ZERO)), Error::Corrupt(_)));
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    assert!(matches!(refused(reader.read()), Error::Corrupt(_)));
}

#[test]
fn a_segment_that_grew_and_was_rolled_between_two_looks_is_read_to_its_end() {
    both_ways(|mapping| {
        let world = world(mapping);
        let large = epochlog::TopicOptions::new().segment_bytes_max(256 << 10);
        let orders = world.store().create_topic("orders", large).expect("creates");
        let partition = first(&orders);
        scribble(&partition, "v", 3);
        let store = beside(&world);
        let seen = first(&seen(&store));
        let mut reader = seen.read_from(Start::Earliest).expect("begins");
        assert_eq!(drain(&mut reader).len(), 3);
        // Nothing is synced, so nothing is sealed.
        scribble(&partition, "v", 10_000);
        assert!(partition.segments().len() > 2);
        assert_eq!(values(&seen.get(Offset::new(3000)).expect("is there")), ["v3000"]);
        assert_eq!(drain(&mut reader).len(), 10_000);
    });
}

#[test]
fn a_lookup_in_a_tail_that_grew_reads_hardly_more_than_in_a_store_that_was_opened_since() {
    type Lookup = fn(&Partition, i64, u64);
    let lookups: [Lookup; 2] = [
        |of, _, n| assert_eq!(values(&of.get(Offset::new(n)).expect("is there")), [format!("v{n}")]),
        |of, begin, n| {
            assert_eq!(of.offset_at(Timestamp::from_millis(begin + n as i64)).expect("finds it"), Offset::new(n));
        },
    ];
    both_ways(|mapping| {
        for look_up in lookups {
            let world = world(mapping);
            let large = TopicOptions::new().segment_bytes_max(4 << 20);
            let partition = first(&world.store().create_topic("orders", large).expect("creates"));
            let begin = world.disk.clock().now().as_millis();
            let append = |n: u64| {
                let (value, time) = (format!("v{n}"), Timestamp::from_millis(begin + n as i64));
                partition.append_with(record(&value).timestamp(time), written()).expect("appends");
            };
            (0..3).for_each(append);
            let store = beside(&world);
            let early = first(&seen(&store));
            look_up(&early, begin, 0);
            (3..20_000).for_each(append);
            let store = beside(&world);
            let later = first(&seen(&store));
            let reads = |of: &Partition| {
                // The first one may find out what is to be read anew.
                (0..2).for_each(|_| look_up(of, begin, 15_000));
                let before = world.disk.count("read");
                (0..10).for_each(|n| look_up(of, begin, 19_000 - n * 777));
                world.disk.count("read") - before
            };
            let (early, later) = (reads(&early), reads(&later));
            assert!(early <= later + 10, "{early} reads, and {later}");
        }
    });
}

#[test]
fn a_batch_of_which_only_the_front_is_written_yet_is_not_below_the_end() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 3);
        let front = partition.bytes();
        partition.append_batch(&[record("v3"), record("v4")]).expect("appends");
        let whole = partition.bytes();
        let file = world.disk.open(&active_log(&world), Access::Write).expect("opens");
        let mut last = vec![0; usize::try_from(whole - front).expect("is small")];
        file.read_at(&mut last, front).expect("reads");
        let at = last.len() - 4;
        file.write_at(&[0; 4], front + at as u64).expect("writes");

        let store = beside(&world);
        let orders = first(&seen(&store));
        let reader = orders.read_from(Start::Earliest).expect("begins");
        assert_eq!((orders.end().get(), reader.lag()), (3, 3));
        assert!(matches!(refused(orders.get(Offset::new(3))), Error::OffsetOutOfRange { .. }));
        file.write_at(&last[at..], front + at as u64).expect("writes");
        assert_eq!((orders.end().get(), reader.lag()), (5, 5));
        assert_eq!(values(&orders.get(Offset::new(3)).expect("is there")), ["v3"]);
    });
}

/// What a power cut leaves of batches that nobody has synced, in any order, before the next writer recovers.
#[test]
fn a_batch_that_is_not_whole_and_was_never_durable_is_no_damage_for_who_reads_beside() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 3);
        scribble(&partition, "v", 1);
        let end = partition.bytes();
        scribble(&partition, "v", 1);
        let file = world.disk.open(&active_log(&world), Access::Write).expect("opens");
        file.write_at(&[0], end - 1).expect("writes");

        let store = beside(&world);
        let mut reader = first(&seen(&store)).read_from(Start::Earliest).expect("begins");
        assert_eq!(values(&reader.read().expect("reads")), numbered("v", 0..3));
        assert!(reader.read().expect("is no damage").is_empty());
    });
}

#[test]
fn a_history_that_was_rewritten_within_a_millisecond_is_read_anew() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        for _ in 0..1000 {
            fill(&partition, "v", 1);
            partition.truncate(Offset::ZERO).expect("truncates");
        }
        let store = beside(&world);
        let mut reader = first(&seen(&store)).read_from(Start::Earliest).expect("begins");
        assert!(reader.read().expect("reads").is_empty());
        // The clock stands still: the headers of both files say the same.
        let history = "topics/orders@1/0/history";
        let used = |disk: &SimDisk| disk.read(history).iter().rposition(|byte| *byte != 0);
        let before = used(&world.disk);
        world.store().maintain().expect("maintains");
        assert!(used(&world.disk) < before, "{before:?}");
        fill(&partition, "v", 3);
        assert_eq!(drain(&mut reader).len(), 3);
    });
}
