//! The container's part of the cgroup hierarchies, bound from the host's mounts: nothing above the container's own cgroup can be
//! reached (CVE-2023-25809).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::plan::Mount;
use crate::plan::cgroup::CgroupPlan;
use crate::sys::fd;
use crate::sys::mount::{self, FsContext, MountAttr};
use crate::sys::{self, Errno};
use crate::types::CgroupVersion;

/// On version 2 one bind; on version 1 and hybrid a small tmpfs with a bind for each hierarchy, named as the host names them, and
/// links from single controllers to the hierarchy that has them together.
pub(super) fn mount(entry: &Mount, target: impl AsFd, cgroup: &CgroupPlan) -> sys::Result<()> {
    if let (CgroupVersion::V2, [only]) = (cgroup.version, cgroup.directories.as_slice()) {
        return mount::attach(bind(&only.path(), entry)?, target, Path::new(""));
    }
    let context = FsContext::open("tmpfs")?;
    context.set("source", Some(b"cgroup"))?;
    context.set("mode", Some(b"755"))?;
    let tmpfs = context.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC)?;
    for directory in &cgroup.directories {
        let Some(name) = directory.mount.file_name().map(Path::new) else { continue };
        fd::mkdir(&tmpfs, name, 0o755)?;
        let single = directory.hierarchy.split(',').filter(|name| !name.contains('=') && !name.is_empty());
        for controller in single.map(Path::new).filter(|controller| *controller != name) {
            match fd::symlink(&tmpfs, controller, name) {
                Err(error) if error.errno != Errno::EEXIST => return Err(error),
                _ => {}
            }
        }
    }
    mount::attach(&tmpfs, target, Path::new(""))?;
    for directory in &cgroup.directories {
        let Some(name) = directory.mount.file_name().map(Path::new) else { continue };
        mount::attach(bind(&directory.path(), entry)?, &tmpfs, name)?;
    }
    let read_only = entry.attributes.set & libc::MOUNT_ATTR_RDONLY;
    mount::set_attributes(&tmpfs, MountAttr { set: read_only, ..MountAttr::default() }, false)
}

fn bind(directory: &Path, entry: &Mount) -> sys::Result<OwnedFd> {
    let tree = mount::clone_tree(fd::cwd(), directory, false, false)?;
    let change = MountAttr { set: entry.attributes.set & !libc::MOUNT_ATTR__ATIME, ..MountAttr::default() };
    mount::set_attributes(&tree, change, false)?;
    Ok(tree)
}
