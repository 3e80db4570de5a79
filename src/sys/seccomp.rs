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
    use super::{action_available, flags_available, load};
    use nix::errno::Errno;

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
