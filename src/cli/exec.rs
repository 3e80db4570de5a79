//! What can be typed for `exec`.

use std::path::PathBuf;

use clap::ArgAction;

use super::commands::{Command, Nothing, Typed};
use super::timing::TimingFlag;
use crate::ops::options::ExecOptions;
use crate::plan::ProcessOptions;
use crate::types::{Capability, ContainerId, Gid, User};

/// `exec`; `S` is what is seldom typed, or nothing.
#[derive(Debug, clap::Args)]
pub struct ExecArgs<S: clap::Args> {
    /// A file with the process's part of a config.json, or - for standard input
    #[arg(long, short, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return as soon as the program runs
    #[arg(long, short)]
    detach: bool,
    /// Give the program a terminal
    #[arg(long, short)]
    tty: bool,
    /// A socket that is sent the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// A file for the process id
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Pass so many further file descriptors to the process
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    #[command(flatten)]
    seldom: S,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
    /// The program and its arguments
    command: Vec<String>,
}

/// Callers put it into the file of `--process`.
#[derive(Debug, Default, clap::Args)]
pub struct SeldomOfExec {
    /// A socket that is sent a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// The working directory inside the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A further environment variable, as NAME=VALUE
    #[arg(long, short, value_name = "VARIABLE", action = ArgAction::Append)]
    env: Vec<String>,
    /// User and group, in numbers
    #[arg(long, short, value_name = "UID[:GID]", value_parser = User::parse)]
    user: Option<User>,
    /// A further group, as a number
    #[arg(long, short = 'g', value_name = "GID", action = ArgAction::Append, value_parser = Gid::parse)]
    additional_gids: Vec<Gid>,
    /// The SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// The AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Let the process gain no privileges
    #[arg(long)]
    no_new_privs: bool,
    /// A further capability
    #[arg(long, short, value_name = "CAP", action = ArgAction::Append, value_parser = capability)]
    cap: Vec<Capability>,
    /// An existing cgroup inside the container's, as PATH or CONTROLLER[,CONTROLLER]:PATH
    #[arg(long, value_name = "CGROUP", action = ArgAction::Append)]
    cgroup: Vec<String>,
    /// Join a paused container too
    #[arg(long)]
    ignore_paused: bool,
    #[command(flatten)]
    timing: TimingFlag,
}

impl From<Nothing> for SeldomOfExec {
    fn from(_: Nothing) -> Self {
        Self::default()
    }
}

impl<S: clap::Args + Into<SeldomOfExec>> Typed for ExecArgs<S> {
    fn meant(self) -> Command {
        let seldom = self.seldom.into();
        let command = Command::Exec(Box::new(ExecOptions {
            id: self.id,
            document: self.process,
            process: ProcessOptions {
                args: self.command,
                terminal: self.tty,
                cwd: seldom.cwd,
                env: seldom.env,
                user: seldom.user,
                additional_gids: seldom.additional_gids,
                process_label: seldom.process_label,
                apparmor: seldom.apparmor,
                no_new_privileges: seldom.no_new_privs,
                capabilities: seldom.cap.into_iter().collect(),
            },
            detach: self.detach,
            pid_file: self.pid_file,
            console_socket: self.console_socket,
            pidfd_socket: seldom.pidfd_socket,
            preserve_fds: self.preserve_fds,
            cgroups: seldom.cgroup,
            ignore_paused: seldom.ignore_paused,
        }));
        seldom.timing.around("exec", command)
    }
}

fn capability(text: &str) -> Result<Capability, String> {
    Capability::from_name(text).ok_or_else(|| "no capability of that name".to_owned())
}
