//! Handing out records: which partition's turn it is, where each begins, and waiting for more.
//!
//! Invariant: every partition gets its turn, also behind one that answers with an error. A poll that waits makes no
//! system call until it is woken.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Consumer, Expired, Skipped};
use crate::error::{Error, Result};
use crate::log::{Gap, Log, Origin, Reader, Target};
use crate::place::Place;
use crate::segment::Records;

/// So long a partition that couldn't be opened is left alone while others can be read.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// A partition that a consumer has.
#[derive(Debug)]
pub(super) struct Assigned {
    log: Arc<Log>,
    /// Made when the partition is first read: only then is its commit looked at.
    reader: Option<Reader>,
    committed: Option<Place>,
}

impl Assigned {
    pub(super) fn number(&self) -> u32 {
        self.log.home.partition
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.reader.as_ref().map(Reader::place)
    }

    /// Where it stands, if that isn't committed.
    pub(super) fn uncommitted(&self) -> Option<Place> {
        self.place().filter(|place| self.committed != Some(*place))
    }

    pub(super) fn committed(&mut self, places: &[Place]) {
        let mine = places.iter().find(|place| place.partition() == self.number());
        self.committed = mine.copied().or(self.committed);
    }

    pub(super) fn moved_to(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }
}

impl Consumer {
    /// The next records, waiting for some until the time-out; none when it has passed. A waiting consumer costs nothing.
    ///
    /// # Errors
    ///
    /// Each names the partition and leaves the consumer where it was, usable for [`seek`](Consumer::seek), and the next
    /// `poll` goes on with the other partitions. [`Error::StaleEpoch`] and [`Error::Diverged`]: the group's commit, or
    /// what was read, belongs to a history that was cut or never was here. [`Error::OffsetOutOfRange`]: retention
    /// passed it, or the start is an offset that isn't there. [`Error::TooFewRecords`]: the start counts more records
    /// than there are. [`Error::GroupInUse`]: another consumer of the group has a partition that was added; said once,
    /// and the partition is taken when the other lets go of it. [`Error::Corrupt`]: a damaged batch, every time until
    /// [`skip_damaged`](Consumer::skip_damaged) goes around it in
    /// [`Corruption::partition`](crate::Corruption::partition), or damaged commits, of no partition.
    /// [`Error::Latched`]: a sync of a partition has failed and there is nothing left to hand out; or a sync of the
    /// commits has, which a poll that commits says once and the next ones go on reading without, and one that has yet
    /// to begin a partition every time. [`Error::TooLarge`]: the topic's commits fill 4 GiB. [`Error::TopicDeleted`],
    /// [`Error::Closed`], [`Error::Io`], [`Error::StorageFull`]. What keeps a partition from being opened, these or
    /// [`Error::UnsupportedVersion`]: whenever the others had their turn, at most every quarter of a second and by no
    /// two polls in a row, until it can be opened. A consumer that has no other tries it at every poll, and is told.
    pub fn poll(&mut self, timeout: Duration) -> Result<Records> {
        self.topic.owner().check()?;
        if self.auto_commit {
            self.auto_commit()?;
        }
        // Who was told by the last poll is given what the others have, however long ago that was.
        let may_tell = !std::mem::take(&mut self.has_told) || self.assigned.is_empty();
        let (mut deadline, mut retry_at, mut begins, mut is_late) = (None, self.retry_at, true, false);
        loop {
            if self.tries_again(retry_at) {
                let told_at = self.retry_at;
                self.follow_new_partitions(begins, may_tell)?;
                retry_at = self.retry_at;
                if !begins {
                    // The next poll that begins tells.
                    self.retry_at = told_at;
                }
            }
            begins = false;
            let records = self.gather()?;
            if !records.is_empty() {
                return Ok(records);
            }
            // A partition would have asked, but there may be none.
            self.topic.owner().check()?;
            // The clock is asked only by who may wait.
            let deadline = *deadline.get_or_insert_with(|| Instant::now().checked_add(timeout));
            self.assigned
                .iter()
                .try_for_each(|assigned| assigned.log.latched().map_err(|error| assigned.log.explain(error)))?;
            // What there is news of, and isn't found by one more look, is waited for no longer.
            if is_late || !self.wait(deadline, retry_at) {
                return Ok(records);
            }
            is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        }
    }

    /// Goes on behind the damaged batch that it stands before in one partition, exactly it, and says what that passes
    /// over; `None`, and nothing moves, if what comes next there isn't damaged. `poll` never does this by itself. The
    /// next commit covers the gap.
    ///
    /// # Errors
    ///
    /// [`Error::NotAssigned`] and [`Error::PartitionNotFound`] if it doesn't have the partition; where it couldn't have it
    /// yet, [`Error::GroupInUse`], or what keeps it from being opened; those of a [`poll`](Consumer::poll) that begins a
    /// partition; and those of [`Reader::skip_damaged`]. It stays where it was then.
    pub fn skip_damaged(&mut self, partition: u32) -> Result<Option<Gap>> {
        self.topic.owner().check()?;
        let i = self.take(partition)?;
        self.begun(i)?.skip_damaged()
    }

    /// A latch that keeps from committing is told once; from then on records are handed out uncommitted, until it is lifted.
    fn auto_commit(&mut self) -> Result<()> {
        let result = self.commit_finished();
        let latched = if let Err(Error::Latched { what, .. }) = &result { Some(what.clone()) } else { None };
        let told = std::mem::replace(&mut self.told_latched, latched);
        if told.is_some() && told == self.told_latched { Ok(()) } else { result }
    }

    /// Commits what the last poll handed out. A partition whose records were cut meanwhile says so on its turn; one that
    /// is latched can't make durable what was read. Neither keeps another from being committed.
    fn commit_finished(&mut self) -> Result<()> {
        let mut places = self.uncommitted();
        let mut latched = Ok(());
        places.retain(|place| {
            let Ok(i) = self.index_of(place.partition()) else { return true };
            let log = self.assigned[i].log();
            if place.next() > log.durable_end() && log.latched().is_err() {
                latched = log.latched();
                return false;
            }
            !matches!(log.admit(*place, Origin::Caller), Err(Error::Diverged { .. }))
        });
        self.commit_places(&places, None)?;
        latched
    }

    /// One round over the partitions. An error is given only when its partition comes first.
    fn gather(&mut self) -> Result<Records> {
        let mut records = Records::default();
        let count = self.assigned.len();
        for step in 0..count {
            let i = (self.turn + step) % count;
            match self.read(i) {
                Ok(more) => records.append(more),
                Err(_) if !records.is_empty() => {
                    self.turn = i;
                    return Ok(records);
                }
                Err(error) => {
                    self.turn = (i + 1) % count;
                    return Err(error);
                }
            }
            if records.bytes() >= self.bytes_max {
                self.turn = (i + 1) % count;
                break;
            }
        }
        Ok(records)
    }

    fn read(&mut self, i: usize) -> Result<Records> {
        loop {
            match self.begun(i)?.read() {
                // Each time the start is a higher one.
                Err(Error::OffsetOutOfRange { .. }) if self.expired == Expired::Earliest => self.go_on_at_start(i)?,
                other => return other,
            }
        }
    }

    /// Follows the policy for a commit that retention has passed, and takes note of what was lost.
    fn go_on_at_start(&mut self, i: usize) -> Result<()> {
        let from = self.reader(i)?.place().next();
        self.reader(i)?.seek(crate::Start::Earliest)?;
        let to = self.reader(i)?.place().next();
        self.skipped.push(Skipped { partition: self.assigned[i].number(), from, to });
        Ok(())
    }

    /// The partition's reader. The first time, it goes on at the group's commit, or where the start policy says.
    pub(super) fn reader(&mut self, i: usize) -> Result<&mut Reader> {
        if self.assigned[i].reader.is_none() {
            let (reader, committed) = self.first_reader(i)?;
            self.assigned[i].committed = Some(committed);
            self.assigned[i].reader = Some(reader);
        }
        Ok(self.assigned[i].reader.as_mut().expect("was just made"))
    }

    /// The same, once the group has begun there: where it has no commit, at the place that was sought. The policy, followed
    /// after a crash, might pass over what comes behind the records that are handed out now.
    fn begun(&mut self, i: usize) -> Result<&mut Reader> {
        let sought = self.reader(i)?.place();
        if self.assigned[i].committed.is_none() {
            let (_, stored) = self.stored(i)?;
            if stored.is_none() {
                self.store_places(&[sought], None)?;
            }
            self.assigned[i].committed = stored.or(Some(sought));
        }
        self.reader(i)
    }

    /// Whether the group has a commit in the partition.
    pub(super) fn has_begun(&self, i: usize) -> Result<bool> {
        Ok(self.assigned[i].committed.is_some() || self.stored(i)?.1.is_some())
    }

    /// Where the commits are, for messages, and what the group's is in a partition.
    fn stored(&self, i: usize) -> Result<(PathBuf, Option<Place>)> {
        let commits = self.topic.commits()?;
        let mine = commits.of(&self.group).and_then(|of| of.get(&self.assigned[i].number()));
        Ok((commits.shown(), mine.map(|commit| commit.place)))
    }

    /// With the place that is committed, which a policy may have left behind.
    fn first_reader(&mut self, i: usize) -> Result<(Reader, Place)> {
        let number = self.assigned[i].number();
        let (path, stored) = self.stored(i)?;
        let origin = Origin::Commits(&path);
        let Some(place) = stored else {
            let reader = self.new_reader(i, Target::Start(self.start), origin)?;
            let begins = reader.place();
            self.store_places(&[begins], None)?;
            return Ok((reader, begins));
        };
        match self.new_reader(i, Target::Place(place), origin) {
            Err(Error::OffsetOutOfRange { offset, start, .. })
                if offset < start && self.expired == Expired::Earliest =>
            {
                let reader = self.new_reader(i, Target::Start(crate::Start::Earliest), origin)?;
                let (from, to) = (place.next(), reader.place().next());
                self.skipped.push(Skipped { partition: number, from, to });
                Ok((reader, place))
            }
            other => other.map(|reader| (reader, place)),
        }
    }

    /// Takes a partition for this consumer alone.
    pub(super) fn assign(&mut self, number: u32) -> Result<()> {
        let log = self.topic.log(number)?;
        if !self.topic.held().lock().insert((self.group.clone(), number)) {
            return Err(Error::GroupInUse {
                group: self.group.clone(),
                topic: self.topic.name().clone(),
                partition: number,
            });
        }
        self.assigned.push(Assigned { log, reader: None, committed: None });
        Ok(())
    }

    /// Takes the partitions that were added, or couldn't be opened. One that it can't have is tried again, and keeps no other
    /// from being read: that another consumer has it is told once, and what is wrong with it whenever the others had their
    /// turn, by a poll that begins.
    fn follow_new_partitions(&mut self, begins: bool, may_tell: bool) -> Result<()> {
        let mut failed = self.take_new_partitions();
        if !may_tell {
            return Ok(());
        }
        let mut untold = failed.iter().position(|(number, _)| !self.told_missing.contains(number));
        if untold.is_none() && begins {
            let others = failed.iter().filter(|(_, error)| is_of_others(error));
            self.told_missing = others.map(|(number, _)| *number).collect();
            untold = failed.iter().position(|(_, error)| !is_of_others(error));
        }
        let Some(i) = untold else { return Ok(()) };
        let (number, error) = failed.swap_remove(i);
        self.told_missing.push(number);
        self.has_told = true;
        Err(error)
    }

    /// Takes the partitions that were added, or couldn't be opened; gives those that it can't have, and why.
    pub(super) fn take_new_partitions(&mut self) -> Vec<(u32, Error)> {
        if self.has_new_partitions() {
            let partitions = self.topic.partitions();
            self.missing.extend(self.known..partitions);
            self.known = partitions;
        }
        // Asked first: what is let go of meanwhile is tried once more.
        self.releases = self.topic.releases();
        let tried = std::mem::take(&mut self.missing);
        let failed: Vec<_> =
            tried.into_iter().filter_map(|number| Some((number, self.assign(number).err()?))).collect();
        self.missing.extend(failed.iter().map(|(number, _)| number));
        self.awaits_release = failed.iter().any(|(_, error)| is_of_others(error));
        let failing = failed.iter().any(|(_, error)| !is_of_others(error));
        self.retry_at = failing.then(|| Instant::now() + RETRY_AFTER);
        failed
    }

    /// Whether what it couldn't have is worth another try. Where there is something else to give a moment passes between
    /// two: to find out once more what is wrong with a partition may take as long as reading all of a segment.
    fn tries_again(&self, retry_at: Option<Instant>) -> bool {
        let is_due = |at: Instant| self.assigned.is_empty() || at <= Instant::now();
        retry_at.is_none_or(is_due) || self.has_new_partitions() || self.may_have_missing()
    }

    fn has_new_partitions(&self) -> bool {
        self.follows_all && self.known < self.topic.partitions()
    }

    /// Whether another consumer has let go of something, which may be what this one couldn't have.
    fn may_have_missing(&self) -> bool {
        self.awaits_release && self.releases != self.topic.releases()
    }

    /// Waits until one of the partitions may have something, or one that couldn't be opened is worth another try.
    fn wait(&self, deadline: Option<Instant>, retry_at: Option<Instant>) -> bool {
        let until = [deadline, retry_at].into_iter().flatten().min();
        let has_news = |assigned: &Assigned| {
            assigned.log.latched().is_err() || assigned.reader.as_ref().is_none_or(Reader::has_news)
        };
        let is_ready = self.topic.owner().signal.wait_until(self.spin, until, || {
            let has_partitions = || self.has_new_partitions() || self.may_have_missing();
            self.assigned.iter().any(has_news) || !self.topic.owner().lives() || has_partitions()
        });
        is_ready || until != deadline
    }
}

/// Whether the others can be had all the same: something is wrong with this partition alone.
pub(super) fn is_of_one_partition(error: &Error) -> bool {
    let of_all = |error: &Error| matches!(error, Error::TopicDeleted { .. } | Error::Closed);
    !of_all(error) && !is_of_others(error) && !matches!(error, Error::PartitionNotFound { .. })
}

/// Whether nothing is wrong with a partition that it can't have: another consumer of the group has it.
pub(super) fn is_of_others(error: &Error) -> bool {
    matches!(error, Error::GroupInUse { .. })
}
