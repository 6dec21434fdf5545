//! The door for fuzzers: any bytes through any decoder.
//!
//! Invariant: whatever the bytes are, nothing here panics, hangs, or takes more memory than a small multiple of their
//! number. What a decoder accepts is taken apart to the end, so that nothing accepted can hurt later.

use super::cursor::Cursor;
use super::filename::{parse_index, parse_segment, parse_topic_dir};
use super::frame::read_frames;
use super::{BatchHeader, Entry, HEADER_BYTES, Headers, Identity, IndexEntry, Seed, Usual, check_records, next_record};
use crate::name::{GroupName, TopicName};
use crate::place::Place;

/// The seed that [`decode`] checks checksums with: that of no file.
const SEED: Seed = Seed(0x5eed_f00d);

/// Sends the bytes through the decoder of this kind (counted round if there are fewer) and says whether they were
/// accepted. Checksums are put right first where `reseal` says so: a fuzzer hardly ever guesses one.
#[must_use]
pub fn decode(kind: u8, reseal: bool, bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    match kind % 7 {
        0 => file_header(&mut bytes, reseal),
        1 => batch(&mut bytes, reseal),
        2 => frames(&mut bytes, reseal),
        3 => entries(&bytes),
        4 => index_entry(&mut bytes, reseal),
        5 => place(&bytes),
        _ => names(&bytes),
    }
}

fn file_header(bytes: &mut [u8], reseal: bool) -> bool {
    if reseal && let Some((header, _)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() {
        let checksum = crc32fast::hash(&header[..HEADER_BYTES - 4]);
        header[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    }
    let decoded = Identity::decode(bytes);
    decoded.is_ok_and(|(identity, created)| identity.check(&identity.encode(created)).is_ok())
}

fn batch(bytes: &mut [u8], reseal: bool) -> bool {
    let at = HEADER_BYTES as u64;
    if reseal
        && let Some(header) = BatchHeader::trusted(bytes)
        && header.bytes() <= bytes.len()
    {
        let mut resealed = Vec::new();
        super::reseal(&bytes[..header.bytes()], SEED, at, header.mark, &mut resealed);
        bytes[..resealed.len()].copy_from_slice(&resealed);
    }
    let _evidence = BatchHeader::evident(bytes, SEED, at);
    let Ok(header) = BatchHeader::decode(bytes, SEED, at) else { return false };
    let _facts = (header.end(), header.durable_end(), header.greatest_timestamp());
    let Ok(payload) = header.verify(bytes, SEED, at) else { return false };
    if check_records(&header, payload).is_err() {
        return false;
    }
    let (mut position, usual) = (0, Usual::of(header.count, payload));
    for index in 0..header.count {
        let (record, end) = next_record(payload, position, usual, index, header.append_time).expect("was checked");
        position = end;
        Headers::new(&payload[record.headers]).for_each(drop);
    }
    true
}

fn frames(bytes: &mut [u8], reseal: bool) -> bool {
    let mut at = HEADER_BYTES;
    while reseal && let Some(&[l0, l1, l2, l3]) = bytes.get(at + 4..).and_then(<[u8]>::first_chunk) {
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let end = at.saturating_add(super::frame::FRAME_HEADER_BYTES).saturating_add(length);
        let Some(checked) = bytes.get(at + 4..end) else { break };
        let checksum = SEED.checksum(at as u64, checked);
        bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
    read_frames(bytes, SEED).is_ok_and(|frames| !frames.entries.is_empty())
}

fn entries(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    while cursor.left() > 0 {
        match Entry::take(&mut cursor) {
            Ok(Some(entry)) => entry.encode(&mut Vec::new()),
            Ok(None) => {}
            Err(_) => return false,
        }
    }
    true
}

fn index_entry(bytes: &mut [u8], reseal: bool) -> bool {
    if reseal && let Some((entry, _)) = bytes.split_first_chunk_mut::<{ super::INDEX_ENTRY_BYTES }>() {
        let end = entry.len() - 4;
        let checksum = SEED.checksum(HEADER_BYTES as u64, &entry[..end]);
        entry[end..].copy_from_slice(&checksum.to_le_bytes());
    }
    IndexEntry::decode(bytes, SEED, HEADER_BYTES as u64).is_ok()
}

fn place(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let said: Option<Place> = text.parse().ok();
    let read = Place::from_bytes(bytes).ok();
    for place in [said, read].into_iter().flatten() {
        assert_eq!(Place::from_bytes(&place.to_bytes()).ok(), Some(place), "a place comes back from its bytes");
        assert_eq!(place.to_string().parse().ok(), Some(place), "a place comes back from its text");
    }
    said.is_some() || read.is_some()
}

fn names(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let _files = (parse_segment(text), parse_index(text), parse_topic_dir(text));
    TopicName::new(text).is_ok() || GroupName::new(text).is_ok()
}
