//! Crashes within a repair, at every operation of it: planned again, and done again, it comes to the same (P10), and the
//! original bytes are in the store at every moment (P9).

use std::sync::Arc;

use epochlog::testing::{Image, Loss, SimDisk};
use epochlog::{Mapping, OnDamage};
use parking_lot::Mutex;

use crate::repair::{HISTORY, at_rest, damage, killed, others_are_whole, segments};
use crate::support::*;

/// What repair is to put right.
struct Harm {
    name: &'static str,
    on_damage: OnDamage,
    /// The harmed world, and a file of it whose harmed bytes are to be kept, from a position on.
    make: fn(Mapping) -> (World, String, usize),
}

const HARMS: [Harm; 9] = [
    Harm {
        name: "tail",
        on_damage: OnDamage::Keep,
        make: |mapping| {
            let world = killed(mapping);
            let (path, base) = segments(&world).pop().expect("is there");
            let position = crate::repair::position_of(&world, &path, base, base + 2);
            damage(&world, base + 2);
            (world, path, position)
        },
    },
    Harm {
        name: "header",
        on_damage: OnDamage::Keep,
        make: |mapping| {
            let world = at_rest(mapping);
            let path = segments(&world)[1].0.clone();
            world.disk.flip(&path, 40 * 8);
            (world, path, 0)
        },
    },
    Harm {
        name: "foreign and cut",
        on_damage: OnDamage::Cut,
        make: |mapping| {
            let world = at_rest(mapping);
            let path = segments(&world)[1].0.clone();
            world.disk.copy("topics/audit@3/0/00000000000000000000@4.log", &path);
            (world, path, 0)
        },
    },
    Harm {
        name: "batch and cut",
        on_damage: OnDamage::Cut,
        make: |mapping| {
            let world = at_rest(mapping);
            let path = damage(&world, 100);
            let base = path[path.len() - 26..path.len() - 6].parse().expect("is a number");
            let position = crate::repair::position_of(&world, &path, base, 100);
            (world, path, position)
        },
    },
    Harm {
        name: "batch and trim",
        on_damage: OnDamage::Trim,
        make: |mapping| {
            let world = at_rest(mapping);
            let path = segments(&world)[0].0.clone();
            damage(&world, 100);
            (world, path, 0)
        },
    },
    Harm {
        name: "history",
        on_damage: OnDamage::Keep,
        make: |mapping| {
            let world = killed(mapping);
            world.disk.flip(HISTORY, 120 * 8);
            (world, HISTORY.into(), 0)
        },
    },
    Harm {
        name: "history and a file that is no segment",
        on_damage: OnDamage::Keep,
        make: |mapping| {
            let world = at_rest(mapping);
            world.disk.remove(HISTORY);
            let path = "topics/orders@1/0/00000000000000000010@900.log";
            world.disk.write(path, vec![7; 500]);
            (world, path.into(), 0)
        },
    },
    Harm {
        name: "commits and header",
        on_damage: OnDamage::Keep,
        make: |mapping| {
            let world = at_rest(mapping);
            world.disk.flip("topics/orders@1/commits", 20 * 8);
            world.disk.flip("topics/orders@1/topic", 110 * 8);
            (world, "topics/orders@1/topic".into(), 0)
        },
    },
    Harm {
        name: "store and history",
        on_damage: OnDamage::Keep,
        make: |mapping| {
            let world = at_rest(mapping);
            world.disk.flip("STORE", 20 * 8);
            world.disk.flip(HISTORY, 20 * 8);
            (world, "STORE".into(), 0)
        },
    },
];

/// The disk before every operation of the repair, and after it.
fn film(disk: &SimDisk, mapping: Mapping, on_damage: OnDamage) -> Vec<Image> {
    let repair = options(disk, mapping).repair("/sim", on_damage).expect("plans");
    let shots: Arc<Mutex<Vec<Image>>> = Arc::default();
    let taken = shots.clone();
    disk.on_operation(Box::new(move |operation| taken.lock().push(operation.image())));
    repair.apply().expect("repairs");
    disk.on_operation(Box::new(|_| {}));
    let mut shots = std::mem::take(&mut *shots.lock());
    shots.push(disk.image());
    shots
}

/// What is seen of the store: the records, the ends, and why each epoch began.
type Seen = (Vec<String>, u64, Vec<(u64, &'static str)>, Vec<(String, u64)>);

fn look(world: &World) -> Seen {
    let orders = world.partition();
    let mut reader = orders.read_from(epochlog::Start::Earliest).expect("begins");
    let records = drain(&mut reader);
    let lineage = orders.lineage().iter().map(|epoch| (epoch.start.get(), epoch.reason)).collect();
    let groups = world.topic("orders").groups().expect("lists");
    let places = groups.iter().map(|g| (g.group.to_string(), g.commits[0].place.next().get())).collect();
    (records, orders.end().get(), lineage, places)
}

/// Repairs what a crash left, and opens it.
fn finish(disk: SimDisk, mapping: Mapping, on_damage: OnDamage) -> (World, Seen) {
    options(&disk, mapping).repair("/sim", on_damage).expect("plans").apply().expect("repairs");
    let again = options(&disk, mapping).repair("/sim", on_damage).expect("plans");
    assert!(again.plan().is_empty(), "{}", again.plan());
    drop(again);
    let mut world = World::on(disk, mapping);
    world.open();
    others_are_whole(&world);
    let seen = look(&world);
    (world, seen)
}

fn holds(disk: &SimDisk, original: &[u8]) -> bool {
    tree(disk).values().flatten().any(|bytes| bytes.windows(original.len()).any(|part| part == original))
}

fn explore(mapping: Mapping) {
    let mut states = 0;
    for harm in &HARMS {
        let (world, path, position) = (harm.make)(mapping);
        let original = world.disk.read(&path);
        let end = original.iter().rposition(|&byte| byte != 0).expect("isn't empty") + 1;
        let original = &original[position..end];
        let (_, expected) = finish(world.disk.image().after(Loss::None), mapping, harm.on_damage);
        let shots = film(&world.disk, mapping, harm.on_damage);
        assert!(shots.len() > 20, "{}: {} moments", harm.name, shots.len());
        for (i, shot) in shots.iter().enumerate() {
            let pending = shot.pending().len();
            let units = (0..pending).flat_map(|unit| [Loss::Only(unit), Loss::AllBut(unit)]);
            for loss in [Loss::None, Loss::All].into_iter().chain(units) {
                let disk = shot.after(loss);
                let place = || format!("{} ({mapping:?}), moment {i}, {loss:?} of {:?}", harm.name, shot.pending());
                assert!(holds(&disk, original), "the original is gone: {}", place());
                let (world, seen) = finish(disk, mapping, harm.on_damage);
                assert_eq!(seen, expected, "{}", place());
                assert!(holds(&world.disk, original), "the original is gone afterwards: {}", place());
                states += 1;
            }
        }
    }
    println!("{states} states");
    assert!(states > 1000, "{states} states");
}

#[test]
fn every_crash_within_a_repair_of_a_mapped_store_leaves_the_old_state_or_the_repaired_one() {
    explore(Mapping::Auto);
}

#[test]
fn every_crash_within_a_repair_of_a_store_without_maps_leaves_the_old_state_or_the_repaired_one() {
    explore(Mapping::Never);
}

#[test]
fn every_error_within_a_repair_leaves_something_that_can_be_repaired() {
    both_ways(|mapping| {
        for harm in &HARMS {
            let (world, _, _) = (harm.make)(mapping);
            let expected = finish(world.disk.image().after(Loss::None), mapping, harm.on_damage).1;
            let count = film(&world.disk.image().after(Loss::None), mapping, harm.on_damage).len() as u64 - 1;
            for n in 1..=count {
                let disk = world.disk.image().after(Loss::None);
                let repair = options(&disk, mapping).repair("/sim", harm.on_damage).expect("plans");
                disk.fail(epochlog::testing::Fault::any().nth(n));
                let _failed_or_not = repair.apply();
                disk.heal();
                let (_, seen) = finish(disk, mapping, harm.on_damage);
                assert_eq!(seen, expected, "{}, operation {n}", harm.name);
            }
        }
    });
}
