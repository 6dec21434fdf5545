//! What the simulated disk promises about faults that don't say so: lost, misdirected and stale, and what files gain.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::io::{Access, Dir, File, read_all};

const PAGE: usize = 4096;

fn path(path: &str) -> &Path {
    Path::new(path)
}

/// A disk with a file of so many synced pages, each full of its number from 1 on.
fn pages(count: u8) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(1);
    disk.write("a", (1..=count).flat_map(|n| [n; PAGE]).collect::<Vec<u8>>());
    let file = disk.open(path("a"), Access::Write).expect("just written");
    (disk, file)
}

/// The first byte of each page.
fn firsts(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(PAGE).map(|page| page[0]).collect()
}

fn after_power_cut(disk: &SimDisk, path: &str) -> Vec<u8> {
    firsts(&disk.image().after(Loss::All).read(path))
}

fn elsewhere(path: Option<&str>, shift: i64) -> Lie {
    Lie::Elsewhere { path: path.map(Into::into), shift }
}

#[test]
fn a_lost_write_is_read_by_nobody_and_still_makes_the_file_longer() -> io::Result<()> {
    let (disk, file) = pages(2);
    disk.fail(Fault::of("write").lies(Lie::Lost));
    assert_eq!(file.write_at(&[9; 2 * PAGE], PAGE as u64)?, 2 * PAGE);
    file.sync()?;
    assert_eq!(firsts(&disk.read("a")), [1, 2, 0]);
    assert_eq!(after_power_cut(&disk, "a"), [1, 2, 0]);
    file.write_at(&[9], 0)?;
    assert_eq!(firsts(&disk.read("a")), [9, 2, 0], "once");
    Ok(())
}

#[test]
fn pages_that_a_sync_loses_are_read_until_the_power_goes_and_never_written_again() -> io::Result<()> {
    let (disk, file) = pages(3);
    file.write_at(&[9; 3 * PAGE], 0)?;
    disk.fail(Fault::of("sync").lies(Lie::Lost).page(1));
    file.sync()?;
    file.sync()?;
    assert_eq!(firsts(&disk.read("a")), [9, 9, 9]);
    assert_eq!(after_power_cut(&disk, "a"), [9, 2, 9]);
    disk.drop_caches();
    assert_eq!(firsts(&disk.read("a")), [9, 2, 9]);
    assert_eq!(disk.image().pending(), []);
    Ok(())
}

#[test]
fn a_page_that_a_sync_lost_is_written_back_when_it_is_written_again() -> io::Result<()> {
    let (disk, file) = pages(1);
    file.write_at(&[9], 0)?;
    disk.fail(Fault::of("sync").lies(Lie::Lost));
    file.sync()?;
    file.write_at(&[9], 0)?;
    file.sync()?;
    assert_eq!(after_power_cut(&disk, "a"), [9]);
    Ok(())
}

#[test]
fn what_is_published_through_a_map_is_lost_by_a_sync_as_well() -> io::Result<()> {
    let (disk, file) = pages(1);
    file.reserve(2 * PAGE as u64)?;
    let (mut writer, reader) = file.map_write(2 * PAGE, PAGE)?;
    writer.grow(2 * PAGE);
    writer.spare(3).fill(9);
    writer.publish(3);
    disk.fail(Fault::of("sync").lies(Lie::Lost));
    file.sync()?;
    assert_eq!((reader.bytes()[PAGE], after_power_cut(&disk, "a")), (9, vec![1, 0]));
    Ok(())
}

#[test]
fn a_directory_sync_that_lies_makes_no_name_durable() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.create(path("a"))?.sync()?;
    disk.fail(Fault::any().lies(Lie::Lost));
    disk.sync(path(""))?;
    assert_eq!(disk.image().after(Loss::All).files().len(), 0);
    disk.sync(path(""))?;
    assert_eq!(disk.image().after(Loss::All).files(), [path("a")]);
    Ok(())
}

#[test]
fn a_misdirected_write_overwrites_what_it_hits_and_not_what_it_was_meant_for() -> io::Result<()> {
    let (disk, file) = pages(3);
    disk.write("b", [7; PAGE]);
    disk.fail(Fault::of("write").lies(elsewhere(None, PAGE as i64)));
    file.write_at(&[9; PAGE], 0)?;
    assert_eq!(firsts(&disk.read("a")), [1, 9, 3]);
    disk.fail(Fault::of("write").lies(elsewhere(Some("b"), -(PAGE as i64))));
    file.write_at(&[8; PAGE], PAGE as u64)?;
    assert_eq!((firsts(&disk.read("a")), firsts(&disk.read("b"))), (vec![1, 9, 3], vec![8]));
    disk.fail(Fault::of("write").lies(elsewhere(Some("nowhere"), 0)));
    file.write_at(&[5; PAGE], 0)?;
    assert_eq!(firsts(&disk.read("a")), [1, 9, 3]);
    Ok(())
}

#[test]
fn a_misdirected_sync_harms_another_file_only_where_the_cache_does_not_hide_it() -> io::Result<()> {
    let (disk, file) = pages(2);
    disk.write("b", [[7; PAGE], [7; PAGE]].concat());
    let other = disk.open(path("b"), Access::Write)?;
    file.write_at(&[9; PAGE], PAGE as u64)?;
    disk.fail(Fault::of("sync").on("a").lies(elsewhere(Some("b"), 0)));
    file.sync()?;
    other.sync()?;
    assert_eq!((firsts(&disk.read("a")), firsts(&disk.read("b"))), (vec![1, 9], vec![7, 7]));
    assert_eq!((after_power_cut(&disk, "a"), after_power_cut(&disk, "b")), (vec![1, 2], vec![7, 9]));
    disk.drop_caches();
    assert_eq!((firsts(&disk.read("a")), firsts(&disk.read("b"))), (vec![1, 2], vec![7, 9]));
    Ok(())
}

#[test]
fn a_misdirected_read_answers_with_the_bytes_of_another_place() -> io::Result<()> {
    let (disk, file) = pages(3);
    disk.write("b", [7; 10]);
    let mut bytes = [0; 2];
    disk.fail(Fault::of("read").lies(elsewhere(None, PAGE as i64)));
    assert_eq!((file.read_at(&mut bytes, 0)?, bytes), (2, [2, 2]));
    disk.fail(Fault::of("read").lies(elsewhere(Some("b"), 9)));
    assert_eq!((file.read_at(&mut bytes, 0)?, bytes), (2, [7, 0]), "zeros behind what is there");
    disk.fail(Fault::of("map_read").lies(elsewhere(None, PAGE as i64)));
    assert_eq!(firsts(file.map_read(3 * PAGE)?.bytes()), [2, 3, 0]);
    assert_eq!(firsts(&read_all(&*file, 3 * PAGE as u64)?), [1, 2, 3]);
    Ok(())
}

#[test]
fn a_stale_read_answers_with_what_the_medium_held_then() -> io::Result<()> {
    let (disk, file) = pages(1);
    file.write_at(&[5], 0)?;
    let then = disk.image();
    file.write_at(&[9; 2 * PAGE], 0)?;
    file.sync()?;
    disk.fail(Fault::of("read").forever().lies(Lie::Stale(then.clone())));
    assert_eq!(firsts(&read_all(&*file, 2 * PAGE as u64)?), [1, 0], "synced then, and nothing where nothing was");
    disk.heal();
    disk.fail(Fault::of("map_write").lies(Lie::Stale(then)));
    let (_writer, reader) = file.map_write(2 * PAGE, 2 * PAGE)?;
    assert_eq!(firsts(reader.bytes()), [1, 0]);
    assert_eq!(firsts(&disk.read("a")), [9, 9], "the file itself is as it was");
    Ok(())
}

#[test]
fn a_lie_waits_for_an_operation_that_can_tell_it() -> io::Result<()> {
    let (disk, file) = pages(1);
    disk.fail(Fault::any().on("a").lies(Lie::Lost));
    assert_eq!(file.len()?, PAGE as u64);
    file.write_at(&[9], 0)?;
    assert_eq!(firsts(&disk.read("a")), [1]);
    Ok(())
}

#[test]
fn a_fault_at_a_number_hits_that_operation_or_all_from_it_on() {
    for (fault, expected) in [(Fault::at(3), [true, false, true]), (Fault::at(3).forever(), [true, false, false])] {
        let (disk, file) = pages(1);
        disk.fail(fault);
        assert_eq!([file.len().is_ok(), file.sync().is_ok(), file.sync().is_ok()], expected);
        assert_eq!(disk.operations(), 4);
    }
}

#[test]
fn a_failed_write_may_have_moved_some_of_its_bytes() {
    let (disk, file) = pages(1);
    disk.fail(Fault::of("write").partly(3));
    assert!(file.write_at(&[9; 5], PAGE as u64 - 1).is_err());
    assert_eq!(disk.read("a")[PAGE - 1..], [9, 9, 9]);
}

#[test]
fn a_kept_length_shows_stale_blocks_where_the_page_was_lost() -> io::Result<()> {
    let (disk, file) = pages(1);
    file.write_at(&[9; 2 * PAGE + 10], PAGE as u64)?;
    let image = disk.image().over_stale_blocks([6; 4 * PAGE]);
    let length = 0;
    assert!(matches!(image.pending()[length], Pending::Length { .. }));
    assert_eq!(firsts(&image.after(Loss::AllBut(length)).read("a")), [1, 6, 6, 6]);
    assert_eq!(image.after(Loss::AllBut(length)).read("a").len(), 3 * PAGE + 10);
    assert_eq!(firsts(&image.after(Loss::Only(1)).read("a")), [1, 6, 9, 9]);
    assert_eq!(firsts(&image.after(Loss::All).read("a")), [1]);
    let torn = image.by_sector().after(Loss::Only(2)).read("a");
    assert_eq!((torn[PAGE], torn[PAGE + 512], torn[PAGE + 1024]), (9, 6, 9));
    Ok(())
}

#[test]
fn the_rest_of_a_page_and_what_was_reserved_and_synced_is_never_stale() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.write("a", [1; 10]);
    let file = disk.open(path("a"), Access::Write)?;
    file.reserve(2 * PAGE as u64)?;
    file.sync()?;
    file.write_at(&[9; PAGE], PAGE as u64)?;
    let image = disk.image().over_stale_blocks([6; 4 * PAGE]);
    let after = image.after(Loss::All).read("a");
    assert_eq!((after[0], after[10], after[PAGE]), (1, 0, 0));
    Ok(())
}

#[test]
fn a_length_may_be_kept_half_way() -> io::Result<()> {
    let (disk, file) = pages(1);
    file.write_at(&[9; 2 * PAGE + 10], PAGE as u64)?;
    let after = |pages| disk.image().grown_by_pages(pages).after(Loss::Subset(&[])).read("a");
    assert_eq!(firsts(&after(0)), [1]);
    assert_eq!(firsts(&after(1)), [1, 9]);
    assert_eq!(after(9).len(), 3 * PAGE + 10);
    file.set_len(10)?;
    assert_eq!(after(0).len(), 10, "a cut is whole or not there");
    Ok(())
}

#[test]
fn a_file_whose_length_is_no_multiple_of_a_page_tears_within_its_last_one() -> io::Result<()> {
    let disk = SimDisk::new(1);
    let file = disk.create(path("a"))?;
    disk.sync(path(""))?;
    file.write_at(&[9; PAGE + 700], 0)?;
    let image = disk.image().by_sector();
    assert_eq!(image.pending().len(), 1 + 8 + 2, "length and sectors");
    let last = image.after(Loss::Only(10)).read("a");
    assert_eq!((last.len(), last[PAGE + 511], last[PAGE + 512]), (PAGE + 700, 9, 0));
    let every_second: Vec<bool> = (0..11).map(|i| i % 2 == 1).collect();
    let torn = image.after(Loss::Subset(&every_second)).read("a");
    let sectors: Vec<u8> = torn.chunks(512).map(|sector| sector[0]).collect();
    assert_eq!(sectors, [0, 9, 0, 9, 0, 9, 0, 9, 0, 9]);
    file.sync()?;
    file.set_len(PAGE as u64 + 600)?;
    let cut = disk.image().by_sector().after(Loss::Only(0)).read("a");
    assert_eq!((cut.len(), cut[PAGE + 599]), (PAGE + 700, 9), "the cut was lost");
    Ok(())
}

#[test]
fn a_full_disk_refuses_new_names_where_they_need_room() -> io::Result<()> {
    let refused = |answer: io::Result<()>| answer.err().map(|error| error.kind()) == Some(ErrorKind::StorageFull);
    for need in [false, true] {
        let disk = SimDisk::new(1);
        disk.write("a", [1]);
        disk.set_names_need_room(need);
        disk.set_capacity(Some(PAGE as u64));
        assert_eq!(refused(disk.create(path("b")).map(drop)), need);
        assert_eq!(refused(disk.create_dir(path("d"))), need);
        assert_eq!(refused(disk.rename(path("a"), path("c"))), need);
        disk.remove_file(disk.files()[0].as_path())?;
        disk.create(path("again"))?;
    }
    Ok(())
}
