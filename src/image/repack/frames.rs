//! A layer of Zstandard: frame after frame of some megabytes each, which together are one stream. What the encoder has made is decoded
//! again, by another library, before it is written: no fault of the encoder becomes a layer that nobody can read.

use std::io::{self, Write};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::store::Blob;

/// Bytes of a frame before it is compressed.
const FRAME: usize = 4 << 20;

/// Takes the bytes of a layer.
pub struct Frames<'a> {
    blob: Blob<'a>,
    plain: Vec<u8>,
}

impl<'a> Frames<'a> {
    /// The frames go to `blob`.
    pub fn new(blob: Blob<'a>) -> Self {
        Self { blob, plain: Vec::with_capacity(FRAME) }
    }

    /// Writes what is left; the blob is whole then.
    pub fn finish(mut self) -> io::Result<Blob<'a>> {
        self.frame()?;
        Ok(self.blob)
    }

    fn frame(&mut self) -> io::Result<()> {
        let frame = compress_to_vec(&self.plain[..], CompressionLevel::Fastest);
        let mut back = Vec::with_capacity(self.plain.len());
        zstd::stream::copy_decode(&frame[..], &mut back)?;
        if back != self.plain {
            return Err(io::Error::other("the zstd encoder failed: compress with gzip"));
        }
        self.plain.clear();
        self.blob.write_all(&frame)
    }
}

impl Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(FRAME - self.plain.len());
        self.plain.extend_from_slice(&bytes[..count]);
        if self.plain.len() == FRAME {
            self.frame()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
