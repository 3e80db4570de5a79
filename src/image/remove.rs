//! Removes a whole tree by fd: nothing here follows a symlink or enters another mount, and however deep the tree is (who was in the
//! container could make it deeper than any path is long) no more than a few directories are open at once.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::sys::fd::{self, Resolve};
use crate::sys::{Errno, Error, Result};

/// How many directories within each other are open at once.
const OPEN: usize = 32;

/// Removes one name in `dir`, with everything below it if it is a directory.
pub fn remove_all(dir: impl AsFd, name: &Path) -> Result<()> {
    if unlink(&dir, name)? {
        return Ok(());
    }
    let top = open_for_removal(&dir, name)?;
    let mut moved = 0;
    loop {
        let before = moved;
        let gone = empty(&top, &top, OPEN, &mut moved)?;
        if moved == before && is_removed(&dir, name, gone)? {
            return Ok(());
        }
    }
}

/// Removes a directory from which so many names are gone. `false`: there are more, which the file system did not tell of while the others
/// went.
fn is_removed(dir: impl AsFd, name: &Path, gone: u64) -> Result<bool> {
    match fd::rmdir(dir, name) {
        Err(Error { errno: Errno::ENOTEMPTY, .. }) if gone > 0 => Ok(false),
        done => done.map(|()| true),
    }
}

/// Whether that was all; `false` for a directory.
fn unlink(dir: impl AsFd, name: &Path) -> Result<bool> {
    match fd::unlink(&dir, name) {
        Err(Error { errno: Errno::EISDIR | Errno::EPERM, .. }) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Removes what is in a directory `inside` of `top`, and counts it. What lies deeper than `levels` is moved up to `top`, for the next time.
fn empty(top: &OwnedFd, inside: &OwnedFd, levels: usize, moved: &mut u64) -> Result<u64> {
    let mut gone = 0;
    for child in fd::names(inside)? {
        let child = child?;
        gone += 1;
        if unlink(inside, &child)? {
            continue;
        }
        let below = open_for_removal(inside, &child)?;
        if levels == 0 {
            move_up(top, inside, &child, moved)?;
            continue;
        }
        loop {
            let gone = empty(top, &below, levels - 1, moved)?;
            if is_removed(inside, &child, gone)? {
                break;
            }
        }
    }
    Ok(gone)
}

fn move_up(top: &OwnedFd, from: &OwnedFd, name: &Path, moved: &mut u64) -> Result<()> {
    loop {
        let to = PathBuf::from(format!(".keg-{moved}"));
        *moved += 1;
        match fd::rename(from, name, top, &to) {
            Err(Error { errno: Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR, .. }) => {}
            done => return done,
        }
    }
}

/// A directory of ours may have lost the bits that let us in.
fn open_for_removal(dir: impl AsFd, name: &Path) -> Result<OwnedFd> {
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
    use crate::sys::fd::{self, Resolve};
    use nix::fcntl::OFlag;
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
        let fd = fd::open_dir(dir.path()).unwrap();
        remove_all(&fd, Path::new("tree")).unwrap();
        assert!(!dir.path().join("tree").exists());
        assert!(outside.join("kept").exists());
        let error = remove_all(&fd, Path::new("tree")).unwrap_err().to_string();
        assert!(error.ends_with("no such file or directory"), "{error}");
    }

    /// Deeper than descriptors, paths and stacks reach, with names in the way.
    #[test]
    fn no_tree_is_too_deep() {
        let dir = tempfile::tempdir().unwrap();
        let fd = fd::open_dir(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("tree/.keg-0/full")).unwrap();
        std::fs::write(dir.path().join("tree/.keg-1"), "x").unwrap();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let name = Path::new("a-name-that-makes-the-path-longer-than-any-path-may-be");
        let mut inside = fd::open(&fd, Path::new("tree"), Resolve::Beneath, flags, 0).unwrap();
        for _ in 0..3_000 {
            fd::mkdir(&inside, name, 0o700).unwrap();
            inside = fd::open(&inside, name, Resolve::Beneath, flags, 0).unwrap();
        }
        fd::mknod(&inside, Path::new("file"), nix::sys::stat::SFlag::S_IFREG, 0o600, 0, 0).unwrap();
        remove_all(&fd, Path::new("tree")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
