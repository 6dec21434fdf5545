//! Records inside a batch's payload.
//!
//! Invariant: [`check_records`] runs on every payload before a record of it is handed out, and whatever it lets through
//! the readers here read without failing. Offsets rise strictly within the batch's span.

use std::ops::Range;

use super::cursor::{Cursor, Flaw, Slots, varint_bytes, zigzag};
use super::plain::{Usual, behind_plain, short_value};
use super::{BatchHeader, DecodeError};
use crate::offset::Timestamp;
use crate::record::Record;

const KEY: u8 = 1;
const HEADERS: u8 = 1 << 1;
const TIMESTAMP: u8 = 1 << 2;
const NULL: u8 = 1 << 3;
const OFFSET_DELTA: u8 = 1 << 4;
const KNOWN: u8 = KEY | HEADERS | TIMESTAMP | NULL | OFFSET_DELTA;

/// Where the parts of one record stand in its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord {
    /// Its offset, counted from the base of the batch.
    pub(crate) offset_delta: u32,
    /// Its own time; without one the append time counts.
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) key: Option<Range<usize>>,
    /// `None` for a tombstone.
    pub(crate) value: Option<Range<usize>>,
    /// The encoded headers for [`Headers::new`]; empty if there are none.
    pub(crate) headers: Range<usize>,
}

/// How many bytes [`put_record`] writes for this record.
#[inline]
pub(crate) fn record_bytes(record: &Record<'_>, append_time: Timestamp) -> u64 {
    if let Some((_, value)) = short_value(record) {
        return value.len() as u64 + 2;
    }
    let body = body_bytes(record, append_time);
    varint_bytes(body).saturating_add(body)
}

#[inline]
fn body_bytes(record: &Record<'_>, append_time: Timestamp) -> u64 {
    let timestamp = record.get_timestamp().map_or(0, |time| varint_bytes(delta(time, append_time)));
    let key = record.get_key().map_or(0, prefixed_bytes);
    let headers = if record.get_headers().is_empty() { 0 } else { headers_bytes(record) };
    let value = record.value().map_or(0, <[u8]>::len) as u64;
    (1 + timestamp + key).saturating_add(headers).saturating_add(value)
}

fn headers_bytes(record: &Record<'_>) -> u64 {
    let headers = record.get_headers();
    headers.iter().fold(varint_bytes(headers.len() as u64), |sum, (name, value)| {
        sum.saturating_add(prefixed_bytes(name.as_bytes())).saturating_add(prefixed_bytes(value))
    })
}

#[inline]
fn prefixed_bytes(bytes: &[u8]) -> u64 {
    varint_bytes(bytes.len() as u64) + bytes.len() as u64
}

/// Wraps, and so does the decoder: any two times can be written.
#[inline]
fn delta(time: Timestamp, append_time: Timestamp) -> u64 {
    zigzag(time.as_millis().wrapping_sub(append_time.as_millis()))
}

/// Writes one record, whose offset follows from its place in the batch.
#[inline]
pub(crate) fn put_record(record: &Record<'_>, append_time: Timestamp, out: &mut Slots<'_>) {
    if let Some((front, value)) = short_value(record) {
        out.put_bytes(&front.to_le_bytes());
        return out.put_bytes(value);
    }
    out.put_varint(body_bytes(record, append_time));
    out.put_u8(attributes(record));
    if let Some(time) = record.get_timestamp() {
        out.put_varint(delta(time, append_time));
    }
    if let Some(key) = record.get_key() {
        out.put_prefixed(key);
    }
    if !record.get_headers().is_empty() {
        put_headers(record, out);
    }
    if let Some(value) = record.value() {
        out.put_bytes(value);
    }
}

#[inline]
fn attributes(record: &Record<'_>) -> u8 {
    let flag = |present: bool, flag: u8| if present { flag } else { 0 };
    flag(record.get_key().is_some(), KEY)
        | flag(!record.get_headers().is_empty(), HEADERS)
        | flag(record.get_timestamp().is_some(), TIMESTAMP)
        | flag(record.value().is_none(), NULL)
}

fn put_headers(record: &Record<'_>, out: &mut Slots<'_>) {
    out.put_varint(record.get_headers().len() as u64);
    for (name, value) in record.get_headers() {
        out.put_prefixed(name.as_bytes());
        out.put_prefixed(value);
    }
}

/// Reads the record at byte `at` of the payload, which is the batch's `index`-th; says where the next one stands.
// By value: a position that is lent lies in memory, and each record waits for the one before to store it.
#[inline]
pub(crate) fn next_record(
    payload: &[u8],
    at: usize,
    usual: Usual,
    index: u32,
    append_time: Timestamp,
) -> Result<(RawRecord, usize), Flaw> {
    if let Some(end) = usual.behind(payload, at) {
        return Ok((plain(at, end, index), end));
    }
    if let Some(end) = behind_plain(payload, at) {
        return Ok((plain(at, end, index), end));
    }
    take_record(payload, at, index, append_time, |_| true)
}

#[inline]
fn plain(at: usize, end: usize, index: u32) -> RawRecord {
    RawRecord { offset_delta: index, timestamp: None, key: None, value: Some(at + 2..end), headers: 0..0 }
}

/// A record that may have every part; `is_name` says which bytes may be the name of a header.
#[inline]
fn take_record(
    payload: &[u8],
    at: usize,
    index: u32,
    append_time: Timestamp,
    is_name: impl Fn(&[u8]) -> bool,
) -> Result<(RawRecord, usize), Flaw> {
    let mut cursor = Cursor::starting_at(payload, at);
    let length = cursor.take_prefixed()?.len();
    let end = cursor.at();
    let mut body = Cursor::starting_at(&payload[..end], end - length);
    Ok((decode_body(&mut body, index, append_time, is_name)?, end))
}

/// The cursor ends where the record does.
#[inline]
fn decode_body(
    body: &mut Cursor<'_>,
    index: u32,
    append_time: Timestamp,
    is_name: impl Fn(&[u8]) -> bool,
) -> Result<RawRecord, Flaw> {
    let attributes = body.take_u8()?;
    if attributes & !KNOWN != 0 {
        return Err(Flaw::Attributes(attributes));
    }
    let has = |flag: u8| attributes & flag != 0;
    let timestamp = if has(TIMESTAMP) { Some(take_timestamp(body, append_time)?) } else { None };
    let offset_delta = if has(OFFSET_DELTA) { take_offset_delta(body)? } else { index };
    let key = if has(KEY) { Some(take_part(body, Cursor::take_prefixed)?) } else { None };
    let headers = if has(HEADERS) { take_part(body, |body| take_headers(body, is_name))? } else { 0..0 };
    let value = take_part(body, |body| body.take_bytes(body.left() as u64))?;
    if has(NULL) && !value.is_empty() {
        return Err(Flaw::Malformed("record with a value that says it has none"));
    }
    Ok(RawRecord { offset_delta, timestamp, key, value: (!has(NULL)).then_some(value), headers })
}

#[inline]
fn take_timestamp(body: &mut Cursor<'_>, append_time: Timestamp) -> Result<Timestamp, Flaw> {
    Ok(Timestamp::from_millis(append_time.as_millis().wrapping_add(body.take_zigzag()?)))
}

#[inline]
fn take_offset_delta(body: &mut Cursor<'_>) -> Result<u32, Flaw> {
    u32::try_from(body.take_varint()?).map_err(|_| Flaw::Malformed("record offset outside of its batch"))
}

/// Where the bytes stand that `take` takes.
#[inline]
fn take_part<'a>(
    body: &mut Cursor<'a>,
    take: impl FnOnce(&mut Cursor<'a>) -> Result<&'a [u8], Flaw>,
) -> Result<Range<usize>, Flaw> {
    let length = take(body)?.len();
    Ok(body.at() - length..body.at())
}

/// Takes the headers with their count.
#[inline]
fn take_headers<'a>(body: &mut Cursor<'a>, is_name: impl Fn(&[u8]) -> bool) -> Result<&'a [u8], Flaw> {
    let mut ahead = *body;
    for _ in 0..ahead.take_varint()? {
        if !is_name(ahead.take_prefixed()?) {
            return Err(Flaw::Malformed("record header whose name is not UTF-8"));
        }
        ahead.take_prefixed()?;
    }
    body.take_bytes((ahead.at() - body.at()) as u64)
}

/// Checks that a verified payload is exactly the records that its header promises: their number, their offsets, every
/// length, every header's name. Allocates nothing. Runs at every read.
pub(crate) fn check_records(header: &BatchHeader, payload: &[u8]) -> Result<(), DecodeError> {
    let (mut at, mut least) = (0, 0);
    for index in 0..header.count {
        let (offset_delta, end) = match behind_plain(payload, at) {
            Some(end) => (index, end),
            None => check_record(payload, at, index, header.append_time)?,
        };
        at = end;
        if offset_delta < least || offset_delta >= header.span {
            return Err(DecodeError::Malformed("record offsets that don't rise within their batch"));
        }
        least = offset_delta + 1;
    }
    if at == payload.len() { Ok(()) } else { Err(DecodeError::Malformed("batch with bytes behind its last record")) }
}

#[inline]
fn check_record(payload: &[u8], at: usize, index: u32, append_time: Timestamp) -> Result<(u32, usize), Flaw> {
    let is_name = |name: &[u8]| name.is_ascii() || std::str::from_utf8(name).is_ok();
    let (record, end) = take_record(payload, at, index, append_time, is_name)?;
    Ok((record.offset_delta, end))
}

/// The headers of a record, read from their encoding one by one. Ends early only on bytes that were not checked.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    cursor: Cursor<'a>,
    left: u64,
}

impl<'a> Headers<'a> {
    /// Reads the bytes that [`RawRecord::headers`] stands for.
    pub(crate) fn new(encoded: &'a [u8]) -> Headers<'a> {
        let mut cursor = Cursor::new(encoded);
        let left = cursor.take_varint().unwrap_or(0);
        Headers { cursor, left }
    }

    fn decode(&mut self) -> Option<(&'a str, &'a [u8])> {
        let name = std::str::from_utf8(self.cursor.take_prefixed().ok()?).ok()?;
        Some((name, self.cursor.take_prefixed().ok()?))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<(&'a str, &'a [u8])> {
        let header = if self.left == 0 { None } else { self.decode() };
        self.left = if header.is_some() { self.left - 1 } else { 0 };
        header
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;
    use crate::format::DecodeError;
    use crate::format::fixtures::{self, SEGMENT, TIME, batch, varied};
    use crate::offset::Offset;

    const PLAIN: BatchHeader = BatchHeader {
        header_bytes: 46,
        payload_bytes: 0,
        base: Offset::ZERO,
        count: 1,
        span: 1,
        append_time: TIME,
        greatest_delta: 0,
        mark: 0,
        codec: 0,
        flags: 0,
        header_checksum: 0,
        payload_checksum: 0,
    };

    fn check(count: u32, span: u32, payload: &[u8]) -> Result<(), DecodeError> {
        check_records(&BatchHeader { count, span, ..PLAIN }, payload)
    }

    /// Encodes, checks and compares every part with what went in.
    fn comes_back(records: &[Record<'_>]) {
        let bytes = batch(records, 100, 96);
        let header = BatchHeader::decode(&bytes, SEGMENT.seed(), 96).expect("is valid");
        let payload = header.verify(&bytes, SEGMENT.seed(), 96).expect("is valid");
        assert_eq!(check_records(&header, payload), Ok(()));
        let (mut at, usual) = (0, Usual::of(header.count, payload));
        for (index, record) in (0..).zip(records) {
            let (raw, end) = next_record(payload, at, usual, index, TIME).expect("was checked");
            at = end;
            let part = |range: Option<Range<usize>>| range.map(|range| &payload[range]);
            assert_eq!((raw.offset_delta, raw.timestamp), (index, record.get_timestamp()));
            assert_eq!((part(raw.key), part(raw.value)), (record.get_key(), record.value()));
            assert_eq!(Headers::new(&payload[raw.headers]).collect::<Vec<_>>(), record.get_headers());
        }
        assert_eq!(at, payload.len());
    }

    #[test]
    fn records_of_every_form_come_back() {
        comes_back(&fixtures::plain());
        comes_back(&varied());
        comes_back(&[Record::new(&[7; 126]), Record::new(&[7; 127]), Record::new(&[7; 20_000])]);
        comes_back(&[Record::new("").timestamp(Timestamp::MIN), Record::new("").timestamp(Timestamp::MAX)]);
    }

    proptest! {
        #[test]
        fn any_records_come_back(parts in vec((of(vec(any::<u8>(), 0..200)), of(vec(any::<u8>(), 0..9)),
            of(any::<i64>()), vec((".{0,5}", vec(any::<u8>(), 0..5)), 0..4)), 1..6))
        {
            let headers: Vec<Vec<_>> = parts.iter()
                .map(|part| part.3.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect())
                .collect();
            let records: Vec<_> = parts.iter().zip(&headers).map(|((value, key, time, _), headers)| {
                let record = value.as_ref().map_or_else(Record::default, Record::new);
                let record = record.with_key(key.as_deref()).headers(headers);
                time.map_or(record, |time| record.timestamp(Timestamp::from_millis(time)))
            }).collect();
            comes_back(&records);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(payload in vec(any::<u8>(), 0..64), count: u32, span: u32) {
            let _ = check(count, span, &payload);
            let _ = Headers::new(&payload).count();
        }

        #[test]
        fn what_is_checked_is_read_without_failing(payload in vec(0_u8..32, 2..24), count in 1_u32..4) {
            if check(count, 40, &payload).is_ok() {
                let (mut at, usual) = (0, Usual::of(count, &payload));
                for index in 0..count {
                    let read = next_record(&payload, at, usual, index, TIME);
                    prop_assert!(read.is_ok());
                    at = read.map_or(at, |(_, end)| end);
                }
            }
        }
    }

    #[test]
    fn offsets_that_were_kept_after_others_went_are_read() {
        let payload = [4, OFFSET_DELTA, 3, b'a', b'b', 3, OFFSET_DELTA, 9, b'c'];
        assert_eq!(check(2, 10, &payload), Ok(()));
        let usual = Usual::of(2, &payload);
        let (first, end) = next_record(&payload, 0, usual, 0, TIME).expect("is valid");
        let (second, _) = next_record(&payload, end, usual, 1, TIME).expect("is valid");
        assert_eq!((first.offset_delta, second.offset_delta), (3, 9));
    }

    #[test]
    fn offsets_that_fall_repeat_or_leave_the_span_are_refused() {
        let refused = Err(DecodeError::Malformed("record offsets that don't rise within their batch"));
        assert_eq!(check(2, 10, &[2, OFFSET_DELTA, 3, 2, OFFSET_DELTA, 3]), refused);
        assert_eq!(check(2, 10, &[2, OFFSET_DELTA, 3, 1, 0]), refused);
        assert_eq!(check(1, 3, &[2, OFFSET_DELTA, 3]), refused);
        let outside = Err(DecodeError::Malformed("record offset outside of its batch"));
        assert_eq!(check(1, 3, &[6, OFFSET_DELTA, 0xff, 0xff, 0xff, 0xff, 0x1f]), outside);
    }

    #[test]
    fn content_that_breaks_the_format_is_refused() {
        let short = |found, expected| DecodeError::Short { found, expected };
        let cases: [(&[u8], DecodeError); 9] = [
            (&[], short(0, 1)),
            // A record without attributes.
            (&[0, 0], short(0, 1)),
            (&[1, 0, 0], DecodeError::Malformed("batch with bytes behind its last record")),
            (&[3, 0], short(1, 3)),
            (&[2, NULL, 1], DecodeError::Malformed("record with a value that says it has none")),
            // A key longer than the record.
            (&[2, KEY, 9], short(0, 9)),
            // Headers that end early.
            (&[3, HEADERS, 2, 0], short(0, 1)),
            (&[5, HEADERS, 1, 1, 0xff, 0], DecodeError::Malformed("record header whose name is not UTF-8")),
            (&[0xff; 12], DecodeError::Malformed("varint of more than 64 bits")),
        ];
        for (payload, refused) in cases {
            assert_eq!(check(1, 1, payload), Err(refused), "{payload:?}");
        }
    }

    #[test]
    fn hostile_counts_end_with_the_bytes() {
        let mut payload = vec![13, HEADERS];
        payload.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0]);
        assert!(check(1, 1, &payload).is_err());
        assert!(check(u32::MAX, u32::MAX, &[1, 0, 1, 0]).is_err());
    }

    #[test]
    fn unknown_attributes_are_refused_by_name() {
        let refusal = DecodeError::Unsupported {
            found: "version 1 with record attributes 0x20".into(),
            supported: "version 1 with none above 0x1f",
        };
        assert_eq!(check(1, 1, &[1, 0x20]), Err(refusal));
    }
}
