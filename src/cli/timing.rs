//! What can be typed for `--timing`, which several commands take, and how a command is done with it.

use std::io::{self, Write};
use std::path::PathBuf;

use super::commands::Command;
use crate::ops;
use crate::ops::timing::Timing;

/// `--timing`
#[derive(Debug, Default, clap::Args)]
pub struct TimingFlag {
    /// A file for a trace of all steps, for chrome://tracing or ui.perfetto.dev; - shows a table on stderr
    #[arg(long, value_name = "FILE")]
    timing: Option<PathBuf>,
}

/// A command whose steps are to be written down.
#[derive(Debug, Clone)]
pub struct Timed {
    /// Where they go.
    pub file: PathBuf,
    /// Its name.
    pub name: &'static str,
    /// The command.
    pub command: Command,
}

impl TimingFlag {
    /// The command, timed if that is wanted.
    pub fn around(self, name: &'static str, command: Command) -> Command {
        match self.timing {
            None => command,
            Some(file) => Command::Timed(Box::new(Timed { file, name, command })),
        }
    }
}

/// Does it, and tells where the time went, also when it fails.
pub fn perform<T>(timed: &Timed, work: impl FnOnce() -> ops::Result<T>) -> ops::Result<T> {
    let timing = Timing::begin(&timed.file, matches!(timed.command, Command::Start(_)))?;
    let done = work();
    let told = timing.end(timed.name).and_then(|table| Ok(io::stderr().write_all(table.as_bytes())?));
    let done = done?;
    told.map(|()| done)
}
