//! Repair: what stays closed is opened again by a person's order, with a plan first; nothing is lost in silence (P9), the
//! rest costs nothing (P8), and doing it twice does nothing (P10).

use epochlog::testing::{Dir, Fault, Image};
use epochlog::{
    Damage, Error, Mapping, Offset, OnDamage, Partition, Remedy, Repair, RepairReport, Start, TopicOptions, inspect,
};
use std::io::ErrorKind;
use std::path::Path;

use crate::support::*;
pub use crate::support::{damage, position_of, segments};

pub const HISTORY: &str = "topics/orders@1/0/history";
pub const RECORDS: u64 = 200;

/// A harm, to the store or to one of its files.
pub type Does = fn(&World);
type DoesTo = fn(&World, &str);

/// A store with two hundred records in `orders` over several segments, a group that has read them all, and a topic that
/// nobody harms.
pub fn busy(mapping: Mapping) -> World {
    let world = world(mapping);
    fill_busy(&world);
    world
}

pub fn fill_busy(world: &World) {
    fill(&world.partition(), "v", RECORDS);
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    while !consumer.poll(AT_ONCE).expect("polls").is_empty() {}
    consumer.commit().expect("commits");
    drop(consumer);
    fill(&world.topic("audit").partition(0).expect("is there"), "a", 3);
}

pub fn at_rest(mapping: Mapping) -> World {
    let mut world = busy(mapping);
    world.close();
    world
}

/// Killed, so that the newest segment has no seal.
pub fn killed(mapping: Mapping) -> World {
    let mut world = busy(mapping);
    world.go_down(Image::after_kill);
    world
}

pub fn plan(world: &World, on_damage: OnDamage) -> Repair {
    options(&world.disk, world.mapping).repair("/sim", on_damage).expect("plans")
}

/// Plans, which changes nothing; does it; and then there is nothing left to do, and everything opens.
pub fn repair(world: &mut World, on_damage: OnDamage) -> RepairReport {
    let before = tree(&world.disk);
    let repair = plan(world, on_damage);
    assert!(!repair.plan().is_empty(), "there is something to do");
    assert!(before == tree(&world.disk), "planning changed the disk: {}", repair.plan());
    let report = repair.apply().expect("repairs");
    for (_, kept) in &report.quarantined {
        assert!(!world.disk.read(kept.strip_prefix("/sim").expect("lies in the store")).is_empty());
    }
    let again = plan(world, on_damage);
    assert!(again.plan().is_empty(), "a second time: {}", again.plan());
    let settled = tree(&world.disk);
    again.apply().expect("does nothing");
    assert!(settled == tree(&world.disk), "a second repair changed the disk");
    world.open();
    others_are_whole(world);
    report
}

pub fn others_are_whole(world: &World) {
    assert_eq!(all(&world.topic("audit").partition(0).expect("is there")), numbered("a", 0..3));
}

pub fn is_verified(world: &World) {
    let found = inspect::verify(world.store(), &mut |_| {}).expect("verifies");
    assert!(found.is_clean(), "{:?}", found.damage);
}

/// What stands behind the cut is told so, and the partition goes on.
pub fn goes_on_at(world: &World, orders: &Partition, end: u64, reason: &str) {
    assert_eq!(all(orders), numbered("v", orders.start().get()..end));
    assert_eq!(orders.lineage().last().expect("has epochs").reason, reason);
    if end < RECORDS {
        let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
        let error = refused(consumer.poll(AT_ONCE));
        assert!(matches!(error, Error::Diverged { fork, .. } if fork.get() == end), "{error}");
    }
    fill(orders, "v", 1);
    assert_eq!(all(orders), numbered("v", orders.start().get()..end + 1));
    is_verified(world);
}

/// The steps, as what is done and which offsets it costs.
pub fn told(report: &RepairReport) -> Vec<(Remedy, Option<(u64, u64)>)> {
    let lost = |range: &std::ops::Range<Offset>| (range.start.get(), range.end.get());
    report.plan.steps.iter().map(|step| (step.remedy.clone(), step.lost.as_ref().map(lost))).collect()
}

/// Whether the report says where all of a file is now, and it is there.
fn is_kept(world: &World, report: &RepairReport, path: &str, bytes: &[u8]) -> bool {
    let there = |kept: &Path| world.disk.read(kept.strip_prefix("/sim").expect("lies in the store")) == bytes;
    report.quarantined.iter().any(|(from, kept)| from.ends_with(path) && there(kept))
}

fn cut(at: u64) -> Remedy {
    Remedy::Cut { at: Offset::new(at) }
}

#[test]
fn a_store_that_is_whole_has_an_empty_plan_and_is_not_touched() {
    both_ways(|mapping| {
        for world in [at_rest(mapping), killed(mapping)] {
            let before = tree(&world.disk);
            let whole = plan(&world, OnDamage::Cut);
            assert_eq!((whole.plan().steps.len(), whole.plan().to_string()), (0, "nothing to repair".into()));
            assert!(whole.apply().expect("does nothing").quarantined.is_empty());
            assert!(before == tree(&world.disk));
        }
    });
}

#[test]
fn a_store_that_is_open_is_locked_and_what_is_no_store_is_not_repaired() {
    let world = busy(Mapping::Auto);
    let again = || options(&world.disk, Mapping::Auto).repair("/sim", OnDamage::Keep);
    assert!(matches!(refused(again()), Error::Locked { .. }));
    let empty = epochlog::testing::SimDisk::new(3);
    let nothing = options(&empty, Mapping::Auto).repair("/sim", OnDamage::Keep);
    assert!(matches!(refused(nothing), Error::NotAStore { .. }));
    // A creation that was interrupted before it wrote `STORE`.
    options(&empty, Mapping::Auto).create("/sim").expect("creates").close().expect("closes");
    empty.remove("STORE");
    let begun = refused(options(&empty, Mapping::Auto).repair("/sim", OnDamage::Keep)).to_string();
    assert_eq!(begun, refused(options(&empty, Mapping::Auto).open("/sim")).to_string());
    assert!(begun.ends_with("its creation was interrupted; create it again, or use open_or_create"), "{begun}");
}

#[test]
fn damaged_batches_side_by_side_are_told_as_one() {
    let world = at_rest(Mapping::Auto);
    for offset in [100, 101, 102, 104] {
        damage(&world, offset);
    }
    let planned = plan(&world, OnDamage::Keep);
    let lost: Vec<_> = planned.plan().steps.iter().filter_map(|step| step.lost.clone()).collect();
    let range = |from, to| Offset::new(from)..Offset::new(to);
    assert_eq!(lost, [range(100, 103), range(104, 105)], "{}", planned.plan());
    assert!(planned.plan().steps[0].problem.to_string().contains("offsets 100..103"), "{}", planned.plan());
}

#[test]
fn a_damaged_tail_is_cut_at_the_damage_and_the_rest_is_set_aside() {
    both_ways(|mapping| {
        let mut world = killed(mapping);
        let last = segments(&world).pop().expect("is there").1;
        let path = damage(&world, last + 2);
        world.open();
        assert!(matches!(refused(world.topic_or_error().map(drop)), Error::Corrupt(_)));
        others_are_whole(&world);
        world.close();
        let harmed = world.disk.read(&path);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(cut(last + 2), Some((last + 2, RECORDS)))]);
        let (_, kept) = &report.quarantined[0];
        let kept = world.disk.read(kept.strip_prefix("/sim").expect("lies in the store"));
        assert!(harmed.windows(kept.len()).any(|bytes| bytes == kept), "the original bytes are kept");
        goes_on_at(&world, &world.partition(), last + 2, "healed");
    });
}

#[test]
fn a_header_that_is_damaged_over_whole_batches_is_written_anew_and_nothing_is_lost() {
    both_ways(|mapping| {
        for (world, k) in [(at_rest(mapping), 0), (at_rest(mapping), 1), (killed(mapping), 1)] {
            let mut world = world;
            let (path, _) = segments(&world).swap_remove(k);
            world.disk.flip(&path, 40 * 8);
            let harmed = world.disk.read(&path);
            let report = repair(&mut world, OnDamage::Keep);
            assert_eq!(told(&report), [(Remedy::Rebuild, None)]);
            assert!(report.epochs.is_empty(), "nothing may have been lost");
            let kept = report.quarantined[0].1.strip_prefix("/sim").expect("lies in the store");
            assert_eq!(world.disk.read(kept)[..4000], harmed[..4000]);
            let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
            assert!(consumer.poll(AT_ONCE).expect("its place stands").is_empty());
            assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS));
            is_verified(&world);
        }
    });
}

#[test]
fn a_header_that_is_written_anew_takes_no_zeros_along() {
    for (world, k) in [(at_rest(Mapping::Never), 0), (killed(Mapping::Never), 1)] {
        let mut world = world;
        let (path, _) = segments(&world).swap_remove(k);
        world.disk.flip(&path, 40 * 8);
        world.disk.truncate(&path, 64 << 20);
        let before = world.disk.count("write");
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None)]);
        let written = world.disk.count("write") - before;
        assert!(written < 32, "{written} writes, of a MiB each where it is copied");
        assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS));
    }
}

#[test]
fn with_the_history_gone_too_a_segment_that_cannot_be_read_cuts_there() {
    both_ways(|mapping| {
        for (harm, does) in sealed_harms() {
            let mut world = killed(mapping);
            let (path, base) = segments(&world)[1].clone();
            does(&world, &path);
            world.disk.remove(HISTORY);
            let report = repair(&mut world, OnDamage::Keep);
            let end = world.partition().end().get();
            assert!(if harm == "short" { end > base } else { end == base }, "{harm}: {}", report.plan);
            assert!(told(&report).contains(&(cut(end), Some((end, RECORDS)))), "{harm}: {}", report.plan);
            goes_on_at(&world, &world.partition(), end, "restored");
        }
    });
}

fn fill_with_noise(world: &World, path: &str) {
    let noise: Vec<u8> = (0..world.disk.read(path).len()).map(|i| (i * 7 % 251) as u8 + 1).collect();
    world.disk.write(path, noise);
}

/// A sealed segment that is gone, cut short, zeroed, or another's.
fn sealed_harms() -> [(&'static str, DoesTo); 4] {
    [
        ("gone", |world, path| world.disk.remove(path)),
        ("short", |world, path| world.disk.truncate(path, 2000)),
        ("noise", fill_with_noise),
        ("foreign", |world, path| {
            world.disk.copy(format!("topics/audit@{}/0/00000000000000000000@{}.log", 3, 4), path);
        }),
    ]
}

#[test]
fn a_sealed_segment_that_cannot_be_read_stays_and_the_rest_is_readable() {
    both_ways(|mapping| {
        for (harm, does) in sealed_harms() {
            let mut world = at_rest(mapping);
            let all_segments = segments(&world);
            let (path, base) = all_segments[1].clone();
            let next = all_segments[2].1;
            does(&world, &path);
            let planned = plan(&world, OnDamage::Keep);
            let stays: Vec<_> = planned.plan().steps.iter().filter(|step| step.remedy == Remedy::Keep).collect();
            assert_eq!(stays.len(), 1, "{harm}: {}", planned.plan());
            let lost = stays[0].lost.clone().expect("some records can't be read");
            assert_eq!((lost.start.get() > base, lost.end.get()), (harm == "short", next), "{harm}: {lost:?}");
            assert_eq!(planned.plan().is_empty(), harm != "foreign", "{harm}");
            drop(planned);
            if harm == "foreign" {
                let report = repair(&mut world, OnDamage::Keep);
                assert!(report.plan.steps.iter().any(|step| step.remedy == Remedy::SetAside));
            } else {
                world.open();
            }
            let orders = world.partition();
            assert!(matches!(refused(orders.get(lost.start)), Error::Corrupt(_)), "{harm}");
            assert!((base..lost.start.get()).all(|offset| orders.get(Offset::new(offset)).is_ok()), "{harm}");
            let mut behind = orders.read_from(Start::At(Offset::new(next))).expect("begins");
            assert_eq!(drain(&mut behind), numbered("v", next..RECORDS), "{harm}");
        }
    });
}

#[test]
fn a_sealed_segment_that_cannot_be_read_is_cut_or_trimmed_if_that_is_asked_for() {
    both_ways(|mapping| {
        for (harm, does) in sealed_harms() {
            let mut world = at_rest(mapping);
            let (path, base) = segments(&world)[1].clone();
            does(&world, &path);
            let report = repair(&mut world, OnDamage::Cut);
            let end = world.partition().end().get();
            assert!(if harm == "short" { end > base } else { end == base }, "{harm}: {}", report.plan);
            assert_eq!(told(&report).last(), Some(&(cut(end), Some((end, RECORDS)))), "{harm}");
            goes_on_at(&world, &world.partition(), end, "healed");

            let mut world = at_rest(mapping);
            let next = segments(&world)[2].1;
            does(&world, &path);
            let left = segments(&world).into_iter().filter(|(_, base)| *base < next).map(|(path, _)| path);
            let left: Vec<_> = left.map(|path| (world.disk.read(&path), path)).collect();
            let report = repair(&mut world, OnDamage::Trim);
            for (bytes, path) in left {
                assert!(is_kept(&world, &report, &path, &bytes), "{harm}: `{path}` is gone");
            }
            let trim = Remedy::Trim { to: Offset::new(next) };
            assert_eq!(told(&report).last(), Some(&(trim, Some((0, next)))), "{harm}");
            assert_eq!(world.partition().start().get(), next);
            goes_on_at(&world, &world.partition(), RECORDS, "session");
        }
    });
}

#[test]
fn a_damaged_batch_of_a_sealed_segment_stays_unless_it_is_to_be_cut_or_trimmed() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        damage(&world, 100);
        damage(&world, 120);
        let stays = plan(&world, OnDamage::Keep);
        assert!(stays.plan().is_empty() && stays.plan().leaves_damage());
        let lost: Vec<u64> =
            stays.plan().steps.iter().filter_map(|step| Some(step.lost.clone()?.start.get())).collect();
        assert_eq!(lost, [100, 120]);
        drop(stays);
        let report = repair(&mut world, OnDamage::Cut);
        assert_eq!(told(&report), [(cut(100), Some((100, RECORDS)))]);
        goes_on_at(&world, &world.partition(), 100, "healed");

        let mut world = at_rest(mapping);
        damage(&world, 100);
        damage(&world, 120);
        let report = repair(&mut world, OnDamage::Trim);
        let trim = || Remedy::Trim { to: Offset::new(121) };
        assert_eq!(told(&report), [(trim(), Some((100, 101))), (trim(), Some((0, 121)))]);
        goes_on_at(&world, &world.partition(), RECORDS, "session");
    });
}

#[test]
fn a_cut_is_made_at_the_first_damage_above_the_start() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        damage(&world, 100);
        repair(&mut world, OnDamage::Trim);
        world.close();
        damage(&world, 110);
        let report = repair(&mut world, OnDamage::Cut);
        assert_eq!(told(&report), [(cut(110), Some((110, RECORDS)))], "{}", report.plan);
        assert_eq!(world.partition().start(), Offset::new(101));
        goes_on_at(&world, &world.partition(), 110, "healed");
    });
}

#[test]
fn a_missing_segment_of_the_tail_cuts_and_sets_the_later_ones_aside() {
    both_ways(|mapping| {
        let mut world = killed(mapping);
        let (path, base) = segments(&world).pop().expect("is there");
        world.disk.remove(&path);
        assert!(plan(&world, OnDamage::Keep).plan().is_empty(), "nothing tells that it held something");
        world.open();
        assert_eq!(world.partition().end().get(), base);
    });
}

/// The history is an older copy of itself, and something else is damaged, too.
#[test]
fn a_repair_beside_an_older_history_loses_no_later_record() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        let older = world.disk.read(HISTORY);
        world.open();
        fill(&world.partition(), "v", 100);
        world.close();
        world.disk.write(HISTORY, older);
        damage(&world, 61);
        let report = repair(&mut world, OnDamage::Trim);
        let trim = Remedy::Trim { to: Offset::new(62) };
        assert_eq!(told(&report), [(Remedy::Rebuild, None), (trim, Some((0, 62)))], "{}", report.plan);
        assert_eq!(all(&world.partition()), numbered("v", 62..RECORDS + 100));
    });
}

#[test]
fn a_lost_history_is_told_anew_from_the_segments() {
    both_ways(|mapping| {
        let harms: [(&str, Does); 4] = [
            ("gone", |world| world.disk.remove(HISTORY)),
            ("header", |world| world.disk.flip(HISTORY, 20 * 8)),
            ("line", |world| world.disk.flip(HISTORY, 120 * 8)),
            ("foreign", |world| world.disk.copy("topics/audit@3/0/history", HISTORY)),
        ];
        for (harm, does) in harms {
            for world in [at_rest(mapping), killed(mapping)] {
                let mut world = world;
                does(&world);
                world.open();
                others_are_whole(&world);
                assert!(world.topic_or_error().is_err(), "{harm}");
                world.close();
                let report = repair(&mut world, OnDamage::Keep);
                assert_eq!(told(&report), [(Remedy::Rebuild, None)], "{harm}: {}", report.plan);
                assert_eq!(report.epochs.len(), 1);
                let orders = world.partition();
                assert_eq!(all(&orders), numbered("v", 0..RECORDS), "{harm}");
                let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
                assert!(consumer.poll(AT_ONCE).expect("its place stands").is_empty(), "{harm}");
                drop(consumer);
                goes_on_at(&world, &orders, RECORDS, "restored");
            }
        }
    });
}

/// Whatever its number, and wherever it says that it begins.
#[test]
fn with_the_history_gone_too_a_file_that_is_no_segment_is_set_aside_and_costs_no_record() {
    both_ways(|mapping| {
        let gone: Does = |world| world.disk.remove(HISTORY);
        let damaged: Does = |world| world.disk.flip(HISTORY, 20 * 8);
        for (harm, name) in [
            (damaged, "00000000000000000000@900"),
            (gone, "00000000000000000010@900"),
            (gone, "00000000000000000000@0"),
            (gone, "00000000000000000000@1"),
            (gone, "00000000000000000011@2"),
        ] {
            for bytes in ["junk".as_bytes(), &[7; 500]] {
                let mut world = at_rest(mapping);
                harm(&world);
                let path = format!("topics/orders@1/0/{name}.log");
                world.disk.write(&path, bytes);
                let report = repair(&mut world, OnDamage::Keep);
                assert_eq!(told(&report), [(Remedy::Rebuild, None), (Remedy::SetAside, None)], "{}", report.plan);
                let step = &report.plan.steps[1];
                assert_eq!((step.bytes, &step.files), (bytes.len() as u64, &vec![Path::new("/sim").join(&path)]));
                let kept = report.quarantined.iter().find(|(from, _)| from.ends_with(&path)).expect("is kept");
                assert_eq!(world.disk.read(kept.1.strip_prefix("/sim").expect("lies in the store")), bytes);
                goes_on_at(&world, &world.partition(), RECORDS, "restored");
            }
        }
    });
}

#[test]
fn with_the_history_gone_too_the_first_segment_of_an_epoch_is_known_by_the_later_ones() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        world.disk.flip(&segments(&world)[0].0, 40 * 8);
        world.disk.remove(HISTORY);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None), (Remedy::Rebuild, None)], "{}", report.plan);
        goes_on_at(&world, &world.partition(), RECORDS, "restored");
    });
}

/// A session that another copy of the store had left its segment here; the history would have said that it never was.
#[test]
fn with_the_history_gone_too_a_segment_that_a_later_epoch_has_overtaken_is_told_and_set_aside() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        let copy = world.disk.clone_synced();
        world.open();
        fill(&world.partition(), "v", 5);
        world.close();
        let (stray, base) = segments(&world).pop().expect("is there");
        let bytes = world.disk.read(&stray);
        let mut world = World::on(copy, mapping);
        world.open();
        world.topic("another");
        fill(&world.partition(), "v", 1);
        world.close();
        assert_ne!(segments(&world).pop().expect("is there").0, stray, "the sessions have numbers of their own");
        world.disk.write(&stray, bytes.clone());
        world.disk.remove(HISTORY);
        let report = repair(&mut world, OnDamage::Keep);
        let aside = (Remedy::SetAside, Some((RECORDS, RECORDS + 5)));
        assert_eq!((base, told(&report)), (RECORDS, vec![(Remedy::Rebuild, None), aside]), "{}", report.plan);
        let step = &report.plan.steps[1];
        let last = bytes.iter().rposition(|&byte| byte != 0).expect("holds something") as u64 + 1;
        assert_eq!((step.bytes, &step.files), (last, &vec![Path::new("/sim").join(&stray)]));
        assert!(report.quarantined.iter().any(|(from, _)| from.ends_with(&stray)), "{:?}", report.quarantined);
        assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS + 1));
    });
}

/// It was a truncate here, which left the records in their file; a stray segment of another session would do the same.
#[test]
fn with_the_history_gone_too_what_a_later_epoch_has_cut_within_a_segment_is_told() {
    both_ways(|mapping| {
        let mut world = busy(mapping);
        let next = segments(&world).into_iter().map(|(_, base)| base).find(|base| *base > 100).expect("is there");
        world.partition().truncate(Offset::new(100)).expect("truncates");
        fill(&world.partition(), "w", 5);
        world.close();
        world.disk.remove(HISTORY);
        let report = repair(&mut world, OnDamage::Keep);
        let told = told(&report);
        assert_eq!(told, [(Remedy::Rebuild, None), (Remedy::Rebuild, Some((100, next)))], "{}", report.plan);
        assert_eq!(all(&world.partition()), [numbered("v", 0..100), numbered("w", 100..105)].concat());
    });
}

#[test]
fn with_the_history_gone_too_a_segment_that_ends_before_the_next_begins_is_cut_there() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        let (path, base) = segments(&world).remove(0);
        let position = position_of(&world, &path, base, 3);
        world.disk.truncate(&path, position);
        world.disk.remove(HISTORY);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None), (cut(3), Some((3, RECORDS)))]);
        let message = format!("corrupt batch in `/sim/{path}` at position {position}, offsets 3..3");
        assert_eq!(report.plan.steps[1].problem.to_string(), format!("{message}: the batches end too early"));
        goes_on_at(&world, &world.partition(), 3, "restored");
    });
}

#[test]
fn without_the_line_that_cut_them_places_of_what_was_cut_are_refused_all_the_same() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", RECORDS);
        let places: Vec<_> = (0..=RECORDS).map(|n| orders.place_at(Offset::new(n)).expect("is there")).collect();
        orders.truncate(Offset::new(10)).expect("truncates");
        fill(&orders, "w", RECORDS);
        // Of what was written anew only the newest segment is left, and nothing of what was there before.
        let base =
            orders.segments().iter().map(|segment| segment.base).rfind(|base| base.get() <= RECORDS).expect("is there");
        assert!(base.get() > 10);
        orders.trim(base).expect("trims");
        fill(&world.topic("audit").partition(0).expect("is there"), "a", 3);
        let tag = orders.lineage().last().expect("has epochs").epoch.tag.to_le_bytes();
        drop(orders);
        world.close();
        let line = world.disk.read(HISTORY).windows(8).position(|bytes| bytes == tag).expect("is there");
        world.disk.flip(HISTORY, line as u64 * 8);
        repair(&mut world, OnDamage::Keep);
        for place in &places {
            let error = refused(world.partition().read_from(*place));
            let typed = matches!(error, Error::Diverged { .. } | Error::OffsetOutOfRange { .. });
            assert!(
                typed && (place.next() < base) == matches!(error, Error::OffsetOutOfRange { .. }),
                "{place}: {error}"
            );
        }
    });
}

#[test]
fn damaged_commits_keep_what_is_whole_and_say_who_goes_back() {
    both_ways(|mapping| {
        let mut world = busy(mapping);
        let orders = world.topic("orders");
        for (group, offset) in [("early", 10), ("late", 20), ("early", 30), ("late", 40), ("late", 50)] {
            let mut consumer = orders.consumer(group).open().expect("opens");
            consumer.seek(0, Start::At(Offset::new(offset))).expect("seeks");
            consumer.commit().expect("commits");
        }
        drop(orders);
        world.close();
        let commits = "topics/orders@1/commits";
        let bytes = world.disk.read(commits);
        // The commit of `early` at 30.
        let thirty = (30_u64).to_le_bytes();
        let at = bytes.windows(8).rposition(|bytes| bytes == thirty).expect("is there");
        world.disk.flip(commits, at as u64 * 8);
        let report = repair(&mut world, OnDamage::Keep);
        let note = report.plan.steps[0].note.clone().expect("says who");
        assert!(note.contains("go on at their last commit: `late`;"), "{note}");
        assert!(note.contains("read records again: `billing`, `early`;"), "{note}");
        let place = |group: &str| world.topic("orders").group(group).expect("is there").commits[0].place.next().get();
        assert_eq!([place("billing"), place("early"), place("late")], [RECORDS, 10, 50]);
        assert_eq!(report.quarantined.len(), 1);
    });
}

/// A group is as far as it was only if each of its partitions is.
#[test]
fn damaged_commits_say_in_which_partitions_a_group_has_none_left() {
    both_ways(|mapping| {
        for (lost, older, without) in [(40, "none", "`late` (0)"), (48, "`late`", "none"), (50, "`late`", "`late` (1)")]
        {
            let mut world = world(mapping);
            let orders = world.store().create_topic("orders", small().partitions(2)).expect("creates");
            fill(&world.topic("audit").partition(0).expect("is there"), "a", 3);
            (0..2).for_each(|number| fill(&orders.partition(number).expect("is there"), "v", 50));
            for (number, offset) in [(0, 40), (0, 48), (1, 50)].into_iter().filter(|(_, at)| *at != 48 || lost == 48) {
                let mut consumer = orders.consumer("late").partitions(&[number]).open().expect("opens");
                consumer.seek(number, Start::At(Offset::new(offset))).expect("seeks");
                consumer.commit().expect("commits");
            }
            drop(orders);
            world.close();
            let commits = "topics/orders@1/commits";
            let place = u64::to_le_bytes(lost);
            let at = world.disk.read(commits).windows(8).position(|bytes| bytes == place).expect("is there");
            world.disk.flip(commits, at as u64 * 8);
            let report = repair(&mut world, OnDamage::Keep);
            let said = report.plan.steps[0].note.clone().expect("says who");
            assert!(said.contains("go on at their last commit: none;"), "{said}");
            assert!(said.contains(&format!("read records again: {older};")), "{said}");
            assert!(said.contains(&format!("as their start policy says: {without};")), "{said}");
        }
    });
}

#[test]
fn commits_that_are_gone_are_told_anew_empty() {
    let mut world = at_rest(Mapping::Auto);
    world.disk.remove("topics/orders@1/commits");
    let report = repair(&mut world, OnDamage::Keep);
    assert!(report.plan.steps[0].note.as_ref().expect("says so").contains("any other group is lost"));
    assert!(matches!(refused(world.topic("orders").group("billing")), Error::GroupNotFound { .. }));
}

#[test]
fn a_damaged_topic_header_is_told_anew_by_the_other_files() {
    both_ways(|mapping| {
        let harms: [(Does, &str); 3] = [
            (|world| world.disk.flip("topics/orders@1/topic", 20 * 8), "nothing is lost"),
            (|world| world.disk.flip("topics/orders@1/topic", 110 * 8), "as by default"),
            (|world| world.disk.remove("topics/orders@1/topic"), "1 partitions are there"),
        ];
        for (does, note) in harms {
            let mut world = at_rest(mapping);
            does(&world);
            let report = repair(&mut world, OnDamage::Keep);
            assert!(report.plan.steps[0].note.as_ref().expect("says what").contains(note), "{}", report.plan);
            assert_eq!(world.topic("orders").epoch().number, 1);
            goes_on_at(&world, &world.partition(), RECORDS, "session");
        }
    });
}

#[test]
fn a_header_that_was_told_anew_survives_a_power_cut_with_what_was_appended_since() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        world.disk.flip("topics/orders@1/topic", 20 * 8);
        plan(&world, OnDamage::Keep).apply().expect("repairs");
        world.open();
        fill(&world.partition(), "v", 3);
        world.power_cut();
        assert_eq!(all(&world.topic_or_error().expect("opens")), numbered("v", 0..RECORDS + 3));
    });
}

#[test]
fn a_topic_of_which_nothing_is_left_can_only_be_deleted() {
    let mut world = at_rest(Mapping::Auto);
    world.disk.write("topics/stray@900/readme", "not ours");
    let planned = plan(&world, OnDamage::Keep);
    let [step] = &planned.plan().steps[..] else { panic!("{}", planned.plan()) };
    let way_out = "no file tells which creation epoch it had; delete the topic, or restore its directory";
    assert_eq!(step.remedy, Remedy::Refuse(way_out.into()));
    drop(planned);
    world.open();
    others_are_whole(&world);
    world.store().delete_topic("stray").expect("deletes");
}

#[test]
fn a_partition_whose_directory_is_gone_is_not_repaired() {
    let mut world = at_rest(Mapping::Auto);
    for file in tree(&world.disk).keys().filter(|path| path.starts_with("topics/orders@1/0")) {
        if !file.ends_with("0") {
            world.disk.remove(file);
        }
    }
    world.disk.remove_dir(Path::new("topics/orders@1/0")).expect("removes");
    let planned = plan(&world, OnDamage::Keep);
    assert!(planned.plan().is_empty() && planned.plan().leaves_damage(), "{}", planned.plan());
    let way_out = "its records are gone; restore the directory from a backup, or delete the topic";
    assert_eq!(planned.plan().steps[0].remedy, Remedy::Refuse(way_out.into()));
    drop(planned);
    world.open();
    others_are_whole(&world);
}

#[test]
fn two_directories_of_one_name_are_left_to_a_person() {
    let mut world = at_rest(Mapping::Auto);
    for file in ["topic", "commits", "0/history"] {
        world.disk.copy(format!("topics/orders@1/{file}"), format!("topics/orders@9/{file}"));
    }
    let planned = plan(&world, OnDamage::Keep);
    let way_out = "move all but one of its directories out of `topics/`, or delete the topic";
    assert_eq!(planned.plan().steps[0].remedy, Remedy::Refuse(way_out.into()));
    assert!(matches!(&planned.plan().steps[0].problem, Error::Corrupt(c) if c.damage == Damage::Duplicate));
    drop(planned);
    world.open();
    others_are_whole(&world);
}

#[test]
fn a_lost_store_file_is_told_anew_and_no_number_is_issued_twice() {
    both_ways(|mapping| {
        let harms: [Does; 3] = [
            |world| world.disk.remove("STORE"),
            |world| world.disk.flip("STORE", 20 * 8),
            |world| world.disk.flip("STORE", 110 * 8),
        ];
        for does in harms {
            let mut world = at_rest(mapping);
            does(&world);
            assert!(options(&world.disk, mapping).open("/sim").is_err());
            let report = repair(&mut world, OnDamage::Keep);
            assert_eq!(told(&report), [(Remedy::Rebuild, None)]);
            goes_on_at(&world, &world.partition(), RECORDS, "session");
            assert!(world.topic("new").epoch().number > 1 << 32);
        }
    });
}

#[test]
fn a_store_file_that_is_too_long_is_told_anew() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        world.disk.truncate("STORE", (1 << 16) + 1);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None)]);
        goes_on_at(&world, &world.partition(), RECORDS, "session");
    });
}

#[test]
fn a_store_file_of_another_store_is_named_and_no_topic_is_to_be_deleted_for_it() {
    let mut world = at_rest(Mapping::Auto);
    let other = {
        let disk = epochlog::testing::SimDisk::new(99);
        options(&disk, Mapping::Auto).create("/sim").expect("creates").close().expect("closes");
        disk.read("STORE")
    };
    world.disk.write("STORE", other);
    let planned = plan(&world, OnDamage::Keep);
    let [step] = &planned.plan().steps[..] else { panic!("{}", planned.plan()) };
    assert!(matches!(&step.problem, Error::Corrupt(c) if c.path.ends_with("STORE")), "{}", step.problem);
    let way_out =
        "restore that of this store from a backup; or move it out of the store, and repair tells it anew by the topics";
    assert_eq!(step.remedy, Remedy::Refuse(way_out.into()));
    planned.apply().expect("does nothing");
    world.disk.remove("STORE");
    assert_eq!(told(&repair(&mut world, OnDamage::Keep)), [(Remedy::Rebuild, None)]);
    goes_on_at(&world, &world.partition(), RECORDS, "session");
}

/// Whatever somebody has put there, under whatever name.
#[test]
fn a_file_with_a_number_that_nobody_issued_keeps_no_store_from_being_told_anew() {
    for holds in ["", "anything at all"] {
        let mut world = at_rest(Mapping::Never);
        world.disk.write(format!("topics/orders@1/0/{:020}@{}.log", 7, u64::MAX), holds);
        world.disk.remove("STORE");
        plan(&world, OnDamage::Keep).apply().expect("repairs");
        world.open();
        assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS));
        fill(&world.topic("another").partition(0).expect("is there"), "v", 1);
    }
}

#[test]
fn a_store_file_that_its_topics_disagree_about_is_not_told_anew() {
    let world = at_rest(Mapping::Auto);
    let elsewhere = {
        let disk = epochlog::testing::SimDisk::new(99);
        let store = options(&disk, Mapping::Auto).create("/sim").expect("creates");
        fill(&store.create_topic("orders", small()).expect("creates").partition(0).expect("is there"), "v", 3);
        store.close().expect("closes");
        disk.read("topics/orders@1/commits")
    };
    world.disk.write("topics/orders@1/commits", elsewhere);
    world.disk.remove("STORE");
    let planned = plan(&world, OnDamage::Keep);
    let way_out = "the files of its topics don't tell of one store; restore `STORE` from a backup";
    assert_eq!(planned.plan().steps[0].remedy, Remedy::Refuse(way_out.into()));
    assert!(planned.plan().is_empty());
}

#[test]
fn what_a_later_version_wrote_is_left_to_that_version() {
    let (newest, _) = segments(&at_rest(Mapping::Auto)).pop().expect("has segments");
    for file in ["topics/orders@1/topic", "topics/orders@1/commits", HISTORY, &newest] {
        let mut world = at_rest(Mapping::Auto);
        claim_version(&world.disk, file, 2);
        let before = tree(&world.disk);
        let planned = plan(&world, OnDamage::Keep);
        let [step] = &planned.plan().steps[..] else { panic!("{file}: {}", planned.plan()) };
        assert_eq!(step.remedy, Remedy::Refuse("a later version wrote it; repair it with that one".into()));
        assert!(matches!(&step.problem, Error::UnsupportedVersion { path, .. } if path.ends_with(file)), "{file}");
        assert!(planned.plan().is_empty() && planned.plan().leaves_damage());
        planned.apply().expect("does nothing");
        assert!(before == tree(&world.disk), "{file}: the disk was changed");
        world.open();
        others_are_whole(&world);
    }
}

#[test]
fn a_segment_of_another_log_that_nobody_names_is_set_aside() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        let path = "topics/orders@1/0/00000000000000009999@2.log";
        world.disk.copy("topics/audit@3/0/00000000000000000000@4.log", path);
        let stranger = world.disk.read(path);
        world.open();
        assert!(world.topic_or_error().is_err());
        world.close();
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::SetAside, None)]);
        let kept = report.quarantined[0].1.strip_prefix("/sim").expect("lies in the store");
        assert_eq!(world.disk.read(kept), stranger);
        goes_on_at(&world, &world.partition(), RECORDS, "session");
    });
}

/// A session that another copy of the store had, and of which nothing was durable.
#[test]
fn a_segment_that_nobody_names_goes_to_the_quarantine_and_the_report_says_so() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        let copy = world.disk.clone_synced();
        world.open();
        scribble(&world.partition(), "v", 5);
        world.go_down(Image::after_kill);
        let (stray, _) = segments(&world).pop().expect("is there");
        let bytes = world.disk.read(&stray);
        let mut world = World::on(copy, mapping);
        world.disk.write(&stray, bytes.clone());
        world.disk.flip(&segments(&world)[0].0, 40 * 8);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None)], "{}", report.plan);
        assert!(is_kept(&world, &report, &stray, &bytes), "{:?}", report.quarantined);
        goes_on_at(&world, &world.partition(), RECORDS, "session");
    });
}

#[test]
fn what_an_earlier_repair_kept_is_never_written_over() {
    let mut world = at_rest(Mapping::Auto);
    let mut kept = Vec::new();
    for byte in [20, 21] {
        world.disk.flip(HISTORY, byte * 8);
        let harmed = world.disk.read(HISTORY);
        let report = repair(&mut world, OnDamage::Keep);
        kept.push((report.quarantined[0].1.clone(), harmed));
        world.close();
    }
    assert_ne!(kept[0].0, kept[1].0);
    for (path, harmed) in kept {
        assert!(world.disk.read(path.strip_prefix("/sim").expect("lies in the store")).starts_with(&harmed[..40]));
    }
}

#[test]
fn with_the_history_gone_too_the_records_in_front_of_the_first_segment_are_told_as_lost() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        let all_segments = segments(&world);
        let first = all_segments[1].1;
        world.disk.remove(&all_segments[0].0);
        world.disk.remove(HISTORY);
        let report = repair(&mut world, OnDamage::Keep);
        let trim = Remedy::Trim { to: Offset::new(first) };
        assert_eq!(told(&report), [(Remedy::Rebuild, None), (trim, Some((0, first)))]);
        assert_eq!(world.partition().start(), Offset::new(first));
        goes_on_at(&world, &world.partition(), RECORDS, "restored");
    });
}

/// The position of the first frame of the history whose first entry is of this type.
fn frame_of(world: &World, kind: u8) -> usize {
    let bytes = world.disk.read(HISTORY);
    let length = |at: usize| u32::from_le_bytes(bytes[at + 4..at + 8].try_into().expect("is there")) as usize;
    let mut frames = std::iter::successors(Some(96), |&at| Some(at + 13 + length(at)));
    frames.find(|&at| bytes[at + 13] == kind).expect("is there")
}

#[test]
fn a_history_that_lost_the_line_of_a_trim_starts_at_the_first_segment_that_is_there() {
    both_ways(|mapping| {
        let mut world = busy(mapping);
        world.partition().trim(Offset::new(100)).expect("trims");
        world.close();
        let first = segments(&world)[0].1;
        assert!(first > 0, "something was removed");
        world.disk.flip(HISTORY, (frame_of(&world, 2) as u64 + 14) * 8);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None)]);
        assert_eq!(world.partition().start(), Offset::new(first));
        goes_on_at(&world, &world.partition(), RECORDS, "restored");
    });
}

#[test]
fn what_a_crash_tore_is_told_where_something_else_is_repaired() {
    both_ways(|mapping| {
        let mut world = killed(mapping);
        damage(&world, RECORDS - 1);
        assert!(plan(&world, OnDamage::Keep).plan().is_empty(), "recovery does it alone");
        world.disk.flip(&segments(&world)[0].0, 40 * 8);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::Rebuild, None), (cut(RECORDS - 1), None)]);
        goes_on_at(&world, &world.partition(), RECORDS - 1, "healed");

        let mut world = killed(mapping);
        damage(&world, 100);
        damage(&world, RECORDS - 1);
        let trim = Remedy::Trim { to: Offset::new(101) };
        let report = repair(&mut world, OnDamage::Trim);
        assert_eq!(told(&report), [(trim, Some((0, 101))), (cut(RECORDS - 1), None)]);
        goes_on_at(&world, &world.partition(), RECORDS - 1, "healed");

        let mut world = killed(mapping);
        damage(&world, RECORDS - 1);
        let stranger = "topics/orders@1/0/00000000000000009999@2.log";
        world.disk.copy("topics/audit@3/0/00000000000000000000@4.log", stranger);
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(Remedy::SetAside, None), (cut(RECORDS - 1), None)]);
        goes_on_at(&world, &world.partition(), RECORDS - 1, "healed");
    });
}

#[test]
fn a_segment_of_which_nothing_counts_any_more_is_missed_by_nobody() {
    let mut world = busy(Mapping::Auto);
    world.partition().trim(Offset::new(RECORDS)).expect("trims");
    world.close();
    let [(newest, _)] = &segments(&world)[..] else { panic!("the newest stays alone") };
    world.disk.remove(newest);
    assert!(plan(&world, OnDamage::Keep).plan().steps.is_empty());
}

#[test]
fn a_segment_without_a_seal_that_is_gone_below_a_durable_mark_is_missing() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        scribble(&world.partition(), "v", 150);
        fill(&world.topic("audit").partition(0).expect("is there"), "a", 3);
        for _ in 0..2 {
            // The seal waits, and the acknowledgement doesn't.
            world.disk.fail(Fault::of("write").on("history"));
            fill(&world.partition(), "v", 1);
        }
        world.go_down(Image::after_kill);
        let (path, _) = segments(&world).remove(0);
        world.disk.remove(&path);
        world.open();
        let error = refused(world.topic_or_error());
        assert_eq!(error.to_string(), format!("missing segment in `/sim/{path}`"));
        world.close();
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(told(&report), [(cut(0), Some((0, 152)))]);
    });
}

/// One segment without a seal, of which the first half was given up.
pub fn trimmed_and_killed(mapping: Mapping, append: impl Fn(&Partition)) -> World {
    let mut world = world(mapping);
    world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    fill(&world.topic("audit").partition(0).expect("is there"), "a", 3);
    append(&world.partition());
    world.partition().trim(Offset::new(50)).expect("trims");
    world.go_down(Image::after_kill);
    world
}

/// The same, with a batch that reaches over the start.
pub fn trimmed_within_a_batch(mapping: Mapping) -> World {
    trimmed_and_killed(mapping, |orders| {
        scribble(orders, "v", 40);
        let values: Vec<String> = numbered("v", 40..60);
        let records: Vec<_> = values.iter().map(|value| record(value)).collect();
        orders.append_batch_with(&records, written()).expect("appends");
    })
}

#[test]
fn damage_below_the_start_of_a_tail_costs_nothing() {
    both_ways(|mapping| {
        for (durable, inside) in [(false, 48), (false, 2), (true, 48), (true, 2)] {
            let append = if durable { fill } else { scribble };
            let harmed = || {
                let world = trimmed_and_killed(mapping, |orders| append(orders, "v", 100));
                let (path, _) = segments(&world).remove(0);
                for offset in [0, 20, 21, 49] {
                    world.disk.flip(&path, (position_of(&world, &path, 0, offset) as u64 + inside) * 8);
                }
                world
            };
            let mut world = harmed();
            assert!(plan(&world, OnDamage::Keep).plan().steps.is_empty(), "{}", plan(&world, OnDamage::Keep).plan());
            world.open();
            assert_eq!(all(&world.partition()), numbered("v", 50..100));
            is_verified(&world);
            world.reopen();
            assert_eq!(all(&world.partition()), numbered("v", 50..100));

            if durable {
                let mut world = harmed();
                damage(&world, 70);
                let report = repair(&mut world, OnDamage::Keep);
                assert_eq!(told(&report), [(cut(70), Some((70, 100)))], "{}", report.plan);
                assert_eq!(all(&world.partition()), numbered("v", 50..70));
            }
        }
    });
}

#[test]
fn an_end_of_a_tail_that_was_given_up_keeps_nothing_closed() {
    both_ways(|mapping| {
        let mut world = trimmed_and_killed(mapping, |orders| fill(orders, "v", 50));
        let (path, _) = segments(&world).remove(0);
        world.disk.flip(&path, (position_of(&world, &path, 0, 49) as u64 + 2) * 8);
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let found = inspect::verify(&reading, &mut |_| {}).expect("verifies");
        assert!(found.is_clean(), "{:?}", found.damage);
        let dumped: Result<Vec<_>, _> =
            inspect::dump(&reading, "orders", 0, Offset::new(0), false).expect("dumps").collect();
        assert!(dumped.expect("dumps").last().is_some_and(|last| last.unfinished && last.damage.is_none()));
        world.open();
        assert_eq!((world.partition().start(), world.partition().end()), (Offset::new(50), Offset::new(50)));
        fill(&world.partition(), "v", 3);
        world.reopen();
        assert_eq!(all(&world.partition()), numbered("v", 50..53));
        is_verified(&world);
    });
}

#[test]
fn damage_that_reaches_above_the_start_of_a_tail_is_no_torn_end() {
    both_ways(|mapping| {
        let mut world = trimmed_within_a_batch(mapping);
        let (path, _) = segments(&world).remove(0);
        world.disk.flip(&path, (position_of(&world, &path, 0, 40) as u64 + 48) * 8);
        world.open();
        assert!(matches!(refused(world.topic_or_error()), Error::Corrupt(_)));
    });
}

#[test]
fn an_empty_file_that_nobody_names_is_left_to_recovery() {
    let mut world = at_rest(Mapping::Auto);
    let path = "topics/orders@1/0/00000000000000009999@2.log";
    world.disk.write(path, vec![0; 200_000]);
    assert!(plan(&world, OnDamage::Keep).plan().steps.is_empty());
    world.open();
    assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS));
}

#[test]
fn without_a_history_what_a_later_version_wrote_is_left_to_that_version_too() {
    let world = at_rest(Mapping::Auto);
    world.disk.remove(HISTORY);
    let (newest, _) = segments(&world).pop().expect("has segments");
    claim_version(&world.disk, &newest, 2);
    let planned = plan(&world, OnDamage::Keep);
    let [step] = &planned.plan().steps[..] else { panic!("{}", planned.plan()) };
    assert_eq!(step.remedy, Remedy::Refuse("a later version wrote it; repair it with that one".into()));
}

#[test]
fn a_copy_that_an_interrupted_repair_left_is_used_and_other_bytes_of_its_name_are_not() {
    let harmed = || {
        let world = killed(Mapping::Auto);
        damage(&world, RECORDS - 10);
        world
    };
    let mut first = harmed();
    let kept = repair(&mut first, OnDamage::Keep).quarantined[0].1.clone();
    let name = kept.strip_prefix("/sim").expect("lies in the store");
    let same = first.disk.read(name);
    let mut other = same.clone();
    other[0] ^= 1;
    for (there, used) in [(same, true), (other, false)] {
        let mut world = harmed();
        world.disk.write(name, there.clone());
        let report = repair(&mut world, OnDamage::Keep);
        assert_eq!(report.quarantined[0].1 == kept, used);
        assert_eq!(world.disk.read(name), there);
    }
}

#[test]
fn a_copy_that_fails_is_told_and_nothing_was_changed_for_it() {
    let mut world = killed(Mapping::Auto);
    let path = damage(&world, RECORDS - 10);
    let before = world.disk.read(&path);
    for (kind, says) in [(ErrorKind::Other, "cannot write `"), (ErrorKind::StorageFull, "no space left for ")] {
        let planned = plan(&world, OnDamage::Keep);
        world.disk.fail(Fault::of("write").on("quarantine").kind(kind));
        let error = planned.apply().expect_err("fails").to_string();
        assert!(error.starts_with(says) && error.contains("`/sim/quarantine/"), "{error}");
    }
    assert_eq!(world.disk.read(&path), before);
    repair(&mut world, OnDamage::Keep);
}

#[test]
fn a_segment_that_finds_no_room_to_be_written_anew_gives_back_what_it_took() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        world.disk.flip(&segments(&world)[0].0, 40 * 8);
        for (operation, nth) in [("write", 2), ("sync", 1), ("rename", 1)] {
            let planned = plan(&world, OnDamage::Keep);
            world.disk.fail(Fault::of(operation).on(".log.new").nth(nth).kind(ErrorKind::StorageFull));
            let error = refused(planned.apply());
            assert!(error.to_string().contains(".log.new"), "{operation}: {error}");
            let half_written = |file: &std::path::PathBuf| file.extension().is_some_and(|end| end == "new");
            assert!(!world.disk.files().iter().any(half_written), "{operation}: {:?}", world.disk.files());
        }
        repair(&mut world, OnDamage::Keep);
    });
}

#[test]
fn a_quarantine_that_somebody_removed_is_made_again() {
    let mut world = killed(Mapping::Auto);
    damage(&world, RECORDS - 10);
    world.disk.remove_dir(Path::new("quarantine")).expect("is empty");
    assert_eq!(repair(&mut world, OnDamage::Keep).quarantined.len(), 1);
}

#[test]
fn an_error_of_the_disk_is_not_taken_for_damage() {
    let world = at_rest(Mapping::Auto);
    world.disk.flip(HISTORY, 20 * 8);
    let operations = world.disk.operations();
    drop(plan(&world, OnDamage::Keep));
    let count = world.disk.operations() - operations;
    for n in 1..=count {
        world.disk.fail(epochlog::testing::Fault::any().nth(n));
        let before = tree_without_faults(&world);
        let planned = options(&world.disk, Mapping::Auto).repair("/sim", OnDamage::Keep);
        world.disk.heal();
        assert!(before == tree_without_faults(&world));
        if let Ok(planned) = planned {
            assert_eq!(planned.plan().steps.len(), 1, "operation {n}: {}", planned.plan());
        }
    }
}

fn tree_without_faults(world: &World) -> std::collections::BTreeMap<std::path::PathBuf, Option<Vec<u8>>> {
    tree(&world.disk.image().after_kill())
}

#[test]
fn a_history_that_cannot_be_opened_is_no_missing_one() {
    // The first look is for whose it is, which others tell as well; the second finds it damaged, the third is for what of it
    // is whole.
    for look in [2, 3] {
        let world = at_rest(Mapping::Never);
        world.disk.flip(HISTORY, 100 * 8);
        world.disk.fail(Fault::of("open").on(HISTORY).nth(look));
        let error = refused(options(&world.disk, world.mapping).repair("/sim", OnDamage::Keep));
        assert!(matches!(error, Error::Io { operation: "open", .. }), "{error:?}");
    }
}

#[test]
fn a_quarantine_that_cannot_be_looked_at_ends_the_repair_and_the_next_one_does_it() {
    for operation in ["create_dir", "open"] {
        let mut world = at_rest(Mapping::Never);
        world.disk.flip(HISTORY, 100 * 8);
        let planned = plan(&world, OnDamage::Keep);
        world.disk.fail(Fault::of(operation).on("quarantine"));
        let error = refused(planned.apply());
        assert!(matches!(error, Error::Io { .. }), "{operation}: {error:?}");
        repair(&mut world, OnDamage::Keep);
        assert_eq!(all(&world.partition()), numbered("v", 0..RECORDS));
    }
}
