//! The host's cgroups as a host with one version alone has them, seen from a mount namespace of its own; and the cgroups that the
//! containers are put into, which are emptied and removed afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;

/// What the containers' cgroups are made in, in every hierarchy.
pub const PARENT: &str = "/keg-bench";

/// A name, and the script that makes the view and goes on to its arguments.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub name: &'static str,
    pub title: &'static str,
    script: &'static str,
}

pub const VIEWS: [View; 2] = [
    View {
        name: "v1",
        title: "version 1",
        script: "for m in $(findmnt --noheadings --output TARGET --types cgroup2); do umount $m; done; exec \"$@\"",
    },
    View {
        name: "v2",
        title: "version 2",
        script: "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec \"$@\"",
    },
];

impl View {
    /// Where cgroups do not matter: private all the same, and so are the mounts that are made in it.
    pub const HOST: Self = Self { name: "", title: "the host", script: "exec \"$@\"" };

    /// A command that will run in this view, private to it and to what it starts.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", self.script, "sh"]).arg(program);
        command
    }
}

/// Names of the hierarchies of version 1 that are mounted in their usual places, empty where version 2 is alone.
pub fn hierarchies() -> Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let is_version_1 = |line: &&str| line.split(' ').nth(2) == Some("cgroup");
    let name = |line: &str| Some(line.split(' ').nth(1)?.strip_prefix("/sys/fs/cgroup/")?.to_owned());
    Ok(mounts.lines().filter(is_version_1).filter_map(name).collect())
}

/// The parent's directory in each hierarchy that this process sees. What lies below a hierarchy's root is somebody's cgroup.
fn parents() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let is_hierarchy = |path: &PathBuf| path.join("cgroup.procs").exists();
    let below = || fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let roots = if is_hierarchy(&root.to_owned()) {
        vec![root.to_owned()]
    } else {
        below().filter(is_hierarchy).collect()
    };
    roots.iter().map(|path| path.join(&PARENT[1..])).collect()
}

/// Makes the parent, so that no runtime pays for it, and something in it, so that none removes it.
pub fn prepare() -> Result<()> {
    for parent in parents() {
        fs::create_dir_all(&parent)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let above = parent.with_file_name(file);
            if parent.join(file).exists() && above.exists() {
                fs::write(parent.join(file), fs::read(above)?)?;
            }
        }
        fs::create_dir_all(parent.join("keep"))?;
    }
    Ok(())
}

/// Where the runtimes keep what they know of their containers: in memory, as /run is. It goes with this process's mount namespace.
pub fn state_directory() -> Result<PathBuf> {
    let dir = std::env::temp_dir().join("run");
    fs::create_dir_all(&dir)?;
    mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    Ok(dir)
}

/// Ends every process below the parent and removes its cgroups. What cannot be removed is tried again for a while.
pub fn purge() {
    for attempt in 0..50 {
        let mut left = false;
        for parent in parents() {
            left |= remove(&parent);
        }
        if !left {
            break;
        }
        sleep(Duration::from_millis(20 + attempt));
    }
}

/// True where something is left.
fn remove(cgroup: &Path) -> bool {
    let Ok(entries) = fs::read_dir(cgroup) else {
        return false;
    };
    let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut left = false;
    for entry in below {
        left |= remove(&entry.path());
    }
    // A frozen process does not die.
    for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if cgroup.join(file).exists() {
            left |= fs::write(cgroup.join(file), thawed).is_err();
        }
    }
    for pid in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = pid.parse().ok().filter(|&pid| pid > 1) {
            left |= kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
        }
    }
    left | fs::remove_dir(cgroup).is_err()
}
