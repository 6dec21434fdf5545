//! A damaged topic never keeps the others from opening, whatever the damage: not from appending and reading, not from
//! `maintain`, `verify`, the background thread, and `close`.

use std::time::Duration;

use epochlog::{Mapping, OnDamage, TopicOptions, inspect};

use crate::repair::{Does, HISTORY, at_rest, busy, damage, others_are_whole, plan, segments};
use crate::support::*;

type Harm = (&'static str, Does);

const HARMS: [Harm; 16] = [
    ("history gone", |world| world.disk.remove(HISTORY)),
    ("history header", |world| world.disk.flip(HISTORY, 20 * 8)),
    ("history line", |world| world.disk.flip(HISTORY, 120 * 8)),
    ("history foreign", |world| world.disk.copy("topics/audit@3/0/history", HISTORY)),
    ("commits gone", |world| world.disk.remove("topics/orders@1/commits")),
    ("commits header", |world| world.disk.flip("topics/orders@1/commits", 20 * 8)),
    ("topic gone", |world| world.disk.remove("topics/orders@1/topic")),
    ("topic header", |world| world.disk.flip("topics/orders@1/topic", 20 * 8)),
    ("topic entry", |world| world.disk.flip("topics/orders@1/topic", 110 * 8)),
    ("newer version", |world| claim_version(&world.disk, "topics/orders@1/topic", 9)),
    ("segment gone", |world| world.disk.remove(&segments(world)[1].0)),
    ("segment short", |world| world.disk.truncate(&segments(world)[1].0, 500)),
    ("segment foreign", |world| {
        world.disk.copy("topics/audit@3/0/00000000000000000000@4.log", &segments(world).pop().expect("is there").0);
    }),
    ("batch in the tail", |world| {
        damage(world, segments(world).pop().expect("is there").1 + 2);
    }),
    ("two directories", |world| world.disk.copy("topics/orders@1/topic", "topics/orders@9/topic")),
    ("strange entries", |world| {
        world.disk.write("topics/stray@900/readme", "not ours");
        world.disk.write("topics/loose@901", "a file where a directory should be");
        world.disk.write("topics/junk", "no name of ours");
    }),
];

const HOUR: Duration = Duration::from_secs(3600);

/// With a topic of which maintenance removes what is older than an hour.
fn with_hours(mapping: Mapping) -> World {
    let world = busy(mapping);
    let hourly = world.store().create_topic("hourly", small().segment_age(HOUR).retention_age(HOUR)).expect("creates");
    fill(&hourly.partition(0).expect("is there"), "h", 1);
    drop(hourly);
    world
}

/// All that a topic beside the damaged one must still do.
fn lives_on(world: &World, harm: &str) {
    others_are_whole(world);
    let hourly = world.topic("hourly").partition(0).expect("opens");
    fill(&hourly, "h", 1);
    let before = hourly.start();
    for _ in 0..2 {
        world.disk.clock().advance(3 * HOUR);
        let _first_error = world.store().maintain();
    }
    assert!(hourly.start() > before, "{harm}: nothing was maintained");
    let mut consumer = world.topic("audit").consumer("g").open().expect("opens");
    consumer.poll(AT_ONCE).expect("polls");
    consumer.commit().expect("commits");
    inspect::verify(world.store(), &mut |_| {}).expect("verifies what can be read");
    world.store().create_topic("fresh", TopicOptions::new()).expect("creates");
    world.store().delete_topic("fresh").expect("deletes");
}

#[test]
fn whatever_is_damaged_in_one_topic_the_others_go_on() {
    both_ways(|mapping| {
        for (harm, does) in HARMS {
            for cleanly in [true, false] {
                let mut world = with_hours(mapping);
                if cleanly {
                    world.close();
                } else {
                    world.go_down(epochlog::testing::Image::after_kill);
                }
                does(&world);
                world.open();
                lives_on(&world, harm);
                // Closing says that everything is synced, and doesn't fail for what was never open.
                world.reopen();
                lives_on(&world, harm);
                world.close();
                let background = options(&world.disk, mapping).background(true).open("/sim").expect("opens");
                background.topic("audit").expect("opens").append("more").expect("appends");
                background.close().expect("closes");
            }
        }
    });
}

#[test]
fn planning_a_repair_of_one_topic_finds_nothing_wrong_with_the_others() {
    for (harm, does) in HARMS {
        let world = at_rest(Mapping::Auto);
        does(&world);
        let planned = plan(&world, OnDamage::Keep);
        let blamed =
            planned.plan().steps.iter().filter(|step| step.topic.as_ref().is_none_or(|t| t.as_str() == "audit"));
        assert_eq!(blamed.count(), 0, "{harm}: {}", planned.plan());
    }
}
