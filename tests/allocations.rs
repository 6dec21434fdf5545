//! What the hot paths take from the heap: nothing, once they are warm.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use epochlog::{AppendOptions, Durability, Partition, Record, Start, Store, TopicOptions};

/// The system's, and a count for each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator; counting touches a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`, and all memory came from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often something allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

/// A new partition, and what keeps it open.
fn partition() -> (Partition, Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("makes a directory");
    let store = Store::create(dir.path().join("store")).expect("creates");
    let topic = store.create_topic("t", TopicOptions::new()).expect("creates");
    (topic.partition(0).expect("has one"), store, dir)
}

fn written() -> AppendOptions {
    AppendOptions::new().durability(Durability::Written)
}

#[test]
fn what_allocates_is_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn appends_allocate_nothing_once_they_are_warm() {
    let (partition, _store, _dir) = partition();
    let append = || assert!(partition.append_with(&[7; 100], written()).is_ok());
    (0..1000).for_each(|_| append());
    assert_eq!(allocations(|| (0..100_000).for_each(|_| append())), 0);
    let batch = [Record::new("value").key("key"); 100];
    assert_eq!(
        allocations(|| (0..1000).for_each(|_| assert!(partition.append_batch_with(&batch, written()).is_ok()))),
        0
    );
}

#[test]
fn reading_allocates_for_each_poll_and_for_no_record() {
    let (partition, _store, _dir) = partition();
    let records = 200_000;
    (0..records).for_each(|_| assert!(partition.append_with(&[7; 100], written()).is_ok()));
    let mut reader = partition.read_from(Start::Earliest).expect("is at the beginning");
    let (mut read, mut polls, mut sum) = (0, 0, 0);
    let count = allocations(|| {
        while read < records {
            let some = reader.poll(Duration::ZERO).expect("reads");
            polls += 1;
            for record in &some {
                sum += usize::from(record.value()[0]);
                read += 1;
            }
        }
    });
    assert_eq!((read, sum), (records, 7 * records));
    assert!(count <= 4 * polls && polls < records as u64 / 1000, "{count} allocations in {polls} polls");
}

#[test]
fn a_random_read_allocates_nothing() {
    let (partition, _store, _dir) = partition();
    (0..10_000).for_each(|_| assert!(partition.append_with(&[7; 100], written()).is_ok()));
    let get = |offset: u64| assert_eq!(partition.get(offset.into()).expect("reads").len(), 1);
    get(5000);
    let count = allocations(|| (1000..9000).for_each(get));
    assert_eq!(count, 0);
}
