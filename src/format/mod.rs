//! THE on-disk format, version 1, to the byte. Nowhere else is it written down; golden files pin it.
//!
//! Invariant: this folder knows bytes and no file. Nothing in it panics or hangs on any input, or takes memory by a
//! length that was not compared with the bytes that are there. `segment`, `log`, `topic`, `consumer` and `store` call
//! it with the bytes that `io` gave them, and give what it makes to `io`.
//!
//! All numbers are little-endian. A *varint* is unsigned LEB128, at most ten bytes; a longer form than needed is read
//! too. *Zigzag* is a signed number in a varint. *Prefixed* bytes follow their varint length. A *time* is milliseconds
//! since 1970. An *epoch* is its number (u64) and its tag (u64). An *option* is a byte, 0 or 1, and behind a 1 a value.
//!
//! # Files
//!
//! | file | holds | begins with | then |
//! |---|---|---|---|
//! | `STORE` | the next epoch number | file header, kind 1 | frames |
//! | `topics/NAME@N/topic` | how the topic was created | kind 2 | frames |
//! | `topics/NAME@N/commits` | places of its groups | kind 3 | frames |
//! | `topics/NAME@N/P/history` | evidence of partition P | kind 4 | frames |
//! | `topics/NAME@N/P/BASE@E.log` | records: a segment | kind 5 | batches |
//! | `topics/NAME@N/P/BASE@E.index` | where its batches begin | kind 6 | index entries |
//! | `RESERVE` | nothing | no header | bytes of no meaning |
//!
//! `N` is the number of the topic's creation epoch, `E` that of the segment's; `BASE` is its base offset in twenty
//! digits. Other numbers have no leading zeros. `LOCK` holds nothing that is part of the format, and neither does
//! `RESERVE`: it takes room on the disk, is removed when that is needed, and its content means nothing.
//!
//! # File header: 96 bytes
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `epochlog` |
//! | 8 | kind, 1 to 6 as above |
//! | 9 | 0 |
//! | 10..12 | format version, 1 |
//! | 12..16 | length of this header, 96 |
//! | 16..32 | store id, random |
//! | 32..48 | creation epoch of the topic; zeros in `STORE` |
//! | 48..64 | epoch of the segment; zeros where the file is neither segment nor index |
//! | 64..68 | partition; `0xffff_ffff` where there is none |
//! | 68..72 | flags that must be understood, 0 |
//! | 72..80 | base offset of the segment |
//! | 80..88 | time of creation, signed |
//! | 88..92 | 0 |
//! | 92..96 | crc32 of bytes 0..92, unseeded |
//!
//! Magic, version and the checksum of the first 96 bytes stay where they are in every version, so that a later version
//! is told from damage: checksum first, then version, then flags, then the rest.
//!
//! # Checksums
//!
//! crc32 (IEEE). Every checksum behind the file header goes on, as if it were the checksum of bytes in front, not from 0
//! but from `seed ^ low half of the position ^ rotate_left(high half of the position, 16)`. The *seed* is the crc32 of
//! bytes 8, 16..68 and 72..80 of the file header: the identity without the time of creation. The *position* is the byte
//! of the file at which the checked thing begins. Both checksums of a batch take the position of the batch.
//!
//! # Batch: a header of at least 46 bytes, then the payload
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | header checksum, over bytes 4 to the end of the header |
//! | 4..8 | payload checksum, over the payload |
//! | 8..12 | length of the payload in bytes |
//! | 12..20 | base offset |
//! | 20..24 | number of records, at least 1 |
//! | 24..28 | span: last offset - base offset + 1, at least the number of records |
//! | 28..34 | append time, unsigned |
//! | 34..38 | greatest timestamp of a record, as a signed delta to the append time; saturates at both ends |
//! | 38..42 | durable mark: how many offsets below the base everything was known synced; `0xffff_ffff` says nothing |
//! | 42 | length of this header, 46 to 255; what is behind byte 46 is skipped |
//! | 43 | codec, 0: none |
//! | 44 | flags that must be understood, 0 |
//! | 45 | flags that may be ignored, 0 |
//!
//! # Record, in a batch's payload
//!
//! | part | there if attribute bit |
//! |---|---|
//! | varint length of all that follows | always |
//! | attributes, one byte; bits 5 to 7 are 0 | always |
//! | timestamp: zigzag delta to the append time, wrapping | 2 |
//! | offset delta to the base offset: varint | 4; without it, the number of records in front of it in the batch |
//! | key: prefixed | 0 |
//! | headers: varint count, then for each its name, prefixed UTF-8, and its value, prefixed | 1 |
//! | value: what is left | not 3; with it nothing is left, and the record is a tombstone |
//!
//! Offsets rise strictly within a batch and lie below base + span. The last record ends where the payload ends.
//!
//! # Frame: a header of 13 bytes, then 1 byte to 16 MiB of entries
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | checksum, over bytes 4 to the end of the frame |
//! | 4..8 | length of the payload in bytes |
//! | 8..12 | durable mark: how many bytes in front of the frame were not known synced; `0xffff_ffff` says nothing |
//! | 12 | flags that must be understood, 0 |
//!
//! An entry is a type (one byte), then its prefixed body. A type from 128 on may be skipped by whoever doesn't know it;
//! another unknown type is refused. Numbers are u64, times i64, where nothing else is said.
//!
//! | type | in | body |
//! |---|---|---|
//! | 1 Epoch | history | epoch, start offset, reason (u8: 0 created, 1 session, 2 truncated, 3 healed, 4 restored), time |
//! | 2 Start | history | start offset |
//! | 3 Roll | history | base offset, epoch |
//! | 4 Seal | history | base offset, epoch, length of the file, end offset, greatest timestamp, last append time |
//! | 5 Clean | history | end offset |
//! | 6 Commit | commits | group (prefixed), time, varint count of places, the places, option: metadata (prefixed) |
//! | 7 Forget | commits | group (prefixed), time |
//! | 8 Store | `STORE` | next epoch number, whether closed clean (u8, 0 or 1) |
//! | 9 Topic | `topic` | name (prefixed), options (prefixed) |
//! | 128 End | commits | nothing: stands alone in a frame, whose mark says that everything in front is synced |
//!
//! A place is partition (u32), next offset, epoch. Topic options are, in this order: varint partitions, durability (u8:
//! 0 durable, 1 written), varint segment bytes, option segment age, option retention age, option varint retention
//! bytes, varint unsynced bytes, option sync interval, option varint sync bytes. A duration is varint seconds and
//! varint nanoseconds. Later versions add options behind these, and older ones skip what they don't know.
//!
//! # Index entry: 20 bytes
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | base offset of a batch, counted from the segment's |
//! | 4..8 | position of the batch in the segment, at least 96 |
//! | 8..16 | greatest timestamp of the segment's records in front of it, signed; the least there is if there are none |
//! | 16..20 | checksum, over bytes 0..16 |
//!
//! # Awkward rules
//!
//! - Zeros are never a valid anything, whatever the seed: a batch header has at least 46 bytes, a frame a payload, an
//!   index entry a position behind the file header, an entry a type.
//! - A length is trusted only behind its checksum. The length of a batch header, which the checksum needs, is one byte,
//!   and that of a frame is compared with the file first.
//! - A saturated mark says nothing: the true distance may be greater, and claiming too much would turn what a crash
//!   tore into damage.
//! - What a crash tore at the end of a file of frames is told from damage by the marks behind it: every later byte is
//!   tried as the beginning of a frame. The search looks at 64 MiB at most, and then calls it damage.
//! - Zeros behind the last batch, frame or index entry are room that was reserved ahead. A sealed segment counts up to
//!   the length in its seal, whatever follows.
//! - A segment that the history doesn't name is no part of the log. One that reaches beyond the start of a later epoch,
//!   or of a later segment, counts up to there.
//! - A key goes to partition `crc32(key) mod partitions`, with the unseeded crc32; records without one go anywhere.
//! - A valid checksum over flags, a codec or a type that is not known means a later version, and never damage.
//!
//! # A worked example
//!
//! A segment with base offset 100 and one batch: the record `up` without a key. 146 bytes.
//!
//! ```text
//!        0  65 70 6f 63 68 6c 6f 67                         | magic
//!        8  05 00 01 00 60 00 00 00                         | segment, version 1, header of 96 bytes
//!       16  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f | store id
//!       32  07 00 00 00 00 00 00 00 87 b6 e4 d2 01 5c 3a 9f | creation epoch 7.9f3a5c01d2e4b687
//!       48  08 00 00 00 00 00 00 00 83 72 61 50 4f 3e 2d 1c | segment epoch 8.1c2d3e4f50617283
//!       64  00 00 00 00 00 00 00 00                         | partition 0, no flags
//!       72  64 00 00 00 00 00 00 00                         | base offset 100
//!       80  00 5e 56 ee a1 01 00 00                         | created at 1,795,000,000,000 ms
//!       88  00 00 00 00 d7 be b9 52                         | zero, checksum of bytes 0..92
//!       96  9d 1e e6 b5 cd f4 06 a3                         | header checksum, payload checksum
//!      104  04 00 00 00                                     | payload of 4 bytes
//!      108  64 00 00 00 00 00 00 00                         | base offset 100
//!      116  01 00 00 00 01 00 00 00                         | 1 record, span 1
//!      124  00 5e 56 ee a1 01                               | append time
//!      130  00 00 00 00 01 00 00 00                         | greatest timestamp + 0, mark 1
//!      138  2e 00 00 00                                     | header of 46 bytes, codec 0, no flags
//!      142  03 00 75 70                                     | record of 3 bytes, no attributes, `up`
//! ```
//!
//! # Downsides
//!
//! - A batch of one small record costs 48 bytes and two checksums.
//! - Nothing is aligned: fields are copied out, not lent.
//! - crc32 finds accidents and no attackers; what is written on purpose is only kept from doing harm.
//! - Two things in two files validate for each other if their seeds differ by exactly what their positions differ by:
//!   one chance in four billion for each pair.
//! - A damaged frame costs all its entries, and in a file of frames everything behind it is not read.
//! - Copying a batch to another place means to compute its checksums again.

use std::ops::Range;
use std::path::Path;

use crate::error::{Corruption, Damage, Error};
use crate::offset::{Offset, Position};

pub(crate) mod batch;
mod crc;
pub(crate) mod cursor;
mod encode;
pub(crate) mod entry;
mod fetch;
pub(crate) mod filename;
pub(crate) mod frame;
pub(crate) mod header;
#[cfg(feature = "testing")]
pub(crate) mod hostile;
pub(crate) mod index;
mod plain;
pub(crate) mod record;
mod whole;

pub(crate) use batch::{BATCH_HEADER_BYTES, BatchHeader, NO_MARK};
use crc::{Message, Sums, crc32};
pub(crate) use encode::{Draft, encode, payload_bytes, reseal};
pub(crate) use entry::{Entry, Reason};
pub(crate) use fetch::fetch;
pub(crate) use filename::{
    COMMITS, HISTORY, LOCK, NEW_PREFIX, QUARANTINE, RESERVE, STORE, TOPIC, TOPICS, TRASH, index_file, parse_index,
    parse_partition_dir, parse_segment, parse_topic_dir, segment_file, topic_dir,
};
pub(crate) use frame::{
    FRAME_BYTES_MAX, FRAME_HEADER_BYTES, Rest, Salvage, encode_frame, is_worth_rewriting, read_frames, salvage_frames,
};
pub(crate) use header::{FileKind, HEADER_BYTES, Identity, NO_EPOCH};
pub(crate) use index::{INDEX_ENTRY_BYTES, IndexEntry};
pub(crate) use plain::Usual;
pub use record::Headers;
pub(crate) use record::{RawRecord, check_records, next_record};

/// What every checksum of a file begins with: made of the file's [`Identity`], and of each thing's position in it.
///
/// Two runs of crc32 over equal bytes that begin in different states end in different states. So a copy of valid bytes
/// at another position of the file never validates, and one in another file does so only if the seeds happen to differ
/// by exactly what the positions differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    /// Where the checksum of what stands at this position of the file begins.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves of the position go in")]
    fn at(self, position: u64) -> u32 {
        self.0 ^ (position as u32) ^ ((position >> 32) as u32).rotate_left(16)
    }

    /// The checksum of these bytes at this position.
    #[inline]
    pub(crate) fn checksum(self, position: u64, bytes: &[u8]) -> u32 {
        crc32(self.at(position), bytes)
    }

    /// The same within a step of work.
    #[inline(always)]
    fn checksum_by(self, sums: impl Sums, position: u64, bytes: &[u8]) -> u32 {
        sums.of(self.at(position), bytes)
    }

    /// That of a payload, and that of the batch header in front of it, given as [`Sums::of_both`] takes it.
    #[inline(always)]
    fn checksums_by(self, sums: impl Sums, position: u64, payload: Message<'_>, words: [u128; 3]) -> (u32, u32) {
        sums.of_both(self.at(position), payload, words)
    }

    /// That of a batch header, given as [`Sums::of_words`] takes it.
    #[inline(always)]
    fn checksum_of_words_by(self, sums: impl Sums, position: u64, words: [u128; 3]) -> u32 {
        sums.of_words(self.at(position), words)
    }

    #[inline]
    fn check(self, position: u64, bytes: &[u8], found: u32) -> Result<(), DecodeError> {
        let expected = self.checksum(position, bytes);
        if found == expected { Ok(()) } else { Err(DecodeError::Checksum { found, expected }) }
    }
}

/// What is wrong with some bytes. Knows no file: [`DecodeError::at`] adds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The checksum doesn't match the bytes.
    Checksum { found: u32, expected: u32 },
    /// There are fewer bytes than the thing has.
    Short { found: u64, expected: u64 },
    /// The checksum matches (or there is none yet to ask) but the content breaks the format.
    Malformed(&'static str),
    /// Valid, but of another file.
    Foreign { found: String, expected: String },
    /// Valid, but needs a later version of this library. Never a sign of damage.
    Unsupported { found: String, supported: &'static str },
}

impl DecodeError {
    /// The error that a user sees: the one place where damage gets its file.
    pub(crate) fn at(
        self,
        what: &'static str,
        path: &Path,
        position: Option<Position>,
        offsets: Option<Range<Offset>>,
    ) -> Error {
        let damage = match self {
            DecodeError::Checksum { found, expected } => Damage::Checksum { found, expected },
            DecodeError::Short { found, expected } => Damage::Short { found, expected },
            DecodeError::Malformed(reason) => Damage::Malformed(reason.into()),
            DecodeError::Foreign { found, expected } => Damage::Foreign { found, expected },
            DecodeError::Unsupported { found, supported } => {
                return Error::UnsupportedVersion { path: path.into(), found, supported: supported.into() };
            }
        };
        let path = path.into();
        Error::Corrupt(Box::new(Corruption { damage, what, path, position, offsets, topic: None, partition: None }))
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod golden;
