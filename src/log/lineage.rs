//! All epochs that a partition ever had, in order: what decides whether a place still means anything here.
//!
//! Invariant: nothing is ever dropped from a lineage; numbers rise; the first entry is the topic's creation epoch at
//! offset 0. Where an epoch ended is never stored: it is the least start of all later epochs, or the end of the log.

use crate::format::{DecodeError, Reason};
use crate::offset::{Epoch, Offset, Timestamp};

/// One epoch of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) epoch: Epoch,
    pub(crate) start: Offset,
    pub(crate) reason: Reason,
    pub(crate) time: Timestamp,
}

/// The epochs of a partition, oldest first. Never empty.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    epochs: Vec<Begun>,
    /// For each epoch the least start of all later ones; `Offset::MAX` for the newest.
    cuts: Vec<Offset>,
}

impl Lineage {
    /// Takes epochs as a history tells them.
    pub(crate) fn new(epochs: Vec<Begun>) -> Result<Lineage, DecodeError> {
        let Some(first) = epochs.first() else {
            return Err(DecodeError::Malformed("the history names no epoch"));
        };
        if first.start != Offset::ZERO || first.reason != Reason::Created {
            return Err(DecodeError::Malformed("the history doesn't begin with the creation epoch"));
        }
        if epochs.windows(2).any(|pair| pair[0].epoch.number >= pair[1].epoch.number) {
            return Err(DecodeError::Malformed("the epoch numbers of the history don't rise"));
        }
        let mut cuts = vec![Offset::MAX; epochs.len()];
        for i in (1..epochs.len()).rev() {
            cuts[i - 1] = cuts[i].min(epochs[i].start);
        }
        Ok(Lineage { epochs, cuts })
    }

    /// The lineage with one more epoch at its end.
    pub(crate) fn with(&self, begun: Begun) -> Lineage {
        let mut epochs = self.epochs.clone();
        epochs.push(begun);
        Lineage::new(epochs).expect("a new epoch has the greatest number")
    }

    pub(crate) fn epochs(&self) -> &[Begun] {
        &self.epochs
    }

    pub(crate) fn creation(&self) -> Epoch {
        self.epochs[0].epoch
    }

    pub(crate) fn newest(&self) -> &Begun {
        self.epochs.last().expect("a lineage is never empty")
    }

    /// The epoch's place in the lineage, if it has one.
    pub(crate) fn find(&self, epoch: Epoch) -> Option<usize> {
        let i = self.epochs.binary_search_by_key(&epoch.number, |begun| begun.epoch.number).ok()?;
        (self.epochs[i].epoch == epoch).then_some(i)
    }

    /// Where the epoch was cut off by later ones; `Offset::MAX` if none came.
    pub(crate) fn cut(&self, i: usize) -> Offset {
        self.cuts[i]
    }

    /// Where an epoch was cut off; 0 for one that isn't of this lineage.
    pub(crate) fn cut_of(&self, epoch: Epoch) -> Offset {
        self.find(epoch).map_or(Offset::ZERO, |i| self.cut(i))
    }

    /// The epoch to stamp a place with: the one that wrote the record before `next`.
    pub(crate) fn epoch_before(&self, next: Offset) -> Epoch {
        let wrote = self.epochs.iter().rev().find(|begun| begun.start < next);
        wrote.map_or(self.creation(), |begun| begun.epoch)
    }
}
