//! Files by fd: open below a directory that cannot be left, make, remove, look, read and write.
//! No function here follows a symlink unless its name or its `Resolve` says so.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};

use super::error::{Error, Named, Result, retry, show_fd};

/// What most kernel files fit into.
const FIRST_READ: usize = 4096;

/// Where a path may lead (openat2(2), Linux 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    /// As any program would: used for host paths that the caller of keg named.
    Host,
    /// The same, and no symlink is on the way: ELOOP.
    HostPlain,
    /// The directory fd is `/`: symlinks and `..` stay inside; magic links are refused.
    InRoot,
    /// Nothing may leave the directory, symlinks are refused, no other mount is entered.
    Beneath,
    /// As `Beneath`, but mounts may be crossed.
    BeneathMounts,
    /// One component or more below the directory, mounts may be crossed; the last component may be a symlink, which is opened as itself.
    BeneathNofollow,
    /// Symlinks are followed as long as they stay below the directory; magic links are refused.
    BeneathFollow,
}

impl Resolve {
    fn flags(self) -> u64 {
        match self {
            Self::Host => 0,
            Self::HostPlain => libc::RESOLVE_NO_SYMLINKS,
            Self::InRoot => libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
            Self::Beneath => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV,
            Self::BeneathMounts => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
            Self::BeneathNofollow => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS,
            Self::BeneathFollow => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS,
        }
    }
}

/// The current working directory as a directory fd.
pub fn cwd() -> BorrowedFd<'static> {
    // SAFETY: AT_FDCWD is no descriptor that anything could close; every *at call takes it.
    unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }
}

fn c_path(path: &Path) -> nix::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// openat2(2). The fd is always close-on-exec. EAGAIN (a rename raced with the walk) is retried.
pub fn open(dir: impl AsFd, path: &Path, resolve: Resolve, flags: OFlag, mode: u32) -> Result<OwnedFd> {
    openat2(&dir, path, resolve, flags, mode).named(|| format!("openat2({}, {path:?})", show_fd(&dir)))
}

/// As [`open`], of something that need not be there (ENOENT).
pub fn open_if_there(dir: impl AsFd, path: &Path, resolve: Resolve, flags: OFlag) -> Result<Option<OwnedFd>> {
    match openat2(&dir, path, resolve, flags, 0) {
        Err(Errno::ENOENT) => Ok(None),
        done => done.map(Some).named(|| format!("openat2({}, {path:?})", show_fd(&dir))),
    }
}

fn openat2(dir: impl AsFd, path: &Path, resolve: Resolve, flags: OFlag, mode: u32) -> nix::Result<OwnedFd> {
    let name = c_path(path)?;
    // SAFETY: open_how is a plain structure of integers for which zero is a valid value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | OFlag::O_CLOEXEC).bits() as u64;
    how.mode = if flags.intersects(OFlag::O_CREAT | OFlag::O_TMPFILE) { u64::from(mode) } else { 0 };
    how.resolve = resolve.flags();
    let mut tries = 0;
    loop {
        // SAFETY: `name` ends in NUL and outlives the call; `how` is passed with its own size.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir.as_fd().as_raw_fd(),
                name.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        match Errno::result(fd) {
            // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if tries < 128 && resolve != Resolve::Host => tries += 1,
            Err(errno) => return Err(errno),
        }
    }
}

/// Opens a directory of the host, following what the path says.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    open(cwd(), path, Resolve::Host, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)
}

/// stat(2) of a path of the host, symlinks followed. ENOTDIR: it is no directory.
pub fn check_directory(path: &Path) -> Result<()> {
    let stat = nix::sys::stat::stat(path);
    let is_directory = stat.map(|stat| file_type(&stat) == SFlag::S_IFDIR);
    is_directory
        .and_then(|yes| if yes { Ok(()) } else { Err(Errno::ENOTDIR) })
        .named(|| format!("stat({path:?})"))
}

/// One directory entry name, without any slash, as `mkdirat` and friends need it.
fn single(name: &Path) -> nix::Result<()> {
    let bytes = name.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') || bytes == b"." || bytes == b".." {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// mkdirat(2) of one name in `dir`.
pub fn mkdir(dir: impl AsFd, name: &Path, mode: u32) -> Result<()> {
    single(name)
        .and_then(|()| nix::sys::stat::mkdirat(&dir, name, Mode::from_bits_truncate(mode)))
        .named(|| format!("mkdirat({}, {name:?})", show_fd(&dir)))
}

/// mknodat(2) of one name in `dir`. `kind` is one of `S_IFCHR`, `S_IFBLK`, `S_IFIFO`, `S_IFREG`.
pub fn mknod(dir: impl AsFd, name: &Path, kind: SFlag, mode: u32, major: u64, minor: u64) -> Result<()> {
    let device = nix::sys::stat::makedev(major, minor);
    single(name)
        .and_then(|()| nix::sys::stat::mknodat(&dir, name, kind, Mode::from_bits_truncate(mode), device))
        .named(|| format!("mknodat({}, {name:?}, {major}:{minor})", show_fd(&dir)))
}

/// symlinkat(2) of one name in `dir`.
pub fn symlink(dir: impl AsFd, name: &Path, target: &Path) -> Result<()> {
    single(name)
        .and_then(|()| nix::unistd::symlinkat(target, &dir, name))
        .named(|| format!("symlinkat({target:?}, {}, {name:?})", show_fd(&dir)))
}

/// linkat(2): gives the file `old_dir/old` the second name `new_dir/new`; symlinks are not followed.
pub fn link(old_dir: impl AsFd, old: &Path, new_dir: impl AsFd, new: &Path) -> Result<()> {
    single(old)
        .and_then(|()| single(new))
        .and_then(|()| nix::unistd::linkat(&old_dir, old, &new_dir, new, AtFlags::empty()))
        .named(|| format!("linkat({}, {old:?}, {}, {new:?})", show_fd(&old_dir), show_fd(&new_dir)))
}

/// unlinkat(2) of one name in `dir` that is no directory.
pub fn unlink(dir: impl AsFd, name: &Path) -> Result<()> {
    single(name)
        .and_then(|()| nix::unistd::unlinkat(&dir, name, nix::unistd::UnlinkatFlags::NoRemoveDir))
        .named(|| format!("unlinkat({}, {name:?})", show_fd(&dir)))
}

/// unlinkat(2) of an empty directory in `dir`.
pub fn rmdir(dir: impl AsFd, name: &Path) -> Result<()> {
    single(name)
        .and_then(|()| nix::unistd::unlinkat(&dir, name, nix::unistd::UnlinkatFlags::RemoveDir))
        .named(|| format!("unlinkat({}, {name:?}, AT_REMOVEDIR)", show_fd(&dir)))
}

/// renameat(2) of one name to another, each in its directory.
pub fn rename(old_dir: impl AsFd, old: &Path, new_dir: impl AsFd, new: &Path) -> Result<()> {
    nix::fcntl::renameat(&old_dir, old, &new_dir, new)
        .named(|| format!("renameat({}, {old:?}, {}, {new:?})", show_fd(&old_dir), show_fd(&new_dir)))
}

/// renameat2(2) with RENAME_EXCHANGE: two names in `dir` change places. EINVAL: the file system cannot do that.
pub fn exchange(dir: impl AsFd, one: &Path, other: &Path) -> Result<()> {
    nix::fcntl::renameat2(&dir, one, &dir, other, nix::fcntl::RenameFlags::RENAME_EXCHANGE)
        .named(|| format!("renameat2({}, {one:?}, {other:?}, RENAME_EXCHANGE)", show_fd(&dir)))
}

/// readlinkat(2) of one name in `dir`; the empty name reads the link that `dir` itself is.
pub fn read_link(dir: impl AsFd, name: &Path) -> Result<PathBuf> {
    nix::fcntl::readlinkat(&dir, name)
        .map(|target| PathBuf::from(std::ffi::OsString::from_vec(target.into_vec())))
        .named(|| format!("readlinkat({}, {name:?})", show_fd(&dir)))
}

/// fstat(2).
pub fn stat(fd: impl AsFd) -> Result<FileStat> {
    nix::sys::stat::fstat(&fd).named(|| format!("fstat({})", show_fd(&fd)))
}

/// fstatat(2) of a name below `dir`; a symlink is described, not followed.
pub fn stat_at(dir: impl AsFd, name: &Path) -> Result<FileStat> {
    nix::sys::stat::fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).named(|| stating(&dir, name))
}

/// As [`stat_at`]; `None` if there is no such name.
pub fn stat_if_there(dir: impl AsFd, name: &Path) -> Result<Option<FileStat>> {
    match nix::sys::stat::fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        done => done.map(Some).named(|| stating(&dir, name)),
    }
}

fn stating(dir: impl AsFd, name: &Path) -> String {
    format!("fstatat({}, {name:?})", show_fd(&dir))
}

/// The type bits of a file's mode.
pub fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT)
}

/// fstatfs(2): the magic number of the file system that `fd` lies on.
pub fn fs_magic(fd: impl AsFd) -> Result<i64> {
    nix::sys::statfs::fstatfs(&fd)
        .map(|fs| fs.filesystem_type().0)
        .named(|| format!("fstatfs({})", show_fd(&fd)))
}

/// fchmod(2).
pub fn chmod(fd: impl AsFd, mode: u32) -> Result<()> {
    nix::sys::stat::fchmod(&fd, Mode::from_bits_truncate(mode))
        .named(|| format!("fchmod({}, {mode:o})", show_fd(&fd)))
}

/// fchmodat(2) of one name in `dir`. Follows symlinks: only for a name that was just made.
pub fn chmod_at(dir: impl AsFd, name: &Path, mode: u32) -> Result<()> {
    let flags = nix::sys::stat::FchmodatFlags::FollowSymlink;
    single(name)
        .and_then(|()| nix::sys::stat::fchmodat(&dir, name, Mode::from_bits_truncate(mode), flags))
        .named(|| format!("fchmodat({}, {name:?}, {mode:o})", show_fd(&dir)))
}

/// fchownat(2) of a name in `dir`, symlinks not followed; the empty name is `dir` itself.
pub fn chown(dir: impl AsFd, name: &Path, uid: u32, gid: u32) -> Result<()> {
    let mut flags = AtFlags::AT_SYMLINK_NOFOLLOW;
    if name.as_os_str().is_empty() {
        flags |= AtFlags::AT_EMPTY_PATH;
    }
    nix::unistd::fchownat(&dir, name, Some(uid.into()), Some(gid.into()), flags)
        .named(|| format!("fchownat({}, {name:?}, {uid}, {gid})", show_fd(&dir)))
}

/// A second descriptor for the same open file, close-on-exec.
pub fn duplicate(fd: impl AsFd) -> Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned().named(|| format!("dup({})", show_fd(&fd)))
}

/// Reads to the end, but never more than `limit` bytes: EFBIG beyond.
pub fn read_all(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let call = || format!("read({})", show_fd(&fd));
    let mut bytes = vec![0; limit.saturating_add(1).min(4096)];
    let mut length = 0;
    loop {
        if length > limit {
            return Err(Error { call: call(), errno: Errno::EFBIG });
        }
        if length == bytes.len() {
            bytes.resize(limit.saturating_add(1).min(length * 2), 0);
        }
        match retry(|| nix::unistd::read(&fd, &mut bytes[length..])).named(call)? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// As [`read_all`], of a file that the kernel makes up as it is read (proc, cgroup): where it has little to say it says so at once, and
/// a read that leaves room in the buffer was the last.
pub fn read_kernel_file(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; FIRST_READ.min(limit)];
    let length = retry(|| nix::unistd::read(&fd, &mut bytes)).named(|| format!("read({})", show_fd(&fd)))?;
    if length == bytes.len() {
        bytes.extend(read_all(&fd, limit - length)?);
    } else {
        bytes.truncate(length);
    }
    Ok(bytes)
}

/// pread(2) of the first `limit` bytes, or fewer where the file is shorter.
pub fn read_from_start(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let length = nix::sys::uio::pread(&fd, &mut bytes, 0).named(|| format!("pread({})", show_fd(&fd)))?;
    bytes.truncate(length);
    Ok(bytes)
}

/// pwrite(2) of all of `bytes` at the start; the file's position stays where it is.
pub fn write_from_start(fd: impl AsFd, bytes: &[u8]) -> Result<()> {
    let file = std::fs::File::from(duplicate(&fd)?);
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).named(|| format!("pwrite({})", show_fd(&fd)))
}

/// Writes all of `bytes`; a file that takes only part of them gets the rest in further calls.
pub fn write_all(fd: impl AsFd, bytes: &[u8]) -> Result<()> {
    struct Raw<'a>(BorrowedFd<'a>);
    impl Write for Raw<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(nix::unistd::write(self.0, bytes)?)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    Raw(fd.as_fd()).write_all(bytes).named(|| format!("write({})", show_fd(&fd)))
}

/// Copies the rest of one file to another, in the kernel.
pub fn copy(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let (mut from_file, mut to_file) =
        (std::fs::File::from(duplicate(&from)?), std::fs::File::from(duplicate(&to)?));
    io::copy(&mut from_file, &mut to_file)
        .map(drop)
        .named(|| format!("copy({}, {})", show_fd(&from), show_fd(&to)))
}

/// Writes a kernel file (cgroup, proc) in one write, as those files need it.
pub fn write_once(fd: impl AsFd, bytes: &[u8]) -> Result<()> {
    retry(|| nix::unistd::write(&fd, bytes))
        .and_then(|n| if n == bytes.len() { Ok(()) } else { Err(Errno::EIO) })
        .named(|| format!("write({}, {:?})", show_fd(&fd), String::from_utf8_lossy(bytes)))
}

/// Opens `path` below `dir` without following symlinks, and reads it, at most `limit` bytes.
pub fn read_file(dir: impl AsFd, path: &Path, limit: usize) -> Result<Vec<u8>> {
    let fd = open(dir, path, Resolve::BeneathMounts, OFlag::O_RDONLY, 0)?;
    read_all(fd, limit)
}

/// The names in a directory, `.` and `..` left out, in the order the kernel gives.
pub fn list(dir: impl AsFd) -> Result<Vec<PathBuf>> {
    names(dir)?.collect()
}

/// As [`list`], but read as they are asked for, however many there are: those that are removed or made meanwhile may be among them or not.
pub fn names<'a>(dir: impl AsFd + 'a) -> Result<impl Iterator<Item = Result<PathBuf>> + 'a> {
    let own = open(&dir, Path::new("."), Resolve::Beneath, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
    let call = move || format!("getdents({})", show_fd(&dir));
    let stream = nix::dir::Dir::from_fd(own).named(&call)?;
    let name =
        |entry: nix::dir::Entry| PathBuf::from(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
    let names = stream.into_iter().map(move |entry| entry.map(name).named(&call));
    Ok(names.filter(|name| !matches!(name, Ok(name) if name.as_os_str() == "." || name.as_os_str() == "..")))
}

/// faccessat2(2), Linux 5.8: whether the effective user may execute the file that `fd` is.
pub fn may_execute(fd: impl AsFd) -> Result<()> {
    let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
    let (raw, empty) = (fd.as_fd().as_raw_fd(), c"");
    // SAFETY: the empty name ends in NUL.
    let result = unsafe { libc::syscall(libc::SYS_faccessat2, raw, empty.as_ptr(), libc::X_OK, flags) };
    Errno::result(result).map(drop).named(|| format!("faccessat2({}, X_OK)", show_fd(&fd)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::{Errno, read_all};

    #[test]
    fn reading_ends_at_the_limit() {
        for (size, limit, ok) in [
            (0, 0, true),
            (1, 0, false),
            (4095, 4095, true),
            (4096, 4096, true),
            (4097, 4097, true),
            (5000, 4999, false),
            (100_000, 1 << 20, true),
        ] {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let data: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let copy = data.clone();
            let thread = std::thread::spawn(move || writer.write_all(&copy));
            match read_all(reader.as_fd(), limit) {
                Ok(bytes) => assert!(ok && bytes == data, "{size} {limit}"),
                Err(error) => assert_eq!((ok, error.errno), (false, Errno::EFBIG)),
            }
            drop(reader);
            drop(thread.join().unwrap());
        }
    }
}
