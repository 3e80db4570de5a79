//! The cgroups of a container: where the host has them, made and limited from a
//! [`CgroupPlan`](crate::plan::cgroup::CgroupPlan), and later frozen, counted, killed and removed from
//! their [`CgroupRecord`](crate::types::CgroupRecord) alone.

mod apply;
mod create;
mod delegated;
mod devices;
mod freeze;
mod kill;
mod oom;
mod owner;
mod place;
mod probe;
mod remove;
mod stats;
mod systemd;
mod undo;
mod update;
mod walk;
mod watch;

use std::path::PathBuf;

pub use create::{Created, are_entered, create, foresee};
pub use delegated::{NO_DEVICE_RULES, give_way};
pub use freeze::{freeze, is_frozen, thaw};
pub use kill::kill_all;
pub use oom::OomKills;
pub use place::{Placement, join};
pub use probe::{Look, probe};
pub use remove::{kill_and_remove, remove};
pub use stats::stats;
pub use update::update;
pub use walk::procs;
pub use watch::{Happened, Watch};

use crate::sys::{self, dbus};
use crate::types::Pid;

/// What went wrong with a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's cgroups could not be looked at.
    #[error("unable to find the cgroups of this host")]
    Probe(#[source] sys::Error),
    /// A directory could not be made or entered.
    #[error("unable to apply cgroup configuration")]
    Make(#[source] sys::Error),
    /// systemd did not make the container's scope.
    #[error("unable to apply cgroup configuration")]
    Apply(#[source] Box<Error>),
    /// A user's systemd is on a bus that nothing names.
    #[error(
        "unable to reach the user's systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"
    )]
    NoSession,
    /// There is no bus, or it does not let us in.
    #[error("unable to reach systemd over D-Bus")]
    Bus(#[source] dbus::Error),
    /// systemd refused something.
    #[error("unable to {doing} systemd unit {unit}")]
    Unit {
        /// A verb.
        doing: &'static str,
        /// Its name.
        unit: String,
        /// Why.
        #[source]
        source: dbus::Error,
    },
    /// systemd tried, and failed.
    #[error("unable to {doing} systemd unit {unit}: its job ended as {result:?}")]
    Job {
        /// A verb.
        doing: &'static str,
        /// Its name.
        unit: String,
        /// In systemd's words.
        result: String,
    },
    /// The scope is not where this host's cgroups are mounted.
    #[error("systemd put unit {unit} into the cgroup {path:?}, which is not its own")]
    Misplaced {
        /// Its name.
        unit: String,
        /// Where keg's process is.
        path: PathBuf,
    },
    /// Without root, cgroups are made below one that is the caller's.
    #[error("unable to apply cgroup configuration: {setting} needs a cgroup that is delegated to the caller")]
    NotDelegated {
        /// The JSON path.
        setting: String,
        /// Why it is not.
        #[source]
        source: sys::Error,
    },
    /// A process cannot be put into the container's cgroup from the one that keg is in.
    #[error(
        "keg runs in a cgroup from which its user may put no process into the container's: run keg in the user's own systemd, as \
         `systemd-run --user --scope` does"
    )]
    Outside(#[source] sys::Error),
    /// A process could not be made.
    #[error(transparent)]
    Spawn(sys::Error),
    /// A frozen cgroup would freeze init before it could say so.
    #[error("container's cgroup unexpectedly frozen: {0:?}")]
    Frozen(PathBuf),
    /// Other processes would share the container's limits, and its end.
    #[error("container's cgroup is not empty: {path:?} has {}", list(processes))]
    NotEmpty {
        /// The cgroup.
        path: PathBuf,
        /// Who is in it.
        processes: Vec<Pid>,
    },
    /// A controller that the limits need cannot be had in the cgroup.
    #[error("the cgroup controllers {controllers} cannot be enabled for {path:?}")]
    Controllers {
        /// Which.
        controllers: String,
        /// The container's cgroup.
        path: PathBuf,
        /// What the kernel said last.
        #[source]
        source: Option<sys::Error>,
    },
    /// A limit was refused.
    #[error("unable to set {setting}")]
    Set {
        /// The JSON path.
        setting: String,
        /// Why.
        #[source]
        source: sys::Error,
    },
    /// `checkBeforeUpdate`, or what version 1 does by itself.
    #[error("unable to set {setting} to {limit}: {usage} bytes are in use (memory limit too low?)")]
    InUse {
        /// The JSON path.
        setting: String,
        /// What was asked for.
        limit: i64,
        /// What is used.
        usage: i64,
    },
    /// Version 2 limits swap alone.
    #[error(
        "unable to set {setting}: cgroup version 2 cannot limit memory and swap together without a memory limit"
    )]
    NoMemoryLimit {
        /// The JSON path.
        setting: String,
    },
    /// `exec --cgroup` with a path that leads out.
    #[error("bad sub cgroup path {0:?}: it is not below the container's cgroup")]
    SubCgroup(String),
    /// A file of the container's cgroup could not be read or written.
    #[error("unable to {doing} the container's cgroup")]
    Use {
        /// A verb.
        doing: &'static str,
        /// Why.
        #[source]
        source: sys::Error,
    },
    /// Some process cannot be stopped now, most likely because it waits in the kernel.
    #[error("unable to freeze {0:?} within {limit} s", limit = freeze::PATIENCE.as_secs())]
    NotFreezing(PathBuf),
    /// Some processes do not end.
    #[error("unable to remove {path:?}: after {limit} s it still has {}", list(processes), limit = remove::PATIENCE.as_secs())]
    Left {
        /// The cgroup.
        path: PathBuf,
        /// Who is left.
        processes: Vec<Pid>,
    },
}

fn list(processes: &[Pid]) -> String {
    const SHOWN: usize = 10;
    let pids: Vec<_> = processes.iter().take(SHOWN).map(Pid::to_string).collect();
    match processes.len() {
        0 => "no process".to_owned(),
        1 => format!("process {}", pids[0]),
        n if n <= SHOWN => format!("processes {}", pids.join(", ")),
        n => format!("{n} processes ({}, …)", pids.join(", ")),
    }
}
