//! How many sealed segments are open at once, over the whole store.
//!
//! Invariant: at most `max` sealed segments hold a file or a map in their slot; the one opened longest ago goes first.
//! A reader that holds a source keeps it alive, so eviction never pulls a file from under anyone.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::threads::Mutex;

use super::Segment;

/// Counts open segments in the order of their opening.
#[derive(Debug)]
pub(crate) struct Cache {
    open: Mutex<VecDeque<Weak<Segment>>>,
    max: usize,
}

impl Cache {
    pub(crate) fn new(max: usize) -> Cache {
        Cache { open: Mutex::new(VecDeque::new()), max }
    }

    /// Takes note of a segment that was just opened and closes the oldest ones beyond the limit.
    pub(super) fn opened(&self, segment: &Arc<Segment>) {
        let evicted: Vec<_> = {
            let mut open = self.open.lock();
            open.push_back(Arc::downgrade(segment));
            let surplus = open.len().saturating_sub(self.max);
            open.drain(..surplus).collect()
        };
        // Outside the lock: a segment's own lock is taken here, and `source` takes them the other way round.
        evicted.iter().filter_map(Weak::upgrade).for_each(|segment| segment.evict());
    }
}
