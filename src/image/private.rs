//! Bundles that keg makes for containers of its own, below the state directory, and removes with them. The directory's name is one that
//! no container can have.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::leftovers;
use super::remove::remove_all;
use crate::sys::error::Named;
use crate::sys::fd::{self, Resolve};
use crate::sys::{Errno, Result, lock};
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

/// Removes a bundle that stands where one is to be made, unless whoever made it is still about to make a container of it (and holds it
/// locked meanwhile), or `is_used`: its maker was killed in between.
pub fn make_room(bundle: &Path, is_used: impl FnOnce() -> bool) -> Result<()> {
    let (Some(above), Some(name)) = (bundle.parent(), bundle.file_name()) else { return Ok(()) };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    match fd::open_if_there(fd::cwd(), bundle, Resolve::Host, flags)? {
        Some(there) if lock::try_lock(&there, true)? && !is_used() => {
            remove_all(fd::open_dir(above)?, Path::new(name))
        }
        _ => Ok(()),
    }
}

/// Removes the container's bundle, if one was made here; with `unfinished` also what unpackings that were killed have left.
pub fn remove(root: &Path, id: &ContainerId, unfinished: bool) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let Some(bundles) = fd::open_if_there(fd::cwd(), &root.join(DIRECTORY), Resolve::Host, flags)? else {
        return Ok(());
    };
    if unfinished {
        leftovers::sweep(&bundles);
    }
    match remove_all(&bundles, Path::new(id.as_str())) {
        Err(error) if error.errno != Errno::ENOENT => return Err(error),
        _ => {}
    }
    tidy(root)
}

/// The last bundle takes their directory with it.
pub fn tidy(root: &Path) -> Result<()> {
    match fd::rmdir(fd::open_dir(root)?, Path::new(DIRECTORY)) {
        Err(error) if !matches!(error.errno, Errno::ENOTEMPTY | Errno::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{make_room, place, remove};
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
        std::fs::create_dir(place(&root, &id(".a.keg-00000001"), false).unwrap()).unwrap();
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

    #[test]
    fn a_bundle_that_nobody_has_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("c");
        make_room(&bundle, || false).unwrap();
        std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
        let held = crate::sys::fd::open_dir(&bundle).unwrap();
        assert!(crate::sys::lock::try_lock(&held, true).unwrap());
        make_room(&bundle, || false).unwrap();
        assert!(bundle.exists());
        drop(held);
        make_room(&bundle, || true).unwrap();
        assert!(bundle.exists());
        make_room(&bundle, || false).unwrap();
        assert!(!bundle.exists());
    }
}
