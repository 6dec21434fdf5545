//! What goes when: whole sealed segments, by age and by size, never the newest, and never because a clock was wrong.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use epochlog::testing::{Clock, Fault, Image, SimDisk};
use epochlog::{Error, Expired, Maintenance, Mapping, Offset, Partition, Record, Start, Timestamp, TopicOptions};

use crate::support::*;

const COMMITS: &str = "topics/orders@1/commits";
const HOUR: Duration = Duration::from_secs(3600);

fn with(world: &World, options: TopicOptions) -> Partition {
    world.store().topic_or_create("orders", options).expect("is there").partition(0).expect("is there")
}

fn maintain(world: &World) -> Maintenance {
    world.store().maintain().expect("maintains")
}

/// The bytes of a file without the room that is kept ahead.
fn used(world: &World, path: &str) -> usize {
    world.disk.read(path).iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// The segment files on the disk.
fn segment_files(world: &World) -> usize {
    world.disk.files().iter().filter(|path| path.extension().is_some_and(|end| end == "log")).count()
}

/// Every segment's records are there, and their files.
fn is_whole(world: &World, orders: &Partition, prefix: &str) {
    let (start, end) = (orders.start().get(), orders.end().get());
    assert_eq!(all(orders), numbered(prefix, start..end));
    assert_eq!(orders.segments().len(), segment_files(world));
}

#[test]
fn what_is_only_written_is_synced_rather_than_kept_beyond_half_as_much_again() {
    const LIMIT: u64 = 20 << 10;
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_bytes(LIMIT));
        let mut most = 0;
        for _ in 0..2000 {
            orders.append_with(Record::new(&[7; 100]), written()).expect("appends");
            most = most.max(orders.bytes());
        }
        assert!((LIMIT + 1..LIMIT + LIMIT / 2 + 2 * 4096).contains(&most), "{most}");
        assert_eq!(orders.segments().len(), segment_files(&world));
        world.disk.fail(Fault::of("sync").on(".log"));
        let error = (0..2000).find_map(|_| orders.append_with(Record::new(&[7; 100]), written()).err());
        assert!(matches!(error, Some(Error::Io { operation: "sync", .. })), "{error:?}");
        assert!(matches!(refused(orders.append("v")), Error::Latched { .. }));
    });
}

#[test]
fn an_append_that_rolls_asks_for_no_reserve_to_keep_the_limit() {
    const LIMIT: u64 = 20 << 10;
    both_ways(|mapping| {
        let begin = || {
            let world = world(mapping);
            let orders = with(&world, small().retention_bytes(LIMIT));
            (world, orders)
        };
        let append = |orders: &Partition| _ = orders.append_with(&[7; 100], written()).expect("appends");
        let (_world, orders) = begin();
        while orders.start() == Offset::ZERO {
            append(&orders);
        }
        let appends = orders.end().get();
        let (world, orders) = begin();
        (1..appends).for_each(|_| append(&orders));
        // The seals, behind the line that says that the next segment begins.
        let full = Fault::of("write").on("history").nth(2).kind(std::io::ErrorKind::StorageFull);
        world.disk.fail(full);
        append(&orders);
        assert_eq!(orders.start(), Offset::ZERO, "nothing may go whose seal isn't told");
        assert!(world.disk.files().iter().any(|file| file.ends_with("RESERVE")));
        (0..100).for_each(|_| append(&orders));
        assert!(orders.start() > Offset::ZERO);
    });
}

#[test]
fn what_is_older_than_the_age_goes_by_whole_segments_and_the_newest_stays() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_age(HOUR).segment_age(9 * HOUR));
        fill(&orders, "v", 200);
        world.disk.clock().advance(HOUR / 2);
        fill(&orders, "v", 200);
        let borders: Vec<u64> = orders.segments().iter().map(|segment| segment.base.get()).collect();
        assert!(borders.len() > 4);
        assert_eq!(maintain(&world), Maintenance::default());

        world.disk.clock().advance(HOUR / 2 + Duration::from_millis(1));
        let before = orders.segments().len();
        let done = maintain(&world);
        let start = orders.start().get();
        assert!(borders.contains(&start) && start > 0 && start <= 200, "{start} in {borders:?}");
        assert!(borders.iter().all(|&border| border <= start || border > 200), "everything that may go has gone");
        assert_eq!(done.segments_removed, before - orders.segments().len());
        assert!(done.bytes_removed > 0);
        is_whole(&world, &orders, "v");

        world.disk.clock().advance(2 * HOUR);
        maintain(&world);
        assert_eq!(orders.segments().len(), 1, "the newest is never removed");
        assert_eq!((orders.start().get(), orders.end().get()), (*borders.last().expect("one"), 400));
        is_whole(&world, &orders, "v");
    });
}

#[test]
fn the_newest_segment_stays_though_nothing_was_appended_since_the_open() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&with(&world, small().retention_age(HOUR)), "v", 200);
        world.reopen();
        world.disk.clock().advance(2 * HOUR);
        maintain(&world);
        let orders = world.partition();
        assert_eq!((orders.segments().len(), orders.end().get()), (1, 200));
        assert!(orders.start().get() < 200, "the newest is never removed");
        is_whole(&world, &orders, "v");
    });
}

#[test]
fn the_active_segment_rolls_by_age_and_can_then_go() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().segment_age(HOUR).retention_age(2 * HOUR));
        fill(&orders, "v", 3);
        world.disk.clock().advance(HOUR - Duration::from_millis(1));
        assert_eq!(maintain(&world).segments_rolled, 0);
        world.disk.clock().advance(Duration::from_millis(1));
        assert_eq!(maintain(&world).segments_rolled, 1);
        fill(&orders, "v", 1);
        assert_eq!(orders.segments().iter().map(|segment| segment.base.get()).collect::<Vec<_>>(), [0, 3]);
        world.disk.clock().advance(HOUR);
        assert_eq!(maintain(&world).segments_removed, 0, "not older than the age, but as old");
        world.disk.clock().advance(Duration::from_millis(1));
        assert_eq!(maintain(&world).segments_removed, 1);
        is_whole(&world, &orders, "v");
        // An append rolls by age, too, without `maintain`.
        world.disk.clock().advance(HOUR);
        fill(&orders, "v", 1);
        assert_eq!(orders.segments().last().expect("one").base, orders.end().minus(1));
    });
}

#[test]
fn a_topic_that_is_quiet_gives_up_its_last_records_by_the_age_of_retention_alone() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_age(HOUR));
        fill(&orders, "v", 3);
        world.disk.clock().advance(HOUR);
        let done = maintain(&world);
        assert_eq!((done.segments_rolled, done.segments_removed), (1, 0), "as old as the age, and not older");
        world.disk.clock().advance(Duration::from_millis(1));
        assert_eq!(maintain(&world).segments_removed, 1);
        assert_eq!((orders.start().get(), orders.end().get()), (3, 3));
        fill(&orders, "v", 1);
        is_whole(&world, &orders, "v");
    });
}

#[test]
fn an_empty_partition_and_an_empty_active_segment_neither_roll_nor_go() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().segment_age(HOUR).retention_age(HOUR));
        world.disk.clock().advance(9 * HOUR);
        assert_eq!(maintain(&world), Maintenance::default());
        fill(&orders, "v", 1);
        world.disk.clock().advance(9 * HOUR);
        assert_eq!(maintain(&world).segments_rolled, 1);
        world.disk.clock().advance(9 * HOUR);
        assert_eq!(maintain(&world).segments_rolled, 0);
        assert_eq!((orders.start().get(), orders.end().get()), (1, 1));
        fill(&orders, "v", 1);
        is_whole(&world, &orders, "v");
    });
}

#[test]
fn what_is_beyond_the_size_goes_at_each_roll() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_bytes(10_000));
        fill(&orders, "v", 600);
        assert!(orders.start().get() > 0, "a roll alone applies the limit");
        assert!(orders.bytes() <= 10_000 + 4096, "{} bytes", orders.bytes());
        is_whole(&world, &orders, "v");
        let (start, bytes) = (orders.start(), orders.bytes());
        maintain(&world);
        assert!(orders.bytes() <= bytes && orders.start() >= start);
        is_whole(&world, &orders, "v");
    });
}

/// One segment, nearly full, of which no record is left. As the newest it stays.
fn with_nothing_left(orders: &Partition) -> u64 {
    while orders.bytes() < 3900 {
        fill(orders, "v", 1);
    }
    orders.trim(Offset::new(50)).expect("trims");
    orders.truncate(Offset::new(50)).expect("truncates");
    assert_eq!((orders.segments().len(), orders.start(), orders.end()), (1, Offset::new(50), Offset::new(50)));
    50
}

#[test]
fn what_is_below_the_start_goes_before_any_record() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_bytes(10_000));
        let start = with_nothing_left(&orders);
        while orders.segments()[0].base.get() == 0 {
            fill(&orders, "v", 1);
        }
        assert_eq!(orders.start().get(), start, "without it the limit holds");
        is_whole(&world, &orders, "v");
    });
}

#[test]
fn what_is_below_the_start_goes_without_a_limit_too() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = with(&world, small());
        let start = with_nothing_left(&orders);
        scribble(&orders, "v", 5);
        assert_eq!((orders.segments().len(), segment_files(&world)), (2, 2));
        assert_eq!(maintain(&world).segments_removed, 1);
        assert_eq!((orders.segments().len(), orders.start().get()), (1, start));
        is_whole(&world, &orders, "v");
        drop(orders);
        world.kill();
        assert_eq!(world.partition().start().get(), start);
        is_whole(&world, &world.partition(), "v");
    });
}

#[test]
fn unsynced_records_are_retired_only_once_what_follows_is_durable() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = with(&world, small().retention_bytes(10_000));
        scribble(&orders, "v", 250);
        assert!(orders.bytes() > 10_000 + 2048, "{}", orders.bytes());
        assert_eq!(orders.start().get(), 0, "a roll syncs nothing for a little more");
        maintain(&world);
        let (start, durable) = (orders.start().get(), orders.durable_end());
        assert!(0 < start && start < durable.get());
        world.power_cut();
        let orders = world.partition();
        assert!(orders.start().get() == start && orders.end() >= durable);
        assert_eq!(all(&orders), numbered("v", start..orders.end().get()));
    });
}

#[test]
fn a_reader_whose_records_are_gone_is_told_the_range() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_age(HOUR));
        fill(&orders, "v", 100);
        let mut reader = orders.read_from(Start::Earliest).expect("begins").bytes_max(1);
        assert_eq!(values(&reader.read().expect("reads")), ["v0"]);
        let stood = reader.place();
        world.disk.clock().advance(2 * HOUR);
        fill(&orders, "v", 1);
        maintain(&world);
        let start = orders.start();
        for _ in 0..2 {
            let error = refused(reader.read());
            assert!(matches!(error, Error::OffsetOutOfRange { offset, .. } if offset.get() == 1), "{error}");
            assert_eq!(reader.place(), stood, "it stays where it was");
        }
        let error = refused(orders.read_from(stood));
        let range = format!("it holds {start}..101");
        assert_eq!(error.to_string(), format!("offset 1 of partition 0 of `orders` is out of range; {range}"));
        reader.seek(Start::Earliest).expect("seeks");
        assert_eq!(values(&reader.read().expect("reads")), [format!("v{start}")]);
    });
}

#[test]
fn a_reader_in_the_middle_of_a_segment_that_goes_keeps_what_it_has_read() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_age(HOUR));
        fill(&orders, "v", 100);
        let records = orders.read_from(Start::Earliest).expect("begins").read().expect("reads");
        world.disk.clock().advance(2 * HOUR);
        fill(&orders, "v", 1);
        assert!(maintain(&world).segments_removed > 0);
        assert_eq!(values(&records), numbered("v", 0..100));
    });
}

/// A group that committed after ten records, of which retention then took all but the newest segment.
fn passed_by(mapping: Mapping) -> World {
    let world = world(mapping);
    let orders = with(&world, small().retention_age(HOUR));
    fill(&orders, "v", 10);
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 10);
    consumer.commit().expect("commits");
    fill(&orders, "v", 190);
    world.disk.clock().advance(2 * HOUR);
    fill(&orders, "v", 1);
    maintain(&world);
    assert!(orders.start().get() > 10);
    world
}

#[test]
fn a_group_whose_commit_expired_is_refused_unless_its_policy_says_where_to_go_on() {
    both_ways(|mapping| {
        let world = passed_by(mapping);
        let (orders, start) = (world.topic("orders"), world.partition().start());
        let mut strict = orders.consumer("billing").open().expect("opens");
        assert!(matches!(refused(strict.poll(AT_ONCE)), Error::OffsetOutOfRange { offset, .. } if offset.get() == 10));
        assert!(strict.skipped().is_empty());
        drop(strict);

        let mut lenient = orders.consumer("billing").when_expired(Expired::Earliest).open().expect("opens");
        let read = values(&lenient.poll(AT_ONCE).expect("polls"));
        assert_eq!(read, numbered("v", start.get()..201));
        let [skipped] = lenient.skipped()[..] else { panic!("one skip is told") };
        assert_eq!((skipped.partition, skipped.from, skipped.to), (0, Offset::new(10), start));
        assert!(lenient.skipped().is_empty(), "told once");
        lenient.commit().expect("commits");
        assert_eq!(orders.group("billing").expect("is there").commits[0].lag, Some(0));
    });
}

#[test]
fn a_skip_is_committed_even_where_no_record_is_left() {
    both_ways(|mapping| {
        let world = passed_by(mapping);
        world.partition().trim(world.partition().end()).expect("trims");
        let orders = world.topic("orders");
        let mut lenient = orders.consumer("billing").when_expired(Expired::Earliest).open().expect("opens");
        assert!(lenient.poll(AT_ONCE).expect("polls").is_empty());
        assert_eq!(lenient.skipped().len(), 1);
        lenient.commit().expect("commits");
        drop(lenient);
        let mut strict = orders.consumer("billing").open().expect("opens");
        assert!(strict.poll(AT_ONCE).expect("stands at the start now").is_empty());
    });
}

#[test]
fn a_living_consumer_that_is_overtaken_follows_its_policy() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_age(HOUR));
        fill(&orders, "v", 10);
        let mut consumer =
            world.topic("orders").consumer("billing").when_expired(Expired::Earliest).open().expect("opens");
        assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 10);
        fill(&orders, "v", 190);
        world.disk.clock().advance(2 * HOUR);
        fill(&orders, "v", 1);
        maintain(&world);
        let start = orders.start();
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", start.get()..201));
        let skipped = consumer.skipped();
        assert_eq!((skipped[0].from, skipped[0].to), (Offset::new(10), start));
    });
}

#[test]
fn a_consumer_that_is_overtaken_again_as_it_goes_on_follows_its_policy_again() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 10);
        let builder = world.topic("orders").consumer("billing").when_expired(Expired::Earliest);
        let mut consumer = builder.open().expect("opens");
        assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 10);
        fill(&orders, "v", 290);
        orders.trim(Offset::new(150)).expect("trims");
        let other = orders.clone();
        at_nth(&world.disk, 1, "open", ".log", move || other.trim(Offset::new(250)).expect("trims"));
        assert_eq!(values(&consumer.poll(AT_ONCE).expect("polls")), numbered("v", 250..300));
        let skipped: Vec<_> = consumer.skipped().iter().map(|skip| (skip.from.get(), skip.to.get())).collect();
        assert_eq!(skipped, [(10, 150), (150, 250)]);
    });
}

#[test]
fn a_clock_that_jumps_deletes_nothing_and_the_report_says_so() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_age(HOUR));
        fill(&orders, "v", 100);
        let clock = world.disk.clock();
        let now = clock.now();

        clock.advance_wall(1000 * HOUR);
        let done = maintain(&world);
        assert!(done.retention_suspended);
        assert_eq!((done.segments_removed, orders.start().get()), (0, 0));

        clock.set_wall(Timestamp::from_millis(1_000));
        let done = maintain(&world);
        assert!(!done.retention_suspended);
        assert_eq!((done.segments_removed, orders.start().get()), (0, 0));
        fill(&orders, "v", 100);

        clock.set_wall(now);
        assert_eq!(maintain(&world), Maintenance::default());
        clock.advance(2 * HOUR);
        fill(&orders, "v", 1);
        assert!(maintain(&world).segments_removed > 0, "once the clock is right again, age counts");
        is_whole(&world, &orders, "v");
    });
}

#[test]
fn whoever_maintains_in_the_background_leaves_word_of_a_clock_that_has_jumped() {
    let disk = SimDisk::new(3);
    let store = options(&disk, Mapping::Never).background(true).create("/sim").expect("creates");
    assert_eq!(store.last_maintenance(), None);
    disk.clock().advance_wall(1000 * HOUR);
    let begun = Instant::now();
    let told = loop {
        match store.last_maintenance() {
            Some(told) => break told,
            None => assert!(begun.elapsed() < Duration::from_secs(20), "nobody maintained"),
        }
        std::thread::yield_now();
    };
    assert!(told.done.retention_suspended && told.error.is_none(), "{told}");
    store.close().expect("closes");
}

#[test]
fn what_was_done_beside_an_error_is_told_with_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let options = small().retention_age(HOUR);
        let [bad, good] = ["a", "b"].map(|name| {
            let topic = world.store().create_topic(name, options.clone()).expect("creates");
            let partition = topic.partition(0).expect("is there");
            fill(&partition, "v", 100);
            partition
        });
        scribble(&bad, "v", 1);
        world.disk.fail(Fault::of("sync").on(".log"));
        refused(bad.sync());
        world.disk.clock().advance(2 * HOUR);
        fill(&good, "v", 1);
        let error = refused(world.store().maintain());
        let told = world.store().last_maintenance().expect("was maintained");
        assert_eq!(told.error, Some(error.to_string()));
        assert!(told.done.segments_removed > 0 && good.start() > Offset::ZERO, "{told}");
        let story = told.to_string();
        assert!(story.contains("; failed: partition 0 of `a` refuses writes since sync of `"), "{story}");
        bad.reopen().expect("reopens");
        let done = maintain(&world);
        let told = world.store().last_maintenance().expect("was maintained");
        assert_eq!((told.done, told.error), (done, None));
    });
}

#[test]
fn limits_by_size_hold_while_the_clock_is_not_trusted() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = with(&world, small().retention_bytes(10_000).retention_age(HOUR).segment_age(9000 * HOUR));
        scribble(&orders, "v", 600);
        world.disk.clock().advance_wall(1000 * HOUR);
        let done = maintain(&world);
        assert!(done.retention_suspended && done.segments_removed > 0);
        assert!(orders.segments().len() > 1);
        is_whole(&world, &orders, "v");
    });
}

#[test]
fn a_trim_inside_a_segment_raises_the_start_and_keeps_the_file() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 200);
        let borders: Vec<u64> = world.partition().segments().iter().map(|segment| segment.base.get()).collect();
        let inside = borders[2] + 1;
        world.partition().trim(Offset::new(inside)).expect("trims");
        for _ in 0..2 {
            let orders = world.partition();
            assert_eq!(orders.start().get(), inside);
            assert_eq!(orders.segments()[0].base.get(), borders[2]);
            assert_eq!(segment_files(&world), orders.segments().len());
            assert_eq!(all(&orders), numbered("v", inside..200));
            assert!(matches!(refused(orders.get(Offset::new(inside - 1))), Error::OffsetOutOfRange { .. }));
            world.reopen();
        }
    });
}

#[test]
fn a_trim_to_the_end_leaves_nothing_and_the_next_offset_is_the_same() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 200);
        world.partition().trim(Offset::new(200)).expect("trims");
        assert_eq!(world.partition().segments().len(), 1);
        for lives in 0..3 {
            let orders = world.partition();
            assert_eq!((orders.start().get(), orders.end().get()), (200, 200));
            assert!(all(&orders).is_empty());
            match lives {
                0 => world.reopen(),
                1 => world.power_cut(),
                _ => {}
            }
        }
        fill(&world.partition(), "v", 3);
        assert_eq!(all(&world.partition()), numbered("v", 200..203));
        world.become_image(Image::after_kill);
        assert_eq!(all(&world.partition()), numbered("v", 200..203));
    });
}

#[test]
fn a_trim_is_durable_and_so_is_what_follows_it() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        scribble(&world.partition(), "v", 100);
        world.partition().trim(Offset::new(60)).expect("trims");
        world.power_cut();
        let orders = world.partition();
        assert_eq!((orders.start().get(), orders.end().get()), (60, 100));
        assert_eq!(all(&orders), numbered("v", 60..100));
    });
}

#[test]
fn a_history_that_speaks_mostly_of_what_is_gone_is_compacted_and_says_the_same() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = with(&world, TopicOptions::new().segment_bytes_max(1024).retention_bytes(2048));
        let history = "topics/orders@1/0/history";
        let value = "x".repeat(800);
        let mut largest = 0;
        while used(&world, history) < 70_000 {
            for _ in 0..50 {
                orders.append_with(&value, written()).expect("appends");
            }
            orders.sync().expect("syncs");
            largest = used(&world, history);
        }
        let told = |orders: &Partition| (orders.start(), orders.end(), orders.lineage(), orders.place_at(orders.end()));
        maintain(&world);
        let compacted = used(&world, history);
        assert!(largest >= 70_000 && compacted < 2_000, "{largest} became {compacted} bytes");
        let before = format!("{:?}", told(&orders));
        let tail = orders.read_from(Start::Earliest).expect("begins").read().expect("reads").len();
        world.kill();
        let orders = world.partition();
        assert_eq!(format!("{:?}", told(&orders)), before);
        world.power_cut();
        world.reopen();
        let orders = world.partition();
        assert_eq!(format!("{:?}", told(&orders)), before);
        assert_eq!(orders.read_from(Start::Earliest).expect("begins").read().expect("reads").len(), tail);
        orders.append("goes on").expect("appends");
    });
}

#[test]
fn commits_that_were_overtaken_are_compacted_away_and_the_last_ones_stay() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        let orders = world.topic("orders");
        let mut gone = orders.consumer("gone").open().expect("opens");
        gone.poll(AT_ONCE).expect("polls");
        drop(gone);
        orders.delete_group("gone").expect("deletes");
        commit_a_lot(&world);
        maintain(&world);
        assert!(used(&world, COMMITS) < 10_000);
        for lives in 0..3 {
            let orders = world.topic("orders");
            let groups = orders.groups().expect("lists");
            assert_eq!(groups.len(), 1);
            let commit = &groups[0].commits[0];
            assert_eq!((commit.place.next().get(), commit.metadata.as_deref()), (9, Some(&[7; 4000][..])));
            match lives {
                0 => world.power_cut(),
                _ => world.reopen(),
            }
        }
    });
}

/// Commits so often that most of the file no longer counts, and no more: the next commit would compact it. Record 9 was the
/// last.
fn commit_a_lot(world: &World) {
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    consumer.poll(AT_ONCE).expect("polls");
    for n in 1..=65 {
        consumer.seek(0, Start::At(Offset::new(if n == 65 { 9 } else { n % 9 }))).expect("seeks");
        consumer.commit_with_metadata(&[7; 4000]).expect("commits");
    }
    assert!(used(world, COMMITS) > 256 << 10);
}

fn committed(world: &World) -> Offset {
    world.topic("orders").group("billing").expect("is there").commits[0].place.next()
}

#[test]
fn a_close_leaves_of_the_commits_what_counts() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        commit_a_lot(&world);
        world.reopen();
        assert!(!world.store().recovery().needed);
        assert!(used(&world, COMMITS) < 10_000);
        world.power_cut();
        assert_eq!(committed(&world), Offset::new(9));
    });
}

#[test]
fn a_close_that_finds_no_room_to_compact_the_commits_is_clean_all_the_same() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        fill(&world.partition(), "v", 10);
        commit_a_lot(&world);
        world.disk.fail(Fault::of("create").on("commits.new"));
        world.reopen();
        assert!(!world.store().recovery().needed);
        assert!(used(&world, COMMITS) > 256 << 10);
        assert_eq!(committed(&world), Offset::new(9));
    });
}

#[test]
fn an_error_of_one_topic_keeps_no_other_from_being_maintained() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let options = small().partitions(3).retention_age(HOUR);
        for name in ["a", "b"] {
            let topic = world.store().create_topic(name, options.clone()).expect("creates");
            for number in 0..3 {
                fill(&topic.partition(number).expect("is there"), "v", 100);
            }
        }
        world.close();
        world.disk.flip("topics/a@1/1/history", 8 * 100);
        world.open();
        for name in ["a", "b"] {
            let topic = world.store().topic(name).expect("is there");
            for number in [0, 2] {
                fill(&topic.partition(number).expect("is there"), "v", 1);
            }
        }
        world.disk.clock().advance(2 * HOUR);
        assert!(matches!(refused(world.store().maintain()), Error::Corrupt(_)));
        for (name, number) in [("a", 0), ("a", 2), ("b", 0), ("b", 2)] {
            let start = world.store().topic(name).expect("is there").partition(number).expect("is there").start();
            assert!(start.get() > 0, "partition {number} of `{name}` was not maintained");
        }
    });
}

#[test]
fn what_a_trim_took_stays_gone_when_a_truncate_takes_the_rest() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = with(&world, small());
        fill(&orders, "v", 200);
        let second = orders.segments()[1].base;
        orders.trim(second).expect("trims");
        orders.truncate(second).expect("truncates");
        for _ in 0..2 {
            let verified = epochlog::inspect::verify(world.store(), &mut |_| {}).expect("verifies");
            assert!(verified.is_clean(), "{:?}", verified.damage);
            world.kill();
        }
        assert_eq!(world.partition().end(), second);
    });
}

/// The open writes the history anew, all epochs first: there a cut no longer tells what it gave up.
#[test]
fn what_was_given_up_stays_gone_where_the_store_alone_was_not_closed_cleanly() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = with(&world, small());
        fill(&orders, "v", 200);
        let second = orders.segments()[1].base;
        orders.trim(second).expect("trims");
        orders.truncate(second).expect("truncates");
        world.disk.fail(Fault::of("sync").on("STORE"));
        refused(world.take().close());
        world.open();
        for _ in 0..2 {
            assert_eq!((world.partition().segments().len(), world.partition().end()), (0, second));
            let verified = epochlog::inspect::verify(world.store(), &mut |_| {}).expect("verifies");
            assert!(verified.is_clean(), "{:?}", verified.damage);
            world.power_cut();
        }
    });
}

#[test]
fn what_a_trim_had_no_time_to_unlink_is_unlinked_after_a_kill_and_not_kept_aside() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let orders = with(&world, small());
        fill(&orders, "v", 200);
        let segments = orders.segments();
        let name = segments[0].path.file_name().and_then(|name| name.to_str()).expect("has a name");
        let named =
            |world: &World| world.disk.files().iter().filter(|path| path.to_string_lossy().contains(name)).count();
        world.disk.fail(Fault::of("remove_file").on("/0/").forever());
        orders.trim(segments[1].base).expect("trims");
        assert_eq!(named(&world), 1, "it is still there");
        world.kill();
        assert_eq!(named(&world), 0, "it is gone from everywhere");
    });
}

#[test]
fn who_closes_a_store_that_another_thread_is_closing_waits_until_it_is_closed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        scribble(&world.partition(), "v", 1);
        world.disk.set_sync_delay(Duration::from_millis(20));
        let (first, second) = (world.store().clone(), world.take());
        let closing = std::thread::spawn(move || first.close());
        while second.topics().is_ok() {
            std::thread::yield_now();
        }
        second.close().expect("is no error");
        let again = options(&world.disk, mapping).open("/sim").expect("nobody has the lock any more");
        assert!(!again.recovery().needed);
        closing.join().expect("ends").expect("closes");
    });
}

#[test]
fn a_close_waits_until_maintain_writes_nothing_more() {
    both_ways(|mapping| {
        let world = world(mapping);
        world.disk.fail(Fault::of("remove_file").on("trash").forever());
        for n in 0..20 {
            let name = format!("gone{n}");
            world.topic(&name);
            world.store().delete_topic(&name).expect("deletes");
        }
        world.disk.heal();
        let (tell, told) = mpsc::channel();
        let mut closing = Some((world.store().clone(), world.disk.clone(), tell));
        let (_silent, pause) = mpsc::channel::<()>();
        world.disk.on_operation(Box::new(move |operation| {
            if operation.name != "remove_file" {
                return;
            }
            if let Some((store, disk, tell)) = closing.take() {
                let seen = store.clone();
                std::thread::spawn(move || {
                    store.close().expect("closes");
                    tell.send(disk.operations()).expect("is waited for");
                });
                while seen.topics().is_ok() {
                    std::thread::yield_now();
                }
            }
            // Who closes has its turn between any two of these.
            let _in_vain = pause.recv_timeout(Duration::from_millis(1));
        }));
        maintain(&world);
        let at_close = told.recv().expect("is told");
        assert_eq!(world.disk.operations(), at_close, "the lock was given away");
    });
}
