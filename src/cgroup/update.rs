//! Other limits for a container that is there: all of them, or those that it had.

use super::Error;
use super::apply::{device_directory, perform};
use super::undo::{Before, look, restore};
use crate::plan::cgroup::systemd::UnitPlan;
use crate::plan::cgroup::{CgroupPlan, DevicePlan, Step};

/// Changes the limits. Device rules change without a moment in which what both the old and the new ones
/// allow is denied. After a failure the limits that can be read are what they were.
pub fn update(plan: &CgroupPlan) -> Result<(), Error> {
    let mut before = Vec::new();
    let done = change(plan, &mut before);
    if done.is_err() {
        restore(before);
    }
    done
}

fn change(plan: &CgroupPlan, before: &mut Vec<Before>) -> Result<(), Error> {
    for directory in &plan.directories {
        if !directory.controllers.is_empty() {
            super::create::enable_controllers(directory, plan.driver)?;
        }
        let path = directory.path();
        for step in &directory.steps {
            before.extend(look(&path, touched(step)));
            perform(&path, step)?;
        }
    }
    if let Some(unit) = &plan.unit {
        tell_systemd(unit, plan)?;
    }
    devices(plan)
}

/// What is in the files now is what they are to say: systemd writes them too, and rounds.
fn tell_systemd(unit: &UnitPlan, plan: &CgroupPlan) -> Result<(), Error> {
    let files =
        plan.directories.iter().map(|directory| (directory.path(), directory.steps.iter().flat_map(touched)));
    let exact: Vec<_> = files.flat_map(|(path, names)| look(&path, names)).collect();
    super::systemd::update(unit, plan)?;
    let failed = |source| Error::Use { doing: "set the limits of", source };
    exact.iter().try_for_each(Before::put_back).map_err(failed)
}

fn devices(plan: &CgroupPlan) -> Result<(), Error> {
    let done = match (&plan.devices, device_directory(plan)) {
        (DevicePlan::Files(writes), Some(path)) => super::devices::change(&path, writes),
        (DevicePlan::Program(rules), Some(path)) => super::devices::replace(&path, rules),
        (DevicePlan::Unchanged, _) | (_, None) => Ok(()),
    };
    done.map_err(|source| Error::Set { setting: "linux.resources.devices".to_owned(), source })
}

/// The files that a step may write.
fn touched(step: &Step) -> Vec<&str> {
    match step {
        Step::SwapWithin { .. } => vec!["memory.swap.max"],
        Step::CpuPeriod { .. } => vec!["cpu.max"],
        step => {
            let writes = step.writes().iter();
            let names = writes.flat_map(|one| {
                [Some(one.file.as_str()), one.otherwise.as_ref().map(|(file, _)| file.as_str())]
            });
            names.flatten().collect()
        }
    }
}
