//! How the kernel schedules the calling task: policy, io priority, personality.

use nix::errno::Errno;

use super::error::{Named, Result};
use crate::types::Scheduler;

const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// sched_setattr(2), Linux 3.14.
pub fn set_scheduler(to: Scheduler) -> Result<()> {
    // SAFETY: sched_attr is a plain structure of integers for which zero is a valid value.
    let mut attr: libc::sched_attr = unsafe { std::mem::zeroed() };
    attr.size = size_of::<libc::sched_attr>() as u32;
    (attr.sched_policy, attr.sched_flags, attr.sched_nice) = (to.policy, to.flags, to.nice);
    attr.sched_priority = to.priority;
    (attr.sched_runtime, attr.sched_deadline, attr.sched_period) = (to.runtime, to.deadline, to.period);
    // SAFETY: `attr` names its own size and outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    Errno::result(result).map(drop).named(|| format!("sched_setattr({to:?})"))
}

/// ioprio_set(2) of the calling process: class (`IOPRIO_CLASS_*`) and level (0 to 7).
pub fn set_io_priority(class: u8, level: u8) -> Result<()> {
    let value = (u32::from(class) << IOPRIO_CLASS_SHIFT) | u32::from(level);
    // SAFETY: takes only integers.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
    Errno::result(result).map(drop).named(|| format!("ioprio_set(class={class}, level={level})"))
}

/// personality(2)
pub fn set_personality(domain: u64) -> Result<()> {
    // SAFETY: takes only an integer.
    let result = unsafe { libc::personality(domain as libc::c_ulong) };
    Errno::result(result).map(drop).named(|| format!("personality({domain:#x})"))
}

/// sched_setaffinity(2) of the calling task: bit N % 64 of word N / 64 is CPU N.
pub fn set_affinity(cpus: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads exactly as many bytes as the slice has.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) };
    Errno::result(result).map(drop).named(|| "sched_setaffinity()".to_owned())
}
