//! Appends a batch: under one lock, all or nothing.
//!
//! Invariant: within one epoch an offset names one record for ever. So the first append of a session begins a new epoch,
//! durably, before its first record is published; and nothing is published unless it is whole. The order of locks is
//! appender, then history, then view. The way of the record goes on to `segment::writer` and, for a durable
//! acknowledgement, to `sync`.

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;

use super::history::{remove_if_there, seal_entry};
use super::{Begun, History, LogView, Part, clean_entry};
use crate::error::{Error, Result};
use crate::format::{BATCH_HEADER_BYTES, Draft, Entry, HEADER_BYTES, Reason, payload_bytes};
use crate::io::File;
use crate::log::Log;
use crate::offset::{Epoch, Offset, Timestamp};
use crate::options::Durability;
use crate::place::Place;
use crate::record::Record;
use crate::segment::{Prepared, RestingWriter, Sealed, SegmentId, SegmentWriter};
use crate::threads::atomic::Ordering;

/// An acknowledgement: which records, where to go on behind them, and what it survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    place: Place,
    base: Offset,
    durability: Durability,
}

impl Ack {
    /// The place behind the records: where a reader goes on that has seen them.
    #[must_use]
    pub fn next(&self) -> Place {
        self.place
    }

    /// The partition they went to.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.place.partition()
    }

    /// The offset of the first of them.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.base
    }

    /// The offsets of all of them.
    #[must_use]
    pub fn offsets(&self) -> Range<Offset> {
        self.base..self.place.next()
    }

    /// What it survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }
}

/// So many full segments may wait for their sync, with their files open.
const ROLLED_MAX: usize = 16;

/// Where records went.
#[derive(Clone, Copy)]
struct Written {
    base: Offset,
    end: Offset,
    epoch: Epoch,
    /// Whether files were opened for them.
    woke: bool,
}

/// What only the appender touches.
#[derive(Debug)]
pub(super) struct Appender {
    /// The epoch that this session writes in; begun by its first append.
    pub(super) session: Option<Epoch>,
    pub(super) writer: Option<SegmentWriter>,
    /// In place of the writer while its files are closed.
    pub(super) resting: Option<RestingWriter>,
    /// Whether the store knows that files are open here; see `rest`.
    pub(super) noted: bool,
    pub(super) end: Offset,
    /// Segments of this session whose bytes aren't known to be synced. Their files stay open until they are.
    pub(super) rolled: Vec<Rolled>,
    /// How many segments this session has created, and how many of their names are known to be synced.
    pub(super) created: u64,
    pub(super) created_synced: u64,
    /// Bytes ever written by this session.
    pub(super) written_bytes: u64,
    /// Whether the history no longer ends with a clean close.
    pub(super) unclean: bool,
    pub(super) append_time: Timestamp,
}

/// A full segment that waits for its sync.
#[derive(Clone, Debug)]
pub(super) struct Rolled {
    pub(super) id: SegmentId,
    pub(super) sealed: Sealed,
    /// Bytes ever written by this session up to its end.
    pub(super) written_bytes: u64,
    /// `None` if every byte is synced.
    pub(super) file: Option<Arc<dyn File>>,
}

impl Appender {
    /// Nothing was appended in this session yet; the append before it was at `append_time`.
    pub(super) fn idle(end: Offset, append_time: Timestamp) -> Appender {
        Appender {
            session: None,
            writer: None,
            resting: None,
            noted: false,
            end,
            rolled: Vec::new(),
            created: 0,
            created_synced: 0,
            written_bytes: 0,
            unclean: false,
            append_time,
        }
    }
}

impl Log {
    /// Appends the records as one batch.
    pub(crate) fn append(&self, records: &[Record<'_>], durability: Durability) -> Result<Ack> {
        let Written { base, end, epoch, woke } = self.write(records).inspect_err(|_| self.woke_in_vain())?;
        if woke {
            self.woke();
        }
        let place = Place::new(self.home.partition, end, epoch);
        if durability == Durability::Durable {
            self.wait_durable(place)?;
        } else {
            self.sync_if_due(place)?;
        }
        Ok(Ack { place, base, durability })
    }

    #[inline]
    fn write(&self, records: &[Record<'_>]) -> Result<Written> {
        let now = self.home.now();
        let mut asked = false;
        loop {
            let mut appender = self.appender.lock();
            self.owner.check()?;
            self.latched()?;
            if records.is_empty() {
                let end = appender.end;
                return Ok(Written { base: end, end, epoch: self.view().lineage.epoch_before(end), woke: false });
            }
            let append_time = now.max(appender.append_time).max(Timestamp::from_millis(0));
            let payload = self.checked_size(records, append_time)?;
            if self.is_at_cap(&appender, payload) {
                if asked {
                    // By what others have appended during that sync. Now nobody comes in between.
                    self.sync_for_append(&mut appender)?;
                } else {
                    drop(appender);
                    asked = true;
                    match self.sync() {
                        // What was lost is told to those who wait for it; of these records none is written.
                        Ok(()) | Err(Error::Diverged { .. }) => continue,
                        Err(error) => return Err(error),
                    }
                }
            }
            self.make_room(&mut appender, payload, append_time)?;
            let base = appender.end;
            let draft = Draft { base, append_time, mark: self.mark(base), records };
            let unsynced = self.sync.unsynced_bytes(appender.written_bytes);
            let writer = appender.writer.as_mut().expect("make_room leaves a writer");
            appender.written_bytes += writer.append(&draft, payload, unsynced)? as u64;
            let end = base.plus(records.len() as u64);
            let epoch = appender.session.expect("a writer has an epoch");
            appender.end = end;
            appender.append_time = append_time;
            let woke = !std::mem::replace(&mut appender.noted, true);
            self.end.store(end.get(), Ordering::Release);
            drop(appender);
            self.owner.signal.notify();
            return Ok(Written { base, end, epoch, woke });
        }
    }

    /// How far below this offset everything is known to be durable.
    fn mark(&self, base: Offset) -> u32 {
        u32::try_from(base.since(self.durable_end())).unwrap_or(u32::MAX)
    }

    /// Whether the records fit a segment as one batch: for who has to know of several before anything is written. The
    /// times that records bring along take a byte or two more as time passes, which is all that may be other when it
    /// comes to the append.
    pub(crate) fn check_size(&self, records: &[Record<'_>]) -> Result<()> {
        let now = self.home.now().max(self.appender.lock().append_time);
        self.checked_size(records, now).map(drop)
    }

    /// The payload's size, if it can fit a segment at all.
    #[inline(always)]
    fn checked_size(&self, records: &[Record<'_>], append_time: Timestamp) -> Result<usize> {
        let size = payload_bytes(records, append_time);
        let limit = self.owner.options.segment_bytes_max - (HEADER_BYTES + BATCH_HEADER_BYTES) as u64;
        if size <= limit && u32::try_from(records.len()).is_ok() {
            return Ok(usize::try_from(size).expect("a segment fits into memory"));
        }
        let what = if records.len() == 1 { "record" } else { "batch" };
        Err(Error::TooLarge { what, size, limit })
    }

    /// Whether what isn't synced has to be first: too many bytes, or too many files.
    fn is_at_cap(&self, appender: &Appender, payload: usize) -> bool {
        let unsynced = self.sync.unsynced_bytes(appender.written_bytes);
        let bytes_max = self.owner.options.unsynced_bytes_max;
        unsynced > 0 && (unsynced + payload as u64 > bytes_max || appender.rolled.len() >= ROLLED_MAX)
    }

    /// Leaves a writer with room for the payload: opens its files again, begins the session, rolls, or does nothing.
    fn make_room(&self, appender: &mut Appender, payload: usize, now: Timestamp) -> Result<()> {
        match &appender.writer {
            Some(writer) if writer.fits(payload) && !self.is_aged(|| writer.written_since(), now) => Ok(()),
            Some(_) => self.roll(appender),
            None => self.begin_or_resume(appender, payload, now),
        }
    }

    #[cold]
    fn begin_or_resume(&self, appender: &mut Appender, payload: usize, now: Timestamp) -> Result<()> {
        let Some(resting) = &appender.resting else { return self.begin(appender) };
        appender.writer = Some(resting.resume()?);
        appender.resting = None;
        self.make_room(appender, payload, now)
    }

    /// Whether a segment that holds something since then is due to be rolled: by default once its records are due to go.
    fn is_aged(&self, since: impl Fn() -> Option<Timestamp>, now: Timestamp) -> bool {
        let options = &self.owner.options;
        let Some(max) = options.segment_age.or(options.retention.age) else { return false };
        let Some(since) = since() else { return false };
        let age = now.as_millis().saturating_sub(since.as_millis());
        age >= i64::try_from(max.as_millis()).unwrap_or(i64::MAX)
    }

    /// Begins the session's first segment, and its epoch if it has none yet.
    fn begin(&self, appender: &mut Appender) -> Result<()> {
        let begun = match appender.session {
            Some(_) => None,
            None => Some(self.new_epoch(appender.end, Reason::Session)?),
        };
        let epoch = begun.map(|begun| begun.epoch).or(appender.session).expect("one of the two");
        let writer = self.create_segment(SegmentId { base: appender.end, epoch }, None)?;
        let id = writer.segment.id;
        let mut entries: Vec<Entry> = begun.iter().map(Begun::entry).collect();
        entries.push(Entry::Roll { base: id.base, epoch: id.epoch });
        if let Err(error) = self.record(appender, &entries) {
            self.abandon(id);
            return Err(error);
        }
        appender.created += 1;
        self.replace_view(|view| view.with_active(&writer, begun));
        if begun.is_some() {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        appender.session = Some(epoch);
        appender.writer = Some(writer);
        Ok(())
    }

    pub(super) fn new_epoch(&self, start: Offset, reason: Reason) -> Result<Begun> {
        Ok(Begun { epoch: self.owner.epochs.next()?, start, reason, time: self.home.now() })
    }

    /// Appends to the history durably; a failed sync latches.
    fn record(&self, appender: &mut Appender, entries: &[Entry]) -> Result<()> {
        self.record_by(appender, |history| history.append(entries))
    }

    /// The same for lines that must be told also on a full disk: no append, but what gives room back.
    pub(super) fn record_surely(&self, appender: &mut Appender, entries: &[Entry]) -> Result<()> {
        self.record_by(appender, |history| history.append_surely(entries))
    }

    fn record_by(&self, appender: &mut Appender, append: impl FnOnce(&mut History) -> Result<()>) -> Result<()> {
        let mut history = self.history.lock();
        append(&mut history)?;
        appender.unclean = true;
        history.sync().inspect_err(|_| self.latch_down(&history.shown()))
    }

    fn create_segment(&self, id: SegmentId, prepared: Option<Prepared>) -> Result<SegmentWriter> {
        let create = |prepared| SegmentWriter::create(&self.home, id, self.owner.options.segment_bytes_max, prepared);
        match create(prepared) {
            // A creation that failed, and then couldn't be taken back, has left its files: they would be in the way of
            // every append until the next open.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists && !self.has_segment(id) => {
                self.abandon(id);
                create(None)
            }
            other => other,
        }
    }

    fn has_segment(&self, id: SegmentId) -> bool {
        self.view().parts.iter().any(|part| part.segment.id == id)
    }

    /// Takes back the files of a segment that never became part of the log. Recovery would do the same.
    fn abandon(&self, id: SegmentId) {
        for path in [self.home.segment_path(id), self.home.index_path(id)] {
            let _left_over = remove_if_there(&self.home, &path);
        }
    }

    /// Begins the next segment of the same epoch. The full one waits for its sync, and its seal.
    pub(super) fn roll(&self, appender: &mut Appender) -> Result<()> {
        let epoch = appender.session.expect("a writer has an epoch");
        let prepared = appender.writer.as_ref().and_then(SegmentWriter::take_next);
        let next = self.create_segment(SegmentId { base: appender.end, epoch }, prepared)?;
        let id = next.segment.id;
        if let Err(error) = self.history.lock().append(&[Entry::Roll { base: id.base, epoch: id.epoch }]) {
            self.abandon(id);
            return Err(error);
        }
        appender.created += 1;
        self.retire_writer(appender);
        self.replace_view(|view| view.with_active(&next, None));
        appender.writer = Some(next);
        self.expire_by_size(appender)
    }

    /// Gives up the active segment: nothing more is added to it.
    pub(super) fn retire_writer(&self, appender: &mut Appender) {
        let (segment, sealed, lengths, file) = match (appender.writer.take(), appender.resting.take()) {
            (Some(writer), _) => {
                let (sealed, lengths) = (writer.sealed(), writer.lengths());
                let (segment, file) = (writer.segment.clone(), writer.file().clone());
                self.home.runner.later(move || writer.trim());
                (segment, sealed, lengths, Some(file))
            }
            (None, Some(resting)) => (resting.segment.clone(), resting.sealed(), resting.lengths(), resting.trim()),
            (None, None) => return,
        };
        let written_bytes = appender.written_bytes;
        appender.rolled.push(Rolled { id: segment.id, sealed, written_bytes, file });
        segment.seal(sealed, lengths);
        self.replace_view(|view| view.with_sealed(sealed.end));
    }

    /// Rolls the active segment if it is too old.
    pub(super) fn roll_by_age(&self) -> Result<bool> {
        let mut appender = self.appender.lock();
        self.owner.check()?;
        self.latched()?;
        let now = self.home.now();
        match (&appender.writer, &appender.resting) {
            (Some(writer), _) if self.is_aged(|| writer.written_since(), now) => {
                self.roll(&mut appender).map(|()| true)
            }
            (None, Some(resting)) if self.is_aged(|| resting.written_since(), now) => {
                // The next one begins with the next append.
                self.retire_writer(&mut appender);
                self.sync_under(&mut appender).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Makes everything durable and says so in the history, so that the next open scans nothing.
    pub(crate) fn close(&self) -> Result<()> {
        let mut appender = self.appender.lock();
        // Also if nothing was appended: a history may be compacted, and its name not be durable.
        self.latched()?;
        if !appender.unclean {
            return Ok(());
        }
        self.retire_writer(&mut appender);
        self.sync_under(&mut appender)?;
        let mut history = self.history.lock();
        history.append_surely(&[clean_entry(appender.end)])?;
        history.sync().inspect_err(|_| self.latch_down(&history.shown()))?;
        appender.unclean = false;
        Ok(())
    }

    /// Keeps everybody from appending until what this gives is dropped.
    pub(crate) fn hold(&self) -> impl Drop {
        self.appender.lock()
    }

    /// Marks everything that was rolled as sealed in the history. The entries become durable with its next sync.
    pub(super) fn record_seals(&self, rolled: &[Rolled]) -> Result<()> {
        if rolled.is_empty() {
            return Ok(());
        }
        let entries: Vec<Entry> = rolled.iter().map(|rolled| seal_entry(rolled.id, &rolled.sealed)).collect();
        self.history.lock().append(&entries)
    }
}

impl LogView {
    fn with_active(&self, writer: &SegmentWriter, begun: Option<Begun>) -> LogView {
        let mut parts = self.parts.clone();
        parts.push(Part { segment: writer.segment.clone(), end: Offset::MAX });
        let lineage = match begun {
            Some(begun) => Arc::new(self.lineage.with(begun)),
            None => self.lineage.clone(),
        };
        LogView { parts, start: self.start, lineage }
    }

    fn with_sealed(&self, end: Offset) -> LogView {
        let mut parts = self.parts.clone();
        if let Some(last) = parts.last_mut() {
            last.end = end;
        }
        parts.retain(|part| part.segment.id.base < part.end);
        LogView { parts, start: self.start, lineage: self.lineage.clone() }
    }
}
