//! Runs lifecycle hooks: state on standard input, a process group of their own, a time limit, their words kept for the message.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::fcntl::OFlag;

use crate::plan::Hook;
use crate::plan::annotations::{HOOKS_STDERR, HOOKS_STDOUT};
use crate::sys::fd::Resolve;
use crate::sys::signals::Interrupts;
use crate::sys::{self, fd, process, socket, timing};
use crate::types::Pid;

/// The document for their standard input, and the states that it names.
pub use crate::spec::{Status, state as document};

/// How much of what a hook wrote is kept.
const KEPT_OUTPUT: usize = 4096;

/// A hook did not do its work.
#[derive(Debug, thiserror::Error)]
#[error("error running {kind} hook #{index}: {path}: {problem}")]
pub struct Error {
    /// Its list's name in config.json.
    pub kind: &'static str,
    /// Its place in the list, from 0.
    pub index: usize,
    /// Its program.
    pub path: String,
    /// How it failed, with what it wrote.
    pub problem: String,
}

/// Where hooks run.
#[derive(Debug)]
pub struct Place<'a> {
    /// The list's name in config.json, as `createRuntime`.
    pub kind: &'static str,
    /// The working directory.
    pub cwd: &'a Path,
    /// The environment of a hook that names none; absent: keg's own.
    pub environment: Option<&'a [std::ffi::CString]>,
    /// Where they write.
    pub outputs: &'a Outputs,
    /// Signals on which a hook is ended, for a caller that then ends by them.
    pub interrupts: Option<&'a Interrupts>,
}

/// How it went.
enum End {
    ByItself(ExitStatus),
    /// Its time was up.
    Late,
    /// The caller is to end.
    Interrupted,
}

/// The files that annotations name for what hooks write. What has none is kept for the message about a failure.
#[derive(Debug, Default)]
pub struct Outputs {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Outputs {
    /// Opens them, at their ends.
    pub fn open(annotations: &BTreeMap<String, String>) -> Result<Self, OutputError> {
        let open = |key: &'static str| {
            let Some(path) = annotations.get(key) else { return Ok(None) };
            let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOCTTY;
            let file = fd::open(fd::cwd(), Path::new(path), Resolve::Host, flags, 0o600);
            file.map(Some).map_err(|error| OutputError(key, error))
        };
        Ok(Self { stdout: open(HOOKS_STDOUT)?, stderr: open(HOOKS_STDERR)? })
    }

    /// Those that there are.
    pub fn files(&mut self) -> impl Iterator<Item = &mut OwnedFd> {
        self.stdout.iter_mut().chain(&mut self.stderr)
    }
}

/// What hooks write cannot be kept where it should be.
#[derive(Debug, thiserror::Error)]
#[error("annotations[{0:?}]")]
pub struct OutputError(&'static str, #[source] sys::Error);

/// Runs the hooks one after the other; the first failure ends it. `state` is the document for their standard input.
pub fn run(hooks: &[Hook], state: &[u8], place: &Place<'_>) -> Result<(), Error> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| run_one(hook, index, state, place))
}

/// Runs them all, whatever happens to one; the failures come back in order.
pub fn run_all(hooks: &[Hook], state: &[u8], place: &Place<'_>) -> Vec<Error> {
    let each = hooks.iter().enumerate();
    each.filter_map(|(index, hook)| run_one(hook, index, state, place).err()).collect()
}

fn run_one(hook: &Hook, index: usize, state: &[u8], place: &Place<'_>) -> Result<(), Error> {
    let failed = |problem: String| Error {
        kind: place.kind,
        index,
        path: hook.path.to_string_lossy().into_owned(),
        problem,
    };
    let output = sys::seal::scratch_file("hook output").map_err(|error| failed(error.to_string()))?;
    let input = sys::seal::scratch_file("hook state").map_err(|error| failed(error.to_string()))?;
    fd::write_from_start(&input, state).map_err(|error| failed(error.to_string()))?;
    let ended = spawn(hook, place, input, &output)
        .and_then(|child| wait(child, hook.timeout, place.interrupts))
        .map_err(|error| failed(sys::error::describe_io(&error)))?;
    timing::lap_with(|| format!("{} hook #{index}", place.kind));
    let problem = match ended {
        End::Late => format!("timed out after {} s", hook.timeout.unwrap_or_default().as_secs()),
        End::Interrupted => "ended by a signal to keg".to_owned(),
        End::ByItself(status) if status.success() => return Ok(()),
        End::ByItself(status) => match status.signal() {
            Some(signal) => format!("killed by signal {signal}"),
            None => format!("exit status {}", status.code().unwrap_or_default()),
        },
    };
    Err(failed(format!("{problem}{}", said(&output))))
}

fn spawn(hook: &Hook, place: &Place<'_>, input: OwnedFd, output: impl AsFd) -> std::io::Result<Child> {
    let text = |string: &std::ffi::CString| OsString::from(OsStr::from_bytes(string.as_bytes()));
    let mut command = Command::new(text(&hook.path));
    if let Some((zeroth, rest)) = hook.args.split_first() {
        command.arg0(text(zeroth)).args(rest.iter().map(text));
    }
    if let Some(environment) = hook.env.as_deref().or(place.environment) {
        command.env_clear();
        for entry in environment {
            let bytes = entry.as_bytes();
            let split = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
            let value = bytes.get(split + 1..).unwrap_or_default();
            command.env(OsStr::from_bytes(&bytes[..split]), OsStr::from_bytes(value));
        }
    }
    let stream = |own: &Option<OwnedFd>| match own {
        Some(own) => own.try_clone(),
        None => output.as_fd().try_clone_to_owned(),
    };
    let (out, err) = (stream(&place.outputs.stdout)?, stream(&place.outputs.stderr)?);
    process::with_default_signals(&mut command);
    command.stdin(input).stdout(out).stderr(err).current_dir(place.cwd).process_group(0).spawn()
}

/// Waits for the hook. Where that is over before its end, its whole process group is killed.
fn wait(
    mut child: Child,
    timeout: Option<Duration>,
    interrupts: Option<&Interrupts>,
) -> std::io::Result<End> {
    if timeout.is_some() || interrupts.is_some() {
        let pid = Pid(child.id() as i32);
        let pidfd = process::pidfd(pid)?;
        let limit = timeout.map_or(-1, |timeout| timeout.as_millis().try_into().unwrap_or(i32::MAX));
        let waited: Vec<_> = std::iter::once(pidfd.as_fd()).chain(interrupts.map(AsFd::as_fd)).collect();
        let ready = socket::wait_readable(&waited, limit)?;
        if !ready[0] {
            process::kill_group(pid)?;
            child.wait()?;
            return Ok(if ready.contains(&true) { End::Interrupted } else { End::Late });
        }
    }
    child.wait().map(End::ByItself)
}

/// What the hook wrote to its standard output and error, as the end of a message.
fn said(output: impl AsFd) -> String {
    let bytes = fd::read_from_start(output, KEPT_OUTPUT).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
