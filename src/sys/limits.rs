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

/// Raises the hard limit of this process to `hard` where it is lower (getrlimit(2), setrlimit(2)).
pub fn raise(resource: u32, hard: u64) -> Result<()> {
    let mut now = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` outlives the call, which writes it, and a null pointer sets no new limit.
    let got = unsafe { libc::prlimit64(0, resource as _, ptr::null(), &raw mut now) };
    Errno::result(got).named(|| format!("prlimit(0, {resource})"))?;
    if now.rlim_max >= hard {
        return Ok(());
    }
    set(Pid(0), resource, now.rlim_cur, hard)
}

/// umask(2); the mask that was in force comes back.
pub fn set_umask(mask: u32) -> u32 {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask)).bits()
}
