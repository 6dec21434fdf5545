//! What reading gives: [`Records`], which own or keep alive their bytes, and [`RecordView`], lent from them.
//!
//! Invariant: every batch in a [`Run`] was verified, header, payload and records, before the run was made, so walking it
//! can't fail. Records hold neither the store nor its lock. Made by `segment::reader`, gathered by `log::read`.

use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

pub use crate::format::Headers;
use crate::format::{BatchHeader, RawRecord, Usual, next_record};
use crate::io::View;
use crate::offset::{Epoch, Offset, Timestamp};
use crate::place::Place;

/// Verified batches that stand one behind the other in one segment.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) view: View,
    pub(crate) partition: u32,
    pub(crate) epoch: Epoch,
    /// Records before this offset are left out.
    pub(crate) first: Offset,
    /// Records from this offset on are left out.
    pub(crate) limit: Offset,
    /// The offset of its first batch.
    pub(crate) base: Offset,
    /// The offset behind its last batch.
    pub(crate) behind: Offset,
    /// Whether there is a record for every offset between them.
    pub(crate) dense: bool,
}

/// Records that were read: owned, `Send`, verified. Walking them can't fail.
///
/// They keep their bytes alive on their own: the store may be closed, and its lock released, while they live. A child that
/// the process forked must not look at them, nor at `Bytes` of them: what is written through a map isn't inherited.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// One nearly always: then nothing is allocated.
    runs: SmallVec<[Run; 1]>,
    len: usize,
    bytes: usize,
}

impl Records {
    pub(crate) fn push(&mut self, run: Run) {
        self.bytes += run.view.len();
        self.len += count(&run);
        self.runs.push(run);
    }

    pub(crate) fn append(&mut self, mut others: Records) {
        if self.runs.is_empty() {
            *self = others;
            return;
        }
        self.bytes += others.bytes;
        self.len += others.len;
        self.runs.append(&mut others.runs);
    }

    /// The bytes that were read for them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none: the end of the log was reached, or the time-out passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first of them.
    #[must_use]
    pub fn first(&self) -> Option<RecordView<'_>> {
        self.iter().next()
    }

    /// The last of them: behind it whoever has seen all goes on, where they are of one partition. Takes a walk over the
    /// batches that were read last.
    #[must_use]
    pub fn last(&self) -> Option<RecordView<'_>> {
        let of = |run| Iter { runs: std::slice::from_ref(run).iter(), walk: None };
        self.runs.iter().rev().find_map(|run| of(run).last())
    }

    /// The records, in the order of their offsets within each partition.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { runs: self.runs.iter(), walk: None }
    }
}

#[inline]
fn count(run: &Run) -> usize {
    if run.dense {
        let records = run.behind.min(run.limit).since(run.base.max(run.first));
        return usize::try_from(records).unwrap_or(0);
    }
    let mut walk = Walk::new(run);
    let mut count = 0;
    while let Some(header) = walk.header() {
        if header.count == header.span {
            let records = header.end().min(run.limit).since(header.base.max(run.first));
            count += usize::try_from(records).unwrap_or(0);
            walk.skip(&header);
        } else {
            count += walk.records_of(&header).count();
        }
    }
    count
}

impl<'a> IntoIterator for &'a Records {
    type Item = RecordView<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Walks [`Records`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    runs: std::slice::Iter<'a, Run>,
    walk: Option<Walk<'a>>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = RecordView<'a>;

    // The rest of a batch becomes a part of the caller's loop: as a call, each record would go through memory.
    #[inline(always)]
    fn next(&mut self) -> Option<RecordView<'a>> {
        loop {
            if let Some(record) = self.walk.as_mut().and_then(Walk::next_in_batch) {
                return Some(record);
            }
            if !self.next_batch() {
                return None;
            }
        }
    }

    /// Exact before the first record. Within a batch, what is left of its run isn't counted.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.runs.clone().map(count).sum();
        (left, self.walk.is_none().then_some(left))
    }
}

impl Iter<'_> {
    /// Goes to the next batch, in this run or the next.
    #[inline(never)]
    fn next_batch(&mut self) -> bool {
        loop {
            if self.walk.as_mut().is_some_and(Walk::next_batch) {
                return true;
            }
            let Some(run) = self.runs.next() else { return false };
            self.walk = Some(Walk::new(run));
        }
    }
}

/// Walks one run.
#[derive(Clone, Debug)]
struct Walk<'a> {
    run: &'a Run,
    bytes: &'a [u8],
    /// The next batch.
    at: usize,
    batch: Option<Batch<'a>>,
}

#[derive(Clone, Debug)]
struct Batch<'a> {
    base: Offset,
    append_time: Timestamp,
    payload: &'a [u8],
    /// Where the payload begins in the run's view.
    start: usize,
    at: usize,
    usual: Usual,
    index: u32,
}

impl<'a> Walk<'a> {
    fn new(run: &'a Run) -> Walk<'a> {
        Walk { run, bytes: &run.view, at: 0, batch: None }
    }

    #[inline]
    fn header(&self) -> Option<BatchHeader> {
        BatchHeader::trusted(self.bytes.get(self.at..)?)
    }

    fn skip(&mut self, header: &BatchHeader) {
        self.at += header.bytes();
    }

    fn records_of(&mut self, header: &BatchHeader) -> impl Iterator<Item = RecordView<'a>> + use<'a> {
        let run = self.run;
        let mut batch = Batch::new(header, self.bytes, self.at);
        self.skip(header);
        std::iter::from_fn(move || batch.as_mut()?.next(run)).filter(move |record| run.holds(record.offset))
    }

    #[inline(always)]
    fn next_in_batch(&mut self) -> Option<RecordView<'a>> {
        let batch = self.batch.as_mut()?;
        while let Some(record) = batch.next(self.run) {
            if self.run.holds(record.offset) {
                return Some(record);
            }
        }
        None
    }

    fn next_batch(&mut self) -> bool {
        let Some(header) = self.header() else { return false };
        self.batch = Batch::new(&header, self.bytes, self.at);
        self.skip(&header);
        self.batch.is_some()
    }
}

impl Run {
    /// The offset behind its last record that isn't left out.
    pub(crate) fn end(&self) -> Offset {
        self.behind.min(self.limit)
    }

    #[inline]
    fn holds(&self, offset: Offset) -> bool {
        self.first <= offset && offset < self.limit
    }
}

impl<'a> Batch<'a> {
    fn new(header: &BatchHeader, bytes: &'a [u8], at: usize) -> Option<Batch<'a>> {
        let start = at + header.header_bytes;
        let payload = bytes.get(start..at + header.bytes())?;
        Some(Batch {
            base: header.base,
            append_time: header.append_time,
            payload,
            start,
            at: 0,
            usual: Usual::of(header.count, payload),
            index: 0,
        })
    }

    #[inline(always)]
    fn next(&mut self, run: &'a Run) -> Option<RecordView<'a>> {
        if self.at >= self.payload.len() {
            return None;
        }
        let (raw, end) = next_record(self.payload, self.at, self.usual, self.index, self.append_time).ok()?;
        self.at = end;
        self.index += 1;
        let offset = self.base.plus(u64::from(raw.offset_delta));
        Some(RecordView { run, payload: self.payload, start: self.start, append_time: self.append_time, offset, raw })
    }
}

/// A record, lent from [`Records`] without a copy.
#[derive(Clone)]
pub struct RecordView<'a> {
    run: &'a Run,
    payload: &'a [u8],
    start: usize,
    append_time: Timestamp,
    offset: Offset,
    raw: RawRecord,
}

impl<'a> RecordView<'a> {
    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.run.partition
    }

    /// Its offset.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The epoch that wrote it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.run.epoch
    }

    /// The place behind it: where a reader goes on that has finished with it.
    #[must_use]
    pub fn next(&self) -> Place {
        Place::new(self.run.partition, self.offset.next(), self.run.epoch)
    }

    /// Its own timestamp, or the time of its append if it was given none.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.raw.timestamp.unwrap_or(self.append_time)
    }

    /// When it was appended, by the store's clock; never decreases within a partition.
    #[must_use]
    pub fn append_time(&self) -> Timestamp {
        self.append_time
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.payload.get(self.raw.key.clone()?)
    }

    /// Its value; empty for a tombstone.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        self.raw.value.clone().and_then(|range| self.payload.get(range)).unwrap_or_default()
    }

    /// Whether it has no value, which is not the same as an empty one.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.raw.value.is_none()
    }

    /// Its headers, in the order they were given.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers::new(self.payload.get(self.raw.headers.clone()).unwrap_or_default())
    }

    /// Its key as `Bytes` that keep the record's memory alive; nothing is copied.
    #[must_use]
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.raw.key.clone().map(|range| self.bytes(range))
    }

    /// Its value as `Bytes` that keep the record's memory alive; nothing is copied. Empty for a tombstone.
    #[must_use]
    pub fn value_bytes(&self) -> Bytes {
        self.raw.value.clone().map(|range| self.bytes(range)).unwrap_or_default()
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> Bytes {
        self.run.view.to_bytes(self.start + range.start..self.start + range.end)
    }
}

impl fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordView")
            .field("partition", &self.partition())
            .field("offset", &self.offset)
            .field("key", &self.key().map(String::from_utf8_lossy))
            .field("value", &String::from_utf8_lossy(self.value()))
            .finish_non_exhaustive()
    }
}
