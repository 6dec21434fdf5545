//! The format as it is documented, read by somebody who has only the documents: `tests/spec/epochlog_v1.py`, a decoder
//! that shares no line with the engine, sees what the engine and this program see.

use std::path::Path;
use std::process::{Command, Output};

use epochlog::{AppendOptions, Durability, Offset, Record, Start, Store, Timestamp, TopicOptions};
use serde_json::{Value, json};

use crate::support::{Data, nothing};

/// The other reader's word on a directory; `None`, said aloud, where there is no Python.
fn other_reader(what: &str, dir: &Path) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec/epochlog_v1.py");
    match Command::new("python3").arg("-B").arg(script).arg(what).arg(dir).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: there is no python3 to read the format with: {error}");
            None
        }
    }
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("prints JSON")
}

/// A closed store in which everything that the format has occurs.
fn everything() -> Data {
    let data = nothing();
    let store = Store::create(data.path()).expect("creates");
    let options = TopicOptions::new().partitions(2).segment_bytes_max(4096);
    store.create_topic("orders", options).expect("creates");
    store
        .create_topic("empty", TopicOptions::new().retention_age(std::time::Duration::from_secs(60)))
        .expect("creates");
    fill(&store);
    store.close().expect("closes");
    let store = Store::open(data.path()).expect("opens");
    fill(&store);
    commit(&store, "billing", b"by \xff hand");
    commit(&store, "forgotten", b"");
    store.topic("orders").expect("is there").delete_group("forgotten").expect("forgets");
    store.close().expect("closes");
    data
}

fn fill(store: &Store) {
    let orders = store.topic("orders").expect("is there");
    let written = AppendOptions::new().durability(Durability::Written);
    let headers: &[epochlog::Header<'_>] = &[("unit", b"celsius"), ("", b""), ("unit", b"\x00\xff")];
    for i in 0..40_u8 {
        let time = Timestamp::from_millis(1_700_000_000_123 - i64::from(i));
        let (key, value) = (format!("device-{i}"), [i; 90]);
        let batch = [
            Record::new("plain"),
            Record::new(&value).key(&key),
            Record::new("").headers(headers).timestamp(time),
            Record::tombstone(&key),
        ];
        orders.append_batch_with(&batch, written).expect("appends");
        orders.append(Record::new("one").timestamp(Timestamp::from_millis(-5))).expect("appends");
    }
    let first = orders.partition(0).expect("is there");
    first.truncate(first.end().minus(7)).expect("truncates");
    first.append("after the cut").expect("appends");
    first.trim(first.start().plus(30)).expect("trims");
}

fn commit(store: &Store, group: &str, metadata: &[u8]) {
    let mut consumer = store.topic("orders").expect("is there").consumer(group).open().expect("opens");
    consumer.seek(0, Start::Latest).expect("seeks");
    consumer.seek(1, Start::At(Offset::new(3))).expect("seeks");
    consumer.commit_with_metadata(metadata).expect("commits");
}

/// What the program tells of the segment that begins at an offset.
fn dumped(data: &Data, topic: &Value, partition: usize, base: &Value) -> Vec<Value> {
    let topic = topic.as_str().expect("is a name");
    let lines = data.lines(&format!("segment dump {topic} {base} -p {partition} --records -O json"));
    lines.iter().map(|line| serde_json::from_str(line).expect("is JSON")).collect()
}

#[test]
fn who_has_only_the_documents_reads_the_golden_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let Some(output) = other_reader("files", &root.join("golden/format-v1")) else { return };
    let expected = std::fs::read(root.join("spec/golden.json")).expect("is in the repository");
    assert_eq!(json_of(&output), serde_json::from_slice::<Value>(&expected).expect("is JSON"));
}

#[test]
fn who_has_only_the_documents_reads_every_record_that_the_program_reads() {
    let data = everything();
    let Some(output) = other_reader("store", &data.path()) else { return };
    let store = json_of(&output);
    let (mut segments, mut batches) = (0, 0);
    for topic in store["topics"].as_array().expect("a list") {
        for (number, partition) in topic["partitions"].as_array().expect("a list").iter().enumerate() {
            for segment in partition["segments"].as_array().expect("a list") {
                let seen = segment["batches"].as_array().expect("a list");
                assert_eq!(*seen, dumped(&data, &topic["name"], number, &segment["base"]), "{}", segment["base"]);
                (segments, batches) = (segments + 1, batches + seen.len());
            }
        }
    }
    assert!(segments > 4 && batches > 150, "{segments} segments, {batches} batches");
}

#[test]
fn who_has_only_the_documents_reads_histories_commits_and_options() {
    let data = everything();
    let Some(output) = other_reader("store", &data.path()) else { return };
    let store = json_of(&output);
    assert_eq!(store["entries"][0]["clean"], true);
    let orders = &store["topics"][1];
    let opened = Store::open_read_only(data.path()).expect("opens");
    let topic = opened.topic("orders").expect("is there");
    assert_eq!((&orders["name"], &orders["creation"]), (&json!("orders"), &json!(topic.epoch().to_string())));
    assert_eq!(orders["options"]["segment_bytes"], 4096);
    for (partition, seen) in (0..2).zip(orders["partitions"].as_array().expect("a list")) {
        let partition = topic.partition(partition).expect("is there");
        let history = seen["history"].as_array().expect("a list");
        let epochs: Vec<&Value> = history.iter().filter(|entry| entry["type"] == "epoch").collect();
        let lineage = partition.lineage();
        assert_eq!(epochs.len(), lineage.len());
        for (seen, epoch) in epochs.iter().zip(lineage) {
            assert_eq!(seen["epoch"], epoch.epoch.to_string());
            assert_eq!((&seen["start"], &seen["reason"]), (&json!(epoch.start.get()), &json!(epoch.reason)));
            assert_eq!(seen["time"], epoch.time.as_millis());
        }
        assert_eq!(history.last().expect("was closed"), &json!({"type": "clean", "end": partition.end().get()}));
    }
    assert_eq!(last_commit(&orders["commits"]), places(&topic, "billing"));
}

/// The places of the last commit that stands in a commits file, in order.
fn last_commit(entries: &Value) -> Vec<String> {
    let commit = entries.as_array().expect("a list").iter().rfind(|entry| entry["group"] == "billing");
    let commit = commit.expect("committed");
    assert_eq!(commit["metadata_base64"], "Ynkg/yBoYW5k");
    commit["places"].as_array().expect("a list").iter().map(|place| place.as_str().expect("a place").into()).collect()
}

fn places(topic: &epochlog::Topic, group: &str) -> Vec<String> {
    let group = topic.group(group).expect("committed");
    group.commits.iter().map(|commit| commit.place.to_string()).collect()
}

#[test]
fn who_has_only_the_documents_sees_every_flipped_bit_that_counts() {
    let data = everything();
    let (mut segments, mut seen) = (data.segments(), 0);
    segments.truncate(3);
    for path in segments {
        let whole = std::fs::read(&path).expect("a segment");
        for bit in (0..whole.len() * 8).step_by(whole.len() * 8 / 5) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).expect("a segment");
            let Some(output) = other_reader("store", &data.path()) else { return };
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains(&path.display().to_string()), "bit {bit}: {said}");
            seen += 1;
        }
        std::fs::write(&path, &whole).expect("a segment");
    }
    assert!(seen >= 15, "{seen}");
}
