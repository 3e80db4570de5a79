//! How much an image may ask of this machine before it is refused.

/// Limits of one unpacking. The defaults fit honest images, and are such that whatever an image holds no more than 128 MiB of memory are
/// in use besides the zstd window that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed bytes of one layer, holes of sparse files included.
    pub layer_bytes: u64,
    /// Uncompressed bytes of all layers together.
    pub image_bytes: u64,
    /// Tar entries of all layers together; also names that one layer makes, of which there are more where parents are missing.
    pub entries: u64,
    /// Directories above an entry, counted in the tree itself, after symlinks.
    pub depth: usize,
    /// Uncompressed bytes per compressed byte of a layer.
    pub ratio: u64,
    /// Below this many uncompressed bytes a layer may be compressed as well as it likes.
    pub ratio_floor: u64,
    /// Bytes that a zstd stream may look back, rounded down to a power of two: so much memory it may take.
    pub window: u64,
    /// Bytes of an index, manifest or config document.
    pub document_bytes: u64,
    /// Bytes of one entry's extended header, long name or sparse map.
    pub header_bytes: u64,
    /// Bytes of memory for names and attributes of directories, which are remembered until all layers are applied.
    pub directory_bytes: u64,
    /// Indexes within indexes.
    pub index_depth: usize,
    /// Descriptors looked at while an image is chosen.
    pub index_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layer_bytes: 64 << 30,
            image_bytes: 128 << 30,
            entries: 3_500_000,
            depth: 256,
            ratio: 4_000,
            ratio_floor: 64 << 20,
            window: 128 << 20,
            document_bytes: 4 << 20,
            header_bytes: 1 << 20,
            directory_bytes: 40 << 20,
            index_depth: 4,
            index_nodes: 1_024,
        }
    }
}
