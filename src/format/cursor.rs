//! Reading and writing the numbers of the format: little-endian words, varints, lengths.
//!
//! Invariant: a [`Cursor`] never reads behind its bytes and never trusts a length it has not compared with what is
//! left. Every decoder of `format` reads through it; the encoders write through [`Slots`] (batches, straight into the
//! log's memory) or through the `put_*` functions (entries, into a vector).

use super::DecodeError;

/// The most bytes of a varint: 64 bits, seven in a byte.
#[cfg(test)]
const VARINT_BYTES_MAX: usize = 10;

/// Why something can't be taken. Small and without a destructor, as it is returned by every step of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Short {
        found: u64,
        expected: u64,
    },
    Malformed(&'static str),
    /// A record says that it has parts of which this version knows nothing.
    Attributes(u8),
}

impl From<Flaw> for DecodeError {
    #[cold]
    fn from(flaw: Flaw) -> DecodeError {
        match flaw {
            Flaw::Short { found, expected } => DecodeError::Short { found, expected },
            Flaw::Malformed(rule) => DecodeError::Malformed(rule),
            Flaw::Attributes(attributes) => DecodeError::Unsupported {
                found: format!("version 1 with record attributes {attributes:#04x}"),
                supported: "version 1 with none above 0x1f",
            },
        }
    }
}

/// Reads numbers from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Begins at byte `at`; behind the end if that is where it lies, and then gives nothing.
    #[inline]
    pub(crate) fn starting_at(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at: at.min(bytes.len()) }
    }

    /// How many bytes were taken, counted from the beginning of the bytes.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Takes the next `N` bytes.
    #[inline]
    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let array = self.bytes[self.at..].first_chunk().ok_or_else(|| self.short(N as u64))?;
        self.at += N;
        Ok(*array)
    }

    #[inline]
    pub(crate) fn take_u8(&mut self) -> Result<u8, Flaw> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.short(1))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take_u32(&mut self) -> Result<u32, Flaw> {
        self.take_array().map(u32::from_le_bytes)
    }

    pub(crate) fn take_u64(&mut self) -> Result<u64, Flaw> {
        self.take_array().map(u64::from_le_bytes)
    }

    pub(crate) fn take_i64(&mut self) -> Result<i64, Flaw> {
        self.take_array().map(i64::from_le_bytes)
    }

    /// Takes an unsigned LEB128 number. A longer form than needed is read too; more than 64 bits are refused.
    #[inline]
    pub(crate) fn take_varint(&mut self) -> Result<u64, Flaw> {
        let first = self.take_u8()?;
        if first < 0x80 { Ok(u64::from(first)) } else { self.take_long_varint(first) }
    }

    #[inline]
    fn take_long_varint(&mut self, first: u8) -> Result<u64, Flaw> {
        let (mut number, mut shift) = (u64::from(first & 0x7f), 7);
        for &byte in &self.bytes[self.at..] {
            self.at += 1;
            if shift == 63 && byte > 1 {
                return Err(Flaw::Malformed("varint of more than 64 bits"));
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
        }
        Err(self.short(1))
    }

    /// Takes a signed number: zigzag in a varint.
    #[inline]
    pub(crate) fn take_zigzag(&mut self) -> Result<i64, Flaw> {
        self.take_varint().map(unzigzag)
    }

    /// Takes the next `length` bytes, if there are as many.
    #[inline]
    pub(crate) fn take_bytes(&mut self, length: u64) -> Result<&'a [u8], Flaw> {
        let taken = usize::try_from(length).ok().and_then(|length| self.bytes[self.at..].get(..length));
        let taken = taken.ok_or_else(|| self.short(length))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// Takes a varint length and as many bytes.
    #[inline]
    pub(crate) fn take_prefixed(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.take_varint()?;
        self.take_bytes(length)
    }

    #[cold]
    fn short(&self, expected: u64) -> Flaw {
        Flaw::Short { found: self.left() as u64, expected }
    }
}

/// Small magnitudes of either sign become small numbers: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[inline]
fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// How many bytes the varint of this number takes: 1 to 10.
#[inline]
pub(crate) fn varint_bytes(number: u64) -> u64 {
    u64::from((70 - (number | 1).leading_zeros()) / 7)
}

/// Writes into memory whose size was computed before. Panics when that was too little: the caller's error.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    out: &'a mut [u8],
}

impl<'a> Slots<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Slots<'a> {
        Slots { out }
    }

    /// How many bytes are still to be written.
    pub(crate) fn left(&self) -> usize {
        self.out.len()
    }

    #[inline]
    pub(crate) fn put_u8(&mut self, byte: u8) {
        self.put_bytes(&[byte]);
    }

    #[inline]
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        let (here, rest) = std::mem::take(&mut self.out).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.out = rest;
    }

    #[inline]
    pub(crate) fn put_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.put_u8(low_seven(number) | 0x80);
            number >>= 7;
        }
        self.put_u8(low_seven(number));
    }

    /// Puts the length of the bytes, and the bytes.
    #[inline]
    pub(crate) fn put_prefixed(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.put_bytes(bytes);
    }
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_seven(number) | 0x80);
        number >>= 7;
    }
    out.push(low_seven(number));
}

/// Appends the length of the bytes, and the bytes.
pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[inline]
fn low_seven(number: u64) -> u8 {
    (number & 0x7f).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [u64; 9] = [0, 1, 127, 128, 16383, 16384, u32::MAX as u64, 1 << 63, u64::MAX];

    #[test]
    fn varints_come_back_and_take_the_bytes_foretold() {
        for number in NUMBERS {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(bytes.len() as u64, varint_bytes(number), "{number}");
            let mut slots = vec![0; bytes.len()];
            Slots::new(&mut slots).put_varint(number);
            assert_eq!(slots, bytes);
            assert_eq!(Cursor::new(&bytes).take_varint(), Ok(number));
        }
    }

    #[test]
    fn zigzag_comes_back_at_both_ends() {
        for number in [0, -1, 1, -64, 64, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        let refused = Err(Flaw::Malformed("varint of more than 64 bits"));
        let mut bytes = [0xff; VARINT_BYTES_MAX];
        assert_eq!(Cursor::new(&bytes).take_varint(), refused);
        bytes[9] = 2;
        assert_eq!(Cursor::new(&bytes).take_varint(), refused);
        bytes[9] = 1;
        assert_eq!(Cursor::new(&bytes).take_varint(), Ok(u64::MAX));
    }

    #[test]
    fn a_cut_varint_is_short() {
        for length in 0..VARINT_BYTES_MAX {
            let cut = [0xff; VARINT_BYTES_MAX];
            assert!(matches!(Cursor::new(&cut[..length]).take_varint(), Err(Flaw::Short { .. })), "{length}");
        }
    }

    #[test]
    fn a_length_behind_the_end_takes_nothing() {
        let mut cursor = Cursor::new(b"abc");
        assert_eq!(cursor.take_bytes(u64::MAX), Err(Flaw::Short { found: 3, expected: u64::MAX }));
        assert_eq!(cursor.take_bytes(3), Ok(b"abc".as_slice()));
        assert_eq!(cursor.take_u8(), Err(Flaw::Short { found: 0, expected: 1 }));
        assert_eq!(Cursor::starting_at(b"abc", 9).left(), 0);
    }
}
