//! Everything keg asks of the kernel, one small typed function per operation. The only `unsafe`
//! of the project is below this folder. Fds go in as `impl AsFd` and come out as `OwnedFd`.

pub mod error;
pub mod fd;

pub use error::{Error, Result};
pub use nix::errno::Errno;
