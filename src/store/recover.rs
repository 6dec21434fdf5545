//! Recovers all partitions of a store that wasn't closed cleanly, some at a time.
//!
//! Invariant: what can't be recovered is reported, and keeps nothing else from being recovered. Several at once need more
//! room than one, and more open files: whoever finds none beside the others goes once more, alone.

use std::sync::Arc;

use super::report::{RecoveryReport, Unrecovered};
use crate::error::{Error, Result, is_want_of_files};
use crate::io::{Dir, abreast, is_want_of_room};
use crate::topic::{Catalog, Shared, Topic};

/// Recovers the partitions of every topic, and then its commits.
pub(super) fn recover_all(shared: &Arc<Shared>, catalog: &mut Catalog, report: &mut RecoveryReport) {
    report.needed = true;
    let dir = &*shared.seam.dir;
    let mut topics = Vec::new();
    for name in catalog.names() {
        match catalog.get(shared, &name, |number| Topic::load(shared, &name, number)) {
            Ok(topic) => topics.push(topic),
            Err(error) => report.failed.push(Unrecovered { topic: name, partition: None, error: error.in_one_line() }),
        }
    }
    let partitions: Vec<_> = topics.iter().flat_map(|topic| (0..topic.partitions()).map(move |n| (topic, n))).collect();
    let done = with_room_abreast(dir, partitions.len(), |i| partitions[i].0.recover(partitions[i].1));
    for (result, (topic, number)) in done.into_iter().zip(&partitions) {
        report.take(topic, Some(*number), result);
    }
    let hardened = with_room_abreast(dir, topics.len(), |i| topics[i].harden_commits());
    for (result, topic) in hardened.into_iter().zip(&topics) {
        report.take(topic, None, result);
    }
    report.failed.sort_by(|a, b| a.topic.cmp(&b.topic));
    // Several were at it at once.
    report.partitions = std::mem::take(&mut *shared.recovered.lock());
    report.partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
}

impl RecoveryReport {
    fn take(&mut self, topic: &Topic, partition: Option<u32>, done: Result<()>) {
        if let Err(error) = done {
            self.failed.push(Unrecovered { topic: topic.name().clone(), partition, error: error.in_one_line() });
        }
    }
}

/// Whether it may fare better alone.
fn has_found_none(error: &Error) -> bool {
    is_want_of_room(error) || is_want_of_files(error)
}

/// Does so many pieces of work that can each be done again from the beginning.
fn with_room_abreast<T: Send>(
    dir: &dyn Dir,
    pieces: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let mut done = abreast(dir, pieces, &work);
    for (i, result) in done.iter_mut().enumerate() {
        if result.as_ref().is_err_and(has_found_none) {
            *result = work(i);
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::io::Errno;

    use super::*;
    use crate::io::OsDir;
    use crate::threads::atomic::{AtomicUsize, Ordering};

    #[test]
    fn who_finds_no_room_or_no_file_goes_once_more_and_who_fails_otherwise_does_not() {
        let full = || Error::StorageFull { path: "a".into(), bytes: 1 };
        let no_file = || Error::Io { operation: "open", path: "a".into(), source: Errno::MFILE.into() };
        let other = || Error::Closed;
        let tries: [AtomicUsize; 5] = Default::default();
        let done = with_room_abreast(&OsDir::new(Path::new("/")), 5, |i| {
            match (i, tries[i].fetch_add(1, Ordering::Relaxed)) {
                (1, 0) | (3, _) => Err(full()),
                (2, _) => Err(other()),
                (4, 0) => Err(no_file()),
                _ => Ok(i),
            }
        });
        assert!(matches!(done[..], [Ok(0), Ok(1), Err(Error::Closed), Err(Error::StorageFull { .. }), Ok(4)]));
        assert_eq!(tries.map(AtomicUsize::into_inner), [1, 2, 1, 2, 2]);
    }
}
