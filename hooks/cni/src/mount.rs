//! Puts files of the host on places in the container: as read-only mounts in its mount namespace, so that a root directory that is
//! read-only or shared with others stays as it is. No symbolic link of the image is followed on the way.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::fchdir;

use crate::error::{Doing, Error, Result};
use crate::sys;

/// Mounts each file on that name in `/etc`. `root` is the container's root directory, as the host sees it.
pub fn attach(files: &[(PathBuf, &'static str)], pid: i32, root: &Path) -> Result<()> {
    let mut mounts = Vec::new();
    for (source, name) in files {
        let mount = sys::clone_mount(source).doing("copying the mount of", source)?;
        sys::restrict_mount(&mount).doing("making read-only", source)?;
        mounts.push((mount, *name));
    }
    let own = Namespace::of("self")?;
    let container = Namespace::of(&pid.to_string())?;
    if own.is(&container)? {
        let text = "the container has no mount namespace of its own: no file can be mounted into it (--files none does without)";
        return Err(Error::Wrong(text.to_owned()));
    }
    let host = identity("/")?;
    container.enter()?;
    let done = attach_inside(&mounts, &host, root);
    own.enter()?;
    done
}

fn attach_inside(mounts: &[(OwnedFd, &str)], host: &(u64, u64), root: &Path) -> Result<()> {
    // Until the runtime has entered the container's root, the namespace looks like the host's.
    let root = if identity("/")? == *host { root } else { Path::new("/") };
    let dir = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = openat2(AT_FDCWD, root, OpenHow::new().flags(dir)).doing("opening", root)?;
    let etc = match open(&opened, "etc", dir) {
        Err(Errno::ENOENT) => {
            mkdirat(&opened, "etc", Mode::from_bits_truncate(0o755)).doing("making", &root.join("etc"))?;
            open(&opened, "etc", dir)
        }
        etc => etc,
    };
    let etc = etc.doing("opening", &root.join("etc"))?;
    mounts.iter().try_for_each(|(mount, name)| {
        let path = root.join("etc").join(name);
        let place = free_place(&etc, name).doing("opening", &path)?;
        sys::attach_mount(mount, &place).doing("mounting on", &path)
    })
}

/// What there is of this name, without the mounts of an earlier attachment: their files are gone.
fn free_place(etc: &OwnedFd, name: &str) -> nix::Result<OwnedFd> {
    loop {
        let found = place(etc, name)?;
        if fstat(&found)?.st_nlink > 0 {
            return Ok(found);
        }
        fchdir(etc)?;
        umount2(name, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
}

/// The file, or the link itself; an empty file where there is none.
fn place(etc: &OwnedFd, name: &str) -> nix::Result<OwnedFd> {
    let path = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = match open(etc, name, path) {
        Err(Errno::ENOENT) => {
            let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match open(etc, name, new) {
                // Somebody who shares the root directory was faster.
                Err(errno) if errno != Errno::EEXIST => return Err(errno),
                _ => open(etc, name, path)?,
            }
        }
        found => found?,
    };
    let kind = SFlag::from_bits_truncate(fstat(&found)?.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFDIR { Err(Errno::EISDIR) } else { Ok(found) }
}

/// Below a directory that is the root for this walk; a link on the way is ELOOP.
fn open(dir: impl AsFd, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let resolve =
        ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let mode = if flags.contains(OFlag::O_CREAT) { 0o644 } else { 0 };
    let how = OpenHow::new().flags(flags).mode(Mode::from_bits_truncate(mode)).resolve(resolve);
    loop {
        match openat2(&dir, name, how) {
            // A rename was under way.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Device and inode of a directory of the present mount namespace.
fn identity(path: &str) -> Result<(u64, u64)> {
    let meta = std::fs::metadata(path).doing("reading", Path::new(path))?;
    Ok((meta.dev(), meta.ino()))
}

/// A mount namespace.
struct Namespace(File, PathBuf);

impl Namespace {
    fn of(process: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/proc/{process}/ns/mnt"));
        Ok(Self(File::open(&path).doing("opening", &path)?, path))
    }

    fn is(&self, other: &Self) -> Result<bool> {
        let inode = |one: &Self| one.0.metadata().map(|meta| meta.ino()).doing("reading", &one.1);
        Ok(inode(self)? == inode(other)?)
    }

    fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNS).doing("joining", &self.1)
    }
}
