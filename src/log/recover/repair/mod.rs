//! Puts a partition right that recovery keeps closed, as a person orders it: decides first, by recovery's own facts, and
//! writes after.
//!
//! Invariant: planning writes nothing. What leaves the log, or is written anew, was copied or moved to the quarantine
//! first; new files come next, then one atomic replacement of the history makes everything count, and only then are files
//! moved away. Interrupted anywhere, the next plan finds the old state or the repaired one. Where records may have been
//! lost a new epoch begins, so that places beyond the cut answer `Diverged` with the fork. Planned and applied by
//! `topic::repair`; bytes are judged by `examine` and by `segment::walk` alone.
//!
//! | what is wrong | what is done |
//! |---|---|
//! | below a durable mark in the unsealed tail: a batch, a segment's header, a segment | cut there; all behind set aside |
//! | a header over whole batches | the header is written anew, since the history knows it; nothing is lost |
//! | a file of another log | set aside, and what should be there is missing |
//! | in a sealed segment: a batch, the end, the whole file | it stays ([`OnDamage`]) |
//! | records missing between two segments, or behind the last | cut there; all behind set aside |
//! | the history, or it leaves out a durable segment | told anew: by its frames that validate, and by the segments there |
//! | beside it: a file that nothing tells is a segment, or a segment that a later epoch has overtaken | set aside |

mod apply;
mod salvage;
mod step;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use salvage::Retold;
pub use step::{OnDamage, Remedy, RepairStep};

use super::aside::Aside;
use super::examine::{Examined, examine, last_nonzero};
use super::stray::foreign_strays;
use super::table::{Decision, Header, Told, decide};
use crate::error::{Error, IoContext, Result};
use crate::format::{FileKind, HEADER_BYTES};
use crate::io::{Access, File};
use crate::log::history::Recorded;
use crate::log::{Evidence, History};
use crate::name::TopicName;
use crate::offset::{Offset, Position};
use crate::segment::{Bad, Home, Sealed, SegmentId, Step as Walked, Walk, Window, missing};

const NO_SEGMENT: &str =
    "no line of the history names it, and no batch of this log is in it; if it was a segment, its records from offset";
const OVERTAKEN: &str =
    "a later epoch begins there; no line tells whether these records were given up then, and so they are now";

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// As recovery would decide.
    Recover(Decision),
    /// It ends behind its last whole batch; the rest is set aside.
    Cut,
    /// All of it is set aside.
    Drop,
}

/// A segment that the history names, as it was found.
struct Found {
    one: Examined,
    /// What is wrong with its header, if batches stand behind it all the same.
    headless: Option<Error>,
    /// What is wrong with it that keeps nothing else from being read, and which offsets that costs.
    damage: Vec<(Error, Range<Offset>)>,
    fate: Fate,
}

impl Found {
    /// Whether the history is to name it.
    fn stays(&self) -> bool {
        match (self.fate, &self.one.scan) {
            (Fate::Drop | Fate::Recover(Decision::Drop), _) | (Fate::Cut, None) => false,
            (Fate::Cut, Some(scan)) => scan.run.sealed().is_some(),
            (Fate::Recover(_), scan) => scan.as_ref().is_none_or(|scan| scan.run.sealed().is_some()),
        }
    }

    /// The position from which on nothing of the file stays.
    fn cut_from(&self) -> u64 {
        let kept = self.one.scan.as_ref().filter(|_| self.fate == Fate::Cut);
        kept.map_or(0, |scan| scan.run.position as u64)
    }
}

/// What is to be done to one partition.
pub(crate) struct PartitionRepair {
    home: Arc<Home>,
    topic: TopicName,
    evidence: Evidence,
    history: History,
    found: Vec<Found>,
    /// Those whose header is written anew.
    headless: Vec<usize>,
    durable_end: Offset,
    start: Offset,
    /// Where the partition is cut, if it is.
    cut: Option<Offset>,
    /// Whether the history is told anew.
    retold: bool,
    /// Files that are no part of the log, to be moved away.
    foreign: Vec<PathBuf>,
    steps: Vec<RepairStep>,
    /// What recovery would cut as well: told only where something else is done.
    torn: Option<RepairStep>,
}

impl PartitionRepair {
    /// Decides what is to be done. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::UnsupportedVersion`] for what a later version wrote: neither is damage.
    pub(crate) fn plan(home: &Arc<Home>, topic: &TopicName, on_damage: OnDamage) -> Result<PartitionRepair> {
        let (history, evidence, retold) = salvage::evidence(home)?;
        let mut repair = PartitionRepair {
            home: home.clone(),
            topic: topic.clone(),
            start: evidence.start,
            // What the start presumes was synced before it was raised.
            durable_end: evidence.start,
            evidence,
            history,
            found: Vec::new(),
            headless: Vec::new(),
            torn: None,
            cut: None,
            retold: retold.is_some(),
            foreign: Vec::new(),
            steps: Vec::new(),
        };
        if let Some(retold) = retold {
            repair.tell_anew(retold)?;
        }
        repair.look()?;
        repair.decide(on_damage)?;
        repair.go_around(on_damage)?;
        repair.strays()?;
        if repair.steps.iter().any(RepairStep::changes) {
            repair.steps.extend(repair.torn.take());
        }
        Ok(repair)
    }

    /// What will be done, and what stays wrong.
    pub(crate) fn take_steps(&mut self) -> Vec<RepairStep> {
        std::mem::take(&mut self.steps)
    }

    fn step(&self, problem: Error, remedy: Remedy) -> RepairStep {
        RepairStep::new(Some(&self.topic), Some(self.home.partition), problem, remedy)
    }

    /// The history is told anew: what that costs.
    fn tell_anew(&mut self, retold: Retold) -> Result<()> {
        let mut step = self.step(retold.problem, Remedy::Rebuild);
        (step.files, step.note) = (vec![self.history.shown()], Some(retold.note));
        self.steps.push(step);
        for stranger in retold.strangers {
            let mut step = self.step(stranger.problem, Remedy::SetAside);
            step.note = Some(format!("{NO_SEGMENT} {} on are lost", stranger.base));
            self.set_aside(step, stranger.path)?;
        }
        for (recorded, limit) in retold.overtaken {
            self.tell_overtaken(recorded, limit)?;
        }
        Ok(())
    }

    /// A segment that a later epoch has cut, or overtaken altogether, though no line tells so: lines let it go up to `limit`.
    fn tell_overtaken(&mut self, recorded: Recorded, limit: Offset) -> Result<()> {
        let SegmentId { base, epoch } = recorded.id;
        let one = examine(&self.home, recorded, limit, None, self.start)?;
        let cut = self.evidence.lineage.cut_of(epoch);
        let lost = cut.max(base)..one.good_end.max(one.durable_end);
        let path = self.home.segment_path(recorded.id);
        let problem = missing("history entry", &self.history.shown(), Some(lost.clone()));
        let mut step = self.step(problem, if cut > base { Remedy::Rebuild } else { Remedy::SetAside });
        (step.lost, step.note) = ((!lost.is_empty()).then_some(lost), Some(OVERTAKEN.into()));
        match &one.file {
            // It ended where the next one began, as most do.
            _ if cut > base && step.lost.is_none() => {}
            _ if cut > base => self.steps.push(step),
            // It was begun and never written to.
            Some(file) if last_nonzero(&**file, HEADER_BYTES as u64).at("read", &self.home.shown(&path))?.is_none() => {
            }
            _ => self.set_aside(step, path)?,
        }
        Ok(())
    }

    /// All of a file goes.
    fn set_aside(&mut self, mut step: RepairStep, path: PathBuf) -> Result<()> {
        let shown = self.home.shown(&path);
        let file = self.home.seam.dir.open(&path, Access::Read).at("open", &shown)?;
        step.bytes = last_nonzero(&*file, 0).at("read", &shown)?.unwrap_or(0);
        step.files = vec![shown];
        self.steps.push(step);
        self.foreign.push(path);
        Ok(())
    }

    /// Finds out the facts about every segment.
    fn look(&mut self) -> Result<()> {
        let live: Vec<Recorded> = self.evidence.live().copied().collect();
        for (k, &recorded) in live.iter().enumerate() {
            let next = live.get(k + 1).map(|next| next.id.base);
            let cut = self.evidence.lineage.cut_of(recorded.id.epoch);
            let mut one = examine(&self.home, recorded, cut, next, self.start)?;
            let shown = self.home.shown(&self.home.segment_path(recorded.id));
            let problem = one.problem(&shown);
            let headless = one.look_behind_header(&self.home, cut, next, self.start)?.then_some(problem);
            if one.is_unsupported() {
                return Err(one.problem(&shown));
            }
            // A partition may have more segments than a process may have open files.
            one.file = None;
            self.durable_end = self.durable_end.max(one.durable_end);
            self.found.push(Found { one, headless, damage: Vec::new(), fate: Fate::Recover(Decision::Keep) });
        }
        Ok(())
    }

    /// Decides segment by segment, from the first to the last, until one of them must be cut.
    fn decide(&mut self, on_damage: OnDamage) -> Result<()> {
        let mut end: Option<Offset> = None;
        for k in 0..self.found.len() {
            if self.cut.is_some() {
                break;
            }
            let base = self.found[k].one.recorded.id.base;
            if end.is_none() && base > self.start {
                self.begin_at(base);
            }
            match end.filter(|&end| end != base) {
                Some(end) => {
                    let shown = self.home.shown(&self.home.dir);
                    let problem = missing("records", &shown, Some(end.min(base)..end.max(base)));
                    let step = self.cut_at(k, Fate::Drop, end, problem)?;
                    self.steps.push(step);
                }
                None => end = self.decide_one(k, on_damage)?.or(end),
            }
        }
        if self.cut.is_none() {
            self.decide_end(end)?;
        }
        Ok(())
    }

    /// The records in front of the first segment are gone, and the history doesn't say that they were removed.
    fn begin_at(&mut self, base: Offset) {
        let lost = self.start..base;
        let problem = missing("records", &self.home.shown(&self.home.dir), Some(lost.clone()));
        let mut step = self.step(problem, Remedy::Trim { to: base });
        step.lost = Some(lost);
        self.steps.push(step);
        self.start = base;
    }

    /// A clean close told of records that no segment holds, or of fewer.
    fn decide_end(&mut self, last: Option<Offset>) -> Result<()> {
        let end = self.evidence.end_after(last).max(self.start);
        match self.evidence.clean {
            Some(clean) if self.evidence.is_closed() && clean != end => {
                let lost = end.min(clean)..end.max(clean);
                let shown = self.home.shown(&self.home.dir);
                // A close tells of what was synced.
                self.durable_end = self.durable_end.max(clean);
                let problem = missing("records", &shown, Some(lost));
                let step = self.cut_at(self.found.len(), Fate::Drop, end, problem)?;
                self.steps.push(step);
            }
            _ => {}
        }
        Ok(())
    }

    /// Decides about one segment; gives the offset at which the next must begin, if this one stays.
    fn decide_one(&mut self, k: usize, on_damage: OnDamage) -> Result<Option<Offset>> {
        let path = self.home.segment_path(self.found[k].one.recorded.id);
        let shown = self.home.shown(&path);
        if let Some(problem) = self.found[k].headless.take() {
            let mut step = self.step(problem, Remedy::Rebuild);
            step.files = vec![shown.clone()];
            step.note = Some("only the header is written anew; nothing is lost".into());
            self.steps.push(step);
            self.headless.push(k);
            self.found[k].one.header = Header::Valid;
        }
        if self.found[k].one.header == Header::Foreign {
            let mut step = self.step(self.found[k].one.problem(&shown), Remedy::SetAside);
            step.files = vec![shown.clone()];
            self.steps.push(step);
            self.foreign.push(path);
            self.found[k].one.header = Header::Absent;
        }
        if self.found[k].one.told == Told::Sealed {
            self.found[k].one.file = self.file_of(&self.found[k].one)?;
            let end = self.decide_sealed(k, on_damage)?;
            self.found[k].one.file = None;
            return Ok(end);
        }
        let one = &self.found[k].one;
        let (at, scanned) = (one.good_end, one.scan.is_some());
        let cut = if scanned { Fate::Cut } else { Fate::Drop };
        let decision = decide(one.facts(self.durable_end, k + 1 < self.found.len())).decision;
        let problem = match decision {
            Decision::Missing => missing("segment", &shown, None),
            Decision::Corrupt | Decision::Cut | Decision::CutLater => one.problem(&shown),
            decision => {
                self.found[k].fate = Fate::Recover(decision);
                return Ok(scanned.then_some(at));
            }
        };
        let step = self.cut_at(k, cut, at, problem)?;
        if matches!(decision, Decision::Cut | Decision::CutLater) {
            // What a crash did is no damage: recovery would do the same, and does if nothing else is wrong.
            self.torn = Some(step);
        } else {
            self.steps.push(step);
        }
        Ok(None)
    }

    /// Everything in a sealed segment was synced. What is wrong with it is met, and named, by who reads there.
    fn decide_sealed(&mut self, k: usize, on_damage: OnDamage) -> Result<Option<Offset>> {
        let mut damage = self.walk_sealed(k)?;
        let recorded = self.found[k].one.recorded;
        let end = self.evidence.sealed_end(&recorded).expect("is sealed");
        if on_damage != OnDamage::Cut || damage.is_empty() {
            self.found[k].damage = damage;
            return Ok(Some(end));
        }
        let (problem, lost) = damage.swap_remove(0);
        let (fate, at) = match self.found[k].one.scan_sealed(&self.home, end, self.start)? {
            Some(end) => (Fate::Cut, end),
            None => (Fate::Drop, lost.start),
        };
        let step = self.cut_at(k, fate, at, problem)?;
        self.steps.push(step);
        Ok(None)
    }

    /// What of a sealed segment can't be read.
    fn walk_sealed(&self, k: usize) -> Result<Vec<(Error, Range<Offset>)>> {
        let one = &self.found[k].one;
        let id = one.recorded.id;
        let seal = one.recorded.seal.expect("is sealed");
        let shown = self.home.shown(&self.home.segment_path(id));
        let whole = id.base..self.evidence.sealed_end(&one.recorded).expect("is sealed");
        let whole_error = |error: Error| Ok(vec![(error.with_offsets(whole.clone()), whole.clone())]);
        if let (Header::Valid, Some(file)) = (one.header, &one.file) {
            return self.walk_batches(one, file, seal, &whole);
        }
        if whole.end <= self.start {
            return Ok(Vec::new());
        }
        let absent = one.header == Header::Absent;
        whole_error(if absent { missing("segment", &shown, None) } else { one.problem(&shown) })
    }

    /// The batches of a sealed segment that can't be read, those side by side as one, and its end if it was cut.
    fn walk_batches(
        &self,
        one: &Examined,
        file: &Arc<dyn File>,
        seal: Sealed,
        whole: &Range<Offset>,
    ) -> Result<Vec<(Error, Range<Offset>)>> {
        let id = one.recorded.id;
        let shown = self.home.shown(&self.home.segment_path(id));
        let len = usize::try_from(seal.bytes).unwrap_or(usize::MAX);
        let seed = self.home.identity(FileKind::Segment, id).seed();
        let window = Window::new(file.clone(), len.min(one.file_bytes));
        let mut walk = Walk::new(window, seed, id.base, Some(seal.end), whole.end);
        let mut found: Vec<(Bad, Range<Offset>)> = Vec::new();
        while let Some(step) = walk.next().at("read", &shown)? {
            let Walked::Bad(bad) = step else { continue };
            let lost = bad.base..bad.next.unwrap_or(whole.end);
            match found.last_mut() {
                // What lies below the start was given up, whole or not.
                _ if lost.end <= self.start => {}
                // A person does something else about what a later version wrote.
                Some((before, last)) if last.end == lost.start && before.is_unsupported() == bad.is_unsupported() => {
                    last.end = lost.end;
                }
                _ => found.push((bad, lost)),
            }
        }
        let told = |(bad, lost): (Bad, Range<Offset>)| {
            let position = Position::new(bad.position as u64);
            (bad.error.at("batch", &shown, Some(position), Some(lost.clone())), lost)
        };
        let mut damage: Vec<_> = found.into_iter().map(told).collect();
        if (one.file_bytes as u64) < seal.bytes
            && let Some((error, lost)) = damage.last_mut()
        {
            *error = one.short(&shown, seal.bytes).with_offsets(lost.clone());
        }
        Ok(damage)
    }

    /// The partition ends here: segment `k` has this fate, and all behind it leave the log. Gives the step that says so.
    fn cut_at(&mut self, k: usize, fate: Fate, at: Offset, problem: Error) -> Result<RepairStep> {
        let at = at.max(self.start);
        let mut step = self.step(problem, Remedy::Cut { at });
        let mut end = self.durable_end;
        for found in &mut self.found[k..] {
            found.fate = Fate::Drop;
        }
        if let Some(found) = self.found.get_mut(k) {
            found.fate = fate;
        }
        for found in &self.found[k..] {
            let one = &found.one;
            end = end.max(one.recorded.seal.map_or(Offset::ZERO, |seal| seal.end)).max(self.behind(one)?);
            self.count(&mut step, found)?;
        }
        step.lost = (end > at).then_some(at..end);
        self.cut = Some(at);
        Ok(step)
    }

    /// Adds what of a segment leaves the log.
    fn count(&self, step: &mut RepairStep, found: &Found) -> Result<()> {
        let Some(file) = self.file_of(&found.one)? else { return Ok(()) };
        let shown = self.home.shown(&self.home.segment_path(found.one.recorded.id));
        let from = found.cut_from();
        if let Some(last) = last_nonzero(&*file, from).at("read", &shown)? {
            step.bytes += last - from;
            step.files.push(shown);
        }
        Ok(())
    }

    /// The segment's file, if it is one of this log's.
    fn file_of(&self, one: &Examined) -> Result<Option<Arc<dyn File>>> {
        if one.header == Header::Absent || one.file.is_some() {
            return Ok(one.file.clone().filter(|_| one.header != Header::Absent));
        }
        let path = self.home.segment_path(one.recorded.id);
        self.home.seam.dir.open(&path, Access::Read).map(Some).at("open", &self.home.shown(&path))
    }

    /// The offset behind the last whole batch of a segment without a seal, also behind damage.
    fn behind(&self, one: &Examined) -> Result<Offset> {
        let id = one.recorded.id;
        let (Header::Valid | Header::Bad, None, Some(file)) = (one.header, one.recorded.seal, self.file_of(one)?)
        else {
            return Ok(one.good_end);
        };
        let (seed, window) = (self.home.identity(FileKind::Segment, id).seed(), Window::new(file, one.file_bytes));
        let mut walk = Walk::new(window, seed, id.base, None, self.evidence.lineage.cut_of(id.epoch));
        let mut end = one.good_end;
        while let Some(step) = walk.next().at("read", &self.home.shown(&self.home.segment_path(id)))? {
            if let Walked::Batch(_, header) = step {
                end = end.max(header.end());
            }
        }
        Ok(end)
    }

    /// What to do about the damage that keeps nothing else from being read.
    fn go_around(&mut self, on_damage: OnDamage) -> Result<()> {
        let damage: Vec<_> = self.found.iter_mut().flat_map(|found| std::mem::take(&mut found.damage)).collect();
        let Some(behind) = damage.iter().map(|(_, lost)| lost.end).max() else { return Ok(()) };
        let trims = on_damage == OnDamage::Trim;
        for (error, lost) in damage {
            let mut step = self.step(error, if trims { Remedy::Trim { to: behind } } else { Remedy::Keep });
            let is_last = trims && lost.end == behind;
            step.lost = Some(lost);
            if is_last {
                self.trim_to(behind, &mut step)?;
            }
            self.steps.push(step);
        }
        Ok(())
    }

    /// The last damage takes everything in front of it along: all of a segment, but of the newest that stays.
    fn trim_to(&mut self, to: Offset, step: &mut RepairStep) -> Result<()> {
        step.lost = Some(self.start..to);
        self.start = to;
        let newest = self.found.iter().rposition(Found::stays).unwrap_or(0);
        for k in 0..newest {
            if self.evidence.sealed_end(&self.found[k].one.recorded).is_some_and(|end| end <= to) {
                self.found[k].fate = Fate::Drop;
                self.count(step, &self.found[k])?;
            }
        }
        Ok(())
    }

    /// Segments that the history doesn't name and that belong to another log.
    fn strays(&mut self) -> Result<()> {
        for (path, error) in foreign_strays(&self.home, &self.evidence)? {
            let mut step = self.step(error, Remedy::SetAside);
            step.files = vec![self.home.shown(&path)];
            self.steps.push(step);
            self.foreign.push(path);
        }
        Ok(())
    }
}
