//! Mounts as descriptors (Linux 5.2, mount_setattr 5.12): made and given their attributes while detached, then attached to a
//! directory that was resolved once.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use super::error::{Named, Result, show_fd};

const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSCONFIG_CMD_RECONFIGURE: libc::c_uint = 7;
const FSPICK_CLOEXEC: libc::c_uint = 0x01;
const FSPICK_EMPTY_PATH: libc::c_uint = 0x08;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;

fn c_string(text: &[u8]) -> nix::Result<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

fn take_fd(result: libc::c_long) -> nix::Result<OwnedFd> {
    // SAFETY: called only with the result of a system call that returns a new descriptor, which nobody else owns.
    Errno::result(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A file system being configured: fsopen(2) to fsmount(2).
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    fstype: String,
}

impl FsContext {
    /// fsopen(2). ENODEV: the kernel does not know the type.
    pub fn open(fstype: &str) -> Result<Self> {
        let call = || format!("fsopen({fstype:?})");
        let name = c_string(fstype.as_bytes()).named(call)?;
        // SAFETY: `name` ends in NUL and outlives the call; flag 1 is FSOPEN_CLOEXEC.
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), 1) };
        Ok(Self { fd: take_fd(fd).named(call)?, fstype: fstype.to_owned() })
    }

    /// fspick(2): the instance of the file system that `mounted`, a mount's root, shows, to be configured anew.
    pub fn pick(mounted: impl AsFd) -> Result<Self> {
        let (fd, flags) = (mounted.as_fd().as_raw_fd(), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
        // SAFETY: the empty name ends in NUL and outlives the call.
        let context = unsafe { libc::syscall(libc::SYS_fspick, fd, c"".as_ptr(), flags) };
        let context = take_fd(context).named(|| format!("fspick({})", show_fd(&mounted)))?;
        Ok(Self { fd: context, fstype: show_fd(&mounted) })
    }

    /// Gives a picked instance what was set.
    pub fn reconfigure(&self) -> Result<()> {
        let call = || format!("fsconfig({}, RECONFIGURE){}", self.fstype, self.message());
        self.config(FSCONFIG_CMD_RECONFIGURE, ptr::null(), ptr::null()).named(call)
    }

    /// fsconfig(2): `key=value`, or the flag `key`.
    pub fn set(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        let shown = || value.map(String::from_utf8_lossy).unwrap_or_default();
        let call = || format!("fsconfig({}, {key:?}, {:?})", self.fstype, shown());
        let key_c = c_string(key.as_bytes()).named(call)?;
        let value_c = value.map(c_string).transpose().named(call)?;
        let command = if value_c.is_some() { FSCONFIG_SET_STRING } else { FSCONFIG_SET_FLAG };
        let value_ptr = value_c.as_ref().map_or(ptr::null(), |value| value.as_ptr());
        self.config(command, key_c.as_ptr(), value_ptr).named(call)
    }

    fn config(
        &self,
        command: libc::c_uint,
        key: *const libc::c_char,
        value: *const libc::c_char,
    ) -> nix::Result<()> {
        // SAFETY: key and value are null or point to strings that end in NUL and that the caller keeps alive; no other command
        // than the four above is passed, and these take strings or nothing.
        let result =
            unsafe { libc::syscall(libc::SYS_fsconfig, self.fd.as_raw_fd(), command, key, value, 0) };
        Errno::result(result).map(drop)
    }

    /// Makes the superblock and one detached mount of it with these `MOUNT_ATTR_*` bits.
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        let create = || format!("fsconfig({}, CREATE){}", self.fstype, self.message());
        self.config(FSCONFIG_CMD_CREATE, ptr::null(), ptr::null()).named(create)?;
        // SAFETY: takes only integers; flag 1 is FSMOUNT_CLOEXEC.
        let fd =
            unsafe { libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), 1, attributes as libc::c_uint) };
        take_fd(fd).named(|| format!("fsmount({}, {attributes:#x})", self.fstype))
    }

    /// What the file system says of a refused configuration (the first line of its log), as ` [text]`.
    fn message(&self) -> String {
        let mut buffer = [0_u8; 256];
        match nix::unistd::read(&self.fd, &mut buffer) {
            Ok(n) => format!(" [{}]", String::from_utf8_lossy(&buffer[..n]).trim().trim_start_matches("e ")),
            Err(_) => String::new(),
        }
    }
}

impl From<FsContext> for OwnedFd {
    fn from(context: FsContext) -> Self {
        context.fd
    }
}

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `path` below `dir`. The empty path is what `dir` is itself.
pub fn clone_tree(dir: impl AsFd, path: &Path, recursive: bool, follow: bool) -> Result<OwnedFd> {
    let call = || format!("open_tree({}, {path:?})", show_fd(&dir));
    let name = c_string(path.as_os_str().as_bytes()).named(call)?;
    let flags = clone_flags(path, recursive, follow);
    // SAFETY: `name` ends in NUL and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, dir.as_fd().as_raw_fd(), name.as_ptr(), flags) };
    take_fd(fd).named(call)
}

/// The same, and the copy has other attributes: open_tree_attr(2), Linux 6.15, or what it does in two calls.
pub fn clone_tree_with(
    change: MountAttr<'_>,
    dir: impl AsFd,
    path: &Path,
    recursive: bool,
) -> Result<OwnedFd> {
    /// `SYS_open_tree_attr` on all architectures.
    const OPEN_TREE_ATTR: libc::c_long = 467;
    static MISSING: AtomicBool = AtomicBool::new(false);
    if !MISSING.load(Ordering::Relaxed) {
        let name = c_string(path.as_os_str().as_bytes()).named(|| format!("open_tree_attr({path:?})"))?;
        let (flags, attr) = (clone_flags(path, recursive, false), change.as_passed());
        // SAFETY: `name` ends in NUL, `attr` is passed with its own size; both outlive the call.
        let fd = unsafe {
            libc::syscall(
                OPEN_TREE_ATTR,
                dir.as_fd().as_raw_fd(),
                name.as_ptr(),
                flags,
                &raw const attr,
                size_of::<libc::mount_attr>(),
            )
        };
        if fd >= 0 || Errno::last() == Errno::ENOENT {
            return take_fd(fd).named(|| format!("open_tree_attr({}, {path:?})", show_fd(&dir)));
        }
        // It is not there, or a filter around keg does not know it; anything else the two calls say better.
        MISSING.store(true, Ordering::Relaxed);
    }
    let tree = clone_tree(dir, path, recursive, false)?;
    set_attributes(&tree, change, recursive)?;
    Ok(tree)
}

fn clone_flags(path: &Path, recursive: bool, follow: bool) -> libc::c_uint {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= libc::AT_EMPTY_PATH as libc::c_uint;
    }
    if recursive {
        flags |= libc::AT_RECURSIVE as libc::c_uint;
    }
    if !follow {
        flags |= libc::AT_SYMLINK_NOFOLLOW as libc::c_uint;
    }
    flags
}

/// move_mount(2): attaches `mount` to what `target` is, or to the one name `name` in it, which is not followed if it is a symlink.
pub fn attach(mount: impl AsFd, target: impl AsFd, name: &Path) -> Result<()> {
    move_mount(&mount, &target, name).named(|| format!("move_mount(mount, {}, {name:?})", show_fd(&target)))
}

/// As [`attach`]; false if there is no such name.
pub fn attach_if_there(mount: impl AsFd, target: impl AsFd, name: &Path) -> Result<bool> {
    match move_mount(&mount, &target, name) {
        Err(Errno::ENOENT) => Ok(false),
        done => done.map(|()| true).named(|| format!("move_mount(mount, {}, {name:?})", show_fd(&target))),
    }
}

fn move_mount(mount: impl AsFd, target: impl AsFd, name: &Path) -> nix::Result<()> {
    let name = c_string(name.as_os_str().as_bytes())?;
    let mut flags = MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MOVE_MOUNT_T_EMPTY_PATH;
    }
    let empty = c"";
    // SAFETY: both names end in NUL and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_fd().as_raw_fd(),
            empty.as_ptr(),
            target.as_fd().as_raw_fd(),
            name.as_ptr(),
            flags,
        )
    };
    Errno::result(result).map(drop)
}

/// A file system as mount(2) takes it.
#[derive(Debug)]
pub struct Made<'a> {
    /// Its type.
    pub fstype: &'a str,
    /// What the mount table shows as its source.
    pub source: Option<&'a Path>,
    /// `MOUNT_ATTR_*`, of those that are the same bits of mount(2). Read-only is the whole file system then.
    pub attributes: u64,
    /// Its options, with commas between.
    pub options: String,
}

impl Made<'_> {
    const ATTRIBUTES: u64 =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
}

/// mount(2) over one name in the working directory, which must be known not to be a symlink: it would be followed. One call in place of
/// six and more.
pub fn make_here(name: &Path, made: &Made<'_>) -> Result<()> {
    let flags = MsFlags::from_bits_truncate((made.attributes & Made::ATTRIBUTES) as libc::c_ulong);
    let options = Some(made.options.as_str()).filter(|options| !options.is_empty());
    nix::mount::mount(made.source, name, Some(made.fstype), flags, options)
        .named(|| format!("mount({}, {name:?}, {:?})", made.fstype, made.options))
}

/// mount(2) with MS_BIND: attaches the mount at `source`, without those below it, to one name in the working directory, which must be
/// known not to be a symlink. One call in place of two, and no descriptor.
pub fn bind_here(name: &Path, source: &Path) -> Result<()> {
    let none = None::<&str>;
    nix::mount::mount(Some(source), name, none, MsFlags::MS_BIND, none)
        .named(|| format!("mount({source:?}, {name:?}, MS_BIND)"))
}

/// What mount_setattr(2) changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct MountAttr<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// The user namespace whose mappings an id-mapped mount takes.
    pub idmap: Option<BorrowedFd<'a>>,
}

/// Mount events come in, and do not go out.
pub const SLAVE: MountAttr<'_> = MountAttr { set: 0, clear: 0, propagation: libc::MS_SLAVE, idmap: None };

impl MountAttr<'_> {
    fn as_passed(&self) -> libc::mount_attr {
        libc::mount_attr {
            attr_set: self.set | if self.idmap.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
            attr_clr: self.clear,
            propagation: self.propagation,
            userns_fd: self.idmap.map_or(0, |fd| fd.as_raw_fd() as u64),
        }
    }
}

/// mount_setattr(2) of the mount that `mount` is the root of.
pub fn set_attributes(mount: impl AsFd, change: MountAttr<'_>, recursive: bool) -> Result<()> {
    set_attributes_at(mount, c"", change, recursive)
}

/// mount_setattr(2) of `/`.
pub fn set_root_propagation(propagation: u64, recursive: bool) -> Result<()> {
    let change = MountAttr { propagation, ..MountAttr::default() };
    set_attributes_at(super::fd::cwd(), c"/", change, recursive)
}

fn set_attributes_at(
    dir: impl AsFd,
    path: &std::ffi::CStr,
    change: MountAttr<'_>,
    recursive: bool,
) -> Result<()> {
    let attr = change.as_passed();
    let mut flags = 0;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` ends in NUL; `attr` is passed with its own size and outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_fd().as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop).named(|| {
        let (set, clear, propagation) = (attr.attr_set, attr.attr_clr, attr.propagation);
        format!(
            "mount_setattr({}, set={set:#x}, clear={clear:#x}, propagation={propagation:#x})",
            show_fd(&dir)
        )
    })
}

/// Makes the directory `root`, a mount's root, the root of this mount namespace and the working directory, and lets go of the old one:
/// of that mount, and of the `over` that were attached over its root.
pub fn pivot(root: impl AsFd, over: usize) -> Result<()> {
    nix::unistd::fchdir(&root).named(|| format!("fchdir({})", show_fd(&root)))?;
    nix::unistd::pivot_root(".", ".").named(|| "pivot_root(\".\", \".\")".to_owned())?;
    // The old root lies on top of the new one, in which this process has been since the first call. The topmost mount goes first.
    (0..=over).try_for_each(|_| {
        nix::mount::umount2(".", MntFlags::MNT_DETACH).named(|| "umount2(old root, MNT_DETACH)".to_owned())
    })
}

/// Moves the mount `root` over `/`, and enters it as the working directory (where pivot_root(2) cannot work: `/` is a ramfs).
pub fn move_over(root: impl AsFd) -> Result<()> {
    nix::unistd::fchdir(&root).named(|| format!("fchdir({})", show_fd(&root)))?;
    attach(&root, super::fd::cwd(), Path::new("/"))
}

/// /proc/self/mountinfo writes space, tab, newline and backslash as three octal digits.
pub fn unescape(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                whole.push(char::from(byte));
                whole.push_str(&part[3..]);
            }
            None => whole.push_str(part),
        }
    }
    PathBuf::from(whole)
}

/// chroot(2) to a directory.
pub fn change_root(root: impl AsFd) -> Result<()> {
    nix::unistd::fchdir(&root).named(|| format!("fchdir({})", show_fd(&root)))?;
    nix::unistd::chroot(".").named(|| "chroot(\".\")".to_owned())?;
    super::directory::change_dir_to_root()
}

/// umount2(2) with MNT_DETACH of a host path, a final symlink not followed.
pub fn detach(path: &Path) -> Result<()> {
    nix::mount::umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
        .named(|| format!("umount2({path:?}, MNT_DETACH)"))
}

/// statx(2): the id of the mount that `fd` lies on, as in /proc/self/mountinfo.
pub fn mount_id(fd: impl AsFd) -> Result<u64> {
    // SAFETY: statx is a plain structure of integers for which zero is a valid value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let (empty, flags) = (c"", libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW);
    // SAFETY: the empty name ends in NUL, and the kernel writes one statx structure into `stat`.
    let result = unsafe {
        libc::statx(fd.as_fd().as_raw_fd(), empty.as_ptr(), flags, libc::STATX_MNT_ID, &raw mut stat)
    };
    Errno::result(result).map(|_| stat.stx_mnt_id).named(|| format!("statx({})", show_fd(&fd)))
}
