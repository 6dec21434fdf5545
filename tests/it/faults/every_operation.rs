//! F8: any operation fails, once or from then on; reads and writes are short or interrupted.

use std::path::Path;

use epochlog::testing::Fault;
use epochlog::{Error, Mapping};

use super::oracle::{Fate, Verdict, must};
use super::player::{Call, Failed, Hit, Player};
use super::{WORKLOADS, case, cases, operations, survive};
use crate::support::{both_ways, tree};

/// An error that the operating system's refusal may become: it names an operation and a path, or what refuses since.
fn is_typed(error: &Error, hit: &Hit, once: bool) -> bool {
    match error {
        Error::Io { path, .. } if !once => path.starts_with("/sim"),
        Error::Io { operation, path, .. } => is_called(operation, hit.name) && is_about(path, hit),
        Error::Latched { operation, path, .. } => *operation == "sync" && path.starts_with("/sim"),
        Error::TopicNotFound { .. } => true,
        _ => false,
    }
}

/// Whether the path that an error names is the one that was hit, or a directory that was being emptied.
fn is_about(path: &Path, hit: &Hit) -> bool {
    let hit = Path::new("/sim").join(&hit.path);
    hit == path || (path != Path::new("/sim") && hit.starts_with(path))
}

/// Whether an error's word for what was done is one for this operation.
fn is_called(said: &str, operation: &str) -> bool {
    let words: &[&str] = match operation {
        "create_dir" => &["create"],
        "open_dir" => &["open"],
        "sync_dir" => &["sync"],
        "remove_file" | "remove_dir" => &["remove"],
        "try_lock" => &["lock"],
        "len" => &["read"],
        "set_len" => &["cut"],
        "map_read" | "map_write" => &["map", "write the header"],
        "write" => &["write"],
        "reserve" => &["reserve", "write the header"],
        "list" => &["list", "remove"],
        other => return said.starts_with(other),
    };
    words.iter().any(|word| said.starts_with(word))
}

fn judge(player: &Player, hit: &Hit, once: bool) -> Verdict {
    for Failed { call, error } in &player.failed {
        must!(is_typed(error, hit, once), "{call:?} answers {error:?}");
    }
    // What fails once and is no sync is over with the call that met it. That a topic is missing is a consequence.
    let told = player.failed.iter().filter(|failed| !matches!(failed.error, Error::TopicNotFound { .. }));
    let told: Vec<_> = told.collect();
    let latched = told.iter().any(|failed| matches!(failed.error, Error::Latched { .. }));
    must!(!once || hit.is_sync() || (told.len() <= 1 && !latched), "more than one call failed: {told:?}");
    Ok(())
}

fn fail(mapping: Mapping, calls: &[Call], hit: &Hit, once: bool, partly: usize) -> Verdict {
    let mut player = Player::new(mapping);
    let fault: Fault = Fault::at(hit.number).partly(partly);
    player.disk.fail(if once { fault } else { fault.forever() });
    player.play(calls);
    judge(&player, hit, once).and_then(|()| survive(player, Fate::Written))
}

#[test]
fn an_error_at_any_operation_is_told_by_its_path_and_costs_nothing_that_was_acknowledged() {
    cases("F8, EIO", 500, |mapping| {
        let mut count = 0;
        for (name, calls) in WORKLOADS {
            for hit in operations(mapping, calls) {
                for (once, partly) in [(true, 0), (true, 20), (false, 0)] {
                    if partly > 0 && hit.name != "write" {
                        continue;
                    }
                    let story = format!("`{name}`, {mapping:?}, EIO at {hit}, once: {once}, partly: {partly}");
                    case(&story, || fail(mapping, calls, &hit, once, partly));
                    count += 1;
                }
            }
        }
        count
    });
}

#[test]
fn short_and_interrupted_io_leaves_the_same_bytes_as_none() {
    both_ways(|mapping| {
        for (name, calls) in WORKLOADS {
            let run = |bytes, every| {
                let mut player = Player::new(mapping);
                player.disk.set_io_bytes_max(bytes);
                player.disk.interrupt_every(every);
                player.play(calls);
                assert!(player.failed.is_empty(), "{name}, {mapping:?}, {bytes:?}, {every:?}: {:?}", player.failed);
                player.disk.heal();
                player.look(Fate::Written).expect("is what was told");
                tree(&player.disk)
            };
            let undisturbed = run(None, None);
            for (bytes, every) in [(Some(1), None), (Some(7), Some(3)), (None, Some(2)), (Some(100), Some(2))] {
                assert!(run(bytes, every) == undisturbed, "{name}, {mapping:?}: {bytes:?}, {every:?} left other bytes");
            }
        }
    });
}
