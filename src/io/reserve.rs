//! Room set aside for a full disk: a file that holds nothing and is given back when something has to work that can't wait
//! for room, above all what itself gives room back.
//!
//! Invariant: the file is never evidence. It may be missing, of any length, full of anything, or no file at all, and
//! nothing else differs; so neither giving it back nor making it is ordered with anything, and no crash between the two
//! matters. An append never asks for it: appends would use it up, and then nothing could give room back. A failed sync is
//! never taken for a full disk, as nothing may be done twice after one. Made by `store`; used wherever a file that the
//! store needs is written: `store::numbers`, `topic`, `topic::commits`, `log::history` and `log::recover`.

use std::path::Path;
use std::sync::Arc;

use super::{Access, Dir, remove_if_there};
use crate::error::{Error, Result, is_full};
use crate::threads::Mutex;

/// The reserve of one store.
#[derive(Debug)]
pub(crate) struct Reserve {
    dir: Arc<dyn Dir>,
    name: &'static str,
    /// 0 for none.
    bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the file is known to be there, whole.
    there: bool,
    /// How often it was given back.
    given: u64,
    /// How many are at work in the room that it gave.
    at_work: usize,
}

impl Reserve {
    /// A reserve of so many bytes, in a file of this name; none where the file system doesn't reserve blocks. Nothing is
    /// done yet.
    pub(crate) fn new(dir: &Arc<dyn Dir>, name: &'static str, bytes: u64) -> Arc<Reserve> {
        let bytes = if dir.reserves() { bytes } else { 0 };
        Arc::new(Reserve { dir: dir.clone(), name, bytes, state: Mutex::default() })
    }

    /// Whether so many bytes may find room in it.
    pub(crate) fn holds(&self, bytes: usize) -> bool {
        bytes as u64 <= self.bytes
    }

    /// Does something that can be done again from the beginning when it fails. If the disk is full, gives the reserve
    /// back and does it once more.
    pub(crate) fn with_room<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        if self.bytes == 0 {
            return work();
        }
        let seen = self.state.lock().given;
        match work() {
            Err(error) if is_want_of_room(&error) && self.give(seen) => {}
            other => return other,
        }
        let result = work();
        self.state.lock().at_work -= 1;
        result
    }

    /// Gives the room back, unless somebody did so since `seen`. Says whether there may be room now.
    fn give(&self, seen: u64) -> bool {
        let mut state = self.state.lock();
        if state.given == seen {
            state.there = false;
            if self.dir.remove_file(Path::new(self.name)).is_err() {
                return false;
            }
            state.given += 1;
        }
        state.at_work += 1;
        true
    }

    /// Makes the file if it isn't there and there is room, and nobody is at work in what it gave. If that fails there is
    /// no reserve, or a smaller one, until the next try.
    pub(crate) fn keep(&self) {
        let mut state = self.state.lock();
        if !state.there && state.at_work == 0 {
            state.there = self.make().is_ok();
        }
    }

    fn make(&self) -> std::io::Result<()> {
        let path = Path::new(self.name);
        if self.bytes == 0 {
            return remove_if_there(&*self.dir, path);
        }
        let file = match self.dir.open(path, Access::Write) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.dir.create(path)?,
            other => other?,
        };
        let had = file.len()?;
        if had > self.bytes {
            return file.set_len(self.bytes);
        }
        if had == self.bytes {
            return Ok(());
        }
        file.reserve(self.bytes)?;
        file.sync()
    }
}

/// Whether something failed for want of room alone, and may be tried again.
pub(crate) fn is_want_of_room(error: &Error) -> bool {
    match error {
        Error::StorageFull { .. } => true,
        Error::Io { operation, source, .. } => *operation != "sync" && is_full(source),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::OsDir;
    use super::*;

    fn reserve() -> (tempfile::TempDir, Reserve) {
        let temp = tempfile::tempdir().expect("makes a directory");
        let dir = Arc::new(OsDir::new(temp.path()));
        let reserve = Reserve { dir, name: "RESERVE", bytes: 4096, state: Mutex::default() };
        reserve.keep();
        (temp, reserve)
    }

    fn full<T>() -> Result<T> {
        Err(Error::StorageFull { path: "a".into(), bytes: 1 })
    }

    #[test]
    fn what_wants_room_is_done_once_more_without_the_file_and_no_more_than_that() {
        let (temp, reserve) = reserve();
        let file = temp.path().join("RESERVE");
        let mut seen = Vec::new();
        let result: Result<()> = reserve.with_room(|| {
            seen.push(file.exists());
            full()
        });
        assert!(matches!(result, Err(Error::StorageFull { .. })));
        assert_eq!(seen, [true, false]);
        let mut times = 0;
        let _full: Result<()> = reserve.with_room(|| {
            times += 1;
            full()
        });
        assert_eq!(times, 1, "there is nothing left to give");
    }

    #[test]
    fn what_failed_while_another_gave_the_reserve_back_is_done_once_more_too() {
        let (_temp, reserve) = reserve();
        let (mut first, mut times) = (true, 0);
        let result = reserve.with_room(|| {
            times += 1;
            if !std::mem::take(&mut first) {
                return Ok(());
            }
            let _other: Result<()> = reserve.with_room(full);
            full()
        });
        assert_eq!((result.is_ok(), times), (true, 2));
    }

    #[test]
    fn it_is_not_made_again_while_somebody_is_at_work_in_its_room() {
        let (temp, reserve) = reserve();
        let file = temp.path().join("RESERVE");
        let mut first = true;
        let worked = reserve.with_room(|| {
            if std::mem::take(&mut first) {
                return full();
            }
            reserve.keep();
            Ok(file.exists())
        });
        assert!(!worked.expect("has room"));
        reserve.keep();
        assert!(file.exists());
    }
}
