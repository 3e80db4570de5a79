//! How far an unpacking has come: counted by its threads, read by whoever watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::types::Digest;

/// Counters that only grow, and a wish to end.
#[derive(Debug)]
pub struct Progress {
    /// The layers, lowest first.
    pub layers: Vec<LayerProgress>,
    entries: AtomicU64,
    stop: AtomicBool,
}

/// How far one layer has come.
#[derive(Debug)]
pub struct LayerProgress {
    /// Its blob.
    pub digest: Digest,
    /// Bytes of its blob.
    pub size: u64,
    read: AtomicU64,
    applied: AtomicBool,
}

impl LayerProgress {
    /// Bytes of the blob that have been read.
    pub fn done(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether all its entries are there.
    pub fn is_applied(&self) -> bool {
        self.applied.load(Ordering::Relaxed)
    }
}

impl Progress {
    /// Nothing has been done of these blobs and their sizes.
    pub fn new(layers: impl IntoIterator<Item = (Digest, u64)>) -> Self {
        let layer = |(digest, size)| LayerProgress {
            digest,
            size,
            read: AtomicU64::new(0),
            applied: AtomicBool::new(false),
        };
        let layers = layers.into_iter().map(layer).collect();
        Self { layers, entries: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    /// Entries applied so far.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// So many bytes of this layer's blob have been read.
    pub(super) fn read(&self, layer: usize, bytes: u64) {
        self.layers[layer].read.store(bytes, Ordering::Relaxed);
    }

    /// One more entry.
    pub(super) fn entry(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// This layer is done.
    pub(super) fn applied(&self, layer: usize) {
        self.layers[layer].applied.store(true, Ordering::Relaxed);
    }

    /// Asks all threads to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether they have been asked.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
