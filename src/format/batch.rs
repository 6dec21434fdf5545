//! The batch: what is written and checked as one.
//!
//! Invariant: a length is trusted only after the header's checksum, records only after the payload's. `log::append`
//! encodes straight into the active segment's memory; `segment::scan` and `segment::reader` decode.

use super::crc::{Message, Summed, Sums, with_sums};
use super::cursor::{Cursor, Slots};
use super::plain::{Usual, lone_value};
use super::record::{next_record, put_record, record_bytes};
use super::{DecodeError, Seed};
use crate::offset::{Offset, Timestamp};
use crate::record::Record;

/// The length of the header as this version writes it, and the least that any version may.
pub(crate) const BATCH_HEADER_BYTES: usize = LENGTH as usize;
const LENGTH: u8 = 46;
/// As a durable mark: so far below, or unknown, that nothing follows from it.
pub(crate) const NO_MARK: u32 = u32::MAX;

/// The last millisecond that six bytes hold, in the year 10889.
const TIME_MAX: i64 = (1 << 48) - 1;

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

    /// The header behind its checksum, as little-endian numbers: 10 bytes, 16 and 16. Zeros stand for its payload's.
    #[inline]
    fn words(&self) -> [u128; 3] {
        let base = u128::from(self.base.get());
        let time = u128::from(self.append_time.as_millis().cast_unsigned());
        let low = |number: u128, bits: u32| number & ((1 << bits) - 1);
        let first = u128::from(narrow(self.payload_bytes)) << 32 | low(base, 16) << 64;
        let second = base >> 16 | u128::from(self.count) << 48 | u128::from(self.span) << 80 | low(time, 16) << 112;
        let third = low(time >> 16, 32)
            | u128::from(self.greatest_delta.cast_unsigned()) << 32
            | u128::from(self.mark) << 64
            | u128::from(LENGTH) << 96
            | u128::from(self.codec) << 104
            | u128::from(self.flags) << 112;
        [first, second, third]
    }

    /// Writes the header, with its payload's checksum and its own.
    #[inline(always)]
    fn seal(
        &self,
        sums: impl Sums,
        (seed, position): (Seed, u64),
        payload: Message<'_>,
        out: &mut [u8; BATCH_HEADER_BYTES],
    ) {
        let words = self.words();
        let (of_payload, own) = seed.checksums_by(sums, position, payload, words);
        let front = u128::from(own) | u128::from(of_payload) << 32 | words[0] << 32;
        out[..14].copy_from_slice(&front.to_le_bytes()[..14]);
        out[14..30].copy_from_slice(&words[1].to_le_bytes());
        out[30..].copy_from_slice(&words[2].to_le_bytes());
    }
}

/// What the log decides of a batch before it is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a, 'r> {
    /// The offset of the first record; the others follow without gaps.
    pub(crate) base: Offset,
    pub(crate) append_time: Timestamp,
    /// How far below the base everything is synced, in offsets; [`NO_MARK`] if it is more than that.
    pub(crate) mark: u32,
    /// At least one.
    pub(crate) records: &'a [Record<'r>],
}

/// The exact size of the payload that [`encode`] writes for these records.
#[inline]
pub(crate) fn payload_bytes(records: &[Record<'_>], append_time: Timestamp) -> u64 {
    let append_time = storable(append_time);
    records.iter().fold(0, |sum: u64, record| sum.saturating_add(record_bytes(record, append_time)))
}

/// Encodes a batch into exactly its 46 bytes and `payload_bytes`, for this position of a segment file. Gives the greatest
/// timestamp of a record, and the append time as it was stored.
///
/// Panics if `out` is not of that length, or if there is no record: the caller's errors. Runs at every append.
#[inline]
pub(crate) fn encode(
    draft: &Draft<'_, '_>,
    payload_bytes: usize,
    seed: Seed,
    position: u64,
    out: &mut [u8],
) -> (Timestamp, Timestamp) {
    with_sums(Encode { draft, payload_bytes, seed, position, out })
}

/// What [`encode`] does.
struct Encode<'a, 'd, 'r> {
    draft: &'a Draft<'d, 'r>,
    payload_bytes: usize,
    seed: Seed,
    position: u64,
    out: &'a mut [u8],
}

impl Summed for Encode<'_, '_, '_> {
    type Output = (Timestamp, Timestamp);

    #[inline(always)]
    fn run(self, sums: impl Sums) -> (Timestamp, Timestamp) {
        let Encode { draft, payload_bytes, seed, position, out } = self;
        let (head, payload) = out.split_first_chunk_mut().expect("room for the header");
        assert_eq!(payload.len(), payload_bytes, "room for the payload");
        let append_time = storable(draft.append_time);
        if let Some((front, value)) = lone_value(draft.records) {
            let (front_bytes, rest) = payload.split_first_chunk_mut().expect("room for two bytes");
            *front_bytes = front.to_le_bytes();
            rest.copy_from_slice(value);
            // Summed up where it comes from: what was just stored couldn't be loaded in blocks before all of it is.
            let header = draft.header(payload_bytes, append_time, append_time);
            header.seal(sums, (seed, position), Message::Fronted(front, value), head);
            return (append_time, append_time);
        }
        let greatest = put_records(draft.records, append_time, payload);
        let header = draft.header(payload_bytes, append_time, greatest);
        header.seal(sums, (seed, position), Message::Whole(payload), head);
        (greatest, append_time)
    }
}

impl Draft<'_, '_> {
    /// The header without checksums.
    #[inline]
    fn header(&self, payload_bytes: usize, append_time: Timestamp, greatest: Timestamp) -> BatchHeader {
        let count = narrow(self.records.len());
        assert!(count > 0, "a batch holds at least one record");
        BatchHeader {
            header_bytes: BATCH_HEADER_BYTES,
            payload_bytes,
            base: self.base,
            count,
            span: count,
            append_time,
            greatest_delta: saturating_delta(greatest, append_time),
            mark: self.mark,
            codec: 0,
            flags: 0,
            header_checksum: 0,
            payload_checksum: 0,
        }
    }
}

/// Writes the records and gives the greatest of their timestamps.
// By itself, so that the loop has the registers.
#[inline(never)]
fn put_records(records: &[Record<'_>], append_time: Timestamp, payload: &mut [u8]) -> Timestamp {
    let mut out = Slots::new(payload);
    let mut greatest = Timestamp::MIN;
    for record in records {
        put_record(record, append_time, &mut out);
        greatest = greatest.max(record.get_timestamp().unwrap_or(append_time));
    }
    assert_eq!(out.left(), 0, "the payload has the size that was computed");
    greatest
}

/// Gives a batch that was verified, and is copied to another file or position, new checksums and a new mark.
///
/// Panics if the bytes are not exactly one batch: the caller's error.
pub(crate) fn reseal(batch: &mut [u8], seed: Seed, position: u64, mark: u32) {
    with_sums(Reseal { batch, seed, position, mark });
}

/// What [`reseal`] does.
struct Reseal<'a> {
    batch: &'a mut [u8],
    seed: Seed,
    position: u64,
    mark: u32,
}

impl Summed for Reseal<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, sums: impl Sums) {
        let Reseal { batch, seed, position, mark } = self;
        let header = BatchHeader::trusted(batch).filter(|header| header.bytes() == batch.len());
        let header = BatchHeader { mark, ..header.expect("exactly one verified batch") };
        let header_bytes = header.header_bytes;
        if header_bytes == BATCH_HEADER_BYTES {
            let (head, payload) = batch.split_first_chunk_mut().expect("a header of this length");
            return header.seal(sums, (seed, position), Message::Whole(payload), head);
        }
        // What a longer header says beyond is kept.
        let payload_checksum = seed.checksum_by(sums, position, &batch[header_bytes..]);
        batch[4..8].copy_from_slice(&payload_checksum.to_le_bytes());
        batch[38..42].copy_from_slice(&mark.to_le_bytes());
        let header_checksum = seed.checksum_by(sums, position, &batch[4..header_bytes]);
        batch[..4].copy_from_slice(&header_checksum.to_le_bytes());
    }
}

/// The append time as six bytes can hold it: a clock before 1970 counts as 1970.
#[inline]
fn storable(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().clamp(0, TIME_MAX))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "clamped to the type's range")]
fn saturating_delta(time: Timestamp, append_time: Timestamp) -> i32 {
    let delta = time.as_millis().saturating_sub(append_time.as_millis());
    delta.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// Panics above `u32::MAX`: a batch fits into a segment of at most 2 GiB.
#[inline]
fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("a batch is smaller than 4 GiB")
}

#[inline]
fn word(header: &[u8; BATCH_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::check_records;
    use crate::format::fixtures::{SEGMENT, TIME, batch, plain, resealed, varied};

    const AT: u64 = 96;

    fn read(bytes: &[u8], seed: Seed, position: u64) -> Result<BatchHeader, DecodeError> {
        let header = BatchHeader::decode(bytes, seed, position)?;
        check_records(&header, header.verify(bytes, seed, position)?)?;
        Ok(header)
    }

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
    fn an_append_time_has_six_bytes() {
        assert_eq!(storable(Timestamp::MAX), Timestamp::from_millis(281_474_976_710_655));
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
    fn a_resealed_batch_is_valid_at_its_new_position_only() {
        let mut moved = batch(&varied(), 101, AT);
        reseal(&mut moved, SEGMENT.seed(), 4096, 0);
        let header = read(&moved, SEGMENT.seed(), 4096).expect("is valid");
        assert_eq!((header.mark, header.durable_end()), (0, Offset::new(101)));
        assert!(read(&moved, SEGMENT.seed(), AT).is_err());
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

    #[test]
    fn the_greatest_timestamp_is_told_exactly_by_who_encodes_and_who_looks_into_the_payload() {
        let year = 365 * 24 * 3600 * 1000;
        for millis in [TIME.as_millis() - 30 * year, TIME.as_millis() - 5, TIME.as_millis() + 30 * year] {
            let time = |after: i64| Timestamp::from_millis(millis + after);
            let records = [Record::new("a").timestamp(time(0)), Record::new("b").timestamp(time(3))];
            let draft = Draft { base: Offset::new(101), append_time: TIME, mark: 0, records: &records };
            let size = usize::try_from(payload_bytes(&records, TIME)).expect("is small");
            let mut bytes = vec![0; BATCH_HEADER_BYTES + size];
            assert_eq!(encode(&draft, size, SEGMENT.seed(), AT, &mut bytes), (time(3), TIME));
            let header = read(&bytes, SEGMENT.seed(), AT).expect("is valid");
            assert_eq!(header.greatest_in(&bytes[BATCH_HEADER_BYTES..]), time(3));
            assert!(header.greatest_timestamp() >= time(3), "no record is later than the header says");
        }
    }

    #[test]
    fn a_clock_outside_of_six_bytes_is_kept_within_them() {
        assert_eq!(storable(Timestamp::MIN), Timestamp::from_millis(0));
        assert_eq!(storable(Timestamp::MAX), Timestamp::from_millis(TIME_MAX));
    }
}
