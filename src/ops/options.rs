//! What was asked for, command by command: what was typed, checked and in the project's own types.
//! A path is as it was typed, relative to the caller's working directory, unless its field says more.

use std::path::PathBuf;
use std::time::Duration;

use crate::plan::ProcessOptions;
pub use crate::spec::shipped::WantedHook;
use crate::types::{ContainerId, Signal};

/// `create`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// The new container's name.
    pub id: ContainerId,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// Where init's pid goes.
    pub pid_file: Option<PathBuf>,
    /// The socket that is sent the terminal.
    pub console_socket: Option<PathBuf>,
    /// The socket that is sent init's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// Move the root over `/` instead of pivot_root(2).
    pub no_pivot: bool,
    /// Leave the container in the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors after the standard three the container keeps.
    pub preserve_fds: u32,
}

/// `run`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// What `create` would be told.
    pub create: CreateOptions,
    /// Return as soon as the program runs.
    pub detach: bool,
    /// Leave the container's state when it has ended.
    pub keep: bool,
    /// Do not adopt orphans of the container.
    pub no_subreaper: bool,
}

/// `delete`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Which container.
    pub id: ContainerId,
    /// Kill it first if it runs, and do not mind if it is not there.
    pub force: bool,
}

/// `events`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsOptions {
    /// Which container.
    pub id: ContainerId,
    /// The time between two looks; absent: one look, and no more.
    pub interval: Option<Duration>,
}

/// `exec`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOptions {
    /// Which container.
    pub id: ContainerId,
    /// The file with the process document; `-` is standard input.
    pub document: Option<PathBuf>,
    /// What changes that document, or the process of the container.
    pub process: ProcessOptions,
    /// Return as soon as the program runs.
    pub detach: bool,
    /// Where its pid goes.
    pub pid_file: Option<PathBuf>,
    /// The socket that is sent the terminal.
    pub console_socket: Option<PathBuf>,
    /// The socket that is sent its pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors after the standard three it keeps.
    pub preserve_fds: u32,
    /// Cgroups inside the container's, as `PATH` or `CONTROLLER[,CONTROLLER]:PATH`.
    pub cgroups: Vec<String>,
    /// Join a paused container too; the process then waits with the others.
    pub ignore_paused: bool,
}

/// `kill`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillOptions {
    /// Which container.
    pub id: ContainerId,
    /// The signal.
    pub signal: Signal,
    /// Send it to every process of the container.
    pub all: bool,
}

/// `ps`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsOptions {
    /// Which container.
    pub id: ContainerId,
    /// What ps(1) is given; none: its long list of everything.
    pub arguments: Vec<String>,
}

/// `spec`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecOptions {
    /// Where config.json goes.
    pub bundle: PathBuf,
    /// For a caller who is not root.
    pub rootless: bool,
    /// Hooks that keg ships.
    pub hooks: Vec<WantedHook>,
}

/// `update`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateOptions {
    /// Which container.
    pub id: ContainerId,
    /// The limits to set.
    pub limits: Limits,
    /// Lines for the container's resctrl group.
    pub schemata: Vec<String>,
}

/// Where `update` finds the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limits {
    /// In a file with the resources part of a config.json; `-` is standard input.
    File(PathBuf),
    /// In such a document, made of flags.
    Document(String),
}
