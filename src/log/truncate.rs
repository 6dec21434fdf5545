//! Truncate: the newest records are taken back, and a new epoch begins where they stood.
//!
//! Invariant: no byte below a published end changes. The cut is one line in the history, `Epoch(truncated)`; a segment
//! that reaches beyond it is read only up to the cut, segments behind it are removed. Living readers, consumers and
//! waiters are admitted anew and learn of the fork, though their offset may be in range again.

use crate::threads::atomic::Ordering;
use std::sync::Arc;

use super::{Log, LogView, Part};
use crate::error::Result;
use crate::format::Reason;
use crate::offset::Offset;
use crate::segment::SegmentId;

impl Log {
    /// Takes back every record from `to` on.
    pub(crate) fn truncate(&self, to: Offset) -> Result<()> {
        let mut appender = self.appender.lock();
        self.owner.check()?;
        self.latched()?;
        if to < self.start() || to > appender.end {
            return Err(self.out_of_range(to));
        }
        if to == appender.end {
            return Ok(());
        }
        // Everything first becomes whole and durable, so that nobody who waits for a record of the old epoch waits on.
        self.retire_writer(&mut appender);
        // If one of the next steps fails, the next append begins an epoch of its own, and with it a file of another name.
        appender.session = None;
        self.sync_under(&mut appender)?;
        let begun = self.new_epoch(to, Reason::Truncated)?;
        self.record_surely(&mut appender, &[begun.entry()])?;
        appender.session = Some(begun.epoch);
        appender.end = to;
        // Before the view: a reader that saw a greater end than there are segments would look again and again.
        self.end.store(to.get(), Ordering::Release);
        self.durable.store(to.get(), Ordering::Release);
        let removed = self.cut_view(to, begun);
        self.version.fetch_add(1, Ordering::AcqRel);
        drop(appender);
        self.sync.wake();
        self.owner.signal.notify();
        self.unlink(&removed);
        self.home.reserve.keep();
        Ok(())
    }

    fn cut_view(&self, to: Offset, begun: super::Begun) -> Vec<SegmentId> {
        let mut removed = Vec::new();
        self.replace_view(|view| {
            let (kept, cut): (Vec<Part>, Vec<Part>) =
                view.parts.iter().cloned().partition(|part| part.segment.id.base < to);
            removed = cut.iter().map(|part| part.segment.id).collect();
            let parts = kept.into_iter().map(|part| Part { end: part.end.min(to), ..part }).collect();
            LogView { parts, start: view.start, lineage: Arc::new(view.lineage.with(begun)) }
        });
        removed
    }
}
