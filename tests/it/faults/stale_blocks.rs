//! F5: a length reaches the medium before its data, or half of it does, and the blocks show zeros or what they held
//! before: another segment, removed or alive, whose checksums are valid.

use std::collections::BTreeSet;
use std::path::PathBuf;

use epochlog::Durability::{Durable, Written};
use epochlog::Mapping;
use epochlog::testing::{Image, Loss, Pending};

use super::oracle::{Fate, Told, Verdict, must};
use super::player::{
    Call::{self, *},
    Player,
};
use super::{case, cases};
use crate::support::tree;

const CALLS: [Call; 16] = [
    Create,
    Append(Durable),
    Roll(Written),
    Append(Written),
    Truncate(2),
    Batch(3, Written),
    Roll(Written),
    Trim(5),
    Append(Written),
    Roll(Written),
    Sync,
    Batch(2, Written),
    Close,
    Open,
    Append(Written),
    Roll(Written),
];

/// The disk after a call, what must be there, and what its blocks may have held before.
struct Moment {
    after: Call,
    image: Image,
    told: Told,
    held: Vec<Vec<u8>>,
}

/// All that the files of the partition ever held: segments that were removed too, and the history.
fn moments(mapping: Mapping) -> Vec<Moment> {
    let mut player = Player::new(mapping);
    let mut held: BTreeSet<Vec<u8>> = [Vec::new()].into();
    let mut moments = Vec::new();
    for after in CALLS {
        player.call(after);
        assert!(player.failed.is_empty(), "{:?}", player.failed);
        let files = player.disk.files().into_iter().filter(|path| path.starts_with("topics"));
        let evidence =
            files.filter(|path| path.extension().is_some_and(|end| end == "log") || path.ends_with("history"));
        held.extend(evidence.map(|path| player.disk.read(path)));
        let (image, told) = (player.disk.image(), player.told.clone());
        moments.push(Moment { after, image, told, held: held.iter().cloned().collect() });
    }
    moments
}

/// The losses that leave a length without all of its bytes.
fn losses(pending: &[Pending]) -> Vec<Vec<bool>> {
    let is_page = |unit: &Pending| matches!(unit, Pending::Page { .. });
    let pages: Vec<usize> = (0..pending.len()).filter(|&i| is_page(&pending[i])).collect();
    let without = |lost: &[usize]| (0..pending.len()).map(|i| lost.contains(&i)).collect::<Vec<bool>>();
    let mut losses = vec![without(&pages)];
    losses.extend(pages.iter().map(|&page| without(&[page])));
    losses.extend(pages.iter().map(|&kept| without(&pages.iter().copied().filter(|&i| i != kept).collect::<Vec<_>>())));
    losses
}

/// Of the files whose first page was lost, the one that an error says to begin with another file's header.
fn said_to_be_foreign(image: &Image, lost: &[bool], story: &str) -> Option<PathBuf> {
    let lost = image.pending().into_iter().zip(lost).filter(|(_, lost)| **lost);
    let mut first = lost.filter_map(|(unit, _)| match unit {
        Pending::Page { path, position: 0, .. } => Some(path),
        _ => None,
    });
    first.find(|path| story.contains(&format!("foreign segment header in `/sim/{}`", path.display())))
}

fn look(image: &Image, lost: &[bool], mapping: Mapping, told: &Told) -> Verdict {
    let disk = image.after(Loss::Subset(lost));
    let before = tree(&disk);
    let mut player = Player::adopt(disk, mapping, told.clone());
    if let Err(story) = player.look(Fate::Durable) {
        // A block that begins with the header of another file looks like that file, put there by somebody: it is named,
        // and its bytes are left alone for a person to look at.
        let foreign = said_to_be_foreign(image, lost, &story).ok_or(story)?;
        must!(tree(&player.disk).get(&foreign) == before.get(&foreign), "{} was changed", foreign.display());
        return Ok(());
    }
    player.go_on()?;
    let again = player.go_down();
    let mut player = Player::adopt(again.after(Loss::All), mapping, player.told.clone());
    player.look(Fate::Durable)?;
    player.go_down();
    Ok(())
}

#[test]
fn a_length_without_its_bytes_shows_no_record_of_another_segment() {
    cases("F5", 300, |mapping| {
        let mut count = 0;
        for Moment { after, image, told, held } in moments(mapping) {
            let losses = losses(&image.pending());
            // All pages lost over every block set; other losses over one after the other.
            let all_lost = held.iter().enumerate().map(|stale| (stale, &losses[0]));
            let others = held.iter().enumerate().cycle().zip(&losses[1..]);
            for ((i, stale), lost) in all_lost.chain(others) {
                let image = image.clone().over_stale_blocks(stale.clone());
                let story = format!("{mapping:?}, after {after:?}, over block set {i}, lost {lost:?}");
                case(&story, || look(&image, lost, mapping, &told));
                count += 1;
            }
            for pages in 0..3 {
                let image = image.clone().grown_by_pages(pages);
                let all_kept = vec![false; image.pending().len()];
                let story = format!("{mapping:?}, after {after:?}, lengths grown by {pages} pages");
                case(&story, || look(&image, &all_kept, mapping, &told));
                count += 1;
            }
        }
        count
    });
}
