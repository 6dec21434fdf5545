//! An open file of the simulated disk.
//!
//! Invariant: what was published through a map is taken over before anything looks at the file's bytes, so that maps and
//! positioned calls never disagree.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::PAGE_BYTES;
use super::disk::{SimDisk, State, full, write};
use super::faults::{Failure, Pages, Untrue};
use super::medium::{Inode, NodeId, refused};
use crate::io::{Access, File, Memory, RegionReader, RegionWriter};

type Held<'a> = crate::threads::MutexGuard<'a, State>;

pub(super) struct SimFile {
    disk: SimDisk,
    id: NodeId,
    path: PathBuf,
    access: Access,
}

impl SimFile {
    pub(super) fn hold(disk: &SimDisk, state: &mut State, id: NodeId, path: &Path, access: Access) -> SimFile {
        state.hold(id);
        SimFile { disk: disk.clone(), id, path: path.into(), access }
    }

    fn enter(&self, name: &'static str) -> Result<(Held<'_>, Option<Untrue>), Failure> {
        let untrue = self.disk.enter(name, &self.path)?;
        let mut state = self.disk.state();
        state.absorb(self.id);
        Ok((state, untrue))
    }

    fn operation(&self, name: &'static str) -> io::Result<(Held<'_>, Option<Untrue>)> {
        self.enter(name).map_err(|failure| failure.error)
    }

    fn writing(&self, name: &'static str) -> io::Result<(Held<'_>, Option<Untrue>)> {
        let entered = self.operation(name)?;
        self.may_write()?;
        Ok(entered)
    }

    fn may_write(&self) -> io::Result<()> {
        if self.access == Access::Write { Ok(()) } else { Err(refused(ErrorKind::PermissionDenied)) }
    }

    /// The first `len` bytes, as a map is to show them, and how many of them there are.
    fn mapped(&self, state: &State, len: usize, untrue: Option<&Untrue>) -> (Box<[u8]>, usize) {
        let mut bytes = vec![0; len];
        let there = state.read(self.id, &mut bytes, 0, untrue);
        (bytes.into_boxed_slice(), there)
    }

    /// Puts what fits of the bytes into the cache.
    fn put(&self, state: &mut State, bytes: &[u8], position: u64, untrue: Option<&Untrue>) -> usize {
        let free = state.pages_free();
        let n = state.medium.inode(self.id).written.writable(position, bytes.len(), free);
        match untrue {
            None => write(state.medium.inode_mut(self.id), &bytes[..n], position),
            Some(untrue) => state.write_untruly(self.id, &bytes[..n], position, untrue),
        }
        n
    }

    /// What a failed sync does to the cache.
    fn fail_sync(&self, pages: Pages) {
        let mut state = self.disk.state();
        state.absorb(self.id);
        let inode = state.medium.inode_mut(self.id);
        let differing = inode.written.differences(&inode.synced, PAGE_BYTES);
        let Inode { written, synced, clean, .. } = inode;
        match pages {
            Pages::Dirty => {}
            Pages::Clean => clean.extend(differing.iter().map(|position| position / PAGE_BYTES)),
            Pages::Reverted => differing.iter().for_each(|&position| written.take(synced, position, PAGE_BYTES)),
        }
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.operation("len")?.0.medium.inode(self.id).written.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let (mut state, untrue) = self.operation("read")?;
        let most = state.script.transfer(buffer.len())?;
        Ok(state.read(self.id, &mut buffer[..most], position, untrue.as_ref()))
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let (mut state, untrue) = match self.enter("write") {
            Ok(entered) => entered,
            Err(failure) => {
                let part = &bytes[..failure.partly.min(bytes.len())];
                if self.may_write().is_ok() && !part.is_empty() {
                    let mut state = self.disk.state();
                    state.absorb(self.id);
                    self.put(&mut state, part, position, None);
                }
                return Err(failure.error);
            }
        };
        self.may_write()?;
        let most = state.script.transfer(bytes.len())?;
        let n = self.put(&mut state, &bytes[..most], position, untrue.as_ref());
        if n == 0 && most > 0 { Err(full()) } else { Ok(n) }
    }

    fn sync(&self) -> io::Result<()> {
        let (snapshot, delay) = match self.enter("sync") {
            Ok((state, _)) if state.script.ignore_syncs => return Ok(()),
            Ok((mut state, untrue)) => {
                if let Some(untrue) = untrue {
                    state.sync_untruly(self.id, &untrue);
                }
                (Arc::clone(state.medium.inode(self.id)), state.sync_delay)
            }
            Err(failure) => {
                self.fail_sync(failure.pages);
                return Err(failure.error);
            }
        };
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        self.disk.state().medium.harden(self.id, &snapshot);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut state, _) = self.writing("set_len")?;
        assert!(state.mapped(self.id) <= len, "a file is never cut below what a living map shows");
        let Inode { written, clean, .. } = state.medium.inode_mut(self.id);
        written.set_len(len);
        // The page of the cut is written back again; those behind it are gone.
        clean.retain(|page| *page < len / PAGE_BYTES);
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let (mut state, _) = self.writing("reserve")?;
        let (reserves, free) = (state.settings.reserves, state.pages_free());
        let written = &state.medium.inode(self.id).written;
        if len <= written.len() {
            return Ok(());
        }
        if reserves && written.unreserved(len).len() as u64 > free {
            return Err(full());
        }
        let written = &mut state.medium.inode_mut(self.id).written;
        if reserves {
            written.reserve(len);
        } else {
            written.set_len(len);
        }
        Ok(())
    }

    fn map_write(&self, capacity: usize, published: usize) -> io::Result<(RegionWriter, RegionReader)> {
        let (mut state, untrue) = self.writing("map_write")?;
        let (bytes, there) = self.mapped(&state, capacity, untrue.as_ref());
        assert!(published <= there, "the published bytes of a map exist");
        let (writer, reader) = Memory::holding(bytes).split(published, published);
        state.watch(self.id, &reader);
        Ok((writer, reader))
    }

    fn map_read(&self, len: usize) -> io::Result<RegionReader> {
        let (mut state, untrue) = self.operation("map_read")?;
        let (bytes, there) = self.mapped(&state, len, untrue.as_ref());
        assert_eq!(there, len, "the bytes of a read-only map exist");
        let reader = Memory::holding(bytes).split(len, len).1;
        state.watch(self.id, &reader);
        Ok(reader)
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.path.display())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().release(self.id);
    }
}
