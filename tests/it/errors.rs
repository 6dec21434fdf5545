//! Every way of saying no, by its real cause and with its whole message: what was wrong, what is allowed, what to do.

use std::error::Error as _;
use std::time::Duration;

use epochlog::testing::{Fault, Image};
use epochlog::{
    Damage, Epoch, Error, Expired, GroupName, Latched, Mapping, Offset, Record, Start, Store, TopicName, TopicOptions,
};

use crate::support::*;

const LOG: &str = "topics/orders@1/0/00000000000000000000@2.log";

const CLOSED: &str =
    "the store is closed, or its last handle was dropped; keep a `Store` as long as you use what came from it";

/// The message, whole; and what holds for all of them.
#[track_caller]
fn says(error: &Error, message: &str) {
    assert_eq!(error.to_string(), message);
    assert!(!message.ends_with('.'), "a full stop: {message}");
    assert!(message.starts_with(|c: char| c.is_lowercase() || c == '`'), "begins with a capital: {message}");
    if let Some(source) = error.source() {
        assert!(!message.contains(&source.to_string()), "repeats its source: {message}");
    }
}

#[track_caller]
fn damage(error: &Error) -> &Damage {
    match error {
        Error::Corrupt(corruption) => &corruption.damage,
        other => panic!("is no damage: {other}"),
    }
}

/// A closed store with ten records and a commit, whose files a test may harm.
fn at_rest(mapping: Mapping) -> World {
    let mut world = world(mapping);
    fill(&world.partition(), "v", 10);
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 10);
    consumer.commit().expect("commits");
    drop(consumer);
    world.close();
    world
}

#[test]
fn errors_travel_between_threads_and_outlive_what_they_came_from() {
    fn travels<T: std::error::Error + Send + Sync + 'static>() {}
    travels::<Error>();
    travels::<epochlog::Corruption>();
}

#[test]
fn io_names_the_operation_and_the_file_and_keeps_the_cause() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 1);
        world.disk.fail(Fault::of("sync").on(LOG));
        let error = refused(world.partition().append("lost?"));
        says(&error, &format!("cannot sync `/sim/{LOG}`"));
        assert!(error.source().expect("has a cause").to_string().starts_with("the simulated disk failed operation"));
    });
}

#[test]
fn storage_full_says_how_much_and_where() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 1);
        world.disk.set_capacity(Some(0));
        let value = "x".repeat(1500);
        let error = (0..100).find_map(|_| world.partition().append(&value).err()).expect("is full at last");
        let Error::StorageFull { path, bytes } = &error else { panic!("{error}") };
        assert!(path.starts_with("/sim/topics/orders@1/0") && *bytes > 0);
        let path = path.display();
        says(
            &error,
            &format!("no space left for {bytes} bytes in `{path}`; the call was undone, make room and try again"),
        );
        world.disk.set_capacity(None);
        world.partition().append(&value).expect("there is room again");
    });
}

#[test]
fn latched_says_what_refuses_and_why() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 1);
        world.disk.fail(Fault::of("sync").on(LOG));
        refused(world.partition().append("lost?"));
        let error = refused(world.partition().append("never written"));
        let rest = "failed; reopen the partition or the store to recover";
        let orders = Latched::Partition { topic: TopicName::new("orders").expect("is one"), partition: 0 };
        assert!(matches!(&error, Error::Latched { what, .. } if *what == orders), "{error:?}");
        says(&error, &format!("partition 0 of `orders` refuses writes since sync of `/sim/{LOG}` {rest}"));
    });
}

#[test]
fn latched_commits_and_a_latched_store_say_so_too() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 1);
        let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
        world.disk.fail(Fault::of("sync").on("commits"));
        refused(consumer.poll(AT_ONCE));
        let error = refused(consumer.poll(AT_ONCE));
        let rest = "failed; reopen the topic or the store to recover";
        let commits = "the commits file of `orders` refuses writes since sync of `/sim/topics/orders@1/commits`";
        says(&error, &format!("{commits} {rest}"));

        world.disk.fail(Fault::of("sync_dir").on("orders@1").nth(2));
        refused(world.topic("orders").add_partitions(2));
        let error = refused(world.topic("orders").add_partitions(2));
        says(&error, &format!("topic `orders` refuses writes since sync of `/sim/topics/orders@1` {rest}"));

        world.disk.fail(Fault::of("sync_dir").on("topics").nth(3));
        refused(world.store().create_topic("audit", TopicOptions::new()));
        let error = refused(world.store().create_topic("other", TopicOptions::new()));
        let rest = "failed; reopen the store to recover";
        says(&error, &format!("store `/sim` refuses writes since sync of `/sim/topics` {rest}"));
    });
}

#[test]
fn locked_names_the_process_and_says_whether_it_is_this_one() {
    let world = world(Mapping::Auto);
    let error = refused(options(&world.disk, Mapping::Auto).open("/sim"));
    let pid = std::process::id();
    let here = format!("this process already (pid {pid}; or in one of that number in another container)");
    says(&error, &format!("store `/sim` is open for writing in {here}; clone the `Store` that is open"));
    let held_by = |pid| Error::Locked { path: "/sim".into(), pid };
    let (elsewhere, rest) = ("store `/sim` is open for writing in another process", "close it there or open read-only");
    says(&held_by(Some(pid + 1)), &format!("{elsewhere} (pid {}); {rest}", pid + 1));
    says(&held_by(None), &format!("{elsewhere}; {rest}"));
}

#[test]
fn read_only_and_closed_say_what_to_do() {
    let mut world = world(Mapping::Auto);
    fill(&world.partition(), "v", 1);
    let reading = options(&world.disk, Mapping::Auto).open_read_only("/sim").expect("opens");
    let orders = reading.topic("orders").expect("is there");
    let message = "store `/sim` is open read-only; open it for writing to do this";
    says(&refused(orders.append("v")), message);
    says(&refused(reading.delete_topic("orders")), message);
    says(&refused(reading.create_topic("b", TopicOptions::new())), message);
    says(&refused(orders.consumer("billing").open()), message);
    let ack = world.partition().append("v").expect("appends");
    let read = orders.partition(0).expect("is there");
    let syncs = [orders.sync(), read.sync(), read.wait_durable(&ack), reading.sync(), reading.maintain().map(drop)];
    syncs.into_iter().for_each(|synced| says(&refused(synced), message));
    let partition = world.partition();
    world.close();
    says(&refused(partition.append("v")), CLOSED);
    world.open();
    let partition = world.partition();
    drop(world.take());
    says(&refused(partition.append("v")), CLOSED);
}

#[test]
fn a_path_that_is_no_store_or_one_already_is_told_so() {
    let disk = epochlog::testing::SimDisk::new(1);
    let error = refused(options(&disk, Mapping::Auto).open("/sim"));
    says(&error, "`/sim` is not a store: the directory is empty; create a store first");
    let world = world(Mapping::Auto);
    let error = refused(options(&at_rest(Mapping::Auto).disk, Mapping::Auto).create("/sim"));
    says(&error, "`/sim` already holds a store; open it instead of creating it");
    drop(world);
}

#[test]
fn a_newer_format_names_both_versions() {
    let mut world = at_rest(Mapping::Auto);
    claim_version(&world.disk, "topics/orders@1/topic", 2);
    world.open();
    says(
        &refused(world.store().topic("orders")),
        "`/sim/topics/orders@1/topic` has format version 2; this epochlog reads version 1, open it with a later one",
    );
}

#[test]
fn a_damaged_record_names_file_position_offsets_and_checksums() {
    both_ways(|mapping| {
        let mut world = at_rest(mapping);
        world.disk.flip(LOG, (96 + 46 + 3) * 8);
        world.open();
        let error = refused(world.partition().read_from(Start::Earliest).expect("begins").read());
        let Damage::Checksum { found, expected } = *damage(&error) else { panic!("{error}") };
        assert_ne!(found, expected);
        let sums = format!("checksum {found:#010x}, expected {expected:#010x}");
        says(&error, &format!("corrupt batch in `/sim/{LOG}` at position 96, offsets 0..1: {sums}"));
    });
}

#[test]
fn a_foreign_file_says_whose_it_is() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        world.topic("audit");
        fill(&world.partition(), "v", 1);
        world.close();
        world.disk.copy("topics/audit@1/commits", "topics/orders@2/commits");
        world.open();
        let error = refused(world.topic("orders").groups());
        let Damage::Foreign { found, expected } = damage(&error) else { panic!("{error}") };
        let path = "/sim/topics/orders@2/commits";
        says(
            &error,
            &format!("foreign commits header in `{path}` at position 0: belongs to {found}, expected {expected}"),
        );
        assert!(found.contains("topic epoch 1.") && expected.contains("topic epoch 2."), "{error}");
    });
}

#[test]
fn a_vanished_file_is_missing() {
    let mut world = at_rest(Mapping::Auto);
    world.disk.remove("topics/orders@1/0/history");
    world.open();
    let topic = world.store().topic("orders").expect("is there");
    says(&refused(topic.partition(0)), "missing history in `/sim/topics/orders@1/0/history`");
}

#[test]
fn two_topics_of_one_name_are_duplicates() {
    let mut world = at_rest(Mapping::Auto);
    for file in ["topic", "commits", "0/history"] {
        world.disk.copy(format!("topics/orders@1/{file}"), format!("topics/orders@9/{file}"));
    }
    world.open();
    says(&refused(world.store().topic("orders")), "duplicate topic directory in `/sim/topics/orders@*`");
}

#[test]
fn a_cut_file_says_how_long_it_is_and_was() {
    let mut world = at_rest(Mapping::Auto);
    world.disk.truncate("topics/orders@1/topic", 40);
    world.open();
    let error = refused(world.store().topic("orders"));
    says(&error, "corrupt topic header in `/sim/topics/orders@1/topic` at position 0: 40 bytes, expected 96");
}

#[test]
fn bytes_that_break_the_format_say_which_rule() {
    let world = at_rest(Mapping::Auto);
    world.disk.truncate("STORE", 96);
    let error = refused(options(&world.disk, Mapping::Auto).open("/sim"));
    let rule = "the entry of the store is missing or damaged";
    says(&error, &format!("corrupt store header in `/sim/STORE` at position 96: {rule}"));
    assert!(matches!(damage(&error), Damage::Malformed(_)));
}

#[test]
fn a_topic_file_that_lost_its_entry_says_so() {
    type Harm = fn(&World);
    let harms: [(Harm, &str); 2] = [
        (|world| world.disk.truncate("topics/orders@1/topic", 96), "no topic entry"),
        (|world| world.disk.flip("topics/orders@1/topic", 110 * 8), "the topic entry is damaged"),
    ];
    for (harm, rule) in harms {
        let mut world = at_rest(Mapping::Auto);
        harm(&world);
        world.open();
        let message = "corrupt topic header in `/sim/topics/orders@1/topic` at position 96";
        says(&refused(world.store().topic("orders")), &format!("{message}: {rule}"));
    }
}

#[test]
fn verifying_names_a_topic_file_that_tells_of_no_topic() {
    let mut world = at_rest(Mapping::Auto);
    world.disk.truncate("topics/orders@1/topic", 96);
    world.open();
    let found = epochlog::inspect::verify(world.store(), &mut |_| {}).expect("verifies");
    let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
    says(&damage.error, "corrupt topic header in `/sim/topics/orders@1/topic` at position 96: no topic entry");
}

#[test]
fn topics_partitions_and_groups_that_are_not_there_or_are_there_already() {
    let world = world(Mapping::Auto);
    says(&refused(world.store().topic("orders")), "topic `orders` not found; create it first");
    let orders = world.topic("orders");
    let epoch = orders.epoch();
    let error = refused(world.store().create_topic("orders", TopicOptions::new()));
    says(&error, &format!("topic `orders` exists already, created in epoch {epoch}; open it, or delete it first"));
    says(&refused(orders.partition(3)), "topic `orders` has no partition 3; it has 1, numbered from 0");
    says(&refused(orders.group("billing")), "group `billing` has no commit in topic `orders`");
    let consumer = orders.consumer("billing").open().expect("opens");
    let error = refused(orders.consumer("billing").open());
    says(&error, "group `billing` already has a live consumer of partition 0 of `orders`; drop it first");
    drop(consumer);
    world.store().delete_topic("orders").expect("deletes");
    let error = refused(orders.append("v"));
    says(&error, &format!("topic `orders` of epoch {epoch} was deleted; ask the store for a topic of that name again"));
}

#[test]
fn a_consumer_without_the_partition_says_so() {
    let world = world(Mapping::Auto);
    let orders = world.store().create_topic("orders", small().partitions(2)).expect("creates");
    let mut consumer = orders.consumer("billing").partitions(&[0]).open().expect("opens");
    let message = "the consumer of group `billing` doesn't have partition 1 of `orders`; open it with that one";
    says(&refused(consumer.seek(1, Start::Earliest)), message);
    let elsewhere = orders.partition(1).expect("is there").place_at(Offset::ZERO).expect("is there");
    says(&refused(consumer.commit_to(elsewhere)), message);
    let message = "topic `orders` has no partition 2; it has 2, numbered from 0";
    says(&refused(consumer.seek(2, Start::Earliest)), message);
    assert!(matches!(refused(consumer.seek(1, Start::Earliest)), Error::NotAssigned { .. }));
}

#[test]
fn invalid_names_options_and_places_say_what_is_allowed() {
    says(
        &refused(TopicName::new("a/b")),
        "topic name `a/b` is invalid: `/` at byte 1; allowed are ASCII letters, digits, `-`, `_` and `.`, beginning with a letter, a digit or `_`",
    );
    says(&refused(GroupName::new("nul")), "group name `nul` is invalid: `nul` is the name of a device on Windows");
    let world = world(Mapping::Auto);
    let error = refused(world.store().create_topic("b", TopicOptions::new().partitions(0)));
    assert!(matches!(error, Error::InvalidOption { option: "partitions", .. }));
    says(&error, "option `partitions` is invalid: 0 was given; allowed is 1 to 10000");
    let error = refused("0:72".parse::<epochlog::Place>());
    assert!(matches!(error, Error::InvalidPlace { .. }));
    says(&error, "place `0:72` is invalid: expected `partition:offset@number.tag`, such as `0:72@7.9f3a5c01d2e4b687`");
}

#[test]
fn too_large_says_the_size_the_limit_and_the_way_out() {
    both_ways(|mapping| {
        let world = world(mapping);
        let big = vec![b'x'; 5000];
        let error = refused(world.partition().append(&big));
        assert!(matches!(error, Error::TooLarge { what: "record", size: 5003, limit: 3954 }), "{error:?}");
        says(&error, "record of 5003 bytes is larger than the limit of 3954; the topic's `segment_bytes_max` sets it");
        let half = vec![b'x'; 2500];
        says(
            &refused(world.partition().append_batch(&[Record::new(&half), Record::new(&half)])),
            "batch of 5006 bytes is larger than the limit of 3954; split it, or create the topic with a larger `segment_bytes_max`",
        );
    });
}

#[test]
fn out_of_range_says_the_range() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 3);
    let error = refused(world.partition().trim(Offset::new(9)));
    assert!(matches!(error, Error::OffsetOutOfRange { .. }));
    says(&error, "offset 9 of partition 0 of `orders` is out of range; it holds 0..3");
}

#[test]
fn too_few_records_says_how_many_were_asked_for_and_what_there_is() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 10);
        let says = |start, range: &str, records: u64| {
            let rest = format!("fewer than the {records} records asked for; start at the earliest or the latest");
            says(&refused(orders.read_from(start)), &format!("partition 0 of `orders` holds {range}, {rest}"));
        };
        says(Start::FromEnd(11), "0..10", 11);
        says(Start::FromBeginning(11), "0..10", 11);
        let error = refused(orders.read_from(Start::FromEnd(u64::MAX)));
        assert!(matches!(error, Error::TooFewRecords { records: u64::MAX, .. }), "{error:?}");
        orders.trim(Offset::new(4)).expect("trims");
        says(Start::FromEnd(7), "4..10", 7);
        let at = |start| orders.read_from(start).expect("begins").place().next().get();
        assert_eq!((at(Start::FromEnd(6)), at(Start::FromBeginning(6))), (4, 10));
    });
}

#[test]
fn a_stale_place_says_why_it_can_mean_nothing() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 3);
    let place = world.partition().place_at(Offset::new(2)).expect("is there");
    world.store().delete_topic("orders").expect("deletes");
    let current = world.topic("orders").epoch();
    let error = refused(world.partition().read_from(place));
    assert!(matches!(error, Error::StaleEpoch { .. }));
    says(
        &error,
        &format!(
            "place `{place}` belongs to an epoch that `orders`, now in epoch {current}, never had: the topic was recreated, or the place is of another topic or store; seek to choose where to go on"
        ),
    );
}

#[test]
fn a_diverged_place_says_where_the_fork_is() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 3);
    let place = world.partition().place_at(Offset::new(3)).expect("is there");
    world.partition().truncate(Offset::new(1)).expect("truncates");
    let error = refused(world.partition().read_from(place));
    assert!(matches!(error, Error::Diverged { .. }));
    says(
        &error,
        &format!(
            "place `{place}` of `orders` lies beyond offset 1, where its history was cut; seek to choose where to go on"
        ),
    );
}

#[test]
fn a_waiter_on_a_closed_store_is_told_and_not_left() {
    let world = world(Mapping::Auto);
    fill(&world.partition(), "v", 1);
    let mut reader = world.partition().read_from(Start::Latest).expect("begins");
    let store: Store = world.store().clone();
    let waiting = std::thread::spawn(move || reader.poll(Duration::from_secs(60)));
    store.close().expect("closes");
    says(&refused(waiting.join().expect("ends")), CLOSED);
}

#[test]
fn an_epoch_is_read_from_its_text_and_what_is_none_is_told_the_form() {
    let epoch = world(Mapping::Auto).topic("orders").epoch();
    assert_eq!(epoch.to_string().parse::<Epoch>().expect("is one"), epoch);
    for text in ["", "7", "7.", ".9f3a5c01d2e4b687", "7.9f3a5c01d2e4b68", "+7.9f3a5c01d2e4b687", "7.9f3a5c01d2e4b68g"] {
        let message = format!("epoch `{text}` is invalid: expected `number.tag`, such as `7.9f3a5c01d2e4b687`");
        says(&refused(text.parse::<Epoch>()), &message);
    }
}

#[test]
fn what_was_passed_over_and_what_was_maintained_is_told_in_a_line() {
    let world = world(Mapping::Auto);
    let orders = world.partition();
    fill(&orders, "v", 10);
    let open = || orders.topic().consumer("billing").when_expired(Expired::Earliest).open().expect("opens");
    open().poll(AT_ONCE).expect("begins");
    orders.trim(Offset::new(7)).expect("trims");
    let mut consumer = open();
    consumer.poll(AT_ONCE).expect("goes on at the start");
    let skipped = consumer.skipped();
    assert_eq!(skipped[0].to_string(), "partition 0: the records 0..7 were passed over: they had been removed");
    let done = world.store().maintain().expect("maintains");
    assert_eq!(done.to_string(), "segments rolled: 0, removed: 0 (0 bytes)");
    let mut late = done;
    (late.segments_removed, late.bytes_removed, late.retention_suspended) = (2, 8192, true);
    let rest = "; retention by age is suspended: the wall clock has run ahead";
    assert_eq!(late.to_string(), format!("segments rolled: 0, removed: 2 (8192 bytes){rest}"));
}

#[test]
fn where_only_the_words_of_an_error_are_kept_they_say_what_the_system_said() {
    let mut world = world(Mapping::Never);
    fill(&world.partition(), "v", 10);
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    consumer.poll(AT_ONCE).expect("polls");
    consumer.commit().expect("commits");
    drop(consumer);
    world.go_down(Image::after_kill);
    world.disk.fail(Fault::of("read").on(".log").forever());
    world.open();
    let error = refused(world.topic_or_error());
    let told = error.in_one_line();
    assert_eq!(told, format!("{error}: {}", error.source().expect("has a cause")));
    // Each is an error of its own, of another operation.
    let words = |told: &str| told.trim_end_matches(char::is_numeric).to_string();
    assert_eq!(words(&world.store().recovery().failed[0].error), words(&told));
    let group = world.topic("orders").group("billing").expect("is there");
    assert_eq!(group.commits[0].problem.as_deref().map(words), Some(words(&told)));
    world.disk.heal();
    world.disk.fail(Fault::of("list").on("trash"));
    let told = refused(world.store().maintain()).in_one_line();
    assert!(told.starts_with("cannot list `/sim/trash`: "), "{told}");
    assert_eq!(world.store().last_maintenance().and_then(|last| last.error), Some(told));
}
