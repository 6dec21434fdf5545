//! Groups: where they go on, and moving them.

use crate::support::{orders, store};

#[test]
fn a_group_goes_on_behind_what_was_printed() {
    let data = orders(&["a", "b"]);
    assert_eq!(data.lines("consume orders -g g"), ["a", "b"]);
    assert_eq!(data.lines("consume orders -g g"), Vec::<String>::new());
    data.produce(&["c"]);
    assert_eq!(data.lines("consume orders -g other --tail 1"), ["c"]);
    assert_eq!(data.lines("consume orders -g g"), ["c"]);
}

#[test]
fn only_what_was_printed_is_committed() {
    let data = store();
    data.run("topic create orders --partitions 2").ok();
    data.run_with("produce orders -p 0", b"a0\na1\na2\n").ok();
    data.run_with("produce orders -p 1", b"b0\nb1\n").ok();
    assert_eq!(data.lines("consume orders -g g --head 1"), ["a0", "b0"]);
    assert_eq!(data.lines("consume orders -g g --end 2"), ["a1", "b1"]);
    assert_eq!(data.lines("consume orders -g g"), ["a2"]);
}

#[test]
fn a_start_option_counts_only_where_there_is_no_commit() {
    let data = orders(&["a", "b", "c"]);
    assert_eq!(data.lines("consume orders -g g --start 1"), ["b", "c"]);
    data.produce(&["d"]);
    assert_eq!(data.lines("consume orders -g g --start 0"), ["d"]);
}

#[test]
fn where_a_start_option_leads_is_kept_also_if_nothing_is_there_yet() {
    let data = orders(&["a", "b", "c"]);
    let place = data.lines("consume orders --format {{place}}").remove(2);
    for (group, option) in
        [("tail", "--tail 0".to_owned()), ("at", format!("--at {place}")), ("start", "--start 3".into())]
    {
        assert_eq!(data.lines(&format!("consume orders -g {group} {option}")), Vec::<String>::new());
    }
    data.produce(&["d"]);
    for group in ["tail", "at", "start"] {
        assert_eq!(data.lines(&format!("consume orders -g {group}")), ["d"], "{group}");
    }
}

#[test]
fn a_start_option_that_does_not_count_is_said_to() {
    let data = store();
    data.run("topic create orders --partitions 3").ok();
    data.run_with("produce orders -p 0", b"a\nb\n").ok();
    let place = data.lines("consume orders --head 1 --format {{place}}").remove(0);
    let began = data.run("consume orders -g g -p 0 --start 0").ok();
    assert_eq!((began.out.as_str(), began.err.as_str()), ("a\nb\n", ""), "it counts");
    let moves = "counts only where it has none; `epochlog group reset orders g --to WHERE` moves it\n";
    for option in ["--beginning", "--tail 1", "--start 1", "--since 1h", &format!("--at {place}")] {
        let name = option.split(' ').next().expect("a name");
        let told = data.run(&format!("consume orders -g g -p 0 {option}")).ok();
        let said = format!("group `g` goes on at its commit in partition 0: `{name}` {moves}");
        assert_eq!((told.out.as_str(), told.err.as_str()), ("", said.as_str()));
    }
    assert_eq!(data.run("consume orders -g g -p 0").ok().err, "");
    data.run("consume orders -g g").ok();
    let told = data.run("consume orders -g g --start 0").ok().err;
    assert_eq!(told, format!("group `g` goes on at its commit in partition 0 and 2 more: `--start` {moves}"));
    let help = data.run("consume --help").ok().out;
    let words: Vec<&str> = help.split_whitespace().collect();
    assert_eq!(words.join(" ").matches("; with a group only where it has no commit").count(), 5, "{help}");
}

#[test]
fn a_place_that_does_not_count_is_refused_if_no_log_of_this_topic_gave_it_out() {
    let data = orders(&["a", "b", "c"]);
    let place = data.lines("consume orders --head 1 --format {{place}}").remove(0);
    data.run("consume orders -g g --head 2").ok();
    let before = data.run("group describe orders g -O json").ok().json();
    let stranger = format!("{}@9.0000000000000001", place.split('@').next().expect("a place"));
    let refused = data.run(&format!("consume orders -g g --at {stranger}"));
    assert!(refused.code == 1 && refused.out.is_empty(), "{refused:?}");
    assert!(refused.err.contains("belongs to an epoch that `orders`"), "{refused:?}");
    assert_eq!(data.run("group describe orders g -O json").ok().json(), before);
    data.run("topic trim orders --to 2").ok();
    assert_eq!(data.lines(&format!("consume orders -g g --at {place}")), ["c"], "a place that has only aged is none");
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let data = orders(&["a", "b", "c"]);
    data.run("consume orders -g g").ok();
    let before = data.run("group describe orders g -O json").ok().json();
    let told = data.run("group reset orders g --to 1 --dry-run -O json").ok().json();
    assert_eq!(told["partitions"][0]["lag"], 2);
    assert_eq!(data.run("group describe orders g -O json").ok().json(), before);
    assert_eq!(data.lines("consume orders -g g"), Vec::<String>::new());
}

#[test]
fn a_group_is_moved_to_each_kind_of_place() {
    let data = orders(&["a", "b", "c"]);
    let place = data.lines("consume orders --head 2 --format {{place}}").remove(1);
    for (to, expected) in [
        ("earliest", "abc"),
        ("latest", ""),
        ("1", "bc"),
        ("3", ""),
        (place.as_str(), "c"),
        ("1h", "abc"),
        ("2999-01-01T00:00:00Z", ""),
    ] {
        data.run(&format!("group reset orders g --to {to}")).ok();
        assert_eq!(data.lines("consume orders -g g").concat(), expected, "{to}");
    }
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let data = orders(&["a", "b"]);
    data.run("consume orders -g g --head 1").ok();
    let list = data.run("group list -O json").ok().json();
    assert_eq!((&list[0]["topic"], &list[0]["group"], &list[0]["lag"]), (&"orders".into(), &"g".into(), &1.into()));
    assert!(data.run("group list orders").ok().out.contains("COMMITTED"));
    let group = data.run("group describe orders g -O json").ok().json();
    assert_eq!((&group["commits"][0]["next"], &group["commits"][0]["lag"]), (&1.into(), &1.into()));
    assert_eq!(data.run("group delete orders g").ok().out, "deleted the commits of group `g` in topic `orders`\n");
    assert_eq!(data.run("group list").ok().err, "no groups\n");
}

#[test]
fn a_commit_that_retention_passed_is_refused_until_the_group_is_reset() {
    let data = orders(&["a", "b", "c"]);
    data.run("consume orders -g g --head 1").ok();
    data.run("topic trim orders --to 2").ok();
    let refusal = "offset 1 of partition 0 of `orders` is out of range; it holds 2..3";
    data.run("consume orders -g g").refused(refusal);
    let described = data.run("group describe orders g -O json").ok().json();
    assert_eq!(described["commits"][0]["problem"], refusal);
    data.run("group reset orders g --to earliest").ok();
    assert_eq!(data.lines("consume orders -g g"), ["c"]);
}

#[test]
fn a_group_whose_place_is_refused_has_no_lag_rather_than_none_left() {
    let data = store();
    data.run("topic create orders --partitions 2").ok();
    data.run_with("produce orders -p 0", b"a\nb\nc\n").ok();
    data.run_with("produce orders -p 1", b"d\ne\n").ok();
    data.run("consume orders -g g --head 1").ok();
    assert_eq!(data.run("group list -O json").ok().json()[0]["lag"], 3);
    data.run("topic trim orders -p 0 --to 2").ok();
    assert!(data.run("group list -O json").ok().json()[0]["lag"].is_null());
    let described = data.run("group describe orders g -O json").ok().json();
    assert!(described["lag"].is_null() && described["commits"][0]["lag"].is_null(), "{described}");
    assert_eq!(described["commits"][1]["lag"], 1, "what is known is still told");
    let row = data.lines("group list").remove(1);
    assert_eq!(row.split_whitespace().take(5).collect::<Vec<_>>(), ["orders", "g", "2", "-", "1"]);
}
