//! The commands, one file each. A command takes the [`Place`] and its options, and returns what it
//! found; nothing here parses or prints.

pub mod options;

use std::path::PathBuf;

use crate::types::CgroupManager;

/// Why a command failed: said once, by whoever called it, as the chain of its sources.
pub type Error = Box<dyn std::error::Error>;

/// The result of a command.
pub type Result<T> = std::result::Result<T, Error>;

/// What all commands share: where containers are kept, and how keg is meant to work on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The state directory, absolute.
    pub root: PathBuf,
    /// Who is to manage the cgroups of new containers.
    pub cgroup_manager: CgroupManager,
    /// Whether to give way where only the host's root may pass; absent: when keg has no such rights.
    pub rootless: Option<bool>,
    /// Whether warnings are wanted.
    pub debug: bool,
}
