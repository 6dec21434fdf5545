//! Takes the oldest records away: `trim` by offset, retention by age and by size.
//!
//! Invariant: the new start is durable in the history before a file is unlinked; only whole sealed segments are
//! unlinked, never the newest; a clock that jumps forward deletes nothing. Called by rolls (size only, which is cheap) and
//! by `maintain()`.

use crate::threads::MutexGuard;

use super::recover::remove_segment;
use super::{Appender, Evidence, Log, LogView, Part};
use crate::error::Result;
use crate::format::Entry;
use crate::offset::{Offset, Timestamp};
use crate::segment::SegmentId;

use super::history::Recorded;

/// What `maintain()` did to one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MaintainedLog {
    pub(crate) rolled: bool,
    pub(crate) segments_removed: usize,
    pub(crate) bytes_removed: u64,
}

impl Log {
    /// Raises the start to this offset; whole segments below it are removed.
    pub(crate) fn trim(&self, to: Offset) -> Result<()> {
        let mut appender = self.appender.lock();
        self.owner.check()?;
        self.latched()?;
        if to < self.start() || to > appender.end {
            return Err(self.out_of_range(to));
        }
        if to == self.start() {
            return Ok(());
        }
        // The new start must not outlive the records that it presumes, nor a file vanish before its seal is told.
        if to > self.durable_end() || has_rolled_below(&appender, to) {
            self.sync_under(&mut appender)?;
        }
        self.raise_start(appender, to)
    }

    fn raise_start(&self, mut appender: MutexGuard<'_, Appender>, to: Offset) -> Result<()> {
        self.record_surely(&mut appender, &[Entry::Start { start: to }])?;
        let removed = self.raise_view(to);
        drop(appender);
        self.unlink(&removed);
        // First of all that use the room, or a disk that fills up again and again would have no reserve for long.
        self.home.reserve.keep();
        self.owner.signal.notify();
        Ok(())
    }

    /// Applies the limits by age and size, and takes what holds nothing any more. All is looked at under the lock: a roll
    /// or a truncate may have been faster.
    fn expire(&self, age_now: Option<Timestamp>) -> Result<()> {
        let mut appender = self.appender.lock();
        self.owner.check()?;
        let limits = self.start_by_age(age_now).max(self.start_by_size());
        let Some(start) = limits.max(self.start_above_nothing()) else { return Ok(()) };
        self.latched()?;
        if start > self.durable_end() || has_rolled_below(&appender, start) {
            self.sync_under(&mut appender)?;
        }
        self.raise_start(appender, start)
    }

    /// Rolls by age, applies retention, compacts the history. `age_now` is `None` while the clock isn't trusted.
    pub(crate) fn maintain(&self, age_now: Option<Timestamp>) -> Result<MaintainedLog> {
        let rolled = self.roll_by_age()?;
        let before = self.bytes();
        let parts = self.view().parts.len();
        self.expire(age_now)?;
        self.compact_history()?;
        let view = self.view();
        Ok(MaintainedLog {
            rolled,
            segments_removed: parts.saturating_sub(view.parts.len()),
            bytes_removed: before.saturating_sub(self.bytes()),
        })
    }

    /// At a roll: the limit by size. As long as that needs a sync, half as much again may gather. What fails here, but for
    /// a sync, is done by `maintain()`.
    pub(super) fn expire_by_size(&self, appender: &mut Appender) -> Result<()> {
        let (Some(limit), Some(start)) = (self.owner.options.retention.bytes, self.start_by_size()) else {
            return Ok(());
        };
        if start > self.durable_end() || has_rolled_below(appender, start) {
            if self.bytes() <= limit.saturating_add(limit / 2) {
                return Ok(());
            }
            self.sync_for_append(appender)?;
            if has_rolled_below(appender, start) {
                // For want of room for its seal.
                return Ok(());
            }
        }
        let recorded = {
            let mut history = self.history.lock();
            history
                .append(&[Entry::Start { start }])
                .and_then(|()| history.sync().inspect_err(|_| self.latch_down(&history.shown())))
        };
        match recorded {
            Ok(()) => {
                let removed = self.raise_view(start);
                self.unlink(&removed);
            }
            // Nothing is written behind it, the append at hand neither.
            Err(error) if self.latch.is_down() => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// The start that the limit by age asks for.
    fn start_by_age(&self, now: Option<Timestamp>) -> Option<Offset> {
        let age = i64::try_from(self.owner.options.retention.age?.as_millis()).ok()?;
        let now = now?;
        let view = self.view();
        let expired = expirable(&view).iter().take_while(|part| {
            let sealed = part.segment.seal_of();
            sealed.is_some_and(|sealed| now.as_millis().saturating_sub(sealed.append_time.as_millis()) > age)
        });
        expired.last().map(|part| part.end)
    }

    /// The start that the limit by size asks for.
    fn start_by_size(&self) -> Option<Offset> {
        let limit = self.owner.options.retention.bytes?;
        let view = self.view();
        let mut bytes = self.bytes();
        let expired = expirable(&view).iter().take_while(|part| {
            let over = bytes > limit;
            bytes = bytes.saturating_sub(part.segment.seal_of().map_or(0, |sealed| sealed.bytes));
            over
        });
        expired.last().map(|part| part.end)
    }

    /// The start as it is, if the segment below it was the newest when it was raised and can go now.
    fn start_above_nothing(&self) -> Option<Offset> {
        let view = self.view();
        expirable(&view).iter().take_while(|part| part.end <= view.start).last().map(|part| part.end)
    }

    fn raise_view(&self, start: Offset) -> Vec<SegmentId> {
        let mut removed = Vec::new();
        self.replace_view(|view| {
            debug_assert!(start >= view.start, "a start never goes back");
            let newest = view.parts.last().map(|part| part.segment.id);
            let gone = |part: &Part| part.end <= start && Some(part.segment.id) != newest;
            removed = view.parts.iter().filter(|part| gone(part)).map(|part| part.segment.id).collect();
            let parts = view.parts.iter().filter(|part| !gone(part)).cloned().collect();
            LogView { parts, start, lineage: view.lineage.clone() }
        });
        removed
    }

    pub(super) fn unlink(&self, removed: &[SegmentId]) {
        for &id in removed {
            // The history says that they are gone; whatever fails here is done by the next open.
            let _left_over = remove_segment(&self.home, id);
        }
    }

    /// Replaces a history that is mostly about removed segments.
    fn compact_history(&self) -> Result<()> {
        let appender = self.appender.lock();
        self.owner.check()?;
        self.latched()?;
        if !appender.rolled.is_empty() {
            // Their seals come later, and must find them named.
            return Ok(());
        }
        let evidence = self.evidence(&appender);
        let mut history = self.history.lock();
        if !history.is_worth_compacting(&evidence) {
            return Ok(());
        }
        let _alone = self.alone_with_names()?;
        history.rewrite(&evidence, &self.latch).inspect_err(|_| self.owner.signal.notify())
    }

    /// What a new history would say of the log as it is now.
    fn evidence(&self, appender: &Appender) -> Evidence {
        let view = self.view();
        let is_rolled = |id: SegmentId| appender.rolled.iter().any(|rolled| rolled.id == id);
        let recorded = |part: &Part| {
            let seal = part.segment.seal_of().copied().filter(|_| !is_rolled(part.segment.id));
            Recorded::new(part.segment.id, seal)
        };
        Evidence {
            lineage: (*view.lineage).clone(),
            start: view.start,
            segments: view.parts.iter().map(recorded).collect(),
            clean: (!appender.unclean).then_some(appender.end),
            torn_bytes: 0,
        }
    }
}

/// Whether a segment that begins below an offset still waits for its seal.
fn has_rolled_below(appender: &Appender, offset: Offset) -> bool {
    appender.rolled.iter().any(|rolled| rolled.id.base < offset)
}

/// The parts that retention may take: sealed ones, never the newest. The first may hold nothing any more.
fn expirable(view: &LogView) -> &[Part] {
    &view.parts[..view.parts.len().saturating_sub(1)]
}

/// Whether retention by age may be applied: wall time must not have run ahead of monotonic time by more than this.
const CLOCK_JUMP_MS_MAX: i64 = 60 * 60 * 1000;

/// Whether the wall clock moved since `since` about as much as the monotonic one did.
pub(crate) fn may_expire(since: (Timestamp, u64), now: (Timestamp, u64)) -> bool {
    let wall = now.0.as_millis().saturating_sub(since.0.as_millis());
    let monotonic = i64::try_from(now.1.saturating_sub(since.1)).unwrap_or(i64::MAX);
    wall.saturating_sub(monotonic) <= CLOCK_JUMP_MS_MAX
}
