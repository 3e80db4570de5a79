//! keg and its peers: where they are, how they are called, how long a call took. A call that hangs is ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::{Result, smallest, target};

/// Nothing that is measured takes nearly as long.
const LIMIT: Duration = Duration::from_secs(6);

/// A runtime, and a place for its containers.
#[derive(Debug)]
pub struct Runtime {
    pub name: &'static str,
    pub binary: PathBuf,
    pub root: PathBuf,
    watch: Watch,
}

/// The name of the program that makes the bundle's system calls alone.
pub const FLOOR: &str = "floor";
/// The name of the program that only ends: what is left is the harness and the kernel's share in any spawn.
pub const SPAWN: &str = "spawn alone";

/// Each runtime that is there; keg comes first: the others are compared with it.
pub fn runtimes(dir: &Path) -> Vec<Runtime> {
    let known = [
        ("keg", target().join("keg")),
        ("crun", PathBuf::from("/usr/bin/crun")),
        ("youki", target().join("peers/bin/youki")),
        ("runc", PathBuf::from("/usr/sbin/runc")),
    ];
    let watch = Watch::start();
    let there = known.into_iter().filter(|(_, binary)| binary.exists());
    there.map(|(name, binary)| Runtime { name, binary, root: dir.join(name), watch: watch.clone() }).collect()
}

impl Runtime {
    /// The floor takes a root filesystem and a cgroup instead of a command line.
    pub fn floor(dir: &Path) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name(FLOOR);
        Ok(Self { name: FLOOR, binary, root: dir.join(FLOOR), watch: Watch::start() })
    }

    /// What any program takes that is started and waited for.
    pub fn spawn_alone(dir: &Path) -> Result<Self> {
        let binary = dir.join("nothing");
        smallest::write(&binary)?;
        Ok(Self { name: SPAWN, binary, root: dir.join("spawn-alone"), watch: Watch::start() })
    }

    /// Whether it runs containers, as a runtime does.
    pub fn is_runtime(&self) -> bool {
        self.name != FLOOR && self.name != SPAWN
    }

    /// How long a successful call took. What is said goes to a file in memory: a container that is only created keeps its streams, and
    /// a pipe would not end.
    pub fn call(&self, words: &[&str]) -> Result<Duration> {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(&self.root).args(words);
        self.perform(command, words[0])
    }

    /// The same of a command that is already whole. Between the two looks at the clock there is a spawn, for which the kernel copies
    /// nothing (CLONE_VM), and a wait that blocks; files are opened before and read afterwards.
    pub fn perform(&self, mut command: Command, what: &str) -> Result<Duration> {
        let [input, output] = [File::open("/dev/null")?, File::options().write(true).open("/dev/null")?];
        let mut said = File::from(memfd_create(c"said", MFdFlags::MFD_CLOEXEC)?);
        command.stdin(input).stdout(output).stderr(said.try_clone()?).process_group(0);
        let start = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", self.name))?;
        let pid = self.watch.add(child.id());
        let status = child.wait()?;
        let took = start.elapsed();
        let in_time = self.watch.remove(pid);
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        match (status.success(), in_time) {
            (true, _) => Ok(took),
            (false, true) => Err(format!("{} {what}: {}", self.name, last_line(&text)).into()),
            (false, false) => {
                Err(format!("{} {what}: hangs, ended after {} s", self.name, LIMIT.as_secs()).into())
            }
        }
    }

    /// The same with what it wrote on standard output.
    pub fn output(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        let output = command.arg("--root").arg(&self.root).args(words).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => {
                Err(format!("{} {}: {}", self.name, words[0], String::from_utf8_lossy(&output.stderr).trim())
                    .into())
            }
        }
    }
}

/// The last line that says something, without what some put around it: colours, the time, where in the program it was.
fn last_line(text: &str) -> String {
    let mut plain = String::new();
    let mut in_colour = false;
    for char in text.chars() {
        match (in_colour, char) {
            (false, '\u{1b}') => in_colour = true,
            (true, 'm') => in_colour = false,
            (false, char) => plain.push(char),
            (true, _) => {}
        }
    }
    let plain = plain.split("Stack backtrace:").next().unwrap_or_default();
    let line = plain.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("(nothing said)").trim();
    line.split_once("msg=").map_or(line, |(_, message)| message.trim_matches('"')).to_owned()
}

/// Ends what runs for too long.
#[derive(Debug, Clone)]
struct Watch(Arc<Mutex<BTreeMap<i32, Instant>>>);

impl Watch {
    fn start() -> Self {
        let watch = Self(Arc::default());
        let own = watch.clone();
        spawn(move || {
            loop {
                sleep(Duration::from_millis(500));
                own.end_late();
            }
        });
        watch
    }

    fn add(&self, pid: u32) -> i32 {
        let pid = i32::try_from(pid).unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, Instant::now());
        pid
    }

    /// False where it was ended.
    fn remove(&self, pid: i32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid).is_some()
    }

    fn end_late(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Its process group is what it started too. One that has ended in this moment needs no more.
        running.retain(|&pid, start| {
            start.elapsed() < LIMIT || killpg(Pid::from_raw(pid), Signal::SIGKILL).is_err()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn of_what_a_runtime_says_the_last_line_is_kept() {
        let rows = [
            ("", "(nothing said)"),
            ("one\ntwo\n\n", "two"),
            (
                "\u{1b}[31mERROR\u{1b}[0m youki: refused\n\nStack backtrace:\n   0: <unknown>\n",
                "ERROR youki: refused",
            ),
            ("time=\"2026-01-01T00:00:00Z\" level=error msg=\"refused\"\n", "refused"),
        ];
        for (text, kept) in rows {
            assert_eq!(last_line(text), kept);
        }
    }
}
