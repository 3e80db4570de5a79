//! Where the process begins. The standard library's own beginning looks at its stack through /proc, installs handlers for its
//! overflow and ignores SIGPIPE: 17 system calls, twice for every container, and a disposition that containers would inherit.

use std::os::fd::BorrowedFd;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::fd;

/// Makes `$run`, a function without arguments that returns an exit status, the program.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        /// What the C library calls first.
        #[unsafe(no_mangle)]
        pub extern "C" fn main() -> ::core::ffi::c_int {
            $crate::sys::entry::prepare();
            $run()
        }
    };
}

/// What must be so before anything else happens: descriptors 0 to 2 are open, since a file of ours that got such a number would become a
/// container's standard input or output.
pub fn prepare() {
    // SAFETY: the default disposition runs no code of ours. A caller that ignores SIGCHLD would have the kernel reap our children.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let marked = |name: std::ffi::OsString| name.as_encoded_bytes().ends_with(super::seal::MARK);
    if super::remap::was_done() || std::env::args_os().next().is_some_and(marked) {
        // They were looked at before this program ran from another file.
        return;
    }
    // SAFETY: the numbers are only asked about; nothing is read from or written to them.
    let standard = [0, 1, 2].map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    let mut polled = standard.map(|fd| PollFd::new(fd, PollFlags::empty()));
    if nix::poll::poll(&mut polled, PollTimeout::ZERO) == Ok(0) {
        return;
    }
    let closed = |fd: &&PollFd<'_>| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLNVAL));
    for _ in polled.iter().filter(closed) {
        match open_null() {
            // The lowest free number is one that was closed. It must outlive this call: no close-on-exec, no owner.
            Ok(null) => std::mem::forget(null),
            Err(_) => super::process::exit(1),
        }
    }
}

/// Without O_CLOEXEC, which [`fd::open`] always sets.
fn open_null() -> nix::Result<std::os::fd::OwnedFd> {
    nix::fcntl::openat(fd::cwd(), "/dev/null", OFlag::O_RDWR, nix::sys::stat::Mode::empty())
}
