//! Runs of one runtime and then of the next, in turn, several times over: one runtime's teardown goes on after it has ended, and a
//! machine is not the same all day.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use crate::Result;
use crate::operations::{Bench, Change, Operation};
use crate::results::{Row, milliseconds};
use crate::runtimes::{FLOOR, Runtime};

/// Runs of one runtime before it is another one's turn.
pub const BLOCK: usize = 20;
const PAUSE: Duration = Duration::from_millis(300);

/// One row of the document for each runtime.
pub struct Workload<'a> {
    pub name: &'a str,
    pub operation: Operation,
    pub change: &'a Change,
    pub block: usize,
    /// Everything has to be read from the disk again.
    pub cold: bool,
    pub with_floor: bool,
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
        }
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

/// Measures every runtime.
pub fn measure(bench: &Bench, workload: &Workload<'_>) -> Vec<Row> {
    let floor = workload.with_floor.then_some(&bench.floor);
    let subjects: Vec<&Runtime> = bench.runtimes.iter().chain(floor).collect();
    measure_of(bench, workload, &subjects)
}

/// Measures these. One that fails loses its block; one that fails twice, or at first, its place.
pub fn measure_of(bench: &Bench, workload: &Workload<'_>, subjects: &[&Runtime]) -> Vec<Row> {
    eprintln!("bench:   {}", workload.name);
    let mut records: Vec<Record> = subjects.iter().map(|_| Record::default()).collect();
    for _ in 0..bench.rounds {
        for (runtime, record) in subjects.iter().zip(&mut records) {
            if record.failures >= 2 || (record.failures > 0 && record.times.is_empty()) {
                continue;
            }
            if let Err(error) = block(bench, workload, runtime, record) {
                record.failures += 1;
                record.why = error.to_string();
                bench.recover(runtime);
            }
            sleep(PAUSE);
        }
    }
    let row = |(runtime, record): (&&Runtime, Record)| {
        let note = match record.failures {
            0 => String::new(),
            _ if record.times.is_empty() => record.why,
            1 => format!("one block ended early: {}", record.why),
            many => format!("{many} blocks ended early: {}", record.why),
        };
        Row::new(workload.name, runtime.name, "ms").with(milliseconds(&record.times)).noting(note)
    };
    subjects.iter().zip(records).map(row).collect()
}

fn block(bench: &Bench, workload: &Workload<'_>, runtime: &Runtime, record: &mut Record) -> Result<()> {
    let operation = workload.operation;
    if record.bundle.is_empty() && runtime.name != FLOOR {
        let name = format!("{}-{}", runtime.name, slug(workload.name));
        record.bundle = bench.bundle(&name, operation, workload.change)?;
    }
    if operation.needs_idle() {
        bench.start_idle(runtime)?;
    }
    for _ in 0..workload.block {
        if workload.cold {
            drop_caches()?;
        }
        record.times.push(bench.perform(operation, runtime, &record.bundle)?);
    }
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
