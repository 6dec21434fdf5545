//! How many partitions hold files open for appending, over the whole store.
//!
//! Invariant: at most `max` partitions do, but for those whose turn it is and that are just being synced, or couldn't be;
//! the one opened longest ago rests first. Every byte of a resting partition's segments is synced, since an error of the
//! disk is told to open files alone; those of its indexes needn't be. Nothing on disk shows that it rests, and its next
//! append opens the files again where it left them.

use super::{Appender, Log};
use crate::error::Result;
use crate::segment::{Open, SegmentWriter};

/// The partitions whose files are open.
pub(crate) type Awake = Open<Log>;

impl Log {
    /// Makes room for the files that it has just opened. The caller holds no lock.
    #[cold]
    pub(super) fn woke(&self) {
        for log in self.owner.awake.opened(self.me.clone()) {
            // What keeps it from resting, such as a failed sync or a delete, is told to whoever works with it.
            let _stays_awake = log.rest();
        }
    }

    /// The same behind an append that failed, which may have opened them before it did.
    #[cold]
    pub(super) fn woke_in_vain(&self) {
        let mut appender = self.appender.lock();
        let woke = self.is_awake(&appender) && !std::mem::replace(&mut appender.noted, true);
        drop(appender);
        if woke {
            self.woke();
        }
    }

    /// Whether it is one that can rest: after a failed sync the reopen closes its files, and its next append says that it
    /// is there.
    fn is_awake(&self, appender: &Appender) -> bool {
        appender.writer.is_some() && self.owner.lives() && !self.latch.is_down()
    }

    /// Syncs what isn't, and closes the files. The next append opens them again.
    fn rest(&self) -> Result<()> {
        // Most of it without the lock that appenders need.
        let synced = self.sync();
        let mut appender = self.appender.lock();
        let rested = synced.and_then(|()| self.rest_under(&mut appender));
        // One that can't now is asked again with the next.
        let stays = self.is_awake(&appender);
        appender.noted = stays;
        if stays {
            self.owner.awake.stayed_open(self.me.clone());
        }
        rested
    }

    fn rest_under(&self, appender: &mut Appender) -> Result<()> {
        self.owner.check()?;
        self.latched()?;
        let unsynced = self.sync.unsynced_bytes(appender.written_bytes) > 0;
        if unsynced || !appender.rolled.is_empty() || appender.created > appender.created_synced {
            // For the append that woke another one.
            self.sync_for_append(appender)?;
        }
        if !appender.rolled.is_empty() {
            // Their seals find no room, and their files are open until they do.
            return Ok(());
        }
        // Seals that came behind that sync would keep the history's file open.
        let mut history = self.history.lock();
        history.sync().inspect_err(|_| self.latch_down(&history.shown()))?;
        drop(history);
        appender.resting = appender.writer.take().map(SegmentWriter::rest).or(appender.resting.take());
        Ok(())
    }
}
