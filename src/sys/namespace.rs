//! Namespaces: join, make, tell apart.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;

use super::error::{Error, Named, Result, show_fd};
use super::fd::{self, Resolve};
use super::proc::Proc;
use crate::types::{NamespaceKind, NamespaceSet, Pid};

const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
const NS_MNT_GET_NEXT: libc::Ioctl = 0x8010_b70b;

/// Opens a namespace file of the host and makes sure that it is one of type `kind` (ioctl NS_GET_NSTYPE, Linux 4.11).
pub fn open(path: &Path, kind: NamespaceKind) -> Result<OwnedFd> {
    let file =
        fd::open(fd::cwd(), path, Resolve::Host, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, 0)?;
    let call = || format!("open({path:?}) as a {kind} namespace");
    if fd::fs_magic(&file)? != libc::NSFS_MAGIC {
        return Err(Error { call: call(), errno: Errno::EINVAL });
    }
    // SAFETY: NS_GET_NSTYPE takes no argument and returns an integer.
    let found = Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) }).named(call)?;
    if found as u32 as u64 != kind.clone_flag() {
        return Err(Error { call: call(), errno: Errno::EINVAL });
    }
    Ok(file)
}

/// Opens a namespace of a process that the caller made and has not reaped.
pub fn of_process(proc: &Proc, pid: Pid, kind: NamespaceKind) -> Result<OwnedFd> {
    let path = format!("{pid}/ns/{}", kind.proc_name());
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    // The last component is a link of the kernel, which openat2(2) would have to be told to follow.
    let file = nix::fcntl::openat(proc.root(), path.as_str(), flags, nix::sys::stat::Mode::empty());
    file.named(|| format!("openat(/proc/{path})"))
}

/// Opens the calling process's own namespace of that type.
pub fn own(kind: NamespaceKind) -> Result<OwnedFd> {
    let path = format!("/proc/self/ns/{}", kind.proc_name());
    fd::open(fd::cwd(), Path::new(&path), Resolve::Host, OFlag::O_RDONLY, 0)
}

/// Whether an open namespace file is the calling process's own namespace of that type.
pub fn is_own(file: impl AsFd, kind: NamespaceKind) -> Result<bool> {
    let (this, own) = (fd::stat(file)?, fd::stat(own(kind)?)?);
    Ok((this.st_dev, this.st_ino) == (own.st_dev, own.st_ino))
}

/// The inode number that names the calling process's namespace of this type (namespaces(7)).
pub fn own_id(proc: &Proc, kind: NamespaceKind) -> Result<u64> {
    let path = format!("self/ns/{}", kind.proc_name());
    let stat = nix::sys::stat::fstatat(proc.root(), path.as_str(), nix::fcntl::AtFlags::empty());
    stat.map(|stat| stat.st_ino).named(|| format!("fstatat(/proc/{path})"))
}

/// The inode number of `/proc/PID/ns/user` in the initial user namespace, fixed since Linux 3.8 (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;
/// The same of `/proc/PID/ns/pid` (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Whether the calling process is in a user namespace: root in it is not the host's.
pub fn in_user_namespace(proc: &Proc) -> Result<bool> {
    Ok(own_id(proc, NamespaceKind::User)? != INITIAL_USER_NAMESPACE)
}

/// How many mounts take longer to copy than it takes to do without.
const MANY_MOUNTS: usize = 100;

/// A mount namespace with hardly any mounts, if the calling process's has many (listmount(2), Linux 6.8): that of the kernel's thread for
/// devtmpfs. It is the one made after the kernel's first, which kthreadd is in, process 2 of the initial pid namespace (ioctl
/// NS_MNT_GET_NEXT, Linux 6.12).
pub fn with_few_mounts(proc: &Proc) -> Option<OwnedFd> {
    if !has_many_mounts() || own_id(proc, NamespaceKind::Pid).ok()? != INITIAL_PID_NAMESPACE {
        return None;
    }
    let first = of_process(proc, Pid(2), NamespaceKind::Mount).ok()?;
    let mut next = MountNamespace { size: size_of::<MountNamespace>() as u32, ..MountNamespace::default() };
    // SAFETY: the kernel writes no more than the structure says it holds, and returns a descriptor that nobody else owns.
    let file = unsafe {
        let file = libc::ioctl(first.as_raw_fd(), NS_MNT_GET_NEXT, &raw mut next);
        OwnedFd::from_raw_fd(Errno::result(file).ok()?)
    };
    (next.mounts <= 2).then_some(file)
}

fn has_many_mounts() -> bool {
    /// `SYS_listmount` on all architectures.
    const LISTMOUNT: libc::c_long = 458;
    let request =
        MountRequest { size: size_of::<MountRequest>() as u32, mount: u64::MAX, ..Default::default() };
    let mut ids = [0_u64; MANY_MOUNTS];
    // SAFETY: the request says its own size, and the kernel writes no more ids than there is room for.
    let count = unsafe { libc::syscall(LISTMOUNT, &raw const request, ids.as_mut_ptr(), ids.len(), 0) };
    count == MANY_MOUNTS as libc::c_long
}

/// `struct mnt_id_req` (listmount(2)); the mount `u64::MAX` is the root of all.
#[repr(C)]
#[derive(Default)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    after: u64,
}

/// `struct mnt_ns_info` (linux/nsfs.h)
#[repr(C)]
#[derive(Default)]
struct MountNamespace {
    size: u32,
    mounts: u32,
    id: u64,
}

/// setns(2) to one namespace.
pub fn join(file: impl AsFd, kind: NamespaceKind) -> Result<()> {
    let flag = CloneFlags::from_bits_retain(kind.clone_flag() as libc::c_int);
    nix::sched::setns(&file, flag).named(|| format!("setns({}, {kind})", show_fd(&file)))
}

/// Does something in another namespace, and comes back to the one that is `home`.
pub fn within<T>(
    file: impl AsFd,
    home: impl AsFd,
    kind: NamespaceKind,
    task: impl FnOnce() -> T,
) -> Result<T> {
    join(file, kind)?;
    let done = task();
    join(home, kind)?;
    Ok(done)
}

/// setns(2) to several namespaces of the process that `pidfd` names, all at once (Linux 5.8).
pub fn join_process(pidfd: impl AsFd, kinds: NamespaceSet) -> Result<()> {
    let flags = CloneFlags::from_bits_retain(kinds.clone_flags() as libc::c_int);
    nix::sched::setns(&pidfd, flags).named(|| format!("setns(pidfd, {:#x})", kinds.clone_flags()))
}

/// unshare(2): makes these namespaces for the calling process.
pub fn make(kinds: NamespaceSet) -> Result<()> {
    // SAFETY: takes only integers; without CLONE_VM, FILES or THREAD nothing that Rust relies on changes.
    let result = unsafe { libc::unshare(kinds.clone_flags() as libc::c_int) };
    Errno::result(result).map(drop).named(|| format!("unshare({:#x})", kinds.clone_flags()))
}

/// sethostname(2) in the current UTS namespace.
pub fn set_hostname(name: &str) -> Result<()> {
    nix::unistd::sethostname(name).named(|| format!("sethostname({name:?})"))
}

/// setdomainname(2) in the current UTS namespace.
pub fn set_domainname(name: &str) -> Result<()> {
    // SAFETY: the pointer and the length describe one live string; the kernel only reads it.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    Errno::result(result).map(drop).named(|| format!("setdomainname({name:?})"))
}

/// The types of which a process has another namespace than the calling one has (namespaces(7), "The /proc/PID/ns directory").
pub fn different(proc: &Proc, pid: Pid) -> Result<NamespaceSet> {
    let open = |pid: &Path| {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        fd::open(proc.root(), &pid.join("ns"), Resolve::Beneath, flags, 0)
    };
    let theirs = open(Path::new(&pid.to_string()))?;
    let ours = open(&fd::read_link(proc.root(), Path::new("self"))?)?;
    let mut different = NamespaceSet::EMPTY;
    for kind in NamespaceKind::ALL {
        let name = Path::new(kind.proc_name());
        let own = match fd::read_link(&ours, name) {
            // The kernel was built without this type.
            Err(error) if error.errno == Errno::ENOENT => continue,
            own => own?,
        };
        if fd::read_link(&theirs, name)? != own {
            different.insert(kind);
        }
    }
    Ok(different)
}
