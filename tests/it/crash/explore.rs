//! From each disk of a film, every disk that a crash at that moment can leave; and what must hold on each.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use epochlog::Mapping;
use epochlog::testing::{Image, Loss, Pending, SimDisk};

use super::machine::{Machine, Op, Shot};
use super::oracle::{Oracle, TOPIC, look};

/// What was explored of a workload.
pub struct Explorer<'a> {
    pub name: &'a str,
    pub mapping: Mapping,
    pub states: u64,
    /// Whether nothing is left out.
    deep: bool,
    random: u64,
}

impl<'a> Explorer<'a> {
    pub fn new(name: &'a str, mapping: Mapping) -> Explorer<'a> {
        let deep = std::env::var_os("EPOCHLOG_CRASH_DEEP").is_some();
        Explorer { name, mapping, states: 0, deep, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Every loss at every moment.
    pub fn explore(&mut self, shots: &[Shot]) {
        for (i, shot) in shots.iter().enumerate() {
            self.settled(shot, &shot.image, Loss::None, "kill");
            self.settled(shot, &shot.image, Loss::All, "power, all");
            self.explore_pending(shot, &shot.image, "page");
            if self.is_turn(i, 8) {
                self.explore_pending(shot, &shot.image.clone().by_sector(), "sector");
            }
            if self.is_turn(i, 4) || shot.name == "sync_dir" {
                let deep = self.deep;
                self.state(shot, "kill, then power", |mapping| {
                    kill_then_power(&shot.image, mapping, &shot.oracle, deep)
                });
            }
            if self.is_turn(i, 20) {
                self.nested(shot, shot.image.after_kill(), false, "within the recovery from a kill");
            }
            if self.is_turn(i + 10, 20) {
                self.nested(shot, shot.image.after(Loss::All), true, "within the recovery from a power cut");
            }
        }
    }

    fn explore_pending(&mut self, shot: &Shot, image: &Image, grain: &str) {
        let pending = image.pending();
        if pending.len() < 2 {
            return;
        }
        for (i, unit) in pending.iter().enumerate() {
            self.settled(shot, image, Loss::Only(i), &format!("power, lost only {grain} {i}: {unit:?}"));
            self.settled(shot, image, Loss::AllBut(i), &format!("power, kept only {grain} {i}: {unit:?}"));
        }
        if pending.len() > 2 {
            let lost: Vec<bool> = pending.iter().map(|_| self.coin()).collect();
            self.settled(shot, image, Loss::Subset(&lost), &format!("power, lost of {grain}s {lost:?}: {pending:?}"));
        }
    }

    fn is_turn(&self, i: usize, every: usize) -> bool {
        self.deep || i.is_multiple_of(every)
    }

    fn coin(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random & 4 == 0
    }

    fn settled(&mut self, shot: &Shot, image: &Image, loss: Loss<'_>, story: &str) {
        self.state(shot, story, |mapping| go_on(image.after(loss), mapping, &shot.oracle));
    }

    /// Runs one state, and says which it was if it fails.
    fn state(&mut self, shot: &Shot, loss: &str, check: impl FnOnce(Mapping) -> Result<u64, String>) {
        let result = catch_unwind(AssertUnwindSafe(|| check(self.mapping)));
        let place = || {
            let Shot { step, number, name, path, .. } = shot;
            format!(
                "workload `{}` ({:?}), step {step}, operation {number} `{name}` on `{path}`, {loss}",
                self.name, self.mapping
            )
        };
        match result {
            Ok(Ok(states)) => self.states += states,
            Ok(Err(story)) => panic!("{}: {story}", place()),
            Err(panic) => {
                eprintln!("{}", place());
                resume_unwind(panic);
            }
        }
    }

    /// Crashes again at every operation of the recovery: P10.
    fn nested(&mut self, shot: &Shot, disk: SimDisk, settled: bool, story: &str) {
        let mut machine = Machine::adopt(disk, self.mapping, (*shot.oracle).clone());
        let plain = {
            let mut machine =
                Machine::adopt(machine.disk.image().after(Loss::None), self.mapping, (*shot.oracle).clone());
            machine.open();
            let seen = look(machine.store());
            machine.go_down();
            seen
        };
        let inner = std::mem::replace(&mut machine, Machine::adopt(SimDisk::new(0), self.mapping, Oracle::default()));
        for (i, moment) in inner.film_open().iter().enumerate() {
            let at = format!("{story}, at its operation {} `{}` on `{}`", moment.number, moment.name, moment.path);
            let pending = moment.image.pending().len();
            let mut losses = vec![Loss::None, Loss::All];
            if pending > 1 {
                losses.extend([Loss::Only(i % pending), Loss::AllBut(i % pending)]);
            }
            for loss in losses {
                self.state(shot, &format!("{at}, {loss:?}"), |mapping| {
                    let mut again = Machine::adopt(moment.image.after(loss), mapping, (*shot.oracle).clone());
                    again.try_open()?;
                    let seen = look(again.store());
                    if (settled || loss == Loss::None) && seen != plain {
                        return Err(format!("P10: {seen:?} and not {plain:?}"));
                    }
                    again.go_down();
                    Ok(1)
                });
            }
        }
    }
}

impl Machine {
    fn film_open(self) -> Vec<Shot> {
        self.film(&[Op::Open])
    }
}

/// Opens what a crash left, offers every place, goes on, cuts the power and looks again.
fn go_on(disk: SimDisk, mapping: Mapping, oracle: &Arc<Oracle>) -> Result<u64, String> {
    let mut machine = Machine::adopt(disk, mapping, (**oracle).clone());
    machine.try_open()?;
    let settled = machine.oracle.lock().clone();
    settled.offer_all(machine.store())?;
    if settled.log.is_none() {
        machine.apply(Op::Create);
    }
    // Until every offset that was ever given out has been given out again.
    machine.apply(Op::Append);
    let end = machine.oracle.lock().log.as_ref().map_or(0, |log| log.records.len());
    let most = settled.handed.values().map(|(_, before)| before.len()).max().unwrap_or(0);
    if most > end {
        machine.apply(Op::Batch((most - end).min(5) as u64, epochlog::Durability::Durable));
    }
    let grown = machine.oracle.lock().clone();
    grown.offer_all(machine.store())?;
    let image = machine.disk.image();
    machine.go_down();
    let mut again = Machine::adopt(image.after(Loss::All), mapping, grown);
    again.try_open()?;
    let after = again.oracle.lock().clone();
    after.offer_all(again.store())?;
    again.go_down();
    Ok(2)
}

/// What a start after a kill has shown is there after a power cut: P13 of the engine. Also after it went on.
fn kill_then_power(image: &Image, mapping: Mapping, oracle: &Arc<Oracle>, deep: bool) -> Result<u64, String> {
    let mut machine = Machine::adopt(image.after_kill(), mapping, (**oracle).clone());
    machine.try_open()?;
    let settled = machine.oracle.lock().clone();
    let mut states = 1;
    let shown = machine.disk.image();
    states += survive(&shown, mapping, &settled, deep)?;
    let topics = machine.store().topics().map_err(|error| error.to_string())?;
    if topics.iter().any(|topic| topic.as_str() == TOPIC) {
        machine.apply(Op::Append);
    }
    let grown = machine.oracle.lock().clone();
    states += survive(&machine.disk.image(), mapping, &grown, deep)?;
    machine.apply(Op::Maintain);
    states += survive(&machine.disk.image(), mapping, &grown, deep)?;
    machine.apply(Op::Close);
    let closed = machine.oracle.lock().clone();
    states += survive(&machine.disk.image(), mapping, &closed, deep)?;
    machine.go_down();
    Ok(states)
}

/// A loss of what is still pending leaves the same.
fn survive(image: &Image, mapping: Mapping, oracle: &Oracle, deep: bool) -> Result<u64, String> {
    let pending: Vec<Pending> = image.pending();
    let mut losses = vec![Loss::All];
    if pending.len() > 1 {
        let all = 0..if deep { pending.len() } else { 2 };
        losses.extend(all.flat_map(|i| [Loss::Only(i), Loss::AllBut(i)]));
    }
    let states = losses.len() as u64;
    for loss in losses {
        let mut machine = Machine::adopt(image.after(loss), mapping, oracle.clone());
        let story = |story| format!("then {loss:?} of {pending:?}: {story}");
        machine.try_open().map_err(story)?;
        machine.oracle.lock().offer_all(machine.store()).map_err(story)?;
        machine.go_down();
    }
    Ok(states)
}
