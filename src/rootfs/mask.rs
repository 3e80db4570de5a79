//! Masked and read-only paths. The cover for a file is the host's null device, verified, opened before anything of the container
//! could be in its place (CVE-2025-31133); directories are covered by one empty read-only tmpfs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::root::{RootFd, shown};
use super::{Doing, Error};
use crate::sys::fd::{self, Resolve};
use crate::sys::mount::{self, FsContext, MountAttr};
use crate::sys::{self, Errno};

const NULL_DEVICE: (u64, u64) = (1, 3);

/// Covers each path that exists. Anything but its absence is an error: a path that cannot be masked must not be left open.
pub(super) fn hide(root: &RootFd, paths: &[PathBuf]) -> Result<(), Error> {
    let mut covers = Covers::default();
    for path in paths {
        let doing = || format!("masking {:?}", shown(path));
        let target = match root.find(path) {
            Err(error) if error.errno == Errno::ENOENT || error.errno == Errno::ENOTDIR => continue,
            found => found.doing(doing)?,
        };
        let cover = match fd::file_type(&fd::stat(&target).doing(doing)?) {
            SFlag::S_IFDIR => covers.directory(),
            _ => covers.file(),
        };
        mount::attach(&cover.doing(doing)?, &target, Path::new("")).doing(doing)?;
    }
    Ok(())
}

/// Binds each path that exists over itself, read-only.
pub(super) fn read_only(root: &RootFd, paths: &[PathBuf]) -> Result<(), Error> {
    for path in paths {
        let doing = || format!("making {:?} read-only", shown(path));
        let target = match root.find(path) {
            Err(error) if error.errno == Errno::ENOENT || error.errno == Errno::ENOTDIR => continue,
            found => found.doing(doing)?,
        };
        let tree = mount::clone_tree(&target, Path::new(""), true, false).doing(doing)?;
        let change = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        mount::set_attributes(&tree, change, true).doing(doing)?;
        mount::attach(&tree, &target, Path::new("")).doing(doing)?;
    }
    Ok(())
}

/// Covers, made when first needed. The first one of each kind is kept: the others are copies of it, with its attributes.
#[derive(Debug, Default)]
struct Covers {
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
}

impl Covers {
    fn file(&mut self) -> sys::Result<OwnedFd> {
        let source = match &self.file {
            Some(attached) => return mount::clone_tree(attached, Path::new(""), false, false),
            None => null_device()?,
        };
        let cover = mount::clone_tree(source, Path::new(""), false, false)?;
        let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
        mount::set_attributes(&cover, MountAttr { set, ..MountAttr::default() }, false)?;
        self.file = Some(fd::duplicate(&cover)?);
        Ok(cover)
    }

    fn directory(&mut self) -> sys::Result<OwnedFd> {
        if let Some(attached) = &self.directory {
            return mount::clone_tree(attached, Path::new(""), false, false);
        }
        let context = FsContext::open("tmpfs")?;
        context.set("source", Some(b"tmpfs"))?;
        context.set("ro", None)?;
        context.set("nr_inodes", Some(b"2"))?;
        context.set("mode", Some(b"755"))?;
        let all = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        let cover = context.mount(all)?;
        self.directory = Some(fd::duplicate(&cover)?);
        Ok(cover)
    }
}

/// The host's `/dev/null`, which must be the null device.
fn null_device() -> sys::Result<OwnedFd> {
    let null =
        fd::open(fd::cwd(), Path::new("/dev/null"), Resolve::Host, OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)?;
    match is_device(&null, SFlag::S_IFCHR, NULL_DEVICE)? {
        true => Ok(null),
        false => Err(sys::Error {
            call: "open(\"/dev/null\") as the null device".to_owned(),
            errno: Errno::ENODEV,
        }),
    }
}

/// Whether `file` is this very device.
pub(super) fn is_device(file: impl AsFd, kind: SFlag, (major, minor): (u64, u64)) -> sys::Result<bool> {
    let stat = fd::stat(file)?;
    let device = (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev));
    Ok(fd::file_type(&stat) == kind && device == (major, minor))
}
