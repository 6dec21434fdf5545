//! On a real disk the partitions of a store are recovered some at a time.

use std::fs;
use std::path::Path;

use epochlog::{AppendOptions, Durability, Error, Partition, Store, TopicOptions};

use crate::support::{all, numbered};

const TOPICS: usize = 5;
const PARTITIONS: u32 = 7;

fn name(topic: usize) -> String {
    format!("t{topic}")
}

fn records(topic: usize, number: u32) -> u64 {
    (topic as u64 + u64::from(number)) % 4
}

fn fill(partition: &Partition, count: u64) {
    let written = AppendOptions::new().durability(Durability::Written);
    for i in 0..count {
        let durability = if i == 0 { AppendOptions::new() } else { written };
        partition.append_with(format!("v{i}").as_bytes(), durability).expect("appends");
    }
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

#[test]
fn after_a_kill_every_partition_of_every_topic_is_recovered_and_told_of_in_order() {
    let temp = tempfile::tempdir().expect("makes a directory");
    let killed = temp.path().join("killed");
    let store = Store::create(temp.path().join("store")).expect("creates");
    let options = TopicOptions::new().partitions(PARTITIONS);
    let created: Vec<_> =
        (0..TOPICS).map(|topic| store.create_topic(&name(topic), options.clone()).expect("creates")).collect();
    for (i, topic) in created.iter().enumerate() {
        (0..PARTITIONS).for_each(|n| fill(&topic.partition(n).expect("opens"), records(i, n)));
    }
    copy_tree(store.path(), &killed);
    // One of them has lost the file that says what it holds.
    fs::remove_file(killed.join("topics/t1@2/3/history")).expect("removes");
    let store = Store::open(&killed).expect("opens");
    let told: Vec<_> = store.recovery().partitions.iter().map(|one| (one.topic.to_string(), one.partition)).collect();
    let with_records = |topic| (0..PARTITIONS).filter(move |&n| records(topic, n) > 0 && (topic, n) != (1, 3));
    let expected: Vec<_> = (0..TOPICS).flat_map(|topic| with_records(topic).map(move |n| (name(topic), n))).collect();
    assert_eq!(told, expected);
    let failed = store.recovery().failed;
    let [failed] = &failed[..] else { panic!("{}", store.recovery()) };
    assert_eq!((failed.topic.as_str(), failed.partition), ("t1", Some(3)));
    for topic in 0..TOPICS {
        let opened = store.topic(&name(topic)).expect("opens");
        for n in 0..PARTITIONS {
            match opened.partition(n) {
                Ok(partition) => assert_eq!(all(&partition), numbered("v", 0..records(topic, n)), "{topic} {n}"),
                Err(error) => assert!((topic, n) == (1, 3) && matches!(error, Error::Corrupt(_)), "{error}"),
            }
        }
    }
}
