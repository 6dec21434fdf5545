//! How much is open at once, over the whole store: sealed segments for reading, and partitions for appending.
//!
//! Invariant: at most `max` are noted as open, and those that couldn't close; the one opened longest ago goes first.
//! Whoever notes one closes those that it is given for it. A reader that holds a source keeps it alive, so closing never
//! pulls a file from under anyone.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::threads::Mutex;

use super::Segment;

/// What is open, in the order of its opening.
#[derive(Debug)]
pub(crate) struct Open<T> {
    order: Mutex<VecDeque<Weak<T>>>,
    max: usize,
}

/// The sealed segments that are open.
pub(crate) type Cache = Open<Segment>;

impl<T> Open<T> {
    pub(crate) fn new(max: usize) -> Open<T> {
        Open { order: Mutex::new(VecDeque::new()), max }
    }

    /// Takes note of one that was just opened; gives those that have to close for it. They are closed without any lock of
    /// this: what closes takes locks of its own, and who opens may hold them.
    pub(crate) fn opened(&self, one: Weak<T>) -> Vec<Arc<T>> {
        let mut order = self.order.lock();
        order.push_back(one);
        let surplus = order.len().saturating_sub(self.max);
        order.drain(..surplus).filter_map(|oldest| oldest.upgrade()).collect()
    }

    /// Takes note again of one that couldn't close. It is given with the next.
    pub(crate) fn stayed_open(&self, one: Weak<T>) {
        self.order.lock().push_back(one);
    }
}
