//! The shape of the public surface: what travels between threads, and a list of everything that is public.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use epochlog::{
    Ack, Consumer, ConsumerBuilder, Corruption, Error, GroupDescription, Maintenance, Partition, Place, Reader, Record,
    RecordView, Records, RecoveryReport, Store, StoreOptions, Target, Topic, TopicOptions,
};

fn send<T: Send>() {}
fn sync<T: Sync>() {}
fn copy<T: Copy>() {}
fn handle<T: Clone + Send + Sync + 'static>() {}
fn owned<T: Send + Sync + 'static>() {}

#[test]
fn handles_are_clones_that_any_thread_may_use() {
    handle::<Store>();
    handle::<Topic>();
    handle::<Partition>();
    handle::<Records>();
    handle::<Ack>();
    handle::<ConsumerBuilder>();
    handle::<StoreOptions>();
    handle::<TopicOptions>();
    handle::<RecoveryReport>();
    handle::<Maintenance>();
    handle::<GroupDescription>();
}

#[test]
fn readers_and_consumers_move_between_threads() {
    send::<Reader>();
    send::<Consumer>();
}

#[test]
fn records_and_errors_belong_to_nobody() {
    owned::<Records>();
    owned::<Error>();
    owned::<Corruption>();
    sync::<RecordView<'static>>();
    send::<RecordView<'static>>();
}

#[test]
fn places_targets_acknowledgements_and_records_to_append_are_copied() {
    copy::<Place>();
    copy::<Ack>();
    copy::<Target>();
    copy::<Record<'static>>();
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("lists").map(|entry| entry.expect("is there").path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

const KINDS: [&str; 8] =
    ["pub fn ", "pub const fn ", "pub struct ", "pub enum ", "pub trait ", "pub const ", "pub type ", "pub use "];

/// The heads of everything `pub` outside of tests, each on one line, without its body, behind what it belongs to.
fn heads(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut found = Vec::new();
    let mut owner = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(['}', 'p', 'i', 'f', 's', 'e', 't', 'm', 'u', 'c']) {
            owner = owner_in(line);
        }
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if indent == 4 && is_part(&owner, line) {
            found.push(format!("{owner}: {}", line.trim_end_matches([',', '{', ' '])));
        } else if KINDS.iter().any(|kind| line.starts_with(kind)) {
            let head = whole(line, &mut lines);
            found.push(if indent == 0 { head } else { format!("{owner}: {head}") });
        }
    }
    found
}

/// The type that the items behind this line belong to.
fn owner_in(line: &str) -> String {
    let head = line.trim_end_matches(['{', ' ']);
    match head.strip_prefix("impl") {
        Some(of) => format!("impl{of}"),
        None if head.starts_with("pub ") => head.split(['(', ';']).next().unwrap_or(head).to_string(),
        None => String::new(),
    }
}

/// A public field, a variant, or a function of a public trait.
fn is_part(owner: &str, line: &str) -> bool {
    let is_field = line.starts_with("pub ") && line.ends_with(',') && line.contains(": ") && !line.contains('(');
    let is_variant = owner.starts_with("pub enum") && line.starts_with(char::is_uppercase);
    is_field || is_variant || (owner.starts_with("pub trait") && line.starts_with("fn "))
}

/// The head that begins here, to its body or its end.
fn whole<'a>(line: &str, more: &mut impl Iterator<Item = &'a str>) -> String {
    let mut head = line.to_string();
    let is_use = head.starts_with("pub use ");
    let is_whole = |head: &str| head.ends_with(';') || (!is_use && head.ends_with(['{', '}', ',']) && !is_open(head));
    while !is_whole(&head) {
        let Some(line) = more.next() else { break };
        head = format!("{head} {}", line.trim());
    }
    let end = if is_use { None } else { head.find(" {").or_else(|| head.find(';')) };
    head[..end.unwrap_or(head.len())].replace("( ", "(").replace(", )", ")")
}

fn is_open(head: &str) -> bool {
    head.matches('(').count() > head.matches(')').count()
}

#[test]
fn the_public_api_is_the_one_that_was_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut list = BTreeSet::new();
    for path in sources(&root.join("src")) {
        let file = path.strip_prefix(root.join("src")).expect("lies there").to_string_lossy().into_owned();
        if file.starts_with("bin/") {
            continue;
        }
        for head in heads(&std::fs::read_to_string(&path).expect("reads")) {
            list.insert(format!("{file}: {head}"));
        }
    }
    let now = list.into_iter().map(|line| line + "\n").collect::<String>();
    let golden = root.join("tests/golden/api.txt");
    if std::env::var_os("EPOCHLOG_BLESS").is_some() {
        std::fs::write(&golden, &now).expect("writes");
    }
    let before = std::fs::read_to_string(&golden).expect("reads");
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), now.lines().collect());
    let gone: Vec<_> = before.difference(&now).collect();
    let new: Vec<_> = now.difference(&before).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the public API changed: gone {gone:#?}, new {new:#?}; if that is meant, run with EPOCHLOG_BLESS=1"
    );
}
