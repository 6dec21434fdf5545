//! The oracle: plain vectors and a synced mark. Obviously right, or wrong.

use epochlog::{Epoch, Offset, Place};

/// A record that was appended; its id is unique over the whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: u64,
    pub value: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Everything that was appended and not cut, from offset 0 on, whether trimmed or not.
    pub records: Vec<Kept>,
    /// Where a crash may cut: the ends of batches.
    pub ends: Vec<usize>,
    pub start: usize,
    /// Everything below survives a power cut.
    pub synced: usize,
}

/// What was read up to a place: enough to say whether it still is what is there.
pub type Prefix = Vec<u64>;

/// What the oracle says of a prefix.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on here.
    Here,
    /// Trimmed.
    Expired,
    /// Something else stands there now; the histories agree up to this offset.
    Diverged(usize),
}

impl Part {
    pub fn end(&self) -> usize {
        self.records.len()
    }

    pub fn prefix(&self, next: usize) -> Prefix {
        self.records[..next].iter().map(|record| record.id).collect()
    }

    pub fn append(&mut self, batch: Vec<Kept>) {
        self.records.extend(batch);
        self.ends.push(self.end());
    }

    /// Takes back everything from here on.
    pub fn cut(&mut self, to: usize) {
        self.records.truncate(to);
        self.ends.retain(|&end| end < to);
        self.ends.push(to);
        self.synced = self.synced.min(to);
    }

    /// What a power cut may leave: never less than what is synced, never a part of a batch.
    pub fn may_end_at(&self, end: usize) -> bool {
        self.synced <= end && end <= self.end() && (end == 0 || end == self.end() || self.ends.contains(&end))
    }

    pub fn judge(&self, prefix: &Prefix) -> Verdict {
        let now = self.records.iter().map(|record| record.id);
        let common = prefix.iter().zip(now).take_while(|(then, now)| *then == now).count();
        match prefix.len() {
            read if common < read => Verdict::Diverged(common),
            read if read < self.start => Verdict::Expired,
            _ => Verdict::Here,
        }
    }
}

/// One topic while it lives. Topics of one name are told apart by their epoch.
#[derive(Clone, Debug)]
pub struct TopicModel {
    pub epoch: Epoch,
    pub durable: bool,
    pub retires: bool,
    pub parts: Vec<Part>,
    /// For each group and partition all commits that may be the newest one after a power cut; the last one is.
    pub commits: [Vec<Vec<Prefix>>; 2],
}

impl TopicModel {
    pub fn new(epoch: Epoch, partitions: usize, durable: bool, retires: bool) -> TopicModel {
        let parts = vec![Part::default(); partitions];
        TopicModel { epoch, durable, retires, parts, commits: [Vec::new(), Vec::new()] }
    }

    pub fn committed(&self, group: usize, partition: usize) -> Option<&Prefix> {
        self.commits[group].get(partition)?.last()
    }

    pub fn commit(&mut self, group: usize, partition: usize, prefix: Prefix) {
        let commits = &mut self.commits[group];
        commits.resize(commits.len().max(partition + 1), Vec::new());
        if self.durable {
            commits[partition].clear();
            self.parts[partition].synced =
                self.parts[partition].synced.max(prefix.len().min(self.parts[partition].end()));
        }
        commits[partition].push(prefix);
    }

    /// Everything is on the medium now.
    pub fn all_synced(&mut self) {
        for part in &mut self.parts {
            part.synced = part.end();
        }
        for candidates in self.commits.iter_mut().flatten() {
            if let Some(newest) = candidates.pop() {
                *candidates = vec![newest];
            }
        }
    }
}

/// A place that was given out, and what its owner has read.
#[derive(Clone, Debug)]
pub struct Given {
    pub name: usize,
    pub topic: Epoch,
    pub place: Place,
    pub prefix: Prefix,
}

pub fn at(offset: usize) -> Offset {
    Offset::new(offset as u64)
}

pub fn index(offset: Offset) -> usize {
    usize::try_from(offset.get()).expect("is small")
}
