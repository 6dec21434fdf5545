//! Who has read how far: a group's consumer, bound to its topic's epoch.
//!
//! Invariant: a stored place is admitted before it is resolved, whenever it is used; a consumer without a commit follows
//! its start policy or a seek, once, and what that gave is stored before a record is handed out; a partition that is added
//! once a group has begun has its commit from the first; a commit is written under the lock that a delete takes, so none
//! lands on a topic that is gone. An error of one partition names it, leaves the consumer usable, and keeps no other
//! partition from being read.
//!
//! The way: `topic::commits` -> `log::admit` -> `log::resolve` -> `log::read`.

mod groups;
mod poll;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Latched, Result};
use crate::log::{Origin, Reader, Target};
use crate::name::GroupName;
use crate::offset::{Epoch, Offset};
use crate::options::{Durability, Start, Visibility};
use crate::place::Place;
use crate::topic::{Topic, check_metadata};

use poll::{Assigned, is_of_one_partition, is_of_others};

/// How many bytes one poll gives, about, unless the consumer is told otherwise: a commit may follow each, and take a sync.
const POLL_BYTES_DEFAULT: usize = 1 << 20;

/// What a consumer does when retention has passed its commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expired {
    /// `poll` answers [`Error::OffsetOutOfRange`]; the caller seeks.
    #[default]
    Refuse,
    /// It goes on at the start, and [`Consumer::skipped`] says what was lost.
    Earliest,
}

/// Records that a policy passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The partition.
    pub partition: u32,
    /// Where the group would have gone on.
    pub from: Offset,
    /// Where it went on.
    pub to: Offset,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Skipped { partition, from, to } = self;
        write!(f, "partition {partition}: the records {from}..{to} were passed over: they had been removed")
    }
}

/// Chooses how a consumer is opened; made by [`Topic::consumer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConsumerBuilder {
    topic: Topic,
    group: String,
    start: Start,
    partitions: Option<Vec<u32>>,
    auto_commit: bool,
    expired: Expired,
    visibility: Visibility,
    bytes_max: usize,
    spin: Duration,
}

impl Topic {
    /// A consumer of this topic, in a group.
    pub fn consumer(&self, group: &str) -> ConsumerBuilder {
        ConsumerBuilder {
            topic: self.clone(),
            group: group.into(),
            start: Start::Earliest,
            partitions: None,
            auto_commit: false,
            expired: Expired::Refuse,
            visibility: Visibility::Written,
            bytes_max: POLL_BYTES_DEFAULT,
            spin: Duration::ZERO,
        }
    }
}

impl ConsumerBuilder {
    /// Where to begin in a partition in which the group has no commit. Default: [`Start::Earliest`].
    ///
    /// It is followed once, when the partition is first looked at, and what it led to is committed. That is in a
    /// [`poll`](Consumer::poll), usually the first one, or in what asks where it stands before that:
    /// [`lag`](Consumer::lag), [`skip_damaged`](Consumer::skip_damaged) and
    /// [`commit_with_metadata`](Consumer::commit_with_metadata). It is never in [`open`](ConsumerBuilder::open): with
    /// [`Start::Latest`], what is appended between the two is passed over. Where a [`seek`](Consumer::seek) came first, the
    /// group begins at the place that was sought.
    ///
    /// A partition that is [added](Topic::add_partitions) to a topic in which the group has commits already doesn't follow
    /// it: the group begins there at the first record.
    pub fn start(mut self, start: Start) -> ConsumerBuilder {
        self.start = start;
        self
    }

    /// Consumes these partitions. Default: all, also those that are added later: once the group has begun, from their first
    /// record on.
    pub fn partitions(mut self, partitions: &[u32]) -> ConsumerBuilder {
        self.partitions = Some(partitions.to_vec());
        self
    }

    /// Whether each `poll` commits what the one before handed out. Default: no. Never commits what was only just handed
    /// out, nor on drop.
    pub fn auto_commit(mut self, auto_commit: bool) -> ConsumerBuilder {
        self.auto_commit = auto_commit;
        self
    }

    /// What to do when retention has passed the commit. Default: [`Expired::Refuse`].
    pub fn when_expired(mut self, expired: Expired) -> ConsumerBuilder {
        self.expired = expired;
        self
    }

    /// What it sees: everything written (the default), or only what is durable.
    pub fn visibility(mut self, visibility: Visibility) -> ConsumerBuilder {
        self.visibility = visibility;
        self
    }

    /// About how many bytes one `poll` gives, at least one batch. Default: 1 MiB.
    pub fn bytes_max(mut self, bytes: usize) -> ConsumerBuilder {
        self.bytes_max = bytes.max(1);
        self
    }

    /// For so long a `poll` that finds nothing keeps looking before it sleeps, as [`Reader::spin`](crate::Reader::spin).
    /// Default: not at all.
    pub fn spin(mut self, spin: Duration) -> ConsumerBuilder {
        self.spin = spin;
        self
    }

    /// Opens the consumer. What is wrong with its commits, or keeps a partition from being opened, is said by `poll`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`] for the group; [`Error::PartitionNotFound`]; [`Error::GroupInUse`] if a live consumer of
    /// the group has one of the partitions; [`Error::ReadOnly`]; [`Error::TopicDeleted`]; [`Error::Closed`].
    pub fn open(self) -> Result<Consumer> {
        self.topic.shared().writable()?;
        self.topic.owner().check()?;
        let group = GroupName::new(&self.group)?;
        let follows_all = self.partitions.is_none();
        let mut numbers = self.partitions.unwrap_or_else(|| (0..self.topic.partitions()).collect());
        numbers.sort_unstable();
        numbers.dedup();
        let mut consumer = Consumer {
            topic: self.topic,
            group,
            start: self.start,
            auto_commit: self.auto_commit,
            expired: self.expired,
            visibility: self.visibility,
            bytes_max: self.bytes_max,
            spin: self.spin,
            follows_all,
            known: u32::try_from(numbers.len()).unwrap_or(u32::MAX),
            missing: Vec::new(),
            awaits_release: false,
            releases: 0,
            told_missing: Vec::new(),
            has_told: false,
            retry_at: None,
            assigned: Vec::new(),
            turn: 0,
            skipped: Vec::new(),
            told_latched: None,
        };
        for number in numbers {
            match consumer.assign(number) {
                Err(error) if is_of_one_partition(&error) => consumer.missing.push(number),
                other => other?,
            }
        }
        Ok(consumer)
    }
}

/// Reads a topic for a group and commits how far it has come.
///
/// Dropping it releases its partitions and commits nothing.
pub struct Consumer {
    topic: Topic,
    group: GroupName,
    start: Start,
    auto_commit: bool,
    expired: Expired,
    visibility: Visibility,
    bytes_max: usize,
    spin: Duration,
    follows_all: bool,
    /// If it follows all: how many partitions there were when it last looked.
    known: u32,
    /// Which partitions it couldn't have yet.
    missing: Vec<u32>,
    /// Whether another consumer of the group has one of these.
    awaits_release: bool,
    /// What the topic's releases were when it last tried.
    releases: u32,
    /// Of which of these it was told.
    told_missing: Vec<u32>,
    /// Whether the last poll told of one.
    has_told: bool,
    /// If one of them couldn't be opened: when that is tried again.
    retry_at: Option<Instant>,
    assigned: Vec<Assigned>,
    /// Whose turn it is in the next poll.
    turn: usize,
    skipped: Vec<Skipped>,
    /// What the last automatic commit found latched.
    told_latched: Option<Latched>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.places().iter().map(Place::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "Consumer({} of {}@{} at [{places}])", self.group, self.topic.name(), self.epoch())
    }
}

impl Consumer {
    /// Its group.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        &self.group
    }

    /// The topic that it is bound to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The creation epoch of the topic that it is bound to.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.topic.epoch()
    }

    /// The partitions that it has.
    #[must_use]
    pub fn partitions(&self) -> Vec<u32> {
        self.assigned.iter().map(Assigned::number).collect()
    }

    /// Where it stands, for each partition that it has begun to read.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        self.assigned.iter().filter_map(Assigned::place).collect()
    }

    /// What a policy made it pass over since this was last asked.
    #[must_use]
    pub fn skipped(&mut self) -> Vec<Skipped> {
        std::mem::take(&mut self.skipped)
    }

    /// How many records it has still to read, over all its partitions. Neither those that retention has removed are among
    /// them nor those of an added partition that another consumer of the group has.
    ///
    /// # Errors
    ///
    /// Those of [`poll`](Consumer::poll) that opening a partition, or finding its place in one, can give. Where a place is
    /// refused nobody can say what is left to read there.
    pub fn lag(&mut self) -> Result<u64> {
        let unknown = self.take_new_partitions().into_iter().find(|(_, error)| !is_of_others(error));
        unknown.map_or(Ok(()), |(_, error)| Err(error))?;
        self.topic.owner().check()?;
        (0..self.assigned.len()).try_fold(0_u64, |sum, i| {
            let place = self.reader(i)?.place();
            self.assigned[i].log().admit(place, Origin::Caller)?;
            Ok(sum.saturating_add(self.reader(i)?.lag()))
        })
    }

    /// Commits where it stands in every partition: everything that `poll` has handed out counts as finished. One atomic
    /// step, as durable as the topic's appends; nothing is written if nothing has moved.
    ///
    /// Where it has moved, the commit carries no [metadata](Consumer::commit_with_metadata) from then on; where it hasn't,
    /// the commit that is there keeps its own.
    ///
    /// Where appends are only [`Written`](Durability::Written), a commit may become durable before the records below it:
    /// another group that begins, the deletion of a group, an [`add_partitions`](Topic::add_partitions), or a sync of the
    /// topic beside it, syncs all commits there are, and so does what now and then rewrites their file. If a power cut then
    /// takes these records, the group is told [`Error::Diverged`] with the fork: nothing is passed over in silence.
    ///
    /// # Errors
    ///
    /// [`Error::TopicDeleted`]: nothing was written, and a topic of the same name that exists now is untouched.
    /// [`Error::Diverged`]: what it has read was cut; nothing was written. [`Error::TooLarge`]: the topic's commits fill
    /// 4 GiB. [`Error::StorageFull`], [`Error::Io`], [`Error::Latched`], [`Error::Corrupt`], [`Error::Closed`].
    pub fn commit(&mut self) -> Result<()> {
        self.topic.owner().check()?;
        self.commit_places(&self.uncommitted(), None)
    }

    /// Commits, and keeps some bytes of the caller's beside the commit of every partition that it has begun to read, also
    /// where nothing has moved. If it hasn't begun any, it begins all, as a [`poll`](Consumer::poll) does.
    ///
    /// They stay until something else is committed in that partition: by [`commit`](Consumer::commit) after a move, by
    /// [`commit_to`](Consumer::commit_to), by auto-commit or by a reset.
    ///
    /// # Errors
    ///
    /// As [`commit`](Consumer::commit); [`Error::TooLarge`] also for more than 4,096 bytes; if it has to begin, those of
    /// [`poll`](Consumer::poll); [`Error::InvalidOption`] if it was opened for no partitions. The metadata wasn't stored
    /// then.
    pub fn commit_with_metadata(&mut self, metadata: &[u8]) -> Result<()> {
        self.topic.owner().check()?;
        check_metadata(Some(metadata))?;
        if self.places().is_empty() {
            let missing = self.take_new_partitions();
            if self.assigned.is_empty() {
                let reason = "the consumer has none, so there is no commit to keep metadata beside".into();
                let none = Error::InvalidOption { option: "partitions", reason };
                return Err(missing.into_iter().next().map_or(none, |(_, error)| error));
            }
            (0..self.assigned.len()).try_for_each(|i| self.reader(i).map(drop))?;
        }
        self.commit_places(&self.places(), Some(metadata))
    }

    /// Where it stands, for each partition in which that isn't committed.
    fn uncommitted(&self) -> Vec<Place> {
        self.assigned.iter().filter_map(Assigned::uncommitted).collect()
    }

    fn commit_places(&mut self, places: &[Place], metadata: Option<&[u8]>) -> Result<()> {
        self.store_places(places, metadata)?;
        self.assigned.iter_mut().for_each(|assigned| assigned.committed(places));
        Ok(())
    }

    /// Commits one place, such as that behind a record which is finished.
    ///
    /// # Errors
    ///
    /// As [`commit`](Consumer::commit); [`Error::StaleEpoch`], [`Error::InvalidPlace`], [`Error::NotAssigned`] and
    /// [`Error::PartitionNotFound`] if the place isn't of a partition that it has; where it couldn't have the partition yet,
    /// [`Error::GroupInUse`], or what keeps that from being opened.
    pub fn commit_to(&mut self, place: Place) -> Result<()> {
        self.topic.owner().check()?;
        let i = self.take(place.partition())?;
        self.assigned[i].log().admit(place, Origin::Caller)?;
        self.store_places(&[place], None)?;
        self.assigned[i].committed(&[place]);
        Ok(())
    }

    /// Goes on somewhere else in one partition. Nothing is committed; where the group has no commit yet, it begins there:
    /// the next [`poll`](Consumer::poll) commits the place before it hands out a record.
    ///
    /// # Errors
    ///
    /// [`Error::NotAssigned`] and [`Error::PartitionNotFound`] if it doesn't have the partition; where it couldn't have it
    /// yet, [`Error::GroupInUse`], or what keeps it from being opened; and those of
    /// [`Partition::read_from`](crate::Partition::read_from). It stays where it was then.
    pub fn seek(&mut self, partition: u32, target: impl Into<Target>) -> Result<()> {
        let i = self.take(partition)?;
        let target = target.into();
        let reader = self.new_reader(i, target, Origin::Caller)?;
        self.assigned[i].moved_to(reader);
        Ok(())
    }

    /// Where a partition stands among its own, one that was added since included.
    fn take(&mut self, partition: u32) -> Result<usize> {
        if let Ok(i) = self.index_of(partition) {
            return Ok(i);
        }
        match self.take_new_partitions().into_iter().find(|(number, _)| *number == partition) {
            Some((_, error)) => Err(error),
            None => self.index_of(partition),
        }
    }

    fn index_of(&self, partition: u32) -> Result<usize> {
        let found = self.assigned.iter().position(|assigned| assigned.number() == partition);
        found.ok_or_else(|| {
            let (topic, partitions) = (self.topic.name().clone(), self.topic.partitions());
            match partition < partitions {
                true => Error::NotAssigned { group: self.group.clone(), topic, partition },
                false => Error::PartitionNotFound { topic, partition, partitions },
            }
        })
    }

    fn new_reader(&self, i: usize, target: Target, origin: Origin<'_>) -> Result<Reader> {
        let reader = Reader::new(Arc::clone(self.assigned[i].log()), target, origin)?;
        Ok(reader.visibility(self.visibility).bytes_max(self.bytes_max))
    }

    /// Whether a commit is to survive a power cut: as the topic's appends do.
    fn is_durable(&self) -> bool {
        self.topic.options().durability == Durability::Durable
    }

    /// Writes places into the commits file. What they stand behind becomes durable first, if they are to be. The group's
    /// first in a partition are in any case: followed a second time after a power cut, the policy might skip records.
    fn store_places(&self, places: &[Place], metadata: Option<&[u8]>) -> Result<()> {
        let mut durable = self.is_durable();
        for place in places {
            durable |= !self.has_begun(self.index_of(place.partition())?)?;
        }
        for place in places {
            let log = self.assigned[self.index_of(place.partition())?].log();
            log.admit(*place, Origin::Caller)?;
            if durable {
                log.wait_durable(*place)?;
            }
        }
        self.topic.commit(&self.group, places, metadata, durable)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.topic.release(&self.group, self.assigned.iter().map(Assigned::number));
    }
}
