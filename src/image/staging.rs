//! A bundle in the making: a private directory beside the place where it will stand, renamed there
//! when everything in it has been verified, and removed if that never happens; by whoever comes next if we are killed.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::leftovers;
use super::remove::remove_all;
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno, file, xattr};

/// A bundle that cannot be made at its place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path ends in no name.
    #[error("the path ends in no name")]
    NoName,
    /// Something is there.
    #[error("something is there that is no empty directory")]
    Exists,
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] sys::Error),
}

/// The bundle while it is private.
#[derive(Debug)]
pub struct Staging {
    parent: OwnedFd,
    name: OsString,
    temporary: OsString,
    /// The directory that will be the bundle.
    pub directory: OwnedFd,
    published: bool,
}

impl Staging {
    /// Makes the private directory. Nothing, or an empty directory, may stand at `bundle`.
    pub fn begin(bundle: &Path) -> Result<Self, Error> {
        let name = bundle.file_name().ok_or(Error::NoName)?.to_owned();
        let above = match bundle.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parent = fd::open_dir(above)?;
        check_free(&parent, &name)?;
        leftovers::sweep(&parent);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let (directory, temporary) = leftovers::make(&parent, &name, |temporary| {
            fd::mkdir(&parent, temporary, 0o700)?;
            fd::open(&parent, temporary, Resolve::Beneath, flags, 0)
        })?;
        let staging = Self { parent, name, temporary, directory, published: false };
        // What the host's directory would pass on to everything made in it.
        xattr::remove(&staging.directory, b"system.posix_acl_default")?;
        fd::chmod(&staging.directory, 0o700)?;
        Ok(staging)
    }

    /// Makes the root file system's directory.
    pub fn rootfs(&self) -> sys::Result<OwnedFd> {
        let name = Path::new("rootfs");
        fd::mkdir(&self.directory, name, 0o700)?;
        fd::open(&self.directory, name, Resolve::Beneath, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)
    }

    /// Writes a file of the bundle.
    pub fn write(&self, name: &str, content: &[u8]) -> sys::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = fd::open(&self.directory, Path::new(name), Resolve::Beneath, flags, 0o644)?;
        fd::write_all(&file, content)
    }

    /// Puts the bundle at its place. An empty directory there is replaced, nothing else is. With `sync` everything is on the disk before,
    /// and the name afterwards. The bundle is locked as long as the descriptor that is given is open.
    pub fn publish(mut self, sync: bool) -> Result<OwnedFd, Error> {
        let held = fd::duplicate(&self.directory)?;
        if sync {
            file::sync_all(&self.directory)?;
        }
        match fd::rename(&self.parent, Path::new(&self.temporary), &self.parent, Path::new(&self.name)) {
            Err(error) if matches!(error.errno, Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {
                Err(Error::Exists)
            }
            done => {
                done?;
                self.published = true;
                if sync {
                    file::sync(&self.parent)?;
                }
                Ok(held)
            }
        }
    }

    /// Removes the private directory, and says so if that is impossible.
    pub fn discard(mut self) -> sys::Result<()> {
        self.published = true;
        remove_all(&self.parent, Path::new(&self.temporary))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            remove_all(&self.parent, Path::new(&self.temporary)).ok();
        }
    }
}

fn check_free(parent: &OwnedFd, name: &OsString) -> Result<(), Error> {
    let name = Path::new(name);
    match fd::stat_at(parent, name) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(()),
        Ok(stat) if fd::file_type(&stat) == SFlag::S_IFDIR => {}
        Ok(_) => return Err(Error::Exists),
        Err(error) => return Err(error.into()),
    }
    let there = fd::open(parent, name, Resolve::BeneathMounts, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
    if fd::list(&there)?.is_empty() { Ok(()) } else { Err(Error::Exists) }
}

#[cfg(test)]
mod tests {
    use super::{Error, Staging};

    #[test]
    fn a_bundle_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let bundle = dir.path().join("bundle");
        let staging = Staging::begin(&bundle).unwrap();
        staging.rootfs().unwrap();
        assert!(!bundle.exists() && names() == 1);
        drop(staging);
        assert_eq!(names(), 0);

        std::fs::create_dir(&bundle).unwrap();
        let staging = Staging::begin(&bundle).unwrap();
        staging.write("config.json", b"{}").unwrap();
        staging.publish(true).unwrap();
        assert_eq!(std::fs::read(bundle.join("config.json")).unwrap(), b"{}");
        assert!(matches!(Staging::begin(&bundle), Err(Error::Exists)));
        assert_eq!(names(), 1);
    }

    #[test]
    fn what_came_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("bundle");
        let staging = Staging::begin(&bundle).unwrap();
        std::fs::write(&bundle, "mine").unwrap();
        assert!(matches!(staging.publish(true), Err(Error::Exists)));
        assert_eq!(std::fs::read(&bundle).unwrap(), b"mine");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn places_where_no_bundle_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Staging::begin(&file), Err(Error::Exists)));
        assert!(matches!(Staging::begin(&dir.path().join("a/b")), Err(Error::System(_))));
        assert!(matches!(Staging::begin(std::path::Path::new("/")), Err(Error::NoName)));
    }
}
