//! The end of what was published, shared by one writer and any number of readers.
//!
//! Invariant: whoever sees an end also sees every byte below it, on any processor: the writer stores it with release
//! when the bytes are written, a reader loads it with acquire before it looks at them. Used by `map` and `region`.

use crate::threads::small::atomic::{AtomicUsize, Ordering};

/// A position that only rises, unless another process has cut the file.
#[derive(Debug)]
pub(crate) struct Mark {
    end: AtomicUsize,
}

impl Mark {
    pub(super) fn new(end: usize) -> Mark {
        Mark { end: AtomicUsize::new(end) }
    }

    /// Shows everything below `end`, which is written and doesn't change while the file exists.
    pub(super) fn publish(&self, end: usize) {
        self.end.store(end, Ordering::Release);
    }

    /// How far everything is written.
    pub(super) fn published(&self) -> usize {
        self.end.load(Ordering::Acquire)
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU8;

    use super::*;

    /// The bytes are relaxed atomics: in loom's memory a reader may see an old one, unless the mark forbids it.
    #[test]
    fn whoever_sees_an_end_sees_every_byte_below_it() {
        loom::model(|| {
            let page = Arc::new((Mark::new(0), [AtomicU8::new(0), AtomicU8::new(0)]));
            let theirs = page.clone();
            let writer = loom::thread::spawn(move || {
                for (i, byte) in theirs.1.iter().enumerate() {
                    byte.store(7, Ordering::Relaxed);
                    theirs.0.publish(i + 1);
                }
            });
            for _ in 0..2 {
                let below = &page.1[..page.0.published()];
                assert!(below.iter().all(|byte| byte.load(Ordering::Relaxed) == 7));
            }
            writer.join().expect("writes");
        });
    }
}
