//! Removes a whole tree by fd: nothing here follows a symlink or enters another mount. The depth
//! of the tree is bounded by the limit under which it was made.

use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::sys::fd::{self, Resolve};
use crate::sys::{Errno, Error, Result};

/// Removes one name in `dir`, with everything below it if it is a directory.
pub fn remove_all(dir: impl AsFd, name: &Path) -> Result<()> {
    match fd::unlink(&dir, name) {
        Err(Error { errno: Errno::EISDIR | Errno::EPERM, .. }) => {}
        done => return done,
    }
    let inside = open_for_removal(&dir, name)?;
    for child in fd::list(&inside)? {
        remove_all(&inside, &child)?;
    }
    fd::rmdir(&dir, name)
}

/// A directory of ours may have lost the bits that let us in.
fn open_for_removal(dir: impl AsFd, name: &Path) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    if !nix::unistd::geteuid().is_root() {
        let inside = fd::open(&dir, name, Resolve::Beneath, OFlag::O_PATH | OFlag::O_DIRECTORY, 0)?;
        if fd::stat(&inside)?.st_mode & 0o700 != 0o700 {
            fd::chmod_at(&dir, name, 0o700)?;
        }
    }
    fd::open(&dir, name, Resolve::Beneath, flags, 0)
}

#[cfg(test)]
mod tests {
    use super::remove_all;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn a_tree_goes_and_what_its_symlinks_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        std::fs::create_dir_all(dir.path().join("tree/a/b")).unwrap();
        std::fs::write(dir.path().join("tree/a/b/file"), "x").unwrap();
        symlink(&outside, dir.path().join("tree/a/link")).unwrap();
        let fd = crate::sys::fd::open_dir(dir.path()).unwrap();
        remove_all(&fd, Path::new("tree")).unwrap();
        assert!(!dir.path().join("tree").exists());
        assert!(outside.join("kept").exists());
        let error = remove_all(&fd, Path::new("tree")).unwrap_err().to_string();
        assert!(error.ends_with("no such file or directory"), "{error}");
    }
}
