//! keg, an OCI container runtime. The modules below are listed from the lowest floor up: a module
//! may use what stands above it here and nothing else; `tests/layers.rs` holds the exact table.
#![deny(missing_docs)]

pub mod cgroup;
pub mod cli;
pub mod console;
pub mod hooks;
pub mod idmap;
pub mod image;
pub mod init;
pub mod link;
pub mod lsm;
pub mod network;
pub mod ops;
pub mod plan;
pub mod resctrl;
pub mod rootfs;
pub mod seccomp;
pub mod spec;
pub mod state;
#[allow(unsafe_code)]
pub mod sys;
pub mod types;
