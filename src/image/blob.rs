//! Blobs, read once and verified while they are read: size before, digest at the end.

use std::io::{self, BufRead, Read};
use std::os::fd::OwnedFd;
use std::rc::Rc;

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

/// A stretch of a file: a blob's file, or its place in an archive.
#[derive(Debug, Clone)]
pub struct Section {
    /// The file.
    pub file: Rc<OwnedFd>,
    /// Where the blob begins.
    pub at: u64,
    /// How many bytes it has.
    pub size: u64,
}

impl Section {
    /// Reads all of it, which may be at most `limit` bytes.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(self.size).ok().filter(|_| self.size <= limit);
        let mut bytes = vec![0; size.ok_or(Error::TooBig { size: self.size, limit })?];
        let mut filled = 0;
        while filled < bytes.len() {
            match sys::file::read_at(&*self.file, &mut bytes[filled..], self.at + filled as u64)? {
                0 => return Err(Error::Size { said: self.size, found: filled as u64 }),
                count => filled += count,
            }
        }
        Ok(bytes)
    }
}

const BUFFER: usize = 256 << 10;

/// Reads a blob from its beginning, hashing every byte that leaves the file.
#[derive(Debug)]
pub struct Blob {
    section: Section,
    digest: Digest,
    hasher: Hasher,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    read: u64,
}

impl Blob {
    /// Begins to read. The section's size has been compared with the descriptor's by the layout.
    pub fn new(section: Section, digest: Digest) -> Self {
        let hasher = Hasher::new(digest.algorithm());
        Self { section, digest, hasher, buffer: vec![0; BUFFER].into(), start: 0, end: 0, read: 0 }
    }

    /// How many bytes have left the file so far.
    pub fn consumed(&self) -> u64 {
        self.read
    }

    fn refill(&mut self) -> Result<(), sys::Error> {
        let left = self.section.size - self.read;
        let room = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
        let at = self.section.at + self.read;
        let count = match room {
            0 => 0,
            _ => sys::file::read_at(&*self.section.file, &mut self.buffer[..room], at)?,
        };
        (self.start, self.end) = (0, count);
        self.read += count as u64;
        self.hasher.update(&self.buffer[..count]);
        Ok(())
    }

    /// Reads what is left and compares the digest. To be called after an error of the content
    /// too: a damaged blob is then named as what it is.
    pub fn verify(mut self) -> Result<(), Error> {
        loop {
            self.refill()?;
            if self.end == 0 {
                break;
            }
        }
        if self.read != self.section.size {
            return Err(Error::Size { said: self.section.size, found: self.read });
        }
        same(&self.digest, self.hasher.finish())
    }
}

/// Compares the digest of a whole document.
pub fn check(digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
    same(digest, digest_of(digest.algorithm(), bytes))
}

fn same(digest: &Digest, found: Digest) -> Result<(), Error> {
    if found == *digest { Ok(()) } else { Err(Error::Content(found)) }
}

impl Read for Blob {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Blob {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.refill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
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
    use super::{Blob, Error, Section, digest_of};
    use crate::types::{Algorithm, Digest};
    use std::io::{Read, Write};
    use std::rc::Rc;

    fn blob(content: &[u8], size: u64, digest: Digest) -> Blob {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(content).unwrap();
        Blob::new(Section { file: Rc::new(file.into()), at: 6, size }, digest)
    }

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
    fn content_and_length_are_verified_even_when_only_part_was_read() {
        let digest = digest_of(Algorithm::Sha256, b"abcdef");
        let mut good = blob(b"abcdef", 6, digest.clone());
        let mut two = [0; 2];
        good.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ab");
        good.verify().unwrap();
        assert!(matches!(blob(b"abcdeF", 6, digest.clone()).verify(), Err(Error::Content(_))));
        assert!(matches!(blob(b"abcde", 6, digest).verify(), Err(Error::Size { found: 5, .. })));
    }
}
