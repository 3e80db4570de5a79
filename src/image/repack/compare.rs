//! Two trees, the one that was unpacked and what has become of it: which names are gone, which are new or different.
//!
//! Attributes decide. Where all are equal the contents are compared, unless the file has not been touched since it was unpacked (its
//! change time, which nobody can set, is older).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};

use crate::image::layer::{as_path, components, is_applied, join};
use crate::image::progress::Progress;
use crate::sys::fd::{self, Resolve};
use crate::sys::times::Time;
use crate::sys::{self, file, xattr};

/// What has become of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is gone.
    Deleted,
    /// It is new, or not what it was, or stands above something that is.
    There,
}

/// The changes by path, and where files have several names, all of them by device and inode.
#[derive(Debug, Default)]
pub struct Changes {
    /// By path below the root; the root's own is empty.
    pub paths: BTreeMap<Vec<u8>, Change>,
    /// What cannot be in a layer and was left out.
    pub notes: BTreeSet<String>,
}

/// Attributes of a file as a layer would carry them.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// How the two trees are compared.
pub struct Compare<'a> {
    /// The root as it was.
    pub old: &'a OwnedFd,
    /// The root as it is.
    pub new: &'a OwnedFd,
    /// Files that have not changed since then are what they were.
    pub unpacked: Time,
    /// Times in the old tree are no later than this, whatever they were in the new one.
    pub latest: Option<i64>,
    /// When the old tree began to be made, in seconds.
    pub began: i64,
    /// How deep the new tree may be: a deeper one could not be unpacked again.
    pub depth: usize,
    /// Asked now and then whether to go on.
    pub progress: &'a Progress,
}

#[derive(Default)]
struct Found {
    changes: Changes,
    old_names: Names,
    new_names: Names,
}

/// The names of files that have several.
#[derive(Default)]
struct Names {
    by_inode: HashMap<(u64, u64), BTreeSet<Vec<u8>>>,
    by_path: BTreeMap<Vec<u8>, (u64, u64)>,
}

impl Names {
    fn add(&mut self, path: &[u8], stat: &FileStat) {
        if stat.st_nlink > 1 && fd::file_type(stat) != SFlag::S_IFDIR {
            let inode = (stat.st_dev, stat.st_ino);
            self.by_inode.entry(inode).or_default().insert(path.to_vec());
            self.by_path.insert(path.to_vec(), inode);
        }
    }

    /// All names of the file of this name, if there are several.
    fn of(&self, path: &[u8]) -> Option<&BTreeSet<Vec<u8>>> {
        self.by_inode.get(self.by_path.get(path)?).filter(|names| names.len() > 1)
    }
}

/// Opens a name for its attributes.
pub fn open_path(dir: &OwnedFd, name: &[u8]) -> sys::Result<OwnedFd> {
    fd::open(dir, as_path(name), Resolve::Beneath, OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)
}

/// Those extended attributes that layers carry, and the record of an owner. Symlinks have none.
pub fn xattrs(dir: &OwnedFd, name: &[u8], kind: SFlag) -> sys::Result<Xattrs> {
    if kind == SFlag::S_IFLNK {
        return Ok(Vec::new());
    }
    let mut all = xattr::all(open_path(dir, name)?)?;
    all.retain(|(name, _)| is_applied(name) || name == crate::image::layer::ROOTLESS);
    Ok(all)
}

impl Compare<'_> {
    /// Everything that is not as it was.
    pub fn run(&self) -> sys::Result<Changes> {
        let mut found = Found::default();
        let same =
            self.is_same(self.old, b".", self.new, b".", &fd::stat(self.old)?, &fd::stat(self.new)?)?;
        if !same {
            found.changes.paths.insert(Vec::new(), Change::There);
        }
        self.directory(Some(self.old), self.new, b"", &mut found)?;
        let mut changes = found.changes;
        let several = found.new_names.by_path.keys().chain(found.old_names.by_path.keys());
        let parted: Vec<_> = several
            .filter(|path| found.new_names.of(path) != found.old_names.of(path))
            .filter(|path| changes.paths.get(*path) != Some(&Change::Deleted))
            .cloned()
            .collect();
        changes.paths.extend(parted.into_iter().map(|path| (path, Change::There)));
        // A file with several names is in the layer under all of them, or under none.
        let there = |changes: &Changes, path: &Vec<u8>| changes.paths.get(path) == Some(&Change::There);
        for names in found.new_names.by_inode.values() {
            if names.iter().any(|path| there(&changes, path)) {
                changes.paths.extend(names.iter().map(|path| (path.clone(), Change::There)));
            }
        }
        let paths: Vec<_> = changes.paths.keys().cloned().collect();
        paths.iter().for_each(|path| above(path, &mut changes.paths));
        Ok(changes)
    }

    fn directory(
        &self,
        old: Option<&OwnedFd>,
        new: &OwnedFd,
        path: &[u8],
        found: &mut Found,
    ) -> sys::Result<()> {
        let mut names: BTreeSet<_> = fd::list(new)?.into_iter().collect();
        let now = names.clone();
        if let Some(old) = old {
            names.extend(fd::list(old)?);
        }
        for name in names {
            if self.progress.is_stopped() {
                return Err(sys::Error { call: "compare".to_owned(), errno: sys::Errno::EINTR });
            }
            let bytes = name.as_os_str().as_bytes();
            let below = join(path, bytes);
            let was = match old.map(|old| fd::stat_at(old, &name)) {
                Some(Err(error)) if error.errno != sys::Errno::ENOENT => return Err(error),
                Some(Ok(stat)) => Some(stat),
                _ => None,
            };
            if let Some(was) = &was {
                found.old_names.add(&below, was);
            }
            if !now.contains(&name) {
                found.changes.paths.insert(below, Change::Deleted);
                continue;
            }
            let is = fd::stat_at(new, &name)?;
            let kind = fd::file_type(&is);
            if kind == SFlag::S_IFSOCK {
                found.changes.notes.insert("a socket was left out: layers have none".to_owned());
                // Nothing can be put at the place of what was there.
                if was.is_some() {
                    found.changes.paths.insert(below, Change::Deleted);
                }
                continue;
            }
            found.new_names.add(&below, &is);
            let same = match (old, &was) {
                (Some(old), Some(was)) => self.is_same(old, bytes, new, bytes, was, &is)?,
                _ => false,
            };
            if !same {
                found.changes.paths.insert(below.clone(), Change::There);
            }
            if kind == SFlag::S_IFDIR {
                if components(&below).count() > self.depth {
                    let call = format!("more than {} directories within each other", self.depth);
                    return Err(sys::Error { call, errno: sys::Errno::ENAMETOOLONG });
                }
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
                let new = fd::open(new, &name, Resolve::Beneath, flags, 0)?;
                let was = was.filter(|was| fd::file_type(was) == SFlag::S_IFDIR);
                let old = match (old, was) {
                    (Some(old), Some(_)) => Some(fd::open(old, &name, Resolve::Beneath, flags, 0)?),
                    _ => None,
                };
                self.directory(old.as_ref(), &new, &below, found)?;
            }
        }
        Ok(())
    }

    fn is_same(
        &self,
        old_dir: &OwnedFd,
        old_name: &[u8],
        new_dir: &OwnedFd,
        new_name: &[u8],
        was: &FileStat,
        is: &FileStat,
    ) -> sys::Result<bool> {
        let kind = fd::file_type(is);
        let plain = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid);
        let same_time =
            self.mtime(was) == self.mtime(is) || (kind == SFlag::S_IFDIR && self.is_unnamed(was, is));
        if plain(was) != plain(is) || !same_time {
            return Ok(false);
        }
        let same = match kind {
            SFlag::S_IFREG => was.st_size == is.st_size,
            SFlag::S_IFCHR | SFlag::S_IFBLK => was.st_rdev == is.st_rdev,
            SFlag::S_IFLNK => {
                fd::read_link(old_dir, as_path(old_name))? == fd::read_link(new_dir, as_path(new_name))?
            }
            _ => true,
        };
        if !same {
            return Ok(false);
        }
        // The kernel's clock for files lags behind the other by a tick.
        let margin = Time { seconds: self.unpacked.seconds - 1, nanoseconds: self.unpacked.nanoseconds };
        let touched =
            Time { seconds: is.st_ctime, nanoseconds: u32::try_from(is.st_ctime_nsec).unwrap_or(0) };
        if touched < margin {
            return Ok(true);
        }
        if xattrs(old_dir, old_name, kind)? != xattrs(new_dir, new_name, kind)? {
            return Ok(false);
        }
        if kind == SFlag::S_IFREG { same_content(old_dir, old_name, new_dir, new_name) } else { Ok(true) }
    }

    /// A directory that no layer names has the time at which it was made: now, and when the bundle was unpacked.
    fn is_unnamed(&self, was: &FileStat, is: &FileStat) -> bool {
        let unpacked = (self.unpacked.seconds, i64::from(self.unpacked.nanoseconds));
        was.st_mtime >= self.began - 1 && (is.st_mtime, is.st_mtime_nsec) <= unpacked
    }

    fn mtime(&self, stat: &FileStat) -> (i64, i64) {
        match self.latest {
            Some(latest) if stat.st_mtime >= latest => (latest, 0),
            _ => (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}

/// The directories above a name are in the layer too: unpacking what is in them would change their times.
fn above(path: &[u8], paths: &mut BTreeMap<Vec<u8>, Change>) {
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &rest[..at]);
        if paths.insert(rest.to_vec(), Change::There) == Some(Change::There) {
            return;
        }
    }
}

fn same_content(old_dir: &OwnedFd, old_name: &[u8], new_dir: &OwnedFd, new_name: &[u8]) -> sys::Result<bool> {
    let open = |dir, name: &[u8]| fd::open(dir, as_path(name), Resolve::Beneath, OFlag::O_RDONLY, 0);
    let (old, new) = (open(old_dir, old_name)?, open(new_dir, new_name)?);
    let (mut one, mut other) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    let mut at = 0;
    loop {
        let (some, others) = (fill(&old, &mut one, at)?, fill(&new, &mut other, at)?);
        if one[..some] != other[..others] {
            return Ok(false);
        }
        if some == 0 {
            return Ok(true);
        }
        at += some as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(from: &OwnedFd, buffer: &mut [u8], at: u64) -> sys::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file::read_at(from, &mut buffer[filled..], at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
