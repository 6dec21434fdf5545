//! What the simulated machine promises to the tests that trust it.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::io::{Access, Clock, Dir, Entropy, File, write_all_at};

const ROOT: &str = "";

fn path(path: &str) -> &Path {
    Path::new(path)
}

/// A disk with one file `a` of three pages of `1`, all synced.
fn three_pages() -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(1);
    disk.write("a", [1; 3 * 4096]);
    let file = disk.open(path("a"), Access::Write).expect("just written");
    (disk, file)
}

fn create(disk: &SimDisk, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let file = disk.create(path(name))?;
    write_all_at(&*file, bytes, 0)?;
    Ok(file)
}

fn kind<T>(answer: io::Result<T>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

/// The position in `pending` of the change of names with this operation.
fn entry(image: &Image, wanted: &str) -> usize {
    let is_it = |unit: &Pending| matches!(unit, Pending::Entry { operation, .. } if *operation == wanted);
    image.pending().iter().position(is_it).expect("the change is pending")
}

#[test]
fn a_page_that_was_not_synced_is_lost_alone() -> io::Result<()> {
    let (disk, file) = three_pages();
    write_all_at(&*file, &[2; 3 * 4096], 0)?;
    let image = disk.image();
    assert_eq!(image.pending().len(), 3);
    assert_eq!(image.pending()[1], Pending::Page { path: "a".into(), position: 4096, len: 4096 });
    let pages = |loss: Loss<'_>| image.after(loss).read("a").chunks(4096).map(|page| page[0]).collect::<Vec<_>>();
    assert_eq!(pages(Loss::Only(1)), [2, 1, 2]);
    assert_eq!(pages(Loss::AllBut(1)), [1, 2, 1]);
    assert_eq!(pages(Loss::Subset(&[true, true])), [1, 1, 2]);
    assert_eq!(pages(Loss::All), [1, 1, 1]);
    assert_eq!(pages(Loss::None), [2, 2, 2]);
    Ok(())
}

#[test]
fn a_page_tears_by_sector() -> io::Result<()> {
    let (disk, file) = three_pages();
    file.write_at(&[2; 1024], 512)?;
    let image = disk.image().by_sector();
    assert_eq!(image.pending().len(), 2);
    let bytes = image.after(Loss::Only(0)).read("a");
    assert_eq!((bytes[512], bytes[1024], bytes[1536]), (1, 2, 1));
    Ok(())
}

#[test]
fn nothing_is_pending_after_file_and_directory_were_synced() -> io::Result<()> {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a", b"abc")?;
    assert_eq!(disk.image().pending().len(), 3, "name, length and page");
    file.sync()?;
    assert_eq!(disk.image().after(Loss::All).files().len(), 0, "a file's sync doesn't cover its name");
    disk.sync(path(ROOT))?;
    assert_eq!(disk.image().pending(), []);
    assert_eq!(disk.image().after(Loss::All).read("a"), b"abc");
    Ok(())
}

#[test]
fn a_length_is_kept_without_its_bytes_and_lost_with_them() -> io::Result<()> {
    let (disk, file) = three_pages();
    file.write_at(&[2; 10], 3 * 4096)?;
    let image = disk.image();
    let length = Pending::Length { path: "a".into(), written: 3 * 4096 + 10, synced: 3 * 4096 };
    assert_eq!(image.pending()[0], length);
    assert_eq!(image.after(Loss::AllBut(0)).read("a")[3 * 4096..], [0; 10]);
    assert_eq!(image.after(Loss::Only(0)).read("a"), [1; 3 * 4096]);
    Ok(())
}

#[test]
fn a_cut_that_was_not_synced_is_undone() -> io::Result<()> {
    let (disk, file) = three_pages();
    file.set_len(4096)?;
    assert_eq!(disk.image().after(Loss::All).read("a"), [1; 3 * 4096]);
    file.sync()?;
    assert_eq!(disk.image().after(Loss::All).read("a"), [1; 4096]);
    Ok(())
}

#[test]
fn a_rename_is_one_unit_also_over_an_existing_file() -> io::Result<()> {
    let (disk, _old) = three_pages();
    create(&disk, "b", b"new")?.sync()?;
    disk.sync(path(ROOT))?;
    disk.rename(path("b"), path("a"))?;
    let image = disk.image();
    assert_eq!(image.pending().len(), 1);
    assert_eq!(image.after(Loss::All).files(), [path("a"), path("b")]);
    assert_eq!(image.after(Loss::None).files(), [path("a")]);
    assert_eq!(image.after(Loss::None).read("a"), b"new");
    Ok(())
}

#[test]
fn a_sync_of_either_directory_makes_a_rename_durable() -> io::Result<()> {
    for synced in ["from", "to"] {
        let disk = SimDisk::new(1);
        disk.write("from/a", b"x");
        disk.write("to/other", b"y");
        disk.rename(path("from/a"), path("to/a"))?;
        disk.sync(path(synced))?;
        assert_eq!(disk.image().after(Loss::All).files(), [path("to/a"), path("to/other")]);
    }
    Ok(())
}

#[test]
fn what_a_durable_rename_needs_is_durable_with_it() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.write("from/a", b"first");
    disk.write("to/other", b"y");
    disk.write("aside/other", b"z");
    create(&disk, "from/b", b"second")?.sync()?;
    disk.rename(path("from/a"), path("aside/a"))?;
    disk.rename(path("from/b"), path("to/a"))?;
    disk.rename(path("aside/a"), path("aside/c"))?;
    disk.sync(path("to"))?;
    let after = disk.image().after(Loss::All);
    assert_eq!(after.read("to/a"), b"second");
    assert_eq!(after.read("from/a"), b"first");
    Ok(())
}

#[test]
fn a_name_that_is_given_again_never_loses_who_had_it() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.write("a/x", b"new");
    disk.write("b/y", b"old");
    disk.write("c/other", b"");
    disk.rename(path("b/y"), path("c/z"))?;
    disk.rename(path("a/x"), path("b/y"))?;
    disk.sync(path("a"))?;
    let after = disk.image().after(Loss::All);
    assert_eq!((after.read("b/y"), after.read("c/z")), (b"new".to_vec(), b"old".to_vec()));
    Ok(())
}

#[test]
fn a_directory_that_is_lost_takes_all_below_it_and_a_lost_rename_takes_nothing() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.create_dir(path("d"))?;
    create(&disk, "d/a", b"abc")?.sync()?;
    disk.sync(path("d"))?;
    assert_eq!(disk.image().after(Loss::All).files().len(), 0);
    disk.sync(path(ROOT))?;
    disk.rename(path("d"), path("e"))?;
    create(&disk, "e/b", b"")?.sync()?;
    let image = disk.image();
    assert_eq!(image.after(Loss::Only(entry(&image, "rename"))).files(), [path("d/a"), path("d/b")]);
    assert_eq!(image.after(Loss::None).files(), [path("e/a"), path("e/b")]);
    Ok(())
}

#[test]
fn a_change_whose_source_was_lost_is_skipped() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.write("STORE", b"old");
    create(&disk, "STORE.new", b"new")?.sync()?;
    disk.rename(path("STORE.new"), path("STORE"))?;
    let image = disk.image();
    assert_eq!(image.after(Loss::Only(entry(&image, "create"))).read("STORE"), b"old");
    Ok(())
}

#[test]
fn a_removed_file_lives_on_for_who_has_it_open_and_comes_back_if_the_removal_is_lost() -> io::Result<()> {
    let (disk, file) = three_pages();
    disk.remove_file(path("a"))?;
    assert_eq!(kind(disk.open(path("a"), Access::Read)), Some(ErrorKind::NotFound));
    assert_eq!(disk.image().after(Loss::All).read("a"), [1; 3 * 4096]);
    disk.sync(path(ROOT))?;
    file.write_at(b"x", 0)?;
    file.sync()?;
    let mut byte = [0];
    file.read_at(&mut byte, 0)?;
    assert_eq!((byte, file.len()?), (*b"x", 3 * 4096));
    assert_eq!(disk.image().after(Loss::All).files().len(), 0);
    Ok(())
}

#[test]
fn what_is_published_through_a_map_is_written_at_once_and_synced_by_the_file() -> io::Result<()> {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a", b"head")?;
    file.reserve(4096)?;
    let (mut writer, _reader) = file.map_write(1 << 20, 4)?;
    writer.grow(4096);
    writer.spare(5).copy_from_slice(b"tail!");
    assert_eq!(disk.read("a")[..9], *b"head\0\0\0\0\0", "nothing is published yet");
    writer.publish(4);
    assert_eq!(disk.image().after(Loss::None).read("a")[..9], *b"headtail\0");
    writer.spare(1).copy_from_slice(b"!");
    writer.publish(1);
    let mut bytes = [0; 9];
    file.read_at(&mut bytes, 0)?;
    assert_eq!(bytes, *b"headtail!");
    disk.sync(path(ROOT))?;
    assert_eq!(disk.image().after(Loss::All).read("a"), b"");
    file.sync()?;
    assert_eq!(disk.image().after(Loss::All).read("a")[..8], *b"headtail");
    drop(writer);
    assert_eq!(file.map_read(8)?.bytes(), b"headtail");
    Ok(())
}

#[test]
#[should_panic(expected = "behind the file's end")]
fn a_write_through_a_map_behind_the_end_is_a_crash() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a", b"").expect("create");
    let (mut writer, _reader) = file.map_write(64, 0).expect("map");
    writer.grow(64);
    writer.publish(1);
    let _len = file.len();
}

#[test]
#[should_panic(expected = "never cut below what a living map shows")]
fn a_cut_under_a_living_map_is_a_crash() {
    let (_disk, file) = three_pages();
    let _reader = file.map_read(4096).expect("map");
    let _cut = file.set_len(4095);
}

#[test]
fn a_file_whose_maps_are_gone_may_be_cut() -> io::Result<()> {
    let (_disk, file) = three_pages();
    drop(file.map_read(4096)?);
    file.set_len(1)
}

#[test]
fn after_a_kill_what_was_only_written_is_there_and_still_pending() -> io::Result<()> {
    let disk = SimDisk::new(1);
    create(&disk, "a", b"abc")?;
    let next = disk.image().after_kill();
    assert_eq!(next.read("a"), b"abc");
    assert_eq!(next.image().after(Loss::All).files().len(), 0);
    next.open(path("a"), Access::Write)?.sync()?;
    next.sync(path(ROOT))?;
    assert_eq!(next.image().after(Loss::All).read("a"), b"abc");
    assert_eq!(disk.image().pending().len(), 3, "the first disk knows nothing of it");
    Ok(())
}

#[test]
fn a_machine_that_stopped_does_nothing_more() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.on_operation(Box::new(|operation| assert!(operation.number < 3, "shown though it takes no effect")));
    disk.stop_after(3);
    let file = create(&disk, "a", b"abc")?;
    assert_eq!(file.sync().expect_err("stopped").to_string(), "the simulated machine stopped");
    assert!(file.write_at(b"x", 0).is_err() && disk.list(path(ROOT)).is_err());
    assert_eq!(disk.read("a"), b"abc");
    assert_eq!(disk.operations(), 5);
    Ok(())
}

#[test]
fn every_operation_is_shown_before_it_takes_effect() -> io::Result<()> {
    let disk = SimDisk::new(1);
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (witness, log) = (disk.clone(), seen.clone());
    disk.on_operation(Box::new(move |operation| {
        // Calls the disk itself: neither deadlocks nor is shown.
        let listed = witness.list(path(ROOT)).map_or(9, |entries| entries.len());
        log.lock().push((operation.name, operation.number, listed, operation.image().pending().len()));
    }));
    create(&disk, "a", b"abc")?.sync()?;
    disk.sync(path(ROOT))?;
    let expected = [("create", 1, 0, 0), ("write", 3, 1, 1), ("sync", 5, 1, 3), ("sync_dir", 7, 1, 1)];
    assert_eq!(*seen.lock(), expected);
    Ok(())
}

#[test]
fn operations_are_counted_by_name() -> io::Result<()> {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a", b"abc")?;
    file.sync()?;
    file.sync()?;
    disk.sync(path(ROOT))?;
    assert_eq!((disk.count("sync"), disk.count("sync_dir"), disk.operations()), (2, 1, 5));
    Ok(())
}

#[test]
fn a_fault_hits_the_operation_it_was_meant_for() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.fail(Fault::of("write").on("b").nth(2).kind(ErrorKind::StorageFull));
    disk.fail(Fault::of("remove_file").forever());
    create(&disk, "a", b"1")?.write_at(b"2", 0)?;
    let b = create(&disk, "b", b"1")?;
    assert_eq!(kind(b.write_at(b"2", 0)), Some(ErrorKind::StorageFull));
    assert_eq!(disk.read("b"), b"1");
    b.write_at(b"3", 0)?;
    assert!(disk.remove_file(path("a")).is_err() && disk.remove_file(path("b")).is_err());
    disk.heal();
    disk.remove_file(path("a"))
}

#[test]
fn pages_of_a_failed_sync_stay_dirty_turn_clean_or_revert() -> io::Result<()> {
    // What is read after the failed sync; what the medium has after a second, good one; and after a rewrite and a third.
    let models = [(Pages::Dirty, [2, 2, 2]), (Pages::Clean, [2, 1, 2]), (Pages::Reverted, [1, 1, 2])];
    for (pages, expected) in models {
        let (disk, file) = three_pages();
        file.write_at(&[2; 10], 4096)?;
        disk.fail(Fault::of("sync").leaves(pages));
        assert!(file.sync().is_err());
        let read = disk.read("a")[4096];
        file.sync()?;
        let synced = disk.image().after(Loss::All).read("a")[4096];
        file.write_at(&[2; 10], 4096)?;
        file.sync()?;
        let rewritten = disk.image().after(Loss::All).read("a")[4096];
        assert_eq!([read, synced, rewritten], expected, "{pages:?}");
    }
    Ok(())
}

#[test]
fn a_cut_writes_its_page_back_though_it_was_marked_clean() -> io::Result<()> {
    let (disk, file) = three_pages();
    file.write_at(&[2; 10], 4096)?;
    disk.fail(Fault::of("sync").leaves(Pages::Clean));
    assert!(file.sync().is_err());
    file.set_len(4096 + 10)?;
    file.sync()?;
    assert_eq!(disk.image().after(Loss::All).read("a")[4096..], [2; 10]);
    Ok(())
}

#[test]
fn ignored_syncs_make_nothing_durable() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.ignore_syncs(true);
    create(&disk, "a", b"abc")?.sync()?;
    disk.sync(path(ROOT))?;
    assert_eq!(disk.image().pending().len(), 3);
    Ok(())
}

#[test]
fn short_and_interrupted_transfers_are_resumed_by_who_must() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.set_io_bytes_max(Some(3));
    disk.interrupt_every(Some(2));
    let file = create(&disk, "a", b"0123456789")?;
    assert_eq!(crate::io::read_all(&*file, 100)?, b"0123456789");
    assert!(disk.count("write") >= 4 + 3, "four parts and their interruptions");
    Ok(())
}

#[test]
fn a_full_disk_writes_what_fits_and_then_says_so() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(2 * 4096));
    let file = disk.create(path("a"))?;
    assert_eq!(file.write_at(&[1; 3 * 4096], 0)?, 2 * 4096);
    assert_eq!(kind(file.write_at(&[1; 4096], 2 * 4096)), Some(ErrorKind::StorageFull));
    assert_eq!(file.write_at(b"x", 0)?, 1, "what is there can be written again");
    assert_eq!(kind(file.reserve(3 * 4096)), Some(ErrorKind::StorageFull));
    assert_eq!(file.len()?, 2 * 4096);
    disk.remove_file(path("a"))?;
    let other = disk.create(path("b"))?;
    assert_eq!(kind(other.write_at(b"x", 0)), Some(ErrorKind::StorageFull), "an open file keeps its room");
    drop(file);
    other.reserve(2 * 4096)
}

#[test]
fn reserved_room_is_there_when_the_disk_is_full() -> io::Result<()> {
    for reserves in [true, false] {
        let disk = SimDisk::new(1);
        disk.set_reserves(reserves);
        let file = disk.create(path("a"))?;
        file.reserve(4096)?;
        disk.set_capacity(Some(0));
        let next = disk.image().after(Loss::None).open(path("a"), Access::Write)?;
        assert_eq!(next.write_at(b"abc", 0).is_ok(), reserves);
        assert_eq!(file.write_at(b"abc", 0).is_ok(), reserves);
        assert_eq!(file.len()?, 4096);
        file.reserve(1)?;
        assert_eq!(file.len()?, 4096, "never shrinks");
    }
    Ok(())
}

#[test]
fn a_lock_is_held_by_one_until_it_is_dropped_or_the_machine_starts_again() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.write("LOCK", b"");
    let held = disk.try_lock(path("LOCK"))?;
    assert!(held.is_some() && disk.try_lock(path("LOCK"))?.is_none());
    assert!(disk.image().after_kill().try_lock(path("LOCK"))?.is_some());
    drop(held);
    assert!(disk.try_lock(path("LOCK"))?.is_some());
    Ok(())
}

#[test]
fn what_a_directory_refuses_has_the_kind_that_its_contract_names() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.write("d/a", b"abc");
    assert_eq!(kind(disk.list(path("x"))), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.list(path("d/a"))), Some(ErrorKind::NotADirectory));
    assert_eq!(kind(disk.create(path("d/a"))), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.create_dir(path("d"))), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.create(path("x/a"))), Some(ErrorKind::NotFound));
    assert_eq!(kind(disk.remove_dir(path("d"))), Some(ErrorKind::DirectoryNotEmpty));
    assert_eq!(kind(disk.rename(path("d"), path("d/e"))), Some(ErrorKind::InvalidInput));
    disk.write("b", b"");
    assert_eq!(kind(disk.rename(path("b"), path("d"))), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.rename(path("d"), path("b"))), Some(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.open(path("../d"), Access::Read)), Some(ErrorKind::InvalidInput));
    let file = disk.open(path("d/a"), Access::Read)?;
    assert_eq!(kind(file.write_at(b"x", 0)), Some(ErrorKind::PermissionDenied));
    disk.remove_file(path("d/a"))?;
    disk.remove_dir(path("d"))
}

#[test]
fn a_test_harms_files_as_if_they_had_always_been_so() {
    let disk = SimDisk::new(1);
    disk.write("d/a", [0; 4]);
    disk.flip("d/a", 9);
    assert_eq!(disk.read("d/a"), [0, 2, 0, 0]);
    disk.copy("d/a", "d/b");
    disk.truncate("d/b", 2);
    disk.remove("d/a");
    create(&disk, "c", b"abc").expect("create");
    disk.remove("c");
    assert_eq!(disk.image().pending(), []);
    assert_eq!(disk.image().after(Loss::All).files(), [path("d/b")]);
    let backup = disk.clone_synced();
    disk.write("d/b", b"later");
    assert_eq!((backup.files(), backup.read("d/b")), (vec![path("d/b").to_path_buf()], vec![0, 2]));
}

#[test]
fn no_two_disks_of_a_family_draw_the_same_and_their_clocks_go_on() -> io::Result<()> {
    let disk = SimDisk::new(1);
    disk.clock().advance(Duration::from_secs(1));
    let image = disk.image();
    let mut drawn = Vec::new();
    for disk in [disk, image.after(Loss::All), image.after(Loss::All), image.after_kill()] {
        let mut tag = [0; 8];
        disk.entropy().fill(&mut tag)?;
        assert!(!drawn.contains(&tag));
        drawn.push(tag);
        assert_eq!((disk.clock().now().as_millis(), disk.clock().monotonic_ms()), (1_700_000_001_000, 1000));
    }
    Ok(())
}

#[test]
fn of_two_syncs_at_once_the_later_snapshot_counts() {
    use super::content::Content;
    use super::medium::Inode;
    let early = Inode { written: Content::of(b"1"), version: 1, ..Inode::default() };
    let late = Inode { written: Content::of(b"2"), version: 2, ..Inode::default() };
    let mut inode = late.clone();
    inode.harden(&late);
    inode.harden(&early);
    assert_eq!(inode.synced.bytes(), b"2");
}
