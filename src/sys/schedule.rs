//! How the kernel schedules the calling task: policy, io priority, personality.

use nix::errno::Errno;

use super::error::{Named, Result};
use crate::types::Scheduler;

const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_SHIFT: u32 = 13;
/// As many as Linux can be configured for (CONFIG_NR_CPUS of x86).
const MAX_CPUS: usize = 8192;

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

/// sched_getaffinity(2) of the calling task, as [`set_affinity`] takes it.
fn affinity() -> Result<Vec<u64>> {
    let mut cpus = vec![0_u64; MAX_CPUS / 64];
    let (size, to) = (size_of_val(cpus.as_slice()), cpus.as_mut_ptr());
    // SAFETY: the kernel writes no more bytes than the slice has.
    let result = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, to) };
    let bytes = Errno::result(result).named(|| "sched_getaffinity()".to_owned())?;
    cpus.truncate(bytes as usize / size_of::<u64>());
    Ok(cpus)
}

/// The processor that the calling task is on, which it may have left when this returns.
pub fn processor() -> u32 {
    // Negative without getcpu(2), and then nobody's.
    // SAFETY: it has no arguments.
    unsafe { libc::sched_getcpu() as u32 }
}

/// Leaves the processor `taken` to whom it belongs, where this task is on it and may be on others. Who is woken is put on an idle one
/// where the kernel deems it likely that there is one; with few processors, of which one is at work, it often does not look.
pub fn leave_processor(taken: u32) -> Result<()> {
    if processor() != taken {
        return Ok(());
    }
    let Ok(allowed) = affinity() else { return Ok(()) };
    let mut others = allowed.clone();
    others.iter_mut().skip(taken as usize / 64).take(1).for_each(|word| *word &= !(1 << (taken % 64)));
    // Nothing has changed where that is refused, and it stays: it was for speed alone.
    if others.iter().all(|word| *word == 0) || set_affinity(&others).is_err() {
        return Ok(());
    }
    set_affinity(&allowed)
}

#[cfg(test)]
mod tests {
    use super::{affinity, leave_processor, processor, set_affinity};

    #[test]
    fn a_processor_is_left_where_there_is_another_one() {
        let all = affinity().unwrap();
        let here = processor();
        leave_processor(here).unwrap();
        assert_eq!(affinity().unwrap(), all);
        // Confined to one, there is none to go to.
        let mut one = vec![0; all.len()];
        one[here as usize / 64] = 1 << (here % 64);
        set_affinity(&one).unwrap();
        leave_processor(here).unwrap();
        assert_eq!((affinity().unwrap(), processor()), (one.clone(), here));
        // Somebody else's.
        leave_processor(here + 1).unwrap();
        assert_eq!(processor(), here);
        set_affinity(&all).unwrap();
        let several = all.iter().map(|word| word.count_ones()).sum::<u32>() > 1;
        // Where it is when it looks is the kernel's to say; never to have left the one that was taken is keg's.
        let left = (0..100).any(|_| {
            let taken = processor();
            leave_processor(taken).unwrap();
            processor() != taken
        });
        assert_eq!(left, several);
    }
}
