//! A container as a transient scope of systemd's: which one, below which slice, and with which properties
//! (org.freedesktop.systemd1(5), systemd.resource-control(5)).

mod annotation;
mod properties;

use std::path::{Path, PathBuf};

pub use properties::{CpuMax, cpu_max};

use super::{CgroupPlan, DevicePlan, DirectoryPlan, Error, HostCgroups, Request, error};
use crate::types::dbus::Value;
use crate::types::{CgroupVersion, ContainerId, SystemdUnit};

/// What systemd is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitPlan {
    /// The unit's name.
    pub name: String,
    /// Who is asked.
    pub bus: SystemdBus,
    /// A cgroup inside the unit's in which the container is, instead of the unit's own.
    pub subgroup: Option<PathBuf>,
    /// In this order: of two with the same name the later one holds, or adds to the earlier one if it is a list.
    pub properties: Vec<(String, Value)>,
    /// The CPU time. Its properties depend on what holds now, where it is not whole.
    pub cpu: Option<CpuMax>,
}

/// A systemd, by the bus on which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemdBus {
    /// The host's.
    System,
    /// The user's own.
    User,
    /// The one at this address.
    At(String),
}

const AT: &str = "linux.cgroupsPath";
const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// What `DelegateControllers=` and the like would ask of systemd is keg's to know, or would take the scope away from keg.
const OWN: [&str; 3] = ["Delegate", "PIDs", "Slice"];
/// The longest name of a unit.
const LONGEST: usize = 255;

/// The container's cgroup where systemd is expected to put it.
pub(super) fn directories(
    path: Option<&Path>,
    request: &Request<'_>,
    host: &HostCgroups,
) -> Result<Vec<DirectoryPlan>, Error> {
    let Some(v2) = host.unified.as_ref().filter(|_| host.version == CgroupVersion::V2) else {
        return Err(error(
            AT,
            "systemd can only be asked on a host with cgroup version 2 alone, which this one is not: use cgroupfs",
        ));
    };
    let place = place(path, request)?;
    let mut relative = if request.user { user_instance(&v2.own) } else { PathBuf::new() };
    relative.push(expand(&place.slice).ok_or_else(|| invalid(&place.slice))?);
    relative.push(&place.unit);
    relative.extend(subgroup(request)?);
    Ok(vec![DirectoryPlan {
        hierarchy: String::new(),
        mount: v2.mount.clone(),
        relative,
        controllers: Vec::new(),
        // Systemd enables what it accounts for; the rest of the tree is its own.
        wanted: Vec::new(),
        steps: Vec::new(),
    }])
}

/// Fills in what systemd is asked for.
pub(super) fn ask(path: Option<&Path>, request: &Request<'_>, plan: &mut CgroupPlan) -> Result<(), Error> {
    let Place { slice, unit } = place(path, request)?;
    if request.user {
        // Only root can load the program; a user cannot open devices that the host does not let them open anyway.
        plan.devices = DevicePlan::Unchanged;
    }
    let mut all: Vec<(String, Value)> = [
        ("Description", Value::text(format!("keg container {}", request.id))),
        ("Slice", Value::text(slice)),
        ("Delegate", Value::Bool(true)),
        // Who started the container stops it at shutdown.
        ("DefaultDependencies", Value::Bool(false)),
        ("CollectMode", Value::text("inactive-or-failed")),
        ("CPUAccounting", Value::Bool(true)),
        ("IOAccounting", Value::Bool(true)),
        ("MemoryAccounting", Value::Bool(true)),
        ("TasksAccounting", Value::Bool(true)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    all.extend(properties::limits(&plan.directories));
    all.extend(properties::devices(&plan.devices));
    for (key, text) in request.annotations {
        let Some(name) = key.strip_prefix("org.systemd.property.") else { continue };
        let problem = |problem: String| error(&format!("annotations[{key:?}]"), problem);
        if OWN.contains(&name) {
            return Err(problem("this property is keg's own to set".to_owned()));
        }
        all.push(annotation::property(name, text).map_err(problem)?);
    }
    let bus = if request.user { SystemdBus::User } else { SystemdBus::System };
    let (subgroup, cpu) = (subgroup(request)?, CpuMax::of(&plan.directories));
    plan.unit = Some(UnitPlan { name: unit, bus, subgroup, properties: all, cpu });
    Ok(())
}

/// What changes of a unit that is there.
pub(super) fn change(unit: &SystemdUnit, directories: &[DirectoryPlan], devices: &DevicePlan) -> UnitPlan {
    let mut all = properties::limits(directories);
    all.extend(properties::devices(devices));
    let (name, bus) = (unit.name.clone(), SystemdBus::At(unit.bus.clone()));
    UnitPlan { name, bus, subgroup: None, properties: all, cpu: CpuMax::of(directories) }
}

struct Place {
    slice: String,
    unit: String,
}

/// `slice:prefix:name`. An empty slice is the one for services, of the host or of the user; without a path the container's name
/// names the unit.
fn place(path: Option<&Path>, request: &Request<'_>) -> Result<Place, Error> {
    let default = format!(":keg:{}", escape(request.id));
    let given = path.filter(|path| !path.as_os_str().is_empty()).map(|path| path.to_string_lossy());
    let text = given.as_deref().unwrap_or(&default);
    let parts: Vec<_> = text.split(':').collect();
    let [slice, prefix, name] = parts.as_slice() else {
        return Err(error(
            AT,
            format!("expected \"slice:prefix:name\" for systemd, got {text:?} (with cgroupfs it is a path)"),
        ));
    };
    let slice = match (*slice, request.user) {
        ("", true) => "user.slice",
        ("", false) => "system.slice",
        (slice, _) => slice,
    };
    let unit = match *prefix {
        "" => format!("{name}.scope"),
        prefix => format!("{prefix}-{name}.scope"),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
    if name.is_empty() || unit.len() > LONGEST || !unit.chars().all(fits) {
        return Err(error(AT, format!("{unit:?} is no name of a systemd unit")));
    }
    if name.ends_with(".slice") {
        return Err(error(AT, format!("{name:?} is a slice, and a slice has no processes of its own")));
    }
    expand(slice).ok_or_else(|| invalid(slice))?;
    Ok(Place { slice: slice.to_owned(), unit })
}

fn invalid(slice: &str) -> Error {
    error(AT, format!("{slice:?} is no name of a systemd slice"))
}

/// A container's name may have a `+`, a unit's may not (systemd.unit(5), "String Escaping").
fn escape(id: &ContainerId) -> String {
    id.as_str().replace('+', "\\x2b")
}

/// Where a slice is: `a-b.slice` lies in `a.slice`. `None`: it is no slice.
fn expand(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice").filter(|_| slice.len() <= LONGEST)?;
    if name == "-" {
        return Some(PathBuf::new());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.\\".contains(c);
    if !name.chars().all(fits) || name.split('-').any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.map(|end| format!("{}.slice", &name[..end])).collect())
}

/// The cgroup of the user's own systemd: the one that keg is in, if it is.
fn user_instance(own: &Path) -> PathBuf {
    let is_instance = |path: &&Path| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        name.starts_with("user@") && name.ends_with(".service")
    };
    own.ancestors().find(is_instance).map(Path::to_owned).unwrap_or_default()
}

fn subgroup(request: &Request<'_>) -> Result<Option<PathBuf>, Error> {
    let Some(name) = request.annotations.get(SUBGROUP).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if name.contains('/') || name == "." || name == ".." {
        return Err(error(&format!("annotations[{SUBGROUP:?}]"), format!("{name:?} is no name of a cgroup")));
    }
    Ok(Some(PathBuf::from(name)))
}
