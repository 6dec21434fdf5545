//! Pieces of work that wait for the medium together instead of one behind the other.
//!
//! Invariant: each piece is done once, and the answers come back in the order of the pieces. The directory says how many
//! threads there may be: none beside the caller's on the simulated disk, where the same steps must come in the same order
//! again. Used where a store is opened after a crash.

use std::panic::resume_unwind;
use std::thread;

use super::Dir;
use crate::threads::atomic::{AtomicUsize, Ordering};

/// Does so many pieces of work, numbered from 0, on as many threads as the directory allows; the caller's is one of them.
pub(crate) fn abreast<T: Send>(dir: &dyn Dir, pieces: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let some = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < pieces));
        numbers.map(|i| (i, work(i))).collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        let helpers = 1..dir.threads_max().min(pieces);
        let spawn = |_| thread::Builder::new().name("epochlog-abreast".into()).spawn_scoped(scope, some).ok();
        // Where the system gives no more threads, those that are there do all of it.
        let helpers: Vec<_> = helpers.map_while(spawn).collect();
        let mut done = some();
        for helper in helpers {
            done.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|&(i, _)| i);
    done.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;
    use std::sync::Barrier;
    use std::thread::ThreadId;

    use super::*;
    use crate::io::OsDir;

    #[test]
    fn each_piece_is_done_once_and_answers_in_its_turn() {
        let dir = OsDir::new(Path::new("/"));
        for pieces in [0, 1, 2, 7, 8, 9, 1000] {
            let done = AtomicUsize::new(0);
            let answers = abreast(&dir, pieces, |i| {
                done.fetch_add(1, Ordering::Relaxed);
                i * i
            });
            assert_eq!(answers, (0..pieces).map(|i| i * i).collect::<Vec<_>>());
            assert_eq!(done.into_inner(), pieces);
        }
    }

    #[test]
    fn as_many_wait_together_as_the_directory_allows() {
        let dir = OsDir::new(Path::new("/"));
        let most = dir.threads_max();
        let together = Barrier::new(most);
        // Each thread has one piece of the first half and one of the second.
        let answers = abreast(&dir, 2 * most, |i| {
            together.wait();
            (i, thread::current().id())
        });
        assert!(answers.iter().map(|(i, _)| *i).eq(0..2 * most));
        let threads: HashSet<ThreadId> = answers.into_iter().map(|(_, thread)| thread).collect();
        assert_eq!(threads.len(), most);
    }

    #[cfg(feature = "testing")]
    #[test]
    fn on_the_simulated_disk_all_is_done_by_the_caller_in_order() {
        let disk = crate::io::sim::SimDisk::new(1);
        let order = crate::threads::Mutex::new(Vec::new());
        let threads = abreast(&disk, 9, |i| {
            order.lock().push(i);
            thread::current().id()
        });
        assert_eq!(threads, vec![thread::current().id(); 9]);
        assert_eq!(order.into_inner(), (0..9).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "piece 3")]
    fn a_panic_is_the_callers() {
        abreast(&OsDir::new(Path::new("/")), 9, |i| assert_ne!(i, 3, "piece 3"));
    }
}
