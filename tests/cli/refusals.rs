//! Bad input: each is refused in the library's words, with what is wrong, what is allowed and what to do.

use crate::support::{nothing, orders, program, run, store};

const ALLOWED: &str = "allowed are ASCII letters, digits, `-`, `_` and `.`, beginning with a letter, a digit or `_`";

#[test]
fn a_bad_name_is_refused_with_the_rule_it_breaks() {
    let data = store();
    data.run("topic create a/b").refused(&format!("topic name `a/b` is invalid: `/` at byte 1; {ALLOWED}"));
    data.run("topic create ..").refused(&format!("topic name `..` is invalid: `.` at byte 0; {ALLOWED}"));
    data.run("topic create con").refused("topic name `con` is invalid: `con` is the name of a device on Windows");
    let mut empty = data.command("topic create");
    empty.arg("");
    run(empty, b"").refused(&format!("topic name `` is invalid: it is empty; {ALLOWED}"));
    let long = "x".repeat(201);
    data.run(&format!("topic create {long}"))
        .refused(&format!("topic name `{long}` is invalid: 201 bytes are more than the 200 allowed"));
    assert_eq!(data.lines("topic list"), Vec::<String>::new());
}

#[test]
fn an_option_out_of_range_is_refused_with_the_range() {
    let data = store();
    data.run("topic create t --segment-bytes 5")
        .refused("option `segment_bytes_max` is invalid: 5 was given; allowed is 1024 to 2147483648");
    data.run("topic create t --partitions 0")
        .refused("option `partitions` is invalid: 0 was given; allowed is 1 to 10000");
    data.run("topic create t --segment-age 5 ").wrong_usage("`5` is not a duration");
    data.run("topic create t --retention-bytes lots").wrong_usage("`lots` is not a size");
}

#[test]
fn a_path_that_is_no_store_is_refused_and_left_alone() {
    let data = nothing();
    let path = data.path().display().to_string();
    data.run("topic list").refused(&format!("`{path}` is not a store: nothing is there; create a store first"));
    assert!(!data.path().exists());
    std::fs::write(data.path(), "a file").expect("a file");
    data.run("topic create t")
        .refused(&format!("`{path}` is not a store: it is not a directory; give the path of a directory"));
    data.run("init").refused(&format!("`{path}` is not a store: it is not a directory; give the path of a directory"));
}

#[test]
fn a_directory_with_other_files_is_refused_and_left_alone() {
    let data = nothing();
    std::fs::create_dir(data.path()).expect("a directory");
    std::fs::write(data.path().join("thesis.txt"), "mine").expect("a file");
    let reason = "the directory holds other files and no file `STORE`; give an empty or a new directory";
    for line in ["init", "topic list", "produce t"] {
        data.run(line).refused(&format!("`{}` is not a store: {reason}", data.path().display()));
    }
    assert_eq!(std::fs::read_dir(data.path()).expect("a directory").count(), 1);
}

#[test]
fn a_store_is_not_created_twice() {
    let data = store();
    let path = data.path();
    data.run("init").refused(&format!("`{}` already holds a store; open it instead of creating it", path.display()));
}

#[test]
fn what_is_not_there_is_named() {
    let data = orders(&["a"]);
    let readers = ["consume", "topic describe", "topic delete", "segment list", "group list"];
    for command in readers {
        data.run(&format!("{command} nope")).refused("topic `nope` not found; create it first");
    }
    data.run_with("produce nope", b"a\n").refused("topic `nope` not found; create it first");
    data.run("segment dump nope 0").refused("topic `nope` not found; create it first");
    data.run("consume orders -p 9").refused("topic `orders` has no partition 9; it has 1, numbered from 0");
    data.run("segment dump orders 0 -p 9").refused("topic `orders` has no partition 9; it has 1, numbered from 0");
    data.run("group describe orders g").refused("group `g` has no commit in topic `orders`");
    data.run("group delete orders g").refused("group `g` has no commit in topic `orders`");
}

#[test]
fn an_offset_out_of_range_is_refused_with_the_range() {
    let data = orders(&["a", "b"]);
    let refusal = "offset 7 of partition 0 of `orders` is out of range; it holds 0..2";
    data.run("consume orders --start 7").refused(refusal);
    data.run("group reset orders g --to 7").refused(refusal);
    data.run("topic trim orders --to 7").refused(refusal);
    data.run("topic truncate orders --to 7").refused(refusal);
}

#[test]
fn a_second_writer_is_told_who_has_the_store() {
    let data = orders(&["a"]);
    let mut writer = data.command("produce orders --acks");
    writer.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut writer = writer.stderr(std::process::Stdio::null()).spawn().expect("the program starts");
    let mut input = writer.stdin.take().expect("is piped");
    std::io::Write::write_all(&mut input, b"b\n").expect("it reads");
    let mut ack = String::new();
    let mut output = std::io::BufReader::new(writer.stdout.take().expect("is piped"));
    std::io::BufRead::read_line(&mut output, &mut ack).expect("it acknowledges");
    let refused = data.run_with("produce orders", b"c\n");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("is open for writing in another process"), "{refused:?}");
    data.run("consume orders -g g").hinted("without `--group` it reads beside the writer");
    assert_eq!(data.lines("consume orders"), ["a", "b"], "a reader works beside the writer");
    drop(input);
    assert!(writer.wait().expect("it ends").success());
}

#[test]
fn a_record_over_the_limit_is_refused_and_nothing_of_it_is_there() {
    let data = store();
    data.run("topic create orders --segment-bytes 1KiB").ok();
    let input = format!("fits\n{}\nnever read\n", "x".repeat(1000));
    let refused = data.run_with("produce orders", input.as_bytes());
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("record of 1003 bytes is larger than the limit of"), "{refused:?}");
    assert!(refused.err.contains("appended 1 record, 4 B"), "{refused:?}");
    assert_eq!(data.lines("consume orders"), ["fits"]);
}

/// It is read only as far as shows that, so nobody may say how long it is.
#[test]
fn an_input_that_is_longer_than_any_record_is_not_given_the_size_at_which_reading_stopped() {
    let data = store();
    data.run("topic create orders --segment-bytes 1KiB").ok();
    let input = format!("fits\n{}\nnever read\n", "x".repeat(3_000_000));
    let too_long = "of more than 1024 bytes is larger than a segment of the topic; `epochlog topic create \
                    --segment-bytes SIZE` sets that for a new one";
    let refused = data.run_with("produce orders", input.as_bytes());
    assert!(refused.err.ends_with(&format!("error: line 2 {too_long}\n")), "{refused:?}");
    let refused = data.run_with("produce orders --raw", input.as_bytes());
    assert!(refused.err.ends_with(&format!("error: the input {too_long}\n")), "{refused:?}");
    assert_eq!((refused.code, data.lines("consume orders")), (1, vec!["fits".to_owned()]));
    // What is in front of the cut would be small enough without the separator.
    let (separator, value) = ("=".repeat(400), "x".repeat(2000));
    let line = format!("produce orders --key-separator {separator}");
    let refused = data.run_with(&line, format!("k{separator}{value}\n").as_bytes());
    assert_eq!((refused.code, data.lines("consume orders")), (1, vec!["fits".to_owned()]), "{refused:?}");
}

#[test]
fn many_lines_that_fit_one_by_one_are_split_into_batches_that_fit() {
    let data = store();
    data.run("topic create orders --segment-bytes 1KiB").ok();
    let lines: Vec<String> = (0..500).map(|i| format!("line {i}")).collect();
    data.run_with("produce orders --header where=here", lines.join("\n").as_bytes()).ok();
    assert_eq!(data.lines("consume orders"), lines);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let data = store();
    data.run("frobnicate").wrong_usage("unrecognized subcommand");
    data.run("consume orders --format {{nope}}").wrong_usage("`{{nope}}` is not known; there are {{value}}");
    data.run("consume orders --start 1 --tail 1").wrong_usage("cannot be used with");
    data.run("consume orders --since yesterday").wrong_usage("`yesterday` is not a time");
    data.run("group reset orders g --to nowhere").wrong_usage("`nowhere` is no place to reset to");
    let mut nowhere = program();
    nowhere.args(["topic", "list"]);
    run(nowhere, b"").wrong_usage("give `--data DIR` or set `EPOCHLOG_DATA`");
}

#[test]
fn a_line_without_the_separator_is_refused_and_those_before_it_are_kept() {
    let data = store();
    data.run("topic create orders").ok();
    let refused = data.run_with("produce orders --key-separator =", b"a=1\nb=2\nc\n");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("line 3 has no key separator `=`; the lines before it were appended"), "{refused:?}");
    assert_eq!(data.lines("consume orders --format {{key}}:{{value}}"), ["a:1", "b:2"]);
}

#[test]
fn an_input_that_cannot_be_read_is_named_with_its_cause() {
    let data = orders(&[]);
    let refused = data.run("produce orders -f /nowhere/at/all");
    assert_eq!(refused.code, 1);
    assert!(refused.err.starts_with("error: cannot read `/nowhere/at/all`\ncaused by: No such file"), "{refused:?}");
}

#[test]
fn what_was_acknowledged_before_another_partition_refused_is_told() {
    let data = store();
    data.run("topic create orders --partitions 2").ok();
    let key_of = |partition| {
        let mut keys = (b'a'..=b'z').map(|key| char::from(key).to_string());
        keys.find(|key| crc32fast::hash(key.as_bytes()) % 2 == partition).expect("half of them")
    };
    let (few, many) = (format!("{}:few\n", key_of(0)), format!("{}:{}\n", key_of(1), "x".repeat(1000)));
    // One batch, of which the second partition's part is longer than a file may be.
    let input = data.beside("input", (few.repeat(3) + &many.repeat(800)).as_bytes());
    let line = format!("produce orders --acks --batch 10000 --key-separator : -f {}", input.display());
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -f 400; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_epochlog")]);
    limited.arg("--data").arg(data.path()).args(line.split_whitespace());
    let ran = run(limited, b"");
    assert_eq!((ran.code, ran.out.lines().count()), (1, 1), "{ran:?}");
    assert!(ran.err.contains("no space left") && ran.err.contains("appended 3 records, 12 B"), "{ran:?}");
    assert_eq!(data.lines("consume orders"), ["few"; 3]);
}
