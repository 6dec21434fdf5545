//! What a disk holds: files and names, each as it reads now and as it would be after a power cut.
//!
//! Invariant: names point at nodes by number, never by path, so a change of names that is lost takes nothing with it but
//! the name: a file that was created in a renamed directory is there under the old name if only the rename is lost.
//! `tree` is always `synced` with every pending unit applied in order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::{Content, mixed};
use crate::io::Kind;

pub(super) type NodeId = u64;

pub(super) const ROOT: NodeId = 0;

/// A file's bytes, named or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What every reader sees.
    pub(super) written: Content,
    /// What is on the medium.
    pub(super) synced: Content,
    /// Pages that differ but that no sync writes until they are written again: a failed sync has marked them clean.
    pub(super) clean: BTreeSet<u64>,
    /// Counts the changes of `written`.
    pub(super) version: u64,
    /// The version that `synced` was taken from.
    pub(super) synced_version: u64,
}

impl Inode {
    pub(super) fn synced(content: Content) -> Inode {
        Inode { written: content.clone(), synced: content, ..Inode::default() }
    }

    /// Makes durable what `snapshot`, taken of this file when the sync began, was to write. Of two syncs at once the
    /// later snapshot counts.
    pub(super) fn harden(&mut self, snapshot: &Inode) {
        if snapshot.version < self.synced_version {
            return;
        }
        let mut content = snapshot.written.clone();
        for &page in &snapshot.clean {
            content.take(&self.synced, page * super::content::PAGE_BYTES, super::content::PAGE_BYTES);
        }
        self.synced = content;
        self.synced_version = snapshot.version;
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: NodeId,
    pub(super) kind: Kind,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    dir: NodeId,
    name: String,
}

/// One change of names, which happens or doesn't.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) operation: &'static str,
    pub(super) path: PathBuf,
    pub(super) to: Option<PathBuf>,
    link: Link,
    leaves: Option<Slot>,
    enters: Option<Slot>,
}

impl Unit {
    fn slots(&self) -> impl Iterator<Item = &Slot> {
        [&self.leaves, &self.enters].into_iter().flatten()
    }

    fn touches(&self, dir: NodeId) -> bool {
        self.slots().any(|slot| slot.dir == dir)
    }

    /// Whether this must have happened before a later unit can: it is about a name that the later one takes or leaves.
    fn precedes(&self, later: &Unit) -> bool {
        self.slots().any(|slot| later.slots().any(|other| slot == other))
    }
}

/// The names of a disk. Directories are kept by number, whether a name leads to them or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    dirs: BTreeMap<NodeId, BTreeMap<String, Link>>,
}

impl Tree {
    fn get(&self, slot: &Slot) -> Option<Link> {
        self.dirs.get(&slot.dir)?.get(&slot.name).copied()
    }

    fn set(&mut self, slot: &Slot, link: Link) {
        self.dirs.entry(slot.dir).or_default().insert(slot.name.clone(), link);
    }

    /// Skips a unit whose source isn't there: what it needs was lost.
    pub(super) fn apply(&mut self, unit: &Unit) {
        if let Some(slot) = &unit.leaves {
            if self.get(slot) != Some(unit.link) {
                return;
            }
            self.dirs.entry(slot.dir).or_default().remove(&slot.name);
        }
        if let Some(slot) = &unit.enters {
            self.set(slot, unit.link);
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Link> {
        let mut link = Link { id: ROOT, kind: Kind::Dir };
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(refused(ErrorKind::InvalidInput));
            };
            let name = name.to_str().ok_or_else(|| refused(ErrorKind::InvalidInput))?.to_owned();
            if link.kind != Kind::Dir {
                return Err(refused(ErrorKind::NotADirectory));
            }
            link = self.get(&Slot { dir: link.id, name }).ok_or_else(|| refused(ErrorKind::NotFound))?;
        }
        Ok(link)
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        match self.find(path)? {
            Link { id, kind: Kind::File } => Ok(id),
            _ => Err(refused(ErrorKind::IsADirectory)),
        }
    }

    pub(super) fn find_dir(&self, path: &Path) -> io::Result<NodeId> {
        match self.find(path)? {
            Link { id, kind: Kind::Dir } => Ok(id),
            _ => Err(refused(ErrorKind::NotADirectory)),
        }
    }

    pub(super) fn entries(&self, dir: NodeId) -> impl Iterator<Item = (&String, &Link)> {
        self.dirs.get(&dir).into_iter().flatten()
    }

    fn slot(&self, path: &Path) -> io::Result<Slot> {
        let (Some(parent), Some(Component::Normal(name))) = (path.parent(), path.components().next_back()) else {
            return Err(refused(ErrorKind::InvalidInput));
        };
        let name = name.to_str().ok_or_else(|| refused(ErrorKind::InvalidInput))?.to_owned();
        Ok(Slot { dir: self.find_dir(parent)?, name })
    }

    /// Every file that a path leads to, sorted.
    pub(super) fn files(&self) -> Vec<(PathBuf, NodeId)> {
        let mut files = Vec::new();
        let mut dirs = vec![(PathBuf::new(), ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            for (name, link) in self.entries(dir) {
                let found = if link.kind == Kind::Dir { &mut dirs } else { &mut files };
                found.push((path.join(name), link.id));
            }
        }
        files.sort_unstable();
        files
    }
}

impl Tree {
    /// Every file that a path leads to.
    pub(super) fn reachable(&self) -> BTreeSet<NodeId> {
        let (mut files, mut dirs) = (BTreeSet::new(), vec![ROOT]);
        while let Some(dir) = dirs.pop() {
            for (_, link) in self.entries(dir) {
                if link.kind == Kind::Dir {
                    dirs.push(link.id);
                } else {
                    files.insert(link.id);
                }
            }
        }
        files
    }

    /// Mixes into a sum what a directory holds, in order; `file` does that for a file.
    pub(super) fn mix_into(&self, mut sum: u64, dir: NodeId, file: &impl Fn(u64, NodeId) -> u64) -> u64 {
        for (name, link) in self.entries(dir) {
            sum = name.bytes().fold(mixed(sum, name.len() as u64), |sum, byte| mixed(sum, u64::from(byte)));
            sum = match link.kind {
                Kind::Dir => mixed(self.mix_into(mixed(sum, 1), link.id, file), 2),
                _ => file(sum, link.id),
            };
        }
        sum
    }
}

/// The whole disk. A clone shares the pages until either side writes them.
#[derive(Clone, Debug)]
pub(super) struct Medium {
    pub(super) files: BTreeMap<NodeId, Arc<Inode>>,
    pub(super) tree: Tree,
    pub(super) synced: Tree,
    pub(super) units: Vec<Unit>,
    next: NodeId,
}

impl Medium {
    pub(super) fn empty() -> Medium {
        let (tree, synced) = (Tree::default(), Tree::default());
        Medium { files: BTreeMap::new(), tree, synced, units: Vec::new(), next: ROOT + 1 }
    }

    /// A disk on which all of this is durable and nothing is pending.
    pub(super) fn settled(&self, tree: Tree, mut contents: BTreeMap<NodeId, Content>) -> Medium {
        let named = tree.reachable();
        contents.retain(|id, _| named.contains(id));
        let files = contents.into_iter().map(|(id, content)| (id, Arc::new(Inode::synced(content)))).collect();
        Medium { files, synced: tree.clone(), tree, units: Vec::new(), next: self.next }
    }

    pub(super) fn inode(&self, id: NodeId) -> &Arc<Inode> {
        self.files.get(&id).expect("a file that is named or open is there")
    }

    /// For a change of what is written.
    pub(super) fn inode_mut(&mut self, id: NodeId) -> &mut Inode {
        let inode = Arc::make_mut(self.files.get_mut(&id).expect("a file that is named or open is there"));
        inode.version += 1;
        inode
    }

    /// Makes durable what a sync that began with `snapshot` was to write. The file may be gone from everywhere since.
    pub(super) fn harden(&mut self, id: NodeId, snapshot: &Inode) {
        if let Some(inode) = self.files.get_mut(&id) {
            Arc::make_mut(inode).harden(snapshot);
        }
    }

    fn record(&mut self, unit: Unit) {
        self.tree.apply(&unit);
        self.units.push(unit);
    }

    pub(super) fn create(&mut self, operation: &'static str, path: &Path, kind: Kind) -> io::Result<NodeId> {
        let slot = self.tree.slot(path)?;
        if self.tree.get(&slot).is_some() {
            return Err(refused(ErrorKind::AlreadyExists));
        }
        let link = self.node(kind);
        self.record(Unit { operation, path: path.into(), to: None, link, leaves: None, enters: Some(slot) });
        Ok(link.id)
    }

    fn node(&mut self, kind: Kind) -> Link {
        let id = self.next;
        self.next += 1;
        if kind == Kind::File {
            self.files.insert(id, Arc::default());
        }
        Link { id, kind }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let leaves = self.tree.slot(from)?;
        let enters = self.tree.slot(to)?;
        let link = self.tree.get(&leaves).ok_or_else(|| refused(ErrorKind::NotFound))?;
        match self.tree.get(&enters) {
            _ if from == to => return Ok(()),
            _ if to.starts_with(from) => return Err(refused(ErrorKind::InvalidInput)),
            Some(there) if there.kind == Kind::Dir || link.kind == Kind::Dir => {
                return Err(refused(ErrorKind::AlreadyExists));
            }
            _ => {}
        }
        let (path, to) = (from.into(), Some(to.into()));
        self.record(Unit { operation: "rename", path, to, link, leaves: Some(leaves), enters: Some(enters) });
        Ok(())
    }

    pub(super) fn remove(&mut self, operation: &'static str, path: &Path, kind: Kind) -> io::Result<()> {
        let id = if kind == Kind::Dir { self.tree.find_dir(path)? } else { self.tree.find_file(path)? };
        if kind == Kind::Dir && self.tree.entries(id).next().is_some() {
            return Err(refused(ErrorKind::DirectoryNotEmpty));
        }
        let leaves = Some(self.tree.slot(path)?);
        self.record(Unit { operation, path: path.into(), to: None, link: Link { id, kind }, leaves, enters: None });
        Ok(())
    }

    /// Makes durable what touches the directory, and what that needs to have happened before.
    pub(super) fn sync_dir(&mut self, dir: NodeId) {
        let mut durable: Vec<bool> = self.units.iter().map(|unit| unit.touches(dir)).collect();
        for later in (0..self.units.len()).rev() {
            for earlier in 0..later {
                durable[earlier] |= durable[later] && self.units[earlier].precedes(&self.units[later]);
            }
        }
        for (unit, durable) in std::mem::take(&mut self.units).into_iter().zip(durable) {
            if durable {
                self.synced.apply(&unit);
            } else {
                self.units.push(unit);
            }
        }
    }

    /// The files that a name leads to now, after a power cut, or after some part of one.
    pub(super) fn named(&self) -> BTreeMap<NodeId, PathBuf> {
        let mut named: BTreeMap<NodeId, PathBuf> = BTreeMap::new();
        for unit in self.units.iter().filter(|unit| unit.link.kind == Kind::File) {
            named.insert(unit.link.id, unit.path.clone());
        }
        for (path, id) in self.synced.files().into_iter().chain(self.tree.files()) {
            named.insert(id, path);
        }
        named
    }

    /// The same, without the names.
    pub(super) fn named_ids(&self) -> BTreeSet<NodeId> {
        let mut named = self.synced.reachable();
        named.extend(self.tree.reachable());
        named.extend(self.units.iter().filter(|unit| unit.link.kind == Kind::File).map(|unit| unit.link.id));
        named
    }

    /// Puts a file there as if it had always been, its directories too.
    pub(super) fn plant(&mut self, path: &Path, content: Content) {
        if let Ok(id) = self.tree.find_file(path) {
            let inode = self.inode_mut(id);
            *inode = Inode { version: inode.version, synced_version: inode.version, ..Inode::synced(content) };
            return;
        }
        let mut ancestors: Vec<&Path> = path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
        ancestors.reverse();
        for dir in ancestors {
            if self.tree.find(dir).is_err() {
                self.link(dir, Kind::Dir);
            }
        }
        let link = self.link(path, Kind::File);
        self.files.insert(link.id, Arc::new(Inode::synced(content)));
    }

    fn link(&mut self, path: &Path, kind: Kind) -> Link {
        let link = self.node(kind);
        let slot = self.tree.slot(path).expect("a path below directories");
        self.tree.set(&slot, link);
        self.synced.set(&slot, link);
        link
    }

    /// Takes a file away as if it had never been.
    pub(super) fn uproot(&mut self, path: &Path) -> io::Result<()> {
        let id = self.tree.find_file(path)?;
        self.units.retain(|unit| unit.link.id != id);
        for tree in [&mut self.tree, &mut self.synced] {
            for names in tree.dirs.values_mut() {
                names.retain(|_, link| link.id != id);
            }
        }
        Ok(())
    }
}

pub(super) fn refused(kind: ErrorKind) -> io::Error {
    io::Error::new(kind, "refused by the simulated disk")
}
