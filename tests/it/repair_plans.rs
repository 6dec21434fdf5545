//! What a plan of a repair says, to the byte: how much is cut and from where it is kept, why something can't be read, and
//! nothing about what recovery does by itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use epochlog::testing::Fault;
use epochlog::{Error, Mapping, Offset, OnDamage, Remedy, RepairReport, Start, TopicOptions};

use crate::repair::{HISTORY, RECORDS, at_rest, damage, goes_on_at, killed, plan, position_of, repair, segments, told};
use crate::support::*;

const COMMITS: &str = "topics/orders@1/commits";

fn cut(at: u64) -> Remedy {
    Remedy::Cut { at: Offset::new(at) }
}

/// The names of what was kept, with the bytes.
fn kept(world: &World, report: &RepairReport) -> Vec<(String, Vec<u8>)> {
    let name = |path: &Path| path.strip_prefix("/sim/quarantine").expect("lies there").display().to_string();
    let bytes = |path: &Path| world.disk.read(path.strip_prefix("/sim").expect("lies in the store"));
    report.quarantined.iter().map(|(_, kept)| (name(kept), bytes(kept))).collect()
}

/// The bytes of a file from a position up to its last one that isn't zero.
fn tail(world: &World, path: &str, from: usize) -> Vec<u8> {
    let bytes = world.disk.read(path);
    let end = bytes.iter().rposition(|&byte| byte != 0).expect("holds something") + 1;
    bytes[from..end].to_vec()
}

/// The problem of the one step, in words.
fn problem(world: &World) -> String {
    let planned = plan(world, OnDamage::Keep);
    let [step] = &planned.plan().steps[..] else { panic!("{}", planned.plan()) };
    step.problem.to_string()
}

#[test]
fn a_cut_counts_and_keeps_just_what_lies_behind_it() {
    both_ways(|mapping| {
        let mut world = killed(mapping);
        let (path, base) = segments(&world).pop().expect("is there");
        damage(&world, base + 2);
        let from = position_of(&world, &path, base, base + 2);
        let expected = tail(&world, &path, from);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(report.plan.steps[0].bytes, expected.len() as u64);
        let plain = path.strip_prefix("topics/").expect("lies there").replace('/', "-");
        assert!(kept(&world, &report) == [(format!("{plain}-from-{from}"), expected)], "{:?}", report.quarantined);
    });
}

#[test]
fn a_cut_counts_the_later_segments_too() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        damage(&world, 50);
        let files = segments(&world);
        let k = files.iter().rposition(|(_, base)| *base <= 50).expect("holds it");
        assert!(k + 2 < files.len(), "several go as a whole");
        let from = position_of(&world, &files[k].0, files[k].1, 50);
        let mut bytes = tail(&world, &files[k].0, from).len();
        bytes += files[k + 1..].iter().map(|(path, _)| tail(&world, path, 0).len()).sum::<usize>();
        let report = repair(&mut world, OnDamage::Cut);
        assert_eq!(report.plan.steps[0].bytes, bytes as u64);
        assert_eq!(kept(&world, &report).iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), bytes);
    });
}

#[test]
fn a_trim_counts_and_keeps_the_segments_that_leave() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        damage(&world, 190);
        let files = segments(&world);
        let k = files.iter().rposition(|(_, base)| *base <= 190).expect("holds it");
        assert!(k > 1, "several go as a whole");
        let bytes: usize = files[..k].iter().map(|(path, _)| tail(&world, path, 0).len()).sum();
        let report = repair(&mut world, OnDamage::Trim);
        assert_eq!((report.plan.steps[0].bytes, report.plan.steps[0].files.len()), (bytes as u64, k));
        assert_eq!(kept(&world, &report).iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), bytes);
    });
}

#[test]
fn behind_a_bad_header_and_a_bad_first_batch_all_of_the_file_is_kept() {
    both_ways(|mapping| {
        let mut world = killed(mapping);
        let (path, base) = segments(&world).pop().expect("is there");
        damage(&world, base);
        world.disk.flip(&path, 40 * 8);
        let expected = world.disk.read(&path);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(cut(base), Some((base, RECORDS)))]);
        let plain = path.strip_prefix("topics/").expect("lies there").replace('/', "-");
        assert!(kept(&world, &report) == [(plain, expected)], "{:?}", report.quarantined);
        goes_on_at(&world, &world.partition(), base, "healed");
    });
}

#[test]
fn a_segment_that_cannot_be_read_is_missing_or_short_or_damaged_as_it_is() {
    let world = || at_rest(Mapping::Auto);
    let (gone, short, noise) = (world(), world(), world());
    let (path, base) = segments(&gone)[1].clone();
    let next = segments(&gone)[2].1;
    gone.disk.remove(&path);
    let error = problem(&gone);
    assert_eq!(error, format!("missing segment in `/sim/{path}`, offsets {base}..{next}"));

    let whole = short.disk.read(&path).len();
    short.disk.truncate(&path, whole - 1);
    let error = problem(&short);
    assert!(error.contains(&format!("{} bytes", whole - 1)) && error.contains(&whole.to_string()), "{error}");

    noise.disk.write(&path, vec![7; whole]);
    let error = problem(&noise);
    assert!(error.starts_with("corrupt ") && error.contains("header"), "{error}");

    // One that is as long as its seal says isn't called short.
    let flipped = world();
    damage(&flipped, base + 1);
    let error = problem(&flipped);
    assert!(error.starts_with("corrupt batch"), "{error}");
}

/// Three segments or more that are only written, and a kill.
fn only_written() -> World {
    let mut world = world(Mapping::Never);
    scribble(&world.partition(), "v", RECORDS);
    world.go_down(epochlog::testing::Image::after_kill);
    assert!(segments(&world).len() > 2);
    world
}

#[test]
fn what_the_power_took_is_no_damage_whichever_segment_it_was() {
    for k in [0, 1] {
        let mut world = only_written();
        let (path, base) = segments(&world)[k].clone();
        world.disk.remove(&path);
        let planned = plan(&world, OnDamage::Keep);
        assert!(planned.plan().steps.is_empty(), "{}", planned.plan());
        drop(planned);
        world.open();
        assert_eq!(world.partition().end(), Offset::new(base));
    }
}

#[test]
fn a_segment_that_was_just_begun_costs_nothing_beside_a_repair() {
    both_ways(|mapping| {
        let mut world = killed(mapping);
        let (newest, base) = segments(&world).pop().expect("is there");
        world.disk.write(&newest, vec![0; world.disk.read(&newest).len()]);
        world.disk.flip(&segments(&world)[0].0, 40 * 8);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None)]);
        assert!(report.epochs.is_empty());
        assert_eq!(world.partition().end(), Offset::new(base));
    });
}

#[test]
fn a_copy_that_finds_no_room_says_how_much_it_needs() {
    let world = killed(Mapping::Auto);
    let (path, base) = segments(&world).pop().expect("is there");
    damage(&world, base + 2);
    let bytes = tail(&world, &path, position_of(&world, &path, base, base + 2)).len();
    let planned = plan(&world, OnDamage::Keep);
    world.disk.fail(Fault::of("write").on("quarantine").kind(std::io::ErrorKind::StorageFull));
    let error = planned.apply().expect_err("fails");
    assert!(matches!(error, Error::StorageFull { bytes: needed, .. } if needed == bytes as u64), "{error}");
}

#[test]
fn commits_that_cannot_be_opened_are_not_gone() {
    for look in [2, 3] {
        let world = at_rest(Mapping::Never);
        world.disk.flip(COMMITS, 100 * 8);
        world.disk.fail(Fault::of("open").on(COMMITS).nth(look));
        let error = refused(options(&world.disk, world.mapping).repair("/sim", OnDamage::Keep));
        assert!(matches!(error, Error::Io { operation: "open", .. }), "{error:?}");
    }
}

#[test]
fn of_many_partitions_without_a_commit_the_first_are_named_and_the_others_counted() {
    let mut world = world(Mapping::Never);
    let orders = world.store().create_topic("orders", small().partitions(20)).expect("creates");
    let mut consumer = orders.consumer("late").partitions(&[3]).open().expect("opens");
    consumer.seek(3, Start::Earliest).expect("seeks");
    consumer.commit().expect("commits");
    drop((orders, consumer));
    world.close();
    world.disk.flip(COMMITS, 20 * 8);
    let planned = plan(&world, OnDamage::Keep);
    let note = planned.plan().steps[0].note.clone().expect("says who");
    assert!(note.contains("policy says: `late` (0, 1, 2, 4, 5, 6, 7, 8, and 11 more); any"), "{note}");
}

#[test]
fn a_repair_of_the_second_partition_is_told_as_such_and_copies_all_of_a_long_segment() {
    let mut world = world(Mapping::Auto);
    let options = TopicOptions::new().partitions(2);
    let long = world.store().create_topic("long", options).expect("creates").partition(1).expect("is there");
    // More than is copied at a time, twice over.
    let value = "v".repeat(10_000);
    (0..250).for_each(|_| _ = long.append_with(value.as_str(), written()).expect("appends"));
    let path = long.segments()[0].path.strip_prefix("/sim").expect("lies there").to_path_buf();
    drop(long);
    world.close();
    let whole = world.disk.read(&path);
    world.disk.flip(&path, 40 * 8);
    let report = plan(&world, OnDamage::Keep).apply().expect("repairs");
    assert_eq!(told(&report), [(Remedy::Rebuild, None)]);
    assert!(world.disk.read(&path)[96..] == whole[96..], "the batches are the same");
    world.disk.remove("topics/long@1/1/history");
    let report = plan(&world, OnDamage::Keep).apply().expect("repairs");
    let [(topic, partition, epoch)] = &report.epochs[..] else { panic!("{:?}", report.epochs) };
    assert_eq!((topic.as_str(), *partition), ("long", 1));
    world.open();
    let long = world.store().topic("long").expect("is there").partition(1).expect("opens");
    assert_eq!((long.end(), long.lineage().last().map(|begun| begun.epoch)), (Offset::new(250), Some(*epoch)));
}

/// A repair whose store file says less than was issued, as one from a backup does.
#[test]
fn the_epoch_of_a_repair_is_newer_than_any_that_is_there() {
    let mut world = world(Mapping::Auto);
    world.partition();
    world.close();
    let old = world.disk.read("STORE");
    world.open();
    for _ in 0..3 {
        fill(&world.partition(), "v", 1);
        world.reopen();
    }
    world.close();
    let before = {
        world.open();
        let newest = world.partition().lineage().last().expect("has epochs").epoch.number;
        world.close();
        newest
    };
    world.disk.write("STORE", old);
    world.disk.remove(HISTORY);
    let report = plan(&world, OnDamage::Keep).apply().expect("repairs");
    assert_eq!(report.epochs[0].1, 0);
    assert!(report.epochs[0].2.number > before, "{:?} after {before}", report.epochs);
    world.open();
    assert_eq!(all(&world.partition()).len(), 3);
}

/// Damages the line of this number of the history of `orders`.
fn flip_line(world: &World, number: usize) {
    let bytes = world.disk.read(HISTORY);
    let length = |at: usize| u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("is there")) as usize;
    let mut lines = std::iter::successors(Some(96), |&at| Some(at + 13 + length(at)));
    world.disk.flip(HISTORY, (lines.nth(number).expect("has that many") as u64 + 14) * 8);
}

#[test]
fn what_of_a_damaged_history_is_whole_is_counted_and_believed() {
    let mut world = crate::repair::busy(Mapping::Auto);
    world.partition().trim(Offset::new(100)).expect("trims");
    world.close();
    // What was trimmed stays trimmed.
    flip_line(&world, 2);
    let planned = plan(&world, OnDamage::Keep);
    let note = planned.plan().steps[0].note.clone().expect("says what is whole");
    assert!(note.starts_with("10 of its entries are whole"), "{note}");
    drop(planned);
    repair(&mut world, OnDamage::Keep);
    assert_eq!(world.partition().start(), Offset::new(100));
}

#[test]
fn with_the_history_gone_too_a_last_segment_that_cannot_be_read_is_told() {
    let mut world = at_rest(Mapping::Auto);
    let (last, base) = segments(&world).pop().expect("is there");
    world.disk.write(&last, vec![7; world.disk.read(&last).len()]);
    world.disk.remove(HISTORY);
    let report = repair(&mut world, OnDamage::Keep);
    assert_eq!(told(&report).len(), 2, "{}", report.plan);
    assert_eq!(told(&report)[1], (Remedy::SetAside, None));
    let note = report.plan.steps[1].note.clone().expect("says what that may cost");
    assert!(note.ends_with(&format!("if it was a segment, its records from offset {base} on are lost")), "{note}");
    goes_on_at(&world, &world.partition(), base, "restored");
    assert!(kept(&world, &report).iter().any(|(_, bytes)| bytes.iter().all(|&byte| byte == 7)));
}

#[test]
fn with_a_line_of_the_history_gone_too_a_first_segment_of_another_log_is_not_taken_for_trimmed() {
    let mut world = at_rest(Mapping::Auto);
    let (first, _) = segments(&world).remove(0);
    let second = segments(&world)[1].1;
    world.disk.copy("topics/audit@3/0/00000000000000000000@4.log", &first);
    // The line that began the third.
    flip_line(&world, 4);
    let report = repair(&mut world, OnDamage::Keep);
    assert!(told(&report).iter().any(|(_, lost)| *lost == Some((0, second))), "{}", report.plan);
}

#[test]
fn with_a_line_of_the_history_gone_too_a_first_segment_that_is_gone_is_told() {
    let mut world = at_rest(Mapping::Auto);
    let (first, _) = segments(&world).remove(0);
    let second = segments(&world)[1].1;
    world.disk.remove(&first);
    flip_line(&world, 4);
    world.disk.fail(Fault::of("open").on(&*first));
    let error = refused(options(&world.disk, world.mapping).repair("/sim", OnDamage::Keep));
    assert!(matches!(error, Error::Io { operation: "open", .. }), "{error:?}");
    let report = repair(&mut world, OnDamage::Keep);
    assert_eq!(told(&report), [(Remedy::Rebuild, None)], "{}", report.plan);
    let note = report.plan.steps[0].note.clone().expect("says what is gone");
    let gone = format!("the files of the records 0..{second} are gone");
    assert!(note.contains(&gone), "{note}");
    goes_on_at(&world, &world.partition(), RECORDS, "restored");
}

#[test]
fn with_the_history_gone_too_a_file_that_was_never_written_to_is_no_segment() {
    let mut world = at_rest(Mapping::Auto);
    world.disk.write("topics/orders@1/0/00000000000000009999@2.log", vec![0; 500]);
    world.disk.remove(HISTORY);
    assert_eq!(told(&repair(&mut world, OnDamage::Keep)), [(Remedy::Rebuild, None)]);
}

#[test]
fn with_a_line_of_the_history_gone_too_a_segment_whose_line_is_whole_is_missed_by_its_name() {
    let world = only_written();
    let (second, base) = segments(&world)[1].clone();
    world.disk.remove(&second);
    flip_line(&world, 0);
    let planned = plan(&world, OnDamage::Keep);
    let problems: Vec<String> = planned.plan().steps.iter().map(|step| step.problem.to_string()).collect();
    assert!(problems.iter().any(|problem| problem.contains(&second)), "{base}: {problems:?}");
}

/// How many files are open at most while something is done.
fn most_open_files<T>(world: &World, act: impl FnOnce() -> T) -> (usize, T) {
    let (most, disk) = (Arc::new(AtomicUsize::new(0)), world.disk.clone());
    let seen = most.clone();
    world.disk.on_operation(Box::new(move |_| _ = seen.fetch_max(disk.open_files(), Ordering::SeqCst)));
    let done = act();
    world.disk.on_operation(Box::new(|_| {}));
    (most.load(Ordering::SeqCst), done)
}

#[test]
fn a_repair_of_many_segments_keeps_few_files_open() {
    let harms: [fn(&World); 2] = [
        |world| world.disk.remove(HISTORY),
        |world| segments(world).iter().for_each(|(path, _)| world.disk.flip(path, 40 * 8)),
    ];
    both_ways(|mapping| {
        for harm in harms {
            let mut world = world(mapping);
            let orders = world.store().create_topic("orders", small().segment_bytes_max(1024)).expect("creates");
            scribble(&orders.partition(0).expect("is there"), "v", 800);
            drop(orders);
            world.close();
            assert!(segments(&world).len() > 40);
            harm(&world);
            let (most, planned) = most_open_files(&world, || plan(&world, OnDamage::Keep));
            assert!(most < 10, "{most} files are open while the plan is made");
            assert!(!planned.plan().is_empty());
            let (most, _) = most_open_files(&world, || planned.apply().expect("repairs"));
            assert!(most < 10, "{most} files are open while it is carried out");
            world.open();
            assert_eq!(all(&world.partition()), numbered("v", 0..800));
        }
    });
}
