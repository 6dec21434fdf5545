//! What must be there: plain vectors and marks, obviously right.
//!
//! Invariant: it knows nothing of files, epochs or segments. A record is known by a number that is given once, so that two
//! records of equal value are still two; a place by the numbers of all records that lie before it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use epochlog::{Error, Partition, Place, Store};

use super::sight::{Seen, Sight};

/// The topic that everything is done to, and the one beside it that must not notice.
pub const TOPIC: &str = "orders";
pub const BESIDE: &str = "audit";
pub const GROUPS: [&str; 2] = ["billing", "search"];

pub type Verdict<T = ()> = Result<T, String>;

macro_rules! must {
    ($holds:expr, $($story:tt)*) => { if !$holds { return Err(format!($($story)*)); } };
}
pub(super) use must;

/// A record that was appended, or is being appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub id: u64,
    pub batch: u64,
    pub value: Arc<str>,
}

/// One partition, as far as calls have returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub records: Vec<Appended>,
    pub start: usize,
    /// So many records were acknowledged as durable, or shown by an open.
    pub durable: usize,
}

/// A group's commits, by partition. None: there is no such group.
pub type Commits = BTreeMap<u32, Place>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Tells it from every other topic that ever had its name.
    pub generation: u64,
    pub logs: Vec<Log>,
    /// What each group's commits may be after a power cut; the last is what they are.
    pub groups: BTreeMap<&'static str, Vec<Commits>>,
    /// Whether retention may raise a start at any time.
    pub retains: bool,
}

/// The call that hasn't returned: it may have happened or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Flight {
    #[default]
    Nothing,
    Append(&'static str, usize, Vec<Appended>),
    Truncate(usize, usize),
    Trim(usize, usize),
    /// One more partition, which begins here.
    Grow(Place),
    Delete,
    Create(Topic),
    Commit {
        group: &'static str,
        /// Where partitions without a commit begin: stored one by one.
        begins: Commits,
        ends: Commits,
    },
    Forget(&'static str),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    pub topics: BTreeMap<&'static str, Topic>,
    pub flight: Flight,
    /// Every place that was ever handed out: of which topic, and the records before it.
    pub handed: HashMap<Place, (u64, Arc<[u64]>)>,
    pub given: u64,
    /// Whose turn it is among the partitions.
    pub turn: usize,
}

impl Log {
    pub fn ids(&self) -> Vec<u64> {
        self.records.iter().map(|record| record.id).collect()
    }

    /// Whether the end may be here: not within a batch.
    fn may_end(&self, n: usize) -> bool {
        n == 0 || n >= self.records.len() || self.records[n - 1].batch != self.records[n].batch
    }
}

impl Topic {
    pub fn new(generation: u64, partitions: usize, retains: bool) -> Topic {
        Topic { generation, logs: vec![Log::default(); partitions], groups: BTreeMap::new(), retains }
    }

    /// What a group's commits may be.
    pub fn commits(&self, group: &str) -> Vec<Commits> {
        self.groups.get(group).cloned().unwrap_or_else(|| vec![Commits::new()])
    }

    /// Nothing of it can be lost any more.
    pub fn settle(&mut self) {
        self.logs.iter_mut().for_each(|log| log.durable = log.records.len());
        self.groups.values_mut().for_each(|commits| *commits = commits.split_off(commits.len() - 1));
    }
}

impl Oracle {
    /// Takes note of a place that was handed out behind these records.
    ///
    /// # Panics
    ///
    /// If the same place was handed out behind others: P4.
    pub fn hand(&mut self, place: Place, generation: u64, ids: &[u64]) {
        assert_eq!(place.next().get() as usize, ids.len());
        let (of, before) = self.handed.entry(place).or_insert_with(|| (generation, ids.into()));
        assert!(*of == generation && **before == *ids, "P4: place {place} was handed out twice");
    }

    /// Compares what was found after a crash with all that may be there. Gives what is known from then on.
    pub fn accept(&self, sight: &Sight) -> Verdict<Oracle> {
        let mut topics = BTreeMap::new();
        for (&name, seen) in sight {
            let flight = if name == TOPIC || matches!(self.flight, Flight::Append(..)) {
                &self.flight
            } else {
                &Flight::Nothing
            };
            let topic = match (self.topics.get(name), seen, flight) {
                (None, None, _) | (Some(_), None, Flight::Delete) => continue,
                (Some(_), None, _) => return Err(format!("P1: topic {name} is gone")),
                (Some(topic), Some(seen), flight) => accept_topic(name, topic, seen, flight)?,
                (None, Some(seen), Flight::Create(new)) => accept_topic(name, new, seen, &Flight::Nothing)?,
                (None, Some(_), _) => {
                    return Err(format!("P2: topic {name} was deleted, or never created, and is there"));
                }
            };
            topics.insert(name, topic);
        }
        Ok(Oracle { topics, flight: Flight::Nothing, ..self.clone() })
    }

    /// The records that were here or on their way, and that a start cut, by what it left.
    pub fn cut(&self, left: &Oracle) -> HashSet<u64> {
        let mut cut = HashSet::new();
        for (name, topic) in &self.topics {
            let Some(left) = left.topics.get(name) else { continue };
            for (i, (log, left)) in topic.logs.iter().zip(&left.logs).enumerate() {
                let end = left.records.len();
                let taken_back = matches!(self.flight, Flight::Truncate(p, to) if p == i && end == to);
                if !taken_back || *name != TOPIC {
                    cut.extend(
                        with_flight(name, i, log, &self.flight).records.iter().skip(end).map(|record| record.id),
                    );
                }
            }
        }
        cut
    }

    /// Offers every place that was ever handed out, and looks at what is said of it: P7, and P13 for the commits.
    pub fn offer_all(&self, store: &Store) -> Verdict {
        for (name, topic) in &self.topics {
            let opened = store.topic(name).map_err(|error| error.to_string())?;
            for (i, log) in topic.logs.iter().enumerate() {
                let partition = opened.partition(i as u32).map_err(|error| error.to_string())?;
                let ids = log.ids();
                for (&place, (generation, before)) in &self.handed {
                    if place.partition() == i as u32 {
                        let before = (*generation == topic.generation).then_some(&**before);
                        offer(&partition, place, before, log, &ids)?;
                    }
                }
            }
            for place in topic.groups.values().filter_map(|commits| commits.last()).flat_map(BTreeMap::values) {
                must!(self.handed.contains_key(place), "P13: commit {place} was never handed out");
            }
        }
        Ok(())
    }
}

/// Offers one place; `before` is `None` if it is of another topic.
fn offer(partition: &Partition, place: Place, before: Option<&[u64]>, log: &Log, ids: &[u64]) -> Verdict {
    let found = partition.read_from(place);
    let Some(before) = before else {
        must!(matches!(found, Err(Error::StaleEpoch { .. })), "P7: {place}, of another topic, gave {found:?}");
        return Ok(());
    };
    let next = before.len();
    let common = ids.iter().zip(before).take_while(|(a, b)| a == b).count();
    let fits = match &found {
        Err(Error::Diverged { fork, .. }) => next > common && fork.get() as usize == common,
        Err(Error::OffsetOutOfRange { .. }) => next <= common && next < log.start,
        Ok(_) => next <= common && next >= log.start,
        Err(_) => false,
    };
    let start = log.start;
    must!(
        fits,
        "P7: {place}, behind {next} of which {common} are there (start {start}), gave {found:?}; {:?}",
        partition.lineage()
    );
    if let Ok(reader) = found {
        let first = reader.bytes_max(1).read().map_err(|error| format!("P7: {place}: {error}"))?;
        let first = first.iter().next().map(|record| record.value().to_vec());
        let expected = log.records.get(next).map(|record| record.value.as_bytes());
        must!(first.as_deref() == expected, "P7: {place} reads {first:?} instead of {expected:?}");
    }
    Ok(())
}

/// The partition with the records that are on their way to it.
fn with_flight(name: &str, i: usize, log: &Log, flight: &Flight) -> Log {
    let mut log = log.clone();
    if let Flight::Append(topic, partition, more) = flight
        && (*topic, *partition) == (name, i)
    {
        log.records.extend(more.iter().cloned());
    }
    log
}

fn accept_topic(name: &str, topic: &Topic, seen: &Seen, flight: &Flight) -> Verdict<Topic> {
    let (had, found) = (topic.logs.len(), seen.logs.len());
    let grown = match flight {
        Flight::Grow(place) if found == had + 1 && place.partition() as usize == had => Some(*place),
        _ => None,
    };
    must!(found == had || grown.is_some(), "P1: topic {name} has {found} partitions instead of {had}");
    let mut after = Topic { logs: Vec::new(), groups: BTreeMap::new(), ..topic.clone() };
    for (i, (start, values)) in seen.logs.iter().enumerate() {
        let log = topic.logs.get(i).cloned().unwrap_or_default();
        let accepted = accept_log(with_flight(name, i, &log, flight), i, topic.retains, (*start, values), flight);
        after.logs.push(accepted.map_err(|story| format!("{story}, in partition {i} of {name}"))?);
    }
    for group in GROUPS {
        let seen = seen.groups.get(group).cloned().unwrap_or_default();
        let possible = topic.commits(group);
        // Before a partition is there, all commits are durable.
        let possible = grown.map_or(possible.clone(), |place| vec![begun_at(&possible, place)]);
        must!(
            possible.iter().any(|old| may_be(group, old, &seen, flight)),
            "P13: the commits of {group} are {seen:?}, expected one of {possible:?}, or {flight:?}"
        );
        after.groups.insert(group, vec![seen]);
    }
    Ok(after)
}

/// A group's last commits, with the place where a new partition begins if the group has begun.
pub fn begun_at(possible: &[Commits], place: Place) -> Commits {
    let mut commits = possible.last().cloned().unwrap_or_default();
    if !commits.is_empty() {
        commits.insert(place.partition(), place);
    }
    commits
}

/// Whether a group's commits may have become these.
fn may_be(of: &str, old: &Commits, seen: &Commits, flight: &Flight) -> bool {
    match flight {
        Flight::Commit { group, begins, ends } if *group == of && seen != ends => {
            let begun = begins.iter().filter(|(number, _)| !old.contains_key(number));
            let known = old.iter().chain(begun.filter(|(number, _)| seen.contains_key(number)));
            known.map(|(&number, &place)| (number, place)).collect::<Commits>() == *seen
        }
        Flight::Commit { group, .. } if *group == of => true,
        Flight::Forget(group) if *group == of && seen.is_empty() => true,
        _ => seen == old,
    }
}

fn accept_log(
    mut log: Log,
    i: usize,
    retains: bool,
    (start, values): (usize, &Vec<Vec<u8>>),
    flight: &Flight,
) -> Verdict<Log> {
    let end = start + values.len();
    let trimmed = matches!(flight, Flight::Trim(p, to) if *p == i && start == *to);
    must!(
        start == log.start || trimmed || (retains && start >= log.start),
        "P1: begins at {start} and not at {}",
        log.start
    );
    must!(end <= log.records.len(), "P2: {end} records, and only {} were appended", log.records.len());
    let cut = matches!(flight, Flight::Truncate(p, to) if *p == i && end == *to);
    must!(end >= log.durable || cut, "P1: ends at {end}, durable were {}", log.durable);
    must!(log.may_end(end) || cut, "P5: ends at {end}, within a batch");
    for (i, value) in values.iter().enumerate() {
        let expected = &log.records[start + i].value;
        must!(
            **value == *expected.as_bytes(),
            "P1-P3: {} at offset {} instead of {expected}",
            String::from_utf8_lossy(value),
            start + i
        );
    }
    log.records.truncate(end);
    (log.start, log.durable) = (start, end);
    Ok(log)
}
