//! The child: this executable, run again with the one test below, which plays the part that its environment names.
//!
//! Invariant: it never outlives its parent, and no test waits for it without end.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use epochlog::Mapping;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::report::{Line, Reporter};

const ROLE: &str = "EPOCHLOG_MACHINE_PART";
const STORE: &str = "EPOCHLOG_MACHINE_STORE";
const MAPPED: &str = "EPOCHLOG_MACHINE_MAPPED";
/// A child that takes longer hangs. Nothing is measured: a machine may be slow.
const PATIENCE: Duration = Duration::from_secs(150);

/// What a child is told.
pub struct Stage {
    pub path: PathBuf,
    pub mapping: Mapping,
    pub words: Vec<String>,
    pub reporter: Reporter,
}

impl Stage {
    pub fn number(&self, i: usize) -> u64 {
        self.words[i].parse().expect("a number")
    }
}

#[test]
fn plays_its_part() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // Ends with its parent, whatever becomes of it.
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mapped = std::env::var(MAPPED).is_ok_and(|mapped| mapped == "yes");
    let mut words = role.split(' ').map(String::from);
    let role = words.next().expect("a part");
    let stage = Stage {
        path: PathBuf::from(std::env::var(STORE).expect("is told where")),
        mapping: if mapped { Mapping::Auto } else { Mapping::Never },
        words: words.collect(),
        reporter: Reporter::new(),
    };
    crate::strace::get_clear_of_the_loader();
    match role.as_str() {
        "work" => crate::worker::work(&stage),
        "bulk" => crate::bulk::write(&stage),
        "script" => crate::script::script(&stage),
        "recover" => crate::script::recover(&stage),
        "limited" => crate::limit::limited(&stage),
        "recover_with_few_files" => crate::limit::recover_with_few_files(&stage),
        "few_files" => crate::limit::few_files(&stage),
        "wait" => crate::waiters::wait(&stage),
        "second" => crate::alone::second(&stage),
        "hold" => crate::alone::hold(&stage),
        "fork" => crate::alone::fork(&stage),
        other => panic!("no such part: {other}"),
    }
    std::process::exit(0);
}

/// How the part is started; `before` is what runs it, such as `strace` with its options.
pub fn command(before: &[String], part: &str, path: &Path, mapping: Mapping) -> Command {
    let me = std::env::current_exe().expect("knows itself");
    let mut command = match before {
        [] => Command::new(me),
        [program, options @ ..] => {
            let mut command = Command::new(program);
            command.args(options).arg(me);
            command
        }
    };
    command.args(["part::plays_its_part", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, part).env(STORE, path).env(MAPPED, if mapping == Mapping::Auto { "yes" } else { "no" });
    command
}

/// A child that runs.
pub struct Part {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Held open: a child takes a closed input for the end of its parent.
    _input: ChildStdin,
    overdue: Arc<AtomicBool>,
    _in_time: mpsc::Sender<()>,
}

impl Part {
    pub fn start(part: &str, path: &Path, mapping: Mapping) -> Part {
        Part::start_by(command(&[], part, path, mapping))
    }

    pub fn start_by(mut command: Command) -> Part {
        // A group of its own, so that what runs it and what is run end together.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let (input, output) = (child.stdin.take().expect("is piped"), child.stdout.take().expect("is piped"));
        let (in_time, patience) = mpsc::channel::<()>();
        let (overdue, group) = (Arc::new(AtomicBool::new(false)), pid_of(&child));
        let late = overdue.clone();
        std::thread::spawn(move || {
            if patience.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                late.store(true, Ordering::Release);
                let _ended_meanwhile = kill_process_group(group, Signal::KILL);
            }
        });
        Part { child, output: BufReader::new(output), _input: input, overdue, _in_time: in_time }
    }

    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// The next whole line; none when the child has ended.
    ///
    /// # Panics
    ///
    /// If it hangs.
    pub fn line(&mut self) -> Option<Line> {
        loop {
            let mut bytes = Vec::new();
            self.output.read_until(b'\n', &mut bytes).expect("reads");
            assert!(!self.overdue.load(Ordering::Acquire), "the child hangs");
            if bytes.pop() != Some(b'\n') {
                return None;
            }
            if let Some(line) = Line::parse(&String::from_utf8_lossy(&bytes)) {
                return Some(line);
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process_group(self.pid(), signal).expect("is there, at least as a zombie");
    }

    /// Waits until it has ended; what it still says is lost.
    pub fn end(&mut self) -> ExitStatus {
        while self.line().is_some() {}
        self.child.wait().expect("ends")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ended_meanwhile = kill_process_group(self.pid(), Signal::KILL);
            let _ended = self.child.wait();
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).expect("has a number")
}

/// Whether it was killed, and didn't end by itself.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}
