//! F7: whoever waits for a sync that fails is told: in a durable append, in `wait_durable`, in a poll for durable records.

use std::time::Duration;

use epochlog::testing::{Fault, Pages};
use epochlog::{Error, Partition, Start, Visibility};

use crate::support::*;

/// Longer than any run; who waits so long wasn't told.
const EVER: Duration = Duration::from_secs(60);

fn is_told(error: &Error) -> bool {
    matches!(error, Error::Io { operation: "sync", .. } | Error::Latched { operation: "sync", .. })
}

fn append_until_told(partition: &Partition) {
    loop {
        if let Err(error) = partition.append("durable") {
            return assert!(is_told(&error), "{error}");
        }
    }
}

fn wait_until_told(partition: &Partition) {
    loop {
        let waited = partition.append_with("written", written()).and_then(|ack| partition.wait_durable(&ack));
        if let Err(error) = waited {
            return assert!(is_told(&error), "{error}");
        }
    }
}

fn read_until_told(partition: &Partition) {
    let mut reader = partition.read_from(Start::Earliest).expect("begins").visibility(Visibility::Durable);
    loop {
        match reader.poll(EVER) {
            Ok(records) => assert!(!records.is_empty(), "a reader of durable records waited for ever"),
            Err(error) => return assert!(is_told(&error), "{error}"),
        }
    }
}

fn consume_until_told(partition: &Partition) {
    let builder = partition.topic().consumer("billing").visibility(Visibility::Durable);
    let mut consumer = builder.open().expect("opens");
    loop {
        match consumer.poll(EVER) {
            Ok(records) => assert!(!records.is_empty(), "a consumer of durable records waited for ever"),
            Err(error) => return assert!(is_told(&error), "{error}"),
        }
    }
}

fn fail(world: &mut World, fault: Fault) {
    let partition = world.partition();
    fill(&partition, "v", 3);
    world.disk.set_sync_delay(Duration::from_micros(100));
    world.disk.fail(fault);
    let partition = &partition;
    std::thread::scope(|threads| {
        let waiting: [fn(&Partition); 7] = [
            append_until_told,
            append_until_told,
            wait_until_told,
            wait_until_told,
            read_until_told,
            read_until_told,
            consume_until_told,
        ];
        waiting.into_iter().for_each(|wait| drop(threads.spawn(move || wait(partition))));
    });
    let durable = partition.durable_end();
    world.power_cut();
    let found = world.topic("orders").partition(0).expect("recovers");
    assert!(found.end() >= durable, "{} of {durable} are there", found.end());
    fill(&found, "w", 1);
}

#[test]
fn everybody_who_waits_for_a_sync_that_fails_is_told() {
    let mut cases = 0;
    for pages in [Pages::Dirty, Pages::Clean, Pages::Reverted] {
        both_ways(|mapping| {
            for nth in [1, 2, 5] {
                fail(&mut world(mapping), Fault::of("sync").on(".log").nth(nth).leaves(pages));
            }
            fail(&mut world(mapping), Fault::of("sync").on("history").leaves(pages));
            fail(&mut world(mapping), Fault::of("sync_dir").on("/0"));
        });
        cases += 10;
    }
    println!("F7, waiters: {cases} cases");
}

#[test]
fn who_waits_for_durable_records_is_told_also_when_a_trim_fails() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 3);
        let mut reader = partition.read_from(Start::Latest).expect("begins").visibility(Visibility::Durable);
        world.disk.fail(Fault::of("sync").on("history"));
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| reader.poll(EVER));
            assert!(is_told(&refused(partition.trim(epochlog::Offset::new(1)))));
            assert!(is_told(&refused(waiting.join().expect("ends"))));
        });
        assert!(reader.read().expect("reads still work").is_empty());
        assert_eq!(all(&partition), numbered("v", 0..3));
    });
}
