//! Which namespaces are made and which joined, id mappings and clock offsets.

use oci_spec::runtime::{Linux, LinuxNamespaceType};

use super::{Facts, idmap};
use crate::plan::finding::Report;
use crate::plan::{Host, IdMaps, Join, Namespaces, TimeOffset};
use crate::types::{NamespaceKind, NamespaceSet};

/// What the rest of the plan asks about namespaces.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) namespaces: Namespaces,
    /// Made or joined.
    pub(super) own: NamespaceSet,
    /// The mappings given, for a new user namespace or for one that is joined.
    pub(super) maps: Option<IdMaps>,
}

/// The order of joining: a mount namespace after all that are not the user namespace, which goes where [`Namespaces::join`] says.
const JOIN_ORDER: [NamespaceKind; 7] = [
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Network,
    NamespaceKind::Pid,
    NamespaceKind::Cgroup,
    NamespaceKind::Time,
    NamespaceKind::Mount,
];

const NEEDS_MAPPINGS: &str = "missing: a user namespace needs mappings of users and of groups";

pub(super) fn build(linux: Option<&Linux>, facts: &Facts<'_>, report: &mut Report) -> Outcome {
    let mut outcome = Outcome::default();
    let listed = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let mut joins: Vec<Join> = Vec::new();
    for (n, namespace) in listed.iter().enumerate() {
        let kind = kind(namespace.typ());
        if !outcome.own.insert(kind) {
            report.error(format!("linux.namespaces[{n}].type"), format!("{kind} is listed twice"));
            continue;
        }
        match namespace.path() {
            Some(path) if !path.as_os_str().is_empty() => {
                if !path.is_absolute() {
                    report.error(
                        format!("linux.namespaces[{n}].path"),
                        format!("{path:?} is not an absolute path"),
                    );
                }
                joins.push(Join { kind, path: path.clone() });
            }
            _ => {
                outcome.namespaces.new.insert(kind);
            }
        }
    }
    outcome.namespaces.join = ordered(joins, privileged(facts.host));
    if let Some(linux) = linux {
        outcome.namespaces.time_offsets = time_offsets(linux, outcome.namespaces.new, report);
        outcome.maps = maps(linux, &outcome, report);
    }
    if facts.host.euid != 0 && !outcome.own.contains(NamespaceKind::User) {
        report.error_with(
            "linux.namespaces",
            "without root, a container needs a user namespace",
            "add {\"type\": \"user\"} and id mappings, or see the `spec` command's rootless mode",
        );
    }
    outcome
}

/// Whether the other namespaces can be joined before the user namespace is.
fn privileged(host: &Host) -> bool {
    host.euid == 0 && host.capabilities.contains(crate::types::Capability::SYS_ADMIN)
}

fn ordered(mut joins: Vec<Join>, user_last: bool) -> Vec<Join> {
    joins.sort_by_key(|join| match JOIN_ORDER.iter().position(|kind| *kind == join.kind) {
        Some(place) => place + 1,
        None if user_last => JOIN_ORDER.len() + 1,
        None => 0,
    });
    joins
}

fn kind(spec: LinuxNamespaceType) -> NamespaceKind {
    match spec {
        LinuxNamespaceType::Mount => NamespaceKind::Mount,
        LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
        LinuxNamespaceType::Uts => NamespaceKind::Uts,
        LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
        LinuxNamespaceType::User => NamespaceKind::User,
        LinuxNamespaceType::Pid => NamespaceKind::Pid,
        LinuxNamespaceType::Network => NamespaceKind::Network,
        LinuxNamespaceType::Time => NamespaceKind::Time,
    }
}

fn maps(linux: &Linux, outcome: &Outcome, report: &mut Report) -> Option<IdMaps> {
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    if uids.is_empty() && gids.is_empty() {
        if outcome.namespaces.new.contains(NamespaceKind::User) {
            report.error("linux.uidMappings", NEEDS_MAPPINGS);
        }
        return None;
    }
    if !outcome.own.contains(NamespaceKind::User) {
        let name = if uids.is_empty() { "linux.gidMappings" } else { "linux.uidMappings" };
        report.error_with(
            name,
            "id mappings need a user namespace",
            "add {\"type\": \"user\"} to linux.namespaces",
        );
        return None;
    }
    if uids.is_empty() || gids.is_empty() {
        let name = if uids.is_empty() { "linux.uidMappings" } else { "linux.gidMappings" };
        report.error(name, NEEDS_MAPPINGS);
    }
    Some(IdMaps {
        uids: idmap::list(uids, "linux.uidMappings", report),
        gids: idmap::list(gids, "linux.gidMappings", report),
    })
}

fn time_offsets(linux: &Linux, new: NamespaceSet, report: &mut Report) -> Vec<TimeOffset> {
    let mut offsets = Vec::new();
    let Some(listed) = linux.time_offsets().as_ref().filter(|listed| !listed.is_empty()) else {
        return offsets;
    };
    if !new.contains(NamespaceKind::Time) {
        report.error_with(
            "linux.timeOffsets",
            "clock offsets need a new time namespace",
            "add {\"type\": \"time\"} to linux.namespaces",
        );
    }
    let mut clocks: Vec<&String> = listed.keys().collect();
    clocks.sort_unstable();
    for clock in clocks {
        let path = crate::spec::member("linux.timeOffsets", clock);
        if clock != "monotonic" && clock != "boottime" {
            report.error(path, "no clock that can have an offset, known are monotonic, boottime");
            continue;
        }
        let nanoseconds = listed[clock].nanosecs().unwrap_or(0);
        if nanoseconds >= 1_000_000_000 {
            report.error(format!("{path}.nanosecs"), format!("{nanoseconds} is a second or more"));
        }
        let seconds = listed[clock].secs().unwrap_or(0);
        offsets.push(TimeOffset { clock: clock.clone(), seconds, nanoseconds });
    }
    offsets
}
