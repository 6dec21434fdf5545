//! F7: any sync fails once, of a file or a directory, and leaves its pages dirty, clean or reverted. What it guarded
//! refuses, and nothing else does.

use std::path::PathBuf;

use epochlog::testing::{Fault, Pages};
use epochlog::{Durability, Error, Mapping, Start};

use super::oracle::{Fate, TOPIC, Verdict, must};
use super::player::{Call, Hit, OTHER, Player, segments};
use super::{WORKLOADS, case, cases, operations, survive};
use crate::support::{both_ways, refused, written};

/// What refuses after a sync has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Partition,
    Commits,
    Store,
    /// A file under a temporary name, or a call that gives back nothing that could refuse.
    Nobody,
}

/// By the path alone: what the design says is latched.
fn guard_of(hit: &Hit, call: Call) -> Guard {
    let path = hit.path.to_str().expect("is text");
    let inside = path.strip_prefix("topics/orders@").and_then(|rest| rest.split_once('/')).map(|(_, inside)| inside);
    match (call, inside) {
        (Call::Open | Call::Close, _) => Guard::Nobody,
        (_, Some(inside)) if inside.ends_with(".new") => Guard::Nobody,
        (_, Some("commits")) => Guard::Commits,
        (_, Some(_)) => Guard::Partition,
        (_, None) if path == "topics" || path == "trash" => Guard::Store,
        (_, None) if path.starts_with("topics/orders@") => Guard::Commits,
        (_, None) => Guard::Nobody,
    }
}

fn refuses<T>(answer: Result<T, Error>, what: &str) -> bool {
    matches!(answer, Err(Error::Latched { what: refusing, operation: "sync", .. }) if refusing.to_string().starts_with(what))
}

/// Asks everybody.
fn who_refuses(player: &mut Player) -> Result<Vec<Guard>, Error> {
    let mut found = Vec::new();
    let store = player.store().clone();
    match player.topic() {
        Err(Error::TopicNotFound { .. }) => {}
        topic => {
            let topic = topic?;
            let partition = topic.partition(0)?;
            let end = partition.end();
            if refuses(partition.truncate(end), "partition") {
                let all = [partition.sync(), partition.trim(end), partition.append_with("late", written()).map(drop)];
                let told = partition.durable_end() == end;
                assert!(all.into_iter().skip(usize::from(told)).all(|answer| refuses(answer, "partition")));
                found.push(Guard::Partition);
            }
            if refuses(topic.reset_group("asked", &[(0, Start::At(partition.start()).into())]), "the commits") {
                found.push(Guard::Commits);
            }
        }
    }
    if refuses(store.create_topic("asked", segments()), "store") {
        assert!(refuses(store.delete_topic(OTHER), "store"));
        found.push(Guard::Store);
    }
    store.topic(OTHER)?.append("goes on")?;
    Ok(found)
}

/// Plays up to the sync that fails, asks who refuses, and plays on.
fn fail(mapping: Mapping, calls: &[Call], hit: &Hit, pages: Pages) -> Verdict {
    let mut player = Player::new(mapping);
    player.disk.fail(Fault::at(hit.number).leaves(pages));
    let mut rest = calls.iter();
    let call = loop {
        let &call = rest.next().ok_or("the sync was never made")?;
        player.call(call);
        if player.disk.operations() >= hit.number {
            break call;
        }
    };
    if player.store.is_some() {
        let guard = guard_of(hit, call);
        let expected: Vec<Guard> = [guard].into_iter().filter(|guard| *guard != Guard::Nobody).collect();
        let made = player.watch();
        let found = who_refuses(&mut player).map_err(|error| format!("what should go on answers {error}"))?;
        must!(found == expected, "{found:?} refuse instead of {expected:?}");
        player.play(&rest.clone().copied().take_while(|call| *call != Call::Close).collect::<Vec<_>>());
        nothing_is_written(guard, hit, &made.lock())?;
        rest.by_ref().take_while(|call| **call != Call::Close).for_each(drop);
    }
    survive(player, if pages == Pages::Reverted { Fate::Durable } else { Fate::Written })
}

/// Nothing more was written to what failed; that a topic was moved away whole is no writing to its files.
fn nothing_is_written(guard: Guard, failed: &Hit, made: &[Hit]) -> Verdict {
    let topic: PathBuf = failed.path.components().take(2).collect();
    let guarded = match guard {
        Guard::Partition => topic.join("0"),
        Guard::Commits => topic.join("commits"),
        Guard::Store | Guard::Nobody => return Ok(()),
    };
    let late: Vec<_> = made.iter().filter(|hit| hit.is_write() && hit.path.starts_with(&guarded)).collect();
    must!(late.is_empty(), "was written after {guard:?} was latched: {late:?}");
    Ok(())
}

#[test]
fn a_sync_that_fails_latches_what_it_guarded_and_costs_nothing_that_was_durable() {
    cases("F7", 100, |mapping| {
        let mut count = 0;
        for (name, calls) in WORKLOADS {
            for hit in operations(mapping, calls).iter().filter(|hit| hit.is_sync()) {
                for pages in [Pages::Dirty, Pages::Clean, Pages::Reverted] {
                    let story = format!("`{name}`, {mapping:?}, {pages:?} after failed {hit}");
                    case(&story, || fail(mapping, calls, hit, pages));
                    count += 1;
                }
            }
        }
        count
    });
}

#[test]
fn a_topic_whose_name_could_not_be_synced_takes_no_record_until_the_store_is_opened_again() {
    both_ways(|mapping| {
        let player = Player::new(mapping);
        player.disk.fail(Fault::of("sync_dir").on("topics").nth(3));
        assert!(matches!(refused(player.store().create_topic(TOPIC, segments())), Error::Io { operation: "sync", .. }));
        assert!(matches!(refused(player.store().topic(TOPIC)), Error::TopicNotFound { .. }));
        assert!(matches!(refused(player.store().topic_or_create(TOPIC, segments())), Error::Latched { .. }));
    });
}

#[test]
fn a_store_file_that_could_not_be_synced_gives_out_no_more_numbers_and_appends_go_on() {
    both_ways(|mapping| {
        let mut player = Player::new(mapping);
        player.play(&[Call::Create, Call::Append(Durability::Durable), Call::Append(Durability::Durable)]);
        player.disk.fail(Fault::of("sync").on("STORE.new"));
        // Each takes a number, until the block that the open has reserved is used up.
        while player.failed.is_empty() {
            player.play(&[Call::Truncate(1), Call::Append(Durability::Durable)]);
        }
        assert!(
            matches!(&player.failed[0].error, Error::Io { operation: "sync", path, .. } if path.ends_with("STORE.new"))
        );
        assert!(refuses(player.store().create_topic("asked", segments()), "store"));
        let partition = player.partition().expect("is there");
        assert!(refuses(partition.append("begins an epoch"), "store"));
        player.store().topic(OTHER).and_then(|other| other.append("has an epoch")).expect("appends");
        player.failed.clear();
        player.play(&[Call::Commit, Call::Trim(1), Call::Sync]);
        assert!(player.failed.is_empty(), "{:?}", player.failed);
        survive(player, Fate::Written).expect("nothing is lost");
    });
}
