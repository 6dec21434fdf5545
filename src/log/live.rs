//! A log as a read-only store sees it: beside a process that appends, rolls, retires, truncates and deletes.
//!
//! Invariant: only what validates is shown; a half-written batch at the live end means "not yet"; what the history says
//! is read anew whenever it has changed. Only what the files say was synced is called durable. A vanished directory means
//! that the topic was deleted. Nothing is written. Called wherever a log is asked.

use crate::threads::atomic::Ordering;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::history::HistoryRead;
use super::read::tail_end;
use super::{Evidence, History, Log, LogView, Owner, Part};
use crate::error::{Error, Result};
use crate::io::{LOOKS_MAX, Seam};
use crate::offset::Offset;
use crate::segment::{Cursor, Home, Segment};

/// What was last seen of the other process.
#[derive(Debug, Default)]
pub(super) struct Live {
    history: Option<HistoryRead>,
    /// How far the unsealed segment was walked.
    tail: Option<Cursor>,
}

/// How far a log reaches, and how far of it is known to be durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) end: Offset,
    pub(super) durable: Offset,
}

impl Live {
    /// What there is to read now. Segments that are still as they were in `before` stay open.
    pub(super) fn see(&mut self, home: &Arc<Home>, before: Option<&LogView>) -> Result<(LogView, Extent)> {
        let mut looks = LOOKS_MAX;
        loop {
            let (_, evidence, read) = History::load_with(home)?;
            let view = view_of(home, &evidence, before);
            looks -= 1;
            match look_at_rolled(&view).and_then(|()| self.extent_of(&view)) {
                Ok(extent) => {
                    self.history = Some(read);
                    return Ok((view, extent));
                }
                // The writer may have taken away what the history named when it was read.
                Err(error) if looks == 0 || History::is_unchanged(home, &read)? => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn is_current(&self, home: &Home) -> Result<bool> {
        self.history.as_ref().map_or(Ok(false), |read| History::is_unchanged(home, read))
    }

    fn extent_of(&mut self, view: &LogView) -> Result<Extent> {
        let Some(last) = view.parts.last() else {
            let end = view.lineage.newest().start.max(view.start);
            return Ok(Extent { end, durable: end });
        };
        let end = match last.segment.seal_of() {
            Some(_) => last.end,
            None => tail_end(&last.segment, &mut self.tail)?.min(last.end),
        };
        Ok(Extent { end, durable: self.known_durable(view, last).min(end) })
    }

    /// A seal says that its segment is synced, a batch how far everything was when it was written. The newest batch knows
    /// most.
    fn known_durable(&self, view: &LogView, last: &Part) -> Offset {
        let unsealed = view.parts.iter().find(|part| part.segment.seal_of().is_none());
        let sealed = unsealed.map_or(last.end, |part| part.segment.id.base);
        let tail = self.tail.as_ref().filter(|tail| Arc::ptr_eq(tail.segment(), &last.segment));
        // No start is raised above what is synced.
        sealed.max(view.start).max(tail.map_or(Offset::ZERO, Cursor::known_durable))
    }
}

/// Sees all of the segments that were rolled and have no seal yet: they may have grown since they were opened. By then the
/// history told of the next one, so they grow no more.
fn look_at_rolled(view: &LogView) -> Result<()> {
    let before_last = view.parts.split_last().map_or(&[][..], |(_, before)| before);
    let mut rolled = before_last.iter().filter(|part| part.segment.seal_of().is_none());
    rolled.try_for_each(|part| part.segment.look_again())
}

/// What the history says there is. Where an unsealed segment ends is not said there.
fn view_of(home: &Arc<Home>, evidence: &Evidence, before: Option<&LogView>) -> LogView {
    let mut parts: Vec<Part> = Vec::new();
    for recorded in evidence.live() {
        if let Some(last) = parts.last_mut() {
            last.end = last.end.min(recorded.id.base);
        }
        let cut = evidence.lineage.cut_of(recorded.id.epoch);
        let known = before.and_then(|before| before.same_segment(recorded.id, recorded.seal.is_some()));
        let (segment, end) = match recorded.seal {
            Some(sealed) => (known.unwrap_or_else(|| Segment::sealed(home, recorded.id, sealed)), sealed.end),
            None => (known.unwrap_or_else(|| Segment::foreign_tail(home, recorded.id)), Offset::MAX),
        };
        parts.push(Part { segment, end: end.min(cut) });
    }
    LogView { parts, start: evidence.start, lineage: Arc::new(evidence.lineage.clone()) }
}

impl LogView {
    pub(super) fn same_segment(&self, id: crate::segment::SegmentId, sealed: bool) -> Option<Arc<Segment>> {
        let from = self.parts.partition_point(|part| part.segment.id.base < id.base);
        let near = self.parts[from..].iter().take_while(|part| part.segment.id.base == id.base);
        let mut same = near.filter(|part| part.segment.id == id && part.segment.seal_of().is_some() == sealed);
        same.next().map(|part| part.segment.clone())
    }

    /// Whether it shows the same, of segments that `other` has taken over from it.
    fn is_same(&self, other: &LogView) -> bool {
        let same_part = |(a, b): (&Part, &Part)| Arc::ptr_eq(&a.segment, &b.segment) && a.end == b.end;
        let epochs = |view: &LogView| view.lineage.epochs().len();
        self.start == other.start
            && epochs(self) == epochs(other)
            && self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(same_part)
    }
}

impl Log {
    /// Sees what the writing process has done since, in a read-only store; there is nothing to see in another.
    #[inline]
    pub(crate) fn refresh(&self) -> Result<()> {
        if self.home.read_only { self.see_beside() } else { Ok(()) }
    }

    #[cold]
    fn see_beside(&self) -> Result<()> {
        let topic_dir = self.home.dir.parent().unwrap_or(&self.home.dir);
        self.see().map_err(|error| self.owner.explain_beside(&self.home.seam, topic_dir, self.mine(error)))
    }

    /// The same for who can't tell that it failed: what can't be read now leaves what was last seen.
    pub(crate) fn look(&self) {
        let _stays_as_it_was = self.refresh();
    }

    fn see(&self) -> Result<()> {
        let mut live = self.live.lock();
        let before = self.view();
        if live.is_current(&self.home)?
            && let Ok(extent) = live.extent_of(&before)
        {
            self.show(extent, self.durable_end());
            return Ok(());
        }
        let (view, extent) = live.see(&self.home, Some(&before))?;
        if before.is_same(&view) {
            // Whoever asks whether anything has changed is not to ask for ever, beside a history whose end is torn.
            self.show(extent, self.durable_end());
            return Ok(());
        }
        let (epochs, had) = (view.lineage.epochs(), before.lineage.epochs().len());
        let began = epochs.len() != had;
        let known_durable = epochs.iter().skip(had).map(|begun| begun.start).fold(self.durable_end(), Offset::min);
        let mut shown = self.view.write();
        *shown = Arc::new(view);
        // Under the lock: whoever gets the new view also sees that places must be admitted anew, and up to where.
        self.show(extent, known_durable);
        if began {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// What was once known to be durable stays so, though the batches that said it are no longer the newest.
    fn show(&self, extent: Extent, known_durable: Offset) {
        self.end.store(extent.end.get(), Ordering::Release);
        self.durable.store(extent.durable.max(known_durable).min(extent.end).get(), Ordering::Release);
    }
}

impl Owner {
    /// An error beside a writer in another process, read in the topic's directory: if that has vanished, the writer has
    /// deleted the topic.
    pub(crate) fn explain_beside(&self, seam: &Seam, topic_dir: &Path, error: Error) -> Error {
        match seam.dir.list(topic_dir) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
                self.deleted();
                self.explain(error)
            }
            _ => error,
        }
    }
}
