//! What a child tells its parent: one line for each thing, in one write, so that a kill leaves whole lines.
//!
//! A call is told before it is made and answered after it has returned. What was told and not answered may have happened
//! or not.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use epochlog::{Error, Place};

/// Something that is about to be done to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Create {
        partitions: u32,
        durable: bool,
        retains: bool,
    },
    Delete,
    Append {
        partition: u32,
        first: u64,
        count: u64,
        len: usize,
        durable: bool,
    },
    Sync {
        partition: u32,
    },
    Trim {
        partition: u32,
        to: u64,
    },
    Truncate {
        partition: u32,
        to: u64,
    },
    /// A group without a commit begins here, and that is stored.
    Begin(Place),
    Commit(Place),
    /// The whole store is closed.
    Close,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub variant: String,
    pub operation: String,
    pub errno: i32,
    /// Of which file, or whose.
    pub path: String,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The store is open.
    Ready,
    /// The child did what it was to do.
    Bye,
    /// A child of the child, which is still the same program.
    Forked(u32),
    /// It didn't even open.
    Unopened(Refusal),
    Try(String, Call),
    /// The call has returned, and handed out a place.
    Done(String, Option<Place>),
    Refused(String, Refusal),
    /// Something was refused that had not been told: it would have changed nothing, or nothing that is looked at.
    Denied(String, Refusal),
    /// A reader was given this place.
    Handed(String, Place),
    /// Where a partition begins now.
    Begins(String, u32, u64),
    /// What an open has shown: the topic's creation epoch, and whether it is there.
    SeenTopic(String, String),
    /// Partition, start, and number and length of each record.
    SeenPart(String, u32, u64, Vec<(u64, usize)>),
    SeenCommit(String, Place),
    /// Everything that was seen has been told.
    SeenAll,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Create { partitions, durable, retains } => write!(f, "create {partitions} {durable} {retains}"),
            Call::Delete => f.write_str("delete"),
            Call::Append { partition, first, count, len, durable } => {
                write!(f, "append {partition} {first} {count} {len} {durable}")
            }
            Call::Sync { partition } => write!(f, "sync {partition}"),
            Call::Trim { partition, to } => write!(f, "trim {partition} {to}"),
            Call::Truncate { partition, to } => write!(f, "truncate {partition} {to}"),
            Call::Begin(place) => write!(f, "begin {place}"),
            Call::Commit(place) => write!(f, "commit {place}"),
            Call::Close => f.write_str("close"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (variant, operation, errno, path) = (&self.variant, &self.operation, self.errno, &self.path);
        write!(f, "{variant} {} {errno} {path}", operation.replace(' ', "_"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Ready => f.write_str("@ready"),
            Line::Bye => f.write_str("@bye"),
            Line::Forked(pid) => write!(f, "@forked {pid}"),
            Line::Unopened(refusal) => write!(f, "@unopened {refusal}"),
            Line::Try(topic, call) => write!(f, "@try {topic} {call}"),
            Line::Done(topic, Some(place)) => write!(f, "@done {topic} {place}"),
            Line::Done(topic, None) => write!(f, "@done {topic}"),
            Line::Refused(topic, refusal) => write!(f, "@refused {topic} {refusal}"),
            Line::Denied(topic, refusal) => write!(f, "@denied {topic} {refusal}"),
            Line::Handed(topic, place) => write!(f, "@handed {topic} {place}"),
            Line::Begins(topic, partition, start) => write!(f, "@begins {topic} {partition} {start}"),
            Line::SeenTopic(topic, epoch) => write!(f, "@topic {topic} {epoch}"),
            Line::SeenPart(topic, partition, start, records) => {
                write!(f, "@part {topic} {partition} {start}")?;
                records.iter().try_for_each(|(id, len)| write!(f, " {id}:{len}"))
            }
            Line::SeenCommit(topic, place) => write!(f, "@committed {topic} {place}"),
            Line::SeenAll => f.write_str("@seen"),
        }
    }
}

impl Refusal {
    pub fn of(error: &Error) -> Refusal {
        let debug = format!("{error:?}");
        let variant: String = debug.chars().take_while(char::is_ascii_alphanumeric).collect();
        let (operation, errno, path) = match error {
            Error::Io { operation, path, source } => {
                (*operation, source.raw_os_error().unwrap_or(0), path.display().to_string())
            }
            Error::Latched { operation, path, .. } => (*operation, 0, path.display().to_string()),
            Error::StorageFull { path, .. } => ("-", 0, path.display().to_string()),
            Error::Locked { pid, .. } => ("-", 0, pid.unwrap_or(0).to_string()),
            _ => ("-", 0, "-".into()),
        };
        Refusal { variant, operation: operation.into(), errno, path }
    }
}

impl Line {
    /// `None` for what isn't a line of ours.
    ///
    /// # Panics
    ///
    /// For one that is, and is wrong.
    pub fn parse(text: &str) -> Option<Line> {
        let mut words = Words(text.strip_prefix('@')?.split(' '));
        Some(match words.word() {
            "ready" => Line::Ready,
            "bye" => Line::Bye,
            "forked" => Line::Forked(words.parsed()),
            "unopened" => Line::Unopened(words.refusal()),
            "try" => Line::Try(words.parsed(), words.call()),
            "done" => Line::Done(words.parsed(), words.0.next().map(parsed)),
            "refused" => Line::Refused(words.parsed(), words.refusal()),
            "denied" => Line::Denied(words.parsed(), words.refusal()),
            "handed" => Line::Handed(words.parsed(), words.parsed()),
            "begins" => Line::Begins(words.parsed(), words.parsed(), words.parsed()),
            "topic" => Line::SeenTopic(words.parsed(), words.parsed()),
            "part" => Line::SeenPart(words.parsed(), words.parsed(), words.parsed(), words.0.map(record).collect()),
            "committed" => Line::SeenCommit(words.parsed(), words.parsed()),
            "seen" => Line::SeenAll,
            other => panic!("no such line: {other}"),
        })
    }
}

fn record(word: &str) -> (u64, usize) {
    let (id, len) = word.split_once(':').expect("number and length");
    (parsed(id), parsed(len))
}

fn parsed<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("a wrong word: {word}"))
}

struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn word(&mut self) -> &'a str {
        self.0.next().expect("another word")
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> T {
        parsed(self.word())
    }

    fn refusal(&mut self) -> Refusal {
        let (variant, operation) = (self.parsed(), self.word().replace('_', " "));
        let errno = self.parsed();
        // The path may hold blanks.
        let path = self.0.by_ref().collect::<Vec<_>>().join(" ");
        Refusal { variant, operation, errno, path }
    }

    fn call(&mut self) -> Call {
        match self.word() {
            "create" => Call::Create { partitions: self.parsed(), durable: self.parsed(), retains: self.parsed() },
            "delete" => Call::Delete,
            "append" => Call::Append {
                partition: self.parsed(),
                first: self.parsed(),
                count: self.parsed(),
                len: self.parsed(),
                durable: self.parsed(),
            },
            "sync" => Call::Sync { partition: self.parsed() },
            "trim" => Call::Trim { partition: self.parsed(), to: self.parsed() },
            "truncate" => Call::Truncate { partition: self.parsed(), to: self.parsed() },
            "begin" => Call::Begin(self.parsed()),
            "commit" => Call::Commit(self.parsed()),
            "close" => Call::Close,
            other => panic!("no such call: {other}"),
        }
    }
}

/// The child's end of the pipe.
pub struct Reporter(File);

impl Reporter {
    /// Reports on standard output, past the buffer of `std`.
    pub fn new() -> Reporter {
        let out = std::io::stdout().as_fd().try_clone_to_owned().expect("has an output");
        let reporter = Reporter(File::from(out));
        // The harness has begun a line of its own.
        (&reporter.0).write_all(b"\n").expect("the parent listens");
        reporter
    }

    pub fn tell(&self, line: &Line) {
        (&self.0).write_all(format!("{line}\n").as_bytes()).expect("the parent listens");
    }
}

/// What the number in a value may take.
pub const NUMBER_LEN_MAX: usize = 21;

/// The value of the record with this number: nobody else's.
pub fn value_of(id: u64, len: usize) -> Vec<u8> {
    let mut value = format!("{id}:").into_bytes();
    let from = value.len();
    value.extend((from..len).map(|i| (id.wrapping_mul(31).wrapping_add(i as u64) % 251) as u8));
    value
}

/// Number and length of a record, if its value is whole.
pub fn id_of(value: &[u8]) -> Option<(u64, usize)> {
    let colon = value.iter().position(|&byte| byte == b':')?;
    let id = std::str::from_utf8(&value[..colon]).ok()?.parse().ok()?;
    (value == value_of(id, value.len())).then_some((id, value.len()))
}
