//! How a process is named so that a reused pid is never mistaken for it.

use std::fmt;

/// A process number in the pid namespace of whoever holds it. Alone it may be reused at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A process for certain: its pid and the moment it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessRef {
    /// As seen in the pid namespace of the runtime.
    pub pid: Pid,
    /// Field 22 of `/proc/PID/stat` (proc(5)): clock ticks since boot.
    pub start_time: u64,
}
