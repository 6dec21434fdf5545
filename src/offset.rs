//! The numbers of a log: which record ([`Offset`]), which byte ([`Position`]), which history ([`Epoch`]), when
//! ([`Timestamp`]).
//!
//! Invariant: above this file none of them is a bare integer, and none is ever mistaken for another. Steps that could
//! leave the range of the type saturate or say so; none wraps.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// The number of a record in its partition: dense, from 0.
///
/// ```
/// use epochlog::Offset;
/// assert_eq!(Offset::new(72).next().get(), 73);
/// assert_eq!("72".parse::<Offset>()?, Offset::new(72));
/// # Ok::<(), std::num::ParseIntError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The offset of a partition's first record.
    pub const ZERO: Offset = Offset(0);
    /// Beyond every record.
    pub const MAX: Offset = Offset(u64::MAX);

    /// The offset with this number.
    #[must_use]
    pub const fn new(number: u64) -> Offset {
        Offset(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset after this one; stays at [`Offset::MAX`].
    #[must_use]
    pub const fn next(self) -> Offset {
        self.plus(1)
    }

    /// The offset `records` further on; stays at [`Offset::MAX`].
    #[must_use]
    pub const fn plus(self, records: u64) -> Offset {
        Offset(self.0.saturating_add(records))
    }

    /// The offset `records` further back; stays at [`Offset::ZERO`].
    #[must_use]
    pub const fn minus(self, records: u64) -> Offset {
        Offset(self.0.saturating_sub(records))
    }

    /// How many records lie between an earlier offset and this one; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<u64> for Offset {
    fn from(number: u64) -> Offset {
        Offset(number)
    }
}

impl FromStr for Offset {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Offset, Self::Err> {
        text.parse().map(Offset)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A byte in a file, counted from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The position of this byte.
    #[must_use]
    pub const fn new(byte: u64) -> Position {
        Position(byte)
    }

    /// The number of bytes in front of it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `bytes` further on; saturates.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Position {
        Position(self.0.saturating_add(bytes))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One uninterrupted history of appends.
///
/// The number is issued once by its store and always rises; the tag is random. Two epochs are the same only when both
/// are equal, so neither a store that was wiped and made again nor a copy that went its own way is mistaken for this
/// one. The text is `number.tag`, the tag as sixteen hexadecimal digits: `7.9f3a5c01d2e4b687`.
///
/// ```
/// use epochlog::Epoch;
/// let epoch: Epoch = "7.9f3a5c01d2e4b687".parse()?;
/// assert_eq!((epoch.number, epoch.to_string()), (7, "7.9f3a5c01d2e4b687".into()));
/// # Ok::<(), epochlog::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// Issued once by the store, always rising, durable before its first use.
    pub number: u64,
    /// Random.
    pub tag: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.number, self.tag)
    }
}

impl FromStr for Epoch {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::InvalidEpoch`] with the form that is expected.
    fn from_str(text: &str) -> Result<Epoch, Error> {
        let parts = text.split_once('.').filter(|(_, tag)| tag.len() == 16);
        let epoch = parts.and_then(|(number, tag)| Some(Epoch { number: decimal(number)?, tag: hexadecimal(tag)? }));
        epoch.ok_or_else(|| Error::InvalidEpoch { epoch: text.into() })
    }
}

/// Digits only: the standard parser also takes a sign.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn hexadecimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok())?
}

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before everything.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// After everything.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The point this many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The same point as the standard library has it, from which the conversion back gives this one; `None` where the
    /// system's clock doesn't reach so far.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// let time = epochlog::Timestamp::from_millis(1_500);
    /// assert_eq!(time.to_system_time(), Some(UNIX_EPOCH + Duration::from_millis(1_500)));
    /// ```
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let distance = Duration::from_millis(self.0.unsigned_abs());
        if self.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Timestamp(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms)),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_saturate_at_both_ends() {
        assert_eq!(Offset::MAX.next(), Offset::MAX);
        assert_eq!(Offset::ZERO.minus(1), Offset::ZERO);
        assert_eq!(Offset::ZERO.since(Offset::new(9)), 0);
        assert_eq!(Position::new(u64::MAX).plus(1), Position::new(u64::MAX));
    }

    #[test]
    fn a_time_before_1970_is_negative() {
        let before = UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(Timestamp::from(before), Timestamp::from_millis(-1500));
    }

    #[test]
    fn a_time_goes_to_the_systems_and_back() {
        for millis in [0, 1, -1, -1500, 1_764_187_200_123, i64::MAX / 2, i64::MIN / 2] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_system_time().map(Timestamp::from), Some(time));
        }
        for time in [Timestamp::MIN, Timestamp::MAX] {
            assert!(time.to_system_time().is_none_or(|system| Timestamp::from(system) == time));
        }
    }
}
