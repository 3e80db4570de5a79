//! The pure half: config.json, what was typed and facts about the host become a [`Plan`], in which everything is decided and nothing
//! touched. Every mistake of the user is found here, before a kernel object exists.

pub mod annotations;
mod build;
pub mod cgroup;
mod exec;
mod finding;
mod hook;
mod machine;
mod mount;
mod namespace;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use crate::seccomp::default_profile;
pub use build::{build, check, exec, hooks_of};
pub use exec::{Exec, ProcessOptions};
pub use finding::{Finding, Severity};
pub use hook::{Hook, Hooks};
pub use machine::{Affinity, IntelRdt, Mask, MemoryPolicy, NetDevice};
pub use mount::{
    AttributeChange, Device, DeviceKind, FsOption, Mount, MountKind, MountLabel, Propagation, PropagationKind,
};
pub use namespace::{IdMap, IdMaps, Join, Namespaces, TimeOffset};
pub use process::{Capabilities, Filter, IoPriority, Process, Rlimit};

use crate::types::{CapSet, CgroupManager, CgroupVersion, ContainerId, NamespaceKind, Uid};

/// What was typed, as far as it changes what a container becomes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The container's name.
    pub id: ContainerId,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// Enter the root file system by moving it over `/` instead of pivot_root(2).
    pub no_pivot: bool,
    /// Leave the container in the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors after the standard three the container keeps.
    pub preserve_fds: u32,
    /// Who manages cgroups.
    pub cgroup_manager: CgroupManager,
}

/// Facts about the host, as data.
#[derive(Debug, Clone)]
pub struct Host {
    /// The effective user id of keg.
    pub euid: u32,
    /// Whether keg itself runs inside a user namespace, where devices cannot be made.
    pub in_user_namespace: bool,
    /// Whether setgroups(2) is denied in that user namespace, and so in all that are made in it.
    pub setgroups_denied: bool,
    /// The bounding set of keg: what it could hand to a container at most.
    pub capabilities: CapSet,
    /// What the cgroup file systems look like.
    pub cgroups: cgroup::HostCgroups,
}

impl Host {
    /// Whether keg is the host's root, who may do what the user namespaces of others may not.
    pub fn is_privileged(&self) -> bool {
        self.euid == 0 && !self.in_user_namespace
    }
}

/// Everything that will be done for one container. Plain data: rooms that touch the kernel perform it in the order they state.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Namespaces to make and to join.
    pub namespaces: Namespaces,
    /// The mappings to write for a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// The root directory on the host, absolute.
    pub rootfs: PathBuf,
    /// Whether the root mount becomes read-only.
    pub rootfs_readonly: bool,
    /// The propagation of the root mount in the end; absent: what set-up leaves (slave, recursively).
    pub rootfs_propagation: Option<Propagation>,
    /// Enter the root by pivot_root(2); otherwise by moving it over `/`.
    pub pivot: bool,
    /// Mounts, in the order they are made.
    pub mounts: Vec<Mount>,
    /// Device nodes, the default ones first. Empty where the host's `/dev` is bound in.
    pub devices: Vec<Device>,
    /// Nodes cannot be made, because the container or keg itself is in a user namespace: the host's are bound instead.
    pub bind_devices: bool,
    /// Symbolic links to make, name and target. Empty where the host's `/dev` is bound in.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Paths made unreadable.
    pub masked_paths: Vec<PathBuf>,
    /// Paths made read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// The SELinux label of every mount that takes one. Without effect where SELinux is not enabled.
    pub mount_label: Option<MountLabel>,
    /// sethostname(2)
    pub hostname: Option<String>,
    /// setdomainname(2)
    pub domainname: Option<String>,
    /// Files below `/proc/sys` (as `net/ipv4/ip_forward`) and what to write there.
    pub sysctl: Vec<(PathBuf, String)>,
    /// Network devices of the host to move in.
    pub net_devices: Vec<NetDevice>,
    /// set_mempolicy(2)
    pub memory_policy: Option<MemoryPolicy>,
    /// The resctrl group.
    pub intel_rdt: Option<IntelRdt>,
    /// A session keyring of the container's own.
    pub new_keyring: bool,
    /// The program. Absent: the container can be created, not started.
    pub process: Option<Process>,
    /// Where the container's processes live, and their limits.
    pub cgroup: cgroup::CgroupPlan,
    /// The lifecycle hooks.
    pub hooks: Hooks,
    /// As config.json has them.
    pub annotations: BTreeMap<String, String>,
    /// What the specification lets pass, but a person may want to know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The user of the host who is to own the container's cgroup, so that the container can make its own below: where it sees its
    /// version 2 cgroup alone and may write to it (runtime-spec, config-linux.md, "Cgroup ownership").
    pub fn cgroup_owner(&self) -> Option<Uid> {
        let writable = |mount: &Mount| {
            let read_only = mount.attributes.set & libc::MOUNT_ATTR_RDONLY != 0;
            mount.kind == MountKind::Cgroup && mount.destination == Path::new("/sys/fs/cgroup") && !read_only
        };
        let delegated = self.cgroup.version == CgroupVersion::V2
            && self.namespaces.new.contains(NamespaceKind::Cgroup)
            && self.mounts.iter().any(writable);
        let uid = self.process.as_ref().filter(|_| delegated)?.uid;
        match (&self.id_maps, self.namespaces.new.contains(NamespaceKind::User)) {
            (Some(maps), _) => IdMaps::outside(&maps.uids, uid.0).map(Uid),
            (None, true) => None,
            (None, false) => Some(uid),
        }
    }

    /// Whether kernel parameters or names are set that a namespace of this kind keeps.
    pub fn changes(&self, kind: NamespaceKind) -> bool {
        let names = self.hostname.is_some() || self.domainname.is_some();
        kind == NamespaceKind::Uts && names
            || self.sysctl.iter().any(|(file, _)| build::keeper_of(file) == Some(kind))
    }
}

/// The mount options that are keg's to understand, in alphabetical order; all others are data for the file system.
pub fn mount_options() -> impl Iterator<Item = &'static str> {
    build::known_mount_options()
}

/// What is wrong with config.json, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("config.json: {path}: {problem}")]
pub struct Error {
    /// The JSON path, as `linux.namespaces[2].path`.
    pub path: String,
    /// One sentence without a full stop: what is wrong, and what to do where that is not obvious.
    pub problem: String,
}
