//! Where mounts are attached: one name in a directory that was resolved inside the root, which the kernel looks up without following
//! a symlink; and the descriptors that are spent on the way.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::root::{Leaf, RootFd};
use crate::sys::fd::{self, Resolve};
use crate::sys::mount::{self, Made};
use crate::sys::{Errno, Result, descriptors, directory};

/// How many spent descriptors are kept before they are closed after all.
const MANY: usize = 100;
/// How many file systems of keg's own are remembered, over each other.
const FEW: usize = 8;
/// The one directory in them that is passed through: that of `/sys/fs/cgroup`.
const PASSED: &str = "fs";

/// Descriptors that nobody needs any more. Init closes everything at once before its program; closing them one by one would be a
/// sixth of all system calls of a start.
#[derive(Debug, Default)]
pub(super) struct Spent(Vec<OwnedFd>);

impl Spent {
    pub(super) fn put(&mut self, descriptor: impl Into<OwnedFd>) {
        if self.0.len() >= MANY {
            descriptors::close_all(std::mem::take(&mut self.0));
        }
        self.0.push(descriptor.into());
    }

    /// They stay open: the caller promises to close the whole range.
    pub(super) fn leave_open(self) {
        std::mem::forget(self.0);
    }
}

/// A file system that keg has made, at one name in the root where no symlink is. What is in it is the kernel's, or keg's.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    root: OwnedFd,
    /// Something may have been mounted over it.
    covered: bool,
}

/// Finds the directories that mounts are attached in. The last one is kept: `/dev` has three mounts in most containers. No more than
/// one may be, since a mount can cover any other.
#[derive(Debug, Default)]
pub(super) struct Places {
    last: Option<(PathBuf, OwnedFd)>,
    /// Where file systems that had nothing in them were attached.
    empty: Vec<PathBuf>,
    own: Vec<Own>,
    /// Whether the working directory is in the container, and which of `own` it is.
    inside: Option<Option<usize>>,
    old: Spent,
}

impl Places {
    /// Attaches a directory's mount at `destination`, which is made if it is missing; a destination that is a symlink is followed
    /// inside the root. With `plain` no component may be a symlink: ELOOP or ENOTDIR. True: it is one name in the root, which is none.
    pub(super) fn attach(
        &mut self,
        root: &RootFd,
        made: &OwnedFd,
        destination: &Path,
        plain: bool,
    ) -> Result<bool> {
        let Some((parent, name)) = split(destination) else {
            self.forget();
            return mount::attach(made, root.find(destination)?, Path::new("")).map(|()| false);
        };
        self.cover(|path| name == PASSED || path.file_name() == Some(name));
        let make_first = self.empty.iter().any(|empty| empty == parent);
        let result = match self.directory(root, parent, plain)? {
            Some(dir) => attach_to_name(made, dir, name, make_first).map(|()| false),
            None => attach_to_name(made, root, name, make_first).map(|()| true),
        };
        match result {
            // The name is a symlink or no directory.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::ENOTDIR) => {
                self.forget();
                let target = match plain {
                    true => root.plain_directory(destination)?,
                    false => root.find_or_make(destination, Leaf::Directory)?,
                };
                mount::attach(made, target, Path::new("")).map(|()| false)
            }
            done => done,
        }
    }

    /// What was just attached here is empty: whatever goes below must be made first.
    pub(super) fn mark_empty(&mut self, destination: &Path) {
        self.empty.push(destination.to_owned());
    }

    /// What was just attached at this one name in the root was made by keg, in a mount namespace that nobody else is in.
    pub(super) fn own(&mut self, destination: &Path, made: OwnedFd) {
        match self.own.len() < FEW {
            true => self.own.push(Own { path: destination.to_owned(), root: made, covered: false }),
            false => self.old.put(made),
        }
    }

    fn position(&self, path: &Path) -> Option<usize> {
        self.own.iter().position(|own| !own.covered && own.path == path)
    }

    /// The root of keg's own file system that is at this path.
    pub(super) fn find_own(&self, path: &Path) -> Option<&OwnedFd> {
        self.position(path).map(|at| &self.own[at].root)
    }

    /// The one name that `path` is in a file system of keg's own.
    pub(super) fn in_own<'a>(&self, path: &'a Path) -> Option<(&OwnedFd, &'a Path)> {
        let (parent, name) = split(path)?;
        Some((self.find_own(parent)?, Path::new(name)))
    }

    /// Makes a file system over a directory that is made for it in one of keg's own, where nobody could have put a symlink. False: it has
    /// to be made the other way, which says why if it cannot be.
    pub(super) fn make(&mut self, destination: &Path, what: &Made<'_>) -> Result<bool> {
        let Some((parent, name)) = split(destination) else { return Ok(false) };
        let Some(at) = self.position(parent) else { return Ok(false) };
        let name = Path::new(name);
        if fd::mkdir(&self.own[at].root, name, 0o755).is_err() {
            return Ok(false);
        }
        self.make_at(at, name, what)
    }

    /// The same over a directory of the kernel's, with no symlink on the way, in keg's own file system at `path`. Its root comes back.
    pub(super) fn make_over(&mut self, path: &Path, name: &Path, what: &Made<'_>) -> Result<Option<OwnedFd>> {
        let Some(at) = self.position(path) else { return Ok(None) };
        if !self.make_at(at, name, what)? {
            return Ok(None);
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        fd::open(&self.own[at].root, name, Resolve::BeneathMounts, flags, 0).map(Some)
    }

    fn make_at(&mut self, at: usize, name: &Path, what: &Made<'_>) -> Result<bool> {
        if self.inside != Some(Some(at)) {
            directory::change_dir(&self.own[at].root)?;
            self.inside = Some(Some(at));
        }
        Ok(mount::make_here(name, what).is_ok())
    }

    /// Binds directories of the host over names in `dir`, none of which is a symlink, where nobody else is in this mount namespace.
    pub(super) fn bind(&mut self, dir: &OwnedFd, binds: &[(&Path, PathBuf)]) -> Result<()> {
        directory::change_dir(dir)?;
        self.inside = Some(None);
        binds.iter().try_for_each(|(name, source)| mount::bind_here(name, source))
    }

    /// Makes the host's `/` the working directory, if it is in the container. No name is looked up in it otherwise.
    pub(super) fn leave(&mut self) -> Result<()> {
        self.inside.take().map_or(Ok(()), |_| directory::change_dir_to_root())
    }

    /// No more mounts come.
    pub(super) fn spend(&mut self, spent: &mut Spent) {
        std::mem::take(&mut self.old).leave_open();
        let own = std::mem::take(&mut self.own).into_iter().map(|own| own.root);
        own.chain(self.last.take().map(|(_, dir)| dir)).for_each(|dir| spent.put(dir));
    }

    /// Forgets what may be covered now.
    pub(super) fn forget(&mut self) {
        self.last.take().into_iter().for_each(|(_, other)| self.old.put(other));
        self.cover(|_| true);
    }

    fn cover(&mut self, may_be: impl Fn(&Path) -> bool) {
        self.own.iter_mut().for_each(|own| own.covered |= may_be(&own.path));
    }

    /// The directory `path`, made if missing; `None` for the root itself.
    fn directory(&mut self, root: &RootFd, path: &Path, plain: bool) -> Result<Option<&OwnedFd>> {
        let known = self.last.take_if(|(known, _)| !plain && known == path);
        self.last.take().into_iter().for_each(|(_, other)| self.old.put(other));
        if path == Path::new("/") {
            return Ok(None);
        }
        let dir = match known {
            Some((_, dir)) => dir,
            None if plain => root.plain_directory(path)?,
            None => root.find_or_make(path, Leaf::Directory)?,
        };
        Ok(Some(&self.last.insert((path.to_owned(), dir)).1))
    }
}

/// The parent and the last component, where both are plain names.
fn split(destination: &Path) -> Option<(&Path, &OsStr)> {
    Some((destination.parent()?, destination.file_name()?))
}

fn attach_to_name(made: &OwnedFd, dir: impl AsFd, name: &OsStr, make_first: bool) -> Result<()> {
    let name = Path::new(name);
    if !make_first && mount::attach_if_there(made, &dir, name)? {
        return Ok(());
    }
    match fd::mkdir(&dir, name, 0o755) {
        Err(error) if error.errno != Errno::EEXIST => Err(error),
        _ => mount::attach(made, dir, name),
    }
}
