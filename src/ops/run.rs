//! `run`: create and start in one, without a pause between them; in the foreground until the program ends.

use std::os::fd::AsFd;

use super::delete;
use super::launch::launch;
use super::launched::Then;
use super::options::RunOptions;
use super::process::sort_descriptors;
use super::service::{self, Readiness};
use super::start::{await_program, poststart};
use super::{Place, Result};
use crate::cgroup::OomKills;
use crate::link::ToInit;
use crate::state::{Error as StoreError, Record, Released};
use crate::sys::signals::{Forwarder, Interrupts};
use crate::sys::{process, socket, timing};

/// Runs the container. The result is the status to exit with: 0 when detached, else the program's, or 128 + the signal that killed it.
pub fn run(place: &Place, options: &RunOptions) -> Result<i32> {
    sort_descriptors(options.create.preserve_fds.saturating_add(service::listening()))?;
    if !options.detach && !options.no_subreaper {
        process::set_subreaper()?;
    }
    // Before init exists: no signal may fall between. What comes while a hook hangs ends the hook, and after all is undone, when these
    // are dropped, this process.
    let signals = if options.detach { None } else { Some(Forwarder::new()?) };
    let then = if options.detach { Then::Detach } else { Then::Attend };
    let mut launched = launch(place, &options.create, then)?;
    let mut outlet = std::mem::take(&mut launched.outlet);
    let pid_file = options.create.pid_file.as_deref();
    let readiness = Readiness::listen(place, &options.create.id)?;
    outlet.open()?;
    let kills = launched.record.cgroup.as_ref().map(OomKills::watch);
    let hooks =
        !launched.plan.hooks.start_container.is_empty() || !launched.record.hooks.poststart.is_empty();
    let interrupts = (hooks && signals.is_some()).then(Interrupts::hold).transpose()?;
    let (mut child, link, record, container) = launched.keep(pid_file, ToInit::Start)?;
    let container = container.release()?;
    let started = await_program(&link, kills.as_ref(), interrupts.as_ref())
        .and_then(|()| poststart(&record, interrupts.as_ref()));
    let interrupted = match (&started, &interrupts) {
        (Err(_), Some(interrupts)) => socket::wait_readable(&[interrupts.as_fd()], 0)?[0],
        _ => false,
    };
    drop(interrupts);
    if interrupted {
        child.end();
    }
    if let (Ok(()), Some(readiness)) = (&started, readiness) {
        let (from, main) = match &signals {
            Some(signals) => (Some((signals, child.pid())), None),
            None => (None, Some(child.pid())),
        };
        if readiness.wait(child.pidfd(), from)? {
            // The container runs, whoever hears of it.
            readiness.tell(main).unwrap_or_else(|error| place.note(format!("NOTIFY_SOCKET: {error}")));
        }
    }
    if started.is_ok() && options.detach {
        return Ok(0);
    }
    // Where the program did not start its init has ended, or was told to.
    let status = started.and_then(|()| match &signals {
        Some(signals) => {
            timing::lap("go on");
            let status = outlet.attend(signals, &child);
            timing::lap("the program runs");
            status
        }
        None => Ok(0),
    });
    // What was held back and not passed on comes before hooks that may hang; without any this process ends now. What has ended the
    // start comes when all is undone.
    let last = match (interrupted, record.hooks.poststop.is_empty()) {
        (true, _) => signals,
        (false, true) => {
            std::mem::forget(signals);
            None
        }
        (false, false) => {
            drop(signals);
            None
        }
    };
    if status.is_err() || !options.keep {
        remove(container, &record)?;
    }
    drop(last);
    // The process ends now; so do these, all at once.
    std::mem::forget((child, link));
    status
}

/// Somebody else may have deleted it meanwhile.
fn remove(container: Released, record: &Record) -> Result<()> {
    match container.lock() {
        Err(StoreError::Unknown(_)) => Ok(()),
        container => delete::clean(container?, record),
    }
}
