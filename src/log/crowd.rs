//! Who is expected at the next sync: those whom the last one let go are about to come back.
//!
//! Invariant: nobody waits for company for longer than half a sync takes, and who doesn't come is waited for ever more
//! seldom. Used by `leader`.

use std::time::Duration;

/// How many are expected to come back for the next lead, and how long it is worth waiting for them.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pub(super) expected: usize,
    pub(super) patience: Duration,
    /// After waiting in vain: so many leads begin at once, twice as many as the last time.
    skips: u32,
    pub(super) skips_left: u32,
}

impl Crowd {
    const SKIPS_MAX: u32 = 63;
    /// Half a turn of a disk that turns, and a little. A lead that took longer met a stall, and says nothing of the next.
    const PATIENCE_MAX: Duration = Duration::from_millis(5);

    /// A lead has ended: all whom it served or left waiting may be there for the next.
    pub(super) fn learn(&mut self, present: usize, took: Duration) {
        self.expected = present;
        // Waiting costs those who are there; what it saves those who come is a whole lead. In a model no time passes.
        self.patience = if cfg!(any(loom, shuttle)) { Duration::ZERO } else { Self::PATIENCE_MAX.min(took / 2) };
    }

    pub(super) fn is_gathered(&self, present: usize) -> bool {
        present >= self.expected || self.skips_left > 0
    }

    /// A lead begins: waiting for the others was worth it, or in vain.
    pub(super) fn settle(&mut self, present: usize, timed_out: bool) {
        let worth_it = !timed_out || 2 * present >= self.expected;
        if self.skips_left > 0 {
            self.skips_left -= 1;
        } else if worth_it {
            self.skips = 0;
        } else {
            self.skips = (2 * self.skips + 1).min(Self::SKIPS_MAX);
            self.skips_left = self.skips;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_in_vain_is_tried_ever_more_seldom() {
        let mut crowd = Crowd { expected: 3, ..Crowd::default() };
        let mut skipped = Vec::new();
        for _ in 0..8 {
            crowd.settle(1, true);
            skipped.push(crowd.skips_left);
            (0..crowd.skips_left).for_each(|_| crowd.settle(1, true));
            assert_eq!(crowd.skips_left, 0);
        }
        assert_eq!(skipped, [1, 3, 7, 15, 31, 63, 63, 63]);
        crowd.settle(2, true);
        crowd.settle(1, true);
        assert_eq!(crowd.skips_left, 1);
    }
}
