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
mod made;
mod metadata;
mod path;
pub(super) mod pax;
pub(super) mod pending;
mod sparse;
mod stream;
mod tree;
mod whiteout;

pub use compression::is_layer;
pub use error::{Error, HeaderError};
pub use inflate::Inflate;
pub use metadata::{Owners, ROOTLESS, is_applied, owner_of_record};
pub use path::{components, join};
pub use stream::{Message, Stream};
pub use tree::{Tree, as_path};

use super::limits::Limits;
use super::progress::Progress;

/// What the layers of an image have had so far of what it may have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Tar entries.
    pub entries: u64,
    /// Uncompressed bytes of the layers that are done, with the holes of their sparse files.
    bytes: u64,
}

/// Applies a layer, all of whose bytes are taken; whether they were the right ones others know.
pub fn apply(
    tree: &mut Tree,
    mut stream: Stream<'_>,
    limits: &Limits,
    used: &mut Used,
    progress: &Progress,
) -> Result<(), Error> {
    let most = limits.layer_bytes.min(limits.image_bytes.saturating_sub(used.bytes));
    let check = |bytes: u64| {
        if bytes <= most {
            return Ok(bytes);
        }
        Err(Error::Limit(format!("the layer has more than {most} bytes uncompressed, with its holes")))
    };
    let mut holes: u64 = 0;
    let mut reader = entry::Reader::new(&mut stream, limits.header_bytes);
    while let Some(entry) = reader.next_entry()? {
        used.entries += 1;
        if used.entries > limits.entries {
            return Err(Error::Limit(format!("the image has more than {} entries", limits.entries)));
        }
        if let entry::Kind::File(Some(map)) = &entry.kind {
            holes = holes.saturating_add(map.holes());
        }
        check(reader.offset().saturating_add(holes))?;
        apply::apply(tree, limits.depth, &entry, &mut reader)?;
        progress.entry();
        if progress.is_stopped() {
            return Err(Error::Aborted);
        }
    }
    let bytes = check(stream.drain()?.saturating_add(holes))?;
    used.bytes = used.bytes.saturating_add(bytes);
    Ok(())
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
