//! Files of a later version, or with something in them that only a later version knows: refused by name where it must be
//! understood, read where it may be skipped; never called damage, never touched.

use std::path::{Path, PathBuf};

use epochlog::testing::SimDisk;
use epochlog::{Error, Mapping};

use super::outcome::{Commits, Way, look};
use super::region::{Kind, Part, kind_of, regions};
use super::specimen::{Left, Specimen, specimen};
use crate::support::*;

const KINDS: [Kind; 6] = [Kind::Store, Kind::Topic, Kind::Commits, Kind::History, Kind::Segment, Kind::Index];

/// The last file of a kind; of the segments it is the tail.
fn file(specimen: &Specimen, kind: Kind) -> PathBuf {
    let mut files = specimen.disk.files();
    files.retain(|path| kind_of(path) == kind && (kind == Kind::Store || path.starts_with("topics/orders@1")));
    files.into_iter().rfind(|path| !path.starts_with("topics/orders@1/2")).expect("there is one")
}

/// Changes a file's header, with a checksum that agrees.
fn change_header(disk: &SimDisk, path: &Path, at: usize, byte: u8) {
    let mut bytes = disk.read(path);
    bytes[at] = byte;
    let checksum = crc32fast::hash(&bytes[..92]);
    bytes[92..96].copy_from_slice(&checksum.to_le_bytes());
    disk.write(path, bytes);
}

/// The seed of a file's checksums, as the format documents it, and its position.
fn seed(bytes: &[u8], position: usize) -> u32 {
    let mut seed = crc32fast::Hasher::new();
    for part in [8..9, 16..68, 72..80] {
        seed.update(&bytes[part]);
    }
    seed.finalize() ^ position as u32
}

/// Changes a byte of a batch's or a frame's header, with a checksum that agrees.
pub(super) fn change_thing(disk: &SimDisk, path: &Path, thing: usize, at: usize, byte: u8, len: usize) {
    let mut bytes = disk.read(path);
    bytes[thing + at] = byte;
    let mut checksum = crc32fast::Hasher::new_with_initial(seed(&bytes, thing));
    checksum.update(&bytes[thing + 4..thing + len]);
    bytes[thing..thing + 4].copy_from_slice(&checksum.finalize().to_le_bytes());
    disk.write(path, bytes);
}

/// For each way in which a store can be left, mapped and opened.
fn each(promise: impl Fn(&Specimen, Way)) {
    for (left, mapping) in [(Left::Closed, Mapping::Auto), (Left::Killed, Mapping::Never)] {
        let specimen = specimen(left, mapping);
        for way in [Way::Writing, Way::Reading] {
            promise(&specimen, way);
        }
    }
}

/// It is refused by name, by whoever needs the file, and the file stays as it is.
#[track_caller]
fn is_refused(specimen: &Specimen, disk: &SimDisk, path: &Path, way: Way, what: &str) {
    let before = disk.read(path);
    let outcome = look(specimen, disk, path, way);
    let context = format!("{:?} {way:?} {}: {outcome:?}", specimen.left, path.display());
    assert!(outcome.told.iter().all(|told| told.path == path && told.what.contains(what)), "{context}");
    assert!(!outcome.told.is_empty(), "{context}");
    assert_eq!(disk.read(path), before, "{context}");
}

#[test]
fn a_file_of_a_later_version_or_with_unknown_flags_is_refused_by_name_whatever_its_kind() {
    for (at, byte, what) in [(10, 2, "unsupported version 2"), (69, 1, "unsupported version 1 with file flags")] {
        each(|specimen, way| {
            for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Index) {
                let (disk, path) = (specimen.disk.clone_synced(), file(specimen, kind));
                change_header(&disk, &path, at, byte);
                is_refused(specimen, &disk, &path, way, what);
            }
        });
    }
}

#[test]
fn an_index_of_a_later_version_is_not_believed_and_changes_nothing() {
    each(|specimen, way| {
        let (disk, path) = (specimen.disk.clone_synced(), file(specimen, Kind::Index));
        change_header(&disk, &path, 10, 2);
        let outcome = look(specimen, &disk, &path, way);
        assert!(outcome.told.is_empty() && outcome.lost.is_empty() && outcome.verified.is_empty(), "{outcome:?}");
    });
}

#[test]
fn a_batch_of_an_unknown_codec_or_with_flags_that_must_be_understood_is_refused_by_name() {
    each(|specimen, way| {
        for at in [43, 44] {
            let (disk, path) = (specimen.disk.clone_synced(), file(specimen, Kind::Segment));
            change_thing(&disk, &path, 96, at, 1, 46);
            is_refused(specimen, &disk, &path, way, "unsupported version 1 with");
        }
    });
}

#[test]
fn flags_of_a_batch_that_may_be_ignored_are_ignored() {
    each(|specimen, way| {
        let (disk, path) = (specimen.disk.clone_synced(), file(specimen, Kind::Segment));
        change_thing(&disk, &path, 96, 45, 0xff, 46);
        let outcome = look(specimen, &disk, &path, way);
        assert!(outcome.told.is_empty() && outcome.lost.is_empty() && outcome.verified.is_empty(), "{outcome:?}");
    });
}

#[test]
fn entries_of_a_later_version_are_skipped_or_refused_by_their_type() {
    each(|specimen, way| {
        for kind in [Kind::Commits, Kind::History] {
            let path = file(specimen, kind);
            let last = regions(specimen, &path).into_iter().rfind(|it| it.part == Part::LastFrame).expect("has frames");
            for entry in [200_u8, 100] {
                let disk = specimen.disk.clone_synced();
                // One more frame: a checksum, a length of 3, no mark, no flags, and the entry with one byte in it.
                let mut bytes = disk.read(&path);
                let end = last.bytes.end;
                bytes.resize(bytes.len().max(end + 16), 0);
                bytes[end + 4..end + 16].copy_from_slice(&[3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, entry, 1, 7]);
                disk.write(&path, bytes);
                change_thing(&disk, &path, end, 15, 7, 16);
                if entry == 100 {
                    is_refused(specimen, &disk, &path, way, "unsupported version 1 with entry type 100");
                    continue;
                }
                let outcome = look(specimen, &disk, &path, way);
                assert!(outcome.told.is_empty() && outcome.lost.is_empty(), "{outcome:?}");
                assert_eq!(outcome.commits, Commits::Exact);
            }
        }
    });
}

/// An index is the only file of a later version that may be replaced: it is derived.
#[test]
fn a_store_of_a_later_version_is_not_touched() {
    let specimen = specimen(Left::Closed, Mapping::Auto);
    let disk = specimen.disk.clone_synced();
    change_header(&disk, Path::new("STORE"), 10, 2);
    let error = refused_untouched(&disk, || options(&disk, Mapping::Auto).open("/sim"));
    assert!(matches!(error, Error::UnsupportedVersion { .. }), "{error}");
}
