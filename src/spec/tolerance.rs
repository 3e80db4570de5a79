//! What is done to the tree before it becomes `oci-spec`'s types: those reject some things that the specification allows (unknown
//! capabilities, an empty CPU list), and take zero for some that it requires (limits, id mappings). Other platforms' sections go.

use std::borrow::Cow;

use super::path::member;
use super::tree::Tree;
use super::{Error, Warning};
use crate::types::Capability;

/// Members that must be there: a place (`*` for each item of an array) and their names. Only those that `oci-spec` would default.
const REQUIRED: &[(&[&str], &[&str])] = &[
    (&[], &["ociVersion", "root"]),
    (&["root"], &["path"]),
    (&["mounts", "*", "uidMappings", "*"], &["containerID", "hostID", "size"]),
    (&["mounts", "*", "gidMappings", "*"], &["containerID", "hostID", "size"]),
    (&["linux", "uidMappings", "*"], &["containerID", "hostID", "size"]),
    (&["linux", "gidMappings", "*"], &["containerID", "hostID", "size"]),
    (&["linux", "devices", "*"], &["path"]),
];

const REQUIRED_OF_PROCESS: &[(&[&str], &[&str])] = &[
    (&["consoleSize"], &["height", "width"]),
    (&["ioPriority"], &["class"]),
    (&["rlimits", "*"], &["type", "soft", "hard"]),
];

const REQUIRED_OF_RESOURCES: &[(&[&str], &[&str])] = &[
    (&["devices", "*"], &["allow"]),
    (&["hugepageLimits", "*"], &["pageSize", "limit"]),
    (&["network", "priorities", "*"], &["name", "priority"]),
    (&["blockIO", "weightDevice", "*"], &["major", "minor"]),
    (&["blockIO", "throttleReadBpsDevice", "*"], &["major", "minor", "rate"]),
    (&["blockIO", "throttleWriteBpsDevice", "*"], &["major", "minor", "rate"]),
    (&["blockIO", "throttleReadIOPSDevice", "*"], &["major", "minor", "rate"]),
    (&["blockIO", "throttleWriteIOPSDevice", "*"], &["major", "minor", "rate"]),
];

/// Prepares the whole of config.json.
pub(super) fn config(tree: &mut Tree<'_>) -> Result<Vec<Warning>, Error> {
    let mut warnings = Vec::new();
    // Unknown to the specification (the mappings), or for other platforms.
    for name in ["windows", "solaris", "vm", "zos", "freebsd", "uidMappings", "gidMappings"] {
        tree.remove(name);
    }
    require_all(tree, "", REQUIRED)?;
    if let Some(found) = tree.get_mut("process") {
        process(found, "process", &mut warnings)?;
    }
    if let Some(linux) = tree.get_mut("linux") {
        if let Some(found) = linux.get_mut("resources") {
            resources(found, "linux.resources")?;
        }
        devices(linux)?;
    }
    Ok(warnings)
}

/// Prepares a process; `path` is where it stands.
pub(super) fn process(tree: &mut Tree<'_>, path: &str, warnings: &mut Vec<Warning>) -> Result<(), Error> {
    tree.remove("commandLine");
    if let Tree::Object(members) = tree
        && !members.iter().any(|(key, value)| key == "user" && *value != Tree::Null)
    {
        members.retain(|(key, _)| key != "user");
        members.push((Cow::Borrowed("user"), Tree::Object(Vec::new())));
    }
    if let Some(affinity) = tree.get_mut("execCPUAffinity") {
        cpu_affinity(affinity, &member(path, "execCPUAffinity"))?;
    }
    if let Some(scheduler) = tree.get_mut("scheduler") {
        scheduler_flags(scheduler, &member(path, "scheduler"))?;
    }
    if let Some(sets) = tree.get_mut("capabilities") {
        capabilities(sets, &member(path, "capabilities"), warnings);
    }
    require_all(tree, path, REQUIRED_OF_PROCESS)
}

/// Spaces are allowed and an empty list is as good as none; oci-spec takes neither.
fn cpu_affinity(tree: &mut Tree<'_>, path: &str) -> Result<(), Error> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let range = |text: &str| text.split_once('-').map_or(number(text), |(a, b)| number(a) && number(b));
    for name in ["initial", "final"] {
        let Some(Tree::String(list)) = tree.get_mut(name) else { continue };
        let joined = list.replace(' ', "");
        if joined.is_empty() {
            tree.remove(name);
        } else if joined.split(',').all(range) {
            *list = Cow::Owned(joined);
        } else {
            return Err(Error::new(member(path, name), format!("{list:?} is no list of CPUs such as 0-3,7")));
        }
    }
    Ok(())
}

/// The specification's names of scheduler flags, and oci-spec's.
const SCHEDULER_FLAGS: [(&str, &str); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_RECLAIM", "SCHED_FLAG_RECLAIM"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
    ("SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_POLICY"),
    ("SCHED_FLAG_KEEP_PARAMS", "SCHED_FLAG_KEEP_PARAMS"),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MIN"),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", "SCHED_FLAG_UTIL_CLAMP_MAX"),
];

fn scheduler_flags(tree: &mut Tree<'_>, path: &str) -> Result<(), Error> {
    let Some(Tree::Array(flags)) = tree.get_mut("flags") else { return Ok(()) };
    for (n, flag) in flags.iter_mut().enumerate() {
        let Tree::String(name) = flag else { continue };
        match SCHEDULER_FLAGS.iter().find(|(known, _)| known == name) {
            Some((_, theirs)) => *name = Cow::Borrowed(theirs),
            None => {
                let known = SCHEDULER_FLAGS.map(|(known, _)| known).join(", ");
                let path = format!("{}[{n}]", member(path, "flags"));
                return Err(Error::new(path, format!("unknown value {name:?}, known are {known}")));
            }
        }
    }
    Ok(())
}

fn capabilities(sets: &mut Tree<'_>, path: &str, warnings: &mut Vec<Warning>) {
    for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
        let Some(Tree::Array(names)) = sets.get_mut(set) else { continue };
        let mut index = 0;
        names.retain(|name| {
            let Tree::String(name) = name else { return true };
            let known = Capability::from_name(name).is_some();
            if !known {
                let path = format!("{}[{index}]", member(path, set));
                warnings.push(Warning { path, what: format!("unknown capability {name:?} is left out") });
            }
            index += 1;
            known
        });
    }
}

/// Prepares resource limits; `path` is where they stand.
pub(super) fn resources(tree: &mut Tree<'_>, path: &str) -> Result<(), Error> {
    // Without a limit it limits nothing; oci-spec would read a limit of zero.
    let unlimited = |pids: &Tree<'_>| {
        matches!(pids, Tree::Object(_)) && matches!(pids.get("limit"), None | Some(Tree::Null))
    };
    if tree.get("pids").is_some_and(unlimited) {
        tree.remove("pids");
    }
    require_all(tree, path, REQUIRED_OF_RESOURCES)?;
    let Some(Tree::Array(limits)) = tree.get_mut("hugepageLimits") else { return Ok(()) };
    for (n, limit) in limits.iter_mut().enumerate() {
        if let Some(Tree::String(size)) = limit.get("pageSize")
            && !is_page_size(size)
        {
            let path = format!("{}[{n}].pageSize", member(path, "hugepageLimits"));
            return Err(Error::new(path, format!("{size:?} is no page size, such as 64KB, 2MB or 1GB")));
        }
        // The specification's limit is unsigned, oci-spec's is not. Both numbers are more than any machine has.
        if let Some(limit) = limit.get_mut("limit")
            && let Tree::Unsigned(value) = limit
        {
            *value = (*value).min(i64::MAX as u64);
        }
    }
    Ok(())
}

/// The schema's pattern: `^[1-9][0-9]*[KMG]B$`.
fn is_page_size(text: &str) -> bool {
    let number = text.strip_suffix("KB").or(text.strip_suffix("MB")).or(text.strip_suffix("GB"));
    number.is_some_and(|number| {
        number.starts_with(|c: char| ('1'..='9').contains(&c)) && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// A device that is no FIFO has numbers; oci-spec would take 0:0.
fn devices(linux: &Tree<'_>) -> Result<(), Error> {
    let Some(Tree::Array(devices)) = linux.get("devices") else { return Ok(()) };
    for (n, device) in devices.iter().enumerate() {
        let fifo = matches!(device.get("type"), Some(Tree::String(kind)) if kind == "p");
        if matches!(device, Tree::Object(_)) && !fifo {
            require(device, &format!("linux.devices[{n}]"), &["type", "major", "minor"])?;
        }
    }
    Ok(())
}

fn require_all(tree: &Tree<'_>, path: &str, table: &[(&[&str], &[&str])]) -> Result<(), Error> {
    table.iter().try_for_each(|(place, names)| require_at(tree, path.to_owned(), place, names))
}

fn require_at(tree: &Tree<'_>, path: String, place: &[&str], names: &[&str]) -> Result<(), Error> {
    match (place.split_first(), tree) {
        (None, _) => require(tree, &path, names),
        (Some((&"*", rest)), Tree::Array(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| require_at(item, format!("{path}[{n}]"), rest, names)),
        (Some((name, rest)), _) => match tree.get(name) {
            Some(below) => require_at(below, member(&path, name), rest, names),
            None => Ok(()),
        },
    }
}

fn require(tree: &Tree<'_>, path: &str, names: &[&str]) -> Result<(), Error> {
    let Tree::Object(_) = tree else { return Ok(()) };
    for name in names {
        if matches!(tree.get(name), None | Some(Tree::Null)) {
            return Err(Error::new(member(path, name), "missing, but required"));
        }
    }
    Ok(())
}
