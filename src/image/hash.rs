//! The thread that hashes: each layer's blob as it is read, and its uncompressed bytes as they are made.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::blob::Hasher;
use super::pool::Buffer;
use crate::sys::timing;
use crate::types::{Algorithm, Digest};

/// What there is to do, in the order of the bytes.
#[derive(Debug)]
pub enum Job {
    /// Bytes of the blob.
    Compressed(Arc<Buffer>),
    /// Bytes of the layer.
    Plain(Arc<Buffer>),
    /// That was all of this layer.
    LayerEnds,
}

/// The digests of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Of its blob.
    pub blob: Digest,
    /// Of its uncompressed bytes, as far as they were made.
    pub plain: Digest,
}

/// Hashes until nobody has a job any more. `algorithms` are those of each layer's digest and `diff_id`.
pub fn run(jobs: &Receiver<Job>, algorithms: &[(Algorithm, Algorithm)]) -> Vec<Found> {
    let mut found = Vec::new();
    timing::thread("hash");
    for (number, (blob, plain)) in algorithms.iter().enumerate() {
        let (mut blob, mut plain) = (Hasher::new(*blob), Hasher::new(*plain));
        loop {
            match jobs.recv() {
                Ok(Job::Compressed(bytes)) => blob.update(&bytes),
                Ok(Job::Plain(bytes)) => plain.update(&bytes),
                Ok(Job::LayerEnds) => break,
                Err(_) => return found,
            }
        }
        timing::lap_with(|| format!("hash layer {}", number + 1));
        found.push(Found { blob: blob.finish(), plain: plain.finish() });
    }
    found
}
