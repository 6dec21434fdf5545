//! Which partition a record goes to.
//!
//! Invariant: fixed for ever, since it decides where a key's records are: `crc32(key) mod partitions`, with the CRC-32 of
//! IEEE 802.3 (the one of zlib). Records without a key go round-robin, those of one batch together.

use crate::threads::atomic::{AtomicU32, Ordering};
use std::collections::BTreeMap;

use crate::record::Record;

/// Chooses among a topic's partitions.
pub(crate) struct Partitioner<'a> {
    partitions: u32,
    round: &'a AtomicU32,
}

impl<'a> Partitioner<'a> {
    pub(crate) fn new(partitions: u32, round: &'a AtomicU32) -> Partitioner<'a> {
        Partitioner { partitions: partitions.max(1), round }
    }

    /// The partition of one record.
    pub(crate) fn of(&self, record: &Record<'_>) -> u32 {
        match record.get_key() {
            _ if self.partitions == 1 => 0,
            Some(key) => crc32fast::hash(key) % self.partitions,
            None => self.round.fetch_add(1, Ordering::Relaxed) % self.partitions,
        }
    }

    /// The records of each partition, in their order.
    pub(crate) fn split<'r>(&self, records: &[Record<'r>]) -> Vec<(u32, Vec<Record<'r>>)> {
        let keyless = records.iter().find(|record| record.get_key().is_none()).map_or(0, |record| self.of(record));
        let mut batches: BTreeMap<u32, Vec<Record<'r>>> = BTreeMap::new();
        for record in records {
            let number = if record.get_key().is_some() { self.of(record) } else { keyless };
            batches.entry(number).or_default().push(*record);
        }
        batches.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_goes_to_the_partition_that_the_format_fixes() {
        let round = AtomicU32::new(0);
        let of = |key: &str| Partitioner::new(12, &round).of(&Record::new("v").key(key));
        // crc32("device-7") = 0x58ea2352, crc32("") = 0, crc32("123456789") = 0xcbf43926
        assert_eq!(of("123456789"), 0xcbf4_3926 % 12);
        assert_eq!(of(""), 0);
        assert_eq!(of("device-7"), of("device-7"));
    }

    #[test]
    fn records_without_a_key_go_round_and_those_of_a_batch_together() {
        let round = AtomicU32::new(0);
        let partitioner = Partitioner::new(3, &round);
        let ones: Vec<u32> = (0..6).map(|_| partitioner.of(&Record::new("v"))).collect();
        assert_eq!(ones, [0, 1, 2, 0, 1, 2]);
        let split = partitioner.split(&["a", "b", "c"].map(Record::new));
        assert_eq!(split.iter().map(|(number, batch)| (*number, batch.len())).collect::<Vec<_>>(), [(0, 3)]);
    }
}
