//! Syncs of one open file, of which two may be asked for at the same time.
//!
//! Invariant: once a sync has failed, every later one of the same open file fails too, and none is going on beside
//! another. The kernel forgets a page that it couldn't write, tells so once, and to one of two who ask at the same time;
//! the other, or the next, would take its pages for durable. Used by `os`.

use std::io;

use crate::threads::Mutex;

/// Whether a sync of this open file has failed.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    failed: Mutex<bool>,
}

impl Syncs {
    /// Syncs once those before have ended well.
    pub(super) fn one(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut failed = self.failed.lock();
        if *failed {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        sync().inspect_err(|_| *failed = true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn lost() -> io::Error {
        io::Error::other("lost")
    }

    #[test]
    fn after_one_that_failed_none_succeeds() {
        let syncs = Syncs::default();
        syncs.one(|| Ok(())).expect("nothing failed yet");
        assert_eq!(syncs.one(|| Err(lost())).expect_err("fails").to_string(), "lost");
        let error = syncs.one(|| panic!("the kernel isn't asked again")).expect_err("fails");
        assert_eq!(error.to_string(), "an earlier sync of this file failed");
    }

    #[test]
    fn one_that_was_asked_for_while_another_failed_fails_too() {
        let syncs = &Syncs::default();
        let (begins, begun) = channel();
        let (ends, ended) = channel::<()>();
        std::thread::scope(|scope| {
            let first = scope.spawn(move || {
                syncs.one(|| {
                    begins.send(()).expect("somebody waits");
                    // Until the other has ended; it can't, and so for a while.
                    let _for_a_while = ended.recv_timeout(Duration::from_millis(200));
                    Err(lost())
                })
            });
            begun.recv().expect("begins");
            let other = syncs.one(|| Ok(()));
            let _may_be_over = ends.send(());
            assert!(first.join().expect("ends").is_err());
            assert!(other.is_err(), "took its pages for durable");
        });
    }
}
