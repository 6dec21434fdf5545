//! The two optional threads: one does interval syncs, early syncs of rolled segments and `maintain()`, the other brings
//! in pages ahead of those who append a lot, and unmaps what they have filled. Two, because a sync takes as long as many
//! pages.
//!
//! Invariant: neither holds a store open: the one looks for a store that still lives, works on it, and lets it go; the
//! other knows files only. Both end with the store.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::threads::{Condvar, Mutex};

use super::Inner;
use crate::error::{IoContext, Result};
use crate::io::Runner;

/// How often it looks, unless a topic's sync interval is shorter.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const MAINTAIN_EVERY: Duration = Duration::from_secs(5);

/// The running threads.
pub(super) struct Background {
    stop: Arc<(Mutex<bool>, Condvar)>,
    runner: Arc<Runner>,
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    pub(super) fn start(inner: &Arc<Inner>) -> Result<Background> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (weak, stopped) = (Arc::downgrade(inner), stop.clone());
        let (runner, running) = (inner.shared.runner.clone(), inner.shared.runner.clone());
        let mut background = Background { stop, runner, threads: Vec::new() };
        background.spawn("epochlog", inner, move || run(&weak, &stopped))?;
        background.runner.start();
        background.spawn("epochlog-pages", inner, move || running.run())?;
        Ok(background)
    }

    fn spawn(&mut self, name: &str, inner: &Inner, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
        self.threads.push(spawned.at("start the background thread of", &inner.path)?);
        Ok(())
    }
}

impl Drop for Background {
    /// Ends the threads and waits for them, but not for the one that asks.
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        self.runner.stop();
        for thread in self.threads.drain(..) {
            if thread.thread().id() != std::thread::current().id() {
                // A panic of the thread was already printed; the store is closed all the same.
                let _printed = thread.join();
            }
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

    /// Syncs what waits for it: topics with an interval, their commits too, segments that were rolled, and partitions near
    /// their cap.
    fn tick(&self) {
        let topics = self.catalog.lock().loaded();
        for topic in topics {
            // Here and below: a failed sync latches the partition or the commits, and whoever writes there is told.
            if topic.options().sync_interval.is_some() {
                let _latched = topic.sync();
                continue;
            }
            let due_from = topic.options().unsynced_bytes_max / 2;
            for log in topic.opened() {
                let _latched = if log.has_unsynced(due_from) { log.sync() } else { log.sync_rolled() };
            }
        }
    }
}
