//! What somebody who is not the host's root may do with cgroups: only what was delegated (cgroups(7), "Cgroups delegation"). What
//! nobody asked for is done without.

use std::path::Path;

use super::Error;
use crate::plan::cgroup::{CgroupPlan, DevicePlan, DirectoryPlan, Driver, Step};
use crate::sys::{self, Errno, cgroup as files};

/// What becomes of device rules.
pub const NO_DEVICE_RULES: &str =
    "linux.resources.devices: without root there are no rules but the files' own modes";

/// Leaves out the cgroups that cannot be made, unless there are limits for them or config.json names them. The result says what is
/// left out.
pub fn give_way(plan: &mut CgroupPlan, named: bool) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    if !matches!(plan.driver, Driver::V1 | Driver::V2) {
        return Ok(notes);
    }
    // The kernel takes rules for devices from its root alone, who also is the only one to make devices.
    if std::mem::replace(&mut plan.devices, DevicePlan::Unchanged) != DevicePlan::Unchanged {
        notes.push(NO_DEVICE_RULES.to_owned());
    }
    let mut kept = Vec::with_capacity(plan.directories.len());
    for directory in std::mem::take(&mut plan.directories) {
        match may_make(&directory) {
            Ok(()) => kept.push(directory),
            Err(source) if named || !directory.steps.is_empty() => {
                let setting = directory.steps.first().map_or("linux.cgroupsPath", setting).to_owned();
                return Err(Error::NotDelegated { setting, source });
            }
            Err(error) => notes.push(format!("no cgroup of its own, since none is delegated: {error}")),
        }
    }
    if kept.is_empty() {
        plan.driver = Driver::None;
    }
    plan.directories = kept;
    Ok(notes)
}

/// Whether the directory is there, or what it is to be made in, and a process can be moved in.
fn may_make(directory: &DirectoryPlan) -> sys::Result<()> {
    let path = directory.path();
    let there =
        |path: &&Path| path.starts_with(&directory.mount) && files::mounted(path).ok().flatten().is_some();
    let nearest = path.ancestors().find(there).unwrap_or(&directory.mount);
    if nearest != path {
        writable(nearest)?;
    } else {
        writable(&path.join("cgroup.procs"))?;
    }
    // Version 2 asks for the cgroup that the old and the new one have in common.
    match directory.hierarchy.is_empty() {
        true => writable(&nearest.join("cgroup.procs")),
        false => Ok(()),
    }
}

fn writable(path: &Path) -> sys::Result<()> {
    match files::is_writable(path)? {
        true => Ok(()),
        false => Err(sys::Error { call: format!("access({path:?}, W_OK)"), errno: Errno::EACCES }),
    }
}

/// Where config.json has what the step is for.
fn setting(step: &Step) -> &str {
    match step {
        Step::CpuPeriod { setting, .. }
        | Step::CheckUsage { setting, .. }
        | Step::SwapWithin { setting, .. } => setting,
        step => step.writes().first().map_or("linux.resources", |write| &write.setting),
    }
}
