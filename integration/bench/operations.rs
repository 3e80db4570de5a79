//! What is timed: one call of a runtime, or several that belong together. What has to be there first is not timed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::bundles::{Bundles, waiting};
use crate::runtimes::{FLOOR, Runtime, SPAWN, runtimes};
use crate::views::{self, PARENT};
use crate::{Result, results::Row};

/// Runtimes and bundles in a private directory, in one view of the cgroups.
#[derive(Debug)]
pub struct Bench {
    pub runtimes: Vec<Runtime>,
    pub floor: Runtime,
    pub spawn: Runtime,
    pub bundles: Bundles,
    pub rounds: usize,
    hierarchies: Vec<String>,
    dir: TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Run,
    /// create, start, delete
    Lifecycle,
    Exec,
    State,
    /// kill, and delete once the process has ended
    KillDelete,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Lifecycle => "create, start, delete",
            Self::Exec => "exec",
            Self::State => "state",
            Self::KillDelete => "kill, delete",
        }
    }

    /// A container that runs.
    pub fn needs_idle(self) -> bool {
        matches!(self, Self::Exec | Self::State)
    }
}

/// The container that comes and goes.
const SHORT: &str = "keg-bench-short";
/// The container that is there.
const IDLE: &str = "keg-bench-idle";

impl Bench {
    /// With the runtimes that can run a container in this view, and a row for each that cannot.
    pub fn new(rounds: usize) -> Result<(Self, Vec<Row>)> {
        let dir = tempfile::Builder::new().prefix("keg-bench.").tempdir()?;
        views::purge();
        views::prepare()?;
        let found = runtimes(&views::state_directory()?);
        let bundles = Bundles::new(dir.path(), &found.first().ok_or("keg is not built")?.binary)?;
        let (floor, hierarchies) = (Runtime::floor(dir.path())?, views::hierarchies()?);
        let spawn = Runtime::spawn_alone(dir.path())?;
        let mut bench = Self { runtimes: Vec::new(), floor, spawn, bundles, rounds, hierarchies, dir };
        let mut left_out = Vec::new();
        for runtime in found {
            let bundle = bench.bundles.make(&format!("{}-first", runtime.name), |_| ())?;
            match bench.try_first(&runtime, &bundle) {
                Ok(()) => bench.runtimes.push(runtime),
                Err(error) => {
                    left_out.push(Row::new("any", runtime.name, "ms").noting(error.to_string()));
                }
            }
        }
        if bench.runtimes.first().is_none_or(|first| first.name != "keg") {
            let why = left_out.first().map_or("it is not there", |row| &row.note);
            return Err(format!("keg itself does not run: {why}").into());
        }
        Ok((bench, left_out))
    }

    /// A runtime that hangs now and then is given another chance.
    fn try_first(&self, runtime: &Runtime, bundle: &str) -> Result<()> {
        let mut outcome = Ok(());
        for _ in 0..3 {
            outcome = self.perform(Operation::Run, runtime, bundle).map(|_| ());
            if outcome.is_ok() {
                break;
            }
            self.recover(runtime);
        }
        outcome
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How long the operation took with a container of this bundle.
    pub fn perform(&self, operation: Operation, runtime: &Runtime, bundle: &str) -> Result<Duration> {
        match operation {
            _ if runtime.name == SPAWN => runtime.perform(Command::new(&runtime.binary), SPAWN),
            Operation::Run if runtime.name == FLOOR => runtime.perform(self.floor_command(FLOOR), FLOOR),
            Operation::Run => runtime.call(&["run", "--bundle", bundle, SHORT]),
            Operation::Lifecycle => {
                let created = runtime.call(&["create", "--bundle", bundle, SHORT])?;
                let started = runtime.call(&["start", SHORT])?;
                Ok(created + started + runtime.call(&["delete", "--force", SHORT])?)
            }
            Operation::Exec => runtime.call(&["exec", IDLE, "/bin/true"]),
            Operation::State => runtime.call(&["state", IDLE]),
            Operation::KillDelete => {
                let pid = self.start(runtime, bundle, SHORT)?;
                let killed = runtime.call(&["kill", SHORT, "KILL"])?;
                wait_for_end(pid)?;
                Ok(killed + runtime.call(&["delete", SHORT])?)
            }
        }
    }

    /// The floor program for the bundle that nothing was changed in, in a cgroup of its own.
    pub fn floor_command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.floor.binary);
        command.arg(self.bundles.rootfs()).arg(format!("{PARENT}/{name}")).args(&self.hierarchies);
        command
    }

    /// A container that waits; the id of its process.
    pub fn start(&self, runtime: &Runtime, bundle: &str, id: &str) -> Result<i32> {
        let file = self.dir.path().join(format!("{id}-{}.pid", runtime.name));
        let path = file.display().to_string();
        runtime.call(&["create", "--bundle", bundle, "--pid-file", &path, id])?;
        runtime.call(&["start", id])?;
        Ok(fs::read_to_string(file)?.trim().parse()?)
    }

    pub fn start_idle(&self, runtime: &Runtime) -> Result<()> {
        let bundle = self.bundles.make(&format!("{}-idle", runtime.name), waiting)?;
        self.start(runtime, &bundle, IDLE).map(|_| ())
    }

    pub fn end_idle(&self, runtime: &Runtime) -> Result<()> {
        runtime.call(&["delete", "--force", IDLE]).map(|_| ())
    }

    /// The bundle of an operation, with a change of its own.
    pub fn bundle(&self, name: &str, operation: Operation, change: &Change) -> Result<String> {
        let mut outcome = Ok(());
        let bundle = self.bundles.make(name, |config| {
            if operation == Operation::KillDelete {
                waiting(config);
            }
            outcome = change(self, config);
        })?;
        outcome.map(|()| bundle)
    }

    /// After a failure: whatever there is goes.
    pub fn recover(&self, runtime: &Runtime) {
        for id in [SHORT, IDLE] {
            runtime.call(&["delete", "--force", id]).unwrap_or_default();
        }
        clean(&runtime.root);
    }

    /// The containers of one runtime, without asking it.
    pub fn forget(&self, runtime: &Runtime) {
        clean(&runtime.root);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        views::purge();
    }
}

fn clean(root: &PathBuf) {
    views::purge();
    fs::remove_dir_all(root).unwrap_or_default();
    views::prepare().unwrap_or_default();
}

/// What a workload changes in the configuration.
pub type Change = dyn Fn(&Bench, &mut Value) -> Result<()>;

pub fn unchanged(_: &Bench, _: &mut Value) -> Result<()> {
    Ok(())
}

/// Whose process it was reaps it: what has ended is gone, or a zombie.
pub fn wait_for_end(pid: i32) -> Result<()> {
    let start = Instant::now();
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(10) {
            return Err("a killed process does not end".into());
        }
        sleep(Duration::from_micros(200));
    }
}
