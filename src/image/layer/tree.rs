//! The tree that layers are applied to, below one root fd. A directory in it is known by its real
//! path (no symlink in it) and an fd; every open is `openat2` that refuses symlinks, so a name can
//! lead nowhere but into the tree. Symlinks on the way are read and followed here, inside the root.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::directories::Directories;
use super::entry::Attributes;
use super::error::{EntryError, Shown};
use super::made::{Made, Mark};
use super::metadata::Owners;
use super::path::{self, PATH_MAX};
use crate::image::limits::Limits;
use crate::image::remove::remove_all;
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno};

/// A directory of the tree.
#[derive(Debug)]
pub struct Directory {
    /// It, opened with O_PATH.
    pub fd: OwnedFd,
    /// Its path below the root; empty for the root.
    pub path: Vec<u8>,
}

/// The tree under construction.
#[derive(Debug)]
pub struct Tree {
    pub(super) root: OwnedFd,
    depth: usize,
    parents: HashMap<Vec<u8>, Rc<Directory>>,
    pub(super) directories: Directories,
    /// What the layer being applied has made; none if it is the lowest.
    made: Option<Made>,
    entries: u64,
    /// How owners are kept.
    pub owners: Owners,
    /// What could not be done and does not matter enough to fail: text and how often.
    pub notes: BTreeMap<String, u64>,
}

/// How many directories are kept open.
const OPEN: usize = 128;
/// How many different notes are kept.
const NOTES: usize = 64;
/// How many symlinks one name may lead through, as in the kernel.
const HOPS: usize = 40;

/// A name of an entry for a system call.
pub fn as_path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

impl Tree {
    /// A tree in an empty directory.
    pub fn new(root: OwnedFd, limits: &Limits, owners: Owners) -> Self {
        let base = Attributes { mode: 0o755, ..Attributes::default() };
        Self {
            root,
            depth: limits.depth,
            parents: HashMap::new(),
            directories: Directories::new(base, limits.directory_bytes),
            made: None,
            entries: limits.entries,
            owners,
            notes: BTreeMap::new(),
        }
    }

    /// Says that the entries from here on are of another layer.
    pub fn next_layer(&mut self, has_lower: bool) {
        self.made = has_lower.then(|| Made::new(self.entries));
    }

    /// Counts something that could not be done. The texts have names of the image in them: there are so many and no more.
    pub fn note(&mut self, text: &str) {
        let is_new = !self.notes.contains_key(text);
        let text = if is_new && self.notes.len() >= NOTES { "more was left out" } else { text };
        *self.notes.entry(text.to_owned()).or_default() += 1;
    }

    /// Whether there is a lower layer to delete from.
    pub fn has_lower(&self) -> bool {
        self.made.is_some()
    }

    /// Remembers an entry of the current layer.
    pub fn own(&mut self, path: &[u8]) -> Result<(), EntryError> {
        self.mark(path, Mark::Own).map(drop)
    }

    /// Whether the current layer has made this.
    pub fn is_own(&self, path: &[u8]) -> bool {
        self.is_marked(path, [Mark::Own, Mark::OwnDirectory])
    }

    /// Remembers that a directory holds nothing of a lower layer; `false` where that was known.
    pub fn clean(&mut self, path: &[u8]) -> Result<bool, EntryError> {
        if self.is_clean(path) { Ok(false) } else { self.mark(path, Mark::Emptied) }
    }

    /// Whether a directory is known to hold nothing of a lower layer: if it is there, then because
    /// the current layer needs it.
    pub fn is_clean(&self, path: &[u8]) -> bool {
        self.is_marked(path, [Mark::Emptied, Mark::OwnDirectory])
    }

    fn mark(&mut self, path: &[u8], mark: Mark) -> Result<bool, EntryError> {
        self.made.as_mut().map_or(Ok(false), |made| made.insert(path, mark))
    }

    fn is_marked(&self, path: &[u8], marks: [Mark; 2]) -> bool {
        self.made.as_ref().is_some_and(|made| made.has(path, marks))
    }

    /// Opens a directory by its real path.
    pub fn open(&self, path: &[u8], flags: OFlag) -> sys::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        fd::open(&self.root, as_path(path), Resolve::Beneath, flags | OFlag::O_DIRECTORY, 0)
    }

    /// The directory that a path leads to, made with its parents where it is missing.
    pub fn make_directory(&mut self, path: &[u8]) -> Result<Rc<Directory>, EntryError> {
        match self.find(path, true)? {
            Some(directory) => Ok(directory),
            None => Err(EntryError::NotADirectory(Shown::new(path))),
        }
    }

    /// The directory that a path leads to; `None` where there is nothing.
    pub fn directory(&mut self, path: &[u8]) -> Result<Option<Rc<Directory>>, EntryError> {
        self.find(path, false)
    }

    fn find(&mut self, path: &[u8], make: bool) -> Result<Option<Rc<Directory>>, EntryError> {
        if let Some(known) = self.parents.get(path) {
            return Ok(Some(Rc::clone(known)));
        }
        let found = match self.open(path, OFlag::O_PATH) {
            Ok(fd) => Directory { fd, path: path.to_vec() },
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                match self.walk(path, make)? {
                    Some(directory) => directory,
                    None => return Ok(None),
                }
            }
            Err(error) => return Err(error.into()),
        };
        let found = Rc::new(found);
        if self.parents.len() >= OPEN {
            self.parents.clear();
        }
        self.parents.insert(path.to_vec(), Rc::clone(&found));
        Ok(Some(found))
    }

    /// Goes one name at a time, through symlinks, whose `..` and `/` end at the root.
    fn walk(&mut self, path: &[u8], make: bool) -> Result<Option<Directory>, EntryError> {
        let mut todo: Vec<Vec<u8>> = path::components(path).rev().map(<[u8]>::to_vec).collect();
        let mut here = Directory { fd: self.open(b"", OFlag::O_PATH)?, path: Vec::new() };
        let mut hops = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                let end = here.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                here.path.truncate(end);
                here.fd = self.open(&here.path, OFlag::O_PATH)?;
                continue;
            }
            let next = path::join(&here.path, &name);
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            match fd::open(&here.fd, as_path(&name), Resolve::Beneath, flags, 0) {
                Ok(fd) => here = Directory { fd, path: next },
                Err(error) if error.errno == Errno::ENOENT && !make => return Ok(None),
                Err(error) if error.errno == Errno::ENOENT => here = self.make_implied(&here, &name)?,
                Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR) => {
                    hops += 1;
                    if hops > HOPS {
                        return Err(EntryError::Loop);
                    }
                    let target = match fd::read_link(&here.fd, as_path(&name)) {
                        Err(error) if error.errno == Errno::EINVAL => {
                            return Err(EntryError::NotADirectory(Shown::new(&next)));
                        }
                        target => target?,
                    };
                    let target = target.as_os_str().as_bytes();
                    if target.starts_with(b"/") {
                        here = Directory { fd: self.open(b"", OFlag::O_PATH)?, path: Vec::new() };
                    }
                    todo.extend(path::components(target).rev().map(<[u8]>::to_vec));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(here))
    }

    /// A directory that no entry names but one needs.
    fn make_implied(&mut self, parent: &Directory, name: &[u8]) -> Result<Directory, EntryError> {
        let path = self.check_depth(parent, name)?;
        fd::mkdir(&parent.fd, as_path(name), 0o700)?;
        self.made_directory(&path, Attributes { mode: 0o755, ..Attributes::default() })?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let fd = fd::open(&parent.fd, as_path(name), Resolve::Beneath, flags, 0)?;
        Ok(Directory { fd, path })
    }

    /// Symlinks may not be used to make a tree deeper than names may be long.
    pub fn check_depth(&self, parent: &Directory, name: &[u8]) -> Result<Vec<u8>, EntryError> {
        let path = path::join(&parent.path, name);
        if path::components(&path).count() > self.depth {
            return Err(path::Error::TooDeep(self.depth).into());
        }
        if path.len() > PATH_MAX {
            return Err(path::Error::TooLong.into());
        }
        Ok(path)
    }

    /// Remembers a directory that has just been made by the current layer.
    pub fn made_directory(&mut self, path: &[u8], attributes: Attributes) -> Result<(), EntryError> {
        self.mark(path, Mark::OwnDirectory)?;
        self.directories.insert(path, attributes)
    }

    /// Removes what stands at a name, whatever it is.
    pub fn remove(&mut self, parent: &Directory, name: &[u8]) -> Result<(), EntryError> {
        let stat = fd::stat_at(&parent.fd, as_path(name))?;
        let kind = fd::file_type(&stat);
        remove_all(&parent.fd, as_path(name))?;
        if kind == SFlag::S_IFDIR || kind == SFlag::S_IFLNK {
            self.forget_paths(&path::join(&parent.path, name), kind == SFlag::S_IFDIR);
        }
        Ok(())
    }

    /// A directory or symlink is gone: paths through it lead elsewhere now.
    pub fn forget_paths(&mut self, path: &[u8], was_directory: bool) {
        self.parents.clear();
        if was_directory {
            self.directories.remove(path);
        }
    }
}
