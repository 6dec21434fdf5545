//! What the table of damage found, each as small as it gets.

use epochlog::testing::Image;
use epochlog::{Corruption, Damage, Error, Mapping, Offset, OnDamage, Position, Remedy, Start, StoreOptions};

use crate::repair;
use crate::support::*;

const LOG: &str = "topics/orders@1/0/00000000000000000000@2.log";
const HISTORY: &str = "topics/orders@1/0/history";
const COMMITS: &str = "topics/orders@1/commits";

/// Killed with so many records in one segment, all of them durable.
fn killed(mapping: Mapping, records: u64) -> World {
    let mut world = world(mapping);
    fill(&world.partition(), "v", records);
    world.go_down(Image::after_kill);
    world
}

#[track_caller]
fn corruption(error: Error) -> Corruption {
    let Error::Corrupt(corruption) = error else { panic!("is no damage: {error}") };
    *corruption
}

/// The last byte of a file that isn't zero.
fn last_byte(world: &World, path: &str) -> u64 {
    world.disk.read(path).iter().rposition(|&byte| byte != 0).expect("holds something") as u64
}

#[test]
fn a_partition_that_cannot_be_recovered_keeps_no_other_of_its_topic_closed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = world.store().create_topic("orders", small().partitions(2)).expect("creates");
        for number in 0..2 {
            fill(&orders.partition(number).expect("is there"), "v", 3);
        }
        drop(orders);
        world.go_down(Image::after_kill);
        world.disk.flip(HISTORY, 100 * 8);
        world.open();
        let orders = world.store().topic("orders").expect("opens");
        assert!(corruption(refused(orders.partition(0))).path.ends_with(HISTORY));
        assert_eq!(all(&orders.partition(1).expect("opens")), numbered("v", 0..3));
        assert_eq!(world.store().recovery().failed.len(), 1);
    });
}

#[test]
fn a_damaged_header_of_a_tail_costs_nothing_that_was_synced() {
    both_ways(|mapping| {
        let mut world = killed(mapping, 20);
        let before = world.disk.read(LOG);
        world.disk.flip(LOG, 40 * 8);
        world.open();
        let found = corruption(refused(world.topic("orders").partition(0)));
        assert_eq!((found.what, found.position.map(Position::get)), ("segment header", Some(0)));
        world.close();
        world.disk.write(LOG, before);
        world.open();
        assert_eq!(all(&world.partition()), numbered("v", 0..20));
    });
}

#[test]
fn a_history_that_lost_the_line_of_a_durable_segment_is_not_believed() {
    both_ways(|mapping| {
        let mut world = killed(mapping, 20);
        world.disk.flip(HISTORY, last_byte(&world, HISTORY) * 8);
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let unread = corruption(refused(reading.topic("orders").expect("opens").partition(0)));
        world.open();
        let found = corruption(refused(world.topic("orders").partition(0)));
        assert_eq!(found, unread);
        assert_eq!((found.what, &found.damage), ("history entry", &Damage::Missing));
        assert_eq!(found.offsets, Some(Offset::ZERO..Offset::new(19)));
        assert!(world.disk.files().iter().any(|path| path.ends_with(LOG)), "the segment stays");
    });
}

#[test]
fn an_older_history_beside_newer_segments_is_not_believed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "old", 3);
        world.close();
        let older = world.disk.read(HISTORY);
        world.open();
        fill(&world.partition(), "new", 3);
        world.close();
        world.disk.write(HISTORY, older);
        world.open();
        let found = corruption(refused(world.topic("orders").partition(0)));
        assert_eq!(found.offsets, Some(Offset::new(3)..Offset::new(5)));
        world.close();
        let report = repair::plan(&world, OnDamage::Keep).apply().expect("repairs");
        assert_eq!(repair::told(&report), [(Remedy::Rebuild, None)]);
        world.open();
        assert_eq!(all(&world.partition()), [numbered("old", 0..3), numbered("new", 3..6)].concat());
        repair::is_verified(&world);
    });
}

#[test]
fn a_damaged_last_commit_of_a_closed_store_is_named() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        let before = last_byte(&world, COMMITS);
        consumer.commit().expect("commits");
        drop(consumer);
        world.close();
        world.disk.flip(COMMITS, (before + 20) * 8);
        world.open();
        assert!(corruption(refused(world.topic("orders").group("billing"))).path.ends_with(COMMITS));
    });
}

#[test]
fn closing_without_a_commit_adds_nothing_to_the_commits() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.topic("orders").consumer("billing").open().expect("opens").poll(AT_ONCE).expect("polls");
        world.close();
        let once = world.disk.read(COMMITS);
        world.open();
        world.topic("orders").groups().expect("reads");
        world.close();
        assert_eq!(world.disk.read(COMMITS), once);
    });
}

#[test]
fn who_reads_what_a_killed_writer_left_goes_around_damage_and_is_told() {
    both_ways(|mapping| {
        let world = killed(mapping, 20);
        world.disk.flip(LOG, (96 + 46 + 3) * 8);
        let store = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let partition = store.topic("orders").expect("opens").partition(0).expect("opens");
        let mut reader = partition.read_from(Start::Earliest).expect("begins");
        assert_eq!(corruption(refused(reader.read())).offsets, Some(Offset::ZERO..Offset::new(1)));
        reader.seek(Start::At(Offset::new(1))).expect("goes on");
        assert_eq!(drain(&mut reader), numbered("v", 1..20));
    });
}

#[test]
fn a_damaged_segment_names_the_offsets_it_costs_and_none_that_a_later_one_holds() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        world.partition().truncate(Offset::new(5)).expect("truncates");
        fill(&world.partition(), "w", 3);
        world.close();
        world.disk.flip(LOG, 0);
        world.open();
        let mut reader = world.partition().read_from(Start::Earliest).expect("begins");
        assert_eq!(corruption(refused(reader.read())).offsets, Some(Offset::ZERO..Offset::new(5)));
        reader.seek(Start::At(Offset::new(5))).expect("goes on");
        assert_eq!(drain(&mut reader), numbered("w", 5..8));
    });
}

#[test]
fn a_store_that_lost_its_file_is_never_taken_for_one_that_is_to_be_created() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 3);
        world.close();
        world.disk.remove("STORE");
        for open in
            [StoreOptions::open, StoreOptions::create, StoreOptions::open_or_create, StoreOptions::open_read_only]
        {
            let error = refused_untouched(&world.disk, || open(options(&world.disk, mapping), "/sim"));
            let found = corruption(error);
            assert_eq!((found.damage, found.what), (Damage::Missing, "store file"));
        }
    });
}

#[test]
fn a_segment_that_was_cut_costs_only_what_was_cut_off() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        world.close();
        let whole = world.disk.read(LOG).len();
        for short in [1, 20, 48] {
            world.disk.truncate(LOG, whole - short);
            let store = options(&world.disk, mapping).open("/sim").expect("opens");
            let partition = store.topic("orders").expect("opens").partition(0).expect("opens");
            let mut reader = partition.read_from(Start::Earliest).expect("begins");
            assert_eq!(values(&reader.read().expect("reads")), numbered("v", 0..9));
            let found = corruption(refused(reader.read()));
            assert_eq!(found.offsets, Some(Offset::new(9)..Offset::new(10)));
            assert!(matches!(found.damage, Damage::Short { .. }), "{found}");
            assert_eq!(found, corruption(refused(partition.get(Offset::new(9)))));
            store.close().expect("closes");
        }
    });
}

#[test]
fn a_clean_close_that_tells_of_a_record_that_is_not_there_is_not_believed() {
    both_ways(|mapping| {
        let mut world = repair::at_rest(mapping);
        let (history, last) = (world.disk.read(repair::HISTORY), repair::RECORDS as u8);
        // The last line, which says so: its header, then the type, the length and the offset.
        let end = history.iter().rposition(|&byte| byte != 0).expect("has lines");
        let line = (0..end).rfind(|&at| history[at + 13..at + 16] == [5, 8, last]).expect("was closed");
        super::versions::change_thing(&world.disk, repair::HISTORY.as_ref(), line, 15, last + 1, 23);
        world.open();
        assert!(matches!(refused(world.topic_or_error()), Error::Corrupt(_)));
        world.close();
        let report = repair::repair(&mut world, OnDamage::Keep);
        let cut = Remedy::Cut { at: Offset::new(repair::RECORDS) };
        assert_eq!(repair::told(&report), [(cut, Some((repair::RECORDS, repair::RECORDS + 1)))]);
        repair::goes_on_at(&world, &world.partition(), repair::RECORDS, "healed");
    });
}

#[test]
fn the_last_of_the_compacted_commits_is_named_when_it_is_damaged() {
    let mut world = world(Mapping::Auto);
    fill(&world.partition(), "v", 80);
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    for n in 0..70 {
        consumer.seek(0, Start::At(Offset::new(n))).expect("seeks");
        consumer.commit_with_metadata(&[7; 4000]).expect("commits");
    }
    drop(consumer);
    world.store().maintain().expect("compacts");
    assert!(world.disk.read(COMMITS).len() < 100_000, "only the last one counts");
    world.close();
    world.disk.flip(COMMITS, 2000 * 8);
    world.open();
    assert!(corruption(refused(world.topic("orders").group("billing"))).path.ends_with(COMMITS));
}
