//! Cgroups that systemd makes: a transient scope for each container. A scope must have a process from its first moment on, so keg
//! puts one there that only waits, until init has been born beside it.

mod manager;

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use manager::Manager;

use super::create::{Created, empty_record, enable_controllers, refuse_occupied};
use super::place::Placement;
use super::walk::{procs_below, unless_gone};
use super::{Error, remove::remove_one};
use crate::plan::cgroup::systemd::{CpuMax, SystemdBus, UnitPlan, cpu_max};
use crate::plan::cgroup::{CgroupPlan, DirectoryPlan, Step};
use crate::sys::process::{self, Child, Spawn};
use crate::sys::{self, cgroup as files, descriptors, fd, socket};
use crate::types::{CgroupDirectory, CgroupRecord, Pid, Signal, SystemdUnit};

const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// The period of `cpu.max` in a new cgroup.
const PERIOD: u64 = 100_000;

/// The unit as it is before it is made.
pub(super) fn foresee(unit: &UnitPlan) -> Result<SystemdUnit, Error> {
    Ok(SystemdUnit { name: unit.name.clone(), bus: address(&unit.bus)?, inode: None })
}

/// The environment's word, and otherwise where the bus usually is (D-Bus specification, "Well-known Message Bus Instances").
fn address(bus: &SystemdBus) -> Result<String, Error> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match bus {
        SystemdBus::At(address) => Ok(address.clone()),
        SystemdBus::System => Ok(set("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| SYSTEM_BUS.to_owned())),
        SystemdBus::User => set("DBUS_SESSION_BUS_ADDRESS")
            .or_else(|| Some(format!("unix:path={}/bus", set("XDG_RUNTIME_DIR")?)))
            .ok_or(Error::NoSession),
    }
}

/// Has the scope made, and changes the plan's directory to where it is.
pub(super) fn create(plan: &mut CgroupPlan) -> Result<Created, Error> {
    make(plan).map_err(|error| Error::Apply(Box::new(error)))
}

fn make(plan: &mut CgroupPlan) -> Result<Created, Error> {
    let mut created = Created::new(empty_record(plan));
    let (Some(unit), Some(directory)) = (&plan.unit, plan.directories.first_mut()) else {
        return Ok(created);
    };
    let kept = foresee(unit)?;
    let mut manager = Manager::connect(&kept.bus)?;
    let holder = Holder::spawn().map_err(Error::Make)?;
    let mut properties = unit.properties.clone();
    if let Some(CpuMax { quota, period }) = &unit.cpu {
        properties.extend(cpu_max(quota.as_deref().unwrap_or("max"), period.unwrap_or(PERIOD)));
    }
    manager.start(&unit.name, properties, holder.child.pid)?;
    drop(manager);
    // From here on there is something to undo.
    let record = created.record_mut();
    record.unit = Some(kept);
    let scope = cgroup_of(holder.child.pid, unit)?;
    let top = directory.mount.join(&scope);
    let path = unit.subgroup.as_ref().map_or_else(|| top.clone(), |name| top.join(name));
    directory.relative = unit.subgroup.as_ref().map_or_else(|| scope.clone(), |name| scope.join(name));
    let entry = CgroupDirectory { hierarchy: String::new(), path, made: Some(top.clone()) };
    record.directories.push(entry.clone());
    let inode = fd::stat_at(fd::cwd(), &top).map_err(Error::Make)?.st_ino;
    record.unit = record.unit.take().map(|unit| SystemdUnit { inode: Some(inode), ..unit });
    refuse_occupied(directory, &CgroupDirectory { path: top.clone(), ..entry.clone() })?;
    make_room(directory, &top)?;
    if entry.path != top {
        // A cgroup whose children have limits has no processes of its own.
        files::make(&entry.path).map_err(Error::Make)?;
        files::write(&entry.path.join("cgroup.procs"), &holder.child.pid.to_string()).map_err(Error::Make)?;
    }
    enable_controllers(directory, plan.driver)?;
    created.place(Placement::open([("", entry.path)].into_iter())?.held_by(holder));
    Ok(created)
}

/// A limit of one process would be reached already, by the one that waits there; it is set once init has come.
fn make_room(directory: &DirectoryPlan, scope: &Path) -> Result<(), Error> {
    let mut limits = directory.steps.iter().flat_map(Step::writes).filter(|write| write.file == "pids.max");
    match limits.next_back().is_some_and(|limit| ["0", "1"].contains(&limit.value.as_str())) {
        true => unless_gone(files::write(&scope.join("pids.max"), "2")).map(drop).map_err(Error::Make),
        false => Ok(()),
    }
}

/// Where systemd has put a process, relative to the version 2 mount.
fn cgroup_of(pid: Pid, unit: &UnitPlan) -> Result<PathBuf, Error> {
    let text = files::read(Path::new(&format!("/proc/{pid}/cgroup"))).map_err(Error::Make)?;
    let path = Path::new(text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default());
    let leads_out = path.components().any(|part| part == Component::ParentDir);
    match path.ends_with(&unit.name) && !leads_out {
        true => Ok(path.to_owned()),
        false => Err(Error::Misplaced { unit: unit.name.clone(), path: path.to_owned() }),
    }
}

/// What is at the place of the unit's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Ours,
    Nothing,
    Another,
}

fn look(record: &CgroupRecord) -> Result<There, Error> {
    let inode = record.unit.as_ref().and_then(|unit| unit.inode);
    let top = record.directories.first().and_then(|directory| directory.made.as_ref());
    let (Some(inode), Some(top)) = (inode, top) else { return Ok(There::Nothing) };
    match unless_gone(fd::stat_at(fd::cwd(), top)) {
        Ok(Some(stat)) if stat.st_ino == inode => Ok(There::Ours),
        Ok(Some(_)) => Ok(There::Another),
        Ok(None) => Ok(There::Nothing),
        Err(source) => Err(Error::Use { doing: "look at", source }),
    }
}

/// Whether the cgroup of a record is gone, if systemd made it: another may be in its place.
pub(super) fn is_gone(record: &CgroupRecord) -> Result<bool, Error> {
    Ok(record.unit.is_some() && look(record)? != There::Ours)
}

/// Waits for the processes to end, and has systemd forget the unit.
pub(super) fn remove(record: &CgroupRecord, unit: &SystemdUnit, patience: Duration) -> Result<(), Error> {
    let found = look(record)?;
    // What was only foreseen ended with the keg that was about to make it.
    if found == There::Another || record.foreseen {
        return Ok(());
    }
    let deadline = Instant::now() + patience;
    if let (There::Ours, Some(directory)) = (found, record.directories.first()) {
        wait_until_empty(directory, deadline)?;
    }
    let told = Manager::connect(&unit.bus).and_then(|mut manager| manager.stop(&unit.name));
    if look(record)? == There::Ours {
        // Without systemd, or before it.
        record.directories.iter().try_for_each(|directory| remove_one(directory, &&deadline))?;
        return told;
    }
    // Systemd removes by itself what has become empty.
    told.or(Ok(()))
}

fn wait_until_empty(directory: &CgroupDirectory, deadline: Instant) -> Result<(), Error> {
    let failed = |source| Error::Use { doing: "watch", source };
    let top = directory.made.as_ref().unwrap_or(&directory.path);
    let Some(events) = unless_gone(files::Watched::open(&top.join("cgroup.events"))).map_err(failed)? else {
        return Ok(());
    };
    while unless_gone(events.read()).map_err(failed)?.is_some_and(|text| text.contains("populated 1")) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let processes = procs_below(top).unwrap_or_default();
            return Err(Error::Left { path: top.clone(), processes });
        }
        events.wait(left).map_err(failed)?;
    }
    Ok(())
}

/// Tells systemd of new limits, which are in the files already.
pub(super) fn update(unit: &UnitPlan, plan: &CgroupPlan) -> Result<(), Error> {
    let mut properties = unit.properties.clone();
    if let (Some(_), Some(directory)) = (&unit.cpu, plan.directories.first()) {
        let now = files::read(&directory.path().join("cpu.max"));
        let now = now.map_err(|source| Error::Use { doing: "read", source })?;
        let (quota, period) = now.trim().split_once(' ').unwrap_or(("max", ""));
        properties.extend(cpu_max(quota, period.parse().unwrap_or(PERIOD)));
    }
    if properties.is_empty() {
        return Ok(());
    }
    let SystemdUnit { name, bus, .. } = foresee(unit)?;
    Manager::connect(&bus)?.set_properties(&name, properties)
}

/// A process that waits in a cgroup, so that it is not empty, and ends with its owner or with keg.
#[derive(Debug)]
pub(super) struct Holder {
    child: Child,
    /// Its other end tells the process that keg has ended.
    _alive: std::os::fd::OwnedFd,
}

impl Holder {
    fn spawn() -> sys::Result<Self> {
        use std::os::fd::AsFd;
        let (alive, watched) = socket::pair()?;
        let child = process::spawn(Spawn::default(), || {
            descriptors::close_copy(&alive);
            i32::from(socket::wait_readable(&[watched.as_fd()], -1).is_err())
        })?;
        Ok(Self { child, _alive: alive })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It is a child that nobody else waits for: neither can fail.
        drop(process::signal(&self.child.pidfd, Signal::KILL));
        drop(process::wait(&self.child.pidfd));
    }
}
