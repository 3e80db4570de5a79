//! Masked and read-only paths. The cover for a file is the host's null device, verified, opened before anything of the container
//! could be in its place (CVE-2025-31133); directories are covered by one empty read-only tmpfs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::place::{Places, Spent};
use super::root::{RootFd, shown};
use super::{Doing, Error, Sources};
use crate::plan::Mount;
use crate::sys::fd::{self, Resolve};
use crate::sys::mount::{self, FsContext, Made, MountAttr, SLAVE};
use crate::sys::{self, Errno, directory};

const NULL_DEVICE: (u64, u64) = (1, 3);
const COVER: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
/// Directories that a procfs has had as long as there have been containers: no symlinks, which would have to be followed.
const PLAIN_IN_PROC: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];

/// Covers each path that exists. Anything but a path's absence is an error: one that cannot be masked must not be left open.
pub(super) fn hide(
    root: &RootFd,
    places: &Places,
    sources: &mut Sources,
    paths: &[PathBuf],
    spent: &mut Spent,
) -> Result<(), Error> {
    let mut covers = Covers::default();
    for path in paths {
        let doing = || format!("masking {:?}", shown(path));
        let Some((target, kind)) = find(root, places, path).doing(doing)? else { continue };
        covers.attach(target, kind == SFlag::S_IFDIR, sources, spent).doing(doing)?;
    }
    covers.file.into_iter().chain(covers.directory).for_each(|cover| cover.spend(spent));
    Ok(())
}

/// Binds each path that exists over itself, read-only, with all that is mounted below. Where `mounts` has something there, which stays as
/// it was asked for, so does all else that is mounted below.
pub(super) fn read_only(
    root: &RootFd,
    places: &Places,
    paths: &[PathBuf],
    mounts: &[Mount],
    spent: &mut Spent,
) -> Result<(), Error> {
    for path in paths {
        let doing = || format!("making {:?} read-only", shown(path));
        let target = match places.in_own(path) {
            Some((proc, name)) if PLAIN_IN_PROC.iter().any(|plain| path == Path::new(plain)) => {
                Target::Name(proc, name)
            }
            _ => match root.find_if_there(path).doing(doing)? {
                Some(found) => Target::Open(found),
                None => continue,
            },
        };
        let (dir, name) = target.place();
        let change = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        let is_below = |mount: &Mount| mount.destination.starts_with(path) && mount.destination != *path;
        let tree = match mounts.iter().any(is_below) {
            true => mount::clone_tree(dir, name, true, false)
                .and_then(|tree| mount::set_attributes(&tree, change, false).map(|()| tree)),
            false => mount::clone_tree_with(change, dir, name, true),
        };
        let tree = match tree {
            // A kernel without it.
            Err(error) if error.errno == Errno::ENOENT && !name.as_os_str().is_empty() => continue,
            tree => tree.doing(doing)?,
        };
        mount::attach(&tree, dir, name).doing(doing)?;
        spent.put(tree);
        target.spend(spent);
    }
    Ok(())
}

/// What is covered: an open file, or one name in a file system that keg has made.
enum Target<'a> {
    Open(OwnedFd),
    Name(&'a OwnedFd, &'a Path),
}

impl Target<'_> {
    fn place(&self) -> (BorrowedFd<'_>, &Path) {
        match self {
            Self::Open(file) => (file.as_fd(), Path::new("")),
            Self::Name(dir, name) => (dir.as_fd(), name),
        }
    }

    fn spend(self, spent: &mut Spent) {
        match self {
            Self::Open(file) => spent.put(file),
            Self::Name(..) => {}
        }
    }
}

/// What `path` leads to, if to anything, and its type.
fn find<'a>(root: &RootFd, places: &'a Places, path: &'a Path) -> sys::Result<Option<(Target<'a>, SFlag)>> {
    if let Some((dir, name)) = places.in_own(path) {
        match fd::stat_if_there(dir, name)?.map(|stat| fd::file_type(&stat)) {
            None => return Ok(None),
            Some(SFlag::S_IFLNK) => {}
            Some(kind) => return Ok(Some((Target::Name(dir, name), kind))),
        }
    }
    let Some(found) = root.find_if_there(path)? else { return Ok(None) };
    let kind = fd::file_type(&fd::stat(&found)?);
    Ok(Some((Target::Open(found), kind)))
}

/// Covers, made when first needed. The first one of each kind is kept: the others are copies of it, with its attributes.
#[derive(Default)]
struct Covers<'a> {
    file: Option<Target<'a>>,
    directory: Option<Target<'a>>,
}

impl<'a> Covers<'a> {
    fn attach(
        &mut self,
        target: Target<'a>,
        is_directory: bool,
        sources: &mut Sources,
        spent: &mut Spent,
    ) -> sys::Result<()> {
        let (dir, name) = target.place();
        let first = if is_directory { &mut self.directory } else { &mut self.file };
        if let Some(attached) = first {
            let (from, covered) = attached.place();
            let copy = mount::clone_tree(from, covered, false, false)?;
            mount::attach(&copy, dir, name)?;
            spent.put(copy);
            target.spend(spent);
            return Ok(());
        }
        let made = match (is_directory, &target) {
            (true, Target::Name(dir, name)) if cover_by_name(dir, name)? => {
                *first = Some(target);
                return Ok(());
            }
            (true, _) => empty_directory(spent)?,
            (false, _) => sources.take_null()?.map_or_else(|| null_file(spent), Ok)?,
        };
        mount::attach(&made, dir, name)?;
        *first = Some(Target::Open(made));
        target.spend(spent);
        Ok(())
    }
}

/// The empty read-only tmpfs over a directory that no symlink is in the place of. False: it has to be made the other way.
fn cover_by_name(dir: &OwnedFd, name: &Path) -> sys::Result<bool> {
    let (fstype, options) = ("tmpfs", "nr_inodes=2".to_owned());
    let what = Made { fstype, source: Some(Path::new(fstype)), attributes: COVER, options };
    directory::change_dir(dir)?;
    Ok(mount::make_here(name, &what).is_ok())
}

/// A copy of the mount of the null device, detached and read-only. What is mounted over it is not seen on the host.
pub(super) fn null_file(spent: &mut Spent) -> sys::Result<OwnedFd> {
    let null = null_device(Path::new("/dev/null"))?;
    let change = MountAttr { set: COVER & !libc::MOUNT_ATTR_NODEV, ..SLAVE };
    let cover = mount::clone_tree_with(change, &null, Path::new(""), false)?;
    spent.put(null);
    Ok(cover)
}

/// An empty read-only tmpfs, detached.
fn empty_directory(spent: &mut Spent) -> sys::Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set("source", Some(b"tmpfs"))?;
    context.set("nr_inodes", Some(b"2"))?;
    let cover = context.mount(COVER)?;
    spent.put(context);
    Ok(cover)
}

/// The host's null device, if it is one.
pub(super) fn null_device(path: &Path) -> sys::Result<OwnedFd> {
    let null = fd::open(fd::cwd(), path, Resolve::Host, OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)?;
    match is_device(&null, SFlag::S_IFCHR, NULL_DEVICE)? {
        true => Ok(null),
        false => Err(sys::Error { call: format!("open({path:?}) as the null device"), errno: Errno::ENODEV }),
    }
}

/// Whether `file` is this very device.
pub(super) fn is_device(file: impl AsFd, kind: SFlag, (major, minor): (u64, u64)) -> sys::Result<bool> {
    let stat = fd::stat(file)?;
    let device = (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev));
    Ok(fd::file_type(&stat) == kind && device == (major, minor))
}
