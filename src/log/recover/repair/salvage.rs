//! What a partition's history says, or what can be told of it when it is damaged: by its lines that still validate, and
//! by the segments that are there.
//!
//! Invariant: nothing is invented, and no place is admitted that might not be of this history. An epoch is taken from a line or from a segment's own header, whole; a file whose
//! epoch can't be told is no part of the log any more, but what an older epoch wrote from its base on isn't either.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::examine::only_zeros;
use crate::error::{Error, IoContext, Result};
use crate::format::{DecodeError, Entry, FileKind, HEADER_BYTES, Identity, Reason};
use crate::io::{Access, read_full_at};
use crate::log::history::Recorded;
use crate::log::{Begun, Evidence, History, segment_files};
use crate::offset::{Epoch, Offset, Position, Timestamp};
use crate::segment::{Home, Sealed, SegmentId, header_of};

/// The tag of an epoch of which only the number is known. Never part of a lineage that is written.
pub(super) const NO_TAG: u64 = 0;

/// What was wrong with a history that had to be told anew, and what can't be told any more.
type Retold = (Error, String);

/// The evidence, as the history tells it or as it can be told anew.
pub(super) fn evidence(home: &Arc<Home>) -> Result<(History, Evidence, Option<Retold>)> {
    let error = match History::load(home) {
        Ok((history, evidence)) => return Ok((history, evidence, None)),
        Err(error @ Error::Corrupt(_)) => error,
        Err(other) => return Err(other),
    };
    let salvage = History::salvage(home)?;
    let lines = salvage.before.len() + salvage.behind.len();
    let mut told = Told::of(home, salvage.before.iter().chain(&salvage.behind));
    let files = told.look_at_files(home)?;
    let evidence = told.evidence(home).map_err(|error| error.at("history", home.seam.dir.root(), None, None))?;
    let note = format!(
        "{lines} of its entries are whole, {} bytes are lost, {files} segments are there; records that were trimmed or \
         truncated may be back, and a place of an epoch that left no segment is stale",
        salvage.lost_bytes
    );
    Ok((History::anew(home), evidence, Some((error, note))))
}

/// What was told so far.
struct Told {
    begun: BTreeMap<u64, Begun>,
    start: Offset,
    segments: BTreeMap<(u64, Offset), Recorded>,
    /// The segments whose files are there.
    there: Vec<SegmentId>,
}

impl Told {
    fn of<'a>(home: &Home, entries: impl Iterator<Item = &'a Entry>) -> Told {
        let created = Begun { epoch: home.creation, start: Offset::ZERO, reason: Reason::Created, time: home.now() };
        let begun = BTreeMap::from([(home.creation.number, created)]);
        let mut told = Told { begun, start: Offset::ZERO, segments: BTreeMap::new(), there: Vec::new() };
        for entry in entries {
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

    /// Takes what the segments' own headers tell; says how many there are.
    fn look_at_files(&mut self, home: &Home) -> Result<usize> {
        for (path, base, number) in segment_files(home)? {
            let shown = home.shown(&path);
            let file = home.seam.dir.open(&path, Access::Read).at("open", &shown)?;
            let mut header = [0; HEADER_BYTES];
            let got = read_full_at(&*file, &mut header, 0).at("read", &shown)?;
            match Identity::decode(&header[..got]) {
                Ok((found, created)) => self.take(home, found, base, number, created),
                Err(error @ DecodeError::Unsupported { .. }) => {
                    return Err(error.at(header_of(FileKind::Segment), &shown, Some(Position::new(0)), None));
                }
                // Created, and never written to.
                Err(_) if only_zeros(&*file).at("read", &shown)? => {}
                Err(_) => {
                    let named = self.segments.get(&(number, base)).map(|recorded| recorded.id);
                    let tag = self.begun.get(&number).map_or(NO_TAG, |begun| begun.epoch.tag);
                    let id = named.unwrap_or(SegmentId { base, epoch: Epoch { number, tag } });
                    self.found(id, home.now());
                }
            }
        }
        Ok(self.there.len())
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
        let begun = Begun { epoch: id.epoch, start: id.base, reason: Reason::Restored, time: created };
        // Its line may be lost: it began with the first segment that it left, or before. They come in order.
        self.begun.entry(id.epoch.number).or_insert(begun);
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

    fn evidence(mut self, home: &Home) -> Result<Evidence, DecodeError> {
        self.doubt_the_first();
        // What is begun again with another tag belongs to nobody.
        let begun = &self.begun;
        self.segments
            .retain(|_, recorded| begun.get(&recorded.id.epoch.number).is_some_and(|b| b.epoch == recorded.id.epoch));
        let lineage = crate::log::Lineage::new(self.begun.into_values().collect())?;
        let segments = self.segments.into_values().collect();
        let mut evidence = Evidence { lineage, start: self.start, segments, clean: None, torn_bytes: 0 };
        // Segments in front of all that are there were removed by retention, whose line is lost.
        while let Some(i) = (0..evidence.segments.len()).find(|&i| !evidence.is_retired(i)) {
            let recorded = evidence.segments[i];
            if self.there.contains(&recorded.id)
                || home.seam.dir.open(&home.segment_path(recorded.id), Access::Read).is_ok()
            {
                break;
            }
            let cut = evidence.lineage.cut_of(recorded.id.epoch);
            evidence.start = evidence.start.max(recorded.seal.map_or(recorded.id.base, |seal| seal.end.min(cut)));
            evidence.segments.remove(i);
        }
        Ok(evidence)
    }
}
