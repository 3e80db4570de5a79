//! What can be wrong with a layer. The chain reads: which layer, which entry, what.

use std::fmt;
use std::io;

use super::{header, path, pax, sparse};
use crate::image::blob;
use crate::sys;
use crate::types::Digest;

/// A layer that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The blob is missing or not what its descriptor says.
    #[error(transparent)]
    Blob(#[from] blob::Error),
    /// The uncompressed bytes are not those that the configuration names.
    #[error("diff_id is {said}, the uncompressed layer has {found}")]
    WrongDiffId {
        /// What the configuration says.
        said: Digest,
        /// What was read.
        found: Digest,
    },
    /// The media type is none of a layer.
    #[error("unknown media type {0:?}")]
    MediaType(String),
    /// The blob is elsewhere, as those of foreign layers are.
    #[error("the blob is missing; this foreign layer is to be had from {0}")]
    Foreign(String),
    /// The compressed stream is damaged or cannot be read.
    #[error("decompress: {}", sys::error::describe_io(.0))]
    Stream(io::Error),
    /// Whoever reads the layer has given up, and knows why; or all is to end.
    #[error("the layer was not read to its end")]
    Aborted,
    /// More than one of the limits allows.
    #[error("{0}")]
    Limit(String),
    /// A header is damaged or unknown.
    #[error("tar header at byte {offset}")]
    Header {
        /// Where it begins in the uncompressed layer.
        offset: u64,
        /// What is wrong.
        source: HeaderError,
    },
    /// The stream ends where more must follow.
    #[error("the layer is truncated: it ends inside {0}")]
    Truncated(&'static str),
    /// An entry is refused or cannot be made.
    #[error("entry {name}")]
    Entry {
        /// Its name.
        name: Shown,
        /// Why.
        source: EntryError,
    },
    /// The attributes of a directory cannot be set.
    #[error("attributes of directory {name}")]
    Directory {
        /// Its name.
        name: Shown,
        /// Why.
        source: sys::Error,
    },
}

/// What is wrong with a header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// A field.
    #[error(transparent)]
    Fields(#[from] header::Error),
    /// An extended header.
    #[error(transparent)]
    Pax(#[from] pax::Error),
    /// A sparse map.
    #[error(transparent)]
    Sparse(#[from] sparse::Error),
    /// More bytes than an extended header may have.
    #[error("extended header of {size} bytes; {limit} are allowed")]
    TooLong {
        /// Its size.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Two extended headers of one kind, or none after it.
    #[error("extended header without an entry of its own")]
    Stray,
    /// Two headers give the entry different names.
    #[error("two headers give the entry different names")]
    TwoNames,
    /// A header for all entries that changes where they are or what they hold: readers of tar disagree about those.
    #[error("global extended header that names or sizes entries")]
    Global,
    /// One block of zeros where two end the tar.
    #[error("a lone block of zeros")]
    LoneZero,
}

/// Why an entry is refused or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Its name.
    #[error(transparent)]
    Name(#[from] path::Error),
    /// The name of its hardlink target.
    #[error("hardlink target {target}")]
    Target {
        /// The name.
        target: Shown,
        /// What is wrong with it.
        source: Box<EntryError>,
    },
    /// Where a symlink points.
    #[error("the symlink's target is empty, too long or contains a zero byte")]
    SymlinkTarget,
    /// The root must be a directory.
    #[error("the root of the image must be a directory")]
    Root,
    /// A file whose name ends like a directory's.
    #[error("a regular file whose name ends in a slash")]
    TrailingSlash,
    /// Something on the way is no directory.
    #[error("{0} is no directory")]
    NotADirectory(Shown),
    /// Symlinks that lead in a circle.
    #[error("too many symlinks")]
    Loop,
    /// The hardlink's target is a directory.
    #[error("a hardlink to a directory")]
    LinkToDirectory,
    /// The hardlink's target does not exist.
    #[error("no such file or directory")]
    NoTarget,
    /// Owner or group beyond what the kernel has.
    #[error("owner or group {0} is out of range")]
    Owner(u64),
    /// Device numbers beyond what the kernel has.
    #[error("device number {0}:{1} is out of range")]
    Device(u64, u64),
    /// The overlay file system's own mark for a deleted file.
    #[error("character device 0:0 is an overlay whiteout, which no layer may carry")]
    OverlayWhiteout,
    /// More is to be remembered than any honest image has.
    #[error("names and attributes of directories take more than {0} bytes")]
    Directories(u64),
    /// More names than are remembered.
    #[error("the layer makes more than {0} names")]
    Made(u64),
    /// A whiteout of nothing, or of something that cannot be deleted.
    #[error("malformed whiteout")]
    Whiteout,
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] sys::Error),
}

/// Bytes of a name for one line of text: quoted, escaped, shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(Vec<u8>);

impl Shown {
    /// Keeps what will be shown.
    pub fn new(name: &[u8]) -> Self {
        Self(name[..name.len().min(Self::MOST + 1)].to_vec())
    }

    const MOST: usize = 255;
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (end, more) = if self.0.len() > Self::MOST { (Self::MOST, "...") } else { (self.0.len(), "") };
        write!(f, "{:?}{more}", String::from_utf8_lossy(&self.0[..end]))
    }
}

impl Error {
    /// Whether the bytes of the layer are to blame, so that a damaged blob explains it better.
    pub fn is_of_content(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Header { .. } | Self::Truncated(_))
    }
}

#[cfg(test)]
mod tests {
    use super::Shown;

    #[test]
    fn names_are_shown_on_one_line() {
        assert_eq!(Shown::new(b"a\nb\xff").to_string(), "\"a\\nb\u{fffd}\"");
        let long = Shown::new(&[b'x'; 5000]).to_string();
        assert!(long.ends_with("x\"...") && long.len() < 270, "{long}");
    }
}
