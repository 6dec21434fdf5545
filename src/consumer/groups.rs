//! Groups as their topic knows them: list, describe, reset, delete.
//!
//! Invariant: a group that a live consumer uses is neither reset nor deleted; a reset is one atomic commit.

use std::collections::BTreeSet;

use crate::error::{Error, Result, is_want_of_files};
use crate::log::{Origin, Target};
use crate::name::GroupName;
use crate::place::Place;
use crate::topic::{Commit, CommitDescription, GroupDescription, Topic};

impl Topic {
    /// All groups that have commits in this topic.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] or [`Error::UnsupportedVersion`] if the commits can't be read; [`Error::StorageFull`] if they had
    /// to be written anew after a crash; [`Error::Io`]; [`Error::TopicDeleted`]; [`Error::Closed`].
    pub fn groups(&self) -> Result<Vec<GroupDescription>> {
        let groups = self.commits()?.groups().clone();
        groups.into_iter().map(|(group, commits)| self.describe(group, commits.into_values())).collect()
    }

    /// One group.
    ///
    /// # Errors
    ///
    /// [`Error::GroupNotFound`], [`Error::InvalidName`], and those of [`groups`](Topic::groups).
    pub fn group(&self, group: &str) -> Result<GroupDescription> {
        let group = GroupName::new(group)?;
        let commits = self.commits()?.of(&group).cloned();
        let Some(commits) = commits else { return Err(self.no_group(group)) };
        self.describe(group, commits.into_values())
    }

    fn no_group(&self, group: GroupName) -> Error {
        Error::GroupNotFound { group, topic: self.name().clone() }
    }

    fn describe(&self, group: GroupName, commits: impl Iterator<Item = Commit>) -> Result<GroupDescription> {
        // Behind the last partition are those that `add_partitions` would have added, had it not failed.
        let partitions = self.partitions();
        let commits = commits.filter(|commit| commit.place.partition() < partitions);
        let commits = commits.map(|commit| self.describe_commit(&commit)).collect::<Result<_>>()?;
        Ok(GroupDescription { group, commits })
    }

    fn describe_commit(&self, commit: &Commit) -> Result<CommitDescription> {
        let path = self.shared().shown(&self.dir().join(crate::format::COMMITS));
        let log = self.log(commit.place.partition());
        let located = log.and_then(|log| {
            let place = log.locate(commit.place.into(), Origin::Commits(&path))?;
            Ok(log.end().since(place.next()))
        });
        let (lag, problem) = match located {
            Ok(lag) => (Some(lag), None),
            // Want of files is nothing that one partition could be blamed for.
            Err(error) if matches!(error, Error::TopicDeleted { .. } | Error::Closed) || is_want_of_files(&error) => {
                return Err(error);
            }
            Err(error) => (None, Some(error.in_one_line())),
        };
        let metadata = commit.metadata.as_deref().map(<[u8]>::to_vec);
        Ok(CommitDescription { place: commit.place, time: commit.time, metadata, lag, problem })
    }

    /// Where a group would go on if it were reset to these targets, by partition. Changes nothing.
    ///
    /// # Errors
    ///
    /// As [`reset_group`](Topic::reset_group).
    pub fn plan_reset(&self, group: &str, targets: &[(u32, Target)]) -> Result<Vec<Place>> {
        GroupName::new(group)?;
        let mut named = BTreeSet::new();
        if let Some((twice, _)) = targets.iter().find(|(number, _)| !named.insert(*number)) {
            return Err(Error::InvalidOption {
                option: "targets",
                reason: format!("partition {twice} is named twice"),
            });
        }
        let place_of = |&(number, target): &(u32, Target)| self.log(number)?.locate(target, Origin::Caller);
        targets.iter().map(place_of).collect()
    }

    /// Commits new places for a group, by partition, in one atomic and durable step. Gives the places.
    ///
    /// # Errors
    ///
    /// [`Error::GroupInUse`] if a live consumer has one of the partitions; [`Error::InvalidName`];
    /// [`Error::InvalidOption`] if a partition is named twice; [`Error::PartitionNotFound`]; those of
    /// [`Partition::read_from`](crate::Partition::read_from) for a target that is refused; [`Error::ReadOnly`],
    /// [`Error::Corrupt`], [`Error::StorageFull`], [`Error::Io`], [`Error::Latched`], [`Error::TopicDeleted`],
    /// [`Error::Closed`]; [`Error::TooLarge`]: the topic's commits fill 4 GiB. The group is where it was then. Only if a
    /// sync of the commits failed, which latches them, the change may count all the same once the store is opened again,
    /// unless [`Topic::reopen`] came before that.
    pub fn reset_group(&self, group: &str, targets: &[(u32, Target)]) -> Result<Vec<Place>> {
        self.shared().writable()?;
        let places = self.plan_reset(group, targets)?;
        let group = GroupName::new(group)?;
        let numbers: Vec<u32> = targets.iter().map(|&(number, _)| number).collect();
        self.unused(
            &group,
            |number| numbers.contains(&number),
            || {
                // Also where appends are only written: the commit outlives a power cut, and so must what it stands behind.
                for place in &places {
                    self.log(place.partition())?.wait_durable(*place)?;
                }
                self.commit(&group, &places, None, true)
            },
        )?;
        Ok(places)
    }

    /// Deletes a group's commits in this topic.
    ///
    /// # Errors
    ///
    /// [`Error::GroupNotFound`]; [`Error::GroupInUse`] if a live consumer uses it; and those of
    /// [`reset_group`](Topic::reset_group), where it is said what a failed sync leaves.
    pub fn delete_group(&self, group: &str) -> Result<()> {
        self.shared().writable()?;
        let group = GroupName::new(group)?;
        self.unused(
            &group,
            |_| true,
            || {
                let mut commits = self.commits()?;
                if commits.of(&group).is_none() {
                    return Err(self.no_group(group.clone()));
                }
                commits.forget(&group)
            },
        )
    }

    /// Does something that no live consumer of the group may race in these partitions.
    fn unused<T>(
        &self,
        group: &GroupName,
        concerns: impl Fn(u32) -> bool,
        step: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let held = self.held().lock();
        let taken = held.iter().filter(|(holder, number)| holder == group && concerns(*number));
        match taken.map(|(_, number)| *number).min() {
            Some(partition) => Err(Error::GroupInUse { group: group.clone(), topic: self.name().clone(), partition }),
            None => step(),
        }
    }
}
