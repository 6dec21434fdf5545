//! Kills and power cuts while the reserve is given back and made again, on a disk that stays full: P10 and P11.

use epochlog::testing::{Image, Loss, SimDisk};
use epochlog::{Mapping, Offset};

use crate::full_disk::{Disk, RESERVE_BYTES, film};
use crate::support::*;

/// Opens what is left, twice; nothing is lost, and with room again it goes on.
fn survives(mapping: Mapping, left: SimDisk, story: &str) {
    let open = || options(&left, mapping).open("/sim").unwrap_or_else(|error| panic!("{story}: {error}"));
    let kept = |store: &epochlog::Store| all(&store.topic("orders").expect("is there").partition(0).expect("opens"));
    let store = open();
    let held = kept(&store);
    assert!(held.starts_with(&numbered("v", 0..1100)[1000..]) || held.starts_with(&numbered("v", 0..1100)), "{story}");
    left.set_capacity(None);
    left.set_names_need_room(false);
    store.close().unwrap_or_else(|error| panic!("{story}: {error}"));
    let store = open();
    assert_eq!(kept(&store), held, "{story}");
    assert_eq!(left.read("RESERVE").len() as u64, RESERVE_BYTES, "{story}");
}

fn every_loss(mapping: Mapping, story: &str, image: &Image) -> u64 {
    let pending = image.pending().len();
    let single = (0..pending).flat_map(|i| [Loss::Only(i), Loss::AllBut(i)]);
    let losses: Vec<Loss<'_>> = [Loss::None, Loss::All].into_iter().chain(single).collect();
    for &loss in &losses {
        survives(mapping, image.after(loss), &format!("{mapping:?}, {story}, {loss:?}: {:?}", image.pending()));
    }
    losses.len() as u64
}

fn at_every_operation(name: &str, least: u64, prepare: fn(&mut Disk), call: fn(&mut Disk)) {
    both_ways(|mapping| {
        let mut disk = Disk::new(mapping, RESERVE_BYTES);
        prepare(&mut disk);
        let shots = film(&mut disk, call);
        let states: u64 =
            shots.iter().map(|(story, image)| every_loss(mapping, &format!("{name}, {story}"), image)).sum();
        println!("{name} ({mapping:?}): {} moments, {states} states", shots.len());
        assert!(states >= least, "{states} states");
    });
}

#[test]
fn a_crash_while_an_open_gives_the_reserve_back_loses_nothing() {
    let closed_and_full = |disk: &mut Disk| {
        disk.close().expect("closes");
        disk.fill_up();
    };
    at_every_operation("open", 40, closed_and_full, |disk| disk.open().expect("opens"));
}

#[test]
fn a_crash_while_a_close_gives_the_reserve_back_loses_nothing() {
    at_every_operation("close", 40, |disk| disk.fill_up(), |disk| disk.close().expect("closes"));
}

#[test]
fn a_crash_while_the_reserve_is_made_again_loses_nothing() {
    let given = |disk: &mut Disk| {
        disk.close().expect("closes");
        disk.fill_up();
        disk.open().expect("opens");
        disk.make_room();
    };
    let make = |disk: &mut Disk| {
        disk.partition().trim(Offset::new(1000)).expect("trims");
        disk.store().maintain().expect("maintains");
    };
    at_every_operation("make", 20, given, make);
}
