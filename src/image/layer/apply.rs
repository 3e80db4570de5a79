//! One entry becomes one file: where it goes, what it replaces, its content, its attributes.

use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::Error;
use super::entry::{Entry, Kind, Reader, entry_error};
use super::error::{EntryError, Shown};
use super::metadata::Owners;
use super::path::{self, EntryPath, PATH_MAX};
use super::sparse;
use super::tree::{Directory, Tree, as_path};
use super::whiteout;
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno, file};

/// Applies one entry, whose content `reader` stands at.
pub fn apply<R: BufRead>(
    tree: &mut Tree,
    depth: usize,
    entry: &Entry,
    reader: &mut Reader<R>,
) -> Result<(), Error> {
    let failed = |error: EntryError| entry_error(&entry.name, error);
    if entry.has_text_acl {
        tree.note(&format!(
            "access control list of {} left out: SCHILY.acl is text",
            Shown::new(&entry.name)
        ));
    }
    let (parent, name) = match path::parse(&entry.name, depth).map_err(|error| failed(error.into()))? {
        EntryPath::Below { parent, name } => (parent, name),
        EntryPath::Root if entry.kind == Kind::Directory => {
            return tree.made_root(entry).map_err(failed);
        }
        EntryPath::Root => return Err(failed(EntryError::Root)),
    };
    if let Some(whiteout) = whiteout_of(&parent, &name, &entry.kind).map_err(failed)? {
        return tree.white_out(&parent, &whiteout).map_err(failed);
    }
    let parent = tree.make_directory(&parent).map_err(failed)?;
    let path = tree.check_depth(&parent, &name).map_err(failed)?;
    let place = Place { parent, name, path };
    match &entry.kind {
        Kind::File(map) => {
            let file = tree.create(&place).map_err(failed)?;
            write(&file, map.as_ref(), reader).map_err(|error| match error {
                Failure::Write(error) => failed(error.into()),
                Failure::Read(error) => error,
            })?;
            tree.set_attributes(&file, &entry.attributes).map_err(|error| failed(error.into()))?;
            tree.own(&place.path).map_err(failed)
        }
        _ => tree.make(&place, entry, depth).map_err(failed),
    }
}

/// Where an entry goes.
struct Place {
    parent: Rc<Directory>,
    name: Vec<u8>,
    /// The real path of the name.
    path: Vec<u8>,
}

/// Names that begin with `.wh.` never become files.
fn whiteout_of(parent: &[u8], name: &[u8], kind: &Kind) -> Result<Option<whiteout::Whiteout>, EntryError> {
    for part in path::components(parent) {
        match whiteout::parse(part)? {
            None => {}
            Some(whiteout::Whiteout::Ignored) => return Ok(Some(whiteout::Whiteout::Ignored)),
            Some(_) => return Err(EntryError::Whiteout),
        }
    }
    let whiteout = whiteout::parse(name)?;
    match (&whiteout, kind) {
        (None | Some(whiteout::Whiteout::Ignored), _) | (Some(_), Kind::File(_) | Kind::Hardlink(_)) => {
            Ok(whiteout)
        }
        _ => Err(EntryError::Whiteout),
    }
}

impl Tree {
    fn made_root(&mut self, entry: &Entry) -> Result<(), EntryError> {
        self.own(b"")?;
        self.directories.insert(b"", entry.attributes.clone())
    }

    /// Tries to make a name; what stands there already is removed first.
    fn replacing<T>(&mut self, place: &Place, make: impl Fn() -> sys::Result<T>) -> Result<T, EntryError> {
        match make() {
            Err(error) if error.errno == Errno::EEXIST => {
                self.remove(&place.parent, &place.name)?;
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    fn create(&mut self, place: &Place) -> Result<OwnedFd, EntryError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let Place { parent, name, .. } = place;
        self.replacing(place, || fd::open(&parent.fd, as_path(name), Resolve::Beneath, flags, 0o600))
    }

    /// Everything but regular files.
    fn make(&mut self, place: &Place, entry: &Entry, depth: usize) -> Result<(), EntryError> {
        let dir = &place.parent.fd;
        let name = as_path(&place.name);
        match &entry.kind {
            Kind::File(_) => Ok(()),
            Kind::Directory => self.make_entry_directory(place, entry),
            Kind::Symlink(target) => {
                if target.is_empty() || target.len() > PATH_MAX || target.contains(&0) {
                    return Err(EntryError::SymlinkTarget);
                }
                self.replacing(place, || fd::symlink(dir, name, as_path(target)))?;
                self.set_symlink(dir, name, &entry.attributes)?;
                self.own(&place.path)
            }
            Kind::Hardlink(target) => {
                self.hardlink(place, target, depth).map_err(|source| match source {
                    error @ EntryError::System(_) => error,
                    source => EntryError::Target { target: Shown::new(target), source: Box::new(source) },
                })?;
                self.own(&place.path)
            }
            Kind::Character(0, 0) => Err(EntryError::OverlayWhiteout),
            Kind::Character(major, minor) => self.special(place, entry, SFlag::S_IFCHR, *major, *minor),
            Kind::Block(major, minor) => self.special(place, entry, SFlag::S_IFBLK, *major, *minor),
            Kind::Fifo => self.special(place, entry, SFlag::S_IFIFO, 0, 0),
        }
    }

    /// A directory over a directory keeps what is in it and takes the new attributes.
    fn make_entry_directory(&mut self, place: &Place, entry: &Entry) -> Result<(), EntryError> {
        let Place { parent, name, path } = place;
        match fd::mkdir(&parent.fd, as_path(name), 0o700) {
            Err(error) if error.errno == Errno::EEXIST => {
                let stat = fd::stat_at(&parent.fd, as_path(name))?;
                if fd::file_type(&stat) == SFlag::S_IFDIR {
                    self.own(path)?;
                    return self.directories.insert(path, entry.attributes.clone());
                }
                self.remove(parent, name)?;
                fd::mkdir(&parent.fd, as_path(name), 0o700)?;
            }
            made => made?,
        }
        self.made_directory(path, entry.attributes.clone())
    }

    fn special(
        &mut self,
        place: &Place,
        entry: &Entry,
        kind: SFlag,
        major: u32,
        minor: u32,
    ) -> Result<(), EntryError> {
        let dir = &place.parent.fd;
        let name = as_path(&place.name);
        let made = self.replacing(place, || fd::mknod(dir, name, kind, 0o600, major.into(), minor.into()));
        match made {
            Err(EntryError::System(error))
                if error.errno == Errno::EPERM && self.owners != Owners::Kept && kind != SFlag::S_IFIFO =>
            {
                self.note("device left out: only the host's root can make one");
                return Ok(());
            }
            made => made?,
        }
        self.set_special(dir, name, &entry.attributes)?;
        self.own(&place.path)
    }

    /// The target is a name in the image, absolute or not; its last part is not followed.
    fn hardlink(&mut self, place: &Place, target: &[u8], depth: usize) -> Result<(), EntryError> {
        let EntryPath::Below { parent, name } = path::parse(target, depth)? else {
            return Err(EntryError::LinkToDirectory);
        };
        let from = self.directory(&parent)?.ok_or(EntryError::NoTarget)?;
        let stat = match fd::stat_at(&from.fd, as_path(&name)) {
            Err(error) if error.errno == Errno::ENOENT => return Err(EntryError::NoTarget),
            stat => stat?,
        };
        if fd::file_type(&stat) == SFlag::S_IFDIR {
            return Err(EntryError::LinkToDirectory);
        }
        let to = &place.parent.fd;
        match fd::stat_at(to, as_path(&place.name)) {
            // The same file already, under this or another name.
            Ok(there) if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) => return Ok(()),
            Ok(_) => self.remove(&place.parent, &place.name)?,
            Err(error) if error.errno == Errno::ENOENT => {}
            Err(error) => return Err(error.into()),
        }
        match fd::link(&from.fd, as_path(&name), to, as_path(&place.name)) {
            // The target lay below the directory that has just been replaced.
            Err(error) if error.errno == Errno::ENOENT => Err(EntryError::NoTarget),
            done => Ok(done?),
        }
    }
}

enum Failure {
    Read(Error),
    Write(sys::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Self {
        Self::Write(error)
    }
}

/// Writes the entry's content, leaving holes where the map has them.
fn write<R: BufRead>(to: &OwnedFd, map: Option<&sparse::Map>, reader: &mut Reader<R>) -> Result<(), Failure> {
    let Some(map) = map else {
        let mut at = 0;
        loop {
            let piece = reader.content()?;
            if piece.is_empty() {
                return Ok(());
            }
            file::write_at(to, piece, at)?;
            let count = piece.len();
            at += count as u64;
            reader.advance(count);
        }
    };
    for (offset, bytes) in &map.stretches {
        let mut at = *offset;
        let end = offset + bytes;
        while at < end {
            let piece = reader.content()?;
            let most = usize::try_from(end - at).map_or(piece.len(), |left| left.min(piece.len()));
            if most == 0 {
                return Err(Error::Truncated("the content of an entry").into());
            }
            file::write_at(to, &piece[..most], at)?;
            at += most as u64;
            reader.advance(most);
        }
    }
    Ok(file::set_len(to, map.length)?)
}
