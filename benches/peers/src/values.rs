//! Values that follow from their numbers, so that every record that comes back can be told from every other.
//!
//! Invariant: the values of two numbers below [`NUMBERS`] differ; they are windows of one random buffer, and the buffer's
//! length is a prime, so that the windows begin at different bytes. Nothing is copied or computed to hand one out, and
//! neighbours don't overlap within the window of a compressor.

/// The largest prime below 2^20.
pub const NUMBERS: u64 = 1_048_573;

pub struct Values {
    bytes: Vec<u8>,
    size: usize,
}

impl Values {
    pub fn new(size: usize) -> Values {
        let mut next = scattered(u64::MAX);
        let mut bytes: Vec<u8> = (0..NUMBERS).map(|_| next().to_le_bytes()[3]).collect();
        bytes.extend_from_within(..size);
        Values { bytes, size }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// The value of this number.
    #[inline]
    pub fn of(&self, number: u64) -> &[u8] {
        let at = number * (self.size as u64 + 7) % NUMBERS;
        let at = usize::try_from(at).expect("is below the buffer's length");
        &self.bytes[at..at + self.size]
    }

    /// Puts the values from this number on into the batch.
    #[inline]
    pub fn fill<'a>(&'a self, from: u64, batch: &mut [&'a [u8]]) {
        for (number, slot) in (from..).zip(batch) {
            *slot = self.of(number);
        }
    }
}

/// Numbers below `below` in no order that a cache would know.
pub fn scattered(below: u64) -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn values_of_different_numbers_differ() {
        for size in [100, 1024] {
            let values = Values::new(size);
            let distinct: HashSet<&[u8]> = (0..300_000).map(|number| values.of(number)).collect();
            assert_eq!(distinct.len(), 300_000);
        }
    }
}
