//! What stands in a topic's directory, whatever its header says of it, and whose that is.
//!
//! Invariant: changes nothing. A segment is begun only when the header that counts its partition is durable, so a header
//! that counts fewer is an older copy of itself; what an interrupted `add_partitions` leaves holds no segment. Asked by
//! `header`, by `repair`, and by `inspect`.

use std::collections::BTreeMap;
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

/// The creation epoch, whole, that the files of a topic tell of; an error if they disagree. No file is believed alone against
/// the others, nor any against all segments: what isn't of that epoch leaves the log. One that can't be read is an error only
/// if the others don't tell.
pub(crate) fn creation_told(seam: &Seam, store: [u8; 16], dir: &Path, number: u64) -> Result<Option<Epoch>> {
    let partitions = partitions_there(seam, dir)?.into_iter().map(|partition| dir.join(partition.to_string()));
    let partitions: Vec<PathBuf> = partitions.collect();
    let (mut beside, mut segments) = (Told::default(), Told::default());
    let histories = partitions.iter().map(|partition| partition.join(HISTORY));
    beside.ask(seam, store, number, [dir.join(TOPIC), dir.join(COMMITS)].into_iter().chain(histories));
    let most = beside.by_most().filter(|&creation| beside.count(creation) > 1);
    if most.is_some_and(|creation| beside.count(creation) == beside.files.len()) {
        return Ok(most);
    }
    for partition in &partitions {
        segments.ask(seam, store, number, segments_in(seam, partition)?.into_iter());
    }
    let is_borne_out = |&creation: &Epoch| segments.files.is_empty() || segments.count(creation) > 0;
    let borne_out = most.filter(is_borne_out);
    let all = beside.and(segments);
    match borne_out.or_else(|| all.by_most().filter(|_| most.is_none())) {
        Some(creation) => Ok(Some(creation)),
        None if all.files.is_empty() || all.unread.is_some() => all.unread.map_or(Ok(None), Err),
        None => Err(disputed(seam, dir, &all)),
    }
}

/// Which creation epoch files tell of, if they are of this store and of a topic of this number.
#[derive(Default)]
struct Told {
    files: Vec<(Epoch, PathBuf)>,
    unread: Option<Error>,
}

impl Told {
    fn ask(&mut self, seam: &Seam, store: [u8; 16], number: u64, files: impl Iterator<Item = PathBuf>) {
        for path in files {
            match identity_in(seam, &path) {
                Ok(Some(found)) if found.store == store && found.creation.number == number => {
                    self.files.push((found.creation, path));
                }
                Err(error) => self.unread = self.unread.take().or(Some(error)),
                Ok(_) => {}
            }
        }
    }

    fn and(mut self, others: Told) -> Told {
        self.files.extend(others.files);
        Told { unread: self.unread.or(others.unread), ..self }
    }

    fn count(&self, creation: Epoch) -> usize {
        self.files.iter().filter(|(found, _)| *found == creation).count()
    }

    /// That of more than half of them.
    fn by_most(&self) -> Option<Epoch> {
        self.counts().into_iter().find(|(_, count, _)| 2 * count > self.files.len()).map(|(creation, ..)| creation)
    }

    /// Each epoch with how many files tell of it, and one of them.
    fn counts(&self) -> Vec<(Epoch, usize, &Path)> {
        let mut counts = BTreeMap::new();
        for (creation, path) in &self.files {
            counts.entry(creation.tag).or_insert((*creation, 0, &**path)).1 += 1;
        }
        counts.into_values().collect()
    }
}

fn disputed(seam: &Seam, dir: &Path, told: &Told) -> Error {
    let files = told.counts().into_iter().map(|(creation, count, path)| {
        let path = path.strip_prefix(dir).unwrap_or(path).display();
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        format!("{creation} in `{path}`{others}")
    });
    let story = format!("its files tell of several creation epochs: {}", files.collect::<Vec<_>>().join(", "));
    Error::from(Box::new(Corruption {
        damage: Damage::Malformed(story),
        what: "topic directory",
        path: seam.dir.root().join(dir),
        position: None,
        offsets: None,
        topic: None,
        partition: None,
    }))
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
