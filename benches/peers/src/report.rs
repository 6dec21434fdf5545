//! Writes what a run found: a table, figures for machines, a picture for each size of value.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::machine::Machine;
use crate::peer::Result;
use crate::results::Results;
use crate::{engines, picture, table};

pub struct About {
    pub machine: Machine,
    pub rounds: usize,
    pub quick: bool,
    pub seconds: u64,
    pub unsynced_bytes_max: Option<u64>,
}

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn write(about: &About, results: &Results, docs: bool) -> Result<()> {
    let text = text(about, results);
    println!("{text}");
    let out = home().join("target/peers");
    std::fs::create_dir_all(&out)?;
    put(&out.join("table.md"), &text)?;
    put(&out.join("results.json"), &serde_json::to_string_pretty(&document(about, results))?)?;
    pictures(results, &out)?;
    if docs {
        put(&home().join("RESULTS.md"), &text)?;
        pictures(results, &home())?;
    }
    Ok(())
}

fn pictures(results: &Results, dir: &Path) -> Result<()> {
    results
        .sizes()
        .into_iter()
        .try_for_each(|size| put(&dir.join(format!("peers-{size}B.svg")), &picture::svg(results, size)))
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

fn text(about: &About, results: &Results) -> String {
    let Machine { cpu, cores, kernel, file_system, rustc, date } = &about.machine;
    let cap = about.unsynced_bytes_max.map_or("the default".to_owned(), |bytes| format!("{bytes} bytes"));
    let quick = if about.quick { ", a quick run: the figures are rough" } else { "" };
    format!(
        "# What a run found\n\n{cpu}, {cores} cores, {kernel}, {file_system}, rustc {rustc}; {date}; medians of {} rounds in \
         which all took turns, {} s{quick}. Our topic's cap on unsynced bytes: {cap}. Every engine gave back every record, \
         in order, in every round.\n\nNanoseconds a record; `reopen` is the time of one. Behind an append's figure: ᵐ the \
         acknowledgement is lost with the process, ᵖ it survives kill -9 and no power cut; no mark, it survives a power \
         cut. `-`: the engine doesn't do it, or is listed twice.\n\n{}# Ratios\n\n{}\n# Versions\n\n{}\n# What stands behind \
         each figure\n\n{}",
        about.rounds,
        about.seconds,
        table::tables(results),
        table::ratios(results),
        versions(),
        table::reasons(results),
    )
}

/// As the lock file has them.
fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let mut packages: Vec<&str> = engines::ALL.iter().map(|peer| peer.package).collect();
    packages.dedup();
    let version = |package: &str| {
        let (_, behind) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
        behind.split('"').next()
    };
    packages.iter().map(|package| format!("- {package} {}\n", version(package).unwrap_or("?"))).collect()
}

fn document(about: &About, results: &Results) -> Value {
    let figures = results.all().map(|(size, work, engine, median, rounds)| {
        let nanos = || rounds.iter().map(|round| round.0);
        json!({
            "size": size, "work": work, "engine": engine, "median": median,
            "least": nanos().fold(f64::INFINITY, f64::min), "most": nanos().fold(0.0, f64::max),
            "records": rounds.iter().map(|round| round.1).collect::<Vec<_>>(),
        })
    });
    json!({
        "machine": about.machine, "rounds": about.rounds, "quick": about.quick, "seconds": about.seconds,
        "unsynced_bytes_max": about.unsynced_bytes_max, "figures": figures.collect::<Vec<_>>(),
    })
}
