//! The file `STORE`: who the store is, and which epoch numbers it may still issue.
//!
//! Invariant: replaced whole, atomically and durably. It is what makes a directory a store.

use std::path::Path;

use crate::error::{Error, IoContext, Result};
use crate::format::{
    DecodeError, Entry, FileKind, HEADER_BYTES, Identity, NO_EPOCH, Rest, STORE, encode_frame, read_frames,
};
use crate::io::{Dir, Seam, open_if_there, read_all, replace};
use crate::offset::{Offset, Position};
use crate::segment::{header_of, missing};

pub(super) const STORE_NEW: &str = "STORE.new";
const STORE_BYTES_MAX: u64 = 1 << 16;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFile {
    pub(super) id: [u8; 16],
    /// No number from here on was ever issued.
    pub(super) next_number: u64,
    /// Whether everything was synced and said so when the store was last open for writing.
    pub(super) clean: bool,
}

fn identity(id: [u8; 16]) -> Identity {
    Identity {
        kind: FileKind::Store,
        store: id,
        creation: NO_EPOCH,
        partition: None,
        epoch: NO_EPOCH,
        base: Offset::ZERO,
    }
}

/// The error for a store that has lost it.
pub(crate) fn missing_store(dir: &dyn Dir) -> Error {
    missing("store file", &dir.root().join(STORE), None)
}

/// Reads the file; `None` if there is none.
pub(crate) fn read(dir: &dyn Dir) -> Result<Option<StoreFile>> {
    let shown = dir.root().join(STORE);
    let Some(file) = open_if_there(dir, Path::new(STORE)).at("open", &shown)? else { return Ok(None) };
    let bytes = read_all(&*file, STORE_BYTES_MAX).at("read", &shown)?;
    let corrupt = |error: DecodeError, position: usize| {
        error.at(header_of(FileKind::Store), &shown, Some(Position::new(position as u64)), None)
    };
    let (found, _) = Identity::decode(&bytes).map_err(|error| corrupt(error, 0))?;
    identity(found.store).check(&bytes).map_err(|error| corrupt(error, 0))?;
    let frames = read_frames(&bytes, found.seed()).map_err(|error| corrupt(error, HEADER_BYTES))?;
    if let Rest::Damaged { position, error } = frames.rest {
        return Err(corrupt(error, position));
    }
    match frames.entries[..] {
        [Entry::Store { next_number, clean }] => Ok(Some(StoreFile { id: found.store, next_number, clean })),
        _ => Err(corrupt(DecodeError::Malformed("the entry of the store is missing or damaged"), HEADER_BYTES)),
    }
}

/// Replaces the file. Fails with nothing changed, or with `sync` of the directory, after which nothing is known.
pub(super) fn write(seam: &Seam, store: &StoreFile) -> Result<()> {
    let dir = &*seam.dir;
    let identity = identity(store.id);
    let mut bytes = identity.encode(seam.clock.now()).to_vec();
    let entry = Entry::Store { next_number: store.next_number, clean: store.clean };
    let at = bytes.len() as u64;
    bytes.extend_from_slice(&encode_frame(&[entry], identity.seed(), at, 0));
    let sync = replace(dir, Path::new(STORE), &bytes)?;
    sync().at("sync", dir.root())
}
