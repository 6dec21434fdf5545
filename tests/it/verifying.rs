//! Verifying at a limited rate: as long as the rate says, by the clock that it is given, beside a store that is in use.

use std::time::Duration;

use epochlog::inspect::{self, VerifyOptions};
use epochlog::testing::Clock;
use epochlog::{Error, Mapping, TopicOptions};

use crate::support::*;

/// About eight MiB in one segment.
fn large(mapping: Mapping) -> World {
    let world = world(mapping);
    let orders = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    let value = vec![b'x'; 1 << 20];
    for _ in 0..8 {
        orders.append_with(&value, written()).expect("appends");
    }
    world
}

#[test]
fn it_takes_as_long_as_the_rate_says_and_no_time_without_one() {
    both_ways(|mapping| {
        let world = large(mapping);
        let took = |options: VerifyOptions| {
            let before = world.disk.clock().monotonic_ms();
            let found = inspect::verify_with(world.store(), options, &mut |_| {}).expect("verifies");
            assert!(found.is_clean() && found.records == 8);
            world.disk.clock().monotonic_ms() - before
        };
        assert_eq!(took(VerifyOptions::new()), 0);
        let bytes = world.topic("orders").partition(0).expect("is there").segments()[0].bytes;
        let reserved = 12 << 20;
        for rate in [1_u64 << 20, 4 << 20] {
            let took = took(VerifyOptions::new().bytes_per_second(rate));
            assert!((bytes * 1000 / rate..=reserved * 1000 / rate).contains(&took), "{took} ms at {rate}");
        }
    });
}

#[test]
fn time_that_a_slow_disk_took_is_not_caught_up_with() {
    let world = large(Mapping::Never);
    let clock = world.disk.clock();
    let before = clock.monotonic_ms();
    let mut stalled = false;
    let mut stall = |progress: inspect::Progress| {
        if progress.bytes > 0 && !std::mem::replace(&mut stalled, true) {
            clock.advance(Duration::from_secs(100));
        }
    };
    inspect::verify_with(world.store(), VerifyOptions::new().bytes_per_second(1 << 20), &mut stall).expect("verifies");
    let took = clock.monotonic_ms() - before;
    assert!(took >= 105_000, "{took} ms: the stall isn't made up for by reading without a pause");
}

#[test]
fn a_rate_of_nothing_is_refused() {
    let world = world(Mapping::Auto);
    let error = refused(inspect::verify_with(world.store(), VerifyOptions::new().bytes_per_second(0), &mut |_| {}));
    assert!(matches!(error, Error::InvalidOption { option: "bytes_per_second", .. }));
    assert_eq!(error.to_string(), "option `bytes_per_second` is invalid: 0 was given; allowed is at least 1");
}
