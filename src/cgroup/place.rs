//! How a process gets into the container's cgroups: born into the version 2 cgroup by clone3(2), and
//! placed by itself, right after, into those of version 1.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::Error;
use super::systemd::Holder;
use crate::sys::cgroup::{self as sys, Tasks};
use crate::sys::{Errno, Error as Failure};
use crate::types::{CgroupRecord, Pid};

/// Open cgroups for one child.
#[derive(Debug, Default)]
pub struct Placement {
    into: Option<OwnedFd>,
    tasks: Tasks,
    /// Keeps the cgroup from being empty until the child is in.
    holder: Option<Holder>,
}

impl Placement {
    /// For `CLONE_INTO_CGROUP`: the child never runs elsewhere. `None` on hosts without version 2.
    pub fn into_cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.into.as_ref().map(AsFd::as_fd)
    }

    /// For version 1: the child calls [`Tasks::enter`] before it does anything else.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Why a process could not be made in the cgroups. Without privileges it takes the right to write to the cgroup that the container's and
    /// keg's own have in common (cgroups(7), "Cgroup delegation containment").
    pub fn refused(&self, error: Failure) -> Error {
        match error.errno {
            Errno::EACCES if self.into.is_some() => Error::Outside(error),
            _ => Error::Spawn(error),
        }
    }

    /// Moves a process that has one thread, when it was not made in them.
    pub fn place(&self, pid: Pid) -> Result<(), Error> {
        self.tasks.place(pid).map_err(Error::Make)?;
        match &self.into {
            Some(cgroup) => sys::write_in(cgroup, "cgroup.procs", &pid.to_string()).map_err(Error::Make),
            None => Ok(()),
        }
    }

    /// With a process that waits in the cgroup.
    pub(super) fn held_by(mut self, holder: Holder) -> Self {
        self.holder = Some(holder);
        self
    }

    /// Opens the directories, given by hierarchy.
    pub(super) fn open<'a>(directories: impl Iterator<Item = (&'a str, PathBuf)>) -> Result<Self, Error> {
        let mut placement = Self::default();
        placement.add(directories)?;
        Ok(placement)
    }

    /// Opens more of them.
    pub(super) fn add<'a>(
        &mut self,
        directories: impl Iterator<Item = (&'a str, PathBuf)>,
    ) -> Result<(), Error> {
        for (hierarchy, path) in directories {
            match hierarchy {
                "" => self.into = Some(sys::open_dir(&path).map_err(Error::Make)?),
                _ => self.tasks.open(&path).map_err(Error::Make)?,
            }
        }
        Ok(())
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        self.into.take().into_iter().for_each(|cgroup| std::mem::take(&mut self.tasks).close_with(cgroup));
    }
}

/// For a further process of a container. `below` names existing cgroups inside the container's, as
/// `PATH` for all hierarchies or `CONTROLLER[,CONTROLLER]:PATH` for those of version 1.
pub fn join(record: &CgroupRecord, below: &[String]) -> Result<Placement, Error> {
    let mut paths: Vec<_> = record
        .directories
        .iter()
        .map(|directory| (directory.hierarchy.as_str(), directory.path.clone()))
        .collect();
    for text in below {
        let (controllers, path) = match text.split_once(':') {
            Some((controllers, path)) => (Some(controllers), path),
            None => (None, text.as_str()),
        };
        let relative = sub_path(path).ok_or_else(|| Error::SubCgroup(text.clone()))?;
        let mut found = false;
        for (hierarchy, directory) in &mut paths {
            let has = |name: &str| hierarchy.split(',').any(|known| known == name);
            if controllers.is_none_or(|names| !hierarchy.is_empty() && names.split(',').any(has)) {
                directory.push(&relative);
                found = true;
            }
        }
        if !found {
            return Err(Error::SubCgroup(text.clone()));
        }
    }
    Placement::open(paths.into_iter())
}

/// A path without `..`, made relative.
fn sub_path(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(relative)
}

#[cfg(test)]
mod tests {
    use super::{Error, join, sub_path};
    use crate::types::CgroupRecord;

    #[test]
    fn sub_cgroups_lie_below() {
        assert_eq!(sub_path("/a//b/./c").unwrap().to_str(), Some("a/b/c"));
        assert_eq!(sub_path("").unwrap().to_str(), Some(""));
        for bad in ["..", "/../x", "a/../../b"] {
            assert_eq!(sub_path(bad), None, "{bad}");
            let error = join(&CgroupRecord::default(), &[bad.to_owned()]).unwrap_err();
            assert!(matches!(error, Error::SubCgroup(_)), "{error}");
            assert!(error.to_string().starts_with("bad sub cgroup path"), "{error}");
        }
    }
}
