//! `strace`, which kills a process at its n-th system call, or lets that call fail.
//!
//! Invariant: only calls that concern the store are aimed at. They are found by a rehearsal: the same work does the same
//! calls, and `strace` counts each kind of call for itself.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use epochlog::Mapping;

use crate::aloud::aloud;
use crate::oracle::Oracle;
use crate::part::{Part, command};

/// What changes something; names that a machine doesn't have are passed over.
pub const CHANGES: &[&str] = &[
    "pwrite64",
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "open",
    "openat",
    "ftruncate",
    "fallocate",
    "mmap",
];
/// What only looks.
pub const LOOKS: &[&str] = &["pread64", "getdents64"];

/// One system call of a rehearsal.
#[derive(Clone, Debug)]
pub struct Aim {
    pub call: String,
    /// Which of its kind, from 1.
    pub nth: u64,
    /// What it did, as `strace` tells it.
    pub text: String,
}

impl Aim {
    /// Whether it changes something: to open changes something only where it creates.
    pub fn changes(&self) -> bool {
        CHANGES.contains(&self.call.as_str()) && (!self.call.starts_with("open") || self.text.contains("O_CREAT"))
    }

    /// Whether a kill before it leaves another disk than a kill before the call that follows it.
    pub fn leaves_its_mark(&self) -> bool {
        self.changes() && !["fdatasync", "fsync", "mmap"].contains(&self.call.as_str())
    }
}

/// Says aloud why not, if `strace` can't be used here.
pub fn is_there() -> bool {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=1", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match tried {
        Ok(status) if status.success() => true,
        Ok(status) => {
            aloud(&format!("skipped: strace can't trace here ({status}; is ptrace allowed?)"));
            false
        }
        Err(error) => {
            aloud(&format!("skipped: no strace ({error})"));
            false
        }
    }
}

fn traced(log: &Path, inject: Option<&str>) -> Vec<String> {
    let names: Vec<String> = CHANGES.iter().chain(LOOKS).map(|name| format!("?{name}")).collect();
    let mut words = vec!["strace".into(), "-f".into(), "-qq".into(), "-y".into()];
    words.extend(["-e".into(), "signal=none".into(), "-s".into(), "200".into()]);
    words.extend(["-o".into(), log.display().to_string()]);
    words.extend(["-e".into(), format!("trace={}", names.join(","))]);
    words.extend(inject.map(|inject| format!("--inject={inject}")));
    words
}

/// The calls that a part makes to the store at this path, which isn't there yet unless something was put there.
pub fn rehearse(part: &str, path: &Path, mapping: Mapping) -> Vec<Aim> {
    let log = path.with_extension("trace");
    let status = Part::start_by(command(&traced(&log, None), part, path, mapping)).end();
    assert!(status.success(), "the rehearsal ends well: {status}");
    let text = std::fs::read_to_string(&log).expect("was traced");
    let (mut counts, mut aims) = (HashMap::new(), Vec::new());
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        let nth = counts.entry((thread, name)).or_insert(0);
        *nth += 1;
        if call.contains(&path.display().to_string()) {
            aims.push(Aim { call: name.into(), nth: *nth, text: call.trim_start().into() });
        }
    }
    aims
}

/// Starts a part that is killed at this call, before it is made.
pub fn killed_at(aim: &Aim, part: &str, path: &Path, mapping: Mapping) -> Part {
    inflicted(&format!("{}:signal=SIGKILL:when={}", aim.call, aim.nth), part, path, mapping)
}

/// Starts a part to which this is done; see `--inject` of `strace`.
pub fn inflicted(inject: &str, part: &str, path: &Path, mapping: Mapping) -> Part {
    Part::start_by(command(&traced(&path.with_extension("trace"), Some(inject)), part, path, mapping))
}

/// The call that something was done to, if it came to that and if the store was concerned.
pub fn hit(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path.with_extension("trace")).ok()?;
    let mut hits = text.lines().filter(|line| line.contains("(INJECTED)"));
    hits.find(|line| line.contains(&path.display().to_string())).map(String::from)
}

/// How far a sweep goes: everything if asked for, else so many of its moments, spread evenly.
pub fn thinned<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let step = if is_deep() { 1 } else { all.len().div_ceil(most).max(1) };
    all.into_iter().step_by(step).collect()
}

pub fn is_deep() -> bool {
    std::env::var("EPOCHLOG_MACHINE_DEEP").is_ok_and(|deep| deep == "1")
}

/// `strace` counts for each thread, so the n-th call of ours must not also be the n-th by which another thread loads the
/// program: enough calls that mean nothing are made before.
pub fn get_clear_of_the_loader() {
    use std::os::unix::fs::FileExt;
    for _ in 0..64 {
        let file = std::fs::File::open("/dev/zero").expect("is there");
        file.read_at(&mut [0], 0).expect("reads");
        drop(memmap2::MmapMut::map_anon(1).expect("maps"));
    }
}

/// Follows a part to its end.
pub fn follow(mut part: Part, oracle: &mut Oracle) -> std::process::ExitStatus {
    while let Some(line) = part.line() {
        oracle.note(&line);
    }
    part.end()
}
