//! The header of a topic beside the partitions that are there: one that is an older copy of itself hides none of them.

use std::path::Path;

use epochlog::testing::{Dir, Fault};
use epochlog::{Corruption, Error, Mapping, OnDamage, Remedy, Repair, inspect};

use crate::support::*;

const TOPIC: &str = "topics/orders@1/topic";

#[track_caller]
fn corruption(error: Error) -> Corruption {
    let Error::Corrupt(corruption) = error else { panic!("is no damage: {error}") };
    *corruption
}

fn plan(world: &World) -> Repair {
    options(&world.disk, world.mapping).repair("/sim", OnDamage::Keep).expect("plans")
}

/// The header of a topic as it was before its second and third partition were added, and none but the third held records.
fn behind_an_older_header(mapping: Mapping) -> World {
    let mut world = world(mapping);
    fill(&world.partition(), "v", 3);
    let older = world.disk.read(TOPIC);
    let orders = world.topic("orders");
    orders.add_partitions(3).expect("adds");
    fill(&orders.partition(2).expect("is there"), "w", 5);
    drop(orders);
    world.close();
    world.disk.write(TOPIC, older);
    world
}

#[test]
fn an_older_header_of_a_topic_hides_no_records_in_silence() {
    both_ways(|mapping| {
        let mut world = behind_an_older_header(mapping);
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let unread = corruption(refused(reading.topic("orders")));
        world.open();
        let found = corruption(refused(world.store().topic("orders")));
        assert_eq!(found, unread);
        let said = "corrupt topic header in `/sim/topics/orders@1/topic`: it counts 1 partitions, and segments are in `2`: \
                    it is an older copy";
        assert_eq!(found.to_string(), said);
        let verified = inspect::verify(world.store(), &mut |_| {}).expect("verifies");
        assert_eq!((verified.damage[0].corruption(), verified.damage.len()), (Some(&found), 1));
        assert_eq!((verified.partitions, verified.records), (3, 8), "what it hides is verified all the same");
    });
}

#[test]
fn a_header_that_is_an_older_copy_is_told_anew_with_all_partitions() {
    both_ways(|mapping| {
        let harms: [fn(&World); 2] = [|_| {}, |world| world.disk.flip(TOPIC, 20 * 8)];
        for harm in harms {
            let mut world = behind_an_older_header(mapping);
            harm(&world);
            let planned = plan(&world);
            let [step] = &planned.plan().steps[..] else { panic!("{}", planned.plan()) };
            assert_eq!(step.remedy, Remedy::Rebuild);
            assert_eq!(step.note.as_deref(), Some("3 partitions are there; its other options are whole"));
            planned.apply().expect("repairs");
            assert!(plan(&world).plan().steps.is_empty());
            world.open();
            let orders = world.store().topic("orders").expect("opens");
            assert_eq!((orders.partitions(), orders.options().get_segment_bytes_max()), (3, 4096));
            assert_eq!(all(&orders.partition(2).expect("opens")), numbered("w", 0..5));
            assert_eq!(all(&orders.partition(0).expect("opens")), numbered("v", 0..3));
        }
    });
}

#[test]
fn what_an_interrupted_addition_of_partitions_left_keeps_no_topic_closed() {
    let mut world = world(Mapping::Auto);
    fill(&world.partition(), "v", 3);
    // Nor can it be undone: as where the process ends.
    world.disk.fail(Fault::of("rename").on("topic.new"));
    world.disk.fail(Fault::of("remove_file").on("orders@1/2/").forever());
    refused(world.topic("orders").add_partitions(3));
    world.close();
    world.disk.heal();
    assert!(world.disk.files().iter().any(|path| path.starts_with("topics/orders@1/2")), "{:?}", world.disk.files());
    world.open();
    assert_eq!((world.topic("orders").partitions(), all(&world.partition())), (1, numbered("v", 0..3)));
    let found = inspect::verify(world.store(), &mut |_| {}).expect("verifies");
    assert!(found.is_clean(), "{:?}", found.damage);
}

#[test]
fn a_partition_that_is_taken_back_while_its_directory_is_looked_at_is_no_damage() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 3);
    let orders = world.topic("orders");
    world.disk.fail(Fault::of("rename").on("topic.new"));
    world.disk.fail(Fault::of("remove_file").on("orders@1/1/"));
    refused(orders.add_partitions(2));
    let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
    let disk = world.disk.clone();
    at_nth(&world.disk, 1, "list", "orders@1/1", move || {
        disk.remove("topics/orders@1/1/history");
        disk.remove_dir(Path::new("topics/orders@1/1")).expect("is empty");
    });
    assert_eq!(reading.topic("orders").expect("opens").partitions(), 1);
}

#[test]
fn a_partition_that_is_added_beside_a_reader_is_no_damage() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 3);
        for look in 1..=3 {
            let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
            let orders = world.topic("orders");
            let add = move || {
                let added = orders.partitions();
                orders.add_partitions(added + 1).expect("adds");
                fill(&orders.partition(added).expect("is there"), "w", 1);
            };
            // An open lists the topic's directory once, a verification some more often.
            at_nth(&world.disk, look, "list", "orders@1", add);
            if look == 1 {
                assert_eq!(reading.topic("orders").expect("opens").partitions(), 2);
            }
            let verified = inspect::verify(&reading, &mut |_| {}).expect("verifies");
            assert!(verified.is_clean(), "{:?}", verified.damage);
        }
    });
}

#[test]
fn what_a_header_does_not_count_is_looked_for_by_one_listing() {
    let mut world = world(Mapping::Auto);
    world.store().create_topic("orders", small().partitions(9)).expect("creates");
    world.reopen();
    let before = world.disk.count("list");
    world.store().topic("orders").expect("opens");
    assert_eq!(world.disk.count("list") - before, 1);
}
