//! The command line: what was typed, what it means, and how the outcome is told.

mod args;
mod commands;
mod control;
mod exec;
mod flags;
mod image;
mod inspect;
mod limits;
mod log;
mod output;
mod progress;
mod repack;
mod report;
mod timing;
mod update;

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::PathBuf;

use args::Globals;
use commands::{Command, Request};
use control::PsCommand;
use report::Report;

use crate::ops::{self, Place};

/// What the process tells its caller when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success,
    /// keg could not do what was asked.
    Failure,
    /// The same, of `exec`: apart from what most programs exit with.
    ExecFailure,
    /// The container's program ended with this status, which becomes keg's own.
    Program(u8),
}

impl From<Exit> for i32 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::ExecFailure => 255,
            Exit::Program(status) => status.into(),
        }
    }
}

/// The program.
pub fn main() -> i32 {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    run(&words).into()
}

/// Does what the words after the program's name ask for.
pub fn run(words: &[OsString]) -> Exit {
    // Before anything else, which would have to be done again.
    let sealed = ops::seal::ensure();
    let (globals, rest) = match commands::globals(words) {
        Ok(parsed) => parsed,
        Err(error) => return Report::default().failure(&error),
    };
    let report = Report::new(&globals);
    if globals.version {
        return show(&report, &commands::version());
    }
    let outcome = sealed.and_then(|()| request(&report, globals, &rest));
    outcome.unwrap_or_else(|error| match report.failure(&*error) {
        Exit::Failure if image::interrupted(&*error).is_some() => {
            Exit::Program(image::interrupted(&*error).unwrap_or(1))
        }
        Exit::Failure if rest.first().is_some_and(|name| name == "exec") => Exit::ExecFailure,
        exit => exit,
    })
}

fn request(report: &Report, globals: Globals, words: &[OsString]) -> ops::Result<Exit> {
    match commands::parse(words)? {
        Request::Show(text) => Ok(show(report, &text)),
        Request::Perform(command) => {
            let place = place(globals);
            let outcome = perform(&place, &command);
            report.notes(&place.notes.borrow());
            outcome
        }
    }
}

fn place(globals: Globals) -> Place {
    let rootless = globals.rootless.0;
    let session = || std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    Place {
        cgroup_manager: globals.cgroup_manager(),
        rootless,
        root: globals.root.unwrap_or_else(|| ops::default_root(rootless, session())),
        notes: RefCell::default(),
    }
}

fn perform(place: &Place, command: &Command) -> ops::Result<Exit> {
    match command {
        Command::Check(args) => {
            let found = ops::check::check(place, &args.bundle)?;
            let text = if args.json { inspect::findings_as_json(&found) } else { inspect::findings(&found) };
            output::write(&text)?;
            return Ok(if inspect::are_harmless(&found) { Exit::Success } else { Exit::Failure });
        }
        Command::Create(options, image) => image::create(place, options, image)?,
        Command::Delete(options) => image::delete(place, options)?,
        Command::Events(options) => {
            ops::events::events(place, options, &mut |event| Ok(output::write(&output::event(event)?)?))?;
        }
        Command::Exec(options) => return Ok(Exit::Program(ops::exec::exec(place, options)? as u8)),
        Command::Features => output::write(&output::document(&ops::features::features())?)?,
        Command::Inspect(args) => output::write(&image::inspect(args)?)?,
        Command::Kill(options) => ops::kill::kill(place, options)?,
        Command::List(format) => output::write(&output::list(&ops::list::list(place)?, *format)?)?,
        Command::Pause(id) => ops::pause::pause(place, id)?,
        Command::Ps(PsCommand::Table(options)) => output::write(&ops::ps::table(place, options)?)?,
        Command::Ps(PsCommand::Json(id)) => output::write(&output::pids(&ops::ps::pids(place, id)?)?)?,
        Command::Repack(args) => output::write(&repack::repack(args)?)?,
        Command::Resume(id) => ops::resume::resume(place, id)?,
        Command::Run(options, image) => return Ok(Exit::Program(image::run(place, options, image)? as u8)),
        Command::Spec(options) => ops::spec::spec(options)?,
        Command::Start(id) => ops::start::start(place, id)?,
        Command::Timed(timed) => return timing::perform(timed, || perform(place, &timed.command)),
        Command::Unpack(unpack) => output::write(&image::unpack(unpack)?)?,
        Command::Update(options) => ops::update::update(place, options)?,
        Command::State(id) => output::write(&output::state(&ops::state::state(place, id)?)?)?,
    }
    Ok(Exit::Success)
}

fn show(report: &Report, text: &str) -> Exit {
    match output::write(text) {
        Ok(()) => Exit::Success,
        Err(error) => report.failure(&error),
    }
}
