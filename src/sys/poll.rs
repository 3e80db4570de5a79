//! poll(2) for one thread that reads here and writes there.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::error::{Named, Result, retry};

/// What a descriptor is waited for. A hang-up or an error counts as either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready(PollFlags);

impl Ready {
    /// Nothing.
    pub const NONE: Self = Self(PollFlags::empty());
    /// Something can be read.
    pub const READ: Self = Self(PollFlags::POLLIN);
    /// Something can be written.
    pub const WRITE: Self = Self(PollFlags::POLLOUT);
    /// A file of a cgroup has changed since it was last read.
    pub const CHANGED: Self = Self(PollFlags::POLLPRI);

    /// Either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.union(other.0))
    }

    /// Whether it is nothing.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Waits for as long as it takes: which of them are ready.
pub fn wait_ready(wanted: &[(BorrowedFd<'_>, Ready)]) -> Result<Vec<bool>> {
    wait_ready_for(wanted, None)
}

/// Waits for so long at most; none is ready then. Nothing: for as long as it takes.
pub fn wait_ready_for(wanted: &[(BorrowedFd<'_>, Ready)], time: Option<Duration>) -> Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = wanted.iter().map(|(fd, ready)| PollFd::new(*fd, ready.0)).collect();
    // Rounded up: with nothing left to wait for, a caller would ask again and again.
    let limit = time.map(|time| PollTimeout::try_from(time.as_millis() + 1).unwrap_or(PollTimeout::MAX));
    let limit = limit.unwrap_or(PollTimeout::NONE);
    retry(|| nix::poll::poll(&mut polled, limit)).named(|| "poll()".to_owned())?;
    Ok(polled.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}
