//! What a test does to files behind the engine's back: looks, sums up, flips, cuts, copies, removes.
//!
//! Invariant: none of it is an operation, and what it changes is written and synced at once, as if it had always been
//! so. It works on names as they read now.

use std::io;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::disk::SimDisk;
use super::medium::ROOT;

impl SimDisk {
    /// Every file, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().medium.tree.files().into_iter().map(|(path, _)| path).collect()
    }

    /// A file's bytes as they read now.
    ///
    /// # Panics
    ///
    /// If there is no such file; so do the other calls that harm one.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let mut state = self.state();
        state.absorb_all();
        let id = found(state.medium.tree.find_file(path.as_ref()), path.as_ref());
        state.medium.inode(id).written.bytes()
    }

    /// A number that is the same for disks that read the same: names, lengths and bytes, whatever of it is synced.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut state = self.state();
        state.absorb_all();
        let file = |sum, id| state.medium.inode(id).written.mix_into(sum);
        state.medium.tree.mix_into(0, ROOT, &file)
    }

    /// Puts a file's bytes there, written and synced; makes the file and its directories if need be. Maps of it keep
    /// showing what they showed.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let mut state = self.state();
        state.absorb_all();
        state.medium.plant(path.as_ref(), Content::of(bytes.as_ref()));
    }

    /// Flips one bit of a file, counted from the lowest of its first byte.
    ///
    /// # Panics
    ///
    /// If there is no such file or bit.
    pub fn flip(&self, path: impl AsRef<Path>, bit: u64) {
        let mut bytes = self.read(&path);
        let byte = usize::try_from(bit / 8).expect("a bit of the file");
        bytes[byte] ^= 1 << (bit % 8);
        self.write(path, bytes);
    }

    /// Cuts a file, or extends it with zeros.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn truncate(&self, path: impl AsRef<Path>, len: usize) {
        let mut bytes = self.read(&path);
        bytes.resize(len, 0);
        self.write(path, bytes);
    }

    /// Takes a file away, written and synced.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn remove(&self, path: impl AsRef<Path>) {
        let removed = self.state().medium.uproot(path.as_ref());
        found(removed, path.as_ref());
    }

    /// Puts a copy of a file over another, or beside it.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn copy(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        self.write(to, self.read(from));
    }
}

fn found<T>(answer: io::Result<T>, path: &Path) -> T {
    answer.unwrap_or_else(|error| panic!("no file `{}` on the simulated disk: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Access, Dir};

    #[test]
    fn disks_that_read_the_same_have_one_fingerprint_and_others_have_not() -> io::Result<()> {
        let disk = SimDisk::new(1);
        disk.write("d/a", [7; 5000]);
        let copy = disk.clone_synced();
        assert_eq!(copy.fingerprint(), disk.fingerprint());
        let file = copy.open(Path::new("d/a"), Access::Write)?;
        file.set_len(9000)?;
        let longer = copy.fingerprint();
        file.write_at(&[0; 4000], 5000)?;
        assert_eq!(copy.fingerprint(), longer, "zeros and a hole read the same");
        assert_ne!(longer, disk.fingerprint());
        let mut last = longer;
        let changes: [fn(&SimDisk); 3] =
            [|disk| disk.flip("d/a", 3), |disk| disk.copy("d/a", "d/b"), |disk| disk.remove("d/a")];
        for change in changes {
            change(&copy);
            assert_ne!(copy.fingerprint(), last);
            last = copy.fingerprint();
        }
        copy.create_dir(Path::new("e"))?;
        assert_ne!(copy.fingerprint(), last, "a directory without files counts");
        Ok(())
    }
}
