//! What `create` has attached to the host before it succeeds, undone when it is dropped.

use std::path::PathBuf;

use super::delete;
use crate::rootfs;
use crate::state::Record;

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

/// The poststop hooks: whoever was told of a container's beginning is told of its end.
#[derive(Debug)]
pub(super) struct Poststop(Option<Record>);

impl Poststop {
    /// A container without such hooks costs nothing.
    pub(super) fn of(record: &Record) -> Self {
        Self(Some(record).filter(|record| !record.hooks.poststop.is_empty()).cloned())
    }

    /// They are for `delete` to run.
    pub(super) fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Poststop {
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            // `create` has its own reason to fail.
            delete::poststop(&record).unwrap_or(());
        }
    }
}
