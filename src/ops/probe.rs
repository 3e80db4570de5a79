//! Facts about the host, asked once, as data for the plan.

use std::path::Path;

use nix::fcntl::OFlag;

use super::Result;
use crate::cgroup::{self, Look};
use crate::plan::Host;
use crate::plan::cgroup::HostCgroups;
use crate::sys::proc::Proc;
use crate::sys::{credentials, fd, kernel, namespace, timing};

/// The oldest Linux that has all the calls which keg cannot do without.
const OLDEST: (u32, u32) = (5, 14);

/// keg would fail here sooner or later, at some call.
#[derive(Debug, thiserror::Error)]
#[error("this is Linux {}.{}, and keg needs {}.{} or later", .0.0, .0.1, OLDEST.0, OLDEST.1)]
struct OldKernel((u32, u32));

/// Comes first: what an old kernel lacks would be an error somewhere in the middle.
pub(super) fn kernel_is_new_enough() -> Result<()> {
    match kernel::version() {
        Some(version) if version < OLDEST => Err(OldKernel(version).into()),
        _ => Ok(()),
    }
}

/// What the plan needs to know.
pub(super) fn host(proc: &Proc, look: Look) -> Result<Host> {
    timing::lap("parse config.json");
    let host = Host { cgroups: cgroup::probe(look)?, ..without_cgroups(proc)? };
    timing::lap("look at the host");
    Ok(host)
}

/// As [`host`], for what has its cgroups already.
pub(super) fn without_cgroups(proc: &Proc) -> Result<Host> {
    let in_user_namespace = namespace::in_user_namespace(proc)?;
    Ok(Host {
        euid: credentials::effective_uid().0,
        in_user_namespace,
        setgroups_denied: in_user_namespace && is_setgroups_denied(proc)?,
        // What keg may do now is what it can hand on.
        capabilities: credentials::caps()?[1],
        cgroups: HostCgroups::default(),
    })
}

fn is_setgroups_denied(proc: &Proc) -> Result<bool> {
    let file = proc.own_file(Path::new("setgroups"), OFlag::O_RDONLY)?;
    Ok(fd::read_kernel_file(file, 16)?.starts_with(b"deny"))
}
