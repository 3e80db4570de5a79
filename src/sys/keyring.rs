//! Kernel keyrings (keyrings(7)).

use std::ffi::CString;

use nix::errno::Errno;

use super::error::{Named, Result};

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Gives this process a session keyring of its own (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING).
pub fn new_session(name: &str) -> Result<()> {
    let call = || format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})");
    let text = CString::new(name).map_err(|_| Errno::EINVAL).named(call)?;
    // SAFETY: the name ends in NUL and outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, text.as_ptr()) };
    Errno::result(result).map(drop).named(call)
}
