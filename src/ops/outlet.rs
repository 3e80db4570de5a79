//! Where the other side of a program's terminal goes, and who else is told of the process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::Result;
use super::process::ChildGuard;
use crate::console::{self, Caller};
use crate::sys::signals::Forwarder;
use crate::sys::{self, process, socket, tty};

/// What is sent along with a terminal: the name that its side has for programs.
const MASTER_NAME: &[u8] = b"/dev/ptmx";

/// What was asked for does not go together.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot allocate tty if keg will detach without setting console socket")]
    Nowhere,
    #[error("cannot use console socket if keg will not detach or allocate tty")]
    NoUse,
    #[error("connecting to the console socket")]
    Console(#[source] sys::Error),
    #[error("sending the terminal to the console socket")]
    Sending(#[source] sys::Error),
    #[error("connecting to the pidfd socket")]
    Pidfd(#[source] sys::Error),
    #[error("sending the pidfd to the pidfd socket")]
    SendingPidfd(#[source] sys::Error),
}

/// Who gets the terminal.
#[derive(Debug, Default)]
pub(super) enum Outlet {
    /// There is none.
    #[default]
    None,
    /// The listener of `--console-socket`.
    Socket(OwnedFd),
    /// The terminal that keg was called from, once there is something to join it to.
    Caller(Caller, Option<OwnedFd>),
}

impl Outlet {
    /// Before anything is made: whether there is somebody to give it to.
    pub(super) fn find(terminal: bool, detached: bool, socket: Option<&Path>) -> Result<Self> {
        match (terminal, detached, socket) {
            (true, true, None) => Err(Error::Nowhere.into()),
            (true, true, Some(path)) => {
                Ok(Self::Socket(socket::connect_stream(path).map_err(Error::Console)?))
            }
            (_, _, Some(_)) => Err(Error::NoUse.into()),
            (true, false, None) => Ok(Self::Caller(Caller::find()?, None)),
            (false, _, None) => Ok(Self::None),
        }
    }

    /// Hands over the other side. That which was not asked for goes nowhere.
    pub(super) fn take(&mut self, master: OwnedFd) -> Result<()> {
        match self {
            Self::None => {}
            Self::Socket(socket) => {
                socket::send(&*socket, MASTER_NAME, &[master.as_fd()]).map_err(Error::Sending)?;
            }
            Self::Caller(caller, place) => {
                // The caller's terminal makes lines of what is written already.
                tty::keep_newlines(&master)?;
                caller.size_to(&master)?;
                *place = Some(master);
            }
        }
        Ok(())
    }

    /// From here on keys are for the container. Signals must be held back already: one that ended keg would leave the terminal so.
    pub(super) fn open(&mut self) -> Result<()> {
        match self {
            Self::Caller(caller, Some(_)) => Ok(caller.make_raw()?),
            _ => Ok(()),
        }
    }

    /// Until the process has ended: passes on signals, and what is typed and written. Its status.
    pub(super) fn attend(self, signals: &Forwarder, child: &ChildGuard) -> Result<i32> {
        match self {
            Self::Caller(caller, Some(master)) => {
                console::relay(master, &caller, signals, child.pid(), child.pidfd())?;
            }
            _ => signals.forward_until_ended(child.pid(), child.pidfd())?,
        }
        Ok(process::wait(child.pidfd())?.status())
    }
}

/// The listener of `--pidfd-socket`, and the one that an annotation names.
#[derive(Debug)]
pub(super) struct PidfdSocket(Vec<OwnedFd>);

impl PidfdSocket {
    /// Connects, before anything is made.
    pub(super) fn connect(option: Option<&Path>, annotation: Option<&String>) -> Result<Self> {
        let paths = option.into_iter().chain(annotation.map(Path::new));
        Ok(Self(paths.map(socket::connect_stream).collect::<sys::Result<_>>().map_err(Error::Pidfd)?))
    }

    /// Sends the pidfd.
    pub(super) fn send(&self, pidfd: impl AsFd) -> Result<()> {
        for socket in &self.0 {
            socket::send(socket, b"pidfd", &[pidfd.as_fd()]).map_err(Error::SendingPidfd)?;
        }
        Ok(())
    }
}
