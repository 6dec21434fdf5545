//! The files of the next segment, made by a background thread while the one before fills up.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use epochlog::testing::{Fault, Image, Loss, Pending, SimDisk};
use epochlog::{Mapping, Offset, Partition, Record, Store, TopicOptions};

use crate::support::*;

const SEGMENT_BYTES: u64 = 256 << 10;
/// Some forty of them fill a segment.
const BATCH: usize = 60;

/// A store that has background threads, and a partition with segments of a size that makes them work.
fn background(disk: &SimDisk, mapping: Mapping) -> (Store, Partition) {
    let store = options(disk, mapping).background(true).create("/sim").expect("creates");
    let topic = store.create_topic("orders", TopicOptions::new().segment_bytes_max(SEGMENT_BYTES)).expect("creates");
    (store, topic.partition(0).expect("is there"))
}

fn append(partition: &Partition) {
    let from = partition.end().get();
    let values = numbered(
        "a value that is as long as values usually are, which is a hundred bytes or so; number ",
        from..from + BATCH as u64,
    );
    let records: Vec<Record<'_>> = values.iter().map(|value| record(value)).collect();
    partition.append_batch_with(&records, written()).expect("appends");
}

fn holds(disk: &SimDisk, part_of_name: &str) -> bool {
    disk.files().iter().any(|path| path.to_string_lossy().contains(part_of_name))
}

fn segments(disk: &SimDisk) -> usize {
    disk.files().iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).count()
}

/// Appends slowly until something is so.
fn append_until(partition: &Partition, so: impl Fn() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < give_up, "it never came to that");
        append(partition);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every record that was appended is there, in order.
fn is_whole(partition: &Partition) {
    let end = partition.end();
    let read = all(partition);
    assert_eq!(read.len() as u64, end.get());
    assert!(read.iter().enumerate().all(|(i, value)| value.ends_with(&format!("number {i}"))));
}

/// Every record is there, no unfinished file is when the store is closed, and every record again in the next one.
fn closes_whole(store: Store, partition: Partition, disk: &SimDisk, mapping: Mapping) {
    is_whole(&partition);
    store.close().expect("closes");
    drop(partition);
    assert!(!holds(disk, ".new"), "{:?}", disk.files());
    let store = options(disk, mapping).open("/sim").expect("opens");
    is_whole(&store.topic("orders").expect("is there").partition(0).expect("is there"));
}

#[test]
fn who_writes_a_lot_goes_on_in_files_that_were_prepared() {
    both_ways(|mapping| {
        let disk = SimDisk::new(3);
        let (store, partition) = background(&disk, mapping);
        append_until(&partition, || holds(&disk, "next.index.new"));
        let renamed = disk.count("rename");
        // Not by the first roll, if the thread is slow.
        append_until(&partition, || disk.count("rename") >= renamed + 2);
        assert!(segments(&disk) > 1);
        closes_whole(store, partition, &disk, mapping);
    });
}

#[test]
fn who_writes_little_or_has_no_thread_beside_it_has_nothing_prepared() {
    both_ways(|mapping| {
        let disk = SimDisk::new(3);
        let (_store, partition) = background(&disk, mapping);
        while segments(&disk) < 3 {
            append(&partition);
            partition.sync().expect("syncs");
            assert!(!holds(&disk, "next."));
        }
        let world = world(mapping);
        let topic = world.store().create_topic("orders", TopicOptions::new().segment_bytes_max(SEGMENT_BYTES));
        let partition = topic.expect("creates").partition(0).expect("is there");
        while segments(&world.disk) < 3 {
            append(&partition);
            assert!(!holds(&world.disk, "next."));
        }
    });
}

#[test]
fn when_prepared_files_fail_the_roll_makes_its_own() {
    let failing = [
        Fault::of("create").on("next.log.new"),
        Fault::of("create").on("next.index.new"),
        Fault::of("rename").on("next.log.new"),
        Fault::of("rename").on("next.index.new"),
        Fault::of("reserve").on("next.log.new").kind(ErrorKind::StorageFull),
    ];
    for fault in failing {
        both_ways(|mapping| {
            let disk = SimDisk::new(3);
            let (store, partition) = background(&disk, mapping);
            disk.fail(fault.clone().forever());
            append_until(&partition, || segments(&disk) == 4);
            closes_whole(store, partition, &disk, mapping);
        });
    }
}

#[test]
fn what_was_prepared_goes_with_a_delete_a_cut_and_a_kill() {
    both_ways(|mapping| {
        for what in ["delete", "cut", "kill"] {
            let disk = SimDisk::new(3);
            let (store, partition) = background(&disk, mapping);
            append_until(&partition, || holds(&disk, "next.index.new"));
            match what {
                "delete" => store.delete_topic("orders").expect("deletes"),
                "cut" => partition.truncate(Offset::new(10)).expect("cuts"),
                _ => {
                    let image = disk.image();
                    let after = image.after_kill();
                    let again = options(&after, mapping).open("/sim").expect("opens");
                    let partition = again.topic("orders").expect("is there").partition(0).expect("recovers");
                    is_whole(&partition);
                    assert!(!holds(&after, ".new"), "{:?}", after.files());
                    continue;
                }
            }
            drop(partition);
            store.close().expect("closes");
            assert!(!holds(&disk, "next."), "{what}: {:?}", disk.files());
        }
    });
}

/// Which losses are tried: all names and lengths one by one, and some of the pages.
fn losses(image: &Image) -> Vec<Loss<'static>> {
    let mut losses = vec![Loss::None, Loss::All];
    for (i, pending) in image.pending().iter().enumerate() {
        if !matches!(pending, Pending::Page { position, .. } if *position > 0) {
            losses.extend([Loss::Only(i), Loss::AllBut(i)]);
        }
    }
    losses
}

#[test]
fn no_crash_while_files_are_prepared_and_take_their_place_costs_a_durable_record() {
    both_ways(|mapping| {
        let disk = SimDisk::new(3);
        let (store, partition) = background(&disk, mapping);
        append_until(&partition, || holds(&disk, "next.index.new"));
        let film: Arc<Mutex<Vec<(Image, Offset)>>> = Arc::default();
        let (shots, watched) = (film.clone(), partition.clone());
        disk.on_operation(Box::new(move |operation| {
            // The background thread works beside the appends that are of no interest.
            if operation.name == "rename" || operation.name.starts_with("sync") {
                shots.lock().expect("films").push((operation.image(), watched.durable_end()));
            }
        }));
        let renamed = disk.count("rename");
        append_until(&partition, || disk.count("rename") >= renamed + 2);
        partition.sync().expect("syncs");
        disk.on_operation(Box::new(|_| {}));
        drop((partition, store));
        let film = std::mem::take(&mut *film.lock().expect("ends"));
        assert!(film.len() >= 4, "{} moments", film.len());
        for (image, durable) in &film {
            for loss in losses(image) {
                let after = image.after(loss);
                let store = options(&after, mapping).open("/sim").expect("opens");
                let partition = store.topic("orders").expect("is there").partition(0).expect("recovers");
                assert!(partition.end() >= *durable, "{} of {durable} after {loss:?}", partition.end());
                is_whole(&partition);
                append(&partition);
                assert!(!holds(&after, ".new"), "{:?}", after.files());
            }
        }
    });
}
