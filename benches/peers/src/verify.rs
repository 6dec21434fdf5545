//! Whether an engine gave back what it was given: every record, once, in order and unchanged.

use crate::peer::{Engine, Result};
use crate::share::NUMBERS_OF_A_THREAD;
use crate::values::Values;

/// The records with the numbers below `records`.
pub fn in_order(engine: &dyn Engine, values: &Values, records: u64) -> Result<()> {
    let (mut seen, mut wrong) = (0, None);
    engine.scan(&mut |value| {
        if wrong.is_none() && (seen >= records || value != values.of(seen)) {
            wrong = Some(seen);
        }
        seen += 1;
    })?;
    match wrong {
        Some(number) => Err(format!("record {number} of {records} is not the one that was appended").into()),
        None if seen != records => Err(format!("gave {seen} of {records} records").into()),
        None => Ok(()),
    }
}

/// So many records of each thread, each thread's own in order.
pub fn of_threads(engine: &dyn Engine, values: &Values, counts: &[u64]) -> Result<()> {
    let mut next = vec![0; counts.len()];
    let (mut seen, mut wrong) = (0_u64, None);
    engine.scan(&mut |value| {
        let expected = |thread: usize| values.of(thread as u64 * NUMBERS_OF_A_THREAD + next[thread]);
        match (0..counts.len()).find(|&thread| next[thread] < counts[thread] && value == expected(thread)) {
            Some(thread) => next[thread] += 1,
            None => wrong = wrong.or(Some(seen)),
        }
        seen += 1;
    })?;
    if let Some(number) = wrong {
        return Err(format!("record {number} is of no thread, or out of its order").into());
    }
    match (0..counts.len()).find(|&thread| next[thread] != counts[thread]) {
        Some(thread) => Err(format!("gave {} of {} records of thread {thread}", next[thread], counts[thread]).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::unsupported;

    /// An engine that gives back what it is told to.
    struct Canned(Vec<Vec<u8>>);

    impl Engine for Canned {
        fn append(&self, _: &[u8]) -> Result<()> {
            Err(unsupported())
        }

        fn append_batch(&self, _: &[&[u8]]) -> Result<()> {
            Err(unsupported())
        }

        fn durable(&self, _: usize, _: &[u8]) -> Result<()> {
            Err(unsupported())
        }

        fn scan(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
            self.0.iter().for_each(|value| each(value));
            Ok(())
        }

        fn get(&self, _: u64, _: &mut dyn FnMut(&[u8])) -> Result<()> {
            Err(unsupported())
        }

        fn close(self: Box<Self>) -> Result<()> {
            Ok(())
        }
    }

    fn canned(values: &Values, numbers: &[u64]) -> Canned {
        Canned(numbers.iter().map(|&number| values.of(number).to_vec()).collect())
    }

    #[test]
    fn lost_swapped_repeated_and_changed_records_are_found() {
        let values = Values::new(100);
        let check = |engine: &Canned| in_order(engine, &values, 4);
        assert!(check(&canned(&values, &[0, 1, 2, 3])).is_ok());
        for numbers in [&[0, 1, 2][..], &[0, 2, 1, 3], &[0, 1, 1, 2, 3], &[0, 1, 2, 3, 4], &[]] {
            assert!(check(&canned(&values, numbers)).is_err(), "{numbers:?}");
        }
        let mut changed = canned(&values, &[0, 1, 2, 3]);
        changed.0[3][99] ^= 1;
        assert!(check(&changed).is_err());
    }

    #[test]
    fn records_of_threads_may_be_mixed_and_nothing_else() {
        let values = Values::new(100);
        let other = NUMBERS_OF_A_THREAD;
        let check = |numbers: &[u64]| of_threads(&canned(&values, numbers), &values, &[2, 2]);
        assert!(check(&[other, 0, 1, other + 1]).is_ok());
        for numbers in [&[other, 0, 1][..], &[1, 0, other, other + 1], &[0, 1, 1, other, other + 1], &[0, 1, 2, other]]
        {
            assert!(check(numbers).is_err(), "{numbers:?}");
        }
    }
}
