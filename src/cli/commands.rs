//! The commands: their names, what each is for, and which words it takes. A further command is a line in
//! [`COMMANDS`], a structure in `args`, and a variant of [`Command`].

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::{
    CreateArgs, DeleteArgs, Globals, KillArgs, ListArgs, ListFormat, RunArgs, SeldomOfCreate, SpecArgs,
    StartArgs, StateArgs,
};
use super::control::{EventsArgs, PauseArgs, PsArgs, PsCommand, ResumeArgs};
use super::exec::{ExecArgs, SeldomOfExec};
use super::flags::{self, Order, Words};
use super::image::{InspectArgs, MaybeImage, Unpack, UnpackArgs};
use super::inspect::{CheckArgs, FeaturesArgs};
use super::repack::RepackArgs;
use super::timing::Timed;
use super::update::UpdateArgs;
use crate::ops::SPEC_VERSION;
use crate::ops::options::{
    CreateOptions, DeleteOptions, EventsOptions, ExecOptions, KillOptions, RunOptions, SpecOptions,
    UpdateOptions,
};
use crate::types::ContainerId;

/// A command with all that was typed for it.
#[derive(Debug, Clone)]
pub enum Command {
    /// `check`
    Check(CheckArgs),
    /// `create`
    Create(CreateOptions, Box<MaybeImage>),
    /// `delete`
    Delete(DeleteOptions),
    /// `events`
    Events(EventsOptions),
    /// `exec`
    Exec(Box<ExecOptions>),
    /// `features`
    Features,
    /// `inspect`
    Inspect(InspectArgs),
    /// `kill`
    Kill(KillOptions),
    /// `list`
    List(ListFormat),
    /// `pause`
    Pause(ContainerId),
    /// `ps`
    Ps(PsCommand),
    /// `repack`
    Repack(Box<RepackArgs>),
    /// `resume`
    Resume(ContainerId),
    /// `run`
    Run(RunOptions, Box<MaybeImage>),
    /// `spec`
    Spec(SpecOptions),
    /// `start`
    Start(ContainerId),
    /// `state`
    State(ContainerId),
    /// One of these with `--timing`.
    Timed(Box<Timed>),
    /// `unpack`
    Unpack(Box<Unpack>),
    /// `update`
    Update(UpdateOptions),
}

const COMMANDS: [Entry; 19] = [
    Entry::new::<CheckArgs>("check", "say what is wrong with a bundle, without making a container"),
    Entry::new::<CreateArgs<SeldomOfCreate>>(
        "create",
        "make a container, whose program then waits for start",
    )
    .mostly::<CreateArgs<Nothing>>(),
    Entry::new::<DeleteArgs>("delete", "remove what is left of a container"),
    Entry::new::<EventsArgs>("events", "show what a container uses, and when it runs out of memory"),
    Entry::new::<ExecArgs<SeldomOfExec>>("exec", "run a further program in a running container")
        .flags_first()
        .mostly::<ExecArgs<Nothing>>(),
    Entry::new::<FeaturesArgs>("features", "show what this runtime can do"),
    Entry::new::<InspectArgs>("inspect", "show what an image layout holds"),
    Entry::new::<KillArgs>("kill", "send a signal to a container").flags_first(),
    Entry::new::<ListArgs>("list", "list the containers"),
    Entry::new::<PauseArgs>("pause", "let all processes of a container stand still"),
    Entry::new::<PsArgs>("ps", "list the processes of a container").flags_first(),
    Entry::new::<RepackArgs>("repack", "make an image of a bundle that was made of one"),
    Entry::new::<ResumeArgs>("resume", "let the processes of a paused container go on"),
    Entry::new::<RunArgs<SeldomOfCreate>>(
        "run",
        "make a container, start it, and remove it when it has ended",
    )
    .mostly::<RunArgs<Nothing>>(),
    Entry::new::<SpecArgs>("spec", "write a config.json to start from"),
    Entry::new::<StartArgs>("start", "start the program of a created container"),
    Entry::new::<StateArgs>("state", "show the state of a container"),
    Entry::new::<UnpackArgs>("unpack", "make a bundle of an image"),
    Entry::new::<UpdateArgs>("update", "change the limits of a container"),
];

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Request {
    /// This command.
    Perform(Box<Command>),
    /// Nothing but to print this.
    Show(String),
}

/// What was typed makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag.
    #[error(transparent)]
    Flag(#[from] flags::Error),
    /// Not the arguments that the command takes.
    #[error("{command:?} requires {}{found}", if .takes.is_empty() { "no argument" } else { takes })]
    Arguments {
        /// Which command.
        command: String,
        /// What it takes.
        takes: String,
        /// What it was given, where that is too much.
        found: String,
    },
    /// An argument is not what it should be.
    #[error("{}", first_paragraph(.0))]
    Value(clap::Error),
    /// No command of that name.
    #[error("unknown command {0:?}: \"keg --help\" lists all")]
    Command(String),
}

/// Arguments as they were typed.
pub trait Typed: clap::Args {
    /// The command they mean.
    fn meant(self) -> Command;
}

/// For a definition without the flags that are seldom typed.
#[derive(Debug, clap::Args)]
pub struct Nothing {}

struct Entry {
    name: &'static str,
    about: &'static str,
    order: Order,
    parse: fn(&Entry, &[OsString]) -> Result<Request, Error>,
    /// The same with a smaller definition, which is built in less time; `None` where that one is not enough.
    quickly: fn(&Entry, &[OsString]) -> Option<Request>,
}

impl Entry {
    const fn new<A: Typed>(name: &'static str, about: &'static str) -> Self {
        Self { name, about, order: Order::Mixed, parse: parse_as::<A>, quickly: |_, _| None }
    }

    /// Has this definition tried first. All that it takes, the whole one must take too, and mean the same by it.
    const fn mostly<A: Typed>(self) -> Self {
        Self { quickly: parse_quickly_as::<A>, ..self }
    }

    const fn flags_first(self) -> Self {
        Self { order: Order::First, ..self }
    }
}

/// Reads the flags before the command. What is left begins with the command's name, or is empty where
/// nothing was asked but help.
pub fn globals(words: &[OsString]) -> Result<(Globals, Vec<OsString>), Error> {
    if words.first().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-")) {
        return Ok((Globals::default(), words.to_vec()));
    }
    let mut definition = <Globals as clap::Args>::augment_args(bare("keg"));
    let words = flags::rewrite(&definition, words, Order::First)?;
    if words.help {
        return Ok((Globals::default(), Vec::new()));
    }
    let rest = words.others.clone();
    let globals = typed(&mut definition, Words { others: Vec::new(), ..words })?;
    Ok((globals, rest))
}

/// Reads the command's name and what follows it.
pub fn parse(words: &[OsString]) -> Result<Request, Error> {
    let by_name = |name: &OsString| {
        let entry = COMMANDS.iter().find(|entry| name == entry.name);
        entry.ok_or_else(|| Error::Command(name.to_string_lossy().into_owned()))
    };
    match words {
        [] => Ok(Request::Show(overview())),
        [help] if help == "help" || help == "h" => Ok(Request::Show(overview())),
        [help, name, ..] if help == "help" || help == "h" => {
            let entry = by_name(name)?;
            (entry.parse)(entry, &[OsString::from("--help")])
        }
        [name, rest @ ..] => {
            let entry = by_name(name)?;
            match (entry.quickly)(entry, rest) {
                Some(request) => Ok(request),
                None => (entry.parse)(entry, rest),
            }
        }
    }
}

/// Whatever is wrong, the whole definition says it.
fn parse_quickly_as<A: Typed>(entry: &Entry, words: &[OsString]) -> Option<Request> {
    let mut definition = A::augment_args(bare(entry.name));
    let words = flags::rewrite(&definition, words, entry.order).ok().filter(|words| !words.help)?;
    typed::<A>(&mut definition, words).ok().map(|typed| Request::Perform(Box::new(typed.meant())))
}

/// Only the definition of the command that was typed is ever built.
fn parse_as<A: Typed>(entry: &Entry, words: &[OsString]) -> Result<Request, Error> {
    let mut definition = A::augment_args(bare(entry.name));
    let words = flags::rewrite(&definition, words, entry.order)?;
    if words.help {
        return Ok(Request::Show(help(entry, definition)));
    }
    typed::<A>(&mut definition, words).map(|typed| Request::Perform(Box::new(typed.meant())))
}

fn typed<A: clap::FromArgMatches>(definition: &mut clap::Command, words: Words) -> Result<A, Error> {
    let separator = std::iter::once(OsString::from("--"));
    let all = words.flags.into_iter().chain(separator).chain(words.others);
    let matches = definition.try_get_matches_from_mut(all).map_err(|error| refused(definition, error))?;
    A::from_arg_matches(&matches).map_err(Error::Value)
}

/// Names the argument that is missing or the one that is too much.
fn refused(definition: &clap::Command, error: clap::Error) -> Error {
    let command = definition.get_name().to_owned();
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) => {
            Error::Arguments { command, takes: missing.join(" and "), found: String::new() }
        }
        (ErrorKind::UnknownArgument, Some(ContextValue::String(found))) => {
            let takes: Vec<_> = definition.get_positionals().map(ToString::to_string).collect();
            Error::Arguments { command, takes: takes.join(" "), found: format!(", and found {found:?} too") }
        }
        _ => Error::Value(error),
    }
}

/// A definition without what the rewriting of flags has done already.
fn bare(name: &'static str) -> clap::Command {
    clap::Command::new(name)
        .no_binary_name(true)
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
}

/// The three lines that callers read.
pub fn version() -> String {
    let commit = option_env!("KEG_COMMIT").unwrap_or("unknown");
    format!("keg version {}\ncommit: {commit}\nspec: {SPEC_VERSION}\n", env!("CARGO_PKG_VERSION"))
}

fn help(entry: &Entry, definition: clap::Command) -> String {
    let template = format!("keg {} - {}\n\nUsage: {{usage}}\n\n{{all-args}}\n", entry.name, entry.about);
    let named = definition.bin_name(format!("keg {}", entry.name));
    named.help_template(template).render_help().to_string()
}

fn overview() -> String {
    let mut text = "keg - a minimal, runc-compatible OCI container runtime\n\n\
                    Usage: keg [GLOBAL OPTIONS] <COMMAND> [OPTIONS] [ARGUMENTS]\n\nCommands:\n"
        .to_owned();
    for entry in &COMMANDS {
        text.push_str(&format!("  {:<10}  {}\n", entry.name, entry.about));
    }
    let globals = <Globals as clap::Args>::augment_args(bare("keg"));
    text.push_str("\nGlobal options:\n");
    text.push_str(&globals.help_template("{options}\n").render_help().to_string());
    text.push_str("\n\"keg COMMAND --help\" says what a command takes.\n");
    text
}

/// What is wrong, on one line, without the usage that the parser adds.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
