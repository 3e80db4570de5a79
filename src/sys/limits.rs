//! Resource limits of any process, and the file mode creation mask of this one.

use std::ptr;

use nix::errno::Errno;

use super::error::{Named, Result};
use crate::types::Pid;

/// prlimit(2): sets a limit of another process (of this user namespace, or with CAP_SYS_RESOURCE over it).
pub fn set(pid: Pid, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let new = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `new` outlives the call, and a null pointer asks for no old limit.
    let result = unsafe { libc::prlimit64(pid.0, resource as _, &raw const new, ptr::null_mut()) };
    Errno::result(result).map(drop).named(|| format!("prlimit({pid}, {resource}, soft={soft}, hard={hard})"))
}

/// umask(2); the mask that was in force comes back.
pub fn set_umask(mask: u32) -> u32 {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask)).bits()
}
