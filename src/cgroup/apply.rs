//! Performs the steps of a plan: one file, one value, one write.

use std::path::Path;

use super::Error;
use crate::plan::cgroup::{CgroupPlan, DevicePlan, Step, Write};
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

fn perform(directory: &Path, step: &Step) -> Result<(), Error> {
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
    let path = |hierarchy: &str| {
        let found =
            plan.directories.iter().find(|dir| dir.hierarchy.split(',').any(|name| name == hierarchy));
        found.map(|directory| directory.path())
    };
    match &plan.devices {
        DevicePlan::Unchanged => Ok(()),
        DevicePlan::Files(writes) => {
            let Some(path) = path("devices") else { return Ok(()) };
            let mut open: Option<(&str, std::os::fd::OwnedFd)> = None;
            for (name, value) in writes {
                if open.as_ref().is_none_or(|(known, _)| known != name) {
                    open = Some((name, files::open_file(&path.join(name)).map_err(failed)?));
                }
                let file = open.as_ref().map(|(_, file)| sys::fd::write_once(file, value.as_bytes()));
                file.transpose().map_err(failed)?;
            }
            Ok(())
        }
        DevicePlan::Program(rules) => {
            let Some(path) = path("") else { return Ok(()) };
            super::devices::attach(&path, rules).map_err(failed)
        }
    }
}
