//! The epoch check: the only maker of an [`Admitted`] place, and so the only way to `resolve`.
//!
//! Invariant: a place is admitted exactly when what was read up to it is what the partition holds, or held before
//! retention took it, and was never cut since. The table says it in rows; `tests` compares every combination with a
//! literal copy. Called for every place that comes from outside: commits, hosts, readers whose lineage changed.

use std::path::Path;

use super::lineage::Lineage;
use crate::error::{Corruption, Damage, Error, Result};
use crate::name::TopicName;
use crate::offset::Offset;
use crate::place::Place;

/// A place that belongs to this partition's history. Made by [`admit`] alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted(Place);

impl Admitted {
    pub(crate) fn next(self) -> Offset {
        self.0.next()
    }
}

/// What is asked of a place `c @ e`, where `e` starts at `s` and was cut at `f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// `e` is in the lineage.
    pub(crate) known: bool,
    /// `c > f`.
    pub(crate) beyond_cut: bool,
    /// `c <= s`.
    pub(crate) before_epoch: bool,
    /// `c = 0` and `e` is the creation epoch.
    pub(crate) origin: bool,
}

/// What is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The topic was recreated, or the place is another topic's or store's.
    Stale,
    /// The records before the place were lost or cut.
    Diverged,
    /// No log gives out such a place.
    Impossible,
    /// Its prefix is a prefix of this log.
    Admitted,
}

/// A row of the table: `None` means that the fact doesn't matter.
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) known: Option<bool>,
    pub(crate) beyond_cut: Option<bool>,
    pub(crate) before_epoch: Option<bool>,
    pub(crate) origin: Option<bool>,
    pub(crate) verdict: Verdict,
}

/// The first row that fits decides.
pub(crate) const TABLE: &[Row] = &[
    // A topic was deleted and created again under its name, a store wiped and made anew, a place kept from another
    // topic. Numbers may even agree by chance; the tags don't. Nothing of it may be compared with this log's offsets.
    Row {
        label: "stale",
        known: Some(false),
        beyond_cut: None,
        before_epoch: None,
        origin: None,
        verdict: Verdict::Stale,
    },
    // The epoch went on to `c` or further once, and then a power cut took the end, a truncate cut it, or this is a copy
    // from before. What stands at those offsets now, if anything, was written by a later epoch.
    Row {
        label: "diverged",
        known: Some(true),
        beyond_cut: Some(true),
        before_epoch: None,
        origin: None,
        verdict: Verdict::Diverged,
    },
    // Before anything is written, a place is 0 in the creation epoch, although that epoch wrote no record.
    Row {
        label: "origin",
        known: Some(true),
        beyond_cut: Some(false),
        before_epoch: None,
        origin: Some(true),
        verdict: Verdict::Admitted,
    },
    // A place carries the epoch of the record before it; at or before its own epoch's start there is no such record.
    Row {
        label: "impossible",
        known: Some(true),
        beyond_cut: Some(false),
        before_epoch: Some(true),
        origin: Some(false),
        verdict: Verdict::Impossible,
    },
    // The ordinary case: whatever the epoch wrote up to `c` is still what is there, or expired in order.
    Row {
        label: "here",
        known: Some(true),
        beyond_cut: Some(false),
        before_epoch: Some(false),
        origin: Some(false),
        verdict: Verdict::Admitted,
    },
];

/// The label and verdict for some facts. Total: every combination is covered by a row.
pub(crate) fn judge(facts: Facts) -> (&'static str, Verdict) {
    let fits = |wanted: Option<bool>, fact: bool| wanted.is_none_or(|wanted| wanted == fact);
    let row = TABLE.iter().find(|row| {
        fits(row.known, facts.known)
            && fits(row.beyond_cut, facts.beyond_cut)
            && fits(row.before_epoch, facts.before_epoch)
            && fits(row.origin, facts.origin)
    });
    let row = row.expect("the table covers every combination");
    (row.label, row.verdict)
}

/// Where a place comes from decides what an impossible one means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// A caller: its mistake.
    Caller,
    /// Our own commits file: damage.
    Commits(&'a Path),
}

/// Admits a place to a partition that now ends at `end`, or says why not.
pub(crate) fn admit(
    place: Place,
    lineage: &Lineage,
    end: Offset,
    topic: &TopicName,
    origin: Origin<'_>,
) -> Result<Admitted> {
    let found = lineage.find(place.epoch());
    let fork = found.map_or(Offset::ZERO, |i| lineage.cut(i).min(end));
    let start = found.map_or(Offset::ZERO, |i| lineage.epochs()[i].start);
    let facts = Facts {
        known: found.is_some(),
        beyond_cut: place.next() > fork,
        before_epoch: place.next() <= start,
        origin: found == Some(0) && place.next() == Offset::ZERO,
    };
    match judge(facts).1 {
        Verdict::Admitted => Ok(Admitted(place)),
        Verdict::Stale => Err(Error::StaleEpoch { topic: topic.clone(), place, current: lineage.newest().epoch }),
        Verdict::Diverged => Err(Error::Diverged { topic: topic.clone(), place, fork }),
        Verdict::Impossible => Err(impossible(place, start, topic, origin)),
    }
}

fn impossible(place: Place, start: Offset, topic: &TopicName, origin: Origin<'_>) -> Error {
    let reason = format!("its epoch begins at offset {start}, so no place of it is at {}", place.next());
    match origin {
        Origin::Caller => Error::InvalidPlace { place: place.to_string(), reason },
        Origin::Commits(path) => Error::from(Box::new(Corruption {
            damage: Damage::Malformed(format!("place `{place}`: {reason}")),
            what: "commit",
            path: path.to_path_buf(),
            position: None,
            offsets: None,
            topic: Some(topic.clone()),
            partition: Some(place.partition()),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lineage::Begun;
    use super::*;
    use crate::format::Reason;
    use crate::offset::{Epoch, Timestamp};

    /// Written by hand, row by row: known, beyond the cut, before its epoch, origin.
    const EXPECTED: [(u8, &str, Verdict); 16] = [
        (0b0000, "stale", Verdict::Stale),
        (0b0001, "stale", Verdict::Stale),
        (0b0010, "stale", Verdict::Stale),
        (0b0011, "stale", Verdict::Stale),
        (0b0100, "stale", Verdict::Stale),
        (0b0101, "stale", Verdict::Stale),
        (0b0110, "stale", Verdict::Stale),
        (0b0111, "stale", Verdict::Stale),
        (0b1000, "here", Verdict::Admitted),
        (0b1001, "origin", Verdict::Admitted),
        (0b1010, "impossible", Verdict::Impossible),
        (0b1011, "origin", Verdict::Admitted),
        (0b1100, "diverged", Verdict::Diverged),
        (0b1101, "diverged", Verdict::Diverged),
        (0b1110, "diverged", Verdict::Diverged),
        (0b1111, "diverged", Verdict::Diverged),
    ];

    #[test]
    fn every_combination_of_facts_gets_the_verdict_that_was_written_down() {
        let mut seen = 0;
        for (bits, label, verdict) in EXPECTED {
            let bit = |n: u8| bits & (1 << n) != 0;
            let facts = Facts { known: bit(3), beyond_cut: bit(2), before_epoch: bit(1), origin: bit(0) };
            assert_eq!(judge(facts), (label, verdict), "{facts:?}");
            seen += 1;
        }
        assert_eq!(seen, 16);
    }

    #[test]
    fn an_impossible_place_is_a_callers_mistake_or_damage_to_the_commits() {
        let begun = |number, start, reason| {
            let epoch = Epoch { number, tag: 0xa0 + number };
            Begun { epoch, start: Offset::new(start), reason, time: Timestamp::default() }
        };
        let lineage = Lineage::new(vec![begun(1, 0, Reason::Created), begun(2, 5, Reason::Session)]).expect("is one");
        let topic = TopicName::new("orders").expect("is a name");
        let refused = |origin| {
            let place = Place::new(0, Offset::new(5), lineage.newest().epoch);
            admit(place, &lineage, Offset::new(9), &topic, origin).map(drop).expect_err("is refused").to_string()
        };
        let (place, reason) = ("0:5@2.00000000000000a2", "its epoch begins at offset 5, so no place of it is at 5");
        assert_eq!(refused(Origin::Caller), format!("place `{place}` is invalid: {reason}"));
        let damage = format!("corrupt commit in `commits`: place `{place}`: {reason}");
        assert_eq!(refused(Origin::Commits(Path::new("commits"))), damage);
    }
}
