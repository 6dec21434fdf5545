//! Files in a partition's directory that are no part of the log: what an interrupted removal, creation or recovery left,
//! and what somebody put there.
//!
//! Invariant: a file is removed only if the history says that it was given up, or if it holds no batch. One that holds
//! something goes to the quarantine; a foreign one stays and is an error.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::super::history::{Recorded, remove_if_there};
use super::super::{Evidence, segment_files};
use super::examine::{header, last_nonzero};
use super::rewrite::quarantined;
use super::table::{Decision, Extent, Facts, Told, decide};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, HEADER_BYTES, Identity, parse_index};
use crate::io::{Access, Kind, read_full_at};
use crate::offset::{Epoch, Offset, Position};
use crate::segment::{Home, SegmentId, header_of};

/// A file to be taken away.
pub(crate) enum Stray {
    Remove(PathBuf),
    SetAside(PathBuf),
}

/// Finds them. Changes nothing.
pub(crate) fn strays(home: &Home, evidence: &Evidence) -> Result<Vec<Stray>> {
    let live = live_paths(home, evidence);
    let mut strays = Vec::new();
    for (path, base, number) in segment_files(home)? {
        if !live.contains(&path) {
            strays.extend(judge(home, evidence, path, base, number)?);
        }
    }
    for entry in home.seam.dir.list(&home.dir).at("list", &home.shown(&home.dir))? {
        if entry.kind == Kind::File && is_left_over(&entry.name, home, &live) {
            strays.push(Stray::Remove(home.dir.join(&entry.name)));
        }
    }
    Ok(strays)
}

fn live_paths(home: &Home, evidence: &Evidence) -> HashSet<PathBuf> {
    let live = (0..evidence.segments.len()).filter(|&i| !evidence.is_retired(i));
    live.map(|i| home.segment_path(evidence.segments[i].id)).collect()
}

/// Those among them that belong to another log, with the error that says whose they are. Changes nothing.
pub(super) fn foreign_strays(home: &Home, evidence: &Evidence) -> Result<Vec<(PathBuf, Error)>> {
    let live = live_paths(home, evidence);
    let mut foreign = Vec::new();
    for (path, base, number) in segment_files(home)? {
        if !live.contains(&path) {
            match judge(home, evidence, path.clone(), base, number) {
                Err(error @ Error::Corrupt(_)) => foreign.push((path, error)),
                other => drop(other?),
            }
        }
    }
    Ok(foreign)
}

/// Unfinished copies, and indexes without their segment.
fn is_left_over(name: &str, home: &Home, live: &HashSet<PathBuf>) -> bool {
    let segment = || home.dir.join(Path::new(name).with_extension("log"));
    name.ends_with(".new") || (parse_index(name).is_some() && !live.contains(&segment()))
}

fn judge(home: &Home, evidence: &Evidence, path: PathBuf, base: Offset, number: u64) -> Result<Option<Stray>> {
    let told_of = (0..evidence.segments.len()).find(|&i| home.segment_path(evidence.segments[i].id) == path);
    let told = if told_of.is_some() { Told::Retired } else { Told::Nothing };
    let shown = home.shown(&path);
    let file = home.seam.dir.open(&path, Access::Read).at("open", &shown)?;
    let epoch = epoch_of(evidence, number, &*file).at("read", &shown)?;
    let (header, error) =
        header(home, &Recorded { id: SegmentId { base, epoch }, seal: None }, &*file).at("read", &shown)?;
    let facts = Facts { told, header, extent: Extent::Exact, covered: false, later: false };
    match decide(facts).decision {
        Decision::Foreign => {
            let error = error.expect("a foreign header comes with its story");
            Err(error.at(header_of(FileKind::Segment), &shown, Some(Position::new(0)), None))
        }
        Decision::SetAside if last_nonzero(&*file, HEADER_BYTES as u64).at("read", &shown)?.is_some() => {
            Ok(Some(Stray::SetAside(path)))
        }
        Decision::SetAside | Decision::Remove => Ok(Some(Stray::Remove(path))),
        _ => Ok(None),
    }
}

/// The whole epoch behind the number in a file's name: from the lineage, or else from the file itself, whose session may
/// have been lost before its line in the history was synced.
fn epoch_of(evidence: &Evidence, number: u64, file: &dyn crate::io::File) -> std::io::Result<Epoch> {
    let known = evidence.lineage.epochs().iter().find(|begun| begun.epoch.number == number);
    if let Some(begun) = known {
        return Ok(begun.epoch);
    }
    let mut bytes = [0; HEADER_BYTES];
    let got = read_full_at(file, &mut bytes, 0)?;
    let tag = Identity::decode(&bytes[..got]).map_or(0, |(identity, _)| identity.epoch.tag);
    Ok(Epoch { number, tag })
}

/// Takes them away. What fails here is found again by the next open.
pub(crate) fn remove(home: &Home, strays: Vec<Stray>) {
    for stray in strays {
        let _found_again = match stray {
            Stray::Remove(path) => remove_if_there(home, &path),
            Stray::SetAside(path) => {
                let aside = quarantined(home, &path, None);
                home.seam.dir.rename(&path, &aside).at("rename", &home.shown(&path))
            }
        };
    }
}

/// Unlinks a segment and its index.
pub(crate) fn remove_segment(home: &Home, id: SegmentId) -> Result<()> {
    remove_if_there(home, &home.segment_path(id))?;
    remove_if_there(home, &home.index_path(id))
}
