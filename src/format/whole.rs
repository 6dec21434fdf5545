//! Judges batches that stand one behind the other, in one step for all of them: what every read does.
//!
//! Invariant: a header is whole exactly if [`decode`](BatchHeader::decode) takes it, a batch exactly if `decode`,
//! [`verify`](BatchHeader::verify) and [`check_records`] do, but for those with an extended header, which are left to
//! them, as is what is wrong. Used by `segment::scan`, `segment::reader` and recovery.

use super::Seed;
use super::batch::{BATCH_HEADER_BYTES, BatchHeader};
use super::crc::{Summed, Sums, with_sums};
use super::fetch::Fetched;
use super::plain::are_plain;
use super::record::check_records;
use crate::offset::Offset;

impl BatchHeader {
    /// The whole batch at the front of the bytes, if it begins with this offset and is valid, header, payload and records.
    #[inline]
    pub(crate) fn whole(bytes: &[u8], seed: Seed, position: u64, base: Offset) -> Option<BatchHeader> {
        with_sums(Whole(Here { bytes, seed, position, base }))
    }

    /// Goes over the batches at the front of the bytes as long as they are [`whole`](BatchHeader::whole), the first with
    /// this offset and each behind the one before, and as long as `each` asks for the next.
    #[inline]
    pub(crate) fn each_whole(
        bytes: &[u8],
        seed: Seed,
        position: u64,
        base: Offset,
        each: impl FnMut(&BatchHeader) -> bool,
    ) {
        with_sums(Each::<true, _>(Here { bytes, seed, position, base }, each));
    }

    /// The same without a look at what stands behind the headers, which may lie beyond the bytes.
    #[inline]
    pub(crate) fn each_header(
        bytes: &[u8],
        seed: Seed,
        position: u64,
        base: Offset,
        each: impl FnMut(&BatchHeader) -> bool,
    ) {
        with_sums(Each::<false, _>(Here { bytes, seed, position, base }, each));
    }
}

/// Bytes of a file from a position on, where a batch with this base offset is expected.
#[derive(Clone, Copy)]
struct Here<'a> {
    bytes: &'a [u8],
    seed: Seed,
    position: u64,
    base: Offset,
}

impl<'a> Here<'a> {
    #[inline(always)]
    fn header(&self, sums: impl Sums) -> Option<BatchHeader> {
        let head = self.bytes.first_chunk::<BATCH_HEADER_BYTES>()?;
        let header = BatchHeader::fields(head);
        let number = |at: usize| u128::from_le_bytes(*head[at..].first_chunk().expect("lies within the header"));
        let words = [number(4) & (u128::MAX >> 48), number(14), number(30)];
        let is_valid = header.header_bytes == BATCH_HEADER_BYTES
            && header.base == self.base
            && self.seed.checksum_of_words_by(sums, self.position, words) == header.header_checksum
            && header.is_understood()
            && header.has_possible_count()
            && header.has_possible_span();
        is_valid.then_some(header)
    }

    #[inline(always)]
    fn whole(&self, sums: impl Sums) -> Option<BatchHeader> {
        let header = self.header(sums)?;
        let payload = self.bytes[BATCH_HEADER_BYTES..].get(..header.payload_bytes)?;
        let is_valid = self.seed.checksum_by(sums, self.position, payload) == header.payload_checksum
            && (are_plain(header.count, payload) || self.has_valid_records(payload));
        is_valid.then_some(header)
    }

    /// Reads the header once more: the one in hand would have to stand in memory for this.
    #[inline(never)]
    fn has_valid_records(&self, payload: &[u8]) -> bool {
        let header = self.bytes.first_chunk().map(BatchHeader::fields);
        header.is_some_and(|header| check_records(&header, payload).is_ok())
    }

    #[inline(always)]
    fn behind(&self, header: &BatchHeader) -> Here<'a> {
        let bytes = self.bytes.get(header.bytes()..).unwrap_or_default();
        Here { bytes, seed: self.seed, position: self.position + header.bytes() as u64, base: header.end() }
    }
}

struct Whole<'a>(Here<'a>);

impl Summed for Whole<'_> {
    type Output = Option<BatchHeader>;

    #[inline(always)]
    fn run(self, sums: impl Sums) -> Option<BatchHeader> {
        self.0.whole(sums)
    }
}

/// Goes on over whole batches, or over headers alone.
struct Each<'a, const WHOLE: bool, F>(Here<'a>, F);

impl<const WHOLE: bool, F: FnMut(&BatchHeader) -> bool> Summed for Each<'_, WHOLE, F> {
    type Output = ();

    #[inline(always)]
    fn run(self, sums: impl Sums) {
        let Each(mut here, mut each) = self;
        let (all, mut at, mut fetched) = (here.bytes, 0, Fetched::nothing());
        loop {
            let Some(header) = (if WHOLE { here.whole(sums) } else { here.header(sums) }) else { return };
            if !each(&header) {
                return;
            }
            here = here.behind(&header);
            // Not before the first: who asks for one batch needs no more than that.
            if WHOLE {
                at += header.bytes();
                fetched.up_to(all, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{SEGMENT, batch, plain, varied};

    const AT: u64 = 96;

    /// Two batches, the second behind the first.
    fn two() -> (Vec<u8>, usize) {
        let mut bytes = batch(&varied(), 101, AT);
        let first = bytes.len();
        bytes.extend(batch(&plain(), 104, AT + first as u64));
        (bytes, first)
    }

    /// How many are gone over, of as many as asked for.
    fn passed(bytes: &[u8], most: usize) -> (usize, usize) {
        let (base, mut whole, mut headers) = (Offset::new(101), 0, 0);
        let count = |passed: &mut usize| {
            *passed += 1;
            *passed < most
        };
        BatchHeader::each_whole(bytes, SEGMENT.seed(), AT, base, |_| count(&mut whole));
        BatchHeader::each_header(bytes, SEGMENT.seed(), AT, base, |_| count(&mut headers));
        (whole, headers)
    }

    #[test]
    fn they_are_gone_over_as_long_as_the_next_is_asked_for_and_there() {
        let (bytes, first) = two();
        assert_eq!((passed(&bytes, 9), passed(&bytes, 1)), ((2, 2), (1, 1)));
        assert_eq!(passed(&bytes[..first + BATCH_HEADER_BYTES], 9), (1, 2), "a header says nothing of its payload");
        assert_eq!(passed(&bytes[..first + BATCH_HEADER_BYTES - 1], 9), (1, 1));
        assert_eq!(passed(&bytes[first..], 9), (0, 0), "it stands somewhere else, and has another offset");
    }

    #[test]
    fn every_flipped_bit_stops_at_the_batch_that_it_is_in() {
        let (good, first) = two();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (in_first, at) = (bit / 8 < first, (bit / 8) % first);
            let whole = usize::from(!in_first);
            let headers = if at < BATCH_HEADER_BYTES { whole } else { 2 };
            assert_eq!(passed(&bad, 9), (whole, headers), "bit {bit}");
        }
    }
}
