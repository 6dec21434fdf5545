//! What a partition's history says, or what can be told of it when it is damaged or leaves out a durable segment: by its
//! lines that still validate, and by the segments that are there.
//!
//! Invariant: nothing is invented, nor told that no history may tell, and no place is admitted that might not be of this
//! history. An epoch is taken from a line or from a segment's own header, whole. A file that tells of none, that no line
//! names and that holds no batch is no part of the log: it decides about no other file, and is set aside. What of the files
//! doesn't count any more is told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::examine::only_zeros;
use crate::error::{Error, IoContext, Result};
use crate::format::{DecodeError, Entry, FileKind, HEADER_BYTES, HISTORY, Identity, Reason};
use crate::io::{Access, open_if_there, read_full_at};
use crate::log::history::{OFFSETS_END, Recorded};
use crate::log::{Begun, Evidence, History, Lineage, segment_files};
use crate::offset::{Epoch, Offset, Position, Timestamp};
use crate::segment::{Home, Sealed, SegmentId, Window, header_of, next_header};

/// What is to be said of a history that had to be told anew.
pub(super) struct Retold {
    pub(super) problem: Error,
    /// What can't be told any more.
    pub(super) note: String,
    /// Files that have a segment's name, and nothing else of one.
    pub(super) strangers: Vec<Stranger>,
    /// Segments of which some or all counts no more, since a later epoch begins there and no line tells why; and up to
    /// where lines let them count.
    pub(super) overtaken: Vec<(Recorded, Offset)>,
}

/// A file of which nothing tells that it is this log's, and what is wrong with it.
pub(super) struct Stranger {
    pub(super) path: PathBuf,
    pub(super) base: Offset,
    pub(super) problem: Error,
}

/// The evidence, as the history tells it or as it can be told anew.
pub(super) fn evidence(home: &Arc<Home>) -> Result<(History, Evidence, Option<Retold>)> {
    let error = match History::load_complete(home) {
        Ok((history, evidence)) => return Ok((history, evidence, None)),
        Err(error @ Error::Corrupt(_)) => error,
        Err(other) => return Err(other),
    };
    let salvage = History::salvage(home)?;
    let lines = salvage.before.len() + salvage.behind.len();
    let mut told = Told::of(home, salvage.before.iter().chain(&salvage.behind));
    let strangers = told.look_at_files(home)?;
    let files = told.there.len();
    let lines_start = told.start;
    let (evidence, overtaken) = told.evidence(home)?;
    let mut note = format!(
        "{lines} of its entries are whole, {} bytes are lost, {files} segments are there; records that were trimmed or \
         truncated may be back, and a place of an epoch that left no segment is stale",
        salvage.lost_bytes
    );
    if evidence.start > lines_start {
        note += &format!(
            "; the files of the records {lines_start}..{} are gone: retention, whose line is lost, has removed them, or they \
             are missing",
            evidence.start
        );
    }
    Ok((History::anew(home), evidence, Some(Retold { problem: error, note, strangers, overtaken })))
}

/// What was told so far.
struct Told {
    begun: BTreeMap<u64, Begun>,
    /// The numbers of those of which no line tells.
    guessed: BTreeSet<u64>,
    start: Offset,
    segments: BTreeMap<(u64, Offset), Recorded>,
    /// The segments whose files are there.
    there: Vec<SegmentId>,
}

impl Told {
    fn of<'a>(home: &Home, entries: impl Iterator<Item = &'a Entry>) -> Told {
        let created = Begun { epoch: home.creation, start: Offset::ZERO, reason: Reason::Created, time: home.now() };
        let begun = BTreeMap::from([(home.creation.number, created)]);
        let (guessed, segments) = (BTreeSet::new(), BTreeMap::new());
        let mut told = Told { begun, guessed, start: Offset::ZERO, segments, there: Vec::new() };
        for entry in entries.filter(|&entry| furthest(entry) < OFFSETS_END) {
            match entry {
                Entry::Epoch { epoch, start, reason, time } => {
                    let begun = Begun { epoch: *epoch, start: *start, reason: *reason, time: *time };
                    told.begun.insert(epoch.number, begun);
                }
                Entry::Start { start } => told.start = told.start.max(*start),
                Entry::Roll { base, epoch } => told.add(SegmentId { base: *base, epoch: *epoch }, None),
                Entry::Seal { base, epoch, bytes, end, greatest_timestamp, append_time } => {
                    let (greatest, append_time) = (*greatest_timestamp, *append_time);
                    let seal = Sealed { bytes: *bytes, end: *end, greatest, append_time };
                    told.add(SegmentId { base: *base, epoch: *epoch }, Some(seal));
                }
                _ => {}
            }
        }
        told
    }

    fn add(&mut self, id: SegmentId, seal: Option<Sealed>) {
        let recorded = self.segments.entry((id.epoch.number, id.base)).or_insert(Recorded::new(id, seal));
        recorded.seal = seal.or(recorded.seal);
    }

    /// Takes what the segments' own headers tell; gives the files that tell nothing.
    fn look_at_files(&mut self, home: &Home) -> Result<Vec<Stranger>> {
        let mut headless = Vec::new();
        // One that begins where no append comes to is no part of the log, and set aside later.
        for (path, base, number) in segment_files(home)?.into_iter().filter(|(_, base, _)| *base < OFFSETS_END) {
            let shown = home.shown(&path);
            let file = home.seam.dir.open(&path, Access::Read).at("open", &shown)?;
            let mut header = [0; HEADER_BYTES];
            let got = read_full_at(&*file, &mut header, 0).at("read", &shown)?;
            match Identity::decode(&header[..got]) {
                Ok((found, created)) => self.take(home, found, base, number, created),
                Err(error @ DecodeError::Unsupported { .. }) => return Err(header_error(error, &shown)),
                // Created, and never written to.
                Err(_) if only_zeros(&file).at("read", &shown)? => {}
                Err(error) => headless.push((path, base, number, error)),
            }
        }
        let mut strangers = Vec::new();
        // Whose they may be is known only now: another segment of the same epoch may stand behind them.
        for (path, base, number, error) in headless {
            let shown = home.shown(&path);
            match self.by_its_name(home, &path, base, number).at("read", &shown)? {
                Some(id) => self.found(id, home.now()),
                None => strangers.push(Stranger { path, base, problem: header_error(error, &shown) }),
            }
        }
        Ok(strangers)
    }

    /// Which segment a file without a header is: one that a line names, or one with batches of an epoch that is known.
    fn by_its_name(&self, home: &Home, path: &Path, base: Offset, number: u64) -> std::io::Result<Option<SegmentId>> {
        if let Some(recorded) = self.segments.get(&(number, base)) {
            return Ok(Some(recorded.id));
        }
        let Some(begun) = self.begun.get(&number) else { return Ok(None) };
        let id = SegmentId { base, epoch: begun.epoch };
        let file = home.seam.dir.open(path, Access::Read)?;
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let seed = home.identity(FileKind::Segment, id).seed();
        Ok(next_header(&mut Window::new(file, len), seed, HEADER_BYTES)?.map(|_| id))
    }

    /// Takes a segment, unless it is of another log: that is set aside later.
    fn take(&mut self, home: &Home, found: Identity, base: Offset, number: u64, created: Timestamp) {
        let id = SegmentId { base, epoch: Epoch { number, tag: found.epoch.tag } };
        if found == home.identity(FileKind::Segment, id) {
            self.found(id, created);
        }
    }

    fn found(&mut self, id: SegmentId, created: Timestamp) {
        self.add(id, None);
        self.there.push(id);
        // Its line may be lost: it began with the first segment that it left, or before.
        let number = id.epoch.number;
        let begun = self.begun.entry(number).or_insert_with(|| {
            self.guessed.insert(number);
            Begun { epoch: id.epoch, start: id.base, reason: Reason::Restored, time: created }
        });
        if self.guessed.contains(&number) {
            begun.start = begun.start.min(id.base);
        }
    }

    /// An epoch known only by the segment that is now the first began there, or with earlier segments that were removed:
    /// then what an older epoch wrote up to there was cut. A place right there is refused rather than admitted by guess.
    fn doubt_the_first(&mut self) {
        let first = self.there.iter().min_by_key(|id| (id.base, id.epoch.number));
        let Some(begun) = first.and_then(|first| self.begun.get_mut(&first.epoch.number)) else { return };
        if begun.reason == Reason::Restored {
            begun.start = Offset::new(begun.start.get().saturating_sub(1));
        }
    }

    fn evidence(mut self, home: &Home) -> Result<(Evidence, Vec<(Recorded, Offset)>)> {
        self.doubt_the_first();
        // What is begun again with another tag belongs to nobody.
        let begun = &self.begun;
        self.segments
            .retain(|_, recorded| begun.get(&recorded.id.epoch.number).is_some_and(|b| b.epoch == recorded.id.epoch));
        let lineage = Lineage::new(self.begun.values().copied().collect())
            .map_err(|error| error.at("history", &home.shown(&home.dir.join(HISTORY)), None, None))?;
        let segments = self.segments.values().copied().collect();
        let mut evidence = Evidence { lineage, start: self.start, segments, clean: None, torn_bytes: 0 };
        // Segments in front of all that are there were removed by retention, whose line is lost, or so it seems.
        while let Some(i) = (0..evidence.segments.len()).find(|&i| !evidence.is_retired(i)) {
            let recorded = evidence.segments[i];
            if self.there.contains(&recorded.id) || is_there(home, recorded.id)? {
                break;
            }
            let cut = evidence.lineage.cut_of(recorded.id.epoch);
            evidence.start = evidence.start.max(recorded.seal.map_or(recorded.id.base, |seal| seal.end.min(cut)));
            evidence.segments.remove(i);
        }
        let overtaken = self.overtaken(&evidence);
        Ok((evidence, overtaken))
    }

    /// Of each epoch the segment in which a guess cuts it, and all behind.
    fn overtaken(&self, evidence: &Evidence) -> Vec<(Recorded, Offset)> {
        let mut overtaken = Vec::new();
        for (i, recorded) in evidence.segments.iter().enumerate() {
            let id = recorded.id;
            let (limit, cut) = (self.cut_by_lines(id.epoch.number), evidence.lineage.cut_of(id.epoch));
            let next = evidence.segments.get(i + 1).filter(|next| next.id.epoch == id.epoch);
            let is_cut = cut < limit && next.is_none_or(|next| next.id.base >= cut);
            let is_given_up = limit <= id.base || recorded.seal.is_some_and(|seal| seal.end.min(limit) <= self.start);
            if is_cut && !is_given_up && self.there.contains(&id) {
                overtaken.push((*recorded, limit));
            }
        }
        overtaken
    }

    /// Where the lines alone cut an epoch.
    fn cut_by_lines(&self, number: u64) -> Offset {
        let later = self.begun.range((Bound::Excluded(number), Bound::Unbounded));
        let told = later.filter(|(number, _)| !self.guessed.contains(number));
        told.map(|(_, begun)| begun.start).min().unwrap_or(Offset::MAX)
    }
}

/// The greatest offset that a line tells of.
fn furthest(entry: &Entry) -> Offset {
    match entry {
        Entry::Epoch { start, .. } | Entry::Start { start } => *start,
        Entry::Roll { base, .. } => *base,
        Entry::Seal { base, end, .. } => *base.max(end),
        _ => Offset::ZERO,
    }
}

fn is_there(home: &Home, id: SegmentId) -> Result<bool> {
    let path = home.segment_path(id);
    Ok(open_if_there(&*home.seam.dir, &path).at("open", &home.shown(&path))?.is_some())
}

fn header_error(error: DecodeError, shown: &Path) -> Error {
    error.at(header_of(FileKind::Segment), shown, Some(Position::new(0)), None)
}
