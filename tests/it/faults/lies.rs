//! F12: any write, sync or read is lost, misdirected or stale, for segments, indexes, history, commits, the topic's header
//! and `STORE`. What is read is right, or a typed error says what is wrong (P8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use epochlog::Durability::{Durable, Written};
use epochlog::testing::{Fault, Image, Lie, Loss, SimDisk};
use epochlog::{Error, Mapping, Offset, Partition, Start, Store};

use super::oracle::{Fate, GROUP, Generation, TOPIC, Told, Verdict, must};
use super::player::{
    Call::{self, *},
    Hit, OTHER, Player,
};
use super::{case, cases, operations};
use crate::support::{AT_ONCE, options, values};

const CALLS: [Call; 18] = [
    Create,
    Append(Durable),
    Batch(2, Written),
    Roll(Durable),
    Commit,
    Append(Written),
    Truncate(2),
    Append(Durable),
    Close,
    Open,
    Roll(Written),
    Trim(4),
    Append(Durable),
    Commit,
    Close,
    Open,
    Append(Durable),
    Commit,
];

/// What may be read where: every value that was ever given to an append, and the offset that it got.
fn given(told: &Told) -> BTreeMap<String, Option<u64>> {
    let tried = told.generations.iter().flat_map(|generation| &generation.records);
    tried.map(|tried| (tried.value.clone(), tried.offset)).chain([("other-0".to_string(), Some(0))]).collect()
}

fn is_typed(error: &Error) -> bool {
    match error {
        Error::Corrupt(corruption) => corruption.path.starts_with("/sim"),
        Error::TopicNotFound { .. } | Error::NotAStore { .. } => true,
        _ => false,
    }
}

/// What a group is told whose place lies in a history that was lost.
fn is_event(error: &Error) -> bool {
    matches!(error, Error::Diverged { .. } | Error::OffsetOutOfRange { .. } | Error::StaleEpoch { .. })
}

/// Reads a partition forward, over what is damaged, and by offset; gives the offsets that were read, and how many
/// weren't.
fn read(partition: &Partition, given: &BTreeMap<String, Option<u64>>) -> Verdict<(Vec<u64>, u64)> {
    let (start, end) = (partition.start().get(), partition.end().get());
    let is_right = |value: &str, offset: u64| match given.get(value) {
        Some(promised) => promised.is_none_or(|promised| promised == offset),
        None => false,
    };
    let (mut read, mut failed) = (Vec::new(), 0);
    let mut next = start;
    while next < end {
        let records = partition.read_from(Start::At(Offset::new(next))).and_then(|mut reader| reader.read());
        let before = next;
        match records {
            Ok(records) => {
                for (record, value) in records.iter().zip(values(&records)) {
                    must!(record.offset().get() == next, "P6: offset {} instead of {next}", record.offset());
                    must!(is_right(&value, next), "P8: `{value}` at offset {next}");
                    read.push(next);
                    next += 1;
                }
            }
            Err(error) => {
                must!(is_typed(&error), "P8: reading offset {next} answers {error:?}");
                failed += 1;
                next += 1;
            }
        }
        must!(next > before, "P8: nothing and no error at offset {next} of {start}..{end}");
    }
    for offset in start..end {
        match partition.get(Offset::new(offset)) {
            Ok(records) => {
                let found = values(&records);
                must!(found.iter().all(|value| is_right(value, offset)), "P8: {found:?} at offset {offset}");
            }
            Err(error) => must!(is_typed(&error), "P8: offset {offset} answers {error:?}"),
        }
    }
    Ok((read, failed))
}

/// What a look at a whole store has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Everything that was acknowledged as durable.
    All,
    /// Less, and an error or the recovery report says so.
    Told,
    /// Less, and nothing says so.
    Less,
}

/// Opens what is there and looks at all of it.
fn look(disk: &SimDisk, mapping: Mapping, told: &Told) -> Verdict<Found> {
    match options(disk, mapping).open("/sim") {
        Ok(store) => sound(&store, told),
        Err(error) => {
            must!(is_typed(&error), "P8: the open answers {error:?}");
            Ok(Found::Told)
        }
    }
}

fn sound(store: &Store, told: &Told) -> Verdict<Found> {
    let given = given(told);
    let (mut errors, mut missing) = (0, false);
    for name in [TOPIC, OTHER] {
        let partition = store.topic(name).and_then(|topic| topic.partition(0));
        let partition = match partition {
            Ok(partition) => partition,
            Err(error) => {
                must!(is_typed(&error), "P8: topic `{name}` answers {error:?}");
                errors += 1;
                continue;
            }
        };
        let (read, failed) = read(&partition, &given)?;
        errors += failed;
        if name == TOPIC {
            missing = owed(told).into_iter().any(|offset| !read.contains(&offset));
        }
        let polled = partition.topic().consumer(GROUP).open().and_then(|mut consumer| consumer.poll(AT_ONCE).map(drop));
        if let Err(error) = polled {
            must!(is_event(&error) || is_typed(&error), "P8: the group answers {error:?}");
            errors += 1;
        }
    }
    let told = errors > 0 || store.recovery().has_cut() || !store.recovery().failed.is_empty();
    Ok(if !missing {
        Found::All
    } else if told {
        Found::Told
    } else {
        Found::Less
    })
}

/// The offsets that a power cut must have left.
fn owed(told: &Told) -> Vec<u64> {
    let newest = told.generations.last();
    let durable = |generation: &Generation| {
        let records = generation.records.iter().filter(|tried| tried.fate == Fate::Durable);
        records.filter_map(|tried| tried.offset).filter(|offset| *offset >= generation.start).collect()
    };
    newest.map(durable).unwrap_or_default()
}

/// One file of each kind, where a misdirected write does harm.
fn victims(player: &Player) -> Vec<PathBuf> {
    let files = player.disk.files();
    let is_one = |kind: &str, path: &Path| path.to_string_lossy().ends_with(kind);
    let kinds = ["STORE", "/topic", "/commits", "/history", ".log", ".index"];
    kinds.iter().filter_map(|kind| files.iter().rev().find(|path| is_one(kind, path)).cloned()).collect()
}

fn lies_of(hit: &Hit, victims: &[PathBuf], before: &[Image]) -> Vec<Lie> {
    let elsewhere = |path: Option<&PathBuf>, shift| Lie::Elsewhere { path: path.cloned(), shift };
    match hit.name {
        "sync_dir" => vec![Lie::Lost],
        "write" | "sync" => {
            let into = victims.iter().map(|victim| elsewhere(Some(victim), 0));
            [Lie::Lost, elsewhere(None, 4096), elsewhere(None, 512)].into_iter().chain(into).collect()
        }
        "read" | "map_read" | "map_write" => {
            // What decides at an open is read as it was at any time before.
            let moments = if hit.path.extension().is_some() { 2 } else { before.len() };
            let stale = before.iter().rev().take(moments).cloned().map(Lie::Stale);
            let from = victims.iter().take(2).map(|victim| elsewhere(Some(victim), 0));
            stale.chain(from).chain([elsewhere(None, 512)]).collect()
        }
        _ => Vec::new(),
    }
}

/// The disk before each call of the workload, with the number of the last operation before it.
fn film(mapping: Mapping) -> (Vec<(u64, Image)>, Vec<PathBuf>) {
    let mut player = Player::new(mapping);
    let mut film = Vec::new();
    for call in CALLS {
        film.push((player.disk.operations(), player.disk.image()));
        player.call(call);
    }
    let victims = victims(&player);
    player.go_down();
    (film, victims)
}

fn tell(mapping: Mapping, hit: &Hit, lie: Lie) -> Verdict<Found> {
    let mut player = Player::new(mapping);
    player.trusts = false;
    player.disk.fail(Fault::at(hit.number).lies(lie));
    player.play(&CALLS);
    player.disk.heal();
    for failed in &player.failed {
        let told = is_event(&failed.error) || is_typed(&failed.error);
        must!(told, "P8: {:?} answers {:?}", failed.call, failed.error);
    }
    let live = match &player.store {
        Some(store) => sound(store, &player.told).map_err(|story| format!("at once: {story}"))?,
        None => Found::Told,
    };
    let image = player.go_down();
    let mut found = vec![live];
    let forgetful = image.after_kill();
    forgetful.drop_caches();
    for (story, disk) in
        [("killed", image.after_kill()), ("caches dropped", forgetful), ("power cut", image.after(Loss::All))]
    {
        found.push(look(&disk, mapping, &player.told).map_err(|verdict| format!("{story}: {verdict}"))?);
    }
    let told = found.contains(&Found::Told) || !player.failed.is_empty();
    let all = found.iter().all(|found| *found == Found::All);
    Ok(if all {
        Found::All
    } else if told {
        Found::Told
    } else {
        Found::Less
    })
}

#[test]
fn what_is_read_is_right_whatever_the_disk_does_in_silence() {
    cases("F12", 500, |mapping| {
        let (film, victims) = film(mapping);
        let mut counts = BTreeMap::<String, u64>::new();
        for hit in operations(mapping, &CALLS) {
            let before: Vec<Image> =
                film.iter().filter(|(n, _)| *n < hit.number).map(|(_, image)| image.clone()).collect();
            for lie in lies_of(&hit, &victims, &before) {
                let kind = match &lie {
                    Lie::Stale(_) => "stale".to_string(),
                    other => format!("{other:?}"),
                };
                let story = format!("{mapping:?}, {kind} at {hit}");
                case(&story, || {
                    let found = tell(mapping, &hit, lie)?;
                    *counts.entry(format!("{found:?}")).or_default() += 1;
                    must!(found != Found::Less, "P1: acknowledged records are gone, and nothing says so");
                    Ok(())
                });
            }
        }
        println!("F12 ({mapping:?}): {counts:?}");
        counts.values().sum()
    });
}
