//! The format, pinned: files of version 1, rebuilt from fixed values and compared byte for byte.
//!
//! A difference here means that stores on disk can no longer be read: raise the version instead. Files of a new version
//! are written by `EPOCHLOG_BLESS=1 cargo test golden`; those of an old one are never written again.

use std::path::PathBuf;

use super::filename::{COMMITS, HISTORY, STORE, TOPIC, index_file, segment_file};
use super::fixtures::{self, TIME};
use super::*;
use crate::offset::Timestamp;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-v1").join(name)
}

fn assert_golden(name: &str, rebuilt: &[u8]) {
    let path = golden(name);
    if std::env::var_os("EPOCHLOG_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("creates the directory");
        std::fs::write(&path, rebuilt).expect("writes the file");
    }
    assert_eq!(std::fs::read(&path).expect("is in the repository"), rebuilt, "{name}");
}

fn assert_golden_frames(name: &str, identity: &Identity, entries: &[Entry]) {
    let (bytes, ends) = fixtures::frames_file(identity, entries.chunks(2), 0);
    assert_golden(name, &bytes);
    let frames = crate::format::frame::Frames {
        entries: entries.to_vec(),
        ends: *ends.last().expect("has frames"),
        open_ended: entries.last() != Some(&Entry::End),
        rest: Rest::Clean,
    };
    assert_eq!(read_frames(&bytes, identity.seed()), Ok(frames));
}

/// The header, a plain batch at 96 and a varied one behind it.
fn segment() -> Vec<u8> {
    let mut bytes = fixtures::SEGMENT.encode(TIME).to_vec();
    bytes.extend(fixtures::batch(&fixtures::plain(), 100, bytes.len() as u64));
    bytes.extend(fixtures::batch(&fixtures::varied(), 101, bytes.len() as u64));
    bytes
}

#[test]
fn a_segment_of_version_1_is_as_it_was() {
    let (base, number) = (fixtures::SEGMENT.base, fixtures::SEGMENT.epoch.number);
    assert_golden(&segment_file(base, number), &segment());
}

#[test]
fn an_index_of_version_1_is_as_it_was() {
    let (base, number) = (fixtures::INDEX.base, fixtures::INDEX.epoch.number);
    let mut bytes = fixtures::INDEX.encode(TIME).to_vec();
    for (relative, position, greatest) in [(0, 96, Timestamp::MIN), (1, 146, TIME)] {
        let entry = IndexEntry { relative, position, greatest };
        bytes.extend(entry.encode(fixtures::INDEX.seed(), bytes.len() as u64));
    }
    assert_golden(&index_file(base, number), &bytes);
}

#[test]
fn the_files_of_entries_of_version_1_are_as_they_were() {
    let entries = fixtures::entries();
    assert_golden_frames(HISTORY, &fixtures::HISTORY, &entries[..5]);
    assert_golden_frames(COMMITS, &fixtures::COMMITS, &entries[5..7]);
    assert_golden_frames(TOPIC, &fixtures::TOPIC, &entries[7..8]);
    assert_golden_frames(STORE, &fixtures::STORE, &entries[8..]);
}

/// The hexadecimal bytes of the worked example: between the position and the bar of each row.
fn documented() -> Vec<u8> {
    let docs = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! "));
    let rows =
        docs.skip_while(|line| !line.starts_with("# A worked example")).filter_map(|line| line.split_once(" | "));
    let bytes = rows.flat_map(|(row, _)| row.split_whitespace().skip(1));
    bytes.map(|byte| u8::from_str_radix(byte, 16).expect("a hexadecimal byte")).collect()
}

#[test]
fn the_worked_example_in_the_docs_is_what_is_written() {
    assert_eq!(documented(), segment()[..146]);
}

#[test]
fn damage_gets_its_file_and_a_later_version_is_not_damage() {
    let path = PathBuf::from("topics/orders@7/commits");
    let at = |error: DecodeError| error.at("commit", &path, Some(Position::new(96)), None).to_string();
    let whose = "corrupt commit in `topics/orders@7/commits` at position 96: ";
    assert_eq!(
        at(DecodeError::Checksum { found: 0x1f0e_3a55, expected: 0x9bd3_66ae }),
        format!("{whose}checksum 0x1f0e3a55, expected 0x9bd366ae")
    );
    assert_eq!(at(DecodeError::Short { found: 3, expected: 13 }), format!("{whose}3 bytes, expected 13"));
    assert_eq!(at(DecodeError::Malformed("entry of type 0")), format!("{whose}entry of type 0"));
    assert_eq!(
        at(DecodeError::Foreign { found: "a".into(), expected: "b".into() }),
        "foreign commit in `topics/orders@7/commits` at position 96: belongs to a, expected b"
    );
    assert_eq!(
        at(DecodeError::Unsupported { found: "version 2".into(), supported: "version 1" }),
        "`topics/orders@7/commits` has format version 2; this epochlog reads version 1, open it with a later one"
    );
}

#[test]
fn a_checksum_begins_with_the_seed_and_both_halves_of_the_position() {
    let begun = |state| {
        let mut hasher = crc32fast::Hasher::new_with_initial(state);
        hasher.update(b"up");
        hasher.finalize()
    };
    assert_eq!(Seed(0xffff_ffff).checksum(96, b"up"), begun(0xffff_ff9f));
    assert_eq!(Seed(0xffff_ffff).checksum((3 << 32) | 96, b"up"), begun(0xfffc_ff9f));
}
