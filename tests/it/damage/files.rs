//! Whole files harmed: gone, cut, lengthened, swapped, older, copied, renamed.
//!
//! Invariant: the table says for each kind of file and harm what may come of it, in the words of the table of bits.
//! Where a row costs something and nobody refuses, nothing in the store can tell: the comment says why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use epochlog::testing::SimDisk;
use epochlog::{Mapping, OnDamage, Remedy};

use super::outcome::{Way, look};
use super::region::{Kind, Part, Region, kind_of, regions};
use super::specimen::{Left, Specimen, specimen};
use super::words::describe;
use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    Missing,
    /// Cut within its header, or to nothing.
    Stub,
    /// Cut in the middle of a thing.
    Torn,
    /// Cut between two things.
    Cut,
    /// With zeros behind.
    Zeros,
    /// With garbage behind.
    Garbage,
    /// Another file of its kind in its place.
    Swapped,
    /// As it was after the first session.
    Older,
    /// A copy of it under another fitting name.
    Copied,
    /// It, and nothing in its place, under another fitting name.
    Renamed,
}

type Case = (Harm, Region, SimDisk);

fn cases(specimen: &Specimen, path: &Path) -> Vec<Case> {
    let bytes = specimen.disk.read(path);
    let parts = regions(specimen, path);
    let mut cases = Vec::new();
    let mut harm = |harm, region: &Region, act: &dyn Fn(&SimDisk)| {
        let disk = specimen.disk.clone_synced();
        act(&disk);
        cases.push((harm, region.clone(), disk));
    };
    let whole = &parts[0];
    harm(Harm::Missing, whole, &|disk| disk.remove(path));
    for length in [0, 1, 95] {
        harm(Harm::Stub, whole, &|disk| disk.truncate(path, length));
    }
    // A segment's batches are many and alike.
    let every = if kind_of(path) == Kind::Segment { 13 } else { 1 };
    let things = parts.iter().filter(|part| !matches!(part.part, Part::Reserve | Part::Header));
    for part in things.step_by(every).chain(parts.iter().rfind(|part| part.part == Part::LastTailBatch)) {
        harm(Harm::Cut, part, &|disk| disk.truncate(path, part.bytes.start));
        for length in [part.bytes.start + 1, part.bytes.end - 1] {
            harm(Harm::Torn, part, &|disk| disk.truncate(path, length));
        }
    }
    for more in [1, 5000] {
        harm(Harm::Zeros, whole, &|disk| disk.truncate(path, bytes.len() + more));
        let garbage: Vec<u8> = (0..more).map(|i| (i * 37 + 11) as u8 | 1).collect();
        harm(Harm::Garbage, whole, &|disk| disk.write(path, [&bytes[..], &garbage].concat()));
    }
    for other in specimen.disk.files().iter().filter(|other| kind_of(other) == kind_of(path) && *other != path).take(4)
    {
        harm(Harm::Swapped, whole, &|disk| disk.copy(other, path));
    }
    if specimen.older.files().iter().any(|older| older == path) && specimen.older.read(path) != bytes {
        harm(Harm::Older, whole, &|disk| disk.write(path, specimen.older.read(path)));
    }
    for other in other_names(path) {
        harm(Harm::Copied, whole, &|disk| disk.copy(path, &other));
        harm(Harm::Renamed, whole, &|disk| {
            disk.copy(path, &other);
            disk.remove(path);
        });
    }
    cases
}

/// Names that a file of its kind might have in the same directory.
fn other_names(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().expect("has a name").to_string_lossy();
    let Some((base, rest)) = name.split_once('@') else { return Vec::new() };
    let base: u64 = base.parse().expect("is an offset");
    let (number, extension) = rest.split_once('.').expect("has an extension");
    let names = [format!("{:020}@{number}.{extension}", base + 1), format!("{base:020}@4711.{extension}")];
    names.into_iter().map(|name| path.with_file_name(name)).collect()
}

/// What may come of each harm: read, or refused by name. Without figures, and without the names of other files.
#[rustfmt::skip]
const TABLE: &[(Kind, Harm, &[&str])] = &[
    (Kind::Commits, Harm::Cut, &["exact"]),
    (Kind::Commits, Harm::Garbage, &["exact"]),
    (Kind::Commits, Harm::Missing, &["the groups: commits; verify: the same"]),
    (Kind::Commits, Harm::Stub, &["the groups: commits header here; verify: the same"]),
    (Kind::Commits, Harm::Swapped, &["the groups: commits header here; verify: the same"]),
    (Kind::Commits, Harm::Torn, &["exact"]),
    (Kind::Commits, Harm::Zeros, &["exact"]),
    (Kind::History, Harm::Cut, &[
        "a read: segment in another some offsets; costs the last trim; verify: the same",
        "exact",
        "the partition: history entry here, some offsets; costs the partition; verify: history entry here, some offsets segment in another some offsets",
        "the partition: history entry here, some offsets; costs the partition; verify: the same",
        "the partition: history here; costs the partition; verify: the same",
        "a read: segment in another some offsets; costs the last trim; verify: the same; recovery: missing",
    ]),
    (Kind::History, Harm::Garbage, &[
        "exact",
        "recovery: history-torn",
    ]),
    (Kind::History, Harm::Missing, &["the partition: history; costs the partition; verify: the same"]),
    (Kind::History, Harm::Older, &[
        "the partition: history entry at N, some offsets; costs the partition; verify: history entry at N, some offsets segment in another some offsets",
        "the partition: history entry at N, some offsets; costs the partition; verify: the same",
    ]),
    (Kind::History, Harm::Stub, &["the partition: history header here; costs the partition; verify: the same"]),
    (Kind::History, Harm::Swapped, &["the partition: history header here; costs the partition; verify: the same"]),
    (Kind::History, Harm::Torn, &[
        "a read: segment in another some offsets; costs the last trim; verify: the same",
        "exact",
        "the partition: history entry here, some offsets; costs the partition; verify: history entry here, some offsets segment in another some offsets",
        "the partition: history entry here, some offsets; costs the partition; verify: the same",
        "the partition: history here; costs the partition; verify: the same",
        "a read: segment in another some offsets; costs the last trim; verify: the same; recovery: history-torn, missing",
        "recovery: history-torn",
    ]),
    (Kind::History, Harm::Zeros, &["exact"]),
    (Kind::Index, Harm::Copied, &["exact"]),
    (Kind::Index, Harm::Cut, &["exact"]),
    (Kind::Index, Harm::Garbage, &[
        "exact",
        "noted",
    ]),
    (Kind::Index, Harm::Missing, &["exact"]),
    (Kind::Index, Harm::Renamed, &["exact"]),
    (Kind::Index, Harm::Stub, &[
        "noted",
        "exact",
    ]),
    (Kind::Index, Harm::Swapped, &[
        "noted",
        "exact",
    ]),
    (Kind::Index, Harm::Torn, &["exact"]),
    (Kind::Index, Harm::Zeros, &["exact"]),
    (Kind::Segment, Harm::Copied, &[
        "verify: segment header in another here",
        "the partition: segment header in another here; costs its segment; verify: the same",
        "the partition: segment header in another here; costs the partition; verify: the same",
    ]),
    (Kind::Segment, Harm::Cut, &[
        "a read: segment here, from here on; costs all from it on; verify: batch here, from here on",
        "a read: segment here, from here on; costs its segment from it on; verify: batch here, from here on",
        "a read: segment here, from here on; costs its segment; verify: batch here, from here on",
        "a read: segment here, its offsets; costs its batch; verify: batch here, its offsets",
        "a read: segment here, its segment's offsets; costs its segment; verify: batch here, its segment's offsets",
        "exact",
        "a read: segment here, from here on; costs its segment from it on; verify: batch here, from here on; recovery: sealed-bad",
        "a read: segment here, from here on; costs its segment; verify: batch here, from here on; recovery: sealed-bad",
        "a read: segment here, its segment's offsets; costs its segment; verify: batch here, its segment's offsets; recovery: sealed-bad",
        "recovery: sealed-bad",
    ]),
    (Kind::Segment, Harm::Garbage, &[
        "exact",
        "noted",
        "recovery: tail-torn",
    ]),
    (Kind::Segment, Harm::Missing, &[
        "a read: segment, its segment's offsets; costs its segment; verify: the same",
        "a read: segment, its segment's offsets; costs its segment; verify: the same; recovery: missing",
    ]),
    (Kind::Segment, Harm::Renamed, &[
        "a read: segment, its segment's offsets; costs its segment; verify: segment header in another here, segment, its segment's offsets",
        "the partition: segment header in another here; costs its segment; verify: segment header in another here, segment, its segment's offsets",
        "the partition: segment header in another here; costs the partition; verify: segment header in another here, segment, its segment's offsets",
        "the partition: segment header in another here; costs its segment; verify: the same",
        "the partition: segment header in another here; costs the partition; verify: the same",
    ]),
    (Kind::Segment, Harm::Stub, &[
        "a read: segment header here, its segment's offsets; costs its segment; verify: the same",
        "the partition: segment header here; costs its segment; verify: nothing; noted",
        "the partition: segment header here; costs the partition; verify: nothing; noted",
        "a read: segment header here, its segment's offsets; costs its segment; verify: the same; recovery: sealed-bad",
    ]),
    (Kind::Segment, Harm::Swapped, &[
        "a read: segment header here, its segment's offsets; costs its segment; verify: the same",
        "the partition: segment header here; costs its segment; verify: the same",
        "the partition: segment header here; costs the partition; verify: the same",
        "a read: segment header here, its segment's offsets; costs its segment; verify: the same; recovery: foreign",
        "the partition: segment header here, its offsets; costs its segment; verify: segment header here",
        "the partition: segment header here, some offsets; costs the partition; verify: segment header here",
    ]),
    (Kind::Segment, Harm::Torn, &[
        "a read: segment at N, some offsets; costs its segment; verify: batch here, from here on",
        "a read: segment at N, some offsets; costs its segment; verify: batch here, its segment's offsets",
        "a read: segment here, from here on; costs all from it on; verify: batch here, from here on",
        "a read: segment here, from here on; costs its segment from it on; verify: batch here, from here on",
        "a read: segment here, from here on; costs its segment; verify: batch here, from here on",
        "a read: segment here, its offsets; costs its batch; verify: batch here, its offsets",
        "a read: segment here, its segment's offsets; costs its segment; verify: batch here, its segment's offsets",
        "exact",
        "the partition: segment header here; costs its segment; verify: nothing; noted",
        "the partition: segment header here; costs the partition; verify: nothing; noted",
        "a read: segment at N, some offsets; costs its segment; verify: batch here, from here on; recovery: sealed-bad",
        "a read: segment at N, some offsets; costs its segment; verify: batch here, its segment's offsets; recovery: sealed-bad",
        "a read: segment here, from here on; costs its segment from it on; verify: batch here, from here on; recovery: sealed-bad",
        "a read: segment here, from here on; costs its segment; verify: batch here, from here on; recovery: sealed-bad",
        "a read: segment here, its segment's offsets; costs its segment; verify: batch here, its segment's offsets; recovery: sealed-bad",
        "recovery: sealed-bad",
    ]),
    (Kind::Segment, Harm::Zeros, &["exact"]),
    (Kind::Store, Harm::Cut, &["the store: store header here; costs the store; verify: nothing"]),
    (Kind::Store, Harm::Garbage, &["exact"]),
    (Kind::Store, Harm::Missing, &["the store: store file; costs the store; verify: nothing"]),
    (Kind::Store, Harm::Older, &["exact"]),
    (Kind::Store, Harm::Stub, &["the store: store header here; costs the store; verify: nothing"]),
    (Kind::Store, Harm::Torn, &["the store: store header here; costs the store; verify: nothing"]),
    (Kind::Store, Harm::Zeros, &["exact"]),
    (Kind::Topic, Harm::Cut, &["the topic: topic header here; costs the topic; verify: the same"]),
    (Kind::Topic, Harm::Garbage, &["exact"]),
    (Kind::Topic, Harm::Missing, &["the topic: topic file; costs the topic; verify: the same"]),
    (Kind::Topic, Harm::Stub, &["the topic: topic header here; costs the topic; verify: the same"]),
    (Kind::Topic, Harm::Swapped, &["the topic: topic header here; costs the topic; verify: the same"]),
    (Kind::Topic, Harm::Torn, &["the topic: topic header here; costs the topic; verify: the same"]),
    (Kind::Topic, Harm::Zeros, &["exact"]),
];

/// What no file of the store can tell: an end that was cut between two commits, or where a crash may have cut it; a
/// history, or commits, as they were once, with nothing in any other file that proves more; a tail that no later batch
/// knows to be durable. Whoever keeps more than one copy can.
#[rustfmt::skip]
const CANNOT_TELL: &[(Kind, Harm, &[&str])] = &[
    (Kind::Commits, Harm::Cut, &[
        "costs later commits",
        "costs the last commit",
    ]),
    (Kind::Commits, Harm::Older, &["costs later commits"]),
    (Kind::Commits, Harm::Torn, &[
        "costs later commits",
        "costs the last commit",
    ]),
    (Kind::History, Harm::Cut, &["costs the partition", "costs the partition; recovery: stray"]),
    (Kind::History, Harm::Older, &["costs the partition", "costs the partition; recovery: stray"]),
    (Kind::History, Harm::Torn, &[
        "costs the partition",
        "costs the partition; recovery: history-torn, stray",
    ]),
    (Kind::Segment, Harm::Cut, &[
        "costs all from it on",
        "costs its batch",
        "costs its segment",
    ]),
    (Kind::Segment, Harm::Missing, &["costs its segment"]),
    (Kind::Segment, Harm::Renamed, &["costs its segment; verify: segment header in another here"]),
    (Kind::Segment, Harm::Stub, &[
        "costs its segment",
        "costs its segment; recovery: header-bad",
    ]),
    (Kind::Segment, Harm::Torn, &[
        "costs all from it on; noted",
        "costs its batch; noted",
        "costs all from it on; recovery: tail-torn",
        "costs its batch; recovery: tail-torn",
        "costs its segment; recovery: header-bad",
    ]),
];

/// The same without figures and without the names of other files.
fn general(said: &str) -> String {
    let number = |word: &str| word.trim_end_matches(',').bytes().all(|byte| byte.is_ascii_digit()) && word.len() > 1;
    let words = said.split(' ').map(|word| match word {
        _ if word.starts_with("topics/") => "another".to_owned(),
        _ if word.contains("..") => "some offsets".to_owned() + word.trim_start_matches(|c: char| c != ';'),
        _ if number(word) => "N".to_owned() + word.trim_start_matches(|c: char| c.is_ascii_digit()),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_allowed(kind: Kind, harm: Harm, said: &str) -> bool {
    let mut rows = TABLE.iter().chain(CANNOT_TELL).filter(|row| row.0 == kind && row.1 == harm);
    rows.any(|row| row.2.contains(&said))
}

/// Whether a repair has something to say of the store.
fn is_planned(specimen: &Specimen, disk: &SimDisk) -> bool {
    let planned = options(disk, specimen.mapping).repair("/sim", OnDamage::Keep).expect("plans");
    planned.plan().steps.iter().any(|step| step.changes() || matches!(step.remedy, Remedy::Refuse(_)))
}

#[test]
fn a_harmed_file_comes_to_what_the_table_says() {
    let mut seen = BTreeSet::new();
    for (left, mapping) in [(Left::Closed, Mapping::Auto), (Left::Killed, Mapping::Never)] {
        let specimen = specimen(left, mapping);
        for path in specimen.disk.files().into_iter().filter(|path| kind_of(path) != Kind::Lock) {
            for (harm, region, disk) in cases(&specimen, &path) {
                for way in [Way::Writing, Way::Reading] {
                    let outcome = look(&specimen, &disk.clone_synced(), &path, way);
                    let said = general(&describe(&outcome, &specimen, &path, &region));
                    let what = format!("{left:?}, {}, {harm:?} at {}, {way:?}", path.display(), region.thing);
                    assert!(is_allowed(kind_of(&path), harm, &said), "{what}: {said}");
                    let opens = outcome.told.iter().all(|told| told.who == "a read");
                    assert!(way == Way::Reading || opens || is_planned(&specimen, &disk), "{what}: no plan for {said}");
                    seen.insert((kind_of(&path), harm, said));
                }
            }
        }
    }
    let allowed = TABLE.iter().chain(CANNOT_TELL).map(|row| row.2.len()).sum::<usize>();
    assert_eq!(seen.len(), allowed, "some row says what never comes");
}
