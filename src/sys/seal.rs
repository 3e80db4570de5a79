//! keg runs from a copy of itself that nobody can write to, so that a container that gets hold of `/proc/PID/exe` gains nothing
//! (CVE-2019-5736). The copy is a read-only overlay of the file's directory, else a sealed memfd.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag};
use nix::sys::memfd::MFdFlags;

use super::error::{Error, Named, Result};
use super::fd::{self, Resolve};
use super::mount::FsContext;
use super::{process, remap};

const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);
const OWN_FILE: &str = "/proc/self/exe";

/// What `run_again` adds to the zeroth argument.
pub(super) const MARK: &[u8] = b" (sealed)";

/// Whether this process was started by [`run_again`], or [`super::start`] saw to it, and the file that it runs from is indeed one that
/// cannot be written. A process that claims so and runs from any other file is an error.
pub fn is_sealed(args: &[CString]) -> Result<bool> {
    if !remap::was_done() && !args.first().is_some_and(|name| name.as_bytes().ends_with(MARK)) {
        return Ok(false);
    }
    if is_read_only_overlay()? || is_sealed_memfd()? {
        return Ok(true);
    }
    Err(Error { call: "run from a sealed copy of keg".to_owned(), errno: Errno::EPERM })
}

/// An overlay without an upper layer cannot be written to, through any mount. One with an upper layer has a path, and is not ours.
fn is_read_only_overlay() -> Result<bool> {
    let stat = nix::sys::statfs::statfs(OWN_FILE).named(|| format!("statfs({OWN_FILE:?})"))?;
    let read_only = stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY);
    Ok(read_only && stat.filesystem_type().0 == libc::OVERLAYFS_SUPER_MAGIC)
}

fn is_sealed_memfd() -> Result<bool> {
    let own = fd::open(fd::cwd(), Path::new(OWN_FILE), Resolve::Host, OFlag::O_RDONLY, 0)?;
    // Only a memfd answers this question; any other file says EINVAL.
    let seals = nix::fcntl::fcntl(&own, FcntlArg::F_GET_SEALS);
    Ok(seals.is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(SEALS)))
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
    let name = args.first().map_or(&b"keg"[..], |name| name.as_bytes());
    let mut marked = args.to_vec();
    match CString::new([name, MARK].concat()) {
        Ok(name) if marked.is_empty() => marked.push(name),
        Ok(name) => marked[0] = name,
        Err(_) => return Error { call: "execveat(keg)".to_owned(), errno: Errno::EINVAL },
    }
    process::exec_fd(copy, &marked, env)
}

/// The file as seen through an overlay that has only lower layers: its superblock is read-only, and the mount is in no namespace.
fn overlay() -> Result<OwnedFd> {
    let own = fd::read_link(fd::cwd(), Path::new(OWN_FILE))?;
    let missing = || Error { call: format!("overlay of {own:?}"), errno: Errno::EINVAL };
    let (dir, name) = own.parent().zip(own.file_name()).ok_or_else(missing)?;
    let context = FsContext::open("overlay")?;
    context.set("lowerdir", Some(&lower(dir)))?;
    // The numbers of inodes are compared.
    context.set("xino", Some(b"off"))?;
    let root = context.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)?;
    let copy = fd::open(&root, Path::new(name), Resolve::Beneath, OFlag::O_RDONLY, 0)?;
    let original = nix::sys::stat::stat(OWN_FILE).named(|| format!("stat({OWN_FILE:?})"))?;
    let copied = fd::stat(&copy)?;
    // The next execve(2) closes them.
    std::mem::forget((context, root));
    match copied.st_ino == original.st_ino && copied.st_size == original.st_size {
        true => Ok(copy),
        false => Err(missing()),
    }
}

/// The directory, and one more: an overlay without an upper layer must have two. It is another one than [`super::start`] has tried.
fn lower(dir: &Path) -> Vec<u8> {
    let mut layers = Vec::new();
    for byte in dir.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\' | b',') {
            layers.push(b'\\');
        }
        layers.push(*byte);
    }
    layers.extend(b":/dev");
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

/// The directory of the file that keg was started from, whatever copy it runs from; absent where that cannot be told.
pub fn own_directory() -> Option<PathBuf> {
    let name = std::env::args_os().next()?;
    let (name, copied) = match name.as_bytes().strip_suffix(MARK) {
        None => (name.as_bytes(), remap::was_done()),
        Some(name) => (name, true),
    };
    let file = match name {
        _ if !copied => std::fs::read_link(OWN_FILE).ok()?,
        name if name.contains(&b'/') => PathBuf::from(OsStr::from_bytes(name)),
        name => {
            let path = std::env::var_os("PATH")?;
            let mut places = std::env::split_paths(&path).map(|dir| dir.join(OsStr::from_bytes(name)));
            places.find(|file| file.is_file())?
        }
    };
    Some(file.canonicalize().ok()?.parent()?.to_owned())
}

/// A file without a name, in memory.
pub fn scratch_file(name: &str) -> Result<OwnedFd> {
    let call = || format!("memfd_create({name:?})");
    let flags = MFdFlags::MFD_CLOEXEC;
    match nix::sys::memfd::memfd_create(name, flags | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL)) {
        Err(Errno::EINVAL) => nix::sys::memfd::memfd_create(name, flags).named(call),
        other => other.named(call),
    }
}
