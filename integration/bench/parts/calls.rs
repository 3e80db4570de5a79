//! System calls and programs executed per operation, of all processes, counted by strace.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::operations::Bench;
use crate::results::Row;
use crate::runtimes::{FLOOR, Runtime};

pub const RUN: &str = "run";
const SHORT: &str = "keg-bench-short";
const IDLE: &str = "keg-bench-idle";

pub fn measure(bench: &Bench) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |operation: &str, runtime: &Runtime, outcome: Result<Counts>| match outcome {
        Ok(counts) => {
            rows.push(Row::new(operation, runtime.name, "calls").with(vec![counts.calls]));
            rows.push(Row::new(operation, runtime.name, "execve").with(vec![counts.executed]));
        }
        Err(error) => {
            bench.recover(runtime);
            rows.push(Row::new(operation, runtime.name, "calls").noting(error.to_string()));
        }
    };
    for runtime in &bench.runtimes {
        add(RUN, runtime, run(bench, runtime));
        add("create, with the container's own", runtime, create(bench, runtime));
        add("exec", runtime, with_idle(bench, runtime, &["exec", IDLE, "/bin/true"]));
        add("state", runtime, with_idle(bench, runtime, &["state", IDLE]));
        add("kill", runtime, with_idle(bench, runtime, &["kill", IDLE, "KILL"]));
        add("delete --force", runtime, with_idle(bench, runtime, &["delete", "--force", IDLE]));
    }
    add(RUN, &bench.floor, floor(bench));
    rows
}

struct Counts {
    calls: f64,
    /// After the one that starts the runtime.
    executed: f64,
}

impl Counts {
    /// From strace's table: the number of calls and the name are the last columns.
    fn read(file: &Path) -> Result<Self> {
        let mut counts = Self { calls: 0.0, executed: -1.0 };
        for line in fs::read_to_string(file)?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[number, name] = words.as_slice() else { continue };
            let Ok(number) = number.parse::<f64>() else { continue };
            match name {
                "total" => counts.calls = number,
                "execve" | "execveat" => counts.executed += number,
                _ => {}
            }
        }
        if counts.calls == 0.0 { Err("strace has counted nothing".into()) } else { Ok(counts) }
    }
}

fn strace(file: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-c", "-U", "calls,name", "-o"]).arg(file);
    command
}

fn traced(runtime: &Runtime, file: &Path, words: &[&str]) -> Command {
    let mut command = strace(file);
    command.arg(&runtime.binary).arg("--root").arg(&runtime.root).args(words);
    command
}

fn run(bench: &Bench, runtime: &Runtime) -> Result<Counts> {
    let file = bench.dir().join("calls");
    let bundle = bench.bundles.make(&format!("{}-calls", runtime.name), |_| ())?;
    runtime.perform(traced(runtime, &file, &["run", "--bundle", &bundle, SHORT]), "run")?;
    Counts::read(&file)
}

fn floor(bench: &Bench) -> Result<Counts> {
    let file = bench.dir().join("calls");
    let plain = bench.floor_command(FLOOR);
    let mut command = strace(&file);
    command.arg(plain.get_program()).args(plain.get_args());
    bench.floor.perform(command, FLOOR)?;
    Counts::read(&file)
}

fn with_idle(bench: &Bench, runtime: &Runtime, words: &[&str]) -> Result<Counts> {
    let file = bench.dir().join("calls");
    bench.start_idle(runtime)?;
    let counted = runtime.perform(traced(runtime, &file, words), words[0]).and_then(|_| Counts::read(&file));
    if words[0] != "delete" {
        bench.end_idle(runtime)?;
    }
    counted
}

/// The tracer ends with the container, which is started so that its program ends.
fn create(bench: &Bench, runtime: &Runtime) -> Result<Counts> {
    let file = bench.dir().join("calls");
    let bundle = bench.bundles.make(&format!("{}-calls", runtime.name), |_| ())?;
    let pid_file = bench.dir().join("calls.pid");
    fs::remove_file(&pid_file).unwrap_or_default();
    let pid_word = pid_file.display().to_string();
    let mut command =
        traced(runtime, &file, &["create", "--bundle", &bundle, "--pid-file", &pid_word, SHORT]);
    let tracer = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut tracer = Tracer(tracer);
    let created = || {
        pid_file.exists()
            && runtime.output(&["state", SHORT]).is_ok_and(|state| state.contains("\"created\""))
    };
    wait("create", created)?;
    runtime.call(&["start", SHORT])?;
    wait("the container's end", || tracer.0.try_wait().is_ok_and(|status| status.is_some()))?;
    runtime.call(&["delete", "--force", SHORT])?;
    Counts::read(&file)
}

/// Ended in any case.
struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

fn wait(what: &str, mut until: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !until() {
        if start.elapsed() > Duration::from_secs(20) {
            return Err(format!("{what} takes too long under strace").into());
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}
