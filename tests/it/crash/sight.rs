//! What a reader finds in a store, and which pieces of records lie on a disk.
//!
//! Invariant: it looks with public calls alone, and at raw bytes; it judges nothing.

use std::collections::{BTreeMap, HashSet};

use epochlog::testing::SimDisk;
use epochlog::{Error, Partition, Place, Start, Store};

use super::oracle::{BESIDE, Commits, GROUPS, TOPIC, Verdict, must};

/// A topic as a reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Each partition's start and values.
    pub logs: Vec<(usize, Vec<Vec<u8>>)>,
    pub groups: BTreeMap<&'static str, Commits>,
}

/// Both topics, as far as they are there.
pub type Sight = BTreeMap<&'static str, Option<Seen>>;

/// Reads everything there is.
pub fn look(store: &Store) -> Verdict<Sight> {
    must!(store.recovery().failed.is_empty(), "P11: {:?}", store.recovery().failed);
    [TOPIC, BESIDE].into_iter().map(|name| Ok((name, look_at(store, name)?))).collect()
}

fn look_at(store: &Store, name: &str) -> Verdict<Option<Seen>> {
    let topic = match store.topic(name) {
        Err(Error::TopicNotFound { .. }) => return Ok(None),
        other => other.map_err(|error| format!("P11: topic {name} doesn't open: {error}"))?,
    };
    let mut logs = Vec::new();
    for number in 0..topic.partitions() {
        let partition = topic.partition(number).map_err(|error| format!("P11: a partition doesn't open: {error}"))?;
        let (_, values) = read_all(&partition)?;
        let (start, end) = (partition.start().get() as usize, partition.end().get() as usize);
        must!(start + values.len() == end, "P3: a hole: {} records in {start}..{end}", values.len());
        logs.push((start, values));
    }
    let mut groups = BTreeMap::new();
    for group in GROUPS {
        match topic.group(group) {
            Err(Error::GroupNotFound { .. }) => {}
            other => {
                let commits = other.map_err(|error| format!("P11: the commits don't open: {error}"))?.commits;
                let places = commits.iter().map(|commit| (commit.place.partition(), commit.place));
                groups.insert(group, places.collect());
            }
        }
    }
    Ok(Some(Seen { logs, groups }))
}

/// All places and values, from the start on.
pub fn read_all(partition: &Partition) -> Verdict<(Vec<Place>, Vec<Vec<u8>>)> {
    let told = |error: Error| format!("P1: reading fails: {error}");
    let mut reader = partition.read_from(Start::Earliest).map_err(told)?;
    let (mut places, mut values) = (vec![reader.place()], Vec::new());
    loop {
        let records = reader.read().map_err(told)?;
        if records.is_empty() {
            return Ok((places, values));
        }
        for record in &records {
            places.push(record.next());
            values.push(record.value().to_vec());
        }
    }
}

/// What a value is made of: the number of its record and of the cell, so that every sector says whose it is.
const CELL_BYTES: usize = 16;

/// A value of about so many bytes that no other record has.
pub fn value_of(id: u64, bytes: usize) -> String {
    (0..bytes / CELL_BYTES).map(|cell| format!("{id:08}.{cell:06};")).collect()
}

/// The whole cells of these records that lie in segments or in the quarantine.
pub fn cells(disk: &SimDisk, of: &HashSet<u64>) -> HashSet<(u64, u64)> {
    let mut found = HashSet::new();
    for path in disk.files() {
        let shown = path.to_string_lossy();
        if shown.ends_with(".log") || shown.starts_with("quarantine") {
            let bytes = disk.read(&path);
            let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b';').map(|(i, _)| i + 1);
            let cells = ends.filter_map(|end| cell(&bytes[end.checked_sub(CELL_BYTES)?..end]));
            found.extend(cells.filter(|(id, _)| of.contains(id)));
        }
    }
    found
}

fn cell(bytes: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some((text[..8].parse().ok()?, text[9..15].parse().ok()?))
}
