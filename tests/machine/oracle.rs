//! What must be there: the parent's memory of everything that was acknowledged.
//!
//! Invariant: it knows nothing of files, epochs or segments. Of a call that was told and not answered, or refused without
//! saying that nothing was done, it knows that it may have happened or not; everything else it knows for certain.

use std::collections::BTreeMap;

use epochlog::{Error, Place, Store};

use crate::look::{Seen, SeenTopic};
use crate::report::{Call, Line, Refusal};
use crate::tree::Tree;

/// What happened between the last answer and the open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: everything acknowledged is kept.
    Kill,
    /// The power went: what wasn't synced may be lost, from the end.
    Power,
}

#[derive(Clone, Debug)]
struct Part {
    tree: Tree,
    start: usize,
    durable: usize,
    /// What the group's commit may be after a power cut; the last is what it is.
    commits: Vec<Option<Place>>,
}

#[derive(Clone, Debug)]
struct Live {
    /// Its creation epoch, once it was seen.
    epoch: Option<String>,
    durable: bool,
    retains: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Default)]
struct Topic {
    live: Option<Live>,
    /// Calls that may have happened or not, in their order.
    unknown: Vec<Call>,
    /// Places of topics that had this name before.
    stale: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    topics: BTreeMap<String, Topic>,
    /// How many appends were acknowledged.
    pub acknowledged: u64,
}

const STALE_MAX: usize = 16;

macro_rules! must {
    ($holds:expr, $($story:tt)*) => { if !$holds { return Err(format!($($story)*)); } };
}

impl Live {
    fn new(partitions: u32, durable: bool, retains: bool) -> Live {
        let part = || Part { tree: Tree::new(), start: 0, durable: 0, commits: vec![None] };
        Live { epoch: None, durable, retains, parts: (0..partitions).map(|_| part()).collect() }
    }
}

impl Oracle {
    /// Takes note of one line.
    ///
    /// # Panics
    ///
    /// If it breaks a promise by itself.
    pub fn note(&mut self, line: &Line) {
        match line {
            Line::Try(name, Call::Close) => assert_eq!(name, "-"),
            Line::Done(name, None) if name == "-" => self.topics.values_mut().for_each(Topic::closed),
            Line::Try(name, call) => self.topic(name).begin(call),
            Line::Done(name, place) => {
                self.acknowledged += u64::from(place.is_some());
                self.topic(name).done(*place);
            }
            Line::Refused(name, refusal) => self.topic(name).refused(refusal),
            Line::Handed(name, place) => self.topic(name).hand(*place),
            Line::Begins(name, partition, start) => self.topic(name).begins(*partition, *start as usize),
            _ => {}
        }
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        self.topics.entry(name.into()).or_default()
    }

    /// Compares what an open shows with all that may be there. What is seen is known from then on.
    pub fn accept(&mut self, seen: &Seen, loss: Loss) -> Result<(), String> {
        for name in seen.keys() {
            self.topic(name);
        }
        let each = self.topics.iter_mut();
        let mut told =
            each.map(|(name, topic)| topic.accept(seen.get(name), loss).map_err(|it| format!("{name}: {it}")));
        told.find(Result::is_err).unwrap_or(Ok(()))
    }

    /// Offers places that were handed out, and looks at what is said of them: P7, P13.
    pub fn offer_all(&self, store: &Store) -> Result<u64, String> {
        let mut offered = 0;
        for (name, topic) in &self.topics {
            offered += topic.offer(store, name).map_err(|story| format!("{name}: {story}"))?;
        }
        Ok(offered)
    }
}

/// Whether a refusal says that nothing was done.
fn is_undone(refusal: &Refusal) -> bool {
    !matches!(refusal.variant.as_str(), "Io" | "Latched")
}

/// The newest of the topics that may have been created.
fn newest_created(unknown: &[Call]) -> Option<Live> {
    unknown.iter().rev().find_map(|call| match call {
        Call::Create { partitions, durable, retains } => Some(Live::new(*partitions, *durable, *retains)),
        _ => None,
    })
}

impl Topic {
    fn begin(&mut self, call: &Call) {
        if let Call::Begin(place) | Call::Commit(place) = call {
            self.hand(*place);
        }
        self.unknown.push(call.clone());
    }

    /// The topic that a call was made to. It may be one of which it wasn't known whether it had been created.
    fn live(&mut self) -> &mut Live {
        if self.live.is_none() {
            self.live = newest_created(&self.unknown);
            self.unknown.retain(|call| !matches!(call, Call::Create { .. }));
        }
        self.live.as_mut().expect("the topic is there")
    }

    fn part(&mut self, number: u32) -> &mut Part {
        &mut self.live().parts[number as usize]
    }

    fn hand(&mut self, place: Place) {
        let certain = self.unknown.is_empty();
        let tree = &mut self.part(place.partition()).tree;
        // Behind what isn't known a place is no surprise.
        if certain || place.next().get() as usize <= tree.len() {
            tree.hand(place);
        }
    }

    fn begins(&mut self, partition: u32, start: usize) {
        let retains = self.live().retains;
        let part = self.part(partition);
        assert!(start == part.start || (retains && start >= part.start), "begins at {start}, not at {}", part.start);
        part.start = start;
    }

    fn refused(&mut self, refusal: &Refusal) {
        if is_undone(refusal) {
            self.unknown.pop();
        }
    }

    fn done(&mut self, place: Option<Place>) {
        match self.unknown.pop().expect("something was tried") {
            Call::Create { partitions, durable, retains } => {
                self.bury();
                self.live = Some(Live::new(partitions, durable, retains));
            }
            Call::Delete => self.bury(),
            Call::Append { partition, first, count, len, durable } => {
                let place = place.expect("an append hands out a place");
                self.appended(partition, first, count, len, durable, place);
            }
            Call::Sync { partition } => {
                let part = self.part(partition);
                part.durable = part.tree.len();
            }
            Call::Trim { partition, to } => {
                let part = self.part(partition);
                part.start = to as usize;
                part.durable = part.durable.max(part.start);
            }
            Call::Truncate { partition, to } => {
                let part = self.part(partition);
                if (to as usize) < part.tree.len() {
                    part.tree.cut(to as usize);
                    part.durable = to as usize;
                }
            }
            Call::Begin(place) => {
                let commits = &mut self.part(place.partition()).commits;
                if commits.last() == Some(&None) {
                    // Where the start policy led is stored durably in any topic.
                    *commits = vec![Some(place)];
                }
            }
            Call::Commit(place) => {
                self.unknown.retain(|call| match call {
                    Call::Begin(other) | Call::Commit(other) => other.partition() != place.partition(),
                    _ => true,
                });
                let durable = self.live().durable;
                let part = self.part(place.partition());
                if durable {
                    part.commits.clear();
                    part.durable = part.durable.max(place.next().get() as usize);
                }
                part.commits.push(Some(place));
            }
            Call::Close => {}
        }
    }

    /// The topic is gone; its places are stale for ever.
    fn bury(&mut self) {
        for part in self.live.take().into_iter().flat_map(|live| live.parts) {
            self.stale.extend(part.tree.handed().iter().rev().take(2));
        }
        let surplus = self.stale.len().saturating_sub(STALE_MAX);
        self.stale.drain(..surplus);
        self.unknown.clear();
    }

    fn appended(&mut self, number: u32, first: u64, count: u64, len: usize, durable: bool, place: Place) {
        let base = (place.next().get() - count) as usize;
        self.live();
        let mut unknown = std::mem::take(&mut self.unknown);
        let part = self.part(number);
        // What is acknowledged says what became of the calls before it.
        for call in &unknown {
            match *call {
                Call::Truncate { partition, to } if partition == number && to as usize == base => {
                    part.tree.cut(base);
                }
                Call::Append { partition, first, count, len, .. }
                    if partition == number && part.tree.len() + count as usize <= base =>
                {
                    (first..first + count).for_each(|id| part.tree.push(id, len, first));
                }
                _ => {}
            }
        }
        unknown.retain(|call| match call {
            Call::Append { partition, .. } | Call::Truncate { partition, .. } => *partition != number,
            Call::Delete => false,
            _ => true,
        });
        assert_eq!(base, part.tree.len(), "P3: appended behind another end");
        (first..first + count).for_each(|id| part.tree.push(id, len, first));
        if durable {
            part.durable = part.tree.len();
        }
        part.tree.hand(place);
        self.unknown = unknown;
    }

    fn closed(&mut self) {
        for part in self.live.iter_mut().flat_map(|live| &mut live.parts) {
            part.durable = part.tree.len();
            part.commits = part.commits.split_off(part.commits.len() - 1);
        }
    }

    fn accept(&mut self, seen: Option<&SeenTopic>, loss: Loss) -> Result<(), String> {
        let may_be_gone = self.live.is_none() || self.unknown.contains(&Call::Delete);
        let Some(seen) = seen else {
            must!(may_be_gone, "P1: the topic is gone");
            self.bury();
            return Ok(());
        };
        let is_another = |live: &Live| live.epoch.as_ref().is_some_and(|epoch| *epoch != seen.epoch);
        if self.live.as_ref().is_none_or(is_another) {
            must!(may_be_gone, "P1: another topic stands in its place");
            let new = newest_created(&self.unknown);
            must!(new.is_some(), "P2: a topic that was deleted, or never created, is there");
            self.bury();
            self.live = new;
        }
        let unknown = std::mem::take(&mut self.unknown);
        let live = self.live();
        live.epoch = Some(seen.epoch.clone());
        must!(live.parts.len() == seen.parts.len(), "P1: {} partitions", seen.parts.len());
        for (number, part) in live.parts.iter_mut().enumerate() {
            let commit = seen.commits.iter().find(|place| place.partition() as usize == number).copied();
            let (start, records) = &seen.parts[number];
            let case = Case { number: number as u32, unknown: &unknown, loss, retains: live.retains };
            case.accept(part, *start as usize, records, commit).map_err(|story| format!("{number}: {story}"))?;
        }
        Ok(())
    }

    fn offer(&self, store: &Store, name: &str) -> Result<u64, String> {
        let Some(live) = &self.live else { return Ok(0) };
        let mut offered = 0;
        let topic = store.topic(name).map_err(|error| error.to_string())?;
        for place in self.stale.iter().filter(|place| (place.partition() as usize) < live.parts.len()) {
            let found = topic.partition(place.partition()).and_then(|partition| partition.read_from(*place));
            must!(matches!(found, Err(Error::StaleEpoch { .. })), "P7: stale {place} gave {found:?}");
            offered += 1;
        }
        for (number, part) in live.parts.iter().enumerate() {
            let partition = topic.partition(number as u32).map_err(|error| error.to_string())?;
            let commit = part.commits.last().copied().flatten();
            for place in part.tree.handed().iter().copied().chain(commit) {
                let Some(common) = part.tree.common(place) else { continue };
                let next = place.next().get() as usize;
                let found = partition.read_from(place);
                let fits = match &found {
                    Err(Error::Diverged { fork, .. }) => next > common && fork.get() as usize == common,
                    Err(Error::OffsetOutOfRange { .. }) => next <= common && next < part.start,
                    Ok(_) => next <= common && next >= part.start,
                    Err(_) => false,
                };
                let (lineage, start) = (partition.lineage(), part.start);
                must!(fits, "P7: {place}, of which {common} are there (start {start}), gave {found:?}; {lineage:?}");
                offered += 1;
            }
        }
        Ok(offered)
    }
}

/// One partition as it is found, beside all that may be.
struct Case<'a> {
    number: u32,
    unknown: &'a [Call],
    loss: Loss,
    retains: bool,
}

impl Case<'_> {
    fn accept(
        &self,
        part: &mut Part,
        start: usize,
        records: &[(u64, usize)],
        commit: Option<Place>,
    ) -> Result<(), String> {
        let end = start + records.len();
        let trimmed = self.unknown.contains(&Call::Trim { partition: self.number, to: start as u64 });
        let cut = self.unknown.contains(&Call::Truncate { partition: self.number, to: end as u64 });
        let retained = self.retains && start >= part.start;
        must!(start == part.start || trimmed || retained, "P1: begins at {start} and not at {}", part.start);
        let least = if self.loss == Loss::Kill { part.tree.len() } else { part.durable };
        must!(end >= least || cut, "P1: ends at {end}, acknowledged were {least}");
        must!(part.tree.is_border(end) || cut, "P5: ends at {end}, within a batch");
        let known = part.tree.len().max(start).min(end);
        for (offset, found) in (start..known).zip(records) {
            let expected = part.tree.at(offset);
            must!(expected == Some(*found), "P1-P3: {found:?} at offset {offset} instead of {expected:?}");
        }
        part.tree.cut(end);
        self.adopt(part, &records[known - start..])?;
        self.accept_commit(part, commit)?;
        (part.start, part.durable, part.commits) = (start, end, vec![commit]);
        Ok(())
    }

    /// What lies behind the known end is whole batches of which nothing was known, in their order.
    fn adopt(&self, part: &mut Part, mut more: &[(u64, usize)]) -> Result<(), String> {
        for call in self.unknown {
            if let Call::Append { partition, first, count, len, .. } = *call
                && partition == self.number
                && more.first() == Some(&(first, len))
            {
                let batch: Vec<(u64, usize)> = (first..first + count).map(|id| (id, len)).collect();
                must!(more.starts_with(&batch), "P5: of a batch of {count} there are {}", more.len());
                batch.iter().for_each(|&(id, len)| part.tree.push(id, len, first));
                more = &more[batch.len()..];
            }
        }
        must!(more.is_empty(), "P2: {more:?} behind the end, {}; unknown are {:?}", part.tree.len(), self.unknown);
        Ok(())
    }

    fn accept_commit(&self, part: &Part, commit: Option<Place>) -> Result<(), String> {
        let unknown = self.unknown.iter().any(|call| match call {
            Call::Begin(place) | Call::Commit(place) => commit == Some(*place),
            _ => false,
        });
        let known = match self.loss {
            Loss::Kill => part.commits.last() == Some(&commit),
            Loss::Power => part.commits.contains(&commit),
        };
        must!(known || unknown, "P13: commit {commit:?}, expected one of {:?}", part.commits);
        Ok(())
    }
}
