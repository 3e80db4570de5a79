//! What is there already must not matter: 1,000 containers of the same runtime, 1,000 mounts of the host. Each is compared with runs
//! that are made next to it: mounts come and go with each block, containers once, and without them is measured before and after.

use std::thread::scope;
use std::time::{Duration, Instant};

use crate::Result;
use crate::blocks::{Series, Workload, measure_in_turn};
use crate::bundles::waiting;
use crate::operations::{Bench, Operation};
use crate::rest::settle;
use crate::results::{Ratio, Results, Row};
use crate::runtimes::Runtime;

const COUNT: usize = 1000;
/// A runtime that takes longer to make so many is left out.
const PATIENCE: Duration = Duration::from_secs(45);
pub const OPERATIONS: [Operation; 4] =
    [Operation::Run, Operation::Exec, Operation::State, Operation::KillDelete];

/// An operation's name in this part.
pub fn name(operation: Operation, among: &str) -> String {
    format!("{}, {among}", operation.name())
}

/// With what it is measured, and without.
pub const AMONG: [(&str, &str); 2] =
    [("1,000 containers", "no other container"), ("1,000 mounts on the host", "few mounts on the host")];

/// How many times as long an operation takes with them as without.
pub fn factor(
    results: &Results,
    view: &str,
    operation: Operation,
    (among, alone): (&str, &str),
    subject: &str,
) -> Option<Ratio> {
    let [among, alone] = [among, alone].map(|what| name(operation, what));
    let ratio = results.ratio("scale", view, (&among, subject), (&alone, subject))?;
    // Without other containers is measured before and after, not in the same round.
    let interval = if alone.ends_with(AMONG[0].1) { None } else { ratio.interval };
    Some(Ratio { interval, ..ratio })
}

pub fn measure(bench: &Bench) -> Vec<Row> {
    let mut rows = mounts(bench);
    rows.extend(containers(bench));
    rows
}

fn workload(operation: Operation, name: &str) -> Workload<'_> {
    Workload { name, operation, with_floor: operation == Operation::Run, ..Workload::default() }
}

fn mounts(bench: &Bench) -> Vec<Row> {
    let (many, few) = AMONG[1];
    let one = |operation| {
        let (many, few) = (name(operation, many), name(operation, few));
        let among = Workload { mounts: COUNT, ..workload(operation, &many) };
        measure_in_turn(bench, &[workload(operation, &few), among])
    };
    OPERATIONS.into_iter().flat_map(one).collect()
}

/// One runtime after the other: what a failure sweeps away is its own containers then. The floor is measured among keg's.
fn containers(bench: &Bench) -> Vec<Row> {
    let (among, alone) = AMONG[0];
    let (among, alone) = (
        OPERATIONS.map(|operation| name(operation, among)),
        OPERATIONS.map(|operation| name(operation, alone)),
    );
    let mut rows = Vec::new();
    for runtime in &bench.runtimes {
        eprintln!("bench:   among 1,000 containers of {}", runtime.name);
        let series = |(operation, name)| series(bench, runtime, operation, name);
        let mut without: Vec<_> =
            OPERATIONS.into_iter().zip(alone.each_ref().map(String::as_str)).map(series).collect();
        let mut with: Vec<_> =
            OPERATIONS.into_iter().zip(among.each_ref().map(String::as_str)).map(series).collect();
        several(&mut without, bench.rounds.div_ceil(2));
        match populate(bench, runtime) {
            Ok(()) => {
                settle();
                several(&mut with, bench.rounds);
                bench.forget(runtime);
                settle();
                several(&mut without, bench.rounds.div_ceil(2));
                rows.extend(without.into_iter().chain(with).flat_map(Series::rows));
            }
            Err(error) => {
                bench.recover(runtime);
                rows.push(Row::new(&among[0], runtime.name, "ms").noting(error.to_string()));
            }
        }
    }
    rows.sort_by_key(|row| alone.iter().chain(&among).position(|name| *name == row.workload));
    rows
}

fn series<'a>(bench: &'a Bench, runtime: &'a Runtime, operation: Operation, name: &'a str) -> Series<'a> {
    let workload = workload(operation, name);
    let floor = (workload.with_floor && runtime.name == "keg").then_some(&bench.floor);
    Series::new(bench, workload, [runtime].into_iter().chain(floor).collect())
}

/// Blocks of each in turn. A failure ends it: the containers that were there are gone.
fn several(series: &mut [Series<'_>], rounds: usize) {
    for _ in 0..rounds {
        if !series.iter_mut().all(Series::blocks) {
            return;
        }
    }
}

/// 1,000 containers that wait. Half of them are made by a second thread.
fn populate(bench: &Bench, runtime: &Runtime) -> Result<()> {
    let begin = Instant::now();
    let half = |first: usize| -> std::result::Result<(), String> {
        for number in (first..COUNT).step_by(2) {
            if begin.elapsed() > PATIENCE {
                return Err(format!("after {} s there were no {COUNT} containers", PATIENCE.as_secs()));
            }
            let id = format!("{}-many-{number}", runtime.name);
            let started =
                bench.bundles.make(&id, waiting).and_then(|bundle| bench.start(runtime, &bundle, &id));
            started.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let (one, other) = scope(|scope| {
        let other = scope.spawn(|| half(1));
        (half(0), other.join().unwrap_or_else(|_| Err("panicked".to_owned())))
    });
    one?;
    Ok(other?)
}
