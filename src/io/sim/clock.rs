//! The clock that only a test moves, and the randomness that a seed decides.
//!
//! Invariant: time never passes by itself, and one seed is one sequence; no two disks of one family draw the same.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::io::{Clock, Entropy};
use crate::offset::Timestamp;

/// A clock that stands still until it is moved. Clones are the same clock.
///
/// It starts at 1 700 000 000 000 ms of wall time and 0 ms of monotonic time.
#[derive(Clone, Debug)]
pub struct SimClock {
    wall: Arc<AtomicI64>,
    monotonic: Arc<AtomicU64>,
}

impl SimClock {
    pub(super) fn at(wall: Timestamp, monotonic_ms: u64) -> SimClock {
        let (wall, monotonic) = (AtomicI64::new(wall.as_millis()), AtomicU64::new(monotonic_ms));
        SimClock { wall: Arc::new(wall), monotonic: Arc::new(monotonic) }
    }

    pub(super) fn start() -> SimClock {
        SimClock::at(Timestamp::from_millis(1_700_000_000_000), 0)
    }

    pub(super) fn copy(&self) -> SimClock {
        SimClock::at(self.now(), self.monotonic_ms())
    }

    /// Sets the wall clock alone, forward or back: what people and time servers do.
    pub fn set_wall(&self, now: Timestamp) {
        self.wall.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Moves the wall clock alone forward: what a machine sees that its host has suspended.
    pub fn advance_wall(&self, by: Duration) {
        self.wall.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Moves the monotonic clock alone.
    pub fn advance_monotonic(&self, by: Duration) {
        self.monotonic.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Lets time pass: moves both.
    pub fn advance(&self, by: Duration) {
        self.advance_wall(by);
        self.advance_monotonic(by);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst)
    }

    /// Moves the clock and returns at once.
    fn pause(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// Randomness that is the same for the same seed: splitmix64. Clones draw from the same sequence.
#[derive(Clone, Debug)]
pub struct SimEntropy {
    state: Arc<AtomicU64>,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl SimEntropy {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> SimEntropy {
        SimEntropy { state: Arc::new(AtomicU64::new(seed)) }
    }

    fn next(&self) -> u64 {
        let state = self.state.fetch_add(GOLDEN, Ordering::SeqCst).wrapping_add(GOLDEN);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// The seeds of a disk and of all that ever come from it. None is given twice, so that no two disks of one family draw
/// the same epoch tags, as no two machines would.
#[derive(Clone, Debug)]
pub(super) struct Family {
    seeds: SimEntropy,
}

impl Family {
    pub(super) fn new(seed: u64) -> Family {
        Family { seeds: SimEntropy::new(seed) }
    }

    pub(super) fn member(&self) -> SimEntropy {
        SimEntropy::new(self.seeds.next())
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_move_apart() {
        let clock = SimClock::start();
        clock.advance(Duration::from_millis(5));
        clock.set_wall(Timestamp::from_millis(7));
        clock.advance_monotonic(Duration::from_millis(1));
        assert_eq!((clock.now(), clock.monotonic_ms()), (Timestamp::from_millis(7), 6));
    }

    #[test]
    fn one_seed_is_one_sequence() -> io::Result<()> {
        let draw = |entropy: &SimEntropy| -> io::Result<[u8; 11]> {
            let mut bytes = [0; 11];
            entropy.fill(&mut bytes)?;
            Ok(bytes)
        };
        assert_eq!(draw(&SimEntropy::new(1))?, draw(&SimEntropy::new(1))?);
        assert_ne!(draw(&SimEntropy::new(1))?, draw(&SimEntropy::new(2))?);
        let family = Family::new(1);
        assert_ne!(draw(&family.member())?, draw(&family.member())?);
        Ok(())
    }
}
