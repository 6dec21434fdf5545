//! What must be there: plain vectors and marks, obviously right.
//!
//! Invariant: it knows nothing of files, epochs or segments. A record is known by a number that is given once, so that two
//! records of equal value are still two; a place by the numbers of all records that lie before it.

use std::collections::HashMap;

use epochlog::{Error, Partition, Place, Start, Store};

pub const TOPIC: &str = "orders";
pub const GROUP: &str = "billing";

/// A record that was appended, or is being appended.
#[derive(Clone, Debug)]
pub struct Appended {
    pub id: u64,
    pub batch: u64,
    pub value: String,
}

/// The one topic, as far as calls have returned.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub generation: u64,
    pub records: Vec<Appended>,
    pub start: usize,
    /// So many records were acknowledged as durable, or shown by an open.
    pub durable: usize,
    /// What the group's commit may be after a power cut; the last is what it is.
    pub commits: Vec<Option<Place>>,
    /// Whether retention may raise the start at any time.
    pub retains: bool,
}

/// The call that hasn't returned: it may have happened or not.
#[derive(Clone, Debug, Default)]
pub enum Flight {
    #[default]
    Nothing,
    Append(Vec<Appended>),
    Truncate(usize),
    Trim(usize),
    Delete,
    Create(Log),
    Commit(Vec<Place>),
}

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub log: Option<Log>,
    pub flight: Flight,
    /// Every place that was ever handed out: of which topic, and the records before it.
    pub handed: HashMap<Place, (u64, Vec<u64>)>,
    pub given: u64,
}

/// What a reader finds in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub start: usize,
    pub values: Vec<String>,
    pub commit: Option<Place>,
}

pub type Verdict<T = ()> = Result<T, String>;

macro_rules! must {
    ($holds:expr, $($story:tt)*) => { if !$holds { return Err(format!($($story)*)); } };
}

/// Reads everything there is.
pub fn look(store: &Store) -> Verdict<Option<Seen>> {
    must!(store.recovery().failed.is_empty(), "P11: {:?}", store.recovery().failed);
    let topic = match store.topic(TOPIC) {
        Err(Error::TopicNotFound { .. }) => return Ok(None),
        other => other.map_err(|error| format!("P11: the topic doesn't open: {error}"))?,
    };
    let partition = topic.partition(0).map_err(|error| format!("P11: the partition doesn't open: {error}"))?;
    let (_, values) = read_all(&partition)?;
    let start = partition.start().get() as usize;
    must!(
        start + values.len() == partition.end().get() as usize,
        "P3: a hole: {start} + {values:?} != {}",
        partition.end()
    );
    let commit = match topic.group(GROUP) {
        Err(Error::GroupNotFound { .. }) => None,
        other => {
            other.map_err(|error| format!("P11: the commits don't open: {error}"))?.commits.first().map(|c| c.place)
        }
    };
    Ok(Some(Seen { start, values, commit }))
}

/// All places and values, from the start on.
pub fn read_all(partition: &Partition) -> Verdict<(Vec<Place>, Vec<String>)> {
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
            values.push(String::from_utf8_lossy(record.value()).into_owned());
        }
    }
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

impl Oracle {
    /// Takes note of a place that was handed out behind these records.
    ///
    /// # Panics
    ///
    /// If the same place was handed out behind others: P4.
    pub fn hand(&mut self, place: Place, generation: u64, ids: &[u64]) {
        assert_eq!(place.next().get() as usize, ids.len());
        let of = (generation, ids.to_vec());
        let before = self.handed.entry(place).or_insert_with(|| of.clone());
        assert_eq!(*before, of, "P4: place {place} was handed out twice");
    }

    /// Compares what was found after a crash with all that may be there. Gives what is known from then on.
    pub fn accept(&self, seen: Option<&Seen>) -> Verdict<Oracle> {
        let log = match (&self.log, seen, &self.flight) {
            (None, None, _) | (Some(_), None, Flight::Delete) => None,
            (Some(_), None, _) => return Err("P1: the topic is gone".into()),
            (Some(log), Some(seen), flight) => Some(accept_log(log, seen, flight)?),
            (None, Some(seen), Flight::Create(new)) => Some(accept_log(new, seen, &Flight::Nothing)?),
            (None, Some(_), _) => return Err("P2: a topic that was deleted, or never created, is there".into()),
        };
        Ok(Oracle { log, flight: Flight::Nothing, ..self.clone() })
    }

    /// Offers every place that was ever handed out, and looks at what is said of it: P7, and P13 for the commit.
    pub fn offer_all(&self, store: &Store) -> Verdict {
        let Some(log) = &self.log else { return Ok(()) };
        let topic = store.topic(TOPIC).map_err(|error| error.to_string())?;
        let partition = topic.partition(0).map_err(|error| error.to_string())?;
        let ids = log.ids();
        for (&place, (generation, before)) in &self.handed {
            let common = ids.iter().zip(before).take_while(|(a, b)| a == b).count();
            let next = before.len();
            let found = partition.read_from(place);
            let fits = match &found {
                Err(Error::StaleEpoch { .. }) => *generation != log.generation,
                _ if *generation != log.generation => false,
                Err(Error::Diverged { fork, .. }) => next > common && fork.get() as usize == common,
                Err(Error::OffsetOutOfRange { .. }) => next <= common && next < log.start,
                Ok(_) => next <= common && next >= log.start,
                Err(_) => false,
            };
            let lineage = partition.lineage();
            must!(
                fits,
                "P7: {place}, behind {next} of which {common} are there (start {}), gave {found:?}; {lineage:?}",
                log.start
            );
            if let Ok(reader) = found {
                let first = reader.bytes_max(1).read().map_err(|error| format!("P7: {place}: {error}"))?;
                let first = first.iter().next().map(|record| String::from_utf8_lossy(record.value()).into_owned());
                let expected = log.records.get(next).map(|record| record.value.clone());
                must!(first == expected, "P7: {place} reads {first:?} instead of {expected:?}");
            }
        }
        let commit = log.commits.last().copied().flatten();
        must!(
            commit.is_none_or(|place| self.handed.contains_key(&place)),
            "P13: commit {commit:?} was never handed out"
        );
        Ok(())
    }
}

fn accept_log(log: &Log, seen: &Seen, flight: &Flight) -> Verdict<Log> {
    let mut after = log.clone();
    if let Flight::Append(more) = flight {
        after.records.extend(more.iter().cloned());
    }
    let end = seen.start + seen.values.len();
    let trimmed = matches!(flight, Flight::Trim(to) if seen.start == *to);
    let retained = log.retains && seen.start >= log.start;
    must!(seen.start == log.start || trimmed || retained, "P1: begins at {} and not at {}", seen.start, log.start);
    must!(end <= after.records.len(), "P2: {end} records, and only {} were appended", after.records.len());
    let cut = matches!(flight, Flight::Truncate(to) if end == *to);
    must!(end >= log.durable || cut, "P1: ends at {end}, durable were {}", log.durable);
    must!(after.may_end(end) || cut, "P5: ends at {end}, within a batch");
    for (i, value) in seen.values.iter().enumerate() {
        let expected = &after.records[seen.start + i].value;
        must!(value == expected, "P1-P3: {value} at offset {} instead of {expected}", seen.start + i);
    }
    let in_flight = matches!((flight, seen.commit), (Flight::Commit(places), Some(place)) if places.contains(&place));
    must!(
        in_flight || log.commits.contains(&seen.commit),
        "P13: commit {:?}, expected one of {:?}",
        seen.commit,
        log.commits
    );
    after.records.truncate(end);
    (after.start, after.durable, after.commits) = (seen.start, end, vec![seen.commit]);
    Ok(after)
}
