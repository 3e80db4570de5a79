//! Runs of one runtime and then of the next, in turn, several times over: one runtime's teardown goes on after it has ended, and a
//! machine is not the same all day.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::Result;
use crate::mounts::Mounts;
use crate::operations::{Bench, Change, Operation};
use crate::results::{Row, milliseconds};
use crate::runtimes::{FLOOR, Runtime};

/// Runs of one runtime before it is another one's turn.
pub const BLOCK: usize = 20;
/// What the runtime before has left to the kernel's workers is done by then.
const PAUSE: Duration = Duration::from_millis(300);

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
        Self::new(bench, workload, bench.runtimes.iter().chain(floor).collect())
    }

    /// One block, unless this subject has lost its place. False where it failed.
    fn block(&mut self, subject: usize) -> bool {
        let (runtime, record) = (self.subjects[subject], &mut self.records[subject]);
        if record.is_out() {
            return false;
        }
        sleep(PAUSE);
        let Err(error) = block(self.bench, &self.workload, runtime, record) else { return true };
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
            Row::new(workload.name, runtime.name, "ms").with(milliseconds(&record.times)).noting(note)
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
    for round in 0..bench.rounds {
        for subject in order(subjects, round) {
            series.iter_mut().for_each(|series| {
                series.block(subject);
            });
        }
    }
    series.into_iter().flat_map(Series::rows).collect()
}

/// In which order it is whose turn. Each round begins with another one and every second goes backwards: nobody always comes after the
/// same one, whose teardown may outlast the pause.
fn order(subjects: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..subjects).collect();
    order.rotate_left(round % subjects);
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn block(bench: &Bench, workload: &Workload<'_>, runtime: &Runtime, record: &mut Record) -> Result<()> {
    let operation = workload.operation;
    if record.bundle.is_empty() && runtime.name != FLOOR {
        let name = format!("{}-{}", runtime.name, slug(workload.name));
        record.bundle = bench.bundle(&name, operation, workload.change)?;
    }
    let mounts = Mounts::make(bench, workload.mounts)?;
    if operation.needs_idle() {
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
    match operation.needs_idle() {
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
    fn nobody_always_comes_after_the_same_one() {
        let rounds: Vec<Vec<usize>> = (0..4).map(|round| order(4, round)).collect();
        assert_eq!(rounds, [[0, 1, 2, 3], [0, 3, 2, 1], [2, 3, 0, 1], [2, 1, 0, 3]]);
    }
}
