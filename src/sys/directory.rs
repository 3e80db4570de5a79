//! The working directory of the calling process.

use std::os::fd::AsFd;
use std::path::PathBuf;

use super::error::{Named, Result, show_fd};

/// fchdir(2)
pub fn change_dir(dir: impl AsFd) -> Result<()> {
    nix::unistd::fchdir(&dir).named(|| format!("fchdir({})", show_fd(&dir)))
}

/// chdir(2) to `/`.
pub fn change_dir_to_root() -> Result<()> {
    nix::unistd::chdir("/").named(|| "chdir(\"/\")".to_owned())
}

/// getcwd(2). ENOENT if the working directory lies outside the root.
pub fn current_dir() -> Result<PathBuf> {
    nix::unistd::getcwd().named(|| "getcwd()".to_owned())
}
