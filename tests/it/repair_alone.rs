//! What is wrong with one topic keeps no other from being repaired: what can't be put right is refused there alone, with what
//! a person can do. On a real disk, which has directories that open like files, and files of any length.

use std::fs;
use std::path::Path;

use epochlog::{Mapping, OnDamage, Remedy, Store, StoreOptions};

use crate::support::*;

/// Repairs a store with a topic that was harmed, and another whose history is gone; gives what is said of the harmed one.
fn repaired(harm: impl Fn(&Path)) -> Vec<(Option<u32>, Remedy)> {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    let store = Store::create(&path).expect("creates");
    for name in ["bad", "good"] {
        let topic = store.create_topic(name, small()).expect("creates");
        fill(&topic.partition(0).expect("is there"), "v", 3);
    }
    store.close().expect("closes");
    let topic = |name: &str| {
        let entries = fs::read_dir(path.join("topics")).expect("lists").map(|entry| entry.expect("is there").path());
        entries.into_iter().find(|path| path.to_string_lossy().contains(&format!("/{name}@"))).expect("is there")
    };
    harm(&topic("bad"));
    fs::remove_file(topic("good").join("0/history")).expect("removes");
    let repair = StoreOptions::new().repair(&path, OnDamage::Keep).expect("plans");
    let steps = &repair.plan().steps;
    let said = steps.iter().filter(|step| step.topic.as_ref().is_some_and(|topic| topic.as_str() == "bad"));
    let said = said.map(|step| (step.partition, step.remedy.clone())).collect();
    repair.apply().expect("repairs the other");
    let store = StoreOptions::new().mapping(Mapping::Never).open(&path).expect("opens");
    let good = store.topic("good").and_then(|topic| topic.partition(0)).expect("was repaired");
    assert_eq!(all(&good), numbered("v", 0..3));
    said
}

fn grow(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).and_then(|file| file.set_len(len)).expect("grows");
}

#[test]
fn a_file_that_is_too_long_is_refused_alone() {
    let way_out = "it is longer than such a file can be; move it out of the store, and repair tells it anew";
    for (file, most, partition) in
        [("topic", 1 << 20, None), ("commits", 4 << 30, None), ("0/history", 1 << 30, Some(0))]
    {
        let said = repaired(|bad| grow(&bad.join(file), most + 1));
        assert_eq!(said, [(partition, Remedy::Refuse(way_out.into()))], "{file}");
    }
}

#[test]
fn a_directory_in_the_place_of_a_file_is_refused_alone() {
    let way_out = "a directory stands in the place of a file; move it out of the store, and repair again";
    let files = ["topic", "commits", "0/history", "0/00000000000000000003@2.log"];
    for (file, partition) in files.into_iter().zip([None, None, Some(0), Some(0)]) {
        let said = repaired(|bad| {
            let _was_there = fs::remove_file(bad.join(file));
            fs::create_dir(bad.join(file)).expect("creates");
        });
        assert_eq!(said, [(partition, Remedy::Refuse(way_out.into()))], "{file}");
    }
}

#[test]
fn a_directory_of_a_number_that_no_partition_has_is_refused_where_the_topic_cannot_say_how_many_it_has() {
    let said = repaired(|bad| {
        fs::write(bad.join("topic"), b"junk").expect("writes");
        fs::create_dir(bad.join("99999")).expect("creates");
    });
    let way_out = "no topic has a partition 99999; move that directory out of the store, and repair again";
    assert_eq!(said, [(None, Remedy::Refuse(way_out.into()))]);
}

/// Nothing of ours writes one.
#[test]
fn a_segment_of_an_epoch_from_before_its_topic_is_refused_alone_where_the_history_is_gone() {
    let said = repaired(|bad| {
        let partition = bad.join("0");
        fs::remove_file(partition.join("history")).expect("removes");
        let mut files = fs::read_dir(&partition).expect("lists").map(|entry| entry.expect("is there").path());
        let segment = files.find(|path| path.extension().is_some_and(|end| end == "log")).expect("is there");
        let mut bytes = fs::read(segment).expect("reads");
        bytes[48..56].fill(0);
        let checksum = crc32fast::hash(&bytes[..92]);
        bytes[92..96].copy_from_slice(&checksum.to_le_bytes());
        fs::write(partition.join("00000000000000000000@0.log"), bytes).expect("writes");
    });
    let way_out = "what is left of it makes no sense; restore the directory from a backup, or delete the topic";
    assert_eq!(said, [(Some(0), Remedy::Refuse(way_out.into()))]);
}
