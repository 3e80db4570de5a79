//! The cgroups of a container as they are remembered: what later commands know without config.json.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who makes a container's cgroup and writes its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupManager {
    /// keg itself, as directories and files of the cgroup file systems.
    #[default]
    Cgroupfs,
    /// systemd, as a transient scope asked for over D-Bus.
    Systemd,
    /// Nobody: the container stays in its caller's cgroup.
    Disabled,
}

/// Which cgroup file systems the host has mounted (cgroups(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// None.
    #[default]
    None,
    /// One hierarchy for each controller.
    V1,
    /// As `V1`, and a version 2 hierarchy for what no version 1 hierarchy has taken.
    Hybrid,
    /// One hierarchy for everything.
    V2,
}

impl fmt::Display for CgroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        })
    }
}

/// What the record of a container keeps about its cgroups. `freeze`, `kill`, `procs`, `stats` and
/// `remove` need nothing else: neither config.json nor the flags that `create` was given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupRecord {
    /// Who made them and removes them.
    pub manager: CgroupManager,
    /// The layout of the host at the time of `create`.
    pub version: CgroupVersion,
    /// Whether this was written before anything was made: which directories are keg's was foreseen,
    /// and perhaps none of them exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreseen: bool,
    /// One directory for each hierarchy, the version 2 hierarchy first where there is one.
    pub directories: Vec<CgroupDirectory>,
    /// The systemd unit, where systemd is the manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<SystemdUnit>,
}

/// The scope that systemd made for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemdUnit {
    /// Its name, with `.scope`.
    pub name: String,
    /// The D-Bus address of the bus on which that systemd is.
    pub bus: String,
    /// Its cgroup's inode number, which no other cgroup has before the next boot: systemd removes a scope that has become empty, and
    /// another may then have its name. Absent: not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
}

/// The container's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDirectory {
    /// The hierarchy as `/proc/PID/cgroup` names it: `memory`, `cpu,cpuacct`, `name=systemd`; empty
    /// for version 2.
    pub hierarchy: String,
    /// The directory of the host.
    pub path: PathBuf,
    /// The topmost directory on the way to `path` that keg made; it and all below it are keg's to
    /// remove. `None`: the whole path was there before, and stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<PathBuf>,
}
