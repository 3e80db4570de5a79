//! Who makes the cgroups of the containers: `KEG_DRIVER` is `cgroupfs`, which is what it is when it is not set, or `systemd`.

/// The cgroup driver that the suite runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The runtime: `linux.cgroupsPath` is a path.
    Cgroupfs,
    /// systemd: `--systemd-cgroup`, and `linux.cgroupsPath` is `slice:prefix:name`.
    Systemd,
}

/// The slice of all units of the suite.
const SLICE: &str = "system.slice";

impl Driver {
    pub(crate) fn of_environment() -> Self {
        match std::env::var("KEG_DRIVER").as_deref() {
            Err(_) | Ok("" | "cgroupfs") => Self::Cgroupfs,
            Ok("systemd") => Self::Systemd,
            Ok(other) => panic!("KEG_DRIVER is {other:?}, and neither cgroupfs nor systemd"),
        }
    }

    /// What the path of every cgroup of a test begins with.
    pub(crate) fn prefix(self, unique: &str) -> String {
        match self {
            Self::Cgroupfs => format!("/keg-test/{unique}"),
            Self::Systemd => format!("/{SLICE}/keg-test-{unique}"),
        }
    }

    /// The `linux.cgroupsPath` of a container of that name.
    pub(crate) fn cgroups_path(self, unique: &str, name: &str) -> String {
        match self {
            Self::Cgroupfs => format!("/keg-test/{unique}/{name}"),
            Self::Systemd => format!("{SLICE}:keg-test-{unique}:{name}"),
        }
    }

    /// The flag, for commands that make containers.
    pub fn globals(self, command: &str) -> &'static [&'static str] {
        match self {
            Self::Systemd if matches!(command, "create" | "run") => &["--systemd-cgroup"],
            _ => &[],
        }
    }
}

/// The path of the cgroup that a `linux.cgroupsPath` means: that of a scope if it is `slice:prefix:name` of a slice at the top.
pub(crate) fn cgroup_of(cgroups_path: &str) -> String {
    match cgroups_path.split(':').collect::<Vec<_>>()[..] {
        [slice, prefix, name] => format!("/{slice}/{prefix}-{name}.scope"),
        _ => cgroups_path.to_owned(),
    }
}
