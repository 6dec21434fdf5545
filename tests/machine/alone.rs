//! One writer: a second one is refused, a stalled one keeps the lock, and the lock dies with its process. F16.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use epochlog::{AppendOptions, Durability, Error, Mapping, Reader, Record, Start, Store, StoreOptions, TopicOptions};
use rustix::process::{Signal, kill_process};

use crate::look::open;
use crate::part::{Part, Stage};
use crate::report::{Line, Refusal, Reporter, id_of, value_of};

const LEN: usize = 50;

/// Opens at once, or tells why not.
pub fn second(stage: &Stage) {
    match StoreOptions::new().mapping(stage.mapping).open(&stage.path) {
        Ok(_) => stage.reporter.tell(&Line::Ready),
        Err(error) => stage.reporter.tell(&Line::Unopened(Refusal::of(&error))),
    }
}

/// Opens, and appends without end; the value says at which offset.
pub fn hold(stage: &Stage) {
    let store = open(&stage.path, stage.mapping).expect("opens");
    let options = TopicOptions::new().segment_bytes_max(4096);
    let orders = store.topic_or_create("orders", options).and_then(|topic| topic.partition(0)).expect("is there");
    stage.reporter.tell(&Line::Ready);
    for next in orders.end().get().. {
        let durability = if next % 4 == 0 { Durability::Durable } else { Durability::Written };
        let value = value_of(next, LEN);
        let ack = orders.append_with(Record::new(&value), AppendOptions::new().durability(durability));
        stage.reporter.tell(&Line::Handed("orders".into(), ack.expect("appends").next()));
    }
}

/// Opens and appends, forks a child that never becomes another program, and closes, if it is to.
pub fn fork(stage: &Stage) {
    let store = open(&stage.path, stage.mapping).expect("opens");
    let orders = store.topic_or_create("orders", TopicOptions::new()).expect("is there");
    orders.append(Record::new("held")).expect("appends");
    std::thread::spawn(|| {
        let mut command = Command::new("true");
        let said_by_child = || {
            Reporter::new().tell(&Line::Forked(std::process::id()));
            // Until the test ends it, with its whole group.
            std::thread::sleep(Duration::from_secs(120));
            Ok(())
        };
        // SAFETY: the closure runs in the forked child alone; it writes one line and sleeps, and the locks that it takes
        // are the allocator's, which `fork` keeps whole.
        unsafe { command.pre_exec(said_by_child) };
        command.status()
    });
    if stage.words[0] == "closes" {
        stage.reporter.tell(&Line::Ready);
        while !std::fs::exists(stage.path.with_extension("go")).expect("is asked") {
            std::thread::yield_now();
        }
        store.close().expect("closes");
        stage.reporter.tell(&Line::Bye);
    }
    std::thread::sleep(Duration::from_secs(120));
}

fn locked_by(result: Result<Store, Error>) -> u32 {
    match result {
        Err(Error::Locked { pid, .. }) => pid.expect("the lock's file names it"),
        Err(error) => panic!("not locked, but {error}"),
        Ok(_) => panic!("a second writer"),
    }
}

fn wait_for(child: &mut Part, wanted: impl Fn(&Line) -> bool) -> Line {
    loop {
        let line = child.line().expect("goes on");
        if wanted(&line) {
            return line;
        }
    }
}

/// Reads on; everything comes in order, and nothing is left out. Gives the next offset.
fn read_on(reader: &mut Reader) -> u64 {
    loop {
        let next = reader.place().next().get();
        let records = reader.read().expect("reads");
        if records.is_empty() {
            return next;
        }
        for (offset, record) in (next..).zip(&records) {
            assert_eq!((record.offset().get(), id_of(record.value())), (offset, Some((offset, LEN))));
        }
    }
}

fn reader(store: &Store) -> Reader {
    let partition = store.topic("orders").and_then(|topic| topic.partition(0)).expect("is there");
    partition.read_from(Start::Earliest).expect("begins")
}

fn count(path: &Path) -> u64 {
    read_on(&mut reader(&Store::open_read_only(path).expect("opens for reading")))
}

#[test]
fn a_second_process_is_refused_with_the_number_of_the_first() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    let store = Store::create(&path).expect("creates");
    let mut child = Part::start("second", &path, Mapping::Auto);
    let Some(Line::Unopened(refusal)) = child.line() else { panic!("a second writer") };
    assert_eq!((refusal.variant.as_str(), refusal.path), ("Locked", std::process::id().to_string()));
    assert!(child.end().success());
    drop(store);
    let mut child = Part::start("hold", &path, Mapping::Auto);
    wait_for(&mut child, |line| *line == Line::Ready);
    assert_eq!(locked_by(Store::open(&path)), child.pid().as_raw_nonzero().get().cast_unsigned());
}

#[test]
fn a_stalled_writer_keeps_the_lock_while_a_reader_goes_on_and_both_end_with_it() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    let mut child = Part::start("hold", &path, Mapping::Auto);
    let handed = |line: &Line| matches!(line, Line::Handed(..));
    (0..20).for_each(|_| drop(wait_for(&mut child, handed)));
    child.signal(Signal::STOP);
    assert_eq!(locked_by(Store::open(&path)), child.pid().as_raw_nonzero().get().cast_unsigned());
    let stalled_at = count(&path);
    assert!(stalled_at >= 20);
    child.signal(Signal::CONT);
    let more = |line: &Line| matches!(line, Line::Handed(_, place) if place.next().get() > stalled_at);
    wait_for(&mut child, more);
    assert!(count(&path) > stalled_at);
    child.signal(Signal::KILL);
    child.end();
    open(&path, Mapping::Auto).expect("the lock died with its process");
}

/// A kill takes nothing, so a reader in another process is told nothing of it, nor of the recovery.
#[test]
fn a_reader_in_another_process_goes_on_while_writers_are_killed_and_come_again() {
    for mapping in [Mapping::Auto, Mapping::Never] {
        let dir = tempfile::tempdir().expect("makes a directory");
        let path = dir.path().join("data");
        let mut tail = None;
        for round in 0..8 {
            let mut child = Part::start("hold", &path, mapping);
            let mut acknowledged = 0;
            for _ in 0..40 + round * 7 {
                let line = wait_for(&mut child, |line| matches!(line, Line::Handed(..)));
                let Line::Handed(_, place) = line else { continue };
                acknowledged = place.next().get();
            }
            let tail = tail.get_or_insert_with(|| {
                let store = StoreOptions::new().mapping(mapping).open_read_only(&path).expect("opens for reading");
                (reader(&store), store)
            });
            child.signal(Signal::KILL);
            child.end();
            assert!(read_on(&mut tail.0) >= acknowledged, "of {acknowledged} acknowledged");
        }
    }
}

/// The memory of a process that is mapped from the store's files, writable and shared.
fn writable_maps(pid: u32, path: &Path) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("lives");
    maps.lines().filter(|line| line.contains(" rw-s ") && line.contains(&path.display().to_string())).count()
}

fn forked(child: &mut Part) -> u32 {
    let Line::Forked(pid) = wait_for(child, |line| matches!(line, Line::Forked(_))) else { panic!("no number") };
    pid
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_inherits_no_map_and_keeps_no_lock_of_a_store_that_is_closed() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    let mut child = Part::start("fork closes", &path, Mapping::Auto);
    let pid = forked(&mut child);
    let host = child.pid().as_raw_nonzero().get().cast_unsigned();
    assert_eq!(writable_maps(pid, &path), 0, "the child could write into the log");
    assert!(writable_maps(host, &path) > 0, "nothing is mapped at all");
    assert_eq!(locked_by(Store::open(&path)), host);
    std::fs::write(path.with_extension("go"), "").expect("writes");
    wait_for(&mut child, |line| *line == Line::Bye);
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "the forked child lives on");
    assert_eq!(open_at_once(&path), 1);
}

/// A killed host can't release anything, and its forked child has what it had: the lock is free when both have ended.
#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_that_outlives_a_killed_host_holds_the_lock_until_it_ends() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let path = dir.path().join("data");
    let mut child = Part::start("fork stays", &path, Mapping::Auto);
    let forked = forked(&mut child);
    kill_process(child.pid(), Signal::KILL).expect("runs");
    let host = child.pid().as_raw_nonzero().get().cast_unsigned();
    assert_eq!(locked_by(Store::open(&path)), host);
    child.signal(Signal::KILL);
    child.end();
    let forked = Path::new("/proc").join(forked.to_string());
    let store = open(&path, Mapping::Auto).unwrap_or_else(|error| panic!("{} holds it: {error}", forked.display()));
    assert_eq!(store.topic("orders").and_then(|topic| topic.partition(0)).expect("is there").end().get(), 1);
}

fn open_at_once(path: &Path) -> u64 {
    let store = open(path, Mapping::Auto).expect("the lock was released");
    store.topic("orders").and_then(|topic| topic.partition(0)).expect("is there").end().get()
}
