//! Appenders, readers, consumers and waiters against each other, and against what cuts, trims, rolls, deletes, closes
//! and fails under them: F17 and the waiters of F7.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use epochlog::testing::{Fault, Pages};
use epochlog::{Error, Offset, Start, TopicOptions, Visibility};

use crate::support::*;

#[test]
fn a_durable_acknowledgement_holds_whoever_led_the_sync() {
    race(|world| {
        let partition = world.partition();
        let threads = ["a", "b"].map(|value| {
            let partition = partition.clone();
            spawn(move || partition.append(value).expect("appends").offset())
        });
        scribble(&partition, &["c"]);
        let offsets = threads.map(|thread| thread.join().expect("returns"));
        let store = world.after_power_cut();
        let kept = values(&store.topic("orders").expect("is there").partition(0).expect("is there"));
        for (value, offset) in ["a", "b"].iter().zip(offsets) {
            assert_eq!(kept.get(offset.get() as usize).map(String::as_str), Some(*value), "P1: {kept:?}");
        }
    });
}

#[test]
fn a_sync_that_fails_is_told_to_everyone_who_waits_for_it() {
    race(|world| {
        let partition = world.partition();
        scribble(&partition, &["first"]);
        partition.sync().expect("syncs");
        world.disk.fail(Fault::of("sync").on(".log").forever());
        let threads = ["a", "b"].map(|value| {
            let partition = partition.clone();
            spawn(move || partition.append(value).map(drop))
        });
        for thread in threads {
            let told = thread.join().expect("returns");
            assert!(matches!(told, Err(Error::Io { .. } | Error::Latched { .. })), "{told:?}");
        }
        assert!(matches!(partition.append_with("c", written()), Err(Error::Latched { .. })));
        assert_eq!(partition.durable_end(), Offset::new(1));
    });
}

#[test]
fn a_reader_that_waits_is_woken_by_an_append() {
    race(|world| {
        let partition = world.partition();
        let mut reader = partition.read_from(Start::Earliest).expect("is there");
        let waiter = spawn(move || next(&mut reader, FOR_EVER).expect("reads"));
        scribble(&partition, &["a"]);
        assert_eq!(waiter.join().expect("is woken"), Some(vec!["a".into()]));
    });
}

#[test]
fn a_reader_of_durable_records_is_woken_by_the_sync_and_not_before() {
    race(|world| {
        let partition = world.partition();
        let reader = partition.read_from(Start::Earliest).expect("is there");
        let mut reader = reader.visibility(Visibility::Durable);
        let watched = partition.clone();
        let waiter = spawn(move || {
            let got = next(&mut reader, FOR_EVER).expect("reads");
            assert!(watched.durable_end() >= Offset::new(1), "shown before it was durable");
            got
        });
        scribble(&partition, &["a"]);
        partition.sync().expect("syncs");
        assert_eq!(waiter.join().expect("is woken"), Some(vec!["a".into()]));
    });
}

#[test]
fn a_delete_wakes_and_refuses_everyone_and_leaves_nothing_to_the_next_topic() {
    race(|world| {
        let partition = world.partition();
        scribble(&partition, &["old"]);
        let mut reader = partition.read_from(Start::Latest).expect("is there");
        let reading = spawn(move || {
            loop {
                if let Err(error) = next(&mut reader, FOR_EVER) {
                    return error;
                }
            }
        });
        let appender = partition.clone();
        let appending = spawn(move || (0..3).try_for_each(|_| appender.append("more").map(drop)));
        let topic = partition.topic().clone();
        let consuming = spawn(move || {
            let mut consumer = topic.consumer("billing").start(Start::Earliest).open()?;
            consumer.poll(Duration::ZERO)?;
            consumer.commit()
        });
        world.store.delete_topic("orders").expect("deletes");
        let new = world.store.create_topic("orders", TopicOptions::new()).expect("creates");
        assert!(matches!(reading.join().expect("is woken"), Error::TopicDeleted { .. }));
        for told in [appending.join().expect("returns"), consuming.join().expect("returns")] {
            assert!(matches!(told, Ok(()) | Err(Error::TopicDeleted { .. })), "{told:?}");
        }
        assert_eq!(new.groups().expect("reads"), []);
        assert_eq!(values(&new.partition(0).expect("is there")), [""; 0]);
    });
}

#[test]
fn a_reader_never_crosses_a_cut_that_was_grown_over_without_being_told() {
    race(|world| {
        let partition = world.partition();
        scribble(&partition, &["a0", "a1", "a2"]);
        let mut reader = partition.read_from(Start::Earliest).expect("is there").bytes_max(1);
        let reading = spawn(move || {
            let mut seen = Vec::new();
            loop {
                match next(&mut reader, Duration::ZERO) {
                    Ok(Some(values)) => seen.extend(values),
                    Ok(None) => return (seen, None),
                    Err(Error::Diverged { fork, .. }) => return (seen, Some(fork)),
                    Err(other) => panic!("{other}"),
                }
            }
        });
        partition.truncate(Offset::new(1)).expect("truncates");
        scribble(&partition, &["b1", "b2"]);
        let (seen, fork) = reading.join().expect("reads");
        let crossed = seen.iter().skip_while(|value| value.starts_with('a')).any(|value| value.starts_with('a'));
        let histories = [&["a0", "a1", "a2"], &["a0", "b1", "b2"]];
        let of_one =
            |values: &[String]| histories.iter().any(|history| history.iter().zip(values).all(|(a, b)| a == b));
        assert!(!crossed && of_one(&seen), "P4, P6: {seen:?}");
        assert!(fork.is_none_or(|fork| fork == Offset::new(1)), "{fork:?}");
        assert_eq!(values(&partition), ["a0", "b1", "b2"]);
    });
}

#[test]
fn whoever_waits_for_durability_is_told_of_a_cut() {
    race(|world| {
        let partition = world.partition();
        scribble(&partition, &["a"]);
        let ack = partition.append_with("b", written()).expect("appends");
        let waiting = partition.clone();
        let waiter = spawn(move || waiting.wait_durable(&ack));
        partition.truncate(Offset::new(1)).expect("truncates");
        let told = waiter.join().expect("returns");
        assert!(matches!(told, Ok(()) | Err(Error::Diverged { .. })), "{told:?}");
        assert_eq!(values(&partition), ["a"]);
    });
}

#[test]
fn a_trim_under_a_reader_is_told_and_nothing_is_skipped() {
    race(|world| {
        let partition = world.partition();
        let all: Vec<String> = (0..30).map(|i| format!("{i:060}")).collect();
        scribble(&partition, &all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut reader = partition.read_from(Start::Earliest).expect("is there").bytes_max(256);
        let expected = all.clone();
        let reading = spawn(move || {
            let mut at = 0;
            loop {
                match next(&mut reader, Duration::ZERO) {
                    Ok(Some(values)) => {
                        assert_eq!(values, expected[at..at + values.len()], "P6");
                        at += values.len();
                    }
                    Ok(None) => return at == expected.len(),
                    Err(Error::OffsetOutOfRange { start, .. }) => return start == Offset::new(25),
                    Err(other) => panic!("{other}"),
                }
            }
        });
        partition.trim(Offset::new(25)).expect("trims");
        assert!(reading.join().expect("reads"), "it ends at the end, or with the new start");
        assert_eq!(values(&partition), all[25..]);
    });
}

#[test]
fn segments_that_roll_under_appenders_and_retention_keep_the_order() {
    race(|world| {
        let options = TopicOptions::new().segment_bytes_max(1024).retention_bytes(2048);
        let topic = world.store.create_topic("orders", options).expect("creates");
        let partition = topic.partition(0).expect("is there");
        let threads = ["a", "b"].map(|name| {
            let partition = partition.clone();
            spawn(move || (0..12).for_each(|i| scribble(&partition, &[&format!("{name}{i:0100}")])))
        });
        world.store.maintain().expect("maintains");
        threads.into_iter().for_each(|thread| thread.join().expect("appends"));
        let kept = values(&partition);
        assert_eq!(partition.end(), Offset::new(24));
        assert_eq!(partition.start().get() + kept.len() as u64, 24, "P3");
        for name in ["a", "b"] {
            let mine: Vec<_> = kept.iter().filter(|value| value.starts_with(name)).collect();
            assert!(mine.is_sorted(), "{mine:?}");
        }
    });
}

#[test]
fn a_sync_of_full_segments_beside_appenders_makes_durable_what_it_says_and_no_more() {
    race(|world| {
        let partition = world.partition();
        let (scribbler, waiter) = (partition.clone(), partition.clone());
        let scribbles = spawn(move || (0..16).for_each(|i| scribble(&scribbler, &[&format!("s{i:0100}")])));
        let waits = spawn(move || waiter.append("durable").expect("appends").offset());
        world.store.maintain().expect("maintains");
        let durable = partition.durable_end();
        let after = world.after_power_cut();
        let kept = values(&after.topic("orders").expect("is there").partition(0).expect("is there"));
        assert!(kept.len() as u64 >= durable.get(), "P1: {} of {durable}", kept.len());
        let offset = waits.join().expect("is told");
        scribbles.join().expect("appends");
        world.store.maintain().expect("maintains");
        assert!(partition.durable_end() > offset);
        let all = values(&partition);
        assert_eq!((all.len(), all[offset.get() as usize].as_str()), (17, "durable"));
        assert!(all.starts_with(&kept), "P3");
    });
}

#[test]
fn two_who_commit_at_once_leave_the_commit_of_either_whole() {
    race(|world| {
        let partition = world.partition();
        scribble(&partition, &["a", "b"]);
        let threads = ["billing", "audit"].map(|group| {
            let topic = partition.topic().clone();
            spawn(move || {
                let mut consumer = topic.consumer(group).start(Start::Earliest).open().expect("opens");
                consumer.poll(Duration::ZERO).expect("polls");
                consumer.commit().expect("commits");
                consumer.places()[0]
            })
        });
        let places = threads.map(|thread| thread.join().expect("commits"));
        let store = world.after_power_cut();
        let topic = store.topic("orders").expect("is there");
        for (group, place) in ["billing", "audit"].iter().zip(places) {
            assert_eq!(topic.group(group).expect("is there").commits[0].place, place, "P13");
        }
    });
}

#[test]
fn a_close_ends_whatever_goes_on_and_keeps_what_was_acknowledged() {
    race(|world| {
        let partition = world.partition();
        let mut reader = partition.read_from(Start::Earliest).expect("is there");
        let reading = spawn(move || {
            loop {
                if let Err(error) = next(&mut reader, FOR_EVER) {
                    return error;
                }
            }
        });
        let appender = partition.clone();
        let appending = spawn(move || {
            let told: Vec<_> = (0..3).map(|_| appender.append_with("more", written())).collect();
            assert!(told.iter().all(|told| matches!(told, Ok(_) | Err(Error::Closed))), "{told:?}");
            told.iter().filter(|told| told.is_ok()).count()
        });
        world.store.clone().close().expect("closes");
        let acknowledged = appending.join().expect("returns");
        assert!(matches!(reading.join().expect("is woken"), Error::Closed));
        let store = world.after_power_cut();
        let kept = values(&store.topic("orders").expect("is there").partition(0).expect("is there"));
        assert_eq!(kept.len(), acknowledged, "a clean close keeps what was written");
    });
}

#[test]
fn a_reopen_beside_appenders_loses_nothing_that_was_acknowledged() {
    race(|world| {
        let partition = world.partition();
        partition.append("a").expect("appends");
        world.disk.fail(Fault::of("sync").on(".log"));
        let threads = ["b", "c"].map(|value| {
            let partition = partition.clone();
            spawn(move || partition.append(value).map(|ack| ack.offset()))
        });
        partition.reopen().expect("reopens, or has nothing to do");
        let told = threads.map(|thread| thread.join().expect("returns"));
        partition.reopen().expect("reopens");
        let last = partition.append("d").expect("appends again").offset();
        let store = world.after_power_cut();
        let kept = values(&store.topic("orders").expect("is there").partition(0).expect("is there"));
        let acknowledged = ["b", "c"].into_iter().zip(told).filter_map(|(value, told)| Some((told.ok()?, value)));
        for (offset, value) in acknowledged.chain([(Offset::ZERO, "a"), (last, "d")]) {
            assert_eq!(kept.get(offset.get() as usize).map(String::as_str), Some(value), "P1: {kept:?}");
        }
    });
}

#[test]
fn partitions_that_take_turns_being_awake_lose_nothing_and_hide_nothing() {
    race(|world| {
        let options = TopicOptions::new().partitions(2).segment_bytes_max(1024);
        let topic = world.store.create_topic("orders", options).expect("creates");
        let appending: Vec<_> = (0..2)
            .map(|number| {
                let partition = topic.partition(number).expect("is there");
                spawn(move || {
                    for i in 0..3 {
                        scribble(&partition, &[&format!("{i}{:0400}", number)]);
                    }
                    partition.append("last").expect("is durable");
                })
            })
            .collect();
        let mut reader = topic.partition(0).expect("is there").read_from(Start::Earliest).expect("begins");
        let mut read = Vec::new();
        while read.len() < 4 {
            read.extend(next(&mut reader, FOR_EVER).expect("reads").expect("comes"));
        }
        assert!(read.iter().zip(["0", "1", "2", "last"]).all(|(value, begins)| value.starts_with(begins)), "P4");
        appending.into_iter().for_each(|thread| thread.join().expect("appends"));
        let store = world.after_power_cut();
        for number in 0..2 {
            let kept = values(&store.topic("orders").expect("is there").partition(number).expect("is there"));
            assert_eq!((kept.len(), kept.last().map(String::as_str)), (4, Some("last")), "P1");
        }
    });
}

/// A sync of the records fails and takes them along.
fn loses_what_is_synced_next(world: &World) {
    world.disk.fail(Fault::of("sync").on(".log").leaves(Pages::Reverted));
}

#[test]
fn a_sync_that_waited_for_one_that_lost_the_records_is_told_of_it() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    race(|world| {
        let partition = world.partition();
        scribble(&partition, &["a"]);
        loses_what_is_synced_next(world);
        let waiting = partition.clone();
        let waiter = spawn(move || waiting.sync());
        partition.sync().expect_err("one of the two fails, and the other is told");
        partition.reopen().expect("reopens");
        let told = waiter.join().expect("returns");
        let lost = matches!(told, Err(Error::Diverged { fork: Offset::ZERO, .. }));
        assert!(lost || matches!(told, Ok(()) | Err(Error::Io { .. } | Error::Latched { .. })), "{told:?}");
        TOLD.fetch_add(lost.into(), Ordering::Relaxed);
    });
    assert!(TOLD.load(Ordering::Relaxed) > 0, "whoever had waited was told that all is well");
}

#[test]
fn who_waits_for_durability_takes_no_later_record_for_its_own() {
    race(|world| {
        let partition = world.partition();
        let ack = partition.append_with("a", written()).expect("appends");
        loses_what_is_synced_next(world);
        let waiting = partition.clone();
        let waiter = spawn(move || waiting.wait_durable(&ack));
        partition.sync().expect_err("one of the two fails, and the other is told");
        partition.reopen().expect("reopens");
        partition.append("b").expect("appends again");
        assert_eq!(values(&partition), ["b"]);
        let told = waiter.join().expect("returns");
        assert!(told.is_err(), "P1: what was lost is called durable");
    });
}

#[test]
fn an_append_that_syncs_by_bytes_is_told_of_its_own_records_alone() {
    static KEPT: AtomicUsize = AtomicUsize::new(0);
    race(|world| {
        let topic = world.store.create_topic("orders", TopicOptions::new().sync_bytes(1024)).expect("creates");
        let partition = topic.partition(0).expect("is there");
        let [mine, behind] = ["b", "c"].map(|value| value.repeat(1100));
        let (appender, value) = (partition.clone(), mine.clone());
        let appending = spawn(move || appender.append_with(&value, written()).map(drop));
        partition.sync().expect("syncs");
        loses_what_is_synced_next(world);
        let _fails_for_one = partition.append_with(&behind, written());
        let _and_is_told_the_other = partition.sync();
        partition.reopen().expect("reopens, or has nothing to do");
        let (told, kept) = (appending.join().expect("returns"), values(&partition));
        let is_kept = kept.contains(&mine);
        assert!(!is_kept || !matches!(told, Err(Error::Diverged { .. })), "it is told of what came behind: {told:?}");
        KEPT.fetch_add((is_kept && !kept.contains(&behind)).into(), Ordering::Relaxed);
    });
    assert!(KEPT.load(Ordering::Relaxed) > 0, "no order lost what came behind alone");
}

#[test]
fn a_reader_of_durable_records_is_given_none_that_was_lost() {
    race(|world| {
        let partition = world.partition();
        partition.append("first").expect("appends");
        scribble(&partition, &["a"]);
        let mut reader = partition.read_from(Start::Earliest).expect("begins").visibility(Visibility::Durable);
        loses_what_is_synced_next(world);
        let reading = spawn(move || {
            let mut seen = Vec::new();
            for _ in 0..4 {
                match next(&mut reader, Duration::ZERO) {
                    Ok(values) => seen.extend(values.into_iter().flatten()),
                    Err(Error::Latched { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            seen
        });
        partition.sync().expect_err("fails");
        partition.reopen().expect("reopens");
        partition.append("b").expect("appends again");
        let (seen, stands) = (reading.join().expect("reads"), values(&partition));
        assert_eq!(stands, ["first", "b"]);
        assert!(stands.starts_with(&seen), "P1: {seen:?} of {stands:?}");
    });
}
