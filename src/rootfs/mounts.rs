//! One mount of the plan: made, given its attributes, attached.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::stat::SFlag;

use super::root::{Leaf, RootFd, shown};
use super::{Doing, Error, Rootfs, cgroups, propagation_flag};
use crate::plan::{AttributeChange, FsOption, Mount, MountKind, MountLabel};
use crate::sys::fd;
use crate::sys::mount::{self, FsContext, Made, MountAttr};
use crate::sys::{self, Errno, xattr};
use crate::types::NamespaceKind;

/// The message queues of an ipc namespace are one file system instance, made with the namespace: no mount option can label it.
const MQUEUE: &str = "mqueue";
const TMPFS: &str = "tmpfs";
/// What names are looked up in later.
const OWN: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), (TMPFS, "/dev")];
const CLOSED: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// What is being done, for messages: `mounting "proc" to "/proc" (mounts[0])`.
pub(super) fn doing(entry: &Mount) -> String {
    let what = match &entry.kind {
        MountKind::Filesystem { fstype, .. } => format!("{fstype:?}"),
        MountKind::Bind { source, .. } => format!("{source:?}"),
        MountKind::Cgroup => "\"cgroup\"".to_owned(),
        MountKind::Remount { .. } => {
            return format!("remounting {:?} ({})", shown(&entry.destination), entry.name);
        }
    };
    format!("mounting {what} to {:?} ({})", shown(&entry.destination), entry.name)
}

/// Performs the mount with this index.
pub(super) fn perform(work: &mut Rootfs<'_>, index: usize, entry: &Mount) -> Result<(), Error> {
    match &entry.kind {
        MountKind::Filesystem { fstype, .. } => match filesystem(work, entry) {
            Err(error) if needs_plain(fstype) && matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR) => {
                let text = format!("filesystem {fstype:?} must be mounted on ordinary directory");
                Err(Error::Refused(format!("{}: {text}", doing(entry))))
            }
            done => done.doing(|| doing(entry)),
        },
        MountKind::Bind { source: path, recursive, nofollow, copy_symlink } => {
            if *copy_symlink && copied_symlink(&work.root, entry, path)? {
                return Ok(());
            }
            let tree = match work.sources.take(index, 0).doing(|| doing(entry))? {
                Some(tree) => tree,
                None => mount::clone_tree(fd::cwd(), path, *recursive, !nofollow).doing(|| doing(entry))?,
            };
            bind(work, entry, tree).doing(|| doing(entry))
        }
        MountKind::Cgroup => cgroups::mount(work, index, entry).doing(|| doing(entry)),
        MountKind::Remount { options } => remount(&work.root, entry, options).doing(|| doing(entry)),
    }
}

/// proc and sysfs go onto real directories only: behind a symlink, what is masked later would be somewhere else (CVE-2019-19921,
/// CVE-2023-27561, CVE-2025-54867).
fn needs_plain(fstype: &str) -> bool {
    matches!(fstype, "proc" | "sysfs")
}

/// Makes a new instance of a file system, and attaches it.
fn filesystem(work: &mut Rootfs<'_>, entry: &Mount) -> sys::Result<()> {
    let MountKind::Filesystem { fstype, source, options, copy_up } = &entry.kind else { return Ok(()) };
    if let Some(made) = whole(work, entry)
        && work.places.make(&entry.destination, &made)?
    {
        if fstype == TMPFS {
            work.places.mark_empty(&entry.destination);
        }
        return Ok(());
    }
    let context = FsContext::open(fstype)?;
    if let Some(source) = source {
        context.set("source", Some(source.as_os_str().as_bytes()))?;
    }
    // devpts has had an instance for each mount since Linux 4.7, and ignores the word.
    for option in options.iter().filter(|option| option.key != "newinstance" || fstype != "devpts") {
        context.set(&option.key, option.value.as_ref().map(String::as_bytes))?;
    }
    let label = work.label.filter(|_| !needs_plain(fstype));
    if let Some(MountLabel { option, label }) = label.filter(|_| fstype != MQUEUE) {
        context.set(option, Some(label.as_bytes()))?;
    }
    let inherits_mode = fstype == TMPFS && !options.iter().any(|option| option.key == "mode");
    // A directory that is made for it has no mode to inherit: everybody may write to the tmpfs then, as is its default.
    let covered_before = if inherits_mode { work.root.find(&entry.destination).ok() } else { None };
    let covered = match inherits_mode || *copy_up || entry.destination_nofollow {
        true => Some(target(&work.root, entry, Leaf::Directory)?),
        false => None,
    };
    if let Some(covered) = covered_before {
        let mode = fd::stat(&covered)?.st_mode & 0o7777;
        context.set("mode", Some(format!("{mode:o}").as_bytes()))?;
    }
    let early = if entry.read_only_last { !libc::MOUNT_ATTR_RDONLY } else { u64::MAX };
    let made = context.mount(entry.attributes.set & early)?;
    work.spent.put(context);
    if let Some(MountLabel { label, .. }) = label.filter(|_| fstype == MQUEUE) {
        xattr::set_by_path_fd(&made, b"security.selinux", label.as_bytes())?;
    }
    if let (Some(covered), true) = (&covered, *copy_up) {
        super::copy_up::fill(covered, &made)?;
    }
    if !entry.recursive_attributes.is_empty() {
        let AttributeChange { set, clear } = entry.recursive_attributes;
        mount::set_attributes(&made, MountAttr { set, clear, ..MountAttr::default() }, true)?;
    }
    let in_root = match covered {
        Some(covered) => {
            work.places.forget();
            mount::attach(&made, covered, Path::new("")).map(|()| false)?
        }
        None => work.places.attach(&work.root, &made, &entry.destination, needs_plain(fstype))?,
    };
    if fstype == TMPFS && !copy_up {
        work.places.mark_empty(&entry.destination);
    }
    propagate(entry, &made)?;
    let alone = work.plan.namespaces.new.contains(NamespaceKind::Mount) && entry.propagation.is_none();
    match entry.read_only_last {
        true => work.read_only_last.push(made),
        false
            if in_root
                && alone
                && OWN.iter().any(|(kind, at)| fstype == kind && entry.destination == Path::new(at)) =>
        {
            work.places.own(&entry.destination, made);
        }
        false => work.spent.put(made),
    }
    Ok(())
}

/// The entry as mount(2) takes it, if it is no more than a new file system that any directory will do for.
fn whole<'a>(work: &Rootfs<'_>, entry: &'a Mount) -> Option<Made<'a>> {
    let MountKind::Filesystem { fstype, source, options, copy_up: false } = &entry.kind else { return None };
    let has_mode = options.iter().any(|option| option.key == "mode");
    let is_simple = matches!(fstype.as_str(), "devpts" | MQUEUE) || (fstype == TMPFS && has_mode);
    let attributes = entry.attributes.set;
    if !is_simple
        || work.label.is_some()
        || entry.destination_nofollow
        || entry.read_only_last
        || entry.propagation.is_some()
        || !entry.recursive_attributes.is_empty()
        || attributes & !CLOSED != 0
    {
        return None;
    }
    let mut all = String::new();
    for FsOption { key, value } in options.iter().filter(|option| option.key != "newinstance") {
        let (equals, value) = value.as_ref().map_or(("", ""), |value| ("=", value));
        if key.contains(',') || value.contains(',') {
            return None;
        }
        let comma = if all.is_empty() { "" } else { "," };
        all.extend([comma, key, equals, value]);
    }
    Some(Made { fstype, source: source.as_deref(), attributes, options: all })
}

/// Gives a copied tree its attributes, and attaches it.
fn bind(work: &mut Rootfs<'_>, entry: &Mount, tree: OwnedFd) -> sys::Result<()> {
    change(entry, &tree)?;
    match fd::file_type(&fd::stat(&tree)?) {
        SFlag::S_IFDIR if !entry.destination_nofollow => {
            work.places.attach(&work.root, &tree, &entry.destination, false).map(drop)?;
        }
        kind => {
            let leaf = if kind == SFlag::S_IFDIR { Leaf::Directory } else { Leaf::File };
            if leaf == Leaf::Directory {
                work.places.forget();
            }
            mount::attach(&tree, target(&work.root, entry, leaf)?, Path::new(""))?;
        }
    }
    propagate(entry, &tree)?;
    work.spent.put(tree);
    Ok(())
}

/// Changes what is mounted already: the mount, and where there are options the file system instance.
fn remount(root: &RootFd, entry: &Mount, options: &[FsOption]) -> sys::Result<()> {
    let target = root.find(&entry.destination)?;
    if !options.is_empty() {
        let context = FsContext::pick(&target)?;
        for option in options {
            context.set(&option.key, option.value.as_ref().map(String::as_bytes))?;
        }
        context.reconfigure()?;
    }
    change(entry, &target)?;
    propagate(entry, &target)
}

/// What a mount covers; made if missing.
fn target(root: &RootFd, entry: &Mount, leaf: Leaf) -> sys::Result<OwnedFd> {
    if !entry.destination_nofollow {
        return root.find_or_make(&entry.destination, leaf);
    }
    match root.find_nofollow(&entry.destination) {
        Err(error) if error.errno == Errno::ENOENT => root.find_or_make(&entry.destination, leaf),
        done => done,
    }
}

fn propagate(entry: &Mount, made: impl AsFd) -> sys::Result<()> {
    let Some(propagation) = entry.propagation else { return Ok(()) };
    let change = MountAttr { propagation: propagation_flag(propagation.kind), ..MountAttr::default() };
    mount::set_attributes(&made, change, propagation.recursive)
}

/// Sets attributes of a mount, first those of the whole tree, then its own.
fn change(entry: &Mount, made: impl AsFd) -> sys::Result<()> {
    for (attributes, recursive) in [(entry.recursive_attributes, true), (entry.attributes, false)] {
        if !attributes.is_empty() {
            let AttributeChange { set, clear } = attributes;
            mount::set_attributes(&made, MountAttr { set, clear, ..MountAttr::default() }, recursive)?;
        }
    }
    Ok(())
}

/// `copy-symlink`: a source that is a symlink is made again at the destination. False: it is something else.
fn copied_symlink(root: &RootFd, entry: &Mount, source: &Path) -> Result<bool, Error> {
    let target = match fd::read_link(fd::cwd(), source) {
        Ok(target) => target,
        Err(error) if error.errno == Errno::EINVAL => return Ok(false),
        Err(error) => return Err(error).doing(|| doing(entry)),
    };
    let (dir, name) = root.parent(&entry.destination).doing(|| doing(entry))?;
    match fd::symlink(&dir, name, &target) {
        Err(error) if error.errno == Errno::EEXIST => {
            match fd::read_link(&dir, name).doing(|| doing(entry))? == target {
                true => Ok(true),
                false => Err(Error::Refused(format!("{}: another symlink exists", doing(entry)))),
            }
        }
        done => done.doing(|| doing(entry)).map(|()| true),
    }
}
