//! seccomp(2): loading a filter and asking what the kernel offers. Never sets no_new_privs: without
//! it the caller needs CAP_SYS_ADMIN in its user namespace.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::error::{Error, Named, Result};

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`
const NEW_LISTENER: u32 = 1 << 3;

/// Loads the filter for the calling thread. `instructions` are `struct sock_filter`s as they lie in
/// memory, `flags` are those of seccomp(2). With `SECCOMP_FILTER_FLAG_NEW_LISTENER` the listener's
/// descriptor is returned, which is close-on-exec.
pub fn load(instructions: &[[u8; 8]], flags: u32) -> Result<Option<OwnedFd>> {
    let call =
        || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {{{} instructions}})", instructions.len());
    let Ok(len) = u16::try_from(instructions.len()) else {
        return Err(Error { call: call(), errno: Errno::EINVAL });
    };
    // The kernel copies the filter in, so neither constness nor alignment of the bytes matters to it.
    let program = libc::sock_fprog { len, filter: instructions.as_ptr().cast_mut().cast() };
    // SAFETY: `program` says how many 8-byte instructions `filter` points to, and both outlive the
    // call, which only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            &raw const program,
        )
    };
    let result = Errno::result(result).named(call)?;
    if flags & NEW_LISTENER != 0 {
        // SAFETY: with this flag a result that is no error is a descriptor made for us just now.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(result as RawFd) }));
    }
    // With SECCOMP_FILTER_FLAG_TSYNC alone: the thread that could not take over the filter.
    if result > 0 {
        return Err(Error { call: call(), errno: Errno::ESRCH });
    }
    Ok(None)
}

/// Whether the kernel knows the action that `SECCOMP_RET_*` value stands for.
pub fn action_available(action: u32) -> bool {
    // SAFETY: the call reads one u32 from the pointer, which is valid for that.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0 as libc::c_ulong,
            &raw const action,
        )
    };
    result == 0
}

/// Whether the kernel knows the `SECCOMP_FILTER_FLAG_*` bits in `flags` together.
pub fn flags_available(flags: u32) -> bool {
    // SAFETY: a null filter is never loaded: the kernel refuses unknown flags with EINVAL before it
    // looks, and fails with EFAULT when it does.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    Errno::result(result) == Err(Errno::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::{NEW_LISTENER, action_available, flags_available, load};
    use nix::errno::Errno;
    use std::os::fd::AsRawFd;

    /// The number is loaded; chroot gets `verdict`, every other call is allowed.
    fn about_chroot(verdict: u32) -> [[u8; 8]; 4] {
        let instruction = |code: u16, jt: u8, jf: u8, k: u32| {
            let ([c0, c1], [k0, k1, k2, k3]) = (code.to_ne_bytes(), k.to_ne_bytes());
            [c0, c1, jt, jf, k0, k1, k2, k3]
        };
        let chroot = libc::SYS_chroot as u32;
        [
            instruction(0x20, 0, 0, 0),
            instruction(0x15, 0, 1, chroot),
            instruction(0x06, 0, 0, verdict),
            instruction(0x06, 0, 0, 0x7fff_0000),
        ]
    }

    #[test]
    fn a_loaded_filter_rules_its_thread_and_sets_no_new_privs_never() {
        let thread = std::thread::spawn(|| {
            let before = nix::sys::prctl::get_no_new_privs().unwrap();
            let loaded = load(&about_chroot(0x0005_0000 | Errno::EXFULL as u32), 0);
            if !before && !nix::unistd::geteuid().is_root() {
                assert_eq!(loaded.unwrap_err().errno, Errno::EACCES);
                return;
            }
            assert!(loaded.unwrap().is_none());
            assert_eq!(nix::sys::prctl::get_no_new_privs().unwrap(), before);
            assert_eq!(nix::unistd::chroot("/"), Err(Errno::EXFULL));
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_listener_is_a_close_on_exec_descriptor() {
        let thread = std::thread::spawn(|| {
            nix::sys::prctl::set_no_new_privs().unwrap();
            let listener = load(&about_chroot(0x7fc0_0000), NEW_LISTENER).unwrap().unwrap();
            let target = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
            assert_eq!(target.to_str(), Some("anon_inode:seccomp notify"));
            let flags = nix::fcntl::fcntl(&listener, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags, libc::FD_CLOEXEC);
            drop(listener);
            // Nobody can answer any more.
            assert_eq!(nix::unistd::chroot("/"), Err(Errno::ENOSYS));
        });
        thread.join().unwrap();
    }

    #[test]
    fn the_kernel_tells_known_from_unknown() {
        assert!(action_available(0x7fff_0000));
        assert!(!action_available(0x1234_0000));
        assert!(flags_available(1 << 1));
        assert!(!flags_available(1 << 30));
    }

    #[test]
    fn a_refused_filter_names_the_call() {
        let error = load(&[], 1 << 1).unwrap_err();
        assert_eq!(error.errno, Errno::EINVAL);
        assert_eq!(
            error.to_string(),
            "seccomp(SECCOMP_SET_MODE_FILTER, 0x2, {0 instructions}): invalid argument"
        );
    }
}
