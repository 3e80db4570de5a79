//! Performs the steps of a plan: one file, one value, one write.

use std::path::{Path, PathBuf};

use super::Error;
use super::devices::Prepared;
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

/// Where the device rules of a plan apply.
pub(super) fn device_directory(plan: &CgroupPlan) -> Option<PathBuf> {
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
        Step::Write(one) => write(directory, one).map_err(|source| refused(directory, one, source)),
        Step::Together(writes) => together(directory, writes),
        Step::SwapWithin { both, setting } => swap_within(directory, *both).map_err(|source| match source {
            Some(source) => Error::Set { setting: setting.clone(), source },
            None => Error::NoMemoryLimit { setting: setting.clone() },
        }),
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

/// As long as one more of them is taken, the others may be too.
fn together(directory: &Path, writes: &[Write]) -> Result<(), Error> {
    let mut left: Vec<_> = writes.iter().collect();
    while !left.is_empty() {
        let (mut again, mut first) = (Vec::new(), None);
        for one in &left {
            match write(directory, one) {
                Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EBUSY) => {
                    first.get_or_insert(refused(directory, one, error));
                    again.push(*one);
                }
                done => done.map_err(|error| refused(directory, one, error))?,
            }
        }
        match first {
            Some(error) if again.len() == left.len() => return Err(error),
            _ => left = again,
        }
    }
    Ok(())
}

/// `None`: there is no memory limit, and without one nothing limits memory and swap together.
fn swap_within(directory: &Path, both: i64) -> Result<(), Option<sys::Error>> {
    let limit = files::read(&directory.join("memory.max"))?;
    let limit: i64 = limit.trim().parse().map_err(|_| None)?;
    let swap = both.checked_sub(limit).filter(|swap| *swap >= 0).ok_or_else(|| sys::Error {
        call: format!("{both} is less than the memory limit {limit}"),
        errno: Errno::EINVAL,
    })?;
    match files::write(&directory.join("memory.swap.max"), &swap.to_string()) {
        Err(error) if error.errno == Errno::ENOENT && swap == 0 => Ok(()),
        done => Ok(done?),
    }
}

/// Version 1 says that memory is in use where version 2 kills.
fn refused(directory: &Path, write: &Write, source: sys::Error) -> Error {
    let setting = write.setting.clone();
    if source.errno == Errno::EBUSY && write.file == "memory.limit_in_bytes" {
        let usage = files::read(&directory.join("memory.usage_in_bytes"));
        let usage = usage.ok().and_then(|usage| usage.trim().parse().ok());
        if let (Some(usage), Ok(limit)) = (usage, write.value.parse()) {
            return Error::InUse { setting, limit, usage };
        }
    }
    Error::Set { setting, source }
}

fn write(directory: &Path, write: &Write) -> sys::Result<()> {
    // EOPNOTSUPP: the scheduler that the file belongs to is there, but not at work for that device.
    let first = match files::write(&directory.join(&write.file), &write.value) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::EOPNOTSUPP) => error,
        done => return done,
    };
    match &write.otherwise {
        Some((file, value)) => match files::write(&directory.join(file), value) {
            Err(error) if error.errno == Errno::ENOENT => Err(first),
            done => done,
        },
        None if write.optional && first.errno == Errno::ENOENT => Ok(()),
        None => Err(first),
    }
}

/// What can be done about the device rules before they are set.
pub(super) fn prepare_devices(plan: &CgroupPlan) -> Result<Option<Prepared>, Error> {
    match (&plan.devices, device_directory(plan)) {
        (DevicePlan::Program(rules), Some(path)) => {
            Prepared::load(&path, rules).map(Some).map_err(no_devices)
        }
        _ => Ok(None),
    }
}

/// Sets the device rules. Version 1 takes them one by one, beginning with that nothing is allowed.
pub(super) fn devices(plan: &CgroupPlan, prepared: Option<Prepared>) -> Result<(), Error> {
    match (&plan.devices, device_directory(plan)) {
        (DevicePlan::Files(writes), Some(path)) => super::devices::write(&path, writes).map_err(no_devices),
        (DevicePlan::Program(rules), Some(path)) => {
            let program = prepared.map_or_else(|| Prepared::load(&path, rules), Ok);
            program.and_then(Prepared::attach).map_err(no_devices)
        }
        (DevicePlan::Unchanged, _) | (_, None) => Ok(()),
    }
}

fn no_devices(source: sys::Error) -> Error {
    Error::Set { setting: "linux.resources.devices".to_owned(), source }
}
