//! One partition is opened again after a failed sync, while every handle, reader and waiter of it lives on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use epochlog::testing::{Fault, Image, Loss, Pages, SimDisk};
use epochlog::{Ack, Error, Mapping, Offset, Partition, Start, TopicOptions, Visibility};

use crate::support::*;

/// Ten durable records, ten that are only written, and then a sync that fails on what is named and leaves the pages so.
fn latched(mapping: Mapping, on: Fault) -> (World, Partition) {
    let world = world(mapping);
    let partition = world.partition();
    fill(&partition, "v", 10);
    scribble(&partition, "v", 10);
    world.disk.fail(on);
    assert!(matches!(refused(partition.sync()), Error::Io { operation: "sync", .. }));
    assert!(matches!(refused(partition.append("w")), Error::Latched { .. }));
    (world, partition)
}

fn log_sync(pages: Pages) -> Fault {
    Fault::of("sync").on(".log").leaves(pages)
}

fn reopened(world: &World) -> Partition {
    world.store().topic("orders").expect("is there").partition(0).expect("recovers")
}

#[test]
fn what_a_failed_sync_left_in_the_cache_alone_is_copied_and_survives_the_power() {
    for pages in [Pages::Dirty, Pages::Clean] {
        both_ways(|mapping| {
            let (mut world, partition) = latched(mapping, log_sync(pages));
            let report = partition.reopen().expect("reopens").expect("was latched");
            assert_eq!((report.end, partition.durable_end()), (Offset::new(20), Offset::new(20)));
            assert!(report.findings.iter().any(|finding| finding.copied_bytes > 0), "{report:?}");
            world.power_cut();
            assert_eq!(all(&reopened(&world)), numbered("v", 0..20), "{pages:?}");
        });
    }
}

#[test]
fn living_readers_and_consumers_go_on_without_a_gap_and_the_next_append_begins_an_epoch() {
    both_ways(|mapping| {
        let (world, partition) = latched(mapping, log_sync(Pages::Clean));
        let mut reader = partition.read_from(Start::At(Offset::new(5))).expect("begins");
        let mut consumer = partition.topic().consumer("billing").open().expect("opens");
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", 0..20));
        assert_eq!(drain(&mut reader), numbered("v", 5..20));
        partition.reopen().expect("reopens");
        fill(&partition, "v", 5);
        assert_eq!(drain(&mut reader), numbered("v", 20..25));
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", 20..25));
        consumer.commit().expect("commits");
        let begun = partition.lineage().last().map(|epoch| (epoch.reason, epoch.start));
        assert_eq!(begun, Some(("session", Offset::new(20))));
        drop(world);
    });
}

#[test]
fn records_that_the_failed_sync_took_are_gone_and_places_behind_them_say_so() {
    both_ways(|mapping| {
        let (mut world, partition) = latched(mapping, log_sync(Pages::Reverted));
        let mut reader = partition.read_from(Start::At(Offset::new(20))).expect("begins");
        let (here, beyond) = [10, 15].map(|n| partition.place_at(Offset::new(n)).expect("is there")).into();
        partition.reopen().expect("reopens");
        assert_eq!(partition.end(), Offset::new(10));
        assert_eq!(
            partition.lineage().last().map(|epoch| (epoch.reason, epoch.start)),
            Some(("healed", Offset::new(10)))
        );
        let fork = Offset::new(10);
        for error in [refused(reader.read()), refused(partition.read_from(beyond))] {
            assert!(matches!(error, Error::Diverged { fork: at, .. } if at == fork), "{error}");
        }
        fill(&partition, "w", 15);
        assert!(matches!(refused(reader.read()), Error::Diverged { fork: at, .. } if at == fork));
        assert_eq!(drain(&mut partition.read_from(here).expect("goes on")), numbered("w", 10..25));
        world.power_cut();
        assert_eq!(all(&reopened(&world)), [numbered("v", 0..10), numbered("w", 10..25)].concat());
    });
}

#[test]
fn a_partition_that_refuses_nothing_is_left_as_it_is() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 3);
        let before = tree(&world.disk);
        assert_eq!(partition.reopen().expect("does nothing"), None);
        assert_eq!(partition.topic().reopen().expect("does nothing"), vec![]);
        assert!(before == tree(&world.disk));
    });
}

#[test]
fn whatever_sync_failed_a_reopen_lifts_the_latch() {
    for fault in [
        log_sync(Pages::Clean),
        Fault::of("sync_dir").on("orders@1/0"),
        Fault::of("sync").on("history").leaves(Pages::Clean),
    ] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = world.partition();
            fill(&partition, "v", 10);
            let all_rolled = scribble_until_rolled(&partition);
            world.disk.fail(fault.clone());
            refused(partition.sync());
            assert!(matches!(refused(partition.append("w")), Error::Latched { .. }), "{fault:?}");
            partition.reopen().expect("reopens").expect("was latched");
            fill(&partition, "v", 10);
            world.power_cut();
            assert_eq!(all(&reopened(&world)), numbered("v", 0..all_rolled + 10), "{fault:?}");
        });
    }
}

#[test]
fn a_history_that_lost_its_newest_lines_forgets_no_durable_record_and_tells_the_fork() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 10);
        let beyond = scribble_until_rolled(&partition);
        let mut reader = partition.read_from(Start::At(Offset::new(beyond))).expect("begins");
        world.disk.fail(Fault::of("sync").on("history").leaves(Pages::Reverted));
        refused(partition.sync());
        partition.reopen().expect("reopens").expect("was latched");
        let end = partition.end();
        assert!(end >= Offset::new(10) && end < Offset::new(beyond));
        assert!(matches!(refused(reader.read()), Error::Diverged { fork, .. } if fork == end));
        fill(&partition, "v", 10);
        world.power_cut();
        assert_eq!(all(&reopened(&world)), numbered("v", 0..end.get() + 10));
    });
}

fn scribble_until_rolled(partition: &Partition) -> u64 {
    let had = partition.segments().len();
    while partition.segments().len() < had + 2 {
        scribble(partition, "v", 1);
    }
    partition.end().get()
}

#[test]
fn a_truncate_whose_sync_failed_is_done_or_not_done_and_the_partition_can_be_reopened() {
    for pages in [Pages::Dirty, Pages::Clean, Pages::Reverted] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = world.partition();
            fill(&partition, "v", 10);
            world.disk.fail(Fault::of("sync").on("history").leaves(pages));
            refused(partition.truncate(Offset::new(4)));
            partition.reopen().expect("reopens").expect("was latched");
            let end = partition.end().get();
            assert!(end == 4 || end == 10, "{end}");
            fill(&partition, "v", 5);
            world.power_cut();
            assert_eq!(all(&reopened(&world)), numbered("v", 0..end + 5));
        });
    }
}

#[test]
fn what_was_acknowledged_and_is_gone_is_damage_and_the_partition_stays_latched() {
    both_ways(|mapping| {
        let (world, partition) = latched(mapping, log_sync(Pages::Clean));
        let log = "topics/orders@1/0/00000000000000000000@2.log";
        let whole = world.disk.read(log);
        for kept in [0, 96] {
            // Zeros behind the header look as if nothing was ever written.
            let zeros = vec![0; if kept == 0 { 0 } else { whole.len() - kept }];
            world.disk.write(log, [&whole[..kept], &zeros].concat());
            let error = refused_untouched(&world.disk, || partition.reopen());
            assert!(matches!(error, Error::Corrupt(_)), "{error}");
            assert!(matches!(refused(partition.append("w")), Error::Latched { .. }));
        }
    });
}

#[test]
fn bytes_that_a_reader_holds_outlive_one_reopen_after_another() {
    both_ways(|mapping| {
        let (world, partition) = latched(mapping, log_sync(Pages::Clean));
        let held = partition.read_from(Start::Earliest).expect("begins").read().expect("reads");
        for n in 0..3 {
            partition.reopen().expect("reopens").expect("was latched");
            scribble(&partition, "v", 3);
            world.disk.fail(log_sync(Pages::Clean));
            refused(partition.sync());
            assert_eq!(values(&held), numbered("v", 0..20), "after {n}");
        }
        assert!(files_are_as_long_as_they_were(&world, &partition));
    });
}

/// A living map reaches behind the seal: cutting the file there would end the process.
fn files_are_as_long_as_they_were(world: &World, partition: &Partition) -> bool {
    let first = "topics/orders@1/0/00000000000000000000@2.log";
    let sealed = partition.segments().first().map(|segment| segment.bytes);
    world.disk.read(first).len() as u64 > sealed.expect("is there")
}

#[test]
fn threads_that_append_durably_go_on_after_a_reopen_and_lose_nothing() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 1);
        world.disk.set_sync_delay(Duration::from_micros(200));
        for nth in [10, 60, 110] {
            world.disk.fail(log_sync(Pages::Reverted).nth(nth));
        }
        let acks: Vec<(Ack, String)> = std::thread::scope(|threads| {
            let append = |thread: usize| append_and_reopen(&partition, thread);
            let appenders: Vec<_> = (0..6).map(|thread| threads.spawn(move || append(thread))).collect();
            appenders.into_iter().flat_map(|appender| appender.join().expect("ends")).collect()
        });
        world.disk.heal();
        world.power_cut();
        let now = all(&reopened(&world));
        for (ack, value) in acks {
            assert_eq!(now.get(ack.offset().get() as usize), Some(&value), "what was acknowledged stands there");
        }
    });
}

fn append_and_reopen(partition: &Partition, thread: usize) -> Vec<(Ack, String)> {
    let mut acks = Vec::new();
    for n in 0..100 {
        let value = format!("{thread}-{n}");
        match partition.append(&value) {
            Ok(ack) => acks.push((ack, value)),
            Err(Error::Latched { .. } | Error::Io { .. }) => drop(partition.reopen().expect("reopens")),
            Err(Error::Diverged { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    acks
}

/// The disk before each operation of a reopen, and at its end.
fn images_of_a_reopen(mapping: Mapping, pages: Pages) -> Vec<Image> {
    let (world, partition) = latched(mapping, log_sync(pages));
    let images: Arc<Mutex<Vec<Image>>> = Arc::default();
    let taken = images.clone();
    world.disk.on_operation(Box::new(move |operation| taken.lock().expect("lives").push(operation.image())));
    partition.reopen().expect("reopens");
    world.disk.on_operation(Box::new(|_| {}));
    let mut images = std::mem::take(&mut *images.lock().expect("lives"));
    images.push(world.disk.image());
    images
}

/// Opens it; what was durable must be there, and nothing that was never written.
fn comes_back(disk: &SimDisk, mapping: Mapping, why: &str) -> Vec<String> {
    let store = options(disk, mapping).open("/sim").unwrap_or_else(|error| panic!("{why}: {error}"));
    let partition = store.topic("orders").expect("is there").partition(0).expect("recovers");
    let found = all(&partition);
    assert!(found.len() >= 10 && found == numbered("v", 0..found.len() as u64), "{why}: {found:?}");
    partition.append("more").unwrap_or_else(|error| panic!("{why}: {error}"));
    found
}

#[test]
fn crashed_at_any_operation_of_a_reopen_the_store_comes_back_and_what_it_then_shows_stays() {
    for pages in [Pages::Dirty, Pages::Clean, Pages::Reverted] {
        both_ways(|mapping| {
            for (i, image) in images_of_a_reopen(mapping, pages).iter().enumerate() {
                comes_back(&image.after(Loss::All), mapping, &format!("{pages:?}, power at {i}"));
                for unit in 0..image.pending().len() {
                    let why = format!("{pages:?}, power at {i}, unit {unit}");
                    comes_back(&image.after(Loss::Only(unit)), mapping, &why);
                    comes_back(&image.after(Loss::AllBut(unit)), mapping, &why);
                }
                let (shown, later) = shown_after_a_kill(&image.after_kill(), mapping);
                let now = comes_back(&later.after(Loss::All), mapping, &format!("kill, power at {i}"));
                assert!(now.len() >= shown, "{pages:?}, kill at {i}: showed {shown}, then {}", now.len());
            }
        });
    }
}

/// Opens and is killed when it has shown what is there; how much that was, and the disk then.
fn shown_after_a_kill(disk: &SimDisk, mapping: Mapping) -> (usize, Image) {
    let store = options(disk, mapping).open("/sim").expect("opens");
    let shown = all(&store.topic("orders").expect("is there").partition(0).expect("recovers")).len();
    let image = disk.image();
    disk.stop_after(0);
    drop(store);
    (shown, image)
}

#[test]
fn a_reopen_that_fails_anywhere_stays_latched_and_the_next_one_succeeds() {
    for pages in [Pages::Clean, Pages::Reverted] {
        both_ways(|mapping| {
            let mut nth = 1;
            while fails_and_then_succeeds(mapping, pages, nth) {
                nth += 1;
            }
            assert!(nth > 10, "only {nth} operations");
        });
    }
}

/// Says whether the reopen came as far as this operation.
fn fails_and_then_succeeds(mapping: Mapping, pages: Pages, nth: u64) -> bool {
    let (mut world, partition) = latched(mapping, log_sync(pages));
    world.disk.fail(Fault::any().nth(nth).leaves(pages));
    let failed = partition.reopen().is_err();
    if failed {
        assert!(matches!(refused(partition.append("w")), Error::Latched { .. }), "operation {nth}");
        assert!(partition.reopen().expect("reopens").is_some(), "operation {nth}");
    }
    world.disk.heal();
    fill(&partition, "v", 3);
    let kept = all(&partition);
    world.power_cut();
    assert_eq!(all(&reopened(&world)), kept, "operation {nth}");
    failed || nth < 15
}

#[test]
fn a_reopen_on_a_full_disk_says_so_and_succeeds_once_there_is_room() {
    both_ways(|mapping| {
        let (mut world, partition) = latched(mapping, log_sync(Pages::Clean));
        world.disk.set_capacity(Some(0));
        assert!(matches!(refused(partition.reopen()), Error::StorageFull { .. }));
        assert!(matches!(refused(partition.append("w")), Error::Latched { .. }));
        assert_eq!(all(&partition), numbered("v", 0..20), "reads go on");
        world.disk.set_capacity(None);
        partition.reopen().expect("reopens").expect("was latched");
        fill(&partition, "v", 1);
        world.power_cut();
        assert_eq!(all(&reopened(&world)), numbered("v", 0..21));
    });
}

#[test]
fn after_a_reopen_a_close_is_clean_and_unsynced_bytes_are_counted_anew() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let options = TopicOptions::new().unsynced_bytes_max(4096);
        let topic = world.store().create_topic("orders", options).expect("creates");
        let partition = topic.partition(0).expect("is there");
        fill(&partition, "v", 100);
        world.disk.fail(log_sync(Pages::Clean));
        refused(partition.append("v100"));
        partition.reopen().expect("reopens").expect("was latched");
        scribble(&partition, "v", 500);
        assert!(partition.durable_end() > Offset::new(400), "the cap holds");
        world.reopen();
        assert!(world.store().recovery().is_clean());
        assert_eq!(reopened(&world).lineage().last().map(|epoch| epoch.reason), Some("session"));
    });
}

/// The loss comes while another thread is about to sync; `threads::races` puts it between any two steps.
#[test]
fn an_append_that_syncs_by_bytes_is_told_nothing_of_what_came_behind_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("orders", small().sync_bytes(1024)).expect("creates");
        let partition = topic.partition(0).expect("is there");
        std::thread::scope(|threads| {
            let appending = threads.spawn(|| partition.append_with(&[b'v'; 1100], written()));
            while partition.end() == Offset::ZERO {
                std::thread::yield_now();
            }
            partition.sync().expect("syncs");
            world.disk.fail(log_sync(Pages::Reverted));
            scribble(&partition, "lost", 1);
            refused(partition.sync());
            partition.reopen().expect("reopens").expect("was latched");
            assert_eq!(partition.end(), Offset::new(1));
            appending.join().expect("ends").expect("its record is durable");
        });
    });
}

/// `threads::races` puts the reopen between any two steps.
#[test]
fn what_took_the_place_of_a_lost_record_is_not_taken_for_it() {
    for _ in 0..10 {
        both_ways(|mapping| {
            let world = world(mapping);
            let partition = world.partition();
            fill(&partition, "v", 1);
            let ack = partition.append_with("lost", written()).expect("appends");
            let mut reader = partition.read_from(Start::Earliest).expect("begins").visibility(Visibility::Durable);
            world.disk.fail(log_sync(Pages::Reverted));
            let (begun, over) = (Barrier::new(3), AtomicBool::new(false));
            std::thread::scope(|threads| {
                let waiting = threads.spawn(|| {
                    begun.wait();
                    partition.wait_durable(&ack)
                });
                let reading = threads.spawn(|| {
                    begun.wait();
                    let mut seen = Vec::new();
                    while !over.load(Ordering::Acquire) {
                        seen.extend(drain(&mut reader));
                    }
                    seen
                });
                begun.wait();
                refused(partition.sync());
                partition.reopen().expect("reopens").expect("was latched");
                fill(&partition, "v", 1);
                let told = waiting.join().expect("ends");
                over.store(true, Ordering::Release);
                let seen = reading.join().expect("ends");
                refused(told);
                assert!(numbered("v", 0..2).starts_with(&seen), "{seen:?}");
            });
        });
    }
}
