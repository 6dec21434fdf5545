//! Files in a partition's directory that are no part of its log.

use epochlog::testing::{Fault, Image, SimDisk};
use epochlog::{Error, Mapping, Offset, TopicOptions};

use crate::support::*;

const DIR: &str = "topics/orders@1/0";

/// Ten durable records and a clean close, with a segment beside them that nobody names.
fn with_a_stray() -> (World, String) {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 10);
    world.close();
    let stray = format!("{DIR}/00000000000000000077@2.log");
    world.disk.write(&stray, vec![7; 500]);
    (world, stray)
}

#[test]
fn what_an_interruption_left_is_removed_and_what_is_no_file_is_not() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 10);
    world.close();
    let left = ["00000000000000000010@2.log.new", "00000000000000000077@2.index", "history.new"];
    for name in left {
        world.disk.write(format!("{DIR}/{name}"), vec![1; 10]);
    }
    let stranger = format!("{DIR}/somebody.else");
    world.disk.write(&stranger, vec![1; 10]);
    world.open();
    assert_eq!(all(&world.partition()), numbered("v", 0..10));
    let there = |name: &str| world.disk.files().iter().any(|file| file.ends_with(name));
    assert!(left.iter().all(|name| !there(name)), "{:?}", world.disk.files());
    assert!(there("somebody.else"));
}

#[test]
fn a_segment_that_cannot_be_looked_at_is_not_taken_for_gone() {
    // Once for what the history may have lost, once for what it never named; the partition is tried again when asked for.
    for looks in [[1, 3], [2, 4]] {
        let (mut world, stray) = with_a_stray();
        for look in looks {
            world.disk.fail(Fault::of("open").on(stray.as_str()).nth(look));
        }
        world.open();
        let error = refused(world.topic_or_error());
        assert!(matches!(error, Error::Io { operation: "open", .. }), "{looks:?}: {error:?}");
        world.disk.heal();
        world.reopen();
        assert_eq!(all(&world.partition()), numbered("v", 0..10));
        assert!(world.disk.files().iter().any(|file| file.starts_with("quarantine")));
    }
}

#[test]
fn a_segment_that_nobody_names_is_told_where_nothing_had_to_be_recovered() {
    let (mut world, stray) = with_a_stray();
    world.open();
    assert!(world.store().recovery().is_clean(), "nobody has used it yet");
    world.partition();
    let told = world.store().recovery();
    let [one] = &told.partitions[..] else { panic!("{told}") };
    let [finding] = &one.findings[..] else { panic!("{told}") };
    assert_eq!((finding.label, finding.cut_at, finding.cut_bytes), ("stray", Some(Offset::new(77)), 500));
    assert!(finding.path.ends_with(&stray), "{told}");
    let kept = finding.set_aside.clone().expect("is kept");
    assert!(world.disk.files().iter().any(|file| kept.ends_with(file)), "{told}");
    assert_eq!((one.end, told.needed), (Offset::new(10), false));
    world.reopen();
    world.partition();
    assert!(world.store().recovery().is_clean());
}

#[test]
fn a_segment_that_cannot_be_set_aside_is_told_of_and_tried_again() {
    let (mut world, stray) = with_a_stray();
    world.disk.fail(Fault::of("rename").on(stray.as_str()));
    world.open();
    for is_kept in [false, true] {
        assert_eq!(all(&world.partition()), numbered("v", 0..10));
        let told = world.store().recovery();
        let finding = &told.partitions[0].findings[0];
        assert_eq!(finding.set_aside.is_some(), is_kept, "{told}");
        let cut = if is_kept { (Some(Offset::new(77)), 500) } else { (None, 0) };
        assert_eq!(((finding.cut_at, finding.cut_bytes), told.has_cut()), (cut, is_kept), "{told}");
        assert_eq!(world.disk.files().iter().any(|file| file.ends_with(&stray)), !is_kept);
        world.reopen();
    }
}

#[test]
fn a_segment_that_was_set_aside_is_there_after_a_power_cut() {
    let (mut world, _) = with_a_stray();
    world.open();
    // A new segment makes the directory durable, and with it that the stray has left.
    fill(&world.partition(), "v", 1);
    world.power_cut();
    assert!(world.disk.files().iter().any(|file| file.starts_with("quarantine")), "{:?}", world.disk.files());
}

#[test]
fn a_segment_that_goes_while_it_is_looked_at_is_nobodys_error() {
    for look in [1, 2] {
        let (mut world, stray) = with_a_stray();
        let (disk, mut looks) = (world.disk.clone(), 0);
        world.disk.on_operation(Box::new(move |operation| {
            if operation.name == "open" && operation.path.to_string_lossy() == stray {
                looks += 1;
                if looks == look {
                    disk.remove(&stray);
                }
            }
        }));
        world.open();
        assert_eq!(all(&world.partition()), numbered("v", 0..10));
        assert_eq!(world.store().recovery().failed.len(), 0);
    }
}

/// A session that another copy of the store had: its segment says that its records were durable, but not here.
#[test]
fn a_segment_of_an_older_session_that_the_history_never_had_is_set_aside() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 10);
    world.close();
    let copy = world.disk.clone_synced();
    world.open();
    fill(&world.partition(), "v", 5);
    world.go_down(Image::after_kill);
    let name = |world: &World| {
        world
            .disk
            .files()
            .into_iter()
            .rfind(|file| file.starts_with(DIR) && file.extension().is_some_and(|end| end == "log"))
    };
    let stray = name(&world).expect("has segments");
    let bytes = world.disk.read(&stray);
    let mut other = World::on(copy, Mapping::Never);
    other.open();
    other.topic("audit");
    fill(&other.partition(), "w", 1);
    other.close();
    assert_ne!(name(&other), Some(stray.clone()), "the sessions have numbers of their own");
    other.disk.write(&stray, bytes);
    other.open();
    assert_eq!(all(&other.partition()).len(), 11);
    assert!(other.disk.files().iter().any(|file| file.starts_with("quarantine")));
}

#[test]
fn a_long_tail_is_copied_whole() {
    let mut world = world(Mapping::Never);
    let long = world.store().create_topic("long", TopicOptions::new()).expect("creates").partition(0).expect("opens");
    long.append("durable").expect("appends");
    let value = "v".repeat(10_000);
    (0..250).for_each(|_| _ = long.append_with(value.as_str(), written()).expect("appends"));
    drop(long);
    world.kill();
    let long = world.store().topic("long").expect("is there").partition(0).expect("opens");
    assert_eq!(long.end(), Offset::new(251));
    assert!(all(&long)[1..].iter().all(|read| *read == value));
}

#[test]
fn a_foreign_segment_behind_a_torn_one_is_met_before_anything_is_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let partition = world.partition();
        world.topic("others").append("elsewhere").expect("appends");
        while partition.segments().len() < 2 {
            scribble(&partition, "v", 1);
        }
        drop(partition);
        let [(first, _), (second, _)] = segments(&world).try_into().expect("there are two");
        world.go_down(Image::after_kill);
        tear(&world.disk, &first);
        let foreign = world.disk.read(last_segment(&world.disk, "topics/others@2/0"));
        world.disk.write(&second, foreign);
        let partition_of = |disk: &SimDisk| {
            let mut files = tree(disk);
            files.retain(|path, _| path.starts_with(DIR));
            files
        };
        let before = partition_of(&world.disk);
        world.open();
        let error = refused(world.topic_or_error());
        assert!(error.to_string().contains("belongs to"), "{error}");
        assert!(partition_of(&world.disk) == before, "something was changed");
    });
}
