//! What is there already must not matter: 1,000 containers of the same runtime, 1,000 mounts of the host.

use std::fs;
use std::path::PathBuf;
use std::thread::scope;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Result;
use crate::blocks::{Workload, measure as blocks, measure_of};
use crate::bundles::waiting;
use crate::operations::{Bench, Operation};
use crate::results::Row;
use crate::runtimes::Runtime;

const COUNT: usize = 1000;
/// A runtime that takes longer to make so many is left out.
const PATIENCE: Duration = Duration::from_secs(60);
pub const OPERATIONS: [Operation; 4] =
    [Operation::Run, Operation::Exec, Operation::State, Operation::KillDelete];

/// An operation's name in this part.
pub fn name(operation: Operation, among: &str) -> String {
    format!("{}, {among}", operation.name())
}

pub const ALONE: &str = "alone";
pub const AMONG_CONTAINERS: &str = "1,000 containers";
pub const AMONG_MOUNTS: &str = "1,000 mounts on the host";

pub fn measure(bench: &Bench) -> Vec<Row> {
    let mut rows = operations(bench, ALONE);
    match host_mounts(bench) {
        Ok(mounts) => {
            rows.extend(operations(bench, AMONG_MOUNTS));
            drop(mounts);
        }
        Err(error) => {
            rows.push(Row::new(&name(Operation::Run, AMONG_MOUNTS), "keg", "ms").noting(error.to_string()))
        }
    }
    rows.extend(containers(bench));
    rows
}

fn operations(bench: &Bench, among: &str) -> Vec<Row> {
    let one = |operation| {
        blocks(bench, &Workload { name: &name(operation, among), operation, ..Workload::default() })
    };
    OPERATIONS.into_iter().flat_map(one).collect()
}

/// One runtime after the other: what a failure sweeps away is its own containers then.
fn containers(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for runtime in &bench.runtimes {
        if let Err(error) = populate(bench, runtime) {
            let row = Row::new(&name(OPERATIONS[0], AMONG_CONTAINERS), runtime.name, "ms");
            rows.push(row.noting(error.to_string()));
            bench.recover(runtime);
            continue;
        }
        for operation in OPERATIONS {
            let name = name(operation, AMONG_CONTAINERS);
            let measured =
                measure_of(bench, &Workload { name: &name, operation, ..Workload::default() }, &[runtime]);
            let failed = measured.iter().any(|row| !row.note.is_empty());
            rows.extend(measured);
            if failed {
                break;
            }
        }
        bench.forget(runtime);
    }
    rows
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

/// Mounts of this process's private namespace, unmounted in the end.
struct Mounts(Vec<PathBuf>);

fn host_mounts(bench: &Bench) -> Result<Mounts> {
    let mut mounts = Mounts(Vec::new());
    let source = bench.dir().join("source");
    for number in 0..COUNT {
        let place = bench.dir().join(format!("mounts/{number}"));
        fs::create_dir_all(&place)?;
        mount(Some(&source), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        mounts.0.push(place);
    }
    Ok(mounts)
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for place in &self.0 {
            umount2(place, MntFlags::MNT_DETACH).unwrap_or_default();
        }
    }
}
