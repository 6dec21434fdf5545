//! Places that outlive their topic: the refusal that this engine exists for, seen from outside.

use crate::support::{Data, orders};

/// The topic of the bug: consumed to its end, deleted, created again with two records. Gives the old place.
fn recreated() -> (Data, String) {
    let data = orders(&[]);
    data.run("topic create cloud-command").ok();
    let lines: Vec<String> = (0..72).map(|i| i.to_string()).collect();
    let acks = data.run_with("produce cloud-command --acks", lines.join("\n").as_bytes()).ok().out;
    data.run("consume cloud-command -g worker").ok();
    data.run("topic delete cloud-command").ok();
    data.run("topic create cloud-command").ok();
    data.run_with("produce cloud-command", b"new 0\nnew 1\n").ok();
    (data, acks.lines().last().expect("an acknowledged place").to_owned())
}

/// `now in epoch N`, from the topic's lineage.
fn newest_epoch(data: &Data) -> String {
    let described = data.run("topic describe cloud-command -O json").ok().json();
    let lineage = described["partitions"][0]["lineage"].as_array().expect("a lineage").clone();
    lineage.last().expect("an epoch")["epoch"].as_str().expect("is text").to_owned()
}

#[test]
fn a_place_of_the_deleted_topic_is_stale_in_the_recreated_one() {
    let (data, place) = recreated();
    assert!(place.starts_with("0:72@"), "{place}");
    let refusal = format!(
        "place `{place}` belongs to an epoch that `cloud-command`, now in epoch {}, never had: the topic was recreated, \
         or the place is of another topic or store; seek to choose where to go on",
        newest_epoch(&data)
    );
    data.run(&format!("consume cloud-command --at {place}")).refused(&refusal);
    data.run(&format!("consume cloud-command --group late --at {place}")).refused(&refusal);
    data.run(&format!("group reset cloud-command worker --to {place}")).refused(&refusal);
    data.run(&format!("group reset cloud-command worker --to {place} --dry-run")).refused(&refusal);
}

#[test]
fn the_group_of_the_deleted_topic_begins_anew_and_skips_nothing() {
    let (data, _) = recreated();
    data.run("group describe cloud-command worker").refused("group `worker` has no commit in topic `cloud-command`");
    assert_eq!(data.lines("consume cloud-command -g worker"), ["new 0", "new 1"]);
}

#[test]
fn a_place_behind_the_cut_has_diverged_and_names_the_fork() {
    let data = orders(&["a", "b", "c"]);
    let place = data.lines("consume orders --tail 1 --format {{place}}").remove(0);
    data.run("topic truncate orders --to 1").ok();
    data.produce(&["x", "y", "z"]);
    data.run(&format!("consume orders --at {place}")).refused(&format!(
        "place `{place}` of `orders` lies beyond offset 1, where its history was cut; seek to choose where to go on"
    ));
}

#[test]
fn a_place_that_still_holds_is_resumed() {
    let data = orders(&["a", "b", "c"]);
    let place = data.lines("consume orders --head 1 --format {{place}}").remove(0);
    assert_eq!(data.lines(&format!("consume orders --at {place}")), ["b", "c"]);
    assert_eq!(data.lines(&format!("consume orders -g new --at {place}")), ["b", "c"]);
    data.run(&format!("consume orders --at {place} -p 3"))
        .refused(&format!("place `{place}` belongs to partition 0; leave `--partition` out"));
}

#[test]
fn a_malformed_place_is_refused_with_the_form() {
    let data = orders(&["a"]);
    for wrong in ["nonsense", "0:1", "0:1@1", "0:-1@1.0000000000000000", "0:1@1.zz"] {
        data.run(&format!("consume orders --at {wrong}")).refused(&format!(
            "place `{wrong}` is invalid: expected `partition:offset@number.tag`, such as `0:72@7.9f3a5c01d2e4b687`"
        ));
    }
}
