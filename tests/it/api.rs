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
fn places_targets_and_records_to_append_are_copied() {
    copy::<Place>();
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

/// The heads of everything `pub` outside of tests, each on one line, without its body.
fn heads(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if !KINDS.iter().any(|kind| line.starts_with(kind)) {
            continue;
        }
        let mut head = line.to_string();
        while !head.contains(['{', ';']) && !head.ends_with(',')
            || head.matches('(').count() > head.matches(')').count()
        {
            let Some(more) = lines.next() else { break };
            head = format!("{head} {more}");
        }
        if head.starts_with("pub use ") {
            while !head.ends_with(';') {
                let Some(more) = lines.next() else { break };
                head = format!("{head} {more}");
            }
            found.push(head);
        } else {
            let end = if head.contains(" fn ") { head.find(" {") } else { head.find(['{', ';']) };
            found.push(
                head[..end.unwrap_or(head.len())].trim().trim_end_matches(';').replace("( ", "(").replace(", )", ")"),
            );
        }
    }
    found
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
