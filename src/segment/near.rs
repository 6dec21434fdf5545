//! Finds one batch by hints alone: the index, the headers in front of it, and what lengths are usual.
//!
//! Invariant: no hint is checked, and nothing is believed but a batch that is valid at its position and has the offset that
//! was promised; no wrong way leads to one. Whatever is not as it should be means `None`, and `reader` looks again, step by
//! step. No more is looked at than lies between two entries of an index.

use std::sync::Arc;

use super::{Cursor, Run, Segment};
use crate::error::Result;
use crate::format::{BatchHeader, fetch};
use crate::io::View;
use crate::offset::Offset;

/// How much of a stretch is looked at if its end isn't known, and at most: a long one is one batch, and read in one piece.
const STRETCH_BYTES_MIN: usize = 8 << 10;
const STRETCH_BYTES_MAX: usize = 256 << 10;
/// How much around a batch is asked for before it is looked at.
const AROUND_BYTES: usize = 256;

/// Reads the batch that holds an offset, if it is there. Records from `limit` on are left out.
pub(crate) fn read_one(segment: &Arc<Segment>, offset: Offset, limit: Offset) -> Result<Option<Run>> {
    let whole = |bytes: &[u8], position, base| BatchHeader::whole(bytes, segment.seed, position, base);
    let Some(Near { view, at, header, .. }) = Near::find(segment, offset, whole) else {
        return Cursor::seek(segment, offset)?.read(offset, limit, 1);
    };
    Ok(Some(Run {
        view: view.behind(at).cut(header.bytes()),
        partition: segment.home.partition,
        epoch: segment.id.epoch,
        first: offset,
        limit,
        base: header.base,
        behind: header.end(),
        dense: header.count == header.span,
    }))
}

/// Position and base offset of the batch that holds an offset. Its header is valid; its payload wasn't looked at.
pub(super) fn position_of(segment: &Segment, offset: Offset) -> Option<(usize, Offset)> {
    let valid = |bytes: &[u8], position, base| {
        let header = BatchHeader::decode(bytes, segment.seed, position);
        header.ok().filter(|header| header.base == base)
    };
    Near::find(segment, offset, valid).map(|near| (near.position, near.header.base))
}

struct Near {
    view: View,
    /// Where the batch stands in the view, and in the file.
    at: usize,
    position: usize,
    header: BatchHeader,
}

impl Near {
    /// `judge` says whether the batch at the front of the bytes, which have this position, is valid with this base offset.
    fn find(
        segment: &Segment,
        offset: Offset,
        judge: impl Fn(&[u8], u64, Offset) -> Option<BatchHeader>,
    ) -> Option<Near> {
        let (source, stretch) = segment.stretch(offset)?;
        let (first, start) = stretch.from;
        let bytes = stretch.bytes().map_or(STRETCH_BYTES_MIN, |bytes| bytes.min(STRETCH_BYTES_MAX));
        let view = source.into_view(start, bytes).ok()?;
        let (likely, alike) = stretch.share(offset).unwrap_or_default();
        let judged = |at: usize, base| {
            let header = judge(view.get(at..)?, (start + at) as u64, base)?;
            Some((at, header))
        };
        let direct = || {
            fetch(around(view.get(likely..)?, 0));
            judged(likely, offset)
        };
        let by_headers = || {
            fetch(around(&view, likely));
            let (at, base) = hop(&view[..view.len().min(bytes)], first, offset)?;
            judged(at, base)
        };
        let (at, header) = if alike { direct().or_else(by_headers)? } else { by_headers()? };
        Some(Near { position: start + at, view, at, header })
    }
}

/// The bytes up to a batch that stands about so far in them, and some more; no more than is worth asking for.
pub(super) fn around(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[..bytes.len().min(at.min(STRETCH_BYTES_MIN) + AROUND_BYTES)]
}

/// Goes from header to header, the first of which has this offset, to the batch that holds an offset.
fn hop(bytes: &[u8], first: Offset, offset: Offset) -> Option<(usize, Offset)> {
    let (mut at, mut next) = (0, first);
    loop {
        let header = BatchHeader::trusted(bytes.get(at..)?).filter(|header| header.base == next && header.span > 0)?;
        if header.end() > offset {
            return Some((at, next));
        }
        at = at.saturating_add(header.bytes());
        next = header.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{batch, plain, varied};

    #[test]
    fn headers_lead_to_the_batch_that_holds_an_offset_and_no_further_than_they_are_there() {
        let mut bytes = batch(&varied(), 101, 96);
        let second = bytes.len();
        bytes.extend(batch(&plain(), 104, 96 + second as u64));
        let end = 104 + plain().len() as u64;
        let to =
            |bytes: &[u8], offset| hop(bytes, Offset::new(101), Offset::new(offset)).map(|(at, base)| (at, base.get()));
        assert_eq!(
            [100, 101, 103, 104, end - 1].map(|offset| to(&bytes, offset)),
            [Some((0, 101)), Some((0, 101)), Some((0, 101)), Some((second, 104)), Some((second, 104)),]
        );
        assert_eq!((to(&bytes, end), to(&bytes[..second], 104), to(&[], 101)), (None, None, None));
        assert_eq!(hop(&bytes, Offset::new(100), Offset::new(104)), None, "another batch stands there");
    }
}
