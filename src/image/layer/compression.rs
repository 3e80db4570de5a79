//! How layers are compressed, and their bytes inflated: gzip with any number of members (eStargz has one for each file), Zstandard with
//! any number of frames and skippable ones between them (zstd:chunked), or neither.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use crate::image::limits::Limits;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// As the content begins: media types are often wrong about this.
    pub fn of(beginning: &[u8]) -> Self {
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

/// The uncompressed bytes of `R`.
pub enum Inflater<R: BufRead> {
    /// As they are.
    None(R),
    /// Out of gzip.
    Gzip(Box<MultiGzDecoder<R>>),
    /// Out of Zstandard.
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
}

impl<R: BufRead> Inflater<R> {
    /// Looks at how the input begins.
    pub fn new(mut input: R, limits: &Limits) -> io::Result<Self> {
        Ok(match Compression::of(input.fill_buf()?) {
            Compression::None => Self::None(input),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(limits.window.max(1).ilog2())?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    /// Gives back where the compressed bytes came from.
    pub fn into_input(self) -> R {
        match self {
            Self::None(input) => input,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.finish(),
        }
    }

    /// Where the compressed bytes come from.
    pub fn input(&self) -> &R {
        match self {
            Self::None(input) => input,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }
}

impl<R: BufRead> Read for Inflater<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
