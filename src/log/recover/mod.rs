//! Brings a partition back that wasn't closed: decides first, by the [`table`], and writes after.
//!
//! Invariant: nothing above the last durable mark is kept that wasn't copied into blocks written here and synced; nothing
//! below it is ever discarded; cut bytes are copied aside. Interrupted anywhere, recovery comes to the same records again,
//! though what was already cut may then be told by the quarantine alone: new segments come first, then one atomic
//! replacement of the history makes them count, and only then is anything removed.
//! Called by `Log::open`; bytes are judged by `segment::scan` alone.

mod aside;
mod examine;
pub(crate) mod repair;
mod rewrite;
mod stray;
pub(crate) mod table;
#[cfg(test)]
mod table_test;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use aside::Aside;
use examine::{Examined, examine};
pub(super) use stray::{remove, remove_segment, strays, unrecorded};
use table::{Decision, Told, decide};

use super::history::Recorded;
use super::{Begun, Evidence, History};
use crate::error::{Error, IoContext, Result};
use crate::format::Reason;
use crate::io::latch::Latch;
use crate::log::Owner;
use crate::name::TopicName;
use crate::offset::{Offset, Timestamp};
use crate::segment::{Home, missing};

/// What recovery did to one partition, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionRecovery {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: u32,
    /// The offset behind the last record that was kept.
    pub end: Offset,
    /// What was found that was not as a clean close leaves it.
    pub findings: Vec<Finding>,
}

/// One thing that recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The row of the recovery table, such as `tail-torn`.
    pub label: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Where records were cut off, if they were: everything from this offset on in this file.
    pub cut_at: Option<Offset>,
    /// The bytes that were discarded and weren't zero.
    pub cut_bytes: u64,
    /// The bytes that were copied into a new segment, because they weren't known to be durable. Where they stood they stay
    /// as well, and take room until that segment goes: somebody may still read them there.
    pub copied_bytes: u64,
    /// Where the discarded bytes were copied to, or the file was moved. If that failed, a file that is no part of the log
    /// stays where it is, and the next open tries again.
    pub set_aside: Option<PathBuf>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.label, self.path.display())?;
        if let Some(offset) = self.cut_at {
            write!(f, ": cut at offset {offset}, {} bytes discarded", self.cut_bytes)?;
        }
        if self.copied_bytes > 0 {
            write!(f, ": {} unsynced bytes made durable", self.copied_bytes)?;
        }
        if let Some(path) = &self.set_aside {
            write!(f, ", kept in `{}`", path.display())?;
        }
        Ok(())
    }
}

/// What is known without the files: by a process that reopens a partition, which it has written itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Everything below was acknowledged as durable.
    pub(super) durable_end: Offset,
    /// Everything below was published.
    pub(super) end: Offset,
    /// Whether a writer may hold the files and what is reserved in them, so that none is cut, not even behind its end.
    pub(super) is_held: bool,
}

/// Recovers the partition; gives what its history says afterwards.
pub(super) fn recover(
    home: &Arc<Home>,
    owner: &Owner,
    history: &mut History,
    evidence: &Evidence,
    known: Known,
) -> Result<(Evidence, PartitionRecovery)> {
    let examined = examine_all(home, evidence)?;
    let mut plan = Plan::make(home, evidence, &examined, known)?;
    let mut findings: Vec<Finding> = torn_history(evidence, history).into_iter().collect();
    let (mut segments, mut long) = (Vec::new(), Vec::new());
    for step in &plan.steps {
        let carry_out = || rewrite::carry_out(home, step, plan.durable_end, known);
        let (kept, finding) = home.reserve.with_room(carry_out)?;
        long.extend(rewrite::sealed_in_place(home, step.examined, &kept));
        segments.extend(kept);
        findings.extend(finding);
    }
    let recovered = plan.recovered(owner, evidence, home.now(), segments)?;
    home.seam.dir.sync(&home.dir).at("sync", &home.shown(&home.dir))?;
    history.rewrite(&recovered, &Latch::default())?;
    if !known.is_held {
        for (path, end) in long {
            let _stays_long = rewrite::give_back(home, &path, end);
        }
    }
    let report = PartitionRecovery { findings, ..PartitionRecovery::nothing(home, owner, plan.end) };
    Ok((recovered, report))
}

fn torn_history(evidence: &Evidence, history: &History) -> Option<Finding> {
    (evidence.torn_bytes > 0)
        .then(|| Finding { cut_bytes: evidence.torn_bytes as u64, ..Finding::new("history-torn", history.shown()) })
}

impl PartitionRecovery {
    /// Of a partition of which nothing is to be told, so far.
    pub(super) fn nothing(home: &Home, owner: &Owner, end: Offset) -> PartitionRecovery {
        PartitionRecovery { topic: owner.topic.clone(), partition: home.partition, end, findings: Vec::new() }
    }
}

impl Finding {
    fn new(label: &'static str, path: PathBuf) -> Finding {
        Finding { label, path, cut_at: None, cut_bytes: 0, copied_bytes: 0, set_aside: None }
    }
}

/// Looks at every segment that the history names and hasn't retired.
fn examine_all(home: &Arc<Home>, evidence: &Evidence) -> Result<Vec<Examined>> {
    let live: Vec<Recorded> = evidence.live().copied().collect();
    let mut examined = Vec::new();
    for (i, recorded) in live.iter().enumerate() {
        let cut = evidence.lineage.cut_of(recorded.id.epoch);
        let next = live.get(i + 1).map(|next| next.id.base);
        let mut one = examine(home, *recorded, cut, next, evidence.start)?;
        if one.told == Told::Sealed {
            // A partition may have more sealed segments than a process may have open files.
            one.file = None;
        }
        examined.push(one);
    }
    Ok(examined)
}

/// One segment and what is to be done with it.
struct Step<'a> {
    examined: &'a Examined,
    label: &'static str,
    decision: Decision,
}

/// What is to be done, decided before anything is written.
struct Plan<'a> {
    steps: Vec<Step<'a>>,
    durable_end: Offset,
    end: Offset,
    /// Whether records may have been lost, so that a new epoch must say so.
    healed: bool,
}

impl<'a> Plan<'a> {
    fn make(home: &Home, evidence: &Evidence, examined: &'a [Examined], known: Known) -> Result<Plan<'a>> {
        // What the start presumes was synced before it was raised.
        let known_end = known.durable_end.max(evidence.start);
        let durable_end = examined.iter().map(|one| one.durable_end).fold(known_end, Offset::max);
        let mut plan = Plan { steps: Vec::new(), durable_end, end: evidence.end_after(None), healed: false };
        let mut behind_cut = false;
        for (i, one) in examined.iter().enumerate() {
            let row = decide(one.facts(durable_end, i + 1 < examined.len()));
            // What belongs elsewhere is never moved, and once the history is replaced nobody would know that it was named.
            let (label, decision) = match row.decision {
                Decision::Foreign => (row.label, row.decision),
                _ if behind_cut => ("tail-rolled-torn", Decision::Drop),
                decision => (row.label, decision),
            };
            if let Some(error) = refusal(home, one, decision) {
                return Err(error);
            }
            plan.healed |= behind_cut || matches!(decision, Decision::Cut | Decision::CutLater);
            behind_cut |= decision == Decision::CutLater;
            plan.steps.push(Step { examined: one, label, decision });
        }
        let found = plan.found(evidence);
        if found < known.durable_end {
            return Err(missing("records", &home.shown(&home.dir), Some(found..known.durable_end)));
        }
        plan.healed |= found < known.end;
        Ok(plan)
    }

    /// The offset behind the last record that will be kept.
    fn found(&self, evidence: &Evidence) -> Offset {
        let kept = self.steps.iter().filter(|step| step.decision != Decision::Drop).map(|step| step.examined);
        let ends = kept.filter(|one| one.good_end > one.recorded.id.base).map(|one| one.good_end);
        evidence.end_after(ends.max())
    }

    /// What the history is to say when everything is done.
    fn recovered(
        &mut self,
        owner: &Owner,
        evidence: &Evidence,
        now: Timestamp,
        kept: Vec<Recorded>,
    ) -> Result<Evidence> {
        self.end = evidence.end_after(kept.last().and_then(|last| evidence.sealed_end(last)));
        let lineage = if self.healed {
            let epoch = owner.epochs.next()?;
            evidence.lineage.with(Begun { epoch, start: self.end, reason: Reason::Healed, time: now })
        } else {
            evidence.lineage.clone()
        };
        Ok(Evidence { lineage, start: evidence.start, segments: kept, clean: Some(self.end), torn_bytes: 0 })
    }
}

/// Damage in a tail keeps the partition closed until a person decides. Damage in a sealed segment is met, and named, by
/// who reads there; the rest stays readable.
fn refusal(home: &Home, one: &Examined, decision: Decision) -> Option<Error> {
    if one.told == Told::Sealed {
        return None;
    }
    let shown = home.shown(&home.segment_path(one.recorded.id));
    if one.is_unsupported() {
        return Some(one.problem(&shown));
    }
    match decision {
        Decision::Missing => Some(missing("segment", &shown, None)),
        Decision::Corrupt | Decision::Foreign => Some(one.problem(&shown)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_was_cut_copied_and_kept() {
        let mut finding = Finding::new("tail-torn", "a.log".into());
        assert_eq!(finding.to_string(), "tail-torn `a.log`");
        (finding.cut_at, finding.cut_bytes) = (Some(Offset::new(7)), 40);
        (finding.copied_bytes, finding.set_aside) = (9, Some("quarantine/a.log".into()));
        let done = "cut at offset 7, 40 bytes discarded: 9 unsynced bytes made durable, kept in `quarantine/a.log`";
        assert_eq!(finding.to_string(), format!("tail-torn `a.log`: {done}"));
    }
}
