//! The disk at one moment, and every disk that a crash at that moment can leave.
//!
//! Invariant: what a power cut may lose is the list of [`Image::pending`]; each of its units is lost or kept whole and
//! alone. Losing none is what was written, losing all is what was synced.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::clock::{Family, SimClock};
use super::content::{Content, PAGE_BYTES};
use super::disk::{Settings, SimDisk};
use super::medium::{Inode, Medium, NodeId};

/// The smallest that a disk writes in one piece.
const SECTOR_BYTES: u64 = 512;

/// A snapshot of a [`SimDisk`]; cheap, as pages are shared. See [`SimDisk::image`].
#[derive(Clone)]
pub struct Image {
    medium: Medium,
    settings: Settings,
    clock: SimClock,
    family: Family,
    grain: u64,
    /// What the blocks of the disk held before files took them.
    stale: Arc<[u8]>,
    /// So many pages of what files gained count in the lengths that are kept; all of them if `None`.
    growth: Option<u64>,
}

/// Something written but not synced: a power cut loses it or keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pending {
    /// A change of names.
    Entry {
        /// `create`, `create_dir`, `rename`, `remove_file` or `remove_dir`.
        operation: &'static str,
        /// The name, before a rename.
        path: PathBuf,
        /// The name after a rename.
        to: Option<PathBuf>,
    },
    /// A file's length.
    Length {
        /// The file.
        path: PathBuf,
        /// What it reads now.
        written: u64,
        /// What it is on the medium.
        synced: u64,
    },
    /// A page of a file, or a sector of one.
    Page {
        /// The file.
        path: PathBuf,
        /// Its first byte.
        position: u64,
        /// Its length in bytes.
        len: u64,
    },
}

/// What a power cut takes; the numbers are indexes into [`Image::pending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss<'a> {
    /// Nothing: the process was killed, and the power stayed.
    None,
    /// Everything that wasn't synced.
    All,
    /// This one.
    Only(usize),
    /// All but this one.
    AllBut(usize),
    /// Those that are `true`; what lies behind the slice is kept.
    Subset(&'a [bool]),
}

impl Loss<'_> {
    fn takes(self, i: usize) -> bool {
        match self {
            Loss::None => false,
            Loss::All => true,
            Loss::Only(one) => i == one,
            Loss::AllBut(one) => i != one,
            Loss::Subset(lost) => lost.get(i).copied().unwrap_or(false),
        }
    }
}

/// A pending unit by what it is about.
#[derive(Clone, Copy)]
enum Unit {
    Entry(usize),
    Length(NodeId),
    Page(NodeId, u64),
}

impl Image {
    pub(super) fn of(medium: Medium, settings: Settings, clock: SimClock, family: Family) -> Image {
        Image { medium, settings, clock, family, grain: PAGE_BYTES, stale: Arc::new([]), growth: None }
    }

    /// What was on the medium of a file at that moment.
    pub(super) fn on_medium(&self, id: NodeId) -> Option<&Content> {
        self.medium.files.get(&id).map(|inode| &inode.synced)
    }

    /// The same image, with pages that tear: what is pending is lost by sectors of 512 bytes.
    #[must_use]
    pub fn by_sector(mut self) -> Image {
        self.grain = SECTOR_BYTES;
        self
    }

    /// The same image on a disk whose free blocks held these bytes: where a length is kept and a page that the file
    /// gained is lost, the file shows what was in the block before, and not zeros. Page `n` of a file shows page `n` of
    /// the bytes; zeros behind their end. Space that was reserved and synced always shows zeros.
    #[must_use]
    pub fn over_stale_blocks(mut self, bytes: impl Into<Vec<u8>>) -> Image {
        self.stale = bytes.into().into();
        self
    }

    /// The same image, in which a length that is kept has grown by at most so many pages: the rest of what the file
    /// gained was still under way.
    #[must_use]
    pub fn grown_by_pages(mut self, pages: u64) -> Image {
        self.growth = Some(pages);
        self
    }

    /// What a power cut may lose: names in the order of their changes, then for each file its length and its pages.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let named = self.medium.named();
        self.units().into_iter().map(|unit| self.describe(unit, &named)).collect()
    }

    fn units(&self) -> Vec<Unit> {
        let mut units: Vec<Unit> = (0..self.medium.units.len()).map(Unit::Entry).collect();
        for id in self.medium.named_ids() {
            let inode = self.medium.inode(id);
            if inode.written.len() != inode.synced.len() {
                units.push(Unit::Length(id));
            }
            let differing = inode.written.differences(&inode.synced, self.grain);
            units.extend(differing.into_iter().map(|position| Unit::Page(id, position)));
        }
        units
    }

    fn describe(&self, unit: Unit, named: &BTreeMap<NodeId, PathBuf>) -> Pending {
        match unit {
            Unit::Entry(i) => {
                let unit = &self.medium.units[i];
                Pending::Entry { operation: unit.operation, path: unit.path.clone(), to: unit.to.clone() }
            }
            Unit::Length(id) => {
                let inode = self.medium.inode(id);
                let (written, synced) = (inode.written.len(), inode.synced.len());
                Pending::Length { path: named[&id].clone(), written, synced }
            }
            Unit::Page(id, position) => Pending::Page { path: named[&id].clone(), position, len: self.grain },
        }
    }

    /// The disk that the next start finds when this much is lost: all of it synced, nothing open or locked, no faults;
    /// clocks go on from where they stood, and randomness is new.
    #[must_use]
    pub fn after(&self, loss: Loss<'_>) -> SimDisk {
        let medium = if loss == Loss::None { self.all_written() } else { self.survivors(loss) };
        self.start(medium)
    }

    /// The disk that the next start finds when the process was killed and the power stayed: what was only written is
    /// there, and still pending.
    #[must_use]
    pub fn after_kill(&self) -> SimDisk {
        self.start(self.medium.clone())
    }

    fn start(&self, medium: Medium) -> SimDisk {
        SimDisk::with(medium, self.settings, self.clock.copy(), self.family.clone())
    }

    fn all_written(&self) -> Medium {
        let contents = self.medium.files.iter().map(|(&id, inode)| (id, inode.written.clone()));
        self.medium.settled(self.medium.tree.clone(), contents.collect())
    }

    fn survivors(&self, loss: Loss<'_>) -> Medium {
        let mut tree = self.medium.synced.clone();
        let mut contents: BTreeMap<NodeId, Content> =
            self.medium.files.iter().map(|(&id, inode)| (id, inode.synced.clone())).collect();
        for (i, unit) in self.units().into_iter().enumerate() {
            if loss.takes(i) {
                continue;
            }
            match unit {
                Unit::Entry(i) => tree.apply(&self.medium.units[i]),
                Unit::Length(id) => self.keep_length(self.medium.inode(id), contents.entry(id).or_default()),
                // Comes after its file's length: a page behind the end that survived is not seen.
                Unit::Page(id, position) => {
                    contents.entry(id).or_default().take(&self.medium.inode(id).written, position, self.grain);
                }
            }
        }
        self.medium.settled(tree, contents)
    }

    fn keep_length(&self, inode: &Inode, content: &mut Content) {
        let (before, mut after) = (inode.synced.len(), inode.written.len());
        if let Some(pages) = self.growth.filter(|_| after > before) {
            after = after.min((before / PAGE_BYTES + pages) * PAGE_BYTES).max(before);
        }
        content.set_len(after);
        let gained = before.div_ceil(PAGE_BYTES)..after.div_ceil(PAGE_BYTES);
        gained.for_each(|page| content.take_bytes(&self.stale, page * PAGE_BYTES));
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pending()).finish()
    }
}
