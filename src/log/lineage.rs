//! All epochs that a partition ever had, in order: what decides whether a place still means anything here.
//!
//! Invariant: nothing is ever dropped from a lineage; numbers rise; the first entry is the topic's creation epoch at
//! offset 0. Where an epoch ended is never stored: it is the least start of all later epochs, or the end of the log.

use crate::format::{DecodeError, Reason};
use crate::offset::{Epoch, Offset, Timestamp};
use crate::place::Place;

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

    /// The epoch of this number, if there is one.
    pub(crate) fn numbered(&self, number: u64) -> Option<Epoch> {
        let i = self.epochs.binary_search_by_key(&number, |begun| begun.epoch.number).ok()?;
        Some(self.epochs[i].epoch)
    }

    /// Where the epoch was cut off by later ones; `Offset::MAX` if none came.
    pub(crate) fn cut(&self, i: usize) -> Offset {
        self.cuts[i]
    }

    /// Where an epoch was cut off; 0 for one that isn't of this lineage.
    pub(crate) fn cut_of(&self, epoch: Epoch) -> Offset {
        self.find(epoch).map_or(Offset::ZERO, |i| self.cut(i))
    }

    /// Whether the record before a place was taken back by a truncate. If not, and it was cut, then it was lost.
    pub(crate) fn is_truncated(&self, place: Place) -> bool {
        let later = self.find(place.epoch()).map_or(&[][..], |i| &self.epochs[i + 1..]);
        let cut = later.iter().find(|begun| begun.start < place.next());
        cut.is_some_and(|cut| cut.reason == Reason::Truncated)
    }

    /// The epoch to stamp a place with: the one that wrote the record before `next`.
    pub(crate) fn epoch_before(&self, next: Offset) -> Epoch {
        let wrote = self.epochs.iter().rev().find(|begun| begun.start < next);
        wrote.map_or(self.creation(), |begun| begun.epoch)
    }
}

/// Where epochs were cut, while one after another begins: of those that some later one doesn't start below, the number and
/// the start. Both rise.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    least: Vec<(u64, Offset)>,
}

impl Cuts {
    pub(crate) fn begun(&mut self, epoch: Epoch, start: Offset) {
        while self.least.pop_if(|(_, later)| *later >= start).is_some() {}
        self.least.push((epoch.number, start));
    }

    /// The least start of all later epochs so far; `Offset::MAX` if none came.
    pub(crate) fn of(&self, epoch: Epoch) -> Offset {
        let later = self.least.partition_point(|(number, _)| *number <= epoch.number);
        self.least.get(later).map_or(Offset::MAX, |(_, start)| *start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(number: u64, start: u64, reason: Reason) -> Begun {
        let epoch = Epoch { number, tag: number * 100 };
        Begun { epoch, start: Offset::new(start), reason, time: Timestamp::default() }
    }

    /// Created, restarted at 10, truncated to 4, restarted at 7.
    fn lineage() -> Lineage {
        let told = [(1, 0, Reason::Created), (2, 10, Reason::Session), (5, 4, Reason::Truncated)];
        let told = told.map(|(number, start, reason)| begun(number, start, reason));
        Lineage::new(told.to_vec()).expect("is one").with(begun(6, 7, Reason::Session))
    }

    #[test]
    fn an_epoch_ends_where_the_least_of_all_later_ones_starts() {
        let cuts: Vec<Offset> = (0..4).map(|i| lineage().cut(i)).collect();
        assert_eq!(cuts, [Offset::new(4), Offset::new(4), Offset::new(7), Offset::MAX]);
    }

    #[test]
    fn cuts_that_are_told_one_by_one_are_those_of_the_lineage() {
        let lineage = lineage();
        let mut cuts = Cuts::default();
        for (i, begun) in lineage.epochs().iter().enumerate() {
            cuts.begun(begun.epoch, begun.start);
            let so_far = Lineage::new(lineage.epochs()[..=i].to_vec()).expect("is one");
            for begun in lineage.epochs() {
                let expected = so_far.find(begun.epoch).map_or(Offset::MAX, |i| so_far.cut(i));
                assert_eq!(cuts.of(begun.epoch), expected);
            }
        }
    }

    #[test]
    fn an_epoch_is_found_by_number_and_tag_and_a_stranger_was_cut_at_0() {
        assert_eq!(lineage().find(Epoch { number: 5, tag: 500 }), Some(2));
        for stranger in [Epoch { number: 5, tag: 501 }, Epoch { number: 4, tag: 400 }, Epoch { number: 7, tag: 700 }] {
            assert_eq!((lineage().find(stranger), lineage().cut_of(stranger)), (None, Offset::ZERO));
        }
    }

    #[test]
    fn a_place_is_stamped_with_the_epoch_that_wrote_the_record_before_it() {
        let stamps: Vec<u64> = (0..9).map(|next| lineage().epoch_before(Offset::new(next)).number).collect();
        assert_eq!(stamps, [1, 1, 1, 1, 1, 5, 5, 5, 6]);
    }

    #[test]
    fn a_record_is_truncated_if_what_cut_it_first_is_a_truncate() {
        let told = [(1, 0, Reason::Created), (2, 10, Reason::Session), (5, 14, Reason::Truncated)];
        let told = told.map(|(number, start, reason)| begun(number, start, reason));
        let lineage = Lineage::new(told.to_vec()).expect("is one").with(begun(6, 12, Reason::Healed));
        let is_truncated =
            |number, next| lineage.is_truncated(Place::new(0, Offset::new(next), Epoch { number, tag: number * 100 }));
        let of_session: Vec<bool> = (11..17).map(|next| is_truncated(2, next)).collect();
        assert_eq!(of_session, [false, false, false, false, true, true]);
        assert!(!is_truncated(5, 15) && !is_truncated(6, 13) && !is_truncated(7, 20));
    }

    #[test]
    fn epochs_that_are_no_lineage_are_refused_with_the_rule() {
        let (created, session) = (begun(1, 0, Reason::Created), begun(2, 5, Reason::Session));
        let first = "the history doesn't begin with the creation epoch";
        let cases = [
            (vec![], "the history names no epoch"),
            (vec![session], first),
            (vec![begun(1, 5, Reason::Created)], first),
            (vec![begun(1, 0, Reason::Session)], first),
            (vec![created, session, session], "the epoch numbers of the history don't rise"),
            (vec![begun(3, 0, Reason::Created), session], "the epoch numbers of the history don't rise"),
        ];
        for (epochs, rule) in cases {
            assert_eq!(Lineage::new(epochs).map(|_| ()), Err(DecodeError::Malformed(rule)));
        }
    }
}
