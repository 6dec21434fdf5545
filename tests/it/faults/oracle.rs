//! What the calls were told, and what may be there because of it.
//!
//! Invariant: it knows nothing of files. Every value is given once, so a record that is doubled, reordered or invented is
//! seen at once. What a call that failed has done is open until somebody looks.

use epochlog::{Durability, Epoch, Error, Partition, Place, Start, Store};

pub const TOPIC: &str = "orders";
pub const GROUP: &str = "billing";

pub type Verdict<T = ()> = Result<T, String>;

macro_rules! must {
    ($holds:expr, $($story:tt)*) => { if !$holds { return Err(format!($($story)*)); } };
}
pub(super) use must;

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Fate {
    /// It was undone, or taken back: it must never be read.
    Gone,
    /// The call failed: it may be there or not.
    Open,
    /// Acknowledged: a kill leaves it.
    Written,
    /// Acknowledged: a power cut leaves it.
    Durable,
}

#[derive(Clone, Debug)]
pub struct Tried {
    pub value: String,
    pub batch: u64,
    pub offset: Option<u64>,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exists {
    Yes,
    Maybe,
    No,
}

/// One topic while it lives; topics of one name are told apart by their epoch.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Unknown if the call that created it failed.
    pub epoch: Option<Epoch>,
    pub exists: Exists,
    pub records: Vec<Tried>,
    pub end: u64,
    pub start: u64,
    /// Where a trim that failed may have moved the start.
    pub starts: Vec<u64>,
    /// Where a truncate has cut, or may have, also within a batch.
    pub cuts: Vec<u64>,
    /// The least offset at which a truncate that failed may have cut, if no append was acknowledged since.
    pub open_cut: Option<u64>,
    /// What the group's commit may be; the last is what it is if the last call succeeded.
    pub commits: Vec<Option<Place>>,
}

impl Generation {
    pub fn new(epoch: Option<Epoch>) -> Generation {
        let exists = if epoch.is_some() { Exists::Yes } else { Exists::Maybe };
        let (records, starts, cuts) = (Vec::new(), Vec::new(), Vec::new());
        Generation { epoch, exists, records, end: 0, start: 0, starts, cuts, open_cut: None, commits: vec![None] }
    }

    /// Everything below an offset is durable, unless a cut of which nothing is known takes it.
    pub fn harden(&mut self, below: u64) {
        let below = below.min(self.open_cut.unwrap_or(u64::MAX));
        for record in self.records.iter_mut().filter(|record| record.fate != Fate::Gone) {
            if record.offset.is_some_and(|offset| offset < below) {
                record.fate = Fate::Durable;
            }
        }
    }

    /// Everything from an offset on was taken back; or may have been.
    pub fn cut(&mut self, to: u64, fate: Fate) {
        for record in self.records.iter_mut().filter(|record| record.offset.is_none_or(|offset| offset >= to)) {
            record.fate = if record.fate == Fate::Gone { Fate::Gone } else { fate };
        }
        self.cuts.push(to);
        match fate {
            Fate::Gone => self.end = to,
            _ => self.open_cut = Some(to.min(self.open_cut.unwrap_or(to))),
        }
    }

    /// What a reader finds from `start` on is what may be there.
    fn accept(&self, start: u64, values: &[String], least: Fate) -> Verdict<Vec<Tried>> {
        must!(
            start == self.start || self.starts.contains(&start),
            "P1: begins at {start}; trimmed to {}, or {:?}",
            self.start,
            self.starts
        );
        let mut found = Vec::new();
        let mut from = 0;
        for (offset, value) in (start..).zip(values) {
            let at = self.records[from..].iter().position(|tried| tried.value == *value && tried.fate != Fate::Gone);
            let Some(at) = at else {
                return Err(format!("P2: `{value}` at offset {offset} was invented, undone, doubled or reordered"));
            };
            let tried = &self.records[from + at];
            must!(
                tried.offset.is_none_or(|promised| promised == offset),
                "P4: `{value}` is at offset {offset} and was acknowledged at {:?}",
                tried.offset
            );
            from += at + 1;
            found.push(Tried { offset: Some(offset), ..tried.clone() });
        }
        let end = start + values.len() as u64;
        for owed in self.records.iter().filter(|tried| tried.fate >= least) {
            let offset = owed.offset.expect("what was acknowledged has an offset");
            must!(
                offset < start || found.get((offset - start) as usize).is_some_and(|there| there.value == owed.value),
                "P1: `{}` was acknowledged ({:?}) at {offset}, and the log is {start}..{end}",
                owed.value,
                owed.fate
            );
        }
        if let Some(last) = found.last() {
            let mut whole = self.records.iter().filter(|tried| tried.batch == last.batch && tried.fate != Fate::Gone);
            let last_of_it = whole.next_back().is_none_or(|tried| tried.value == last.value);
            must!(last_of_it || self.cuts.contains(&end), "P5: ends at {end}, within a batch");
        }
        Ok(found)
    }
}

/// All that was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub generations: Vec<Generation>,
    pub given: u64,
    pub batches: u64,
}

impl Told {
    /// The generation that a topic of this epoch is. One whose creation failed is known from here on.
    pub fn of(&mut self, epoch: Epoch) -> &mut Generation {
        let known = self.generations.iter().position(|generation| generation.epoch == Some(epoch));
        let i = known.unwrap_or_else(|| {
            let unknown = self.generations.iter().position(|generation| generation.epoch.is_none());
            unknown.expect("P2: a topic that nobody created")
        });
        self.generations[i].epoch = Some(epoch);
        &mut self.generations[i]
    }

    pub fn value(&mut self) -> String {
        self.given += 1;
        format!("value-{:03}-{}", self.given, "x".repeat(40))
    }

    /// Looks at everything, and takes it for what is there from now on. `least` is what must have stayed.
    pub fn accept(&mut self, store: &Store, least: Fate) -> Verdict {
        must!(store.recovery().failed.is_empty(), "P11: {:?}", store.recovery().failed);
        let topic = match store.topic(TOPIC) {
            Err(Error::TopicNotFound { .. }) => {
                let missing = self.generations.iter().find(|generation| generation.exists == Exists::Yes);
                must!(missing.is_none(), "P1: the topic is gone: {missing:?}");
                self.generations.clear();
                return Ok(());
            }
            other => other.map_err(|error| format!("P11: the topic doesn't open: {error}"))?,
        };
        let partition = topic.partition(0).map_err(|error| format!("P11: the partition doesn't open: {error}"))?;
        let generation = self.of(topic.epoch());
        must!(generation.exists != Exists::No, "P2: a topic that was deleted is there");
        let values = read_all(&partition).map_err(|error| format!("P1: reading fails: {error}"))?;
        let start = partition.start().get();
        must!(start + values.len() as u64 == partition.end().get(), "P3: {start} + {} records", values.len());
        let found = generation.accept(start, &values, least)?;
        let commit = match topic.group(GROUP) {
            Err(Error::GroupNotFound { .. }) => None,
            other => other.map_err(|error| format!("P11: {error}"))?.commits.first().map(|commit| commit.place),
        };
        must!(
            generation.commits.contains(&commit),
            "P13: the commit is {commit:?}, and was told as {:?}",
            generation.commits
        );
        let end = start + values.len() as u64;
        let settled = Generation {
            records: found,
            end,
            start,
            starts: Vec::new(),
            cuts: Vec::new(),
            open_cut: None,
            commits: vec![commit],
            exists: Exists::Yes,
            epoch: generation.epoch,
        };
        self.generations = vec![settled];
        Ok(())
    }
}

/// Every value, from the start to the end.
pub fn read_all(partition: &Partition) -> Result<Vec<String>, Error> {
    let mut reader = partition.read_from(Start::Earliest)?;
    let mut values = Vec::new();
    loop {
        let records = reader.read()?;
        if records.is_empty() {
            return Ok(values);
        }
        values.extend(crate::support::values(&records));
    }
}

pub fn fate_of(durability: Durability) -> Fate {
    if durability == Durability::Durable { Fate::Durable } else { Fate::Written }
}
