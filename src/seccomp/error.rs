//! What can be wrong with a profile, each with the JSON path of the value.

/// A profile that cannot become a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Error {
    /// Where in config.json, as `linux.seccomp.syscalls[3].args[0].index`.
    pub path: String,
    /// What is wrong there.
    pub reason: Reason,
}

impl Error {
    pub(super) fn new(path: impl Into<String>, reason: Reason) -> Self {
        Self { path: path.into(), reason }
    }
}

/// What is wrong with a value of the profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Every call of the process would wait for the listener, those of the runtime included.
    #[error("SCMP_ACT_NOTIFY cannot be the default action")]
    NotifyByDefault,
    /// The runtime could no longer report from the filtered process.
    #[error("SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyWrite,
    /// Nobody would ever answer.
    #[error("SCMP_ACT_NOTIFY needs a listenerPath")]
    NotifyWithoutListener,
    /// The metadata has no one to go to.
    #[error("set without a listenerPath")]
    MetadataWithoutListener,
    /// The action returns no number.
    #[error("the action {0} takes no errno")]
    ErrnoNotTaken(String),
    /// The kernel would cut the number off.
    #[error("{value} is larger than {largest}")]
    ErrnoTooLarge {
        /// The number asked for.
        value: u32,
        /// The largest the action can return.
        largest: u32,
    },
    /// A rule for nothing.
    #[error("has no names")]
    NoNames,
    /// System calls have six arguments.
    #[error("{0} is no argument of a system call (0 to 5)")]
    ArgumentIndex(usize),
    /// The program would not fit what the kernel takes.
    #[error("the profile needs {0} instructions, the kernel takes at most 4096")]
    TooLarge(usize),
    /// An argument test that cannot be expressed.
    #[error("{0}")]
    Test(String),
}
