//! Two copies of a store, both written, and files of one in the other: a repair goes by what most files of a topic tell, and
//! no file alone takes all records out of the log.

use epochlog::testing::SimDisk;
use epochlog::{Mapping, OnDamage, Remedy};

use crate::repair::{HISTORY, RECORDS, fill_busy, plan};
use crate::support::*;

const TOPIC: &str = "topics/orders@1/topic";
const COMMITS: &str = "topics/orders@1/commits";

/// What is done to a store, by the disk of another copy of it.
type Harm = fn(&World, &SimDisk);

/// Two copies that parted before their topics were created, and are at rest.
fn copies(mapping: Mapping) -> (World, SimDisk) {
    let mut world = world(mapping);
    world.close();
    let mut other = World::on(world.disk.clone_synced(), mapping);
    for copy in [&mut world, &mut other] {
        copy.open();
        fill_busy(copy);
        copy.close();
    }
    assert!(segments(&world).len() > 2 && world.disk.read(TOPIC) != other.disk.read(TOPIC));
    (world, other.disk)
}

fn take(world: &World, other: &SimDisk, path: &str) {
    world.disk.write(path, other.read(path));
}

#[test]
fn a_file_that_alone_is_of_another_copy_takes_no_record_along() {
    let harms: [(Harm, &[&str]); 8] = [
        (
            |world, other| {
                take(world, other, TOPIC);
                [COMMITS, HISTORY].iter().for_each(|path| world.disk.flip(path, 20 * 8));
            },
            &[TOPIC, COMMITS, HISTORY],
        ),
        (|world, other| take(world, other, TOPIC), &[TOPIC]),
        (|world, other| take(world, other, COMMITS), &[COMMITS]),
        (|world, other| take(world, other, HISTORY), &[HISTORY]),
        (
            |world, other| {
                take(world, other, TOPIC);
                world.disk.flip(COMMITS, 20 * 8);
            },
            &[TOPIC, COMMITS],
        ),
        (
            |world, other| {
                take(world, other, COMMITS);
                world.disk.flip(TOPIC, 20 * 8);
            },
            &[TOPIC, COMMITS],
        ),
        (
            |world, other| {
                take(world, other, COMMITS);
                world.disk.remove(TOPIC);
            },
            &[TOPIC, COMMITS],
        ),
        (
            |world, other| {
                take(world, other, HISTORY);
                world.disk.remove(TOPIC);
            },
            &[TOPIC, HISTORY],
        ),
    ];
    both_ways(|mapping| {
        for (harm, told_anew) in &harms {
            let (mut world, other) = copies(mapping);
            harm(&world, &other);
            let repair = plan(&world, OnDamage::Keep);
            let steps = &repair.plan().steps;
            assert!(steps.iter().all(|step| step.remedy == Remedy::Rebuild), "{}", repair.plan());
            let files: Vec<_> = steps.iter().flat_map(|step| &step.files).collect();
            assert!(files.iter().all(|file| told_anew.iter().any(|told| file.ends_with(told))), "{files:?}");
            assert_eq!(files.len(), told_anew.len(), "{files:?}");
            repair.apply().expect("repairs");
            assert!(plan(&world, OnDamage::Keep).plan().steps.is_empty());
            world.open();
            assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS));
        }
    });
}

/// Neither is there more to say for one than for the other.
#[test]
fn where_the_files_of_a_topic_disagree_nothing_is_moved_and_a_person_is_told() {
    let harms: [Harm; 2] = [
        |world, other| {
            take(world, other, TOPIC);
            take(world, other, COMMITS);
        },
        |world, other| {
            take(world, other, HISTORY);
            segments(world).iter().for_each(|(path, _)| world.disk.remove(path));
            world.disk.flip(COMMITS, 20 * 8);
        },
    ];
    both_ways(|mapping| {
        for harm in harms {
            let (world, other) = copies(mapping);
            harm(&world, &other);
            let repair = plan(&world, OnDamage::Keep);
            let [step] = &repair.plan().steps[..] else { panic!("{}", repair.plan()) };
            let Remedy::Refuse(way_out) = &step.remedy else { panic!("{}", repair.plan()) };
            let told = "move those of another copy of the store out of it, and repair again; or restore the directory";
            assert_eq!(way_out, told);
            let problem = step.problem.to_string();
            let story =
                "corrupt topic directory in `/sim/topics/orders@1`: its files tell of several creation epochs: 1.";
            assert!(problem.starts_with(story), "{problem}");
            assert!([", 1.", " in `topic`", " in `0/history`"].iter().all(|part| problem.contains(part)));
        }
    });
}

/// The way out that is told is one.
#[test]
fn what_a_person_moves_out_of_the_store_decides_it() {
    let (mut world, other) = copies(Mapping::Auto);
    for path in [TOPIC, COMMITS] {
        take(&world, &other, path);
    }
    [TOPIC, COMMITS].iter().for_each(|path| world.disk.remove(path));
    plan(&world, OnDamage::Keep).apply().expect("repairs");
    world.open();
    assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS));
}
