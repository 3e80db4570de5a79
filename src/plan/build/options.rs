//! Mount options (config.md, "Linux mount options") as one table, and what a list of them adds up to. A later option wins over an
//! earlier one. What is not in the table is data for the file system.

use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME,
};

use crate::plan::{AttributeChange, Propagation, PropagationKind};

use Atime::{No, Relative, Strict};
use Effect::{
    All, AllAtime, Atime as OwnAtime, Bind, CopySymlink, CopyUp, DestinationNofollow, Idmap, Iversion,
    Nothing, One, Propagate, Remount, SourceNofollow, Super,
};
use PropagationKind::{Private, Shared, Slave, Unbindable};

/// What one option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The default, or a wish without a counterpart in the kernel.
    Nothing,
    /// Set (true) or clear attributes of this mount.
    One(u64, bool),
    /// The same for all mounts below it too.
    All(u64, bool),
    /// Access times of this mount.
    Atime(Atime, bool),
    /// The same for all mounts below it too.
    AllAtime(Atime, bool),
    /// Set or clear a flag of the file system instance that every file system has.
    Super(&'static str, bool),
    /// Count changes of inodes.
    Iversion(bool),
    Bind(bool),
    Remount,
    Propagate(PropagationKind, bool),
    Idmap(bool),
    CopyUp,
    CopySymlink,
    SourceNofollow,
    DestinationNofollow,
}

/// The modes of updating access times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Atime {
    No,
    Relative,
    Strict,
}

const TABLE: &[(&str, Effect)] = &[
    ("async", Super("sync", false)),
    ("atime", OwnAtime(No, false)),
    ("bind", Bind(false)),
    ("copy-symlink", CopySymlink),
    ("defaults", Nothing),
    ("dest-nofollow", DestinationNofollow),
    ("dev", One(MOUNT_ATTR_NODEV, false)),
    ("diratime", One(MOUNT_ATTR_NODIRATIME, false)),
    ("dirsync", Super("dirsync", true)),
    ("exec", One(MOUNT_ATTR_NOEXEC, false)),
    ("idmap", Idmap(false)),
    ("iversion", Iversion(true)),
    ("lazytime", Super("lazytime", true)),
    ("loud", Nothing),
    ("mand", Super("mand", true)),
    ("noatime", OwnAtime(No, true)),
    ("nodev", One(MOUNT_ATTR_NODEV, true)),
    ("nodiratime", One(MOUNT_ATTR_NODIRATIME, true)),
    ("noexec", One(MOUNT_ATTR_NOEXEC, true)),
    ("noiversion", Iversion(false)),
    ("nolazytime", Super("lazytime", false)),
    ("nomand", Super("mand", false)),
    ("norelatime", OwnAtime(Relative, false)),
    ("nostrictatime", OwnAtime(Strict, false)),
    ("nosuid", One(MOUNT_ATTR_NOSUID, true)),
    ("nosymfollow", One(MOUNT_ATTR_NOSYMFOLLOW, true)),
    ("private", Propagate(Private, false)),
    ("ratime", AllAtime(No, false)),
    ("rbind", Bind(true)),
    ("rdev", All(MOUNT_ATTR_NODEV, false)),
    ("rdiratime", All(MOUNT_ATTR_NODIRATIME, false)),
    ("relatime", OwnAtime(Relative, true)),
    ("remount", Remount),
    ("rexec", All(MOUNT_ATTR_NOEXEC, false)),
    ("ridmap", Idmap(true)),
    ("rnoatime", AllAtime(No, true)),
    ("rnodev", All(MOUNT_ATTR_NODEV, true)),
    ("rnodiratime", All(MOUNT_ATTR_NODIRATIME, true)),
    ("rnoexec", All(MOUNT_ATTR_NOEXEC, true)),
    ("rnorelatime", AllAtime(Relative, false)),
    ("rnostrictatime", AllAtime(Strict, false)),
    ("rnosuid", All(MOUNT_ATTR_NOSUID, true)),
    ("rnosymfollow", All(MOUNT_ATTR_NOSYMFOLLOW, true)),
    ("ro", One(MOUNT_ATTR_RDONLY, true)),
    ("rprivate", Propagate(Private, true)),
    ("rrelatime", AllAtime(Relative, true)),
    ("rro", All(MOUNT_ATTR_RDONLY, true)),
    ("rrw", All(MOUNT_ATTR_RDONLY, false)),
    ("rshared", Propagate(Shared, true)),
    ("rslave", Propagate(Slave, true)),
    ("rstrictatime", AllAtime(Strict, true)),
    ("rsuid", All(MOUNT_ATTR_NOSUID, false)),
    ("rsymfollow", All(MOUNT_ATTR_NOSYMFOLLOW, false)),
    ("runbindable", Propagate(Unbindable, true)),
    ("rw", One(MOUNT_ATTR_RDONLY, false)),
    ("shared", Propagate(Shared, false)),
    ("silent", Nothing),
    ("slave", Propagate(Slave, false)),
    ("src-nofollow", SourceNofollow),
    ("strictatime", OwnAtime(Strict, true)),
    ("suid", One(MOUNT_ATTR_NOSUID, false)),
    ("symfollow", One(MOUNT_ATTR_NOSYMFOLLOW, false)),
    ("sync", Super("sync", true)),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(Unbindable, false)),
];

/// Every option that is not passed on to the file system, in alphabetical order.
pub(in crate::plan) fn known() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// What a list of options adds up to.
#[derive(Debug, Default)]
pub(super) struct MountOptions<'a> {
    /// `Some(true)`: recursively.
    pub(super) bind: Option<bool>,
    pub(super) remount: bool,
    own: Change,
    all: Change,
    /// The last word on `ro` and `rw`, if there was one.
    pub(super) read_only: Option<bool>,
    pub(super) iversion: bool,
    supers: Vec<(&'static str, bool)>,
    pub(super) propagation: Option<Propagation>,
    /// `Some(true)`: for the mounts below too.
    pub(super) idmap: Option<bool>,
    /// What followed `idmap=`.
    pub(super) idmap_text: Option<&'a str>,
    pub(super) copy_up: bool,
    pub(super) copy_symlink: bool,
    pub(super) source_nofollow: bool,
    pub(super) destination_nofollow: bool,
    /// The rest, with the place in the list.
    pub(super) data: Vec<(usize, &'a str)>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Change {
    bits: AttributeChange,
    /// `Some(Relative)` once any option spoke of access times.
    atime: Option<Atime>,
}

impl Change {
    fn bits(&mut self, bits: u64, set: bool) {
        let change = &mut self.bits;
        match set {
            true => (change.set, change.clear) = (change.set | bits, change.clear & !bits),
            false => (change.set, change.clear) = (change.set & !bits, change.clear | bits),
        }
    }

    /// To ask for a mode replaces the one before; to ask for its absence leaves the kernel's default, relative, in its place.
    fn atime(&mut self, mode: Atime, on: bool) {
        self.atime = match on {
            true => Some(mode),
            false if self.atime == Some(mode) => Some(Relative),
            false => self.atime.or(Some(Relative)),
        };
    }

    fn finish(self) -> AttributeChange {
        let mut change = self.bits;
        if let Some(mode) = self.atime {
            change.clear |= MOUNT_ATTR__ATIME;
            change.set |= match mode {
                Strict => MOUNT_ATTR_STRICTATIME,
                No => MOUNT_ATTR_NOATIME,
                Relative => 0,
            };
        }
        change
    }
}

impl<'a> MountOptions<'a> {
    /// Adds the options up.
    pub(super) fn parse(options: &'a [String]) -> Self {
        let mut sum = Self::default();
        for (place, option) in options.iter().enumerate() {
            match TABLE.binary_search_by(|(name, _)| (*name).cmp(option)) {
                Ok(found) => sum.apply(TABLE[found].1),
                Err(_) => match option.split_once('=') {
                    Some((name @ ("idmap" | "ridmap"), text)) => {
                        sum.idmap = Some(name == "ridmap");
                        sum.idmap_text = Some(text);
                    }
                    _ if option.is_empty() => {}
                    _ => sum.data.push((place, option)),
                },
            }
        }
        sum
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Nothing => {}
            One(bits, set) => {
                if bits == MOUNT_ATTR_RDONLY {
                    self.read_only = Some(set);
                }
                self.own.bits(bits, set);
            }
            All(bits, set) => self.all.bits(bits, set),
            OwnAtime(switch, on) => self.own.atime(switch, on),
            AllAtime(switch, on) => self.all.atime(switch, on),
            Super(name, on) => {
                self.supers.retain(|(known, _)| *known != name);
                self.supers.push((name, on));
            }
            Iversion(on) => self.iversion = on,
            // Callers write both, in any order, and mean the recursive one.
            Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            Remount => self.remount = true,
            Propagate(kind, recursive) => self.propagation = Some(Propagation { kind, recursive }),
            Idmap(recursive) => self.idmap = Some(recursive),
            CopyUp => self.copy_up = true,
            CopySymlink => self.copy_symlink = true,
            SourceNofollow => self.source_nofollow = true,
            DestinationNofollow => self.destination_nofollow = true,
        }
    }

    /// Attributes of the mount itself.
    pub(super) fn attributes(&self) -> AttributeChange {
        self.own.finish()
    }

    /// Attributes of the mount and of all below it.
    pub(super) fn recursive_attributes(&self) -> AttributeChange {
        self.all.finish()
    }

    /// As fsconfig(2) names them: flags to set, and those to clear, of an instance that is there.
    pub(super) fn superblock_changes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.supers.iter().map(|(name, on)| match (*name, on) {
            ("sync", false) => "async",
            ("lazytime", false) => "nolazytime",
            ("mand", false) => "nomand",
            (name, _) => name,
        })
    }

    /// Flags to set on a new file system instance; those to clear are clear there.
    pub(super) fn superblock_flags(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.supers.iter().filter(|(_, on)| *on).map(|(name, _)| *name)
    }
}
