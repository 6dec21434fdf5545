//! Killed at every system call that changes something, and then again while it recovers: P1-P5, P7, P10, P11, P13.

use std::path::{Path, PathBuf};
use std::time::Instant;

use epochlog::Mapping;

use crate::aloud::aloud;
use crate::kill::check;
use crate::oracle::{Loss, Oracle};
use crate::part::was_killed;
use crate::strace::{self, Aim, follow, is_deep, killed_at, rehearse, thinned};

const SCRIPT: &str = "script 1";

/// A store that a kill has left, and what had been acknowledged.
struct Left {
    path: PathBuf,
    oracle: Oracle,
}

fn left_by(aim: &Aim, dir: &Path, mapping: Mapping) -> Left {
    let path = dir.join("data");
    let mut oracle = Oracle::default();
    let status = follow(killed_at(aim, SCRIPT, &path, mapping), &mut oracle);
    assert!(was_killed(status), "{aim:?} wasn't reached: {status}");
    Left { path, oracle }
}

/// Copies a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    if !from.exists() {
        return;
    }
    std::fs::create_dir(to).expect("makes a directory");
    for entry in std::fs::read_dir(from).expect("lists") {
        let path = entry.expect("is there").path();
        let target = to.join(path.file_name().expect("has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copies");
        }
    }
}

/// Kills the recovery of this store at its calls; each time another recovery must find the same. Gives how often.
fn again(left: &Left, dir: &Path, mapping: Mapping, most: usize) -> u64 {
    let rehearsed = dir.join("rehearsed");
    copy(&left.path, &rehearsed);
    let aims = rehearse("recover", &rehearsed, mapping).into_iter().filter(Aim::leaves_its_mark).collect();
    let mut killed = 0;
    for (i, aim) in thinned(aims, most).iter().enumerate() {
        let path = dir.join(format!("again{i}"));
        copy(&left.path, &path);
        let status = killed_at(aim, "recover", &path, mapping).end();
        killed += u64::from(was_killed(status));
        check(&path, mapping, &mut left.oracle.clone(), Loss::Kill)
            .unwrap_or_else(|story| panic!("recovery killed at {aim:?}: {story}"));
        std::fs::remove_dir_all(&path).expect("is removed");
    }
    killed
}

fn is_killed_at_every_call(mapping: Mapping) {
    if !strace::is_there() {
        return;
    }
    let (began, dir) = (Instant::now(), tempfile::tempdir().expect("makes a directory"));
    let aims: Vec<Aim> =
        rehearse(SCRIPT, &dir.path().join("rehearsed"), mapping).into_iter().filter(Aim::changes).collect();
    let (all, mut twice) = (aims.len(), 0);
    let aims = thinned(aims, 40);
    for (i, aim) in aims.iter().enumerate() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let left = left_by(aim, dir.path(), mapping);
        let nested = if is_deep() { aim.leaves_its_mark() } else { i % 9 == 4 };
        if nested {
            twice += again(&left, dir.path(), mapping, 5);
        }
        let mut oracle = left.oracle;
        for _ in 0..2 {
            check(&left.path, mapping, &mut oracle, Loss::Kill)
                .unwrap_or_else(|story| panic!("{mapping:?}, killed at {aim:?}: {story}"));
        }
    }
    aloud(&format!(
        "{mapping:?}: killed at {} of {all} calls, {twice} times again in recovery, {:?}",
        aims.len(),
        began.elapsed()
    ));
    assert!(all > 100, "only {all} calls change something");
}

#[test]
fn a_mapped_store_survives_a_kill_at_every_system_call() {
    is_killed_at_every_call(Mapping::Auto);
}

#[test]
fn a_store_without_maps_survives_a_kill_at_every_system_call() {
    is_killed_at_every_call(Mapping::Never);
}
