//! How long large stores take to open, and what they hold of the machine: memory, open files, maps, bytes on disk.
//!
//! `cargo bench --bench footprint`: 10,000 segments, 10,000 topics, and what small stores take on disk. With
//! `-- --gibibytes N` also one topic of so much; its full segments lose their middle once they are synced (the blocks are given
//! back, and read as zeros), so the disk needs room for only some of them at a time. Linux alone tells what is asked here.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use epochlog::{Durability, Offset, Partition, Record, Store, StoreOptions, TopicOptions};
use rustix::fs::{FallocateFlags, fallocate};
use support::level;

const MANY: u64 = 10_000;
const OPENS: usize = 5;
/// So many records of 1 MiB fit a segment of 1 GiB, with their headers.
const RECORDS_PER_GIBIBYTE: usize = 1023;
/// What a segment keeps at either end when its middle is given back.
const KEPT_BYTES: u64 = 4 << 20;

fn written() -> epochlog::AppendOptions {
    level(Durability::Written)
}

/// What the kernel says of this process.
struct Held {
    memory_kib: u64,
    files: usize,
    maps: usize,
}

impl Held {
    fn now() -> Held {
        let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
        // Anonymous memory: what is mapped of files goes when somebody else needs it.
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("has the line");
        Held {
            memory_kib: line.trim().trim_end_matches(" kB").parse().expect("is a number"),
            files: fs::read_dir("/proc/self/fd").expect("Linux tells").count(),
            maps: fs::read_to_string("/proc/self/maps").expect("Linux tells").lines().count(),
        }
    }

    fn print_since(&self, before: &Held) {
        let memory = self.memory_kib.saturating_sub(before.memory_kib);
        let (files, maps) = (self.files.saturating_sub(before.files), self.maps.saturating_sub(before.maps));
        println!("  holds {:.1} MiB of memory, {files} open files, {maps} maps", memory as f64 / 1024.0);
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).expect("is there").map(|entry| entry.expect("is there").path());
    let mut files: Vec<_> =
        paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn blocks_of(dir: &Path) -> u64 {
    files_below(dir).iter().map(|path| fs::metadata(path).expect("is there").blocks() * 512).sum()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Opens it several times, up to what `reach` does; says how long that took and what the process holds then.
fn opens(path: &Path, name: &str, reach: impl Fn(&Store)) -> Store {
    let (mut times, before) = (Vec::new(), Held::now());
    loop {
        let began = Instant::now();
        let store = StoreOptions::new().open(path).expect("opens");
        reach(&store);
        times.push(began.elapsed());
        if times.len() == OPENS {
            println!("  {name}: {:.1?} (median of {OPENS}; {:.1?} the first time)", median(times.clone()), times[0]);
            Held::now().print_since(&before);
            return store;
        }
        store.close().expect("closes");
    }
}

fn partition_of(store: &Store, topic: &str) -> Partition {
    store.topic(topic).expect("is there").partition(0).expect("has one")
}

fn segments() {
    println!("one partition of {MANY} segments");
    let dir = support::dir();
    let path = dir.path().join("store");
    let store = StoreOptions::new().create(&path).expect("creates");
    let options = support::options().segment_bytes_max(1024);
    let partition = store.create_topic(support::TOPIC, options).expect("creates").partition(0).expect("has one");
    let value = [b'v'; 600];
    for _ in 0..MANY {
        partition.append_with(&value, written()).expect("appends");
    }
    store.close().expect("closes");
    opens(&path, "opens, up to its end", |store| assert_eq!(partition_of(store, support::TOPIC).end().get(), MANY));
    opens(&path, "opens, up to a record in its middle", |store| {
        let records = partition_of(store, support::TOPIC).get(Offset::new(MANY / 2)).expect("reads");
        assert!(records.iter().all(|record| record.value() == value));
    });
}

fn topics() {
    println!("{MANY} topics");
    let dir = support::dir();
    let path = dir.path().join("store");
    let store = StoreOptions::new().create(&path).expect("creates");
    let name = |i: u64| format!("topic-{i}");
    for i in 0..MANY {
        store.create_topic(&name(i), TopicOptions::new()).expect("creates");
    }
    store.close().expect("closes");
    opens(&path, "opens", |store| assert_eq!(store.topics().expect("lists").len() as u64, MANY));
    let store = opens(&path, "opens, up to the end of each", |store| {
        assert!((0..MANY).all(|i| partition_of(store, &name(i)).end().get() == 0));
    });
    let before = Held::now();
    // More than may be awake: from the second turn on each append opens files, and syncs and closes another's.
    for turn in ["a first", "a second", "a third"] {
        let began = Instant::now();
        for i in 0..MANY {
            partition_of(&store, &name(i)).append_with("a record", written()).expect("appends");
        }
        println!("  each appended to {turn} time: {:.1?} an append", began.elapsed().div_f64(MANY as f64));
        Held::now().print_since(&before);
    }
}

fn on_disk() {
    println!("bytes on disk, 100-byte values");
    for (name, count, batch) in [
        ("one record", 1, 1),
        ("1,000,000, one an append", 1_000_000, 1),
        ("1,000,000, batches of 100", 1_000_000, 100),
    ] {
        let dir = support::dir();
        let path = dir.path().join("store");
        let store = StoreOptions::new().reserve_bytes(0).create(&path).expect("creates");
        let partition =
            store.create_topic(support::TOPIC, support::options()).expect("creates").partition(0).expect("has one");
        support::fill(&partition, &[b'v'; 100], count, batch);
        let open = blocks_of(&path);
        drop(partition);
        store.close().expect("closes");
        let closed = blocks_of(&path);
        println!(
            "  {name}: {open} while open, {closed} closed, {:.3} x the values",
            closed as f64 / (100 * count) as f64
        );
    }
}

/// Gives the blocks of every full segment's middle back.
fn hollow(partition: &Partition, store: &Path, done: &mut usize) {
    partition.sync().expect("syncs");
    let segments: Vec<_> =
        files_below(store).into_iter().filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    for path in &segments[*done..segments.len() - 1] {
        let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
        let middle = file.metadata().expect("is open").len().saturating_sub(2 * KEPT_BYTES);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, flags, KEPT_BYTES, middle).expect("gives blocks back");
    }
    *done = segments.len() - 1;
}

fn large(gibibytes: u64) {
    println!("one topic of {gibibytes} GiB, 1 MiB a record");
    let dir = support::dir();
    let path = dir.path().join("store");
    let store = StoreOptions::new().create(&path).expect("creates");
    let options = support::options().segment_bytes_max(1 << 30);
    let partition = store.create_topic(support::TOPIC, options).expect("creates").partition(0).expect("has one");
    let value = vec![b'v'; 1 << 20];
    let (before, mut hollowed) = (Held::now(), 0);
    for i in 0..gibibytes << 10 {
        partition.append_with(Record::new(&value), written()).expect("appends");
        if i % 2048 == 2047 {
            hollow(&partition, &path, &mut hollowed);
        }
    }
    Held::now().print_since(&before);
    let end = partition.end().get();
    drop(partition);
    store.close().expect("closes");
    let store =
        opens(&path, "opens, up to its end", |store| assert_eq!(partition_of(store, support::TOPIC).end().get(), end));
    // In every segment a record is read: the maps that this takes must not stay. The first, since its middle is hollow.
    let before = Held::now();
    let partition = partition_of(&store, support::TOPIC);
    let read =
        (0..end).step_by(RECORDS_PER_GIBIBYTE).filter(|&offset| partition.get(Offset::new(offset)).is_ok()).count();
    assert_eq!(read as u64, end.div_ceil(RECORDS_PER_GIBIBYTE as u64));
    println!("  {read} records read, one in each segment");
    Held::now().print_since(&before);
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--gibibytes");
    let gibibytes = arguments.nth(1).map(|told| told.parse().expect("--gibibytes takes a number"));
    segments();
    topics();
    on_disk();
    if let Some(gibibytes) = gibibytes {
        large(gibibytes);
    }
}
