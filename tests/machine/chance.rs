//! Chance that can be had again: a seed gives the same numbers for ever.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// Whether it happens, this time, what happens once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Another chance, for somebody else.
    pub fn branch(&mut self) -> Chance {
        Chance(self.next())
    }
}

/// The seed that a test begins with: its own, unless the environment names another.
pub fn seed(own: u64) -> u64 {
    std::env::var("EPOCHLOG_SEED").map_or(own, |text| text.parse().expect("EPOCHLOG_SEED is a number"))
}
