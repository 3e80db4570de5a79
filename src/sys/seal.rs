//! keg runs from a copy of itself that nobody can write to, so that a container that gets hold of `/proc/PID/exe` gains nothing
//! (CVE-2019-5736). The copy is a read-only overlay of the file's directory, else a sealed memfd.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag};
use nix::sys::memfd::MFdFlags;

use super::error::{Error, Named, Result};
use super::fd::{self, Resolve};
use super::mount::FsContext;
use super::process;

const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);
const OWN_FILE: &str = "/proc/self/exe";

/// Whether the file that this process runs from can never be written: a memfd with all seals, or a file of a read-only file system.
pub fn is_sealed() -> Result<bool> {
    let own = fd::open(fd::cwd(), Path::new(OWN_FILE), Resolve::Host, OFlag::O_RDONLY, 0)?;
    if superblock_is_read_only(&own)? {
        return Ok(true);
    }
    // Only a memfd answers this question; any other file says EINVAL.
    match nix::fcntl::fcntl(&own, FcntlArg::F_GET_SEALS) {
        Ok(seals) => Ok(SealFlag::from_bits_retain(seals).contains(SEALS)),
        Err(_) => Ok(false),
    }
}

/// A read-only superblock refuses to be opened for writing with EROFS even where this mount of it is writable; a read-only mount of a
/// writable one says EROFS too, but has ST_RDONLY only for itself. An overlay without an upper layer is the former for certain.
fn superblock_is_read_only(file: impl AsFd) -> Result<bool> {
    let call = || "fstatfs(/proc/self/exe)".to_owned();
    let stat = nix::sys::statvfs::fstatvfs(&file).named(call)?;
    let read_only = stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY);
    Ok(read_only && fd::fs_magic(&file)? == libc::OVERLAYFS_SUPER_MAGIC && is_detached(&file)?)
}

/// Whether the mount that `file` lies on is in no mount namespace: such mounts have no path, so the link in /proc shows `/NAME`.
fn is_detached(file: impl AsFd) -> Result<bool> {
    let own = fd::read_link(fd::cwd(), Path::new(OWN_FILE))?;
    let seen = nix::sys::stat::stat(own.as_path());
    let this = fd::stat(file)?;
    Ok(seen.map_or(true, |seen| (seen.st_dev, seen.st_ino) != (this.st_dev, this.st_ino)))
}

/// Runs this program again, with the same arguments and environment, from a copy that cannot be written to. Returns only when both
/// ways failed.
pub fn run_again(args: &[CString], env: &[CString]) -> Error {
    let copy = match overlay() {
        Ok(copy) => copy,
        Err(_) => match memfd() {
            Ok(copy) => copy,
            Err(error) => return error,
        },
    };
    process::exec_fd(copy, args, env)
}

/// The file as seen through an overlay that has only lower layers: its superblock is read-only, and the mount is in no namespace.
fn overlay() -> Result<OwnedFd> {
    let own = fd::read_link(fd::cwd(), Path::new(OWN_FILE))?;
    let missing = || Error { call: format!("overlay of {own:?}"), errno: Errno::EINVAL };
    let (dir, name) = own.parent().zip(own.file_name()).ok_or_else(missing)?;
    let context = FsContext::open("overlay")?;
    context.set("lowerdir", Some(&lower(dir)))?;
    let root = context.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
    let copy = fd::open(&root, Path::new(name), Resolve::Beneath, OFlag::O_RDONLY, 0)?;
    let original = fd::open(fd::cwd(), Path::new(OWN_FILE), Resolve::Host, OFlag::O_PATH, 0)?;
    let (copied, original) = (fd::stat(&copy)?, fd::stat(&original)?);
    match copied.st_ino == original.st_ino && copied.st_size == original.st_size {
        true => Ok(copy),
        false => Err(missing()),
    }
}

/// The directory, and one more: an overlay without an upper layer must have two.
fn lower(dir: &Path) -> Vec<u8> {
    let mut layers = Vec::new();
    for byte in dir.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\' | b',') {
            layers.push(b'\\');
        }
        layers.push(*byte);
    }
    layers.extend(b":/proc/self/fdinfo");
    layers
}

fn memfd() -> Result<OwnedFd> {
    let call = || "memfd_create(\"keg\")".to_owned();
    let own = fd::open(fd::cwd(), Path::new(OWN_FILE), Resolve::Host, OFlag::O_RDONLY, 0)?;
    let size = fd::stat(&own)?.st_size as usize;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let executable = flags | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    // Linux before 6.3 does not know MFD_EXEC and makes every memfd executable.
    let copy = match nix::sys::memfd::memfd_create(OsStr::new("keg"), executable) {
        Err(Errno::EINVAL) => nix::sys::memfd::memfd_create(OsStr::new("keg"), flags).named(call)?,
        other => other.named(call)?,
    };
    let mut left = size;
    while left > 0 {
        match nix::sys::sendfile::sendfile(&copy, &own, None, left).named(|| "sendfile(keg)".to_owned())? {
            0 => break,
            n => left -= n,
        }
    }
    nix::fcntl::fcntl(&copy, FcntlArg::F_ADD_SEALS(SEALS)).named(|| "fcntl(F_ADD_SEALS)".to_owned())?;
    Ok(copy)
}
