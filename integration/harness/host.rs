//! What a runtime could leave behind on the host: mounts, cgroups, processes, state, descriptors of the caller.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Runtime;
use crate::peers::Kind;

/// One look at the host, as far as it belongs to one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Everything in the test's own mount namespace.
    pub mounts: Vec<String>,
    /// Every cgroup below the test's prefix, in all hierarchies.
    pub cgroups: BTreeSet<PathBuf>,
    /// Processes in those cgroups, or with the test's directory on their command line.
    pub processes: Vec<String>,
    /// Entries of the runtime's state directory.
    pub containers: BTreeSet<String>,
}

impl Host {
    pub fn look(runtime: &Runtime) -> Self {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        Self {
            mounts: mounts.lines().map(str::to_owned).collect(),
            cgroups: cgroups(&runtime.cgroup_prefix()).into_iter().collect(),
            processes: processes(&runtime.unique()),
            containers: entries(&runtime.root()),
        }
    }

    /// The host looks now as it did then. Processes and cgroups that are just about to go get a moment.
    #[track_caller]
    pub fn assert_same(&self, runtime: &Runtime) {
        let start = Instant::now();
        let mut now = Self::look(runtime);
        while !self.is_like(&now) && start.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(10));
            now = Self::look(runtime);
        }
        assert_eq!(self.processes, now.processes, "processes");
        assert_eq!(self.cgroups, now.cgroups, "cgroups");
        assert_eq!(self.mounts_still_possible(&now), now.mounts, "mounts");
        assert_eq!(self.containers, now.containers, "state directory");
    }

    /// The same, but for mounts that are no container's: a caller keeps some of its own.
    #[track_caller]
    pub(crate) fn assert_same_for_callers(&self, runtime: &Runtime) {
        let look = || {
            let mut now = Self::look(runtime);
            now.mounts.retain(|line| line.contains("/rootfs ") || line.contains("/merged "));
            // conmon's own belongs to Podman. runc leaves the parents that it makes.
            now.cgroups.retain(|path| !path.ends_with("conmon") && runtime.kind() != Kind::Runc);
            now
        };
        let start = Instant::now();
        let mut now = look();
        let is_clean = |now: &Self| {
            (&self.processes, &self.cgroups, 0) == (&now.processes, &now.cgroups, now.mounts.len())
        };
        while !is_clean(&now) && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
            now = look();
        }
        assert_eq!(self.processes, now.processes, "processes");
        assert_eq!(self.cgroups, now.cgroups, "cgroups");
        assert_eq!(now.mounts, [""; 0], "mounts");
    }

    fn is_like(&self, now: &Self) -> bool {
        let mounts = self.mounts_still_possible(now);
        Self { mounts, ..self.clone() } == *now
    }

    /// The mounts, without those whose place has gone: others on this machine may remove a directory of theirs that is a mount point
    /// here, and the kernel then takes the mount away.
    fn mounts_still_possible(&self, now: &Self) -> Vec<String> {
        let place = |line: &str| line.split(' ').nth(4).is_some_and(|place| Path::new(place).exists());
        self.mounts.iter().filter(|line| now.mounts.contains(line) || place(line)).cloned().collect()
    }

    /// Kills what runs in the cgroups below the prefix; true while there was something.
    pub(crate) fn end_processes(prefix: &str) -> bool {
        let mut found = false;
        for cgroup in cgroups(prefix) {
            if cgroup.join("freezer.state").exists() {
                fs::write(cgroup.join("freezer.state"), "THAWED").unwrap_or_default();
            }
            let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines().filter_map(|l| l.parse().ok()).filter(|&pid| pid > 1) {
                found = true;
                kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
            }
        }
        found
    }

    /// Removes the prefix with all below it, deepest first.
    pub fn remove_cgroups(prefix: &str) {
        let mut all = cgroups(prefix);
        all.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        for cgroup in all.into_iter().chain(tops(prefix).map(|(top, _)| top)) {
            fs::remove_dir(cgroup).unwrap_or_default();
        }
    }
}

/// The mount points of all cgroup hierarchies.
pub fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let cgroup = |line: &&str| line.contains(" - cgroup");
    mounts.lines().filter(cgroup).filter_map(|l| l.split(' ').nth(4)).map(PathBuf::from).collect()
}

/// How many hierarchies the kernel has that are mounted nowhere here: another program may have left one, or just be at work with it.
pub fn unmounted_hierarchies() -> usize {
    let all = fs::read_to_string("/proc/thread-self/cgroup").unwrap().lines().count();
    all.saturating_sub(hierarchies().len())
}

/// containerd's shim counts nothing, and hears of no lack of memory, while there is one.
pub fn shim_counts() -> bool {
    let counts = unmounted_hierarchies() == 0;
    if !counts {
        eprintln!("skipped: what the shim counts, for a hierarchy is mounted nowhere");
    }
    counts
}

/// The cgroups that a prefix names, with whether they are containers: the cgroup of that name is not, and scopes with longer names are.
fn tops(prefix: &str) -> impl Iterator<Item = (PathBuf, bool)> {
    let (parent, start) = prefix.trim_start_matches('/').rsplit_once('/').unwrap_or(("", prefix));
    let (parent, start) = (parent.to_owned(), start.to_owned());
    hierarchies().into_iter().flat_map(move |hierarchy| {
        let parent = hierarchy.join(&parent);
        let scopes = entries(&parent).into_iter().filter(|name| name.starts_with(&format!("{start}-")));
        let scopes: Vec<_> = scopes.map(|name| (parent.join(name), true)).collect();
        [(parent.join(&start), false)].into_iter().chain(scopes)
    })
}

/// Every cgroup strictly below a prefix, and scopes whose names begin with it.
fn cgroups(prefix: &str) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), Vec::new());
    for (top, container) in tops(prefix) {
        found.extend(container.then(|| top.clone()));
        left.push(top);
    }
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let below = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path());
        for path in below {
            found.push(path.clone());
            left.push(path);
        }
    }
    found
}

/// Processes that belong to a test, as `PID command`, without the test itself and without zombies.
fn processes(unique: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in entries(Path::new("/proc")) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{name}/{file}")).unwrap_or_default();
        if name.parse::<u32>().is_err() {
            continue;
        }
        let command = read("cmdline").replace('\0', " ");
        let belongs = command.contains(unique) || read("cgroup").contains(unique);
        if belongs && alive(name.parse().unwrap()) {
            found.push(format!("{name} {command}"));
        }
    }
    found
}

fn entries(directory: &Path) -> BTreeSet<String> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    found.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// The process is there and is no zombie: who reaps the orphans of a runtime is not the runtime's business.
pub fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
