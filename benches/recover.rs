//! Opening a store of 1,000,000 records of 100 bytes: after a clean close, after a kill, and for reading only. Times are
//! per open, up to the partition in hand.

mod support;

use std::cell::LazyCell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use epochlog::{Mapping, Store, StoreOptions};
use support::floor::{Frames, HEADER_BYTES};
use support::{Home, MAPPINGS, fill, home, options, per_call};

const RECORDS: usize = 1_000_000;
/// About 15 MiB that a kill leaves unsynced.
const UNSYNCED_RECORDS: usize = 100_000;
const VALUE: [u8; 100] = [b'v'; 100];

fn look(store: &Store, records: usize) {
    let partition = store.topic(support::TOPIC).expect("is there").partition(0).expect("has one");
    assert_eq!(partition.end().get(), records as u64);
}

fn time_open(open: impl FnOnce() -> epochlog::Result<Store>, records: usize) -> Duration {
    let started = Instant::now();
    let store = open().expect("opens");
    look(&store, records);
    let elapsed = started.elapsed();
    store.close().expect("closes");
    elapsed
}

fn filled(mapping: Mapping) -> Home {
    let home = home(mapping);
    let topic = home.store.create_topic(support::TOPIC, options()).expect("creates");
    fill(&topic.partition(0).expect("has one"), &VALUE, RECORDS, 1);
    topic.sync().expect("syncs");
    home
}

fn clean(criterion: &mut Criterion) {
    let mut group = per_call(criterion, "open/after a clean close");
    for (mapping, name) in MAPPINGS {
        let closed = LazyCell::new(|| {
            let Home { dir, store } = filled(mapping);
            store.close().expect("closes");
            dir
        });
        let writable = || StoreOptions::new().mapping(mapping).open(closed.path().join("store"));
        let read_only = || StoreOptions::new().mapping(mapping).open_read_only(closed.path().join("store"));
        group.bench_function(format!("{name}/writable"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| time_open(writable, RECORDS)).sum());
        });
        group.bench_function(format!("{name}/read only"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| time_open(read_only, RECORDS)).sum());
        });
    }
    group.finish();
}

/// What a kill leaves is what the kernel has: the files as they read while the store is open.
fn killed(criterion: &mut Criterion) {
    let mut group = per_call(criterion, "open/after a kill, 15 MiB unsynced");
    for (mapping, name) in MAPPINGS {
        let home = LazyCell::new(|| {
            let home = filled(mapping);
            let partition = home.store.topic(support::TOPIC).expect("is there").partition(0).expect("has one");
            fill(&partition, &VALUE, UNSYNCED_RECORDS, 1);
            home
        });
        let after_kill = || {
            let dir = support::dir();
            let copy = dir.path().join("store");
            copy_tree(home.store.path(), &copy);
            let open = || StoreOptions::new().mapping(mapping).open(&copy);
            time_open(open, RECORDS + UNSYNCED_RECORDS)
        };
        group.bench_function(format!("{name}/floor: verify and copy what isn't synced"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| bare()).sum());
        });
        group.bench_function(format!("{name}/writable"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| after_kill()).sum());
        });
        let read_only = || StoreOptions::new().mapping(mapping).open_read_only(home.store.path());
        group.bench_function(format!("{name}/read only, beside the writer"), |bencher| {
            bencher.iter_custom(|count| (0..count).map(|_| time_open(read_only, RECORDS + UNSYNCED_RECORDS)).sum());
        });
    }
    group.finish();
}

/// The same bytes.
fn bare() -> Duration {
    let dir = support::dir();
    let mut frames = Frames::new(&dir, UNSYNCED_RECORDS * (HEADER_BYTES + VALUE.len()));
    frames.fill(&VALUE, 1);
    frames.sync();
    let started = Instant::now();
    frames.verify_and_copy(&dir, VALUE.len());
    started.elapsed()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copies");
            // Or the first sync of the recovery would have to write all of it.
            fs::File::open(target).and_then(|file| file.sync_all()).expect("syncs");
        }
    }
}

criterion_group!(benches, clean, killed);
criterion_main!(benches);
