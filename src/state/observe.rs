//! The states of a container and what each allows (runtime-spec, runtime.md, "State").
//!
//! ```text
//! creating ─▶ created ─▶ running ⇄ paused ─▶ stopped
//! ```
//!
//! The record says what keg did last, the facts say what the kernel knows; the state follows from both.

use std::fmt;

use super::record::{Record, Stage};
use crate::types::{ContainerId, ProcessRef};

/// What the kernel knows of a recorded container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The host still runs the boot that the record is of.
    pub boot_id_matches: bool,
    /// The container's first process is there: same pid, same start time, no zombie.
    pub init_alive: bool,
    /// Some command has the container's lock.
    pub lock_held: bool,
    /// The container's cgroup is frozen.
    pub frozen: bool,
}

/// A container as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `create` is at work on it.
    Creating(Creating),
    /// Its init waits for `start`.
    Created(Created),
    /// Its program runs.
    Running(Running),
    /// Its processes are frozen.
    Paused(Paused),
    /// Nothing of it runs.
    Stopped(Stopped),
}

/// Nothing to hold on to yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creating(());

/// Waits for `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// The container's first process.
    pub init: ProcessRef,
}

/// Runs its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The container's first process.
    pub init: ProcessRef,
}

/// Frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// The container's first process.
    pub init: ProcessRef,
    started: bool,
}

/// Ended, or never came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped(());

/// Draws the conclusion from what keg did and what the kernel knows.
pub fn observe(record: &Record, facts: &Facts) -> State {
    let stopped = State::Stopped(Stopped(()));
    let alive = facts.boot_id_matches && facts.init_alive;
    match record.stage {
        Stage::Lost | Stage::Creating if facts.lock_held => State::Creating(Creating(())),
        Stage::Created { init } if alive && facts.frozen => State::Paused(Paused { init, started: false }),
        Stage::Running { init } if alive && facts.frozen => State::Paused(Paused { init, started: true }),
        Stage::Created { init } if alive => State::Created(Created { init }),
        Stage::Running { init } if alive => State::Running(Running { init }),
        _ => stopped,
    }
}

impl Created {
    /// The program takes init's place; the process stays the same.
    pub fn start(self) -> Running {
        Running { init: self.init }
    }
}

impl Running {
    /// Freezes it.
    pub fn pause(self) -> Paused {
        Paused { init: self.init, started: true }
    }
}

impl Paused {
    /// Thaws it.
    pub fn resume(self) -> State {
        match self.started {
            true => State::Running(Running { init: self.init }),
            false => State::Created(Created { init: self.init }),
        }
    }
}

/// The name of a state, as `state` and `list` print it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `creating`
    Creating,
    /// `created`
    Created,
    /// `running`
    Running,
    /// `paused`
    Paused,
    /// `stopped`
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A command that the container's state does not allow. Callers match on these texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `start`
    #[error("{}", refused_start(*.0))]
    Start(Status),
    /// `kill`, `pause`, `update`, `ps`, `events`
    #[error("container not running")]
    NotRunning,
    /// `resume`
    #[error("container not paused")]
    NotPaused,
    /// `delete`
    #[error("cannot delete container {0} that is not stopped: {1}")]
    Delete(ContainerId, Status),
    /// `exec`
    #[error("{}", refused_exec(*.0))]
    Exec(Status),
}

fn refused_start(status: Status) -> String {
    match status {
        Status::Running => "cannot start an already running container".to_owned(),
        Status::Stopped => "cannot start a container that has stopped".to_owned(),
        other => format!("cannot start a container in the {other} state"),
    }
}

fn refused_exec(status: Status) -> String {
    match status {
        Status::Stopped => "cannot exec in a stopped container".to_owned(),
        Status::Paused => "cannot exec in a paused container (use --ignore-paused to override)".to_owned(),
        other => format!("cannot exec in a container in the {other} state"),
    }
}

/// What `delete` has to do before nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removable {
    /// Nothing runs any more.
    Ended(Stopped),
    /// Its processes are to be killed first.
    Alive(ProcessRef),
}

impl State {
    /// Its name.
    pub fn status(self) -> Status {
        match self {
            Self::Creating(_) => Status::Creating,
            Self::Created(_) => Status::Created,
            Self::Running(_) => Status::Running,
            Self::Paused(_) => Status::Paused,
            Self::Stopped(_) => Status::Stopped,
        }
    }

    /// The container's first process, if there is one.
    pub fn init(self) -> Option<ProcessRef> {
        match self {
            Self::Created(Created { init })
            | Self::Running(Running { init })
            | Self::Paused(Paused { init, .. }) => Some(init),
            Self::Creating(_) | Self::Stopped(_) => None,
        }
    }

    /// For `start`.
    pub fn to_start(self) -> Result<Created, Refused> {
        match self {
            Self::Created(created) => Ok(created),
            other => Err(Refused::Start(other.status())),
        }
    }

    /// For `kill`: whom the signal reaches.
    pub fn to_signal(self) -> Result<ProcessRef, Refused> {
        self.init().ok_or(Refused::NotRunning)
    }

    /// For `pause`.
    pub fn to_pause(self) -> Result<ProcessRef, Refused> {
        match self {
            Self::Created(Created { init }) | Self::Running(Running { init }) => Ok(init),
            _ => Err(Refused::NotRunning),
        }
    }

    /// For `resume`.
    pub fn to_resume(self) -> Result<Paused, Refused> {
        match self {
            Self::Paused(paused) => Ok(paused),
            _ => Err(Refused::NotPaused),
        }
    }

    /// For `exec`.
    pub fn to_exec(self, ignore_paused: bool) -> Result<ProcessRef, Refused> {
        match self {
            Self::Created(Created { init }) | Self::Running(Running { init }) => Ok(init),
            Self::Paused(Paused { init, .. }) if ignore_paused => Ok(init),
            other => Err(Refused::Exec(other.status())),
        }
    }

    /// For `delete`. A created container goes without `--force`: its program never ran.
    pub fn to_delete(self, id: &ContainerId, force: bool) -> Result<Removable, Refused> {
        match self {
            Self::Stopped(stopped) => Ok(Removable::Ended(stopped)),
            Self::Created(Created { init }) => Ok(Removable::Alive(init)),
            Self::Running(Running { init }) | Self::Paused(Paused { init, .. }) if force => {
                Ok(Removable::Alive(init))
            }
            other => Err(Refused::Delete(id.clone(), other.status())),
        }
    }
}
