//! Records that have a short value and nothing else, as most have: where each ends is told by its first two bytes.
//!
//! Invariant: what is said of a record or a payload here is what `record` would say of it. Used by `record`, `encode` and
//! `whole`.

use crate::record::Record;

/// The longest value of such a record.
const VALUE_BYTES_MAX: usize = 0x7e;

/// The value of such a record, and the two bytes in front of it.
#[inline]
pub(super) fn short_value<'a>(record: &Record<'a>) -> Option<(u16, &'a [u8])> {
    let value = record.value().filter(|value| value.len() <= VALUE_BYTES_MAX)?;
    let is_bare = record.get_key().is_none() && record.get_headers().is_empty() && record.get_timestamp().is_none();
    let length = u16::try_from(value.len() + 1).ok()?;
    is_bare.then_some((length, value))
}

/// Where the next record stands if this one is nothing but a short value.
#[inline]
pub(super) fn behind_plain(payload: &[u8], at: usize) -> Option<usize> {
    let &[length, attributes] = payload.get(at..)?.first_chunk()?;
    let end = at + 1 + usize::from(length);
    (attributes == 0 && (1..0x80).contains(&length) && end <= payload.len()).then_some(end)
}

/// Whether a payload is exactly so many such records.
#[inline]
pub(super) fn are_plain(count: u32, payload: &[u8]) -> bool {
    (count > 1 && are_alike(count, payload))
        || (0..count).try_fold(0, |at, _| behind_plain(payload, at)) == Some(payload.len())
}

/// The same, and whether all are of one length.
#[inline]
fn are_alike(count: u32, payload: &[u8]) -> bool {
    let usual = Usual::of(count, payload);
    usual.bytes as u64 * u64::from(count) == payload.len() as u64
        && payload.chunks_exact(usual.bytes).all(|record| usual.begins(record))
}

/// What every record of a payload is if all are plain and of one length. Then no record has to be read to know where the
/// next one stands, so that none waits for the one before to come from memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usual {
    bytes: usize,
    /// What it begins with. One number: bytes that were stored one by one can't be loaded together before long.
    front: u16,
}

impl Usual {
    /// No record of less than two bytes is one.
    const NONE: Usual = Usual { bytes: 1, front: 0 };

    /// Of so many records in this payload.
    #[inline]
    pub(crate) fn of(count: u32, payload: &[u8]) -> Usual {
        let bytes = if count == 1 { Some(payload.len()) } else { payload.len().checked_div(count as usize) };
        match bytes.map(u8::try_from) {
            Some(Ok(bytes @ 2..=0x80)) => Usual { bytes: usize::from(bytes), front: u16::from(bytes) - 1 },
            _ => Usual::NONE,
        }
    }

    /// Where the next record stands if this one is as usual.
    #[inline]
    pub(super) fn behind(self, payload: &[u8], at: usize) -> Option<usize> {
        let end = at + self.bytes;
        self.begins(payload.get(at..end)?).then_some(end)
    }

    #[inline]
    fn begins(self, record: &[u8]) -> bool {
        record.first_chunk().is_some_and(|front| u16::from_le_bytes(*front) == self.front)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record with so long a value.
    fn record(value_bytes: u8) -> Vec<u8> {
        let mut record = vec![value_bytes + 1, 0];
        record.resize(usize::from(value_bytes) + 2, 7);
        record
    }

    fn one_by_one(count: u32, payload: &[u8]) -> bool {
        (0..count).try_fold(0, |at, _| behind_plain(payload, at)) == Some(payload.len())
    }

    #[test]
    fn records_of_one_length_are_told_as_if_each_were_read() {
        for value_bytes in [0, 1, 2, 9, 125, 126] {
            let payload = record(value_bytes).repeat(3);
            assert!(are_plain(3, &payload) && are_alike(3, &payload), "{value_bytes} bytes");
            assert!(!are_plain(2, &payload) && !are_plain(4, &payload) && !are_plain(0, &payload));
            for bit in 0..payload.len() * 8 {
                let mut other = payload.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(are_plain(3, &other), one_by_one(3, &other), "bit {bit} of 3 with {value_bytes} bytes");
            }
        }
        assert!(are_plain(0, &[]) && !are_plain(1, &[]) && !are_plain(u32::MAX, &[1, 0]));
    }

    #[test]
    fn records_of_many_lengths_are_plain_but_not_alike() {
        let payload = [record(3), record(5), record(4)].concat();
        assert!(are_plain(3, &payload) && !are_alike(3, &payload));
    }

    #[test]
    fn what_is_usual_ends_where_it_would_without_that() {
        for payload in [record(4).repeat(3), [record(3), record(5), record(4)].concat(), record(126), vec![0; 9]] {
            for (count, at) in (0..5).flat_map(|count| (0..=payload.len()).map(move |at| (count, at))) {
                let usual = Usual::of(count, &payload).behind(&payload, at);
                assert!(usual.is_none() || usual == behind_plain(&payload, at), "{count} from {at} in {payload:?}");
            }
        }
        let payload = record(4).repeat(3);
        let usual = Usual::of(3, &payload);
        assert_eq!([0, 6, 12, 18].map(|at| usual.behind(&payload, at)), [Some(6), Some(12), Some(18), None]);
    }
}
