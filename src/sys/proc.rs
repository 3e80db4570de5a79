//! keg's own view of /proc: the host's, verified, or a procfs that nobody else can mount over.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use procfs::FromRead;

use super::error::{Error, Named, Result};
use super::fd::{self, Resolve};
use super::mount::FsContext;
use crate::types::{Pid, ProcessRef};

const PROC_ROOT_INO: u64 = 1;
const LIMIT: usize = 1 << 20;

/// A procfs, held by its root directory.
#[derive(Debug)]
pub struct Proc {
    root: OwnedFd,
}

impl Proc {
    /// The procfs at `/proc`, if it is one and its root: for keg on the host, where no container can change what is mounted. Where
    /// something else is mounted there, a detached one.
    pub fn host() -> Result<Self> {
        let root =
            fd::open(fd::cwd(), Path::new("/proc"), Resolve::Host, OFlag::O_PATH | OFlag::O_DIRECTORY, 0)?;
        if fd::fs_magic(&root)? == libc::PROC_SUPER_MAGIC && fd::stat(&root)?.st_ino == PROC_ROOT_INO {
            return Ok(Self { root });
        }
        Self::detached()
    }

    /// A detached procfs of the current pid namespace, which nobody else can see or mount over: for keg inside a container. Refused
    /// with EPERM in a user namespace that sees /proc only in part.
    pub fn detached() -> Result<Self> {
        let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        Ok(Self { root: FsContext::open("proc")?.mount(attributes)? })
    }

    /// Opens a file of it. Nothing that was mounted over it, and no symlink, is followed; the result is a procfs file for certain.
    pub fn file(&self, path: &Path, flags: OFlag) -> Result<OwnedFd> {
        // RESOLVE_NO_XDEV: the file is on the mount of the root, which is a procfs.
        fd::open(&self.root, path, Resolve::Beneath, flags, 0)
    }

    /// Opens a file of the calling process.
    pub fn own_file(&self, path: &Path, flags: OFlag) -> Result<OwnedFd> {
        let pid = fd::read_link(&self.root, Path::new("self"))?;
        self.file(&pid.join(path), flags)
    }

    /// Writes `text` to a file of it, in one write.
    pub fn write(&self, path: &Path, text: &[u8]) -> Result<()> {
        let file = self.file(path, OFlag::O_WRONLY)?;
        nix::unistd::write(&file, text)
            .map(drop)
            .named(|| format!("write(/proc/{}, {:?})", path.display(), String::from_utf8_lossy(text)))
    }

    /// Reads a file of it (1 MiB at most).
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        fd::read_kernel_file(self.file(path, OFlag::O_RDONLY)?, LIMIT)
    }

    /// The process that has this pid now, and its state letter (proc(5): `R`, `S`, `Z`, …). ESRCH if there is none.
    pub fn process(&self, pid: Pid) -> Result<(ProcessRef, char)> {
        let call = || format!("read(/proc/{pid}/stat)");
        let gone = |error: Error| match error.errno {
            Errno::ENOENT => Error { call: call(), errno: Errno::ESRCH },
            _ => error,
        };
        let bytes = self.read(Path::new(&format!("{pid}/stat"))).map_err(gone)?;
        let stat = procfs::process::Stat::from_read(bytes.as_slice());
        let stat = stat.map_err(|_| Error { call: call(), errno: Errno::EBADMSG })?;
        Ok((ProcessRef { pid, start_time: stat.starttime }, stat.state))
    }

    /// A pidfd of this very process; `None` if it is gone, whoever has its pid now. What had the right start time after the descriptor
    /// was opened is what the descriptor names.
    pub fn pidfd(&self, process: ProcessRef) -> Result<Option<OwnedFd>> {
        let pidfd = match super::process::pidfd(process.pid) {
            Err(error) if error.errno == Errno::ESRCH => return Ok(None),
            pidfd => pidfd?,
        };
        match self.process(process.pid) {
            Ok((now, _)) => Ok((now == process).then_some(pidfd)),
            Err(error) if error.errno == Errno::ESRCH => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path of a file that this process has open, as the kernel has it: absolute and without symlinks.
    pub fn path_of(&self, file: impl AsFd) -> Result<PathBuf> {
        fd::read_link(&self.root, Path::new(&format!("self/fd/{}", file.as_fd().as_raw_fd())))
    }

    /// The root directory, for rooms that look at many files.
    pub fn root(&self) -> impl AsFd + '_ {
        self.root.as_fd()
    }
}
