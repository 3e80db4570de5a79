//! One mount of the plan: made, given its attributes, attached.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::stat::SFlag;

use super::root::{Leaf, RootFd, shown};
use super::{Doing, Error, cgroups, propagation_flag};
use crate::plan::cgroup::CgroupPlan;
use crate::plan::{AttributeChange, FsOption, Mount, MountKind};
use crate::sys::fd;
use crate::sys::mount::{self, FsContext, MountAttr};
use crate::sys::{self, Errno};

/// What is being done, for messages: `mounting "proc" to "/proc" (mounts[0])`.
pub(super) fn doing(entry: &Mount) -> String {
    let what = match &entry.kind {
        MountKind::Filesystem { fstype, .. } => format!("{fstype:?}"),
        MountKind::Bind { source, .. } => format!("{source:?}"),
        MountKind::Cgroup => "\"cgroup\"".to_owned(),
        MountKind::Remount => return format!("remounting {:?} ({})", shown(&entry.destination), entry.name),
    };
    format!("mounting {what} to {:?} ({})", shown(&entry.destination), entry.name)
}

/// Performs one mount. `source` is a tree that was opened before.
pub(super) fn perform(
    root: &RootFd,
    entry: &Mount,
    source: Option<OwnedFd>,
    cgroup: &CgroupPlan,
) -> Result<(), Error> {
    match &entry.kind {
        MountKind::Filesystem { fstype, source, options, copy_up } => {
            let target = filesystem_target(root, entry, fstype)?;
            let made =
                filesystem(fstype, source.as_deref(), options, entry, &target).doing(|| doing(entry))?;
            if *copy_up {
                super::copy_up::fill(&target, &made).doing(|| doing(entry))?;
            }
            finish(entry, &made, &target)
        }
        MountKind::Bind { source: path, recursive, nofollow, copy_symlink } => {
            if *copy_symlink && copied_symlink(root, entry, path)? {
                return Ok(());
            }
            let tree = match source {
                Some(tree) => tree,
                None => mount::clone_tree(fd::cwd(), path, *recursive, !nofollow).doing(|| doing(entry))?,
            };
            let stat = fd::stat(&tree).doing(|| doing(entry))?;
            let leaf = match fd::file_type(&stat) {
                SFlag::S_IFDIR => Leaf::Directory,
                _ => Leaf::File,
            };
            finish(entry, &tree, &find_target(root, entry, leaf)?)
        }
        MountKind::Cgroup => {
            let target = find_target(root, entry, Leaf::Directory)?;
            cgroups::mount(entry, &target, cgroup).doing(|| doing(entry))
        }
        MountKind::Remount => {
            let target = root.find(&entry.destination).doing(|| doing(entry))?;
            change(entry, &target).doing(|| doing(entry))
        }
    }
}

/// Where a mount goes; made if missing.
fn find_target(root: &RootFd, entry: &Mount, leaf: Leaf) -> Result<OwnedFd, Error> {
    let found = match entry.destination_nofollow {
        true => match root.find_nofollow(&entry.destination) {
            Err(error) if error.errno == Errno::ENOENT => root.find_or_make(&entry.destination, leaf),
            done => done,
        },
        false => root.find_or_make(&entry.destination, leaf),
    };
    found.doing(|| doing(entry))
}

/// proc and sysfs go onto real directories only: behind a symlink, what is masked later would be somewhere else (CVE-2019-19921,
/// CVE-2023-27561, CVE-2025-54867).
fn filesystem_target(root: &RootFd, entry: &Mount, fstype: &str) -> Result<OwnedFd, Error> {
    if !matches!(fstype, "proc" | "sysfs") {
        return find_target(root, entry, Leaf::Directory);
    }
    match root.plain_directory(&entry.destination) {
        Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR) => Err(Error::Refused(format!(
            "{}: filesystem {fstype:?} must be mounted on ordinary directory",
            doing(entry)
        ))),
        done => done.doing(|| doing(entry)),
    }
}

/// Makes a new instance of a file system, detached.
fn filesystem(
    fstype: &str,
    source: Option<&Path>,
    options: &[FsOption],
    entry: &Mount,
    target: impl AsFd,
) -> sys::Result<OwnedFd> {
    let context = FsContext::open(fstype)?;
    if let Some(source) = source {
        context.set("source", Some(source.as_os_str().as_bytes()))?;
    }
    for option in options {
        context.set(&option.key, option.value.as_ref().map(String::as_bytes))?;
    }
    if fstype == "tmpfs" && !options.iter().any(|option| option.key == "mode") {
        let mode = fd::stat(target)?.st_mode & 0o7777;
        context.set("mode", Some(format!("{mode:o}").as_bytes()))?;
    }
    context.mount(entry.attributes.set & !libc::MOUNT_ATTR__ATIME | atime(entry.attributes))
}

/// The access-time mode among the bits; "relative" is zero.
fn atime(attributes: AttributeChange) -> u64 {
    attributes.set & libc::MOUNT_ATTR__ATIME
}

/// Attributes, propagation, and at last the place.
fn finish(entry: &Mount, made: impl AsFd, target: impl AsFd) -> Result<(), Error> {
    if !matches!(entry.kind, MountKind::Filesystem { .. }) {
        change(entry, &made).doing(|| doing(entry))?;
    } else if !entry.recursive_attributes.is_empty() {
        let AttributeChange { set, clear } = entry.recursive_attributes;
        let change = MountAttr { set, clear, ..MountAttr::default() };
        mount::set_attributes(&made, change, true).doing(|| doing(entry))?;
    }
    mount::attach(&made, target, Path::new("")).doing(|| doing(entry))?;
    if let Some(propagation) = entry.propagation {
        let change = MountAttr { propagation: propagation_flag(propagation.kind), ..MountAttr::default() };
        mount::set_attributes(&made, change, propagation.recursive).doing(|| doing(entry))?;
    }
    Ok(())
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
