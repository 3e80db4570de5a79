//! `kill`: a signal for the container's first process, or for all of them.

use std::os::fd::OwnedFd;

use super::options::KillOptions;
use super::{Place, Result};
use crate::cgroup;
use crate::state::{Record, Stage, State, Store};
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, process};
use crate::types::{CgroupVersion, Signal};

/// Why the signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process ended between our looking and our sending.
    #[error("os: process already finished")]
    Finished,
    /// The kernel refused.
    #[error("cannot send {signal} to container {id}")]
    Refused {
        /// Which signal.
        signal: Signal,
        /// Whose.
        id: String,
        /// Why.
        source: sys::Error,
    },
}

/// Sends the signal. Takes no lock: a container must be killable while another command waits for it.
pub fn kill(place: &Place, options: &KillOptions) -> Result<()> {
    let store = Store::open(&place.root)?;
    let record = store.load(&options.id)?;
    if options.all {
        // Not a question of the state: others may live on when the first process has ended.
        return match &record.cgroup {
            Some(cgroup) => Ok(cgroup::kill_all(cgroup, options.signal)?),
            None => Ok(()),
        };
    }
    let refused =
        |source| Error::Refused { signal: options.signal, id: options.id.as_str().to_owned(), source };
    // Opened before the look at its start time: what has that start time then is what we hold.
    let init = open_init(&record).map_err(refused)?;
    let state = store.state(&record, &Proc::host()?)?;
    state.to_signal()?;
    let init = init.ok_or(Error::Finished)?;
    match process::signal(&init, options.signal) {
        Err(error) if error.errno == Errno::ESRCH => return Err(Error::Finished.into()),
        sent => sent.map_err(refused)?,
    }
    match (&record.cgroup, state) {
        // Frozen by version 1, a process does not even die.
        (Some(cgroup), State::Paused(_))
            if options.signal == Signal::KILL && cgroup.version == CgroupVersion::V1 =>
        {
            Ok(cgroup::thaw(cgroup)?)
        }
        _ => Ok(()),
    }
}

/// The process that has the pid of the container's init now, if one has.
fn open_init(record: &Record) -> sys::Result<Option<OwnedFd>> {
    let (Stage::Created { init } | Stage::Running { init }) = record.stage else { return Ok(None) };
    match process::pidfd(init.pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(error) if error.errno == Errno::ESRCH => Ok(None),
        Err(error) => Err(error),
    }
}
