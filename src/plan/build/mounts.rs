//! The list of mounts: what each one is, where it goes, and what config.json may not ask for.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount as Listed;

use super::options::MountOptions;
use super::{Facts, idmap, namespaces};
use crate::plan::finding::Report;
use crate::plan::{AttributeChange, FsOption, IdMaps, Mount, MountKind};
use crate::types::{CgroupVersion, NamespaceKind};

/// Files of /proc that a bind mount may replace, as lxcfs does, and where it hides nothing that confines the container.
const PROC_FILES: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// File systems without a device below: to be read-only is a matter of the mount alone.
const VIRTUAL: &[&str] = &["devpts", "mqueue", "proc", "sysfs", "tmpfs"];

pub(super) fn build(
    listed: &[Listed],
    facts: &Facts<'_>,
    own: &namespaces::Outcome,
    report: &mut Report,
) -> Vec<Mount> {
    let mut mounts = Vec::with_capacity(listed.len());
    for (n, one) in listed.iter().enumerate() {
        let mount = Builder { listed: one, path: format!("mounts[{n}]"), facts, own }.build(report);
        let cover =
            mount.as_ref().filter(|_| one.typ().as_deref() == Some("sysfs")).and_then(cover_of_cgroups);
        mounts.extend(mount.into_iter().chain(cover));
    }
    mounts
}

/// Where the host's /sys stands for a sysfs: the host's cgroups that are mounted below it are nothing for the container.
fn cover_of_cgroups(sys: &Mount) -> Option<Mount> {
    let MountKind::Bind { .. } = &sys.kind else { return None };
    let set =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let mode = FsOption { key: "mode".to_owned(), value: Some("755".to_owned()) };
    Some(Mount {
        recursive_attributes: AttributeChange::default(),
        propagation: None,
        destination_nofollow: false,
        name: sys.name.clone(),
        destination: sys.destination.join("fs/cgroup"),
        kind: MountKind::Filesystem {
            fstype: "tmpfs".to_owned(),
            source: Some("tmpfs".into()),
            options: vec![mode],
            copy_up: false,
        },
        attributes: AttributeChange { set, clear: 0 },
        // Mounts of config.json may follow below it.
        read_only_last: true,
        idmap: None,
    })
}

struct Builder<'a> {
    listed: &'a Listed,
    /// Its place in config.json.
    path: String,
    facts: &'a Facts<'a>,
    own: &'a namespaces::Outcome,
}

impl Builder<'_> {
    fn build(self, report: &mut Report) -> Option<Mount> {
        let options = MountOptions::parse(self.listed.options().as_deref().unwrap_or_default());
        let destination = self.destination(report)?;
        let kind = self.kind(&options, report)?;
        self.check_place(&destination, &kind, report);
        let idmap = self.idmap(&options, &kind, report);
        let (mut attributes, mut recursive_attributes) =
            (options.attributes(), options.recursive_attributes());
        if matches!(&kind, MountKind::Bind { .. }) && self.listed.typ().as_deref() == Some("sysfs") {
            // What is mounted below the host's is as read-only as it.
            recursive_attributes.set |= attributes.set & !libc::MOUNT_ATTR__ATIME;
        }
        if kind == MountKind::Cgroup && options.read_only.is_none() {
            attributes.set |= libc::MOUNT_ATTR_RDONLY;
        }
        // A tmpfs gets its content first: the copy of what it covers, mount points, device nodes.
        let read_only_last = attributes.set & libc::MOUNT_ATTR_RDONLY != 0
            && matches!(&kind, MountKind::Filesystem { fstype, .. } if fstype == "tmpfs");
        Some(Mount {
            recursive_attributes,
            propagation: options.propagation,
            destination_nofollow: options.destination_nofollow,
            name: self.path,
            destination,
            kind,
            attributes,
            read_only_last,
            idmap,
        })
    }

    fn destination(&self, report: &mut Report) -> Option<PathBuf> {
        let path = format!("{}.destination", self.path);
        let listed = self.listed.destination();
        if listed.as_os_str().is_empty() {
            report.error(path, "empty");
            return None;
        }
        if !listed.is_absolute() {
            report.warn(path, format!("{listed:?} is relative, which is deprecated, and taken from /"));
        }
        Some(clean(listed))
    }

    fn kind(&self, options: &MountOptions<'_>, report: &mut Report) -> Option<MountKind> {
        let typ = self.listed.typ().as_deref().filter(|typ| !typ.is_empty());
        if options.remount {
            if options.bind.is_some() {
                self.no_data(options, "a remount of a bind mount", report);
                return Some(MountKind::Remount { options: Vec::new() });
            }
            return Some(MountKind::Remount {
                options: self.new_options(typ.unwrap_or("none"), options, report),
            });
        }
        let bind = options.bind.or(match typ {
            Some("bind") => Some(false),
            Some("rbind") => Some(true),
            _ => None,
        });
        match (bind, typ) {
            (Some(recursive), _) => self.bind(options, recursive, report),
            (None, Some(typ)) if self.is_cgroup(typ) => {
                for (place, data) in &options.data {
                    let path = format_args!("{}.options[{place}]", self.path);
                    report.warn(path, format!("{data:?} has no effect on a cgroup mount"));
                }
                Some(MountKind::Cgroup)
            }
            (None, Some("none") | None) if options.propagation.is_some() => {
                self.no_data(options, "a change of propagation", report);
                Some(MountKind::Remount { options: Vec::new() })
            }
            (None, Some("none") | None) => {
                report.error_with(
                    format_args!("{}.type", self.path),
                    "neither a type nor the option bind or rbind",
                    "name a file system, or add bind to the options",
                );
                None
            }
            (None, Some(typ)) => Some(self.filesystem(typ, options, report)),
        }
    }

    /// Version 2 alone is the same as all there is; beside version 1 it is a file system like others.
    fn is_cgroup(&self, typ: &str) -> bool {
        let version = self.facts.host.cgroups.version;
        typ == "cgroup" || typ == "cgroup2" && version == CgroupVersion::V2
    }

    /// Where there is no file system to take it, `mode=755` and its like have no effect, as with mount(2). A word alone is more
    /// likely to be an option that is misspelt, and whoever asks for `nosuid` has to get it.
    fn no_data(&self, options: &MountOptions<'_>, what: &str, report: &mut Report) {
        for (place, data) in &options.data {
            let path = format_args!("{}.options[{place}]", self.path);
            match data.contains('=') {
                true => report.warn(path, format!("{data:?} has no effect: {what} takes no data")),
                false => report.error(path, format!("{data:?} is no mount option, and {what} takes no data")),
            }
        }
        if options.copy_up {
            report.error(format_args!("{}.options", self.path), "tmpcopyup is for tmpfs alone");
        }
    }

    fn bind(&self, options: &MountOptions<'_>, recursive: bool, report: &mut Report) -> Option<MountKind> {
        self.no_data(options, "a bind mount", report);
        for flag in options.superblock_flags() {
            let what = format!("{flag} has no effect on a bind mount");
            report.warn(format_args!("{}.options", self.path), what);
        }
        let Some(source) = self.listed.source().as_ref().filter(|source| !source.as_os_str().is_empty())
        else {
            report.error(format_args!("{}.source", self.path), "missing: a bind mount needs one");
            return None;
        };
        Some(MountKind::Bind {
            source: self.facts.options.bundle.join(source),
            recursive,
            nofollow: options.source_nofollow,
            copy_symlink: options.copy_symlink,
        })
    }

    fn filesystem(&self, fstype: &str, options: &MountOptions<'_>, report: &mut Report) -> MountKind {
        if fstype == "sysfs" && self.sysfs_is_the_hosts() {
            let what = "the network namespace is not the container's own, so the host's /sys is bound";
            report.warn(format_args!("{}.type", self.path), what);
            let source = PathBuf::from("/sys");
            return MountKind::Bind { source, recursive: true, nofollow: false, copy_symlink: false };
        }
        if options.copy_up && fstype != "tmpfs" {
            report.error(format_args!("{}.options", self.path), "tmpcopyup is for tmpfs alone");
        }
        let flag = |key: &str| FsOption { key: key.to_owned(), value: None };
        let mut all: Vec<FsOption> = options.superblock_flags().map(flag).collect();
        if options.read_only == Some(true) && !VIRTUAL.contains(&fstype) {
            all.push(flag("ro"));
        }
        if options.iversion && fstype == "ext4" {
            all.push(flag("i_version"));
        }
        all.extend(self.data(fstype, options, report));
        let source = self.listed.source().clone().filter(|source| !source.as_os_str().is_empty());
        MountKind::Filesystem { fstype: fstype.to_owned(), source, options: all, copy_up: options.copy_up }
    }

    /// What is left to the file system to understand.
    fn data(&self, fstype: &str, options: &MountOptions<'_>, report: &mut Report) -> Vec<FsOption> {
        let each = options.data.iter().flat_map(|(place, text)| apart(text).map(move |text| (place, text)));
        let each = each.map(|(place, text)| {
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (text, None),
            };
            self.check_mapped(key, value, *place, fstype, report);
            // As mount(2) takes a label; fsconfig(2) takes it without.
            let quoted = value.and_then(|value| value.strip_prefix('"')?.strip_suffix('"'));
            let value = quoted.filter(|_| key.ends_with("context")).or(value);
            FsOption { key: key.to_owned(), value: value.map(str::to_owned) }
        });
        each.collect()
    }

    /// What changes of a file system instance that is there already; what is not named stays.
    fn new_options(&self, fstype: &str, options: &MountOptions<'_>, report: &mut Report) -> Vec<FsOption> {
        if options.copy_up {
            report.error(format_args!("{}.options", self.path), "tmpcopyup is for a new tmpfs alone");
        }
        let flags = options.superblock_changes();
        let flags = flags.map(|key| FsOption { key: key.to_owned(), value: None });
        flags.chain(self.data(fstype, options, report)).collect()
    }

    /// The kernel gives a sysfs only to who owns the network namespace it shows.
    fn sysfs_is_the_hosts(&self) -> bool {
        let new = self.own.namespaces.new;
        new.contains(NamespaceKind::User) && !new.contains(NamespaceKind::Network)
    }

    fn check_mapped(&self, key: &str, value: Option<&str>, place: usize, fstype: &str, report: &mut Report) {
        let Some(IdMaps { uids, gids }) = &self.own.maps else { return };
        let maps = match key {
            "uid" if VIRTUAL.contains(&fstype) => uids,
            "gid" if VIRTUAL.contains(&fstype) => gids,
            _ => return,
        };
        if let Some(id) = value.and_then(|value| value.parse().ok())
            && !IdMaps::covers(maps, id)
        {
            let path = format_args!("{}.options[{place}]", self.path);
            report.error(path, format!("{key} {id} is not mapped in the user namespace"));
        }
    }

    fn check_place(&self, destination: &Path, kind: &MountKind, report: &mut Report) {
        let changes_only = matches!(kind, MountKind::Remount { .. });
        let path = format!("{}.destination", self.path);
        if destination == Path::new("/") && !changes_only {
            report.error(path, "nothing can be mounted over the root itself");
            return;
        }
        let Ok(below) = destination.strip_prefix("/proc") else { return };
        let below = below.to_str().unwrap_or("?");
        let right = match kind {
            MountKind::Remount { .. } => true,
            MountKind::Filesystem { fstype, .. } if fstype == "proc" => below.is_empty(),
            MountKind::Filesystem { fstype, .. } => {
                fstype == "binfmt_misc" && below == "sys/fs/binfmt_misc"
                    || below.is_empty() && fstype == "tmpfs"
            }
            MountKind::Bind { .. } => below.is_empty() || PROC_FILES.contains(&below),
            MountKind::Cgroup => false,
        };
        if !right {
            report.error(path, format!("{destination:?} cannot be mounted because it is inside /proc"));
        }
    }

    fn idmap(
        &self,
        options: &MountOptions<'_>,
        kind: &MountKind,
        report: &mut Report,
    ) -> Option<(IdMaps, bool)> {
        let request = idmap::Request {
            uids: self.listed.uid_mappings().as_deref(),
            gids: self.listed.gid_mappings().as_deref(),
            option: options.idmap,
            text: options.idmap_text,
            path: &self.path,
        };
        let user_namespace = self.own.own.contains(NamespaceKind::User);
        let found = idmap::of_mount(&request, self.own.maps.as_ref(), user_namespace, report)?;
        match kind {
            MountKind::Bind { .. } => Some(found),
            _ => {
                report.error(&self.path, "id mappings are for bind mounts alone");
                None
            }
        }
    }
}

/// Data for a file system as mount(2) would take it, several options in one: apart at each comma before another name. A comma before a
/// number (`mpol=bind:0,2`) is part of a value, and so is one behind a backslash; in a label, whose categories are like names (`c1,c2`),
/// every one in quotes, and without them every one but those before another `name=`.
fn apart(text: &str) -> impl Iterator<Item = &str> {
    let begins_option = |whole: &str, at: usize| {
        let (before, rest) = (&whole[..at], &whole[at + 1..]);
        let name = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let is_label = before.split_once('=').is_some_and(|(key, _)| key.ends_with("context"));
        let is_quoted = before.matches('"').count() % 2 == 1;
        !(is_label && is_quoted || before.ends_with('\\'))
            && rest.starts_with(|c: char| c.is_ascii_alphabetic())
            && (!is_label || rest[name..].starts_with('='))
    };
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest?;
        let cut = whole.match_indices(',').map(|(at, _)| at).find(|at| begins_option(whole, *at));
        rest = cut.map(|at| &whole[at + 1..]);
        Some(cut.map_or(whole, |at| &whole[..at]))
    })
}

/// The path without `.` and `..`, absolute.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
