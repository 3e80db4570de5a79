//! A bundle as it is given: a directory with a config.json.

use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::Result;
use crate::spec;
use crate::sys::fd::{self, Resolve};
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, timing};

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

/// Its config.json; where that is too large, the error that loading it would be.
pub(super) fn read_config(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join("config.json");
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    timing::lap("find the bundle");
    let file = fd::open(fd::cwd(), &path, Resolve::Host, flags, 0);
    let json = file.and_then(|file| fd::read_all(file, spec::MAX_SIZE));
    timing::lap("read config.json");
    match json {
        Err(error) if error.errno == Errno::EFBIG => Err(spec::Error::too_large().into()),
        json => Ok(json.map_err(|error| Error::Config(path, error))?),
    }
}
