//! Which cgroups a container gets and what is written there, decided from `linux.cgroupsPath`,
//! `linux.resources` and facts about the host (runtime-spec, config-linux.md, "Control groups").

mod devices;
mod resources;
pub mod systemd;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxResources};

pub use devices::{Access, DeviceClass, DevicePlan, DeviceRule};

use super::Error;
use crate::types::{CgroupDirectory, CgroupManager, CgroupRecord, CgroupVersion, ContainerId};

/// Where the host has its cgroups, and where keg itself is in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostCgroups {
    /// The layout.
    pub version: CgroupVersion,
    /// The version 1 hierarchies that are mounted.
    pub v1: Vec<Hierarchy>,
    /// The version 2 hierarchy, if it is mounted.
    pub unified: Option<Unified>,
}

/// A version 1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// As `/proc/PID/cgroup` names it: `memory`, `cpu,cpuacct`, `name=systemd`.
    pub name: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// keg's own cgroup, relative to `mount`.
    pub own: PathBuf,
}

/// The version 2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// keg's own cgroup, relative to `mount`.
    pub own: PathBuf,
    /// The controllers that can be enabled below `mount`.
    pub controllers: Vec<String>,
}

impl HostCgroups {
    /// The name of the version 1 hierarchy that has a controller.
    pub(super) fn v1_with(&self, controller: &str) -> Option<&str> {
        let has = |hierarchy: &&Hierarchy| hierarchy.name.split(',').any(|name| name == controller);
        self.v1.iter().find(has).map(|hierarchy| hierarchy.name.as_str())
    }

    /// Whether version 2 has a controller.
    pub(super) fn v2_has(&self, controller: &str) -> bool {
        self.unified.as_ref().is_some_and(|v2| v2.controllers.iter().any(|name| name == controller))
    }
}

/// How the cgroups of a container are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Directories in each version 1 hierarchy, and in version 2 where it is mounted beside them.
    V1,
    /// One directory in the version 2 hierarchy.
    V2,
    /// A transient scope of systemd's.
    Systemd,
    /// Not at all.
    None,
}

/// All that is to be done about a container's cgroups.
#[derive(Debug, Clone, PartialEq)]
pub struct CgroupPlan {
    /// Who does it, and how.
    pub driver: Driver,
    /// The layout of the host.
    pub version: CgroupVersion,
    /// One for each hierarchy, the version 2 hierarchy first where there is one.
    pub directories: Vec<DirectoryPlan>,
    /// Which devices may be used.
    pub devices: DevicePlan,
    /// What systemd is asked for, where it is the driver.
    pub unit: Option<systemd::UnitPlan>,
}

impl CgroupPlan {
    /// The container stays where keg is.
    pub fn none(version: CgroupVersion) -> Self {
        let devices = DevicePlan::Unchanged;
        Self { driver: Driver::None, version, directories: Vec::new(), devices, unit: None }
    }

    /// Some hierarchies turned out not to be there.
    pub fn forget(&mut self, hierarchies: &[String]) {
        self.directories.retain(|directory| !hierarchies.contains(&directory.hierarchy));
    }
}

/// What a new container is to have.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `linux` of config.json.
    pub linux: Option<&'a Linux>,
    /// `annotations` of config.json.
    pub annotations: &'a BTreeMap<String, String>,
    /// The container's name.
    pub id: &'a ContainerId,
    /// Who is to do it.
    pub manager: CgroupManager,
    /// Whether systemd is to be asked as its user's own instance, not as the host's.
    pub user: bool,
}

/// The container's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryPlan {
    /// As [`Hierarchy::name`]; empty for version 2.
    pub hierarchy: String,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The cgroup relative to `mount`: never empty, never leading out.
    pub relative: PathBuf,
    /// Version 2: the controllers that `steps` cannot do without.
    pub controllers: Vec<String>,
    /// Version 2: all controllers of the host. They are enabled as far as the kernel lets, since
    /// what is not enabled is not counted either.
    pub wanted: Vec<String>,
    /// The limits, in the order in which they must be set.
    pub steps: Vec<Step>,
}

impl DirectoryPlan {
    /// The directory of the host.
    pub fn path(&self) -> PathBuf {
        self.mount.join(&self.relative)
    }
}

/// One thing to do in the container's directory of a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write a value.
    Write(Write),
    /// Write values that bound each other: in this order, and those that the kernel refuses (EINVAL,
    /// EBUSY) again after the others.
    Together(Vec<Write>),
    /// Version 2: limit swap to what `both`, memory and swap, leaves beside the memory limit that there is.
    SwapWithin {
        /// The number of bytes.
        both: i64,
        /// Where config.json has it.
        setting: String,
    },
    /// Version 2: set the second number of `cpu.max` and leave the first, the quota, as it is.
    CpuPeriod {
        /// The number.
        period: u64,
        /// Where config.json has it.
        setting: String,
    },
    /// Fail if more than `limit` bytes are in use already.
    CheckUsage {
        /// The file that says how much is in use.
        file: &'static str,
        /// The limit that is about to be set.
        limit: i64,
        /// Where config.json has the limit.
        setting: String,
    },
}

impl Step {
    /// The values that are known already.
    pub fn writes(&self) -> &[Write] {
        match self {
            Self::Write(one) => std::slice::from_ref(one),
            Self::Together(writes) => writes,
            Self::CpuPeriod { .. } | Self::SwapWithin { .. } | Self::CheckUsage { .. } => &[],
        }
    }
}

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The name of the file.
    pub file: String,
    /// What is written, in one write(2).
    pub value: String,
    /// The file and value where `file` does not exist.
    pub otherwise: Option<(String, String)>,
    /// Whether it is no mistake if no such file exists: the value says what is the case anyway.
    pub optional: bool,
    /// Where config.json has the setting.
    pub setting: String,
}

/// Decides. `host` is what [`crate::plan::cgroup::HostCgroups`] says about the host.
pub fn build(request: Request<'_>, host: &HostCgroups) -> Result<CgroupPlan, Error> {
    let driver = match (request.manager, host.version) {
        (CgroupManager::Disabled, _) => Driver::None,
        (_, CgroupVersion::None) => return Err(error("linux", "no cgroup file system is mounted")),
        (CgroupManager::Systemd, _) => Driver::Systemd,
        (CgroupManager::Cgroupfs, CgroupVersion::V2) => Driver::V2,
        (CgroupManager::Cgroupfs, _) => Driver::V1,
    };
    let mut plan = CgroupPlan { driver, ..CgroupPlan::none(host.version) };
    if driver == Driver::None {
        return Ok(plan);
    }
    let resources = request.linux.and_then(|linux| linux.resources().as_ref());
    let cgroups_path = request.linux.and_then(|linux| linux.cgroups_path().as_deref());
    plan.directories = match driver {
        Driver::Systemd => systemd::directories(cgroups_path, &request, host)?,
        _ => directories(cgroups_path, request.id, host)?,
    };
    resources::fill(&mut plan.directories, resources.unwrap_or(&LinuxResources::default()), host, false)?;
    let rules = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
    plan.devices = devices::plan(rules, host)?;
    if driver == Driver::Systemd {
        systemd::ask(cgroups_path, &request, &mut plan)?;
    }
    Ok(plan)
}

/// Decides how the limits of a container that exists change: those that `resources` names, and no others. Only the host's root can change
/// device rules: for others, `user`, they stay.
pub fn update(
    resources: &LinuxResources,
    record: &CgroupRecord,
    host: &HostCgroups,
    user: bool,
) -> Result<CgroupPlan, Error> {
    let driver = match (record.manager, record.version) {
        (CgroupManager::Disabled, _) => Driver::None,
        (CgroupManager::Systemd, _) => Driver::Systemd,
        (CgroupManager::Cgroupfs, CgroupVersion::V2) => Driver::V2,
        (CgroupManager::Cgroupfs, _) => Driver::V1,
    };
    let unified = host.unified.as_ref().map_or(Path::new("/"), |unified| &unified.mount);
    let directory = |made: &CgroupDirectory| {
        let mount = if made.path.starts_with(unified) { unified } else { Path::new("/") };
        DirectoryPlan {
            hierarchy: made.hierarchy.clone(),
            mount: mount.to_owned(),
            relative: made.path.strip_prefix(mount).unwrap_or(&made.path).to_owned(),
            controllers: Vec::new(),
            wanted: Vec::new(),
            steps: Vec::new(),
        }
    };
    let mut directories = record.directories.iter().map(directory).collect::<Vec<_>>();
    resources::fill(&mut directories, resources, host, true)?;
    let devices = match resources.devices() {
        Some(rules) if !user => devices::plan(rules, host)?,
        _ => DevicePlan::Unchanged,
    };
    let unit = record.unit.as_ref().map(|unit| systemd::change(unit, &directories, &devices));
    Ok(CgroupPlan { driver, version: record.version, directories, devices, unit })
}

/// One directory for each hierarchy. A relative path starts at keg's own cgroup; an absent one is
/// the container's name. In version 2 a cgroup with processes cannot have children with limits, so
/// there it starts one above.
fn directories(
    path: Option<&Path>,
    id: &ContainerId,
    host: &HostCgroups,
) -> Result<Vec<DirectoryPlan>, Error> {
    let given = path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(id.as_str()));
    let cleaned = clean(given);
    if given.is_absolute() && cleaned.as_os_str().is_empty() {
        return Err(error("linux.cgroupsPath", "the root cgroup cannot be a container's"));
    }
    let below = |own: &Path| match given.is_absolute() {
        true => cleaned.clone(),
        false => own.join(&cleaned),
    };
    let mut all = Vec::with_capacity(host.v1.len() + 1);
    if let Some(v2) = &host.unified {
        let own = match host.version {
            CgroupVersion::V2 => v2.own.parent().unwrap_or(Path::new("")),
            _ => v2.own.as_path(),
        };
        all.push((String::new(), &v2.mount, below(own), v2.controllers.clone()));
    }
    for hierarchy in &host.v1 {
        all.push((hierarchy.name.clone(), &hierarchy.mount, below(&hierarchy.own), Vec::new()));
    }
    if all.iter().any(|(_, _, relative, _)| relative.as_os_str().is_empty()) {
        return Err(error("linux.cgroupsPath", "the root cgroup cannot be a container's"));
    }
    let plan = |(hierarchy, mount, relative, wanted): (String, &PathBuf, PathBuf, Vec<String>)| {
        let mount = mount.clone();
        DirectoryPlan { hierarchy, mount, relative, controllers: Vec::new(), wanted, steps: Vec::new() }
    };
    Ok(all.into_iter().map(plan).collect())
}

/// The path with `.` and `..` resolved as if it started at the root, and made relative.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

fn error(path: &str, problem: impl Into<String>) -> Error {
    Error { path: path.to_owned(), problem: problem.into() }
}
