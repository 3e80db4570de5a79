//! Runs of one runtime and then of the next, in turn, several times over: one runtime's teardown goes on after it has ended, and a
//! machine is not the same all day.

use std::fs;
use std::time::Duration;

use crate::Result;
use crate::mounts::Mounts;
use crate::operations::{Bench, Change, Operation};
use crate::rest::rest;
use crate::results::{Row, Summary, milliseconds};
use crate::runtimes::Runtime;

/// Runs of one runtime before it is another one's turn.
pub const BLOCK: usize = 20;

/// One row of the document for each runtime.
#[derive(Clone, Copy)]
pub struct Workload<'a> {
    pub name: &'a str,
    pub operation: Operation,
    pub change: &'a Change,
    pub block: usize,
    /// Everything has to be read from the disk again.
    pub cold: bool,
    pub with_floor: bool,
    /// Beside the harness's own share.
    pub with_spawn: bool,
    /// So many times the rounds that others have.
    pub times: usize,
    /// So many mounts of the host more, while it is measured.
    pub mounts: usize,
}

impl Default for Workload<'_> {
    fn default() -> Self {
        let operation = Operation::Run;
        Self {
            name: "run",
            operation,
            change: &crate::operations::unchanged,
            block: BLOCK,
            cold: false,
            with_floor: false,
            with_spawn: false,
            times: 1,
            mounts: 0,
        }
    }
}

impl Workload<'_> {
    /// Runs before those that count: after a pause the first finds less in the caches than the others.
    fn warm_up(&self) -> usize {
        if self.cold { 0 } else { self.block.div_ceil(10) }
    }
}

/// What a runtime has to show so far.
#[derive(Default)]
struct Record {
    bundle: String,
    times: Vec<Duration>,
    /// The median of each round.
    rounds: Vec<Option<f64>>,
    failures: usize,
    why: String,
}

impl Record {
    /// One that fails loses its block; one that fails twice, or at first, its place.
    fn is_out(&self) -> bool {
        self.failures >= 2 || (self.failures > 0 && self.times.is_empty())
    }
}

/// A workload, and what each of its subjects has to show.
pub struct Series<'a> {
    bench: &'a Bench,
    workload: Workload<'a>,
    subjects: Vec<&'a Runtime>,
    records: Vec<Record>,
}

impl<'a> Series<'a> {
    pub fn new(bench: &'a Bench, workload: Workload<'a>, subjects: Vec<&'a Runtime>) -> Self {
        let records = subjects.iter().map(|_| Record::default()).collect();
        Self { bench, workload, subjects, records }
    }

    /// Of every runtime, and of the floor where the workload says so.
    pub fn of_all(bench: &'a Bench, workload: Workload<'a>) -> Self {
        let floor = workload.with_floor.then_some(&bench.floor);
        let spawn = workload.with_spawn.then_some(&bench.spawn);
        Self::new(bench, workload, bench.runtimes.iter().chain(floor).chain(spawn).collect())
    }

    /// One block, unless this subject has lost its place. False where it failed.
    fn block(&mut self, subject: usize) -> bool {
        let (runtime, record) = (self.subjects[subject], &mut self.records[subject]);
        record.rounds.push(None);
        if record.is_out() {
            return false;
        }
        rest();
        let before = record.times.len();
        let Err(error) = block(self.bench, &self.workload, runtime, record) else {
            let values = milliseconds(&record.times[before..]);
            record.rounds.pop();
            record.rounds.push(Summary::of(values).map(|summary| summary.median));
            return true;
        };
        record.failures += 1;
        record.why = error.to_string();
        self.bench.recover(runtime);
        false
    }

    /// A block of each subject, until one fails: false.
    pub fn blocks(&mut self) -> bool {
        (0..self.subjects.len()).all(|subject| self.block(subject))
    }

    pub fn rows(self) -> Vec<Row> {
        let workload = self.workload;
        let row = |(runtime, record): (&Runtime, Record)| {
            let note = match record.failures {
                0 => String::new(),
                _ if record.times.is_empty() => record.why,
                1 => format!("one block ended early: {}", record.why),
                many => format!("{many} blocks ended early: {}", record.why),
            };
            let row = Row::new(workload.name, runtime.name, "ms").with(milliseconds(&record.times));
            Row { rounds: record.rounds, ..row.noting(note) }
        };
        self.subjects.into_iter().zip(self.records).map(row).collect()
    }
}

/// Measures every runtime.
pub fn measure(bench: &Bench, workload: &Workload<'_>) -> Vec<Row> {
    measure_in_turn(bench, &[*workload])
}

/// Measures every runtime with all of the workloads, one block after the other: what is compared is measured at the same time.
pub fn measure_in_turn(bench: &Bench, workloads: &[Workload<'_>]) -> Vec<Row> {
    workloads.iter().for_each(|workload| eprintln!("bench:   {}", workload.name));
    let mut series: Vec<Series<'_>> =
        workloads.iter().map(|workload| Series::of_all(bench, *workload)).collect();
    let subjects = series.first().map_or(0, |first| first.subjects.len());
    let times = workloads.iter().map(|workload| workload.times).max().unwrap_or(1);
    for round in 0..bench.rounds * times {
        for subject in order(subjects, round) {
            series.iter_mut().for_each(|series| {
                series.block(subject);
            });
        }
    }
    series.into_iter().flat_map(Series::rows).collect()
}

/// In which order it is whose turn: in as many rounds as there are subjects, or twice as many where their number is odd, everyone comes
/// as often after each of the others, whose teardown may outlast the pause.
pub fn order(subjects: usize, round: usize) -> Vec<usize> {
    // 0, 1, last, 2, last but one...: each step is as long as no other.
    let step = |place: usize| if place % 2 == 1 { place.div_ceil(2) } else { subjects - place / 2 };
    let mut order: Vec<usize> = (0..subjects).map(|place| (step(place) + round) % subjects).collect();
    if (round / subjects) % 2 == 1 {
        order.reverse();
    }
    order
}

fn block(bench: &Bench, workload: &Workload<'_>, runtime: &Runtime, record: &mut Record) -> Result<()> {
    let operation = workload.operation;
    if record.bundle.is_empty() && runtime.is_runtime() {
        let name = format!("{}-{}", runtime.name, slug(workload.name));
        record.bundle = bench.bundle(&name, operation, workload.change)?;
    }
    let mounts = Mounts::make(bench, workload.mounts)?;
    let needs_idle = operation.needs_idle() && runtime.is_runtime();
    if needs_idle {
        bench.start_idle(runtime)?;
    }
    for _ in 0..workload.warm_up() {
        bench.perform(operation, runtime, &record.bundle)?;
    }
    for _ in 0..workload.block {
        if workload.cold {
            drop_caches()?;
        }
        record.times.push(bench.perform(operation, runtime, &record.bundle)?);
    }
    drop(mounts);
    match needs_idle {
        true => bench.end_idle(runtime),
        false => Ok(()),
    }
}

/// Letters, digits and hyphens.
pub fn slug(name: &str) -> String {
    let words = name.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

fn drop_caches() -> Result<()> {
    // What is only in memory is no cache.
    nix::unistd::sync();
    Ok(fs::write("/proc/sys/vm/drop_caches", "3")?)
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn everyone_comes_as_often_after_each_of_the_others() {
        for (subjects, rounds) in [(2, 2), (3, 6), (4, 4), (5, 10)] {
            let mut after = vec![vec![0; subjects]; subjects];
            for round in 0..rounds {
                let order = order(subjects, round);
                order.windows(2).for_each(|pair| after[pair[0]][pair[1]] += 1);
            }
            for (before, row) in after.iter().enumerate() {
                let often = |(next, &count): (usize, &usize)| {
                    count == if next == before { 0 } else { rounds / subjects }
                };
                assert!(row.iter().enumerate().all(often), "{subjects} subjects: {after:?}");
            }
        }
    }
}
