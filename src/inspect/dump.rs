//! Tells the batches of one segment, one after the other, as they stand in the file.
//!
//! Invariant: one batch is held at a time; what is damaged is told like a batch and the walk goes on behind it. Without a
//! seal that is damage only below a durable mark, as for `verify`. Called by the shells; the bytes are walked by `walk`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::partition::{Live, costs_from, known_durable, live_segments, marks};
use super::site::{Site, TopicDir};
use super::topic::read_topic;
use crate::error::{Damage, Error, IoContext, Result};
use crate::format::{BatchHeader, FileKind, HEADER_BYTES, Headers, RawRecord, Usual, next_record};
use crate::io::{Access, LOOKS_MAX};
use crate::log::{Evidence, History};
use crate::name::TopicName;
use crate::offset::{Offset, Position, Timestamp};
use crate::segment::{Bad, Home, Step, Walk, Window, open_checked};
use crate::store::Store;

/// A batch as it stands in its file, or what stands in its place.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchDescription {
    /// The byte of the file at which it begins.
    pub position: Position,
    /// The offset of its first record.
    pub base: Offset,
    /// The offset behind its last record; for a damaged one where reading goes on, if that is known.
    pub end: Option<Offset>,
    /// How many records it holds; 0 for a damaged one.
    pub count: u32,
    /// Its bytes with its header; 0 for a damaged one.
    pub bytes: u64,
    /// When it was appended.
    pub append_time: Option<Timestamp>,
    /// Everything below was known to be durable when it was written, if it says so.
    pub durable_end: Option<Offset>,
    /// Its records, if they were asked for.
    pub records: Vec<RecordDescription>,
    /// What is wrong with it.
    pub damage: Option<Error>,
    /// Whether this is no batch and no damage: an end that a crash tore, or a batch that is being written.
    pub unfinished: bool,
}

/// A record as it stands in its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordDescription {
    /// Its offset.
    pub offset: Offset,
    /// Its own timestamp, or the time of its append.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Walks the batches of one segment.
pub struct Dump {
    walk: Walk,
    path: PathBuf,
    records: bool,
    failed: bool,
    /// For a segment without a seal, in which not everything was synced.
    tail: Option<Tail>,
}

/// Tells the batches of the segment that holds the offset, which may be that of any record in it; with their records if
/// `records` is set.
///
/// # Errors
///
/// [`Error::TopicNotFound`]; [`Error::PartitionNotFound`]; [`Error::OffsetOutOfRange`] if no segment holds the offset;
/// [`Error::Corrupt`] if the history or the segment's header is damaged, or if nothing tells the topic's creation epoch;
/// [`Error::Io`].
pub fn dump(store: &Store, topic: &str, partition: u32, offset: Offset, records: bool) -> Result<Dump> {
    let site = Site::find(&store.seam()?)?;
    let name = TopicName::new(topic)?;
    let mut looks = LOOKS_MAX;
    loop {
        let dirs = site.topic_dirs()?;
        let dir = dirs.iter().rfind(|dir| dir.name == name);
        let dir = dir.ok_or_else(|| Error::TopicNotFound { topic: name.clone() })?;
        looks -= 1;
        match open(&site, dir, partition, offset, records) {
            // Beside a writer it may have been deleted, retired or cut off since it was told of.
            Err(error) if looks > 0 && is_gone(&error) => {}
            found => return found,
        }
    }
}

fn is_gone(error: &Error) -> bool {
    match error {
        Error::Corrupt(corruption) => corruption.damage == Damage::Missing,
        Error::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn open(site: &Site, dir: &TopicDir, partition: u32, offset: Offset, records: bool) -> Result<Dump> {
    let (creation, options) = read_topic(site, dir)?;
    if let Some(options) = options.ok().filter(|options| partition >= options.partitions) {
        return Err(Error::PartitionNotFound { topic: dir.name.clone(), partition, partitions: options.partitions });
    }
    let home = site.home(dir, creation, partition);
    let (_, evidence) = History::load(&home)?;
    let live = live_segments(&evidence);
    let Some(k) = holding(&home, &live, offset)? else {
        let (topic, start) = (dir.name.clone(), evidence.start);
        let last = live.last().map(|live| live.end.map_or_else(|| end_of_tail(&home, *live), Ok)).transpose()?;
        return Err(Error::OffsetOutOfRange { topic, partition, offset, start, end: evidence.end_after(last) });
    };
    let tail = live[k].seal.is_none().then(|| Tail::new(&home, &evidence, &live[k..]));
    let (walk, path) = walk(&home, live[k], Offset::MAX)?;
    Ok(Dump { walk, path, records, failed: false, tail })
}

/// A walk over a segment, and its file.
fn walk(home: &Home, live: Live, limit: Offset) -> Result<(Walk, PathBuf)> {
    let Live { id, seal, .. } = live;
    let path = home.segment_path(id);
    let shown = home.shown(&path);
    let file = open_checked(home, &path, FileKind::Segment, id, Access::Read)?;
    let file_len = file.len().at("read the length of", &shown)?;
    let len = usize::try_from(seal.map_or(file_len, |sealed| file_len.min(sealed.bytes))).unwrap_or(usize::MAX);
    let seed = home.identity(FileKind::Segment, id).seed();
    let end = seal.map_or(live.end, |sealed| Some(sealed.end));
    Ok((Walk::new(Window::new(file, len), seed, id.base, end, limit), shown))
}

/// The newest living segment that begins at or before the offset, unless it ends before it. One may be asked for by the
/// offset at which it begins also while it is empty.
fn holding(home: &Home, live: &[Live], offset: Offset) -> Result<Option<usize>> {
    let Some(k) = live.iter().rposition(|live| live.id.base <= offset) else { return Ok(None) };
    let begins = live[k].id.base == offset && live[k].seal.is_none();
    let end = if begins { Offset::MAX } else { live[k].end.map_or_else(|| end_of_tail(home, live[k]), Ok)? };
    Ok((offset < end).then_some(k))
}

/// Where the batches of the newest segment end, if it has no seal.
fn end_of_tail(home: &Home, live: Live) -> Result<Offset> {
    let (mut walk, shown) = walk(home, live, live.limit)?;
    while walk.next().at("read", &shown)?.is_some() {}
    Ok(walk.expected)
}

/// What tells how much of a segment without a seal was synced once.
struct Tail {
    home: Arc<Home>,
    /// By the history.
    told: Offset,
    /// What lies below was given up, whole or not.
    start: Offset,
    /// The segment, and the later ones, whose batches may know of it.
    segments: Vec<Live>,
    /// Everything below was synced, once somebody has looked.
    durable_end: Option<Offset>,
}

impl Tail {
    fn new(home: &Arc<Home>, evidence: &Evidence, live: &[Live]) -> Tail {
        let (told, start) = (known_durable(evidence), evidence.start);
        Tail { home: home.clone(), told, start, segments: live.to_vec(), durable_end: None }
    }

    fn durable_end(&mut self) -> Result<Offset> {
        if let Some(known) = self.durable_end {
            return Ok(known);
        }
        let mut known = self.told;
        for live in &self.segments {
            known = known.max(marks(&self.home, live, HEADER_BYTES)?);
        }
        self.durable_end = Some(known);
        Ok(known)
    }
}

impl Dump {
    /// The segment's file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    fn batch(&mut self, position: usize, header: &BatchHeader) -> Result<BatchDescription> {
        let records = if self.records { self.records_of(position, header)? } else { Vec::new() };
        let durable_end = header.durable_end();
        Ok(BatchDescription {
            position: Position::new(position as u64),
            base: header.base,
            end: Some(header.end()),
            count: header.count,
            bytes: header.bytes() as u64,
            append_time: Some(header.append_time),
            durable_end: (header.mark != crate::format::NO_MARK).then_some(durable_end),
            records,
            damage: None,
            unfinished: false,
        })
    }

    fn records_of(&mut self, position: usize, header: &BatchHeader) -> Result<Vec<RecordDescription>> {
        let bytes = self.walk.window.at(position, header.bytes()).at("read", &self.path)?;
        let payload = bytes.get(header.header_bytes..).unwrap_or_default();
        let (mut at, usual) = (0, Usual::of(header.count, payload));
        let decoded = (0..header.count).map_while(|index| {
            let (raw, end) = next_record(payload, at, usual, index, header.append_time).ok()?;
            at = end;
            Some(describe(header, payload, &raw))
        });
        Ok(decoded.collect())
    }

    fn bad(&mut self, bad: Bad) -> Result<BatchDescription> {
        let position = Position::new(bad.position as u64);
        let (base, end, offsets) = (bad.base, bad.next, bad.offsets());
        let unfinished = match &mut self.tail {
            Some(tail) if !bad.is_unsupported() => costs_from(&bad, tail.start) >= tail.durable_end()?,
            _ => false,
        };
        Ok(BatchDescription {
            position,
            base,
            end,
            count: 0,
            bytes: 0,
            append_time: None,
            durable_end: None,
            records: Vec::new(),
            damage: (!unfinished).then(|| bad.error.at("batch", &self.path, Some(position), offsets)),
            unfinished,
        })
    }
}

fn describe(header: &BatchHeader, payload: &[u8], raw: &RawRecord) -> RecordDescription {
    let part = |range: &std::ops::Range<usize>| payload.get(range.clone()).unwrap_or_default();
    RecordDescription {
        offset: header.base.plus(u64::from(raw.offset_delta)),
        timestamp: raw.timestamp.unwrap_or(header.append_time),
        key: raw.key.as_ref().map(|range| part(range).to_vec()),
        value: raw.value.as_ref().map(|range| part(range).to_vec()),
        headers: Headers::new(part(&raw.headers)).map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
    }
}

impl Iterator for Dump {
    type Item = Result<BatchDescription>;

    /// The next batch, or what stands in its place. Ends after an I/O error.
    fn next(&mut self) -> Option<Result<BatchDescription>> {
        if self.failed {
            return None;
        }
        let next = match self.walk.next().at("read", &self.path).transpose()? {
            Ok(Step::Batch(position, header)) => self.batch(position, &header),
            Ok(Step::Bad(bad)) => self.bad(bad),
            Err(error) => Err(error),
        };
        self.failed = next.is_err();
        Some(next)
    }
}
