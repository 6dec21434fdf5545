//! [`Place`]: where a reader goes on, bound to the history it has read.
//!
//! Invariant: a place is stamped with the epoch that wrote the record in front of it (the topic's creation epoch at
//! offset 0), so it means something only to a partition whose lineage holds that epoch. Commits hold places, hosts keep
//! them in their own databases; `log::lineage` admits or refuses them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::offset::{Epoch, Offset, decimal};

/// Where a reader goes on: partition, epoch, next offset.
///
/// Its text is `partition:next@number.tag`; its bytes are 32, little-endian: partition (4), next offset (8), epoch
/// number (8), epoch tag (8), crc32 of these (4).
///
/// ```
/// use epochlog::Place;
/// let place: Place = "0:72@7.9f3a5c01d2e4b687".parse()?;
/// assert_eq!(place.next().get(), 72);
/// assert_eq!(Place::from_bytes(&place.to_bytes())?, place);
/// assert_eq!(place.to_string(), "0:72@7.9f3a5c01d2e4b687");
/// # Ok::<(), epochlog::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    partition: u32,
    next: Offset,
    epoch: Epoch,
}

/// The length of [`Place::to_bytes`].
pub const PLACE_BYTES: usize = 32;

impl Place {
    pub(crate) const fn new(partition: u32, next: Offset, epoch: Epoch) -> Place {
        Place { partition, next, epoch }
    }

    /// The partition it belongs to.
    #[must_use]
    pub const fn partition(&self) -> u32 {
        self.partition
    }

    /// The offset of the record to read next.
    #[must_use]
    pub const fn next(&self) -> Offset {
        self.next
    }

    /// The epoch that wrote the record before [`next`](Place::next); at offset 0 the topic's creation epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The place as bytes of a fixed length, to be kept in a database.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..4].copy_from_slice(&self.partition.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.next.get().to_le_bytes());
        bytes[12..20].copy_from_slice(&self.epoch.number.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.epoch.tag.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The place that [`to_bytes`](Place::to_bytes) gave.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPlace`] if the length or the checksum is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Place> {
        let hex = || bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect::<String>();
        let invalid = |reason: String| Error::InvalidPlace { place: hex(), reason };
        let bytes: &[u8; PLACE_BYTES] =
            bytes.try_into().map_err(|_| invalid(format!("{} bytes, expected {PLACE_BYTES}", bytes.len())))?;
        let found = u32::from_le_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]);
        let expected = crc32fast::hash(&bytes[..28]);
        if found != expected {
            return Err(invalid(format!("checksum {found:#010x}, expected {expected:#010x}")));
        }
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let partition = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(Place::new(partition, Offset::new(word(4)), Epoch { number: word(12), tag: word(20) }))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.partition, self.next, self.epoch)
    }
}

impl FromStr for Place {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::InvalidPlace`] with the form that is expected.
    fn from_str(text: &str) -> Result<Place> {
        parse(text).ok_or_else(|| Error::InvalidPlace {
            place: text.into(),
            reason: "expected `partition:offset@number.tag`, such as `0:72@7.9f3a5c01d2e4b687`".into(),
        })
    }
}

fn parse(text: &str) -> Option<Place> {
    let (partition, rest) = text.split_once(':')?;
    let (next, epoch) = rest.split_once('@')?;
    let epoch = epoch.parse().ok()?;
    Some(Place::new(u32::try_from(decimal(partition)?).ok()?, Offset::new(decimal(next)?), epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::new(3, Offset::new(72), Epoch { number: 7, tag: 0x9f3a_5c01_d2e4_b687 })
    }

    #[test]
    fn text_and_bytes_come_back_as_they_were() {
        assert_eq!(place().to_string(), "3:72@7.9f3a5c01d2e4b687");
        assert_eq!(place().to_string().parse::<Place>().expect("parses"), place());
        assert_eq!(Place::from_bytes(&place().to_bytes()).expect("decodes"), place());
    }

    #[test]
    fn a_malformed_text_is_refused_with_the_form_expected() {
        for text in [
            "",
            "72",
            "0:72",
            "0:72@7",
            "0:72@7.9f",
            "0:-1@7.9f3a5c01d2e4b687",
            "0:+1@7.9f3a5c01d2e4b687",
            "4294967296:1@7.9f3a5c01d2e4b687",
            "0:99999999999999999999@7.9f3a5c01d2e4b687",
            "0:1@7.9f3a5c01d2e4b68g",
            " 0:1@7.9f3a5c01d2e4b687",
            "0:1@.9f3a5c01d2e4b687",
            ":1@7.9f3a5c01d2e4b687",
        ] {
            let error = text.parse::<Place>().expect_err("is refused").to_string();
            assert_eq!(
                error,
                format!(
                    "place `{text}` is invalid: expected `partition:offset@number.tag`, such as `0:72@7.9f3a5c01d2e4b687`"
                )
            );
        }
    }

    #[test]
    fn every_flipped_bit_of_its_bytes_is_noticed() {
        let good = place().to_bytes();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Place::from_bytes(&bad), Err(Error::InvalidPlace { .. })), "bit {bit}");
        }
        assert!(
            Place::from_bytes(&good[..31])
                .expect_err("is short")
                .to_string()
                .ends_with("is invalid: 31 bytes, expected 32")
        );
    }
}
