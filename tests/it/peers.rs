//! What was reproduced in other engines, each a promise of ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use epochlog::testing::{Access, Clock, Dir, Fault, Image, Lie, SimDisk};
use epochlog::{
    Corruption, Damage, Error, Mapping, Offset, OnDamage, Partition, Record, Start, Store, StoreOptions, Timestamp,
    TopicOptions, inspect,
};

use crate::support::*;

/// The newest file whose path contains this text.
fn file(disk: &SimDisk, part_of_path: &str) -> PathBuf {
    let found = disk.files().into_iter().rfind(|path| path.to_string_lossy().contains(part_of_path));
    found.unwrap_or_else(|| panic!("no file like `{part_of_path}` in {:?}", disk.files()))
}

fn files(disk: &SimDisk, part_of_path: &str) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.to_string_lossy().contains(part_of_path)).collect()
}

fn reopened(world: &World) -> Partition {
    world.store().topic("orders").expect("is there").partition(0).expect("recovers")
}

/// Reads everything; goes on behind what is damaged, and gives the damage too.
fn all_around_damage(partition: &Partition) -> (Vec<String>, Vec<Corruption>) {
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    loop {
        match reader.read() {
            Ok(records) if records.is_empty() => return (good, bad),
            Ok(records) => good.extend(values(&records)),
            Err(Error::Corrupt(corruption)) => {
                let offsets = corruption.offsets.clone().expect("says what is lost");
                assert!(offsets.start < offsets.end, "{corruption}");
                reader.seek(Start::At(offsets.end)).expect("goes on behind it");
                bad.push(*corruption);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

// commitlog.

#[test]
fn zeros_are_never_records() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 18);
        world.go_down(Image::after_kill);
        let log = file(&world.disk, ".log");
        let good = world.disk.read(&log);
        for zeros in [1, 100, 4096, 100_000] {
            let mut bytes = good.clone();
            bytes.extend(vec![0; zeros]);
            world.disk.write(&log, bytes);
            world.open();
            assert_eq!(all(&reopened(&world)), numbered("v", 0..18));
            world.go_down(Image::after_kill);
            world.disk.write(&log, &good);
        }
    });
}

#[test]
fn a_tail_is_read_no_further_than_a_segment_can_be_long() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 3);
    scribble(&world.partition(), "v", 3);
    world.go_down(Image::after_kill);
    let log = file(&world.disk, ".log");
    let torn = world.disk.read(&log).windows(2).position(|bytes| bytes == b"v5").expect("is there");
    world.disk.flip(&log, torn as u64 * 8);
    world.disk.open(&log, Access::Write).and_then(|file| file.set_len(1 << 46)).expect("grows");
    // Who reads on until there is an end isn't waited for.
    world.disk.stop_after(world.disk.operations() + 100_000);
    let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
    let found = inspect::verify(&reading, &mut |_| {}).expect("verifies");
    assert!(found.damage.is_empty(), "{:?}", found.damage);
    world.open();
    assert_eq!(all(&reopened(&world)), numbered("v", 0..5));
}

#[test]
fn a_zeroed_tail_gives_no_phantoms() {
    both_ways(|mapping| {
        for from in [200, 300, 500, 700] {
            let mut world = world(mapping);
            scribble(&world.partition(), "v", 18);
            world.go_down(Image::after_kill);
            let log = file(&world.disk, ".log");
            let mut bytes = world.disk.read(&log);
            bytes[from..].fill(0);
            world.disk.write(&log, bytes);
            world.open();
            let found = all(&reopened(&world));
            assert!(found.len() < 18);
            assert_eq!(found, numbered("v", 0..found.len() as u64));
        }
    });
}

/// A few segments' worth of records with indexes that matter, each found by offset and by time.
const RECORDS: u64 = 700;

fn indexed(mapping: Mapping) -> World {
    let world = world(mapping);
    let options = TopicOptions::new().segment_bytes_max(16 << 10);
    let partition = world.store().create_topic("orders", options).expect("creates").partition(0).expect("is there");
    for n in 0..RECORDS {
        let value = format!("v{n}");
        let time = time_of(n);
        partition.append_with(Record::new(&value).timestamp(time).key(&[b'k'; 40]), written()).expect("appends");
    }
    assert!(partition.segments().len() > 3);
    world
}

fn time_of(n: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(n).expect("is small") * 10)
}

/// Looks records up by offset and by time all over the partition.
fn lookups_answer(partition: &Partition, context: &str) {
    for n in (0..RECORDS).step_by(71).chain([RECORDS - 1]) {
        let records = partition.get(Offset::new(n)).expect("reads");
        assert_eq!(values(&records), [format!("v{n}")], "{context}");
        assert_eq!(partition.offset_at(time_of(n)).expect("finds"), Offset::new(n), "{context}");
    }
}

fn with_index_harmed(mapping: Mapping, context: &str, harm: impl Fn(&SimDisk, &Path)) {
    let mut world = indexed(mapping);
    world.close();
    let good: Vec<(PathBuf, Vec<u8>)> =
        files(&world.disk, ".index").into_iter().map(|path| (path.clone(), world.disk.read(&path))).collect();
    good.iter().for_each(|(path, _)| harm(&world.disk, path));
    world.open();
    lookups_answer(&reopened(&world), context);
    world.close();
    for (path, _) in &good {
        assert!(world.disk.files().contains(path), "{context}: {} is there again", path.display());
    }
    world.open();
    lookups_answer(&reopened(&world), context);
}

#[test]
fn an_index_that_is_missing_short_odd_zeroed_or_foreign_changes_no_answer() {
    both_ways(|mapping| {
        with_index_harmed(mapping, "missing", |disk, path| disk.remove(path));
        with_index_harmed(mapping, "empty", |disk, path| disk.truncate(path, 0));
        with_index_harmed(mapping, "odd", |disk, path| disk.truncate(path, disk.read(path).len() - 7));
        with_index_harmed(mapping, "cut in its header", |disk, path| disk.truncate(path, 50));
        with_index_harmed(mapping, "zeroed", |disk, path| disk.write(path, vec![0; disk.read(path).len()]));
        with_index_harmed(mapping, "longer", |disk, path| disk.truncate(path, disk.read(path).len() + 4096));
        with_index_harmed(mapping, "foreign", |disk, path| disk.copy(file(disk, ".index"), path));
        with_index_harmed(mapping, "the log itself", |disk, path| disk.copy(path.with_extension("log"), path));
    });
}

#[test]
fn an_index_ahead_of_its_log_is_not_believed() {
    both_ways(|mapping| {
        // The log's tail is lost, the index isn't.
        let mut world = indexed(mapping);
        let index = file(&world.disk, ".index");
        let ahead = world.disk.read(&index);
        world.partition().sync().expect("syncs");
        scribble(&world.partition(), "w", 200);
        world.power_cut();
        world.close();
        world.disk.write(&index, ahead);
        world.open();
        lookups_answer(&reopened(&world), "ahead");
    });
}

#[test]
fn every_flipped_bit_of_an_index_changes_no_answer() {
    let mut world = indexed(Mapping::Never);
    world.close();
    let index = files(&world.disk, ".index").remove(0);
    let good = world.disk.read(&index);
    let mapped = world.disk.clone_synced();
    for (disk, mapping) in [(world.disk.clone(), Mapping::Never), (mapped, Mapping::Auto)] {
        let step = if mapping == Mapping::Auto { 5 } else { 1 };
        for bit in (0..good.len() as u64 * 8).step_by(step) {
            disk.write(&index, &good);
            disk.flip(&index, bit);
            let store = options(&disk, mapping).open_read_only("/sim").expect("opens");
            let partition = store.topic("orders").expect("is there").partition(0).expect("is there");
            let n = bit % 140;
            assert_eq!(values(&partition.get(Offset::new(n)).expect("reads")), [format!("v{n}")], "bit {bit}");
            assert_eq!(partition.offset_at(time_of(n)).expect("finds"), Offset::new(n), "bit {bit}");
        }
    }
}

/// One batch each, with an entry of the index each, in one segment.
fn spread(partition: &Partition, offsets: std::ops::Range<u64>) {
    for n in offsets {
        let value = format!("{n:05120}");
        partition.append(Record::new(&value).timestamp(time_of(n))).expect("appends");
    }
}

/// Where a value stands for the first time.
fn position(disk: &SimDisk, log: &Path, value: &str) -> usize {
    let bytes = disk.read(log);
    bytes.windows(value.len()).position(|bytes| bytes == value.as_bytes()).expect("is there")
}

/// Flips a bit in the header of one of the batches that are spread.
fn flip_header(disk: &SimDisk, log: &Path, nth: usize) {
    let begin = 96 + nth * (position(disk, log, "00002") - position(disk, log, "00001"));
    disk.flip(log, begin as u64 * 8);
}

fn spread_over_one(mapping: Mapping) -> (World, Partition) {
    let world = world(mapping);
    let partition = world.store().create_topic("orders", TopicOptions::new()).expect("creates").partition(0);
    (world, partition.expect("is there"))
}

#[test]
fn a_rebuilt_index_passes_over_no_damaged_batch() {
    both_ways(|mapping| {
        for stored in [true, false] {
            let (mut world, partition) = spread_over_one(mapping);
            spread(&partition, 0..8);
            drop(partition);
            world.close();
            let log = file(&world.disk, ".log");
            flip_header(&world.disk, &log, 3);
            if !stored {
                world.disk.remove(file(&world.disk, ".index"));
            }
            for _ in 0..2 {
                world.open();
                let partition = reopened(&world);
                // Without an entry of it, nobody knows what times are missing.
                for (n, found) in [(2, Ok(2)), (3, Err(3)), (6, if stored { Ok(6) } else { Err(3) })] {
                    let answer = partition.offset_at(time_of(n)).map(Offset::get);
                    let answer = answer.map_err(|error| match error {
                        Error::Corrupt(corruption) => corruption.offsets.expect("says what is lost").start.get(),
                        other => panic!("{other}"),
                    });
                    assert_eq!(answer, found, "time of {n}, the index was there: {stored}");
                }
                drop(partition);
                world.close();
            }
        }
    });
}

#[test]
fn a_segment_is_read_once_for_an_index_around_a_damaged_header() {
    both_ways(|mapping| {
        let (mut world, partition) = spread_over_one(mapping);
        spread(&partition, 0..3);
        // The first of these has the entry.
        (3..6).for_each(|n| _ = partition.append(Record::new("v").timestamp(time_of(n))).expect("appends"));
        let value = "v".repeat(5 << 10);
        (6..1600).for_each(|_| _ = partition.append_with(Record::new(&value), written()).expect("appends"));
        drop(partition);
        world.close();
        flip_header(&world.disk, &file(&world.disk, ".log"), 3);
        world.open();
        let partition = reopened(&world);
        let mut reader = partition.read_from(Start::At(Offset::new(3))).expect("begins");
        let mut look = |what: &str| match what {
            "read" => _ = refused(reader.read()),
            "get" => _ = refused(partition.get(Offset::new(3))),
            "get behind it" => assert_eq!(partition.get(Offset::new(5)).expect("reads").len(), 1),
            "offset_at" => _ = refused(partition.offset_at(time_of(3))),
            _ => {
                assert!(reader.skip_damaged().expect("goes on").is_some());
                reader.seek(Start::At(Offset::new(3))).expect("goes back");
            }
        };
        let once = world.disk.count("read");
        look("read");
        assert!(world.disk.count("read") - once >= 32);
        for what in ["read", "get", "get behind it", "offset_at", "skip_damaged"] {
            let before = world.disk.count("read");
            look(what);
            let reads = world.disk.count("read") - before;
            assert!(reads <= 8, "{what}: {reads}");
        }
    });
}

#[test]
fn damage_that_comes_later_takes_nothing_from_a_sound_index() {
    let (mut world, partition) = spread_over_one(Mapping::Never);
    spread(&partition, 0..8);
    drop(partition);
    world.close();
    let log = file(&world.disk, ".log");
    world.open();
    let partition = reopened(&world);
    for nth in [3, 5] {
        flip_header(&world.disk, &log, nth);
        assert!(matches!(refused(partition.get(Offset::new(nth as u64))), Error::Corrupt(_)));
        assert_eq!(partition.offset_at(time_of(7)).expect("finds"), Offset::new(7), "behind damage of {nth}");
    }
}

#[test]
fn a_lookup_by_time_passes_over_damage_below_the_start() {
    both_ways(|mapping| {
        for (stored, header) in [(true, true), (true, false), (false, true), (false, false)] {
            let (mut world, partition) = spread_over_one(mapping);
            spread(&partition, 0..8);
            drop(partition);
            world.close();
            let log = file(&world.disk, ".log");
            if header {
                flip_header(&world.disk, &log, 3);
            } else {
                world.disk.flip(&log, position(&world.disk, &log, "00003") as u64 * 8);
            }
            if !stored {
                world.disk.remove(file(&world.disk, ".index"));
            }
            world.open();
            let partition = reopened(&world);
            assert!(matches!(refused(partition.offset_at(time_of(3))), Error::Corrupt(_)));
            partition.trim(Offset::new(5)).expect("trims");
            for (n, found) in [(0, 5), (3, 5), (4, 5), (5, 5), (6, 6), (7, 7), (8, 8)] {
                let context = format!("time of {n}, stored: {stored}, header: {header}");
                assert_eq!(partition.offset_at(time_of(n)).expect("finds"), Offset::new(found), "{context}");
                let reader = partition.read_from(Start::Time(time_of(n))).expect("begins");
                assert_eq!(reader.place().next(), Offset::new(found), "{context}");
            }
        }
    });
}

#[test]
fn an_index_that_was_rebuilt_by_a_read_that_lied_is_not_kept() {
    both_ways(|mapping| {
        let (mut world, partition) = spread_over_one(mapping);
        spread(&partition, 0..3);
        let early = world.disk.image();
        spread(&partition, 3..90);
        drop(partition);
        world.close();
        let index = file(&world.disk, ".index");
        let whole = world.disk.read(&index);
        world.disk.remove(&index);
        let good = world.disk.clone_synced();
        for nth in 1..=8 {
            world.disk = good.clone_synced();
            world.open();
            world.disk.fail(Fault::of("read").on(".log").nth(nth).lies(Lie::Stale(early.clone())));
            let _any_answer = reopened(&world).offset_at(time_of(80));
            world.disk.heal();
            world.close();
            let is_whole = || world.disk.read(&index)[96..] == whole[96..];
            assert!(!world.disk.files().contains(&index) || is_whole(), "read {nth}");
            world.open();
            for n in [3, 80] {
                assert_eq!(reopened(&world).offset_at(time_of(n)).expect("finds"), Offset::new(n), "read {nth}");
            }
            world.close();
        }
    });
}

#[test]
fn an_index_that_ends_early_is_rebuilt_once_and_for_all() {
    let look_up = |partition: &Partition, time: Option<Timestamp>| match time {
        Some(time) => assert_eq!(partition.offset_at(time).expect("finds"), Offset::new(89)),
        None => assert_eq!(partition.get(Offset::new(89)).expect("reads").len(), 1),
    };
    both_ways(|mapping| {
        for by_time in [false, true] {
            let (mut world, partition) = spread_over_one(mapping);
            for _ in 0..90 {
                world.disk.clock().advance(std::time::Duration::from_secs(1));
                fill(&partition, &"v".repeat(5 << 10), 1);
            }
            let time = by_time.then(|| world.disk.clock().now());
            drop(partition);
            world.close();
            let index = file(&world.disk, ".index");
            let whole = world.disk.read(&index).len();
            world.disk.truncate(&index, 96 + 20);
            world.open();
            let partition = reopened(&world);
            look_up(&partition, time);
            let reads = |disk: &SimDisk| disk.count("read");
            let before = reads(&world.disk);
            look_up(&partition, time);
            assert!(reads(&world.disk) - before <= 3, "{}", reads(&world.disk) - before);
            assert_eq!(world.disk.read(&index).len(), whole);
            drop(partition);
            world.close();
        }
    });
}

#[test]
fn an_index_that_could_not_be_stored_leaves_no_part_of_it() {
    both_ways(|mapping| {
        let (mut world, partition) = spread_over_one(mapping);
        spread(&partition, 0..8);
        drop(partition);
        world.close();
        let index = file(&world.disk, ".index");
        world.disk.remove(&index);
        world.open();
        world.disk.fail(Fault::of("write").on(".index").partly(96 + 20));
        assert_eq!(reopened(&world).offset_at(time_of(7)).expect("finds"), Offset::new(7));
        assert!(!world.disk.files().contains(&index));
    });
}

#[test]
fn a_batch_that_cannot_fit_is_too_large_before_anything_is_written() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 1);
        let before = (world.disk.operations(), world.disk.read(file(&world.disk, ".log")));
        let large = vec![b'x'; 5 << 20];
        let error = refused(partition.append(&large));
        assert!(
            matches!(error, Error::TooLarge { what: "record", limit: 4000.., .. } | Error::TooLarge { .. }),
            "{error}"
        );
        let many = vec![Record::new("v"); 5000];
        assert!(matches!(refused(partition.append_batch(&many)), Error::TooLarge { what: "batch", .. }));
        assert_eq!((world.disk.operations(), world.disk.read(file(&world.disk, ".log"))), before);
        fill(&partition, "v", 1);
        assert_eq!(all(&partition), numbered("v", 0..2));
    });
}

#[test]
fn a_sync_syncs() {
    both_ways(|mapping| {
        let world = world(mapping);
        scribble(&world.partition(), "v", 3);
        for _ in 0..3 {
            let before = world.disk.count("sync");
            world.partition().sync().expect("syncs");
            let again = world.disk.count("sync");
            world.partition().sync().expect("has nothing to do");
            assert!(again > before && world.disk.count("sync") == again);
            scribble(&world.partition(), "v", 1);
        }
    });
}

// kafko.

#[test]
fn a_consumer_below_the_start_is_told_so_at_once() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 100);
        let mut consumer = partition.topic().consumer("billing").bytes_max(1).open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit().expect("commits");
        partition.trim(Offset::new(70)).expect("trims");
        let mut reader = partition.read_from(Start::Earliest).expect("begins");
        for round in 0..2 {
            let error = refused(consumer.poll(std::time::Duration::from_secs(3600)));
            assert!(matches!(error, Error::OffsetOutOfRange { partition: 0, .. }), "{round}: {error}");
            drop(consumer);
            consumer = partition.topic().consumer("billing").open().expect("opens");
        }
        consumer.seek(0, Start::Earliest).expect("seeks");
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", 70..100));
        partition.trim(Offset::new(80)).expect("trims");
        let error = refused(reader.poll(std::time::Duration::from_secs(3600)));
        assert!(matches!(error, Error::OffsetOutOfRange { .. }), "{error}");
    });
}

#[test]
fn a_flipped_bit_in_the_commits_never_restarts_a_group_in_silence() {
    let mut world = world(Mapping::Never);
    let partition = world.partition();
    for (group, count) in [("billing", 10), ("audit", 20), ("billing", 30)] {
        fill(&partition, "v", count);
        let mut consumer = partition.topic().consumer(group).open().expect("opens");
        while !consumer.poll(AT_ONCE).expect("polls").is_empty() {}
        consumer.commit().expect("commits");
    }
    world.close();
    let commits = file(&world.disk, "commits");
    let good = world.disk.read(&commits);
    let used = good.iter().rposition(|&byte| byte != 0).expect("holds commits") + 1;
    let mut refused_bits = 0;
    for bit in 0..used as u64 * 8 {
        world.disk.write(&commits, &good);
        world.disk.flip(&commits, bit);
        let store = options(&world.disk, Mapping::Never).open_read_only("/sim").expect("opens");
        match store.topic("orders").and_then(|topic| topic.group("audit")) {
            Ok(group) => assert_eq!(group.commits[0].place.next(), Offset::new(30), "bit {bit}"),
            Err(Error::Corrupt(corruption)) => {
                assert!(corruption.path.ends_with("commits") && corruption.position.is_some(), "{corruption}");
                refused_bits += 1;
            }
            Err(Error::UnsupportedVersion { .. }) => refused_bits += 1,
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    assert!(refused_bits > 500, "{refused_bits}");
    // A group whose commits are damaged can't poll; the records, and the other topics, can be read all the same.
    world.disk.write(&commits, &good);
    world.disk.flip(&commits, 8 * 100);
    world.open();
    let mut consumer = world.topic("orders").consumer("audit").open().expect("opens");
    assert!(matches!(refused(consumer.poll(AT_ONCE)), Error::Corrupt(_)));
    assert_eq!(all(&world.partition()).len(), 60);
}

// walrus-rust.

#[test]
fn a_bad_block_of_one_topic_hides_no_other() {
    both_ways(|mapping| {
        for part_of_path in [".log", "history", "commits", "topic"] {
            let mut world = world(mapping);
            for name in ["a", "b"] {
                fill(&world.topic(name).partition(0).expect("is there"), name, 100);
            }
            world.close();
            for path in files(&world.disk, "topics/a@")
                .into_iter()
                .filter(|path| path.to_string_lossy().ends_with(part_of_path))
            {
                let len = world.disk.read(&path).len();
                world.disk.write(&path, vec![0x5a; len]);
            }
            world.open();
            let b = world.store().topic("b").expect("is there").partition(0).expect("is there");
            assert_eq!(all(&b), numbered("b", 0..100), "{part_of_path}");
            fill(&b, "b", 1);
            world.kill();
            assert_eq!(all(&world.store().topic("b").expect("is there").partition(0).expect("is there")).len(), 101);
            world.store().delete_topic("a").expect("a damaged topic can be deleted");
        }
    });
}

/// A file system of this size for as long as this lives, where we may mount one.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(megabytes: u32) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().expect("makes a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Tmpfs(dir)),
            other => {
                eprintln!("SKIPPED: no tmpfs can be mounted here: {other:?}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _goes_with_the_machine = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn on_a_full_tmpfs_everything_acknowledged_is_readable() {
    both_ways(|mapping| {
        let Some(tmpfs) = Tmpfs::mount(6) else { return };
        let path = tmpfs.0.path().join("data");
        let store = StoreOptions::new().mapping(mapping).create(&path).expect("creates");
        let options = TopicOptions::new().segment_bytes_max(1 << 20);
        let partition = store.create_topic("orders", options).expect("creates").partition(0).expect("is there");
        let value = [b'v'; 10_000];
        let mut acknowledged = 0;
        let error = loop {
            match partition.append_with(&value, written()) {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::StorageFull { .. }), "{error}");
        assert!(acknowledged > 300, "{acknowledged}");
        assert_eq!(all(&partition).len(), acknowledged);
        partition.trim(Offset::new(200)).expect("trims");
        partition.append_with(&value, written()).expect("appends again");
        assert_eq!(all(&partition).len(), acknowledged + 1 - 200);
        store.close().expect("closes");
        let store = StoreOptions::new().mapping(mapping).open(&path).expect("opens");
        let partition = store.topic("orders").expect("is there").partition(0).expect("is there");
        assert_eq!(all(&partition).len(), acknowledged + 1 - 200);
    });
}

// wal-db, redb, SQLite.

#[test]
fn a_flipped_bit_in_the_middle_costs_exactly_its_batch() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let topic = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
        fill(&topic.partition(0).expect("is there"), "v", 100);
        drop(topic);
        world.close();
        let log = file(&world.disk, ".log");
        let good = world.disk.read(&log);
        for byte in (200..good.len() - 200).step_by(41) {
            world.disk.write(&log, &good);
            world.disk.flip(&log, byte as u64 * 8 + 3);
            world.open();
            let (found, damage) = all_around_damage(&reopened(&world));
            let [corruption] = &damage[..] else { panic!("byte {byte}: {damage:?}") };
            let offsets = corruption.offsets.clone().expect("says what is lost");
            assert_eq!(offsets.end, offsets.start.next(), "byte {byte}: one batch of one record");
            let mut expected = numbered("v", 0..100);
            expected.remove(usize::try_from(offsets.start.get()).expect("is small"));
            assert_eq!(found, expected, "byte {byte}");
            let position = corruption.position.expect("says where").get();
            assert!(position <= byte as u64 && byte as u64 - position < 100, "byte {byte}: {corruption}");
            assert!(corruption.path.ends_with(&log), "{corruption}");
            world.close();
        }
    });
}

#[test]
fn one_flipped_byte_never_makes_the_store_unopenable() {
    let mut world = world(Mapping::Never);
    for name in ["a", "b"] {
        fill(&world.topic(name).partition(0).expect("is there"), name, 20);
    }
    world.close();
    let untouched = world.disk.clone_synced();
    for path in files(&world.disk, "").into_iter().filter(|path| path.starts_with("topics")) {
        for byte in (0..untouched.read(&path).len() as u64).step_by(13).take(60) {
            let disk = untouched.clone_synced();
            disk.flip(&path, byte * 8);
            let store = options(&disk, Mapping::Never).open("/sim").expect("opens");
            let harmed = if path.starts_with("topics/a@1") { "a" } else { "b" };
            let other = if harmed == "a" { "b" } else { "a" };
            let partition = store.topic(other).expect("is there").partition(0).expect("is there");
            assert_eq!(all(&partition), numbered(other, 0..20), "{} byte {byte}", path.display());
            store.delete_topic(harmed).expect("deletes");
            assert_eq!(
                store.create_topic(harmed, small()).expect("creates").partition(0).expect("is there").end(),
                Offset::ZERO
            );
        }
    }
}

#[test]
fn a_second_writer_is_locked_out() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 5);
        let error = refused(options(&world.disk, mapping).open("/sim"));
        let Error::Locked { pid, .. } = error else { panic!("{error}") };
        assert_eq!(pid, Some(std::process::id()));
        assert!(matches!(
            refused(options(&world.disk, mapping).create("/sim")),
            Error::Locked { .. } | Error::StoreExists { .. }
        ));
        fill(&world.partition(), "v", 5);
        world.reopen();
        assert_eq!(all(&reopened(&world)), numbered("v", 0..10));
    });
}

#[test]
fn a_second_writer_on_a_real_disk_is_locked_out_until_the_first_closes() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    let first = Store::create(&path).expect("creates");
    let error = refused(Store::open(&path));
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    Store::open_read_only(&path).expect("reading needs no lock");
    first.close().expect("closes");
    Store::open(&path).expect("opens").close().expect("closes");
}

#[test]
fn a_second_writer_is_locked_out_also_where_somebody_removed_or_replaced_the_locks_file() {
    for replaced in [false, true] {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("data");
        let first = Store::create(&path).expect("creates");
        std::fs::remove_file(path.join("LOCK")).expect("removes");
        if replaced {
            std::fs::write(path.join("LOCK"), "").expect("writes");
        }
        assert!(matches!(refused(Store::open(&path)), Error::Locked { .. }));
        assert!(matches!(refused(StoreOptions::new().repair(&path, OnDamage::Keep)), Error::Locked { .. }));
        Store::open_read_only(&path).expect("reading needs no lock");
        first.close().expect("closes");
        Store::open(&path).expect("opens").close().expect("closes");
    }
}

// yaque, mrecordlog.

#[test]
fn a_torn_tail_never_glues_records_together() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        scribble(&world.partition(), "w", 10);
        world.go_down(Image::after_kill);
        let log = file(&world.disk, ".log");
        let good = world.disk.read(&log);
        let used = good.iter().rposition(|&byte| byte != 0).expect("holds records") + 1;
        let mut expected = numbered("v", 0..10);
        expected.extend(numbered("w", 10..20));
        let down = world.disk.clone_synced();
        for cut in (used - 500..used).step_by(3) {
            for zeroed in [false, true] {
                world.disk = down.clone_synced();
                world.disk.truncate(&log, cut);
                if zeroed {
                    world.disk.truncate(&log, good.len());
                }
                world.open();
                let partition = reopened(&world);
                let found = all(&partition);
                assert!(found.len() >= 10, "cut at {cut}: what was durable is there");
                assert_eq!(found, expected[..found.len()], "cut at {cut}");
                fill(&partition, "x", 1);
                assert_eq!(all(&partition).len(), found.len() + 1);
                drop(partition);
                world.close();
            }
        }
    });
}

#[test]
fn an_io_error_at_open_is_an_error_and_afterwards_nothing_is_lost() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 100);
        scribble(&world.partition(), "v", 10);
        world.go_down(Image::after_kill);
        let down = world.disk.clone_synced();
        let operations = {
            let disk = down.clone_synced();
            let store = options(&disk, mapping).open("/sim").expect("opens");
            let partition = store.topic("orders").expect("is there").partition(0).expect("is there");
            assert_eq!(all(&partition), numbered("v", 0..110));
            disk.operations()
        };
        for n in 1..=operations {
            for forever in [false, true] {
                let disk = down.clone_synced();
                let fault = Fault::any().nth(n);
                disk.fail(if forever { fault.forever() } else { fault });
                let read = options(&disk, mapping).open("/sim").and_then(|store| {
                    let partition = store.topic("orders")?.partition(0)?;
                    partition.read_from(Start::Earliest)?.read().map(|records| values(&records))
                });
                if let Ok(values) = read {
                    assert_eq!(values, numbered("v", 0..values.len() as u64), "operation {n}");
                }
                disk.heal();
                let store = options(&disk, mapping).open("/sim").expect("opens");
                let partition = store.topic("orders").expect("is there").partition(0).expect("is there");
                assert_eq!(all(&partition), numbered("v", 0..110), "operation {n}");
            }
        }
    });
}

// From the list of faults.

#[test]
fn reopening_in_a_loop_uses_no_more_of_the_disk() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 50);
        let used = |disk: &SimDisk| disk.files().iter().map(|path| disk.read(path).len()).sum::<usize>();
        world.reopen();
        let after_one = (used(&world.disk), world.disk.files().len());
        for _ in 0..20 {
            world.reopen();
            assert_eq!(all(&reopened(&world)).len(), 50);
        }
        assert_eq!((used(&world.disk), world.disk.files().len()), after_one);
        for _ in 0..20 {
            world.kill();
            assert_eq!(all(&reopened(&world)).len(), 50);
        }
        // The room in front of the history goes with the file.
        assert!(used(&world.disk) <= after_one.0 && world.disk.files().len() == after_one.1);
    });
}

#[test]
fn a_missing_middle_segment_is_named_and_the_rest_is_readable() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 300);
        world.close();
        let logs = files(&world.disk, ".log");
        world.disk.remove(&logs[1]);
        world.open();
        let error = refused(world.partition().get(world_second_base(&logs)));
        let Error::Corrupt(corruption) = &error else { panic!("{error}") };
        assert_eq!(corruption.damage, Damage::Missing);
        assert!(corruption.path.ends_with(&logs[1]), "{error}");
        assert_eq!(values(&world.partition().get(Offset::ZERO).expect("reads")), ["v0"]);
        assert_eq!(values(&world.partition().get(Offset::new(299)).expect("reads")), ["v299"]);
    });
}

/// The base offset in the name of the second segment.
fn world_second_base(logs: &[PathBuf]) -> Offset {
    let name = logs[1].file_name().expect("has a name").to_string_lossy().into_owned();
    name.split('@').next().expect("begins with its base").parse().expect("is a number")
}

#[test]
fn stale_but_valid_bytes_behind_a_cut_tail_are_not_read() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 20);
        scribble(&world.partition(), "old", 20);
        world.go_down(Image::after_kill);
        let log = file(&world.disk, ".log");
        let old = world.disk.read(&log);
        // The first unsynced batch is torn; those behind it are whole.
        let torn = old.windows(5).position(|bytes| bytes == b"old20").expect("is there");
        world.disk.flip(&log, torn as u64 * 8);
        world.open();
        assert_eq!(all(&reopened(&world)), numbered("v", 0..20));
        fill(&reopened(&world), "new", 1);
        world.kill();
        assert_eq!(all(&reopened(&world))[20..], ["new20"]);
    });
}

#[test]
fn valid_batches_of_another_segment_or_position_are_not_believed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let topic = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
        fill(&topic.partition(0).expect("is there"), "v", 100);
        drop(topic);
        world.close();
        let log = file(&world.disk, ".log");
        let good = world.disk.read(&log);
        let at = |value: &[u8]| good.windows(value.len()).position(|bytes| bytes == value).expect("is there");
        let (from, to) = (at(b"v50"), at(b"v60"));
        let len = at(b"v51") - from;
        let mut moved = good.clone();
        moved.copy_within(from - len..from + len, to - len);
        world.disk.write(&log, moved);
        world.open();
        let (found, damage) = all_around_damage(&reopened(&world));
        assert!(!damage.is_empty() && damage.len() <= 3);
        assert_eq!(found.iter().filter(|value| *value == "v50").count(), 1, "{found:?}");
        assert!(found.len() >= 97);
    });
}
