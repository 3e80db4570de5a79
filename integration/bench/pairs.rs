//! What one thing in a configuration costs: runs with it and without it in turn, and the difference of each two that are neighbours.
//! The machine is the same for both, so that less is lost in its moods than between blocks.

use std::time::Duration;

use crate::Result;
use crate::blocks::{order, slug};
use crate::operations::{Bench, Change, Operation};
use crate::rest::rest;
use crate::results::Row;
use crate::runtimes::Runtime;

/// The unit of such rows.
pub const UNIT: &str = "ms more";
/// In each round.
const PAIRS: usize = 10;
/// keg's difference is small and has to be known better.
const PAIRS_OF_KEG: usize = 60;

/// `run` with a change, and with another.
pub struct Pair<'a> {
    pub name: &'a str,
    pub with: &'a Change,
    pub without: &'a Change,
}

/// What a runtime has to show so far.
#[derive(Default)]
struct Record {
    differences: Vec<f64>,
    why: String,
}

/// The differences of every runtime.
pub fn measure(bench: &Bench, pair: &Pair<'_>) -> Vec<Row> {
    eprintln!("bench:   {}", pair.name);
    let mut records: Vec<Record> = bench.runtimes.iter().map(|_| Record::default()).collect();
    for round in 0..bench.rounds {
        for subject in order(records.len(), round) {
            let (runtime, record) = (&bench.runtimes[subject], &mut records[subject]);
            if record.why.is_empty() {
                rest();
                block(bench, pair, runtime, record).unwrap_or_else(|error| {
                    record.why = error.to_string();
                    bench.recover(runtime);
                });
            }
        }
    }
    let row = |(runtime, record): (&Runtime, Record)| {
        Row::new(pair.name, runtime.name, UNIT).with_interval(record.differences).noting(record.why)
    };
    bench.runtimes.iter().zip(records).map(row).collect()
}

fn block(bench: &Bench, pair: &Pair<'_>, runtime: &Runtime, record: &mut Record) -> Result<()> {
    let bundle = |kind: &str, change: &Change| {
        let name = format!("{}-{}-{kind}", runtime.name, slug(pair.name));
        bench.bundle(&name, Operation::Run, change)
    };
    let bundles = [bundle("without", pair.without)?, bundle("with", pair.with)?];
    let run = |which: usize| bench.perform(Operation::Run, runtime, &bundles[which]);
    let count = if runtime.name == "keg" { PAIRS_OF_KEG } else { PAIRS };
    // The first does not count.
    for number in 0..=count {
        let first = number % 2;
        let mut times = [Duration::ZERO; 2];
        for which in [first, 1 - first] {
            times[which] = run(which)?;
        }
        if number > 0 {
            record.differences.push((times[1].as_secs_f64() - times[0].as_secs_f64()) * 1e3);
        }
    }
    Ok(())
}
