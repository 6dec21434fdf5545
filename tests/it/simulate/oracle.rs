//! The oracle: plain vectors and synced marks. Obviously right, or wrong.
//!
//! Invariant: it knows nothing of files, segments or lineages. A record is known by a number that is given once, so that
//! two records of equal value are still two; a place by the numbers of all records that lie before it. Where a call has
//! failed, or was cut off by a crash, it keeps what may have become of it until somebody looks.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use epochlog::{Epoch, Place, Timestamp};

pub const NAMES: [&str; 3] = ["plain", "retired", "third"];
pub const GROUPS: [&str; 2] = ["billing", "audit"];

/// A record that was appended.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: u64,
    pub value: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub timestamp: Option<Timestamp>,
    /// Its own timestamp or that of its append: taken from the first look at it, and the same ever after.
    pub time: Cell<Option<Timestamp>>,
}

pub type Batch = Vec<Rc<Kept>>;

/// The numbers of the records that were read up to a place.
pub type Prefix = Rc<[u64]>;

/// How a store went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Down {
    Closed,
    Killed,
    Powerless,
}

/// What the oracle says of a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on here.
    Here,
    /// Trimmed.
    Expired,
    /// Something else stands there now; the histories agree up to this offset.
    Diverged(usize),
    /// The same, and what was read last was never here: its epoch may be unknown.
    Elsewhere(usize),
    /// Of another topic.
    Stale,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Everything that was appended and not cut, from offset 0 on, whether trimmed or not.
    pub records: Vec<Rc<Kept>>,
    /// Where a crash may cut: the ends of batches.
    pub ends: BTreeSet<usize>,
    pub start: usize,
    /// Everything below survives a power cut.
    pub synced: usize,
    /// Appends at the end that failed unseen: one of them may yet be found there.
    pub limbo: Vec<Batch>,
    /// Truncates and trims that failed: the next open may find that they happened.
    pub may_cut: Vec<usize>,
    pub may_start: Vec<usize>,
    /// Every record that ever stood here.
    pub ever: HashSet<u64>,
    /// Base offset and bytes of its segments when it was last looked at.
    pub segments: Vec<(usize, u64)>,
}

impl Part {
    pub fn end(&self) -> usize {
        self.records.len()
    }

    pub fn prefix(&self, next: usize) -> Prefix {
        self.records[..next].iter().map(|record| record.id).collect()
    }

    /// A batch that is there: what failed before it has its fate.
    pub fn append(&mut self, batch: Batch) {
        self.ever.extend(batch.iter().map(|record| record.id));
        self.records.extend(batch);
        self.ends.insert(self.end());
        self.limbo.clear();
        self.may_cut.clear();
    }

    /// Takes back everything from here on.
    pub fn cut(&mut self, to: usize) {
        self.records.truncate(to);
        self.ends.retain(|&end| end < to);
        self.ends.insert(to);
        self.synced = self.synced.min(to);
        self.limbo.clear();
        self.may_cut.clear();
    }

    /// Whether it may end here when it comes back: P1, P3, P5.
    pub fn may_end_at(&self, end: usize, down: Down) -> bool {
        let whole = end == 0 || end == self.end() || self.ends.contains(&end);
        let lost = down == Down::Powerless && self.synced <= end && end <= self.end() && whole;
        lost || end == self.end() || self.may_cut.contains(&end)
    }

    pub fn judge(&self, prefix: &Prefix) -> Verdict {
        let now = self.records.iter().map(|record| record.id);
        let common = prefix.iter().zip(now).take_while(|(then, now)| *then == now).count();
        match prefix.len() {
            read if common == read && read < self.start => Verdict::Expired,
            read if common == read => Verdict::Here,
            read if self.ever.contains(&prefix[read - 1]) => Verdict::Diverged(common),
            _ => Verdict::Elsewhere(common),
        }
    }

    pub fn find(&self, time: Timestamp) -> usize {
        let old = |record: &Rc<Kept>| record.time.get().is_some_and(|its| its < time);
        self.start + self.records[self.start.min(self.end())..].iter().take_while(|record| old(record)).count()
    }
}

/// For each group and partition its commit.
pub type Commits = BTreeMap<(usize, u32), Place>;

/// One topic while it lives. Topics of one name are told apart by their epoch.
#[derive(Clone, Debug)]
pub struct TopicModel {
    pub epoch: Epoch,
    pub kind: u32,
    pub parts: Vec<Part>,
    pub commits: Commits,
    /// What a power cut may leave of the commits; the last one is what they are.
    pub commits_after_power: Vec<Commits>,
    /// Whether a failed call makes it uncertain which commits the next open finds.
    pub commits_uncertain: bool,
    /// As many partitions as a failed call may have left.
    pub may_have: Option<usize>,
}

impl TopicModel {
    pub fn new(epoch: Epoch, kind: u32, partitions: usize) -> TopicModel {
        TopicModel {
            epoch,
            kind,
            parts: vec![Part::default(); partitions],
            commits: Commits::new(),
            commits_after_power: vec![Commits::new()],
            commits_uncertain: false,
            may_have: None,
        }
    }

    pub fn is_durable(&self) -> bool {
        self.kind == 0 || self.kind == 3
    }

    pub fn commit(&mut self, commits: Commits, durable: bool) {
        if durable {
            self.commits_after_power.clear();
        }
        self.commits_after_power.push(commits.clone());
        self.commits = commits;
    }

    pub fn judge(&self, handed: &Handed) -> Verdict {
        if handed.topic == self.epoch {
            self.parts[handed.place.partition() as usize].judge(&handed.prefix)
        } else {
            Verdict::Stale
        }
    }
}

/// One directory.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub topics: [Option<TopicModel>; 3],
    /// What else the next open may find: calls that failed.
    pub maybe: [Vec<Option<TopicModel>>; 3],
    /// A topic whose name couldn't be synced, its kind and partitions: nobody was shown it, and the next open may find it.
    pub unnamed: [Option<(u32, usize)>; 3],
    /// Whether a failed sync took back what was written: then a kill is no kinder than a power cut.
    pub reverted: bool,
    /// Whether the disk ever said that it had synced what it hadn't.
    pub lied: bool,
}

/// A place that was given out, and what its owner has read.
#[derive(Clone, Debug)]
pub struct Handed {
    pub topic: Epoch,
    pub place: Place,
    pub prefix: Prefix,
}

/// Every place that was ever handed out, by any copy of the store.
#[derive(Default)]
pub struct Book {
    handed: Vec<Handed>,
    known: std::collections::HashMap<Place, usize>,
}

impl Book {
    /// Notes a place. The same place never stands for two prefixes: P4.
    pub fn hand(&mut self, topic: Epoch, place: Place, part: &Part) {
        let next = place.next().get() as usize;
        assert!(next <= part.end(), "P2: {place} lies behind the end {}", part.end());
        match self.known.get(&place) {
            Some(&at) => {
                let handed = &self.handed[at];
                let last = next.checked_sub(1).map(|last| part.records[last].id);
                assert_eq!(handed.topic, topic, "P4: {place} is of two topics");
                assert_eq!(handed.prefix.last().copied(), last, "P4: {place} is handed out for two histories");
            }
            None => {
                self.known.insert(place, self.handed.len());
                self.handed.push(Handed { topic, place, prefix: part.prefix(next) });
            }
        }
    }

    pub fn get(&self, place: Place) -> &Handed {
        let at = self.known.get(&place).unwrap_or_else(|| panic!("P2: {place} was never handed out"));
        &self.handed[*at]
    }

    pub fn pick(&self, number: u32) -> Option<&Handed> {
        self.handed.get(number as usize % self.handed.len().max(1))
    }

    /// The newest ones first.
    pub fn pick_late(&self, number: u32) -> Option<&Handed> {
        let back = number as usize % self.handed.len().max(1);
        self.handed.iter().rev().nth(back)
    }

    pub fn all(&self) -> &[Handed] {
        &self.handed
    }
}
