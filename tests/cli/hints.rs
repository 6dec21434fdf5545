//! Behind a refusal stands what to type next: commands and options, not calls of the library.

use crate::support::{Data, nothing, orders, run, store};

const BEGIN: &str = "choose where to begin: `--beginning`, `--tail N`, `--start OFFSET` or `--since TIME`";
const RESET: &str = "`epochlog group reset orders g --partition 1 --to WHERE` chooses where the group goes on: \
                     `earliest`, `latest`, an offset, a time or a place";
const TO: &str = "choose another `--to`: `earliest`, `latest`, an offset, a time or a place";

/// Two partitions that a group has read to their ends, and its place in the second.
fn consumed() -> (Data, String) {
    let data = store();
    data.run("topic create orders --partitions 2").ok();
    for partition in 0..2 {
        data.run_with(&format!("produce orders -p {partition}"), b"a\nb\nc\n").ok();
    }
    data.run("consume orders -g g").ok();
    let described = data.run("group describe orders g -O json").ok().json();
    let place = described["commits"][1]["place"].as_str().expect("a place").to_owned();
    (data, place)
}

#[test]
fn whoever_stands_at_a_cut_is_told_how_to_move_the_group_there_alone() {
    let (data, place) = consumed();
    data.run("topic truncate orders -p 1 --to 1").ok();
    data.run_with("produce orders -p 1", b"x\n").ok();
    data.run("consume orders -g g").hinted(RESET);
    data.run(&format!("consume orders --at {place}")).hinted(BEGIN);
    data.run(&format!("consume orders -g new --at {place}")).hinted(BEGIN);
    data.run(&format!("group reset orders g --to {place}")).hinted(TO);
    data.run("group reset orders g --partition 1 --to earliest").ok();
    assert_eq!(data.lines("consume orders -g g"), ["a", "x"], "as the hint says, and the other partition stays");
}

#[test]
fn whoever_stands_at_what_retention_took_is_told_the_same() {
    let (data, _) = consumed();
    data.run("group reset orders g --to earliest").ok();
    data.run("topic trim orders -p 1 --to 2").ok();
    data.run("consume orders -g g").hinted(RESET);
    data.run("consume orders --start 7").hinted(BEGIN);
    data.run("group reset orders g --to 7").hinted(TO);
}

#[test]
fn whoever_has_no_such_topic_is_told_which_there_are() {
    let data = orders(&["a"]);
    for command in ["consume nope", "topic delete nope", "group list nope"] {
        data.run(command).hinted("`epochlog topic list` tells which there are");
    }
    let creates = "`epochlog topic create nope` creates it; `epochlog topic list` tells which there are";
    data.run_with("produce nope", b"a\n").hinted(creates);
}

#[test]
fn whoever_has_no_store_is_told_of_init() {
    let data = nothing();
    let creates = format!("`epochlog --data {} init` creates a store there", data.path().display());
    data.run("topic list").hinted(&creates);
    std::fs::create_dir(data.path()).expect("a directory");
    data.run("verify").hinted(&creates);
    std::fs::write(data.path().join("thesis.txt"), "mine").expect("a file");
    assert!(!data.run("topic list").err.contains("hint"), "init would refuse it too");
}

#[test]
fn whoever_has_the_store_already_is_told_what_that_means() {
    let data = store();
    data.run("init").hinted("nothing is left to do; all other commands open it");
    let text = data.beside("text", b"one\n");
    let another = "name another directory, or none for one among the temporary files";
    data.run(&format!("demo {}", text.display())).hinted(another);
}

#[test]
fn whoever_is_too_large_is_told_the_option_that_sets_the_limit() {
    let data = store();
    data.run("topic create orders --segment-bytes 1KiB").ok();
    let refused = data.run_with("produce orders", "x".repeat(1000).as_bytes());
    refused.hinted("`epochlog topic create --segment-bytes SIZE` sets it for a new topic");
}

#[test]
fn a_path_of_several_words_is_one_word_for_the_shell_that_the_hint_is_typed_into() {
    let data = nothing();
    let path = data.path().with_file_name("it's here");
    let mut list = data.command("topic list");
    list.arg("--data").arg(&path);
    let quoted = path.display().to_string().replace('\'', r"'\''");
    run(list, b"").hinted(&format!("`epochlog --data '{quoted}' init` creates a store there"));
}

#[test]
fn who_would_repair_beside_a_writer_is_told_of_verify() {
    let data = store();
    let _writer = epochlog::Store::open(data.path()).expect("opens");
    data.run("repair --dry-run").hinted("`epochlog verify` looks for damage beside the writer");
    data.run("verify").ok();
}
