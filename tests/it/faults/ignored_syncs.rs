//! F19: a disk that answers syncs and does nothing, and then the power goes. What a later mark shows is damage, what no
//! mark shows is cut; wrong records are never read.

use epochlog::testing::{Image, Loss, Pending, SimDisk};
use epochlog::{Error, Mapping, Offset, Place, Start};

use super::oracle::{Verdict, must};
use super::{case, cases};
use crate::support::*;

const RECORDS: u64 = 5;
const VALUE_BYTES: usize = 3000;
/// Of a batch.
const HEADER_BYTES: u64 = 46;

fn value(n: u64) -> String {
    format!("{n}{}", "x".repeat(VALUE_BYTES - 1))
}

/// Durable records of one size in one segment that begins honestly; the rest the disk only says that it has synced.
struct Lied {
    image: Image,
    path: String,
    batch_bytes: u64,
    place: Place,
}

fn lied(mapping: Mapping) -> Lied {
    let world = world(mapping);
    let topic = world.store().create_topic("orders", small().segment_bytes_max(64 << 10)).expect("creates");
    let partition = topic.partition(0).expect("is there");
    partition.append(&value(0)).expect("appends");
    world.disk.ignore_syncs(true);
    let acks: Vec<_> = (1..RECORDS).map(|n| partition.append(&value(n)).expect("appends")).collect();
    let segment = &partition.segments()[0];
    let path = segment.path.strip_prefix("/sim").expect("lies there").display().to_string();
    let batch_bytes = (segment.bytes - 96) / RECORDS;
    Lied { image: world.disk.image(), path, batch_bytes, place: acks[acks.len() - 1].next() }
}

/// The records of which a loss takes one of so many first bytes, or of all: plain arithmetic.
fn taken(lied: &Lied, image: &Image, loss: &[bool], bytes: u64) -> Vec<u64> {
    let pending = image.pending();
    let lost = pending.iter().zip(loss).filter(|(_, lost)| **lost).filter_map(|(unit, _)| match unit {
        Pending::Page { path, position, len } if path.ends_with(&lied.path) => Some(*position..position + len),
        _ => None,
    });
    let lost: Vec<_> = lost.collect();
    let begins = |n: u64| 96 + n * lied.batch_bytes;
    let is_hit = |n: u64| lost.iter().any(|page| page.start < begins(n) + bytes && begins(n) < page.end);
    (1..RECORDS).filter(|&n| is_hit(n)).collect()
}

fn is_length(unit: &Pending) -> bool {
    matches!(unit, Pending::Length { .. })
}

fn look(lied: &Lied, image: &Image, lost: &[bool], mapping: Mapping) -> Verdict {
    let first = taken(lied, image, lost, lied.batch_bytes).first().copied().unwrap_or(RECORDS);
    // A mark stands in the header, which has a checksum of its own.
    let markless = taken(lied, image, lost, HEADER_BYTES);
    let shown = (first + 1..RECORDS).any(|n| !markless.contains(&n));
    let store = options(&image.after(Loss::Subset(lost)), mapping).open("/sim").map_err(|error| error.to_string())?;
    let partition = store.topic("orders").and_then(|topic| topic.partition(0));
    if shown {
        must!(
            matches!(partition, Err(Error::Corrupt(_))),
            "a later mark shows the loss, and the open gives {partition:?}"
        );
        let told = store.recovery().failed.iter().any(|failed| failed.error.contains(".log` at position"));
        must!(told, "{}", store.recovery());
        return Ok(());
    }
    let partition = partition.map_err(|error| format!("no mark shows it, and the open gives {error}"))?;
    let found = all(&partition);
    let expected: Vec<String> = (0..first).map(value).collect();
    must!(found == expected, "{} records instead of {first}", found.len());
    if first < RECORDS {
        let resumed = partition.read_from(lied.place);
        let fork = Offset::new(first);
        must!(
            matches!(&resumed, Err(Error::Diverged { fork: at, .. }) if *at == fork),
            "who has read on is told {resumed:?}"
        );
        must!(store.recovery().needed && !store.recovery().is_clean(), "the report says nothing");
    }
    partition.append("goes on").map_err(|error| format!("P11: {error}"))?;
    Ok(())
}

/// Every subset of a few units.
fn subsets(units: usize) -> impl Iterator<Item = Vec<bool>> {
    assert!(units <= 10, "{units} units");
    (0..1_u32 << units).map(move |bits| (0..units).map(|i| bits >> i & 1 == 1).collect())
}

#[test]
fn what_a_disk_that_ignores_syncs_loses_is_damage_where_a_later_mark_shows_it() {
    cases("F19", 60, |mapping| {
        let lied = lied(mapping);
        let mut count = 0;
        for image in [lied.image.clone(), lied.image.clone().by_sector()] {
            let pending = image.pending();
            let pages: Vec<usize> = (0..pending.len()).filter(|&i| !is_length(&pending[i])).collect();
            let lose = |which: &dyn Fn(usize) -> bool| -> Vec<bool> {
                (0..pending.len()).map(|i| pages.iter().position(|&page| page == i).is_some_and(which)).collect()
            };
            let mut losses: Vec<Vec<bool>> = (0..pages.len()).map(|one| lose(&|i| i == one)).collect();
            losses.extend((0..pages.len()).map(|one| lose(&|i| i != one)));
            losses.extend((0..pages.len()).map(|from| lose(&|i| i >= from)));
            if pages.len() <= 8 {
                losses.extend(subsets(pages.len()).map(|lost| lose(&|i| lost[i])));
            }
            for lost in losses {
                let story = format!("{mapping:?}, lost {lost:?} of {pending:?}");
                case(&story, || look(&lied, &image, &lost, mapping));
                count += 1;
            }
        }
        count
    });
}

/// Everything that was said to be synced is gone: an older state that is whole. Who has read on is told.
#[test]
fn a_disk_that_lost_everything_since_shows_an_older_state_and_refuses_the_places_behind_it() {
    both_ways(|mapping| {
        let lied = lied(mapping);
        let disk: SimDisk = lied.image.after(Loss::All);
        let store = options(&disk, mapping).open("/sim").expect("opens");
        let partition = store.topic("orders").and_then(|topic| topic.partition(0)).expect("recovers");
        assert_eq!(all(&partition), [value(0)]);
        let error = refused(partition.read_from(lied.place));
        assert!(matches!(error, Error::Diverged { fork, .. } if fork == Offset::new(1)), "{error}");
        fill(&partition, "w", RECORDS);
        assert!(matches!(refused(partition.read_from(lied.place)), Error::Diverged { .. }));
        assert!(partition.read_from(Start::Earliest).is_ok());
    });
}
