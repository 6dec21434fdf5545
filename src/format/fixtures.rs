//! Fixed identities and records that the tests of the format share.

use std::time::Duration;

use super::encode::{encode, payload_bytes};
use super::{
    BATCH_HEADER_BYTES, BatchHeader, DecodeError, Draft, Entry, FileKind, Identity, NO_EPOCH, Reason, Seed,
    check_records, encode_frame,
};
use crate::name::{GroupName, TopicName};
use crate::offset::{Epoch, Offset, Timestamp};
use crate::options::{Durability, TopicOptions};
use crate::place::Place;
use crate::record::{Header, Record};

pub(crate) const TIME: Timestamp = Timestamp::from_millis(1_795_000_000_000);
pub(crate) const CREATION: Epoch = Epoch { number: 7, tag: 0x9f3a_5c01_d2e4_b687 };
pub(crate) const EPOCH: Epoch = Epoch { number: 8, tag: 0x1c2d_3e4f_5061_7283 };

pub(crate) const SEGMENT: Identity = Identity {
    kind: FileKind::Segment,
    store: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    creation: CREATION,
    partition: Some(0),
    epoch: EPOCH,
    base: Offset::new(100),
};
pub(crate) const INDEX: Identity = Identity { kind: FileKind::Index, ..SEGMENT };
pub(crate) const HISTORY: Identity =
    Identity { kind: FileKind::History, epoch: NO_EPOCH, base: Offset::ZERO, ..SEGMENT };
pub(crate) const COMMITS: Identity = Identity { kind: FileKind::Commits, partition: None, ..HISTORY };
pub(crate) const TOPIC: Identity = Identity { kind: FileKind::Topic, ..COMMITS };
pub(crate) const STORE: Identity = Identity { kind: FileKind::Store, creation: NO_EPOCH, ..COMMITS };

/// The first batch of the golden segment: one record of one value.
pub(crate) fn plain() -> [Record<'static>; 1] {
    [Record::new("up")]
}

/// The second: a key with headers and a time, a tombstone, an empty value.
pub(crate) fn varied() -> [Record<'static>; 3] {
    const HEADERS: &[Header<'static>] = &[("unit", b"celsius"), ("", b"")];
    let early = Timestamp::from_millis(TIME.as_millis() - 250);
    [
        Record::new("21.5").key("device-7").headers(HEADERS).timestamp(early),
        Record::tombstone("device-8"),
        Record::new(""),
    ]
}

/// Encodes a batch for this position of the golden segment.
pub(crate) fn batch(records: &[Record<'_>], base: u64, position: u64) -> Vec<u8> {
    let draft = Draft { base: Offset::new(base), append_time: TIME, mark: 1, records };
    let payload_bytes = usize::try_from(payload_bytes(records, TIME)).expect("is small");
    let mut out = vec![0; BATCH_HEADER_BYTES + payload_bytes];
    encode(&draft, payload_bytes, SEGMENT.seed(), position, &mut out);
    out
}

/// Gives changed bytes of a batch the checksums of a valid one.
pub(crate) fn resealed(batch: &[u8], position: u64, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    change(&mut bytes);
    let header_bytes = usize::from(bytes[42]);
    let payload = SEGMENT.seed().checksum(position, &bytes[header_bytes..]);
    bytes[4..8].copy_from_slice(&payload.to_le_bytes());
    let header = SEGMENT.seed().checksum(position, &bytes[4..header_bytes]);
    bytes[..4].copy_from_slice(&header.to_le_bytes());
    bytes
}

/// One entry of every type, in an order that makes no sense to any file.
pub(crate) fn entries() -> Vec<Entry> {
    let group = GroupName::new("billing").expect("is a name");
    let places = vec![Place::new(0, Offset::new(103), EPOCH), Place::new(1, Offset::ZERO, CREATION)];
    let options = TopicOptions::new()
        .partitions(2)
        .durability(Durability::Written)
        .retention_age(Duration::from_secs(3600))
        .sync_interval(Duration::from_millis(50));
    vec![
        Entry::Epoch { epoch: EPOCH, start: Offset::new(100), reason: Reason::Session, time: TIME },
        Entry::Start { start: Offset::new(40) },
        Entry::Roll { base: Offset::new(100), epoch: EPOCH },
        Entry::Seal {
            base: Offset::new(100),
            epoch: EPOCH,
            bytes: 238,
            end: Offset::new(104),
            greatest_timestamp: TIME,
            append_time: TIME,
        },
        Entry::Clean { end: Offset::new(104) },
        Entry::Commit { group: group.clone(), time: TIME, places, metadata: Some(b"node-3".to_vec()) },
        Entry::Forget { group, time: TIME },
        Entry::Topic { name: TopicName::new("cloud-command").expect("is a name"), options },
        Entry::Store { next_number: 72, clean: true },
    ]
}

/// A file with one frame for each run of entries, all with this mark, and where each frame ends.
pub(crate) fn frames_file<'a>(
    identity: &Identity,
    runs: impl IntoIterator<Item = &'a [Entry]>,
    mark: u32,
) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = identity.encode(TIME).to_vec();
    let mut ends = Vec::new();
    for run in runs {
        bytes.extend(encode_frame(run, identity.seed(), bytes.len() as u64, mark));
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// The header of the batch at the front of the bytes, checked with everything behind it.
pub(crate) fn read(bytes: &[u8], seed: Seed, position: u64) -> Result<BatchHeader, DecodeError> {
    let header = BatchHeader::decode(bytes, seed, position)?;
    check_records(&header, header.verify(bytes, seed, position)?)?;
    Ok(header)
}
