//! The batch: what is written and checked as one.
//!
//! Invariant: a length is trusted only after the header's checksum, records only after the payload's. `encode` writes it;
//! `segment::scan` and `segment::reader` decode.

use super::cursor::Cursor;
use super::plain::Usual;
use super::record::next_record;
use super::{DecodeError, Seed};
use crate::offset::{Offset, Timestamp};

/// The length of the header as this version writes it, and the least that any version may.
pub(crate) const BATCH_HEADER_BYTES: usize = LENGTH as usize;
pub(super) const LENGTH: u8 = 46;
/// As a durable mark: so far below, or unknown, that nothing follows from it.
pub(crate) const NO_MARK: u32 = u32::MAX;

/// What stands in front of a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// The length of the header itself: 46 and extensions, which are skipped.
    pub(crate) header_bytes: usize,
    pub(crate) payload_bytes: usize,
    /// The offset of the first record that was appended.
    pub(crate) base: Offset,
    /// How many records there are; at least one.
    pub(crate) count: u32,
    /// How many offsets the batch stands for; more than the records once some were removed.
    pub(crate) span: u32,
    pub(crate) append_time: Timestamp,
    /// The greatest timestamp of a record, as milliseconds after the append time; saturates.
    pub(crate) greatest_delta: i32,
    /// How far below the base everything was known to be synced when this was written, in offsets; saturates.
    pub(crate) mark: u32,
    pub(crate) codec: u8,
    /// Flags that must be understood.
    pub(crate) flags: u8,
    pub(crate) header_checksum: u32,
    pub(crate) payload_checksum: u32,
}

impl BatchHeader {
    /// The offset after the last that the batch stands for.
    #[inline]
    pub(crate) fn end(&self) -> Offset {
        self.base.plus(u64::from(self.span))
    }

    /// The length of header and payload.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.header_bytes.saturating_add(self.payload_bytes)
    }

    /// Everything below was known to be synced when the batch was written; 0 where the mark says nothing.
    #[inline]
    pub(crate) fn durable_end(&self) -> Offset {
        if self.mark == NO_MARK { Offset::ZERO } else { self.base.minus(u64::from(self.mark)) }
    }

    /// No record is later than this.
    pub(crate) fn greatest_timestamp(&self) -> Timestamp {
        match self.greatest_delta {
            i32::MAX => Timestamp::MAX,
            delta => Timestamp::from_millis(self.append_time.as_millis().saturating_add(i64::from(delta))),
        }
    }

    /// Whether the header can tell the greatest timestamp of its records: one within a month of the append.
    pub(crate) fn is_near_in_time(&self) -> bool {
        !matches!(self.greatest_delta, i32::MIN | i32::MAX)
    }

    /// The greatest timestamp of its records, read from them. The payload was checked.
    pub(crate) fn greatest_in(&self, payload: &[u8]) -> Timestamp {
        let (mut at, usual, mut greatest) = (0, Usual::of(self.count, payload), Timestamp::MIN);
        for index in 0..self.count {
            let Ok((record, end)) = next_record(payload, at, usual, index, self.append_time) else { break };
            greatest = greatest.max(record.timestamp.unwrap_or(self.append_time));
            at = end;
        }
        greatest
    }

    /// Reads and checks the header of the batch at the front of the bytes, which stands at this position of the file.
    #[inline]
    pub(crate) fn decode(bytes: &[u8], seed: Seed, position: u64) -> Result<BatchHeader, DecodeError> {
        let header = BatchHeader::parse(bytes)?;
        seed.check(position, &bytes[4..header.header_bytes], header.header_checksum)?;
        header.check()?;
        Ok(header)
    }

    /// Whether a header may begin here, by its length: sends zeros and text away at no cost. Headers of later versions
    /// pass, since they are evidence too.
    #[inline]
    pub(crate) fn may_begin(bytes: &[u8]) -> bool {
        bytes.len() >= BATCH_HEADER_BYTES && bytes[42] >= LENGTH
    }

    /// A header whose checksum holds, also one that this version doesn't understand.
    pub(crate) fn evident(bytes: &[u8], seed: Seed, position: u64) -> Option<BatchHeader> {
        match BatchHeader::decode(bytes, seed, position) {
            Ok(header) => Some(header),
            Err(DecodeError::Unsupported { .. }) => BatchHeader::trusted(bytes),
            Err(_) => None,
        }
    }

    /// Reads the header of a batch that was checked before.
    #[inline]
    pub(crate) fn trusted(bytes: &[u8]) -> Option<BatchHeader> {
        let header = BatchHeader::fields(bytes.first_chunk()?);
        (BATCH_HEADER_BYTES..=bytes.len()).contains(&header.header_bytes).then_some(header)
    }

    /// Checks the payload of the batch at the front of the bytes, and lends it.
    #[inline]
    pub(crate) fn verify<'a>(&self, bytes: &'a [u8], seed: Seed, position: u64) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { found: bytes.len() as u64, expected: self.bytes() as u64 };
        let payload = bytes.get(self.header_bytes..self.bytes()).ok_or(short)?;
        seed.check(position, payload, self.payload_checksum)?;
        Ok(payload)
    }

    #[inline]
    fn parse(bytes: &[u8]) -> Result<BatchHeader, DecodeError> {
        let header = BatchHeader::fields(&Cursor::new(bytes).take_array::<BATCH_HEADER_BYTES>()?);
        if header.header_bytes < BATCH_HEADER_BYTES {
            return Err(DecodeError::Malformed("batch header shorter than 46 bytes"));
        }
        if bytes.len() < header.header_bytes {
            return Err(DecodeError::Short { found: bytes.len() as u64, expected: header.header_bytes as u64 });
        }
        Ok(header)
    }

    #[inline]
    pub(super) fn fields(header: &[u8; BATCH_HEADER_BYTES]) -> BatchHeader {
        let time = u64::from_le_bytes([header[28], header[29], header[30], header[31], header[32], header[33], 0, 0]);
        BatchHeader {
            header_bytes: usize::from(header[42]),
            payload_bytes: word(header, 8) as usize,
            base: Offset::new(u64::from(word(header, 16)) << 32 | u64::from(word(header, 12))),
            count: word(header, 20),
            span: word(header, 24),
            append_time: Timestamp::from_millis(time.cast_signed()),
            greatest_delta: word(header, 34).cast_signed(),
            mark: word(header, 38),
            codec: header[43],
            flags: header[44],
            header_checksum: word(header, 0),
            payload_checksum: word(header, 4),
        }
    }

    /// What a header must keep beside its checksum.
    #[inline]
    fn check(&self) -> Result<(), DecodeError> {
        if !self.is_understood() {
            return Err(self.unsupported());
        }
        if !self.has_possible_count() {
            return Err(DecodeError::Malformed("batch with an impossible number of records"));
        }
        if !self.has_possible_span() {
            return Err(DecodeError::Malformed("batch with an impossible range of offsets"));
        }
        Ok(())
    }

    #[inline]
    pub(super) fn is_understood(&self) -> bool {
        self.codec == 0 && self.flags == 0
    }

    /// A record takes two bytes, so the count is bounded by the payload.
    #[inline]
    pub(super) fn has_possible_count(&self) -> bool {
        self.count != 0 && u64::from(self.count) * 2 <= self.payload_bytes as u64
    }

    #[inline]
    pub(super) fn has_possible_span(&self) -> bool {
        self.span >= self.count && self.base.get().checked_add(u64::from(self.span)).is_some()
    }

    #[cold]
    fn unsupported(&self) -> DecodeError {
        let found = format!("version 1 with batch codec {} and batch flags {:#04x}", self.codec, self.flags);
        DecodeError::Unsupported { found, supported: "version 1 with codec 0 and none" }
    }
}

#[inline]
fn word(header: &[u8; BATCH_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{SEGMENT, TIME, batch, plain, read, resealed, varied};
    use crate::record::Record;

    const AT: u64 = 96;

    fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> DecodeError {
        let bytes = resealed(&batch(&varied(), 101, AT), AT, change);
        read(&bytes, SEGMENT.seed(), AT).expect_err("is refused")
    }

    #[test]
    fn a_header_comes_back() {
        let bytes = batch(&varied(), 101, AT);
        let header = read(&bytes, SEGMENT.seed(), AT).expect("is valid");
        assert_eq!((header.base, header.end(), header.count), (Offset::new(101), Offset::new(104), 3));
        assert_eq!((header.bytes(), header.durable_end()), (bytes.len(), Offset::new(100)));
        assert_eq!((header.append_time, header.greatest_timestamp()), (TIME, TIME));
        assert_eq!(BatchHeader::trusted(&bytes), Some(header));
    }

    #[test]
    fn the_shortest_batch_there_is_comes_back() {
        let bytes = batch(&[Record::new("")], 101, AT);
        assert_eq!(bytes.len(), BATCH_HEADER_BYTES + 2);
        assert_eq!(read(&bytes, SEGMENT.seed(), AT).expect("is valid").count, 1);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = batch(&varied(), 101, AT);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad, SEGMENT.seed(), AT).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_batch_is_whole_exactly_if_every_check_of_its_own_passes() {
        let whole = |bytes: &[u8], base: u64| BatchHeader::whole(bytes, SEGMENT.seed(), AT, Offset::new(base));
        for good in [batch(&varied(), 101, AT), batch(&plain(), 101, AT)] {
            assert_eq!(whole(&good, 101), Some(read(&good, SEGMENT.seed(), AT).expect("is valid")));
            assert_eq!((whole(&good, 100), whole(&good[..good.len() - 1], 101), whole(&[], 101)), (None, None, None));
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(whole(&bad, 101), None, "bit {bit}");
                if bit / 8 == 42 {
                    continue; // the length of the header: its own test
                }
                // With its checksums made to match it is refused, or read, for what it says.
                let sealed = resealed(&good, AT, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                let read = read(&sealed, SEGMENT.seed(), AT).ok().filter(|header| header.base == Offset::new(101));
                assert_eq!(whole(&sealed, 101), read, "bit {bit}, resealed");
            }
        }
    }

    #[test]
    fn a_checksum_of_zero_is_checked_like_any_other() {
        let mut bytes = batch(&varied(), 101, AT);
        bytes[..4].fill(0);
        assert!(matches!(read(&bytes, SEGMENT.seed(), AT), Err(DecodeError::Checksum { found: 0, .. })));
        let mut bytes = batch(&varied(), 101, AT);
        bytes[4..8].fill(0);
        let header = SEGMENT.seed().checksum(AT, &bytes[4..BATCH_HEADER_BYTES]);
        bytes[..4].copy_from_slice(&header.to_le_bytes());
        assert!(matches!(read(&bytes, SEGMENT.seed(), AT), Err(DecodeError::Checksum { found: 0, .. })));
    }

    #[test]
    fn a_batch_cut_anywhere_is_short() {
        let good = batch(&varied(), 101, AT);
        for length in 0..good.len() {
            let cut = read(&good[..length], SEGMENT.seed(), AT);
            assert!(matches!(cut, Err(DecodeError::Short { .. })), "{length}");
        }
    }

    #[test]
    fn a_batch_elsewhere_or_in_another_segment_never_validates() {
        let bytes = batch(&varied(), 101, AT);
        let other = crate::format::Identity { base: Offset::new(99), ..SEGMENT };
        for position in [0, AT + 1, AT + (1 << 32), u64::MAX] {
            assert!(read(&bytes, SEGMENT.seed(), position).is_err(), "{position}");
        }
        assert!(read(&bytes, other.seed(), AT).is_err());
    }

    #[test]
    fn zeros_are_never_a_batch_under_any_seed() {
        let refused = Err(DecodeError::Malformed("batch header shorter than 46 bytes"));
        assert_eq!(BatchHeader::decode(&[0; 512], SEGMENT.seed(), AT), refused);
        assert_eq!(BatchHeader::trusted(&[0; 512]), None);
    }

    #[test]
    fn what_must_be_understood_is_refused_and_what_may_be_ignored_is() {
        let supported = "version 1 with codec 0 and none";
        for (codec, flags, found) in [
            (2, 0x80, "version 1 with batch codec 2 and batch flags 0x80"),
            (2, 0, "version 1 with batch codec 2 and batch flags 0x00"),
            (0, 1, "version 1 with batch codec 0 and batch flags 0x01"),
        ] {
            let refused = refusal(|bytes| bytes[43..45].copy_from_slice(&[codec, flags]));
            assert_eq!(refused, DecodeError::Unsupported { found: found.into(), supported });
        }
        let later = resealed(&batch(&varied(), 101, AT), AT, |bytes| bytes[43] = 2);
        let evident = BatchHeader::evident(&later, SEGMENT.seed(), AT).expect("is evidence all the same");
        assert_eq!((evident.end(), evident.codec), (Offset::new(104), 2));
        let flagged = resealed(&batch(&varied(), 101, AT), AT, |bytes| bytes[45] = 0xff);
        assert!(read(&flagged, SEGMENT.seed(), AT).is_ok());
    }

    #[test]
    fn the_numbers_of_a_header_are_judged_without_its_payload() {
        let judged = |count: u32, span: u32| {
            let bytes = resealed(&batch(&plain(), 100, AT), AT, |bytes| {
                bytes[20..24].copy_from_slice(&count.to_le_bytes());
                bytes[24..28].copy_from_slice(&span.to_le_bytes());
            });
            BatchHeader::decode(&bytes, SEGMENT.seed(), AT).map(|header| (header.count, header.span))
        };
        let most = u32::try_from(batch(&plain(), 100, AT).len() - BATCH_HEADER_BYTES).expect("is small") / 2;
        let number = Err(DecodeError::Malformed("batch with an impossible number of records"));
        let range = Err(DecodeError::Malformed("batch with an impossible range of offsets"));
        assert_eq!(judged(most, most), Ok((most, most)));
        assert_eq!(judged(1, 9), Ok((1, 9)));
        assert_eq!((judged(0, 1), judged(most + 1, most + 1)), (number.clone(), number));
        assert_eq!(judged(2, 1), range);
    }

    #[test]
    fn a_header_may_begin_and_is_evident_by_itself_also_one_of_a_later_version() {
        let good = batch(&plain(), 100, AT);
        let header = &good[..BATCH_HEADER_BYTES];
        assert!(BatchHeader::may_begin(header) && BatchHeader::trusted(header).is_some());
        assert!(!BatchHeader::may_begin(&header[..45]) && !BatchHeader::may_begin(&[45; 46]));
        assert!(BatchHeader::evident(header, SEGMENT.seed(), AT).is_some());
        assert!(BatchHeader::evident(header, SEGMENT.seed(), AT + 1).is_none());
        let later = resealed(&good, AT, |bytes| bytes[44] = 1);
        assert!(BatchHeader::evident(&later, SEGMENT.seed(), AT).is_some());
    }

    #[test]
    fn an_extension_of_the_header_is_skipped_and_covered_by_its_checksum() {
        let good = batch(&plain(), 100, AT);
        let mut longer = resealed(&good, AT, |bytes| {
            bytes[42] = 50;
            bytes.splice(46..46, [1, 2, 3, 4]);
        });
        assert_eq!(read(&longer, SEGMENT.seed(), AT).expect("is valid").bytes(), good.len() + 4);
        assert_eq!(BatchHeader::whole(&longer, SEGMENT.seed(), AT, Offset::new(101)), None, "is left to the long way");
        let cut = BatchHeader::decode(&longer[..49], SEGMENT.seed(), AT);
        assert_eq!(cut, Err(DecodeError::Short { found: 49, expected: 50 }));
        longer[47] ^= 1;
        assert!(matches!(read(&longer, SEGMENT.seed(), AT), Err(DecodeError::Checksum { .. })));
    }

    #[test]
    fn impossible_numbers_are_refused_though_the_checksum_matches() {
        let count = "batch with an impossible number of records";
        let range = "batch with an impossible range of offsets";
        let cases: [(usize, u64, usize, &str); 5] = [
            (20, 0, 4, count),
            (20, u64::from(u32::MAX), 4, count),
            (24, 2, 4, range),
            (12, u64::MAX - 2, 8, range),
            (42, 45, 1, "batch header shorter than 46 bytes"),
        ];
        for (at, value, bytes, reason) in cases {
            let refused = refusal(|batch| {
                batch[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            });
            assert_eq!(refused, DecodeError::Malformed(reason), "field at {at}");
        }
    }

    #[test]
    fn saturated_fields_claim_nothing() {
        let records = [Record::new("late").timestamp(Timestamp::MAX), Record::new("early").timestamp(Timestamp::MIN)];
        let bytes = batch(&records, 1 << 40, AT);
        let header = read(&bytes, SEGMENT.seed(), AT).expect("is valid");
        assert_eq!(header.greatest_timestamp(), Timestamp::MAX);
        assert_eq!(BatchHeader { mark: NO_MARK, ..header }.durable_end(), Offset::ZERO);
        let early = BatchHeader { greatest_delta: i32::MIN, ..header };
        assert!(early.greatest_timestamp() < TIME);
    }
}
