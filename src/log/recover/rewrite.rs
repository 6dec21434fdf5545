//! Carries a decision out for one segment: what was durable stays where it is, what may only live in the page cache is
//! copied into a new file and synced, what is cut is copied aside first.
//!
//! Invariant: a file that was ever published is never changed in place. A copy gets its final name by a rename, and
//! counts only when the history names it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::history::{Recorded, remove_if_there};
use super::aside::Aside;
use super::examine::{Examined, last_nonzero};
use super::table::{Decision, Told};
use super::{Finding, Known, Step};
use crate::error::{IoContext, Result};
use crate::format::{BatchHeader, FileKind, HEADER_BYTES, Seed, reseal};
use crate::io::{Access, File, write_all_at};
use crate::offset::{Offset, Position};
use crate::segment::{Home, Reached, Scan, Sealed, SegmentId, Window, batch_at, only_zeros};

/// At most so many discarded bytes of one segment are copied aside.
const ASIDE_BYTES_MAX: u64 = 64 << 20;
const COPY_BYTES: usize = 1 << 20;

/// Does it; gives the segments that stay, sealed, and what is to be reported.
pub(super) fn carry_out(
    home: &Arc<Home>,
    step: &Step<'_>,
    durable_end: Offset,
    known: Known,
) -> Result<(Vec<Recorded>, Option<Finding>)> {
    let one = step.examined;
    let path = home.segment_path(one.recorded.id);
    let mut finding = Finding::new(step.label, home.shown(&path));
    if one.told == Told::Sealed {
        if let (false, Decision::Trim, Some(sealed)) = (known.is_held, step.decision, one.recorded.seal) {
            give_back(home, &path, sealed.bytes)?;
        }
        return Ok((vec![one.recorded], is_worth_telling(step).then_some(finding)));
    }
    let Some(scan) = one.scan.as_ref().filter(|_| step.decision != Decision::Drop) else {
        finding.cut_at = Some(one.recorded.id.base);
        (finding.cut_bytes, finding.set_aside) = drop_all(home, one, &path)?;
        // A file that was only being created is nothing to tell.
        let told = finding.cut_bytes > 0 || step.decision != Decision::Drop;
        return Ok((Vec::new(), told.then_some(finding)));
    };
    if matches!(step.decision, Decision::Cut | Decision::CutLater) {
        finding.cut_at = Some(scan.run.end);
        (finding.cut_bytes, finding.set_aside) = copy_aside(home, &path, scan.run.position as u64)?;
    }
    let kept = keep_scanned(home, one, scan, durable_end, &mut finding)?;
    Ok((kept, Some(finding)))
}

/// The file is no part of the log any more: it is set aside as a stray if anything stands behind its header, or else
/// removed. Says how many bytes that takes and where they go.
fn drop_all(home: &Home, one: &Examined, path: &Path) -> Result<(u64, Option<PathBuf>)> {
    let Some(file) = &one.file else { return Ok((0, None)) };
    let end = last_nonzero(&**file, 0).at("read", &home.shown(path))?.unwrap_or(0);
    let kept = end > HEADER_BYTES as u64;
    Ok((end, kept.then(|| Aside::open(&home.seam)?.place_for(path)).transpose()?))
}

fn is_worth_telling(step: &Step<'_>) -> bool {
    !matches!(step.decision, Decision::Keep | Decision::Trim)
}

/// A file that was sealed where it is, and where its last whole batch ends, which may be behind the seal.
pub(super) fn sealed_in_place(home: &Home, one: &Examined, kept: &[Recorded]) -> Option<(PathBuf, u64)> {
    let scan = one.scan.as_ref().filter(|_| one.told == Told::Rolled)?;
    let is_kept = kept.iter().any(|kept| kept.id == one.recorded.id);
    is_kept.then(|| (home.segment_path(one.recorded.id), scan.run.position as u64))
}

/// Gives back the space that is reserved behind an end. What was published there stays, also behind a seal: another process
/// may have lent it out, whose sync failed and whose lock is gone.
pub(super) fn give_back(home: &Home, path: &Path, end: u64) -> Result<()> {
    let shown = home.shown(path);
    let file = home.seam.dir.open(path, Access::Write).at("open", &shown)?;
    if !is_unused(&file, end).at("read", &shown)? {
        return Ok(());
    }
    file.set_len(end).at("cut the unused end of", &shown)
}

/// Whether the file goes on there, with nothing but zeros. What no segment is long enough for isn't looked at, nor cut.
fn is_unused(file: &Arc<dyn File>, from: u64) -> std::io::Result<bool> {
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let mut window = Window::new(file.clone(), len);
    Ok(from < len && window.len() == len && only_zeros(&mut window, from)?)
}

/// Copies what is cut, unless it is all zeros; says how much that was and where it went.
fn copy_aside(home: &Home, path: &Path, from: u64) -> Result<(u64, Option<PathBuf>)> {
    let mut aside = Aside::open(&home.seam)?;
    let bytes = aside.copy_at_most(path, from, ASIDE_BYTES_MAX)?;
    aside.sync()?;
    Ok((bytes, aside.kept.pop().map(|(_, name)| name)))
}

/// Seals what was durable in place, and copies the rest.
pub(super) fn keep_scanned(
    home: &Arc<Home>,
    one: &Examined,
    scan: &Scan,
    durable_end: Offset,
    finding: &mut Finding,
) -> Result<Vec<Recorded>> {
    let mut source = Source::of(home, one);
    let durable = source.read(|window, seed| scan.up_to(window, seed, durable_end))?;
    let mut kept: Vec<Recorded> =
        durable.sealed().map(|seal| Recorded::new(one.recorded.id, Some(seal))).into_iter().collect();
    if durable.position < scan.run.position {
        let id = SegmentId { base: durable.end, epoch: one.recorded.id.epoch };
        let seal = copy(home, &mut source, durable..scan.run, id)?;
        finding.copied_bytes = seal.bytes;
        kept.push(Recorded::new(id, Some(seal)));
    }
    Ok(kept)
}

/// Writes the batches between two into a new segment, and syncs it. It takes its name last.
fn copy(home: &Arc<Home>, source: &mut Source<'_>, batches: Range<Reached>, id: SegmentId) -> Result<Sealed> {
    let path = home.segment_path(id);
    let new = path.with_extension("log.new");
    remove_if_there(home, &new)?;
    let sealed = write_copy(home, source, batches, id, &new).inspect_err(|_| {
        // On a full disk, what fitted of it is room that other partitions need to recover.
        let _removed_next_time = remove_if_there(home, &new);
    })?;
    home.seam.dir.rename(&new, &path).at("rename", &home.shown(&new))?;
    Ok(sealed)
}

/// Writes the batches into this file, seeded anew.
fn write_copy(
    home: &Arc<Home>,
    source: &mut Source<'_>,
    batches: Range<Reached>,
    id: SegmentId,
    new: &Path,
) -> Result<Sealed> {
    let shown = home.shown(new);
    let file = home.seam.dir.create(new).taking(HEADER_BYTES, "create", &shown)?;
    let identity = home.identity(FileKind::Segment, id);
    let seed = identity.seed();
    let mut out = Out { file, at: 0, bytes: identity.encode(home.now()).to_vec() };
    let (mut from, mut copied) = (batches.start, Reached::nothing(id.base));
    while from.position < batches.end.position {
        source.each_batch(from, |header, bytes| {
            out.take(bytes, header, seed);
            from.take(header);
            copied.take(header);
            from.position < batches.end.position && out.bytes.len() < COPY_BYTES
        })?;
        if out.bytes.len() >= COPY_BYTES {
            out.flush().taking(COPY_BYTES, "write", &shown)?;
        }
    }
    out.flush().taking(COPY_BYTES, "write", &shown)?;
    out.file.sync().at("sync", &shown)?;
    if id != source.one.recorded.id {
        // A recovery that was cut off may have left a copy there, made of bytes that the power has taken since.
        Aside::make_way(home, &home.segment_path(id), &*out.file)?;
    }
    Ok(copied.sealed().expect("there is at least one batch"))
}

/// A segment that was examined, to be read once more.
struct Source<'a> {
    one: &'a Examined,
    window: Window,
    seed: Seed,
    shown: PathBuf,
}

impl<'a> Source<'a> {
    fn of(home: &Home, one: &'a Examined) -> Source<'a> {
        Source {
            one,
            window: Window::new(one.file.clone().expect("was scanned"), one.file_bytes),
            seed: home.identity(FileKind::Segment, one.recorded.id).seed(),
            shown: home.shown(&home.segment_path(one.recorded.id)),
        }
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut Window, Seed) -> std::io::Result<T>) -> Result<T> {
        read(&mut self.window, self.seed).at("read", &self.shown)
    }

    /// The batches behind these, at least one, as long as `each` asks for the next. They are judged once more, since what is
    /// copied gets new checksums.
    fn each_batch(&mut self, behind: Reached, mut each: impl FnMut(&BatchHeader, &[u8]) -> bool) -> Result<()> {
        let Reached { position, end: base, .. } = behind;
        let (held, mut at) = (self.window.held(position), 0);
        BatchHeader::each_whole(held, self.seed, position as u64, base, |header| {
            let bytes = &held[at..at + header.bytes()];
            at += bytes.len();
            each(header, bytes)
        });
        if at > 0 {
            return Ok(());
        }
        // Not in memory to its end, or with a longer header.
        let header = self.read(|window, seed| batch_at(window, seed, position, base))?;
        let header = header
            .map_err(|error| error.at("batch", &self.shown, Some(Position::new(position as u64)), Some(base..base)))?;
        let bytes = self.window.at(position, header.bytes()).at("read", &self.shown)?;
        each(&header, bytes);
        Ok(())
    }
}

/// A file that is written from the beginning in large pieces.
struct Out {
    file: Arc<dyn File>,
    at: u64,
    bytes: Vec<u8>,
}

impl Out {
    /// Takes a batch that is whole, with the checksums that it must have here.
    fn take(&mut self, batch: &[u8], header: &BatchHeader, seed: Seed) {
        let position = self.at + self.bytes.len() as u64;
        reseal(batch, seed, position, header.mark, &mut self.bytes);
    }

    fn flush(&mut self) -> std::io::Result<()> {
        write_all_at(&*self.file, &self.bytes, self.at)?;
        let end = self.at + self.bytes.len() as u64;
        self.file.begin_sync(self.at..end);
        self.at = end;
        self.bytes.clear();
        Ok(())
    }
}
