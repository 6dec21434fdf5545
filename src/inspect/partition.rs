//! Verifies one partition: its history, and every segment that the history names.
//!
//! Invariant: in a sealed segment everything up to the seal must be whole. Behind the last whole batch of an unsealed
//! one, and in its header, a writer may be at work or a crash may have struck: that is damage only if a durable mark of a
//! later batch or the history, by its start too, says that it was synced once, as recovery decides it, and only if it is
//! still so when it is looked at again. Called by `topic`; the bytes are walked by `walk`.

use std::sync::Arc;

use super::index::Compared;
use super::site::TopicDir;
use super::topic::{damaged, missing_partition};
use super::verify::Verifier;
use super::{LISTED_MAX, Whose};
use crate::error::{Damage, Error, IoContext, Result};
use crate::format::{FileKind, HEADER_BYTES};
use crate::io::{Access, File, open_if_there};
use crate::log::{Evidence, History, HistoryRead, nothing_foreign, nothing_missing};
use crate::offset::{Epoch, Offset, Position};
use crate::segment::{self, Bad, Home, Sealed, SegmentId, Step, Walk, Window, batch_at, open_checked};

/// How often progress is told.
const REPORT_EVERY_BYTES: usize = 1 << 20;

pub(super) fn verify(verifier: &mut Verifier<'_>, topic: &TopicDir, creation: Epoch, number: u32) {
    let home = verifier.site.home(topic, creation, number);
    let whose = Whose { topic: Some(topic.name.to_string()), partition: Some(number) };
    verifier.found.partitions += 1;
    let (evidence, read) = match History::load_with(&home) {
        Ok((_, evidence, read)) => {
            let whole = History::load_complete(&home).map(drop);
            let whole = whole.and_then(|()| nothing_foreign(&home, &evidence));
            if let Err(error) = whole.and_then(|()| nothing_missing(&home, &evidence)) {
                damaged(verifier, topic, &whose, error);
            }
            (evidence, read)
        }
        Err(error) => {
            let gone = home.seam.dir.list(&home.dir).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
            let error = if gone { missing_partition(&verifier.site, &home.dir) } else { error };
            return damaged(verifier, topic, &whose, error);
        }
    };
    let mut partition = Partition {
        topic,
        whose,
        home,
        start: evidence.start,
        durable_end: known_durable(&evidence),
        suspects: Vec::new(),
        suspects_unlisted: Vec::new(),
        not_begun: Vec::new(),
        evidence,
        read,
    };
    for live in live_segments(&partition.evidence) {
        if let Err(error) = partition.segment(verifier, live) {
            partition.damaged(verifier, live.id, error);
        }
    }
    partition.judge(verifier);
}

/// What the history itself says was synced; its start was, before it was raised.
pub(super) fn known_durable(evidence: &Evidence) -> Offset {
    let sealed = evidence.live().filter_map(|segment| evidence.sealed_end(segment));
    sealed.chain(evidence.clean).fold(evidence.start, Offset::max)
}

/// Where what is wrong in a tail begins to cost something: an end of which nobody knows how far it went begins at the
/// start, as recovery takes it.
pub(super) fn costs_from(bad: &Bad, start: Offset) -> Offset {
    if bad.next.is_none() { bad.base.max(start) } else { bad.base }
}

/// A segment that must be there.
#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) id: SegmentId,
    pub(super) seal: Option<Sealed>,
    /// The offset at which its epoch was cut off.
    pub(super) cut: Offset,
    /// The offset at which the next one or the cut takes over.
    pub(super) limit: Offset,
    /// Where it ends, if that is told: by its seal, or by the next segment.
    pub(super) end: Option<Offset>,
}

pub(super) fn live_segments(evidence: &Evidence) -> Vec<Live> {
    let live: Vec<_> = evidence.live().collect();
    let base_after = |k: usize| live.get(k + 1).map(|segment| segment.id.base);
    live.iter()
        .enumerate()
        .map(|(k, segment)| {
            let (cut, next) = (evidence.lineage.cut_of(segment.id.epoch), base_after(k));
            let limit = cut.min(next.unwrap_or(Offset::MAX));
            let end = segment.seal.map_or(next, |sealed| Some(sealed.end)).map(|end| end.min(limit));
            Live { id: segment.id, seal: segment.seal, cut, limit, end }
        })
        .collect()
}

/// What the batches of a segment from a position on say was durable, whatever stands between them: a batch's header is
/// enough for that.
pub(super) fn marks(home: &Home, live: &Live, from: usize) -> Result<Offset> {
    let path = home.segment_path(live.id);
    let shown = home.shown(&path);
    let Some(file) = open_if_there(&*home.seam.dir, &path).at("open", &shown)? else { return Ok(Offset::ZERO) };
    let len = usize::try_from(file.len().at("read the length of", &shown)?).unwrap_or(usize::MAX);
    let seed = home.identity(FileKind::Segment, live.id).seed();
    let marks = segment::known_durable(&mut Window::new(file, len), seed, from).at("read", &shown)?;
    Ok(marks.min(live.cut))
}

/// Whether a segment's file is absent, or begins with something that is nobody's header.
fn is_without_header(error: &Error) -> bool {
    matches!(error, Error::Corrupt(corruption) if !matches!(corruption.damage, Damage::Foreign { .. }))
}

/// One partition while it is being read.
struct Partition<'a> {
    topic: &'a TopicDir,
    whose: Whose,
    home: Arc<Home>,
    /// What lies below was given up, whole or not.
    start: Offset,
    /// The greatest offset below which everything is known to have been synced.
    durable_end: Offset,
    /// What isn't whole in unsealed segments, until all marks are known.
    suspects: Vec<(SegmentId, Bad)>,
    /// How many more there are behind those, by segment, with the offset of the first.
    suspects_unlisted: Vec<(SegmentId, Offset, u64)>,
    /// Unsealed segments that aren't there or don't begin with a header, until then, too.
    not_begun: Vec<(Live, Error)>,
    /// What the history says, as it was read last.
    evidence: Evidence,
    read: HistoryRead,
}

impl Partition<'_> {
    fn segment(&mut self, verifier: &mut Verifier<'_>, live: Live) -> Result<()> {
        let Live { id, seal, limit, end, .. } = live;
        let path = self.home.segment_path(id);
        let shown = self.home.shown(&path);
        let Some(file) = self.open(verifier, live)? else { return Ok(()) };
        let file_len = file.len().at("read the length of", &shown)?;
        let len = usize::try_from(seal.map_or(file_len, |sealed| file_len.min(sealed.bytes))).unwrap_or(usize::MAX);
        let seed = self.home.identity(FileKind::Segment, id).seed();
        let mut walk = Walk::new(Window::new(file, len), seed, id.base, end, limit);
        let mut index = Compared::open(&self.home, id);
        verifier.found.segments += 1;
        let (mut reported, mut is_whole) = (0, true);
        while let Some(step) = walk.next().at("read", &shown)? {
            match step {
                Step::Batch(position, header) => {
                    index.pass(position, &header);
                    self.durable_end = self.durable_end.max(header.durable_end());
                    verifier.found.batches += 1;
                    verifier.found.records += u64::from(header.count);
                    verifier.found.bytes += header.bytes() as u64;
                }
                Step::Bad(bad) => {
                    index.skip_to(walk.position);
                    if std::mem::take(&mut is_whole) && seal.is_none() {
                        self.durable_end = self.durable_end.max(marks(&self.home, &live, bad.position + 1)?);
                    }
                    self.bad(verifier, id, seal.is_some(), bad);
                }
            }
            if walk.position >= reported + REPORT_EVERY_BYTES {
                verifier.step((walk.position - reported) as u64);
                reported = walk.position;
            }
        }
        verifier.step(walk.position.saturating_sub(reported) as u64);
        verifier.pass(file_len.saturating_sub(walk.position as u64));
        if let Some(disagreement) = index.disagreement {
            verifier.found.note(
                self.home.shown(&self.home.index_path(id)),
                format!("{disagreement}; it is derived and will be rebuilt"),
            );
        }
        Ok(())
    }

    /// The segment's file, if it begins as it must. Without a seal it may also not be there yet.
    fn open(&mut self, verifier: &Verifier<'_>, live: Live) -> Result<Option<Arc<dyn File>>> {
        let Live { id, seal, end, .. } = live;
        let path = self.home.segment_path(id);
        let error = match open_checked(&self.home, &path, FileKind::Segment, id, Access::Read) {
            Ok(file) => return Ok(Some(file)),
            Err(error) => error,
        };
        if self.is_gone(verifier, id) {
            return Ok(None);
        }
        let error = match end {
            Some(end) => error.with_offsets(id.base..end),
            None => error,
        };
        if seal.is_none() && is_without_header(&error) {
            self.durable_end = self.durable_end.max(marks(&self.home, &live, HEADER_BYTES)?);
            self.not_begun.push((live, error));
            return Ok(None);
        }
        Err(error)
    }

    /// Whether a writer has removed the segment, or its topic, since it was told of.
    fn is_gone(&mut self, verifier: &Verifier<'_>, id: SegmentId) -> bool {
        self.is_retired_now(id) || !verifier.site.is_there(self.topic)
    }

    /// Whether the history has let go of the segment since it was read.
    fn is_retired_now(&mut self, id: SegmentId) -> bool {
        if !History::is_unchanged(&self.home, &self.read).unwrap_or(false) {
            let Ok((_, evidence, read)) = History::load_with(&self.home) else { return false };
            (self.evidence, self.read) = (evidence, read);
        }
        let found = self.evidence.segments.iter().position(|segment| segment.id == id);
        found.is_none_or(|i| self.evidence.is_retired(i))
    }

    /// With all marks known: a segment without a header is damage if something of it was synced once. Else its creation
    /// wasn't finished, or a crash took its first page.
    fn judge_beginning(&mut self, verifier: &mut Verifier<'_>, live: &Live, error: Error) {
        let (id, path) = (live.id, self.home.segment_path(live.id));
        let now = open_checked(&self.home, &path, FileKind::Segment, id, Access::Read);
        if now.is_ok() {
            return;
        }
        if id.base < self.durable_end {
            self.damaged(verifier, id, error);
        } else if !self.is_blank(id) {
            let base = id.base;
            let what = format!(
                "unfinished beginning of a segment, offset {base}: one that is being begun, or that a crash tore"
            );
            verifier.found.note(self.home.shown(&path), what);
        }
    }

    /// Whether the file is absent, or holds nothing but zeros.
    fn is_blank(&self, id: SegmentId) -> bool {
        self.look_again(id).is_none_or(|mut window| segment::only_zeros(&mut window, 0).unwrap_or(false))
    }

    fn bad(&mut self, verifier: &mut Verifier<'_>, id: SegmentId, sealed: bool, bad: Bad) {
        if bad.next.is_some_and(|next| next <= self.start) {
            return;
        }
        if sealed {
            self.damaged_batch(verifier, id, bad);
        } else if self.suspects.len() < LISTED_MAX {
            self.suspects.push((id, bad));
        } else {
            match self.suspects_unlisted.last_mut() {
                Some((of, _, count)) if *of == id => *count += 1,
                _ => self.suspects_unlisted.push((id, costs_from(&bad, self.start), 1)),
            }
        }
    }

    fn damaged_batch(&mut self, verifier: &mut Verifier<'_>, id: SegmentId, bad: Bad) {
        let shown = self.home.shown(&self.home.segment_path(id));
        let offsets = bad.offsets();
        let error = bad.error.at("batch", &shown, Some(Position::new(bad.position as u64)), offsets);
        self.damaged(verifier, id, error);
    }

    /// Reports an error, unless the segment or the topic was removed meanwhile.
    fn damaged(&mut self, verifier: &mut Verifier<'_>, id: SegmentId, error: Error) {
        if verifier.found.damage.len() >= LISTED_MAX {
            // It is only counted: that isn't worth a look at the history.
            verifier.found.damaged(&self.whose, error);
        } else if !self.is_retired_now(id) {
            damaged(verifier, self.topic, &self.whose, error);
        }
    }

    /// With all marks known, says of everything that wasn't whole what it is.
    fn judge(mut self, verifier: &mut Verifier<'_>) {
        for (live, error) in std::mem::take(&mut self.not_begun) {
            self.judge_beginning(verifier, &live, error);
        }
        let mut now: Option<(SegmentId, Window)> = None;
        for (id, bad) in std::mem::take(&mut self.suspects) {
            if now.as_ref().is_none_or(|(looked_at, _)| *looked_at != id) {
                now = self.look_again(id).map(|window| (id, window));
            }
            if now.as_mut().is_some_and(|(_, window)| self.is_whole_now(window, id, &bad)) {
                continue;
            }
            if costs_from(&bad, self.start) < self.durable_end || bad.is_unsupported() {
                self.damaged_batch(verifier, id, bad);
            } else {
                let what = format!(
                    "unfinished end at position {}, offset {}: a batch that is being written, or that a crash tore",
                    bad.position, bad.base
                );
                verifier.found.note(self.home.shown(&self.home.segment_path(id)), what);
            }
        }
        self.count_unlisted(verifier);
    }

    /// What wasn't listed isn't looked at again. It comes in the order of its offsets: where the first isn't below a mark,
    /// nothing is.
    fn count_unlisted(&mut self, verifier: &mut Verifier<'_>) {
        for (id, first, count) in std::mem::take(&mut self.suspects_unlisted) {
            if self.is_gone(verifier, id) {
                continue;
            }
            if first < self.durable_end {
                verifier.found.damage_unlisted += count;
            } else {
                verifier.found.notes_unlisted += count;
            }
        }
    }

    fn look_again(&self, id: SegmentId) -> Option<Window> {
        let file = self.home.seam.dir.open(&self.home.segment_path(id), Access::Read).ok()?;
        let len = file.len().ok().and_then(|len| usize::try_from(len).ok()).unwrap_or(HEADER_BYTES);
        Some(Window::new(file, len))
    }

    /// Whether a writer has finished the batch since.
    fn is_whole_now(&self, window: &mut Window, id: SegmentId, bad: &Bad) -> bool {
        let seed = self.home.identity(FileKind::Segment, id).seed();
        bad.position < window.len() && matches!(batch_at(window, seed, bad.position, bad.base), Ok(Ok(_)))
    }
}
