//! The state directory. `ROOT/ID/` is a container: making that directory decides who creates it, and
//! flock(2) on it makes the commands on one container take turns; a holder that dies lets go.

use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::locked::{Locked, Reservation, read_record};
use super::record::{Record, Stage};
use crate::sys::error::Named;
use crate::sys::fd;
use crate::sys::{self, Errno, timing};
use crate::types::ContainerId;

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No directory of that name.
    #[error("container does not exist: {0}")]
    Unknown(ContainerId),
    /// A directory of that name.
    #[error("container with given ID already exists: {0}")]
    Exists(ContainerId),
    /// Another command has held the lock for too long.
    #[error("container {0} is in use by another command")]
    Busy(ContainerId),
    /// `--root /`
    #[error("the state directory cannot be /")]
    Slash,
    /// The state directory itself.
    #[error("cannot use the state directory {path:?}")]
    Root {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: sys::Error,
    },
    /// A container's directory.
    #[error("cannot {doing} the state of container {id}")]
    Container {
        /// read, write, lock, …
        doing: &'static str,
        /// Whose.
        id: ContainerId,
        /// Why.
        source: sys::Error,
    },
}

/// The result of an operation on the store.
pub type Result<T> = std::result::Result<T, Error>;

/// A state directory, which need not exist yet.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    root: Option<Rc<OwnedFd>>,
}

impl Store {
    /// Opens the directory if it is there.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.components().any(|part| matches!(part, Component::Normal(_))) {
            return Err(Error::Slash);
        }
        let root = match fd::open_dir(path) {
            Ok(root) => Some(Rc::new(root)),
            Err(error) if error.errno == Errno::ENOENT => None,
            Err(source) => return Err(Error::Root { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), root })
    }

    /// Makes the container's directory, and the state directory if need be. Exactly one of many
    /// callers succeeds.
    pub fn reserve(&self, id: &ContainerId) -> Result<Reservation> {
        timing::lap("plan");
        let failed = |source| Error::Root { path: self.path.clone(), source };
        let root = match &self.root {
            Some(root) => Rc::clone(root),
            None => Rc::new(make_root(&self.path).map_err(failed)?),
        };
        match fd::mkdir(&*root, Path::new(id.as_str()), 0o700) {
            Ok(()) => Reservation::made(root, self.path.join(id.as_str()), id),
            Err(error) if error.errno == Errno::EEXIST => Err(Error::Exists(id.clone())),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes a container for a command that changes it, after whoever has it now.
    pub fn lock(&self, id: &ContainerId) -> Result<Locked> {
        let root = self.root.as_ref().ok_or_else(|| Error::Unknown(id.clone()))?;
        Locked::take(Rc::clone(root), self.path.join(id.as_str()), id)
    }

    /// Reads a container's record without waiting for anybody.
    pub fn load(&self, id: &ContainerId) -> Result<Record> {
        let root = self.root.as_ref().ok_or_else(|| Error::Unknown(id.clone()))?;
        let name = Path::new(id.as_str());
        if let Some(record) = read_record(root, name, id)? {
            return match record.stage == Stage::Gone && self.is_locked(id)? {
                true => Err(Error::Unknown(id.clone())),
                false => Ok(record),
            };
        }
        match fd::stat_at(root, name) {
            Ok(stat) if fd::file_type(&stat) == nix::sys::stat::SFlag::S_IFDIR => {
                Ok(Record::lost(id.clone()))
            }
            Err(error) if error.errno != Errno::ENOENT => Err(failed("read", id)(error)),
            _ => Err(Error::Unknown(id.clone())),
        }
    }

    /// config.json as `create` saw it. It never changes, so nobody is waited for.
    pub fn load_config(&self, id: &ContainerId) -> Result<Vec<u8>> {
        let root = self.root.as_ref().ok_or_else(|| Error::Unknown(id.clone()))?;
        super::locked::read_config(root, Path::new(id.as_str())).map_err(failed("read", id))
    }

    /// The records of all containers, ordered by name.
    pub fn list(&self) -> Result<Vec<Record>> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let names = fd::list(root).map_err(|source| Error::Root { path: self.path.clone(), source })?;
        let mut ids: Vec<_> =
            names.iter().filter_map(|name| ContainerId::parse(name.to_str()?).ok()).collect();
        ids.sort();
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            match self.load(&id) {
                Ok(record) => records.push(record),
                // Deleted since the directory was read, or no container at all.
                Err(Error::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }

    /// Whether a command is at work on the container right now.
    pub fn is_locked(&self, id: &ContainerId) -> Result<bool> {
        let root = self.root.as_ref().ok_or_else(|| Error::Unknown(id.clone()))?;
        super::locked::is_locked(root, id)
    }
}

fn make_root(path: &Path) -> sys::Result<OwnedFd> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.named(|| format!("mkdir({path:?})"))?;
    fd::open_dir(path)
}

/// Names what was being done with a container's directory.
pub(super) fn failed(doing: &'static str, id: &ContainerId) -> impl FnOnce(sys::Error) -> Error {
    move |source| Error::Container { doing, id: id.clone(), source }
}
