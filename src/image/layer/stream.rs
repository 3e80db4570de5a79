//! The uncompressed bytes of a layer: inflated, hashed for the diff_id and counted on their way.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use super::Error;
use crate::image::blob::{Blob, Hasher};
use crate::image::limits::Limits;
use crate::types::Digest;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, any number of members.
    Gzip,
    /// Zstandard, any number of frames.
    Zstd,
}

impl Compression {
    /// As the content begins: media types are often wrong about this.
    fn of(beginning: &[u8]) -> Self {
        match beginning {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable one before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Whether a media type is one of a layer; an empty one may be anything.
pub fn is_layer(media_type: &str) -> bool {
    let oci =
        ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"];
    let compressions = ["", "+gzip", "+zstd"];
    let docker = [
        "",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ];
    docker.contains(&media_type)
        || oci.iter().any(|oci| media_type.strip_prefix(oci).is_some_and(|rest| compressions.contains(&rest)))
}

enum Source {
    Plain(Box<Blob>),
    Gzip(Box<MultiGzDecoder<Blob>>),
}

impl Source {
    fn blob(&self) -> &Blob {
        match self {
            Self::Plain(blob) => blob,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    fn into_blob(self) -> Blob {
        match self {
            Self::Plain(blob) => *blob,
            Self::Gzip(decoder) => decoder.into_inner(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(blob) => blob.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

const BUFFER: usize = 256 << 10;

/// The layer while it is read.
pub struct Stream {
    source: Source,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    produced: u64,
    most: u64,
    ratio: u64,
    ratio_floor: u64,
    diff_id: Digest,
    hasher: Hasher,
}

/// A limit that the stream has reached, on its way through `std::io`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Exceeded(String);

impl Stream {
    /// Begins to read a layer that may have at most `most` uncompressed bytes.
    pub fn new(mut blob: Blob, diff_id: Digest, limits: &Limits, most: u64) -> Result<Self, Error> {
        let beginning = blob.fill_buf().map_err(Error::Stream)?;
        let source = match Compression::of(beginning) {
            Compression::None => Source::Plain(Box::new(blob)),
            Compression::Gzip => Source::Gzip(Box::new(MultiGzDecoder::new(blob))),
            Compression::Zstd => return Err(Error::Zstd),
        };
        Ok(Self {
            source,
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            produced: 0,
            most: limits.layer_bytes.min(most),
            ratio: limits.ratio,
            ratio_floor: limits.ratio_floor,
            hasher: Hasher::new(diff_id.algorithm()),
            diff_id,
        })
    }

    fn refill(&mut self) -> io::Result<()> {
        let count = self.source.read(&mut self.buffer)?;
        (self.start, self.end) = (0, count);
        self.hasher.update(&self.buffer[..count]);
        self.produced += count as u64;
        if self.produced > self.most {
            let text = format!("the layer has more than {} bytes uncompressed", self.most);
            return Err(io::Error::other(Exceeded(text)));
        }
        let compressed = self.source.blob().consumed().saturating_mul(self.ratio);
        if self.produced > self.ratio_floor && self.produced > compressed {
            let text = format!("the layer is compressed to less than 1/{} of its size", self.ratio);
            return Err(io::Error::other(Exceeded(text)));
        }
        Ok(())
    }

    /// Reads to the end, then compares the blob's digest and the `diff_id`. Returns the number of
    /// uncompressed bytes.
    pub fn finish(mut self) -> Result<u64, Error> {
        loop {
            match self.refill() {
                Err(error) => {
                    let error = Error::from(error);
                    return Err(self.blame(error));
                }
                Ok(()) if self.end == 0 => break,
                Ok(()) => {}
            }
        }
        self.source.into_blob().verify()?;
        let found = self.hasher.finish();
        if found != self.diff_id {
            return Err(Error::WrongDiffId { said: self.diff_id, found });
        }
        Ok(self.produced)
    }

    /// The better of two explanations of a failure: a damaged blob, if it is damaged.
    pub fn blame(self, error: Error) -> Error {
        if !error.is_of_content() {
            return error;
        }
        self.source.into_blob().verify().err().map_or(error, Error::Blob)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Exceeded>()) {
            Some(Exceeded(text)) => Self::Limit(text.clone()),
            None => Self::Stream(error),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Stream {
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
