//! A limit on the size of files (`ulimit -f`), and one on their number (`ulimit -n`). The kernel ends a process that writes
//! beyond the first, unless the process ignores the signal; a library mustn't let it come to that. F9.

use std::fs;
use std::path::Path;

use epochlog::{AppendOptions, Durability, Error, Mapping, Record, TopicOptions};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::look::open;
use crate::part::{Part, Stage};
use crate::report::{Line, Refusal};

const LIMIT: u64 = 100_000;

/// Sets the limit, appends until that is refused, and tells it; then shows that everything else goes on.
pub fn limited(stage: &Stage) {
    setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), maximum: None }).expect("sets the limit");
    let store = open(&stage.path, stage.mapping).expect("opens");
    let durable = stage.words[0] == "durable";
    let durability = if durable { Durability::Durable } else { Durability::Written };
    let orders = store.create_topic("orders", TopicOptions::new()).expect("creates");
    let partition = orders.partition(0).expect("is there");
    let options = AppendOptions::new().durability(durability);
    let error = loop {
        let end = partition.end();
        match partition.append_with(Record::new(&[7; 900]), options) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(partition.end(), end, "the append was undone");
                break error;
            }
        }
    };
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    stage.reporter.tell(&Line::Denied("orders".into(), Refusal::of(&error)));
    let held = partition.end().get();
    assert!(held * 900 < LIMIT && held * 900 > LIMIT / 2, "{held} records");
    partition.trim(partition.end()).expect("trims");
    commits_until_refused(&orders);
    store.delete_topic("orders").expect("deletes");
    store.close().expect("closes");
    stage.reporter.tell(&Line::Bye);
}

/// The commits' file grows too.
fn commits_until_refused(orders: &epochlog::Topic) {
    let mut consumer = orders.consumer("billing").open().expect("opens");
    let partition = orders.partition(0).expect("is there");
    let place = partition.place_at(partition.end()).expect("has an end");
    consumer.commit_to(place).expect("commits");
    let refused = (0..10_000).find_map(|_| {
        consumer.seek(0, epochlog::Start::Latest).expect("seeks");
        consumer.commit_to(place).err()
    });
    let error = refused.expect("the file can't grow for ever");
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
}

/// Takes every file that may be opened, so that a sync can't open the directory; shows that nothing was lost by that.
pub fn few_files(stage: &Stage) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).expect("sets the limit");
    let store = open(&stage.path, stage.mapping).expect("opens");
    let partition = store.create_topic("orders", TopicOptions::new()).and_then(|topic| topic.partition(0));
    let partition = partition.expect("is there");
    let written = AppendOptions::new().durability(Durability::Written);
    partition.append_with("v0", written).expect("appends");
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let refused = partition.sync().expect_err("can't open the directory");
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    partition.append_with("v1", written).expect("no page was lost, so nothing is latched");
    drop(taken);
    partition.sync().expect("syncs");
    assert_eq!(partition.durable_end(), partition.end());
    store.close().expect("closes");
    stage.reporter.tell(&Line::Bye);
}

/// What a kill leaves is what the kernel has: the files as they read while the store is open.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copies");
        }
    }
}

/// Recovers a store of which a partition has more segments than there may be open files, or all that are recovered side by
/// side have, though none of them alone.
pub fn recover_with_few_files(stage: &Stage) {
    let (sealed, unsealed, partitions) = if stage.words[0] == "one" { (100, 1, 1) } else { (1, 12, 8) };
    let killed = stage.path.with_extension("killed");
    let store = open(&stage.path, stage.mapping).expect("opens");
    let options = TopicOptions::new().partitions(partitions).segment_bytes_max(4096);
    let orders = store.create_topic("orders", options).expect("creates");
    let written = AppendOptions::new().durability(Durability::Written);
    let fill = |n: u32, segments: usize| {
        let partition = orders.partition(n).expect("is there");
        // Each of them fills a segment.
        for _ in 0..segments {
            partition.append_with(Record::new(&[7; 3000]), written).expect("appends");
        }
        partition
    };
    (0..partitions).for_each(|n| fill(n, sealed).sync().expect("syncs"));
    (0..partitions).for_each(|n| drop(fill(n, unsealed)));
    copy_tree(&stage.path, &killed);
    store.close().expect("closes");
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).expect("sets the limit");
    let store = open(&killed, stage.mapping).expect("opens");
    assert!(store.recovery().failed.is_empty(), "{}", store.recovery());
    assert_eq!(store.recovery().partitions.len(), partitions as usize);
    for n in 0..partitions {
        let partition = store.topic("orders").and_then(|orders| orders.partition(n)).expect("is there");
        assert_eq!(partition.end().get(), (sealed + unsealed) as u64);
    }
    store.close().expect("closes");
    stage.reporter.tell(&Line::Bye);
}

#[test]
fn a_store_is_recovered_with_fewer_files_open_than_it_has_segments() {
    for mapping in [Mapping::Auto, Mapping::Never] {
        for whose in ["one", "all"] {
            let dir = tempfile::tempdir().expect("makes a directory");
            let part = format!("recover_with_few_files {whose}");
            let mut child = Part::start(&part, &dir.path().join("data"), mapping);
            let last = std::iter::from_fn(|| child.line()).last();
            let status = child.end();
            assert!(status.success() && last == Some(Line::Bye), "{mapping:?}, {whose}: {status}");
        }
    }
}

#[test]
fn a_sync_for_which_no_file_could_be_opened_is_only_a_sync_that_was_not_made() {
    for mapping in [Mapping::Auto, Mapping::Never] {
        let dir = tempfile::tempdir().expect("makes a directory");
        let mut child = Part::start("few_files", &dir.path().join("data"), mapping);
        let last = std::iter::from_fn(|| child.line()).last();
        let status = child.end();
        assert!(status.success() && last == Some(Line::Bye), "{mapping:?}: {status}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_not_the_end_of_the_process() {
    for mapping in [Mapping::Auto, Mapping::Never] {
        for durability in ["durable", "written"] {
            let dir = tempfile::tempdir().expect("makes a directory");
            let mut child = Part::start(&format!("limited {durability}"), &dir.path().join("data"), mapping);
            let mut lines = Vec::new();
            while let Some(line) = child.line() {
                lines.push(line);
            }
            let status = child.end();
            assert!(status.success() && lines.last() == Some(&Line::Bye), "{mapping:?}, {durability}: {status}");
        }
    }
}
