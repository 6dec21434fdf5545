//! Two real processes over one store, of which one reads. The other one is this very binary: a test that, told so by its
//! environment, is the writer; run without being told it does nothing. Kills and locks are in `tests/machine`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use epochlog::{Durability, Error, Mapping, Offset, Record, Start, Store, StoreOptions, TopicOptions};

use crate::support::{all, fill, numbered, small};

const ROLE: &str = "EPOCHLOG_TEST_ROLE";
const STORE: &str = "EPOCHLOG_TEST_STORE";
const MAPPED: &str = "EPOCHLOG_TEST_MAPPED";
const BATCH: u64 = 1000;
const RECORDS: u64 = 1_000_000;

/// Starts this binary as a child that plays one of the parts below, over this store.
fn child(role: &str, path: &Path, mapping: Mapping) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("knows itself"));
    command.args(["processes::plays_its_part", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(STORE, path).env(MAPPED, if mapping == Mapping::Auto { "yes" } else { "no" });
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("starts")
}

#[test]
fn plays_its_part() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var(STORE).expect("is told where"));
    let mapping =
        if std::env::var(MAPPED).is_ok_and(|mapped| mapped == "yes") { Mapping::Auto } else { Mapping::Never };
    let options = StoreOptions::new().mapping(mapping);
    // Ends with its parent, whatever becomes of it.
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    match role.as_str() {
        "writer" => write_for_ever(&options.open_or_create(&path).expect("opens")),
        "traveller" => travel(options, &path),
        other => panic!("no such part: {other}"),
    }
}

// A reader beside a writer.

fn topic_options() -> TopicOptions {
    TopicOptions::new().segment_bytes_max(256 << 10).retention_bytes(2 << 20).durability(Durability::Written)
}

/// The value says which topic it was appended to, and where.
fn value_of(number: u64, offset: u64) -> String {
    format!("{number}:{offset}")
}

/// Records without end, in topics that are rolled, retired, deleted and created again under one name.
fn write_for_ever(store: &Store) {
    for round in 0_u64.. {
        if round > 0 {
            store.delete_topic("orders").expect("deletes");
        }
        let topic = store.create_topic("orders", topic_options()).expect("creates");
        let (number, partition) = (topic.epoch().number, topic.partition(0).expect("is there"));
        for batch in 0..300 {
            let base = batch * BATCH;
            let values: Vec<String> = (base..base + BATCH).map(|offset| value_of(number, offset)).collect();
            let records: Vec<Record<'_>> = values.iter().map(Record::new).collect();
            partition.append_batch(&records).expect("appends");
            if batch % 10 == 9 {
                partition.sync().expect("syncs, so that segments can be retired");
            }
        }
    }
}

/// What the reading process saw.
#[derive(Default)]
struct Seen {
    records: u64,
    topics: usize,
    deleted: usize,
    expired: usize,
}

/// Reads topics of one name as they come and go, until so many records were seen.
fn read_beside(store: &Store, deadline: Instant) -> Seen {
    let mut seen = Seen::default();
    while seen.records < RECORDS && Instant::now() < deadline {
        let topic = match store.topic("orders") {
            Err(Error::TopicNotFound { .. }) => continue,
            other => other.expect("is there, or isn't"),
        };
        let number = topic.epoch().number;
        seen.topics += 1;
        match read_one(&topic, number, &mut seen, deadline) {
            Err(Error::TopicDeleted { epoch, .. }) => {
                assert_eq!(epoch.number, number);
                seen.deleted += 1;
            }
            Ok(()) => {}
            Err(other) => panic!("topic {number}: {other}"),
        }
    }
    seen
}

fn read_one(topic: &epochlog::Topic, number: u64, seen: &mut Seen, deadline: Instant) -> Result<(), Error> {
    let partition = topic.partition(0)?;
    let mut reader = partition.read_from(Start::Earliest)?;
    let mut next = reader.place().next();
    if seen.topics % 2 == 1 {
        // Falls behind until retention has passed it, or the topic is gone.
        let patience = Instant::now() + Duration::from_secs(2);
        while partition.start() == Offset::ZERO && Instant::now() < patience {
            std::thread::yield_now();
        }
    }
    while seen.records < RECORDS && Instant::now() < deadline {
        match reader.poll(Duration::from_millis(20)) {
            Ok(records) => {
                for record in &records {
                    assert_eq!(record.offset(), next, "topic {number}");
                    assert_eq!(record.value(), value_of(number, next.get()).as_bytes());
                    next = next.next();
                    seen.records += 1;
                }
            }
            Err(Error::OffsetOutOfRange { start, .. }) => {
                assert!(start > next, "topic {number}: {start} after {next}");
                seen.expired += 1;
                reader.seek(Start::Earliest)?;
                next = reader.place().next();
            }
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

fn reads_beside_a_writer(mapping: Mapping) {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    StoreOptions::new().create(&path).expect("creates").close().expect("closes");
    let store = StoreOptions::new().mapping(mapping).open_read_only(&path).expect("opens");
    let mut writer = child("writer", &path, mapping);
    let seen = read_beside(&store, Instant::now() + Duration::from_secs(120));
    writer.kill().expect("is killed");
    writer.wait().expect("ends");
    eprintln!(
        "{mapping:?}: {} records of {} topics, {} deleted, {} times expired",
        seen.records, seen.topics, seen.deleted, seen.expired
    );
    assert!(seen.records >= RECORDS, "only {} records", seen.records);
    assert!(seen.expired > 0, "retention never passed the reader");
    assert!(seen.deleted > 0, "no topic was deleted under the reader");
}

#[test]
fn another_process_reads_a_million_right_records_beside_a_mapped_writer() {
    reads_beside_a_writer(Mapping::Auto);
}

#[test]
fn another_process_reads_a_million_right_records_beside_a_positioned_writer() {
    reads_beside_a_writer(Mapping::Never);
}

// A host that changes its working directory.

/// A relative path is that of the store when it was opened, also where another store has the same name.
fn travel(options: StoreOptions, path: &Path) {
    let (home, name) = (path.parent().expect("has one"), path.file_name().expect("has one"));
    std::env::set_current_dir(home).expect("goes there");
    let store = options.create(name).expect("creates");
    assert_eq!(store.path(), Path::new(name), "as it was given");
    let [orders, _] = ["orders", "other"].map(|name| store.create_topic(name, small()).expect("creates"));
    let partition = orders.partition(0).expect("is there");
    fill(&partition, "v", 1);
    std::env::set_current_dir(home.join("elsewhere")).expect("goes on");
    fill(&partition, "v", 200);
    let mut consumer = orders.consumer("billing").open().expect("opens");
    consumer.commit_to(partition.place_at(partition.end()).expect("is there")).expect("commits");
    store.delete_topic("other").expect("deletes");
    store.close().expect("closes");
}

#[test]
fn a_store_stays_where_a_relative_path_led_when_it_was_opened() {
    for mapping in [Mapping::Auto, Mapping::Never] {
        let dir = tempfile::tempdir().expect("makes a directory");
        let (path, other) = (dir.path().join("data"), dir.path().join("elsewhere/data"));
        std::fs::create_dir(dir.path().join("elsewhere")).expect("makes a directory");
        let of_that_name = Store::create(&other).expect("creates");
        of_that_name.create_topic("orders", small()).expect("creates");
        of_that_name.close().expect("closes");
        let mut traveller = child("traveller", &path, mapping);
        let _or_it_ends_now = traveller.stdin.take();
        assert!(traveller.wait().expect("ends").success());
        let store = Store::open(&path).expect("opens");
        assert!(!store.recovery().needed);
        assert_eq!(store.topics().expect("lists"), ["orders"]);
        let orders = store.topic("orders").expect("is there");
        assert_eq!(all(&orders.partition(0).expect("is there")), numbered("v", 0..201));
        assert_eq!(orders.group("billing").expect("is there").commits[0].place.next(), Offset::new(201));
        let of_that_name = Store::open(&other).expect("opens");
        let orders = of_that_name.topic("orders").expect("is there");
        assert!(all(&orders.partition(0).expect("is there")).is_empty());
    }
}
