//! The commands, one file each. A command takes the [`Place`] and its options, and returns what it
//! found; nothing here parses or prints.

mod bundle;
pub mod check;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
mod first_record;
mod guard;
pub mod kill;
mod launch;
mod launched;
pub mod list;
mod listener;
mod mapped_ids;
pub mod options;
mod outlet;
pub mod pause;
mod pid_file;
mod probe;
mod process;
pub mod ps;
pub mod resume;
pub mod run;
pub mod seal;
mod service;
pub mod shipped;
pub mod spec;
pub mod start;
pub mod state;
pub mod timing;
pub mod update;

use std::cell::RefCell;
use std::path::PathBuf;

use crate::hooks::{Status, document};
use crate::plan::Host;
use crate::state::Record;
use crate::sys::proc::Proc;
use crate::sys::{credentials, namespace};
use crate::types::{CgroupManager, CgroupRecord, ContainerId, Pid};

/// The version of the runtime specification that keg implements.
pub const SPEC_VERSION: &str = crate::spec::VERSION;

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
    /// What a person may want to know although nothing failed, in the order it was found.
    pub notes: RefCell<Vec<String>>,
}

impl Place {
    /// Whether to do without what only the host's root may have.
    fn gives_way(&self, host: &Host) -> bool {
        self.rootless.unwrap_or(!host.is_privileged())
    }

    /// Keeps a sentence for the log, which has it only at `--debug`.
    pub fn note(&self, text: impl Into<String>) {
        self.notes.borrow_mut().push(text.into());
    }
}

/// The document that hooks get on standard input.
fn hook_state(record: &Record, status: Status, pid: Option<Pid>) -> Result<Vec<u8>> {
    Ok(document(&record.id, status, pid, &record.bundle, &record.annotations)?)
}

/// The cgroups of a container, for commands that work through them.
fn own_cgroup(record: &Record) -> Result<&CgroupRecord> {
    let cgroup = record.cgroup.as_ref().filter(|cgroup| !cgroup.directories.is_empty());
    Ok(cgroup.ok_or_else(|| NoCgroup(record.id.clone()))?)
}

/// It was created with `--cgroup-manager disabled`.
#[derive(Debug, thiserror::Error)]
#[error("container {0} has no cgroup of its own")]
struct NoCgroup(ContainerId);

/// Whether keg is root: of the host, or of a user namespace that it was started in.
fn is_root() -> bool {
    credentials::effective_uid().0 == 0
}

/// Where containers are kept unless the caller says otherwise: below `/run`, or in the directory that
/// the session of a user who is not root gave us. Some callers make such a user root of a user namespace before they call.
pub fn default_root(rootless: Option<bool>, session: Option<PathBuf>) -> PathBuf {
    let is_users =
        || !is_root() || Proc::host().and_then(|proc| namespace::in_user_namespace(&proc)).unwrap_or(false);
    match session {
        Some(dir) if rootless.unwrap_or_else(is_users) => dir.join("keg"),
        _ => PathBuf::from("/run/keg"),
    }
}
