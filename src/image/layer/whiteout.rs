//! Whiteouts (image-spec, layer.md): a layer's way to delete what lower layers have made. They
//! never delete what their own layer has made, wherever in the layer they stand; and however many
//! there are, each directory is searched once per layer.

use std::os::unix::ffi::OsStrExt;

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
        if !self.has_lower() {
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

    /// Deletes everything of lower layers in a directory, however deep: each directory after those in it, by what is remembered of
    /// them, so that nothing has to be listed or kept open.
    fn clear(&mut self, top: &[u8]) -> Result<(), EntryError> {
        if !self.clean(top)? {
            return Ok(());
        }
        self.delete_files(top)?;
        let mut here = top.to_vec();
        let mut done: Option<Vec<u8>> = None;
        loop {
            match self.directories.child_after(&here, done.as_deref()) {
                Some(child) if self.clean(&child)? => {
                    self.delete_files(&child)?;
                    (here, done) = (child, None);
                }
                Some(child) => done = Some(child),
                None if here.len() <= top.len() => return Ok(()),
                None => {
                    let at = here.iter().rposition(|byte| *byte == b'/');
                    let (parent, name) =
                        at.map_or((&b""[..], &here[..]), |at| (&here[..at], &here[at + 1..]));
                    let parent = parent.to_vec();
                    if !self.is_own(&here) {
                        let parent =
                            Directory { fd: self.open(&parent, OFlag::O_PATH)?, path: parent.clone() };
                        self.remove_if_empty(&parent, name, &here)?;
                    }
                    (here, done) = (parent, Some(here));
                }
            }
        }
    }

    /// Deletes what is of lower layers in a directory and is none itself.
    fn delete_files(&mut self, path: &[u8]) -> Result<(), EntryError> {
        let directory = Directory { fd: self.open(path, OFlag::O_RDONLY)?, path: path.to_vec() };
        for name in fd::names(&directory.fd)? {
            let name = name?;
            let name = name.as_os_str().as_bytes();
            let child = path::join(path, name);
            if !self.directories.has(&child) && !self.is_own(&child) {
                self.remove(&directory, name)?;
            }
        }
        Ok(())
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
