//! Walks the cgroups below one. A container may nest its own deeper than a path or a table of
//! descriptors is long, so only one directory is open at a time.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Error;
use crate::sys::{self, Errno, cgroup as files};
use crate::types::{CgroupRecord, Pid};

/// The processes in a container's cgroups, those in its sub-cgroups included. A cgroup that is gone
/// has none, and of one that is not the container's nobody is listed.
pub fn procs(record: &CgroupRecord) -> Result<Vec<Pid>, Error> {
    let Some(directory) = record.directories.first() else { return Ok(Vec::new()) };
    if super::kill::is_anothers(record)? {
        return Ok(Vec::new());
    }
    procs_below(&directory.path).map_err(|source| Error::Use { doing: "read", source })
}

/// The processes in a cgroup and below it.
pub(super) fn procs_below(path: &Path) -> sys::Result<Vec<Pid>> {
    let mut all = Vec::new();
    walk(path, |directory| {
        let text = match files::read_in(directory, "cgroup.procs") {
            // A threaded cgroup: its processes are listed further up.
            Err(error) if error.errno == Errno::EOPNOTSUPP => return Ok(()),
            text => text?,
        };
        // 0 is a process of another pid namespace.
        all.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid));
        Ok(())
    })?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Visits a cgroup, then those below it. Those that vanish meanwhile are left out.
pub(super) fn walk(top: &Path, mut visit: impl FnMut(&OwnedFd) -> sys::Result<()>) -> sys::Result<()> {
    let Some(mut current) = unless_gone(files::open_for_walk(top))? else { return Ok(()) };
    unless_gone(visit(&current))?;
    // The names that are still to be visited, for each level.
    let mut pending = vec![unless_gone(files::children(&current))?.unwrap_or_default()];
    while let Some(names) = pending.last_mut() {
        let Some(name) = names.pop() else {
            pending.pop();
            if !pending.is_empty() {
                match unless_gone(files::parent(&current))? {
                    Some(parent) => current = parent,
                    None => return Ok(()),
                }
            }
            continue;
        };
        if let Some(child) = unless_gone(files::child(&current, &name))? {
            unless_gone(visit(&child))?;
            pending.push(unless_gone(files::children(&child))?.unwrap_or_default());
            current = child;
        }
    }
    Ok(())
}

/// Removes the cgroups below one, as far as they are empty, and no longer than so: somebody inside may make new ones as fast.
pub(super) fn remove_below(top: &Path, deadline: Instant) -> sys::Result<()> {
    let Some(mut current) = unless_gone(files::open_for_walk(top))? else { return Ok(()) };
    let mut path: Vec<PathBuf> = Vec::new();
    loop {
        if Instant::now() >= deadline {
            return Ok(());
        }
        let children = unless_gone(files::children(&current))?.unwrap_or_default();
        if let Some(name) = children.into_iter().next() {
            if let Some(child) = unless_gone(files::child(&current, &name))? {
                path.push(name);
                current = child;
            }
            continue;
        }
        let Some(name) = path.pop() else { return Ok(()) };
        let Some(parent) = unless_gone(files::parent(&current))? else { return Ok(()) };
        current = parent;
        unless_gone(sys::fd::rmdir(&current, &name))?;
    }
}

/// `None` for what is not there any more: cgroups may vanish at any time.
pub(super) fn unless_gone<T>(result: sys::Result<T>) -> sys::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}
