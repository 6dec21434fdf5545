//! What an open keeps, copies, cuts and sets aside, and what of it a second crash can take.

use epochlog::Durability::{Durable, Written};
use epochlog::testing::{Dir, Fault, Lie, Pages, Pending};
use epochlog::{Offset, TopicOptions, inspect};

use super::files::reseal_line;
use super::*;

#[test]
fn what_an_open_has_shown_survives_a_power_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 5, Written);
        world.kill();
        assert_eq!(all(&world.partition()), heavies(0..5));
        world.power_cut();
        assert_eq!(all(&world.partition()), heavies(0..5));
    });
}

/// Noise, another for each number.
fn long_value(i: u32, bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(i * 7919) >> 13) as u8).collect()
}

#[test]
fn a_tail_that_is_copied_in_several_pieces_comes_back_byte_for_byte() {
    let mut world = world(Mapping::Never);
    let large = TopicOptions::new().segment_bytes_max(16 << 20);
    let topic = world.store().topic_or_create("orders", large).expect("creates");
    let partition = topic.partition(0).expect("is there");
    partition.append("durable").expect("appends");
    // A copy goes in pieces of a MiB: batches that end within one, at odd places, and one that is longer.
    let lengths = (0..40).map(|i: usize| if i == 20 { 3 << 20 } else { 77_777 + 1_013 * i });
    let values: Vec<Vec<u8>> = (0..).zip(lengths).map(|(i, bytes)| long_value(i, bytes)).collect();
    for value in &values {
        partition.append_with(value, written()).expect("appends");
    }
    drop((topic, partition));
    world.go_down(Image::after_kill);
    world.open();
    let recovery = world.store().recovery();
    let findings = recovery.partitions.iter().flat_map(|partition| &partition.findings);
    let copied: u64 = findings.map(|finding| finding.copied_bytes).sum();
    assert!(copied > 6 << 20, "{copied}");
    world.power_cut();
    let partition = world.partition();
    assert_eq!(partition.end(), Offset::new(41));
    for (offset, value) in (1..).zip(&values) {
        let found = partition.get(Offset::new(offset)).expect("reads");
        let record = found.first().expect("is there");
        assert!(record.value() == value, "{offset}");
    }
}

#[test]
fn a_crash_within_a_recovery_leaves_what_the_recovery_found() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 2, Durable);
        pile(&world.partition(), 3, Written);
        world.go_down(Image::after_kill);
        let disk = world.disk.clone();
        for moment in moments(&disk, None, || world.open()) {
            moment.each_loss(|at, disk| {
                let store = open(&disk, mapping);
                let partition = the_partition(&store).unwrap_or_else(|error| panic!("{at}: {error}"));
                let end = partition.end().get();
                assert!(end >= 2, "{at}: {end}");
                assert_eq!(all(&partition), heavies(0..end), "{at}");
            });
        }
    });
}

/// The scan and the copy read the file one behind the other; what the disk changes between the two isn't given a checksum.
#[test]
fn a_byte_that_one_read_of_a_recovery_finds_changed_is_never_shown() {
    both_ways(|mapping| {
        for nth in 1..=6 {
            let mut world = world(mapping);
            pile(&world.partition(), 2, Written);
            world.go_down(Image::after_kill);
            let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
            let segment = world.disk.files().into_iter().find(is_log).expect("is there");
            let mut bytes = world.disk.read(&segment);
            let digit = bytes.iter().rposition(|&byte| byte == b'1').expect("ends the second value");
            bytes[digit] = b'7';
            world.disk.create(Path::new("changed")).and_then(|file| file.write_at(&bytes, 0)).expect("writes");
            let lie = Lie::Elsewhere { path: Some("changed".into()), shift: 0 };
            world.disk.fail(Fault::of("read").on(".log").nth(nth).lies(lie));
            world.open();
            // A recovery that it stopped is done again when the topic is asked for.
            let partition = world.partition();
            assert_eq!(all(&partition), heavies(0..partition.end().get()), "read {nth}");
        }
    });
}

/// A disk on which the last sector of the newest segment was lost.
fn torn(image: &Image) -> SimDisk {
    let image = image.clone().by_sector();
    let is_log =
        |pending: &Pending| matches!(pending, Pending::Page { path, .. } if path.to_string_lossy().ends_with(".log"));
    let last = image.pending().iter().rposition(is_log).expect("some are pending");
    image.after(Loss::Only(last))
}

fn is_history(pending: &Pending) -> bool {
    matches!(pending, Pending::Page { path, .. } if path.ends_with("history"))
}

#[test]
fn what_recovery_cuts_is_kept_aside_also_for_a_power_cut() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 1, Durable);
        pile(&world.partition(), 2, Written);
        world.become_image(torn);
        let recovery = world.store().recovery().clone();
        let cut = recovery.partitions[0].findings.iter().find(|finding| finding.cut_at.is_some()).expect("was cut");
        assert_eq!(cut.cut_at, Some(Offset::new(2)));
        world.power_cut();
        let [aside] = &quarantine(&world.disk)[..] else { panic!("{recovery}") };
        assert_eq!(world.disk.read(aside).len() as u64, cut.cut_bytes);
        assert!(cut.cut_bytes > 512 && cut.set_aside.as_ref().is_some_and(|path| path.ends_with(aside)), "{recovery}");
    });
}

#[test]
fn what_recovery_cuts_is_kept_in_a_quarantine_that_was_just_made_anew() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 1, Durable);
        pile(&world.partition(), 2, Written);
        world.go_down(torn);
        world.disk.remove_dir(Path::new("quarantine")).expect("is empty");
        world.disk.sync(Path::new("")).expect("syncs");
        world.open();
        assert!(world.store().recovery().has_cut());
        world.power_cut();
        assert_eq!(quarantine(&world.disk).len(), 1);
    });
}

#[test]
fn a_segment_that_the_history_lost_is_set_aside_with_its_records() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 1, Durable);
        pile(&world.partition(), 5, Written);
        let image = world.disk.image();
        let line = image.pending().iter().position(is_history).expect("the roll is pending");
        world.become_image(|image| image.after(Loss::Only(line)));
        let kept = world.partition().end().get();
        assert!((1..6).contains(&kept), "{kept}");
        let aside = quarantine(&world.disk);
        assert!(aside.iter().any(|path| world.disk.read(path).len() > HEAVY_BYTES), "{aside:?}");
        let told = world.store().recovery();
        let strays: Vec<_> = told.partitions[0].findings.iter().filter(|finding| finding.label == "stray").collect();
        let [stray] = strays[..] else { panic!("{told}") };
        assert!(told.has_cut() && stray.cut_at.is_some_and(|at| at.get() >= kept), "{told}");
        let held = aside.iter().find(|path| stray.set_aside.as_ref().is_some_and(|to| to.ends_with(path)));
        let held = world.disk.read(held.expect("is in the quarantine"));
        let used = held.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        assert_eq!((stray.cut_bytes, used > HEAVY_BYTES as u64), (used, true), "{told}");
    });
}

#[test]
fn bytes_that_changed_below_a_mark_are_damage_and_stay_where_they_are() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 3, Durable);
        world.go_down(Image::after_kill);
        let log = file(&world.disk, ".log");
        world.disk.flip(&log, 8 * 300);
        let before = world.disk.read(&log);
        world.open();
        assert_eq!(world.store().recovery().failed.len(), 1, "{}", world.store().recovery());
        assert!(matches!(the_partition(world.store()), Err(Error::Corrupt(_))));
        assert_eq!((world.disk.read(&log) == before, quarantine(&world.disk)), (true, vec![]));
    });
}

/// Two segments of which the power took the seal of the first, whose file this gives; the second says that it was synced.
fn without_the_seal_of_the_first(mapping: Mapping) -> (World, PathBuf) {
    let mut world = world(mapping);
    pile(&world.partition(), 4, Written);
    pile(&world.partition(), 1, Durable);
    pile(&world.partition(), 1, Written);
    let image = world.disk.image();
    let seal = image.pending().iter().position(is_history).expect("the seal is pending");
    world.go_down(|image| image.after(Loss::Only(seal)));
    let first = world.disk.files().into_iter().find(|path| path.to_string_lossy().ends_with(".log"));
    (world, first.expect("is there"))
}

#[test]
fn the_mark_of_a_later_segment_covers_the_end_of_an_earlier_one() {
    both_ways(|mapping| {
        let (mut world, first) = without_the_seal_of_the_first(mapping);
        // Its last record is gone, though it was synced.
        world.disk.truncate(first, 96 + 2 * (HEAVY_BYTES + 49));
        is_damage_to_verify_and_to_open(&mut world);
    });
}

#[test]
fn the_mark_of_a_later_segment_covers_all_of_an_earlier_one() {
    let harms: [fn(&SimDisk, &Path); 2] =
        [|disk, path| disk.remove(path), |disk, path| disk.write(path, vec![0; disk.read(path).len()])];
    both_ways(|mapping| {
        for harm in harms {
            let (mut world, first) = without_the_seal_of_the_first(mapping);
            harm(&world.disk, &first);
            is_damage_to_verify_and_to_open(&mut world);
        }
    });
}

/// What keeps a partition closed is found by who verifies before it is opened, and once.
fn is_damage_to_verify_and_to_open(world: &mut World) {
    let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
    let found = inspect::verify(&reading, &mut |_| {}).expect("verifies");
    world.open();
    let Err(Error::Corrupt(refusal)) = the_partition(world.store()) else { panic!("{}", world.store().recovery()) };
    let [damaged] = &found.damage[..] else { panic!("{:?} for {refusal}", found.damage) };
    let named = damaged.corruption().expect("is damage");
    assert_eq!((&named.path, named.what), (&refusal.path, refusal.what));
}

/// No crash and no changed byte comes to that: a line whose checksum is right says what the others deny.
#[test]
fn a_history_that_contradicts_itself_is_damage_to_verify_and_to_open() {
    both_ways(|mapping| {
        // The end of a seal, and that of a clean close.
        for (kind, byte) in [(4, 2 + 32), (5, 2)] {
            let mut world = world(mapping);
            pile(&world.partition(), 9, Durable);
            world.close();
            // What a close leaves; the partition's first lines were written when it was created.
            reseal_line(&world.disk, &file(&world.disk, "history"), kind, |line| line[byte] += 1);
            is_damage_to_verify_and_to_open(&mut world);
        }
    });
}

#[test]
fn records_that_a_seal_promises_and_counts_no_bytes_for_are_a_gap() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 9, Durable);
        world.close();
        reseal_line(&world.disk, &file(&world.disk, "history"), 4, |line| {
            let bytes = u64::from_le_bytes(line[26..34].try_into().expect("is there"));
            line[26..34].copy_from_slice(&(bytes - (46 + 3 + HEAVY_BYTES as u64)).to_le_bytes());
        });
        world.open();
        let partition = the_partition(world.store()).expect("opens");
        let mut reader = partition.read_from(Start::Earliest).expect("begins");
        let mut found = Vec::new();
        let error = loop {
            match reader.poll(AT_ONCE) {
                Ok(records) if records.is_empty() => panic!("one of them can't be read, and nobody says so"),
                Ok(records) => found.extend(values(&records)),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("the batches end before the offset that the seal promises"), "{error}");
        let gap = reader.skip_damaged().expect("goes on").expect("is damage");
        assert_eq!((gap.from.get(), gap.to.get()), (found.len() as u64, found.len() as u64 + 1));
        assert!(matches!(refused(partition.get(gap.from)), Error::Corrupt(_)));
        found.extend(drain(&mut reader));
        let others = heavies(0..gap.from.get()).into_iter().chain(heavies(gap.to.get()..9));
        assert_eq!(found, others.collect::<Vec<_>>());
    });
}

#[test]
fn a_recovery_that_is_refused_has_written_nothing_into_the_partition() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 5, Written);
        world.go_down(Image::after_kill);
        let newest = file(&world.disk, ".log");
        claim_version(&world.disk, newest.to_str().expect("is text"), 2);
        // What its topic's groups committed is another file, and is made durable all the same.
        let of_partition = |disk: &SimDisk| {
            let is_of = |path: &std::path::PathBuf| path.starts_with("topics/orders@1/0") || is_in(path, "quarantine");
            let files = disk.files().into_iter().filter(is_of);
            files.map(|path| (disk.read(&path), path)).collect::<Vec<_>>()
        };
        let before = of_partition(&world.disk);
        // A copy would say when it was made.
        world.disk.clock().advance(std::time::Duration::from_secs(1));
        world.open();
        let refusal = the_partition(world.store()).map(|partition| partition.end());
        assert!(matches!(refusal, Err(Error::UnsupportedVersion { .. })), "{refusal:?}");
        assert!(of_partition(&world.disk) == before, "{:?}", world.disk.files());
    });
}

#[test]
fn a_store_that_could_not_close_a_topic_is_recovered_by_the_next_open() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        scribble(&world.partition(), "v", 3);
        world.disk.fail(Fault::of("sync").on(".log"));
        refused(world.take().close());
        world.open();
        assert!(world.store().recovery().needed);
        world.power_cut();
        assert_eq!(all(&world.partition()), numbered("v", 0..3));
    });
}

#[test]
fn a_topic_that_could_not_be_recovered_is_tried_again_by_the_next_open() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        pile(&world.partition(), 3, Durable);
        world.go_down(Image::after_kill);
        world.disk.flip(file(&world.disk, ".log"), 8 * 300);
        for _ in 0..2 {
            world.open();
            assert_eq!(world.store().recovery().failed.len(), 1);
            world.close();
        }
    });
}

#[test]
fn every_partitions_commit_is_there_after_the_commits_were_rewritten() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let topic = world.store().create_topic("orders", TopicOptions::new().partitions(3)).expect("creates");
        (0..3).for_each(|number| fill(&topic.partition(number).expect("is there"), "v", 2));
        let mut consumer = topic.consumer("billing").open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        consumer.commit().expect("commits");
        drop((consumer, topic));
        // The first open rewrites them, and the second reads what that wrote.
        world.kill();
        world.kill();
        let group = world.store().topic("orders").and_then(|topic| topic.group("billing")).expect("is there");
        assert_eq!(group.commits.iter().map(|commit| commit.place.next().get()).collect::<Vec<_>>(), [2, 2, 2]);
    });
}

/// Invariant 13: the last line stands in a page that the failed sync has marked clean, and later ones claim it. How many
/// sessions there were decides where in its page that is.
#[test]
fn a_close_whose_sync_of_the_history_failed_costs_the_next_session_nothing() {
    both_ways(|mapping| {
        for sessions in 0..30 {
            let mut world = world(mapping);
            for _ in 0..sessions {
                fill(&world.partition(), "v", 1);
                world.reopen();
            }
            fill(&world.partition(), "v", 1);
            world.disk.fail(Fault::of("sync").on("history").leaves(Pages::Clean));
            refused(world.take().close());
            world.open();
            fill(&world.partition(), "v", 1);
            world.power_cut();
            let found = world.topic_or_error().map(|partition| all(&partition));
            let expected = numbered("v", 0..sessions + 2);
            assert!(found.as_ref().is_ok_and(|found| *found == expected), "after {sessions} sessions: {found:?}");
        }
    });
}
