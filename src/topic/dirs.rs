//! What stands in a topic's directory, whatever its header says of it.
//!
//! Invariant: changes nothing. A segment is begun only when the header that counts its partition is durable, so a header
//! that counts fewer is an older copy of itself; what an interrupted `add_partitions` leaves holds no segment. Asked by
//! `header`, by `repair`, and by `inspect`.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Corruption, Damage, Error, IoContext, Result};
use crate::format::{COMMITS, FileKind, HEADER_BYTES, HISTORY, Identity, TOPIC, parse_partition_dir, parse_segment};
use crate::io::{Kind, Seam, open_if_there, read_full_at};
use crate::offset::Epoch;
use crate::segment::header_of;

/// The numbers of the partitions that have a directory, in order.
pub(crate) fn partitions_there(seam: &Seam, dir: &Path) -> Result<Vec<u32>> {
    let entries = seam.dir.list(dir).at("list", &seam.dir.root().join(dir))?;
    let dirs = entries.iter().filter(|entry| entry.kind == Kind::Dir);
    let mut numbers: Vec<u32> = dirs.filter_map(|entry| parse_partition_dir(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn segments_in(seam: &Seam, partition: &Path) -> Result<Vec<PathBuf>> {
    let entries = match seam.dir.list(partition) {
        // What an addition that fails has made is removed again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.at("list", &seam.dir.root().join(partition))?,
    };
    let segments = entries.iter().filter(|entry| parse_segment(&entry.name).is_some());
    Ok(segments.map(|entry| partition.join(&entry.name)).collect())
}

/// What is wrong with a header that counts so many partitions, if segments stand in others.
pub(super) fn uncounted(seam: &Seam, dir: &Path, partitions: u32) -> Result<Option<Error>> {
    let mut holding = Vec::new();
    for number in partitions_there(seam, dir)?.into_iter().filter(|&number| number >= partitions) {
        if !segments_in(seam, &dir.join(number.to_string()))?.is_empty() {
            holding.push(format!("`{number}`"));
        }
    }
    let older = || {
        let holding = holding.join(", ");
        let story = format!("it counts {partitions} partitions, and segments are in {holding}: it is an older copy");
        Error::from(Box::new(Corruption {
            damage: Damage::Malformed(story),
            what: header_of(FileKind::Topic),
            path: seam.dir.root().join(dir.join(TOPIC)),
            position: None,
            offsets: None,
            topic: None,
            partition: None,
        }))
    };
    Ok((!holding.is_empty()).then(older))
}

/// The creation epoch, whole, by the other files of a topic, or by the header of `topic` itself if what follows there is
/// damaged. One that can't be read is an error only if no other tells.
pub(crate) fn creation_elsewhere(seam: &Seam, store: [u8; 16], dir: &Path, number: u64) -> Result<Option<Epoch>> {
    let mut files = vec![dir.join(COMMITS)];
    for partition in partitions_there(seam, dir)? {
        let partition = dir.join(partition.to_string());
        files.push(partition.join(HISTORY));
        files.extend(segments_in(seam, &partition)?);
    }
    files.push(dir.join(TOPIC));
    let mut unread = Ok(None);
    for path in files {
        match identity_in(seam, &path) {
            Ok(Some(found)) if found.store == store && found.creation.number == number => {
                return Ok(Some(found.creation));
            }
            Err(error) => unread = unread.and(Err(error)),
            Ok(_) => {}
        }
    }
    unread
}

/// What a file's header says, if it is there and whole.
pub(crate) fn identity_in(seam: &Seam, path: &Path) -> Result<Option<Identity>> {
    let shown = seam.dir.root().join(path);
    let Some(file) = open_if_there(&*seam.dir, path).at("open", &shown)? else { return Ok(None) };
    let mut header = [0; HEADER_BYTES];
    let got = match read_full_at(&*file, &mut header, 0) {
        // A directory opens like a file.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(None),
        other => other.at("read", &shown)?,
    };
    Ok(Identity::decode(&header[..got]).ok().map(|(identity, _)| identity))
}
