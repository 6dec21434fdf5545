//! Keeps a reader to a rate, so that others keep the disk.
//!
//! Invariant: over any stretch no more is read than the rate allows, but for what it has fallen behind in the last
//! second. Time is the clock's: a clock that only a test moves is moved by a pause. Used by `verify`.

use std::time::Duration;

use crate::io::Seam;

/// What a slow disk left over is spent within this time, or lost.
const BEHIND_MS_MAX: u64 = 1000;

/// A rate, and how much was read since when.
pub(super) struct Pace {
    seam: Seam,
    bytes_per_second: u64,
    began_ms: u64,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(seam: &Seam, bytes_per_second: u64) -> Pace {
        Pace { seam: seam.clone(), bytes_per_second, began_ms: seam.clock.monotonic_ms(), bytes: 0 }
    }

    /// Takes note of bytes that were read; pauses until the next may be.
    pub(super) fn read(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let due = u128::from(self.bytes) * 1000 / u128::from(self.bytes_per_second);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let passed = self.seam.clock.monotonic_ms().saturating_sub(self.began_ms);
        if due > passed {
            self.seam.clock.pause(Duration::from_millis(due - passed));
        } else if passed - due > BEHIND_MS_MAX {
            self.began_ms += passed - due - BEHIND_MS_MAX;
        }
    }
}
