//! What each byte of a store is for, by the layout that the format documents: counted here anew, so that the engine's
//! own decoders are not their own judge.

use std::ops::Range;
use std::path::Path;

use super::specimen::{Left, Specimen};

const HEADER_BYTES: usize = 96;
const BATCH_HEADER_BYTES: usize = 46;
const FRAME_HEADER_BYTES: usize = 13;
const INDEX_ENTRY_BYTES: usize = 20;

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Lock,
    Store,
    Topic,
    Commits,
    History,
    Segment,
    Index,
}

/// The parts that a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Header,
    /// The header of an unsealed segment.
    TailHeader,
    /// The header of an unsealed segment whose only batch no later one knows to be durable.
    LoneHeader,
    /// A frame behind which others stand.
    Frame,
    LastFrame,
    /// Of a sealed segment.
    Batch,
    /// Below the start of the partition.
    TrimmedBatch,
    /// Beyond the offset at which a later epoch cut the segment.
    CutBatch,
    /// Of an unsealed segment, with others behind it.
    TailBatch,
    LastTailBatch,
    Entry,
    /// Zeros that were reserved ahead, and files that hold nothing.
    Reserve,
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Region {
    pub part: Part,
    pub bytes: Range<usize>,
    /// The byte at which the thing begins of which this is a part.
    pub thing: usize,
    /// The offsets of the batch.
    pub offsets: Range<u64>,
    /// The offsets of the segment.
    pub segment: Range<u64>,
    /// Up to where the marks in an unsealed segment say that it was durable.
    pub marked: u64,
}

pub fn kind_of(path: &Path) -> Kind {
    let name = path.file_name().expect("has a name").to_string_lossy();
    match (&*name, path.extension().and_then(|extension| extension.to_str())) {
        ("LOCK" | "RESERVE", _) => Kind::Lock,
        ("STORE", _) => Kind::Store,
        ("topic", _) => Kind::Topic,
        ("commits", _) => Kind::Commits,
        ("history", _) => Kind::History,
        (_, Some("log")) => Kind::Segment,
        (_, Some("index")) => Kind::Index,
        _ => panic!("`{name}` is no file of a store"),
    }
}

/// Every byte of the file, in order and without a gap.
pub fn regions(specimen: &Specimen, path: &Path) -> Vec<Region> {
    let bytes = specimen.disk.read(path);
    let kind = kind_of(path);
    if kind == Kind::Lock {
        // Bytes of no meaning: some stand for all.
        return vec![plain(Part::Reserve, 0..bytes.len().min(64))];
    }
    let mut regions = vec![plain(Part::Header, 0..HEADER_BYTES)];
    let mut at = HEADER_BYTES;
    while at < bytes.len() && bytes[at..].iter().any(|&byte| byte != 0) {
        let region = match kind {
            Kind::Segment => batch(&bytes, at),
            Kind::Index => plain(Part::Entry, at..at + INDEX_ENTRY_BYTES),
            _ => plain(Part::Frame, at..at + FRAME_HEADER_BYTES + number(&bytes, at + 4, 4)),
        };
        at = region.bytes.end;
        regions.push(region);
    }
    match regions.last_mut() {
        Some(last) if last.part == Part::Frame => last.part = Part::LastFrame,
        _ => {}
    }
    if kind == Kind::Segment {
        tell_apart(specimen, path, &mut regions);
    }
    if at < bytes.len() {
        regions.push(Region { thing: at, ..plain(Part::Reserve, at..bytes.len()) });
    }
    regions
}

fn plain(part: Part, bytes: Range<usize>) -> Region {
    Region { part, thing: bytes.start, bytes, offsets: 0..0, segment: 0..0, marked: 0 }
}

fn batch(bytes: &[u8], at: usize) -> Region {
    let end = at + BATCH_HEADER_BYTES + number(bytes, at + 8, 4);
    let (base, span) = (number(bytes, at + 12, 8) as u64, number(bytes, at + 24, 4) as u64);
    Region { offsets: base..base + span, ..plain(Part::Batch, at..end) }
}

fn number(bytes: &[u8], at: usize, len: usize) -> usize {
    bytes[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// Sealed or not, trimmed or cut: by what is known of the partition and by the names of its other segments.
fn tell_apart(specimen: &Specimen, path: &Path, regions: &mut [Region]) {
    let next =
        specimen.disk.files().into_iter().filter(|other| {
            other.parent() == path.parent() && kind_of(other) == Kind::Segment && other.as_path() > path
        });
    let next = next.map(|other| base_of(&other)).min();
    let last = regions.last().expect("has a header").offsets.clone();
    let (first, cut) = (regions[1].offsets.start, next.unwrap_or(u64::MAX));
    let start = specimen.known[&specimen.place_of(path).expect("lies in a partition")][0].offset;
    let tail = next.is_none() && specimen.left == Left::Killed;
    let lone = regions.len() == 2;
    for region in regions {
        region.segment = first..last.end.min(cut);
        region.marked = last.start;
        region.part = match region.part {
            Part::Header if tail && lone => Part::LoneHeader,
            Part::Header if tail => Part::TailHeader,
            Part::Header => Part::Header,
            _ if region.offsets.end <= start => Part::TrimmedBatch,
            _ if region.offsets.start >= cut => Part::CutBatch,
            _ if tail && region.offsets == last => Part::LastTailBatch,
            _ if tail => Part::TailBatch,
            _ => Part::Batch,
        };
        region.offsets.end = region.offsets.end.min(cut.max(region.offsets.start));
    }
}

/// The base offset in a segment's name.
fn base_of(path: &Path) -> u64 {
    let name = path.file_name().expect("has a name").to_string_lossy();
    name.split('@').next().expect("begins with its base").parse().expect("is a number")
}
