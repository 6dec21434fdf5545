//! Writing a batch: records first, then the header with both checksums.
//!
//! Invariant: what is encoded takes exactly the bytes that were computed before, and is valid at its position of its file
//! alone. `log::append` encodes straight into the active segment's memory; recovery and repair reseal what they copy.

use super::Seed;
use super::batch::{BATCH_HEADER_BYTES, BatchHeader, LENGTH};
use super::crc::{Message, Summed, Sums, with_sums};
use super::cursor::Slots;
use super::plain::short_value;
use super::record::{put_record, record_bytes};
use crate::offset::{Offset, Timestamp};
use crate::record::Record;

/// The last millisecond that six bytes hold, in the year 10889.
const TIME_MAX: i64 = (1 << 48) - 1;

/// What the log decides of a batch before it is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a, 'r> {
    /// The offset of the first record; the others follow without gaps.
    pub(crate) base: Offset,
    pub(crate) append_time: Timestamp,
    /// How far below the base everything is synced, in offsets; [`NO_MARK`](super::NO_MARK) if it is more than that.
    pub(crate) mark: u32,
    /// At least one.
    pub(crate) records: &'a [Record<'r>],
}

/// The exact size of the payload that [`encode`] writes for these records.
#[inline(always)]
pub(crate) fn payload_bytes(records: &[Record<'_>], append_time: Timestamp) -> u64 {
    let append_time = storable(append_time);
    let mut bytes = 0_u64;
    // A loop becomes a part of each append; a fold is a function as soon as two call it.
    for record in records {
        bytes = bytes.saturating_add(record_bytes(record, append_time));
    }
    bytes
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
        if let [record] = draft.records
            && let Some((front, value)) = short_value(record)
        {
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

/// Copies a batch that was verified behind other bytes, with the checksums and the mark that it is to have in its new file
/// and position.
///
/// Panics if the bytes are not exactly one batch: the caller's error.
pub(crate) fn reseal(batch: &[u8], seed: Seed, position: u64, mark: u32, out: &mut Vec<u8>) {
    with_sums(Reseal { batch, seed, position, mark, out });
}

/// What [`reseal`] does.
struct Reseal<'a> {
    batch: &'a [u8],
    seed: Seed,
    position: u64,
    mark: u32,
    out: &'a mut Vec<u8>,
}

impl Summed for Reseal<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, sums: impl Sums) {
        let Reseal { batch, seed, position, mark, out } = self;
        let header = BatchHeader::trusted(batch).filter(|header| header.bytes() == batch.len());
        let header = BatchHeader { mark, ..header.expect("exactly one verified batch") };
        let (head, payload) = batch.split_at(header.header_bytes);
        let start = out.len();
        out.extend_from_slice(batch);
        let out = &mut out[start..];
        if let Some(out) = out.first_chunk_mut().filter(|_| head.len() == BATCH_HEADER_BYTES) {
            // Summed where it comes from: what was just stored can't be loaded in blocks before all of it is.
            return header.seal(sums, (seed, position), Message::Whole(payload), out);
        }
        // What a longer header says beyond is kept.
        let payload_checksum = seed.checksum_by(sums, position, payload);
        out[4..8].copy_from_slice(&payload_checksum.to_le_bytes());
        out[38..42].copy_from_slice(&mark.to_le_bytes());
        let header_checksum = seed.checksum_by(sums, position, &out[4..head.len()]);
        out[..4].copy_from_slice(&header_checksum.to_le_bytes());
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

impl BatchHeader {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{SEGMENT, TIME, batch, read, resealed, varied};

    const AT: u64 = 96;

    #[test]
    fn an_append_time_has_six_bytes() {
        assert_eq!(storable(Timestamp::MAX), Timestamp::from_millis(281_474_976_710_655));
    }

    #[test]
    fn a_resealed_batch_is_valid_at_its_new_position_only() {
        let short = batch(&varied(), 101, AT);
        let long = resealed(&short, AT, |bytes| {
            bytes[42] += 2;
            bytes.splice(BATCH_HEADER_BYTES..BATCH_HEADER_BYTES, [7, 8]);
        });
        for original in [short, long] {
            let mut file = vec![9];
            reseal(&original, SEGMENT.seed(), 4096, 0, &mut file);
            let moved = file.strip_prefix(&[9]).expect("goes behind what is there");
            let header = read(moved, SEGMENT.seed(), 4096).expect("is valid");
            assert_eq!((header.mark, header.durable_end()), (0, Offset::new(101)));
            assert_eq!(moved[BATCH_HEADER_BYTES..], original[BATCH_HEADER_BYTES..], "a longer header is kept");
            assert!(read(moved, SEGMENT.seed(), AT).is_err());
        }
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
