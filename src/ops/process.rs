//! A process of a container that keg has made: it does not outlive a command that fails. What only keg may set for it is set here.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::pid_file;
use crate::plan::Process;
use crate::sys::proc::Proc;
use crate::sys::process::{self, Child, Ended};
use crate::sys::{self, descriptors, limits, socket};
use crate::types::{Pid, Signal};

/// What could not be set for it, or told about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("unable to stat preserved-fd {0} (of {1})")]
    Preserved(u32, u32),
    #[error(transparent)]
    Descriptors(sys::Error),
    #[error("setting {0}")]
    Limit(String, #[source] sys::Error),
    #[error("writing the pid file {0:?}")]
    PidFile(PathBuf, #[source] std::io::Error),
}

/// Comes first: the descriptors that the container is to keep, `count` from 3 on, must be there before keg opens any of its own.
pub(super) fn sort_descriptors(count: u32) -> Result<(), Error> {
    let end = 3_u32.checked_add(count).ok_or(Error::Preserved(count, count))?;
    if let Some(missing) = (3..end).find(|number| !descriptors::is_open(*number)) {
        return Err(Error::Preserved(missing, count));
    }
    // What else the caller left open is not for the container, and not for hooks.
    descriptors::cloexec_from(end).map_err(Error::Descriptors)
}

/// A child; killed when dropped, unless it was released.
#[derive(Debug)]
pub(super) struct ChildGuard {
    child: Child,
    released: bool,
    limited: bool,
}

impl ChildGuard {
    pub(super) fn new(child: Child) -> Self {
        Self { child, released: false, limited: false }
    }

    pub(super) fn pid(&self) -> Pid {
        self.child.pid
    }

    pub(super) fn pidfd(&self) -> impl AsFd + '_ {
        self.child.pidfd.as_fd()
    }

    /// It lives on without this command.
    pub(super) fn release(&mut self) {
        self.released = true;
    }

    /// What was made was only a stage on the way to this process, and has ended.
    pub(super) fn succeed(&mut self, pid: i32, pidfd: OwnedFd) -> sys::Result<()> {
        let mut stage = std::mem::replace(self, Self::new(Child { pid: Pid(pid), pidfd }));
        stage.release();
        process::wait(&stage.child.pidfd).map(drop)
    }

    /// Sets the out-of-memory score: lowering it takes rights that the process may not have.
    pub(super) fn adjust_oom_score(&self, proc: &Proc, wanted: Option<&Process>) -> Result<(), Error> {
        let Some(score) = wanted.and_then(|process| process.oom_score_adj) else { return Ok(()) };
        let path = PathBuf::from(format!("{}/oom_score_adj", self.pid()));
        let written = proc.write(&path, score.to_string().as_bytes());
        written.map_err(|error| Error::Limit(format!("process.oomScoreAdj to {score}"), error))
    }

    /// Sets the resource limits, once, and late: they would bind the process's own set-up.
    pub(super) fn limit(&mut self, wanted: Option<&Process>) -> Result<(), Error> {
        let limits = wanted.filter(|_| !self.limited).map(|process| process.rlimits.as_slice());
        self.limited = true;
        for limit in limits.unwrap_or_default() {
            limits::set(self.pid(), limit.resource, limit.soft, limit.hard)
                .map_err(|error| Error::Limit(format!("process.rlimits: {}", limit.name), error))?;
        }
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        has_ended(&self.child.pidfd)
    }

    /// Kills it if it still runs. How it ended; `None` if it is not ours any more.
    pub(super) fn end(&mut self) -> Option<Ended> {
        self.release();
        // Either it has ended already, or it ends now; both are what is wanted.
        process::signal(&self.child.pidfd, Signal::KILL).unwrap_or(());
        process::wait(&self.child.pidfd).ok()
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if !self.released {
            self.end();
        }
    }
}

/// Whether the process of a pidfd has ended.
pub(super) fn has_ended(pidfd: &OwnedFd) -> bool {
    socket::wait_readable(&[pidfd.as_fd()], 0).is_ok_and(|ready| ready[0])
}

/// Writes the pid file.
pub(super) fn write_pid_file(path: &Path, pid: Pid) -> Result<(), Error> {
    pid_file::write(path, pid).map_err(|error| Error::PidFile(path.to_owned(), error))
}
