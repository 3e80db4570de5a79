//! Memory: the peak of each command, what the container's first process takes before the program starts, and the smallest limit
//! that a container starts with.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::Result;
use crate::operations::{Bench, unchanged};
use crate::results::Row;
use crate::runtimes::Runtime;

pub const PEAK_OF_RUN: &str = "peak of run";
pub const LIMIT: &str = "smallest limit that starts";
pub const INIT: &str = "first process, before the program starts";

const SAMPLES: usize = 5;

pub fn measure(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    for runtime in &bench.runtimes {
        let peaks = [
            (PEAK_OF_RUN, run(bench, runtime)),
            ("peak of create", create(bench, runtime)),
            ("peak of exec", with_idle(bench, runtime, &["exec", "keg-bench-idle", "/bin/true"])),
            ("peak of state", with_idle(bench, runtime, &["state", "keg-bench-idle"])),
            (INIT, init(bench, runtime)),
            (LIMIT, smallest(bench, runtime)),
        ];
        for (workload, outcome) in peaks {
            let row = Row::new(workload, runtime.name, "KiB");
            rows.push(match outcome {
                Ok(values) => row.with(values),
                Err(error) => {
                    bench.recover(runtime);
                    row.noting(error.to_string())
                }
            });
        }
    }
    // One workload's runtimes beside each other.
    let mut order: Vec<String> = Vec::new();
    for row in &rows {
        if !order.contains(&row.workload) {
            order.push(row.workload.clone());
        }
    }
    rows.sort_by_key(|row| order.iter().position(|workload| *workload == row.workload));
    rows
}

/// The peak of the runtime's processes in KiB, of those that it has waited for too.
fn peak(bench: &Bench, runtime: &Runtime, words: &[&str]) -> Result<f64> {
    let file = bench.dir().join("usage");
    let mut command = Command::new(std::env::current_exe()?.with_file_name("usage"));
    command.arg(&file).arg(&runtime.binary).arg("--root").arg(&runtime.root).args(words);
    runtime.perform(command, words[0])?;
    Ok(Usage::read(&file)?.peak)
}

/// What the `usage` program has written of another.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Seconds.
    pub wall: f64,
    /// Seconds of all CPUs.
    pub cpu: f64,
    /// KiB.
    pub peak: f64,
}

impl Usage {
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)?;
        let numbers: std::result::Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
        match numbers?.as_slice() {
            &[wall, user, system, peak] => Ok(Self { wall, cpu: user + system, peak }),
            _ => Err("usage has written something else".into()),
        }
    }
}

fn run(bench: &Bench, runtime: &Runtime) -> Result<Vec<f64>> {
    let bundle = bench.bundles.make(&format!("{}-peak", runtime.name), |_| ())?;
    (0..SAMPLES).map(|_| peak(bench, runtime, &["run", "--bundle", &bundle, "keg-bench-short"])).collect()
}

fn create(bench: &Bench, runtime: &Runtime) -> Result<Vec<f64>> {
    let bundle = bench.bundles.make(&format!("{}-peak", runtime.name), |_| ())?;
    let one = |_| {
        let peak = peak(bench, runtime, &["create", "--bundle", &bundle, "keg-bench-short"])?;
        runtime.call(&["delete", "--force", "keg-bench-short"])?;
        Ok(peak)
    };
    (0..SAMPLES).map(one).collect()
}

fn with_idle(bench: &Bench, runtime: &Runtime, words: &[&str]) -> Result<Vec<f64>> {
    bench.start_idle(runtime)?;
    let peaks: Result<Vec<f64>> = (0..SAMPLES).map(|_| peak(bench, runtime, words)).collect();
    bench.end_idle(runtime)?;
    peaks
}

/// The peak of what waits between create and start.
fn init(bench: &Bench, runtime: &Runtime) -> Result<Vec<f64>> {
    let bundle =
        bench.bundle(&format!("{}-init", runtime.name), crate::operations::Operation::Run, &unchanged)?;
    let file = bench.dir().join("init.pid").display().to_string();
    let one = |_| {
        runtime.call(&["create", "--bundle", &bundle, "--pid-file", &file, "keg-bench-short"])?;
        let pid = fs::read_to_string(&file)?;
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
        runtime.call(&["delete", "--force", "keg-bench-short"])?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("a process without memory")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    };
    (0..SAMPLES).map(one).collect()
}

/// The smallest of the limits that `run` succeeds with, three times out of three.
fn smallest(bench: &Bench, runtime: &Runtime) -> Result<Vec<f64>> {
    let limits: Vec<u64> = (6..16).flat_map(|power| [1 << power, 3 << (power - 1)]).collect();
    let starts = |limit: u64| -> Result<()> {
        let bundle = bench.bundles.make(&format!("{}-limit-{limit}", runtime.name), |config| {
            config["linux"]["resources"]["memory"] = json!({"limit": limit << 10});
        })?;
        for _ in 0..3 {
            if let Err(error) = runtime.call(&["run", "--bundle", &bundle, "keg-bench-short"]) {
                bench.recover(runtime);
                return Err(error);
            }
        }
        Ok(())
    };
    starts(limits[limits.len() - 1])?;
    let (mut fails, mut works) = (0, limits.len() - 1);
    if starts(limits[0]).is_ok() {
        return Ok(vec![limits[0] as f64]);
    }
    while works - fails > 1 {
        let middle = usize::midpoint(fails, works);
        match starts(limits[middle]) {
            Ok(()) => works = middle,
            Err(_) => fails = middle,
        }
    }
    Ok(vec![limits[works] as f64])
}
