//! Exploring as long as one likes, on all cores.
//!
//! Invariant: nothing is left out of a workload that was begun; a failure ends its workload and no other.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use epochlog::Mapping;

use super::explore::{Count, Depth, Explorer, Failure};
use super::workload::{Generator, Workload, by_hand};

const STATES: u64 = 1_000_000;
const TELL_EVERY: Duration = Duration::from_secs(30);

fn number_in(variable: &str, default: u64) -> u64 {
    let told = std::env::var(variable).ok();
    told.map_or(default, |told| told.replace('_', "").parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// What the workers share.
struct Run {
    todo: Box<dyn Iterator<Item = (Workload, Mapping)> + Send>,
    count: Count,
    failures: Vec<Failure>,
    told: Instant,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut by_hand = by_hand();
        // One generated, one by hand, so that a short run sees some of both.
        let workloads = Generator::new(seed).flat_map(move |generated| [Some(generated), by_hand.next()]).flatten();
        let both = |workload: Workload| [(workload.clone(), Mapping::Auto), (workload, Mapping::Never)];
        let todo = Box::new(workloads.flat_map(both));
        Run { todo, count: Count::default(), failures: Vec::new(), told: Instant::now() }
    }

    fn add(&mut self, count: Count, failure: Option<Failure>, began: Instant) {
        self.count += count;
        if let Some(failure) = failure {
            println!("{failure}");
            self.failures.push(failure);
        }
        if self.told.elapsed() >= TELL_EVERY {
            println!("{:5} s: {}", began.elapsed().as_secs(), self.count);
            self.told = Instant::now();
        }
    }
}

/// Explores workload after workload until there are so many states.
fn work(run: &Mutex<Run>, states: u64, began: Instant) {
    let run = || run.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let (workload, mapping) = {
            let mut run = run();
            if run.count.states() >= states {
                return;
            }
            run.todo.next().expect("has no end")
        };
        let mut explorer = Explorer::new(&workload, mapping, Depth::WHOLE);
        let failure = explorer.explore().err();
        run().add(explorer.count, failure.map(|failure| *failure), began);
    }
}

#[test]
#[ignore = "as long as EPOCHLOG_CRASH_STATES says"]
fn every_state_of_as_many_workloads_as_asked_for() {
    let (states, seed) = (number_in("EPOCHLOG_CRASH_STATES", STATES), number_in("EPOCHLOG_CRASH_SEED", 1));
    let (run, began) = (Mutex::new(Run::new(seed)), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| work(&run, states, began));
        }
    });
    let run = run.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("seed {seed}: {}, in {:?}", run.count, began.elapsed());
    let failures: Vec<String> = run.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{} workloads failed:\n{}", failures.len(), failures.join("\n"));
}
