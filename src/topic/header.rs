//! The file `topic`: the epoch header written at creation.
//!
//! Invariant: it is written whole, synced, and replaced only as a whole. Its name and number must be those of the
//! directory; a header that was copied here from elsewhere says so itself.

use std::path::Path;

use super::Shared;
use super::dirs::uncounted;
use crate::error::{Damage, Error, IoContext, Result};
use crate::format::{
    DecodeError, Entry, FileKind, HEADER_BYTES, Identity, NO_EPOCH, Rest, TOPIC, encode_frame, read_frames,
    salvage_frames,
};
use crate::io::{self, Access, DirSync, Seam, read_all};
use crate::name::TopicName;
use crate::offset::{Epoch, Offset, Position};
use crate::options::TopicOptions;
use crate::segment::{header_of, not_found};

/// A topic's header is one entry; a longer file isn't one.
const TOPIC_BYTES_MAX: u64 = 1 << 20;

fn identity(store: [u8; 16], creation: Epoch) -> Identity {
    Identity { kind: FileKind::Topic, store, creation, partition: None, epoch: NO_EPOCH, base: Offset::ZERO }
}

/// Writes and syncs the header into a topic's new directory.
pub(super) fn write(
    shared: &Shared,
    dir: &Path,
    name: &TopicName,
    creation: Epoch,
    options: &TopicOptions,
) -> Result<()> {
    io::write_new(&*shared.seam.dir, &dir.join(TOPIC), &encode(shared, name, creation, options))
}

/// Replaces the header, in one atomic step: where it fails the one that was there counts. The caller syncs the directory by
/// what it is given.
pub(super) fn replace<'s>(
    shared: &'s Shared,
    dir: &Path,
    name: &TopicName,
    creation: Epoch,
    options: &TopicOptions,
) -> Result<DirSync<'s>> {
    io::replace(&*shared.seam.dir, &dir.join(TOPIC), &encode(shared, name, creation, options))
}

fn encode(shared: &Shared, name: &TopicName, creation: Epoch, options: &TopicOptions) -> Vec<u8> {
    let identity = identity(shared.store, creation);
    let mut bytes = identity.encode(shared.seam.clock.now()).to_vec();
    let entry = Entry::Topic { name: name.clone(), options: options.clone() };
    let at = bytes.len() as u64;
    bytes.extend_from_slice(&encode_frame(&[entry], identity.seed(), at, 0));
    bytes
}

/// Reads the header of the topic in a directory: its whole creation epoch and its options.
pub(super) fn read(
    seam: &Seam,
    store: [u8; 16],
    dir: &Path,
    name: &TopicName,
    number: u64,
) -> Result<(Epoch, TopicOptions)> {
    let path = dir.join(TOPIC);
    let shown = seam.dir.root().join(&path);
    let file = seam.dir.open(&path, Access::Read).map_err(|source| not_found(source, &shown, "topic file"))?;
    let bytes = read_all(&*file, TOPIC_BYTES_MAX).at("read", &shown)?;
    let corrupt = |error: DecodeError, position: usize| {
        error.at(header_of(FileKind::Topic), &shown, Some(Position::new(position as u64)), None)
    };
    let (found, _) = Identity::decode(&bytes).map_err(|error| corrupt(error, 0))?;
    let creation = Epoch { number, tag: found.creation.tag };
    identity(store, creation).check(&bytes).map_err(|error| corrupt(error, 0))?;
    let frames = read_frames(&bytes, found.seed()).map_err(|error| corrupt(error, HEADER_BYTES))?;
    let torn = match frames.rest {
        Rest::Clean => DecodeError::Malformed("no topic entry"),
        Rest::Torn { .. } => DecodeError::Malformed("the topic entry is damaged"),
        Rest::Damaged { position, error } => return Err(corrupt(error, position)),
    };
    match frames.entries.into_iter().next() {
        Some(Entry::Topic { name: found, options }) if found == *name => Ok((creation, options)),
        Some(Entry::Topic { name: found, .. }) => Err(foreign(&shown, &found, name)),
        _ => Err(corrupt(torn, HEADER_BYTES)),
    }
}

/// The same, sure that no segment stands in a partition that the header doesn't count.
pub(crate) fn read_complete(
    seam: &Seam,
    store: [u8; 16],
    dir: &Path,
    name: &TopicName,
    number: u64,
) -> Result<(Epoch, TopicOptions)> {
    let mut counted = 0;
    loop {
        let (creation, options) = read(seam, store, dir, name, number)?;
        let Some(error) = uncounted(seam, dir, options.partitions)? else { return Ok((creation, options)) };
        // Another process may add one between the two looks; then the header has grown as well.
        if options.partitions <= counted {
            return Err(error);
        }
        counted = options.partitions;
    }
}

/// The options in a header whose own file header is damaged, if their entry is whole. Changes nothing.
pub(super) fn salvage(shared: &Shared, dir: &Path, name: &TopicName, creation: Epoch) -> Result<Option<TopicOptions>> {
    let path = dir.join(TOPIC);
    let shown = shared.shown(&path);
    let Some(file) = io::open_if_there(&*shared.seam.dir, &path).at("open", &shown)? else { return Ok(None) };
    let bytes = read_all(&*file, TOPIC_BYTES_MAX).at("read", &shown)?;
    let salvage = salvage_frames(&bytes, identity(shared.store, creation).seed())
        .map_err(|error| error.at(header_of(FileKind::Topic), &shown, None, None))?;
    Ok(salvage.before.into_iter().chain(salvage.behind).find_map(|entry| match entry {
        Entry::Topic { name: found, options } if found == *name => Some(options),
        _ => None,
    }))
}

/// The error of a header that tells of another creation epoch than the topic's other files.
pub(super) fn of_another(shared: &Shared, dir: &Path, found: Epoch, creation: Epoch) -> Error {
    let in_words = |creation| identity(shared.store, creation).in_words();
    let error = DecodeError::Foreign { found: in_words(found), expected: in_words(creation) };
    error.at(header_of(FileKind::Topic), &shared.shown(&dir.join(TOPIC)), Some(Position::new(0)), None)
}

fn foreign(shown: &Path, found: &TopicName, expected: &TopicName) -> Error {
    Error::from(Box::new(crate::error::Corruption {
        damage: Damage::Foreign { found: format!("topic `{found}`"), expected: format!("topic `{expected}`") },
        what: header_of(FileKind::Topic),
        path: shown.to_path_buf(),
        position: Some(Position::new(HEADER_BYTES as u64)),
        offsets: None,
        topic: None,
        partition: None,
    }))
}
