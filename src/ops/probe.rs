//! Facts about the host, asked once, as data for the plan.

use super::Result;
use crate::cgroup;
use crate::plan::Host;
use crate::sys::proc::Proc;
use crate::sys::{credentials, namespace};
use crate::types::NamespaceKind;

/// The inode number of `/proc/PID/ns/user` in the initial user namespace, fixed since Linux 3.8 (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What the plan needs to know.
pub(super) fn host(proc: &Proc) -> Result<Host> {
    Ok(Host {
        euid: credentials::effective_uid().0,
        in_user_namespace: namespace::own_id(proc, NamespaceKind::User)? != INITIAL_USER_NAMESPACE,
        // What keg may do now is what it can hand on.
        capabilities: credentials::caps()?[1],
        cgroups: cgroup::probe()?,
    })
}
