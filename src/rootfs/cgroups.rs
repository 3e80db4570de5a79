//! The container's part of the cgroup hierarchies, bound from the host's mounts: nothing above the container's own cgroup can be
//! reached (CVE-2023-25809).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::Rootfs;
use crate::plan::cgroup::DirectoryPlan;
use crate::plan::{Mount, MountLabel};
use crate::sys::fd;
use crate::sys::mount::{self, FsContext, Made, MountAttr};
use crate::sys::{self, Errno};
use crate::types::{CgroupVersion, NamespaceKind};

/// On version 2 one bind; on version 1 and hybrid a small tmpfs with a bind for each hierarchy, named as the host names them, and
/// links from single controllers to the hierarchy that has them together.
pub(super) fn mount(work: &mut Rootfs<'_>, index: usize, entry: &Mount) -> sys::Result<()> {
    let cgroup = &work.plan.cgroup;
    let set = entry.attributes.set & !libc::MOUNT_ATTR__ATIME;
    let attributes = MountAttr { set, ..MountAttr::default() };
    if let (CgroupVersion::V2, [only]) = (cgroup.version, cgroup.directories.as_slice()) {
        let tree = match work.sources.take(index, 0)? {
            Some(tree) => mount::set_attributes(&tree, attributes, false).map(|()| tree)?,
            None => mount::clone_tree_with(attributes, fd::cwd(), &only.path(), false)?,
        };
        return work.places.attach(&work.root, &tree, &entry.destination, false).map(drop);
    }
    let (tmpfs, attached) = match attached_tmpfs(work, entry)? {
        Some(tmpfs) => (tmpfs, true),
        None => (detached_tmpfs(work)?, false),
    };
    let named = |directory: &DirectoryPlan| directory.mount.file_name().map(PathBuf::from);
    for directory in &cgroup.directories {
        let Some(name) = named(directory) else { continue };
        fd::mkdir(&tmpfs, &name, 0o755)?;
        let single = directory.hierarchy.split(',').filter(|name| !name.contains('=') && !name.is_empty());
        for controller in single.map(Path::new).filter(|controller| *controller != name) {
            match fd::symlink(&tmpfs, controller, &name) {
                Err(error) if error.errno != Errno::EEXIST => return Err(error),
                _ => {}
            }
        }
    }
    // A mount that is in no namespace takes no others before Linux 6.15.
    if !attached {
        work.places.attach(&work.root, &tmpfs, &entry.destination, false)?;
    }
    bind_hierarchies(work, index, &tmpfs)?;
    // All of them at once: until init lets the program run, nobody else is in this mount namespace.
    mount::set_attributes(&tmpfs, attributes, true)?;
    let later = work.plan.mounts.iter().skip_while(|mount| !std::ptr::eq(*mount, entry)).skip(1);
    let below = later.filter(|mount| mount.destination.starts_with(&entry.destination)).count();
    if below > 0 && set & libc::MOUNT_ATTR_RDONLY != 0 {
        // Their mount points have to be made first.
        let writable = MountAttr { clear: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        mount::set_attributes(&tmpfs, writable, false)?;
        work.read_only_last.push(tmpfs);
    } else {
        work.spent.put(tmpfs);
    }
    Ok(())
}

const CLOSED: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// The tmpfs that holds the hierarchies, mounted by name over the directory that the kernel has for it in the sysfs that keg has mounted.
fn attached_tmpfs(work: &mut Rootfs<'_>, entry: &Mount) -> sys::Result<Option<OwnedFd>> {
    if work.label.is_some() || entry.destination != Path::new("/sys/fs/cgroup") {
        return Ok(None);
    }
    let (source, options) = (Some(Path::new("cgroup")), "mode=755".to_owned());
    let what = Made { fstype: "tmpfs", source, attributes: CLOSED, options };
    work.places.make_over(Path::new("/sys"), Path::new("fs/cgroup"), &what)
}

fn detached_tmpfs(work: &mut Rootfs<'_>) -> sys::Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set("source", Some(b"cgroup"))?;
    context.set("mode", Some(b"755"))?;
    if let Some(MountLabel { option, label }) = work.label {
        context.set(option, Some(label.as_bytes()))?;
    }
    let tmpfs = context.mount(CLOSED)?;
    work.spent.put(context);
    Ok(tmpfs)
}

/// Binds each hierarchy over its directory in `tmpfs`.
fn bind_hierarchies(work: &mut Rootfs<'_>, index: usize, tmpfs: &OwnedFd) -> sys::Result<()> {
    let mut binds = Vec::new();
    for (n, directory) in work.plan.cgroup.directories.iter().enumerate() {
        let Some(name) = directory.mount.file_name().map(Path::new) else { continue };
        let tree = match work.sources.take(index, n)? {
            // Nobody else is in it.
            None if work.plan.namespaces.new.contains(NamespaceKind::Mount) => {
                binds.push((name, directory.path()));
                continue;
            }
            Some(tree) => tree,
            None => mount::clone_tree(fd::cwd(), &directory.path(), false, false)?,
        };
        mount::attach(&tree, tmpfs, name)?;
        work.spent.put(tree);
    }
    match binds.is_empty() {
        true => Ok(()),
        false => work.places.bind(tmpfs, &binds),
    }
}
