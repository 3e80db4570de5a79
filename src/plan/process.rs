//! The container's program and everything it is given.

use std::ffi::CString;
use std::path::PathBuf;

use super::machine::Affinity;
use crate::seccomp::{Listener, Program};
use crate::types::{CapSet, Gid, Scheduler, Uid};

/// The program of a container, or one that joins it.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its arguments; never empty.
    pub args: Vec<CString>,
    /// Its environment: one entry a name (the last wins).
    pub env: Vec<CString>,
    /// The PATH of that environment, if it has one.
    pub search_path: Option<String>,
    /// HOME is unset or empty, and is to be taken from the container's /etc/passwd.
    pub needs_home: bool,
    /// Absolute inside the container.
    pub cwd: PathBuf,
    /// A terminal is its standard input, output and error.
    pub terminal: bool,
    /// Height and width of the terminal in characters.
    pub console_size: Option<(u16, u16)>,
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
    /// Supplementary groups; absent: left as they are (`run.oci.keep_original_groups`, or a user namespace that denies setgroups(2)).
    pub groups: Option<Vec<Gid>>,
    /// The file mode creation mask.
    pub umask: u32,
    /// The five sets.
    pub capabilities: Capabilities,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// prctl(PR_SET_NO_NEW_PRIVS)
    pub no_new_privileges: bool,
    /// `/proc/PID/oom_score_adj`; absent: untouched.
    pub oom_score_adj: Option<i32>,
    /// AppArmor profile.
    pub apparmor_profile: Option<String>,
    /// SELinux label.
    pub selinux_label: Option<String>,
    /// sched_setattr(2)
    pub scheduler: Option<Scheduler>,
    /// Its cgroup has a list of CPUs.
    pub has_cpuset: bool,
    /// ioprio_set(2)
    pub io_priority: Option<IoPriority>,
    /// personality(2)
    pub personality: Option<u64>,
    /// The CPUs of a process that joins a container; the first process of one has none of its own.
    pub affinity: Affinity,
    /// The system call filter.
    pub seccomp: Option<Filter>,
}

/// A system call filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// To be loaded as it is.
    Linked(Program),
    /// It is linked while init is at work, and has no listener.
    Awaited,
}

impl Process {
    /// Who answers the calls that the filter passes on.
    pub fn listener(&self) -> Option<&Listener> {
        match &self.seccomp {
            Some(Filter::Linked(program)) => program.notifies.as_ref(),
            Some(Filter::Awaited) | None => None,
        }
    }

    /// Whether the kernel is asked to keep a deadline with a list of CPUs, which it does for the list of all alone (sched(7)).
    pub fn has_deadline_in_cpuset(&self) -> bool {
        self.has_cpuset && self.scheduler.is_some_and(|scheduler| scheduler.policy == Scheduler::DEADLINE)
    }
}

/// The five capability sets (capabilities(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Capabilities {
    pub bounding: CapSet,
    pub effective: CapSet,
    pub inheritable: CapSet,
    pub permitted: CapSet,
    pub ambient: CapSet,
}

/// One limit of getrlimit(2); `u64::MAX` is "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*` as a number.
    pub resource: u32,
    /// Its name in config.json, for messages.
    pub name: &'static str,
    /// The limit that counts.
    pub soft: u64,
    /// The limit of that limit.
    pub hard: u64,
}

/// Class and level of ioprio_set(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_*`
    pub class: u8,
    /// 0 to 7
    pub level: u8,
}
