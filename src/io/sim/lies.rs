//! Operations that answer well and do something else: what firmware, cables and controllers do to writes and reads.
//!
//! Invariant: a lie about a write or a read is told where it is seen, in the cache; a lie about a sync on the medium
//! alone, where only a power cut or [`SimDisk::drop_caches`] brings it to light. Called by `file` for what
//! [`Fault::lies`](super::Fault::lies) asks for.

use std::path::PathBuf;

use super::content::{Content, PAGE_BYTES};
use super::disk::{SimDisk, State, write};
use super::faults::Untrue;
use super::image::Image;
use super::medium::{Inode, NodeId};

/// What an operation does while it answers well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Lie {
    /// Nothing. A `write` reaches no cache, so nobody reads it; the file grows by it all the same. A `sync` answers, and
    /// its pages stay where they are, believed clean: they are read until the power goes, and no later sync writes them.
    /// A `sync_dir` makes no name durable.
    Lost,
    /// The bytes are moved so far from where they belong, in the file at this path or else in the same one. A `write`
    /// and a `sync` put them there (a sync on the medium alone, within what lies there already); a `read`, a `map_read`
    /// and a `map_write` take them from there. Where there is no such file or position they are lost, or zeros.
    Elsewhere {
        /// The other file; none to stay in the same.
        path: Option<PathBuf>,
        /// By how many bytes. A sync shifts by whole pages.
        shift: i64,
    },
    /// A `read`, a `map_read` or a `map_write` answers what the medium held at an earlier moment: old bytes, and zeros
    /// where the file had none yet.
    Stale(Image),
}

impl Lie {
    pub(super) fn is_told_by(&self, operation: &str) -> bool {
        match self {
            Lie::Lost => ["write", "sync", "sync_dir"].contains(&operation),
            Lie::Elsewhere { .. } => ["write", "sync", "read", "map_read", "map_write"].contains(&operation),
            Lie::Stale(_) => ["read", "map_read", "map_write"].contains(&operation),
        }
    }
}

impl State {
    /// Where bytes that belong to `id` at `position` go or come from instead.
    fn elsewhere(&self, id: NodeId, path: Option<&PathBuf>, shift: i64, position: u64) -> Option<(NodeId, u64)> {
        let id = path.map_or(Some(id), |path| self.medium.tree.find_file(path).ok())?;
        Some((id, position.checked_add_signed(shift)?))
    }

    /// A write of `bytes` that lies.
    pub(super) fn write_untruly(&mut self, id: NodeId, bytes: &[u8], position: u64, untrue: &Untrue) {
        if let Lie::Elsewhere { path, shift } = &untrue.lie
            && let Some((there, at)) = self.elsewhere(id, path.as_ref(), *shift, position)
        {
            write(self.medium.inode_mut(there), bytes, at);
        }
        let end = position + bytes.len() as u64;
        let written = &mut self.medium.inode_mut(id).written;
        if end > written.len() {
            written.set_len(end);
        }
    }

    /// A read that lies, or one that doesn't. No lie makes a file longer or shorter.
    pub(super) fn read(&self, id: NodeId, buffer: &mut [u8], position: u64, untrue: Option<&Untrue>) -> usize {
        let n = self.medium.inode(id).written.read(buffer, position);
        let from = match untrue.map(|untrue| &untrue.lie) {
            None | Some(Lie::Lost) => return n,
            Some(Lie::Elsewhere { path, shift }) => {
                let there = self.elsewhere(id, path.as_ref(), *shift, position);
                there.map(|(there, at)| (&self.medium.inode(there).written, at))
            }
            Some(Lie::Stale(image)) => image.on_medium(id).map(|content| (content, position)),
        };
        let got = from.map_or(0, |(content, at)| content.read(&mut buffer[..n], at));
        buffer[got..n].fill(0);
        n
    }

    /// A sync that lies: some of its pages don't reach the medium, or reach it elsewhere. They are believed clean.
    pub(super) fn sync_untruly(&mut self, id: NodeId, untrue: &Untrue) {
        let inode = self.medium.inode(id);
        let differing = inode.written.differences(&inode.synced, PAGE_BYTES).into_iter();
        let mut pages: Vec<u64> =
            differing.map(|at| at / PAGE_BYTES).filter(|page| !inode.clean.contains(page)).collect();
        if let Some(n) = untrue.page {
            pages = pages.get(n).copied().into_iter().collect();
        }
        if let Lie::Elsewhere { path, shift } = &untrue.lie {
            let from = inode.written.clone();
            for page in &pages {
                if let Some((there, at)) = self.elsewhere(id, path.as_ref(), *shift, page * PAGE_BYTES) {
                    self.medium.inode_mut(there).overwrite(&from, page * PAGE_BYTES, at);
                }
            }
        }
        self.medium.inode_mut(id).clean.extend(pages);
    }
}

impl Inode {
    /// Puts a page of another file over one on the medium. The cache doesn't know.
    fn overwrite(&mut self, from: &Content, position: u64, at: u64) {
        let room = self.synced.len().saturating_sub(at).min(PAGE_BYTES);
        let mut bytes = vec![0; usize::try_from(room).expect("at most a page")];
        from.read(&mut bytes, position);
        self.synced.write(&bytes, at);
        self.clean.insert(at / PAGE_BYTES);
    }

    /// What is read of pages that are believed clean once the cache has let go of them.
    fn forget_clean(&mut self) {
        for page in std::mem::take(&mut self.clean) {
            self.written.take(&self.synced, page * PAGE_BYTES, PAGE_BYTES);
        }
    }
}

impl SimDisk {
    /// Lets go of every page that is believed clean, as a kernel short of memory does: what a sync lied about is read
    /// from the medium from now on. Maps keep what they showed.
    pub fn drop_caches(&self) {
        let mut state = self.state();
        state.absorb_all();
        for id in state.medium.files.keys().copied().collect::<Vec<_>>() {
            state.medium.inode_mut(id).forget_clean();
        }
    }
}
