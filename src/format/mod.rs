//! The on-disk format.

use std::ops::Range;
use std::path::Path;

use crate::error::{Corruption, Damage, Error};
use crate::offset::{Offset, Position};

pub(crate) mod batch;
pub(crate) mod cursor;
pub(crate) mod entry;
pub(crate) mod filename;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod index;
pub(crate) mod record;

pub(crate) use batch::{BATCH_HEADER_BYTES, BatchHeader, Draft, NO_MARK};
pub(crate) use entry::{Entry, Reason};
pub(crate) use frame::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES, Frames, Rest, encode_frame, read_frames};
pub(crate) use header::{FileKind, HEADER_BYTES, Identity, NO_EPOCH};
pub(crate) use index::{INDEX_ENTRY_BYTES, IndexEntry};
pub(crate) use record::{Headers, RawRecord, check_records, next_record};

/// What every checksum of a file begins with: made of the file's [`Identity`], and of each thing's position in it.
///
/// Two runs of crc32 over equal bytes that begin in different states end in different states. So a copy of valid bytes
/// at another position of the file never validates, and one in another file does so only if the seeds happen to differ
/// by exactly what the positions differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    /// Begins the checksum of what stands at this position of the file.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves of the position go in")]
    pub(crate) fn at(self, position: u64) -> crc32fast::Hasher {
        let high = (position >> 32) as u32;
        crc32fast::Hasher::new_with_initial(self.0 ^ (position as u32) ^ high.rotate_left(16))
    }

    /// The checksum of these bytes at this position.
    #[inline]
    pub(crate) fn checksum(self, position: u64, bytes: &[u8]) -> u32 {
        let mut hasher = self.at(position);
        hasher.update(bytes);
        hasher.finalize()
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
        Error::Corrupt(Box::new(Corruption { damage, what, path: path.into(), position, offsets }))
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod golden;
