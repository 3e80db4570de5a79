//! Signals everything in a container's cgroups, and nothing else, without help from its init.

use std::time::{Duration, Instant};

use super::walk::{procs, unless_gone};
use super::{Error, freeze};
use crate::sys::{self, Errno, cgroup as files, process};
use crate::types::{CgroupRecord, Signal};

/// So many processes are signalled between two looks at who is there.
const BATCH: usize = 256;

/// Sends `signal` to every process. SIGKILL reaches those that are just being made, and frozen ones.
/// Nothing is sent where the cgroup was there before and the container perhaps never in it.
pub fn kill_all(record: &CgroupRecord, signal: Signal) -> Result<(), Error> {
    if is_anothers(record)? {
        return Ok(());
    }
    let failed = |source| Error::Use { doing: "kill the processes of", source };
    if signal != Signal::KILL {
        return signal_each(record, signal);
    }
    // Without root there may be none of version 2 even where the host has it.
    let Some(unified) = record.directories.iter().find(|directory| directory.hierarchy.is_empty()) else {
        return kill_until_empty(record);
    };
    unless_gone(files::write(&unified.path.join("cgroup.kill"), "1")).map_err(failed)?;
    freeze::thaw_tree(record).map_err(failed)
}

/// The container was perhaps never in it, and it was there before; or it is gone, and another has its name.
pub(super) fn is_anothers(record: &CgroupRecord) -> Result<bool, Error> {
    let owned = record.directories.first().is_none_or(|first| first.made.is_some());
    Ok(record.foreseen && !owned || super::systemd::is_gone(record)?)
}

/// Version 1 cannot kill at once: while the cgroup is frozen nobody in it can fork or end.
fn kill_until_empty(record: &CgroupRecord) -> Result<(), Error> {
    let failed = |source| Error::Use { doing: "kill the processes of", source };
    let deadline = Instant::now() + freeze::PATIENCE;
    let mut pause = Duration::from_micros(200);
    while !procs(record)?.is_empty() && Instant::now() < deadline {
        if let Some(freezer) = record.directories.iter().find(|directory| directory.hierarchy == "freezer") {
            unless_gone(files::write(&freezer.path.join("freezer.state"), "FROZEN")).map_err(failed)?;
        }
        let signalled = signal_each(record, Signal::KILL);
        freeze::thaw_tree(record).map_err(failed)?;
        signalled?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

/// A pid may pass to a stranger between being read and being opened. It is signalled only if the
/// cgroup still lists it after it was opened: then the descriptor is that process or one that has
/// ended.
fn signal_each(record: &CgroupRecord, signal: Signal) -> Result<(), Error> {
    let failed = |source| Error::Use { doing: "signal the processes of", source };
    for batch in procs(record)?.chunks(BATCH) {
        let mut open = Vec::with_capacity(batch.len());
        for pid in batch {
            if let Some(pidfd) = unless_ended(process::pidfd(*pid)).map_err(failed)? {
                open.push((*pid, pidfd));
            }
        }
        let still = procs(record)?;
        for (_, pidfd) in open.iter().filter(|(pid, _)| still.binary_search(pid).is_ok()) {
            unless_ended(process::signal(pidfd, signal)).map_err(failed)?;
        }
    }
    Ok(())
}

/// EINVAL: a thread that leads no process, as a dying process may leave behind.
fn unless_ended<T>(result: sys::Result<T>) -> sys::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}
