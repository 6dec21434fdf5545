//! Where originals go: the quarantine.
//!
//! Invariant: nothing in the quarantine is ever written over. A name tells where a file stood; one that is taken by other
//! bytes gets a number. A copy takes its name when it is whole and synced, so that an interrupted repair or recovery
//! leaves none that isn't, and the next one finds what it would write itself. Used by recovery, and by every floor that
//! repairs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::examine::last_nonzero;
use crate::error::{Error, IoContext, Result, is_full};
use crate::format::{HEADER_BYTES, QUARANTINE, TOPICS};
use crate::io::{File, Seam, open_if_there, read_full_at, remove_if_there, write_all_at};
use crate::segment::Home;

const COPY_BYTES: usize = 1 << 20;
/// The longest name of a file that file systems take.
const NAME_BYTES_MAX: usize = 255;
/// What may stand behind a name, with numbers of up to twenty digits.
const BEHIND_BYTES: usize = "-from-".len() + 20 + "-".len() + 20 + ".new".len();

/// The way into the quarantine, and what took it.
#[derive(Debug)]
pub(crate) struct Aside {
    seam: Seam,
    /// From where to where.
    pub(crate) kept: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    /// Makes the quarantine if it isn't there.
    pub(crate) fn open(seam: &Seam) -> Result<Aside> {
        let aside = Aside { seam: seam.clone(), kept: Vec::new() };
        match seam.dir.create_dir(Path::new(QUARANTINE)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => {
                other.at("create", &aside.shown(Path::new(QUARANTINE)))?;
                seam.dir.sync(Path::new("")).at("sync", seam.dir.root())?;
            }
        }
        Ok(aside)
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.seam.dir.root().join(path)
    }

    /// Copies a file from a position on; nothing if it isn't there or holds only zeros. Durable after
    /// [`sync`](Aside::sync).
    pub(crate) fn copy(&mut self, path: &Path, from: u64) -> Result<()> {
        self.copy_at_most(path, from, u64::MAX).map(drop)
    }

    /// The same for no more than so many bytes; says how many there were.
    pub(super) fn copy_at_most(&mut self, path: &Path, from: u64, most: u64) -> Result<u64> {
        let shown = self.shown(path);
        let Some(file) = self.open_if_there(path)? else { return Ok(0) };
        let Some(end) = last_nonzero(&*file, from).at("read", &shown)? else { return Ok(0) };
        let range = from..end.min(from.saturating_add(most));
        let (name, taken) = self.name_for(path, from, |there| is_copy(there, &*file, range.clone()))?;
        if !taken {
            self.write(&*file, range, &name)?;
        }
        self.kept.push((shown, self.shown(&name)));
        Ok(end - from)
    }

    /// Where [`take`](Aside::take) would move a file.
    pub(super) fn place_for(&self, path: &Path) -> Result<PathBuf> {
        self.name_for(path, 0, |_| Ok(false)).map(|(name, _)| self.shown(&name))
    }

    /// Moves a segment that stands where another is to be, unless the other holds all that it does.
    pub(super) fn make_way(home: &Home, path: &Path, other: &dyn File) -> Result<()> {
        let shown = home.shown(path);
        let Some(there) = open_if_there(&*home.seam.dir, path).at("open", &shown)? else { return Ok(()) };
        let from = HEADER_BYTES as u64;
        let Some(end) = last_nonzero(&*there, from).at("read", &shown)? else { return Ok(()) };
        if same_bytes(&*there, from..end, other, from).at("read", &shown)? {
            return Ok(());
        }
        let mut aside = Aside::open(&home.seam)?;
        aside.take(path)?;
        aside.sync()
    }

    /// Moves a file; nothing if it isn't there. The caller syncs the directory that it leaves.
    pub(crate) fn take(&mut self, path: &Path) -> Result<()> {
        let shown = self.shown(path);
        if self.open_if_there(path)?.is_none() {
            return Ok(());
        }
        let (name, _) = self.name_for(path, 0, |_| Ok(false))?;
        self.seam.dir.rename(path, &name).at("rename", &shown)?;
        self.kept.push((shown, self.shown(&name)));
        Ok(())
    }

    /// Makes what was copied and moved durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let path = Path::new(QUARANTINE);
        self.seam.dir.sync(path).at("sync", &self.shown(path))
    }

    fn open_if_there(&self, path: &Path) -> Result<Option<Arc<dyn File>>> {
        open_if_there(&*self.seam.dir, path).at("open", &self.shown(path))
    }

    /// The first name that is free, or whose bytes are `same`; says which.
    fn name_for(
        &self,
        path: &Path,
        from: u64,
        same: impl Fn(&dyn File) -> io::Result<bool>,
    ) -> Result<(PathBuf, bool)> {
        let mut plain = plain_name(path);
        if from > 0 {
            plain += &format!("-from-{from}");
        }
        for n in 1_u64.. {
            let name = Path::new(QUARANTINE).join(if n == 1 { plain.clone() } else { format!("{plain}-{n}") });
            match self.open_if_there(&name)? {
                None => return Ok((name, false)),
                Some(there) if same(&*there).at("read", &self.shown(&name))? => return Ok((name, true)),
                Some(_) => {}
            }
        }
        unreachable!("some number is free")
    }

    fn write(&self, file: &dyn File, range: std::ops::Range<u64>, name: &Path) -> Result<()> {
        let new = PathBuf::from(format!("{}.new", name.display()));
        remove_if_there(&*self.seam.dir, &new).at("remove", &self.shown(&new))?;
        let written = self.write_new(file, range, &new);
        let named = written.and_then(|()| self.seam.dir.rename(&new, name).at("rename", &self.shown(&new)));
        named.inspect_err(|_| {
            // Others may need the room to recover. One that can't be removed now is removed before the next copy.
            let _in_the_way = self.seam.dir.remove_file(&new);
        })
    }

    fn write_new(&self, file: &dyn File, range: std::ops::Range<u64>, new: &Path) -> Result<()> {
        let copied = self.seam.dir.create(new).and_then(|copy| {
            pieces(file, range.clone(), |bytes, at| write_all_at(&*copy, bytes, at))?;
            copy.sync()
        });
        copied.map_err(|source| match is_full(&source) {
            true => Error::StorageFull { path: self.shown(new), bytes: range.end - range.start },
            false => Error::Io { operation: "write", path: self.shown(new), source },
        })
    }
}

/// What a file is called in the quarantine. A topic's name is shortened if not all fits: its number tells it from others.
fn plain_name(path: &Path) -> String {
    let parts = path.iter().map(|part| part.to_string_lossy()).filter(|part| part != TOPICS);
    let plain = parts.collect::<Vec<_>>().join("-");
    let excess = plain.len().saturating_sub(NAME_BYTES_MAX - BEHIND_BYTES);
    match plain.split_once('@') {
        Some((topic, rest)) if excess > 0 => {
            let kept: String = topic.chars().take(topic.len().saturating_sub(excess)).collect();
            format!("{kept}@{rest}")
        }
        _ => plain,
    }
}

/// Reads a range piece by piece; each is given with its position behind the beginning of the range.
fn pieces(
    file: &dyn File,
    range: std::ops::Range<u64>,
    mut each: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = range.start;
    while at < range.end {
        let want = usize::try_from(range.end - at).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        let got = read_full_at(file, &mut buffer[..want], at)?;
        if got == 0 {
            break;
        }
        each(&buffer[..got], at - range.start)?;
        at += got as u64;
    }
    Ok(())
}

/// Whether a file holds just this range of another.
fn is_copy(there: &dyn File, file: &dyn File, range: std::ops::Range<u64>) -> io::Result<bool> {
    Ok(there.len()? == range.end - range.start && same_bytes(file, range, there, 0)?)
}

/// Whether a range of a file stands in another from a position on.
fn same_bytes(file: &dyn File, range: std::ops::Range<u64>, other: &dyn File, position: u64) -> io::Result<bool> {
    let (mut same, mut buffer) = (true, vec![0; COPY_BYTES]);
    pieces(file, range, |bytes, at| {
        let got = read_full_at(other, &mut buffer[..bytes.len()], position + at)?;
        same &= got == bytes.len() && buffer[..got] == *bytes;
        Ok(())
    })?;
    Ok(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Dir, OsDir};

    #[test]
    fn a_name_fits_whatever_stands_behind_it_and_keeps_the_topics_number() {
        let name = |topic_bytes: usize, number: u64, file: &str| {
            plain_name(format!("topics/{}@{number}/{}/{file}", "n".repeat(topic_bytes), u32::MAX).as_ref())
        };
        let file = format!("{0:020}@{0}.log", u64::MAX);
        let longest = name(crate::name::NAME_BYTES_MAX, u64::MAX, &file);
        let behind = format!("-from-{0}-{0}.new", u64::MAX);
        assert_eq!(longest.len() + behind.len(), 255);
        let rest = format!("n@{}-{}-{file}", u64::MAX, u32::MAX);
        assert!(longest.starts_with("nnn") && longest.ends_with(&rest), "{longest}");
        assert_eq!(name(120, 7, "history"), format!("{}@7-{}-history", "n".repeat(120), u32::MAX));
        assert_eq!(plain_name("STORE".as_ref()), "STORE");
    }

    #[test]
    fn bytes_are_compared_to_the_last_of_more_than_one_piece() {
        let file = |bytes: &[u8]| {
            let dir = tempfile::tempdir().expect("makes a directory");
            let file = OsDir::new(dir.path()).create("file".as_ref()).expect("creates");
            write_all_at(&*file, bytes, 0).expect("writes");
            file
        };
        let bytes: Vec<u8> = (1..=251).cycle().take(2 * COPY_BYTES + 10).collect();
        let (one, range) = (file(&bytes), 7..bytes.len() as u64);
        let same = |other: &[u8]| same_bytes(&*one, range.clone(), &*file(other), 3).expect("reads");
        let mut moved = bytes[4..].to_vec();
        assert!(same(&moved));
        assert!(!same(&moved[..moved.len() - 1]));
        *moved.last_mut().expect("is long") ^= 1;
        assert!(!same(&moved));
        let copied = |bytes: &[u8]| is_copy(&*file(bytes), &*one, range.clone()).expect("reads");
        assert!(copied(&bytes[7..]) && !copied(&bytes[6..]) && !copied(&bytes[8..]));
    }
}
