//! Kernel parameters: only those that a namespace of the container's own keeps apart from the host's.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Linux;

use crate::plan::finding::Report;
use crate::spec::member;
use crate::types::{NamespaceKind, NamespaceSet};

const IPC: &[&str] = &[
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

pub(super) fn build(
    linux: Option<&Linux>,
    own: NamespaceSet,
    hostname: Option<&str>,
    domainname: Option<&str>,
    report: &mut Report,
) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let Some(listed) = linux.and_then(|linux| linux.sysctl().as_ref()) else { return files };
    let mut keys: Vec<&String> = listed.keys().collect();
    keys.sort_unstable();
    for key in keys {
        let file = file(key);
        // What a text of several lines ends with (YAML) says nothing.
        let value = listed[key].trim_end_matches('\n');
        let problem = match (&*file, namespace(&file)) {
            _ if !is_plain(&file) => Some("no name of a kernel parameter".to_owned()),
            (_, None) => Some("not allowed: no namespace keeps it apart from the host's".to_owned()),
            (_, Some(kind)) if !own.contains(kind) => {
                Some(format!("not allowed without a namespace of the container's own: {kind}"))
            }
            ("kernel/hostname", _) if hostname.is_some() => Some("conflicts with hostname".to_owned()),
            ("kernel/domainname", _) if domainname.is_some() => Some("conflicts with domainname".to_owned()),
            _ if value.contains(['\n', '\0']) => {
                Some("a value may not contain a newline or a NUL byte".to_owned())
            }
            _ if files.iter().any(|(known, _): &(PathBuf, String)| known.as_os_str() == file.as_str()) => {
                Some("given twice, in different spellings".to_owned())
            }
            _ => None,
        };
        match problem {
            Some(problem) => report.error(member("linux.sysctl", key), problem),
            None => files.push((PathBuf::from(file), value.to_owned())),
        }
    }
    files
}

/// The file below `/proc/sys`. As sysctl(8) has it, the first separator, `.` or `/`, is the one between names, and the other may be
/// part of them: `net.ipv4.conf.eth0/7.forwarding` is `net/ipv4/conf/eth0.7/forwarding`.
fn file(key: &str) -> String {
    match key.find(['.', '/']).map(|place| key.as_bytes()[place]) {
        Some(b'.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn is_plain(file: &str) -> bool {
    file.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// The namespace that keeps the parameter of this file.
pub(in crate::plan) fn keeper_of(file: &Path) -> Option<NamespaceKind> {
    namespace(file.to_str()?)
}

/// The namespace that keeps this parameter.
fn namespace(file: &str) -> Option<NamespaceKind> {
    match file.split_once('/') {
        Some(("net", _)) => Some(NamespaceKind::Network),
        Some(("user", _)) => Some(NamespaceKind::User),
        Some(("fs", rest)) if rest.starts_with("mqueue/") => Some(NamespaceKind::Ipc),
        Some(("kernel", "hostname" | "domainname")) => Some(NamespaceKind::Uts),
        Some(("kernel", _)) if IPC.contains(&file) => Some(NamespaceKind::Ipc),
        _ => None,
    }
}
