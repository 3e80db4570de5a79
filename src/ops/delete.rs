//! `delete`: what is left of a container, from its record alone.

use std::os::fd::AsFd;
use std::path::Path;

use super::options::DeleteOptions;
use super::{Place, Result, hook_state};
use crate::hooks::Status;
use crate::hooks::{self, Place as HookPlace};
use crate::plan;
use crate::state::{Error as StoreError, Locked, Record, Removable, Stage, Store, of_this_boot};
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, process, socket, timing};
use crate::types::{ProcessRef, Signal};
use crate::{cgroup, resctrl, rootfs};

/// How long a killed process may take to end.
const PATIENCE_MS: i32 = 10_000;

/// Init did not end.
#[derive(Debug, thiserror::Error)]
#[error("killing init (pid {0}): it has not ended after {limit} s", limit = PATIENCE_MS / 1000)]
struct NotEnding(crate::types::Pid);

/// Removes a stopped or merely created container; with `force` any, and none is no error.
pub fn delete(place: &Place, options: &DeleteOptions) -> Result<()> {
    let container = match Store::open(&place.root).and_then(|store| store.lock(&options.id)) {
        Err(StoreError::Unknown(_)) if options.force => return Ok(()),
        container => container?,
    };
    let proc = Proc::host()?;
    let record = of_this_boot(container.record()?, &proc)?;
    let removable = container.state(&record, &proc)?.to_delete(&options.id, options.force)?;
    if let Removable::Alive(init) = removable {
        end(&record, init, &proc)?;
    }
    clean(container, &record)
}

/// Kills the container's processes and waits until init has ended.
fn end(record: &Record, init: ProcessRef, proc: &Proc) -> Result<()> {
    let pidfd = proc.pidfd(init)?;
    if let Some(cgroup) = &record.cgroup {
        cgroup::kill_all(cgroup, Signal::KILL)?;
    }
    let Some(pidfd) = pidfd else { return Ok(()) };
    kill(&pidfd)?;
    match socket::wait_readable(&[pidfd.as_fd()], PATIENCE_MS)?[0] {
        true => Ok(()),
        false => Err(NotEnding(init.pid).into()),
    }
}

fn kill(pidfd: impl AsFd) -> sys::Result<()> {
    match process::signal(pidfd, Signal::KILL) {
        Err(error) if error.errno != Errno::ESRCH => Err(error),
        _ => Ok(()),
    }
}

/// Removes what a container without processes leaves: cgroups, mounts; then runs the poststop hooks, and forgets it. A hook that fails
/// is no reason to keep the rest. Who dies before all hooks have run leaves a container to delete: without its record nobody would
/// know of what the hooks have to undo.
pub(super) fn clean(container: Locked, record: &Record) -> Result<()> {
    timing::lap("lock what is left");
    if let Some(cgroup) = &record.cgroup {
        // Processes that outlived init, where the pid namespace is shared.
        cgroup::kill_and_remove(cgroup)?;
    }
    record.resctrl.iter().try_for_each(resctrl::remove)?;
    if let Some(covered) = record.covered_mount {
        rootfs::detach(&record.rootfs, covered)?;
    }
    let ran = match record.hooks.poststop.is_empty() {
        true => Ok(()),
        false => {
            container.write(&Record { stage: Stage::Gone, ..record.clone() })?;
            poststop(record)
        }
    };
    container.remove()?;
    timing::lap("remove what is left");
    ran
}

/// Runs the poststop hooks, in the bundle or where that is gone too, in `/`.
pub(super) fn poststop(record: &Record) -> Result<()> {
    if record.hooks.poststop.is_empty() {
        return Ok(());
    }
    let list = plan::hooks_of(&record.hooks.poststop, "hooks.poststop")?;
    let document = hook_state(record, Status::Stopped, None)?;
    let cwd = if record.bundle.is_dir() { &record.bundle } else { Path::new("/") };
    // They run also where their words cannot be kept any more.
    let outputs = hooks::Outputs::open(&record.annotations).unwrap_or_default();
    let place = HookPlace { kind: "poststop", cwd, environment: None, outputs: &outputs, interrupts: None };
    // The specification: a failure is logged, the remaining hooks run, and the command succeeds.
    drop(hooks::run_all(&list, &document, &place));
    Ok(())
}
