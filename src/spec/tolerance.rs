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
    if let Some(Tree::Object(affinity)) = tree.get_mut("execCPUAffinity") {
        affinity.retain(|(_, value)| *value != Tree::String(Cow::Borrowed("")));
    }
    if let Some(sets) = tree.get_mut("capabilities") {
        capabilities(sets, &member(path, "capabilities"), warnings);
    }
    require_all(tree, path, REQUIRED_OF_PROCESS)
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
