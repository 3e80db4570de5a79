//! `kill`: a signal for the container's first process, or for all of them.

use super::options::KillOptions;
use super::{Place, Result};
use crate::state::{Record, Stage, Store};
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, process};
use crate::types::Signal;

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
    let refused =
        |source| Error::Refused { signal: options.signal, id: options.id.as_str().to_owned(), source };
    // Opened before the look at its start time: what has that start time then is what we hold.
    let init = open_init(&record).map_err(refused)?;
    let state = store.state(&record, &Proc::host()?)?;
    state.to_signal()?;
    let init = init.ok_or(Error::Finished)?;
    match process::signal(&init, options.signal) {
        Err(error) if error.errno == Errno::ESRCH => Err(Error::Finished.into()),
        sent => Ok(sent.map_err(refused)?),
    }
}

/// The process that has the pid of the container's init now, if one has.
fn open_init(record: &Record) -> sys::Result<Option<std::os::fd::OwnedFd>> {
    let (Stage::Created { init } | Stage::Running { init }) = record.stage else { return Ok(None) };
    match process::pidfd(init.pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(error) if error.errno == Errno::ESRCH => Ok(None),
        Err(error) => Err(error),
    }
}
