//! Masked and read-only paths. The cover for a file is the host's null device, verified, opened before anything of the container
//! could be in its place (CVE-2025-31133); directories are covered by one empty read-only tmpfs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::place::Spent;
use super::root::{RootFd, shown};
use super::{Doing, Error};
use crate::plan::Mount;
use crate::sys::fd::{self, Resolve};
use crate::sys::mount::{self, FsContext, MountAttr};
use crate::sys::{self, Errno};

const NULL_DEVICE: (u64, u64) = (1, 3);

/// Covers each path that exists, files with `null` if that was made before. Anything but a path's absence is an error: one that cannot be
/// masked must not be left open.
pub(super) fn hide(
    root: &RootFd,
    null: Option<OwnedFd>,
    paths: &[PathBuf],
    spent: &mut Spent,
) -> Result<(), Error> {
    let mut covers = Covers { null, ..Covers::default() };
    for path in paths {
        let doing = || format!("masking {:?}", shown(path));
        let Some(target) = root.find_if_there(path).doing(doing)? else { continue };
        let kind = fd::file_type(&fd::stat(&target).doing(doing)?);
        covers.attach(&target, kind == SFlag::S_IFDIR, spent).doing(doing)?;
        spent.put(target);
    }
    covers.file.into_iter().chain(covers.directory).for_each(|cover| spent.put(cover));
    Ok(())
}

/// Binds each path that exists over itself, read-only, with all that is mounted below. Where `mounts` has something there, which stays as
/// it was asked for, so does all else that is mounted below.
pub(super) fn read_only(
    root: &RootFd,
    paths: &[PathBuf],
    mounts: &[Mount],
    spent: &mut Spent,
) -> Result<(), Error> {
    for path in paths {
        let doing = || format!("making {:?} read-only", shown(path));
        let Some(target) = root.find_if_there(path).doing(doing)? else { continue };
        let change = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        let is_below = |mount: &Mount| mount.destination.starts_with(path) && mount.destination != *path;
        let tree = if mounts.iter().any(is_below) {
            let tree = mount::clone_tree(&target, Path::new(""), true, false).doing(doing)?;
            mount::set_attributes(&tree, change, false).doing(doing)?;
            tree
        } else {
            mount::clone_tree_with(change, &target, Path::new(""), true).doing(doing)?
        };
        mount::attach(&tree, &target, Path::new("")).doing(doing)?;
        spent.put(tree);
        spent.put(target);
    }
    Ok(())
}

/// Covers, made when first needed. The first one of each kind is kept: the others are copies of it, with its attributes.
#[derive(Debug, Default)]
struct Covers {
    null: Option<OwnedFd>,
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
}

impl Covers {
    fn attach(&mut self, target: impl AsFd, is_directory: bool, spent: &mut Spent) -> sys::Result<()> {
        let first = if is_directory { &mut self.directory } else { &mut self.file };
        if let Some(attached) = first {
            let copy = mount::clone_tree(attached, Path::new(""), false, false)?;
            mount::attach(&copy, target, Path::new(""))?;
            spent.put(copy);
            return Ok(());
        }
        let made = match self.null.take_if(|_| !is_directory) {
            Some(null) => null,
            None if is_directory => empty_directory(spent)?,
            None => null_file(spent)?,
        };
        mount::attach(&made, target, Path::new(""))?;
        *first = Some(made);
        Ok(())
    }
}

/// A copy of the mount of the null device, detached and read-only.
pub(super) fn null_file(spent: &mut Spent) -> sys::Result<OwnedFd> {
    let null = null_device()?;
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    let change = MountAttr { set, ..MountAttr::default() };
    let cover = mount::clone_tree_with(change, &null, Path::new(""), false)?;
    spent.put(null);
    Ok(cover)
}

/// An empty read-only tmpfs, detached.
fn empty_directory(spent: &mut Spent) -> sys::Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set("source", Some(b"tmpfs"))?;
    context.set("nr_inodes", Some(b"2"))?;
    let cover = context.mount(
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC,
    )?;
    spent.put(context);
    Ok(cover)
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
