//! Carries a plan out for one partition.
//!
//! Invariant: the order of the writes. Originals are copied and synced first; then segments are written anew under names
//! that don't count yet, or replaced by the same batches behind a right header, segment by segment; the history is replaced
//! in one step; only then are files moved away. What an interruption leaves is what it was, or what it is to be.

use std::sync::Arc;

use super::super::examine::last_nonzero;
use super::super::rewrite::{carry_out, keep_scanned};
use super::super::stray::Stray;
use super::super::{Finding, Known, Step, remove, strays};
use super::{Aside, Fate, Found, PartitionRepair};
use crate::error::{IoContext, Result};
use crate::format::{FileKind, HEADER_BYTES, HISTORY, Reason};
use crate::io::latch::Latch;
use crate::io::{File, read_full_at, write_all_at};
use crate::log::history::{Recorded, remove_if_there};
use crate::log::{Begun, Epochs, Evidence};
use crate::offset::Epoch;
use crate::options::SEGMENT_BYTES;
use crate::segment::Home;

const COPY_BYTES: usize = 1 << 20;

impl PartitionRepair {
    pub(crate) fn number(&self) -> u32 {
        self.home.partition
    }

    /// The greatest number of an epoch that was seen here.
    pub(crate) fn greatest_number(&self) -> u64 {
        self.evidence.lineage.newest().epoch.number
    }

    /// Does it; gives the epoch that begins, if records may have been lost.
    pub(crate) fn apply(mut self, epochs: &dyn Epochs, aside: &mut Aside) -> Result<Option<Epoch>> {
        self.keep_originals(aside)?;
        let mut kept = Vec::new();
        for k in 0..self.found.len() {
            // One after another: there may be more of them than a process may have open files.
            self.found[k].one.file = self.file_of(&self.found[k].one)?;
            if self.headless.binary_search(&k).is_ok() && self.found[k].fate != Fate::Drop {
                write_header(&self.home, &self.found[k])?;
            }
            kept.extend(self.keep(&self.found[k])?);
            self.found[k].one.file = None;
        }
        let (evidence, begun) = self.repaired(epochs, kept)?;
        let dir = self.home.shown(&self.home.dir);
        self.home.seam.dir.sync(&self.home.dir).at("sync", &dir)?;
        self.history.rewrite(&evidence, &Latch::default())?;
        self.move_away(aside)?;
        self.remove_strays(&evidence, aside)?;
        self.home.seam.dir.sync(&self.home.dir).at("sync", &dir)?;
        Ok(begun)
    }

    /// Copies what is written anew, and the ends that are cut off, to the quarantine.
    fn keep_originals(&self, aside: &mut Aside) -> Result<()> {
        if self.retold {
            aside.copy(&self.home.dir.join(HISTORY), 0)?;
        }
        for &k in &self.headless {
            if self.found[k].fate != Fate::Drop {
                aside.copy(&self.home.segment_path(self.found[k].one.recorded.id), 0)?;
            }
        }
        for found in self.found.iter().filter(|found| found.fate == Fate::Cut) {
            aside.copy(&self.home.segment_path(found.one.recorded.id), found.cut_from())?;
        }
        aside.sync()
    }

    /// What of a segment stays.
    fn keep(&self, found: &Found) -> Result<Vec<Recorded>> {
        match (found.fate, &found.one.scan) {
            (Fate::Drop, _) | (Fate::Cut, None) => Ok(Vec::new()),
            (Fate::Cut, Some(scan)) => {
                let path = self.home.shown(&self.home.segment_path(found.one.recorded.id));
                keep_scanned(&self.home, &found.one, scan, self.durable_end, &mut Finding::new("", path))
            }
            (Fate::Recover(decision), _) => {
                let step = Step { examined: &found.one, label: "", decision };
                carry_out(&self.home, &step, self.durable_end, Known::default()).map(|(kept, _)| kept)
            }
        }
    }

    /// What the history is to say.
    fn repaired(&self, epochs: &dyn Epochs, kept: Vec<Recorded>) -> Result<(Evidence, Option<Epoch>)> {
        let lineage = self.evidence.lineage.clone();
        let last = kept.last().and_then(|last| self.evidence.sealed_end(last));
        let mut evidence = Evidence { lineage, start: self.start, segments: kept, clean: None, torn_bytes: 0 };
        let end = self.cut.unwrap_or_else(|| evidence.end_after(last)).max(self.start);
        evidence.clean = Some(end);
        if self.cut.is_none() && !self.retold {
            return Ok((evidence, None));
        }
        let epoch = epochs.next()?;
        let reason = if self.retold { Reason::Restored } else { Reason::Healed };
        evidence.lineage = evidence.lineage.with(Begun { epoch, start: end, reason, time: self.home.now() });
        Ok((evidence, Some(epoch)))
    }

    /// Moves what the history no longer names, and what never belonged here.
    fn move_away(&self, aside: &mut Aside) -> Result<()> {
        for path in &self.foreign {
            aside.take(path)?;
        }
        for found in self.found.iter().filter(|found| found.fate == Fate::Drop) {
            aside.take(&self.home.segment_path(found.one.recorded.id))?;
        }
        aside.sync()
    }

    /// Takes away what was left over; the report tells what of it is kept.
    fn remove_strays(&self, evidence: &Evidence, aside: &mut Aside) -> Result<()> {
        let mut left_over = Vec::new();
        for stray in strays(&self.home, evidence, evidence)? {
            match stray {
                Stray::SetAside(path, ..) => aside.take(&path)?,
                Stray::Remove(_) => left_over.push(stray),
            }
        }
        remove(&self.home, left_over, &mut Vec::new())?;
        aside.sync()
    }
}

/// Replaces a segment by the same bytes behind the header that it must have.
fn write_header(home: &Arc<Home>, found: &Found) -> Result<()> {
    let id = found.one.recorded.id;
    let path = home.segment_path(id);
    let new = path.with_extension("log.new");
    let shown = home.shown(&new);
    remove_if_there(home, &new)?;
    let source = &**found.one.file.as_ref().expect("was scanned");
    let end = copied_up_to(source, found).at("read", &home.shown(&path))?;
    let file = home.seam.dir.create(&new).taking(HEADER_BYTES, "create", &shown)?;
    let header = home.identity(FileKind::Segment, id).encode(home.now());
    let written = write_all_at(&*file, &header, 0).and_then(|()| copy_batches(source, &*file, end));
    let written = written.taking(usize::try_from(end).unwrap_or(usize::MAX), "write", &shown);
    let synced = written.and_then(|()| file.sync().at("sync", &shown));
    let named = synced.and_then(|()| home.seam.dir.rename(&new, &path).at("rename", &shown));
    named.inspect_err(|_| {
        // Others may need the room. One that can't be removed now is removed by the next repair, or by an open.
        let _in_the_way = home.seam.dir.remove_file(&new);
    })
}

/// The position behind everything that stays and all that isn't zero, as far as a segment can reach: a file may say that it
/// is of any length.
fn copied_up_to(source: &dyn File, found: &Found) -> std::io::Result<u64> {
    let scanned = || found.one.scan.as_ref().map_or(0, |scan| scan.run.position as u64);
    let stays = found.one.recorded.seal.map_or_else(scanned, |seal| seal.bytes);
    let last = last_nonzero(source, HEADER_BYTES as u64)?.unwrap_or(0);
    Ok(stays.max(last).min(found.one.file_bytes as u64).min(*SEGMENT_BYTES.end()))
}

fn copy_batches(source: &dyn File, to: &dyn File, end: u64) -> std::io::Result<()> {
    let (mut at, mut buffer) = (HEADER_BYTES as u64, vec![0; COPY_BYTES]);
    while at < end {
        let piece = usize::try_from(end - at).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        let got = read_full_at(source, &mut buffer[..piece], at)?;
        write_all_at(to, &buffer[..got], at)?;
        at += got as u64;
        if got < piece {
            break;
        }
    }
    Ok(())
}
