//! The same work through this project's engine, its peers and the bare machine, side by side.

mod engines;
mod floor;
mod machine;
mod peer;
mod picture;
mod report;
mod results;
mod share;
mod table;
mod values;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use peer::{Peer, Result, Work};
use results::Results;
use share::{Plan, Sample};
use values::Values;

/// Runs the same work through epochlog, its peers and the bare machine.
#[derive(Parser)]
struct Options {
    /// Fewer rounds and fewer records: about two minutes.
    #[arg(long)]
    quick: bool,
    /// Only these engines, by their names in the table; `floor` is one.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these kinds of work.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Only values of these sizes, in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1024])]
    size: Vec<usize>,
    /// How many rounds the medians are of.
    #[arg(long)]
    rounds: Option<usize>,
    /// Where the engines' directories are made: durable figures are that disk's.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Our topic's cap on unsynced bytes, instead of its default.
    #[arg(long)]
    unsynced_bytes_max: Option<u64>,
    /// Puts the table and the picture where the repository shows them.
    #[arg(long)]
    write_docs: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let base = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let base = tempfile::Builder::new().prefix("epochlog-peers").tempdir_in(base)?;
    engines::prepare(base.path());
    let peers = chosen(&options.only)?;
    let works = if options.work.is_empty() { Work::ALL.to_vec() } else { options.work.clone() };
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 });
    let plans: Vec<Plan> = options.size.iter().map(|&size| plan(options, size, base.path())).collect();
    let mut results = Results::default();
    let started = Instant::now();
    for round in 0..rounds {
        for plan in &plans {
            for turn in 0..peers.len() {
                let runner = &peers[(round + turn) % peers.len()];
                let began = Instant::now();
                let samples = runner.share(plan, &works).map_err(|error| format!("{}: {error}", runner.name()))?;
                results.add(plan.values.size(), runner.name(), samples);
                let (took, size) = (began.elapsed().as_secs_f64(), plan.values.size());
                eprintln!("round {} of {rounds}, {size} bytes, {}: {took:.1} s", round + 1, runner.name());
            }
        }
    }
    let about = report::About {
        machine: machine::Machine::here(base.path()),
        rounds,
        quick: options.quick,
        seconds: started.elapsed().as_secs(),
        unsynced_bytes_max: options.unsynced_bytes_max,
    };
    report::write(&about, &results, options.write_docs)
}

/// Whatever takes its turn in a round.
enum Runner {
    Floor,
    Peer(Peer),
}

impl Runner {
    fn name(&self) -> &'static str {
        match self {
            Runner::Floor => floor::NAME,
            Runner::Peer(peer) => peer.name,
        }
    }

    fn share(&self, plan: &Plan, works: &[Work]) -> Result<Vec<Sample>> {
        match self {
            Runner::Floor => floor::share(plan, works),
            Runner::Peer(peer) => share::share(peer, plan, works),
        }
    }
}

fn chosen(only: &[String]) -> Result<Vec<Runner>> {
    let mut all: Vec<Runner> = std::iter::once(Runner::Floor).chain(engines::ALL.map(Runner::Peer)).collect();
    if let Some(name) = only.iter().find(|name| all.iter().all(|runner| runner.name() != *name)) {
        let names: Vec<&str> = all.iter().map(Runner::name).collect();
        return Err(format!("no engine is named {name:?}; there are {}", names.join(", ")).into());
    }
    all.retain(|runner| only.is_empty() || only.iter().any(|name| name == runner.name()));
    Ok(all)
}

/// A round's records of ours stay below the default cap on unsynced bytes.
fn plan(options: &Options, size: usize, base: &Path) -> Plan {
    let scale = if options.quick { 2 } else { 1 };
    let bytes: u64 = (40 << 20) / scale;
    let records = (bytes / size as u64).min(400_000 / scale).next_multiple_of(100);
    Plan {
        values: Values::new(size),
        append_records: records,
        append_time: Duration::from_millis(300 / scale),
        read_records: (records / 2).next_multiple_of(100),
        random_reads: 20_000 / scale,
        durable_time: Duration::from_millis(200 / scale),
        base: base.to_path_buf(),
        unsynced_bytes_max: options.unsynced_bytes_max,
    }
}
