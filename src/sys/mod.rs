//! Everything keg asks of the kernel, one small typed function per operation. The only `unsafe`
//! of the project is below this folder. Fds go in as `impl AsFd` and come out as `OwnedFd`.

pub mod arena;
pub mod bpf;
pub mod cgroup;
pub mod credentials;
pub mod dbus;
pub mod descriptors;
pub mod directory;
pub mod entry;
pub mod error;
pub mod fd;
pub mod file;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod glibc;
pub mod kernel;
pub mod keyring;
pub mod landlock;
pub mod limits;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod poll;
mod populate;
pub mod proc;
pub mod process;
mod remap;
pub mod schedule;
pub mod seal;
pub mod seccomp;
pub mod signals;
pub mod socket;
pub mod start;
pub mod times;
pub mod timing;
pub mod tty;
pub mod xattr;

pub use error::{Error, Result};
pub use nix::errno::Errno;
