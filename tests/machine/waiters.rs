//! Threads that append to one partition and share its syncs: killed at any moment, and told when a sync fails.

use std::collections::BTreeMap;
use std::path::Path;

use epochlog::{Error, Mapping, Record, Start, TopicOptions};
use rustix::process::Signal;

use crate::aloud::aloud;
use crate::chance::{Chance, seed};
use crate::look::open;
use crate::part::{Part, Stage};
use crate::report::{Line, Refusal, id_of, value_of};
use crate::strace::{self, inflicted};

const THREADS: u64 = 6;
const LEN: usize = 60;

fn options() -> TopicOptions {
    TopicOptions::new().segment_bytes_max(16 << 10)
}

/// Appends durably from several threads until each has been refused; tells each acknowledgement: offset and number.
pub fn wait(stage: &Stage) {
    let store = open(&stage.path, stage.mapping).expect("P11: opens");
    let orders = store.topic_or_create("orders", options()).expect("is there");
    let (partition, first) = (orders.partition(0).expect("is there"), stage.number(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let partition = &partition;
            scope.spawn(move || {
                for n in 0.. {
                    let id = first + n * THREADS + thread;
                    match partition.append(Record::new(&value_of(id, LEN))) {
                        Ok(ack) => {
                            let told = vec![(id, LEN)];
                            stage.reporter.tell(&Line::SeenPart("orders".into(), 0, ack.offset().get(), told));
                        }
                        Err(error) => return stage.reporter.tell(&Line::Refused("orders".into(), Refusal::of(&error))),
                    }
                }
            });
        }
    });
    stage.reporter.tell(&Line::Bye);
    std::process::exit(0);
}

/// What was acknowledged, by offset.
type Acknowledged = BTreeMap<u64, u64>;

/// Everything acknowledged is there, at its offset; every record once.
fn check(path: &Path, mapping: Mapping, acknowledged: &Acknowledged) {
    let store = open(path, mapping).expect("P11: opens");
    let partition = match store.topic("orders") {
        Err(Error::TopicNotFound { .. }) if acknowledged.is_empty() => return,
        other => other.and_then(|topic| topic.partition(0)).expect("P11: opens"),
    };
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    let mut found = BTreeMap::new();
    loop {
        let records = reader.read().expect("reads");
        if records.is_empty() {
            break;
        }
        for record in &records {
            let (id, _) = id_of(record.value()).expect("P1: a value that was appended");
            found.insert(record.offset().get(), id);
        }
    }
    let lost: Vec<_> = acknowledged.iter().filter(|(offset, id)| found.get(offset) != Some(id)).collect();
    assert!(lost.is_empty(), "P1: {lost:?} of {} acknowledged", acknowledged.len());
    let ids: std::collections::BTreeSet<u64> = found.values().copied().collect();
    assert_eq!(ids.len(), found.len(), "P2: a record is there twice");
}

fn note(acknowledged: &mut Acknowledged, line: &Line) {
    if let Line::SeenPart(_, _, offset, told) = line {
        let before = acknowledged.insert(*offset, told[0].0);
        assert_eq!(before, None, "P4: offset {offset} was given out twice");
    }
}

#[test]
fn what_was_acknowledged_to_threads_that_share_a_sync_survives_a_kill() {
    let seed = seed(3);
    aloud(&format!("waiters: EPOCHLOG_SEED={seed}"));
    let mut chance = Chance::new(seed);
    for mapping in [Mapping::Auto, Mapping::Never] {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("data");
        let mut acknowledged = Acknowledged::new();
        for round in 0..8_u64 {
            let mut child = Part::start(&format!("wait {}", round << 32), &path, mapping);
            for _ in 0..chance.below(200) {
                note(&mut acknowledged, &child.line().expect("goes on"));
            }
            child.signal(Signal::KILL);
            while let Some(line) = child.line() {
                note(&mut acknowledged, &line);
            }
            child.end();
            check(&path, mapping, &acknowledged);
        }
    }
}

#[test]
fn whoever_waits_for_a_sync_that_fails_is_told() {
    if !strace::is_there() {
        return;
    }
    for mapping in [Mapping::Auto, Mapping::Never] {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("data");
        let store = open(&path, mapping).expect("creates");
        store.create_topic("orders", options()).expect("creates");
        store.close().expect("closes");
        // From each thread's fourth on: whoever leads first fails, and the others wait for it or come after it.
        let mut child = inflicted("fdatasync:error=EIO:when=4+", "wait 0", &path, mapping);
        let (mut acknowledged, mut refused, mut bye) = (Acknowledged::new(), Vec::new(), false);
        while let Some(line) = child.line() {
            note(&mut acknowledged, &line);
            match line {
                Line::Refused(_, refusal) => refused.push(refusal),
                Line::Bye => bye = true,
                _ => {}
            }
        }
        assert!(child.end().success() && bye, "a thread was never told");
        assert_eq!(refused.len() as u64, THREADS);
        let first = refused.iter().filter(|refusal| refusal.variant == "Io").count();
        assert_eq!(first, 1, "one has led, and the sync isn't tried twice: {refused:?}");
        assert!(refused.iter().all(|refusal| ["Io", "Latched"].contains(&refusal.variant.as_str())), "{refused:?}");
        check(&path, mapping, &acknowledged);
    }
}
