//! `tmpcopyup`: a new tmpfs starts with a copy of the directory that it covers.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};

use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno};

/// No image nests directories deeper where a tmpfs goes.
const MAX_DEPTH: usize = 128;

/// Copies what is in `from` into the detached mount `to`: types, owners, modes, contents.
pub(super) fn fill(from: impl AsFd, to: impl AsFd) -> sys::Result<()> {
    let from = directory(&from, Path::new("."))?;
    let to = directory(&to, Path::new("."))?;
    copy_directory(&from, &to, 0)
}

fn directory(dir: impl AsFd, name: &Path) -> sys::Result<OwnedFd> {
    fd::open(dir, name, Resolve::Beneath, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, 0)
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: usize) -> sys::Result<()> {
    if depth > MAX_DEPTH {
        return Err(sys::Error { call: "copy of a directory tree".to_owned(), errno: Errno::ELOOP });
    }
    for name in fd::list(from)? {
        let stat = fd::stat_at(from, &name)?;
        copy_one(from, to, &name, &stat, depth)?;
        fd::chown(to, &name, stat.st_uid, stat.st_gid)?;
        if fd::file_type(&stat) != SFlag::S_IFLNK {
            fd::chmod_at(to, &name, stat.st_mode & 0o7777)?;
        }
    }
    Ok(())
}

fn copy_one(from: &OwnedFd, to: &OwnedFd, name: &Path, stat: &FileStat, depth: usize) -> sys::Result<()> {
    match fd::file_type(stat) {
        SFlag::S_IFDIR => {
            fd::mkdir(to, name, 0o700)?;
            copy_directory(&directory(from, name)?, &directory(to, name)?, depth + 1)
        }
        SFlag::S_IFLNK => fd::symlink(to, name, &fd::read_link(from, name)?),
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            let source = fd::open(from, name, Resolve::Beneath, flags, 0)?;
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            fd::copy(&source, fd::open(to, name, Resolve::Beneath, flags, 0o600)?)
        }
        kind => {
            let device = (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev));
            fd::mknod(to, name, kind, 0o600, device.0, device.1)
        }
    }
}
