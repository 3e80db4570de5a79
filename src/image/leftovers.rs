//! What a keg that was killed has left behind: files and directories in the making, under names that say so. Whoever makes one holds a
//! lock on it as long as they live; whoever comes next to the same directory removes those that nobody holds.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::remove::remove_all;
use crate::sys::fd::{self, Resolve};
use crate::sys::{Errno, Error, Result, lock};

/// Stands between what is made and eight hexadecimal digits by chance: `.NAME.keg-0123abcd`.
const MARK: &[u8] = b".keg-";
const DIGITS: usize = 8;
const TRIES: usize = 100;

/// Makes something in `dir` that will be called `name` once it is whole. `make` makes and opens what stands under the name it is given;
/// it is locked until the last copy of its descriptor is closed.
pub fn make(
    dir: &OwnedFd,
    name: &OsStr,
    make: impl Fn(&Path) -> Result<OwnedFd>,
) -> Result<(OwnedFd, OsString)> {
    let mut tries = 0;
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".keg-{:08x}", RandomState::new().build_hasher().finish() as u32));
        tries += 1;
        match make(Path::new(&temporary)) {
            // Somebody who swept took it for a leftover before it was locked, and removes it.
            Ok(made) if tries < TRIES && !(lock::try_lock(&made, true)? && is(dir, &temporary, &made)?) => {}
            Ok(made) => return Ok((made, temporary)),
            Err(Error { errno: Errno::EEXIST | Errno::ENOENT, .. })
                if tries < TRIES && dir_is_there(dir)? => {}
            Err(error) => return Err(error),
        }
    }
}

/// A directory that has been removed has no links any more: nothing can be made in it.
fn dir_is_there(dir: &OwnedFd) -> Result<bool> {
    Ok(fd::stat(dir)?.st_nlink > 0)
}

/// Whether this name is still that of what is open.
fn is(dir: &OwnedFd, name: &OsStr, open: &OwnedFd) -> Result<bool> {
    let open = fd::stat(open)?;
    match fd::stat_at(dir, Path::new(name)) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (open.st_dev, open.st_ino)),
        Err(error) if error.errno == Errno::ENOENT => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes from `dir` what dead processes of this user have left there. What cannot be removed stays: it is in nobody's way.
pub fn sweep(dir: &OwnedFd) {
    for name in fd::list(dir).unwrap_or_default() {
        if is_of_ours(name.as_os_str().as_bytes()) {
            remove_if_dead(dir, &name).unwrap_or(());
        }
    }
}

fn is_of_ours(name: &[u8]) -> bool {
    let Some((name, digits)) = name.len().checked_sub(DIGITS).map(|at| name.split_at(at)) else {
        return false;
    };
    digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && name.strip_suffix(MARK).is_some_and(|name| name.len() > 1 && name.starts_with(b"."))
}

fn remove_if_dead(dir: &OwnedFd, name: &Path) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let open = fd::open(dir, name, Resolve::Beneath, flags, 0)?;
    let about = fd::stat(&open)?;
    let is_ours = about.st_uid == nix::unistd::geteuid().as_raw()
        && matches!(fd::file_type(&about), SFlag::S_IFDIR | SFlag::S_IFREG);
    if is_ours && lock::try_lock(&open, true)? && is(dir, name.as_os_str(), &open)? {
        remove_all(dir, name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_of_ours, make, sweep};
    use crate::sys::fd::{self, Resolve};
    use nix::fcntl::OFlag;
    use std::ffi::OsStr;
    use std::path::Path;

    #[test]
    fn names_of_ours() {
        for ours in [".bundle.keg-0123abcd", ".x.y.keg-00000000"] {
            assert!(is_of_ours(ours.as_bytes()), "{ours}");
        }
        for other in [
            "",
            ".",
            "0123abcd",
            ".keg-0123abcd",
            "x.keg-0123abcd",
            ".x.keg-0123abc",
            ".x.keg-0123ABCD",
            ".x.kek-0123abcd",
        ] {
            assert!(!is_of_ours(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_somebody_holds_stays_and_what_nobody_holds_goes() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let dir = fd::open_dir(place.path()).unwrap();
        let there = || std::fs::read_dir(place.path()).unwrap().count();
        let (held, name) = make(&dir, OsStr::new("bundle"), |name| {
            fd::mkdir(&dir, name, 0o700)?;
            fd::open(&dir, name, Resolve::Beneath, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)
        })
        .unwrap();
        std::fs::write(place.path().join(&name).join("file"), "x").unwrap();
        std::fs::write(place.path().join(".blob.keg-00000000"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), place.path().join(".link.keg-00000000")).unwrap();
        std::fs::write(place.path().join("kept"), "x").unwrap();
        sweep(&dir);
        assert_eq!(there(), 3);
        assert!(place.path().join(&name).join("file").exists() && outside.path().exists());
        drop(held);
        sweep(&dir);
        assert_eq!(there(), 2);
        assert!(!place.path().join(Path::new(&name)).exists());
    }
}
