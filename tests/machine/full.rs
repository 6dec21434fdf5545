//! A small file system that fills up and is emptied again: P12, and never SIGBUS. F9.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use epochlog::{
    AppendOptions, Durability, Error, Mapping, Offset, Partition, Record, Start, Store, StoreOptions, TopicOptions,
};

use crate::apart::apart;
use crate::report::{id_of, value_of};

const LEN: usize = 700;

fn store(path: &Path, mapping: Mapping) -> Store {
    StoreOptions::new().mapping(mapping).open_or_create(path).expect("opens")
}

/// Takes all the room that is left, so that nothing depends on how much a file system keeps for itself.
struct Filler {
    path: PathBuf,
    file: std::fs::File,
}

impl Filler {
    fn begin(dir: &Path) -> Filler {
        let path = dir.join("filler");
        let mut filler = Filler { file: std::fs::File::create(&path).expect("creates"), path };
        filler.fill();
        filler
    }

    fn fill(&mut self) {
        for len in [64 << 10, 4 << 10, 1] {
            while self.file.write_all(&vec![1; len]).is_ok() {}
        }
    }

    fn make_room(self) {
        std::fs::remove_file(self.path).expect("makes room");
    }
}

/// Appends until there is no room; gives what was refused.
fn append_until_full(partition: &Partition, durability: Durability) -> Error {
    loop {
        let end = partition.end();
        let value = value_of(end.get(), LEN);
        match partition.append_with(Record::new(&value), AppendOptions::new().durability(durability)) {
            Ok(ack) => assert_eq!(ack.offset(), end),
            Err(error) => {
                assert_eq!(partition.end(), end, "the append was undone");
                return error;
            }
        }
    }
}

/// Reads everything and compares it byte for byte; the value says at which offset it was appended.
fn is_whole(partition: &Partition) {
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    let mut next = partition.start();
    loop {
        let records = reader.read().expect("reads");
        if records.is_empty() {
            break;
        }
        for record in &records {
            let (id, _) = id_of(record.value()).expect("is a value that was appended");
            assert_eq!((record.offset(), id), (next, next.get()));
            next = next.next();
        }
    }
    assert_eq!(next, partition.end());
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::StorageFull { .. })
}

/// With no room left everything but appends goes on; with room again, they do.
fn fills_up_and_is_emptied(dir: &Path, mapping: Mapping) {
    let path = dir.join(format!("{mapping:?}"));
    let store = store(&path, mapping);
    let options = TopicOptions::new().segment_bytes_max(64 << 10);
    let orders = store.create_topic("orders", options.clone()).expect("creates");
    let other = store.create_topic("other", options.clone().retention_bytes(1024)).expect("creates");
    let partition = orders.partition(0).expect("is there");
    let retained = other.partition(0).expect("is there");
    for n in 0..300 {
        let written = AppendOptions::new().durability(Durability::Written);
        partition.append_with(Record::new(&value_of(n, LEN)), written).expect("appends");
        retained.append_with(Record::new(&value_of(n, LEN)), written).expect("appends");
    }
    retained.sync().expect("syncs");
    let mut consumer = orders.consumer("billing").open().expect("opens");
    consumer.poll(Duration::ZERO).expect("polls");
    consumer.commit().expect("commits");

    let mut filler = Filler::begin(dir);
    for durability in [Durability::Written, Durability::Durable] {
        let error = append_until_full(&partition, durability);
        assert!(is_full(&error), "{error}");
    }
    let full_at = partition.end();
    is_whole(&partition);
    consumer.poll(Duration::ZERO).expect("polls on a full disk");
    consumer.commit().expect("commits on a full disk");
    store.maintain().expect("retires on a full disk");
    assert!(retained.start() > Offset::ZERO);
    is_whole(&retained);
    filler.fill();
    partition.sync().expect("syncs on a full disk");
    partition.trim(Offset::new(150)).expect("trims on a full disk");
    is_whole(&partition);
    filler.fill();
    store.delete_topic("other").expect("deletes on a full disk");

    filler.make_room();
    for _ in 0..100 {
        let value = value_of(partition.end().get(), LEN);
        partition.append(Record::new(&value)).expect("appends without a reopen");
    }
    is_whole(&partition);
    assert!(partition.end() > full_at);
    store.close().expect("closes");
    opens_full(dir, &path, mapping);
    std::fs::remove_dir_all(&path).expect("is removed");
    println!("- {mapping:?}: full at offset {full_at}, and went on");
}

/// On a full disk a store opens and closes, by its reserve.
fn opens_full(dir: &Path, path: &Path, mapping: Mapping) {
    let filler = Filler::begin(dir);
    let options = StoreOptions::new().mapping(mapping);
    let store = options.clone().open(path).expect("opens on a full disk");
    is_whole(&store.topic("orders").and_then(|topic| topic.partition(0)).expect("is there"));
    store.close().expect("closes on a full disk");
    let store = options.clone().open_read_only(path).expect("reads on a full disk");
    is_whole(&store.topic("orders").and_then(|topic| topic.partition(0)).expect("is there"));
    filler.make_room();
    let store = options.open(path).expect("opens with room again");
    is_whole(&store.topic("orders").and_then(|topic| topic.partition(0)).expect("is there"));
    store.close().expect("closes");
}

/// Large appends through a map until nothing is left, with somebody else taking room meanwhile: a typed error, and not the
/// signal that the kernel sends when it finds no block for a page.
fn is_never_killed_by_a_full_disk(dir: &Path, mapping: Mapping) {
    let path = dir.join("data");
    let store = store(&path, mapping);
    let orders = store.create_topic("orders", TopicOptions::new().durability(Durability::Written)).expect("creates");
    let partition = orders.partition(0).expect("is there");
    let mut other = std::fs::File::create(dir.join("other")).expect("creates");
    let values: Vec<Vec<u8>> = (0..4).map(|i| vec![i; 30_000]).collect();
    let records: Vec<Record<'_>> = values.iter().map(Record::new).collect();
    let mut appended = 0;
    let error = loop {
        let _when_full = other.write(&[1; 20_000]);
        match partition.append_batch(&records) {
            Ok(_) => appended += 4,
            Err(error) => break error,
        }
    };
    assert!(is_full(&error), "{error}");
    assert_eq!(partition.end(), Offset::new(appended));
    partition.sync().expect("syncs what there is");
    let mut reader = partition.read_from(Start::Earliest).expect("begins");
    let mut read = 0;
    loop {
        let records = reader.read().expect("reads");
        if records.is_empty() {
            break;
        }
        for record in &records {
            assert_eq!(record.value(), values[(read % 4) as usize]);
            read += 1;
        }
    }
    assert_eq!(read, appended);
    store.close().expect("closes");
    println!("- {mapping:?}: {appended} records of 30 kB, and the disk was full");
    std::fs::remove_file(dir.join("other")).expect("is removed");
    std::fs::remove_dir_all(&path).expect("is removed");
}

#[test]
fn a_disk_that_fills_up_and_is_emptied_again_costs_no_reopen() {
    let name = "full::a_disk_that_fills_up_and_is_emptied_again_costs_no_reopen";
    apart(name, "mount -t tmpfs -o size=3m tmpfs \"$1\"", 2, |dir| {
        fills_up_and_is_emptied(dir, Mapping::Auto);
        fills_up_and_is_emptied(dir, Mapping::Never);
    });
}

#[test]
fn appends_through_a_map_are_never_killed_by_a_full_disk() {
    let name = "full::appends_through_a_map_are_never_killed_by_a_full_disk";
    apart(name, "mount -t tmpfs -o size=20m tmpfs \"$1\"", 2, |dir| {
        is_never_killed_by_a_full_disk(dir, Mapping::Auto);
        is_never_killed_by_a_full_disk(dir, Mapping::Never);
    });
}
