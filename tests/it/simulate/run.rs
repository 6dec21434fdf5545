//! Runs seeds: plays, catches, shrinks, tells how to do it again.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use epochlog::Mapping;

use super::dice::Digest;
use super::ops::{Op, draw, print};
use super::player::{Player, Totals};
use super::shrink::shrink;

/// How a run ended.
pub struct Ended {
    pub digest: Digest,
    pub totals: Totals,
}

thread_local! {
    /// What the panic on this thread said, when it is one that is caught here.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    static CATCHING: RefCell<bool> = const { RefCell::new(false) };
}

/// Keeps panics that are caught here from being printed; those of others are.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHING.with(|catching| *catching.borrow()) {
                SAID.with(|said| *said.borrow_mut() = Some(info.to_string()));
            } else {
                before(info);
            }
        }));
    });
}

/// Odd seeds do without maps.
pub fn mapping_of(seed: u64) -> Mapping {
    if seed.is_multiple_of(2) { Mapping::Auto } else { Mapping::Never }
}

/// Plays the operations; says what went wrong and in which of them.
pub fn play(seed: u64, ops: &[Op]) -> Result<Ended, String> {
    keep_quiet();
    CATCHING.with(|catching| *catching.borrow_mut() = true);
    let mut step = 0;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut player = Player::new(seed, mapping_of(seed));
        for op in ops {
            player.play(*op);
            step += 1;
        }
        player.offer_all();
        Ended { digest: player.digest, totals: player.totals }
    }));
    CATCHING.with(|catching| *catching.borrow_mut() = false);
    ended.map_err(|_| {
        let said = SAID.with(|said| said.borrow_mut().take()).unwrap_or_default();
        let op = ops.get(step).map_or("the places at the end".into(), ToString::to_string);
        format!("in step {step}, `{op}`: {said}")
    })
}

/// What is printed of a failure: all that is needed to see it again.
pub fn story(seed: u64, ops: Vec<Op>, said: &str) -> String {
    let count = ops.len();
    let shrunk = shrink(ops, |ops| play(seed, ops).is_err());
    let now = play(seed, &shrunk).err().unwrap_or_else(|| said.into());
    format!(
        "seed {seed} fails {said}\n{count} operations, shrunk to {}:\n  {}\nwhich fail {now}\nreplay: \
         EPOCHLOG_SIM_SEED={seed} EPOCHLOG_SIM_OPS='{}' cargo test --features testing --test it simulate::replay -- \
         --nocapture",
        shrunk.len(),
        print(&shrunk).replace("; ", ";\n  "),
        print(&shrunk),
    )
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.operations += other.operations;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.refused += other.refused;
        self.copies += other.copies;
        self.places += other.places;
        self.records += other.records;
    }
}

/// So many different failures are worth telling at once.
const FAILURES_MAX: usize = 4;

#[derive(Default)]
struct State {
    seeds: u64,
    totals: Totals,
    failures: Vec<(u64, Vec<Op>, String)>,
}

impl State {
    fn note(&mut self, seed: u64, ops: Vec<Op>, ended: Result<Ended, String>) {
        self.seeds += 1;
        match ended {
            Ok(ended) => self.totals.add(&ended.totals),
            Err(said) => {
                let place = |said: &str| {
                    said.split("panicked at").nth(1).and_then(|said| said.lines().next().map(String::from))
                };
                if self.failures.iter().all(|(_, _, other)| place(other) != place(&said)) {
                    println!("seed {seed} fails {said}");
                    self.failures.push((seed, ops, said));
                }
            }
        }
    }
}

/// Runs the seeds on so many threads until all are done, the time is up or enough have failed. Gives the totals, or the
/// stories of those that failed.
pub fn run(first: u64, count: u64, threads: u64, time: Duration) -> Result<(u64, Totals), String> {
    let (next, failed, began) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    let state = Mutex::new(State::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count || failed.load(Ordering::Relaxed) || began.elapsed() > time {
                        return;
                    }
                    let (seed, ops) = (first + n, draw(first + n));
                    let ended = play(seed, &ops);
                    let mut state = state.lock().expect("nobody panics under it");
                    state.note(seed, ops, ended);
                    failed.store(state.failures.len() >= FAILURES_MAX, Ordering::Relaxed);
                    if state.seeds.is_multiple_of(5000) {
                        println!("{} of {count} seeds after {:?}: {:?}", state.seeds, began.elapsed(), state.totals);
                    }
                }
            });
        }
    });
    let state = state.into_inner().expect("nobody panics under it");
    if state.failures.is_empty() {
        return Ok((state.seeds, state.totals));
    }
    let stories: Vec<String> = state.failures.into_iter().map(|(seed, ops, said)| story(seed, ops, &said)).collect();
    Err(format!("{} of {} seeds:\n{}", stories.len(), state.seeds, stories.join("\n\n")))
}
