//! After a failed sync: what is latched, what still works, who is told, and that nothing more is written to what failed.

use std::time::{Duration, Instant};

use epochlog::testing::{Fault, Image, Pages};
use epochlog::{
    Ack, AppendOptions, Error, Mapping, Offset, Partition, Record, RecoveryReport, Start, TopicOptions, Visibility,
};

use crate::support::*;

const A_WHILE: Duration = Duration::from_secs(60);

fn reopened(world: &World) -> Partition {
    world.store().topic("orders").expect("is there").partition(0).expect("recovers")
}

fn is_latched(error: &Error) -> bool {
    matches!(error, Error::Latched { .. })
}

/// Latches the partition by a failed sync of its segment, with ten records that are durable and some that aren't.
fn latch(world: &World) -> Partition {
    let partition = world.partition();
    fill(&partition, "v", 10);
    scribble(&partition, "v", 5);
    world.disk.fail(Fault::of("sync").on(".log").leaves(Pages::Clean));
    refused(partition.sync());
    partition
}

/// What brings something down.
type DoesTo = fn(&World);

#[test]
fn nothing_more_is_written_to_a_partition_whose_sync_failed() {
    for on in [".log", "history", "orders@1/0"] {
        both_ways(|mapping| {
            let world = world(mapping);
            let partition = world.partition();
            scribble(&partition, "v", 200);
            let name = if on == "orders@1/0" { "sync_dir" } else { "sync" };
            world.disk.fail(Fault::of(name).on(on));
            refused(partition.sync());
            for _ in 0..2 {
                let error = refused_untouched(&world.disk, || partition.append("w"));
                assert!(is_latched(&error), "{on}: {error}");
                assert!(is_latched(&refused_untouched(&world.disk, || partition.append_with("w", written()))));
                assert!(is_latched(&refused_untouched(&world.disk, || partition.trim(Offset::new(1)))));
                assert!(is_latched(&refused_untouched(&world.disk, || partition.truncate(Offset::new(1)))));
                assert!(is_latched(&refused_untouched(&world.disk, || world.store().maintain())));
                assert!(is_latched(&refused_untouched(&world.disk, || partition.sync())));
            }
            assert_eq!(all(&partition), numbered("v", 0..200), "reads go on");
        });
    }
}

#[test]
fn a_history_whose_name_an_open_could_not_sync_is_written_anew_by_the_next() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        world.close();
        let history = "topics/orders@1/0/history";
        let torn = [world.disk.read(history), vec![7; 20]].concat();
        world.disk.write(history, torn);
        world.open();
        // The first is of the segments' names.
        world.disk.fail(Fault::of("sync_dir").on("orders@1/0").nth(2));
        assert!(matches!(refused(world.topic_or_error()), Error::Io { operation: "sync", .. }));
        let renamed = world.disk.count("rename");
        assert_eq!(all(&reopened(&world)), numbered("v", 0..10));
        assert_eq!(world.disk.count("rename") - renamed, 1);
    });
}

#[test]
fn a_latched_partition_keeps_no_topic_from_being_deleted_and_no_commit_from_being_made() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = latch(&world);
        let builder = partition.topic().consumer("billing").visibility(Visibility::Durable);
        let mut consumer = builder.open().expect("opens");
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", 0..10));
        consumer.commit().expect("commits what is durable");
        world.store().delete_topic("orders").expect("deletes");
        assert!(matches!(refused(partition.reopen()), Error::TopicDeleted { .. }));
    });
}

#[test]
fn a_blocked_poll_is_told_that_nothing_more_comes() {
    for visibility in [Visibility::Written, Visibility::Durable] {
        both_ways(|mapping| {
            let world = world(mapping);
            let partition = world.partition();
            fill(&partition, "v", 10);
            let mut reader = partition.read_from(Start::Earliest).expect("begins").visibility(visibility);
            let consumer = partition.topic().consumer("billing").visibility(visibility).open();
            let mut consumer = consumer.expect("opens");
            assert_eq!((drain(&mut reader).len(), consumer.poll(AT_ONCE).expect("polls").len()), (10, 10));
            let begun = Instant::now();
            std::thread::scope(|threads| {
                let reading = threads.spawn(|| reader.poll(A_WHILE));
                let consuming = threads.spawn(|| consumer.poll(A_WHILE));
                world.disk.fail(Fault::of("sync").on("history"));
                refused(partition.trim(Offset::new(1)));
                assert!(is_latched(&refused(reading.join().expect("ends"))));
                assert!(is_latched(&refused(consuming.join().expect("ends"))));
            });
            assert!(begun.elapsed() < A_WHILE / 2, "they were woken");
            partition.reopen().expect("reopens");
            fill(&partition, "v", 1);
            assert_eq!(values(&reader.poll(A_WHILE).expect("polls")), ["v10"]);
            assert_eq!(values(&consumer.poll(A_WHILE).expect("polls")), ["v10"]);
        });
    }
}

#[test]
fn latched_commits_are_told_once_to_who_commits_automatically_and_reading_goes_on() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 6);
        let builder = partition.topic().consumer("billing").auto_commit(true).bytes_max(1);
        let mut consumer = builder.open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        world.disk.fail(Fault::of("sync").on("commits").leaves(Pages::Clean));
        assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Io { .. }));
        assert!(is_latched(&refused(consumer.poll(AT_ONCE))));
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("goes on")), ["v1"]);
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("goes on")), ["v2"]);
        let before = world.disk.count("write");
        assert!(is_latched(&refused(consumer.commit())));
        assert_eq!(world.disk.count("write"), before);
        partition.topic().reopen().expect("reopens");
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("commits again")), ["v3"]);
        drop(consumer);
        world.power_cut();
        let group = world.store().topic("orders").expect("is there").group("billing").expect("is there");
        assert_eq!(group.commits[0].place.next(), Offset::new(3));
    });
}

#[test]
fn one_latched_partition_keeps_no_other_from_being_committed_automatically() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("orders", small().partitions(2)).expect("creates");
        let [bad, good] = [0, 1].map(|n| topic.partition(n).expect("is there"));
        scribble(&bad, "v", 3);
        fill(&good, "v", 3);
        let mut consumer = topic.consumer("billing").auto_commit(true).open().expect("opens");
        assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 6);
        world.disk.fail(Fault::of("sync").on("/0/"));
        refused(bad.sync());
        assert!(is_latched(&refused(consumer.poll(AT_ONCE))));
        fill(&good, "v", 3);
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("goes on")), numbered("v", 3..6));
        let committed = topic.group("billing").expect("is there").commits;
        assert_eq!([0, 1].map(|n: usize| committed[n].place.next().get()), [0, 3]);
        world.disk.fail(Fault::of("sync").on("commits").leaves(Pages::Clean));
        refused(topic.consumer("audit").open().expect("opens").poll(AT_ONCE));
        fill(&good, "v", 3);
        let told = refused(consumer.poll(AT_ONCE));
        assert!(is_latched(&told) && told.to_string().contains("the commits file"), "it is another latch: {told}");
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("goes on")), numbered("v", 6..9));
        topic.reopen().expect("reopens");
        consumer.poll(AT_ONCE).expect("commits again");
        let committed = topic.group("billing").expect("is there").commits;
        assert_eq!([0, 1].map(|n: usize| committed[n].place.next().get()), [3, 9]);
    });
}

#[test]
fn a_history_compacted_under_a_name_that_is_not_durable_is_not_closed_cleanly() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 1);
        scribble(&world.partition(), "v", 5000);
        for offset in 1..4500 {
            world.partition().trim(Offset::new(offset)).expect("trims");
        }
        world.reopen();
        assert_eq!(reopened(&world).start(), Offset::new(4499));
        world.disk.fail(Fault::of("sync_dir").on("orders@1/0"));
        assert!(matches!(refused(world.store().maintain()), Error::Io { operation: "sync", .. }));
        assert!(is_latched(&refused(reopened(&world).append("w"))));
        assert!(is_latched(&refused(world.store().clone().close())));
        world.become_image(Image::after_kill);
        assert!(world.store().recovery().needed);
        assert_eq!(reopened(&world).end(), Offset::new(5001));
    });
}

#[test]
fn commits_that_were_only_written_survive_the_reopen_of_their_file() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("orders", small().durability(epochlog::Durability::Written));
        let partition = topic.expect("creates").partition(0).expect("is there");
        fill(&partition, "v", 10);
        let mut written = partition.topic().consumer("written").open().expect("opens");
        written.poll(AT_ONCE).expect("polls");
        written.commit().expect("commits");
        world.disk.fail(Fault::of("sync").on("commits").leaves(Pages::Reverted));
        refused(partition.topic().consumer("durable").open().expect("opens").poll(AT_ONCE));
        partition.topic().reopen().expect("reopens");
        let group = partition.topic().group("written").expect("is there");
        assert_eq!(group.commits[0].place.next(), Offset::new(10));
    });
}

#[test]
fn a_partition_that_cannot_be_reopened_keeps_nothing_else_of_its_topic_latched() {
    both_ways(|mapping| {
        let world = world(mapping);
        let topic = world.store().create_topic("orders", small().partitions(2)).expect("creates");
        let [bad, good] = [0, 1].map(|n| topic.partition(n).expect("is there"));
        let mut consumer = topic.consumer("billing").open().expect("opens");
        for (partition, on) in [(&bad, "/0/"), (&good, "/1/")] {
            fill(partition, "v", 3);
            world.disk.fail(Fault::of("sync").on(on));
            refused(partition.append("v3"));
        }
        consumer.seek(1, Start::Earliest).expect("seeks");
        world.disk.fail(Fault::of("sync").on("commits"));
        refused(consumer.commit_to(good.place_at(Offset::new(1)).expect("is there")));
        world.disk.fail(Fault::of("sync_dir").on("orders@1").nth(3));
        refused(topic.add_partitions(3));
        world.disk.fail(Fault::of("open").on("/0/history").forever());
        assert!(matches!(refused(topic.reopen()), Error::Io { operation: "open", .. }));
        fill(&good, "v", 1);
        consumer.commit_to(good.place_at(Offset::new(1)).expect("is there")).expect("commits");
        fill(&topic.partition(2).expect("was added"), "v", 1);
        assert!(is_latched(&refused(bad.append("v3"))));
        world.disk.heal();
        assert_eq!(topic.reopen().expect("reopens").len(), 1);
        fill(&bad, "v", 1);
    });
}

#[test]
fn a_failed_add_of_partitions_latches_the_topic_and_a_reopen_shows_all_of_them_or_none() {
    // Of the directory's syncs, the second stands behind the new partitions, the third behind the new header.
    for (nth, then) in [(2, 1), (3, 2)] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            let topic = world.topic("orders");
            fill(&world.partition(), "v", 3);
            world.disk.fail(Fault::of("sync_dir").on("orders@1").nth(nth));
            assert!(matches!(refused(topic.add_partitions(2)), Error::Io { operation: "sync", .. }));
            assert!(is_latched(&refused_untouched(&world.disk, || topic.add_partitions(2))));
            assert_eq!(topic.partitions(), 1);
            fill(&world.partition(), "v", 3);
            topic.reopen().expect("reopens");
            assert_eq!(topic.partitions(), then);
            topic.add_partitions(3).expect("adds");
            fill(&topic.partition(2).expect("is there"), "w", 3);
            world.power_cut();
            let topic = world.topic("orders");
            assert_eq!(all(&topic.partition(2).expect("is there")), numbered("w", 0..3));
        });
    }
}

#[test]
fn a_store_with_anything_latched_is_not_closed_cleanly() {
    let latches: [(&str, &str, DoesTo); 4] = [
        ("sync", ".log", |world| drop(world.partition().append("w"))),
        ("sync", "history", |world| drop(world.partition().trim(Offset::new(1)))),
        ("sync", "commits", |world| drop(world.topic("orders").consumer("g").open().expect("opens").poll(AT_ONCE))),
        ("sync_dir", "orders@1", |world| drop(world.topic("orders").add_partitions(2))),
    ];
    for (operation, on, doing) in latches {
        both_ways(|mapping| {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 10);
            let nth = if operation == "sync_dir" { 2 } else { 1 };
            world.disk.fail(Fault::of(operation).on(on).nth(nth).leaves(Pages::Clean));
            doing(&world);
            let error = refused(world.store().clone().close());
            assert!(is_latched(&error), "{on}: {error}");
            world.become_image(Image::after_kill);
            assert!(world.store().recovery().needed, "{on}");
            assert!(all(&reopened(&world)).len() >= 9);
        });
    }
}

#[test]
fn commits_compacted_under_a_name_that_is_not_durable_are_not_closed_cleanly() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 100);
        let mut consumer = world.topic("orders").consumer("billing").bytes_max(1).open().expect("opens");
        for _ in 0..65 {
            consumer.poll(AT_ONCE).expect("polls");
            consumer.commit_with_metadata(&[b'm'; 4000]).expect("commits");
        }
        world.disk.fail(Fault::of("sync_dir").on("orders@1"));
        assert!(matches!(refused(world.store().maintain()), Error::Io { operation: "sync", .. }));
        assert!(is_latched(&refused(world.store().clone().close())));
        drop(consumer);
        world.become_image(Image::after_kill);
        assert!(world.store().recovery().needed);
    });
}

#[test]
fn a_topic_that_one_io_error_kept_from_recovering_is_there_when_it_is_asked_for_again() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        scribble(&world.partition(), "v", 5);
        world.go_down(Image::after_kill);
        tear(&world.disk, last_segment(&world.disk, ORDERS));
        world.disk.fail(Fault::of("read").on("history"));
        world.open();
        let told = world.store().recovery();
        let failed: Vec<_> = told.failed.iter().map(|failed| (failed.topic.as_str(), failed.partition)).collect();
        assert_eq!((failed, told.has_cut()), (vec![("orders", Some(0))], false));
        let story = told.to_string();
        assert!(story.starts_with("partition 0 of topic `orders` was not recovered: cannot read `"), "{story}");
        assert_eq!(all(&reopened(&world)), numbered("v", 0..14));
        fill(&reopened(&world), "v", 1);
        let told = world.store().recovery();
        assert_eq!((told.failed.len(), cuts(&told)), (0, vec![Offset::new(14)]), "{told}");
    });
}

const ORDERS: &str = "topics/orders@1/0";

/// Where recovery has cut, for all that it was told of.
fn cuts(told: &RecoveryReport) -> Vec<Offset> {
    told.partitions.iter().flat_map(|one| &one.findings).filter_map(|finding| finding.cut_at).collect()
}

/// Ten durable records and five more, of which the kill tore the last, and a segment that nobody names.
fn torn_beside(stray: &str, bytes: &[u8]) -> World {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 10);
    scribble(&world.partition(), "v", 5);
    world.go_down(Image::after_kill);
    tear(&world.disk, last_segment(&world.disk, ORDERS));
    world.disk.write(stray, bytes);
    world
}

#[test]
fn what_was_cut_is_told_though_the_open_failed_behind_it() {
    let stray = format!("{ORDERS}/00000000000000000077@2.log");
    let mut world = torn_beside(&stray, &[7; 500]);
    // When it is looked for, before anything is cut, and behind that.
    world.disk.fail(Fault::of("open").on(stray.as_str()).nth(3));
    world.open();
    let told = world.store().recovery();
    assert_eq!((told.failed.len(), cuts(&told)), (1, vec![Offset::new(14)]), "{told}");
    assert_eq!(all(&reopened(&world)), numbered("v", 0..14));
    assert!(world.store().recovery().failed.is_empty());
}

#[test]
fn a_segment_of_another_topic_is_met_before_anything_is_cut() {
    let other = world(Mapping::Never);
    other.topic("orders");
    fill(&other.topic("audit").partition(0).expect("is there"), "w", 1);
    let audit = last_segment(&other.disk, "topics/audit@2/0");
    let foreign = format!("{ORDERS}/{}", audit.file_name().expect("has a name").to_string_lossy());
    let mut world = torn_beside(&foreign, &other.disk.read(&audit));
    world.open();
    assert!(matches!(refused(world.topic_or_error()), Error::Corrupt(_)));
    let told = world.store().recovery();
    assert_eq!((told.failed.len(), cuts(&told)), (1, vec![]), "{told}");
    assert!(!world.disk.files().iter().any(|file| file.starts_with("quarantine")), "{:?}", world.disk.files());
    world.disk.remove(&foreign);
    assert_eq!(all(&reopened(&world)), numbered("v", 0..14));
    let told = world.store().recovery();
    assert_eq!((told.failed.len(), cuts(&told)), (0, vec![Offset::new(14)]), "{told}");
}

#[test]
fn what_a_reopen_has_cut_is_told_by_the_store_too() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 10);
        scribble(&partition, "v", 5);
        world.disk.fail(Fault::of("sync").on(".log").leaves(Pages::Reverted));
        refused(partition.sync());
        assert!(world.store().recovery().is_clean());
        let report = partition.reopen().expect("reopens").expect("was latched");
        assert_eq!(world.store().recovery().partitions, [report]);
    });
}

#[test]
fn a_commits_file_whose_sync_failed_is_not_rewritten_before_a_reopen() {
    let world = world(Mapping::Never);
    let partition = world.partition();
    fill(&partition, "v", 80);
    let topic = world.topic("orders");
    let mut consumer = topic.consumer("billing").bytes_max(1).open().expect("opens");
    let mut commit = || {
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit_with_metadata("m".repeat(4000).as_bytes())
    };
    // Some 300 KiB, of which one commit counts.
    for _ in 0..75 {
        commit().expect("commits");
    }
    let commits = "topics/orders@1/commits";
    world.disk.fail(Fault::of("sync").on("commits"));
    commit().expect_err("isn't synced");
    let before = world.disk.read(commits);
    let _latched = world.store().maintain();
    assert!(world.disk.read(commits) == before, "nothing is known of what it holds");
    topic.reopen().expect("reopens");
    assert!(world.disk.read(commits).len() < before.len() / 2);
}

#[test]
fn a_sync_of_the_store_goes_on_behind_what_fails_and_gives_the_first_error() {
    for (name, number) in [("a", 1), ("b", 0)] {
        both_ways(|mapping| {
            let mut world = world(mapping);
            for name in ["a", "b"] {
                world.store().create_topic(name, small().partitions(2)).expect("creates");
            }
            let fails = world.topic("a").partition(0).expect("is there");
            let works = world.topic(name).partition(number).expect("is there");
            scribble(&fails, "v", 3);
            scribble(&works, "v", 3);
            world.disk.fail(Fault::of("sync").on("a@1/0/"));
            assert!(matches!(refused(world.store().sync()), Error::Io { operation: "sync", .. }));
            assert!(is_latched(&refused(world.store().sync())));
            assert_eq!((fails.durable_end(), works.durable_end()), (Offset::ZERO, Offset::new(3)));
            drop((fails, works));
            world.power_cut();
            assert_eq!(all(&world.topic(name).partition(number).expect("is there")), numbered("v", 0..3));
        });
    }
}

#[test]
fn a_sync_of_the_store_passes_over_a_topic_that_is_deleted_meanwhile() {
    both_ways(|mapping| {
        let world = world(mapping);
        let [a, _, c] = ["a", "b", "c"].map(|name| world.topic(name).partition(0).expect("is there"));
        scribble(&a, "v", 3);
        scribble(&c, "v", 3);
        let mut deleting = Some(world.store().clone());
        world.disk.on_operation(Box::new(move |operation| {
            if operation.name == "sync"
                && let Some(store) = deleting.take()
            {
                store.delete_topic("b").expect("deletes");
            }
        }));
        world.store().sync().expect("syncs what is there");
        assert_eq!((a.durable_end(), c.durable_end()), (Offset::new(3), Offset::new(3)));
    });
}

#[test]
fn a_store_that_could_not_sync_its_names_says_so_when_it_is_closed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.topic("other");
        world.disk.fail(Fault::of("sync_dir").on("trash"));
        refused(world.store().delete_topic("other"));
        assert!(is_latched(&refused(world.take().close())));
        // The rest was closed all the same.
        world.open();
        assert!(world.store().recovery().needed);
        assert_eq!(world.store().recovery().partitions, []);
        assert_eq!(all(&reopened(&world)), numbered("v", 0..3));
    });
}

#[test]
fn what_was_acknowledged_before_another_partition_refused_is_told() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = world.store().create_topic("orders", small().partitions(2)).expect("creates");
        let keys = ["a", "b", "c", "d", "e", "f"];
        let key_of = |n| *keys.iter().find(|key| crc32fast::hash(key.as_bytes()) % 2 == n).expect("half of them");
        let records = [1, 0, 0, 1, 0].map(|n| Record::new("v").key(key_of(n)));
        world.disk.fail(Fault::of("create").on("orders@1/1/"));
        let mut told = Vec::new();
        let each = |ack: Ack, records: &[Record<'_>]| told.push((ack.partition(), ack.next(), records.len()));
        let error = refused(orders.append_batch_each(&records, AppendOptions::new(), each));
        assert!(matches!(error, Error::Io { operation: "create", .. }), "{error}");
        let place = orders.partition(0).expect("is there").place_at(Offset::new(3)).expect("is there");
        assert_eq!(told, [(0, place, 3)]);
        drop(orders);
        world.power_cut();
        let end = |n| world.topic("orders").partition(n).expect("is there").end().get();
        assert_eq!((end(0), end(1)), (3, 0));
    });
}

/// Appends until segments have rolled and gone, behind a sync of the history that fails; says whether one met it.
fn a_roll_meets_a_failed_sync(mapping: Mapping, nth: u64) -> bool {
    let world = world(mapping);
    let options = TopicOptions::new().segment_bytes_max(1024).retention_bytes(2048);
    let partition = world.store().create_topic("orders", options).expect("creates").partition(0).expect("is there");
    world.disk.fail(Fault::of("sync").on("history").nth(nth));
    for _ in 0..60 {
        let before = partition.end();
        match partition.append_with(&"v".repeat(100), written()) {
            Ok(_) => partition.trim(partition.start()).expect("nothing has failed"),
            Err(error) => {
                assert!(matches!(error, Error::Io { operation: "sync", .. }), "the {nth}th: {error}");
                assert_eq!(partition.end(), before);
                return true;
            }
        }
    }
    false
}

#[test]
fn no_append_is_acknowledged_behind_a_failed_sync_of_its_roll() {
    both_ways(|mapping| {
        let met = (1..).take_while(|&nth| a_roll_meets_a_failed_sync(mapping, nth)).count();
        assert!(met > 5, "only {met}");
    });
}
