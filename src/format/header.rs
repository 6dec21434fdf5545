//! The header that every file begins with: what the file is, and whose.
//!
//! Invariant: a file is read only under the [`Identity`] that its path and its owner expect, and the identity seeds
//! every checksum behind the header. Written once, when the file is created; read first by whoever opens the file.

use super::{DecodeError, Seed};
use crate::offset::{Epoch, Offset, Timestamp};

/// The length of the header of version 1.
pub(crate) const HEADER_BYTES: usize = LENGTH as usize;
const LENGTH: u8 = 96;
/// Stands where a file has no epoch: in the file `STORE`, and as the segment epoch of what is no segment.
pub(crate) const NO_EPOCH: Epoch = Epoch { number: 0, tag: 0 };

const MAGIC: [u8; 8] = *b"epochlog";
const VERSION: u16 = 1;
const NO_PARTITION: u32 = u32::MAX;
const CHECKSUM_AT: usize = HEADER_BYTES - 4;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FileKind {
    Store = 1,
    Topic = 2,
    Commits = 3,
    History = 4,
    Segment = 5,
    Index = 6,
}

impl FileKind {
    const ALL: [FileKind; 6] =
        [FileKind::Store, FileKind::Topic, FileKind::Commits, FileKind::History, FileKind::Segment, FileKind::Index];

    fn decode(byte: u8) -> Result<FileKind, DecodeError> {
        let kind = FileKind::ALL.into_iter().find(|&kind| kind as u8 == byte);
        kind.ok_or(DecodeError::Malformed("unknown kind of file"))
    }

    fn name(self) -> &'static str {
        match self {
            FileKind::Store => "store file",
            FileKind::Topic => "topic file",
            FileKind::Commits => "commits file",
            FileKind::History => "history",
            FileKind::Segment => "segment",
            FileKind::Index => "index",
        }
    }
}

/// Whose a file is: everything that tells it from any other file, ever, of any store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) kind: FileKind,
    pub(crate) store: [u8; 16],
    /// The creation epoch of the topic; [`NO_EPOCH`] in the file `STORE`.
    pub(crate) creation: Epoch,
    pub(crate) partition: Option<u32>,
    /// The epoch that wrote a segment or its index; [`NO_EPOCH`] elsewhere.
    pub(crate) epoch: Epoch,
    pub(crate) base: Offset,
}

impl Identity {
    /// What every checksum behind the header begins with. The creation time is no part of it.
    pub(crate) fn seed(&self) -> Seed {
        let bytes = self.encode(Timestamp::default());
        let mut hasher = crc32fast::Hasher::new();
        for identifying in [8..9, 16..68, 72..80] {
            hasher.update(&bytes[identifying]);
        }
        Seed(hasher.finalize())
    }

    /// The header as bytes.
    pub(crate) fn encode(&self, created_at: Timestamp) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = self.kind as u8;
        bytes[10..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(LENGTH).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store);
        bytes[32..48].copy_from_slice(&epoch_bytes(self.creation));
        bytes[48..64].copy_from_slice(&epoch_bytes(self.epoch));
        bytes[64..68].copy_from_slice(&self.partition.unwrap_or(NO_PARTITION).to_le_bytes());
        bytes[72..80].copy_from_slice(&self.base.get().to_le_bytes());
        bytes[80..88].copy_from_slice(&created_at.as_millis().to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header at the front of a file's bytes, whosever it is.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Identity, Timestamp), DecodeError> {
        let short = DecodeError::Short { found: bytes.len() as u64, expected: HEADER_BYTES as u64 };
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        if !header.starts_with(&MAGIC) {
            return Err(DecodeError::Malformed("it doesn't begin with `epochlog`"));
        }
        check_checksum(header)?;
        check_version(header)?;
        check_layout(header)?;
        decode_fields(header)
    }

    /// Reads the header and compares: a valid header of another file is `Foreign`.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<Timestamp, DecodeError> {
        let (found, created_at) = Identity::decode(bytes)?;
        if found == *self {
            return Ok(created_at);
        }
        Err(DecodeError::Foreign { found: found.in_words(), expected: self.in_words() })
    }

    /// `segment of store 00..., topic epoch 7.9f..., partition 0, epoch 8.1c..., base offset 100`.
    pub(crate) fn in_words(&self) -> String {
        let store: String = self.store.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut words = format!("{} of store {store}", self.kind.name());
        if self.creation != NO_EPOCH {
            words += &format!(", topic epoch {}", self.creation);
        }
        if let Some(partition) = self.partition {
            words += &format!(", partition {partition}");
        }
        if self.epoch != NO_EPOCH {
            words += &format!(", epoch {}, base offset {}", self.epoch, self.base);
        }
        words
    }
}

/// Before anything else: so that a newer version is told from damage.
fn check_checksum(header: &[u8; HEADER_BYTES]) -> Result<(), DecodeError> {
    let found = word(header, CHECKSUM_AT);
    let expected = crc32fast::hash(&header[..CHECKSUM_AT]);
    if found == expected { Ok(()) } else { Err(DecodeError::Checksum { found, expected }) }
}

fn check_version(header: &[u8; HEADER_BYTES]) -> Result<(), DecodeError> {
    let version = u16::from_le_bytes([header[10], header[11]]);
    let flags = word(header, 68);
    if version > VERSION {
        return Err(DecodeError::Unsupported { found: format!("version {version}"), supported: "version 1" });
    }
    if flags != 0 {
        let found = format!("version {version} with file flags {flags:#010x}");
        return Err(DecodeError::Unsupported { found, supported: "version 1 with none" });
    }
    Ok(())
}

fn check_layout(header: &[u8; HEADER_BYTES]) -> Result<(), DecodeError> {
    let same = header[9..16] == [0, 1, 0, LENGTH, 0, 0, 0] && header[88..92] == [0; 4];
    if same { Ok(()) } else { Err(DecodeError::Malformed("not the header of version 1")) }
}

fn decode_fields(header: &[u8; HEADER_BYTES]) -> Result<(Identity, Timestamp), DecodeError> {
    let partition = word(header, 64);
    let mut store = [0; 16];
    store.copy_from_slice(&header[16..32]);
    let identity = Identity {
        kind: FileKind::decode(header[8])?,
        store,
        creation: Epoch { number: long(header, 32), tag: long(header, 40) },
        partition: (partition != NO_PARTITION).then_some(partition),
        epoch: Epoch { number: long(header, 48), tag: long(header, 56) },
        base: Offset::new(long(header, 72)),
    };
    Ok((identity, Timestamp::from_millis(long(header, 80).cast_signed())))
}

fn epoch_bytes(epoch: Epoch) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&epoch.number.to_le_bytes());
    bytes[8..].copy_from_slice(&epoch.tag.to_le_bytes());
    bytes
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(word)
}

fn long(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::{SEGMENT, TIME};

    fn resealed(change: impl FnOnce(&mut [u8])) -> [u8; HEADER_BYTES] {
        let mut bytes = SEGMENT.encode(TIME);
        change(&mut bytes);
        let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn a_header_comes_back_with_its_time() {
        for kind in FileKind::ALL {
            for partition in [None, Some(3)] {
                let identity = Identity { kind, partition, ..SEGMENT };
                assert_eq!(Identity::decode(&identity.encode(TIME)), Ok((identity, TIME)));
                assert_eq!(identity.check(&identity.encode(TIME)), Ok(TIME));
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = SEGMENT.encode(TIME);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(Identity::decode(&bytes), Err(DecodeError::Checksum { .. } | DecodeError::Malformed(_))),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_cut_or_empty_header_is_refused() {
        let bytes = SEGMENT.encode(TIME);
        for length in 0..HEADER_BYTES {
            let short = DecodeError::Short { found: length as u64, expected: 96 };
            assert_eq!(Identity::decode(&bytes[..length]), Err(short));
        }
        let refused = Err(DecodeError::Malformed("it doesn't begin with `epochlog`"));
        assert_eq!(Identity::decode(&[0; HEADER_BYTES]), refused);
    }

    #[test]
    fn another_files_header_is_foreign_and_both_are_named() {
        let ours = Identity { base: Offset::new(101), ..SEGMENT };
        let whose = "segment of store 000102030405060708090a0b0c0d0e0f, topic epoch 7.9f3a5c01d2e4b687, partition 0, \
                     epoch 8.1c2d3e4f50617283, base offset ";
        assert_eq!(
            ours.check(&SEGMENT.encode(TIME)),
            Err(DecodeError::Foreign { found: format!("{whose}100"), expected: format!("{whose}101") })
        );
    }

    #[test]
    fn a_file_of_any_kind_is_named_for_what_it_is() {
        let names = ["store file", "topic file", "commits file", "history", "segment", "index"];
        for (kind, name) in FileKind::ALL.into_iter().zip(names) {
            let words = Identity { kind, partition: None, creation: NO_EPOCH, epoch: NO_EPOCH, ..SEGMENT }.in_words();
            assert_eq!(words, format!("{name} of store 000102030405060708090a0b0c0d0e0f"));
        }
    }

    #[test]
    fn every_field_of_the_identity_changes_the_seed_and_the_creation_time_does_not() {
        let others = [
            Identity { kind: FileKind::Index, ..SEGMENT },
            Identity { store: [9; 16], ..SEGMENT },
            Identity { creation: NO_EPOCH, ..SEGMENT },
            Identity { partition: None, ..SEGMENT },
            Identity { epoch: NO_EPOCH, ..SEGMENT },
            Identity { base: Offset::ZERO, ..SEGMENT },
        ];
        assert!(others.iter().all(|other| other.seed() != SEGMENT.seed()));
    }

    #[test]
    fn a_later_version_is_refused_by_name_and_a_damaged_one_is_not_taken_for_it() {
        let later = resealed(|bytes| bytes[10] = 2);
        let refusal = DecodeError::Unsupported { found: "version 2".into(), supported: "version 1" };
        assert_eq!(Identity::decode(&later), Err(refusal));
        let mut damaged = SEGMENT.encode(TIME);
        damaged[10] = 2;
        assert!(matches!(Identity::decode(&damaged), Err(DecodeError::Checksum { .. })));
    }

    #[test]
    fn unknown_flags_and_fields_are_refused() {
        let refusal = DecodeError::Unsupported {
            found: "version 1 with file flags 0x00000004".into(),
            supported: "version 1 with none",
        };
        assert_eq!(Identity::decode(&resealed(|bytes| bytes[68] = 4)), Err(refusal));
        let (kind, layout) = ("unknown kind of file", "not the header of version 1");
        for (at, value, reason) in
            [(8, 0, kind), (8, 7, kind), (9, 1, layout), (10, 0, layout), (12, 95, layout), (88, 1, layout)]
        {
            let refused = Identity::decode(&resealed(|bytes| bytes[at] = value));
            assert_eq!(refused, Err(DecodeError::Malformed(reason)), "byte {at}");
        }
    }
}
