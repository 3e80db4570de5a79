//! What `create` has attached to the host before it succeeds, undone when it is dropped.

use std::path::PathBuf;

use crate::rootfs;

/// The root directory's tree in the host's own mount namespace, for a container that has none of its own.
#[derive(Debug)]
pub(super) struct AttachedRootfs(pub(super) Option<(PathBuf, u64)>);

impl Drop for AttachedRootfs {
    fn drop(&mut self) {
        if let Some((path, covered)) = self.0.take() {
            // Nobody is left to be told; `delete` tries again.
            rootfs::detach(&path, covered).unwrap_or(());
        }
    }
}
