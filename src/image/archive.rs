//! A layout in a tar file (oci-archive, `docker save`): where each of its files lies. Only headers
//! are read; contents are read where they stand, as if each were a file of its own.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use super::layer::HeaderError;
use super::layer::header::{self, BLOCK};
use super::layer::pending::Pending;
use crate::sys::{self, file};

/// An archive that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] sys::Error),
    /// It is compressed.
    #[error("the archive is compressed: a layout is read in place, decompress it first")]
    Compressed,
    /// A header is damaged.
    #[error("archive header at byte {offset}")]
    Header {
        /// Where.
        offset: u64,
        /// Why.
        source: HeaderError,
    },
    /// It ends inside a file.
    #[error("the archive is truncated at byte {0}")]
    Truncated(u64),
    /// Two files of one name.
    #[error("the archive names {0:?} twice")]
    Twice(String),
    /// What a file holds does not stand in one piece.
    #[error(
        "the archive has a file in the sparse format: a layout is read in place, write it without (bsdtar --no-read-sparse)"
    )]
    Sparse,
    /// More files than any layout has.
    #[error("the archive holds more than {MOST} files")]
    TooMany,
}

/// Where the content of a file of the archive lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its first byte in the archive.
    pub at: u64,
    /// How many bytes it has.
    pub size: u64,
}

/// The most files that a layout may have.
const MOST: usize = 100_000;
/// The most bytes of an extended header.
const EXTENSION: u64 = 64 << 10;
/// The longest name of a file of a layout.
const LONGEST: usize = "blobs/sha512/".len() + 128;

/// Reads the headers of an archive of `length` bytes: the files of a layout in it, by name without a
/// leading `./`. What else is in it does not matter.
pub fn members(archive: &OwnedFd, length: u64) -> Result<HashMap<Vec<u8>, Member>, Error> {
    let mut members = HashMap::new();
    let mut offset = 0;
    let mut pending = Pending::default();
    while offset < length {
        let refused = |source| Error::Header { offset, source };
        let block = block(archive, offset)?;
        if offset == 0 && matches!(block, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..]) {
            return Err(Error::Compressed);
        }
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let fields = header::parse(&block).map_err(|error| refused(error.into()))?;
        let at = offset + BLOCK as u64;
        if Pending::is_for(fields.kind) {
            let (size, limit) = (fields.size, EXTENSION);
            if size > limit {
                return Err(refused(HeaderError::TooLong { size, limit }));
            }
            pending.push(fields.kind, &read(archive, at, size)?).map_err(refused)?;
            offset = end(at, size, length)?;
            continue;
        }
        let extended = std::mem::take(&mut pending).records().map_err(refused)?;
        if fields.kind == b'S' || !extended.sparse.is_empty() {
            return Err(Error::Sparse);
        }
        let size = match fields.kind {
            b'1'..=b'6' => 0,
            _ => extended.size.unwrap_or(fields.size),
        };
        offset = end(at, size, length)?;
        let name =
            extended.path.unwrap_or_else(|| tar::Header::from_byte_slice(&block).path_bytes().into_owned());
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if !matches!(fields.kind, 0 | b'0' | b'7') || !is_of_layout(name) {
            continue;
        }
        if members.len() >= MOST {
            return Err(Error::TooMany);
        }
        if members.insert(name.to_vec(), Member { at, size }).is_some() {
            return Err(Error::Twice(String::from_utf8_lossy(name).into_owned()));
        }
    }
    pending.end().map_err(|source| Error::Header { offset, source })?;
    Ok(members)
}

/// Whether something of this name is looked for.
fn is_of_layout(name: &[u8]) -> bool {
    let is_blob = name.starts_with(b"blobs/") && name.len() <= LONGEST;
    is_blob || [b"oci-layout".as_slice(), b"index.json", DOCKER].contains(&name)
}

/// What `docker save` writes that knows no layouts.
pub const DOCKER: &[u8] = b"manifest.json";

/// Where the next header begins; the padding of the last file may be missing.
fn end(at: u64, size: u64, length: u64) -> Result<u64, Error> {
    match at.checked_add(size) {
        Some(end) if end <= length => Ok(end.next_multiple_of(BLOCK as u64)),
        _ => Err(Error::Truncated(length)),
    }
}

fn block(archive: impl AsFd, at: u64) -> Result<[u8; BLOCK], Error> {
    let mut block = [0; BLOCK];
    block.copy_from_slice(&read(archive, at, BLOCK as u64)?);
    Ok(block)
}

fn read(archive: impl AsFd, at: u64, size: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| Error::Truncated(at))?];
    let mut filled = 0;
    while filled < bytes.len() {
        let offset = at + filled as u64;
        match file::read_at(&archive, &mut bytes[filled..], offset)? {
            0 => return Err(Error::Truncated(offset)),
            count => filled += count,
        }
    }
    Ok(bytes)
}
