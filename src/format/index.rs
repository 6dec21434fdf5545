//! One entry of an index: where a batch begins, and how late the records before it are.
//!
//! Invariant: an index is derived data and never evidence. An entry that validates is a hint that its reader checks
//! against the batch at that position. `segment::index` writes and reads entries.

use super::{DecodeError, HEADER_BYTES, Seed};
use crate::offset::Timestamp;

/// The length of one entry.
pub(crate) const INDEX_ENTRY_BYTES: usize = 20;
const CHECKSUM_AT: usize = INDEX_ENTRY_BYTES - 4;

/// Points at one batch of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// The batch's base offset, counted from the segment's.
    pub(crate) relative: u32,
    /// The byte of the segment file at which the batch begins; never inside the file's header.
    pub(crate) position: u32,
    /// The greatest timestamp of the segment's records before this position.
    pub(crate) greatest: Timestamp,
}

impl IndexEntry {
    /// The entry as it stands at byte `at` of the index file whose seed this is.
    pub(crate) fn encode(&self, seed: Seed, at: u64) -> [u8; INDEX_ENTRY_BYTES] {
        let mut bytes = [0; INDEX_ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.relative.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.position.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.greatest.as_millis().to_le_bytes());
        let checksum = seed.checksum(at, &bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the entry at the front of the bytes, which begin at byte `at` of the index file.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, at: u64) -> Result<IndexEntry, DecodeError> {
        let short = DecodeError::Short { found: bytes.len() as u64, expected: INDEX_ENTRY_BYTES as u64 };
        let (entry, checksum) = IndexEntry::fields(bytes).ok_or(short)?;
        seed.check(at, &bytes[..CHECKSUM_AT], checksum)?;
        if (entry.position as usize) < HEADER_BYTES {
            return Err(DecodeError::Malformed("index entry that points into the file header"));
        }
        Ok(entry)
    }

    /// The entry at the front of the bytes as they stand, unchecked: only for a guess that is checked itself. `None` for one
    /// that isn't written yet.
    pub(crate) fn trusted(bytes: &[u8]) -> Option<IndexEntry> {
        let (entry, _) = IndexEntry::fields(bytes)?;
        (entry.position as usize >= HEADER_BYTES).then_some(entry)
    }

    /// The fields, and the checksum.
    fn fields(bytes: &[u8]) -> Option<(IndexEntry, u32)> {
        let [r0, r1, r2, r3, p0, p1, p2, p3, g0, g1, g2, g3, g4, g5, g6, g7, c0, c1, c2, c3] =
            *bytes.first_chunk::<INDEX_ENTRY_BYTES>()?;
        let entry = IndexEntry {
            relative: u32::from_le_bytes([r0, r1, r2, r3]),
            position: u32::from_le_bytes([p0, p1, p2, p3]),
            greatest: Timestamp::from_millis(i64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7])),
        };
        Some((entry, u32::from_le_bytes([c0, c1, c2, c3])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fixtures::INDEX;

    const ENTRY: IndexEntry =
        IndexEntry { relative: 40, position: 4096, greatest: Timestamp::from_millis(1_795_000_000_000) };

    #[test]
    fn an_entry_comes_back() {
        assert_eq!(IndexEntry::decode(&ENTRY.encode(INDEX.seed(), 96), INDEX.seed(), 96), Ok(ENTRY));
    }

    #[test]
    fn the_first_batch_has_a_position_behind_the_file_header() {
        let first = IndexEntry { position: 96, ..ENTRY };
        assert_eq!(IndexEntry::decode(&first.encode(INDEX.seed(), 96), INDEX.seed(), 96), Ok(first));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = ENTRY.encode(INDEX.seed(), 96);
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(IndexEntry::decode(&bad, INDEX.seed(), 96).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(matches!(IndexEntry::decode(&good[..length], INDEX.seed(), 96), Err(DecodeError::Short { .. })));
        }
    }

    #[test]
    fn an_entry_elsewhere_or_of_another_index_never_validates() {
        let bytes = ENTRY.encode(INDEX.seed(), 96);
        assert!(IndexEntry::decode(&bytes, INDEX.seed(), 116).is_err());
        assert!(IndexEntry::decode(&bytes, Seed(INDEX.seed().0 ^ 1), 96).is_err());
    }

    #[test]
    fn an_entry_that_points_into_the_header_is_refused_and_so_are_zeros() {
        for position in [0, 95] {
            let inside = IndexEntry { position, ..ENTRY }.encode(INDEX.seed(), 96);
            let refused = Err(DecodeError::Malformed("index entry that points into the file header"));
            assert_eq!((IndexEntry::decode(&inside, INDEX.seed(), 96), IndexEntry::trusted(&inside)), (refused, None));
        }
        let zeros = [0; INDEX_ENTRY_BYTES];
        assert!(IndexEntry::decode(&zeros, INDEX.seed(), 96).is_err() && IndexEntry::trusted(&zeros).is_none());
        assert_eq!(IndexEntry::trusted(&ENTRY.encode(INDEX.seed(), 96)), Some(ENTRY));
    }
}
