//! Entries: what `STORE`, `topic`, `commits` and `history` say, one fact each.
//!
//! Invariant: an entry that decodes satisfies the rules of its types: names are names, options are in range, no count
//! is larger than its bytes. `frame.rs` puts entries into frames and takes them out again.

use std::time::Duration;

use super::DecodeError;
use super::cursor::{Cursor, put_prefixed, put_varint};
use crate::name::{GroupName, TopicName};
use crate::offset::{Epoch, Offset, Timestamp};
use crate::options::{Durability, Retention, TopicOptions};
use crate::place::Place;

/// A type with this bit may be skipped by whoever doesn't know it.
const SKIPPABLE: u8 = 0x80;
/// Few entries are longer.
pub(super) const ENTRY_BYTES_USUAL: usize = 96;
/// Partition, next offset, epoch number, epoch tag.
const PLACE_BYTES: usize = 28;

/// Why an epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    Created = 0,
    Session = 1,
    Truncated = 2,
    Healed = 3,
    Restored = 4,
}

impl Reason {
    const ALL: [Reason; 5] = [Reason::Created, Reason::Session, Reason::Truncated, Reason::Healed, Reason::Restored];
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// History: from this offset on, this epoch writes.
    Epoch { epoch: Epoch, start: Offset, reason: Reason, time: Timestamp },
    /// History: records below were removed.
    Start { start: Offset },
    /// History: a segment was begun.
    Roll { base: Offset, epoch: Epoch },
    /// History: a segment is synced to its last byte and will not grow.
    Seal {
        base: Offset,
        epoch: Epoch,
        /// The length of the file.
        bytes: u64,
        end: Offset,
        /// Of its records.
        greatest_timestamp: Timestamp,
        /// Of its last batch.
        append_time: Timestamp,
    },
    /// History: the partition was closed with everything below synced.
    Clean { end: Offset },
    /// Commits: where a group goes on, for one or more partitions at once.
    Commit { group: GroupName, time: Timestamp, places: Vec<Place>, metadata: Option<Vec<u8>> },
    /// Commits: a group's commits were deleted.
    Forget { group: GroupName, time: Timestamp },
    /// Commits: everything in front was synced, and nothing more was said. Whoever reads may skip it: it is there for its
    /// frame's mark, by which damage to the frame before is told from a torn end.
    End,
    /// STORE: no epoch number from here on was issued.
    Store { next_number: u64, clean: bool },
    /// Topic: what it was created with.
    Topic { name: TopicName, options: TopicOptions },
}

impl Entry {
    /// Appends type, length and body.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(ENTRY_BYTES_USUAL);
        self.encode_body(&mut body);
        out.push(self.type_byte());
        put_prefixed(out, &body);
    }

    /// Takes the next entry; `None` for one that is skipped.
    pub(crate) fn take(cursor: &mut Cursor<'_>) -> Result<Option<Entry>, DecodeError> {
        let type_byte = cursor.take_u8()?;
        let mut body = Cursor::new(cursor.take_prefixed()?);
        let entry = match type_byte {
            SKIPPABLE.. => return Ok(None),
            known => Entry::decode_body(known, &mut body)?,
        };
        if body.left() > 0 {
            return Err(DecodeError::Malformed("entry longer than its content"));
        }
        Ok(Some(entry))
    }

    fn type_byte(&self) -> u8 {
        match self {
            Entry::Epoch { .. } => 1,
            Entry::Start { .. } => 2,
            Entry::Roll { .. } => 3,
            Entry::Seal { .. } => 4,
            Entry::Clean { .. } => 5,
            Entry::Commit { .. } => 6,
            Entry::Forget { .. } => 7,
            Entry::Store { .. } => 8,
            Entry::Topic { .. } => 9,
            Entry::End => SKIPPABLE,
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Epoch { epoch, start, reason, time } => {
                put_epoch(out, *epoch);
                put_offset(out, *start);
                out.push(*reason as u8);
                put_time(out, *time);
            }
            Entry::Start { start: offset } | Entry::Clean { end: offset } => put_offset(out, *offset),
            Entry::Roll { base, epoch } => {
                put_offset(out, *base);
                put_epoch(out, *epoch);
            }
            Entry::Seal { base, epoch, bytes, end, greatest_timestamp, append_time } => {
                put_offset(out, *base);
                put_epoch(out, *epoch);
                out.extend_from_slice(&bytes.to_le_bytes());
                put_offset(out, *end);
                put_time(out, *greatest_timestamp);
                put_time(out, *append_time);
            }
            Entry::Commit { group, time, places, metadata } => {
                put_prefixed(out, group.as_str().as_bytes());
                put_time(out, *time);
                put_places(out, places);
                put_option(out, metadata.as_ref(), |out, metadata| put_prefixed(out, metadata));
            }
            Entry::Forget { group, time } => {
                put_prefixed(out, group.as_str().as_bytes());
                put_time(out, *time);
            }
            Entry::Store { next_number, clean } => {
                out.extend_from_slice(&next_number.to_le_bytes());
                out.push(u8::from(*clean));
            }
            Entry::Topic { name, options } => {
                put_prefixed(out, name.as_str().as_bytes());
                put_options(out, options);
            }
            Entry::End => {}
        }
    }

    fn decode_body(type_byte: u8, body: &mut Cursor<'_>) -> Result<Entry, DecodeError> {
        Ok(match type_byte {
            0 => return Err(DecodeError::Malformed("entry of type 0")),
            1 => Entry::Epoch {
                epoch: take_epoch(body)?,
                start: take_offset(body)?,
                reason: take_reason(body)?,
                time: take_time(body)?,
            },
            2 => Entry::Start { start: take_offset(body)? },
            3 => Entry::Roll { base: take_offset(body)?, epoch: take_epoch(body)? },
            4 => Entry::Seal {
                base: take_offset(body)?,
                epoch: take_epoch(body)?,
                bytes: body.take_u64()?,
                end: take_offset(body)?,
                greatest_timestamp: take_time(body)?,
                append_time: take_time(body)?,
            },
            5 => Entry::Clean { end: take_offset(body)? },
            6 => Entry::Commit {
                group: take_group(body)?,
                time: take_time(body)?,
                places: take_places(body)?,
                metadata: take_option(body, |body| body.take_prefixed().map(<[u8]>::to_vec))?,
            },
            7 => Entry::Forget { group: take_group(body)?, time: take_time(body)? },
            8 => Entry::Store { next_number: body.take_u64()?, clean: take_bool(body)? },
            9 => Entry::Topic { name: take_topic(body)?, options: take_options(body)? },
            unknown => return Err(unsupported(unknown)),
        })
    }
}

#[cold]
fn unsupported(type_byte: u8) -> DecodeError {
    let found = format!("version 1 with entry type {type_byte}");
    DecodeError::Unsupported { found, supported: "version 1 with types 1 to 9" }
}

fn put_offset(out: &mut Vec<u8>, offset: Offset) {
    out.extend_from_slice(&offset.get().to_le_bytes());
}

fn take_offset(body: &mut Cursor<'_>) -> Result<Offset, DecodeError> {
    Ok(Offset::new(body.take_u64()?))
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.as_millis().to_le_bytes());
}

fn take_time(body: &mut Cursor<'_>) -> Result<Timestamp, DecodeError> {
    Ok(Timestamp::from_millis(body.take_i64()?))
}

fn put_epoch(out: &mut Vec<u8>, epoch: Epoch) {
    out.extend_from_slice(&epoch.number.to_le_bytes());
    out.extend_from_slice(&epoch.tag.to_le_bytes());
}

fn take_epoch(body: &mut Cursor<'_>) -> Result<Epoch, DecodeError> {
    Ok(Epoch { number: body.take_u64()?, tag: body.take_u64()? })
}

fn take_reason(body: &mut Cursor<'_>) -> Result<Reason, DecodeError> {
    let byte = body.take_u8()?;
    let reason = Reason::ALL.into_iter().find(|&reason| reason as u8 == byte);
    reason.ok_or(DecodeError::Malformed("unknown reason of an epoch"))
}

fn take_bool(body: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    match body.take_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Malformed("neither yes nor no")),
    }
}

fn take_text<'a>(body: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(body.take_prefixed()?).map_err(|_| DecodeError::Malformed("name that is not UTF-8"))
}

fn take_group(body: &mut Cursor<'_>) -> Result<GroupName, DecodeError> {
    GroupName::new(take_text(body)?).map_err(|_| DecodeError::Malformed("not the name of a group"))
}

fn take_topic(body: &mut Cursor<'_>) -> Result<TopicName, DecodeError> {
    TopicName::new(take_text(body)?).map_err(|_| DecodeError::Malformed("not the name of a topic"))
}

fn put_option<T>(out: &mut Vec<u8>, option: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(option.is_some()));
    if let Some(value) = option {
        put(out, value);
    }
}

fn take_option<'a, T, E: Into<DecodeError>>(
    body: &mut Cursor<'a>,
    take: impl FnOnce(&mut Cursor<'a>) -> Result<T, E>,
) -> Result<Option<T>, DecodeError> {
    if take_bool(body)? { take(body).map(Some).map_err(Into::into) } else { Ok(None) }
}

fn put_places(out: &mut Vec<u8>, places: &[Place]) {
    put_varint(out, places.len() as u64);
    for place in places {
        out.extend_from_slice(&place.partition().to_le_bytes());
        put_offset(out, place.next());
        put_epoch(out, place.epoch());
    }
}

/// Takes memory only for as many places as there are bytes.
fn take_places(body: &mut Cursor<'_>) -> Result<Vec<Place>, DecodeError> {
    let bytes = body.take_varint()?.saturating_mul(PLACE_BYTES as u64);
    let mut places = Cursor::new(body.take_bytes(bytes)?);
    let mut taken = Vec::with_capacity(places.left() / PLACE_BYTES);
    while places.left() > 0 {
        taken.push(Place::new(places.take_u32()?, take_offset(&mut places)?, take_epoch(&mut places)?));
    }
    Ok(taken)
}

/// The options have a length of their own, so that later versions can add some at their end.
fn put_options(out: &mut Vec<u8>, options: &TopicOptions) {
    let mut fields = Vec::new();
    put_varint(&mut fields, u64::from(options.partitions));
    fields.push(match options.durability {
        Durability::Durable => 0,
        Durability::Written => 1,
    });
    put_varint(&mut fields, options.segment_bytes_max);
    put_option(&mut fields, options.segment_age, put_duration);
    put_option(&mut fields, options.retention.age, put_duration);
    put_option(&mut fields, options.retention.bytes, put_varint);
    put_varint(&mut fields, options.unsynced_bytes_max);
    put_option(&mut fields, options.sync_interval, put_duration);
    put_option(&mut fields, options.sync_bytes, put_varint);
    put_prefixed(out, &fields);
}

fn take_options(body: &mut Cursor<'_>) -> Result<TopicOptions, DecodeError> {
    let mut fields = Cursor::new(body.take_prefixed()?);
    let fields = &mut fields;
    let options = TopicOptions {
        partitions: take_partitions(fields)?,
        durability: if take_bool(fields)? { Durability::Written } else { Durability::Durable },
        segment_bytes_max: fields.take_varint()?,
        segment_age: take_option(fields, take_duration)?,
        retention: Retention {
            age: take_option(fields, take_duration)?,
            bytes: take_option(fields, Cursor::take_varint)?,
        },
        unsynced_bytes_max: fields.take_varint()?,
        sync_interval: take_option(fields, take_duration)?,
        sync_bytes: take_option(fields, Cursor::take_varint)?,
    };
    options.check().map_err(|_| DecodeError::Malformed("topic options out of range"))?;
    Ok(options)
}

fn take_partitions(fields: &mut Cursor<'_>) -> Result<u32, DecodeError> {
    u32::try_from(fields.take_varint()?).map_err(|_| DecodeError::Malformed("topic options out of range"))
}

/// Seconds and nanoseconds: milliseconds would not give back what was set.
fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    put_varint(out, duration.as_secs());
    put_varint(out, u64::from(duration.subsec_nanos()));
}

fn take_duration(fields: &mut Cursor<'_>) -> Result<Duration, DecodeError> {
    let seconds = fields.take_varint()?;
    match u32::try_from(fields.take_varint()?) {
        Ok(nanos @ 0..1_000_000_000) => Ok(Duration::new(seconds, nanos)),
        _ => Err(DecodeError::Malformed("a second has fewer nanoseconds")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;
    use crate::format::fixtures::{CREATION, EPOCH, TIME, entries};

    fn decode(bytes: &[u8]) -> Result<Option<Entry>, DecodeError> {
        Entry::take(&mut Cursor::new(bytes))
    }

    fn comes_back(entry: &Entry) {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        assert_eq!(decode(&bytes).as_ref(), Ok(&Some(entry.clone())));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{entry:?} cut to {length}");
        }
        bytes[1] += 1;
        bytes.push(0);
        assert!(decode(&bytes).is_err(), "{entry:?} with a byte too many");
    }

    #[test]
    fn every_entry_comes_back_and_no_part_of_one_does() {
        entries().iter().for_each(comes_back);
        for reason in Reason::ALL {
            comes_back(&Entry::Epoch { epoch: EPOCH, start: Offset::MAX, reason, time: TIME });
        }
    }

    proptest! {
        #[test]
        fn any_commit_comes_back(
            next in vec((any::<u32>(), any::<u64>()), 0..9),
            metadata in of(vec(any::<u8>(), 0..40)),
        ) {
            let places = next.into_iter().map(|(p, next)| Place::new(p, Offset::new(next), CREATION)).collect();
            let group = GroupName::new("billing").expect("is a name");
            let entry = Entry::Commit { group, time: TIME, places, metadata };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            prop_assert_eq!(decode(&bytes), Ok(Some(entry)));
        }

        #[test]
        fn any_durations_come_back(
            seconds in 1_u64..1_000_000_000,
            nanos in 0_u32..1_000_000_000,
            bytes in 1024_u64..,
        ) {
            let duration = Duration::new(seconds, nanos);
            let options = TopicOptions::new().segment_age(duration).retention_bytes(bytes).sync_interval(duration);
            let name = TopicName::new("orders").expect("is a name");
            let entry = Entry::Topic { name, options };
            let mut encoded = Vec::new();
            entry.encode(&mut encoded);
            prop_assert_eq!(decode(&encoded), Ok(Some(entry)));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..64), kind in 0_u8..12) {
            let _ = decode(&bytes);
            let mut typed = vec![kind];
            put_prefixed(&mut typed, &bytes);
            let _ = decode(&typed);
        }
    }

    #[test]
    fn a_later_type_is_refused_by_name_unless_it_may_be_skipped() {
        let refusal = DecodeError::Unsupported {
            found: "version 1 with entry type 10".into(),
            supported: "version 1 with types 1 to 9",
        };
        assert_eq!(decode(&[10, 1, 0]), Err(refusal));
        assert_eq!(decode(&[0x80, 1, 0]), Ok(None));
        assert_eq!(decode(&[0, 0]), Err(DecodeError::Malformed("entry of type 0")));
    }

    #[test]
    fn content_that_breaks_a_rule_is_refused_with_the_rule() {
        let typed = |kind: u8, body: &[u8]| {
            let mut bytes = vec![kind];
            put_prefixed(&mut bytes, body);
            decode(&bytes)
        };
        let refused = |rule| Err(DecodeError::Malformed(rule));
        let (reason, time) = (Reason::Restored as u8 + 1, [0; 8]);
        assert_eq!(typed(1, &[&[0; 24][..], &[reason], &time].concat()), refused("unknown reason of an epoch"));
        assert_eq!(typed(2, &[0; 9]), refused("entry longer than its content"));
        assert_eq!(typed(7, &[&[1, 0xff][..], &time].concat()), refused("name that is not UTF-8"));
        assert_eq!(typed(7, &[&[1, b'/'][..], &time].concat()), refused("not the name of a group"));
        assert_eq!(typed(8, &[0, 0, 0, 0, 0, 0, 0, 0, 2]), refused("neither yes nor no"));
        assert_eq!(typed(9, &[1, b'/', 0]), refused("not the name of a topic"));
        let a_whole_second_of_nanos = [1, b't', 11, 1, 0, 0x80, 8, 1, 0, 0x80, 0x94, 0xeb, 0xdc, 3];
        assert_eq!(typed(9, &a_whole_second_of_nanos), refused("a second has fewer nanoseconds"));
    }

    #[test]
    fn a_hostile_count_of_places_takes_no_memory() {
        let mut body = vec![1, b'g', 0, 0, 0, 0, 0, 0, 0, 0];
        put_varint(&mut body, u64::MAX / 28);
        let mut bytes = vec![6];
        put_prefixed(&mut bytes, &body);
        assert!(matches!(decode(&bytes), Err(DecodeError::Short { .. })));
    }

    #[test]
    fn options_out_of_range_are_refused_and_later_ones_are_skipped() {
        let topic = |fields: &[u8]| {
            let mut bytes = vec![9, u8::try_from(fields.len() + 3).expect("is small"), 1, b't'];
            put_prefixed(&mut bytes, fields);
            decode(&bytes)
        };
        assert!(matches!(topic(&[1, 0, 0x80, 8, 0, 0, 0, 0x80, 8, 0, 0]), Ok(Some(_))));
        assert!(matches!(topic(&[1, 0, 0x80, 8, 0, 0, 0, 0x80, 8, 0, 0, 99, 99]), Ok(Some(_))));
        let refused = Err(DecodeError::Malformed("topic options out of range"));
        assert_eq!(topic(&[0, 0, 0x80, 8, 0, 0, 0, 0x80, 8, 0, 0]), refused);
        assert_eq!(topic(&[1, 0, 1, 0, 0, 0, 0x80, 8, 0, 0]), refused);
    }
}
