//! Whatever is wrong with what is given: a typed error that says so, and not a byte on the disk is touched.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use epochlog::testing::{Access, Dir, Entry, Fault, File, Lock, Loss, OsDir, Seam, SimDisk};
use epochlog::{
    Damage, Error, GroupName, Mapping, Offset, Place, Record, Start, Store, StoreOptions, Timestamp, TopicName,
    TopicOptions,
};
use parking_lot::Mutex;
use std::sync::Arc;

use crate::support::*;

const ALLOWED: &str = "allowed are ASCII letters, digits, `-`, `_` and `.`, beginning with a letter, a digit or `_`";

/// A store with twenty records in `orders` and a group, still open.
fn busy(mapping: Mapping) -> World {
    let world = world(mapping);
    fill(&world.partition(), "v", 20);
    let mut consumer = world.topic("orders").consumer("billing").open().expect("opens");
    assert_eq!(consumer.poll(AT_ONCE).expect("polls").len(), 20);
    consumer.commit().expect("commits");
    drop(consumer);
    world
}

/// The same, closed, and last opened by another process: its number stands in the lock's file.
fn at_rest(mapping: Mapping) -> World {
    let mut world = busy(mapping);
    world.close();
    world.disk.write("LOCK", "1         \n");
    world
}

#[test]
fn names_that_break_a_rule_are_refused_with_the_rule() {
    let world = busy(Mapping::Auto);
    let long = "x".repeat(201);
    let names = [
        ("", format!("it is empty; {ALLOWED}")),
        (&*long, "201 bytes are more than the 200 allowed".to_string()),
        ("..", format!("`.` at byte 0; {ALLOWED}")),
        (".", format!("`.` at byte 0; {ALLOWED}")),
        ("a/b", format!("`/` at byte 1; {ALLOWED}")),
        ("a\\b", format!("`\\\\` at byte 1; {ALLOWED}")),
        ("a\0b", format!("`\\0` at byte 1; {ALLOWED}")),
        ("a\u{1b}[31m", format!("`\\u{{1b}}` at byte 1; {ALLOWED}")),
        ("a b", format!("` ` at byte 1; {ALLOWED}")),
        ("a@1", format!("`@` at byte 1; {ALLOWED}")),
        ("日本", format!("`日` at byte 0; {ALLOWED}")),
        ("a.", "it ends with `.`, which Windows drops from file names".to_string()),
        ("con", "`con` is the name of a device on Windows".to_string()),
        ("LPT9.log", "`LPT9` is the name of a device on Windows".to_string()),
    ];
    for (name, reason) in &names {
        let shown = name.escape_debug();
        let topic = format!("topic name `{shown}` is invalid: {reason}");
        let group = format!("group name `{shown}` is invalid: {reason}");
        let (store, orders) = (world.store(), world.topic("orders"));
        let calls: [&dyn Fn() -> Result<(), Error>; 10] = [
            &|| store.topic(name).map(drop),
            &|| store.create_topic(name, TopicOptions::new()).map(drop),
            &|| store.topic_or_create(name, TopicOptions::new()).map(drop),
            &|| store.delete_topic(name),
            &|| TopicName::new(name).map(drop),
            &|| orders.consumer(name).open().map(drop),
            &|| orders.group(name).map(drop),
            &|| orders.reset_group(name, &[(0, Start::Earliest.into())]).map(drop),
            &|| orders.delete_group(name),
            &|| GroupName::new(name).map(drop),
        ];
        for (i, call) in calls.iter().enumerate() {
            let error = refused_untouched(&world.disk, call);
            assert!(matches!(error, Error::InvalidName { .. }));
            assert_eq!(error.to_string(), if i < 5 { &*topic } else { &*group });
        }
    }
    assert_eq!(world.store().topics().expect("lists"), [TopicName::new("orders").expect("is a name")]);
}

#[test]
fn options_out_of_range_are_refused_with_what_is_allowed() {
    let world = busy(Mapping::Auto);
    let new = TopicOptions::new;
    let (none, ever) = (Duration::ZERO, Duration::MAX);
    let ms = "allowed is 1 ms to 31622400000000 ms";
    let never = "18446744073709551615 ms was given";
    let table = [
        (new().partitions(0), "partitions", "0 was given; allowed is 1 to 10000".to_string()),
        (new().partitions(10_001), "partitions", "10001 was given; allowed is 1 to 10000".into()),
        (new().segment_bytes_max(1023), "segment_bytes_max", "1023 was given; allowed is 1024 to 2147483648".into()),
        (
            new().segment_bytes_max((1 << 31) + 1),
            "segment_bytes_max",
            "2147483649 was given; allowed is 1024 to 2147483648".into(),
        ),
        (new().unsynced_bytes_max(0), "unsynced_bytes_max", "0 was given; allowed is at least 1024".into()),
        (new().retention_bytes(1023), "retention_bytes", "1023 was given; allowed is at least 1024".into()),
        (new().sync_bytes(1), "sync_bytes", "1 was given; allowed is at least 1024".into()),
        (new().segment_age(none), "segment_age", format!("0 ms was given; {ms}")),
        (new().segment_age(ever), "segment_age", format!("{never}; {ms}")),
        (new().retention_age(none), "retention_age", format!("0 ms was given; {ms}")),
        (new().retention_age(ever), "retention_age", format!("{never}; {ms}")),
        (new().sync_interval(Duration::from_micros(999)), "sync_interval", format!("0 ms was given; {ms}")),
        (new().sync_interval(ever), "sync_interval", format!("{never}; {ms}")),
    ];
    for (options, name, reason) in table {
        for call in [Store::create_topic, Store::topic_or_create] {
            let error = refused_untouched(&world.disk, || call(world.store(), "fresh", options.clone()));
            assert!(matches!(error, Error::InvalidOption { option, .. } if option == name));
            assert_eq!(error.to_string(), format!("option `{name}` is invalid: {reason}"));
        }
    }
    let at_limit = new().partitions(1).segment_bytes_max(1024).unsynced_bytes_max(1024).retention_bytes(1024);
    world.store().create_topic("fresh", at_limit.sync_bytes(1024)).expect("the least of each is allowed");
}

#[test]
fn partitions_can_only_be_added() {
    let world = busy(Mapping::Auto);
    let orders = world.topic("orders");
    for (total, reason) in [
        (0, "0 was given and there are 1; partitions can only be added"),
        (1, "1 was given and there are 1; partitions can only be added"),
        (10_001, "10001 was given; allowed is 1 to 10000"),
    ] {
        let error = refused_untouched(&world.disk, || orders.add_partitions(total));
        assert_eq!(error.to_string(), format!("option `partitions` is invalid: {reason}"));
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let world = busy(Mapping::Auto);
    let orders = world.topic("orders");
    let topic = "topic `audit` not found; create it first";
    assert_eq!(refused_untouched(&world.disk, || world.store().topic("audit")).to_string(), topic);
    assert_eq!(refused_untouched(&world.disk, || world.store().delete_topic("audit")).to_string(), topic);
    for number in [1, u32::MAX] {
        let message = format!("topic `orders` has no partition {number}; it has 1, numbered from 0");
        let open = || orders.consumer("billing").partitions(&[0, number]).open();
        assert_eq!(refused_untouched(&world.disk, open).to_string(), message);
        let reset = || orders.reset_group("billing", &[(0, Start::Latest.into()), (number, Start::Latest.into())]);
        assert_eq!(refused_untouched(&world.disk, reset).to_string(), message);
        assert_eq!(refused_untouched(&world.disk, || orders.partition(number)).to_string(), message);
    }
    let group = "group `audit` has no commit in topic `orders`";
    assert_eq!(refused_untouched(&world.disk, || orders.group("audit")).to_string(), group);
    assert_eq!(refused_untouched(&world.disk, || orders.delete_group("audit")).to_string(), group);
    orders.consumer("billing").open().expect("what was refused holds no partition");
}

#[test]
fn offsets_out_of_range_are_refused_with_the_range() {
    both_ways(|mapping| {
        let world = busy(mapping);
        let orders = world.partition();
        orders.trim(Offset::new(5)).expect("trims");
        for number in [0, 4, 21, u64::MAX] {
            let offset = Offset::new(number);
            let message = format!("offset {number} of partition 0 of `orders` is out of range; it holds 5..20");
            let calls: [&dyn Fn() -> Result<(), Error>; 5] = [
                &|| orders.read_from(Start::At(offset)).map(drop),
                &|| orders.get(offset).map(drop),
                &|| orders.trim(offset),
                &|| orders.truncate(offset),
                &|| orders.place_at(offset).map(drop),
            ];
            for call in calls {
                assert_eq!(refused_untouched(&world.disk, call).to_string(), message);
            }
        }
        assert_eq!(refused(orders.get(Offset::new(20))).to_string(), refused_at(20));
        for (start, records) in [16, u64::MAX].into_iter().flat_map(counted) {
            let error = refused_untouched(&world.disk, || orders.read_from(start));
            let rest = format!("fewer than the {records} records asked for; start at the earliest or the latest");
            assert_eq!(error.to_string(), format!("partition 0 of `orders` holds 5..20, {rest}"));
        }
    });
}

fn counted(records: u64) -> [(Start, u64); 2] {
    [(Start::FromBeginning(records), records), (Start::FromEnd(records), records)]
}

fn refused_at(number: u64) -> String {
    format!("offset {number} of partition 0 of `orders` is out of range; it holds 5..20")
}

#[test]
fn places_that_no_log_gave_out_are_refused() {
    both_ways(|mapping| {
        let world = busy(mapping);
        let two = world.store().create_topic("two", small().partitions(2)).expect("creates");
        for number in 0..2 {
            fill(&two.partition(number).expect("is there"), "w", 20);
        }
        let (mine, other) = (two.partition(0).expect("is there"), two.partition(1).expect("is there"));
        let elsewhere = other.place_at(Offset::new(3)).expect("is there");
        let error = refused_untouched(&world.disk, || mine.read_from(elsewhere));
        let reason = "it belongs to partition 1, not to partition 0";
        assert_eq!(error.to_string(), format!("place `{elsewhere}` is invalid: {reason}"));

        let creation = two.epoch();
        let impossible: Place = format!("0:0@{}", mine.lineage()[1].epoch).parse().expect("parses");
        let error = refused_untouched(&world.disk, || mine.read_from(impossible));
        assert!(matches!(error, Error::InvalidPlace { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("place `{impossible}` is invalid: ")), "{error}");

        let beyond: Place = format!("0:7@{creation}").parse().expect("parses");
        let error = refused_untouched(&world.disk, || mine.read_from(beyond));
        assert!(matches!(error, Error::Diverged { fork, .. } if fork == Offset::ZERO), "{error}");

        let mut consumer = two.consumer("billing").open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        for place in [impossible, beyond] {
            refused_untouched(&world.disk, || consumer.commit_to(place));
            refused_untouched(&world.disk, || consumer.seek(0, place));
        }
        drop(consumer);
        for place in [impossible, beyond, elsewhere] {
            refused_untouched(&world.disk, || two.reset_group("billing", &[(0, place.into())]));
        }
    });
}

#[test]
fn places_of_another_topic_or_another_store_are_stale() {
    both_ways(|mapping| {
        let world = busy(mapping);
        fill(&world.topic("audit").partition(0).expect("is there"), "v", 20);
        let of_audit = world.topic("audit").partition(0).expect("is there").place_at(Offset::new(7)).expect("is there");
        let elsewhere = {
            let disk = SimDisk::new(99);
            let store = options(&disk, mapping).create("/sim").expect("creates");
            let orders = store.create_topic("orders", small()).expect("creates");
            fill(&orders.partition(0).expect("is there"), "v", 20);
            orders.partition(0).expect("is there").place_at(Offset::new(7)).expect("is there")
        };
        let mine = world.partition().place_at(Offset::new(7)).expect("is there");
        assert_eq!(elsewhere.epoch().number, mine.epoch().number, "only the tag tells them apart");
        for place in [of_audit, elsewhere] {
            let orders = world.topic("orders");
            let error = refused_untouched(&world.disk, || world.partition().read_from(place));
            assert!(matches!(error, Error::StaleEpoch { place: refused, .. } if refused == place), "{error}");
            let mut consumer = orders.consumer("billing").open().expect("opens");
            assert!(matches!(refused_untouched(&world.disk, || consumer.commit_to(place)), Error::StaleEpoch { .. }));
            assert!(matches!(refused_untouched(&world.disk, || consumer.seek(0, place)), Error::StaleEpoch { .. }));
            drop(consumer);
            let error = refused_untouched(&world.disk, || orders.reset_group("billing", &[(0, place.into())]));
            assert!(matches!(error, Error::StaleEpoch { .. }));
        }
    });
}

#[test]
fn malformed_places_are_refused_with_the_form_expected() {
    let form = "expected `partition:offset@number.tag`, such as `0:72@7.9f3a5c01d2e4b687`";
    for text in ["", "72", "0:72@7", "0:72@7.9f3a5c01d2e4b68", "0:72@7.9f3a5c01d2e4b687 ", "x:72@7.9f3a5c01d2e4b687"] {
        assert_eq!(refused(text.parse::<Place>()).to_string(), format!("place `{text}` is invalid: {form}"));
    }
    assert_eq!(refused(Place::from_bytes(&[7; 3])).to_string(), "place `070707` is invalid: 3 bytes, expected 32");
    let world = busy(Mapping::Auto);
    let mut bytes = world.partition().place_at(Offset::new(7)).expect("is there").to_bytes();
    bytes[4] ^= 1;
    let message = refused(Place::from_bytes(&bytes)).to_string();
    assert!(message.contains("is invalid: checksum 0x") && message.contains(", expected 0x"), "{message}");
}

#[test]
fn times_before_and_after_everything_find_the_start_and_the_end() {
    both_ways(|mapping| {
        let world = busy(mapping);
        let orders = world.partition();
        orders.trim(Offset::new(5)).expect("trims");
        for (time, offset) in [(Timestamp::MIN, 5), (Timestamp::from_millis(-1), 5), (Timestamp::MAX, 20)] {
            assert_eq!(orders.offset_at(time).expect("finds").get(), offset);
            assert_eq!(orders.read_from(Start::Time(time)).expect("begins").place().next().get(), offset);
        }
        let empty = world.topic("empty").partition(0).expect("is there");
        assert_eq!(empty.offset_at(Timestamp::MIN).expect("finds").get(), 0);
        assert_eq!(empty.offset_at(Timestamp::MAX).expect("finds").get(), 0);
    });
}

#[test]
fn of_a_batch_over_several_partitions_nothing_is_written_if_one_part_is_too_large() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.store().create_topic("wide", small().partitions(4)).expect("creates");
        let keys: Vec<String> = (0..8).map(|n| format!("device-{n}")).collect();
        let too_large = vec![b'x'; 5000];
        // Whichever of the keys it is, and so whichever of the partitions, the first and the last among them.
        for large in 0..keys.len() {
            let value = |n: usize| if n == large { &too_large[..] } else { b"v" };
            let records: Vec<_> = keys.iter().enumerate().map(|(n, key)| Record::new(value(n)).key(key)).collect();
            let error = refused_untouched(&world.disk, || orders.append_batch(&records));
            assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
        }
        let ends: u64 = (0..4).map(|n| orders.partition(n).expect("is there").end().get()).sum();
        assert_eq!(ends, 0);
        let records: Vec<_> = keys.iter().map(|key| Record::new("v").key(key)).collect();
        let acks = orders.append_batch(&records).expect("fits");
        assert!(acks.len() > 2, "the keys go to several partitions: {acks:?}");
    });
}

#[test]
fn a_record_or_batch_fits_exactly_at_the_limit_and_not_one_byte_above() {
    both_ways(|mapping| {
        let world = busy(mapping);
        let orders = world.partition();
        // Of 4096 bytes a file header takes 96, a batch header 46, and a record of this size 3 more.
        let value = vec![b'x'; 4096 - 96 - 46 - 3];
        let over = [&value[..], b"x"].concat();
        let error = refused_untouched(&world.disk, || orders.append(&over));
        assert!(matches!(error, Error::TooLarge { what: "record", size: 3955, limit: 3954 }), "{error:?}");
        orders.append(&value).expect("fits");
        let (half, rest) = (vec![b'x'; 1000], vec![b'x'; 4096 - 96 - 46 - 3 - 1003]);
        let over = [&rest[..], b"x"].concat();
        let error = refused_untouched(&world.disk, || orders.append_batch(&[Record::new(&half), Record::new(&over)]));
        assert!(matches!(error, Error::TooLarge { what: "batch", size: 3955, limit: 3954 }), "{error:?}");
        orders.append_batch(&[Record::new(&half), Record::new(&rest)]).expect("fits");
        assert_eq!(orders.end().get(), 23);
        let read = orders.get(Offset::new(20)).expect("reads");
        assert_eq!(read.iter().next().expect("is there").value(), value);
        assert!(orders.segments().iter().all(|segment| segment.bytes <= 4096));
    });
}

#[test]
fn metadata_fits_exactly_at_the_limit_and_not_one_byte_above() {
    let world = busy(Mapping::Auto);
    let orders = world.topic("orders");
    let mut consumer = orders.consumer("billing").open().expect("opens");
    consumer.seek(0, Start::At(Offset::new(3))).expect("seeks");
    let error = refused_untouched(&world.disk, || consumer.commit_with_metadata(&[7; 4097]));
    assert_eq!(
        error.to_string(),
        "metadata of a commit of 4097 bytes is larger than the limit of 4096; keep the rest elsewhere"
    );
    consumer.commit_with_metadata(&[7; 4096]).expect("fits");
    let commit = orders.group("billing").expect("is there").commits.remove(0);
    assert_eq!((commit.metadata, commit.place.next().get()), (Some(vec![7; 4096]), 3));
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let dir = tempfile::tempdir().expect("makes");
    let path = dir.path().join("file");
    std::fs::write(&path, "precious").expect("writes");
    let message = format!("`{}` is not a store: it is not a directory; give the path of a directory", path.display());
    for refusal in [Store::create(&path), Store::open(&path), Store::open_or_create(&path)] {
        assert_eq!(refused(refusal).to_string(), message);
    }
    assert_eq!(refused(Store::open_read_only(&path)).to_string(), message);
    assert_eq!(std::fs::read(&path).expect("reads"), b"precious");
}

#[test]
fn a_path_where_nothing_is_says_so_and_stays_so() {
    let dir = tempfile::tempdir().expect("makes");
    let path = dir.path().join("nothing");
    let message = format!("`{}` is not a store: nothing is there; create a store first", path.display());
    assert_eq!(refused(Store::open(&path)).to_string(), message);
    assert_eq!(refused(Store::open_read_only(&path)).to_string(), message);
    assert!(!path.exists());
    let deep = path.join("deeper");
    assert_eq!(refused(Store::create(&deep)).to_string(), format!("cannot create `{}`", deep.display()));
    assert!(!path.exists());
}

/// What the four ways of opening say.
fn opened(disk: &SimDisk, way: usize) -> Result<Store, Error> {
    let options = options(disk, Mapping::Auto);
    match way {
        0 => options.open("/sim"),
        1 => options.open_read_only("/sim"),
        2 => options.create("/sim"),
        _ => options.open_or_create("/sim"),
    }
}

#[test]
fn a_store_that_lost_its_file_is_not_created_anew_where_its_topics_cannot_be_listed() {
    let world = at_rest(Mapping::Auto);
    world.disk.remove("STORE");
    let before = tree(&world.disk);
    for way in 0..4 {
        world.disk.fail(Fault::of("list").on("topics"));
        let error = refused(opened(&world.disk, way));
        world.disk.heal();
        assert_eq!(error.to_string(), "cannot list `/sim/topics`");
        assert!(before == tree(&world.disk), "the disk was changed");
    }
}

#[test]
fn a_directory_of_other_things_is_refused() {
    let disk = SimDisk::new(1);
    disk.write("thesis.tex", "precious");
    let reason = "the directory holds other files and no file `STORE`; give an empty or a new directory";
    for way in 0..4 {
        let error = refused_untouched(&disk, || opened(&disk, way));
        assert_eq!(error.to_string(), format!("`/sim` is not a store: {reason}"));
    }
    disk.write("LOCK", "");
    for way in 0..4 {
        assert!(matches!(refused_untouched(&disk, || opened(&disk, way)), Error::NotAStore { .. }));
    }
}

#[test]
fn a_directory_whose_file_of_that_name_is_not_ours_is_left_as_it_is() {
    let disk = SimDisk::new(1);
    disk.write("STORE", "milk, bread, and enough of it for a header: ".repeat(5));
    for way in 0..4 {
        assert!(matches!(refused_untouched(&disk, || opened(&disk, way)), Error::Corrupt(_)));
    }
    let world = at_rest(Mapping::Auto);
    claim_version(&world.disk, "STORE", 9);
    world.disk.remove("LOCK");
    for way in 0..4 {
        let error = refused_untouched(&world.disk, || opened(&world.disk, way));
        assert!(matches!(error, Error::UnsupportedVersion { .. }), "{error}");
    }
}

#[test]
fn a_creation_that_was_cut_anywhere_says_so_and_is_completed_when_asked() {
    let images = Arc::new(Mutex::new(Vec::new()));
    let disk = SimDisk::new(1);
    let seen = images.clone();
    disk.on_operation(Box::new(move |operation| seen.lock().push(operation.image())));
    drop(options(&disk, Mapping::Auto).create("/sim").expect("creates"));
    let images = std::mem::take(&mut *images.lock());
    let (mut empty, mut half, mut whole) = (0, 0, 0);
    for image in &images {
        for lost in [Loss::None, Loss::All] {
            let before = tree(&image.after(lost));
            let says = |disk: &SimDisk, way| refused_untouched(disk, || opened(disk, way)).to_string();
            let expected = if before.keys().any(|path| path.ends_with("STORE")) {
                whole += 1;
                opened(&image.after(lost), 0).expect("is whole");
                continue;
            } else if before.is_empty() {
                empty += 1;
                "`/sim` is not a store: the directory is empty; create a store first"
            } else {
                half += 1;
                "`/sim` is not a store: its creation was interrupted; create it again, or use open_or_create"
            };
            assert_eq!(says(&image.after(lost), 0), expected);
            assert_eq!(says(&image.after(lost), 1), expected);
            for way in [2, 3] {
                let disk = image.after(lost);
                let store = opened(&disk, way).expect("completes the creation");
                store.create_topic("orders", small()).expect("creates").append("v").expect("appends");
                store.close().expect("closes");
                let store = opened(&disk, 0).expect("opens");
                assert_eq!(store.topics().expect("lists").len(), 1);
            }
        }
    }
    assert!(empty >= 2 && half >= 8 && whole >= 2, "{empty} empty, {half} half created, {whole} whole");
}

/// Opens a store while another process does so at this operation; whether the operation came.
fn opened_beside_another(way: usize, nth: usize, keeps: bool) -> bool {
    let (disk, other) = (SimDisk::new(1), Arc::new(Mutex::new(None)));
    let (there, opening, mut seen) = (disk.clone(), other.clone(), 0);
    disk.on_operation(Box::new(move |_| {
        seen += 1;
        if seen == nth {
            let created = opened(&there, 3).inspect(|store| drop(store.create_topic("orders", small())));
            *opening.lock() = Some(created.map(|store| keeps.then_some(store)));
        }
    }));
    let found = opened(&disk, way);
    let other = other.lock().take();
    let what = format!("way {way}, operation {nth}, kept open {keeps}");
    match (&found, &other) {
        (Ok(_), Some(other)) => assert!(!matches!(other, Ok(Some(_))) || way == 1, "{what}: two writers"),
        (Err(Error::Locked { .. }), Some(Ok(Some(_)))) | (_, None) => {}
        (Err(Error::StoreExists { .. }), Some(Ok(None))) => assert_eq!(way, 2, "{what}"),
        (found, Some(_)) => panic!("{what}: {found:?}"),
    }
    disk.on_operation(Box::new(|_| {}));
    other.is_some()
}

#[test]
fn who_opens_while_another_process_creates_the_store_opens_it_or_finds_it_locked() {
    for (way, keeps) in (0..4).flat_map(|way| [(way, true), (way, false)]) {
        let came = (1..).take_while(|&nth| opened_beside_another(way, nth, keeps)).count();
        assert!(came >= 3, "way {way}: {came} operations");
    }
}

/// A directory that another process makes just before this one does.
#[derive(Debug)]
struct Overtaken(OsDir);

impl Dir for Overtaken {
    fn root(&self) -> &Path {
        self.0.root()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if path == Path::new("") {
            self.0.create_dir(path)?;
        }
        self.0.create_dir(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.0.sync(path)
    }

    fn sync_name(&self) -> io::Result<()> {
        self.0.sync_name()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.0.open(path, access)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.create(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.0.try_lock(path)
    }

    fn reserves(&self) -> bool {
        self.0.reserves()
    }
}

#[test]
fn a_directory_that_another_process_has_just_made_is_a_free_place() {
    for fresh in [true, false] {
        let temp = tempfile::tempdir().expect("makes a directory");
        let path = temp.path().join("data");
        let seam = Seam { dir: Arc::new(Overtaken(OsDir::new(&path))), ..SimDisk::new(1).seam() };
        let options = StoreOptions::new().seam(seam);
        let store = if fresh { options.create(&path) } else { options.open_or_create(&path) };
        store.expect("creates").close().expect("closes");
    }
}

#[test]
fn a_store_that_may_not_be_written_is_refused_and_can_be_read() {
    let world = at_rest(Mapping::Auto);
    let denied = ErrorKind::PermissionDenied;
    for (fault, message) in [
        (Fault::of("open").on("LOCK"), "cannot open `/sim/LOCK`"),
        (Fault::of("try_lock"), "cannot lock `/sim/LOCK`"),
        (Fault::of("list"), "cannot list `/sim`"),
        (Fault::of("open").on("STORE"), "cannot open `/sim/STORE`"),
        (Fault::of("create").on("STORE.new"), "cannot create `/sim/STORE.new`"),
        (Fault::of("remove_file").on("STORE.new"), "cannot remove `/sim/STORE.new`"),
        (Fault::of("list").on("topics"), "cannot list `/sim/topics`"),
    ] {
        let before = without_lock(&world.disk);
        world.disk.fail(fault.kind(denied).forever());
        let error = refused(opened(&world.disk, 0));
        world.disk.heal();
        assert_eq!(error.to_string(), message);
        assert!(matches!(error, Error::Io { source, .. } if source.kind() == denied));
        assert!(without_lock(&world.disk) == before, "{message}: the disk was changed");
    }
    for name in ["write", "create", "create_dir", "rename", "remove_file", "sync", "sync_dir", "try_lock", "set_len"] {
        world.disk.fail(Fault::of(name).kind(denied).forever());
    }
    let store = opened(&world.disk, 1).expect("reads");
    let orders = store.topic("orders").expect("is there").partition(0).expect("is there");
    assert_eq!(all(&orders), numbered("v", 0..20));
}

/// The disk without the number that an opening process leaves in the lock's file once it knows that this is a store.
fn without_lock(disk: &SimDisk) -> std::collections::BTreeMap<std::path::PathBuf, Option<Vec<u8>>> {
    let mut tree = tree(disk);
    tree.remove(std::path::Path::new("LOCK"));
    tree
}

#[test]
fn a_directory_that_may_not_be_written_holds_no_new_store() {
    let disk = SimDisk::new(1);
    disk.fail(Fault::of("create").kind(ErrorKind::PermissionDenied).forever());
    for way in [2, 3] {
        let error = refused_untouched(&disk, || opened(&disk, way));
        assert_eq!(error.to_string(), "cannot create `/sim/LOCK`");
    }
}

#[test]
fn a_full_disk_that_holds_no_new_store_says_so() {
    for (call, on) in [("create", "LOCK"), ("create_dir", "topics"), ("create_dir", "trash"), ("create", "STORE.new")] {
        let disk = SimDisk::new(1);
        disk.fail(Fault::of(call).on(on).kind(ErrorKind::StorageFull));
        let error = refused(opened(&disk, 2));
        assert!(matches!(&error, Error::StorageFull { path, .. } if path.ends_with(on)), "{error}");
        opened(&disk, 2).expect("completes the creation").close().expect("closes");
    }
}

#[test]
fn a_locked_store_is_refused_with_the_process_that_has_it() {
    let world = busy(Mapping::Auto);
    let mine = std::process::id();
    for way in [0, 2, 3] {
        let error = refused_untouched(&world.disk, || opened(&world.disk, way));
        assert!(matches!(error, Error::Locked { pid, .. } if pid == Some(mine)), "{error}");
    }
    opened(&world.disk, 1).expect("reading needs no lock");
    world.disk.write("LOCK", "no number");
    let error = refused_untouched(&world.disk, || opened(&world.disk, 0));
    assert_eq!(
        error.to_string(),
        "store `/sim` is open for writing in another process; close it there or open read-only"
    );
}

#[test]
fn a_store_that_is_there_is_not_created_again() {
    let world = at_rest(Mapping::Auto);
    let error = refused_untouched(&world.disk, || opened(&world.disk, 2));
    assert!(matches!(error, Error::StoreExists { .. }));
    assert_eq!(error.to_string(), "`/sim` already holds a store; open it instead of creating it");
}

/// The directory may be what an interrupted creation left, or a host made, in a directory that nobody synced.
#[test]
fn no_store_is_there_before_its_own_name_is_durable() {
    let disk = SimDisk::new(1);
    disk.fail(Fault::of("sync_name"));
    let error = opened(&disk, 3).expect_err("isn't created");
    assert!(matches!(error, Error::Io { operation: "sync the name of", .. }), "{error}");
    assert!(!disk.files().iter().any(|path| path.ends_with("STORE")));
    disk.fail(Fault::of("sync_name").kind(std::io::ErrorKind::PermissionDenied));
    drop(opened(&disk, 3).expect("its host answers for a directory that it keeps from us"));
}

/// A file system that is never written, as that of a small device may be, knows no sync; another is mounted in it.
#[test]
fn a_store_is_created_where_the_directory_around_it_can_not_be_synced() {
    for kind in [ErrorKind::InvalidInput, ErrorKind::Unsupported, ErrorKind::ReadOnlyFilesystem] {
        let disk = SimDisk::new(1);
        disk.fail(Fault::of("sync_name").kind(kind));
        drop(opened(&disk, 3).unwrap_or_else(|error| panic!("{kind}: {error}")));
    }
}

#[test]
fn a_directory_with_a_number_that_nobody_issued_keeps_no_store_from_opening() {
    for dir in ["topics", "trash"] {
        let mut world = at_rest(Mapping::Auto);
        world.disk.create_dir(format!("{dir}/x@{}", u64::MAX).as_ref()).expect("creates");
        world.reopen();
        world.topic("another");
    }
}

#[test]
fn a_store_of_a_newer_format_is_refused() {
    let world = at_rest(Mapping::Auto);
    claim_version(&world.disk, "STORE", 2);
    for way in [0, 1, 3] {
        let error = refused_untouched(&world.disk, || opened(&world.disk, way));
        assert!(matches!(error, Error::UnsupportedVersion { .. }));
        assert_eq!(
            error.to_string(),
            "`/sim/STORE` has format version 2; this epochlog reads version 1, open it with a later one"
        );
    }
}

#[test]
fn a_damaged_store_file_is_refused_whichever_bit_it_is() {
    let world = at_rest(Mapping::Auto);
    let bits = world.disk.read("STORE").len() as u64 * 8;
    for bit in (0..bits).step_by(5) {
        let disk = world.disk.clone_synced();
        disk.flip("STORE", bit);
        let error = refused_untouched(&disk, || opened(&disk, 0));
        let Error::Corrupt(corruption) = &error else { panic!("bit {bit}: {error}") };
        assert_eq!((corruption.what, &*corruption.path), ("store header", std::path::Path::new("/sim/STORE")));
        refused_untouched(&disk, || opened(&disk, 1));
    }
    for len in 0..world.disk.read("STORE").len() {
        let disk = world.disk.clone_synced();
        disk.truncate("STORE", len);
        let error = refused_untouched(&disk, || opened(&disk, 3));
        assert!(matches!(error, Error::Corrupt(_)), "{len} bytes: {error}");
    }
    let disk = world.disk.clone_synced();
    disk.copy("topics/orders@1/topic", "STORE");
    let error = refused_untouched(&disk, || opened(&disk, 0));
    assert!(matches!(error, Error::Corrupt(corruption) if matches!(corruption.damage, Damage::Foreign { .. })));
}

#[test]
fn the_wrong_acknowledgement_is_refused() {
    let world = busy(Mapping::Auto);
    let two = world.store().create_topic("two", small().partitions(2)).expect("creates");
    let (zero, one) = (two.partition(0).expect("is there"), two.partition(1).expect("is there"));
    let ack = one.append_with("v", written()).expect("appends");
    assert!(matches!(refused_untouched(&world.disk, || zero.wait_durable(&ack)), Error::InvalidPlace { .. }));
    let ack = zero.append_with("v", written()).expect("appends");
    let error = refused_untouched(&world.disk, || world.partition().wait_durable(&ack));
    assert!(matches!(error, Error::StaleEpoch { .. }), "{error}");
}
