//! Says an outcome in the words of the table: positions and offsets as seen from the part that was harmed.
//!
//! Invariant: what isn't exactly the harmed file, the harmed thing's position or its offsets is said in figures, which no
//! row allows.

use std::ops::Range;
use std::path::Path;

use super::outcome::{Commits, Outcome, Told, lost_in};
use super::region::Region;
use super::specimen::Specimen;

/// One line: who refuses what, what that costs, what verify and recovery say.
pub fn describe(outcome: &Outcome, specimen: &Specimen, path: &Path, region: &Region) -> String {
    let seen = |told: &Told| seen_from(told, path, region);
    let mut words: Vec<String> = outcome.told.iter().map(|told| format!("{}: {}", told.who, seen(told))).collect();
    words.extend(costs(outcome, specimen, path, region).map(|what| format!("costs {what}")));
    if outcome.commits == Commits::BeforeTheLast {
        words.push("costs the last commit".into());
    }
    if outcome.commits == Commits::Earlier {
        words.push("costs later commits".into());
    }
    if outcome.untrimmed {
        words.push("costs the last trim".into());
    }
    let verified: Vec<String> = outcome.verified.iter().map(seen).collect();
    let read: Vec<String> = outcome.told.iter().map(seen).collect();
    match (verified.is_empty(), verified == read) {
        (true, true) => {}
        (true, false) => words.push("verify: nothing".into()),
        (false, true) => words.push("verify: the same".into()),
        (false, false) => words.push(format!("verify: {}", verified.join(", "))),
    }
    if !outcome.noted.is_empty() {
        words.push(if outcome.noted == [path] { "noted".into() } else { format!("notes {:?}", outcome.noted) });
    }
    if !outcome.found.is_empty() {
        words.push(format!("recovery: {}", outcome.found.join(", ")));
    }
    if words.is_empty() { "exact".into() } else { words.join("; ") }
}

/// What can't be read any more.
fn costs(outcome: &Outcome, specimen: &Specimen, path: &Path, region: &Region) -> Option<String> {
    let lost = &outcome.lost;
    if lost.is_empty() {
        return None;
    }
    if *lost == lost_in(specimen, |_| true) {
        return Some("the store".into());
    }
    let topic = specimen.topic_of(path);
    if outcome.told.iter().any(|told| told.who == "the topic") && *lost == lost_in(specimen, |it| Some(it.0) == topic) {
        return Some("the topic".into());
    }
    let place = specimen.place_of(path).filter(|place| lost.len() == 1 && lost.contains_key(place));
    let Some(place) = place else { return Some(format!("{lost:?}")) };
    let among = |range: &Range<u64>| -> Vec<u64> {
        specimen.known[&place].iter().map(|known| known.offset).filter(|offset| range.contains(offset)).collect()
    };
    let named = [
        ("its batch", &region.offsets),
        ("its segment", &region.segment),
        ("the partition", &(0..u64::MAX)),
        ("all from it on", &(region.offsets.start..u64::MAX)),
        ("its segment from it on", &(region.offsets.start..region.segment.end)),
    ];
    let named = named.into_iter().find(|(_, range)| lost[&place] == among(range));
    Some(named.map_or_else(|| format!("{:?} of {place:?}", lost[&place]), |(name, _)| name.into()))
}

fn seen_from(told: &Told, path: &Path, region: &Region) -> String {
    let mut words = told.what.clone();
    if told.path != path {
        words += &format!(" in {}", told.path.display());
    }
    match told.position {
        Some(position) if position == region.thing as u64 => words += " here",
        Some(position) => words += &format!(" at {position}"),
        None => {}
    }
    let Some((start, end)) = told.offsets else { return words };
    let offsets = start..end;
    words
        + &match () {
            () if offsets == region.offsets => ", its offsets".into(),
            () if offsets == region.segment => ", its segment's offsets".into(),
            () if offsets == (region.segment.start..region.marked) => ", up to the last mark".into(),
            () if offsets == (region.offsets.start..region.marked) => ", from here to the last mark".into(),
            () if offsets == (region.offsets.start..region.segment.end) => ", from here on".into(),
            () => format!(", {offsets:?}"),
        }
}
