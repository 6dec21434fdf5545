//! Does one kind of work so many times, to have its instructions counted: see `tests/instructions/run`.
//!
//! `cargo bench --bench instructions -- append 1000` measures nothing by itself.

mod support;

use std::hint::black_box;
use std::time::Duration;

use epochlog::{Durability, Mapping, Offset, Partition, Record, Start};
use support::{Home, home, level};

const VALUE: [u8; 100] = [b'v'; 100];
/// So many records are there to be read.
const WRITTEN: u64 = 60_000;

fn append(partition: &Partition, records: u64, batch: usize) {
    let batch = vec![Record::new(&VALUE); batch];
    for _ in 0..records / batch.len() as u64 {
        partition.append_batch_with(&batch, level(Durability::Written)).expect("appends");
    }
}

fn read(partition: &Partition, records: u64) {
    let mut reader = partition.read_from(Start::Earliest).expect("is at the beginning");
    let mut read = 0;
    while read < records {
        for record in &reader.read().expect("reads") {
            black_box(record.value());
            read += 1;
        }
    }
}

/// Every seventh, from the front: far enough apart that none profits from the one before.
fn get(partition: &Partition, records: u64) {
    for number in 0..records {
        black_box(partition.get(Offset::new(number * 7 % records)).expect("reads"));
    }
}

/// Polls and commits a batch of 100 at a time.
fn consume(home: &Home, records: u64) {
    let options = support::options().durability(Durability::Written);
    let topic = home.store.create_topic("consumed", options).expect("creates");
    append(&topic.partition(0).expect("has one"), WRITTEN, 100);
    let mut consumer = topic.consumer("group").start(Start::Earliest).bytes_max(1).open().expect("opens");
    for _ in 0..records / 100 {
        black_box(consumer.poll(Duration::ZERO).expect("polls"));
        consumer.commit().expect("commits");
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(work), Some(records)) = (arguments.next(), arguments.next()) else {
        return println!("nothing to do; `tests/instructions/run` says what and how often");
    };
    let records: u64 = records.parse().expect("the number of records is a number");
    let home = home(Mapping::Auto);
    let partition = home.fresh();
    match work.as_str() {
        "append" => append(&partition, records, 1),
        "batch" => append(&partition, records, 100),
        "read" | "get" | "read-batches" => {
            // As many are written whatever is read, so that the difference is the reading's alone.
            append(&partition, WRITTEN, if work == "read-batches" { 100 } else { 1 });
            if work == "get" { get(&partition, records) } else { read(&partition, records) }
        }
        "consume" => consume(&home, records),
        _ => panic!("no work is named {work}"),
    }
}
