//! `kill`: a signal for the container's first process, or for all of them.

use std::os::fd::OwnedFd;

use super::options::KillOptions;
use super::{Place, Result};
use crate::cgroup;
use crate::state::{Error as StoreError, Record, Refused, Stage, State, Store, of_this_boot};
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, process};
use crate::types::{CgroupVersion, ContainerId, Signal};

/// Why the signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no process.
    #[error(transparent)]
    NotRunning(#[from] Refused),
    /// Its record could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It stays frozen.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// The process ended between our looking and our sending. Some callers know the first half of this, some the second.
    #[error("container not running: os: process already finished")]
    Finished,
    /// The kernel refused.
    #[error("cannot send {signal} to container {id}")]
    Refused {
        /// Which signal.
        signal: Signal,
        /// Whose.
        id: ContainerId,
        /// Why.
        source: sys::Error,
    },
}

/// Sends the signal. Takes no lock: a container must be killable while another command waits for it.
pub fn kill(place: &Place, options: &KillOptions) -> Result<()> {
    let store = Store::open(&place.root)?;
    let proc = Proc::host()?;
    let record = of_this_boot(store.load(&options.id)?, &proc)?;
    let cgroup = record.cgroup.as_ref().filter(|cgroup| !cgroup.directories.is_empty());
    match (options.all, cgroup) {
        (false, _) => Ok(kill_init(&store, &record, options.signal, &proc)?),
        // Not a question of the state: others may live on when the first process has ended.
        (true, Some(cgroup)) => Ok(cgroup::kill_all(cgroup, options.signal)?),
        // Of the others nobody knows. Those of its pid namespace end with the first.
        (true, None) => match kill_init(&store, &record, options.signal, &proc) {
            Err(Error::NotRunning(_) | Error::Finished) => Ok(()),
            done => Ok(done?),
        },
    }
}

fn kill_init(store: &Store, record: &Record, signal: Signal, proc: &Proc) -> std::result::Result<(), Error> {
    let refused = |source| Error::Refused { signal, id: record.id.clone(), source };
    // Opened before the look at its start time: what has that start time then is what we hold.
    let init = open_init(record).map_err(refused)?;
    let state = store.state(record, proc)?;
    state.to_signal()?;
    let init = init.ok_or(Error::Finished)?;
    match process::signal(&init, signal) {
        Err(error) if error.errno == Errno::ESRCH => return Err(Error::Finished),
        sent => sent.map_err(refused)?,
    }
    match (&record.cgroup, state) {
        // Frozen by version 1, a process does not even die.
        (Some(cgroup), State::Paused(_)) if signal == Signal::KILL && cgroup.version == CgroupVersion::V1 => {
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
