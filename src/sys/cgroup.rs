//! The cgroup file systems: directories and small files by their absolute path. No path of a
//! container's choosing gets here, and these file systems hold no symlinks.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;

use super::error::{Error, Named, Result, retry, show_fd};
use crate::types::{Pid, Uid};

/// The longest list of processes that is read: more than there can be pids.
const LIST_LIMIT: usize = 64 << 20;

/// Which file system a path lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounted {
    /// cgroup version 1
    V1,
    /// cgroup version 2
    V2,
    /// Another one.
    Other,
}

/// statfs(2). `None`: there is no such path.
pub fn mounted(path: &Path) -> Result<Option<Mounted>> {
    match retry(|| nix::sys::statfs::statfs(path)) {
        Ok(fs) if fs.filesystem_type() == nix::sys::statfs::CGROUP_SUPER_MAGIC => Ok(Some(Mounted::V1)),
        Ok(fs) if fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC => Ok(Some(Mounted::V2)),
        Ok(_) => Ok(Some(Mounted::Other)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(Error { call: format!("statfs({path:?})"), errno }),
    }
}

/// mkdir(2) of a cgroup. `false`: it was there.
pub fn make(path: &Path) -> Result<bool> {
    match nix::unistd::mkdir(path, Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(Error { call: format!("mkdir({path:?})"), errno }),
    }
}

/// faccessat(2): whether the caller may write to it, with its effective ids.
pub fn is_writable(path: &Path) -> Result<bool> {
    let (flags, how) = (nix::fcntl::AtFlags::AT_EACCESS, nix::unistd::AccessFlags::W_OK);
    match retry(|| nix::unistd::faccessat(super::fd::cwd(), path, how, flags)) {
        Ok(()) => Ok(true),
        Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Ok(false),
        Err(errno) => Err(Error { call: format!("access({path:?}, W_OK)"), errno }),
    }
}

/// rmdir(2) of a cgroup.
pub fn remove(path: &Path) -> Result<()> {
    nix::unistd::unlinkat(super::fd::cwd(), path, nix::unistd::UnlinkatFlags::RemoveDir)
        .named(|| format!("rmdir({path:?})"))
}

/// The user who owns a file or directory.
pub fn owner(path: &Path) -> Result<Uid> {
    let stat = nix::sys::stat::lstat(path).named(|| format!("lstat({path:?})"))?;
    Ok(Uid(stat.st_uid))
}

/// chown(2) of a file or directory to a user; its group stays.
pub fn give(path: &Path, owner: Uid) -> Result<()> {
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    nix::unistd::fchownat(super::fd::cwd(), path, Some(owner.0.into()), None, flags)
        .named(|| format!("fchownat({path:?}, {})", owner.0))
}

/// open(2) of a file or directory, close-on-exec.
fn open(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    retry(|| nix::fcntl::open(path, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty()))
        .named(|| format!("open({path:?})"))
}

/// A cgroup as clone3(2) wants it for `CLONE_INTO_CGROUP`.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY)
}

/// A file for one write, or more.
pub fn open_file(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_WRONLY)
}

/// A file that reports its changes, as `cgroup.events` does.
#[derive(Debug)]
pub struct Watched(OwnedFd);

impl Watched {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self> {
        open(path, OFlag::O_RDONLY).map(Self)
    }

    /// What it says now. Later changes wake [`Self::wait`].
    pub fn read(&self) -> Result<String> {
        let mut page = [0u8; 4096];
        let n = retry(|| nix::sys::uio::pread(&self.0, &mut page, 0))
            .named(|| format!("pread({})", show_fd(&self.0)))?;
        Ok(String::from_utf8_lossy(&page[..n]).into_owned())
    }

    /// Waits for a change since it was last read (POLLPRI), or until the time is over.
    pub fn wait(&self, time: Duration) -> Result<()> {
        let timeout = PollTimeout::try_from(time.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)];
        match nix::poll::poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error { call: format!("poll({})", show_fd(&self.0)), errno }),
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Version 1: a counter that grows each time the kernel finds no memory in a cgroup, and when the cgroup is removed.
#[derive(Debug)]
pub struct OomCounter {
    event: EventFd,
    _control: OwnedFd,
}

impl OomCounter {
    /// Registers one (kernel: Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control").
    pub fn open(cgroup: &Path) -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags).named(|| "eventfd()".to_owned())?;
        let control = open(&cgroup.join("memory.oom_control"), OFlag::O_RDONLY)?;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
        write(&cgroup.join("cgroup.event_control"), &line)?;
        Ok(Self { event, _control: control })
    }

    /// How often it grew since it was last asked.
    pub fn take(&self) -> Result<u64> {
        match retry(|| self.event.read()) {
            Err(Errno::EAGAIN) => Ok(0),
            count => count.named(|| "read(eventfd)".to_owned()),
        }
    }
}

impl AsFd for OomCounter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Opens a file and writes `value` in one write(2).
pub fn write(path: &Path, value: &str) -> Result<()> {
    write_of(path, value).map(drop)
}

/// As [`write`]; the file comes back, to be closed together with others.
pub fn write_of(path: &Path, value: &str) -> Result<OwnedFd> {
    let file = open_file(path)?;
    retry(|| nix::unistd::write(&file, value.as_bytes()))
        .map(drop)
        .named(|| format!("write({path:?}, {value:?})"))?;
    Ok(file)
}

/// Reads a file that holds one value or a few lines: what one read(2) of a page gives.
pub fn read(path: &Path) -> Result<String> {
    read_of(path).map(|(text, _)| text)
}

/// As [`read`]; the file comes back, to be closed together with others.
pub fn read_of(path: &Path) -> Result<(String, OwnedFd)> {
    let file = open(path, OFlag::O_RDONLY)?;
    let mut page = [0u8; 4096];
    let n = retry(|| nix::unistd::read(&file, &mut page)).named(|| format!("read({path:?})"))?;
    Ok((String::from_utf8_lossy(&page[..n]).into_owned(), file))
}

/// Reads a file to its end, at most `limit` bytes (EFBIG beyond).
pub fn read_to_end(path: &Path, limit: usize) -> Result<String> {
    read_until(path, limit, |_| false)
}

/// As [`read_to_end`], or until `whole` says that this is all.
pub fn read_until(path: &Path, limit: usize, whole: fn(&[u8]) -> bool) -> Result<String> {
    read_all(open(path, OFlag::O_RDONLY)?, path, limit, whole)
}

fn read_all(file: OwnedFd, path: &Path, limit: usize, whole: fn(&[u8]) -> bool) -> Result<String> {
    let (mut all, mut page) = (Vec::new(), [0u8; 4096]);
    loop {
        let n = retry(|| nix::unistd::read(&file, &mut page)).named(|| format!("read({path:?})"))?;
        all.extend_from_slice(&page[..n]);
        if n == 0 || whole(&all) {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
        if all.len() > limit {
            return Err(Error { call: format!("read({path:?})"), errno: Errno::EFBIG });
        }
    }
}

/// The open `tasks` files of version 1 cgroups, closed together.
#[derive(Debug, Default)]
pub struct Tasks(Vec<OwnedFd>);

impl Tasks {
    /// Those that another process has opened.
    pub fn of(files: Vec<OwnedFd>) -> Self {
        Self(files)
    }

    /// The open files, to be handed on.
    pub fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd).collect()
    }

    /// Closes another descriptor with them, now.
    pub fn close_with(mut self, other: OwnedFd) {
        self.0.push(other);
    }

    /// Opens the one of a cgroup.
    pub fn open(&mut self, cgroup: &Path) -> Result<()> {
        self.0.push(open_file(&cgroup.join("tasks"))?);
        Ok(())
    }

    /// Moves the caller, which has one thread, into the cgroups. Unlike a pid in `cgroup.procs`, `0` in
    /// `tasks` makes the kernel wait for nobody.
    pub fn enter(self) -> Result<()> {
        self.move_caller()
    }

    /// The same for a forked child, once: its copies of the files are closed.
    pub fn enter_by_copies(&self) -> Result<()> {
        self.move_caller()?;
        super::descriptors::close_copies(&self.0);
        Ok(())
    }

    fn move_caller(&self) -> Result<()> {
        self.0.iter().try_for_each(|tasks| super::fd::write_once(tasks, b"0"))
    }

    /// Moves another process that has one thread.
    pub fn place(&self, pid: Pid) -> Result<()> {
        let pid = pid.to_string();
        self.0.iter().try_for_each(|tasks| super::fd::write_once(tasks, pid.as_bytes()))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        super::descriptors::close_all(std::mem::take(&mut self.0));
    }
}

/// A cgroup to walk from.
pub fn open_for_walk(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// A cgroup directly below an open one.
pub fn child(dir: impl AsFd, name: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    super::fd::open(dir, name, super::fd::Resolve::Beneath, flags, 0)
}

/// The cgroup that an open one lies in. It stays the same for as long as the cgroup lives.
pub fn parent(dir: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    super::fd::open(dir, Path::new(".."), super::fd::Resolve::Host, flags, 0)
}

/// The names of the cgroups directly below an open one.
pub fn children(dir: impl AsFd) -> Result<Vec<PathBuf>> {
    // Each directory inside has a `..` that links here: two links mean that there is none.
    if super::fd::stat(&dir)?.st_nlink <= 2 {
        return Ok(Vec::new());
    }
    let call = || format!("getdents({})", show_fd(&dir));
    let own = super::fd::open(&dir, Path::new("."), super::fd::Resolve::Beneath, OFlag::O_RDONLY, 0)?;
    let mut stream = nix::dir::Dir::from_fd(own).named(call)?;
    let mut names = Vec::new();
    for entry in stream.iter() {
        let entry = entry.named(call)?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == Some(nix::dir::Type::Directory) && name != b"." && name != b".." {
            names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
        }
    }
    Ok(names)
}

/// Reads a file of an open cgroup to its end.
pub fn read_in(dir: impl AsFd, name: &str) -> Result<String> {
    let path = Path::new(name);
    read_all(
        super::fd::open(dir, path, super::fd::Resolve::Beneath, OFlag::O_RDONLY, 0)?,
        path,
        LIST_LIMIT,
        |_| false,
    )
}

/// Opens a file of an open cgroup and writes `value` in one write(2).
pub fn write_in(dir: impl AsFd, name: &str, value: &str) -> Result<()> {
    let file = super::fd::open(dir, Path::new(name), super::fd::Resolve::Beneath, OFlag::O_WRONLY, 0)?;
    super::fd::write_once(file, value.as_bytes())
}
