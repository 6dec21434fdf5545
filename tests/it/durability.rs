//! What an acknowledgement is worth, and what it costs: syncs are counted where the engine meets the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use epochlog::testing::{Fault, Image, Loss, Pages, SimDisk};
use epochlog::{
    Ack, Durability, Error, Mapping, Offset, Partition, Record, Start, Store, StoreOptions, Topic, TopicOptions,
    Visibility,
};

use crate::support::*;

fn orders(world: &World, options: TopicOptions) -> Partition {
    world.store().create_topic("orders", options).expect("creates").partition(0).expect("is there")
}

fn reopened(world: &World) -> Partition {
    world.store().topic("orders").expect("is there").partition(0).expect("recovers")
}

#[test]
fn sixteen_threads_of_durable_appends_share_their_syncs() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new());
        fill(&partition, "v", 1);
        world.disk.set_sync_delay(Duration::from_micros(500));
        let before = world.disk.count("sync");
        std::thread::scope(|threads| {
            for _ in 0..16 {
                threads.spawn(|| {
                    for _ in 0..50 {
                        partition.append("v").expect("appends");
                    }
                });
            }
        });
        let syncs = world.disk.count("sync") - before;
        assert!(syncs * 4 < 16 * 50, "{syncs} syncs for 800 appends");
        assert_eq!(partition.durable_end(), Offset::new(801));
    });
}

#[test]
fn one_durable_append_costs_one_sync_and_a_written_one_none() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new());
        fill(&partition, "v", 1);
        let synced = || world.disk.count("sync") + world.disk.count("sync_dir");
        let before = synced();
        scribble(&partition, "v", 10);
        assert_eq!(synced(), before);
        fill(&partition, "v", 1);
        assert_eq!(synced(), before + 1);
    });
}

#[test]
fn waiting_for_an_acknowledgement_makes_it_durable_once() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, small());
        let acks: Vec<Ack> = (0..300).map(|_| partition.append_with("v", written()).expect("appends")).collect();
        assert_eq!(partition.durable_end(), Offset::ZERO);
        partition.wait_durable(&acks[299]).expect("syncs");
        let before = world.disk.count("sync");
        acks.iter().for_each(|ack| partition.wait_durable(ack).expect("is durable already"));
        assert_eq!(world.disk.count("sync"), before);
        world.power_cut();
        assert_eq!(reopened(&world).end(), Offset::new(300));
    });
}

#[test]
fn the_durable_end_covers_earlier_segments_and_the_names_in_the_directory() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, small());
        scribble(&partition, "v", 500);
        assert!(partition.segments().len() > 3, "rolled");
        fill(&partition, "v", 1);
        assert_eq!(partition.durable_end(), Offset::new(501));
        world.power_cut();
        assert_eq!(all(&reopened(&world)), numbered("v", 0..501));
    });
}

#[test]
fn so_many_unsynced_bytes_are_synced_by_the_append_that_gathers_them() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new().sync_bytes(4096));
        scribble(&partition, "v", 10);
        assert_eq!(partition.durable_end(), Offset::ZERO);
        scribble(&partition, "v", 200);
        let behind = partition.end().since(partition.durable_end());
        assert!(partition.durable_end() > Offset::ZERO && behind < 100, "{behind} records are unsynced");
    });
}

#[test]
fn maintain_syncs_topics_with_an_interval_and_no_others() {
    both_ways(|mapping| {
        let world = world(mapping);
        let often = orders(&world, TopicOptions::new().sync_interval(Duration::from_millis(10)));
        let never = world.topic("never").partition(0).expect("is there");
        scribble(&often, "v", 10);
        scribble(&never, "v", 10);
        world.store().maintain().expect("maintains");
        assert_eq!(often.durable_end(), Offset::new(10));
        assert_eq!(never.durable_end(), Offset::ZERO);
    });
}

#[test]
fn maintain_syncs_full_segments_and_leaves_the_active_one_to_its_writer() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, TopicOptions::new().segment_bytes_max(4096));
        scribble(&partition, "v", 100);
        world.store().maintain().expect("maintains");
        let (durable, end) = (partition.durable_end(), partition.end());
        assert!(durable > Offset::new(20) && durable < end, "{durable} of {end} are durable");
        // Nothing is left to do.
        let before = world.disk.count("sync");
        world.store().maintain().expect("maintains");
        assert_eq!(world.disk.count("sync"), before);
        partition.sync().expect("syncs");
        assert_eq!(partition.durable_end(), end);
        world.power_cut();
        assert_eq!(reopened(&world).end(), end);
    });
}

#[test]
fn the_background_thread_syncs_by_interval_and_wakes_who_waits_for_durable_records() {
    both_ways(|mapping| {
        let disk = SimDisk::new(3);
        let store = options(&disk, mapping).background(true).create("/sim").expect("creates");
        let topic = store.create_topic("orders", TopicOptions::new().sync_interval(Duration::from_millis(5)));
        let partition = topic.expect("creates").partition(0).expect("is there");
        let mut reader = partition.read_from(Start::Earliest).expect("begins").visibility(Visibility::Durable);
        scribble(&partition, "v", 10);
        let mut read = Vec::new();
        while read.len() < 10 {
            // A sync may come between two of them.
            let records = values(&reader.poll(Duration::from_secs(20)).expect("reads"));
            assert!(!records.is_empty(), "nobody was woken");
            read.extend(records);
        }
        assert_eq!(read, numbered("v", 0..10));
        store.close().expect("closes");
    });
}

/// Two partitions with a background thread: one that is hardly ever due, and one that always is.
fn seldom_and_often(disk: &SimDisk, mapping: Mapping) -> (Store, Partition, Partition) {
    let store = options(disk, mapping).background(true).create("/sim").expect("creates");
    let with_interval = |name, interval| {
        let options = TopicOptions::new().unsynced_bytes_max(8192).sync_interval(interval);
        store.create_topic(name, options).expect("creates").partition(0).expect("is there")
    };
    let seldom = with_interval("a-seldom", Duration::from_secs(3600));
    let often = with_interval("often", Duration::from_millis(1));
    (store, seldom, often)
}

/// Until the background thread has done something.
fn wait_until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody did it");
        std::thread::yield_now();
    }
}

#[test]
fn the_background_thread_syncs_no_topic_more_often_than_its_interval_says() {
    both_ways(|mapping| {
        let disk = SimDisk::new(3);
        let (store, seldom, often) = seldom_and_often(&disk, mapping);
        scribble(&seldom, "v", 10);
        for _ in 0..5 {
            scribble(&often, "v", 1);
            wait_until(|| often.durable_end() == often.end());
        }
        assert_eq!(seldom.durable_end(), Offset::ZERO);
        // Near its cap it is synced, as one without an interval is.
        scribble(&seldom, "v", 100);
        wait_until(|| seldom.durable_end() > Offset::ZERO);
        store.close().expect("closes");
    });
}

#[test]
fn what_the_background_thread_maintains_it_syncs_no_more_often_than_its_interval_says() {
    let disk = SimDisk::new(3);
    let (store, seldom, _often) = seldom_and_often(&disk, Mapping::Auto);
    scribble(&seldom, "v", 10);
    disk.write("trash/deleted@9/topic", "goes when the store is maintained");
    wait_until(|| !disk.files().iter().any(|path| path.starts_with("trash")));
    assert_eq!(seldom.durable_end(), Offset::ZERO);
    store.close().expect("closes");
}

#[test]
fn at_the_cap_of_unsynced_bytes_the_appender_syncs_first() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, TopicOptions::new().unsynced_bytes_max(4096));
        let value = [b'v'; 100];
        for _ in 0..500 {
            partition.append_with(&value, written()).expect("appends");
            let unsynced = partition.end().since(partition.durable_end());
            assert!(unsynced * 100 <= 4096, "{unsynced} records of more than 100 bytes are unsynced");
        }
        let durable = partition.durable_end();
        assert!(durable > Offset::new(450));
        world.power_cut();
        assert!(reopened(&world).end() >= durable);
    });
}

#[test]
fn a_batch_larger_than_the_cap_is_appended_alone() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new().unsynced_bytes_max(1024));
        let value = [b'v'; 5000];
        for n in 0..3 {
            partition.append_with(&value, written()).expect("appends");
            assert_eq!(partition.durable_end(), Offset::new(n));
        }
    });
}

#[test]
fn an_append_at_the_cap_has_its_turn_though_others_append_during_every_sync() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new().unsynced_bytes_max(1024));
        scribble(&partition, "v", 1);
        let ((ask, asked), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let other = partition.clone();
        let others = std::thread::spawn(move || {
            for () in asked {
                scribble(&other, "w", 1);
                // Nobody listens any more once the batch is there.
                let _late = tell.send(());
            }
        });
        let (syncs, me) = (Arc::new(AtomicUsize::new(0)), std::thread::current().id());
        let counted = syncs.clone();
        world.disk.on_operation(Box::new(move |operation| {
            let is_mine = operation.name == "sync" && std::thread::current().id() == me;
            if is_mine && counted.fetch_add(1, Ordering::Relaxed) < 20 {
                ask.send(()).expect("is waited for");
                // It can't answer if it needs the disk, or the lock that the batch is written under.
                let _in_vain = told.recv_timeout(Duration::from_millis(50));
            }
        }));
        partition.append_with(&[b'v'; 5000], written()).expect("appends");
        world.disk.on_operation(Box::new(|_| {}));
        assert!(syncs.load(Ordering::Relaxed) < 8, "{} syncs", syncs.load(Ordering::Relaxed));
        others.join().expect("ends");
    });
}

/// What a waiter may be told of a sync that failed: what failed, or that it failed before.
fn is_told(error: &Error) -> bool {
    matches!(error, Error::Io { operation: "sync", .. } | Error::Latched { .. })
}

#[test]
fn a_failed_sync_tells_every_waiter_and_nothing_acknowledged_is_lost() {
    for pages in [Pages::Dirty, Pages::Clean, Pages::Reverted] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = orders(&world, TopicOptions::new());
            fill(&partition, "v", 50);
            world.disk.set_sync_delay(Duration::from_micros(300));
            world.disk.fail(Fault::of("sync").on(".log").nth(20).leaves(pages));
            let acknowledged: u64 = std::thread::scope(|threads| {
                let append_until_refused = || {
                    let mut acks = 0;
                    loop {
                        match partition.append("w") {
                            Ok(_) => acks += 1,
                            Err(error) if is_told(&error) => return acks,
                            Err(other) => panic!("{other}"),
                        }
                    }
                };
                let appenders: Vec<_> = (0..8).map(|_| threads.spawn(append_until_refused)).collect();
                appenders.into_iter().map(|appender| appender.join().expect("ends")).sum()
            });
            let durable = partition.durable_end();
            assert!(durable.get() >= 50 + acknowledged);
            assert!(matches!(refused(partition.append_with("x", written())), Error::Latched { .. }));
            assert!(matches!(refused(partition.sync()), Error::Latched { .. }));
            let read = read_to(&partition, durable);
            world.power_cut();
            let now = all(&reopened(&world));
            assert!(now.len() as u64 >= durable.get(), "{pages:?}: {} of {durable}", now.len());
            assert_eq!(now[..50], read[..50]);
            fill(&reopened(&world), "y", 1);
        });
    }
}

/// The records below an offset, which must be readable.
fn read_to(partition: &Partition, end: Offset) -> Vec<String> {
    let mut reader = partition.read_from(Start::Earliest).expect("reads still work");
    let mut all = Vec::new();
    while (all.len() as u64) < end.get() {
        let records = reader.read().expect("reads what is durable");
        assert!(!records.is_empty(), "what is durable can be read");
        all.extend(values(&records));
    }
    all
}

#[test]
fn after_a_failed_sync_the_other_partitions_go_on() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("orders", small().partitions(2)).expect("creates");
        let [bad, good] = [0, 1].map(|n| topic.partition(n).expect("is there"));
        fill(&bad, "v", 3);
        fill(&good, "v", 3);
        world.disk.fail(Fault::of("sync").on("/0/"));
        assert!(is_told(&refused(bad.append("w"))));
        assert!(matches!(refused(bad.append("w")), Error::Latched { .. }));
        assert!(matches!(refused(bad.trim(Offset::new(1))), Error::Latched { .. }));
        assert!(matches!(refused(bad.truncate(Offset::new(1))), Error::Latched { .. }));
        fill(&good, "v", 3);
        assert_eq!(all(&good), numbered("v", 0..6));
    });
}

#[test]
fn a_failed_sync_of_the_commits_refuses_commits_and_nothing_else() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, small());
        fill(&partition, "v", 10);
        let mut consumer = partition.topic().consumer("billing").open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit().expect("commits");
        fill(&partition, "v", 10);
        consumer.poll(AT_ONCE).expect("polls");
        world.disk.fail(Fault::of("sync").on("commits").leaves(Pages::Clean));
        assert!(is_told(&refused(consumer.commit())));
        assert!(matches!(refused(consumer.commit()), Error::Latched { .. }));
        fill(&partition, "v", 10);
        drop(consumer);
        world.power_cut();
        let topic = world.store().topic("orders").expect("is there");
        let next = topic.group("billing").expect("is there").commits[0].place.next();
        assert!(next == Offset::new(10) || next == Offset::new(20), "{next}");
        assert_eq!(all(&reopened(&world)), numbered("v", 0..30));
    });
}

#[test]
fn a_commit_of_what_was_cut_is_refused_where_nothing_is_synced_either() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, small().durability(Durability::Written));
        scribble(&partition, "v", 10);
        let mut consumer = partition.topic().consumer("billing").open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        partition.truncate(Offset::new(4)).expect("truncates");
        scribble(&partition, "w", 20);
        assert!(matches!(refused(consumer.commit()), Error::Diverged { fork, .. } if fork == Offset::new(4)));
        let committed = partition.topic().group("billing").expect("is there").commits[0].place.next();
        assert_eq!(committed, Offset::ZERO);
    });
}

#[test]
fn an_epoch_survives_the_power_also_where_the_recovery_before_it_was_cut_off() {
    both_ways(|mapping| {
        for cut_off_after in 0..80 {
            let mut world = world(mapping);
            fill(&orders(&world, TopicOptions::new()), "v", 1);
            world.go_down(Image::after_kill);
            world.disk.stop_after(cut_off_after);
            drop(options(&world.disk, mapping).open("/sim"));
            world.kill();
            let ack = reopened(&world).append_with("lost", written()).expect("appends");
            world.power_cut();
            let error = refused(reopened(&world).read_from(ack.next()));
            let fork = Offset::new(1);
            assert!(matches!(error, Error::Diverged { fork: at, .. } if at == fork), "{cut_off_after}: {error}");
        }
    });
}

// A full disk.

/// Fills what is left with a file of somebody else, but for so many bytes.
fn leave(disk: &SimDisk, bytes: u64) {
    let pages = |len: usize| (len as u64).div_ceil(4096) * 4096;
    let used: u64 = disk.files().iter().map(|path| pages(disk.read(path).len())).sum();
    disk.set_capacity(Some(used + bytes));
}

fn append_until_full(partition: &Partition) -> Error {
    for _ in 0..100_000 {
        if let Err(error) = partition.append_with(&[b'v'; 100], written()) {
            return error;
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_full_disk_undoes_the_append_and_everything_else_still_works() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let other = world.topic("other");
        let partition = orders(&world, TopicOptions::new().segment_bytes_max(32 << 10));
        let mut consumer = partition.topic().consumer("billing").open().expect("opens");
        scribble(&partition, "v", 10);
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit().expect("commits");
        leave(&world.disk, 256 << 10);
        let error = append_until_full(&partition);
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        let end = partition.end();
        assert_eq!(all(&partition).len() as u64, end.get(), "nothing of the refused append is read");
        assert!(matches!(refused(partition.append_with(&[b'v'; 100], written())), Error::StorageFull { .. }));
        partition.sync().expect("syncs what was written");
        assert_eq!(partition.durable_end(), end);
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit().expect("commits");
        partition.trim(Offset::new(500)).expect("trims");
        partition.append("again").expect("there is room again, without a reopen");
        append_until_full(&partition);
        world.store().delete_topic(other.name().as_str()).expect("deletes");
        world.disk.set_capacity(None);
        let end = partition.append("at last").expect("appends").next().next();
        drop(consumer);
        world.power_cut();
        assert_eq!((reopened(&world).start(), reopened(&world).end()), (Offset::new(500), end));
    });
}

#[test]
fn on_a_disk_without_a_free_byte_commits_trims_and_deletes_still_work() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new().segment_bytes_max(16 << 10));
        let mut consumer = partition.topic().consumer("billing").bytes_max(1).open().expect("opens");
        scribble(&partition, "v", 10);
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit().expect("commits");
        append_100(&partition, 2000);
        leave(&world.disk, 0);
        append_until_full(&partition);
        for _ in 0..100 {
            consumer.poll(AT_ONCE).expect("polls");
            consumer.commit().expect("commits");
        }
        for offset in 1..100 {
            partition.trim(Offset::new(offset)).expect("trims");
        }
        assert!(matches!(refused(partition.append(&[b'v'; 1000])), Error::StorageFull { .. }));
        partition.trim(Offset::new(1500)).expect("gives room back");
        for _ in 0..100 {
            partition.append(&[b'v'; 100]).expect("appends again");
        }
        leave(&world.disk, 0);
        world.store().delete_topic("orders").expect("deletes");
    });
}

#[test]
fn a_nearly_full_disk_takes_every_append_for_which_there_is_room() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new());
        // The first reservation is 16 KiB, and the next would be as much again.
        scribble(&partition, "v", 1);
        leave(&world.disk, 8 << 10);
        append_until_full(&partition);
        assert!(partition.bytes() > 20_000, "{} bytes", partition.bytes());
    });
}

#[test]
fn an_append_whose_write_fails_leaves_nothing_in_the_way_of_the_next() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = orders(&world, TopicOptions::new());
            fill(&partition, "v", 1);
            world.disk.fail(Fault::of("write").on(".log").kind(kind));
            refused(partition.append_with("lost", written()));
            assert_eq!(all(&partition), numbered("v", 0..1));
            fill(&partition, "v", 1);
            assert_eq!(all(&partition), numbered("v", 0..2));
            world.power_cut();
            assert_eq!(all(&reopened(&world)), numbered("v", 0..2));
        });
    }
}

fn append_100(partition: &Partition, count: usize) {
    for _ in 0..count {
        partition.append_with(&[b'v'; 100], written()).expect("appends");
    }
}

#[test]
fn a_disk_that_is_full_at_any_page_loses_and_invents_nothing() {
    for mapping in [Mapping::Auto, Mapping::Never] {
        for pages in 0..40 {
            let mut world = world(mapping);
            let partition = orders(&world, small());
            fill(&partition, "v", 5);
            leave(&world.disk, pages * 4096);
            let mut expected = numbered("v", 0..5);
            for n in 0..400 {
                let value = format!("w{n}");
                match partition.append(&value) {
                    Ok(_) => expected.push(value),
                    Err(Error::StorageFull { .. }) => {}
                    Err(other) => panic!("{pages} pages: {other}"),
                }
            }
            assert_eq!(all(&partition), expected, "{pages} pages");
            world.disk.set_capacity(None);
            fill(&partition, "v", 100);
            expected.extend(numbered("v", expected.len() as u64..expected.len() as u64 + 100));
            world.reopen();
            assert_eq!(all(&reopened(&world)), expected, "{pages} pages");
            world.power_cut();
            assert_eq!(all(&reopened(&world)), expected, "{pages} pages");
        }
    }
}

/// The full segments that are synced are cut, and a shorter one that comes after can't be sealed.
#[test]
fn maintain_ends_though_a_truncate_took_what_it_syncs() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, small());
        scribble(&partition, "v", 300);
        let syncs = Arc::new(AtomicUsize::new(0));
        let (counted, disk, other) = (syncs.clone(), world.disk.clone(), partition.clone());
        world.disk.on_operation(Box::new(move |operation| {
            if operation.name != "sync" || !operation.path.to_string_lossy().ends_with(".log") {
                return;
            }
            match counted.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    other.truncate(Offset::ZERO).expect("truncates");
                    scribble(&other, "w", 100);
                    disk.fail(Fault::of("write").on("history").kind(ErrorKind::StorageFull).forever());
                }
                20 => disk.heal(),
                _ => {}
            }
        }));
        world.store().maintain().expect("maintains");
        world.disk.on_operation(Box::new(|_| {}));
        world.disk.heal();
        assert!(syncs.load(Ordering::Relaxed) < 8, "{} syncs", syncs.load(Ordering::Relaxed));
        assert_eq!(all(&partition), numbered("w", 0..100));
    });
}

#[test]
fn a_seal_that_cannot_be_written_waits_and_costs_no_acknowledgement() {
    both_ways(|mapping| {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let mut world = world(mapping);
            let partition = orders(&world, small());
            scribble(&partition, "v", 150);
            assert!(partition.segments().len() > 1, "rolled");
            world.disk.fail(Fault::of("write").on("history").kind(kind));
            fill(&partition, "v", 1);
            assert_eq!(partition.durable_end(), Offset::new(151));
            partition.trim(Offset::new(140)).expect("writes the seal before the file goes");
            drop(partition);
            world.reopen();
            assert!(world.store().recovery().is_clean());
            assert_eq!(all(&reopened(&world)), numbered("v", 140..151));
        }
    });
}

// Every operation fails.

/// What a small workload was told: for each value whether its append was acknowledged, and how.
#[derive(Default)]
struct Told {
    values: BTreeMap<String, Option<Durability>>,
    /// Whose append was undone for want of room.
    undone: BTreeSet<String>,
}

/// Appends, rolls, syncs, trims, commits, adds a topic and deletes it, and goes on after every error.
fn workload(topic: &Topic, store: &Store, told: &mut Told) {
    let Ok(partition) = topic.partition(0) else { return };
    for n in 0..60 {
        let value = format!("value-{n:03}-{}", "x".repeat(60));
        let durability = if n % 3 == 0 { Durability::Durable } else { Durability::Written };
        let options = epochlog::AppendOptions::new().durability(durability);
        let appended = partition.append_with(&value, options);
        if matches!(appended, Err(Error::StorageFull { .. })) {
            told.undone.insert(value.clone());
        }
        told.values.insert(value, appended.is_ok().then_some(durability));
        if n == 30 {
            let _typed = partition.trim(Offset::new(5));
            let _typed = store.create_topic("other", small());
            let _typed = store.delete_topic("other");
        }
        if n % 20 == 19 {
            let _typed = commit_all(topic);
            let _typed = store.maintain();
        }
    }
}

fn commit_all(topic: &Topic) -> Result<(), Error> {
    let mut consumer = topic.consumer("billing").open()?;
    while !consumer.poll(AT_ONCE)?.is_empty() {}
    consumer.commit()
}

/// What is there is a subsequence of what was tried, in order, and holds everything that was acknowledged at least so.
fn check(told: &Told, found: &[String], least: Durability, start: usize, context: &str) {
    let mut tried = told.values.keys();
    for value in found {
        assert!(tried.any(|tried| tried == value), "{context}: `{value}` was invented, doubled or reordered");
        assert!(!told.undone.contains(value), "{context}: `{value}` was undone, and is there");
    }
    let acknowledged =
        |ack: &Option<Durability>| *ack == Some(Durability::Durable) || (least == Durability::Written && ack.is_some());
    let owed = told.values.iter().filter(|(_, ack)| acknowledged(ack)).map(|(value, _)| value);
    let missing: Vec<_> = owed.filter(|value| !found.contains(value)).collect();
    assert!(missing.len() <= start, "{context}: {} acknowledged records are gone: {missing:?}", missing.len());
}

fn found(partition: &Partition) -> Vec<String> {
    all(partition)
}

fn workload_with(mapping: Mapping, fault: Option<Fault>, context: &str) -> u64 {
    let mut world = world(mapping);
    let topic = world.topic("orders");
    let mut told = Told::default();
    let begin = world.disk.operations();
    if let Some(fault) = fault {
        world.disk.fail(fault);
    }
    workload(&topic, world.store(), &mut told);
    let operations = world.disk.operations() - begin;
    world.disk.heal();
    let start = usize::try_from(topic.partition(0).expect("is there").start().get()).expect("is small");
    check(&told, &found(&topic.partition(0).expect("is there")), Durability::Written, start, context);
    drop(topic);
    world.power_cut();
    let partition = reopened(&world);
    check(&told, &found(&partition), Durability::Durable, start, context);
    fill(&partition, "after", 3);
    let committed = commit_all(partition.topic());
    let is_explained = |error: &Error| matches!(error, Error::Diverged { .. } | Error::OffsetOutOfRange { .. });
    assert!(committed.as_ref().err().is_none_or(is_explained), "{context}: {committed:?}");
    operations
}

#[test]
fn an_error_at_any_operation_is_told_and_leaves_no_gap() {
    for mapping in [Mapping::Auto, Mapping::Never] {
        let operations = workload_with(mapping, None, "undisturbed");
        assert!(operations > 100, "{operations} operations");
        for n in 1..=operations {
            for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
                let context = format!("{mapping:?}, {kind} at operation {n}");
                workload_with(mapping, Some(Fault::any().nth(n).kind(kind)), &context);
            }
            let context = format!("{mapping:?}, errors from operation {n} on");
            workload_with(mapping, Some(Fault::any().nth(n).forever().leaves(Pages::Clean)), &context);
        }
    }
}

#[test]
fn short_and_interrupted_reads_and_writes_are_resumed() {
    both_ways(|mapping| {
        for (bytes, every) in [(Some(1), None), (Some(7), Some(3)), (None, Some(2))] {
            let mut world = world(mapping);
            let topic = world.topic("orders");
            world.disk.set_io_bytes_max(bytes);
            world.disk.interrupt_every(every);
            let mut told = Told::default();
            workload(&topic, world.store(), &mut told);
            assert_eq!(told.values.len(), 60);
            assert!(told.values.values().all(Option::is_some), "nothing fails because of a short write");
            drop(topic);
            world.go_down(|image| image.after(Loss::All));
            world.disk.set_io_bytes_max(bytes);
            world.disk.interrupt_every(every);
            world.open();
            let partition = reopened(&world);
            check(&told, &found(&partition), Durability::Durable, 5, "short I/O");
            fill(&partition, "after", 3);
        }
    });
}

// Real files.

#[test]
fn records_acknowledged_on_a_real_disk_are_there_after_a_reopen() {
    both_ways(|mapping| {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path: PathBuf = dir.path().join("data");
        let store = StoreOptions::new().mapping(mapping).create(&path).expect("creates");
        let partition = store.create_topic("orders", small()).expect("creates").partition(0).expect("is there");
        let began = Instant::now();
        fill(&partition, "v", 100);
        assert!(began.elapsed() > Duration::from_micros(100), "a hundred syncs take time");
        drop((partition, store));
        let store = StoreOptions::new().mapping(mapping).open(&path).expect("opens");
        let partition = store.topic("orders").expect("is there").partition(0).expect("is there");
        assert_eq!(all(&partition), numbered("v", 0..100));
        partition.append(Record::new("w").key("k")).expect("appends");
    });
}

#[test]
fn a_truncate_that_fails_behind_an_undone_append_leaves_appends_working() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 3);
    world.reopen();
    let partition = world.partition();
    world.disk.fail(Fault::of("write").on(".log").nth(2).kind(ErrorKind::StorageFull));
    assert!(matches!(refused(partition.append("undone")), Error::StorageFull { .. }));
    world.disk.fail(Fault::of("write").on("history").kind(ErrorKind::StorageFull).forever());
    assert!(matches!(refused(partition.truncate(Offset::new(1))), Error::StorageFull { .. }));
    world.disk.heal();
    fill(&partition, "v", 1);
    assert_eq!(all(&partition), numbered("v", 0..4));
}

#[test]
fn a_topic_that_is_created_after_a_crash_shows_its_groups_on_a_full_disk() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        world.kill();
        let topic = world.topic("orders");
        leave(&world.disk, 0);
        assert!(topic.groups().expect("nothing has to be written").is_empty());
        topic.partition(0).expect("nothing has to be written");
    });
}

#[test]
fn partitions_that_are_added_after_a_crash_are_there_on_a_full_disk() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        world.topic("orders");
        world.kill();
        let topic = world.topic("orders");
        topic.add_partitions(2).expect("adds");
        leave(&world.disk, 0);
        topic.partition(1).expect("nothing has to be written");
    });
}

#[test]
fn a_segment_that_could_neither_be_created_nor_taken_back_is_in_nobodys_way() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new());
        fill(&partition, "v", 1);
        partition.truncate(Offset::ZERO).expect("truncates");
        for operation in ["write", "remove_file"] {
            world.disk.fail(Fault::of(operation).on(".log").forever());
        }
        refused(partition.append("refused"));
        world.disk.heal();
        partition.append("v0").expect("appends");
        assert_eq!(all(&partition), ["v0"]);
    });
}

#[test]
fn partitions_whose_adding_failed_and_that_are_shown_are_lost_by_no_power_cut() {
    both_ways(|mapping| {
        for sync in 1..=4 {
            let mut world = world(mapping);
            let partition = orders(&world, TopicOptions::new());
            world.disk.fail(Fault::of("sync_dir").on("orders").nth(sync));
            let _may_fail = partition.topic().add_partitions(2);
            let _says_so = world.store().clone().close();
            world.disk.heal();
            world.reopen();
            let shown = world.topic("orders").partitions();
            world.power_cut();
            assert_eq!(world.topic("orders").partitions(), shown, "sync {sync}");
        }
    });
}

#[test]
fn commits_whose_torn_end_was_cut_under_a_name_that_is_not_durable_are_not_built_on() {
    for closes in [false, true] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            fill(&orders(&world, TopicOptions::new()), "v", 3);
            world.close();
            let path = "topics/orders@1/commits";
            world.disk.write(path, [world.disk.read(path), vec![7]].concat());
            world.open();
            world.disk.fail(Fault::of("sync_dir").on("orders@1"));
            assert!(matches!(refused(world.topic("orders").groups()), Error::Io { operation: "sync", .. }));
            if closes {
                refused(world.store().clone().close());
                world.open();
            } else {
                let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
                assert!(matches!(refused(consumer.poll(Duration::ZERO)), Error::Latched { .. }));
                world.topic("orders").reopen().expect("reopens");
            }
            commit(&world.topic("orders"));
            world.power_cut();
            assert_eq!(committed(world.store()), Some(Offset::new(3)));
        });
    }
}

#[test]
fn commits_that_a_recovery_could_not_make_durable_are_told_of_until_they_are() {
    both_ways(|mapping| {
        // The partition's directory is synced before the topic's.
        let met = (1..8).find(|&nth| {
            let mut world = world(mapping);
            fill(&orders(&world, TopicOptions::new()), "v", 3);
            commit(&world.topic("orders"));
            world.go_down(Image::after_kill);
            world.disk.fail(Fault::of("sync_dir").on("orders@1").nth(nth));
            world.open();
            let failed = || world.store().recovery().failed;
            if !failed().iter().any(|failed| failed.partition.is_none()) {
                return false;
            }
            assert!(matches!(refused(try_commit(&world.topic("orders"))), Error::Latched { .. }));
            assert_eq!(failed().len(), 1);
            world.topic("orders").reopen().expect("reopens");
            assert!(failed().is_empty());
            commit(&world.topic("orders"));
            true
        });
        assert!(met.is_some(), "the commits were made durable whatever failed");
    });
}

/// A topic whose second partition was added, all but for the last sync of its directory, and a kill. Not yet opened again.
fn killed_while_adding(mapping: Mapping) -> World {
    let mut world = world(mapping);
    let partition = orders(&world, TopicOptions::new());
    world.disk.fail(Fault::of("sync_dir").on("orders").nth(3));
    refused(partition.topic().add_partitions(2));
    drop(partition);
    world.go_down(Image::after_kill);
    world
}

/// What is appended to it survives a power cut.
fn assert_added_keeps_its_records(world: &mut World) {
    fill(&world.topic("orders").partition(1).expect("was added"), "v", 3);
    world.power_cut();
    assert_eq!(all(&world.topic("orders").partition(1).expect("is there")), numbered("v", 0..3));
}

/// With whole commits it is their rewrite that makes the name of the topic's new header durable.
#[test]
fn partitions_that_a_kill_left_unsynced_beside_damaged_commits_are_lost_by_no_power_cut() {
    both_ways(|mapping| {
        let mut world = killed_while_adding(mapping);
        world.disk.flip("topics/orders@1/commits", 8 * 20);
        world.open();
        assert_added_keeps_its_records(&mut world);
    });
}

#[test]
fn partitions_that_a_kill_left_unsynced_beside_damaged_commits_are_durable_for_the_next_session() {
    both_ways(|mapping| {
        let mut world = killed_while_adding(mapping);
        world.disk.flip("topics/orders@1/commits", 8 * 20);
        world.open();
        world.reopen();
        assert_added_keeps_its_records(&mut world);
    });
}

#[test]
fn commits_that_are_written_anew_after_a_kill_are_no_longer_than_before() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let topic = orders(&world, TopicOptions::new().partitions(500)).topic().clone();
        let mut consumer = topic.consumer("billing").open().expect("opens");
        consumer.commit_with_metadata(&[7; 4096]).expect("commits");
        // In the same millisecond, but not beside the same metadata.
        drop(consumer);
        let mut consumer = topic.consumer("billing").partitions(&[3]).open().expect("opens");
        consumer.commit_with_metadata(b"another").expect("commits");
        let len = |world: &World| world.disk.read("topics/orders@1/commits").len();
        let (before, committed) = (len(&world), topic.groups().expect("are there"));
        drop((topic, consumer));
        world.kill();
        // What was written, and not what was read.
        world.reopen();
        assert_eq!(world.topic("orders").groups().expect("are there"), committed);
        assert!(len(&world) <= 2 * before, "{} bytes, {before} before", len(&world));
    });
}

/// Too many open files.
const EMFILE: i32 = 24;

#[test]
fn a_topics_directory_that_could_not_be_opened_for_a_sync_is_not_latched() {
    for open in 1..=2 {
        both_ways(|mapping| {
            let world = world(mapping);
            let topic = orders(&world, TopicOptions::new()).topic().clone();
            world.disk.fail(Fault::of("open_dir").on("orders").nth(open).os_error(EMFILE));
            assert!(matches!(refused(topic.add_partitions(2)), Error::Io { operation: "open", .. }));
            topic.add_partitions(2).expect("adds");
            fill(&topic.partition(1).expect("was added"), "v", 3);
        });
    }
}

#[test]
fn a_partitions_directory_that_could_not_be_opened_for_a_sync_is_not_latched() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, TopicOptions::new());
        scribble(&partition, "v", 3);
        world.disk.fail(Fault::of("open_dir").on("orders@1/0").os_error(EMFILE));
        assert!(matches!(refused(partition.sync()), Error::Io { operation: "open", .. }));
        fill(&partition, "v", 1);
        assert_eq!(partition.durable_end(), Offset::new(4));
    });
}

#[test]
fn what_was_to_be_compacted_and_found_no_open_file_for_the_sync_is_as_it_was() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        scribble(&orders(&world, TopicOptions::new()), "v", 5000);
        (1..4500).for_each(|n| world.partition().trim(Offset::new(n)).expect("trims"));
        world.reopen();
        let (topic, partition) = (world.topic("orders"), world.partition());
        let mut consumer = topic.consumer("billing").open().expect("opens");
        for n in 0..65 {
            consumer.seek(0, Start::At(Offset::new(4500 + n))).expect("seeks");
            consumer.commit_with_metadata(&[7; 4000]).expect("commits");
        }
        let files = ["topics/orders@1/0/history", "topics/orders@1/commits"];
        let all = || files.map(|file| world.disk.read(file).len());
        let before = all();
        world.disk.fail(Fault::of("open_dir").on("orders@1").os_error(EMFILE).forever());
        let error = refused_untouched(&world.disk, || world.store().maintain());
        assert!(matches!(error, Error::Io { operation: "open", .. }), "{error}");
        world.disk.heal();
        fill(&partition, "v", 1);
        consumer.commit_to(partition.place_at(partition.end()).expect("is there")).expect("commits");
        world.store().maintain().expect("compacts");
        assert!(all().iter().zip(before).all(|(now, before)| *now < before), "{:?}, {before:?} before", all());
    });
}

#[test]
fn a_topic_whose_directory_could_not_be_opened_beside_others_after_a_kill_is_hardened_once_more() {
    for open in 1..=4 {
        both_ways(|mapping| {
            let mut world = world(mapping);
            fill(&orders(&world, TopicOptions::new()), "v", 3);
            world.go_down(Image::after_kill);
            world.disk.flip("topics/orders@1/commits", 8 * 20);
            world.disk.fail(Fault::of("open_dir").on("orders").nth(open).os_error(EMFILE));
            world.open();
            let recovery = world.store().recovery();
            assert!(recovery.failed.is_empty(), "open {open}: {recovery}");
        });
    }
}

/// What keeps the commits from being written anew keeps nobody from the records.
#[test]
fn partitions_that_a_kill_left_unsynced_are_shown_by_no_open_that_cannot_make_them_durable() {
    let hindrances =
        [Fault::of("create").on("commits.new").kind(ErrorKind::StorageFull), Fault::of("sync_dir").on("orders@1")];
    for hindrance in hindrances {
        both_ways(|mapping| {
            let mut world = killed_while_adding(mapping);
            world.disk.fail(hindrance.clone().forever());
            world.open();
            world.disk.heal();
            let topic = world.topic("orders");
            let appended = topic.partition(1).and_then(|added| added.append("v0"));
            assert!(matches!(appended, Ok(_) | Err(Error::Latched { .. })), "{appended:?}");
            if appended.is_err() {
                topic.reopen().expect("reopens");
                topic.partition(1).and_then(|added| added.append("v0")).expect("appends");
            }
            drop(topic);
            world.power_cut();
            assert_eq!(all(&world.topic("orders").partition(1).expect("is there")), ["v0"]);
        });
    }
}

#[test]
fn partitions_that_a_kill_left_unsynced_beside_damaged_commits_are_there_after_a_reopen_of_the_topic() {
    both_ways(|mapping| {
        let mut world = killed_while_adding(mapping);
        world.disk.flip("topics/orders@1/commits", 8 * 20);
        world.disk.fail(Fault::of("sync_dir").on("orders@1").forever());
        world.open();
        world.disk.heal();
        let topic = world.topic("orders");
        assert!(matches!(refused(topic.partition(1)), Error::Latched { .. }));
        topic.reopen().expect("reopens");
        drop(topic);
        assert_added_keeps_its_records(&mut world);
    });
}

fn lazy() -> TopicOptions {
    TopicOptions::new().durability(Durability::Written).sync_interval(Duration::from_millis(1))
}

/// Reads everything that is there and commits it.
fn commit(topic: &Topic) {
    try_commit(topic).expect("commits");
}

fn try_commit(topic: &Topic) -> Result<(), Error> {
    let mut consumer = topic.consumer("billing").open()?;
    consumer.poll(Duration::ZERO)?;
    consumer.commit_with_metadata(b"so far")
}

fn committed(store: &Store) -> Option<Offset> {
    let group = store.topic("orders").and_then(|topic| topic.group("billing")).ok()?;
    Some(group.commits.first()?.place.next())
}

type MakesDurable = fn(&World) -> Result<(), Error>;

#[test]
fn whatever_makes_a_topic_durable_covers_its_commits() {
    let ways: [MakesDurable; 3] = [
        |world| world.store().sync(),
        |world| world.topic("orders").sync(),
        |world| world.store().maintain().map(drop),
    ];
    for makes_durable in ways {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = orders(&world, lazy());
            scribble(&partition, "v", 10);
            commit(partition.topic());
            makes_durable(&world).expect("syncs");
            let before = world.disk.count("sync");
            makes_durable(&world).expect("syncs");
            assert_eq!(world.disk.count("sync"), before, "nothing was left to do");
            drop(partition);
            world.power_cut();
            assert_eq!((committed(world.store()), reopened(&world).end()), (Some(Offset::new(10)), Offset::new(10)));
        });
    }
}

#[test]
fn maintain_leaves_the_commits_of_a_topic_without_an_interval_to_the_host() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, TopicOptions::new().durability(Durability::Written));
        fill(&partition, "v", 10);
        commit(partition.topic());
        world.store().maintain().expect("maintains");
        drop(partition);
        world.power_cut();
        assert_eq!(committed(world.store()), Some(Offset::ZERO), "what the start policy said");
    });
}

#[test]
fn no_commit_is_synced_before_what_it_is_about() {
    let ways: [MakesDurable; 2] = [|world| world.store().sync(), |world| world.store().maintain().map(drop)];
    for makes_durable in ways {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = orders(&world, lazy());
            scribble(&partition, "v", 10);
            commit(partition.topic());
            world.disk.fail(Fault::of("sync").on(".log"));
            refused(makes_durable(&world));
            drop(partition);
            world.power_cut();
            assert_eq!((committed(world.store()), reopened(&world).end()), (Some(Offset::ZERO), Offset::ZERO));
        });
    }
}

/// Commits so often, here and there and at the end, that the next commit would compact what is no longer worth its room.
fn commit_256_kib(topic: &Topic) {
    let mut consumer = topic.consumer("billing").open().expect("opens");
    for n in 0..66 {
        consumer.seek(0, if n % 2 == 0 { Start::Earliest } else { Start::Latest }).expect("seeks");
        consumer.commit_with_metadata(&[7; 3940]).expect("commits");
    }
}

#[test]
fn maintain_compacts_no_commit_before_what_it_is_about_is_durable() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = orders(&world, TopicOptions::new().durability(Durability::Written));
        scribble(&partition, "v", 10);
        let compacted = world.disk.count("rename");
        commit_256_kib(partition.topic());
        assert_eq!((world.disk.count("rename"), partition.durable_end()), (compacted, Offset::ZERO));
        world.store().maintain().expect("maintains");
        assert_eq!(world.disk.count("rename"), compacted + 1);
        drop(partition);
        world.power_cut();
        assert_eq!((committed(world.store()), reopened(&world).end()), (Some(Offset::new(10)), Offset::new(10)));
    });
}

#[test]
fn maintain_compacts_no_commit_behind_a_log_that_could_not_be_synced() {
    for options in
        [lazy(), lazy().sync_interval(Duration::from_secs(3600)), TopicOptions::new().durability(Durability::Written)]
    {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = orders(&world, options.clone());
            scribble(&partition, "v", 10);
            commit_256_kib(partition.topic());
            world.disk.fail(Fault::of("sync").on(".log"));
            refused(world.store().maintain());
            drop(partition);
            world.power_cut();
            assert_eq!((committed(world.store()), reopened(&world).end()), (Some(Offset::ZERO), Offset::ZERO));
        });
    }
}

#[test]
fn the_commits_stay_small_also_where_nobody_maintains() {
    for durability in [Durability::Durable, Durability::Written] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let partition = orders(&world, TopicOptions::new().durability(durability));
            scribble(&partition, "v", 10);
            for n in 0..8 {
                if n == 4 {
                    // That it can't be compacted is no reason not to commit.
                    world.disk.fail(Fault::of("rename").on("commits.new"));
                }
                commit_256_kib(partition.topic());
            }
            let bytes = world.disk.read("topics/orders@1/commits").len();
            assert!(bytes < 1 << 20, "{bytes} bytes");
            drop(partition);
            world.power_cut();
            let next = committed(world.store()).expect("was compacted");
            assert!(next <= reopened(&world).end(), "{next} is behind what is there");
        });
    }
}

#[test]
fn the_background_thread_syncs_commits_by_interval() {
    both_ways(|mapping| {
        let disk = SimDisk::new(3);
        let store = options(&disk, mapping).background(true).create("/sim").expect("creates");
        let topic = store.create_topic("orders", lazy()).expect("creates");
        scribble(&topic.partition(0).expect("is there"), "v", 10);
        commit(&topic);
        let begun = Instant::now();
        let is_durable = || {
            let cut = disk.image().after(Loss::All);
            let store = options(&cut, mapping).open_read_only("/sim").expect("opens");
            committed(&store) == Some(Offset::new(10))
        };
        while !is_durable() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody synced it");
            std::thread::yield_now();
        }
        store.close().expect("closes");
    });
}

#[test]
fn a_recovery_gives_back_what_was_reserved_and_nothing_that_was_published() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        world.store().create_topic("orders", TopicOptions::new()).expect("creates");
        fill(&world.partition(), "v", 10);
        scribble(&world.partition(), "v", 2000);
        world.kill();
        let partition = world.partition();
        let logs = segments(&world).into_iter().map(|(path, _)| world.disk.read(path));
        let [first, copy] = logs.collect::<Vec<_>>().try_into().expect("what was only written was copied");
        assert_eq!(partition.segments().iter().map(|one| one.bytes).collect::<Vec<_>>()[1], copy.len() as u64);
        // A process whose sync failed may have lent out all of the first.
        assert!(first.len() > copy.len() && first.ends_with(b"v2009"));
        assert_eq!(all(&partition), numbered("v", 0..2010));
    });
}

#[test]
fn a_seal_that_could_not_be_written_is_written_by_the_next_maintain() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = orders(&world, small());
        while partition.segments().len() < 2 {
            scribble(&partition, "v", 1);
        }
        world.disk.fail(Fault::of("write").on("history"));
        let maintain = || {
            world.store().maintain().expect("maintains");
            world.disk.count("write")
        };
        let (failed, sealed) = (maintain(), maintain());
        assert!(sealed > failed, "nothing was written");
        assert_eq!(maintain(), sealed, "once is enough");
        assert!(partition.durable_end() > Offset::ZERO && partition.durable_end() < partition.end());
    });
}
