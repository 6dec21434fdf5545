//! A writer of large batches, with the background threads that bring in memory ahead of it, killed at a random moment for
//! many rounds over one store. Pages are brought in, segments prepared, cut and synced beside it meanwhile. P1, P2, F1.

use std::path::Path;
use std::time::Duration;

use epochlog::{Durability, Mapping, Offset, Partition, Record, Start, Store, StoreOptions, TopicOptions};
use rustix::process::Signal;

use crate::aloud::aloud;
use crate::chance::{Chance, seed};
use crate::part::{Part, Stage, was_killed};
use crate::report::Line;

const TOPIC: &str = "bulk";

fn partition(store: &Store) -> Partition {
    let options =
        TopicOptions::new().durability(Durability::Written).segment_bytes_max(16 << 20).retention_bytes(40 << 20);
    store.topic_or_create(TOPIC, options).expect("is there").partition(0).expect("has one")
}

fn open(path: &Path, mapping: Mapping, background: bool) -> Store {
    StoreOptions::new().mapping(mapping).background(background).open_or_create(path).expect("opens")
}

/// Bytes of which none is zero.
static NOISE: [u8; 600] = {
    let (mut noise, mut i) = ([0; 600], 0);
    while i < noise.len() {
        noise[i] = 1 + (i * i * 31 % 251) as u8;
        i += 1;
    }
    noise
};

/// Adds the record at this offset, whoever writes it in whichever batch: from a few bytes to a few hundred. Faster than
/// memory can be brought in, so that the writer catches up with what runs ahead of it.
fn put_value(offset: u64, out: &mut Vec<u8>) {
    let (from, len) = (offset as usize % 300, (offset.wrapping_mul(0x9e37_79b9) >> 7) as usize % 300);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&NOISE[from..from + len]);
}

/// Appends batches, most of them large, as fast as it can, and tells where each one ended.
pub fn write(stage: &Stage) {
    let store = open(&stage.path, stage.mapping, true);
    let partition = partition(&store);
    stage.reporter.tell(&Line::Ready);
    let mut chance = Chance::new(stage.number(0));
    loop {
        let first = partition.end().get();
        let count = if chance.once_in(8) { 1 + chance.below(3) } else { 1 + chance.below(2000) };
        let (mut bytes, mut ends) = (Vec::with_capacity(1 << 20), vec![0]);
        for offset in first..first + count {
            put_value(offset, &mut bytes);
            ends.push(bytes.len());
        }
        let records: Vec<Record<'_>> = ends.windows(2).map(|ends| Record::new(&bytes[ends[0]..ends[1]])).collect();
        let ack = partition.append_batch(&records).expect("appends");
        stage.reporter.tell(&Line::Done(TOPIC.into(), Some(ack.next())));
    }
}

/// Lets it write, kills it, and gives the end that it was last told of.
fn round(chance: &mut Chance, path: &Path, mapping: Mapping) -> Option<Offset> {
    let mut child = Part::start(&format!("bulk {}", chance.next()), path, mapping);
    let mut acknowledged = None;
    let mut hear = |child: &mut Part, lines: u64| {
        for _ in 0..lines {
            match child.line() {
                Some(Line::Done(_, Some(place))) => acknowledged = Some(place.next()),
                Some(_) => {}
                None => return,
            }
        }
    };
    hear(&mut child, 1 + chance.below(150));
    std::thread::sleep(Duration::from_micros(chance.below(1500)));
    child.signal(Signal::KILL);
    hear(&mut child, u64::MAX);
    assert!(was_killed(child.end()), "the child ended by itself");
    acknowledged
}

/// Every record from the start to an end that nothing acknowledged lies behind; says how many.
fn check(path: &Path, mapping: Mapping, acknowledged: Option<Offset>) -> u64 {
    let store = open(path, mapping, false);
    assert!(store.recovery().failed.is_empty(), "P11: {:?}", store.recovery().failed);
    let partition = partition(&store);
    assert!(acknowledged.is_none_or(|end| end <= partition.end()), "P1: {acknowledged:?}, {}", partition.end());
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    let (start, mut next) = (reader.place().next().get(), reader.place().next().get());
    loop {
        let records = reader.read().expect("P8: reads");
        if records.is_empty() {
            break;
        }
        for record in &records {
            let mut expected = Vec::new();
            put_value(next, &mut expected);
            assert!(record.offset().get() == next && record.value() == expected, "P2: another record at {next}");
            next += 1;
        }
    }
    assert_eq!(next, partition.end().get(), "P2: the end");
    store.close().expect("closes");
    next - start
}

#[test]
fn a_writer_of_large_batches_keeps_what_it_acknowledged_however_often_it_is_killed() {
    let rounds: u64 = std::env::var("EPOCHLOG_KILL_ROUNDS").map_or(60, |text| text.parse().expect("a number"));
    for (mapping, own_seed) in [(Mapping::Auto, 11), (Mapping::Never, 12)] {
        let (seed, dir) = (seed(own_seed), tempfile::tempdir().expect("makes a directory"));
        let (path, mut chance) = (dir.path().join("data"), Chance::new(seed));
        let (mut checked, mut written) = (0, Offset::ZERO);
        aloud(&format!("bulk, {mapping:?}: {rounds} rounds, EPOCHLOG_SEED={seed}"));
        for _ in 0..rounds / 2 {
            let acknowledged = round(&mut chance, &path, mapping);
            written = written.max(acknowledged.unwrap_or(written));
            // Else the next child is the one that recovers.
            if chance.once_in(2) {
                checked += check(&path, mapping, Some(written));
            }
        }
        checked += check(&path, mapping, Some(written));
        aloud(&format!("bulk, {mapping:?}: {written} records acknowledged, {checked} read"));
        assert!(written.get() > rounds * 1000 && checked > 0, "hardly anything was written");
    }
}
