//! After the first failed sync, every write is refused: what reached the disk is unknown, and a second sync that
//! answers well would say nothing about the pages of the first.
//!
//! Invariant: a latch that has fallen stays down until what it guards was opened again, whole. Used by logs, by topics,
//! by their commits and by the store.

use crate::threads::atomic::{AtomicBool, Ordering};
use std::path::{Path, PathBuf};

use crate::threads::Mutex;

use crate::error::{Error, Latched, Result};

/// Stands open until [`fall`](Latch::fall).
#[derive(Debug, Default)]
pub(crate) struct Latch {
    down: AtomicBool,
    cause: Mutex<Option<(&'static str, PathBuf)>>,
}

impl Latch {
    /// Remembers the failed operation; the first one counts.
    pub(crate) fn fall(&self, operation: &'static str, path: &Path) {
        // A second failure adds nothing: the answer is already no.
        self.cause.lock().get_or_insert_with(|| (operation, path.to_path_buf()));
        self.down.store(true, Ordering::Release);
    }

    /// Opens it again. Only for who has just found out what reached the disk, and keeps everybody else out.
    pub(crate) fn lift(&self) {
        let mut cause = self.cause.lock();
        self.down.store(false, Ordering::Release);
        *cause = None;
    }

    /// Whether it has fallen.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// Refuses if it has fallen.
    pub(crate) fn check(&self, what: impl FnOnce() -> Latched) -> Result<()> {
        if !self.is_down() {
            return Ok(());
        }
        match &*self.cause.lock() {
            None => Ok(()),
            Some((operation, path)) => Err(Error::Latched { what: what(), operation, path: path.clone() }),
        }
    }
}
