//! What `create` has made before it succeeds, each thing undone when it is dropped.

use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::rootfs;
use crate::sys::process::{self, Child, Ended};
use crate::types::{Pid, Signal};

/// Init's process; killed when dropped, unless it was released.
#[derive(Debug)]
pub(super) struct InitGuard {
    pub(super) child: Child,
    /// It lives on.
    pub(super) released: bool,
}

impl InitGuard {
    pub(super) fn new(child: Child) -> Self {
        Self { child, released: false }
    }

    pub(super) fn pid(&self) -> Pid {
        self.child.pid
    }

    pub(super) fn pidfd(&self) -> impl AsFd + '_ {
        self.child.pidfd.as_fd()
    }

    /// Kills it and waits for it.
    pub(super) fn end(&mut self) -> Option<Ended> {
        self.released = true;
        // Either it has ended already, or it ends now; both are what is wanted.
        process::signal(&self.child.pidfd, Signal::KILL).unwrap_or(());
        process::wait(&self.child.pidfd).ok()
    }
}

impl Drop for InitGuard {
    fn drop(&mut self) {
        if !self.released {
            self.end();
        }
    }
}

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
