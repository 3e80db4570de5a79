//! Whiteouts (image-spec, layer.md): a layer's way to delete what lower layers have made. They
//! never delete what their own layer has made, wherever in the layer they stand; and however many
//! there are, each directory is searched once per layer.

use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::error::EntryError;
use super::path;
use super::tree::{Directory, Tree, as_path};
use crate::sys::{Errno, fd};

/// What the name of a whiteout asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    /// Delete this name of the directory.
    Name(Vec<u8>),
    /// Delete everything in the directory.
    Opaque,
    /// Left by AUFS for itself.
    Ignored,
}

/// Looks at the last name of an entry; `None` where it is no whiteout.
pub fn parse(name: &[u8]) -> Result<Option<Whiteout>, EntryError> {
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(None) };
    match hidden {
        b".wh..opq" => Ok(Some(Whiteout::Opaque)),
        b".wh.aufs" | b".wh.orph" | b".wh.plnk" => Ok(Some(Whiteout::Ignored)),
        b"" | b"." | b".." => Err(EntryError::Whiteout),
        _ if hidden.starts_with(b".wh.") => Err(EntryError::Whiteout),
        _ => Ok(Some(Whiteout::Name(hidden.to_vec()))),
    }
}

impl Tree {
    /// Performs a whiteout that stands in `directory` (as the entry names it).
    pub fn white_out(&mut self, directory: &[u8], whiteout: &Whiteout) -> Result<(), EntryError> {
        if !self.current.has_lower {
            return Ok(());
        }
        let parent = match self.directory(directory) {
            Ok(Some(parent)) => parent,
            // Nothing there that could be deleted.
            Ok(None) | Err(EntryError::NotADirectory(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        match whiteout {
            Whiteout::Ignored => Ok(()),
            Whiteout::Opaque => self.clear(&parent.path.clone()),
            Whiteout::Name(name) => self.delete_lower(&parent, name),
        }
    }

    /// Deletes a name as far as it is of lower layers.
    fn delete_lower(&mut self, parent: &Directory, name: &[u8]) -> Result<(), EntryError> {
        let path = path::join(&parent.path, name);
        let stat = match fd::stat_at(&parent.fd, as_path(name)) {
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENAMETOOLONG) => return Ok(()),
            stat => stat?,
        };
        let is_own = self.is_own(&path);
        if fd::file_type(&stat) == SFlag::S_IFDIR {
            let stays = is_own || self.is_clean(&path);
            self.clear(&path)?;
            return if stays { Ok(()) } else { self.remove_if_empty(parent, name, &path) };
        }
        if is_own { Ok(()) } else { self.remove(parent, name) }
    }

    /// Deletes everything of lower layers in a directory, however deep. Directories are gone
    /// through from a list, not by recursion, and none twice.
    fn clear(&mut self, top: &[u8]) -> Result<(), EntryError> {
        let mut found = Vec::new();
        let mut next = 0;
        if self.clean(top) {
            found.push(top.to_vec());
        }
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            let directory = Directory { fd: self.open_listed(&path)?, path };
            for name in fd::list(&directory.fd)? {
                use std::os::unix::ffi::OsStrExt;
                let name = name.as_os_str().as_bytes();
                let child = path::join(&directory.path, name);
                let stat = fd::stat_at(&directory.fd, as_path(name))?;
                if fd::file_type(&stat) == SFlag::S_IFDIR {
                    if self.clean(&child) {
                        found.push(child);
                    }
                } else if !self.is_own(&child) {
                    self.remove(&directory, name)?;
                }
            }
        }
        for path in found.iter().skip(1).rev().filter(|path| path.len() > top.len()) {
            if self.is_own(path) {
                continue;
            }
            let at = path.iter().rposition(|byte| *byte == b'/');
            let (parent, name) = at.map_or((&b""[..], &path[..]), |at| (&path[..at], &path[at + 1..]));
            let parent = Directory { fd: self.open(parent, OFlag::O_PATH)?, path: parent.to_vec() };
            self.remove_if_empty(&parent, name, path)?;
        }
        Ok(())
    }

    fn open_listed(&self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        Ok(self.open(path, OFlag::O_RDONLY)?)
    }

    /// A directory of a lower layer stays if the current layer has put something into it.
    fn remove_if_empty(&mut self, parent: &Directory, name: &[u8], path: &[u8]) -> Result<(), EntryError> {
        match fd::rmdir(&parent.fd, as_path(name)) {
            Err(error) if error.errno == Errno::ENOTEMPTY => Ok(()),
            done => {
                done?;
                self.forget_paths(path, true);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Whiteout, parse};

    #[test]
    fn names_of_whiteouts() {
        let ok = |name: &[u8]| parse(name).unwrap();
        assert_eq!(ok(b"a"), None);
        assert_eq!(ok(b".wha"), None);
        assert_eq!(ok(b".wh.a"), Some(Whiteout::Name(b"a".to_vec())));
        assert_eq!(ok(b".wh....."), Some(Whiteout::Name(b"....".to_vec())));
        assert_eq!(ok(b".wh..wh..opq"), Some(Whiteout::Opaque));
        assert_eq!(ok(b".wh..wh.plnk"), Some(Whiteout::Ignored));
        for bad in [&b".wh."[..], b".wh..", b".wh...", b".wh..wh.", b".wh..wh.x", b".wh..wh..wh..opq"] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
