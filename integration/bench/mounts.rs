//! Mounts of the host that have nothing to do with a container.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Result;
use crate::operations::Bench;

/// Mounts of this process's private namespace, unmounted in the end.
#[derive(Debug)]
pub struct Mounts(Vec<PathBuf>);

impl Mounts {
    pub fn make(bench: &Bench, count: usize) -> Result<Self> {
        let mut mounts = Self(Vec::with_capacity(count));
        let source = bench.dir().join("source");
        for number in 0..count {
            let place = bench.dir().join(format!("mounts/{number}"));
            fs::create_dir_all(&place)?;
            mount(Some(&source), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            mounts.0.push(place);
        }
        Ok(mounts)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for place in &self.0 {
            umount2(place, MntFlags::MNT_DETACH).unwrap_or_default();
        }
    }
}
