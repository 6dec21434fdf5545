//! A limit on the size of files (`ulimit -f`). The kernel ends a process that writes beyond it, unless the process ignores
//! the signal; a library mustn't let it come to that. F9.

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
