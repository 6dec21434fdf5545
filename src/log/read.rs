//! Reads a log forward, from a place or a start request on.
//!
//! Invariant: a reader never skips, repeats or goes back without an explicit event. It holds the place it stands at; when
//! the lineage has changed since it last looked, that place is admitted anew before anything is read. Sequential reading
//! keeps its cursor and looks nothing up. Called by `topic` and `consumer`; the way goes on to `segment::reader`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admit::{Origin, admit};
use super::resolve::{Request, resolve};
use super::{Log, LogView};
use crate::error::{Corruption, Error, IoContext, Result};
use crate::io::open_if_there;
use crate::offset::{Offset, Timestamp};
use crate::options::{Start, Visibility};
use crate::place::Place;
use crate::segment::{Cursor, Records, Run, Segment, Window, only_zeros, read_one};

/// How many bytes one read gives, about, unless the reader is told otherwise: what was verified is still in the cache of
/// most processors when it is walked.
const READ_BYTES_DEFAULT: usize = 256 << 10;
/// How often a reader in a read-only store looks at what the other process wrote: nobody can wake it.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Where to read from: a place to resume from, or an explicit start. Both convert into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Resume here; refused if the history it belongs to isn't this partition's.
    Place(Place),
    /// Begin here, whatever was read before.
    Start(Start),
}

impl From<Place> for Target {
    fn from(place: Place) -> Target {
        Target::Place(place)
    }
}

impl From<Start> for Target {
    fn from(start: Start) -> Target {
        Target::Start(start)
    }
}

impl Log {
    /// The place that a target stands for now. One that was given stays as it is: it says what its owner has read.
    pub(crate) fn locate(&self, target: Target, origin: Origin<'_>) -> Result<Place> {
        self.owner.check()?;
        self.refresh()?;
        if let Target::Place(place) = target {
            self.is_mine(place)?;
        }
        self.settled(|view, end| {
            // Admitted by the view that is asked: a cut in between would leave an admitted place beyond the end.
            let request = match target {
                Target::Place(place) => Request::Place(admit(place, &view.lineage, end, &self.owner.topic, origin)?),
                Target::Start(start) => Request::Start(start),
            };
            let range = view.start..end;
            let at_time = |time| match view.at_time(time, range.clone()) {
                Err(Error::Corrupt(damage)) if !self.has_moved_on(view)? => before(damage, range.start),
                other => other,
            };
            let next = resolve(request, range.clone(), at_time, |outside| outside.error(self))?;
            // Stamped by the view that was asked: a cut may have put other records in front of it since.
            Ok(match target {
                Target::Place(given) => given,
                Target::Start(_) => self.place_in(view, next),
            })
        })
    }

    /// The first offset whose record isn't older than a time; damage that may hide it is an error.
    pub(crate) fn offset_at(&self, time: Timestamp) -> Result<Offset> {
        self.owner.check()?;
        self.refresh()?;
        self.settled(|view, end| view.at_time(time, view.start..end))
    }

    /// The record at an offset.
    pub(crate) fn get(&self, offset: Offset) -> Result<Records> {
        self.owner.check()?;
        self.refresh()?;
        let run = self.settled(|view, end| {
            if offset < view.start || offset >= end {
                return Err(self.out_of_range(offset));
            }
            let Some(part) = view.part_of(offset) else { return Ok(None) };
            read_one(&part.segment, offset, offset.next().min(part.end)).map_err(|error| below(error, part.end))
        })?;
        let mut records = Records::default();
        if let Some(run) = run {
            records.push(run);
        }
        Ok(records)
    }

    /// What is answered by looking into the files of a view. Retention or a cut may take one between the two looks: an
    /// error is only believed if no other view has taken the place of the one that was asked.
    fn settled<T>(&self, ask: impl Fn(&Arc<LogView>, Offset) -> Result<T>) -> Result<T> {
        loop {
            let (view, end) = self.now();
            match ask(&view, end) {
                Err(_) if self.has_moved_on(&view)? => {}
                Err(error) => return Err(self.explain(error)),
                answer => return answer,
            }
        }
    }

    /// Whether the log's segments are others than in this view.
    fn has_moved_on(&self, view: &Arc<LogView>) -> Result<bool> {
        self.refresh()?;
        Ok(!Arc::ptr_eq(view, &self.view()))
    }

    fn visible_end(&self, visibility: Visibility) -> Offset {
        match visibility {
            Visibility::Written => self.end(),
            Visibility::Durable => self.durable_end(),
        }
    }
}

impl LogView {
    /// The first offset whose record isn't older than `time`; the end if there is none.
    fn at_time(&self, time: Timestamp, range: Range<Offset>) -> Result<Offset> {
        let may_hold = |segment: &Segment| segment.seal_of().is_none_or(|sealed| sealed.greatest >= time);
        for part in self.parts.iter().filter(|part| part.end > range.start && may_hold(&part.segment)) {
            let limit = part.end.min(range.end);
            if let Some(offset) = first_not_older(&part.segment, time, range.start, limit)? {
                return Ok(offset);
            }
        }
        Ok(range.end)
    }
}

/// Where damage hides what a lookup by time was to find, reading begins before it: it tells of it, and can be asked to go
/// around.
fn before(damage: Box<Corruption>, start: Offset) -> Result<Offset> {
    match &damage.offsets {
        Some(offsets) => Ok(offsets.start.max(start)),
        None => Err(Error::Corrupt(damage)),
    }
}

/// The error, without the offsets from `end` on: there the next segment, or the epoch that cut this one, goes on.
fn below(error: Error, end: Offset) -> Error {
    match error {
        Error::Corrupt(mut corruption) => {
            corruption.offsets = corruption.offsets.map(|offsets| offsets.start..offsets.end.min(end));
            Error::Corrupt(corruption)
        }
        other => other,
    }
}

fn first_not_older(segment: &Arc<Segment>, time: Timestamp, first: Offset, limit: Offset) -> Result<Option<Offset>> {
    let mut cursor = Cursor::seek_time(segment, time, first)?;
    loop {
        cursor.pass_older(time)?;
        let Some(run) = cursor.read(first, limit, 1)? else { return Ok(None) };
        let mut records = Records::default();
        records.push(run);
        if let Some(found) = records.iter().find(|record| record.timestamp() >= time) {
            return Ok(Some(found.offset()));
        }
    }
}

/// How far the valid batches of a tail reach that another process writes. `known` remembers the way that was walked.
pub(super) fn tail_end(segment: &Arc<Segment>, known: &mut Option<Cursor>) -> Result<Offset> {
    segment.look_again()?;
    if known.as_ref().is_none_or(|cursor| !Arc::ptr_eq(cursor.segment(), segment)) {
        *known = match Cursor::seek(segment, Offset::MAX) {
            Ok(cursor) => Some(cursor),
            Err(Error::Corrupt(_)) if is_not_begun(segment)? => return Ok(segment.id.base),
            Err(error) => return Err(error),
        };
    }
    known.as_mut().map_or(Ok(segment.id.base), Cursor::walk_on)
}

/// Whether the file isn't there, or holds nothing but zeros: begun and not written yet, or gone again.
fn is_not_begun(segment: &Segment) -> Result<bool> {
    let path = segment.path();
    let shown = segment.home.shown(&path);
    let Some(file) = open_if_there(&*segment.home.seam.dir, &path).at("open", &shown)? else { return Ok(true) };
    let len = usize::try_from(file.len().at("read the length of", &shown)?).unwrap_or(usize::MAX);
    only_zeros(&mut Window::new(file, len), 0).at("read", &shown)
}

/// Reads one partition forward. Has no state outside itself: whoever wants to go on later keeps its
/// [`place`](Reader::place).
pub struct Reader {
    log: Arc<Log>,
    place: Place,
    version: u64,
    cursor: Option<Cursor>,
    visibility: Visibility,
    bytes_max: usize,
    spin: Duration,
    /// Whether the last read gave nothing: in a read-only store what is known of the log may be old.
    idle: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} at {})", self.log.owner.topic, self.place)
    }
}

/// Records that can't be read, and that a reader or consumer went around because it was asked to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Gap {
    /// The partition.
    pub partition: u32,
    /// The first offset that was passed over.
    pub from: Offset,
    /// The offset at which reading goes on.
    pub to: Offset,
    /// Why they can't be read: [`Error::Corrupt`].
    pub reason: Error,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}: the records {}..{} can't be read: {}", self.partition, self.from, self.to, self.reason)
    }
}

impl Reader {
    pub(crate) fn new(log: Arc<Log>, target: Target, origin: Origin<'_>) -> Result<Reader> {
        let version = log.version();
        let place = log.locate(target, origin)?;
        let (visibility, bytes_max) = (Visibility::default(), READ_BYTES_DEFAULT);
        let spin = Duration::ZERO;
        Ok(Reader { log, place, version, cursor: None, visibility, bytes_max, spin, idle: false })
    }

    /// What the reader sees: everything written (the default), or only what is durable.
    #[must_use]
    pub fn visibility(mut self, visibility: Visibility) -> Reader {
        self.visibility = visibility;
        self
    }

    /// About how many bytes one read gives, at least one batch. Default: 256 KiB.
    #[must_use]
    pub fn bytes_max(mut self, bytes: usize) -> Reader {
        self.bytes_max = bytes.max(1);
        self
    }

    /// For so long a [`poll`](Reader::poll) that finds nothing keeps looking before it sleeps. Default: not at all.
    ///
    /// It then has a record about a microsecond after its append, where a processor that sleeps takes tens of them to wake
    /// up, and the appender has nobody to wake. Meanwhile it keeps a processor busy, though it gives way to other threads.
    /// Has no effect in a read-only store.
    #[must_use]
    pub fn spin(mut self, spin: Duration) -> Reader {
        self.spin = spin;
        self
    }

    /// Where it stands: the place behind the last record it gave.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// How many records lie between here and the end of what it may see. Those that retention has removed aren't among
    /// them. It is a number also where the topic was deleted, the store closed, or what it stands behind was cut: that is
    /// for a read to say.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.log.look();
        let next = self.place.next().max(self.log.start());
        self.log.visible_end(self.visibility).since(next)
    }

    /// Goes on somewhere else.
    ///
    /// # Errors
    ///
    /// [`Error::StaleEpoch`], [`Error::Diverged`], [`Error::InvalidPlace`] for a place of another history;
    /// [`Error::OffsetOutOfRange`]; [`Error::TopicDeleted`]; [`Error::Closed`]; [`Error::Io`] and [`Error::Corrupt`] if a
    /// time had to be looked up. The reader stays where it was.
    pub fn seek(&mut self, target: impl Into<Target>) -> Result<()> {
        let Reader { place, version, .. } = Reader::new(self.log.clone(), target.into(), Origin::Caller)?;
        (self.place, self.version, self.cursor, self.idle) = (place, version, None, false);
        Ok(())
    }

    /// The next records, at once: none at the end of the log.
    ///
    /// # Errors
    ///
    /// [`Error::TopicDeleted`]; [`Error::Closed`]; [`Error::Diverged`] if what it stood behind was cut;
    /// [`Error::OffsetOutOfRange`] if retention passed it; [`Error::Corrupt`] for a damaged batch, every time
    /// until [`skip_damaged`](Reader::skip_damaged) goes around it; [`Error::Io`]. The reader stays where it was.
    pub fn read(&mut self) -> Result<Records> {
        if self.log.home.read_only && (self.idle || self.is_at_end()) {
            self.log.refresh()?;
        }
        let mut records = Records::default();
        while records.bytes() < self.bytes_max {
            match self.next_run(self.bytes_max - records.bytes()) {
                Ok(Some(run)) => records.push(run),
                Ok(None) => break,
                Err(_) if !records.is_empty() => break,
                Err(error) => return Err(self.log.explain(error)),
            }
        }
        self.idle = records.is_empty();
        Ok(records)
    }

    /// Goes on behind the damaged batch that it stands before, exactly it, and says what that passes over; `None`, and
    /// nothing moves, if what comes next isn't damaged. Where a segment can't be read at all, that is the rest of it.
    ///
    /// Reading never does this by itself. Its [`place`](Reader::place) behind the gap is like any other.
    ///
    /// ```
    /// use epochlog::{Error, Reader, Records};
    ///
    /// fn read_around(reader: &mut Reader) -> Result<Records, Error> {
    ///     loop {
    ///         match reader.read() {
    ///             Err(damage @ Error::Corrupt(_)) => match reader.skip_damaged()? {
    ///                 Some(gap) => eprintln!("{gap}"),
    ///                 None => return Err(damage),
    ///             },
    ///             other => return other,
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read`](Reader::read), but for the damage that it goes around; that too if nobody can tell where it ends. The
    /// reader stays where it was.
    pub fn skip_damaged(&mut self) -> Result<Option<Gap>> {
        loop {
            let before = self.place;
            let reason = match self.next_run(1).map_err(|error| self.log.explain(error)) {
                Err(reason @ Error::Corrupt(_)) => reason,
                Err(error) => return Err(error),
                Ok(_) => {
                    (self.place, self.cursor) = (before, None);
                    return Ok(None);
                }
            };
            let met_in = self.version;
            let (view, _) = self.admitted_view()?;
            // A cut may have taken the damage away, and other records may have come in its place.
            if self.version == met_in {
                return self.go_around(reason, &view).map(Some);
            }
        }
    }

    /// Goes on behind damage that it stands before in this view.
    fn go_around(&mut self, reason: Error, view: &LogView) -> Result<Gap> {
        let from = self.place.next();
        let Some(part) = view.part_of(from) else { return Err(reason) };
        let Error::Corrupt(corruption) = &reason else { return Err(reason) };
        let to = corruption.offsets.as_ref().map_or(part.end, |offsets| offsets.end).min(part.end);
        if to <= from || to > self.log.end() {
            return Err(reason);
        }
        let partition = self.log.home.partition;
        (self.place, self.cursor) = (Place::new(partition, to, part.segment.id.epoch), None);
        Ok(Gap { partition, from, to, reason })
    }

    /// The next records, waiting for some until the time-out. A waiting reader costs nothing and makes no system call
    /// until it is woken, except in a read-only store, where it looks every 2 ms, and unless it [spins](Reader::spin).
    ///
    /// # Errors
    ///
    /// As [`read`](Reader::read). [`Error::Latched`] instead of waiting, if a sync of the partition has failed: nothing
    /// more comes until it is reopened. What is there is handed out first.
    pub fn poll(&mut self, timeout: Duration) -> Result<Records> {
        let deadline = Instant::now().checked_add(timeout);
        let mut is_late = false;
        loop {
            let records = self.read()?;
            if !records.is_empty() {
                return Ok(records);
            }
            self.log.latched().map_err(|error| self.log.explain(error))?;
            // What there is news of, and isn't found by one more look, is waited for no longer.
            if is_late || !self.wait(deadline) {
                return Ok(records);
            }
            is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        }
    }

    /// Waits until there may be something to read; says whether there is.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        if self.log.home.read_only {
            return wait_and_look(deadline);
        }
        self.log.owner.signal.wait_until(self.spin, deadline, || self.has_news() || self.log.latched().is_err())
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.is_at_end() || self.log.version() != self.version || !self.log.owner.lives()
    }

    fn is_at_end(&self) -> bool {
        self.place.next() >= self.log.visible_end(self.visibility)
    }

    /// The place again, checked against the lineage as it is now.
    fn readmit(&mut self) -> Result<()> {
        let version = self.log.version();
        if version != self.version {
            self.log.admit(self.place, Origin::Caller)?;
            self.version = version;
            self.cursor = None;
        }
        Ok(())
    }

    /// A view in which the place is admitted, and how much of it is shown: what was cut and grown again since the check
    /// isn't in either.
    fn admitted_view(&mut self) -> Result<(Arc<LogView>, Offset)> {
        loop {
            self.readmit()?;
            let view = self.log.view();
            let end = self.log.visible_end(self.visibility);
            if self.log.version() == self.version {
                return Ok((view, end));
            }
        }
    }

    fn next_run(&mut self, bytes_max: usize) -> Result<Option<Run>> {
        loop {
            self.log.owner.check()?;
            let (view, end) = self.admitted_view()?;
            let next = self.place.next();
            if next < view.start {
                return Err(self.log.out_of_range(next));
            }
            if next >= end {
                return Ok(None);
            }
            let read = self.run_from(&view, next, end, bytes_max);
            if let Ok(Some(run)) = &read {
                self.place = Place::new(self.log.home.partition, run.end(), run.epoch);
                return read;
            }
            // Between the look at the view and the one into the file, retention or a cut may have taken that, or a roll begun
            // the next.
            if !self.log.has_moved_on(&view)? {
                return read;
            }
        }
    }

    fn run_from(&mut self, view: &LogView, next: Offset, end: Offset, bytes_max: usize) -> Result<Option<Run>> {
        let Some(part) = view.part_of(next) else { return Ok(None) };
        let limit = part.end.min(end);
        let stands_there = self.cursor.as_ref().is_some_and(|cursor| Arc::ptr_eq(cursor.segment(), &part.segment));
        if !stands_there {
            self.cursor = Some(Cursor::seek(&part.segment, next).map_err(|error| below(error, part.end))?);
        }
        let cursor = self.cursor.as_mut().expect("was just set");
        let read = cursor.read(next, limit, bytes_max).map_err(|error| below(error, part.end));
        if matches!(read, Ok(Some(_))) {
            return read;
        }
        self.cursor = None;
        if stands_there {
            // What it stood on may grow no more: the segment's writer has closed its files since, and opened them again.
            return self.run_from(view, next, end, bytes_max);
        }
        read
    }
}

/// Sleeps a little; false once the deadline has passed.
fn wait_and_look(deadline: Option<Instant>) -> bool {
    let left = deadline.map_or(LOOK_EVERY, |deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_zero() {
        return false;
    }
    std::thread::sleep(left.min(LOOK_EVERY));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, TopicOptions};

    /// The files are away, and the delete that took them hasn't said so yet.
    #[test]
    fn what_a_delete_has_just_taken_is_no_gap() {
        let temp = tempfile::tempdir().expect("makes a directory");
        let data = temp.path().join("data");
        let store = Store::create(&data).expect("creates");
        let topic = store.create_topic("orders", TopicOptions::new().segment_bytes_max(1024)).expect("creates");
        (0..3).for_each(|_| _ = topic.append(&[7; 800]).expect("appends"));
        let mut reader = topic.partition(0).and_then(|one| one.read_from(Start::Earliest)).expect("begins");
        let take = || std::fs::rename(data.join("topics/orders@1"), data.join("taken")).expect("renames");
        let mut skipping = None;
        let rename = || {
            take();
            let skips = std::thread::spawn(move || reader.skip_damaged());
            let begun = Instant::now();
            while !skips.is_finished() && begun.elapsed() < Duration::from_millis(200) {
                std::thread::yield_now();
            }
            skipping = Some(skips);
            Ok(())
        };
        topic.delete(rename).expect("deletes");
        let told = skipping.expect("began").join().expect("ends");
        assert!(matches!(told, Err(Error::TopicDeleted { .. })), "{told:?}");
    }
}
