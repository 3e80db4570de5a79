//! Blobs: where they are, their size and digest, and what is said of one that is not what its descriptor says.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use sha2::{Digest as _, Sha256, Sha512};

use super::document::Descriptor;
use crate::sys;
use crate::types::{Algorithm, Digest};

/// A blob that is not what its descriptor says. Which blob, the outer error says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptor's digest is none.
    #[error(transparent)]
    Digest(#[from] crate::types::InvalidDigest),
    /// It is not there.
    #[error("the blob is missing")]
    Missing,
    /// It cannot be opened or read.
    #[error(transparent)]
    Read(#[from] sys::Error),
    /// Something else stands at its place.
    #[error("the blob is no regular file")]
    NotRegular,
    /// Its length is not the descriptor's.
    #[error("the blob has {found} bytes, its descriptor says {said}")]
    Size {
        /// What the descriptor says.
        said: u64,
        /// What there is.
        found: u64,
    },
    /// Its content is not what the digest says.
    #[error("the blob is damaged: its content has digest {0}")]
    Content(Digest),
    /// It is too big for a document.
    #[error("the document has {size} bytes; {limit} are allowed")]
    TooBig {
        /// Its size.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The descriptor's `data` is not the blob.
    #[error("the data embedded in the descriptor is not base 64")]
    Embedded,
}

/// A digest in the making.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::from_bytes(Algorithm::Sha256, &hasher.finalize()),
            Self::Sha512(hasher) => Digest::from_bytes(Algorithm::Sha512, &hasher.finalize()),
            Self::Blake3(hasher) => Digest::from_bytes(Algorithm::Blake3, hasher.finalize().as_bytes()),
        }
    }
}

/// The digest of `bytes`.
pub fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Where the bytes of a blob are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In a file: its own, or an archive.
    File(Arc<OwnedFd>),
    /// In its descriptor, decoded.
    Memory(Arc<[u8]>),
}

/// A stretch of bytes that is a blob.
#[derive(Debug, Clone)]
pub struct Section {
    /// Of what.
    pub source: Source,
    /// Where the blob begins.
    pub at: u64,
    /// How many bytes it has.
    pub size: u64,
}

impl Section {
    /// Bytes from `offset` on: how many of `buffer` were filled, 0 at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, sys::Error> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let at = self.at + offset;
        match &self.source {
            _ if room == 0 => Ok(0),
            Source::File(file) => sys::file::read_at(&**file, &mut buffer[..room], at),
            Source::Memory(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let count = room.min(bytes.len() - from);
                buffer[..count].copy_from_slice(&bytes[from..from + count]);
                Ok(count)
            }
        }
    }

    /// Reads all of it, which may be at most `limit` bytes.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(self.size).ok().filter(|_| self.size <= limit);
        let mut bytes = vec![0; size.ok_or(Error::TooBig { size: self.size, limit })?];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read_at(&mut bytes[filled..], filled as u64)? {
                0 => return Err(Error::Size { said: self.size, found: filled as u64 }),
                count => filled += count,
            }
        }
        Ok(bytes)
    }
}

/// Compares the digest of a whole document.
pub fn check(digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
    same(digest, digest_of(digest.algorithm(), bytes))
}

/// Compares what was found with what should be.
pub fn same(digest: &Digest, found: Digest) -> Result<(), Error> {
    if found == *digest { Ok(()) } else { Err(Error::Content(found)) }
}

/// The content of a descriptor that carries it in `data`, verified as if it were a file.
pub fn embedded(descriptor: &Descriptor, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let Some(data) = &descriptor.data else { return Ok(None) };
    let digest = descriptor.digest()?;
    if descriptor.size > limit {
        return Err(Error::TooBig { size: descriptor.size, limit });
    }
    let bytes = super::base64::decode(data.as_bytes()).ok_or(Error::Embedded)?;
    if bytes.len() as u64 != descriptor.size {
        return Err(Error::Size { said: descriptor.size, found: bytes.len() as u64 });
    }
    check(&digest, &bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::{Error, Section, Source, digest_of};
    use crate::types::Algorithm;
    use std::io::Write;
    use std::sync::Arc;

    #[test]
    fn digests_of_three_algorithms() {
        for (algorithm, digest) in [
            (Algorithm::Sha256, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Blake3, "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ] {
            assert_eq!(digest_of(algorithm, b"abc").to_string(), digest);
        }
        assert!(digest_of(Algorithm::Sha512, b"abc").hex().starts_with("ddaf35a193617aba"));
    }

    #[test]
    fn sections_are_read_in_their_bounds() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before abc after").unwrap();
        let file = Source::File(Arc::new(file.into()));
        let memory = Source::Memory(b"before abc after"[..].into());
        for source in [file, memory] {
            let section = Section { source, at: 7, size: 3 };
            assert_eq!(section.read(3).unwrap(), b"abc");
            assert!(matches!(section.read(2), Err(Error::TooBig { size: 3, limit: 2 })));
            let long = Section { size: 99, ..section };
            assert!(matches!(long.read(99), Err(Error::Size { said: 99, .. })));
        }
    }
}
