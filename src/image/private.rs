//! Bundles that keg makes for containers of its own, below the state directory, and removes with them. The directory's name is one that
//! no container can have.

use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::remove::remove_all;
use crate::sys::error::Named;
use crate::sys::fd::{self, Resolve};
use crate::sys::{Errno, Result};
use crate::types::ContainerId;

const DIRECTORY: &str = "@bundles";
const KEPT: &str = "@kept";

/// Where the bundle of this container is to be made; one that is `kept` is not removed with the container. The directories above it are
/// made, for nobody but us.
pub fn place(root: &Path, id: &ContainerId, kept: bool) -> Result<PathBuf> {
    let directory = root.join(if kept { KEPT } else { DIRECTORY });
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.named(|| format!("mkdir({directory:?})"))?;
    Ok(directory.join(id.as_str()))
}

/// Removes the container's bundle, if one was made here; with `unfinished` also what an unpacking that was killed has left.
pub fn remove(root: &Path, id: &ContainerId, unfinished: bool) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let Some(bundles) = fd::open_if_there(fd::cwd(), &root.join(DIRECTORY), Resolve::Host, flags)? else {
        return Ok(());
    };
    if unfinished {
        let beginning = format!(".{}.keg-", id.as_str());
        for name in fd::list(&bundles)? {
            if name.as_os_str().as_bytes().starts_with(beginning.as_bytes()) {
                remove_all(&bundles, &name)?;
            }
        }
    }
    match remove_all(&bundles, Path::new(id.as_str())) {
        Err(error) if error.errno != Errno::ENOENT => return Err(error),
        _ => {}
    }
    // The last one takes the directory with it.
    let root = fd::open_dir(root)?;
    match fd::rmdir(root, Path::new(DIRECTORY)) {
        Err(error) if !matches!(error.errno, Errno::ENOTEMPTY | Errno::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{place, remove};
    use crate::types::ContainerId;

    #[test]
    fn bundles_come_and_go_with_their_containers() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("run/keg");
        let id = |name| ContainerId::parse(name).unwrap();
        remove(&root, &id("a"), true).unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir_all(place(&root, &id(name), false).unwrap().join("rootfs")).unwrap();
        }
        std::fs::create_dir(place(&root, &id(".a.keg-1"), false).unwrap()).unwrap();
        let there = || std::fs::read_dir(root.join("@bundles")).unwrap().count();
        remove(&root, &id("a"), false).unwrap();
        assert_eq!(there(), 2);
        remove(&root, &id("a"), true).unwrap();
        assert_eq!(there(), 1);
        assert!(root.join("@bundles/b/rootfs").is_dir());
        std::fs::create_dir(place(&root, &id("b"), true).unwrap()).unwrap();
        remove(&root, &id("b"), true).unwrap();
        assert!(root.join("@kept/b").is_dir() && !root.join("@bundles").exists());
    }
}
