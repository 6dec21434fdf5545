//! What an open store shows, read as anybody would read it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use epochlog::{Error, Mapping, Partition, Place, Start, Store, StoreOptions};

use crate::report::{Line, Reporter, id_of};

pub const GROUP: &str = "billing";
pub const TOPICS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenTopic {
    pub epoch: String,
    /// Start, and number and length of each record.
    pub parts: Vec<(u64, Vec<(u64, usize)>)>,
    pub commits: Vec<Place>,
}

pub type Seen = BTreeMap<String, SeenTopic>;

/// Opens for writing. Where `strace` was killed with what it traced, only its own end is waited for; and a child that
/// another test has just started may hold our lock's file for the moment until it becomes another program.
pub fn open(path: &Path, mapping: Mapping) -> Result<Store, Error> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match StoreOptions::new().mapping(mapping).open_or_create(path) {
            Err(Error::Locked { .. }) if Instant::now() < until => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// Reads everything there is. What can't be read is told as the property that it breaks.
pub fn look(store: &Store) -> Result<Seen, String> {
    if !store.recovery().failed.is_empty() {
        return Err(format!("P11: {:?}", store.recovery().failed));
    }
    let mut seen = Seen::new();
    for name in TOPICS {
        match store.topic(name) {
            Err(Error::TopicNotFound { .. }) => {}
            Err(error) => return Err(format!("P11: topic {name} doesn't open: {error}")),
            Ok(topic) => {
                let parts = (0..topic.partitions()).map(|number| {
                    let partition =
                        topic.partition(number).map_err(|error| format!("P11: {name}/{number}: {error}"))?;
                    read_all(&partition).map_err(|story| format!("{name}/{number}: {story}"))
                });
                let parts = parts.collect::<Result<_, String>>()?;
                let commits = match topic.group(GROUP) {
                    Err(Error::GroupNotFound { .. }) => Vec::new(),
                    other => other.map_err(|error| format!("P11: commits of {name}: {error}"))?.commits,
                };
                let commits = commits.iter().map(|commit| commit.place).collect();
                seen.insert(name.into(), SeenTopic { epoch: topic.epoch().to_string(), parts, commits });
            }
        }
    }
    Ok(seen)
}

fn read_all(partition: &Partition) -> Result<(u64, Vec<(u64, usize)>), String> {
    let told = |error: Error| format!("P1: reading fails: {error}");
    let mut reader = partition.read_from(Start::Earliest).map_err(told)?;
    let start = reader.place().next();
    let (mut next, mut found) = (start, Vec::new());
    loop {
        let records = reader.read().map_err(told)?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            if record.offset() != next {
                return Err(format!("P6: offset {} behind {next}", record.offset()));
            }
            let id = id_of(record.value()).ok_or_else(|| format!("P1: the value at {next} was never appended"))?;
            found.push(id);
            next = next.next();
        }
    }
    if next != partition.end() {
        return Err(format!("P3: reading ends at {next}, the partition at {}", partition.end()));
    }
    Ok((start.get(), found))
}

/// A child tells its parent what its open has shown.
pub fn tell(seen: &Seen, reporter: &Reporter) {
    for (name, topic) in seen {
        reporter.tell(&Line::SeenTopic(name.clone(), topic.epoch.clone()));
        for (number, (start, records)) in topic.parts.iter().enumerate() {
            reporter.tell(&Line::SeenPart(name.clone(), number as u32, *start, records.clone()));
        }
        for place in &topic.commits {
            reporter.tell(&Line::SeenCommit(name.clone(), *place));
        }
    }
    reporter.tell(&Line::SeenAll);
}

/// Puts together what a child tells.
pub fn note(seen: &mut Seen, line: Line) {
    match line {
        Line::SeenTopic(name, epoch) => drop(seen.insert(name, SeenTopic { epoch, ..SeenTopic::default() })),
        Line::SeenPart(name, _, start, records) => {
            seen.get_mut(&name).expect("its topic was told").parts.push((start, records));
        }
        Line::SeenCommit(name, place) => seen.get_mut(&name).expect("its topic was told").commits.push(place),
        other => panic!("nothing that was seen: {other}"),
    }
}
