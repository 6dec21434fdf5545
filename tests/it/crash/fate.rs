//! What can happen to a machine at one moment, as data and as a line of text that brings the same state back.
//!
//! Invariant: the text of a [`Ticket`] says everything; read again it is the same ticket.

use std::fmt;
use std::str::FromStr;

use epochlog::Mapping;
use epochlog::testing::{Image, Loss, SimDisk};

use super::dice::Dice;

/// One crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies and the power stays: nothing is lost, and what was pending still is.
    Kill,
    /// The power goes, and with it those pending units that are `true`.
    Power { torn: bool, lost: Vec<bool> },
}

impl Crash {
    pub fn disk(&self, image: &Image) -> SimDisk {
        match self {
            Crash::Kill => image.after_kill(),
            Crash::Power { torn: true, lost } => image.clone().by_sector().after(Loss::Subset(lost)),
            Crash::Power { torn: false, lost } => image.after(Loss::Subset(lost)),
        }
    }

    pub fn everything(image: &Image) -> Crash {
        Crash::Power { torn: false, lost: vec![true; image.pending().len()] }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Crash::Power { torn, lost } = self else { return f.write_str("kill") };
        f.write_str(if *torn { "sectors:" } else { "pages:" })?;
        lost.iter().try_for_each(|&lost| f.write_str(if lost { "1" } else { "0" }))
    }
}

impl FromStr for Crash {
    type Err = String;

    fn from_str(text: &str) -> Result<Crash, String> {
        if text == "kill" {
            return Ok(Crash::Kill);
        }
        let (grain, lost) = text.split_once(':').ok_or_else(|| format!("no crash: `{text}`"))?;
        Ok(Crash::Power { torn: grain == "sectors", lost: lost.chars().map(|lost| lost == '1').collect() })
    }
}

/// What happens from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The workload itself goes wrong.
    Filmed,
    /// A crash; the store opens and goes on.
    Once(Crash),
    /// A kill; the store opens and goes on for so many steps, then the power goes.
    Later(usize, Crash),
    /// A crash, and another at this moment of the recovery from it.
    Again(Crash, usize, Crash),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Filmed => f.write_str("filmed"),
            Fate::Once(crash) => write!(f, "once {crash}"),
            Fate::Later(stage, crash) => write!(f, "later {stage} {crash}"),
            Fate::Again(first, moment, then) => write!(f, "again {first} {moment} {then}"),
        }
    }
}

impl FromStr for Fate {
    type Err = String;

    fn from_str(text: &str) -> Result<Fate, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("no number: `{text}`"));
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["filmed"] => Ok(Fate::Filmed),
            ["once", crash] => Ok(Fate::Once(crash.parse()?)),
            ["later", stage, crash] => Ok(Fate::Later(number(stage)?, crash.parse()?)),
            ["again", first, moment, then] => Ok(Fate::Again(first.parse()?, number(moment)?, then.parse()?)),
            _ => Err(format!("no fate: `{text}`")),
        }
    }
}

/// One state of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub workload: String,
    pub mapping: Mapping,
    pub moment: usize,
    pub fate: Fate,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapping = if self.mapping == Mapping::Auto { "mapped" } else { "unmapped" };
        write!(f, "{}/{mapping}/{}/{}", self.workload, self.moment, self.fate)
    }
}

impl FromStr for Ticket {
    type Err = String;

    fn from_str(text: &str) -> Result<Ticket, String> {
        let [workload, mapping, moment, fate] = text.split('/').collect::<Vec<_>>()[..] else {
            return Err(format!("no ticket: `{text}`"));
        };
        let mapping = if mapping == "mapped" { Mapping::Auto } else { Mapping::Never };
        let moment = moment.parse().map_err(|_| format!("no moment: `{moment}`"))?;
        Ok(Ticket { workload: workload.into(), mapping, moment, fate: fate.parse()? })
    }
}

/// Which of `n` pending units are lost: every subset of at most `whole` units. Of more: all, none, one, all but one, and
/// so many subsets by chance.
pub fn losses(n: usize, whole: usize, chance: usize, dice: &mut Dice) -> Vec<Vec<bool>> {
    if n <= whole {
        return (0..1_u32 << n).map(|mask| (0..n).map(|i| mask >> i & 1 == 1).collect()).collect();
    }
    let mut losses = vec![vec![true; n], vec![false; n]];
    for i in 0..n {
        losses.push((0..n).map(|one| one == i).collect());
        losses.push((0..n).map(|one| one != i).collect());
    }
    for _ in 0..chance {
        let odds = 1 + dice.below(7);
        losses.push((0..n).map(|_| dice.below(8) < odds).collect());
    }
    losses
}
