//! Files in a partition's directory that are no part of the log: what an interrupted removal, creation or recovery left,
//! and what somebody put there.
//!
//! Invariant: a file is removed only if the history says that it was given up, or if it holds no batch. One that holds
//! something goes to the quarantine; a foreign one stays and is an error.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::super::history::{Recorded, remove_if_there};
use super::super::{Evidence, History, segment_files};
use super::Finding;
use super::aside::Aside;
use super::examine::{header, last_nonzero};
use super::table::{Decision, Extent, Facts, Header, Told, decide};
use crate::error::{Corruption, Damage, Error, IoContext, Result};
use crate::format::{FileKind, HEADER_BYTES, Identity, parse_index};
use crate::io::{Kind, open_if_there, read_full_at};
use crate::offset::{Epoch, Offset, Position};
use crate::segment::{Home, SegmentId, Window, header_of, known_durable};

/// A file to be taken away.
pub(crate) enum Stray {
    Remove(PathBuf),
    /// With the offset where its records begin, if it is a segment, and its bytes.
    SetAside(PathBuf, Offset, u64),
}

/// Finds them. Changes nothing. `told` is what the history said before a recovery, which names what had been given up.
pub(crate) fn strays(home: &Home, evidence: &Evidence, told: &Evidence) -> Result<Vec<Stray>> {
    let live = paths(home, evidence, false);
    let retired = LazyCell::new(|| paths(home, told, true));
    let mut strays = Vec::new();
    for (path, base, number) in segment_files(home)? {
        if !live.contains(&path) {
            strays.extend(judge(home, told, &retired, path, base, number)?);
        }
    }
    for entry in home.seam.dir.list(&home.dir).at("list", &home.shown(&home.dir))? {
        if entry.kind == Kind::File && is_left_over(&entry.name, home, &live) {
            strays.push(Stray::Remove(home.dir.join(&entry.name)));
        }
    }
    Ok(strays)
}

/// The files of the segments that the history has given up, or of all others.
fn paths(home: &Home, evidence: &Evidence, retired: bool) -> HashSet<PathBuf> {
    let segments = (0..evidence.segments.len()).filter(|&i| evidence.is_retired(i) == retired);
    segments.map(|i| home.segment_path(evidence.segments[i].id)).collect()
}

/// Those among them that belong to another log, with the error that says whose they are. Changes nothing.
pub(super) fn foreign_strays(home: &Home, evidence: &Evidence) -> Result<Vec<(PathBuf, Error)>> {
    let live = paths(home, evidence, false);
    let retired = LazyCell::new(|| paths(home, evidence, true));
    let mut foreign = Vec::new();
    for (path, base, number) in segment_files(home)? {
        if !live.contains(&path) {
            match judge(home, evidence, &retired, path.clone(), base, number) {
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

/// `retired` are the files that the history has given up.
fn judge(
    home: &Home,
    evidence: &Evidence,
    retired: &HashSet<PathBuf>,
    path: PathBuf,
    base: Offset,
    number: u64,
) -> Result<Option<Stray>> {
    let told = if retired.contains(&path) { Told::Retired } else { Told::Nothing };
    let shown = home.shown(&path);
    // Beside a writer it may be gone since it was listed.
    let Some(file) = open_if_there(&*home.seam.dir, &path).at("open", &shown)? else { return Ok(None) };
    let epoch = epoch_of(evidence, number, &*file).at("read", &shown)?;
    let (header, error) = header(home, &Recorded::new(SegmentId { base, epoch }, None), &file).at("read", &shown)?;
    let facts = Facts { told, header, extent: Extent::Exact, covered: false, later: false };
    match decide(facts).decision {
        Decision::Foreign => {
            let error = error.expect("a foreign header comes with its story");
            Err(error.at(header_of(FileKind::Segment), &shown, Some(Position::new(0)), None))
        }
        Decision::SetAside => {
            let end = last_nonzero(&*file, HEADER_BYTES as u64).at("read", &shown)?;
            Ok(Some(end.map_or(Stray::Remove(path.clone()), |bytes| Stray::SetAside(path, base, bytes))))
        }
        Decision::Remove => Ok(Some(Stray::Remove(path))),
        _ => Ok(None),
    }
}

/// A segment that the history doesn't name, and that says itself that records of it were durable: the line of its
/// beginning was synced before the first of them. So the history lost it, or is an older copy of itself.
pub(crate) fn unrecorded(home: &Home, evidence: &Evidence, history: &History) -> Result<Option<Error>> {
    let named: HashSet<PathBuf> = evidence.segments.iter().map(|segment| home.segment_path(segment.id)).collect();
    for (path, base, number) in segment_files(home)? {
        if !named.contains(&path)
            && base >= evidence.start
            && let Some(end) = durable_end(home, evidence, &path, base, number)?
            && end > base
        {
            let position = Some(Position::new(history.position()));
            let corruption = Corruption {
                damage: Damage::Missing,
                what: "history entry",
                path: history.shown(),
                position,
                offsets: Some(base..end),
                topic: None,
                partition: None,
            };
            return Ok(Some(Error::from(Box::new(corruption))));
        }
    }
    Ok(None)
}

/// What the batches of such a file say was durable, unless it was given up: by a cut, or by a history that went on
/// without its session.
fn durable_end(home: &Home, evidence: &Evidence, path: &Path, base: Offset, number: u64) -> Result<Option<Offset>> {
    let shown = home.shown(path);
    let Some(file) = open_if_there(&*home.seam.dir, path).at("open", &shown)? else { return Ok(None) };
    let epoch = epoch_of(evidence, number, &*file).at("read", &shown)?;
    let given_up = match evidence.lineage.find(epoch) {
        Some(_) => evidence.lineage.cut_of(epoch) <= base,
        None => number < evidence.lineage.newest().epoch.number,
    };
    let id = SegmentId { base, epoch };
    let (header, _) = header(home, &Recorded::new(id, None), &file).at("read", &shown)?;
    if given_up || header != Header::Valid {
        return Ok(None);
    }
    let len = usize::try_from(file.len().at("read the length of", &shown)?).unwrap_or(usize::MAX);
    let seed = home.identity(FileKind::Segment, id).seed();
    known_durable(&mut Window::new(file, len), seed, HEADER_BYTES).at("read", &shown).map(Some)
}

/// The whole epoch behind the number in a file's name: from the lineage, or else from the file itself, whose session may
/// have been lost before its line in the history was synced.
fn epoch_of(evidence: &Evidence, number: u64, file: &dyn crate::io::File) -> std::io::Result<Epoch> {
    if let Some(epoch) = evidence.lineage.numbered(number) {
        return Ok(epoch);
    }
    let mut bytes = [0; HEADER_BYTES];
    let got = read_full_at(file, &mut bytes, 0)?;
    let tag = Identity::decode(&bytes[..got]).map_or(0, |(identity, _)| identity.epoch.tag);
    Ok(Epoch { number, tag })
}

/// Takes them away, and tells of those that hold something. What stays, since it can't be moved, is found again by the next
/// open.
pub(crate) fn remove(home: &Home, strays: Vec<Stray>, findings: &mut Vec<Finding>) -> Result<()> {
    let mut moved = None;
    for stray in strays {
        let (path, base, bytes) = match stray {
            Stray::Remove(path) => {
                let _found_again = remove_if_there(home, &path);
                continue;
            }
            Stray::SetAside(path, base, bytes) => (path, base, bytes),
        };
        let taken = Aside::open(&home.seam).and_then(|mut aside| aside.take(&path).map(|()| aside));
        let kept = taken.ok().and_then(|mut aside| {
            let kept = aside.kept.pop();
            moved = Some(aside);
            kept
        });
        tell(home.shown(&path), base, bytes, kept.map(|(_, to)| to), findings);
    }
    // Or the file is lost to a power cut once the directory that it leaves is synced.
    moved.map_or(Ok(()), |aside| aside.sync())
}

/// Recovery has told already of a segment that it has dropped, and where that was to go. Of what stays where it is nothing
/// was cut.
fn tell(path: PathBuf, base: Offset, cut_bytes: u64, set_aside: Option<PathBuf>, findings: &mut Vec<Finding>) {
    match findings.iter_mut().find(|finding| finding.path == path) {
        Some(told) if told.cut_bytes == cut_bytes => told.set_aside = set_aside,
        Some(_) => {}
        None => {
            let (cut_at, cut_bytes) = set_aside.as_ref().map_or((None, 0), |_| (Some(base), cut_bytes));
            findings.push(Finding { cut_at, cut_bytes, set_aside, ..Finding::new("stray", path) });
        }
    }
}

/// Unlinks a segment and its index.
pub(crate) fn remove_segment(home: &Home, id: SegmentId) -> Result<()> {
    remove_if_there(home, &home.segment_path(id))?;
    remove_if_there(home, &home.index_path(id))
}
