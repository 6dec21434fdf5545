//! Where the demo's lines come from: one file, or all text files under a directory.
//!
//! Invariant: nothing is changed and no link is followed; hidden entries and build directories are left out, binary
//! files counted and left out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// A file with a zero byte this far in is no text.
const LOOK_BYTES: u64 = 8 << 10;

/// The files whose lines are appended.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) bytes: u64,
    pub(crate) binaries: u64,
}

/// The path that was named, or the sources of this program.
pub(crate) fn root(path: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(path) = path {
        return Ok(path.to_path_buf());
    }
    let here = PathBuf::from("src");
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    [here, built].into_iter().find(|path| path.is_dir()).ok_or_else(|| {
        Failure::Told("the sources of epochlog are not here; name a file or a directory: `epochlog demo PATH`".into())
    })
}

/// Finds the files, in the order of their names.
pub(crate) fn find(root: &Path) -> Outcome<Sources> {
    let mut sources = Sources::default();
    add(root, &mut sources)?;
    if sources.files.is_empty() {
        return Err(Failure::Told(format!("`{}` holds no text; name another file or directory", root.display())));
    }
    Ok(sources)
}

fn add(path: &Path, sources: &mut Sources) -> Outcome {
    let failed = |source| Failure::input(path, source);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return add_dir(path, sources);
    }
    if is_text(path).map_err(failed)? {
        sources.files.push(path.to_path_buf());
        sources.bytes += metadata.len();
    } else {
        sources.binaries += 1;
    }
    Ok(())
}

fn add_dir(path: &Path, sources: &mut Sources) -> Outcome {
    let failed = |source| Failure::input(path, source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let name = entry.file_name();
        let left_out = name.as_encoded_bytes().starts_with(b".") || (kind.is_dir() && name == "target");
        if (kind.is_dir() || kind.is_file()) && !left_out {
            entries.push(entry.path());
        }
    }
    entries.sort();
    entries.iter().try_for_each(|entry| add(entry, sources))
}

fn is_text(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    File::open(path)?.take(LOOK_BYTES).read_to_end(&mut beginning)?;
    Ok(!beginning.contains(&0))
}
