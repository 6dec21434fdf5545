//! Asks the processor for memory some way ahead of where it is read.
//!
//! Invariant: nothing but speed depends on it. A processor looks ahead by itself, but not over the border of a page, where
//! reading in order then waits for the first lines of the next one. The one call is unsafe because it takes an address.

/// How far ahead.
const AHEAD_BYTES: usize = 4096;
const LINE_BYTES: usize = 64;

/// Asks for the memory of these bytes.
#[inline]
pub(crate) fn fetch(bytes: &[u8]) {
    (0..bytes.len()).step_by(LINE_BYTES).for_each(|at| fetch_line(bytes, at));
}

/// Asks for the memory of byte `at`, if there is one, and what comes with it.
#[inline(always)]
fn fetch_line(bytes: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = bytes.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every such processor has the instruction, and the address is that of a byte.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _not_asked_for = (bytes, at);
}

/// What was asked for of some bytes that are read in order.
pub(crate) struct Fetched(usize);

impl Fetched {
    pub(crate) fn nothing() -> Fetched {
        Fetched(0)
    }

    /// Asks for what lies up to [`AHEAD_BYTES`] behind `at` and wasn't asked for yet.
    #[inline(always)]
    pub(crate) fn up_to(&mut self, bytes: &[u8], at: usize) {
        self.0 = self.0.max(at);
        while self.0 < at + AHEAD_BYTES {
            fetch_line(bytes, self.0);
            self.0 += LINE_BYTES;
        }
    }
}
