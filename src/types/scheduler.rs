//! How a task is scheduled.

/// The fields of `struct sched_attr` (sched_setattr(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Scheduler {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

impl Scheduler {
    /// `SCHED_DEADLINE`
    pub const DEADLINE: u32 = 6;
}
