//! A system call fails, for every one that concerns the store: the error is typed and says of what, what must be latched
//! is latched, and nothing that was acknowledged is lost. F7, F8, F9.

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Instant;

use epochlog::Mapping;

use crate::aloud::aloud;
use crate::at_every_call::copy;
use crate::kill::check;
use crate::look::{Seen, note};
use crate::oracle::{Loss, Oracle};
use crate::part::Part;
use crate::report::{Call, Line, Refusal};
use crate::strace::{self, Aim, follow, hit, inflicted, rehearse, thinned};

const SCRIPT: &str = "script 1";

/// Call, what it answers, and what `errno` that is; 0 where the call itself isn't to be refused by the engine.
const FAILURES: &[(&str, &str, i32)] = &[
    ("fdatasync", "error=EIO", 5),
    ("fdatasync", "error=ENOSPC", 28),
    ("fdatasync", "error=EINTR", 0),
    ("fsync", "error=EIO", 5),
    ("fsync", "error=EDQUOT", 122),
    ("pwrite64", "error=EIO", 5),
    ("pwrite64", "error=ENOSPC", 28),
    ("pwrite64", "error=EDQUOT", 122),
    ("pwrite64", "error=EFBIG", 27),
    ("pwrite64", "error=EINTR", 0),
    ("pwrite64", "retval=0", NOTHING_WRITTEN),
    ("fallocate", "error=ENOSPC", 28),
    ("fallocate", "error=EIO", 5),
    ("fallocate", "error=EOPNOTSUPP", 0),
    ("fallocate", "error=EINTR", 0),
    ("ftruncate", "error=EIO", 5),
    ("openat", "error=EMFILE", 24),
    ("openat", "error=ENFILE", 23),
    ("openat", "error=EINTR", 0),
    ("mmap", "error=ENOMEM", 12),
    ("pread64", "error=EIO", 5),
    ("pread64", "error=EINTR", 0),
    ("getdents64", "error=EIO", 5),
    ("rename", "error=EIO", 5),
    ("rename", "error=ENOSPC", 28),
    ("unlink", "error=EIO", 5),
    ("mkdir", "error=ENOSPC", 28),
];

/// A write that writes nothing has no number of its own; `std` gives it one in words.
const NOTHING_WRITTEN: i32 = -1;
const FULL: [i32; 3] = [28, 122, 27];

/// What one run has told, looked at line by line.
struct Judge<'a> {
    path: &'a Path,
    errno: i32,
    oracle: Oracle,
    seen: Seen,
    refused: u64,
    answered_latched: u64,
    /// Partitions, commits and the store's names that a failed sync has latched in this session.
    latched: HashSet<String>,
    /// Partitions to which something was appended in this session, and so are open.
    opened: HashSet<String>,
    tried: Option<(String, Call)>,
}

impl<'a> Judge<'a> {
    fn new(path: &'a Path, errno: i32, oracle: Oracle) -> Judge<'a> {
        let (latched, opened) = (HashSet::new(), HashSet::new());
        Judge { path, errno, oracle, seen: Seen::new(), refused: 0, answered_latched: 0, latched, opened, tried: None }
    }

    fn hear(&mut self, line: &Line) {
        match line {
            Line::Ready => {
                self.latched.clear();
                self.opened.clear();
            }
            Line::Unopened(refusal) | Line::Refused(_, refusal) | Line::Denied(_, refusal) => self.refused(refusal),
            Line::Try(topic, call) => self.tried = Some((topic.clone(), call.clone())),
            Line::Done(..) => self.done(),
            Line::SeenTopic(..) | Line::SeenPart(..) | Line::SeenCommit(..) => note(&mut self.seen, line.clone()),
            Line::SeenAll => {
                let seen = std::mem::take(&mut self.seen);
                self.oracle.accept(&seen, Loss::Kill).unwrap_or_else(|story| panic!("{story}"));
            }
            _ => {}
        }
        self.oracle.note(line);
    }

    /// What was done was not latched.
    fn done(&mut self) {
        let Some((topic, call)) = self.tried.take() else { return };
        let of = match call {
            Call::Append { partition, .. } => format!("{topic}/{partition}"),
            Call::Commit(_) => format!("{topic}/commits"),
            Call::Create { .. } | Call::Delete => "names".into(),
            _ => return,
        };
        assert!(!self.latched.contains(&of), "{of} took {call:?} after a failed sync");
        self.opened.insert(of);
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.refused += 1;
        assert_ne!(self.errno, 0, "what is to be taken up again was refused: {refusal}");
        let root = self.path.display().to_string();
        match refusal.variant.as_str() {
            "Io" => {
                let errno = if self.errno == NOTHING_WRITTEN { 0 } else { self.errno };
                assert_eq!(refusal.errno, errno, "{refusal}");
                assert!(!refusal.operation.is_empty() && refusal.path.starts_with(&root), "{refusal}");
                if refusal.operation == "sync" {
                    self.sync_failed(&refusal.path[root.len()..]);
                }
            }
            "StorageFull" => assert!(FULL.contains(&self.errno) && refusal.path.starts_with(&root), "{refusal}"),
            "Latched" => {
                self.answered_latched += 1;
                assert!(refusal.path.starts_with(&root), "{refusal}");
            }
            // What follows from an earlier refusal, or from a delete that was refused.
            "TopicNotFound" | "TopicExists" | "OffsetOutOfRange" => {}
            // Told as a whole sentence.
            "Story" => {
                let is_damage = ["corrupt ", "missing ", "foreign ", "duplicate "];
                assert!(!is_damage.iter().any(|word| refusal.path.contains(word)), "an error is no damage: {refusal}");
            }
            other => panic!("{other}: {refusal}"),
        }
    }

    fn sync_failed(&mut self, path: &str) {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let of = match words[..] {
            ["topics", topic, "commits"] => format!("{}/commits", name(topic)),
            ["topics", topic, partition, ..] => format!("{}/{partition}", name(topic)),
            ["topics" | "trash"] => "names".into(),
            _ => return,
        };
        // What a recovery couldn't sync is begun anew by the next one, and latches nothing.
        if of == "names" || self.opened.contains(&of) || path.ends_with(".log") {
            self.latched.insert(of);
        }
    }
}

fn name(topic_dir: &str) -> &str {
    topic_dir.split('@').next().expect("has a name")
}

#[derive(Debug, Default)]
#[allow(dead_code, reason = "all of it is printed")]
struct Tally {
    calls: usize,
    failed: u64,
    refused: u64,
    /// Another call was hit: the work doesn't allocate the same way each time.
    missed: u64,
}

/// Lets a part run while a call fails; gives what it was told and how the part ended, or nothing if another call was hit.
fn suffer(part: &str, aim: &Aim, answer: &str, judge: &mut Judge<'_>, mapping: Mapping) -> Option<ExitStatus> {
    let inject = format!("{}:{answer}:when={}", aim.call, aim.nth);
    let mut child: Part = inflicted(&inject, part, judge.path, mapping);
    let mut lines = Vec::new();
    while let Some(line) = child.line() {
        lines.push(line);
    }
    let status = child.end();
    hit(judge.path)?;
    lines.iter().for_each(|line| judge.hear(line));
    Some(status)
}

/// Every failure at every call of the kind, thinned to about so many runs.
fn shots(aims: &[Aim], most: usize) -> Vec<(&Aim, &'static str, i32)> {
    let mut all = Vec::new();
    for &(call, answer, errno) in FAILURES {
        all.extend(aims.iter().filter(|aim| aim.call == call).map(|aim| (aim, answer, errno)));
    }
    thinned(all, most)
}

fn works_on_while_calls_fail(mapping: Mapping) {
    if !strace::is_there() {
        return;
    }
    let (began, dir) = (Instant::now(), tempfile::tempdir().expect("makes a directory"));
    let aims = rehearse(SCRIPT, &dir.path().join("rehearsed"), mapping);
    let mut tally = Tally { calls: aims.len(), ..Tally::default() };
    for (aim, answer, errno) in shots(&aims, 60) {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("data");
        let mut judge = Judge::new(&path, errno, Oracle::default());
        let Some(status) = suffer(SCRIPT, aim, answer, &mut judge, mapping) else {
            tally.missed += 1;
            println!("missed {answer} at {aim:?}");
            continue;
        };
        let told = || format!("{mapping:?}, {answer} at {aim:?}");
        assert!(status.success(), "{}: {status}", told());
        (tally.failed, tally.refused) = (tally.failed + 1, tally.refused + judge.refused);
        for _ in 0..2 {
            check(&path, mapping, &mut judge.oracle, Loss::Kill).unwrap_or_else(|story| panic!("{}: {story}", told()));
        }
    }
    aloud(&format!("{mapping:?}: {tally:?}, {:?}", began.elapsed()));
    assert!(tally.missed * 10 <= tally.failed, "hardly anything was hit");
    assert!(tally.refused > 10, "hardly anything was refused");
}

fn recovers_after_calls_failed_in_recovery(mapping: Mapping) {
    if !strace::is_there() {
        return;
    }
    let (began, dir) = (Instant::now(), tempfile::tempdir().expect("makes a directory"));
    let (left, rehearsed) = (dir.path().join("left"), dir.path().join("rehearsed"));
    let mut oracle = Oracle::default();
    assert!(follow(Part::start(SCRIPT, &left, mapping), &mut oracle).success());
    copy(&left, &rehearsed);
    let aims = rehearse("recover", &rehearsed, mapping);
    let mut tally = Tally { calls: aims.len(), ..Tally::default() };
    for (i, (aim, answer, errno)) in shots(&aims, 40).into_iter().enumerate() {
        let path = dir.path().join(format!("data{i}"));
        copy(&left, &path);
        let mut judge = Judge::new(&path, errno, oracle.clone());
        let Some(status) = suffer("recover", aim, answer, &mut judge, mapping) else {
            tally.missed += 1;
            continue;
        };
        let told = || format!("{mapping:?}, {answer} at {aim:?} of the recovery");
        assert!(status.success(), "{}: {status}", told());
        (tally.failed, tally.refused) = (tally.failed + 1, tally.refused + judge.refused);
        check(&path, mapping, &mut judge.oracle, Loss::Kill).unwrap_or_else(|story| panic!("{}: {story}", told()));
    }
    aloud(&format!("{mapping:?}: {tally:?} in recovery, {:?}", began.elapsed()));
    assert!(tally.refused > 5, "hardly anything was refused");
}

#[test]
fn what_a_failed_sync_leaves_unknown_takes_nothing_more() {
    if !strace::is_there() {
        return;
    }
    let dir = tempfile::tempdir().expect("makes a directory");
    let aims = rehearse(SCRIPT, &dir.path().join("rehearsed"), Mapping::Auto);
    for (call, of) in [("fdatasync", ".log>"), ("fdatasync", "/commits>"), ("fsync", "/topics>")] {
        let aims: Vec<_> = aims.iter().filter(|aim| aim.call == call && aim.text.contains(of)).collect();
        let mut latched = 0;
        for aim in aims.iter().step_by(aims.len().div_ceil(6)) {
            let dir = tempfile::tempdir().expect("makes a directory");
            let path = dir.path().join("data");
            let mut judge = Judge::new(&path, 5, Oracle::default());
            suffer(SCRIPT, aim, "error=EIO", &mut judge, Mapping::Auto).expect("is hit");
            latched += judge.answered_latched;
            check(&path, Mapping::Auto, &mut judge.oracle, Loss::Kill)
                .unwrap_or_else(|story| panic!("{aim:?}: {story}"));
        }
        assert!(latched > 0, "nothing was latched by a failed sync of {of}");
    }
}

#[test]
fn a_listing_that_a_signal_interrupts_is_begun_again() {
    if !strace::is_there() {
        return;
    }
    let dir = tempfile::tempdir().expect("makes a directory");
    let is_listing = |aim: &Aim| aim.call == "openat" && aim.text.contains("O_DIRECTORY");
    let aims = rehearse(SCRIPT, &dir.path().join("rehearsed"), Mapping::Auto);
    let listing = aims.into_iter().filter(is_listing).nth(1).expect("lists");
    let path = dir.path().join("data");
    let mut judge = Judge::new(&path, 0, Oracle::default());
    let status = suffer(SCRIPT, &listing, "error=EINTR", &mut judge, Mapping::Auto).expect("is hit");
    assert!(status.success() && judge.refused == 0, "{status}");
}

#[test]
fn a_mapped_store_keeps_its_word_whichever_call_fails() {
    works_on_while_calls_fail(Mapping::Auto);
}

#[test]
fn a_store_without_maps_keeps_its_word_whichever_call_fails() {
    works_on_while_calls_fail(Mapping::Never);
}

#[test]
fn whichever_call_of_a_recovery_fails_the_next_one_finds_everything() {
    recovers_after_calls_failed_in_recovery(Mapping::Auto);
    recovers_after_calls_failed_in_recovery(Mapping::Never);
}
