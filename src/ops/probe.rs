//! Facts about the host, asked once, as data for the plan.

use super::Result;
use crate::plan::Host;
use crate::sys::credentials;
use crate::sys::proc::Proc;
use crate::{cgroup, sys};

/// What the plan needs to know.
pub(super) fn host(proc: &Proc) -> Result<Host> {
    Ok(Host {
        euid: credentials::effective_uid().0,
        in_user_namespace: in_user_namespace(proc)?,
        // What keg may do now is what it can hand on.
        capabilities: credentials::caps()?[1],
        cgroups: cgroup::probe()?,
    })
}

/// In the initial user namespace every id is mapped to itself (user_namespaces(7)).
fn in_user_namespace(proc: &Proc) -> sys::Result<bool> {
    let map = sys::fd::read_all(proc.own_file("uid_map".as_ref(), nix::fcntl::OFlag::O_RDONLY)?, 1 << 20)?;
    let numbers: Vec<&str> = std::str::from_utf8(&map).unwrap_or_default().split_whitespace().collect();
    Ok(numbers != ["0", "0", "4294967295"])
}
