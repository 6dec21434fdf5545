//! Tells the batches of one segment, one after the other, as they stand in the file.
//!
//! Invariant: one batch is held at a time; what is damaged is told like a batch and the walk goes on behind it. Called
//! by the shells; the bytes are walked by `walk`.

use std::path::PathBuf;

use super::site::Site;
use super::topic::read_topic;
use crate::error::{Error, IoContext, Result};
use crate::format::{BatchHeader, FileKind, Headers, RawRecord, Usual, next_record};
use crate::io::Access;
use crate::log::{Evidence, History};
use crate::name::TopicName;
use crate::offset::{Offset, Position, Timestamp};
use crate::segment::{Bad, Step, Walk, Window, open_checked};
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
}

/// Tells the batches of the segment that holds the offset `base`, with their records if `records` is set.
///
/// # Errors
///
/// [`Error::TopicNotFound`]; [`Error::PartitionNotFound`]; [`Error::OffsetOutOfRange`] if no segment holds the offset;
/// [`Error::Corrupt`] if the topic's header, the history or the segment's header is damaged; [`Error::Io`].
pub fn dump(store: &Store, topic: &str, partition: u32, base: Offset, records: bool) -> Result<Dump> {
    let site = Site::find(&store.seam()?)?;
    let name = TopicName::new(topic)?;
    let dirs = site.topic_dirs()?;
    let dir = dirs.iter().rfind(|dir| dir.name == name).ok_or_else(|| Error::TopicNotFound { topic: name.clone() })?;
    let (creation, options) = read_topic(&site, dir)?;
    if let Some(options) = options.ok().filter(|options| partition >= options.partitions) {
        return Err(Error::PartitionNotFound { topic: name, partition, partitions: options.partitions });
    }
    let home = site.home(dir, creation, partition);
    let (_, evidence) = History::load(&home)?;
    let Some(i) = holding(&evidence, base) else {
        let end = evidence.end_after(evidence.segments.last().and_then(|segment| segment.seal).map(|seal| seal.end));
        return Err(Error::OffsetOutOfRange { topic: name, partition, offset: base, start: evidence.start, end });
    };
    let (id, seal) = (evidence.segments[i].id, evidence.segments[i].seal);
    let path = home.segment_path(id);
    let shown = home.shown(&path);
    let file = open_checked(&home, &path, FileKind::Segment, id, Access::Read)?;
    let file_len = file.len().at("read the length of", &shown)?;
    let len = usize::try_from(seal.map_or(file_len, |sealed| file_len.min(sealed.bytes))).unwrap_or(usize::MAX);
    let seed = home.identity(FileKind::Segment, id).seed();
    let walk = Walk::new(Window::new(file, len), seed, id.base, seal.map(|sealed| sealed.end), Offset::MAX);
    Ok(Dump { walk, path: shown, records, failed: false })
}

/// The newest living segment that begins at or before the offset, unless it is known to end before it.
fn holding(evidence: &Evidence, offset: Offset) -> Option<usize> {
    let live = (0..evidence.segments.len()).filter(|&i| !evidence.is_retired(i));
    let i = live.rev().find(|&i| evidence.segments[i].id.base <= offset)?;
    let ends_before = evidence.segments[i].seal.is_some_and(|sealed| sealed.end <= offset);
    (!ends_before).then_some(i)
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

    fn damaged(&self, bad: Bad) -> BatchDescription {
        let position = Position::new(bad.position as u64);
        let (base, end, offsets) = (bad.base, bad.next, bad.offsets());
        BatchDescription {
            position,
            base,
            end,
            count: 0,
            bytes: 0,
            append_time: None,
            durable_end: None,
            records: Vec::new(),
            damage: Some(bad.error.at("batch", &self.path, Some(position), offsets)),
        }
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
            Ok(Step::Bad(bad)) => Ok(self.damaged(bad)),
            Err(error) => Err(error),
        };
        self.failed = next.is_err();
        Some(next)
    }
}
