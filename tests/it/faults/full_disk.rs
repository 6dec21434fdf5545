//! F9: a full disk, a quota and a file size limit at any operation, and a disk that fills up at any page: the append is
//! undone, everything else works, and with room again appends go on without a reopen (P12).

use std::io::ErrorKind;

use epochlog::testing::{Fault, SimDisk};
use epochlog::{Error, Mapping};

use super::oracle::{Fate, Verdict, must};
use super::player::{
    Call::{self, *},
    Failed, Hit, Player,
};
use super::{WORKLOADS, case, cases, operations, survive};
use epochlog::Durability::{Durable, Written};

/// What takes room, and so may be refused for want of it.
const TAKES_ROOM: [&str; 6] = ["create", "create_dir", "rename", "write", "reserve", "set_len"];

fn is_told(failed: &Failed, hit: &Hit) -> bool {
    match &failed.error {
        Error::StorageFull { path, .. } => path.starts_with("/sim"),
        // The names change or don't; no byte of a record is asked for.
        Error::Io { operation: "rename", .. } => hit.name == "rename",
        Error::TopicNotFound { .. } => true,
        _ => false,
    }
}

fn refuse(mapping: Mapping, calls: &[Call], hit: &Hit, kind: ErrorKind) -> Verdict {
    let mut player = Player::new(mapping);
    player.disk.fail(Fault::at(hit.number).kind(kind));
    player.play(calls);
    for failed in &player.failed {
        must!(is_told(failed, hit), "{:?} answers {:?}", failed.call, failed.error);
    }
    let told = player.failed.iter().filter(|failed| !matches!(failed.error, Error::TopicNotFound { .. })).count();
    must!(told <= 1, "more than one call failed: {:?}", player.failed);
    survive(player, Fate::Written)
}

#[test]
fn want_of_room_at_any_operation_undoes_that_call_alone() {
    cases("F9, any operation", 200, |mapping| {
        let mut count = 0;
        for (name, calls) in WORKLOADS {
            let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
            let takes_room = |hit: &&Hit| TAKES_ROOM.contains(&hit.name);
            for (hit, kind) in operations(mapping, calls).iter().filter(takes_room).zip(kinds.into_iter().cycle()) {
                let story = format!("`{name}`, {mapping:?}, {kind:?} at {hit}");
                case(&story, || refuse(mapping, calls, hit, kind));
                count += 1;
            }
        }
        count
    });
}

/// Leaves so many pages free.
fn leave(disk: &SimDisk, pages: u64) {
    let used: u64 = disk.files().iter().map(|path| (disk.read(path).len() as u64).div_ceil(4096)).sum();
    disk.set_capacity(Some((used + pages) * 4096));
}

const UNTIL_FULL: [Call; 14] = [
    Batch(2, Written),
    Roll(Written),
    Append(Durable),
    Roll(Durable),
    Commit,
    Roll(Written),
    Sync,
    Roll(Durable),
    Commit,
    Batch(5, Durable),
    Roll(Written),
    Roll(Written),
    Roll(Written),
    Append(Written),
];

/// What a full disk may refuse: what adds records or files.
fn may_be_refused(call: Call) -> bool {
    matches!(call, Append(_) | Batch(..) | Roll(_))
}

fn fill_up(mapping: Mapping, pages: u64, names_need_room: bool) -> Verdict {
    let mut player = Player::new(mapping);
    player.play(&[Create, Append(Durable), Commit, Roll(Written), Append(Durable)]);
    player.disk.set_names_need_room(names_need_room);
    leave(&player.disk, pages);
    player.play(&UNTIL_FULL);
    player.play(&[Commit, Truncate(1), Trim(2), Commit, Maintain, Trim(3), Sync]);
    for Failed { call, error } in &player.failed {
        must!(may_be_refused(*call), "{call:?} answers {error:?}");
        must!(matches!(error, Error::StorageFull { .. }), "{call:?} answers {error:?}");
    }
    player.store().delete_topic(super::player::OTHER).map_err(|error| format!("P12: delete answers {error}"))?;
    player.disk.set_capacity(None);
    let refused = player.failed.len();
    player.play(&[Append(Durable), Roll(Written), Commit, Batch(2, Written)]);
    must!(player.failed.len() == refused, "P12: with room again {:?}", player.failed[refused..].first());
    survive(player, Fate::Written)
}

#[test]
fn a_disk_that_fills_up_at_any_page_costs_nothing_and_with_room_again_appends_go_on() {
    cases("F9, any page", 60, |mapping| {
        let all = (0..32).flat_map(|pages| [(pages, false), (pages, true)]);
        let run = |(pages, names_need_room)| {
            let story = format!("{mapping:?}, {pages} pages left, names need room: {names_need_room}");
            case(&story, || fill_up(mapping, pages, names_need_room));
        };
        all.map(run).count() as u64
    });
}
