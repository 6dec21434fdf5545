//! What a dump of a segment tells: the range that is there, an end that nobody has finished, and no damage that isn't one.

use epochlog::inspect::{self, BatchDescription};
use epochlog::testing::Image;
use epochlog::{Error, Mapping, Offset, Store};

use crate::repair::trimmed_within_a_batch;
use crate::support::*;

fn dump(store: &Store, offset: u64) -> Result<Vec<BatchDescription>, Error> {
    inspect::dump(store, "orders", 0, Offset::new(offset), false)?.collect()
}

/// The range that a refusal tells.
#[track_caller]
fn range(dumped: Result<Vec<BatchDescription>, Error>) -> (u64, u64) {
    match dumped {
        Err(Error::OffsetOutOfRange { start, end, .. }) => (start.get(), end.get()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_that_no_segment_holds_is_refused_with_the_range_that_is_there() {
    both_ways(|mapping| {
        let world = world(mapping);
        let orders = world.partition();
        fill(&orders, "v", 200);
        let last = orders.segments().last().expect("has some").base.get();
        for held in [last, last + 1, 199] {
            let dumped = dump(world.store(), held).expect("dumps");
            assert_eq!((dumped[0].base.get(), dumped.len() as u64), (last, 200 - last));
        }
        assert_eq!(range(dump(world.store(), 200)), (0, 200), "behind the end of one without a seal");
        orders.trim(Offset::new(100)).expect("trims");
        assert_eq!(range(dump(world.store(), 3)), (100, 200));
        orders.truncate(Offset::new(150)).expect("truncates");
        assert_eq!(range(dump(world.store(), 160)), (100, 150), "what was cut off ends nothing");
    });
}

#[test]
fn a_segment_that_a_writer_removes_while_it_is_looked_for_is_no_damage() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 200);
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let orders = world.partition();
        at_nth(&world.disk, 1, "open", "00000@2.log", move || orders.trim(Offset::new(150)).expect("trims"));
        assert_eq!(range(dump(&reading, 0)), (150, 200));
        let store = world.store().clone();
        at_nth(&world.disk, 1, "open", ".log", move || store.delete_topic("orders").expect("deletes"));
        assert!(matches!(refused(dump(&reading, 199)), Error::TopicNotFound { .. }));
    });
}

/// Where the batches stand, whether each is unfinished, and whether it is damaged.
fn told(world: &World) -> Vec<(u64, bool, bool)> {
    let reading = options(&world.disk, world.mapping).open_read_only("/sim").expect("opens");
    let dumped = dump(&reading, 0).expect("dumps");
    let verified = inspect::verify(&reading, &mut |_| {}).expect("verifies");
    let damaged = dumped.iter().any(|batch| batch.damage.is_some());
    assert_eq!(damaged, !verified.is_clean(), "verify says the same: {:?}", verified.damage);
    dumped.iter().map(|batch| (batch.base.get(), batch.unfinished, batch.damage.is_some())).collect()
}

#[test]
fn what_a_crash_tore_is_no_damage_and_what_was_synced_is() {
    let world = |harmed: usize, durable: u64| {
        let mut world = world(Mapping::Never);
        fill(&world.partition(), "v", durable);
        scribble(&world.partition(), "v", 4 - durable);
        let segment = world.partition().segments().remove(0).path;
        world.go_down(Image::after_kill);
        let segment = segment.strip_prefix("/sim").expect("lies in the store");
        // Four batches of one record of two bytes.
        let batch = 46 + 2 + 2;
        world.disk.flip(segment, (96 + harmed as u64 * batch + 48) * 8);
        world
    };
    let (whole, torn, damaged) = (|n| (n, false, false), |n| (n, true, false), |n| (n, false, true));
    assert_eq!(told(&world(3, 0)), [whole(0), whole(1), whole(2), torn(3)], "the last one");
    assert_eq!(told(&world(1, 0)), [whole(0), torn(1), whole(2), whole(3)], "pages that came out of order");
    assert_eq!(told(&world(1, 3)), [whole(0), damaged(1), whole(2), whole(3)], "below a mark");
}

#[test]
fn a_batch_that_reaches_above_the_start_of_a_tail_is_no_torn_end() {
    both_ways(|mapping| {
        let world = trimmed_within_a_batch(mapping);
        damage(&world, 40);
        assert_eq!(told(&world).last(), Some(&(40, false, true)));
    });
}

#[test]
fn a_torn_end_behind_a_truncate_is_no_damage() {
    both_ways(|mapping| {
        let world = cut_and_killed(mapping);
        damage(&world, 12);
        let reading = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let dumped = dump(&reading, 12).expect("dumps");
        let last = dumped.last().expect("is there");
        assert_eq!((last.base.get(), last.unfinished, last.damage.is_none()), (12, true, true));
    });
}
