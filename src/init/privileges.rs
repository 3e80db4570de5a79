//! Gives up what the program must not have, in the only order that works, and reads back what is left.

use super::error::{At, Error, Step};
use crate::plan::{Capabilities, Process};
use crate::sys::credentials;
use crate::types::{Gid, Uid};

/// Bounding set, groups, group and user. The capabilities that are permitted stay so.
pub(super) fn change_ids(wanted: &Process) -> Result<(), Error> {
    // First, because it needs CAP_SETPCAP.
    credentials::limit_bounding(wanted.capabilities.bounding).at(Step::Privileges)?;
    let leaves_root = wanted.uid != Uid(0);
    if leaves_root {
        credentials::keep_caps(true).at(Step::Privileges)?;
    }
    if let Some(groups) = &wanted.groups {
        credentials::set_groups(groups).at(Step::Privileges)?;
    }
    if !credentials::are_ids(wanted.uid, wanted.gid).at(Step::Privileges)? {
        credentials::set_gid(wanted.gid).at(Step::Privileges)?;
        credentials::set_uid(wanted.uid).at(Step::Privileges)?;
        if !credentials::are_ids(wanted.uid, wanted.gid).at(Step::Privileges)? {
            return differs("user and group");
        }
    }
    if leaves_root || wanted.gid != Gid(0) {
        // A change of ids makes a process dumpable again, while it still holds descriptors of the host.
        crate::sys::process::set_undumpable().at(Step::Privileges)?;
    }
    if leaves_root {
        credentials::keep_caps(false).at(Step::Privileges)?;
    }
    Ok(())
}

/// Puts into effect what the program will have, so that what is looked up from here on is looked up with its eyes. The rest stays
/// permitted.
pub(super) fn look_as(wanted: &Process) -> crate::sys::Result<()> {
    let [_, permitted, inheritable] = credentials::caps()?;
    credentials::set_caps(wanted.capabilities.effective.intersection(permitted), permitted, inheritable)
}

/// Puts all that is permitted into effect once more.
pub(super) fn raise() -> crate::sys::Result<()> {
    let [_, permitted, inheritable] = credentials::caps()?;
    credentials::set_caps(permitted, permitted, inheritable)
}

/// The five sets as they are to be, and no_new_privs.
pub(super) fn finish(wanted: &Process) -> Result<(), Error> {
    let Capabilities { effective, inheritable, permitted, ambient, .. } = wanted.capabilities;
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

/// What the kernel says must be what was asked for: a setting that was silently not applied is a hole.
fn differs(what: &str) -> Result<(), Error> {
    Err(Error::refused(Step::Privileges, &format!("{what} are not what was set")))
}

/// The rights as the kernel has them now. The ids were read when they were set.
fn verify(wanted: &Process) -> Result<(), Error> {
    let Capabilities { effective, inheritable, permitted, ambient, .. } = wanted.capabilities;
    if credentials::caps().at(Step::Privileges)? != [effective, permitted, inheritable] {
        return differs("capabilities");
    }
    for cap in permitted.intersection(inheritable).iter() {
        if credentials::is_ambient(cap).at(Step::Privileges)? != ambient.contains(cap) {
            return differs("ambient capabilities");
        }
    }
    if wanted.no_new_privileges && !credentials::no_new_privs().at(Step::Privileges)? {
        return differs("privilege limits (no_new_privs)");
    }
    Ok(())
}
