//! Opens a harmed store, reads all of it around its damage, and says what came of it.
//!
//! Invariant: whatever is handed out is compared with what was appended: another byte fails here, whatever the table
//! allows. What is refused is told by who refuses, as what, in which file, where, and for which offsets.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use epochlog::testing::SimDisk;
use epochlog::{Corruption, Error, GroupDescription, Offset, Partition, Position, RecordView, Start, Store, inspect};

use super::region::{Kind, kind_of};
use super::specimen::{Committed, Known, PARTITIONS, Specimen, Where};
use crate::support::*;

/// No harm may keep the engine busy for longer. Far more than any needs.
const TIME_MAX: Duration = Duration::from_secs(20);

/// How the harmed store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Writing,
    Reading,
}

/// Damage as it was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    pub who: &'static str,
    pub what: String,
    pub path: PathBuf,
    pub position: Option<u64>,
    pub offsets: Option<(u64, u64)>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub told: Vec<Told>,
    /// What was appended and wasn't read.
    pub lost: BTreeMap<Where, Vec<u64>>,
    pub commits: Commits,
    /// Whether what was trimmed can be read again.
    pub untrimmed: bool,
    pub verified: Vec<Told>,
    /// The files that verify has something to say about which is no damage.
    pub noted: Vec<PathBuf>,
    /// What recovery found that wasn't as it should be, beyond an end that is whole.
    pub found: Vec<&'static str>,
}

/// What the groups had committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Commits {
    #[default]
    Exact,
    /// The last commit is gone.
    BeforeTheLast,
    /// More than the last one is gone.
    Earlier,
    Refused,
}

/// Opens it and looks at everything.
///
/// With a harmed file that only one partition reads, only that one is read; verify reads the others.
pub fn look(specimen: &Specimen, disk: &SimDisk, harmed: &Path, way: Way) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    let options = options(disk, specimen.mapping);
    let opened = match way {
        Way::Writing => options.open("/sim"),
        Way::Reading => options.open_read_only("/sim"),
    };
    match opened {
        Ok(store) => outcome.look_into(specimen, &store, harmed),
        Err(error) => {
            outcome.told.push(told("the store", &error));
            outcome.lost = lost_in(specimen, |_| true);
            outcome.commits = Commits::Refused;
        }
    }
    assert!(began.elapsed() < TIME_MAX, "took {:?}", began.elapsed());
    outcome
}

impl Outcome {
    fn look_into(&mut self, specimen: &Specimen, store: &Store, harmed: &Path) {
        let alone = specimen.place_of(harmed).filter(|_| matches!(kind_of(harmed), Kind::Segment | Kind::Index));
        for place in PARTITIONS.into_iter().filter(|place| alone.is_none_or(|alone| alone == *place)) {
            self.read(specimen, store, place);
        }
        self.groups(specimen, store);
        let ends = ["tail-ok", "sealed-ok"];
        let recovery = store.recovery();
        let found = recovery.partitions.iter().flat_map(|partition| &partition.findings);
        self.found.extend(found.map(|finding| finding.label).filter(|label| !ends.contains(label)));
        match inspect::verify(store, &mut |_| {}) {
            Ok(verification) => {
                self.verified = verification.damage.iter().map(|damaged| told("verify", &damaged.error)).collect();
                self.noted = verification.notes.iter().map(|note| relative(&note.path)).collect();
            }
            Err(error) => self.verified.push(told("verify", &error)),
        }
    }

    fn read(&mut self, specimen: &Specimen, store: &Store, place: Where) {
        let known = &specimen.known[&place];
        let topic = match store.topic(place.0) {
            Ok(topic) => topic,
            Err(error) => {
                self.tell(told("the topic", &error));
                return self.lose(place, known);
            }
        };
        match topic.partition(place.1) {
            Ok(partition) => self.read_around(specimen, &partition, place),
            Err(error) => {
                self.tell(told("the partition", &error));
                self.lose(place, known);
            }
        }
    }

    /// Reads from the start on; behind damage it goes on where the error says that it ends.
    fn read_around(&mut self, specimen: &Specimen, partition: &Partition, place: Where) {
        let known = &specimen.known[&place];
        let mut left = known.iter();
        let mut reader = partition.read_from(Start::Earliest).expect("the start is there");
        loop {
            match reader.read() {
                Ok(records) if records.is_empty() => break,
                Ok(records) => {
                    for record in &records {
                        let record = known_of(&record);
                        if specimen.trimmed.get(&place).is_some_and(|trimmed| trimmed.contains(&record)) {
                            self.untrimmed = true;
                            left = known.iter();
                            continue;
                        }
                        while left.clone().next().is_some_and(|known| known.offset < record.offset) {
                            self.lose(place, left.next());
                        }
                        assert_eq!(left.next(), Some(&record), "what was read was never appended so, or is read twice");
                    }
                }
                Err(error) => {
                    let damage = told("a read", &error);
                    let before = reader.place().next().get();
                    let behind = damage.offsets.map(|(_, end)| end);
                    assert!(behind.is_none_or(|behind| behind > before), "{error}: leads nowhere from {before}");
                    self.tell(damage);
                    // What a later version wrote isn't gone around.
                    let Some(behind) = behind else { break };
                    if reader.seek(Start::At(Offset::new(behind))).is_err() {
                        break;
                    }
                }
            }
        }
        self.lose(place, left);
    }

    fn tell(&mut self, told: Told) {
        if !self.told.contains(&told) {
            self.told.push(told);
        }
    }

    fn lose<'a>(&mut self, place: Where, known: impl IntoIterator<Item = &'a Known>) {
        let offsets: Vec<u64> = known.into_iter().map(|known| known.offset).collect();
        if !offsets.is_empty() {
            self.lost.entry(place).or_default().extend(offsets);
        }
    }

    fn groups(&mut self, specimen: &Specimen, store: &Store) {
        for name in ["orders", "audit"] {
            let Ok(topic) = store.topic(name) else { continue };
            match topic.groups() {
                Ok(groups) if name == "orders" => self.commits = self.compare(specimen, &committed(&groups)),
                Ok(groups) => assert!(groups.is_empty(), "{groups:?}"),
                Err(error) => {
                    let damage = told("the groups", &error);
                    if !self.told.iter().any(|told| told.path == damage.path) {
                        self.tell(damage);
                    }
                    self.commits = self.commits.max(Commits::Refused);
                }
            }
        }
    }

    fn compare(&self, specimen: &Specimen, found: &Committed) -> Commits {
        if *found == specimen.commits {
            return self.commits;
        }
        if *found == specimen.commits_before {
            return Commits::BeforeTheLast;
        }
        for (group, commits) in found {
            for (partition, commit) in commits {
                let made = (group.clone(), *partition, commit.clone());
                assert!(specimen.commits_made.contains(&made), "{made:?} was never committed");
            }
        }
        Commits::Earlier
    }
}

pub fn lost_in(specimen: &Specimen, which: impl Fn(Where) -> bool) -> BTreeMap<Where, Vec<u64>> {
    let all = specimen.known.iter().filter(|(place, known)| which(**place) && !known.is_empty());
    all.map(|(place, known)| (*place, known.iter().map(|known| known.offset).collect())).collect()
}

fn known_of(record: &RecordView<'_>) -> Known {
    Known {
        offset: record.offset().get(),
        timestamp: record.timestamp(),
        key: record.key().map(<[u8]>::to_vec),
        value: (!record.is_tombstone()).then(|| record.value().to_vec()),
        headers: record.headers().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
    }
}

fn committed(groups: &[GroupDescription]) -> Committed {
    let commits = |group: &GroupDescription| {
        let commits = group.commits.iter();
        commits.map(|commit| (commit.place.partition(), (commit.place.next().get(), commit.metadata.clone()))).collect()
    };
    groups.iter().map(|group| (group.group.to_string(), commits(group))).collect()
}

/// Damage is `Corrupt` and nothing else.
fn told(who: &'static str, error: &Error) -> Told {
    match error {
        Error::Corrupt(corruption) => {
            let Corruption { what, path, position, offsets, .. } = &**corruption;
            let offsets = offsets.as_ref().map(|Range { start, end }| (start.get(), end.get()));
            let position = position.map(Position::get);
            Told { who, what: (*what).into(), path: relative(path), position, offsets }
        }
        Error::UnsupportedVersion { path, found, .. } => {
            Told { who, what: format!("unsupported {found}"), path: relative(path), position: None, offsets: None }
        }
        other => panic!("{who} calls damage something else: {other}"),
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/sim").unwrap_or(path).into()
}
