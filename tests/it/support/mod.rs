//! The language of the tests: a store on the simulated disk, and the few words that are done to it.
//!
//! Every test runs both ways: with mapped files, and with positioned writes.

#![allow(dead_code, reason = "each module speaks only a part of the language")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use epochlog::testing::{Dir, Image, Kind, Loss, SimDisk};
use epochlog::{
    AppendOptions, Durability, Error, Mapping, Offset, Partition, Reader, Record, Records, Start, Store, StoreOptions,
    Topic, TopicOptions,
};

/// Runs a promise with mapped files and with positioned writes.
pub fn both_ways(promise: impl Fn(Mapping)) {
    promise(Mapping::Auto);
    promise(Mapping::Never);
}

/// A store on a simulated disk, and what a test does to both.
pub struct World {
    pub disk: SimDisk,
    pub mapping: Mapping,
    store: Option<Store>,
}

pub fn world(mapping: Mapping) -> World {
    let disk = SimDisk::new(7);
    let store = options(&disk, mapping).create("/sim").expect("creates");
    World { disk, mapping, store: Some(store) }
}

pub fn options(disk: &SimDisk, mapping: Mapping) -> StoreOptions {
    StoreOptions::new().mapping(mapping).open_partitions_max(2).seam(disk.seam())
}

/// The same, with the files of one partition open at a time: every other one rests.
pub fn one_awake(disk: &SimDisk, mapping: Mapping) -> StoreOptions {
    options(disk, mapping).open_partitions_max(1)
}

impl World {
    /// What a crash left, not opened yet.
    pub fn on(disk: SimDisk, mapping: Mapping) -> World {
        World { disk, mapping, store: None }
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("is open")
    }

    pub fn topic(&self, name: &str) -> Topic {
        self.store().topic_or_create(name, small()).expect("is there")
    }

    pub fn partition(&self) -> Partition {
        self.topic("orders").partition(0).expect("is there")
    }

    /// The partition, or why it stays closed.
    pub fn topic_or_error(&self) -> Result<Partition, Error> {
        self.store().topic("orders")?.partition(0)
    }

    pub fn close(&mut self) {
        if let Some(store) = self.store.take() {
            store.close().expect("closes");
        }
    }

    /// The store itself, for who closes it in a way of their own.
    pub fn take(&mut self) -> Store {
        self.store.take().expect("is open")
    }

    pub fn reopen(&mut self) {
        self.close();
        self.open();
    }

    pub fn open(&mut self) {
        self.store = Some(options(&self.disk, self.mapping).open("/sim").expect("opens"));
    }

    /// The process is killed: what was written stays, synced or not. Then the store is opened again.
    pub fn kill(&mut self) {
        self.become_image(Image::after_kill);
    }

    /// The power goes, and with it everything that wasn't synced. Then the store is opened again.
    pub fn power_cut(&mut self) {
        self.become_image(|image| image.after(Loss::All));
    }

    pub fn become_image(&mut self, after: impl Fn(&Image) -> SimDisk) {
        self.go_down(after);
        self.open();
    }

    /// The same, without opening the store again.
    pub fn go_down(&mut self, after: impl Fn(&Image) -> SimDisk) {
        let image = self.disk.image();
        self.disk.stop_after(0);
        drop(self.store.take());
        self.disk = after(&image);
    }
}

/// A topic with small segments, so that little data rolls.
pub fn small() -> TopicOptions {
    TopicOptions::new().segment_bytes_max(4096)
}

pub fn written() -> AppendOptions {
    AppendOptions::new().durability(Durability::Written)
}

/// Appends `count` records, durably, whose values are `prefix` and their offset.
pub fn fill(partition: &Partition, prefix: &str, count: u64) {
    for _ in 0..count {
        let value = format!("{prefix}{}", partition.end());
        partition.append(&value).expect("appends");
    }
}

/// Appends `count` records that are only written.
pub fn scribble(partition: &Partition, prefix: &str, count: u64) {
    for _ in 0..count {
        let value = format!("{prefix}{}", partition.end());
        partition.append_with(&value, written()).expect("appends");
    }
}

pub fn values(records: &Records) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(record.value()).into_owned()).collect()
}

/// Everything a reader gives until it comes to the end.
pub fn drain(reader: &mut Reader) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let records = reader.read().expect("reads");
        if records.is_empty() {
            return all;
        }
        all.extend(values(&records));
    }
}

pub fn all(partition: &Partition) -> Vec<String> {
    drain(&mut partition.read_from(Start::Earliest).expect("begins"))
}

/// `prefix0`, `prefix1`, ...
pub fn numbered(prefix: &str, range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("{prefix}{n}")).collect()
}

pub fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Error {
    result.expect_err("is refused")
}

pub const AT_ONCE: Duration = Duration::ZERO;

pub fn record(value: &str) -> Record<'_> {
    Record::new(value)
}

/// Everything on the disk: each directory, and each file with its bytes.
pub fn tree(disk: &SimDisk) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut tree = BTreeMap::new();
    look_into(disk, Path::new(""), &mut tree);
    tree
}

fn look_into(disk: &SimDisk, dir: &Path, tree: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in disk.list(dir).expect("lists") {
        let path = dir.join(entry.name);
        if entry.kind == Kind::Dir {
            look_into(disk, &path, tree);
        }
        let bytes = (entry.kind == Kind::File).then(|| disk.read(&path));
        tree.insert(path, bytes);
    }
}

/// Something is refused, and not a byte on the disk is other than before.
pub fn refused_untouched<T: std::fmt::Debug>(disk: &SimDisk, call: impl FnOnce() -> Result<T, Error>) -> Error {
    let before = tree(disk);
    let error = refused(call());
    assert!(before == tree(disk), "the disk was changed by what answered: {error}");
    error
}

/// Makes a file say that it has another format version, with a checksum that agrees.
pub fn claim_version(disk: &SimDisk, path: &str, version: u16) {
    let mut bytes = disk.read(path);
    bytes[10..12].copy_from_slice(&version.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..92]);
    bytes[92..96].copy_from_slice(&checksum.to_le_bytes());
    disk.write(path, bytes);
}

/// The last byte of a file that isn't zero becomes another one, as where a crash tore its last batch.
pub fn tear(disk: &SimDisk, path: impl AsRef<Path>) {
    let mut bytes = disk.read(&path);
    *bytes.iter_mut().rfind(|byte| **byte != 0).expect("holds something") ^= 0x55;
    disk.write(path, bytes);
}

/// The last segment of a partition, by its name.
pub fn last_segment(disk: &SimDisk, dir: &str) -> PathBuf {
    let is_segment = |path: &PathBuf| path.starts_with(dir) && path.extension().is_some_and(|end| end == "log");
    disk.files().into_iter().filter(is_segment).max().expect("has a segment")
}

/// Does something, once, from within the nth such operation on such a file.
pub fn at_nth(
    disk: &SimDisk,
    nth: usize,
    name: &'static str,
    suffix: &'static str,
    act: impl FnOnce() + Send + 'static,
) {
    let (mut act, mut seen) = (Some(act), 0);
    disk.on_operation(Box::new(move |operation| {
        if operation.name == name && operation.path.to_string_lossy().ends_with(suffix) {
            seen += 1;
            if seen == nth
                && let Some(act) = act.take()
            {
                act();
            }
        }
    }));
}

/// The segment files of `orders`, with their base offsets.
pub fn segments(world: &World) -> Vec<(String, u64)> {
    let dir = Path::new("topics/orders@1/0");
    let names = world.disk.list(dir).expect("lists").into_iter().map(|entry| entry.name);
    let mut logs: Vec<String> = names.filter(|name| name.ends_with(".log")).collect();
    logs.sort();
    let base = |name: &String| name[..20].parse().expect("is a number");
    logs.iter().map(|name| (format!("topics/orders@1/0/{name}"), base(name))).collect()
}

/// Where the batch of a record begins: all are alike, but for the digits of their offset.
pub fn position_of(world: &World, path: &str, base: u64, offset: u64) -> usize {
    let bytes = world.disk.read(path);
    let length = |at: usize| u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("is there")) as usize;
    (base..offset).fold(96, |at, _| at + 46 + length(at))
}

/// Flips a bit of the payload of this record's batch.
pub fn damage(world: &World, offset: u64) -> String {
    let (path, base) = segments(world).into_iter().rfind(|(_, base)| *base <= offset).expect("holds it");
    let position = position_of(world, &path, base, offset);
    world.disk.flip(&path, (position as u64 + 46 + 2) * 8);
    path
}

/// A hundred records, of which all but ten were taken back, three more, and a kill.
pub fn cut_and_killed(mapping: Mapping) -> World {
    let mut world = world(mapping);
    let topic = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    let orders = topic.partition(0).expect("is there");
    fill(&orders, "v", 100);
    orders.truncate(Offset::new(10)).expect("truncates");
    fill(&orders, "w", 3);
    drop((topic, orders));
    world.go_down(Image::after_kill);
    world
}
