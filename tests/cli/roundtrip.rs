//! What goes in comes out: lines, keys, headers, bytes; in order, from where it was asked for, as far as was asked for.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::support::{nothing, orders, program, run, store};

#[test]
fn lines_come_back_without_their_ends() {
    let data = store();
    data.run("topic create orders").ok();
    data.run_with("produce orders", b"one\ntwo\r\n\nthree").ok();
    assert_eq!(data.run("consume orders").ok().out, "one\ntwo\n\nthree\n");
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were_and_as_base64() {
    let data = store();
    data.run("topic create orders").ok();
    data.run_with("produce orders --key k", b"\xff\x00\xfe\n").ok();
    let mut consume = data.command("consume orders");
    assert_eq!(consume.output().expect("it runs").stdout, b"\xff\x00\xfe\n");
    let record = data.run("consume orders -O json").ok().json();
    assert_eq!((&record["key"], &record["value_base64"]), (&"k".into(), &"/wD+".into()));
    assert!(record.get("value").is_none());
}

#[test]
fn keys_headers_and_templates_come_through() {
    let data = store();
    data.run("topic create orders").ok();
    data.run_with("produce orders --key-separator : --header a=1 --header b=2", b"k:v:w\n").ok();
    let told = data.lines("consume orders --format {{offset}}|{{partition}}|{{key}}|{{value}}|{{headers}}");
    assert_eq!(told, ["0|0|k|v:w|a=1,b=2"]);
    let record = data.run("consume orders -O json").ok().json();
    assert_eq!(record["headers"][1]["name"], "b");
}

#[test]
fn all_of_the_input_may_be_one_record() {
    let data = store();
    data.run("topic create orders").ok();
    let file = data.beside("input", b"one\ntwo\n");
    data.run(&format!("produce orders --raw -f {}", file.display())).ok();
    let record = data.run("consume orders -O json").ok().json();
    assert_eq!(record["value"], "one\ntwo\n");
}

#[test]
fn every_way_to_begin_and_to_stop() {
    let data = orders(&["0", "1", "2", "3", "4"]);
    for (options, expected) in [
        ("", "01234"),
        ("-d", "01234"),
        ("-B", "01234"),
        ("--head 2", "01"),
        ("--head 0", ""),
        ("--head 99", "01234"),
        ("--tail 2", "34"),
        ("--tail 99", "01234"),
        ("--tail 0", ""),
        ("--start 3", "34"),
        ("--start 5", ""),
        ("--end 3", "012"),
        ("--end 0", ""),
        ("--start 1 --end 3", "12"),
        ("--start 1 --head 2", "12"),
        ("--tail 3 --head 1", "2"),
        ("--since 1h", "01234"),
        ("--since 1970-01-01T00:00:00Z", "01234"),
        ("--since 2999-01-01T00:00:00Z", ""),
        ("--until 1h", ""),
        ("--until 2999-01-01T00:00:00Z", "01234"),
    ] {
        assert_eq!(data.lines(&format!("consume orders {options}")).concat(), expected, "{options}");
    }
}

#[test]
fn all_partitions_are_read_and_one_may_be_chosen() {
    let data = store();
    data.run("topic create orders --partitions 3").ok();
    for partition in 0..3 {
        data.run_with(&format!("produce orders -p {partition}"), format!("in {partition}\n").as_bytes()).ok();
    }
    assert_eq!(data.lines("consume orders"), ["in 0", "in 1", "in 2"]);
    assert_eq!(data.lines("consume orders -p 1"), ["in 1"]);
    assert_eq!(data.lines("consume orders --tail 5 -p 2 -p 0 -p 2"), ["in 0", "in 2"]);
    data.run("topic add-partitions orders 4").ok();
    assert_eq!(data.lines("consume orders --tail 1").len(), 3, "an empty partition is no obstacle");
}

#[test]
fn acknowledged_places_are_printed_as_text_or_json() {
    let data = store();
    data.run("topic create orders").ok();
    let acks = data.run_with("produce orders --acks --batch 1", b"a\nb\n").ok();
    let next: Vec<&str> = acks.out.lines().map(|place| place.split('@').next().expect("a place")).collect();
    assert_eq!(next, ["0:1", "0:2"]);
    assert!(acks.err.starts_with("appended 2 records, 2 B in "), "{acks:?}");
    let ack = data.run_with("produce orders --acks --written -O json", b"c\n").ok().json();
    assert_eq!((&ack["start"], &ack["end"], &ack["durability"]), (&2.into(), &3.into(), &"written".into()));
}

#[test]
fn input_that_was_left_out_because_nobody_reads_the_acknowledgements_is_a_failure() {
    let data = store();
    data.run("topic create orders").ok();
    let unread = |batch: usize, input: &str| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let file = data.path().join("../input");
        std::fs::write(&file, input).expect("writes");
        let line = format!("produce orders --acks --batch {batch}");
        let ran = data.command(&line).arg("--file").arg(&file).stdout(writer).output().expect("it runs");
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, told) = unread(1, "a\nb\nc\n");
    assert_eq!(code, Some(1));
    assert!(told.contains("error: nobody reads the acknowledgements any more, so the rest"), "{told}");
    assert_eq!(data.lines("consume orders"), ["a"]);
    assert_eq!(unread(2, "b\nc\n").0, Some(0), "nothing is left");
}

#[test]
fn following_prints_what_comes_from_another_process() {
    let data = orders(&["before"]);
    let mut follow = data.command("consume orders -f").stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(follow.stdout.take().expect("is piped")).lines();
    let mut next = || lines.next().expect("a line").expect("is text");
    assert_eq!(next(), "before");
    data.produce(&["after", "later"]);
    assert_eq!((next(), next()), ("after".into(), "later".into()));
    data.produce(&["another session"]);
    assert_eq!(next(), "another session");
    follow.kill().expect("it runs");
    follow.wait().expect("it ends");
}

#[test]
fn a_line_is_appended_when_it_comes_and_not_when_the_batch_is_full() {
    let data = orders(&[]);
    let mut produce = data.command("produce orders --acks");
    produce.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut produce = produce.spawn().expect("it starts");
    let mut input = produce.stdin.take().expect("is piped");
    let mut acks = BufReader::new(produce.stdout.take().expect("is piped")).lines();
    for next in 1..4 {
        writeln!(input, "line").expect("it reads");
        let ack = acks.next().expect("an acknowledgement").expect("is text");
        assert!(ack.starts_with(&format!("0:{next}@")), "{ack}");
    }
    drop(input);
    assert!(produce.wait().expect("it ends").success());
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let lines: Vec<String> = (0..20_000).map(|i| format!("a line that fills pipes {i}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let data = orders(&lines);
    for command in ["consume orders", "consume orders -g g", "segment dump orders 0 --records"] {
        let mut child = data.command(command);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("is piped")).read_line(&mut first).expect("a line");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{command}");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!err.contains("error") && !err.contains("panic"), "{command}: {err}");
    }
}

#[test]
fn a_topic_is_created_listed_described_cut_and_deleted() {
    let data = store();
    let options = "--partitions 2 --segment-bytes 1MiB --segment-age 1h --retention-age 7d --retention-bytes 1GiB \
                   --durability written --sync-interval 100ms --sync-bytes 64KiB --unsynced-bytes-max 2MiB";
    data.run(&format!("topic create orders {options}")).ok();
    let described = data.run("topic describe orders -O json").ok().json();
    assert_eq!(described["options"]["segment_bytes_max"], 1 << 20);
    assert_eq!(described["options"]["retention_age_ms"], 7 * 86_400_000_u64);
    assert_eq!(described["options"]["durability"], "written");
    data.run_with("produce orders -p 0", b"a\nb\nc\n").ok();
    data.run("topic trim orders --to 1").refused("topic `orders` has 2 partitions; choose one with `--partition`");
    let trimmed = data.run("topic trim orders --to 1 -p 0").ok();
    assert_eq!(trimmed.out, "trimmed partition 0 of `orders` at offset 1: 1 record removed, it holds 1..3\n");
    let truncated = data.run("topic truncate orders --to 2 -p 0 -O json").ok().json();
    assert_eq!((&truncated["removed"], &truncated["end"]), (&1.into(), &2.into()));
    let list = data.run("topic list -O json").ok().json();
    assert_eq!((&list[0]["records"], &list[0]["partitions"]), (&1.into(), &2.into()));
    let deleted = data.run("topic delete orders").ok().out;
    assert!(deleted.starts_with("deleted topic `orders` of epoch 1."), "{deleted}");
    assert!(deleted.ends_with(" with 1 record and all commits\n"), "{deleted}");
}

#[test]
fn the_store_may_be_named_by_the_environment_and_mapping_may_be_refused() {
    let data = orders(&["a"]);
    let mut consume = program();
    consume.env("EPOCHLOG_DATA", data.path()).args(["consume", "orders", "--mapping", "never"]);
    assert_eq!(run(consume, b"").ok().out, "a\n");
    data.run_with("produce orders --mapping never", b"b\n").ok();
    assert_eq!(data.lines("consume orders"), ["a", "b"]);
}

#[test]
fn following_prints_what_comes_to_a_partition_that_is_added() {
    let data = orders(&["a"]);
    let mut follow = data.command("consume orders -f").stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(follow.stdout.take().expect("is piped")).lines();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let next = || told.recv_timeout(std::time::Duration::from_secs(20));
    let first = next();
    data.run("topic add-partitions orders 2").ok();
    data.run_with("produce orders -p 1", b"b\n").ok();
    let lines = [first, next()];
    follow.kill().expect("it runs");
    follow.wait().expect("it ends");
    assert_eq!(lines.map(|line| line.expect("is printed")), ["a", "b"]);
}

#[test]
fn the_demo_shows_the_refusal_and_leaves_a_store_behind() {
    let data = store();
    data.beside("text", b"one\ntwo\n");
    data.beside("binary", b"\0\0\0");
    let mut demo = program();
    let tmp = data.path();
    demo.env("TMPDIR", &tmp).arg("demo").arg(data.beside("more", b"three\n").parent().expect("a directory"));
    let demo = run(demo, b"").ok();
    for expected in [
        "Error::StaleEpoch",
        "the topic was recreated, or the place is of another topic or store; seek",
        "binary file",
        "skipped",
        "door closed",
    ] {
        assert!(demo.out.contains(expected), "{expected}: {}", demo.out);
    }
    let made =
        demo.out.lines().next().and_then(|line| line.strip_prefix("a fresh store: ")).expect("a path").to_owned();
    let mut verify = program();
    verify.args(["--data", &made, "verify"]);
    assert!(run(verify, b"").ok().out.contains("2 records"));
}

#[test]
fn the_demo_makes_its_store_where_it_is_told_and_leaves_every_other_alone() {
    let data = nothing();
    let text = data.beside("text", b"one\ntwo\n");
    let line = format!("demo {}", text.display());
    let told = data.run(&line).ok();
    assert!(told.out.starts_with(&format!("a fresh store: {}\n", data.path().display())), "{told:?}");
    assert_eq!(data.lines("consume cloud-command"), ["door open", "door closed"]);
    let there = format!("`{}` already holds a store; open it instead of creating it", data.path().display());
    data.run(&line).refused(&there);
    let mut demo = program();
    let beside = text.parent().expect("a directory");
    demo.env("EPOCHLOG_DATA", data.path()).env("TMPDIR", beside).arg("demo").arg(&text);
    let told = run(demo, b"").ok();
    assert!(told.out.starts_with(&format!("a fresh store: {}/epochlog-demo-", beside.display())), "{told:?}");
    assert_eq!(data.lines("consume cloud-command"), ["door open", "door closed"]);
}

#[test]
fn the_demo_ends_with_commands_as_a_shell_takes_them() {
    let data = nothing();
    let (text, dir) = (data.beside("text", b"one\n"), data.path().join("of two words"));
    std::fs::create_dir(data.path()).expect("makes a directory");
    let mut demo = program();
    demo.arg("--data").arg(&dir).arg("demo").arg(&text);
    let told = run(demo, b"").ok();
    assert!(told.out.contains(&format!("   export EPOCHLOG_DATA='{}'\n", dir.display())), "{told:?}");
}

#[test]
fn a_dump_prints_no_control_character_of_a_header() {
    let data = store();
    data.run("topic create orders").ok();
    data.run_with("produce orders --header \x1b[31m=\x1b[0m", b"v\n").ok();
    let dumped = data.run("segment dump orders 0 --records").ok();
    assert!(dumped.out.ends_with("  \\x1b[31m=`\\x1b[0m`  `v`\n"), "{dumped:?}");
}
