//! `exec`: a further process in a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::options::ExecOptions;
use super::outlet::{Outlet, PidfdSocket};
use super::process::{ChildGuard, has_ended, sort_descriptors, write_pid_file};
use super::start::{self, await_program};
use super::{Place, Result, hook_state, is_root, listener, probe};
use crate::cgroup;
use crate::hooks;
use crate::init::{self, Join};
use crate::link::{self, FromInit, KegEnd, ToInit};
use crate::lsm;
use crate::plan::{self, Process};
use crate::resctrl;
use crate::spec;
use crate::state::{Record, Refused, Stage, Status, Store};
use crate::sys::fd::{self, Resolve};
use crate::sys::proc::Proc;
use crate::sys::process::{self, Ended, Spawn};
use crate::sys::signals::{Forwarder, deliver};
use crate::sys::{self, Errno, descriptors, namespace, schedule, timing};
use crate::types::{NamespaceKind, Pid, Signal};

/// Why there is no further process.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading the process document {0:?}")]
    Document(PathBuf, #[source] sys::Error),
    #[error("{}{problem}", place(path))]
    Process { path: String, problem: String },
    #[error("{0}")]
    Init(String),
    #[error("the process ended before it was ready: {0}")]
    Died(String),
    #[error("the process was ended by signal {0} before it was ready")]
    Ended(i32),
}

/// A finding is about the process, wherever its parts were written.
fn place(path: &str) -> String {
    if path.is_empty() || path.starts_with('-') { String::new() } else { format!("{path}: ") }
}

/// The container that is joined.
#[derive(Debug)]
struct Target {
    record: Record,
    init: OwnedFd,
    pid: Pid,
    /// It stands still, and what is in its cgroup does too.
    paused: bool,
}

/// Runs the process. The result is the status to exit with: 0 when detached, else the process's, or 128 + the signal that killed it.
pub fn exec(place: &Place, options: &ExecOptions) -> Result<i32> {
    sort_descriptors(options.preserve_fds)?;
    let proc = Proc::host()?;
    let store = Store::open(&place.root)?;
    let target = find(&store, options, &proc)?;
    timing::lap("find the container");
    let wanted = decide(place, &store, options, &proc)?;
    timing::lap("read config.json and plan");
    let mut outlet = Outlet::find(wanted.terminal, options.detach, options.console_socket.as_deref())?;
    match launch(&target, options, &wanted, &mut outlet, &proc) {
        // All else fails too when the container ends meanwhile.
        Err(_) if has_ended(&target.init) => Err(Refused::Exec(Status::Stopped).into()),
        // As if its program had been.
        Err(error) => match error.downcast_ref() {
            Some(Error::Ended(signal)) => Ok(128 + signal),
            _ => Err(error),
        },
        Ok((child, _, None)) => {
            drop(child);
            Ok(0)
        }
        Ok((child, link, Some(signals))) => {
            timing::lap("go on");
            let status = outlet.attend(&signals, &child)?;
            timing::lap("the program runs");
            // Of a paused container nobody has waited for this.
            match link.receive() {
                Ok(FromInit::Failed(text)) => Err(Error::Init(text).into()),
                _ => Ok(status),
            }
        }
    }
}

/// Takes no lock: processes may join while others do, and while a command waits for the container.
fn find(store: &Store, options: &ExecOptions, proc: &Proc) -> Result<Target> {
    let record = store.load(&options.id)?;
    let stopped = || Refused::Exec(Status::Stopped);
    let pid = match record.stage {
        Stage::Created { init } | Stage::Running { init } => init.pid,
        Stage::Creating | Stage::Gone | Stage::Lost => {
            let state = store.state(&record, proc)?;
            return Err(Refused::Exec(state.status()).into());
        }
    };
    // Opened before the look at its start time: what has that start time then is what we hold.
    let init = match process::pidfd(pid) {
        Err(error) if error.errno == Errno::ESRCH => return Err(stopped().into()),
        init => init?,
    };
    let state = store.state(&record, proc)?;
    state.to_exec(options.ignore_paused)?;
    Ok(Target { record, init, pid, paused: state.status() == Status::Paused })
}

fn decide(place: &Place, store: &Store, options: &ExecOptions, proc: &Proc) -> Result<Process> {
    let container = spec::load(&store.load_config(&options.id)?)?;
    let document = match &options.document {
        None => None,
        Some(path) => {
            let bytes = read_document(path).map_err(|error| Error::Document(path.clone(), error))?;
            let (process, warnings) = spec::load_process(&bytes)?;
            warnings.iter().for_each(|warning| place.note(format!("{}: {}", warning.path, warning.what)));
            Some(process)
        }
    };
    let exec = plan::exec(&container, document, &options.process, &probe::without_cgroups(proc)?);
    let exec = exec.map_err(|plan::Error { path, problem }| Error::Process { path, problem })?;
    exec.warnings.into_iter().for_each(|warning| place.note(warning));
    lsm::check(proc, &exec.process)?;
    Ok(exec.process)
}

fn read_document(path: &Path) -> sys::Result<Vec<u8>> {
    if path == Path::new("-") {
        return fd::read_all(std::io::stdin(), spec::MAX_SIZE);
    }
    // A caller may well hand over a pipe: no O_NONBLOCK.
    let file = fd::open(fd::cwd(), path, Resolve::Host, OFlag::O_RDONLY | OFlag::O_NOCTTY, 0)?;
    fd::read_all(file, spec::MAX_SIZE)
}

/// Makes the process and brings it to its program. In the foreground all signals are held back from then on.
fn launch(
    target: &Target,
    options: &ExecOptions,
    wanted: &Process,
    outlet: &mut Outlet,
    proc: &Proc,
) -> Result<(ChildGuard, KegEnd, Option<Forwarder>)> {
    let pidfd_socket = PidfdSocket::connect(options.pidfd_socket.as_deref(), None)?;
    let Joining { mut child, link, later, staged, own_limits } = spawn(target, options, wanted, proc)?;
    // Nothing is written down of this process: where keg has nothing more to do for it, it need not wait for that.
    let needs_keg = wanted.terminal || wanted.listener().is_some() || options.pidfd_socket.is_some();
    let limited = own_limits || wanted.rlimits.is_empty();
    let mut serving = Serving {
        child: &mut child,
        link: &link,
        target,
        wanted,
        own_limits,
        early: !needs_keg && limited && later.is_none(),
        detach: options.detach,
        signals: None,
        passed_on: Vec::new(),
    };
    let served = serving.serve(staged, outlet, proc);
    let Serving { signals, early, passed_on, .. } = serving;
    served.map_err(|error| explained(error, &mut child, &passed_on))?;
    pidfd_socket.send(child.pidfd())?;
    // Until here a signal ends keg, and with it the process; or it is passed on already.
    let signals = match signals {
        None if !options.detach => Some(Forwarder::new()?),
        signals => signals,
    };
    outlet.open()?;
    match later {
        None => {
            let told = if early { Ok(()) } else { link.send(ToInit::Start) };
            let runs = told.map_err(Into::into).and_then(|()| await_program(&link, None, None));
            runs.map_err(|error| explained(error, &mut child, &passed_on))?;
        }
        // There it stands still, before its program. Where nobody resumes the container, nobody could be waited for.
        Some(placement) => {
            placement.place(child.pid())?;
            link.send(ToInit::Leave)?;
        }
    }
    if let Some(path) = &options.pid_file {
        write_pid_file(path, child.pid())?;
    }
    child.release();
    Ok((child, link, signals))
}

/// A process on its way.
struct Joining {
    child: ChildGuard,
    link: KegEnd,
    /// Into a paused container's cgroup it goes last.
    later: Option<cgroup::Placement>,
    /// The child is a stage, which makes the process.
    staged: bool,
    /// It sets its resource limits itself.
    own_limits: bool,
}

/// Makes the stage, or the process.
fn spawn(target: &Target, options: &ExecOptions, wanted: &Process, proc: &Proc) -> Result<Joining> {
    let mut placement = match &target.record.cgroup {
        Some(cgroup) => cgroup::join(cgroup, &options.cgroups)?,
        None => cgroup::Placement::default(),
    };
    let later = target.paused.then(|| std::mem::take(&mut placement));
    // The child inherits it; keg itself has little left to do.
    if let Some(cpus) = &wanted.affinity.initial {
        schedule::set_affinity(&cpus.0)?;
    }
    let (link, init_link) = link::pair()?;
    let namespaces = namespace::different(proc, target.pid)?;
    let staged = namespaces.contains(NamespaceKind::Pid);
    if staged {
        link.expect_spawned();
    }
    let own_limits = is_root() && !namespaces.contains(NamespaceKind::User);
    let join = Join {
        id: &options.id,
        process: wanted,
        link: init_link,
        init: target.init.as_fd(),
        namespaces,
        rootfs: target.record.covered_mount.map(|_| target.record.rootfs.as_path()),
        keyring: target.record.keyring,
        cgroups: placement.tasks(),
        own_limits,
        oom_score: wanted.oom_score_adj.filter(|_| !is_root()),
        preserve_fds: options.preserve_fds,
    };
    let how = Spawn { cgroup: placement.into_cgroup(), ..Spawn::default() };
    let child = process::spawn(how, || {
        // With a copy of keg's end in hand, the process would not hear of keg's end.
        descriptors::close_copy(&link);
        init::join(join)
    });
    let child = child.map_err(|error| placement.refused(error))?;
    Ok(Joining { child: ChildGuard::new(child), link, later, staged, own_limits })
}

/// The conversation until the process is ready.
struct Serving<'a> {
    child: &'a mut ChildGuard,
    link: &'a KegEnd,
    target: &'a Target,
    wanted: &'a Process,
    own_limits: bool,
    /// It is told to start before it is ready.
    early: bool,
    detach: bool,
    /// Held back for the process from then on.
    signals: Option<Forwarder>,
    /// What it got of them.
    passed_on: Vec<Signal>,
}

/// Where it is the process that has gone: how it ended. `passed_on` are the signals that keg sent it.
fn explained(error: super::Error, child: &mut ChildGuard, passed_on: &[Signal]) -> super::Error {
    let closed = matches!(error.downcast_ref(), Some(link::Error::Closed));
    if !closed && !matches!(error.downcast_ref(), Some(start::Error::Gone)) {
        return error;
    }
    let how = match child.end() {
        Some(Ended::Killed(signal)) if passed_on.iter().any(|one| one.number() == signal) => {
            return Error::Ended(signal).into();
        }
        Some(Ended::Killed(signal)) => format!("killed by signal {signal}"),
        Some(Ended::Exited(status)) => format!("exit status {status}"),
        None => "it is not a child of this process any more".to_owned(),
    };
    Error::Died(how).into()
}

impl Serving<'_> {
    fn serve(&mut self, staged: bool, outlet: &mut Outlet, proc: &Proc) -> Result<()> {
        if !staged {
            self.start_early(proc)?;
        }
        loop {
            match self.hear()? {
                FromInit::Spawned(pid, pidfd) => {
                    self.child.succeed(pid, pidfd)?;
                    self.start_early(proc)?;
                }
                FromInit::Terminal(master) => outlet.take(master)?,
                FromInit::Limit => {
                    self.child.limit(Some(self.wanted))?;
                    self.link.send(ToInit::Proceed)?;
                }
                FromInit::Listen(number) => {
                    if let Some(listener) = self.wanted.listener() {
                        let Target { record, pid, .. } = self.target;
                        let state = hook_state(record, hooks::Status::Running, Some(*pid))?;
                        listener::hand_on((&*self.child, self.link, number), listener, &state)?;
                    }
                    self.link.send(ToInit::Proceed)?;
                }
                FromInit::Ready if self.early => return Ok(()),
                FromInit::Ready => {
                    self.adjust(proc)?;
                    return match self.own_limits {
                        true => Ok(()),
                        false => Ok(self.child.limit(Some(self.wanted))?),
                    };
                }
                FromInit::Failed(text) => return Err(Error::Init(text).into()),
                _ => return Err(link::Error::Garbled.into()),
            }
        }
    }

    /// What it says next. Signals that are held back are passed on meanwhile.
    fn hear(&mut self) -> Result<FromInit> {
        loop {
            let heard = match &self.signals {
                Some(signals) => self.link.receive_unless(signals).transpose(),
                None => Some(self.link.receive()),
            };
            match (heard, &self.signals) {
                (Some(message), _) => return Ok(message?),
                (None, None) => {}
                (None, Some(signals)) => {
                    while let Some(signal) = signals.next(self.child.pid())? {
                        deliver(self.child.pidfd(), signal)?;
                        self.passed_on.push(signal);
                    }
                }
            }
        }
    }

    fn start_early(&mut self, proc: &Proc) -> Result<()> {
        if !self.early {
            return Ok(());
        }
        self.adjust(proc)?;
        self.signals = if self.detach { None } else { Some(Forwarder::new()?) };
        match self.link.send(ToInit::Start) {
            // Why it has ended is heard later.
            Err(link::Error::Closed) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// What takes rights that the process may not have.
    fn adjust(&mut self, proc: &Proc) -> Result<()> {
        if self.wanted.oom_score_adj.is_some() && is_root() {
            self.child.adjust_oom_score(proc, Some(self.wanted))?;
        }
        if let Some(groups) = &self.target.record.resctrl {
            resctrl::enter(groups, self.child.pid())?;
        }
        Ok(())
    }
}
