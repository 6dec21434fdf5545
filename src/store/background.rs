//! The two optional threads: one does interval syncs, early syncs of rolled segments and `maintain()`, the other brings
//! in pages ahead of those who append a lot, and unmaps what they have filled. Two, because a sync takes as long as many
//! pages.
//!
//! Invariant: neither holds a store open: the one looks for a store that still lives, works on it, and lets it go; the
//! other knows files only. Both end with the store.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::threads::{Condvar, Mutex};

use super::{Inner, unless_deleted};
use crate::error::{IoContext, Result, first_error};
use crate::io::Runner;
use crate::log::Log;
use crate::offset::Epoch;
use crate::topic::Topic;

/// How often it looks, unless a topic's interval is over before.
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
    let (mut maintained, mut ticks) = (Instant::now(), Ticks::new());
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let pause = inner.tick(&mut ticks);
        if maintained.elapsed() >= MAINTAIN_EVERY {
            // What has an interval is synced when that is over. Errors are told by `Store::last_maintenance`, and those of
            // one topic met again by whoever uses it.
            let met = std::mem::replace(&mut ticks.met, Ok(()));
            let _met_again = inner.maintain(false, met);
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

/// What one tick leaves to the next.
struct Ticks {
    /// When each topic with an interval was last synced for it, or first seen.
    synced: HashMap<Epoch, Instant>,
    /// The first error since `maintain` told of one.
    met: Result<()>,
}

impl Ticks {
    fn new() -> Ticks {
        Ticks { synced: HashMap::new(), met: Ok(()) }
    }
}

impl Inner {
    /// Syncs what waits for it: topics whose interval is over, their commits too; of the others segments that were rolled,
    /// and partitions near their cap. Gives how long it is until the next interval is over.
    fn tick(&self, ticks: &mut Ticks) -> Duration {
        let topics = self.catalog.lock().loaded();
        let before = std::mem::take(&mut ticks.synced);
        let mut pause = LOOK_EVERY;
        for topic in topics {
            let interval = topic.options().sync_interval;
            let last = before.get(&topic.epoch()).copied().unwrap_or_else(Instant::now);
            let is_due = interval.is_some_and(|interval| last.elapsed() >= interval);
            let last = if is_due { Instant::now() } else { last };
            // A sync that failed latches, and whoever writes there is told; of one that couldn't begin only this tells.
            let done = unless_deleted(if is_due { topic.sync() } else { sync_gathered(&topic) });
            ticks.met = std::mem::replace(&mut ticks.met, Ok(())).and(done);
            if let Some(interval) = interval {
                ticks.synced.insert(topic.epoch(), last);
                pause = pause.min(interval.saturating_sub(last.elapsed()));
            }
        }
        pause
    }
}

/// Syncs of a topic what doesn't wait for its interval.
fn sync_gathered(topic: &Topic) -> Result<()> {
    let due_from = topic.options().unsynced_bytes_max / 2;
    let sync = |log: Arc<Log>| if log.has_unsynced(due_from) { log.sync() } else { log.sync_rolled() };
    first_error(topic.opened().into_iter().map(sync))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::io::sim::{Fault, Operation, SimDisk};
    use crate::{Durability, StoreOptions, TopicOptions};

    #[test]
    fn a_delete_that_unlinks_keeps_nobody_waiting_but_a_close() {
        let disk = SimDisk::new(7);
        let store = StoreOptions::new().seam(disk.seam()).create("/sim").expect("creates");
        let topic = store.create_topic("orders", TopicOptions::new()).expect("creates");
        topic.append("v").expect("appends");
        let (inner, unlinked) = (Arc::downgrade(&store.inner), Arc::new(AtomicUsize::new(0)));
        let count = unlinked.clone();
        disk.on_operation(Box::new(move |operation: &Operation| {
            if operation.name == "remove_file" && operation.path.starts_with("trash") {
                let inner = inner.upgrade().expect("is open");
                assert!(inner.catalog.try_lock().is_some(), "whoever wants a topic waits");
                assert!(inner.unlinking.try_write().is_none(), "a close may give the lock away");
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
        store.delete_topic("orders").expect("deletes");
        assert!(unlinked.load(Ordering::Relaxed) > 3, "a segment, its index, the history, the commits, the header");
    }

    #[test]
    fn a_sync_by_interval_that_could_not_begin_is_told_of_with_the_maintenance() {
        let disk = SimDisk::new(7);
        let store = StoreOptions::new().seam(disk.seam()).create("/sim").expect("creates");
        let options = TopicOptions::new().durability(Durability::Written).sync_interval(Duration::from_millis(1));
        let topic = store.create_topic("orders", options).expect("creates");
        topic.append("v").expect("appends");
        let (inner, mut ticks) = (&store.inner, Ticks::new());
        inner.tick(&mut ticks);
        disk.fail(Fault::of("open_dir").on("orders@1/0").kind(std::io::ErrorKind::PermissionDenied));
        while ticks.met.is_ok() {
            inner.tick(&mut ticks);
        }
        inner.maintain(false, ticks.met).expect_err("met an error");
        let told = store.last_maintenance().and_then(|last| last.error).expect("tells of it");
        assert!(told.contains("orders@1/0"), "{told}");
        store.maintain().expect("syncs it now");
        assert_eq!(store.last_maintenance().and_then(|last| last.error), None);
    }
}
