//! flock(2): one holder of a file or directory at a time. The kernel frees it with the last copy of the descriptor.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use super::error::{Named, Result, show_fd};

/// Takes the lock if nobody has it; false where somebody does. A shared lock admits other shared ones.
pub fn try_lock(fd: impl AsFd, exclusive: bool) -> Result<bool> {
    let kind = if exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
    // SAFETY: flock(2) takes two integers; the descriptor is open for as long as `fd` is borrowed.
    let done = unsafe { libc::flock(fd.as_fd().as_raw_fd(), kind | libc::LOCK_NB) };
    match Errno::result(done) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).named(|| format!("flock({})", show_fd(&fd))),
    }
}

/// Gives the lock back, through whichever copy of the descriptor it was taken.
pub fn unlock(fd: impl AsFd) -> Result<()> {
    // SAFETY: flock(2) takes two integers; the descriptor is open for as long as `fd` is borrowed.
    let done = unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_UN) };
    Errno::result(done).map(drop).named(|| format!("flock({}, LOCK_UN)", show_fd(&fd)))
}
