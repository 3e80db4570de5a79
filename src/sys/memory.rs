//! NUMA memory policy of the calling thread.

use nix::errno::Errno;

use super::error::{Named, Result};

/// set_mempolicy(2): `MPOL_*` with `MPOL_F_*`; bit N % 64 of word N / 64 is node N. Kept through execve(2).
pub fn set_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let call = || format!("set_mempolicy({mode:#x}, {nodes:x?})");
    // The kernel reads one bit less than it is told.
    let bits = nodes.len() * u64::BITS as usize + 1;
    let (pointer, bits) = if nodes.is_empty() { (std::ptr::null(), 0) } else { (nodes.as_ptr(), bits) };
    // SAFETY: the pointer is null with no bits, or the kernel reads as many words as the slice has.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    Errno::result(result).map(drop).named(call)
}
