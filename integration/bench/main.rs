//! Times keg beside its peers and writes `docs/benchmarks.md`: `make bench`, `make bench ONLY=start,exec`, `make bench-quick`.
//!
//! Each part is measured by a process of its own in a private view of the host's cgroups. Whatever happens to it, the rest goes on,
//! and what it made is removed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

mod blocks;
mod bundles;
mod machine;
mod mounts;
mod operations;
mod order;
mod pairs;
mod parts;
mod profiles;
mod render;
mod rest;
mod results;
mod runtimes;
mod smallest;
mod views;
mod worker;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use parts::Part;
use results::{Results, Row};
use views::{VIEWS, View};
use worker::{Measured, Worker};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: bench all ROUNDS [PART,...] | quick ROUNDS | render | order KEG FILE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["all", rounds, only @ ..] => rounds.parse().map_err(Into::into).and_then(|rounds| all(rounds, only)),
        ["quick", rounds] => rounds.parse().map_err(Into::into).and_then(quick),
        ["render"] => Results::load(&results_file()).and_then(|results| render::write(&results, &docs())),
        ["part", part, rounds, file] => measure(part, rounds, Path::new(file)),
        ["order", keg, file] => order::write(Path::new(keg), Path::new(file)),
        ["order-in-view", keg, file] => order::in_view(Path::new(keg), Path::new(file)),
        ["limit", what, ..] => parts::limits::perform(what, &args[2..]),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where everything is built.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn results_file() -> PathBuf {
    docs().join("benchmarks/results.json")
}

/// Measures the named parts, or all, and writes the document. Parts that are not measured stay as they were.
fn all(rounds: usize, only: &[&str]) -> Result<()> {
    let names = only.iter().flat_map(|names| names.split([',', ' '])).filter(|name| !name.is_empty());
    let parts: Result<Vec<Part>> = names.map(Part::of).collect();
    let (mut parts, mut results) = (parts?, Results::load(&results_file())?);
    if parts.is_empty() {
        parts = Part::ALL.to_vec();
        results = Results::default();
    }
    let worker = Worker::new()?;
    (results.machine, results.versions) = (machine::describe()?, machine::versions()?);
    (results.keg, results.keg_bytes) = (machine::digest()?, machine::size()?);
    let begin = Instant::now();
    for part in parts {
        let (start, rounds) = (Instant::now(), part.rounds(rounds));
        let views = if part.has_views() { &VIEWS[..] } else { &[View::HOST] };
        let measured: Vec<_> = views.iter().map(|view| worker.measure(part.name(), *view, rounds)).collect();
        let busy = measured.iter().map(|measured| measured.busy).reduce(f64::max);
        let rows: Vec<Row> = measured.into_iter().flat_map(|measured| measured.rows).collect();
        let seconds = start.elapsed().as_secs();
        let (date, keg) = (machine::date()?, machine::digest()?);
        results
            .parts
            .insert(part.name().to_owned(), results::Part { date, seconds, rounds, busy, keg, rows });
        // What has been measured is kept, whatever happens to the next part.
        results.save(&results_file())?;
        render::write(&results, &docs())?;
        eprintln!("bench: {} took {seconds} s", part.name());
    }
    eprintln!("bench: {} s in all, see docs/benchmarks.md", begin.elapsed().as_secs());
    Ok(())
}

/// Prints ratios, and writes nothing.
fn quick(rounds: usize) -> Result<()> {
    let worker = Worker::new()?;
    for view in VIEWS {
        let measured = worker.measure("quick", view, rounds);
        println!("cgroups of {}, milliseconds, {rounds} rounds of {}:", view.title, blocks::BLOCK);
        render::print(&measured.rows);
        if measured.busy > rest::BUSY {
            println!("busy machine: others took {:.0} % of the CPUs", measured.busy * 100.0);
        }
    }
    Ok(())
}

/// What a process does that [`Worker`] has started.
fn measure(part: &str, rounds: &str, file: &Path) -> Result<()> {
    let rounds = rounds.parse()?;
    rest::look_first();
    let rows = match part {
        "quick" => parts::start::quick(rounds)?,
        part => Part::of(part)?.measure(rounds)?,
    };
    Ok(fs::write(file, serde_json::to_vec(&Measured { rows, busy: rest::busy() })?)?)
}
