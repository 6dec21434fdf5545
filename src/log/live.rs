//! A log as a read-only store sees it: beside a process that appends, rolls, retires, truncates and deletes.
//!
//! Invariant: only what validates is shown; a half-written batch at the live end means "not yet"; what the history says
//! is read anew whenever it has changed. A vanished directory means that the topic was deleted. Nothing is written.

use crate::threads::atomic::Ordering;
use std::io;
use std::sync::Arc;

use super::history::HistoryRead;
use super::read::tail_end;
use super::{Evidence, History, Log, LogView, Part};
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::segment::{Cursor, Home, Segment};

/// What was last seen of the other process.
#[derive(Debug, Default)]
pub(super) struct Live {
    history: Option<HistoryRead>,
    /// How far the unsealed segment was walked.
    tail: Option<Cursor>,
}

impl Live {
    /// What there is to read now. Segments that are still as they were in `before` stay open.
    pub(super) fn view(
        &mut self,
        home: &Arc<Home>,
        evidence: &Evidence,
        before: Option<&LogView>,
    ) -> Result<(LogView, Offset)> {
        let mut parts: Vec<Part> = Vec::new();
        for (i, recorded) in evidence.segments.iter().enumerate() {
            if evidence.is_retired(i) {
                continue;
            }
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
        let end = match parts.last() {
            None => evidence.end_after(None),
            Some(last) => self.end_of(last)?,
        };
        Ok((LogView { parts, start: evidence.start, lineage: Arc::new(evidence.lineage.clone()) }, end))
    }

    fn end_of(&mut self, last: &Part) -> Result<Offset> {
        if last.segment.seal_of().is_some() {
            return Ok(last.end);
        }
        Ok(tail_end(&last.segment, &mut self.tail)?.min(last.end))
    }
}

impl LogView {
    fn same_segment(&self, id: crate::segment::SegmentId, sealed: bool) -> Option<Arc<Segment>> {
        let from = self.parts.partition_point(|part| part.segment.id.base < id.base);
        let near = self.parts[from..].iter().take_while(|part| part.segment.id.base == id.base);
        let mut same = near.filter(|part| part.segment.id == id && part.segment.seal_of().is_some() == sealed);
        same.next().map(|part| part.segment.clone())
    }
}

impl Log {
    /// Looks at what the other process has done since.
    pub(crate) fn refresh(&self) -> Result<()> {
        self.look().map_err(|error| self.deleted_elsewhere(error))
    }

    fn look(&self) -> Result<()> {
        let mut live = self.live.lock();
        let before = self.view();
        let unchanged = match &live.history {
            Some(read) => History::is_unchanged(&self.home, read)?,
            None => false,
        };
        if unchanged {
            let end = before.parts.last().map_or(Ok(self.end()), |last| live.end_of(last))?;
            self.show(end);
            return Ok(());
        }
        let (_, evidence, read) = History::load_with(&self.home)?;
        let (view, end) = live.view(&self.home, &evidence, Some(&before))?;
        live.history = Some(read);
        let began = view.lineage.epochs().len() != before.lineage.epochs().len();
        let mut shown = self.view.write();
        *shown = Arc::new(view);
        if began {
            // Under the lock: whoever gets the new view also sees that places must be admitted anew.
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        drop(shown);
        self.show(end);
        Ok(())
    }

    fn show(&self, end: Offset) {
        self.end.store(end.get(), Ordering::Release);
        self.durable.store(end.get(), Ordering::Release);
    }

    /// A vanished directory means that the writer deleted the topic.
    fn deleted_elsewhere(&self, error: Error) -> Error {
        let topic_dir = self.home.dir.parent().unwrap_or(&self.home.dir);
        match self.home.seam.dir.list(topic_dir) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
                self.owner.deleted();
                self.owner.explain(error)
            }
            _ => error,
        }
    }
}
