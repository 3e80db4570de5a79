//! One layer: its bytes inflated, hashed and counted ([`stream`]), taken apart into entries
//! ([`entry`], [`header`], [`pax`], [`sparse`]) and performed on the tree ([`apply`], [`tree`],
//! [`whiteout`], [`metadata`]), in one pass.

mod apply;
mod entry;
mod error;
pub(super) mod header;
mod metadata;
mod path;
pub(super) mod pax;
mod sparse;
mod stream;
mod tree;
mod whiteout;

pub use error::Error;
pub use metadata::Owners;
pub use stream::is_layer;
pub use tree::Tree;

use super::blob::Blob;
use super::limits::Limits;
use crate::types::Digest;

/// How much of the limits is left, and what has been done with the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Uncompressed bytes.
    pub bytes: u64,
    /// Tar entries.
    pub entries: u64,
}

/// Applies a layer. On success blob and `diff_id` have been verified.
pub fn apply(
    tree: &mut Tree,
    blob: Blob,
    diff_id: Digest,
    limits: &Limits,
    totals: &mut Totals,
) -> Result<(), Error> {
    let most = limits.image_bytes.saturating_sub(totals.bytes);
    let mut stream = stream::Stream::new(blob, diff_id, limits, most)?;
    match entries(tree, &mut stream, limits, totals) {
        Ok(()) => {
            totals.bytes += stream.finish()?;
            Ok(())
        }
        Err(error) => Err(stream.blame(error)),
    }
}

fn entries(
    tree: &mut Tree,
    stream: &mut stream::Stream,
    limits: &Limits,
    totals: &mut Totals,
) -> Result<(), Error> {
    let mut reader = entry::Reader::new(stream, limits.header_bytes);
    while let Some(entry) = reader.next_entry()? {
        totals.entries += 1;
        if totals.entries > limits.entries {
            return Err(Error::Limit(format!("the image has more than {} entries", limits.entries)));
        }
        if let entry::Kind::File(Some(map)) = &entry.kind
            && map.length > limits.layer_bytes
        {
            return Err(Error::Limit(format!("a sparse file of {} bytes", map.length)));
        }
        apply::apply(tree, limits.depth, &entry, &mut reader)?;
    }
    Ok(())
}

/// Gives directories their attributes. To be called once, after the last layer.
pub fn finish(tree: &mut Tree) -> Result<(), Error> {
    tree.finish_directories()
}
