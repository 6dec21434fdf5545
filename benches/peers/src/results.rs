//! What the rounds found, and their medians.

use std::collections::BTreeMap;

use crate::peer::Work;
use crate::share::Sample;

/// What one figure is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Of {
    size: usize,
    work: Work,
    engine: &'static str,
}

#[derive(Default)]
pub struct Results {
    /// Nanoseconds and records of each round.
    rounds: BTreeMap<Of, Vec<(f64, u64)>>,
}

impl Results {
    pub fn add(&mut self, size: usize, engine: &'static str, samples: Vec<Sample>) {
        for Sample { work, nanos, records } in samples {
            self.rounds.entry(Of { size, work, engine }).or_default().push((nanos, records));
        }
    }

    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.rounds.keys().map(|of| of.size).collect();
        sizes.dedup();
        sizes
    }

    /// The median over the rounds.
    pub fn median(&self, size: usize, work: Work, engine: &'static str) -> Option<f64> {
        self.rounds.get(&Of { size, work, engine }).map(|rounds| median(rounds))
    }

    /// Every figure: size, work, engine, the median, the rounds.
    pub fn all(&self) -> impl Iterator<Item = (usize, Work, &'static str, f64, &[(f64, u64)])> {
        self.rounds.iter().map(|(of, rounds)| (of.size, of.work, of.engine, median(rounds), rounds.as_slice()))
    }
}

fn median(rounds: &[(f64, u64)]) -> f64 {
    let mut nanos: Vec<f64> = rounds.iter().map(|round| round.0).collect();
    nanos.sort_by(f64::total_cmp);
    let middle = nanos.len() / 2;
    if nanos.len() % 2 == 1 { nanos[middle] } else { f64::midpoint(nanos[middle - 1], nanos[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both() {
        let of = |nanos: &[f64]| median(&nanos.iter().map(|&nanos| (nanos, 1)).collect::<Vec<_>>());
        assert_eq!(of(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(of(&[9.0, 1.0, 2.0, 4.0]), 3.0);
    }
}
