//! A kill at any moment: every acknowledged record is there afterwards.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use crate::support::{Data, store};

/// Feeds numbered lines until the program is killed after `acks` acknowledgements; gives how many records were
/// acknowledged by then.
fn produce_and_kill(data: &Data, options: &str, first: u64, acks: usize) -> u64 {
    let mut command = data.command(&format!("produce orders --acks {options}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child: Child = command.spawn().expect("it starts");
    let mut input = child.stdin.take().expect("is piped");
    let feeder = std::thread::spawn(move || {
        // Ends when the pipe breaks, or when there is enough.
        let _broken = (first..first + 200_000).try_for_each(|number| writeln!(input, "value {number}"));
        input
    });
    let mut lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let mut last = lines.nth(acks - 1).expect("an acknowledgement").expect("is text");
    child.kill().expect("it runs");
    while let Some(Ok(ack)) = lines.next() {
        // A line that the kill cut is no acknowledgement that anybody could have read.
        if ack.rsplit('.').next().is_some_and(|tag| tag.len() == 16) {
            last = ack;
        }
    }
    child.wait().expect("it ends");
    drop(feeder.join());
    last.split([':', '@']).nth(1).expect("a place").parse().expect("an offset")
}

/// What is there is 0, 1, 2, ... in order, at least up to what was acknowledged.
fn check(data: &Data, acknowledged: u64) -> u64 {
    let consumed = data.lines("consume orders");
    let expected: Vec<String> = (0..consumed.len()).map(|number| format!("value {number}")).collect();
    assert_eq!(consumed, expected);
    assert!(consumed.len() as u64 >= acknowledged, "{} of {acknowledged} acknowledged", consumed.len());
    consumed.len() as u64
}

#[test]
fn every_acknowledged_record_survives_a_kill() {
    for (options, acks) in
        [("--batch 1", 1), ("--batch 1", 57), ("--batch 7", 31), ("", 3), ("--written --batch 1", 500)]
    {
        let data = store();
        data.run("topic create orders --segment-bytes 16KiB").ok();
        let acknowledged = produce_and_kill(&data, options, 0, acks);
        data.run("verify").ok();
        check(&data, acknowledged);
        let went_on = data.run_with("produce orders", b"").ok();
        assert!(went_on.err.contains("appended 0 records"), "{went_on:?}");
        data.run("verify").ok();
        check(&data, acknowledged);
    }
}

#[test]
fn recovery_is_told_on_standard_error_and_killing_again_loses_nothing() {
    let data = store();
    data.run("topic create orders --segment-bytes 16KiB").ok();
    let mut there = 0;
    for acks in [40, 1, 90] {
        let acknowledged = produce_and_kill(&data, "--batch 3", there, acks);
        there = check(&data, acknowledged.max(there));
    }
    let opened = data.run_with("produce orders", b"").ok();
    assert!(opened.err.contains("orders"), "the recovery report: {opened:?}");
    let again = data.run_with("produce orders", b"").ok();
    assert_eq!(again.err.lines().count(), 1, "closed cleanly before: {again:?}");
    check(&data, there);
}

#[test]
fn behind_a_kill_damage_is_told_from_a_torn_end() {
    let data = store();
    data.run("topic create orders").ok();
    let acknowledged = produce_and_kill(&data, "--batch 1", 0, 20);
    let segment = data.segments().remove(0);
    let whole = std::fs::read(&segment).expect("a segment");
    let end = whole.iter().rposition(|&byte| byte != 0).expect("records");
    let flipped = |position: usize| {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        std::fs::write(&segment, bytes).expect("a segment");
        data.run("verify")
    };
    let torn = flipped(end).ok();
    assert!(torn.out.contains("note: unfinished end at position"), "{torn:?}");
    let damaged = flipped(96 + 50);
    assert!(damaged.out.contains("at position 96, offsets 0..1: checksum"), "{damaged:?}");
    assert_eq!(damaged.code, 1);
    let refused = data.run_with("produce orders", b"more\n");
    assert!(refused.code == 1 && refused.err.contains("corrupt batch in"), "{refused:?}");
    std::fs::write(&segment, &whole).expect("a segment");
    check(&data, acknowledged);
}

#[test]
fn verify_beside_a_live_writer_finds_no_damage() {
    let data = store();
    data.run("topic create orders --segment-bytes 64KiB --retention-bytes 256KiB").ok();
    let mut writer = data.command("produce orders --written --batch 3");
    let mut writer = writer.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut input = writer.stdin.take().expect("is piped");
    let feeder = std::thread::spawn(move || {
        let _broken = (0..2_000_000).try_for_each(|number| writeln!(input, "value {number}"));
    });
    for _ in 0..20 {
        let found = data.run("verify");
        assert_eq!(found.code, 0, "{found:?}");
    }
    writer.kill().expect("it runs");
    writer.wait().expect("it ends");
    feeder.join().expect("the feeder ends");
}
