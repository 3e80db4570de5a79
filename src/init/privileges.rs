//! Gives up what the program must not have, in the only order that works, and reads back what is left.

use super::error::{At, Error, Step};
use crate::plan::{Capabilities, Process};
use crate::sys::credentials;
use crate::types::{Gid, Uid};

/// Bounding set, groups, group, user, capabilities, no_new_privs.
pub(super) fn drop(wanted: &Process) -> Result<(), Error> {
    let Capabilities { bounding, effective, inheritable, permitted, ambient } = wanted.capabilities;
    // First, because it needs CAP_SETPCAP.
    credentials::limit_bounding(bounding).at(Step::Privileges)?;
    let leaves_root = wanted.uid != Uid(0);
    if leaves_root {
        credentials::keep_caps(true).at(Step::Privileges)?;
    }
    if let Some(groups) = &wanted.groups {
        credentials::set_groups(groups).at(Step::Privileges)?;
    }
    credentials::set_gid(wanted.gid).at(Step::Privileges)?;
    credentials::set_uid(wanted.uid).at(Step::Privileges)?;
    if leaves_root || wanted.gid != Gid(0) {
        // A change of ids makes a process dumpable again, while it still holds descriptors of the host.
        crate::sys::process::set_undumpable().at(Step::Privileges)?;
    }
    if leaves_root {
        credentials::keep_caps(false).at(Step::Privileges)?;
    }
    credentials::set_caps(effective, permitted, inheritable).at(Step::Privileges)?;
    credentials::clear_ambient().at(Step::Privileges)?;
    for cap in ambient.iter() {
        credentials::raise_ambient(cap).at(Step::Privileges)?;
    }
    if wanted.no_new_privileges {
        credentials::set_no_new_privs().at(Step::Privileges)?;
    }
    verify(wanted)
}

/// What the kernel says now must be what was asked for: a setting that was silently not applied is a hole.
fn verify(wanted: &Process) -> Result<(), Error> {
    let differs = |what: &str| Err(Error::refused(Step::Privileges, &format!("{what} are not what was set")));
    let Capabilities { effective, inheritable, permitted, ambient, .. } = wanted.capabilities;
    if credentials::caps().at(Step::Privileges)? != [effective, permitted, inheritable] {
        return differs("capabilities");
    }
    for cap in permitted.intersection(inheritable).iter() {
        if credentials::is_ambient(cap).at(Step::Privileges)? != ambient.contains(cap) {
            return differs("ambient capabilities");
        }
    }
    if !credentials::are_ids(wanted.uid, wanted.gid).at(Step::Privileges)? {
        return differs("user and group");
    }
    if wanted.no_new_privileges && !credentials::no_new_privs().at(Step::Privileges)? {
        return differs("privilege limits (no_new_privs)");
    }
    Ok(())
}
