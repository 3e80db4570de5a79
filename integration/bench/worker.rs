//! Each part in each view is measured by a process of its own: what happens to it is not the end, and what it leaves is removed,
//! also when the benchmark is interrupted.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::spawn;

use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::{Pid, getpid};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::Result;
use crate::results::Row;
use crate::views::{self, View};

/// What such a process has to say.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub rows: Vec<Row>,
    /// How much of the CPUs was taken while nothing was measured, of 1.
    pub busy: f64,
}

/// Starts one process after the other.
#[derive(Debug)]
pub struct Worker {
    /// Where the process has its private directories.
    dir: TempDir,
    /// The process that is measuring: it leads a group.
    running: Arc<Mutex<Option<Pid>>>,
}

impl Worker {
    pub fn new() -> Result<Self> {
        let worker =
            Self { dir: tempfile::Builder::new().prefix("keg-bench.").tempdir()?, running: Arc::default() };
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        // Only this process: what it starts begins with no signal blocked.
        signals.thread_block()?;
        let (dir, running) = (worker.dir.path().to_owned(), Arc::clone(&worker.running));
        spawn(move || {
            if signals.wait().is_ok() {
                end(&dir, &running);
            }
        });
        Ok(worker)
    }

    /// The rows of one part in one view, or one row that says why there are none.
    pub fn measure(&self, part: &str, view: View, rounds: usize) -> Measured {
        let measured = self.run(part, view, rounds);
        end_stragglers(self.dir.path());
        views::purge();
        let mut measured = measured.unwrap_or_else(|error| {
            let rows = vec![Row::new("any", "keg", "ms").noting(error.to_string())];
            Measured { rows, busy: 0.0 }
        });
        for row in &mut measured.rows {
            row.view = view.name.to_owned();
        }
        measured
    }

    fn run(&self, part: &str, view: View, rounds: usize) -> Result<Measured> {
        let file = self.dir.path().join("rows");
        let mut command = view.command(&std::env::current_exe()?);
        command.args(["part", part, &rounds.to_string()]).arg(&file);
        let mut child = command.env("TMPDIR", self.dir.path()).process_group(0).spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id())?);
        self.note(Some(pid));
        let status = child.wait()?;
        self.note(None);
        if !status.success() {
            return Err(format!("measuring failed: {status}").into());
        }
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    fn note(&self, pid: Option<Pid>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = pid;
    }
}

/// The process goes, its containers and their cgroups, its directories. Its mounts go with its namespace. Whoever waits for the
/// process waits for the lock from now on: nothing is written any more.
fn end(dir: &Path, running: &Mutex<Option<Pid>>) -> ! {
    let running = running.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pid) = *running {
        killpg(pid, Signal::SIGKILL).unwrap_or_default();
    }
    views::purge();
    // What is just ending may still write.
    for _ in 0..20 {
        end_stragglers(dir);
        if fs::remove_dir_all(dir).is_ok() || !dir.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    eprintln!("bench: interrupted, what it made is removed");
    std::process::exit(130)
}

/// Ends what was started for a container in this directory, which every such command line names, and still runs.
fn end_stragglers(dir: &Path) {
    let name = dir.as_os_str().as_bytes();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if pid != getpid().as_raw() && line.windows(name.len()).any(|part| part == name) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
        }
    }
}
