//! Verifying: what an open would refuse is damage, and nothing else is; at a limited rate it takes as long as the rate
//! says, by the clock that it is given, beside a store that is in use.

use std::path::Path;
use std::time::Duration;

use epochlog::inspect::{self, Verification, VerifyOptions};
use epochlog::testing::{Clock, Image, Loss, Pending, SimDisk};
use epochlog::{Error, Mapping, TopicOptions};

use crate::repair::trimmed_within_a_batch;
use crate::support::*;

const RECORDS: u64 = 200;

/// Killed behind two hundred records over several segments, of which the newest has no seal.
fn killed(mapping: Mapping) -> World {
    let mut world = world(mapping);
    fill(&world.partition(), "v", RECORDS);
    fill(&world.topic("audit").partition(0).expect("is there"), "a", 3);
    world.go_down(Image::after_kill);
    world
}

/// What verify finds before the store is opened by a writer.
fn verified(world: &World) -> Verification {
    let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
    inspect::verify(&reading, &mut |_| {}).expect("verifies")
}

/// Whether the partition is refused; verify says the same beforehand.
#[track_caller]
fn is_refused(mut world: World, harm: &str) -> bool {
    let found = verified(&world);
    world.open();
    let refused = match world.topic_or_error() {
        Ok(_) => false,
        Err(Error::Corrupt(_)) => true,
        Err(error) => panic!("{harm}: {error}"),
    };
    assert_eq!(!found.is_clean(), refused, "{harm}: {:?}, {:?}", found.damage, found.notes);
    refused
}

/// A harm to the batch of one record.
type Harm = (&'static str, fn(&World, u64));

const HARMS: [Harm; 3] = [
    ("payload", |world, offset| drop(damage(world, offset))),
    ("header", |world, offset| change_batch(world, offset, |batch| batch[20] ^= 1)),
    ("zeros", |world, offset| change_batch(world, offset, |batch| batch.fill(0))),
];

fn change_batch(world: &World, offset: u64, change: fn(&mut [u8])) {
    let (path, base) = segments(world).into_iter().rfind(|(_, base)| *base <= offset).expect("holds it");
    let (at, behind) = (position_of(world, &path, base, offset), position_of(world, &path, base, offset + 1));
    let mut bytes = world.disk.read(&path);
    change(&mut bytes[at..behind]);
    world.disk.write(&path, bytes);
}

#[test]
fn of_any_batches_at_the_end_verify_finds_damaged_what_an_open_refuses() {
    const LAST: u64 = 5;
    both_ways(|mapping| {
        let image = killed(mapping).disk.image();
        let mut refused = 0;
        for n in 0..LAST * LAST * 9 {
            let (first, second) = (RECORDS - LAST + n % LAST, RECORDS - LAST + n / LAST % LAST);
            let ((this, do_this), (that, do_that)) = (HARMS[n as usize / 25 % 3], HARMS[n as usize / 75]);
            if first < second {
                let world = World::on(image.after_kill(), mapping);
                // The later one first: behind zeros no batch is found.
                do_that(&world, second);
                do_this(&world, first);
                refused += u64::from(is_refused(world, &format!("{this} of {first}, {that} of {second}")));
            }
        }
        assert!((1..LAST * (LAST - 1) / 2 * 9).contains(&refused), "{refused}");
    });
}

#[test]
fn a_mark_counts_though_the_batch_that_tells_of_it_is_not_whole() {
    both_ways(|mapping| {
        let world = killed(mapping);
        damage(&world, RECORDS - 2);
        damage(&world, RECORDS - 1);
        assert!(is_refused(world, "the last two"));
        let world = killed(mapping);
        damage(&world, RECORDS - 1);
        assert!(!is_refused(world, "the last one"));
    });
}

#[test]
fn a_seal_tells_of_nothing_that_was_cut_off_since() {
    both_ways(|mapping| {
        let torn = cut_and_killed(mapping);
        damage(&torn, 12);
        assert!(!is_refused(torn, "a torn end"));
        let begun = cut_and_killed(mapping);
        begun.disk.truncate(&segments(&begun)[1].0, 0);
        assert!(!is_refused(begun, "a segment that was just begun"));
        let damaged = cut_and_killed(mapping);
        damage(&damaged, 11);
        assert!(is_refused(damaged, "below a mark"));
    });
}

#[test]
fn what_the_start_presumes_was_synced_is_damage() {
    type Harm = fn(&World, &str, u64);
    let harms: [(&str, Harm); 3] = [
        ("flipped", |world, path, batch| world.disk.flip(path, (batch + 48) * 8)),
        ("gone", |world, path, _| world.disk.remove(path)),
        ("zero", |world, path, _| world.disk.write(path, vec![0; 4096])),
    ];
    both_ways(|mapping| {
        for (harm, does) in harms {
            let world = trimmed_within_a_batch(mapping);
            let (path, _) = segments(&world).remove(0);
            let batch = position_of(&world, &path, 0, 40);
            does(&world, &path, batch as u64);
            assert!(is_refused(world, harm));
        }
        assert!(!is_refused(trimmed_within_a_batch(mapping), "nothing"));
    });
}

/// The power took the first page of the newest segment and no other.
fn without_the_first_page(image: &Image) -> SimDisk {
    let is_segment = |path: &Path| path.extension().is_some_and(|end| end == "log");
    let is_first = |unit: &Pending| matches!(unit, Pending::Page { path, position: 0, .. } if is_segment(path));
    let first = image.pending().iter().rposition(is_first).expect("is pending");
    image.after(Loss::Only(first))
}

#[test]
fn a_first_page_that_the_power_took_is_damage_only_below_a_mark() {
    both_ways(|mapping| {
        let mut world = large(mapping);
        world.go_down(without_the_first_page);
        let notes: Vec<_> = verified(&world).notes.into_iter().map(|note| note.what).collect();
        assert_eq!(
            notes,
            ["unfinished beginning of a segment, offset 0: one that is being begun, or that a crash tore"]
        );
        assert!(!is_refused(world, "unsynced"));
        let world = killed(mapping);
        let (newest, _) = segments(&world).pop().expect("is there");
        world.disk.flip(&newest, 40 * 8);
        assert!(is_refused(world, "synced"));
        let world = killed(mapping);
        world.disk.copy("topics/audit@3/0/00000000000000000000@4.log", &newest);
        assert!(is_refused(world, "another's"));
    });
}

/// About eight MiB in one segment.
fn large(mapping: Mapping) -> World {
    let world = world(mapping);
    let orders = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    let value = vec![b'x'; 1 << 20];
    for _ in 0..8 {
        orders.append_with(&value, written()).expect("appends");
    }
    world
}

#[test]
fn it_takes_as_long_as_the_rate_says_and_no_time_without_one() {
    both_ways(|mapping| {
        let world = large(mapping);
        let took = |options: VerifyOptions| {
            let before = world.disk.clock().monotonic_ms();
            let found = inspect::verify_with(world.store(), options, &mut |_| {}).expect("verifies");
            assert!(found.is_clean() && found.records == 8);
            world.disk.clock().monotonic_ms() - before
        };
        assert_eq!(took(VerifyOptions::new()), 0);
        let bytes = world.topic("orders").partition(0).expect("is there").segments()[0].bytes;
        let reserved = 12 << 20;
        for rate in [1_u64 << 20, 4 << 20] {
            let took = took(VerifyOptions::new().bytes_per_second(rate));
            assert!((bytes * 1000 / rate..=reserved * 1000 / rate).contains(&took), "{took} ms at {rate}");
        }
    });
}

#[test]
fn what_lies_behind_a_seal_is_neither_counted_nor_waited_for() {
    both_ways(|mapping| {
        let mut world = large(mapping);
        let path = world.topic("orders").partition(0).expect("is there").segments()[0].path.clone();
        world.close();
        let path = path.strip_prefix("/sim").expect("lies in the store");
        let sealed = world.disk.read(path).len();
        world.disk.truncate(path, sealed + (4 << 20));
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let (before, mut last) = (world.disk.clock().monotonic_ms(), None);
        let options = VerifyOptions::new().bytes_per_second(1 << 20);
        inspect::verify_with(&reading, options, &mut |progress| last = Some(progress)).expect("verifies");
        let last = last.expect("tells of it");
        assert_eq!((last.bytes, last.total), (sealed as u64, sealed as u64));
        let took = world.disk.clock().monotonic_ms() - before;
        assert!(took <= sealed as u64 * 1000 / (1 << 20) + 1, "{took} ms for {sealed} bytes");
    });
}

/// Killed behind twenty thousand batches that were only written and two that say, if they are durable, that those were
/// synced. Every second one is damaged, ten more than are listed.
fn many_damaged(durable: bool) -> World {
    let mut world = world(Mapping::Never);
    let orders =
        world.store().create_topic("orders", TopicOptions::new()).expect("creates").partition(0).expect("opens");
    for _ in 0..20_020 {
        orders.append_with("v", written()).expect("appends");
    }
    for _ in 0..2 {
        if durable { fill(&orders, "", 1) } else { scribble(&orders, "", 1) }
    }
    let path = orders.segments()[0].path.clone();
    drop(orders);
    world.go_down(Image::after_kill);
    let path = path.strip_prefix("/sim").expect("lies in the store");
    let mut bytes = world.disk.read(path);
    // Batches of one record of a byte.
    (0..10_010).for_each(|i| bytes[96 + 2 * i * 49 + 48] ^= 1);
    world.disk.write(path, bytes);
    world
}

#[test]
fn of_any_number_of_damaged_batches_the_first_are_listed_and_the_rest_counted() {
    let found = verified(&many_damaged(true));
    assert_eq!((found.damage.len(), found.damage_unlisted), (10_000, 10));
    assert_eq!((found.notes.len(), found.notes_unlisted), (0, 0));
    assert_eq!(found.records, 20_022 - 10_010);
}

#[test]
fn of_any_number_of_torn_batches_the_first_are_listed_and_the_rest_counted() {
    let world = many_damaged(false);
    let index = world.disk.files().into_iter().find(|path| path.extension().is_some_and(|end| end == "index"));
    world.disk.flip(index.expect("is there"), 40 * 8);
    let found = verified(&world);
    assert!(found.is_clean(), "{} and {}", found.damage.len(), found.damage_unlisted);
    assert_eq!((found.notes.len(), found.notes_unlisted), (10_000, 11));
}

#[test]
fn what_is_deleted_meanwhile_is_neither_listed_nor_counted() {
    let mut world = many_damaged(true);
    world.open();
    let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
    let store = world.store().clone();
    at_nth(&world.disk, 1, "read", ".log", move || store.delete_topic("orders").expect("deletes"));
    let found = inspect::verify(&reading, &mut |_| {}).expect("verifies");
    assert!(found.is_clean() && found.batches > 0, "{} and {}", found.damage.len(), found.damage_unlisted);
    assert_eq!(found.damage_unlisted, 0);
}

#[test]
fn what_is_only_counted_is_damage_too() {
    let mut found = Verification::default();
    assert!(found.is_clean());
    found.damage_unlisted = 1;
    assert!(!found.is_clean());
}

#[test]
fn an_index_is_read_as_far_as_any_can_go() {
    let mut world = large(Mapping::Never);
    world.close();
    let index = world.disk.files().into_iter().find(|path| path.extension().is_some_and(|end| end == "index"));
    let index = index.expect("is there");
    let whole = world.disk.read(&index).len();
    let notes = |world: &World| {
        let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
        let found = inspect::verify(&reading, &mut |_| {}).expect("verifies");
        assert!(found.is_clean());
        found.notes.into_iter().map(|note| note.what).collect::<Vec<_>>()
    };
    // That of four GiB has some 21 MB.
    world.disk.truncate(&index, whole + (32 << 20));
    assert_eq!(notes(&world), Vec::<String>::new(), "room that was reserved");
    world.disk.flip(&index, 8 * (whole as u64 + (31 << 20)));
    assert_eq!(notes(&world), ["the index is longer than any can be; it is derived and will be rebuilt"]);
}

#[test]
fn time_that_a_slow_disk_took_is_not_caught_up_with() {
    let world = large(Mapping::Never);
    let clock = world.disk.clock();
    let before = clock.monotonic_ms();
    let mut stalled = false;
    let mut stall = |progress: inspect::Progress| {
        if progress.bytes > 0 && !std::mem::replace(&mut stalled, true) {
            clock.advance(Duration::from_secs(100));
        }
    };
    inspect::verify_with(world.store(), VerifyOptions::new().bytes_per_second(1 << 20), &mut stall).expect("verifies");
    let took = clock.monotonic_ms() - before;
    assert!(took >= 105_000, "{took} ms: the stall isn't made up for by reading without a pause");
}

#[test]
fn a_rate_of_nothing_is_refused() {
    let world = world(Mapping::Auto);
    let error = refused(inspect::verify_with(world.store(), VerifyOptions::new().bytes_per_second(0), &mut |_| {}));
    assert!(matches!(error, Error::InvalidOption { option: "bytes_per_second", .. }));
    assert_eq!(error.to_string(), "option `bytes_per_second` is invalid: 0 was given; allowed is at least 1");
}
