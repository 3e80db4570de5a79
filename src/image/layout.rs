//! An OCI image layout on disk (image-spec, image-layout.md): a directory. Everything in it is
//! opened below one directory fd, without following a symlink.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::blob::{self, Blob, Section};
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
    /// There is no `oci-layout` file.
    #[error("not an OCI image layout: no {0} in it")]
    NotALayout(&'static str),
    /// Its version is not 1.
    #[error("image layout version {0:?} is not supported")]
    Version(String),
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
    root: OwnedFd,
    /// What `index.json` lists.
    pub index: Index,
    document_bytes: u64,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// Opens a layout and reads its index. Documents beyond `document_bytes` are refused.
    pub fn open(path: &Path, document_bytes: u64) -> Result<Self, Error> {
        let root = fd::open_dir(path)?;
        let limit = usize::try_from(document_bytes).unwrap_or(usize::MAX);
        let read = |file: &'static str| match fd::read_file(&root, Path::new(file), limit) {
            Err(error) if error.errno == Errno::ENOENT => Err(Error::NotALayout(file)),
            other => other.map_err(Error::Open),
        };
        let broken = |file| move |source| Error::Document { file, source };
        let marker: Marker = document::from_json(&read("oci-layout")?).map_err(broken("oci-layout"))?;
        if !marker.image_layout_version.starts_with("1.") {
            return Err(Error::Version(marker.image_layout_version));
        }
        match document::parse(&read("index.json")?, "").map_err(broken("index.json"))? {
            document::Document::Index(index) => Ok(Self { root, index, document_bytes }),
            document::Document::Manifest(_) => Err(Error::NoIndex),
        }
    }

    /// Finds a blob and compares its size with the descriptor's, without reading it.
    pub fn find(&self, descriptor: &Descriptor) -> Result<Section, blob::Error> {
        let path = blob_path(&descriptor.digest()?);
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = match fd::open(&self.root, &path, Resolve::BeneathMounts, flags, 0) {
            Err(error) if error.errno == Errno::ENOENT => return Err(blob::Error::Missing),
            opened => opened?,
        };
        let stat = fd::stat(&file)?;
        if fd::file_type(&stat) != SFlag::S_IFREG {
            return Err(blob::Error::NotRegular);
        }
        let found = u64::try_from(stat.st_size).unwrap_or_default();
        if found != descriptor.size {
            return Err(blob::Error::Size { said: descriptor.size, found });
        }
        Ok(Section { file: Rc::new(file), at: 0, size: found })
    }

    /// Begins to read a blob; [`Blob::verify`] ends it.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Blob, blob::Error> {
        Ok(Blob::new(self.find(descriptor)?, descriptor.digest()?))
    }

    /// Reads and verifies a whole document, which the descriptor itself may carry.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, blob::Error> {
        let limit = self.document_bytes;
        if let Some(bytes) = blob::embedded(descriptor, limit)? {
            return Ok(bytes);
        }
        if descriptor.size > limit {
            return Err(blob::Error::TooBig { size: descriptor.size, limit });
        }
        let blob = self.blob(descriptor)?;
        blob.read_document()
    }
}

/// Where a blob lies. The digest has been parsed: its parts are safe file names.
fn blob_path(digest: &Digest) -> PathBuf {
    ["blobs", digest.algorithm().name(), digest.hex()].iter().collect()
}
