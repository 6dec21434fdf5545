//! How long single appends take, and how long a record is on its way to a waiting reader: the tail of the distribution,
//! not its middle.
//!
//! Each call has a moment at which it is due, at a fixed rate; what counts is the time from then to its end. So a call that
//! takes long also costs those that had to wait behind it (no coordinated omission). The floor, a loop that does nothing
//! but copy and sum up (or that wakes a thread), runs on the same schedule in the same run: what the machine itself takes away, both lose.
//!
//! `cargo bench --bench latency`, with `-- --seconds N` for longer than ten.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use epochlog::{Durability, Partition, Start, Store, StoreOptions};
use hdrhistogram::Histogram;
use support::floor::{Frames, Synced};
use support::level;

const VALUE_BYTES: usize = 100;
const WRITTEN_EVERY: Duration = Duration::from_micros(1);
const DURABLE_EVERY: Duration = Duration::from_millis(1);
const TAIL_EVERY: Duration = Duration::from_micros(100);

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("these bounds are allowed")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// Calls at a fixed rate, as long as told; times count from when a call was due.
fn at_rate(every: Duration, seconds: u64, mut call: impl FnMut(Instant)) -> Histogram<u64> {
    let mut taken = histogram();
    let count =
        u32::try_from(Duration::from_secs(seconds).as_nanos() / every.as_nanos()).expect("some minutes at most");
    let began = Instant::now();
    for i in 0..count {
        let due = began + every * i;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        call(due);
        taken.saturating_record(nanos(due.elapsed()));
    }
    taken
}

fn print(name: &str, taken: &Histogram<u64>) {
    let at = |quantile: f64| Duration::from_nanos(taken.value_at_quantile(quantile));
    let cells = [0.5, 0.99, 0.999, 0.9999, 1.0].map(|quantile| format!("{:>10}", format!("{:.1?}", at(quantile))));
    println!("{name:<28} {:>10} {}", taken.len(), cells.join(" "));
}

/// A partition whose store has its background threads, as a program that runs long would have them.
fn partition(dir: &tempfile::TempDir) -> (Store, Partition) {
    let store = StoreOptions::new().background(true).create(dir.path().join("store")).expect("creates");
    let topic = store.create_topic(support::TOPIC, support::options()).expect("creates");
    let partition = topic.partition(0).expect("has one");
    (store, partition)
}

fn written(seconds: u64) {
    let (dir, value) = (support::dir(), [b'v'; VALUE_BYTES]);
    let mut frames = Frames::new(&dir, 64 << 20);
    print("written: floor", &at_rate(WRITTEN_EVERY, seconds, |_| frames.append(&value, 1)));
    let (_open, partition) = partition(&dir);
    let append = |_| {
        partition.append_with(&value, level(Durability::Written)).expect("appends");
    };
    print("written: append", &at_rate(WRITTEN_EVERY, seconds, append));
}

fn durable(seconds: u64) {
    let (dir, value) = (support::dir(), [b'v'; VALUE_BYTES]);
    let mut synced = Synced::new(&dir, VALUE_BYTES);
    print("durable: floor", &at_rate(DURABLE_EVERY, seconds, |_| synced.append()));
    let (_open, partition) = partition(&dir);
    print("durable: append", &at_rate(DURABLE_EVERY, seconds, |_| assert!(partition.append(&value).is_ok())));
}

/// The same with nothing but a number to hand over: how long this machine takes to wake a thread that sleeps.
fn bare_tail(seconds: u64) {
    let (began, newest) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let count = Duration::from_secs(seconds).as_nanos() / TAIL_EVERY.as_nanos();
    let seen_by_waiter = newest.clone();
    let waiting = std::thread::spawn(move || {
        let (mut taken, mut seen) = (histogram(), 0);
        loop {
            let due = seen_by_waiter.load(Ordering::Acquire);
            if due == seen {
                std::thread::park();
                continue;
            }
            if due == u64::MAX {
                break;
            }
            // All that were handed over while it slept, or its latest hours would not count.
            let now = nanos(began.elapsed());
            let first = if seen == 0 { due } else { seen + nanos(TAIL_EVERY) };
            for due in (first..=due).step_by(TAIL_EVERY.as_nanos() as usize) {
                taken.saturating_record(now.saturating_sub(due).max(1));
            }
            seen = due;
        }
        taken
    });
    let hand_over = |due: u64| {
        newest.store(due, Ordering::Release);
        waiting.thread().unpark();
    };
    at_rate(TAIL_EVERY, seconds, |due| hand_over(nanos(due - began)));
    hand_over(u64::MAX);
    let taken = waiting.join().expect("sees the last");
    assert!(u128::from(taken.len()) <= count);
    print("tail: floor", &taken);
}

/// From the moment an append was due to the moment a waiting reader in another thread has the record.
fn tail(name: &str, spin: Duration, seconds: u64) {
    let dir = support::dir();
    let (_open, partition) = partition(&dir);
    let began = Instant::now();
    let count = Duration::from_secs(seconds).as_nanos() / TAIL_EVERY.as_nanos();
    let mut reader = partition.read_from(Start::Earliest).expect("is at the beginning").spin(spin);
    let waiting = std::thread::spawn(move || {
        let mut taken = histogram();
        while u128::from(taken.len()) < count {
            let records = reader.poll(Duration::from_secs(10)).expect("reads");
            let now = nanos(began.elapsed());
            for record in &records {
                let due = u64::from_le_bytes(record.value()[..8].try_into().expect("eight bytes"));
                taken.saturating_record(now.saturating_sub(due).max(1));
            }
        }
        taken
    });
    at_rate(TAIL_EVERY, seconds, |due| {
        let mut value = [0; VALUE_BYTES];
        value[..8].copy_from_slice(&nanos(due - began).to_le_bytes());
        assert!(partition.append_with(&value, level(Durability::Written)).is_ok());
    });
    print(name, &waiting.join().expect("reads them all"));
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--seconds");
    let seconds = arguments.nth(1).map_or(10, |told| told.parse().expect("--seconds takes a number"));
    println!("{:<28} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}", "", "calls", "p50", "p99", "p99.9", "p99.99", "max");
    written(seconds);
    durable(seconds);
    bare_tail(seconds);
    tail("tail: append to reader", Duration::ZERO, seconds);
    tail("tail: to one that spins", TAIL_EVERY * 10, seconds);
}
