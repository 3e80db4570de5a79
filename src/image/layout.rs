//! An OCI image layout on disk (image-spec, image-layout.md): a directory, or a tar file of one.
//! In a directory everything is opened below one fd, without following a symlink.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::archive::{self, Member};
use super::blob::{self, Section, Source};
use super::document::{self, Descriptor, Index};
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno};
use crate::types::Digest;

/// A layout that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or may not be read.
    #[error(transparent)]
    Open(#[from] sys::Error),
    /// It is a file, but no archive of a layout.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// It is neither.
    #[error("neither a directory nor an archive")]
    Neither,
    /// There is no `oci-layout` file.
    #[error("not an OCI image layout: no {0} in it")]
    NotALayout(&'static str),
    /// It is an archive of Docker's own kind.
    #[error(
        "not an OCI image layout but an archive of Docker's: `skopeo copy docker-archive:FILE oci:DIR:REF` makes one of it"
    )]
    DockerArchive,
    /// Its version is not 1.
    #[error("image layout version {0:?} is not supported")]
    Version(String),
    /// One of its two documents cannot be read.
    #[error("{file}")]
    File {
        /// Which.
        file: &'static str,
        /// Why.
        source: blob::Error,
    },
    /// One of its two documents is broken.
    #[error("{file}")]
    Document {
        /// Which.
        file: &'static str,
        /// Why.
        source: document::Error,
    },
    /// `index.json` is none.
    #[error("index.json is no index")]
    NoIndex,
}

/// An open layout.
#[derive(Debug)]
pub struct Layout {
    place: Place,
    /// What `index.json` lists.
    pub index: Index,
    document_bytes: u64,
}

#[derive(Debug)]
enum Place {
    Directory(OwnedFd),
    Archive { file: Arc<OwnedFd>, members: HashMap<Vec<u8>, Member> },
}

impl Place {
    fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = fd::open(fd::cwd(), path, Resolve::Host, flags, 0)?;
        let stat = fd::stat(&opened)?;
        match fd::file_type(&stat) {
            SFlag::S_IFDIR => Ok(Self::Directory(opened)),
            SFlag::S_IFREG => {
                let length = u64::try_from(stat.st_size).unwrap_or_default();
                let members = archive::members(&opened, length)?;
                Ok(Self::Archive { file: Arc::new(opened), members })
            }
            _ => Err(Error::Neither),
        }
    }

    /// Whether it is no layout but what `docker save` wrote before there were any, and `skopeo copy … docker-archive:` still does.
    fn is_dockers(&self) -> bool {
        match self {
            Self::Archive { members, .. } => {
                members.contains_key(archive::DOCKER) && !members.contains_key(b"oci-layout".as_slice())
            }
            Self::Directory(_) => false,
        }
    }

    /// Finds one file.
    fn find(&self, path: &Path) -> Result<Section, blob::Error> {
        match self {
            Self::Archive { file, members } => {
                let member = members.get(path.as_os_str().as_bytes()).ok_or(blob::Error::Missing)?;
                Ok(Section { source: Source::File(Arc::clone(file)), at: member.at, size: member.size })
            }
            Self::Directory(root) => {
                let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
                let file = match fd::open(root, path, Resolve::BeneathMounts, flags, 0) {
                    Err(error) if error.errno == Errno::ENOENT => return Err(blob::Error::Missing),
                    opened => opened?,
                };
                let stat = fd::stat(&file)?;
                if fd::file_type(&stat) != SFlag::S_IFREG {
                    return Err(blob::Error::NotRegular);
                }
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                Ok(Section { source: Source::File(Arc::new(file)), at: 0, size })
            }
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// Opens a layout and reads its index. Documents beyond `document_bytes` are refused.
    pub fn open(path: &Path, document_bytes: u64) -> Result<Self, Error> {
        let place = Place::open(path)?;
        let read = |file: &'static str| match place.find(Path::new(file)) {
            Err(blob::Error::Missing) if place.is_dockers() => Err(Error::DockerArchive),
            Err(blob::Error::Missing) => Err(Error::NotALayout(file)),
            found => found
                .and_then(|section| section.read(document_bytes))
                .map_err(|source| Error::File { file, source }),
        };
        let broken = |file| move |source| Error::Document { file, source };
        let marker: Marker = document::from_json(&read("oci-layout")?).map_err(broken("oci-layout"))?;
        if !marker.image_layout_version.starts_with("1.") {
            return Err(Error::Version(marker.image_layout_version));
        }
        match document::parse(&read("index.json")?, "").map_err(broken("index.json"))? {
            document::Document::Index(index) => Ok(Self { place, index, document_bytes }),
            document::Document::Manifest(_) => Err(Error::NoIndex),
        }
    }

    /// Finds a blob, which the descriptor itself may carry, and compares its size with the descriptor's, without reading it.
    pub fn find(&self, descriptor: &Descriptor) -> Result<Section, blob::Error> {
        if let Some(bytes) = blob::embedded(descriptor, self.document_bytes)? {
            let size = bytes.len() as u64;
            return Ok(Section { source: Source::Memory(bytes.into()), at: 0, size });
        }
        let section = self.place.find(&blob_path(&descriptor.digest()?))?;
        if section.size != descriptor.size {
            return Err(blob::Error::Size { said: descriptor.size, found: section.size });
        }
        Ok(section)
    }

    /// The directory that holds it; none where it is an archive.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        match &self.place {
            Place::Directory(directory) => Some(directory.as_fd()),
            Place::Archive { .. } => None,
        }
    }

    /// Reads and verifies a whole document, which the descriptor itself may carry.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, blob::Error> {
        let bytes = self.find(descriptor)?.read(self.document_bytes)?;
        blob::check(&descriptor.digest()?, &bytes)?;
        Ok(bytes)
    }
}

/// Where a blob lies. The digest has been parsed: its parts are safe file names.
fn blob_path(digest: &Digest) -> PathBuf {
    ["blobs", digest.algorithm().name(), digest.hex()].iter().collect()
}
