//! What can be typed: the flags and arguments of each command, and the options they mean.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PathBufValueParser, TypedValueParser};

use super::commands::{Command, Nothing, Typed};
use super::flags::parse_bool;
use super::image::{ImageFlags, MaybeImage};
use super::log::Log;
use super::timing::TimingFlag;
use crate::ops::options::{CreateOptions, DeleteOptions, KillOptions, RunOptions, SpecOptions, WantedHook};
use crate::types::{CgroupManager, ContainerId, Signal};

/// Flags that stand before the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Globals {
    /// The directory that holds the state of containers [default: /run/keg]
    #[arg(long, value_name = "DIR", value_parser = absolute())]
    pub root: Option<PathBuf>,
    /// A file to append errors to, or journald:NAME or syslog:NAME
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().map(Log::from))]
    pub log: Option<Log>,
    /// How the lines of that file look: text or json
    #[arg(long, value_name = "FORMAT", value_parser = log_format, default_value = "text")]
    pub log_format: LogFormat,
    /// Have warnings in that file too
    #[arg(long)]
    pub debug: bool,
    /// Let systemd manage cgroups: --cgroup-manager systemd
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who manages cgroups: cgroupfs, systemd or disabled [default: cgroupfs]
    #[arg(long, value_name = "NAME", value_parser = cgroup_manager)]
    cgroup_manager: Option<CgroupManager>,
    /// Do without what only root may do: true, false or auto
    #[arg(long, value_name = "WHEN", value_parser = rootless, default_value = "auto")]
    pub rootless: Rootless,
    /// Show the version
    #[arg(long, short)]
    pub version: bool,
}

impl Globals {
    /// Who manages cgroups, both flags considered.
    pub fn cgroup_manager(&self) -> CgroupManager {
        self.cgroup_manager.unwrap_or(match self.systemd_cgroup {
            true => CgroupManager::Systemd,
            false => CgroupManager::Cgroupfs,
        })
    }
}

/// `--log-format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `time=… level=error msg=…`
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

/// `--rootless`; `None` is `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rootless(pub Option<bool>);

/// `create`, and what `run` shares with it; `S` is what is seldom typed, or nothing.
#[derive(Debug, clap::Args)]
pub struct CreateArgs<S: clap::Args> {
    /// The directory that holds config.json and the root file system
    #[arg(long, short, value_name = "DIR", value_parser = absolute(), default_value = ".")]
    bundle: PathBuf,
    /// A file for the process id of the container's first process
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// A socket that is sent the container's terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Pass so many further file descriptors to the container
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    #[command(flatten)]
    seldom: S,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

/// Of `create` and `run`.
#[derive(Debug, Default, clap::Args)]
pub struct SeldomOfCreate {
    /// A socket that is sent a pidfd of the container's first process
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Move the root over / instead of pivoting to it, where the root is on a ramdisk
    #[arg(long)]
    no_pivot: bool,
    /// Leave the container in the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    #[command(flatten)]
    timing: TimingFlag,
    #[command(flatten)]
    image: ImageFlags,
}

impl From<Nothing> for SeldomOfCreate {
    fn from(_: Nothing) -> Self {
        Self::default()
    }
}

impl<S: clap::Args + Into<SeldomOfCreate>> CreateArgs<S> {
    fn options(self) -> (CreateOptions, MaybeImage, TimingFlag) {
        let seldom = self.seldom.into();
        let options = CreateOptions {
            id: self.id,
            bundle: self.bundle,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            pidfd_socket: seldom.pidfd_socket,
            no_pivot: seldom.no_pivot,
            no_new_keyring: seldom.no_new_keyring,
            preserve_fds: self.preserve_fds,
        };
        (options, seldom.image.meant(), seldom.timing)
    }
}

impl<S: clap::Args + Into<SeldomOfCreate>> Typed for CreateArgs<S> {
    fn meant(self) -> Command {
        let (options, image, timing) = self.options();
        timing.around("create", Command::Create(options, Box::new(image)))
    }
}

/// `delete`
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Kill the container if it runs; succeed if there is none
    #[arg(long, short)]
    force: bool,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

impl Typed for DeleteArgs {
    fn meant(self) -> Command {
        Command::Delete(DeleteOptions { id: self.id, force: self.force })
    }
}

/// `kill`
#[derive(Debug, clap::Args)]
pub struct KillArgs {
    /// Send the signal to all processes of the container
    #[arg(long, short)]
    all: bool,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
    /// By name or number
    #[arg(value_parser = Signal::parse, default_value = "TERM")]
    signal: Signal,
}

impl Typed for KillArgs {
    fn meant(self) -> Command {
        Command::Kill(KillOptions { id: self.id, signal: self.signal, all: self.all })
    }
}

/// `list`
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ListArgs {
    /// How the output looks: table or json
    #[arg(long, short, value_name = "FORMAT", value_parser = list_format, default_value = "table")]
    format: ListFormat,
    /// Show the names only
    #[arg(long, short)]
    quiet: bool,
}

/// How `list` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// Aligned columns.
    Table,
    /// An array of what `state` shows.
    Json,
    /// Names alone.
    Quiet,
}

impl Typed for ListArgs {
    fn meant(self) -> Command {
        Command::List(if self.quiet { ListFormat::Quiet } else { self.format })
    }
}

/// `run`
#[derive(Debug, clap::Args)]
pub struct RunArgs<S: clap::Args> {
    #[command(flatten)]
    create: CreateArgs<S>,
    /// Return as soon as the program runs
    #[arg(long, short)]
    detach: bool,
    /// Keep the container's state when it has ended
    #[arg(long)]
    keep: bool,
    /// Do not adopt processes whose parents in the container have ended
    #[arg(long)]
    no_subreaper: bool,
}

impl<S: clap::Args + Into<SeldomOfCreate>> Typed for RunArgs<S> {
    fn meant(self) -> Command {
        let (create, image, timing) = self.create.options();
        let Self { detach, keep, no_subreaper, .. } = self;
        let options = RunOptions { create, detach, keep, no_subreaper };
        timing.around("run", Command::Run(options, Box::new(image)))
    }
}

/// `spec`
#[derive(Debug, clap::Args)]
pub struct SpecArgs {
    /// The directory that config.json goes to
    #[arg(long, short, value_name = "DIR", value_parser = absolute(), default_value = ".")]
    bundle: PathBuf,
    /// For a user who is not root
    #[arg(long)]
    rootless: bool,
    /// Have a hook that keg ships called: cni[=NETWORK,...] or trace=FILE
    #[arg(long, value_name = "NAME[=CONFIG]", value_parser = WantedHook::from_str, action = clap::ArgAction::Append)]
    hook: Vec<WantedHook>,
}

impl Typed for SpecArgs {
    fn meant(self) -> Command {
        Command::Spec(SpecOptions { bundle: self.bundle, rootless: self.rootless, hooks: self.hook })
    }
}

/// `start`
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    #[command(flatten)]
    timing: TimingFlag,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

impl Typed for StartArgs {
    fn meant(self) -> Command {
        self.timing.around("start", Command::Start(self.id))
    }
}

/// `state`
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

impl Typed for StateArgs {
    fn meant(self) -> Command {
        Command::State(self.id)
    }
}

/// Paths that are to mean the same wherever they are used later.
pub(super) fn absolute() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(std::path::absolute)
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("neither text nor json".to_owned()),
    }
}

fn list_format(text: &str) -> Result<ListFormat, String> {
    match text {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        _ => Err("invalid format option".to_owned()),
    }
}

fn cgroup_manager(text: &str) -> Result<CgroupManager, String> {
    match text {
        "cgroupfs" => Ok(CgroupManager::Cgroupfs),
        "systemd" => Ok(CgroupManager::Systemd),
        "disabled" => Ok(CgroupManager::Disabled),
        _ => Err("none of cgroupfs, systemd and disabled".to_owned()),
    }
}

fn rootless(text: &str) -> Result<Rootless, String> {
    match (text, parse_bool(text)) {
        ("auto", _) => Ok(Rootless(None)),
        (_, Some(value)) => Ok(Rootless(Some(value))),
        _ => Err("none of true, false and auto".to_owned()),
    }
}
