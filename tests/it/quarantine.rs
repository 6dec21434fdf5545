//! What recovery cuts or replaces is kept aside: P9.

use std::path::Path;
use std::sync::{Arc, Mutex};

use epochlog::testing::{Fault, Image, Loss, Pending};
use epochlog::{Error, Mapping, Offset, OnDamage, Repair, Store, StoreOptions, TopicOptions};

use crate::support::*;

/// A disk whose process was killed, and whose recovery was about to make the name of its copy durable.
fn copied_and_not_named(mapping: Mapping) -> (Image, String) {
    let mut world = world(mapping);
    world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    fill(&world.partition(), "durable ", 1);
    scribble(&world.partition(), &"written ".repeat(40), 12);
    let last = format!("{}12", "written ".repeat(40));
    world.go_down(Image::after_kill);
    let seen: Arc<Mutex<Option<Image>>> = Arc::default();
    let camera = seen.clone();
    world.disk.on_operation(Box::new(move |operation| {
        if operation.name == "sync_dir" && operation.path.ends_with("orders@1/0") {
            camera.lock().expect("lives").get_or_insert_with(|| operation.image());
        }
    }));
    world.open();
    let image = seen.lock().expect("lives").take().expect("recovery syncs the directory");
    (image, last)
}

/// The last page of the segment that is being recovered, which was never synced.
fn last_page(image: &Image) -> usize {
    let is_page =
        |unit: &Pending| matches!(unit, Pending::Page { path, .. } if path.extension().is_some_and(|end| end == "log"));
    image.pending().iter().rposition(is_page).expect("the tail is only written")
}

#[test]
fn a_copy_that_holds_more_than_the_power_left_of_the_original_is_set_aside_and_not_written_over() {
    both_ways(|mapping| {
        let (image, last) = copied_and_not_named(mapping);
        let mut world = world(mapping);
        world.become_image(|_| image.after(Loss::Only(last_page(&image))));
        assert!(world.partition().end().get() < 13, "the power took the last record");
        let holds =
            |path: &std::path::PathBuf| world.disk.read(path).windows(last.len()).any(|bytes| bytes == last.as_bytes());
        let kept: Vec<_> = world.disk.files().into_iter().filter(holds).collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert!(kept[0].starts_with("quarantine"), "{kept:?}");
    });
}

/// An end of which not all could be kept aside stays behind the seal.
#[test]
fn a_recovery_gives_back_nothing_behind_a_seal_but_zeros() {
    both_ways(|mapping| {
        for (behind, stays) in [(&[7; 500][..], true), (&[0; 500][..], false)] {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 100);
            world.go_down(Image::after_kill);
            let (first, _) = segments(&world).remove(0);
            let sealed = world.disk.read(&first);
            let long = [&sealed[..], behind].concat();
            world.disk.write(&first, long.clone());
            world.open();
            assert!(world.disk.read(&first) == if stays { long } else { sealed });
            assert_eq!(all(&world.partition()), numbered("v", 0..100));
        }
    });
}

#[test]
fn what_stands_behind_a_seal_is_not_read_to_its_end_to_see_that_it_stays() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 100);
    world.go_down(Image::after_kill);
    let (first, _) = segments(&world).remove(0);
    let long = [&world.disk.read(&first)[..], &[7; 16 << 20][..]].concat();
    world.disk.write(&first, long);
    let before = world.disk.count("read");
    world.open();
    world.partition();
    let reads = world.disk.count("read") - before;
    assert!(reads < 100, "{reads} reads, of 64 KiB each where it is read on");
}

#[test]
fn a_copy_never_takes_a_name_that_could_not_be_looked_at() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 1);
        scribble(&world.partition(), "v", 12);
        world.go_down(Image::after_kill);
        // The copy of what isn't known to be durable begins at 1. The partition is tried again when it is asked for.
        for look in [1, 2] {
            world.disk.fail(Fault::of("open").on("00000000000000000001@").nth(look));
        }
        world.open();
        let error = refused(world.topic_or_error());
        assert!(matches!(error, Error::Io { operation: "open", .. }), "{error:?}");
        world.reopen();
        assert_eq!(all(&world.partition()).len(), 13);
    });
}

#[test]
fn a_copy_that_finds_no_room_leaves_the_room_that_it_took_to_others() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
        let orders = orders.partition(0).expect("is there");
        fill(&orders, "durable ", 1);
        // More than the reserve has room for.
        scribble(&orders, &"v".repeat(4000), 100);
        scribble(&world.topic("small").partition(0).expect("is there"), "v", 3);
        let log = orders.segments()[0].path.strip_prefix("/sim").expect("lies there").to_path_buf();
        drop(orders);
        world.go_down(Image::after_kill);
        world.disk.flip(&log, 8 * 1000);
        let pages = |path: &std::path::PathBuf| world.disk.read(path).len().div_ceil(4096) as u64;
        let used: u64 = world.disk.files().iter().map(pages).sum();
        world.disk.set_capacity(Some((used + 8) * 4096));
        world.open();
        let error = refused(world.topic_or_error());
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        let half_written: Vec<_> =
            world.disk.files().into_iter().filter(|file| file.starts_with("quarantine")).collect();
        assert!(half_written.is_empty(), "{half_written:?}");
        assert_eq!(all(&world.topic("small").partition(0).expect("finds room")), numbered("v", 0..3));
        world.disk.set_capacity(None);
        assert_eq!(all(&world.topic_or_error().expect("recovers")), ["durable 0"]);
    });
}

/// As a kill leaves it: all that was written, while the store is open.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists") {
        let (from, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("is there");
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).expect("copies");
        }
    }
}

/// A simulated disk takes names of any length.
#[test]
fn a_torn_tail_of_a_topic_with_the_longest_name_is_recovered_on_a_real_disk() {
    both_ways(|mapping| {
        let dir = tempfile::tempdir().expect("makes a directory");
        let (path, killed) = (dir.path().join("data"), dir.path().join("killed"));
        let open = |path: &Path| StoreOptions::new().mapping(mapping).open(path).expect("opens");
        let store = Store::create(&path).expect("creates");
        drop(store.create_topic("other", TopicOptions::new()).expect("creates"));
        store.close().expect("closes");
        // Without it the numbers go on far above all that are there, in ten digits.
        std::fs::remove_file(path.join("STORE")).expect("removes");
        StoreOptions::new().repair(&path, OnDamage::Keep).and_then(Repair::apply).expect("repairs");
        let store = open(&path);
        let topic = store.create_topic(&"n".repeat(200), TopicOptions::new()).expect("creates");
        let partition = topic.partition(0).expect("is there");
        fill(&partition, "durable ", 20);
        scribble(&partition, "written ", 20);
        copy(&path, &killed);
        let log = partition.segments()[0].path.strip_prefix(&path).expect("lies there").to_path_buf();
        let log = killed.join(log);
        let mut bytes = std::fs::read(&log).expect("reads");
        let last = bytes.iter().rposition(|&byte| byte != 0).expect("holds something");
        bytes[last] ^= 1;
        std::fs::write(&log, bytes).expect("writes");
        let store = open(&killed);
        let partition = store.topic(&"n".repeat(200)).and_then(|topic| topic.partition(0)).expect("recovers");
        assert_eq!(partition.end(), Offset::new(39));
        let kept = std::fs::read_dir(killed.join("quarantine")).expect("lists").next().expect("is kept");
        let (kept, number) = (kept.expect("is kept").file_name(), topic.epoch().number);
        assert!(kept.to_string_lossy().contains(&format!("nnn@{number}-0-")), "{kept:?}");
    });
}
