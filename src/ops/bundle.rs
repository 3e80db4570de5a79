//! A bundle as it is given: a directory with a config.json.

use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::Result;
use crate::sys::fd::{self, Resolve};
use crate::sys::proc::Proc;
use crate::sys::{self, timing};

const CONFIG_LIMIT: usize = 16 << 20;

/// It is not there, or cannot be read.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("bundle {0:?}")]
    Bundle(PathBuf, #[source] sys::Error),
    #[error("reading {0:?}")]
    Config(PathBuf, #[source] sys::Error),
}

/// The bundle's path as the kernel has it, without symlinks.
pub(super) fn absolute(bundle: &Path, proc: &Proc) -> Result<PathBuf> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let path = fd::open(fd::cwd(), bundle, Resolve::Host, flags, 0).and_then(|dir| proc.path_of(dir));
    Ok(path.map_err(|error| Error::Bundle(bundle.to_owned(), error))?)
}

/// Its config.json, 16 MiB at most.
pub(super) fn read_config(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join("config.json");
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    timing::lap("find the bundle");
    let json =
        fd::open(fd::cwd(), &path, Resolve::Host, flags, 0).and_then(|file| fd::read_all(file, CONFIG_LIMIT));
    timing::lap("read config.json");
    Ok(json.map_err(|error| Error::Config(path, error))?)
}
