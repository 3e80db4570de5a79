//! Writes the id mappings of a new user namespace into /proc/PID, by itself where it may, else through newuidmap(1)
//! and newgidmap(1).

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::plan::{IdMap, IdMaps};
use crate::sys::proc::Proc;
use crate::sys::process::{self, Spawn};
use crate::sys::{self, Errno, descriptors, socket};
use crate::types::{NamespaceKind, NamespaceSet, Pid};

/// The mappings could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no user namespace for a mount.
    #[error("making a user namespace for an id-mapped mount")]
    Namespace(#[source] sys::Error),
    /// The kernel refused.
    #[error("writing the id mappings of the user namespace")]
    Write(#[source] sys::Error),
    /// A helper program refused.
    #[error("{program}: {text}")]
    Program {
        /// `newuidmap` or `newgidmap`
        program: &'static str,
        /// What it said.
        text: String,
    },
}

/// Writes `uid_map`, `setgroups` and `gid_map` of the process. Without privileges, more than one mapping goes through the set-uid
/// helpers, which know what the user was granted in /etc/subuid.
pub fn write(proc: &Proc, pid: Pid, maps: &IdMaps, privileged: bool) -> Result<(), Error> {
    if privileged {
        file(proc, pid, "uid_map", &IdMaps::lines(&maps.uids))?;
        return file(proc, pid, "gid_map", &IdMaps::lines(&maps.gids));
    }
    if single(&maps.uids) {
        file(proc, pid, "uid_map", &IdMaps::lines(&maps.uids))?;
    } else {
        helper("newuidmap", pid, &maps.uids)?;
    }
    if single(&maps.gids) {
        file(proc, pid, "setgroups", "deny")?;
        file(proc, pid, "gid_map", &IdMaps::lines(&maps.gids))
    } else {
        helper("newgidmap", pid, &maps.gids)
    }
}

/// A user namespace with these mappings and nobody in it: for mounts whose ids are mapped.
pub fn namespace(proc: &Proc, maps: &IdMaps, privileged: bool) -> Result<OwnedFd, Error> {
    let (own, others) = socket::pair().map_err(Error::Namespace)?;
    let how =
        Spawn { namespaces: NamespaceSet::from_iter([NamespaceKind::User]), cgroup: None, sibling: false };
    let child = process::spawn(how, || {
        descriptors::close_copy(&own);
        // Until keg has what it wants, or is gone.
        match socket::receive(&others, &mut [0]) {
            Ok(_) | Err(_) => 0,
        }
    });
    let child = child.map_err(Error::Namespace)?;
    let made = write(proc, child.pid, maps, privileged).and_then(|()| {
        sys::namespace::of_process(proc, child.pid, NamespaceKind::User).map_err(Error::Namespace)
    });
    drop((own, others));
    process::wait(&child.pidfd).map_err(Error::Namespace)?;
    made
}

fn single(maps: &[IdMap]) -> bool {
    matches!(maps, [map] if map.size == 1)
}

fn file(proc: &Proc, pid: Pid, name: &str, text: &str) -> Result<(), Error> {
    match proc.write(&Path::new(&pid.to_string()).join(name), text.as_bytes()) {
        // A kernel without the file denies setgroups in no other way; nothing is lost.
        Err(error) if error.errno == Errno::ENOENT && name == "setgroups" => Ok(()),
        done => done.map_err(Error::Write),
    }
}

fn helper(program: &'static str, pid: Pid, maps: &[IdMap]) -> Result<(), Error> {
    let numbers = maps.iter().flat_map(|map| [map.inside, map.outside, map.size]);
    let mut command = Command::new(program);
    command.arg(pid.to_string()).args(numbers.map(|number| number.to_string())).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| Error::Program { program, text: error.to_string().to_lowercase() })?;
    match output.status.success() {
        true => Ok(()),
        false => {
            Err(Error::Program { program, text: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
        }
    }
}
