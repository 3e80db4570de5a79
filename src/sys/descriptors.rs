//! The table of descriptors as a whole: which numbers are open, which are kept, which go to whom.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::error::{Named, Result};
use super::fd::{file_type, stat};
use super::tty;
use crate::types::Uid;

/// Moves these descriptors to the numbers from `first` on, in their order and close-on-exec, and closes all above (dup3(2),
/// close_range(2), Linux 5.9). No `OwnedFd` for any other descriptor from `first` on may be dropped later.
pub fn keep_only(kept: &mut [&mut OwnedFd], first: u32) -> Result<()> {
    let call = || format!("dup3(…, {first})");
    let range = RawFd::try_from(first).ok().zip(RawFd::try_from(kept.len()).ok());
    let (first, end) = range
        .and_then(|(first, count)| Some((first, first.checked_add(count)?)))
        .ok_or(Errno::EBADF)
        .named(call)?;
    for slot in kept.iter_mut().filter(|slot| slot.as_raw_fd() < end) {
        // SAFETY: takes only integers, and makes a new descriptor at or above `end`.
        let fd = Errno::result(unsafe { libc::fcntl(slot.as_raw_fd(), libc::F_DUPFD_CLOEXEC, end) });
        replace(slot, fd.named(call)?);
    }
    for (number, slot) in (first..).zip(kept.iter_mut()) {
        // SAFETY: the descriptor is open and above all the numbers that are given away here; whatever has this number is closed, and
        // the caller promises that its owner is never dropped.
        let fd = Errno::result(unsafe { libc::dup3(slot.as_raw_fd(), number, libc::O_CLOEXEC) });
        replace(slot, fd.named(call)?);
    }
    close_range(end as u32, 0)
}

/// Closes descriptors, neighbours in one call (close_range(2), Linux 5.9).
pub fn close_all(all: Vec<OwnedFd>) {
    close_numbers(all.into_iter().map(IntoRawFd::into_raw_fd).collect());
}

/// Closes a forked child's copies of descriptors whose owners live on in frames that the child never returns to.
pub fn close_copies(all: &[OwnedFd]) {
    close_numbers(all.iter().map(AsRawFd::as_raw_fd).collect());
}

fn close_numbers(mut numbers: Vec<RawFd>) {
    numbers.sort_unstable();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        // SAFETY: the caller gave up the descriptors of the run, first to last: nobody uses or drops them any more.
        unsafe { libc::syscall(libc::SYS_close_range, run[0], run[run.len() - 1], 0) };
    }
}

/// Closes a forked child's copy of a descriptor whose owner lives on in frames that the child never returns to.
pub fn close_copy(fd: impl AsFd) {
    // SAFETY: the owner belongs to the parent; in the child, which ends in _exit(2) or execve(2), it is never used or dropped.
    unsafe { libc::close(fd.as_fd().as_raw_fd()) };
}

/// The number that the next descriptor of this process will have. `any` is one that is open.
pub fn lowest_free(any: impl AsFd) -> Result<RawFd> {
    let copy = nix::fcntl::fcntl(&any, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(0));
    let number = copy.named(|| "fcntl(F_DUPFD_CLOEXEC)".to_owned())?;
    nix::unistd::close(number).named(|| format!("close({number})"))?;
    Ok(number)
}

/// pidfd_getfd(2), Linux 5.6: a copy of another process's descriptor. EBADF: it has none of that number.
pub fn take(pidfd: impl AsFd, number: RawFd) -> Result<OwnedFd> {
    // SAFETY: takes only integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), number, 0) };
    let fd = Errno::result(fd).named(|| format!("pidfd_getfd({number})"))?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// fchown(2) of descriptor 0, 1 or 2 if it is a pipe or a terminal, which are there for this program alone. Files of the host, the
/// null device and `/dev/tty` (5:0), which are everybody's, stay as they are.
pub fn give_standard(number: RawFd, owner: Uid) -> Result<()> {
    // SAFETY: used only for the two calls below; an fd that is not open makes them fail with EBADF.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    let found = stat(file)?;
    let own = match file_type(&found) {
        SFlag::S_IFIFO => true,
        SFlag::S_IFCHR => nix::sys::stat::major(found.st_rdev) != 5 && tty::is_terminal(file),
        _ => false,
    };
    if found.st_uid == owner.0 || !own {
        return Ok(());
    }
    nix::unistd::fchown(file, Some(owner.0.into()), None).named(|| format!("fchown({number}, {})", owner.0))
}

/// fcntl(2), F_GETFD: whether there is a descriptor of this number.
pub fn is_open(number: u32) -> bool {
    // SAFETY: takes only integers, and only asks.
    RawFd::try_from(number).is_ok_and(|number| unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0)
}

/// Puts a descriptor that was just made in place of one that is closed by other means.
fn replace(slot: &mut OwnedFd, fd: RawFd) {
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    let new = unsafe { OwnedFd::from_raw_fd(fd) };
    std::mem::forget(std::mem::replace(slot, new));
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC, Linux 5.11: this descriptor and all above end with the next execve(2).
pub fn cloexec_from(first: u32) -> Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, flags: libc::c_uint) -> Result<()> {
    // SAFETY: takes only integers; that no owner of the descriptors is left is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    Errno::result(result).map(drop).named(|| format!("close_range({first})"))
}
