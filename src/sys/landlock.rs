//! Landlock (landlock(7)): a thread, and those it starts, can no longer open or change anything but what it names.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::credentials;
use super::error::{Named, Result, show_fd};

/// Rights on files and directories, by the version of the interface that brought them: 1, 2 (links and renames to another directory),
/// 3 (truncating), 5 (ioctl on devices).
const ACCESS: [u64; 6] = [0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff];
const EXECUTE: u64 = 1;
const READ: u64 = 1 << 2 | 1 << 3;
const IOCTL: u64 = 1 << 15;
/// Binding and connecting TCP sockets (version 4).
const NETWORK: u64 = 3;
/// Abstract Unix sockets and signals of others (version 6).
const SCOPES: u64 = 3;

#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scopes: u64,
}

#[repr(C, packed)]
struct Beneath {
    access: u64,
    parent: RawFd,
}

const RULE_PATH_BENEATH: libc::c_int = 1;
const CREATE_RULESET_VERSION: libc::c_uint = 1;

/// The version of the interface; 0 where the kernel has none or it is switched off.
fn version() -> usize {
    let (no_attributes, no_bytes) = (std::ptr::null::<Ruleset>(), 0_usize);
    // SAFETY: with this flag the kernel reads no structure and gives a number, no descriptor.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, no_attributes, no_bytes, CREATE_RULESET_VERSION)
    };
    usize::try_from(version).unwrap_or(0)
}

/// From here on this thread, and those it starts, can make, change and remove files in and below `writable` alone, read in and below
/// those and `readable`, and reach nobody by network or signals. What is open stays open. It gains no privileges by executing either.
/// `false`: the kernel cannot do it, or not so that links between directories remain possible (before Linux 5.19).
pub fn confine(writable: BorrowedFd<'_>, readable: &[BorrowedFd<'_>]) -> Result<bool> {
    let version = version();
    if version < 2 {
        return Ok(false);
    }
    let files = ACCESS[version.min(ACCESS.len() - 1)];
    let ruleset = Ruleset {
        files,
        network: if version >= 4 { NETWORK } else { 0 },
        scopes: if version >= 6 { SCOPES } else { 0 },
    };
    // SAFETY: the structure outlives the call and is passed with its size. Fields that an older kernel does not know are zero.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruleset,
            size_of::<Ruleset>(),
            0 as libc::c_uint,
        )
    };
    let fd = Errno::result(fd).named(|| "landlock_create_ruleset()".to_owned())?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    let rules = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    allow(&rules, writable, files & !(EXECUTE | IOCTL))?;
    for directory in readable {
        allow(&rules, *directory, READ)?;
    }
    credentials::set_no_new_privs()?;
    // SAFETY: takes only integers.
    let done =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0 as libc::c_uint) };
    Errno::result(done).named(|| "landlock_restrict_self()".to_owned())?;
    Ok(true)
}

fn allow(rules: &OwnedFd, directory: BorrowedFd<'_>, access: u64) -> Result<()> {
    let rule = Beneath { access, parent: directory.as_raw_fd() };
    // SAFETY: the structure outlives the call and is the one that this type of rule takes.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0 as libc::c_uint,
        )
    };
    Errno::result(done).map(drop).named(|| format!("landlock_add_rule({})", show_fd(directory)))
}

#[cfg(test)]
mod tests {
    use super::{confine, version};
    use crate::sys::fd;
    use std::os::fd::AsFd;

    #[test]
    fn a_confined_thread_reaches_only_what_was_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["in/a", "in/b", "readable", "out"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("file"), name).unwrap();
        }
        let path = dir.path().to_owned();
        let confined = std::thread::spawn(move || {
            let (inside, readable) = (path.join("in"), path.join("readable"));
            let (open, read) = (fd::open_dir(&inside).unwrap(), fd::open_dir(&readable).unwrap());
            if !confine(open.as_fd(), &[read.as_fd()]).unwrap() {
                return false;
            }
            std::fs::write(inside.join("new"), "x").unwrap();
            std::fs::hard_link(inside.join("a/file"), inside.join("b/linked")).unwrap();
            std::fs::remove_file(inside.join("a/file")).unwrap();
            assert_eq!(std::fs::read(readable.join("file")).unwrap(), b"readable");
            let refused = [
                std::fs::write(readable.join("new"), "x"),
                std::fs::write(path.join("new"), "x"),
                std::fs::remove_file(path.join("out/file")),
                std::fs::rename(inside.join("new"), path.join("out/new")),
                std::fs::read(path.join("out/file")).map(drop),
            ];
            assert!(refused.iter().all(Result::is_err), "{refused:?}");
            let of_a_thread = std::thread::spawn(move || std::fs::read(path.join("out/file")).is_err());
            of_a_thread.join().unwrap()
        });
        assert_eq!(confined.join().unwrap(), version() >= 2);
        // Nobody else is confined.
        assert_eq!(std::fs::read(dir.path().join("out/file")).unwrap(), b"out");
    }
}
