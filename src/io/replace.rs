//! Files that are written whole: new ones, and those that take the place of another.
//!
//! Invariant: a file that is replaced is the old one or the new one, whole and synced, at every moment. A new one that couldn't
//! take the old one's place leaves nothing: what it took of the last free room is what others need. Used by
//! `store::identity`, `topic::header`, `topic::commits` and `log::history`.

use std::path::Path;

use super::{Dir, DirSync, remove_if_there, write_all_at};
use crate::error::{IoContext, Result};

/// Writes a file that isn't there yet, and syncs it.
pub(crate) fn write_new(dir: &dyn Dir, path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = dir.root().join(path);
    let file = dir.create(path).taking(bytes.len(), "create", &shown)?;
    write_all_at(&*file, bytes, 0).taking(bytes.len(), "write", &shown)?;
    file.sync().at("sync", &shown)
}

/// Replaces a file, in one atomic step: where it fails the one that was there counts. The caller syncs the directory by what
/// it is given: that was opened before, so that want of open files is met while nothing has changed.
pub(crate) fn replace<'d>(dir: &'d dyn Dir, path: &Path, bytes: &[u8]) -> Result<DirSync<'d>> {
    let new = path.with_extension("new");
    let shown = dir.root().join(&new);
    let sync = dir.open_dir(path.parent().unwrap_or(path)).at("open", shown.parent().unwrap_or(&shown))?;
    // What an earlier process left.
    remove_if_there(dir, &new).at("remove", &shown)?;
    write_new(dir, &new, bytes)
        .and_then(|()| dir.rename(&new, path).at("rename", &shown))
        .inspect_err(|_| drop(remove_if_there(dir, &new)))?;
    Ok(sync)
}
