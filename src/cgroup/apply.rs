//! Performs the steps of a plan: one file, one value, one write.

use std::path::{Path, PathBuf};

use super::Error;
use crate::plan::cgroup::{CgroupPlan, DevicePlan, DirectoryPlan, Step, Write};
use crate::sys::{self, Errno, cgroup as files};

/// Sets all limits.
pub(super) fn apply(plan: &CgroupPlan) -> Result<(), Error> {
    for directory in &plan.directories {
        let path = directory.path();
        for step in &directory.steps {
            perform(&path, step)?;
        }
    }
    Ok(())
}

/// Changes the limits of a container that exists. Device rules change without a moment in which what both
/// the old and the new ones allow is denied.
pub fn update(plan: &CgroupPlan) -> Result<(), Error> {
    let cpu_max = plan.unit.as_ref().map(|unit| super::systemd::update(unit, plan)).transpose()?.flatten();
    for directory in &plan.directories {
        if !directory.controllers.is_empty() {
            super::create::enable_controllers(directory, plan.driver)?;
        }
        let path = directory.path();
        directory.steps.iter().try_for_each(|step| perform(&path, step))?;
    }
    if let Some((file, value)) = cpu_max {
        let setting = "linux.resources.cpu".to_owned();
        files::write(&file, &value).map_err(|source| Error::Set { setting, source })?;
    }
    let failed = |source| Error::Set { setting: "linux.resources.devices".to_owned(), source };
    match (&plan.devices, device_directory(plan)) {
        (DevicePlan::Files(writes), Some(path)) => super::devices::change(&path, writes).map_err(failed),
        (DevicePlan::Program(rules), Some(path)) => super::devices::replace(&path, rules).map_err(failed),
        (DevicePlan::Unchanged, _) | (_, None) => Ok(()),
    }
}

/// Where the device rules of a plan apply.
fn device_directory(plan: &CgroupPlan) -> Option<PathBuf> {
    let controller = match plan.devices {
        DevicePlan::Unchanged => return None,
        DevicePlan::Files(_) => "devices",
        DevicePlan::Program(_) => "",
    };
    let found = plan.directories.iter().find(|dir| dir.hierarchy.split(',').any(|name| name == controller));
    found.map(DirectoryPlan::path)
}

pub(super) fn perform(directory: &Path, step: &Step) -> Result<(), Error> {
    match step {
        Step::Write(one) => write(directory, one).map_err(|source| refused(one, source)),
        Step::Pair(first, second) => match write(directory, first) {
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EBUSY) => {
                write(directory, second).map_err(|source| refused(second, source))?;
                write(directory, first).map_err(|source| refused(first, source))
            }
            done => done
                .map_err(|source| refused(first, source))
                .and_then(|()| write(directory, second).map_err(|source| refused(second, source))),
        },
        Step::CpuPeriod { period, setting } => {
            let file = directory.join("cpu.max");
            let quota = files::read(&file);
            let value = quota.map(|text| format!("{} {period}", text.split(' ').next().unwrap_or("max")));
            value
                .and_then(|value| files::write(&file, &value))
                .map_err(|source| Error::Set { setting: setting.clone(), source })
        }
        Step::CheckUsage { file, limit, setting } => {
            let text = files::read(&directory.join(file))
                .map_err(|source| Error::Set { setting: setting.clone(), source })?;
            match text.trim().parse() {
                Ok(usage) if usage > *limit => {
                    Err(Error::InUse { setting: setting.clone(), limit: *limit, usage })
                }
                _ => Ok(()),
            }
        }
    }
}

fn refused(write: &Write, source: sys::Error) -> Error {
    Error::Set { setting: write.setting.clone(), source }
}

fn write(directory: &Path, write: &Write) -> sys::Result<()> {
    let absent = match files::write(&directory.join(&write.file), &write.value) {
        Err(error) if error.errno == Errno::ENOENT => error,
        done => return done,
    };
    match &write.otherwise {
        Some((file, value)) => files::write(&directory.join(file), value),
        None if write.optional => Ok(()),
        None => Err(absent),
    }
}

/// Sets the device rules. Version 1 takes them one by one, beginning with that nothing is allowed.
pub(super) fn devices(plan: &CgroupPlan) -> Result<(), Error> {
    let failed = |source| Error::Set { setting: "linux.resources.devices".to_owned(), source };
    match (&plan.devices, device_directory(plan)) {
        (DevicePlan::Files(writes), Some(path)) => super::devices::write(&path, writes).map_err(failed),
        (DevicePlan::Program(rules), Some(path)) => super::devices::attach(&path, rules).map_err(failed),
        (DevicePlan::Unchanged, _) | (_, None) => Ok(()),
    }
}
