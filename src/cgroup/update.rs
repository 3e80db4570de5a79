//! Other limits for a container that is there: all of them, or those that it had.

use std::path::{Path, PathBuf};

use super::Error;
use super::apply::{device_directory, perform};
use super::walk::unless_gone;
use crate::plan::cgroup::systemd::UnitPlan;
use crate::plan::cgroup::{CgroupPlan, DevicePlan, Step};
use crate::sys::cgroup as files;

/// Changes the limits. Device rules change without a moment in which what both the old and the new ones
/// allow is denied. After a failure the limits that can be read are what they were.
pub fn update(plan: &CgroupPlan) -> Result<(), Error> {
    let mut before = Vec::new();
    for directory in &plan.directories {
        let path = directory.path();
        let done = match directory.controllers.is_empty() {
            true => Ok(()),
            false => super::create::enable_controllers(directory, plan.driver),
        };
        let done = done.and_then(|()| {
            directory.steps.iter().try_for_each(|step| {
                before.extend(touched(step).into_iter().filter_map(|file| value_of(&path.join(file))));
                perform(&path, step)
            })
        });
        if done.is_err() {
            restore(before);
            return done;
        }
    }
    let done = plan.unit.as_ref().map_or(Ok(()), |unit| tell_systemd(unit, plan, &before));
    done.and_then(|()| devices(plan)).inspect_err(|_| restore(before))
}

/// What is in the files now is what they are to say: systemd writes them too, and rounds.
fn tell_systemd(unit: &UnitPlan, plan: &CgroupPlan, touched: &[(PathBuf, String)]) -> Result<(), Error> {
    let exact: Vec<_> = touched.iter().filter_map(|(file, _)| value_of(file)).collect();
    super::systemd::update(unit, plan)?;
    for (file, value) in exact {
        let failed = |source| Error::Use { doing: "set the limits of", source };
        unless_gone(files::write(&file, &value)).map_err(failed)?;
    }
    Ok(())
}

fn devices(plan: &CgroupPlan) -> Result<(), Error> {
    let done = match (&plan.devices, device_directory(plan)) {
        (DevicePlan::Files(writes), Some(path)) => super::devices::change(&path, writes),
        (DevicePlan::Program(rules), Some(path)) => super::devices::replace(&path, rules),
        (DevicePlan::Unchanged, _) | (_, None) => Ok(()),
    };
    done.map_err(|source| Error::Set { setting: "linux.resources.devices".to_owned(), source })
}

/// The files that a step writes.
fn touched(step: &Step) -> Vec<&str> {
    match step {
        Step::SwapWithin { .. } => vec!["memory.swap.max"],
        Step::CpuPeriod { .. } => vec!["cpu.max"],
        step => step.writes().iter().map(|one| one.file.as_str()).collect(),
    }
}

/// What a file says, if it is one value: lists of devices stay as they became.
fn value_of(file: &Path) -> Option<(PathBuf, String)> {
    let text = unless_gone(files::read(file)).ok()??;
    let one_line = text.trim_end_matches('\n');
    (!one_line.contains(['\n', ':'])).then(|| (file.to_owned(), format!("{one_line}\n")))
}

/// Last things first; what bounds each other goes back when the other is. The user is told of the failure before.
fn restore(mut before: Vec<(PathBuf, String)>) {
    before.reverse();
    for _ in 0..2 {
        before.retain(|(file, value)| files::write(file, value).is_err());
    }
}
