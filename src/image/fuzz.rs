//! Doors into this module for the fuzz targets in `fuzz/`, which find none of them in a keg that is built for use.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use super::config::{self, Runner};
use super::document::{self, ImageConfig};
use super::hash::Hashing;
use super::layer::{self, Message, Owners, Stream, Tree};
use super::layout::Layout;
use super::pool::Pool;
use super::progress::Progress;
use super::reference::Wanted;
use super::select;
use super::{Changes, Limits};

/// Reads every entry of a tar with its content; how many there were.
pub fn tar_stream(bytes: &[u8]) -> usize {
    layer::count_entries(bytes, Limits::default().header_bytes)
}

/// Reads an extended header.
pub fn pax(bytes: &[u8]) -> bool {
    layer::pax::parse(bytes).is_ok()
}

/// Applies layers, uncompressed as they are here, to the empty directory `root`.
pub fn apply(layers: &[Vec<u8>], root: OwnedFd) -> bool {
    let limits = Limits { layer_bytes: 64 << 20, depth: 32, ..Limits::default() };
    let mut tree = Tree::new(root, &limits, Owners::of_this_process());
    let (pool, progress, mut used) = (Pool::new(64), Progress::new([]), layer::Used::default());
    let hashing = Hashing::new(&[]);
    for (number, bytes) in layers.iter().enumerate() {
        tree.next_layer(number > 0);
        let (sender, receiver) = mpsc::channel();
        for piece in bytes.chunks(super::pool::SIZE) {
            let mut buffer = pool.take(|| false);
            buffer.space()[..piece.len()].copy_from_slice(piece);
            buffer.fill(piece.len());
            if sender.send(Message::Piece(Arc::new(buffer))).is_err() {
                return false;
            }
        }
        let ended = sender.send(Message::End).is_ok();
        if !ended
            || layer::apply(&mut tree, Stream::new(receiver, &hashing), &limits, &mut used, &progress)
                .is_err()
        {
            return false;
        }
    }
    layer::finish(&mut tree).is_ok()
}

/// Opens a layout and chooses its image.
pub fn choose(layout: &Path) -> bool {
    let limits = Limits::default();
    Layout::open(layout, limits.document_bytes)
        .is_ok_and(|layout| select::select(&layout, &Wanted::Only, None, &limits).is_ok())
}

/// The digest of a document, as layouts name it.
pub fn digest(bytes: &[u8]) -> String {
    super::blob::digest_of(crate::types::Algorithm::Sha256, bytes).hex().to_owned()
}

/// The config.json of an image configuration, for a root file system at `root`.
pub fn convert(bytes: &[u8], root: &OwnedFd, rootless: bool) -> Option<Vec<u8>> {
    let image: ImageConfig = document::from_json(bytes).ok()?;
    let runner = if rootless { Runner::Rootless { uid: 1000, gid: 1000 } } else { Runner::Root };
    config::convert(&image, root, runner, None, &Changes::default()).ok()
}
