//! A disk without a free page: what works by the reserve, that appends don't take it, and that it comes back. P12 and F9
//! of `faults.md`; `faults::full_disk` fills the disk at every page, `full_disk_crashes` cuts the power meanwhile.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use epochlog::testing::{Dir, Fault, Image, Pages, SimDisk};
use epochlog::{Consumer, Error, Mapping, Offset, Partition, Result, Start, Store, StoreOptions, Topic, TopicOptions};

use crate::support::*;

pub const RESERVE: &str = "RESERVE";
pub const RESERVE_BYTES: u64 = 256 << 10;
const RECORDS: u64 = 1100;

/// A store with a topic of one large segment, so that trimming it gives no room back.
pub struct Disk {
    pub disk: SimDisk,
    mapping: Mapping,
    reserve_bytes: u64,
    store: Option<Store>,
    /// Whether the reserve was given back since the disk was filled up.
    given: Arc<AtomicBool>,
}

impl Disk {
    pub fn new(mapping: Mapping, reserve_bytes: u64) -> Disk {
        let mut disk = Disk { disk: SimDisk::new(7), mapping, reserve_bytes, store: None, given: Arc::default() };
        disk.store = Some(disk.options().create("/sim").expect("creates"));
        disk.store().create_topic("orders", TopicOptions::new()).expect("creates");
        disk.store().create_topic("other", TopicOptions::new()).expect("creates");
        scribble(&disk.partition(), "v", RECORDS);
        disk.partition().sync().expect("syncs");
        disk
    }

    pub fn options(&self) -> StoreOptions {
        options(&self.disk, self.mapping).reserve_bytes(self.reserve_bytes)
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("is open")
    }

    pub fn topic(&self) -> Topic {
        self.store().topic("orders").expect("is there")
    }

    pub fn partition(&self) -> Partition {
        self.topic().partition(0).expect("is there")
    }

    fn consumer(&self) -> Consumer {
        self.topic().consumer("billing").open().expect("opens")
    }

    fn has_reserve(&self) -> bool {
        self.disk.files().iter().any(|path| path == Path::new(RESERVE))
    }

    pub fn close(&mut self) -> Result<()> {
        self.store.take().map_or(Ok(()), Store::close)
    }

    pub fn open(&mut self) -> Result<()> {
        self.store = Some(self.options().open("/sim")?);
        Ok(())
    }

    fn go_down(&mut self) {
        let image = self.disk.image();
        self.disk.stop_after(0);
        drop(self.store.take());
        self.disk = image.after_kill();
    }

    /// Somebody else takes every page that is free, and so a new name finds no room either.
    pub fn fill_up(&self) {
        self.make_room();
        let pages = |path: &PathBuf| (self.disk.read(path).len() as u64).div_ceil(4096);
        let used: u64 = self.disk.files().iter().map(pages).sum();
        self.disk.set_capacity(Some(used * 4096));
        self.disk.set_names_need_room(true);
        if let Ok(rest) = self.disk.create(Path::new("rest")) {
            let _taken = (1..).try_for_each(|pages| rest.reserve(pages * 4096));
        }
        let given = self.given.clone();
        self.disk.on_operation(Box::new(move |operation| {
            if operation.name == "remove_file" && operation.path == Path::new(RESERVE) {
                given.store(true, Ordering::Relaxed);
            }
        }));
    }

    pub fn make_room(&self) {
        self.disk.set_capacity(None);
        self.disk.set_names_need_room(false);
        let _was_there = self.disk.remove_file(Path::new("rest"));
    }
}

type Call = fn(&mut Disk) -> Result<()>;

/// A close gives the unused end of a segment back; this one has none.
fn close(disk: &mut Disk) -> Result<()> {
    disk.close()?;
    disk.open()?;
    disk.fill_up();
    disk.close()
}

fn open(disk: &mut Disk) -> Result<()> {
    disk.close()?;
    disk.fill_up();
    disk.open()
}

fn recover(disk: &mut Disk) -> Result<()> {
    scribble(&disk.partition(), "v", 100);
    disk.go_down();
    disk.fill_up();
    disk.open()?;
    assert_eq!(all(&disk.partition()), numbered("v", 0..RECORDS + 100));
    disk.topic().partition(0)?.truncate(Offset::new(RECORDS))
}

fn commit(disk: &mut Disk) -> Result<()> {
    let (partition, mut consumer) = (disk.partition(), disk.consumer());
    disk.fill_up();
    (0..RECORDS).try_for_each(|n| consumer.commit_to(partition.place_at(Offset::new(n))?))
}

fn compact_commits(disk: &mut Disk) -> Result<()> {
    let mut consumer = disk.consumer();
    // One more would compact them itself.
    for n in 0..65 {
        consumer.seek(0, Start::At(Offset::new(n)))?;
        consumer.commit_with_metadata(&[7; 4000])?;
    }
    disk.fill_up();
    disk.store().maintain().map(drop)
}

fn trim(disk: &mut Disk) -> Result<()> {
    let partition = disk.partition();
    disk.fill_up();
    (1..RECORDS).try_for_each(|n| partition.trim(Offset::new(n)))
}

/// Every truncate begins an epoch: there are more of them than `STORE` has reserved numbers for.
fn truncate(disk: &mut Disk) -> Result<()> {
    let partition = disk.partition();
    partition.truncate(Offset::new(RECORDS - 1))?;
    disk.fill_up();
    (0..RECORDS - 1).rev().try_for_each(|n| partition.truncate(Offset::new(n)))
}

fn compact_history(disk: &mut Disk) -> Result<()> {
    let partition = disk.partition();
    scribble(&partition, "v", 3000);
    (1..3000).try_for_each(|n| partition.trim(Offset::new(n)))?;
    disk.fill_up();
    disk.store().maintain().map(drop)
}

fn delete(disk: &mut Disk) -> Result<()> {
    disk.fill_up();
    disk.store().delete_topic("other")
}

fn reopen_partition(disk: &mut Disk) -> Result<()> {
    let partition = disk.partition();
    disk.disk.fail(Fault::of("sync").on(".log").leaves(Pages::Clean));
    refused(partition.append(&format!("v{RECORDS}")));
    disk.fill_up();
    partition.reopen()?.expect("was latched");
    assert_eq!(all(&partition), numbered("v", 0..RECORDS + 1));
    Ok(())
}

fn reopen_commits(disk: &mut Disk) -> Result<()> {
    let (partition, mut consumer) = (disk.partition(), disk.consumer());
    disk.disk.fail(Fault::of("sync").on("commits"));
    refused(consumer.commit_to(partition.place_at(Offset::new(1))?));
    disk.fill_up();
    disk.topic().reopen().map(drop)
}

fn reopen_topic(disk: &mut Disk) -> Result<()> {
    disk.disk.fail(Fault::of("sync_dir").on("orders").nth(2));
    refused(disk.topic().add_partitions(2));
    disk.fill_up();
    disk.topic().reopen().map(drop)
}

const CALLS: [(&str, Call); 12] = [
    ("close", close),
    ("open", open),
    ("recover", recover),
    ("commit", commit),
    ("compact the commits", compact_commits),
    ("trim", trim),
    ("truncate", truncate),
    ("compact the history", compact_history),
    ("delete", delete),
    ("reopen a partition", reopen_partition),
    ("reopen the commits", reopen_commits),
    ("reopen a topic", reopen_topic),
];

#[test]
fn on_a_disk_without_a_free_page_everything_but_appends_works_by_the_reserve() {
    both_ways(|mapping| {
        for (name, call) in CALLS {
            let mut disk = Disk::new(mapping, RESERVE_BYTES);
            assert!(disk.has_reserve());
            if let Err(error) = call(&mut disk) {
                panic!("{name}: {error}, {:?}", std::error::Error::source(&error));
            }
            assert!(disk.given.load(Ordering::Relaxed), "{name} needed it");
        }
    });
}

#[test]
fn without_a_reserve_the_same_calls_want_room_and_succeed_once_there_is() {
    both_ways(|mapping| {
        for (name, call) in CALLS {
            let mut disk = Disk::new(mapping, 0);
            assert!(!disk.has_reserve());
            let error = refused(call(&mut disk));
            let is_rename = |error: &Error| matches!(error, Error::Io { operation: "rename", .. });
            assert!(matches!(error, Error::StorageFull { .. }) || is_rename(&error), "{name}: {error}");
            disk.make_room();
            disk.close().map_or_else(drop, drop);
            disk.open().expect("opens");
            fill(&disk.partition(), "v", 1);
        }
    });
}

#[test]
fn an_append_and_a_new_topic_never_take_the_reserve() {
    both_ways(|mapping| {
        let disk = Disk::new(mapping, RESERVE_BYTES);
        disk.fill_up();
        let other = disk.store().topic("other").expect("is there");
        assert!(matches!(refused(other.append("first")), Error::StorageFull { .. }));
        disk.make_room();
        let line = || Fault::of("write").on("history").kind(std::io::ErrorKind::StorageFull);
        disk.disk.fail(line());
        assert!(matches!(refused(other.append("first")), Error::StorageFull { .. }), "its epoch finds no room");
        let rolling = disk.store().create_topic("rolling", small()).expect("creates");
        rolling.append("first").expect("appends");
        disk.disk.fail(line());
        let rolled = (0..100).find_map(|_| rolling.append_with(&[b'v'; 900], written()).err());
        assert!(matches!(rolled, Some(Error::StorageFull { .. })), "its roll finds no room: {rolled:?}");
        disk.fill_up();
        let appended = (0..100_000).find_map(|_| disk.partition().append(&[b'v'; 100]).err());
        assert!(matches!(appended, Some(Error::StorageFull { .. })), "{appended:?}");
        assert!(matches!(refused(disk.store().create_topic("new", small())), Error::StorageFull { .. }));
        refused(disk.topic().add_partitions(2));
        assert!(disk.has_reserve());
    });
}

#[test]
fn the_reserve_comes_back_with_an_open_and_with_whatever_gives_room_back_once_there_is_room() {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, RESERVE_BYTES);
        let again: [Call; 5] = [
            |disk| disk.store().maintain().map(drop),
            |disk| disk.close().and_then(|()| disk.open()),
            |disk| disk.partition().trim(Offset::new(1)),
            |disk| disk.partition().truncate(Offset::new(RECORDS - 1)),
            |disk| disk.store().delete_topic("other"),
        ];
        for again in again {
            open(&mut disk).expect("opens");
            disk.fill_up();
            disk.store().maintain().expect("needs no room");
            assert!(!disk.has_reserve(), "it was given back, and there is no room");
            disk.make_room();
            again(&mut disk).expect("finds room");
            assert_eq!(disk.disk.read(RESERVE).len() as u64, RESERVE_BYTES);
        }
    });
}

#[test]
fn a_disk_that_fills_up_again_and_again_goes_on_without_a_reopen() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let options = TopicOptions::new().segment_bytes_max(32 << 10).retention_bytes(400 << 10);
        let topic = world.store().create_topic("orders", options).expect("creates");
        let (partition, mut consumer) =
            (topic.partition(0).expect("is there"), topic.consumer("g").open().expect("opens"));
        world.disk.set_capacity(Some(1 << 20));
        world.disk.set_names_need_room(true);
        let mut least = Offset::new(0);
        for round in 0..40 {
            scribble_until_full(&partition, round);
            assert!(partition.end() > least, "round {round}: appends go on");
            consumer.commit_to(partition.place_at(partition.end()).expect("is there")).expect("commits");
            if round % 2 == 0 {
                partition.trim(partition.end()).expect("trims");
            } else {
                world.store().maintain().expect("applies the limit by size");
            }
            least = partition.end();
            assert!(world.disk.files().iter().any(|path| path == Path::new(RESERVE)), "round {round}: it is back");
        }
        let held = all(&partition);
        world.kill();
        assert_eq!(all(&world.store().topic("orders").expect("is there").partition(0).expect("recovers")), held);
    });
}

fn scribble_until_full(partition: &Partition, round: u64) {
    let value = [b'v'; 900];
    for _ in 0..100_000 {
        let end = partition.end();
        match partition.append_with(&value, written()) {
            Ok(_) => {}
            Err(Error::StorageFull { .. }) => return assert_eq!(partition.end(), end, "undone"),
            Err(error) => panic!("round {round}: {error}"),
        }
        if end.get() % 400 == 399 && partition.bytes() > 700 << 10 {
            partition.sync().expect("syncs");
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_trim_that_finds_no_room_for_the_seals_that_it_needs_takes_the_reserve() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        scribble(&partition, "v", 200);
        world.disk.fail(Fault::of("write").on("history").kind(std::io::ErrorKind::StorageFull));
        partition.trim(Offset::new(150)).expect("trims");
        assert_eq!(all(&partition), numbered("v", 0..200)[150..]);
    });
}

#[test]
fn a_tail_larger_than_the_reserve_waits_for_room_and_takes_none_from_others() {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, RESERVE_BYTES);
        let other = |disk: &Disk| disk.store().topic("other").expect("is there").partition(0);
        scribble(&disk.partition(), "v", 9000);
        scribble(&other(&disk).expect("is there"), "w", 100);
        disk.go_down();
        tear(&disk.disk, last_segment(&disk.disk, "topics/orders@1/0"));
        disk.fill_up();
        disk.open().expect("opens");
        let told = disk.store().recovery();
        assert_eq!((told.failed.len(), told.has_cut()), (1, false), "{told}");
        assert_eq!(all(&other(&disk).expect("was recovered")), numbered("w", 0..100));
        let orders = disk.store().topic("orders").expect("is there");
        assert!(matches!(refused(orders.partition(0)), Error::StorageFull { .. }));
        disk.make_room();
        assert_eq!(all(&disk.partition()), numbered("v", 0..RECORDS + 8999));
        let told = disk.store().recovery();
        assert_eq!((told.failed.len(), told.has_cut()), (0, true), "{told}");
    });
}

/// Commits with metadata in so many groups, which all count.
fn commit_in_groups(topic: &Topic, groups: usize) {
    for n in 0..groups {
        let mut consumer = topic.consumer(&format!("g{n}")).open().expect("opens");
        consumer.seek(0, Start::Earliest).expect("seeks");
        consumer.commit_with_metadata(&[7; 4000]).expect("commits");
    }
}

/// What was to take the place of another file.
fn half_written(disk: &SimDisk) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "new")).collect()
}

#[test]
fn commits_longer_than_the_reserve_wait_for_room_and_take_none_from_others() {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, RESERVE_BYTES);
        commit_in_groups(&disk.topic(), 100);
        disk.go_down();
        disk.fill_up();
        disk.open().expect("opens");
        assert_eq!(disk.store().recovery().failed.len(), 1);
        assert!(half_written(&disk.disk).is_empty());
        let other = disk.store().topic("other").expect("is there");
        commit_in_groups(&other, 1);
        assert!(matches!(refused(disk.topic().groups()), Error::StorageFull { .. }));
        disk.partition().trim(Offset::new(1)).expect("trims");
        disk.make_room();
        assert_eq!(disk.topic().groups().expect("has room").len(), 100);
    });
}

#[test]
fn a_compaction_that_the_reserve_has_no_room_for_does_not_take_it() {
    both_ways(|mapping| {
        let disk = Disk::new(mapping, RESERVE_BYTES);
        (0..4).for_each(|_| commit_in_groups(&disk.topic(), 100));
        (0..20).for_each(|n| disk.topic().delete_group(&format!("g{n}")).expect("deletes"));
        disk.fill_up();
        assert!(matches!(refused(disk.store().maintain()), Error::StorageFull { .. }));
        assert!(!disk.given.load(Ordering::Relaxed));
        disk.make_room();
        let len = || disk.disk.read("topics/orders@1/commits").len();
        let before = len();
        disk.store().maintain().expect("has room");
        assert!(len() < before);
    });
}

#[test]
fn a_file_that_finds_no_room_to_take_anothers_place_gives_back_what_it_took() {
    let calls: [(&str, Call); 3] =
        [("commits.new", compact_commits), ("history.new", compact_history), ("STORE.new", close)];
    for (file, call) in calls {
        both_ways(|mapping| {
            let mut disk = Disk::new(mapping, RESERVE_BYTES);
            disk.disk.fail(Fault::of("write").on(file).kind(ErrorKind::StorageFull).forever());
            assert!(matches!(refused(call(&mut disk)), Error::StorageFull { .. }), "{file}");
            assert!(half_written(&disk.disk).is_empty(), "{file}");
        });
    }
}

#[test]
fn what_a_failed_sync_says_is_never_taken_for_a_full_disk() {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, RESERVE_BYTES);
        disk.close().expect("closes");
        disk.disk.fail(Fault::of("sync").on("STORE.new").kind(std::io::ErrorKind::StorageFull));
        assert!(matches!(refused(disk.open()), Error::Io { operation: "sync", .. }));
        assert!(disk.has_reserve());
    });
}

#[test]
fn a_reserve_of_another_size_or_none_or_a_directory_does_no_harm() {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, RESERVE_BYTES);
        for len in [0, 1, 4096, 100_000, RESERVE_BYTES - 1, RESERVE_BYTES, RESERVE_BYTES + 1, 1 << 20] {
            disk.close().expect("closes");
            disk.disk.write(RESERVE, vec![0xAB; len as usize]);
            disk.open().expect("opens");
            assert_eq!(disk.disk.read(RESERVE).len() as u64, RESERVE_BYTES);
        }
        disk.close().expect("closes");
        disk.disk.remove(RESERVE);
        disk.disk.create_dir(Path::new(RESERVE)).expect("takes its place");
        disk.open().expect("opens");
        disk.fill_up();
        assert!(matches!(refused(disk.close()), Error::StorageFull { .. }), "there is none to give back");
        disk.make_room();
        disk.open().expect("opens");
        assert_eq!(all(&disk.partition()), numbered("v", 0..RECORDS));
    });
}

#[test]
fn a_smaller_reserve_is_kept_where_there_is_no_room_for_more() {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, 16 << 10);
        disk.close().expect("closes");
        disk.fill_up();
        disk.reserve_bytes = RESERVE_BYTES;
        disk.open().expect("opens by the small one");
        assert!(!disk.has_reserve());
    });
}

#[test]
fn a_disk_that_reserves_no_blocks_and_a_store_that_wants_none_have_no_file() {
    both_ways(|mapping| {
        let disk = SimDisk::new(7);
        let has_reserve = || disk.files().iter().any(|path| path == Path::new(RESERVE));
        options(&disk, mapping).create("/sim").expect("creates").close().expect("closes");
        assert!(has_reserve());
        options(&disk, mapping).reserve_bytes(0).open("/sim").expect("opens").close().expect("closes");
        assert!(!has_reserve());
        disk.set_reserves(false);
        options(&disk, mapping).open("/sim").expect("opens").close().expect("closes");
        assert!(!has_reserve());
    });
}

#[test]
fn a_read_only_store_neither_makes_nor_removes_the_reserve() {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, RESERVE_BYTES);
        disk.close().expect("closes");
        disk.reserve_bytes = 0;
        disk.options().open_read_only("/sim").expect("opens").close().expect("closes");
        assert!(disk.has_reserve());
    });
}

#[test]
fn the_size_of_the_reserve_is_checked_before_anything_is_done() {
    for bytes in [1, (16 << 10) - 1, (1 << 30) + 1, u64::MAX] {
        let disk = SimDisk::new(7);
        let error = refused_untouched(&disk, || options(&disk, Mapping::Auto).reserve_bytes(bytes).create("/sim"));
        let given = format!("option `reserve_bytes` is invalid: {bytes} was given; allowed is 16384 to 1073741824");
        assert_eq!(error.to_string(), given);
    }
}

#[test]
fn partitions_that_could_not_be_added_leave_nothing_behind() {
    let faults = [
        ("create_dir", "orders@1/3", 1),
        ("create", "orders@1/3/history", 1),
        ("sync_dir", "orders@1/4", 1),
        // Behind those of the partitions: the topic's own.
        ("sync_dir", "orders@1", 5),
        ("write", "topic.new", 1),
        ("sync", "topic.new", 1),
        ("rename", "topic.new", 1),
    ];
    for (operation, on, nth) in faults {
        both_ways(|mapping| {
            let mut world = world(mapping);
            fill(&world.partition(), "v", 3);
            let orders = world.topic("orders");
            world.disk.fail(Fault::of(operation).on(on).nth(nth).kind(ErrorKind::StorageFull));
            refused_untouched(&world.disk, || orders.add_partitions(5));
            assert_eq!(orders.partitions(), 1);
            orders.reopen().expect("reopens");
            orders.add_partitions(3).expect("adds");
            drop(orders);
            world.power_cut();
            assert_eq!(world.topic("orders").partitions(), 3);
            assert_eq!(all(&world.partition()), numbered("v", 0..3));
        });
    }
}

#[test]
fn a_topic_whose_name_has_no_room_leaves_nothing_behind() {
    both_ways(|mapping| {
        let world = world(mapping);
        world.topic("orders");
        world.disk.fail(Fault::of("rename").on("parcels").kind(ErrorKind::StorageFull));
        let error = refused_untouched(&world.disk, || world.store().create_topic("parcels", small()));
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        world.topic("parcels");
    });
}

/// The disk before each of the operations that a call makes, and after the last.
pub fn film(disk: &mut Disk, call: impl FnOnce(&mut Disk)) -> Vec<(String, Image)> {
    let shots: Arc<Mutex<Vec<(String, Image)>>> = Arc::default();
    let taken = shots.clone();
    disk.disk.on_operation(Box::new(move |operation| {
        let story = format!("{} of `{}`", operation.name, operation.path.display());
        taken.lock().expect("one thread").push((story, operation.image()));
    }));
    call(disk);
    disk.disk.on_operation(Box::new(|_| {}));
    let mut shots = std::mem::take(&mut *shots.lock().expect("one thread"));
    shots.push(("end".into(), disk.disk.image()));
    shots
}
