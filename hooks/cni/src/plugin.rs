//! One call of one plugin: environment, standard input, time limit, and what its answer means.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::error::{Cause, joined, single};
use crate::network::Object;
use crate::{process, stragglers, sys};

/// No answer of a plugin is larger.
const LIMIT: u64 = 1 << 20;
/// How much of what it says about a failure is passed on.
const SAID: usize = 1000;
/// For plugins that run other programs, where the hook itself was given none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a plugin did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// There is no such program.
    #[error("not found in {}", joined(.0))]
    Missing(Vec<PathBuf>),
    /// It could not be run.
    #[error("cannot be run")]
    Run(#[source] Cause),
    /// It was killed, and all it had started.
    #[error("killed after {} s without an answer", .0.as_secs())]
    TimedOut(Duration),
    /// It says so itself.
    #[error("{message} (code {code})")]
    Reported {
        /// In its own words, on one line.
        message: String,
        /// The specification has names for some.
        code: u64,
    },
    /// It ended without an error object.
    #[error("{0}")]
    Ended(String),
    /// Its answer is not what was asked for.
    #[error("its answer is no {0}")]
    Garbled(&'static str, #[source] serde_json::Error),
}

/// What a plugin is to do. The names are those of `CNI_COMMAND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Look whether all is as ADD left it.
    Check,
    /// Remove what is of no attachment in a list.
    Gc,
    /// Tell the known versions.
    Version,
}

impl Operation {
    /// As `CNI_COMMAND`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }
}

/// Of whose container and interface a call is; GC and VERSION are of none.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Of the attachment.
    pub token: &'a str,
    /// The container's id, as plugins know it.
    pub container: &'a str,
    /// The container's network namespace; absent: it is gone.
    pub netns: Option<&'a Path>,
    /// The interface inside.
    pub interface: &'a str,
    /// `CNI_ARGS`
    pub args: &'a str,
}

/// How plugins are called.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where they are searched.
    pub dirs: Vec<PathBuf>,
    /// How long one call may take.
    pub limit: Duration,
}

impl Caller {
    /// The program of a plugin.
    pub fn find(&self, kind: &str) -> Result<PathBuf, Problem> {
        let is_program = |path: &PathBuf| {
            path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        let mut places = self.dirs.iter().map(|dir| dir.join(kind));
        places.find(is_program).ok_or_else(|| Problem::Missing(self.dirs.clone()))
    }

    /// Runs the plugin and returns what it wrote to standard output.
    pub fn call(
        &self,
        kind: &str,
        command: Operation,
        subject: Option<Subject<'_>>,
        configuration: &Object,
    ) -> Result<Vec<u8>, Problem> {
        let program = self.find(kind)?;
        let run = |errno: Errno| Problem::Run(errno.into());
        let io = |error: std::io::Error| Problem::Run(error.into());
        let mut input = scratch("CNI configuration").map_err(run)?;
        let text =
            serde_json::to_vec(configuration).map_err(|error| Problem::Garbled("configuration", error))?;
        input.write_all(&text).and_then(|()| input.rewind()).map_err(io)?;
        let mut output = scratch("CNI result").map_err(run)?;
        let mut errors = scratch("CNI errors").map_err(run)?;
        let mut plugin = Command::new(program);
        plugin.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()));
        plugin.env("CNI_COMMAND", command.name()).env("CNI_PATH", joined(&self.dirs));
        if let Some(subject) = subject {
            plugin.env(stragglers::VARIABLE, subject.token);
            plugin.env("CNI_CONTAINERID", subject.container).env("CNI_IFNAME", subject.interface);
            plugin.env("CNI_NETNS", subject.netns.unwrap_or(Path::new(""))).env("CNI_ARGS", subject.args);
        }
        plugin.stdin(input).stdout(output.try_clone().map_err(io)?).stderr(errors.try_clone().map_err(io)?);
        // A group of its own, by which it is killed.
        plugin.current_dir("/").process_group(0);
        let status = self.wait(plugin, subject)?;
        let answer = read(&mut output).map_err(io)?;
        match status.success() {
            true => Ok(answer),
            false => Err(failed(status, &answer, &read(&mut errors).map_err(io)?)),
        }
    }

    fn wait(&self, mut plugin: Command, subject: Option<Subject<'_>>) -> Result<ExitStatus, Problem> {
        let mut child = plugin.spawn().map_err(|error| Problem::Run(error.into()))?;
        let pid = child.id() as i32;
        let ended = sys::pidfd_open(pid).and_then(|pidfd| process::wait_for_end(&pidfd, self.limit));
        if let Ok(true) = ended {
            return child.wait().map_err(|error| Problem::Run(error.into()));
        }
        // ESRCH cannot be: nobody else waits for it.
        killpg(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or(());
        child.wait().map_err(|error| Problem::Run(error.into()))?;
        if let Some(subject) = subject {
            // What has left its group. Who cannot be ended is found again by the next DEL.
            stragglers::end(subject.token).unwrap_or(());
        }
        Err(match ended {
            Err(errno) => Problem::Run(errno.into()),
            Ok(_) => Problem::TimedOut(self.limit),
        })
    }
}

/// A file in memory: a plugin that does not read, or writes more than a pipe holds, blocks nobody.
fn scratch(name: &str) -> nix::Result<File> {
    let sealed = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(name, MFdFlags::MFD_CLOEXEC | sealed) {
        // Older than Linux 6.3.
        Err(Errno::EINVAL) => memfd_create(name, MFdFlags::MFD_CLOEXEC),
        made => made,
    }
    .map(File::from)
}

fn read(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The error object of the specification, else the last it said.
fn failed(status: ExitStatus, answer: &[u8], errors: &[u8]) -> Problem {
    if let Ok(Value::Object(object)) = serde_json::from_slice(answer) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(single).unwrap_or_default();
        let (message, details) = (text("msg"), text("details"));
        if let (false, Some(code)) = (message.is_empty(), object.get("code").and_then(Value::as_u64)) {
            let message = if details.is_empty() { message } else { format!("{message}; {details}") };
            return Problem::Reported { message: shortened(message), code };
        }
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    };
    let said = String::from_utf8_lossy(if errors.is_empty() { answer } else { errors }).into_owned();
    let last = said.lines().rev().map(single).find(|line| !line.is_empty());
    Problem::Ended(last.map_or(how.clone(), |line| format!("{how}: {}", shortened(line))))
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(SAID) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::failed;

    fn said(status: i32, answer: &str, errors: &str) -> String {
        failed(ExitStatus::from_raw(status), answer.as_bytes(), errors.as_bytes()).to_string()
    }

    #[test]
    fn an_error_object_is_read() {
        let object = r#"{"cniVersion": "1.0.0", "code": 11, "msg": "try\nlater", "details": "busy"}"#;
        assert_eq!(said(256, object, "noise"), "try later; busy (code 11)");
        assert_eq!(said(256, r#"{"code": 7, "msg": "no"}"#, ""), "no (code 7)");
    }

    #[test]
    fn without_one_the_last_line_will_do() {
        assert_eq!(said(256, "", "first\nlast\n\n"), "exit status 1: last");
        assert_eq!(said(256, "on the wrong stream", ""), "exit status 1: on the wrong stream");
        assert_eq!(said(512, r#"{"msg": "no code"}"#, "x"), "exit status 2: x");
        assert_eq!(said(9, "", ""), "killed by signal 9");
        assert_eq!(said(256, "", &"é".repeat(2000)).chars().count(), "exit status 1: ".len() + 1001);
    }
}
