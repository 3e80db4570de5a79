//! `start`: the program of a created container.

use std::os::fd::AsFd;

use super::launch::START_SOCKET;
use super::service::Readiness;
use super::{Place, Result, hook_state};
use crate::cgroup::OomKills;
use crate::hooks::Status;
use crate::hooks::{self, Place as HookPlace};
use crate::link::{self, FromInit, KegEnd, ToInit};
use crate::plan;
use crate::state::{Record, Stage, Store};
use crate::sys::proc::Proc;
use crate::sys::signals::Interrupts;
use crate::sys::{self, Errno, process, socket, timing};
use crate::types::{ContainerId, ProcessRef, Signal};

/// How long a killed process may take to end before nobody waits for it any more.
const PATIENCE_MS: i32 = 10_000;

/// Why the program does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Init's own words.
    #[error("{0}")]
    Init(String),
    /// It was there a moment ago.
    #[error("container init ended before it could run its program")]
    Gone,
    /// The kernel ended it.
    #[error("container init was OOM-killed (memory limit too low?)")]
    OomKilled,
    /// Who waits for it is to end.
    #[error("ended by a signal before the program ran")]
    Interrupted,
}

/// Lets init go on, and returns once its program runs.
pub fn start(place: &Place, id: &ContainerId) -> Result<()> {
    let container = Store::open(&place.root)?.lock(id)?;
    let mut record = container.record()?;
    let proc = Proc::host()?;
    let created = container.state(&record, &proc)?.to_start()?;
    let link = match socket::connect(container.dir(), START_SOCKET) {
        Err(error) if matches!(error.errno, Errno::ECONNREFUSED | Errno::ENOENT) => {
            return Err(Error::Gone.into());
        }
        socket => KegEnd::new(socket?),
    };
    let readiness = Readiness::listen(place, id)?;
    // First the record: told to start, init becomes the program or ends. Killed in between, keg leaves no running program behind that
    // reads as one that waits, and may be deleted as such.
    record.stage = Stage::Running { init: created.start().init };
    container.write(&record)?;
    // Hooks may hang from here on, and nothing is written any more: who deletes the container by force does not wait for them.
    drop(container);
    let kills = record.cgroup.as_ref().map(OomKills::watch);
    let sent = match timing::share(created.init.pid) {
        Some(memory) => link.send_start(memory),
        None => link.send(ToInit::Start),
    };
    match sent {
        Err(link::Error::Closed) => return Err(Error::Gone.into()),
        sent => sent?,
    }
    if let Err(error) = await_program(&link, kills.as_ref(), None) {
        // It ends by itself; whoever hears of the failure may delete what is left.
        stop(created.init, &proc)?;
        return Err(error);
    }
    poststart(&record, None)?;
    let Some(readiness) = readiness else { return Ok(()) };
    let pidfd = proc.pidfd(created.init)?;
    if pidfd.is_some_and(|pidfd| readiness.wait(pidfd, None).unwrap_or(false)) {
        // The container runs, whoever hears of it.
        let told = readiness.tell(Some(created.init.pid));
        told.unwrap_or_else(|error| place.note(format!("NOTIFY_SOCKET: {error}")));
    }
    Ok(())
}

/// Until init's socket closes by itself, which execve(2) does, or one of `interrupts` comes. `kills` knows whether the kernel ended a
/// first process.
pub(super) fn await_program(
    link: &KegEnd,
    kills: Option<&OomKills>,
    interrupts: Option<&Interrupts>,
) -> Result<()> {
    let mut executing = false;
    loop {
        let heard = match interrupts {
            Some(interrupts) => link.receive_unless(interrupts).transpose(),
            None => Some(link.receive()),
        };
        match heard.ok_or(Error::Interrupted)? {
            Ok(FromInit::Executing) => executing = true,
            Ok(FromInit::Failed(text)) => return Err(Error::Init(text).into()),
            Ok(_) => return Err(link::Error::Garbled.into()),
            Err(link::Error::Closed) if executing => {
                timing::program_runs();
                return Ok(());
            }
            Err(link::Error::Closed) if kills.is_some_and(OomKills::any) => {
                return Err(Error::OomKilled.into());
            }
            Err(link::Error::Closed) => return Err(Error::Gone.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The poststart hooks; if one fails, or is ended by one of `interrupts`, the container is stopped.
pub(super) fn poststart(record: &Record, interrupts: Option<&Interrupts>) -> Result<()> {
    let (Stage::Running { init }, false) = (record.stage, record.hooks.poststart.is_empty()) else {
        return Ok(());
    };
    let list = plan::hooks_of(&record.hooks.poststart, "hooks.poststart")?;
    let document = hook_state(record, Status::Running, Some(init.pid))?;
    let run = || -> Result<()> {
        let outputs = &hooks::Outputs::open(&record.annotations)?;
        let place =
            HookPlace { kind: "poststart", cwd: &record.bundle, environment: None, outputs, interrupts };
        Ok(hooks::run(&list, &document, &place)?)
    };
    let Err(error) = run() else { return Ok(()) };
    stop(init, &Proc::host()?)?;
    Err(error)
}

/// Kills a process that may have ended already, and waits for its end.
fn stop(init: ProcessRef, proc: &Proc) -> sys::Result<()> {
    let Some(pidfd) = proc.pidfd(init)? else { return Ok(()) };
    match process::signal(&pidfd, Signal::KILL) {
        Err(error) if error.errno != Errno::ESRCH => Err(error),
        _ => socket::wait_readable(&[pidfd.as_fd()], PATIENCE_MS).map(drop),
    }
}
