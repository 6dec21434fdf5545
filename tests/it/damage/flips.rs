//! Every bit of every file, one at a time.
//!
//! Invariant: each flip begins from the same disk; what comes of it must stand in the table, and every outcome of the
//! table must come of some flip. By default one bit of some bytes is flipped; with `EPOCHLOG_DAMAGE_ALL=1` all of them
//! are, and the numbers are printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use epochlog::Mapping;

use super::outcome::{Way, look};
use super::region::{Kind, Part, Region, kind_of, regions};
use super::specimen::{Left, Specimen, specimen};
use super::table::{TABLE, allowed};
use super::words::describe;

/// How many flips came to what.
type Counted = BTreeMap<(Left, Kind, Way, String), u64>;

/// One file's flips.
struct Job {
    path: PathBuf,
    region: Region,
    bits: Vec<u64>,
}

fn all() -> bool {
    std::env::var_os("EPOCHLOG_DAMAGE_ALL").is_some()
}

/// Which bits of a part are flipped: all, or one of each so many bytes, another one each time.
fn bits(region: &Region) -> Vec<u64> {
    let every = match region.part {
        Part::Reserve => 499,
        Part::Batch | Part::TailBatch | Part::CutBatch | Part::TrimmedBatch => 23,
        _ => 5,
    };
    let bytes = region.bytes.start as u64..region.bytes.end as u64;
    if all() {
        return (bytes.start * 8..bytes.end * 8).collect();
    }
    bytes.step_by(every).map(|byte| byte * 8 + (byte / every as u64 + region.thing as u64) % 8).collect()
}

fn jobs(specimen: &Specimen) -> Vec<Job> {
    let files = specimen.disk.files().into_iter();
    let parts = files.flat_map(|path| regions(specimen, &path).into_iter().map(move |region| (path.clone(), region)));
    parts.map(|(path, region)| Job { bits: bits(&region), path, region }).collect()
}

fn flip(specimen: &Specimen, job: &Job, bit: u64, way: Way) -> String {
    let disk = specimen.disk.clone_synced();
    disk.flip(&job.path, bit);
    let outcome = describe(&look(specimen, &disk, &job.path, way), specimen, &job.path, &job.region);
    let kind = kind_of(&job.path);
    let allowed = allowed(specimen.left, kind, job.region.part, way);
    let what = format!("{:?}, {}, bit {bit}, {:?}, {way:?}", specimen.left, job.path.display(), job.region.part);
    assert!(allowed.contains(&&*outcome), "{what}:\n{outcome}\nand the table allows only\n{}", allowed.join("\n"));
    outcome
}

/// Flips them all, once for each way of opening; gives what came of it.
fn flip_all(left: Left, mapping: Mapping, ways: &[Way]) -> Counted {
    let specimen = specimen(left, mapping);
    let mut counted = Counted::new();
    for job in jobs(&specimen) {
        for (i, bit) in job.bits.iter().enumerate() {
            // With all bits the two ways take turns: of every two neighbours one is met by each.
            let turn = if all() { &ways[i % ways.len()..=i % ways.len()] } else { ways };
            for way in turn {
                let outcome = flip(&specimen, &job, *bit, *way);
                *counted.entry((left, kind_of(&job.path), *way, outcome)).or_default() += 1;
            }
        }
    }
    counted
}

fn print(counted: &Counted) {
    println!("{} flips:", counted.values().sum::<u64>());
    for ((left, kind, way, outcome), n) in counted {
        println!("{n:9}  {left:?} {kind:?} {way:?}: {outcome}");
    }
}

#[test]
fn every_flipped_bit_comes_to_what_the_table_says() {
    let mut counted = Counted::new();
    std::thread::scope(|scope| {
        let runs = [(Left::Closed, Mapping::Auto), (Left::Killed, Mapping::Never)]
            .map(|(left, mapping)| scope.spawn(move || flip_all(left, mapping, &[Way::Writing, Way::Reading])));
        for run in runs {
            counted.extend(run.join().expect("every outcome is in the table"));
        }
    });
    print(&counted);
    every_outcome_occurs(&counted);
}

/// A row that nothing leads to would only hide what it allows.
fn every_outcome_occurs(counted: &Counted) {
    let seen: BTreeSet<(Left, Kind, &str)> =
        counted.keys().map(|(left, kind, _, said)| (*left, *kind, &**said)).collect();
    for row in TABLE {
        for said in row.outcomes {
            assert!(row.left.iter().any(|left| seen.contains(&(*left, row.kind, said))), "nothing came to: {said}");
        }
    }
}
