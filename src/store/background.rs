//! The one optional thread: interval syncs, early syncs of rolled segments, `maintain()`.
//!
//! Invariant: it holds no store open: it looks for one that still lives, works on it, and lets it go. It ends with the
//! store.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::threads::{Condvar, Mutex};

use super::Inner;
use crate::error::{IoContext, Result};

/// How often it looks, unless a topic's sync interval is shorter.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const MAINTAIN_EVERY: Duration = Duration::from_secs(5);

/// A running thread.
pub(super) struct Background {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Background {
    pub(super) fn start(inner: &Arc<Inner>) -> Result<Background> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (weak, stopped) = (Arc::downgrade(inner), stop.clone());
        let thread = std::thread::Builder::new()
            .name("epochlog".into())
            .spawn(move || run(&weak, &stopped))
            .at("start the background thread of", &inner.path)?;
        Ok(Background { stop, thread })
    }

    /// Ends the thread and waits for it, unless it is the one that asks.
    pub(super) fn stop(self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if self.thread.thread().id() != std::thread::current().id() {
            // A panic of the thread was already printed; the store is closed all the same.
            let _printed = self.thread.join();
        }
    }
}

fn run(inner: &Weak<Inner>, stop: &(Mutex<bool>, Condvar)) {
    let mut maintained = Instant::now();
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let pause = inner.shortest_interval().unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        inner.tick();
        if maintained.elapsed() >= MAINTAIN_EVERY {
            // Errors of one topic are met again by whoever uses it.
            let _met_again = inner.maintain();
            maintained = Instant::now();
        }
        drop(inner);
        let mut stopped = stop.0.lock();
        if !*stopped {
            stop.1.wait_for(&mut stopped, pause);
        }
        if *stopped {
            return;
        }
    }
}

impl Inner {
    fn shortest_interval(&self) -> Option<Duration> {
        self.catalog.lock().loaded().iter().filter_map(|topic| topic.options().sync_interval).min()
    }

    /// Syncs what waits for it: topics with an interval, segments that were rolled, and partitions near their cap.
    fn tick(&self) {
        let topics = self.catalog.lock().loaded();
        for topic in topics {
            let options = topic.options();
            let interval = options.sync_interval.is_some();
            for log in topic.opened() {
                if log.has_rolled() || log.has_unsynced(if interval { 1 } else { options.unsynced_bytes_max / 2 }) {
                    // A failed sync latches the partition, and every append says so.
                    let _latched = log.sync();
                }
            }
        }
    }
}
