//! The container's network namespace, mounted in the state directory: it is there for DEL when the container's processes are gone,
//! so that plugins see what they have to undo.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FsType, statfs};

use crate::error::{Doing, Error, Result};
use crate::process::Process;

const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// Mounts the namespace of the container's process in the container's directory.
pub fn pin(dir: &Path, init: Process) -> Result<PathBuf> {
    let source = PathBuf::from(format!("/proc/{}/ns/net", init.pid));
    let namespace = File::open(&source).doing("opening", &source)?;
    // Opened, it cannot become another one's; until then the number could.
    if !init.lives() {
        return Err(Error::Wrong(format!("the container's process {} is gone", init.pid)));
    }
    let inode = |file: &File| file.metadata().map(|meta| meta.ino()).doing("reading", &source);
    let own = Path::new("/proc/self/ns/net");
    if inode(&namespace)? == inode(&File::open(own).doing("opening", own)?)? {
        let text = "the container has no network namespace of its own: a network can only be attached to one that is not the host's";
        return Err(Error::Wrong(text.to_owned()));
    }
    let place = dir.join("netns");
    if is_pinned(&place) {
        let pinned = File::open(&place).doing("opening", &place)?;
        if inode(&pinned)? == inode(&namespace)? {
            return Ok(place);
        }
        unpin(dir)?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).open(&place).doing("making", &place)?;
    let from = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    let none = None::<&str>;
    mount(Some(from.as_str()), &place, none, MsFlags::MS_BIND, none)
        .doing("mounting the network namespace at", &place)?;
    Ok(place)
}

/// The namespace that was mounted; absent: there is none.
pub fn pinned(dir: &Path) -> Option<PathBuf> {
    Some(dir.join("netns")).filter(|place| is_pinned(place))
}

/// An empty file means that the mount did not happen, or is in another mount namespace.
fn is_pinned(place: &Path) -> bool {
    statfs(place).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}

/// Lets go of the namespace, which ends with that.
pub fn unpin(dir: &Path) -> Result<()> {
    let place = dir.join("netns");
    match umount2(&place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not mounted, or not there.
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        done => done.doing("unmounting", &place),
    }
}
