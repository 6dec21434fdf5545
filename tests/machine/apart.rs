//! A test that mounts something, in a mount namespace of its own: the kernel takes its mounts and loop devices away with
//! its last process, whatever becomes of the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::aloud::aloud;

const APART: &str = "EPOCHLOG_MACHINE_APART";
/// What the shell answers when it couldn't mount.
const NO_MOUNT: i32 = 77;
/// In seconds, if the rounds aren't many. Nothing is measured: a machine may be slow.
const PATIENCE: u64 = 150;

/// Runs a scenario below a directory on which `mount`, a line for the shell, has mounted something; `$1` is the directory
/// and `$0` one beside it. Where that can't be done, it says so aloud.
///
/// `rounds` is how often it does something that may take a second or two. The scenario runs in another process: this executable, with only the test of this name.
pub fn apart(name: &str, mount: &str, rounds: u64, scenario: impl FnOnce(&Path)) {
    if let Ok(dir) = std::env::var(APART) {
        // The harness has begun a line of its own.
        println!();
        return scenario(&PathBuf::from(dir));
    }
    let beside = tempfile::tempdir().expect("makes a directory");
    let dir = beside.path().join("mounted");
    std::fs::create_dir(&dir).expect("makes a directory");
    let script = format!("{{ {mount} ; }} || exit {NO_MOUNT}; shift; exec \"$@\"");
    let mut command = Command::new("timeout");
    let patience = (PATIENCE + 30 * rounds).to_string();
    command.args(["-s", "KILL", &patience, "unshare", "--mount", "--propagation", "private", "sh", "-c", &script]);
    command.arg(beside.path()).arg(&dir).arg(std::env::current_exe().expect("knows itself"));
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(APART, &dir);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return aloud(&format!("skipped: {name}: no `timeout` ({error})")),
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(NO_MOUNT) || !out.contains("running ") {
        return aloud(&format!("skipped: {name}: can't mount here: {}", err.trim()));
    }
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "no test is called {name}");
    out.lines().filter(|line| line.starts_with('-')).for_each(aloud);
}
