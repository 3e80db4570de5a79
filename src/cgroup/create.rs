//! Makes a container's cgroups, and remembers exactly which directories it made.

use std::path::{Path, PathBuf};

use super::devices::Prepared;
use super::place::Placement;
use super::walk::procs_below;
use super::{Error, remove};
use crate::plan::cgroup::{CgroupPlan, DirectoryPlan, Driver};
use crate::sys::{self, Errno, cgroup as files, timing};
use crate::types::{CgroupDirectory, CgroupManager, CgroupRecord, Uid};

/// Cgroups that were just made. Dropped, it removes what it made and nothing else.
#[derive(Debug)]
pub struct Created {
    record: CgroupRecord,
    placement: Placement,
    devices: Option<Prepared>,
    /// Processes of ours may be inside.
    entered: bool,
    kept: bool,
}

impl Created {
    pub(super) fn new(record: CgroupRecord) -> Self {
        Self { record, placement: Placement::default(), devices: None, entered: false, kept: false }
    }

    pub(super) fn record_mut(&mut self) -> &mut CgroupRecord {
        &mut self.record
    }

    pub(super) fn place(&mut self, placement: Placement) {
        self.placement = placement;
    }

    /// Makes the cgroups of version 1, which a process enters by itself. The plan loses hierarchies that the kernel has, but that are
    /// mounted nowhere: their names.
    pub fn complete(&mut self, plan: &mut CgroupPlan) -> Result<Vec<String>, Error> {
        let entered = plan.directories.iter().filter(|directory| is_entered(directory));
        let nowhere = self.make(entered, plan.driver)?;
        plan.forget(&nowhere);
        Ok(nowhere)
    }

    fn make<'a>(
        &mut self,
        directories: impl Iterator<Item = &'a DirectoryPlan>,
        driver: Driver,
    ) -> Result<Vec<String>, Error> {
        let before = self.record.directories.len();
        let (mut planned, mut nowhere) = (Vec::new(), Vec::new());
        for directory in directories {
            let hierarchy = directory.hierarchy.clone();
            let mut entry = CgroupDirectory { hierarchy, path: directory.path(), made: None };
            match make(&mut entry, &directory.mount) {
                Err(error) if is_dispensable(directory, &error)? => nowhere.push(entry.hierarchy),
                done => {
                    // Also after a failure: its parents may be there to be undone.
                    self.record.directories.push(entry);
                    done.map_err(Error::Make)?;
                    planned.push(directory);
                }
            }
        }
        let made = &self.record.directories[before..];
        self.placement.add(made.iter().map(|made| (made.hierarchy.as_str(), made.path.clone())))?;
        for (directory, made) in planned.into_iter().zip(made) {
            refuse_occupied(directory, made)?;
            match directory.hierarchy.as_str() {
                "" => enable_controllers(directory, driver)?,
                name if name.split(',').any(|controller| controller == "cpuset") => {
                    inherit_cpuset(made, &directory.mount).map_err(Error::Make)?;
                }
                _ => {}
            }
        }
        Ok(nowhere)
    }

    /// How the container's first process gets in. Once it is in, the descriptors are of no use.
    pub fn take_placement(&mut self) -> Placement {
        self.entered = true;
        std::mem::take(&mut self.placement)
    }

    /// Sets the limits. The container's first process may be at work meanwhile, but not yet the
    /// container's program.
    pub fn apply(&self, plan: &CgroupPlan) -> Result<(), Error> {
        let applied = super::apply::apply(plan);
        timing::lap("set limits");
        applied
    }

    /// Has the kernel check and translate the program of the device rules, where they are one: nothing else takes it so long.
    pub fn prepare_devices(&mut self, plan: &CgroupPlan) -> Result<(), Error> {
        self.devices = super::apply::prepare_devices(plan)?;
        Ok(())
    }

    /// Sets the device rules. The container's first process must not be at work with devices meanwhile:
    /// in version 1 there is a moment in which nothing is allowed.
    pub fn restrict_devices(&mut self, plan: &CgroupPlan) -> Result<(), Error> {
        super::apply::devices(plan, self.devices.take())
    }

    /// Gives the version 2 cgroup to who may make others below it, with the files that the kernel says go along.
    pub fn give_to(&self, owner: Uid) -> Result<(), Error> {
        let unified = self.record.directories.iter().find(|directory| directory.hierarchy.is_empty());
        unified.map_or(Ok(()), |directory| super::owner::give(&directory.path, owner))
    }

    /// What to remember, as it is so far.
    pub fn record(&self) -> &CgroupRecord {
        &self.record
    }

    /// They stay.
    pub fn keep(mut self) -> CgroupRecord {
        self.kept = true;
        std::mem::take(&mut self.record)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if !self.kept {
            remove::discard(&self.record, self.entered);
        }
    }
}

/// What `create` is about to make, for a record that is written before anything is made. It judges
/// all hierarchies by one; nothing is changed.
pub fn foresee(plan: &CgroupPlan) -> Result<CgroupRecord, Error> {
    let mut record = empty_record(plan);
    record.foreseen = true;
    if let Some(unit) = &plan.unit {
        record.unit = Some(super::systemd::foresee(unit)?);
        return Ok(record);
    }
    // Of version 1, the oldest hierarchy is the surest to be mounted: it is the last.
    let unified = plan.directories.first().filter(|directory| directory.hierarchy.is_empty());
    let Some(judged) = unified.or(plan.directories.last()) else { return Ok(record) };
    let mut missing = 0;
    for path in judged.path().ancestors().take(judged.relative.components().count()) {
        if files::mounted(path).map_err(Error::Make)?.is_some() {
            break;
        }
        missing += 1;
    }
    for directory in &plan.directories {
        let path = directory.path();
        let made = path.ancestors().take(missing).last().map(Path::to_owned);
        record.directories.push(CgroupDirectory { hierarchy: directory.hierarchy.clone(), path, made });
    }
    Ok(record)
}

/// Makes the cgroups that a process is born into; [`Created::complete`] makes the others. Where systemd makes them, the plan learns where
/// they are.
pub fn create(plan: &mut CgroupPlan) -> Result<Created, Error> {
    timing::lap("reserve the name, first record");
    let created = create_all(plan);
    timing::lap("make cgroups");
    created
}

fn create_all(plan: &mut CgroupPlan) -> Result<Created, Error> {
    if plan.driver == Driver::Systemd {
        return super::systemd::create(plan);
    }
    let mut created = Created::new(empty_record(plan));
    let born_into = plan.directories.iter().filter(|directory| !is_entered(directory));
    created.make(born_into, plan.driver)?;
    Ok(created)
}

/// Whether a process must enter it by itself: it is born into that of version 2.
fn is_entered(directory: &DirectoryPlan) -> bool {
    !directory.hierarchy.is_empty()
}

/// Whether there are any that a process must enter by itself.
pub fn are_entered(plan: &CgroupPlan) -> bool {
    plan.directories.iter().any(is_entered)
}

/// Nothing is asked of this hierarchy of version 1, and it is mounted nowhere: somebody's last mount of it has gone, and it has not yet.
/// Devices are asked for in another place of the plan.
fn is_dispensable(directory: &DirectoryPlan, error: &sys::Error) -> Result<bool, Error> {
    let unused = !matches!(directory.hierarchy.as_str(), "" | "devices") && directory.steps.is_empty();
    Ok(unused && error.errno == Errno::ENOENT && !super::probe::is_mounted(&directory.hierarchy)?)
}

pub(super) fn empty_record(plan: &CgroupPlan) -> CgroupRecord {
    let manager = match plan.driver {
        Driver::None => CgroupManager::Disabled,
        Driver::Systemd => CgroupManager::Systemd,
        Driver::V1 | Driver::V2 => CgroupManager::Cgroupfs,
    };
    CgroupRecord { manager, version: plan.version, ..CgroupRecord::default() }
}

/// Makes the directory with its parents. `entry.made` is set as soon as there is something to undo. Where the first of them cannot be
/// made for want of `mount`, no further try helps.
fn make(entry: &mut CgroupDirectory, mount: &Path) -> sys::Result<()> {
    /// Others may remove a parent between our finding and using it, but not forever.
    const TRIES: usize = 64;
    let is_first = |path: &Path| path.parent() == Some(mount);
    let mut tries = 0;
    loop {
        match files::make(&entry.path) {
            Ok(true) => {
                entry.made.get_or_insert_with(|| entry.path.clone());
                return Ok(());
            }
            Ok(false) => return Ok(()),
            Err(error) if error.errno == Errno::ENOENT && tries < TRIES && !is_first(&entry.path) => {
                tries += 1
            }
            Err(error) => return Err(error),
        }
        let parents: Vec<PathBuf> = entry.path.ancestors().skip(1).map(Path::to_owned).collect();
        let parents = parents.into_iter().rev();
        for parent in parents.filter(|parent| parent.starts_with(mount) && parent != mount) {
            match files::make(&parent) {
                // A topmost directory of ours that had to be made again is the topmost still.
                Ok(true) if entry.made.as_ref().is_none_or(|made| made.starts_with(&parent)) => {
                    entry.made = Some(parent);
                }
                Ok(_) => {}
                Err(error) if error.errno == Errno::ENOENT && !is_first(&parent) => break,
                Err(error) => return Err(error),
            }
        }
    }
}

/// A cgroup that was there before must be empty, and neither it nor what it lies in frozen.
pub(super) fn refuse_occupied(plan: &DirectoryPlan, made: &CgroupDirectory) -> Result<(), Error> {
    let whole = made.made.as_deref().and_then(Path::parent) == Some(plan.mount.as_path());
    if whole {
        return Ok(());
    }
    let frozen = match plan.hierarchy.as_str() {
        "" => files::read(&made.path.join("cgroup.events")).map(|events| events.contains("frozen 1")),
        "freezer" => files::read(&made.path.join("freezer.state")).map(|state| state.trim() != "THAWED"),
        _ => Ok(false),
    };
    if frozen.map_err(Error::Make)? {
        return Err(Error::Frozen(made.path.clone()));
    }
    if made.made.is_some() {
        return Ok(());
    }
    let processes = procs_below(&made.path).map_err(Error::Make)?;
    match processes.is_empty() {
        true => Ok(()),
        false => Err(Error::NotEmpty { path: made.path.clone(), processes }),
    }
}

/// Version 1: a new cpuset has no CPU and no memory node, and no process can enter it until it has.
fn inherit_cpuset(made: &CgroupDirectory, mount: &Path) -> sys::Result<()> {
    let mut spent = Vec::new();
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let mut empty = Vec::new();
        let mut value = String::new();
        for path in made.path.ancestors().take_while(|path| path.starts_with(mount)) {
            let file = path.join(name);
            let new = made.made.as_ref().is_some_and(|made| path.starts_with(made));
            value.clear();
            if !new {
                let (text, read) = files::read_of(&file)?;
                value = text;
                spent.push(read);
            }
            if !value.trim().is_empty() {
                break;
            }
            empty.push(file);
        }
        for file in empty.iter().rev() {
            spent.push(files::write_of(file, value.trim())?);
        }
    }
    sys::descriptors::close_all(spent);
    Ok(())
}

/// Version 2: a cgroup has a controller only if all its ancestors pass it on. Beside version 1, only
/// what limits need is asked for.
pub(super) fn enable_controllers(plan: &DirectoryPlan, driver: Driver) -> Result<(), Error> {
    let all = driver != Driver::V1 && !plan.wanted.is_empty();
    let wanted = if all { &plan.wanted } else { &plan.controllers };
    let leaf = plan.path();
    let missing = |path: &Path, file: &str, wanted: &[String]| -> Result<Vec<String>, Error> {
        let text = files::read(&path.join(file)).map_err(Error::Make)?;
        let has = |name: &str| text.split_whitespace().any(|known| known == name);
        Ok(wanted.iter().filter(|name| !has(name)).cloned().collect())
    };
    if wanted.is_empty() || missing(&leaf, "cgroup.controllers", wanted)?.is_empty() {
        return Ok(());
    }
    let mut last = None;
    let mut parents: Vec<_> =
        leaf.ancestors().skip(1).take_while(|path| path.starts_with(&plan.mount)).collect();
    parents.reverse();
    for parent in parents {
        let file = parent.join("cgroup.subtree_control");
        let needed = missing(parent, "cgroup.subtree_control", wanted)?;
        let all: Vec<_> = needed.iter().map(|name| format!("+{name}")).collect();
        if all.is_empty() || files::write(&file, &all.join(" ")).is_ok() {
            continue;
        }
        // One that cannot be had must not keep the others away.
        for one in all {
            last = files::write(&file, &one).err().or(last);
        }
    }
    let missing = missing(&leaf, "cgroup.controllers", &plan.controllers)?;
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::Controllers { controllers: missing.join(" "), path: leaf, source: last }),
    }
}
