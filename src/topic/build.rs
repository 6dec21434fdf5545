//! Writes what a new topic, or a new partition, begins with.
//!
//! Invariant: nobody sees it before it is whole and synced; what stands where it is to be loses no record; what comes of a
//! failed attempt is removed.

use std::io;
use std::path::{Path, PathBuf};

use super::{Commits, Shared, header};
use crate::error::{IoContext, Result};
use crate::format::{HEADER_BYTES, parse_index, parse_segment};
use crate::io::{Kind, remove_tree};
use crate::log::{Aside, Log};
use crate::name::TopicName;
use crate::offset::Epoch;
use crate::options::TopicOptions;

/// Writes and syncs everything of a new topic, except for its name.
pub(super) fn build(
    shared: &Shared,
    new: &Path,
    name: &TopicName,
    creation: Epoch,
    options: &TopicOptions,
) -> Result<()> {
    let dir = &shared.seam.dir;
    dir.create_dir(new).taking(HEADER_BYTES, "create", &shared.shown(new))?;
    header::write(shared, new, name, creation, options)?;
    Commits::create(shared, new, creation)?;
    for number in 0..options.partitions {
        create_partition(shared, new, creation, number)?;
    }
    dir.sync(new).at("sync", &shared.shown(new))
}

/// Makes room for a partition's directory. One that an interrupted call left holds no segment; one that does was put
/// there while the topic was open, and its files go to the quarantine.
fn make_way(shared: &Shared, path: &Path) -> Result<()> {
    let (dir, shown) = (&*shared.seam.dir, shared.shown(path));
    let entries = match dir.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.at("list", &shown)?,
    };
    if entries.iter().any(|entry| parse_segment(&entry.name).is_some()) {
        let mut aside = Aside::open(&shared.seam)?;
        let kept = entries.iter().filter(|entry| entry.kind == Kind::File && parse_index(&entry.name).is_none());
        kept.map(|entry| path.join(&entry.name)).try_for_each(|file| aside.take(&file))?;
        aside.sync()?;
    }
    remove_tree(dir, path).at("remove", &shown)
}

/// Partitions whose directories were made and that the header doesn't name yet: nobody has seen them. They are removed
/// again, unless they are kept; what can't be removed then, the next attempt does.
pub(super) struct Unnamed<'a> {
    shared: &'a Shared,
    made: Vec<PathBuf>,
}

impl<'a> Unnamed<'a> {
    pub(super) fn new(shared: &'a Shared) -> Unnamed<'a> {
        Unnamed { shared, made: Vec::new() }
    }

    pub(super) fn make(&mut self, topic: &Path, creation: Epoch, number: u32) -> Result<()> {
        let path = topic.join(number.to_string());
        make_way(self.shared, &path)?;
        // Only now: what stood there before was no partition of ours to remove.
        self.made.push(path);
        create_partition(self.shared, topic, creation, number)
    }

    pub(super) fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        for path in &self.made {
            let _left_over = remove_tree(&*self.shared.seam.dir, path);
        }
    }
}

fn create_partition(shared: &Shared, topic: &Path, creation: Epoch, number: u32) -> Result<()> {
    let home = shared.home(topic, creation, number, false);
    shared.seam.dir.create_dir(&home.dir).taking(HEADER_BYTES, "create", &shared.shown(&home.dir))?;
    Log::create(&home)
}
