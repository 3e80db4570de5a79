//! Mounts and devices as values: what they will be, before anything is attached.

use std::path::PathBuf;

use super::namespace::IdMaps;

/// One mount of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its place in config.json, as `mounts[3]`, for messages.
    pub name: String,
    /// Where it goes, absolute inside the container; symlinks of the image are followed inside the root.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Attributes (`MOUNT_ATTR_*`, mount_setattr(2)) of this mount alone.
    pub attributes: AttributeChange,
    /// `MOUNT_ATTR_RDONLY` of `attributes` is set only when all mounts and devices are made: they may have to be made inside.
    pub read_only_last: bool,
    /// Attributes of this mount and all below it (`rro` and its like).
    pub recursive_attributes: AttributeChange,
    /// Propagation, if other than what set-up gives.
    pub propagation: Option<Propagation>,
    /// Ids are shifted by these mappings; `true`: for the mounts below it too. Empty mappings are those of the container's user
    /// namespace, which is joined and may not be known.
    pub idmap: Option<(IdMaps, bool)>,
    /// The destination's last component may not be a symlink (`dest-nofollow`).
    pub destination_nofollow: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A new instance of a file system.
    Filesystem {
        /// `proc`, `tmpfs`, …
        fstype: String,
        /// The name shown as source.
        source: Option<PathBuf>,
        /// Options for the file system itself, through fsconfig(2).
        options: Vec<FsOption>,
        /// A tmpfs that starts with a copy of what it covers (`tmpcopyup`).
        copy_up: bool,
    },
    /// A tree of the host.
    Bind {
        /// Absolute on the host.
        source: PathBuf,
        /// With the mounts below it.
        recursive: bool,
        /// The source's last component may not be a symlink (`src-nofollow`).
        nofollow: bool,
        /// A source that is a symlink is copied as a symlink (`copy-symlink`).
        copy_symlink: bool,
    },
    /// The container's part of the cgroup hierarchies, bound from where the cgroup plan puts them.
    Cgroup,
    /// Change the attributes of what is mounted at the destination already (`remount`, or a propagation alone).
    Remount {
        /// Options for the file system instance itself, which other mounts may show too. None with `bind`.
        options: Vec<FsOption>,
    },
}

/// The SELinux label of new file systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountLabel {
    /// The option that gives it: `context`, or what `run.oci.mount_context_type` says instead.
    pub option: &'static str,
    /// The label.
    pub label: String,
}

/// One parameter of a file system: fsconfig(2) with a value or as a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsOption {
    /// `size`, `mode`, `ro`, …
    pub key: String,
    /// Absent for a flag.
    pub value: Option<String>,
}

/// Attribute bits to set and to clear; where both name one, it is cleared first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// `MOUNT_ATTR_*`
    pub set: u64,
    /// `MOUNT_ATTR_*`; `MOUNT_ATTR__ATIME` whenever an access-time mode is set.
    pub clear: u64,
}

impl AttributeChange {
    /// Whether nothing would change.
    pub fn is_empty(self) -> bool {
        self.set == 0 && self.clear == 0
    }
}

/// How mount events cross between mount namespaces (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// The type.
    pub kind: PropagationKind,
    /// For all mounts below too.
    pub recursive: bool,
}

/// Propagation types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationKind {
    /// Nothing crosses.
    Private,
    /// Events cross both ways.
    Shared,
    /// Events come in.
    Slave,
    /// Private, and cannot be bound elsewhere.
    Unbindable,
}

/// A device node, or a FIFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Absolute inside the container.
    pub path: PathBuf,
    /// Block, character or FIFO.
    pub kind: DeviceKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner, inside the container.
    pub uid: u32,
    /// Group, inside the container.
    pub gid: u32,
    /// Named by config.json: one that exists and differs is an error. The default devices give way to what is there.
    pub listed: bool,
}

/// What kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// `c` or `u`: major and minor.
    Character(u32, u32),
    /// `b`: major and minor.
    Block(u32, u32),
    /// `p`
    Fifo,
}
