//! The language of these tests: a [`Data`] directory, commands that run in it, and what came of them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A store's directory that goes away with the test.
pub(crate) struct Data {
    dir: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

/// A fresh store.
pub(crate) fn store() -> Data {
    let data = nothing();
    data.run("init").ok();
    data
}

/// A fresh store with a topic `orders` that holds these lines.
pub(crate) fn orders(lines: &[&str]) -> Data {
    let data = store();
    data.run("topic create orders").ok();
    data.produce(lines);
    data
}

/// A directory in which nothing is yet.
pub(crate) fn nothing() -> Data {
    Data { dir: tempfile::tempdir().expect("a temporary directory") }
}

impl Data {
    /// Where the store is, or would be.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A file beside the store.
    pub(crate) fn beside(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("a file beside the store");
        path
    }

    /// The program on this store, with the words of `line` as its arguments.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = program();
        command.arg("--data").arg(self.path()).args(line.split_whitespace());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_with(line, b"")
    }

    /// Runs with these bytes on standard input.
    pub(crate) fn run_with(&self, line: &str, input: &[u8]) -> Ran {
        run(self.command(line), input)
    }

    /// Appends lines to `orders`.
    pub(crate) fn produce(&self, lines: &[&str]) {
        self.run_with("produce orders", lines.join("\n").as_bytes()).ok();
    }

    /// The lines that a command prints.
    pub(crate) fn lines(&self, line: &str) -> Vec<String> {
        self.run(line).ok().out.lines().map(str::to_owned).collect()
    }

    /// All segment files, in the order of their names.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find(&self.path(), "log", &mut found);
        found.sort();
        found
    }
}

fn find(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            find(&entry, extension, found);
        } else if entry.extension().is_some_and(|found| found == extension) {
            found.push(entry);
        }
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_epochlog"));
    command.env_remove("EPOCHLOG_DATA");
    command
}

pub(crate) fn run(mut command: Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It may refuse before it has read anything.
    let _refused_before = child.stdin.take().expect("is piped").write_all(input);
    Ran::of(&child.wait_with_output().expect("the program ends"))
}

impl Ran {
    fn of(output: &Output) -> Ran {
        Ran {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// It must have ended with 0.
    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It must have refused with exactly this message, and exit code 1. A hint may follow.
    #[track_caller]
    pub(crate) fn refused(&self, message: &str) {
        assert_eq!(self.code, 1, "{self:?}");
        let told = self.err.split("\nhint: ").next().expect("a first part");
        assert_eq!(told.trim_end(), format!("error: {message}"));
    }

    /// It must have refused and given exactly this hint, last.
    #[track_caller]
    pub(crate) fn hinted(&self, hint: &str) {
        assert_eq!(self.code, 1, "{self:?}");
        assert_eq!(self.err.lines().last(), Some(format!("hint: {hint}").as_str()), "{self:?}");
    }

    /// It must have ended with exit code 2 and said this.
    #[track_caller]
    pub(crate) fn wrong_usage(&self, message: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.err.contains(message), "{self:?}");
    }

    /// Its output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
