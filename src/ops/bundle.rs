//! A bundle as it is given: a directory with a config.json.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;

use super::Result;
use crate::spec;
use crate::sys::fd::{self, Resolve};
use crate::sys::proc::Proc;
use crate::sys::{self, Errno, timing};

const NAME: &str = "config.json";
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// It is not there, or cannot be read.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("bundle {0:?}")]
    Bundle(PathBuf, #[source] sys::Error),
    #[error("reading {0:?}")]
    Config(PathBuf, #[source] sys::Error),
}

/// The bundle's path as the kernel has it, without symlinks, and its config.json.
pub(super) fn read(bundle: &Path, proc: &Proc) -> Result<(PathBuf, Vec<u8>)> {
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if bundle.is_absolute() && bundle.components().all(is_plain) {
        let path = bundle.join(NAME);
        if let Ok(file) = fd::open(fd::cwd(), &path, Resolve::HostPlain, READ, 0) {
            return Ok((bundle.components().collect(), contents(Ok(file), path)?));
        }
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let path = fd::open(fd::cwd(), bundle, Resolve::Host, flags, 0).and_then(|dir| proc.path_of(dir));
    let path = path.map_err(|error| Error::Bundle(bundle.to_owned(), error))?;
    let json = read_config(&path)?;
    Ok((path, json))
}

/// Its config.json; where that is too large, the error that loading it would be.
pub(super) fn read_config(bundle: &Path) -> Result<Vec<u8>> {
    let path = bundle.join(NAME);
    timing::lap("find the bundle");
    contents(fd::open(fd::cwd(), &path, Resolve::Host, READ, 0), path)
}

fn contents(file: sys::Result<OwnedFd>, path: PathBuf) -> Result<Vec<u8>> {
    let json = file.and_then(|file| fd::read_all(file, spec::MAX_SIZE));
    timing::lap("read config.json");
    match json {
        Err(error) if error.errno == Errno::EFBIG => Err(spec::Error::too_large().into()),
        json => Ok(json.map_err(|error| Error::Config(path, error))?),
    }
}
