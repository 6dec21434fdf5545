//! What a recovery tells is what it did: the bytes it cut, and an epoch of its own exactly if records may have gone.

use epochlog::testing::{Fault, Image};
use epochlog::{Finding, Mapping, Offset, OnDamage, Partition};

use crate::repair::{self, HISTORY, segments};
use crate::support::*;

/// Ten records that are only written, and a kill. Not yet opened again.
fn killed() -> World {
    let mut world = world(Mapping::Never);
    scribble(&world.partition(), "v", 10);
    world.go_down(Image::after_kill);
    world
}

fn findings(world: &World) -> Vec<Finding> {
    let recovered = &world.store().recovery().partitions;
    recovered.iter().flat_map(|partition| partition.findings.clone()).collect()
}

fn reasons(partition: &Partition) -> Vec<&'static str> {
    partition.lineage().iter().map(|epoch| epoch.reason).collect()
}

#[test]
fn a_kill_that_cost_nothing_begins_no_epoch() {
    let mut world = killed();
    world.open();
    assert_eq!(all(&world.partition()), numbered("v", 0..10));
    assert_eq!(reasons(&world.partition()), ["created", "session"]);
}

#[test]
fn a_kill_behind_a_commit_that_cost_nothing_begins_no_epoch() {
    let mut world = world(Mapping::Never);
    scribble(&world.partition(), "v", 10);
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    while !consumer.poll(AT_ONCE).expect("polls").is_empty() {}
    consumer.commit().expect("commits");
    drop(consumer);
    world.kill();
    assert_eq!(reasons(&world.partition()), ["created", "session"]);
}

#[test]
fn a_reopen_that_cost_nothing_begins_no_epoch() {
    let world = world(Mapping::Never);
    scribble(&world.partition(), "v", 10);
    world.disk.fail(Fault::of("sync").on(".log"));
    world.partition().sync().expect_err("fails");
    world.partition().reopen().expect("reopens");
    assert_eq!(all(&world.partition()), numbered("v", 0..10));
    assert_eq!(reasons(&world.partition()), ["created", "session"]);
}

#[test]
fn a_torn_batch_is_cut_and_an_epoch_begins_that_says_so() {
    let mut world = killed();
    let (path, _) = segments(&world).pop().expect("has a segment");
    let last = repair::position_of(&world, &path, 0, 9);
    world.disk.flip(&path, (last as u64 + 46 + 2) * 8);
    world.open();
    let partition = world.partition();
    assert_eq!(all(&partition), numbered("v", 0..9));
    assert_eq!(reasons(&partition), ["created", "session", "healed"]);
    assert_eq!(partition.lineage()[2].start, Offset::new(9));
    let torn = findings(&world).into_iter().find(|finding| finding.cut_at.is_some()).expect("is found");
    assert_eq!((torn.cut_at, torn.cut_bytes), (Some(Offset::new(9)), 46 + 4));
    let kept = torn.set_aside.expect("is kept").to_string_lossy().into_owned();
    let name = path.strip_prefix("topics/").expect("lies there").replace('/', "-");
    assert_eq!(kept, format!("/sim/quarantine/{name}-from-{last}"));
    assert_eq!(world.disk.read(kept.trim_start_matches("/sim/")).len(), 46 + 4);
}

#[test]
fn what_is_taken_aside_under_a_name_that_is_taken_gets_a_number() {
    let mut world = repair::at_rest(Mapping::Never);
    for kept in ["orders@1-0-history", "orders@1-0-history-2", "orders@1-0-history-3"] {
        world.disk.flip(HISTORY, 100 * 8);
        let report = repair::repair(&mut world, OnDamage::Keep);
        let names: Vec<_> = report.quarantined.iter().map(|(_, kept)| kept.display().to_string()).collect();
        assert!(names.contains(&format!("/sim/quarantine/{kept}")), "{names:?}");
        world.close();
    }
}

#[test]
fn the_bytes_of_a_torn_line_are_counted() {
    let mut world = killed();
    let history = world.disk.read(HISTORY);
    let end = history.iter().rposition(|&byte| byte != 0).expect("has lines") + 1;
    world.disk.write(HISTORY, [&history[..end], &[9; 5]].concat());
    world.open();
    let torn = findings(&world).into_iter().find(|finding| finding.label == "history-torn").expect("is found");
    assert_eq!((torn.cut_bytes, torn.path.ends_with(HISTORY)), (5, true));
}

#[test]
fn a_file_of_which_nothing_stays_is_told_with_where_it_went() {
    let mut world = killed();
    let (path, _) = segments(&world).pop().expect("has a segment");
    world.disk.flip(&path, 40 * 8);
    let harmed = world.disk.read(&path);
    world.open();
    let gone = findings(&world).into_iter().find(|finding| finding.set_aside.is_some()).expect("is told");
    let end = harmed.iter().rposition(|&byte| byte != 0).expect("holds something") as u64 + 1;
    assert_eq!((gone.label, gone.cut_at, gone.cut_bytes), ("header-bad", Some(Offset::ZERO), end));
    let kept = gone.set_aside.expect("is kept");
    assert_eq!(world.disk.read(kept.strip_prefix("/sim").expect("lies in the store")), harmed);
}

#[test]
fn a_segment_of_which_only_a_torn_header_came_to_be_is_told_and_not_kept() {
    let mut world = killed();
    let (path, _) = segments(&world).pop().expect("has a segment");
    let mut torn = world.disk.read(&path);
    torn[48..].fill(0);
    world.disk.write(&path, torn);
    world.open();
    let told = findings(&world).into_iter().find(|finding| finding.label == "header-bad").expect("is told");
    assert_eq!((told.cut_at, told.cut_bytes, told.set_aside), (Some(Offset::ZERO), 48, None));
    assert!(world.disk.files().iter().all(|file| !file.starts_with("quarantine")));
}

#[test]
fn a_segment_of_which_nothing_came_to_be_is_not_told() {
    let world = killed();
    let (path, _) = segments(&world).pop().expect("has a segment");
    let len = world.disk.read(&path).len();
    for len in [len, 0] {
        world.disk.write(&path, vec![0; len]);
        let mut world = World::on(world.disk.clone_synced(), Mapping::Never);
        world.open();
        assert!(findings(&world).iter().all(|finding| !finding.path.ends_with(&path)), "{:?}", findings(&world));
        assert_eq!(world.partition().end(), Offset::ZERO);
    }
}

#[test]
fn room_behind_the_end_of_a_sealed_segment_is_given_back() {
    let mut world = repair::killed(Mapping::Never);
    let (path, _) = segments(&world).remove(0);
    let whole = world.disk.read(&path);
    world.disk.write(&path, [&whole[..], &[0; 9000]].concat());
    world.open();
    assert_eq!(world.disk.read(&path).len(), whole.len());
    assert_eq!(all(&world.partition()), numbered("v", 0..repair::RECORDS));
}

/// Three segments or more that are only written, and a kill.
fn several_written() -> World {
    let mut world = world(Mapping::Never);
    scribble(&world.partition(), "v", 200);
    world.go_down(Image::after_kill);
    assert!(segments(&world).len() > 2);
    world
}

fn finding_of(world: &World, path: &str) -> Finding {
    findings(world).into_iter().find(|finding| finding.path.ends_with(path)).expect("is told")
}

#[test]
fn every_segment_behind_a_cut_is_told_with_what_it_held() {
    let mut world = several_written();
    let all_segments = segments(&world);
    let (first, (last, base)) = (&all_segments[0].0, all_segments.last().expect("is there"));
    // The last one came no further than its header.
    let mut begun = world.disk.read(last);
    begun[96..].fill(0);
    world.disk.write(last, begun);
    world.disk.flip(first, (repair::position_of(&world, first, 0, 9) as u64 + 46 + 2) * 8);
    let second = world.disk.read(&all_segments[1].0);
    let end = second.iter().rposition(|&byte| byte != 0).expect("holds something") as u64 + 1;
    world.open();
    assert_eq!(world.partition().end(), Offset::new(9));
    let told = finding_of(&world, &all_segments[1].0);
    assert_eq!((told.cut_at, told.cut_bytes), (Some(Offset::new(all_segments[1].1)), end));
    assert!(told.set_aside.is_some());
    let told = finding_of(&world, last);
    assert_eq!((told.cut_at, told.cut_bytes, told.set_aside), (Some(Offset::new(*base)), 96, None));
}

#[test]
fn a_segment_that_the_power_took_from_between_two_is_told() {
    let mut world = several_written();
    let (second, base) = segments(&world)[1].clone();
    world.disk.remove(&second);
    world.open();
    let told = finding_of(&world, &second);
    assert_eq!((told.cut_at, told.cut_bytes, told.set_aside), (Some(Offset::new(base)), 0, None));
}
