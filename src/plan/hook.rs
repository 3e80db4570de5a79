//! Lifecycle hooks (runtime-spec, config.md, "POSIX-platform Hooks").

use std::ffi::CString;
use std::time::Duration;

/// One program to run at one point of the lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// An absolute path.
    pub path: CString,
    /// Its arguments, the zeroth included. Empty: the path alone.
    pub args: Vec<CString>,
    /// Its environment. Absent: that of whoever runs it.
    pub env: Option<Vec<CString>>,
    /// How long it may take before its process group is killed.
    pub timeout: Option<Duration>,
}

/// The six lists, each in the order of its running.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// In the runtime's namespaces, after the container's exist (deprecated by the specification).
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, after the container's exist and before the root is entered.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, found on the host, before the root is entered.
    pub create_container: Vec<Hook>,
    /// In the container, right before its program.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the program started.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container is gone.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether any are run by the runtime itself, as its children.
    pub fn has_any_of_the_runtime(&self) -> bool {
        [&self.prestart, &self.create_runtime, &self.poststart, &self.poststop]
            .iter()
            .any(|list| !list.is_empty())
    }
}
