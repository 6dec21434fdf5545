//! What was written through the map of a file since its last sync. Before the next it is taken out of the map: page by page
//! the kernel would protect it from being written, and interrupt each processor that runs a thread of this process.
//!
//! Invariant: nothing but speed depends on it. The pages stay in the kernel's memory, where the sync finds them, and where
//! who reads them later has them from, sixteen with one fault. Used by `os`.

use std::fmt;

use super::RegionReader;
use super::map::WeakReader;
use crate::threads::Mutex;

/// So many bytes are worth a call.
const BYTES_MIN: usize = 64 << 10;

/// The memory that a file is written through, and how much of it was synced.
#[derive(Default)]
pub(super) struct Dirtied {
    // Weak: a map ends with its last reader, though the file waits for its sync.
    memory: Mutex<(WeakReader, usize)>,
}

impl Dirtied {
    /// From now on the file is written through this.
    pub(super) fn through(&self, memory: &RegionReader) {
        *self.memory.lock() = (memory.weak(), memory.published());
    }

    /// Takes out of the map what was written through it since this was called last, if it is worth it.
    pub(super) fn let_go(&self) {
        let mut memory = self.memory.lock();
        let Some(reader) = memory.0.get() else { return };
        let written = memory.1..reader.published();
        if written.len() >= BYTES_MIN {
            // Locked pages can't leave.
            let _stay = reader.let_go(written.clone());
        }
        memory.1 = written.end;
    }
}

impl fmt::Debug for Dirtied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dirtied")
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io;
    use std::path::Path;

    use crate::io::{Dir, OsDir};

    /// How many KiB of the files in a directory are in this process's maps.
    fn mapped(dir: &Path) -> io::Result<u64> {
        let (mut ours, mut kib) = (false, 0);
        for line in std::fs::read_to_string("/proc/self/smaps")?.lines() {
            if let Some(rss) = line.strip_prefix("Rss:") {
                let rss = rss.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
                kib += if ours { rss } else { 0 };
            } else if line.contains('-') {
                ours = line.contains(dir.to_str().expect("a name of ASCII"));
            }
        }
        Ok(kib)
    }

    #[test]
    fn what_was_written_leaves_the_map_before_it_is_synced_and_is_read_as_before() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let file = OsDir::new(temp.path()).create(Path::new("a"))?;
        let (mut writer, reader) = file.map_write(1 << 20, 0)?;
        file.reserve(1 << 20)?;
        writer.grow(1 << 20);
        for (round, bytes) in [(1, 512 << 10), (2, 300 << 10), (3, 60 << 10)] {
            writer.spare(bytes).fill(round);
            writer.publish(bytes);
            let before = mapped(temp.path())?;
            file.sync()?;
            let left = before - mapped(temp.path())?;
            let expected = if round == 3 { 0 } else { bytes as u64 >> 10 };
            assert_eq!(left, expected, "round {round}: of {before} KiB");
        }
        let bytes = reader.bytes();
        let expected = [vec![1; 512 << 10], vec![2; 300 << 10], vec![3; 60 << 10]].concat();
        assert!(bytes == expected);
        Ok(())
    }
}
