//! Random operations against plain vectors with a synced mark: appends, syncs, trims, truncates, commits, deletes, lost
//! power. `PROPTEST_CASES` says how many; a failure prints its seed and the shrunk list of operations.

mod oracle;
mod player;

use epochlog::Mapping;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use player::Player;

/// One operation. Numbers are taken modulo what there is to choose from.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Append { topic: usize, partition: usize, count: usize, bytes: usize, durable: bool },
    Sync { topic: usize, partition: usize },
    Trim { topic: usize, partition: usize, to: usize },
    Truncate { topic: usize, partition: usize, to: usize },
    Create { topic: usize },
    Delete { topic: usize },
    AddPartition { topic: usize },
    Open { topic: usize, group: usize },
    Poll { topic: usize, group: usize },
    Seek { topic: usize, group: usize, partition: usize, given: usize },
    Commit { topic: usize, group: usize },
    Drop { topic: usize, group: usize },
    Tail { topic: usize, partition: usize },
    Resume { given: usize },
    Advance { ms: u64 },
    Maintain,
    Reopen,
    Kill,
    PowerCut { seed: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let (topic, partition, group) = (0..2_usize, 0..2_usize, 0..2_usize);
    let number = 0..1000_usize;
    prop_oneof![
        30 => (topic.clone(), partition.clone(), 1..12_usize, 0..300_usize, any::<bool>())
            .prop_map(|(topic, partition, count, bytes, durable)| Op::Append { topic, partition, count, bytes, durable }),
        4 => (topic.clone(), partition.clone()).prop_map(|(topic, partition)| Op::Sync { topic, partition }),
        4 => (topic.clone(), partition.clone(), number.clone())
            .prop_map(|(topic, partition, to)| Op::Trim { topic, partition, to }),
        5 => (topic.clone(), partition.clone(), number.clone())
            .prop_map(|(topic, partition, to)| Op::Truncate { topic, partition, to }),
        4 => topic.clone().prop_map(|topic| Op::Create { topic }),
        2 => topic.clone().prop_map(|topic| Op::Delete { topic }),
        1 => topic.clone().prop_map(|topic| Op::AddPartition { topic }),
        5 => (topic.clone(), group.clone()).prop_map(|(topic, group)| Op::Open { topic, group }),
        9 => (topic.clone(), group.clone()).prop_map(|(topic, group)| Op::Poll { topic, group }),
        3 => (topic.clone(), group.clone(), partition.clone(), number.clone())
            .prop_map(|(topic, group, partition, given)| Op::Seek { topic, group, partition, given }),
        6 => (topic.clone(), group.clone()).prop_map(|(topic, group)| Op::Commit { topic, group }),
        2 => (topic.clone(), group).prop_map(|(topic, group)| Op::Drop { topic, group }),
        5 => (topic, partition).prop_map(|(topic, partition)| Op::Tail { topic, partition }),
        6 => number.prop_map(|given| Op::Resume { given }),
        2 => (1..5000_u64).prop_map(|ms| Op::Advance { ms }),
        3 => Just(Op::Maintain),
        2 => Just(Op::Reopen),
        2 => Just(Op::Kill),
        5 => any::<u64>().prop_map(|seed| Op::PowerCut { seed }),
    ]
}

fn play(mapping: Mapping) {
    let config = Config { failure_persistence: None, max_shrink_iters: 3000, ..Config::with_cases(cases()) };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&prop::collection::vec(op(), 1..60), |ops| {
        let mut player = Player::new(mapping);
        ops.iter().for_each(|op| player.play(*op));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{mapping:?}: {error}\n{runner}");
    }
}

/// A few seconds' worth, unless the environment says otherwise.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

#[test]
fn mapped_it_does_what_plain_vectors_do() {
    play(Mapping::Auto);
}

#[test]
fn with_positioned_writes_it_does_what_plain_vectors_do() {
    play(Mapping::Never);
}
