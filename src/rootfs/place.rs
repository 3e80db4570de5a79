//! Where mounts are attached: one name in a directory that was resolved inside the root, which the kernel looks up without following
//! a symlink; and the descriptors that are spent on the way.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::root::{Leaf, RootFd};
use crate::sys::mount;
use crate::sys::{Errno, Result, descriptors, fd};

/// How many spent descriptors are kept before they are closed after all.
const MANY: usize = 100;

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

/// Finds the directories that mounts are attached in. The last one is kept: `/dev` has three mounts in most containers. No more than
/// one may be, since a mount can cover any other.
#[derive(Debug, Default)]
pub(super) struct Places {
    last: Option<(PathBuf, OwnedFd)>,
    /// Where file systems that had nothing in them were attached.
    empty: Vec<PathBuf>,
    old: Spent,
}

impl Places {
    /// Attaches a directory's mount at `destination`, which is made if it is missing; a destination that is a symlink is followed
    /// inside the root. With `plain` no component may be a symlink: ELOOP or ENOTDIR.
    pub(super) fn attach(
        &mut self,
        root: &RootFd,
        made: &OwnedFd,
        destination: &Path,
        plain: bool,
    ) -> Result<()> {
        let Some((parent, name)) = split(destination) else {
            self.last = None;
            return mount::attach(made, root.find(destination)?, Path::new(""));
        };
        let make_first = self.empty.iter().any(|empty| empty == parent);
        let result = match self.directory(root, parent, plain)? {
            Some(dir) => attach_to_name(made, dir, name, make_first),
            None => attach_to_name(made, root, name, make_first),
        };
        match result {
            // The name is a symlink or no directory.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::ENOTDIR) => {
                self.last = None;
                let target = match plain {
                    true => root.plain_directory(destination)?,
                    false => root.find_or_make(destination, Leaf::Directory)?,
                };
                mount::attach(made, target, Path::new(""))
            }
            done => done,
        }
    }

    /// What was just attached here is empty: whatever goes below must be made first.
    pub(super) fn mark_empty(&mut self, destination: &Path) {
        self.empty.push(destination.to_owned());
    }

    /// No more mounts come.
    pub(super) fn spend(&mut self, spent: &mut Spent) {
        std::mem::take(&mut self.old).leave_open();
        self.last.take().into_iter().for_each(|(_, dir)| spent.put(dir));
    }

    /// Forgets what may be covered now.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// The directory `path`, made if missing; `None` for the root itself.
    fn directory(&mut self, root: &RootFd, path: &Path, plain: bool) -> Result<Option<&OwnedFd>> {
        if path == Path::new("/") {
            self.last.take().into_iter().for_each(|(_, other)| self.old.put(other));
            return Ok(None);
        }
        let known = self.last.take_if(|(known, _)| !plain && known == path);
        self.last.take().into_iter().for_each(|(_, other)| self.old.put(other));
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
