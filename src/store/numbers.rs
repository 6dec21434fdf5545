//! Issues epochs.
//!
//! Invariant: a number is issued once. `STORE` says durably that a block is taken before its first number is given out;
//! what is left of a block when the store closes is never used.

use std::sync::Arc;

use crate::threads::Mutex;

use super::identity::{self, StoreFile};
use crate::error::{Error, Latched, Result};
use crate::io::latch::Latch;
use crate::io::{Reserve, Seam};
use crate::log::Epochs;
use crate::offset::Epoch;

/// So many numbers are reserved by one write.
const BLOCK: u64 = 1000;

/// The numbers of an open store.
#[derive(Debug)]
pub(super) struct Numbers {
    seam: Seam,
    reserve: Arc<Reserve>,
    id: [u8; 16],
    /// The next number, and the end of the reserved block.
    state: Mutex<(u64, u64)>,
    latch: Latch,
}

impl Numbers {
    /// Begins at a number that was never issued; nothing is reserved yet.
    pub(super) fn new(seam: Seam, reserve: Arc<Reserve>, id: [u8; 16], next: u64) -> Numbers {
        Numbers { seam, reserve, id, state: Mutex::new((next, next)), latch: Latch::default() }
    }

    /// Reserves the first block and marks the store as open for writing, in one write.
    pub(super) fn begin(&self) -> Result<()> {
        let mut state = self.state.lock();
        self.reserve(&mut state)
    }

    fn reserve(&self, state: &mut (u64, u64)) -> Result<()> {
        let end = state.1.checked_add(BLOCK).ok_or_else(|| self.exhausted())?;
        self.write(StoreFile { id: self.id, next_number: end, clean: false })?;
        state.1 = end;
        Ok(())
    }

    fn write(&self, store: StoreFile) -> Result<()> {
        let root = self.seam.dir.root();
        self.latch.check(|| Latched::Store { path: root.to_path_buf() })?;
        self.reserve.with_room(|| identity::write(&self.seam, &store)).inspect_err(|error| {
            if matches!(error, Error::Io { operation: "sync", .. }) {
                self.latch.fall("sync", root);
            }
        })
    }

    fn exhausted(&self) -> Error {
        let path = self.seam.dir.root().to_path_buf();
        Error::Io { operation: "issue another epoch in", path, source: std::io::Error::other("all numbers are used") }
    }

    /// Says that everything is synced and closed.
    pub(super) fn closed_cleanly(&self) -> Result<()> {
        let state = self.state.lock();
        self.write(StoreFile { id: self.id, next_number: state.0, clean: true })
    }
}

impl Epochs for Numbers {
    fn next(&self) -> Result<Epoch> {
        let mut state = self.state.lock();
        if state.0 == state.1 {
            self.reserve(&mut state)?;
        }
        let mut tag = [0; 8];
        self.seam.entropy.fill(&mut tag).map_err(|source| Error::Io {
            operation: "draw a random tag for",
            path: self.seam.dir.root().to_path_buf(),
            source,
        })?;
        let number = state.0;
        state.0 += 1;
        Ok(Epoch { number, tag: u64::from_le_bytes(tag) })
    }

    fn seen(&self, number: u64) {
        let mut state = self.state.lock();
        if number >= state.0 {
            let next = number.saturating_add(1);
            *state = (next, next.max(state.1));
        }
    }
}
