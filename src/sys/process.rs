//! Processes: made by clone3(2), named by pidfd, signalled, awaited, replaced.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::error::{Error, Named, Result, retry};
use super::timing;
use crate::types::{NamespaceSet, Pid, Signal};
use nix::errno::Errno;

/// clone3(2), Linux 5.7; the constant of the libc crate is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// How a child comes to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spawn<'a> {
    /// Its new namespaces, all at once.
    pub namespaces: NamespaceSet,
    /// The cgroup (version 2) that it is born in; absent: the caller's.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The child is a child of our parent, not of us.
    pub sibling: bool,
}

/// A child that was made.
#[derive(Debug)]
pub struct Child {
    /// As the caller sees it.
    pub pid: Pid,
    /// Readable (poll(2)) once it has ended.
    pub pidfd: OwnedFd,
}

/// clone3(2) with the semantics of fork(2): the child gets a copy of memory and runs `child`, whose result
/// is its exit status. The caller must have one thread only.
pub fn spawn(how: Spawn<'_>, child: impl FnOnce() -> i32) -> Result<Child> {
    timing::lap("prepare a process");
    let lane = timing::new_lane(0);
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is a plain structure of integers for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = how.namespaces.clone_flags() | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    if how.sibling {
        args.flags |= libc::CLONE_PARENT as u64;
    } else {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = &how.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM is given, so the child works on a copy of this one thread's memory, and the caller keeps to one thread, so
    // no lock can be left held by a thread that does not exist in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match Errno::result(pid).named(|| format!("clone3(flags={:#x})", args.flags))? {
        0 => {
            timing::begin_lane(lane);
            exit(child())
        }
        pid => {
            timing::set_id(lane, pid as u32);
            timing::lap("clone");
            // SAFETY: CLONE_PIDFD succeeded, so the kernel stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: Pid(pid as i32), pidfd })
        }
    }
}

/// What `command` starts has no signal held back, whatever the caller holds back.
pub fn with_default_signals(command: &mut std::process::Command) {
    let reset =
        || super::signals::reset().map_err(|error| std::io::Error::from_raw_os_error(error.errno as i32));
    // SAFETY: runs in the forked child of a process with one thread, and makes two system calls.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, reset) };
}

/// _exit(2): ends without running anything that belongs to the parent's copy of memory.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit takes any integer and does not return.
    unsafe { libc::_exit(status) }
}

/// pidfd_open(2), Linux 5.3. ESRCH: no such process.
pub fn pidfd(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: takes only integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    let fd = Errno::result(fd).named(|| format!("pidfd_open({pid})"))?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// pidfd_send_signal(2), Linux 5.1. ESRCH: it has ended.
pub fn signal(pidfd: impl AsFd, signal: Signal) -> Result<()> {
    let (fd, info) = (pidfd.as_fd().as_raw_fd(), ptr::null::<libc::siginfo_t>());
    // SAFETY: a null siginfo asks the kernel to fill in what kill(2) would.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.number(), info, 0) };
    Errno::result(result).map(drop).named(|| format!("pidfd_send_signal({signal})"))
}

/// pidfd_send_signal(2) with signal 0: whether the process can still be signalled. A zombie still can.
pub fn exists(pidfd: impl AsFd) -> bool {
    let (fd, info) = (pidfd.as_fd().as_raw_fd(), ptr::null::<libc::siginfo_t>());
    // SAFETY: a null siginfo and signal 0: only checks.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, 0, info, 0) == 0 }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl Ended {
    /// What a shell would say: the status, or 128 + the signal.
    pub fn status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal,
        }
    }
}

/// waitid(2): waits for a child of ours to end, and reaps it.
pub fn wait(pidfd: impl AsFd) -> Result<Ended> {
    let id = pidfd.as_fd().as_raw_fd() as libc::id_t;
    let ended =
        retry(|| wait_id(libc::P_PIDFD, id, libc::WEXITED)).and_then(|ended| ended.ok_or(Errno::ECHILD));
    ended.map(|(_, ended)| ended).named(|| "waitid(pidfd)".to_owned())
}

/// Reaps children that have ended, up to one that is `but`, which is left for [`wait`].
pub fn reap_others(but: Pid) {
    let look = libc::WEXITED | libc::WNOHANG;
    while let Ok(Some((pid, _))) = wait_id(libc::P_ALL, 0, look | libc::WNOWAIT) {
        if pid == but || wait_id(libc::P_PID, pid.0 as libc::id_t, look).is_err() {
            return;
        }
    }
}

/// waitid(2): which child has ended, and how. Numbers of real-time signals have no names: nix would refuse them.
fn wait_id(kind: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> nix::Result<Option<(Pid, Ended)>> {
    // SAFETY: siginfo_t is a plain structure for which zero is a valid value, and the kernel writes one.
    let (info, result): (libc::siginfo_t, _) = unsafe {
        let mut info = std::mem::zeroed();
        let result = libc::waitid(kind, id, &raw mut info, flags);
        (info, result)
    };
    Errno::result(result)?;
    // SAFETY: waitid(2) has filled in the fields of SIGCHLD, or has left zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let ended = if info.si_code == libc::CLD_EXITED { Ended::Exited(status) } else { Ended::Killed(status) };
    Ok((pid != 0).then_some((Pid(pid), ended)))
}

/// killpg(3) with SIGKILL, of a group that a child of ours leads.
pub fn kill_group(leader: Pid) -> Result<()> {
    let group = nix::unistd::Pid::from_raw(leader.0);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL)
        .named(|| format!("killpg({leader}, SIGKILL)"))
}

fn prctl(option: libc::c_int, arg: libc::c_ulong, name: &str) -> Result<()> {
    // SAFETY: every option used in this file takes one integer and zeros.
    let result = unsafe { libc::prctl(option, arg, 0, 0, 0) };
    Errno::result(result).map(drop).named(|| format!("prctl({name}, {arg})"))
}

/// Nobody without CAP_SYS_PTRACE over us may look into this process (PR_SET_DUMPABLE, 0).
pub fn set_undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE")
}

/// setsid(2): a session and process group of its own, without a terminal.
pub fn new_session() -> Result<()> {
    nix::unistd::setsid().map(drop).named(|| "setsid()".to_owned())
}

/// This signal comes when our parent ends; `None`: none does (PR_SET_PDEATHSIG).
pub fn set_parent_death_signal(signal: Option<Signal>) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal.map_or(0, Signal::number) as libc::c_ulong, "PR_SET_PDEATHSIG")
}

/// Orphans below us become our children (PR_SET_CHILD_SUBREAPER).
pub fn set_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")
}

/// Pointers for execve(2); valid as long as `strings` are.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// execve(2). Returns only when it failed.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: path and all strings end in NUL, both lists end in a null pointer, and all outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Error { call: format!("execve({path:?})"), errno: Errno::last() }
}

/// execveat(2) of the file that `file` is. Returns only when it failed.
pub fn exec_fd(file: impl AsFd, args: &[CString], env: &[CString]) -> Error {
    let (argv, envp) = (pointers(args), pointers(env));
    let (fd, empty) = (file.as_fd().as_raw_fd(), c"");
    // SAFETY: all strings end in NUL, both lists end in a null pointer, and all outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            empty.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Error { call: "execveat(keg)".to_owned(), errno: Errno::last() }
}
