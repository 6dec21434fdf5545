//! The bug that this engine exists to make impossible: what belonged to one history is taken for part of another.
//!
//! One test for each row of the table in the design, by its own name, and some for what stands behind a row.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use epochlog::testing::{Fault, Image, Loss, SimDisk};
use epochlog::{
    Damage, Durability, Error, Mapping, Offset, Partition, Place, Start, Store, Target, Topic, TopicOptions,
};

use crate::support::*;

/// Deletes the topic and creates it again.
fn recreate(world: &World) -> Topic {
    world.store().delete_topic("orders").expect("deletes");
    world.topic("orders")
}

fn commit_of(topic: &Topic, group: &str) -> Option<Place> {
    match topic.group(group) {
        Err(Error::GroupNotFound { .. }) => None,
        other => other.expect("describes").commits.first().map(|commit| commit.place),
    }
}

/// A consumer reads everything and commits.
fn consume(topic: &Topic, group: &str) -> Vec<String> {
    let mut consumer = topic.consumer(group).open().expect("opens");
    let polled = values(&consumer.poll(AT_ONCE).expect("polls"));
    consumer.commit().expect("commits");
    polled
}

fn fork_of(error: &Error) -> Option<u64> {
    if let Error::Diverged { fork, .. } = error { Some(fork.get()) } else { None }
}

fn is_deleted<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::TopicDeleted { .. }))
}

/// Row 1.
#[test]
fn a_commit_from_before_the_topic_was_recreated_is_gone_and_the_start_policy_applies() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "old", 72);
        assert_eq!(consume(&world.topic("orders"), "billing").len(), 72);
        let topic = recreate(&world);
        fill(&world.partition(), "new", 2);
        assert_eq!(commit_of(&topic, "billing"), None);
        assert_eq!(consume(&topic, "billing"), ["new0", "new1"]);
        assert_eq!(commit_of(&topic, "billing").map(|place| place.next().get()), Some(2));
        let topic = recreate(&world);
        fill(&world.partition(), "third", 1);
        drop(topic);
        world.reopen();
        assert_eq!(consume(&world.topic("orders"), "billing"), ["third0"]);
    });
}

/// The numbers of the original: committed 72, deleted, recreated, end 2, a crash at any moment between.
#[test]
fn a_group_at_72_of_a_topic_that_now_ends_at_2_reads_both_records() {
    both_ways(|mapping| {
        for harm in [World::reopen, World::kill, World::power_cut] {
            let mut world = world(mapping);
            fill(&world.partition(), "old", 72);
            consume(&world.topic("orders"), "billing");
            world.store().delete_topic("orders").expect("deletes");
            harm(&mut world);
            fill(&world.partition(), "new", 2);
            harm(&mut world);
            assert_eq!(consume(&world.topic("orders"), "billing"), ["new0", "new1"]);
        }
    });
}

/// Row 2.
#[test]
fn a_place_of_the_old_topic_is_stale_for_every_public_call() {
    both_ways(|mapping| {
        let world = world(mapping);
        // At the beginning, where the numbers alone would be the same, within the new range, and beyond it.
        let origin = world.partition().place_at(Offset::ZERO).expect("is there");
        let acks: Vec<_> = (0..72).map(|_| world.partition().append("v").expect("appends")).collect();
        let topic = recreate(&world);
        let partition = world.partition();
        fill(&partition, "new", 2);
        for place in [origin, acks[0].next(), acks[1].next(), acks[71].next()] {
            let stale = |result: Result<(), Error>| {
                let error = refused(result);
                assert!(matches!(&error, Error::StaleEpoch { place: p, .. } if *p == place), "{place}: {error}");
            };
            stale(partition.read_from(place).map(drop));
            let mut reader = partition.read_from(Start::Earliest).expect("begins");
            stale(reader.seek(place));
            assert_eq!(drain(&mut reader), ["new0", "new1"]);
            let mut consumer = topic.consumer("billing").open().expect("opens");
            stale(consumer.seek(0, place));
            stale(consumer.commit_to(place));
            assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), ["new0", "new1"]);
            drop(consumer);
            stale(topic.plan_reset("billing", &[(0, Target::Place(place))]).map(drop));
            stale(topic.reset_group("billing", &[(0, Target::Place(place))]).map(drop));
            assert_ne!(commit_of(&topic, "billing"), Some(place));
        }
        let error = refused(partition.wait_durable(&acks[0]));
        assert!(matches!(error, Error::StaleEpoch { .. }), "{error}");
    });
}

/// Row 3.
#[test]
fn a_live_consumer_that_commits_after_delete_and_recreate_writes_nothing() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "old", 72);
        let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
        let polled = consumer.poll(AT_ONCE).expect("polls");
        let last = polled.iter().last().expect("is there").next();
        world.store().delete_topic("orders").expect("deletes");
        assert!(is_deleted(consumer.commit()));
        let files = world.disk.files();
        let topic = world.topic("orders");
        fill(&world.partition(), "new", 2);
        let commits = topic_files(&world.disk, "commits");
        let before: Vec<_> = commits.iter().map(|path| world.disk.read(path)).collect();
        assert!(is_deleted(consumer.commit()));
        assert!(is_deleted(consumer.commit_with_metadata(b"m")));
        assert!(is_deleted(consumer.commit_to(last)));
        assert!(is_deleted(consumer.poll(AT_ONCE)));
        assert!(is_deleted(consumer.topic().reset_group("billing", &[(0, Target::Start(Start::Latest))])));
        let old = consumer.topic().clone();
        drop(consumer);
        assert!(is_deleted(old.delete_group("billing")));
        assert_eq!(commits.iter().map(|path| world.disk.read(path)).collect::<Vec<_>>(), before);
        assert!(!files.iter().any(|path| path.starts_with("topics")), "the delete left {files:?}");
        assert_eq!(commit_of(&topic, "billing"), None);
        world.reopen();
        assert_eq!(commit_of(&world.topic("orders"), "billing"), None);
    });
}

/// Row 3, in the middle: the delete comes when the commit has been admitted and waits for its lock.
#[test]
fn a_commit_that_a_delete_overtakes_writes_nothing() {
    both_ways(|mapping| {
        let world = world(mapping);
        scribble(&world.partition(), "old", 3);
        let mut consumer = world.topic("orders").consumer("billing").start(Start::Latest).open().expect("opens");
        scribble(&world.partition(), "old", 3);
        let mut polled = consumer.poll(AT_ONCE).expect("polls");
        if polled.is_empty() {
            scribble(&world.partition(), "old", 3);
            polled = consumer.poll(AT_ONCE).expect("polls");
        }
        assert!(!polled.is_empty());
        // What it stands behind is synced first, without any lock that a delete needs.
        delete_at(&world, "sync", ".log");
        assert!(is_deleted(consumer.commit()));
        assert_eq!(commit_of(&world.topic("orders"), "billing"), None);
    });
}

/// Deletes the topic, and creates it again, from within the next such operation on such a file.
fn delete_at(world: &World, name: &'static str, suffix: &'static str) {
    let mut store = Some(world.store().clone());
    world.disk.on_operation(Box::new(move |operation| {
        let path = operation.path.to_string_lossy().into_owned();
        if operation.name == name
            && path.ends_with(suffix)
            && let Some(store) = store.take()
        {
            store.delete_topic("orders").expect("deletes");
            store.create_topic("orders", small()).expect("creates");
        }
    }));
}

/// Row 4, in the middle of a durable append.
#[test]
fn an_append_whose_topic_is_deleted_before_its_sync_is_done_says_so() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        delete_at(&world, "sync", ".log");
        let error = refused(partition.append("v"));
        assert!(matches!(error, Error::TopicDeleted { .. }), "{error}");
        assert_eq!(world.partition().end(), Offset::ZERO);
    });
}

/// Row 4.
#[test]
fn live_handles_of_a_deleted_topic_are_never_bound_to_the_new_one() {
    both_ways(|mapping| {
        let world = world(mapping);
        let (topic, partition) = (world.topic("orders"), world.partition());
        fill(&partition, "old", 3);
        let ack = partition.append("last").expect("appends");
        let mut reader = partition.read_from(Start::Earliest).expect("begins");
        reader = reader.bytes_max(1);
        assert_eq!(values(&reader.read().expect("reads")), ["old0"]);
        let untouched = recreate(&world);
        let refusals = [
            is_deleted(reader.read()),
            is_deleted(reader.poll(AT_ONCE)),
            is_deleted(reader.seek(Start::Earliest)),
            is_deleted(partition.append("x")),
            is_deleted(partition.append_batch(&[record("x")])),
            is_deleted(partition.append_batch(&[])),
            is_deleted(partition.append_with("x", written())),
            is_deleted(partition.read_from(Start::Earliest)),
            is_deleted(partition.get(Offset::ZERO)),
            is_deleted(partition.trim(Offset::new(1))),
            is_deleted(partition.truncate(Offset::new(1))),
            is_deleted(partition.sync()),
            is_deleted(partition.wait_durable(&ack)),
            is_deleted(partition.place_at(Offset::ZERO)),
            is_deleted(partition.offset_at(epochlog::Timestamp::from_millis(0))),
            is_deleted(topic.append("x")),
            is_deleted(topic.append_batch(&[record("x")])),
            is_deleted(topic.sync()),
            is_deleted(topic.consumer("billing").open()),
            is_deleted(topic.groups()),
            is_deleted(topic.add_partitions(2)),
        ];
        assert_eq!(refusals, [true; 21]);
        assert_eq!(untouched.partition(0).expect("is there").end(), Offset::ZERO);
        assert_ne!(untouched.epoch(), topic.epoch());
    });
}

/// Row 5.
#[test]
fn a_reader_blocked_at_the_end_wakes_when_its_topic_is_deleted() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 1);
        let long = Duration::from_secs(600);
        let mut reader = partition.read_from(Start::Latest).expect("begins");
        let mut consumer = world.topic("orders").consumer("billing").start(Start::Latest).open().expect("opens");
        assert!(consumer.poll(AT_ONCE).expect("polls").is_empty());
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || is_deleted(reader.poll(long)));
            let consuming = scope.spawn(move || is_deleted(consumer.poll(long)));
            recreate(&world);
            assert!(reading.join().expect("ends"));
            assert!(consuming.join().expect("ends"));
        });
    });
}

/// Row 6.
#[test]
fn whoever_stood_beyond_a_cut_is_told_the_fork_though_its_offset_is_in_range_again() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 9);
        let ack = partition.append("v9").expect("appends");
        let mut reader = partition.read_from(Start::Earliest).expect("begins");
        let mut waiting = partition.read_from(Start::Latest).expect("begins");
        let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
        assert_eq!(drain(&mut reader).len(), 10);
        assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 10);
        partition.truncate(Offset::new(4)).expect("truncates");
        // The very same values at the very same offsets: still another history.
        fill(&partition, "v", 12);
        for error in [
            refused(reader.read()),
            refused(waiting.read()),
            refused(waiting.poll(AT_ONCE)),
            refused(consumer.poll(AT_ONCE)),
            refused(consumer.commit()),
            refused(consumer.commit_to(ack.next())),
            refused(consumer.seek(0, ack.next())),
            refused(partition.read_from(ack.next())),
            refused(partition.wait_durable(&ack)),
        ] {
            assert_eq!(fork_of(&error), Some(4), "{error}");
        }
        assert_eq!(commit_of(consumer.topic(), "billing").map(|place| place.next().get()), Some(0));
        consumer.seek(0, Start::At(Offset::new(4))).expect("seeks");
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", 4..16));
    });
}

/// Row 6, for what lay before the cut: it goes on.
#[test]
fn whoever_stood_before_a_cut_goes_on() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 4);
        let mut reader = partition.read_from(Start::Earliest).expect("begins");
        assert_eq!(drain(&mut reader).len(), 4);
        fill(&partition, "v", 4);
        partition.truncate(Offset::new(4)).expect("truncates");
        fill(&partition, "w", 1);
        assert_eq!(drain(&mut reader), ["w4"]);
    });
}

/// Row 6, asleep.
#[test]
fn a_reader_blocked_beyond_a_cut_wakes_and_is_told() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 9);
        let mut reader = partition.read_from(Start::Latest).expect("begins");
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || fork_of(&refused(reader.poll(Duration::from_secs(600)))));
            partition.truncate(Offset::new(4)).expect("truncates");
            assert_eq!(reading.join().expect("ends"), Some(4));
        });
    });
}

/// Every disk that a crash within these calls can leave, with the name of the operation.
fn crashes_within(world: &World, calls: impl FnOnce(&World)) -> Vec<(String, Image)> {
    let images = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let film = images.clone();
    world.disk.on_operation(Box::new(move |operation| {
        let at = format!("operation {} `{}` on `{}`", operation.number, operation.name, operation.path.display());
        film.lock().expect("is whole").push((at, operation.image()));
    }));
    calls(world);
    world.disk.on_operation(Box::new(|_| {}));
    std::mem::take(&mut images.lock().expect("is whole"))
}

/// What a store shows of the topic: its records and the group's commit.
fn shown(store: &Store) -> Option<(Vec<String>, Option<u64>)> {
    assert!(store.recovery().failed.is_empty(), "{}", store.recovery());
    match store.topic("orders") {
        Err(Error::TopicNotFound { .. }) => None,
        other => {
            let topic = other.expect("opens");
            let records = all(&topic.partition(0).expect("opens"));
            Some((records, commit_of(&topic, "billing").map(|place| place.next().get())))
        }
    }
}

type Shown = Option<(Vec<String>, Option<u64>)>;

/// Crashes at each of these moments, with each loss, twice in a row; what is shown then must be one of these.
fn all_show(mapping: Mapping, moments: &[(String, Image)], allowed: &[Shown]) {
    let open = |disk: &SimDisk| options(disk, mapping).open("/sim").expect("opens");
    for (at, image) in moments {
        let pending = image.pending().len();
        let mut disks = vec![image.after(Loss::None), image.after(Loss::All), image.after_kill()];
        disks.extend((0..pending).flat_map(|i| [image.after(Loss::Only(i)), image.after(Loss::AllBut(i))]));
        for (i, disk) in disks.into_iter().enumerate() {
            let store = open(&disk);
            let first = shown(&store);
            assert!(allowed.contains(&first), "{at}, disk {i}: {first:?}");
            // What was shown stays, whatever is lost now.
            let image = disk.image();
            disk.stop_after(0);
            drop(store);
            for loss in [Loss::None, Loss::All] {
                assert_eq!(shown(&open(&image.after(loss))), first, "{at}, disk {i}, then {loss:?}");
            }
        }
    }
}

/// Row 7.
#[test]
fn a_crash_at_any_step_of_a_create_leaves_an_empty_topic_or_none() {
    both_ways(|mapping| {
        let world = world(mapping);
        let moments = crashes_within(&world, |world| drop(world.topic("orders")));
        assert!(moments.len() > 12, "{} moments", moments.len());
        all_show(mapping, &moments, &[None, Some((vec![], None))]);
    });
}

/// Row 7.
#[test]
fn a_crash_at_any_step_of_a_delete_leaves_the_whole_topic_with_its_commits_or_nothing() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "old", 3);
        consume(&world.topic("orders"), "billing");
        let moments = crashes_within(&world, |world| world.store().delete_topic("orders").expect("deletes"));
        all_show(mapping, &moments, &[None, Some((numbered("old", 0..3), Some(3)))]);
    });
}

/// Row 7.
#[test]
fn a_crash_at_any_step_of_a_delete_and_a_recreate_never_mixes_the_two() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "old", 3);
        consume(&world.topic("orders"), "billing");
        let moments = crashes_within(&world, |world| {
            recreate(world);
            fill(&world.partition(), "new", 1);
        });
        let (whole, one) = (Some((numbered("old", 0..3), Some(3))), Some((numbered("new", 0..1), None)));
        all_show(mapping, &moments, &[None, whole, Some((vec![], None)), one]);
    });
}

/// Behind row 7: what an open has shown to be deleted is not unlinked before the deletion is durable.
#[test]
fn a_delete_that_could_not_be_synced_leaves_the_topic_whole_for_a_power_cut() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "old", 3);
        consume(&world.topic("orders"), "billing");
        world.disk.fail(Fault::of("sync_dir").on("topics"));
        assert!(matches!(refused(world.store().delete_topic("orders")), Error::Io { operation: "sync", .. }));
        assert!(matches!(refused(world.store().create_topic("orders", small())), Error::Latched { .. }));
        world.store().maintain().expect("maintains");
        let moments = [("after the delete".to_owned(), world.disk.image())];
        all_show(mapping, &moments, &[None, Some((numbered("old", 0..3), Some(3)))]);
    });
}

/// Behind row 7: a store whose directories couldn't be synced doesn't say that it was closed cleanly.
#[test]
fn a_store_that_could_not_sync_its_names_is_not_closed_cleanly() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        // The third directory is that of the topics, behind those of the partition and of the topic.
        world.disk.fail(Fault::of("sync_dir").nth(3));
        assert!(matches!(refused(world.store().create_topic("orders", small())), Error::Io { operation: "sync", .. }));
        world.disk.heal();
        assert!(matches!(refused(world.take().close()), Error::Latched { .. }));
        world.open();
        // The open has made the name durable, so a power cut can't take what is acknowledged now.
        let partition = world.store().topic("orders").and_then(|topic| topic.partition(0)).expect("has its name");
        fill(&partition, "v", 1);
        world.power_cut();
        assert_eq!(all(&world.partition()), ["v0"]);
    });
}

/// Behind row 7, and P1: the same after a kill.
#[test]
fn a_topic_whose_name_was_not_synced_before_a_kill_keeps_its_durable_records() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let moments = crashes_within(&world, |world| drop(world.topic("orders")));
        let (_, renamed) = moments.last().expect("the sync of the parent comes last");
        world.go_down(|_| renamed.after_kill());
        world.open();
        fill(&world.partition(), "v", 3);
        world.power_cut();
        assert_eq!(all(&world.partition()), numbered("v", 0..3));
    });
}

fn topic_files(disk: &SimDisk, name: &str) -> Vec<PathBuf> {
    disk.files()
        .into_iter()
        .filter(|path| path.starts_with("topics") && path.file_name() == Some(name.as_ref()))
        .collect()
}

fn the_file(disk: &SimDisk, ending: &str) -> PathBuf {
    let mut found =
        disk.files().into_iter().filter(|path| path.starts_with("topics") && path.to_string_lossy().ends_with(ending));
    found.next().expect("is there")
}

fn is_foreign<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Corrupt(corruption)) if matches!(corruption.damage, Damage::Foreign { .. }))
}

/// Closes a store with an old topic, takes a file of it, recreates the topic, and puts the old file over the new one.
fn with_old_file(mapping: Mapping, ending: &str) -> World {
    let mut world = world(mapping);
    fill(&world.partition(), "v", 3);
    consume(&world.topic("orders"), "billing");
    world.close();
    let old = world.disk.read(the_file(&world.disk, ending));
    world.open();
    recreate(&world);
    fill(&world.partition(), "v", 3);
    consume(&world.topic("orders"), "billing");
    world.close();
    world.disk.write(the_file(&world.disk, ending), old);
    world
}

/// Row 8.
#[test]
fn the_commits_of_the_old_topic_in_the_new_one_are_foreign() {
    both_ways(|mapping| {
        let mut world = with_old_file(mapping, "commits");
        world.open();
        let topic = world.store().topic("orders").expect("opens");
        assert_eq!(all(&topic.partition(0).expect("opens")), numbered("v", 0..3));
        assert!(is_foreign(topic.group("billing")));
        let mut consumer = topic.consumer("billing").open().expect("opens");
        assert!(is_foreign(consumer.poll(AT_ONCE)));
        // And after a kill, which makes the commits durable as they are read.
        world.kill();
        let topic = world.store().topic("orders").expect("opens");
        assert_eq!(all(&topic.partition(0).expect("opens")), numbered("v", 0..3));
        assert!(is_foreign(topic.group("billing")));
    });
}

/// Row 8.
#[test]
fn the_history_of_the_old_topic_in_the_new_one_is_foreign() {
    both_ways(|mapping| {
        let mut world = with_old_file(mapping, "history");
        world.open();
        assert!(is_foreign(world.store().topic("orders").and_then(|topic| topic.partition(0))));
    });
}

/// Row 8.
#[test]
fn a_segment_of_the_old_topic_in_the_new_one_is_foreign() {
    both_ways(|mapping| {
        let mut world = with_old_file(mapping, ".log");
        world.open();
        let partition = world.store().topic("orders").and_then(|topic| topic.partition(0));
        assert!(is_foreign(partition.and_then(|partition| partition.read_from(Start::Earliest)?.read())));
    });
}

/// Row 8, beside the others under its own name, and with a crash in between.
#[test]
fn a_segment_of_the_old_topic_beside_those_of_the_new_one_is_foreign_and_stays() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.close();
        let path = the_file(&world.disk, ".log");
        let old = world.disk.read(&path);
        world.open();
        recreate(&world);
        fill(&world.partition(), "v", 3);
        world.go_down(|image| image.after(Loss::None));
        let beside = the_file(&world.disk, ".log").with_file_name(path.file_name().expect("has a name"));
        world.disk.write(&beside, &old);
        world.open();
        let orders = world.store().topic("orders").expect("opens");
        assert!(is_foreign(orders.partition(0)));
        assert_eq!(world.disk.read(&beside), old);
    });
}

/// Row 8: the header of the topic.
#[test]
fn the_header_of_the_old_topic_in_the_new_one_is_foreign() {
    both_ways(|mapping| {
        let mut world = with_old_file(mapping, "/topic");
        world.open();
        assert!(is_foreign(world.store().topic("orders")));
    });
}

/// Row 9.
#[test]
fn a_place_of_a_store_that_was_wiped_and_made_again_with_the_same_numbers_is_stale() {
    both_ways(|mapping| {
        let make = |seed| {
            let disk = SimDisk::new(seed);
            let store = options(&disk, mapping).create("/sim").expect("creates");
            let topic = store.create_topic("orders", small()).expect("creates");
            let partition = topic.partition(0).expect("is there");
            (disk, store, partition)
        };
        let (_old_disk, _old_store, old) = make(1);
        let (_disk, _store, new) = make(2);
        let origin = old.place_at(Offset::ZERO).expect("is there");
        fill(&old, "v", 3);
        fill(&new, "v", 3);
        let at_end = old.place_at(Offset::new(3)).expect("is there");
        let same = new.place_at(Offset::new(3)).expect("is there");
        assert_eq!(at_end.epoch().number, same.epoch().number);
        for place in [origin, at_end] {
            assert!(matches!(refused(new.read_from(place)), Error::StaleEpoch { .. }), "{place}");
        }
        assert!(new.read_from(same).is_ok());
    });
}

/// Row 10.
#[test]
fn nothing_of_vanished_partitions_appears_in_a_topic_recreated_with_fewer_or_more() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let make = |world: &World, partitions| {
            world.store().create_topic("orders", small().partitions(partitions)).expect("creates")
        };
        let topic = make(&world, 3);
        let places: Vec<Place> = (0..3)
            .map(|n| {
                let partition = topic.partition(n).expect("is there");
                fill(&partition, "old", 5);
                partition.place_at(Offset::new(5)).expect("is there")
            })
            .collect();
        consume(&topic, "billing");
        for partitions in [1, 4] {
            world.store().delete_topic("orders").expect("deletes");
            let topic = make(&world, partitions);
            let dirs: BTreeSet<PathBuf> = topic_files(&world.disk, "history").into_iter().collect();
            assert_eq!(dirs.len(), partitions as usize);
            for n in 0..partitions {
                assert_eq!(topic.partition(n).expect("is there").end(), Offset::ZERO);
            }
            assert_eq!(topic.groups().expect("lists"), []);
            assert!(matches!(refused(topic.partition(partitions)), Error::PartitionNotFound { .. }));
            for place in &places {
                let found = topic.partition(place.partition()).and_then(|partition| partition.read_from(*place));
                let error = refused(found);
                let gone = place.partition() >= partitions;
                let fits = if gone {
                    matches!(error, Error::PartitionNotFound { .. })
                } else {
                    matches!(error, Error::StaleEpoch { .. })
                };
                assert!(fits, "{place}: {error}");
            }
            drop(topic);
            world.kill();
        }
    });
}

/// Row 11.
#[test]
fn places_beyond_an_unsynced_tail_that_was_lost_without_a_trace_are_told_the_fork() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        let kept = world.partition().place_at(Offset::new(3)).expect("is there");
        let lost: Vec<Place> =
            (0..5).map(|_| world.partition().append_with("lost", written()).expect("appends").next()).collect();
        world.power_cut();
        assert!(!world.store().recovery().has_cut(), "{}", world.store().recovery());
        let told = |world: &World| {
            for place in &lost {
                let error = refused(world.partition().read_from(*place));
                assert_eq!(fork_of(&error), Some(3), "{error}");
            }
            world.partition().read_from(kept).expect("is there");
        };
        told(&world);
        fill(&world.partition(), "again", 9);
        told(&world);
        world.reopen();
        told(&world);
    });
}

/// Row 11, with a trace.
#[test]
fn places_beyond_a_tail_that_was_torn_are_told_the_fork() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        // Large enough for several pages, so that one of them can be lost alone.
        let value = "x".repeat(1500);
        let places: Vec<Place> = (0..2)
            .map(|_| world.partition().append_batch_with(&[record(&value)], written()).expect("appends").next())
            .collect();
        let image = world.disk.image().by_sector();
        let log = |pending: &epochlog::testing::Pending| matches!(pending, epochlog::testing::Pending::Page { path, .. } if path.to_string_lossy().ends_with(".log"));
        let lost = image.pending().iter().rposition(log).expect("pages of the segment are pending");
        world.become_image(|_| image.after(Loss::Only(lost)));
        assert!(world.store().recovery().has_cut(), "{}", world.store().recovery());
        let end = world.partition().end().get();
        assert_eq!(end, 4);
        fill(&world.partition(), "again", 3);
        assert_eq!(fork_of(&refused(world.partition().read_from(places[1]))), Some(end));
        world.partition().read_from(places[0]).expect("is there");
    });
}

/// Row 12.
#[test]
fn a_restored_older_copy_and_the_original_have_a_fork_both_ways() {
    both_ways(|mapping| {
        for closed in [true, false] {
            let mut original = world(mapping);
            fill(&original.partition(), "v", 3);
            if closed {
                original.close();
            }
            let backup = original.disk.clone_synced();
            if closed {
                original.open();
            }
            fill(&original.partition(), "mine", 4);
            let mine = original.partition().place_at(Offset::new(7)).expect("is there");
            let common = original.partition().place_at(Offset::new(3)).expect("is there");
            let restored = options(&backup, mapping).open("/sim").expect("opens");
            let restored = restored.topic("orders").and_then(|topic| topic.partition(0)).expect("opens");
            let fork = |partition: &Partition, place| fork_or_stale(partition, place);
            // Before anything is appended to the copy, and after.
            if closed {
                assert_eq!(fork(&restored, mine), None);
            } else {
                assert_eq!(fork(&restored, mine), Some(3));
            }
            fill(&restored, "mine", 9);
            let theirs = restored.place_at(Offset::new(12)).expect("is there");
            if closed {
                // A session that began after the copy was made is unknown there, and never taken for its own.
                assert_eq!(fork(&restored, mine), None);
                assert_eq!(fork(&original.partition(), theirs), None);
            } else {
                assert_eq!(fork(&restored, mine), Some(3));
                assert_eq!(fork(&original.partition(), theirs), None);
            }
            restored.read_from(common).expect("is there");
            original.partition().read_from(common).expect("is there");
        }
    });
}

/// The fork of a refusal, or none for a stale epoch.
fn fork_or_stale(partition: &Partition, place: Place) -> Option<u64> {
    match refused(partition.read_from(place)) {
        Error::Diverged { fork, .. } => Some(fork.get()),
        Error::StaleEpoch { .. } => None,
        other => panic!("{place}: {other}"),
    }
}

/// P13 of the engine, for commits: the session after the next one takes what it reads for synced.
#[test]
fn a_commit_that_a_kill_left_unsynced_is_durable_once_a_session_was_closed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let lazy = TopicOptions::new().durability(Durability::Written);
        let topic = world.store().create_topic("orders", lazy).expect("creates");
        fill(&world.partition(), "v", 3);
        consume(&topic, "billing");
        drop(topic);
        world.kill();
        world.reopen();
        assert_eq!(commit_of(&world.topic("orders"), "billing").map(|place| place.next().get()), Some(3));
        world.power_cut();
        assert_eq!(commit_of(&world.topic("orders"), "billing").map(|place| place.next().get()), Some(3));
    });
}

/// Order of the history: the new start is durable before what lies below it is unlinked, also by the next session.
#[test]
fn a_trim_that_a_kill_interrupted_loses_nothing_to_a_power_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 300);
        world.reopen();
        let moments = crashes_within(&world, |world| world.partition().trim(Offset::new(200)).expect("trims"));
        for (at, image) in &moments {
            let disk = image.after_kill();
            let store = options(&disk, mapping).open("/sim").expect("opens");
            let start = store.topic("orders").and_then(|topic| topic.partition(0)).expect("opens").start();
            let image = disk.image();
            disk.stop_after(0);
            drop(store);
            for i in 0..image.pending().len() {
                for loss in [Loss::Only(i), Loss::AllBut(i), Loss::All] {
                    let disk = image.after(loss);
                    let store = options(&disk, mapping).open("/sim").expect("opens");
                    let partition = store.topic("orders").and_then(|topic| topic.partition(0)).expect("opens");
                    assert_eq!(partition.start(), start, "{at}, {loss:?}");
                    assert_eq!(all(&partition), numbered("v", start.get()..300), "{at}, {loss:?}");
                }
            }
        }
    });
}

/// Marks of the history: lines that live in the page cache alone are not claimed to be synced by those behind them.
#[test]
fn a_history_whose_end_was_only_written_is_torn_and_not_damaged_when_the_power_goes() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        // Until the line of the clean close and the line of the next session lie in different sectors.
        for _ in 0..24 {
            let moments = crashes_within_close(&mut world);
            for (at, image) in moments {
                let disk = image.after_kill();
                let store = options(&disk, mapping).open("/sim").expect("opens");
                let partition = store.topic("orders").and_then(|topic| topic.partition(0)).expect("opens");
                for (inner, image) in crashes_of(&disk, || _ = partition.append("w").expect("appends")) {
                    let image = image.by_sector();
                    for i in 0..image.pending().len() {
                        for loss in [Loss::Only(i), Loss::AllBut(i)] {
                            let disk = image.after(loss);
                            let store = options(&disk, mapping).open("/sim").expect("opens");
                            let partition = store.topic("orders").and_then(|topic| topic.partition(0));
                            let partition =
                                partition.unwrap_or_else(|error| panic!("{at}, {inner}, {loss:?}: {error}"));
                            assert!(partition.end() >= Offset::new(3));
                        }
                    }
                }
            }
            world.open();
            fill(&world.partition(), "v", 1);
        }
    });
}

fn crashes_of(disk: &SimDisk, calls: impl FnOnce()) -> Vec<(String, Image)> {
    let images = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let film = images.clone();
    disk.on_operation(Box::new(move |operation| {
        if operation.name == "sync" && operation.path.ends_with("history") {
            film.lock().expect("is whole").push((format!("operation {}", operation.number), operation.image()));
        }
    }));
    calls();
    disk.on_operation(Box::new(|_| {}));
    std::mem::take(&mut images.lock().expect("is whole"))
}

/// The moments of a close at which the history has lines that aren't synced.
fn crashes_within_close(world: &mut World) -> Vec<(String, Image)> {
    let disk = world.disk.clone();
    crashes_of(&disk, || world.close())
}

#[test]
fn two_live_directories_of_one_name_are_an_error_of_that_name_alone_and_can_be_deleted() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        drop(world.store().create_topic("others", small()).expect("creates"));
        world.close();
        for path in world.disk.files() {
            if let Ok(rest) = path.strip_prefix("topics/orders@1") {
                world.disk.copy(&path, Path::new("topics/orders@77").join(rest));
            }
        }
        world.open();
        let error = refused(world.store().topic("orders"));
        assert!(matches!(&error, Error::Corrupt(corruption) if corruption.damage == Damage::Duplicate), "{error}");
        world.store().topic("others").expect("opens");
        world.store().delete_topic("orders").expect("deletes");
        world.reopen();
        assert!(matches!(refused(world.store().topic("orders")), Error::TopicNotFound { .. }));
    });
}

/// Two directories have the name of a topic, and the second can't be renamed.
fn twice_there(mapping: Mapping) -> World {
    let mut world = world(mapping);
    fill(&world.partition(), "v", 3);
    world.close();
    world.disk.copy("topics/orders@1/topic", "topics/orders@9/topic");
    world.open();
    world.disk.fail(Fault::of("rename").on("orders@9"));
    world
}

#[test]
fn a_delete_of_two_topics_of_one_name_that_comes_half_way_takes_what_it_renamed() {
    both_ways(|mapping| {
        let mut world = twice_there(mapping);
        let error = refused(world.store().delete_topic("orders"));
        assert!(matches!(error, Error::Io { operation: "rename", .. }), "{error}");
        world.store().maintain().expect_err("what is left is damaged");
        world.power_cut();
        assert!(!world.disk.files().iter().any(|path| path.starts_with("topics/orders@1")), "it doesn't come back");
        world.store().delete_topic("orders").expect("deletes what is left");
        assert!(matches!(refused(world.store().topic("orders")), Error::TopicNotFound { .. }));
    });
}

#[test]
fn a_delete_of_two_topics_of_one_name_that_came_half_way_can_be_called_again() {
    both_ways(|mapping| {
        let world = twice_there(mapping);
        refused(world.store().delete_topic("orders"));
        world.store().delete_topic("orders").expect("deletes what is left");
        assert!(matches!(refused(world.store().topic("orders")), Error::TopicNotFound { .. }));
    });
}

#[test]
fn an_empty_batch_for_a_deleted_topic_is_refused_as_any_other() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.topic("orders");
        assert!(orders.append_batch(&[]).expect("writes nothing").is_empty());
        world.store().delete_topic("orders").expect("deletes");
        assert!(matches!(refused(orders.append_batch(&[])), Error::TopicDeleted { .. }));
    });
}

#[test]
fn a_partition_of_a_topic_that_is_gone_is_refused_also_if_it_was_used_before() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let (orders, parcels) = (world.topic("orders"), world.topic("parcels"));
        for topic in [&orders, &parcels] {
            fill(&topic.partition(0).expect("is there"), "v", 1);
        }
        world.store().delete_topic("orders").expect("deletes");
        assert!(matches!(refused(orders.partition(0)), Error::TopicDeleted { .. }));
        world.close();
        assert!(matches!(refused(parcels.partition(0)), Error::Closed));
    });
}
