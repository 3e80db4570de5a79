//! One layer: its bytes inflated ([`inflate`], [`compression`]) on a thread of its own, received ([`stream`]), taken apart into entries
//! ([`entry`], [`header`], [`pax`], [`sparse`]) and performed on the tree ([`apply`], [`tree`],
//! [`whiteout`], [`metadata`]), in one pass.

mod apply;
mod compression;
mod directories;
mod entry;
mod error;
pub(super) mod header;
mod inflate;
mod metadata;
mod path;
pub(super) mod pax;
mod sparse;
mod stream;
mod tree;
mod whiteout;

pub use compression::is_layer;
pub use error::Error;
pub use inflate::Inflate;
pub use metadata::{Owners, ROOTLESS, is_applied, owner_of_record};
pub use path::{components, join};
pub use stream::{Message, Stream};
pub use tree::{Tree, as_path};

use super::limits::Limits;
use super::progress::Progress;

/// Applies a layer, all of whose bytes are taken; whether they were the right ones others know. `entries` counts those of all layers.
pub fn apply(
    tree: &mut Tree,
    mut stream: Stream<'_>,
    limits: &Limits,
    entries: &mut u64,
    progress: &Progress,
) -> Result<(), Error> {
    let mut reader = entry::Reader::new(&mut stream, limits.header_bytes);
    while let Some(entry) = reader.next_entry()? {
        *entries += 1;
        if *entries > limits.entries {
            return Err(Error::Limit(format!("the image has more than {} entries", limits.entries)));
        }
        if let entry::Kind::File(Some(map)) = &entry.kind
            && map.length > limits.layer_bytes
        {
            return Err(Error::Limit(format!("a sparse file of {} bytes", map.length)));
        }
        apply::apply(tree, limits.depth, &entry, &mut reader)?;
        progress.entry();
        if progress.is_stopped() {
            return Err(Error::Aborted);
        }
    }
    Ok(stream.drain()?)
}

/// Gives directories their attributes. To be called once, after the last layer.
pub fn finish(tree: &mut Tree) -> Result<(), Error> {
    tree.finish_directories()
}

/// How many entries a tar has, up to its end or the first error; their contents are read.
#[cfg(any(fuzzing, debug_assertions))]
pub fn count_entries(bytes: &[u8], header_bytes: u64) -> usize {
    let mut reader = entry::Reader::new(bytes, header_bytes);
    let mut count = 0;
    while let Ok(Some(_)) = reader.next_entry() {
        count += 1;
        while let Ok(piece @ [_, ..]) = reader.content() {
            let count = piece.len();
            reader.advance(count);
        }
    }
    count
}
