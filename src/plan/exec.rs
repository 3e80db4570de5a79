//! A further process of a running container: what may be typed for it, and what is decided.

use std::path::PathBuf;

use super::Process;
use crate::types::{CapSet, Gid, User};

/// What was typed for the process. What is absent or empty is as its document has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessOptions {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// A terminal of its own.
    pub terminal: bool,
    /// The working directory.
    pub cwd: Option<PathBuf>,
    /// `NAME=VALUE`, after those of the document.
    pub env: Vec<String>,
    /// User and group.
    pub user: Option<User>,
    /// Further supplementary groups.
    pub additional_gids: Vec<Gid>,
    /// SELinux label.
    pub process_label: Option<String>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// prctl(PR_SET_NO_NEW_PRIVS)
    pub no_new_privileges: bool,
    /// Further capabilities: bounding, permitted and effective.
    pub capabilities: CapSet,
}

/// What will be done for a process that joins.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The process.
    pub process: Process,
    /// What the specification lets pass, but a person may want to know.
    pub warnings: Vec<String>,
}
