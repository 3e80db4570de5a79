//! The eight namespace types of namespaces(7), and sets of them.

use std::fmt;

/// One type of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceKind {
    /// user_namespaces(7)
    User,
    /// pid_namespaces(7)
    Pid,
    /// mount_namespaces(7)
    Mount,
    /// network_namespaces(7)
    Network,
    /// ipc_namespaces(7)
    Ipc,
    /// uts_namespaces(7)
    Uts,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7), Linux 5.6
    Time,
}

impl NamespaceKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Pid, Self::Mount, Self::Network, Self::Ipc, Self::Uts, Self::Cgroup, Self::Time];

    /// The name that config.json uses (runtime-spec, config-linux.md, "Namespaces").
    pub fn spec_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Mount => "mount",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The name of its file in `/proc/PID/ns`.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Network => "net",
            other => other.spec_name(),
        }
    }

    /// Its `CLONE_NEW*` bit, the same on every architecture.
    pub fn clone_flag(self) -> u64 {
        match self {
            Self::User => 0x1000_0000,
            Self::Pid => 0x2000_0000,
            Self::Mount => 0x0002_0000,
            Self::Network => 0x4000_0000,
            Self::Ipc => 0x0800_0000,
            Self::Uts => 0x0400_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Time => 0x0000_0080,
        }
    }
}

impl fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec_name())
    }
}

/// A set of namespace types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NamespaceSet(u64);

impl NamespaceSet {
    /// No namespace at all.
    pub const EMPTY: Self = Self(0);

    /// Whether `kind` is in the set.
    pub fn contains(self, kind: NamespaceKind) -> bool {
        self.0 & kind.clone_flag() != 0
    }

    /// Adds `kind`; false if it was there already.
    pub fn insert(&mut self, kind: NamespaceKind) -> bool {
        let new = !self.contains(kind);
        self.0 |= kind.clone_flag();
        new
    }

    /// The set without `kind`.
    #[must_use]
    pub fn without(self, kind: NamespaceKind) -> Self {
        Self(self.0 & !kind.clone_flag())
    }

    /// The `CLONE_NEW*` bits of its members.
    pub fn clone_flags(self) -> u64 {
        self.0
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<NamespaceKind> for NamespaceSet {
    fn from_iter<T: IntoIterator<Item = NamespaceKind>>(kinds: T) -> Self {
        let mut set = Self::EMPTY;
        for kind in kinds {
            set.insert(kind);
        }
        set
    }
}
