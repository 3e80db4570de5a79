//! The container's root as a directory fd, and the only ways to reach what lies below it. A path of config.json or of the image is
//! an allegation: it is resolved once, inside the root, to an fd (CVE-2019-18837, CVE-2021-30465, CVE-2024-45310).

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use crate::sys::fd::{self, Resolve};
use crate::sys::{Errno, Error, Result};

/// As many symlinks as the kernel follows.
const MAX_SYMLINKS: usize = 40;

/// The root of a mount, in which everything else is found.
#[derive(Debug)]
pub struct RootFd(OwnedFd);

/// What a path is to end in, where nothing is yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644, to mount something on.
    File,
}

impl AsFd for RootFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A path as openat2(2) wants it: without the leading slash, and `.` for the root itself.
fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

impl RootFd {
    /// The root of a mount.
    pub fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// What `path` leads to, if it leads to anything.
    pub fn find_if_there(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match fd::open_if_there(&self.0, relative(path), Resolve::InRoot, OFlag::O_PATH) {
            Err(error) if error.errno == Errno::ENOTDIR => Ok(None),
            done => done,
        }
    }

    /// What `path` leads to, symlinks followed inside the root.
    pub fn find(&self, path: &Path) -> Result<OwnedFd> {
        fd::open(&self.0, relative(path), Resolve::InRoot, OFlag::O_PATH, 0)
    }

    /// What `path` names; ELOOP if the last component is a symlink.
    pub fn find_nofollow(&self, path: &Path) -> Result<OwnedFd> {
        let found = fd::open(&self.0, relative(path), Resolve::InRoot, OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)?;
        match fd::file_type(&fd::stat(&found)?) {
            SFlag::S_IFLNK => Err(Error { call: format!("open({path:?})"), errno: Errno::ELOOP }),
            _ => Ok(found),
        }
    }

    /// The directory that `path` names; ELOOP if any component is a symlink, ENOTDIR if it is something else.
    pub fn plain_directory(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match fd::open_if_there(&self.0, relative(path), Resolve::BeneathMounts, flags)? {
            Some(found) => Ok(found),
            None => {
                self.find_or_make(path, Leaf::Directory)?;
                fd::open(&self.0, relative(path), Resolve::BeneathMounts, flags, 0)
            }
        }
    }

    /// What `path` leads to; what is missing on the way, and at its end, is made. Dangling symlinks are followed inside the root.
    pub fn find_or_make(&self, path: &Path, leaf: Leaf) -> Result<OwnedFd> {
        let flags = match leaf {
            Leaf::Directory => OFlag::O_PATH | OFlag::O_DIRECTORY,
            Leaf::File => OFlag::O_PATH,
        };
        let found = match fd::open_if_there(&self.0, relative(path), Resolve::BeneathMounts, flags) {
            Ok(Some(found)) => found,
            Err(error) if error.errno != Errno::ELOOP => return Err(error),
            Ok(None) | Err(_) => self.follow(path, leaf, flags)?,
        };
        if leaf == Leaf::File && fd::file_type(&fd::stat(&found)?) == SFlag::S_IFDIR {
            return Err(Error { call: format!("open({path:?}) as a file"), errno: Errno::EISDIR });
        }
        Ok(found)
    }

    /// As far as there are symlinks, or nothing yet. What the image's symlinks lead to may not be in a procfs, where a mount could take
    /// the place of files that programs trust (CVE-2019-19921).
    fn follow(&self, path: &Path, leaf: Leaf, flags: OFlag) -> Result<OwnedFd> {
        let found = match fd::open_if_there(&self.0, relative(path), Resolve::InRoot, flags)? {
            Some(found) => found,
            None => self.walk(path, leaf)?,
        };
        if !relative(path).starts_with("proc") && fd::fs_magic(&found)? == libc::PROC_SUPER_MAGIC {
            return Err(Error {
                call: format!("open({path:?}), which leads into a procfs"),
                errno: Errno::ELOOP,
            });
        }
        Ok(found)
    }

    /// The directory that holds `path` (made if missing), and its last component.
    pub fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a Path)> {
        let invalid = || Error { call: format!("open({path:?})"), errno: Errno::EINVAL };
        let name = path.file_name().ok_or_else(invalid)?;
        let dir = self.find_or_make(path.parent().unwrap_or(Path::new("/")), Leaf::Directory)?;
        Ok((dir, Path::new(name)))
    }

    /// Component by component, each one opened in the one before it, so that nothing can be swapped in between.
    fn walk(&self, path: &Path, leaf: Leaf) -> Result<OwnedFd> {
        let mut todo = components(path);
        let mut trail: Vec<OwnedFd> = Vec::new();
        let mut symlinks = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                trail.pop();
                continue;
            }
            let at = trail.last().map_or(self.0.as_fd(), AsFd::as_fd);
            let last = todo.is_empty();
            let kind = if last { leaf } else { Leaf::Directory };
            let next = open_or_make(at, Path::new(&name), kind)?;
            if fd::file_type(&fd::stat(&next)?) == SFlag::S_IFLNK {
                symlinks += 1;
                if symlinks > MAX_SYMLINKS {
                    return Err(Error { call: format!("open({path:?})"), errno: Errno::ELOOP });
                }
                let target = fd::read_link(&next, Path::new(""))?;
                if target.is_absolute() {
                    trail.clear();
                }
                todo.extend(components(&target));
            } else {
                trail.push(next);
            }
        }
        match trail.pop() {
            Some(end) => Ok(end),
            None => fd::open(&self.0, Path::new("."), Resolve::Beneath, OFlag::O_PATH, 0),
        }
    }
}

/// The components of a path, last first, `.` left out.
fn components(path: &Path) -> Vec<OsString> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    let mut list: Vec<OsString> = named.collect();
    list.reverse();
    list
}

/// Opens one name in `dir`, a symlink as itself, and makes it if nothing is there. Somebody else making it first is as good.
fn open_or_make(dir: BorrowedFd<'_>, name: &Path, leaf: Leaf) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    if let Some(found) = fd::open_if_there(dir, name, Resolve::BeneathNofollow, flags)? {
        return Ok(found);
    }
    let made = match leaf {
        Leaf::Directory => fd::mkdir(dir, name, 0o755),
        Leaf::File => fd::mknod(dir, name, SFlag::S_IFREG, 0o644, 0, 0),
    };
    match made {
        Err(error) if error.errno != Errno::EEXIST => Err(error),
        _ => fd::open(dir, name, Resolve::BeneathNofollow, flags, 0),
    }
}

/// The path as a person would write it below a root.
pub fn shown(path: &Path) -> PathBuf {
    Path::new("/").join(relative(path))
}
