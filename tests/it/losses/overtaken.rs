//! Calls that another one overtakes: what comes in the middle of a sync, a delete or a reader's pause.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use epochlog::testing::Fault;
use epochlog::{Offset, TopicOptions};

use super::*;

/// Does something, once, from within the next such operation on such a file.
fn at_next(disk: &SimDisk, name: &'static str, suffix: &'static str, act: impl FnOnce() + Send + 'static) {
    let mut act = Some(act);
    disk.on_operation(Box::new(move |operation| {
        if operation.name == name
            && operation.path.to_string_lossy().ends_with(suffix)
            && let Some(act) = act.take()
        {
            act();
        }
    }));
}

#[test]
fn what_comes_during_a_sync_is_not_made_durable_by_it() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        let other = partition.clone();
        at_next(&world.disk, "sync", ".log", move || scribble(&other, "late", 1));
        fill(&partition, "v", 1);
        assert_eq!((partition.durable_end(), partition.end()), (Offset::new(1), Offset::new(2)));
    });
}

#[test]
fn a_sync_that_a_truncate_overtakes_makes_nothing_above_the_cut_durable() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        scribble(&partition, "v", 5);
        let other = partition.clone();
        at_next(&world.disk, "sync", ".log", move || other.truncate(Offset::new(2)).expect("truncates"));
        partition.sync().expect("has nothing left to sync");
        scribble(&partition, "w", 1);
        assert_eq!((partition.durable_end(), partition.end()), (Offset::new(2), Offset::new(3)));
    });
}

#[test]
fn who_waits_for_a_sync_is_told_that_its_records_were_cut_meanwhile() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 2);
        let other = partition.clone();
        at_next(&world.disk, "sync", ".log", move || {
            other.truncate(Offset::new(1)).expect("truncates");
            scribble(&other, "w", 5);
        });
        let error = refused(partition.append("cut"));
        assert!(matches!(error, Error::Diverged { .. }), "{error}");
    });
}

/// Does something in another thread while a delete renames the topic; gives what that came to.
fn during_a_delete<T: Send + 'static>(world: &World, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    at_next(&world.disk, "rename", "@1", move || {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let answer = act();
            let _nobody_listens = tell.send(());
            sender.send(answer).expect("is waited for");
        });
        // What waits for the delete lets this pass in vain; what slips through ends it early.
        let _in_vain = told.recv_timeout(Duration::from_millis(100));
    });
    world.store().delete_topic("orders").expect("deletes");
    receiver.recv().expect("answers")
}

#[test]
fn an_append_that_comes_during_a_delete_is_refused_and_never_acknowledged() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        scribble(&partition, "v", 1);
        let answer = during_a_delete(&world, move || partition.append_with("lost", written()));
        assert!(matches!(answer, Err(Error::TopicDeleted { .. })), "{answer:?}");
    });
}

#[test]
fn a_commit_that_comes_during_a_delete_is_refused_and_never_acknowledged() {
    both_ways(|mapping| {
        let world = world(mapping);
        let lazy = TopicOptions::new().durability(epochlog::Durability::Written);
        let topic = world.store().create_topic("orders", lazy).expect("creates");
        scribble(&world.partition(), "v", 1);
        let mut consumer = topic.consumer("billing").open().expect("opens");
        consumer.poll(AT_ONCE).expect("polls");
        let answer = during_a_delete(&world, move || consumer.commit());
        assert!(matches!(answer, Err(Error::TopicDeleted { .. })), "{answer:?}");
    });
}

#[test]
fn after_a_failed_sync_of_the_history_the_partition_writes_nothing_more() {
    both_ways(|mapping| {
        let world = world(mapping);
        let partition = world.partition();
        fill(&partition, "v", 3);
        world.disk.fail(Fault::of("sync").on("history"));
        assert!(matches!(refused(partition.truncate(Offset::new(1))), Error::Io { operation: "sync", .. }));
        assert!(matches!(refused(partition.append_with("w", written())), Error::Latched { .. }));
        assert!(matches!(refused(partition.truncate(Offset::new(1))), Error::Latched { .. }));
    });
}

#[test]
fn after_a_failed_sync_of_the_store_file_no_number_is_issued() {
    let world = world(Mapping::Never);
    let partition = world.store().create_topic("orders", TopicOptions::new()).expect("creates");
    let partition = partition.partition(0).expect("is there");
    world.disk.fail(Fault::of("sync").on("STORE"));
    let begin_an_epoch = || {
        scribble(&partition, "v", 1);
        partition.truncate(Offset::ZERO)
    };
    // Until the block is used up that the open has reserved.
    let error = (0..2000).find_map(|_| begin_an_epoch().err()).expect("the block ends");
    assert!(matches!(error, Error::Io { operation: "sync", .. }), "{error}");
    let error = refused(partition.append_with("w", written()));
    assert!(matches!(error, Error::Latched { .. }), "{error}");
    assert!(matches!(refused(world.store().create_topic("more", small())), Error::Latched { .. }));
}

#[test]
fn after_a_sync_of_the_store_file_for_which_no_file_could_be_opened_numbers_are_issued_once_one_can() {
    let world = world(Mapping::Never);
    let partition = world.partition();
    let disk = world.disk.clone();
    world.disk.on_operation(Box::new(move |operation| {
        if operation.name == "open_dir" && operation.path == Path::new("") {
            disk.fail(Fault::of("open_dir").os_error(24));
        }
    }));
    let begin_an_epoch = || {
        scribble(&partition, "v", 1);
        partition.truncate(Offset::ZERO)
    };
    let error = (0..2000).find_map(|_| begin_an_epoch().err()).expect("the block ends");
    assert!(matches!(error, Error::Io { operation: "open", .. }), "{error}");
    world.disk.on_operation(Box::new(|_| {}));
    begin_an_epoch().expect("has a number");
    let numbers: Vec<u64> = partition.lineage().iter().map(|begun| begun.epoch.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
}

#[test]
fn who_creates_or_deletes_a_topic_without_a_file_for_the_sync_is_told_while_nothing_has_changed() {
    both_ways(|mapping| {
        let mut world = world(mapping);
        let no_file = |on: &str| Fault::of("open_dir").on(on).os_error(24);
        world.disk.fail(no_file("topics"));
        let error = refused_untouched(&world.disk, || world.store().create_topic("orders", small()));
        assert_eq!(error.to_string(), "cannot open `/sim/topics`");
        let partition = world.partition();
        fill(&partition, "v", 3);
        for on in ["topics", "trash"] {
            world.disk.fail(no_file(on));
            let error = refused_untouched(&world.disk, || world.store().delete_topic("orders"));
            assert_eq!(error.to_string(), format!("cannot open `/sim/{on}`"));
        }
        fill(&partition, "v", 3);
        world.store().delete_topic("orders").expect("deletes");
        world.close();
    });
}

#[test]
fn a_reader_in_a_read_only_store_is_told_that_its_records_were_cut_and_grown_over() {
    both_ways(|mapping| {
        let world = world(mapping);
        fill(&world.partition(), "v", 5);
        let beside = options(&world.disk, mapping).open_read_only("/sim").expect("opens");
        let mut reader = the_partition(&beside).and_then(|one| one.read_from(Start::Earliest)).expect("begins");
        assert_eq!(drain(&mut reader), numbered("v", 0..5));
        world.partition().truncate(Offset::new(2)).expect("truncates");
        fill(&world.partition(), "w", 5);
        let error = refused(reader.read());
        assert!(matches!(error, Error::Diverged { fork, .. } if fork == Offset::new(2)), "{error}");
    });
}
