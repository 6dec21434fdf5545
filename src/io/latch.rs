//! After the first failed sync, every write is refused: what reached the disk is unknown, and a second sync that
//! answers well would say nothing about the pages of the first.
//!
//! Invariant: a latch that has fallen stays down until what it guards is opened again. Used by logs, by a topic's
//! commits and by the store.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// Stands open until [`fall`](Latch::fall).
#[derive(Debug, Default)]
pub(crate) struct Latch {
    cause: OnceLock<(&'static str, PathBuf)>,
}

impl Latch {
    /// Remembers the failed operation; the first one counts.
    pub(crate) fn fall(&self, operation: &'static str, path: &Path) {
        // A second failure adds nothing: the answer is already no.
        let _already = self.cause.set((operation, path.to_path_buf()));
    }

    /// Whether it has fallen.
    pub(crate) fn is_down(&self) -> bool {
        self.cause.get().is_some()
    }

    /// Refuses if it has fallen.
    pub(crate) fn check(&self, what: impl FnOnce() -> String) -> Result<()> {
        match self.cause.get() {
            None => Ok(()),
            Some((operation, path)) => Err(Error::Latched { what: what(), operation, path: path.clone() }),
        }
    }
}
