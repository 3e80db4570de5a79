//! A container on its way: what was made for it, and the conversation with its init until that is ready.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::guard::{AttachedRootfs, Poststop};
use super::outlet::{Outlet, PidfdSocket};
use super::process::{ChildGuard, write_pid_file};
use super::{Place, Result, hook_state, listener};
use crate::cgroup;
use crate::hooks::{self, Place as HookPlace, Status};
use crate::link::{self, FromInit, KegEnd, ToInit};
use crate::plan::{self, Plan, Process};
use crate::seccomp;
use crate::state::{Locked, Record, Reservation, Stage};
use crate::sys::proc::Proc;
use crate::sys::process::Ended;
use crate::sys::signals::Interrupts;
use crate::sys::{self, namespace, schedule, socket};
use crate::types::{NamespaceKind, ProcessRef};
use crate::{idmap, init, network, resctrl};

/// Why a container could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the root directory {0:?}")]
    Rootfs(PathBuf, #[source] sys::Error),
    #[error("linux.namespaces: {0} namespace {1:?}")]
    Namespace(NamespaceKind, PathBuf, #[source] sys::Error),
    #[error("linux.sysctl, hostname and domainname cannot be set in the host's own {0} namespace ({1:?})")]
    HostNamespace(NamespaceKind, PathBuf),
    #[error("{0}")]
    Init(String),
    #[error("container init was OOM-killed (memory limit too low?)")]
    OomKilled,
    #[error("container init ended before it was ready: {0}")]
    Died(String),
    #[error("ended by a signal while the container was made")]
    Interrupted,
}

/// A container whose init is set up. Dropped before it is kept, it is gone: fields are dropped in their order.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) init: ChildGuard,
    pub(super) proc: Proc,
    pub(super) link: KegEnd,
    pub(super) cgroups: cgroup::Created,
    pub(super) kills: cgroup::OomKills,
    pub(super) rootfs: Option<AttachedRootfs>,
    pub(super) devices: Option<network::Devices>,
    pub(super) resctrl: Option<resctrl::Groups>,
    pub(super) poststop: Poststop,
    pub(super) record: Record,
    pub(super) reservation: Reservation,
    pub(super) plan: Plan,
    pub(super) outlet: Outlet,
    pub(super) pidfd_socket: PidfdSocket,
    pub(super) then: Then,
    pub(super) done: Done,
}

/// The profile of a filter that is linked while init is at work, and where its warnings go.
pub(super) type LateFilter<'a> = (&'a Place, Option<seccomp::Checked<'a>>);

/// What is done once, at the first occasion.
#[derive(Debug, Default)]
pub(super) struct Done {
    prepared: bool,
    adjusted: bool,
}

/// What happens once init is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It waits for `start` on a socket.
    Wait,
    /// Its program runs, and keg leaves.
    Detach,
    /// Its program runs, and keg stays.
    Attend,
}

impl Then {
    /// What the record says once init is ready.
    fn stage(self, init: ProcessRef) -> Stage {
        match self {
            Self::Wait => Stage::Created { init },
            Self::Detach | Self::Attend => Stage::Running { init },
        }
    }

    /// Who holds back signals for the program must not wait for a hook that hangs, when told to end.
    fn interrupts(self) -> sys::Result<Option<Interrupts>> {
        (self == Self::Attend).then(Interrupts::hold).transpose()
    }
}

impl Launched {
    /// Steps aside until init runs. The kernel often puts a new process behind the one that made it, though another processor is idle,
    /// and it would run there when keg has nothing more to do; who is woken gets an idle one.
    pub(super) fn await_birth(&mut self) -> Result<()> {
        if !init::may_wait(&self.plan.namespaces) {
            return Ok(());
        }
        match self.link.receive() {
            // Each has work of its own now. What keg is allowed to run on is written anew for that, which a hook's children would keep.
            Ok(FromInit::Born(_)) if self.plan.hooks.has_any_of_the_runtime() => Ok(()),
            Ok(FromInit::Born(processor)) => Ok(schedule::leave_processor(processor)?),
            Ok(FromInit::Failed(text)) => Err(Error::Init(text).into()),
            Ok(_) => Err(link::Error::Garbled.into()),
            Err(link::Error::Closed) => Err(died(self).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the cgroups that init waits for. The result is what [`Self::tell_cgroups`] wants to know.
    pub(super) fn complete_cgroups(&mut self) -> std::result::Result<Vec<String>, cgroup::Error> {
        let without = self.cgroups.complete(&mut self.plan.cgroup)?;
        self.record.cgroup = Some(self.cgroups.record().clone());
        self.kills = cgroup::OomKills::watch(self.cgroups.record());
        Ok(without)
    }

    /// Has init enter them; in the hierarchies that are named there are none after all.
    pub(super) fn tell_cgroups(&mut self, without: &[String]) -> Result<()> {
        match self.link.send_cgroups(self.cgroups.take_placement().tasks(), without) {
            // Why it has ended is heard later.
            Err(link::Error::Closed) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Links the filter that init will take.
    fn send_filter(&self, (place, profile): &LateFilter<'_>) -> Result<()> {
        let Some(profile) = profile else { return Ok(()) };
        let program = seccomp::compile_checked(profile, seccomp::Arch::NATIVE).map_err(wrong_profile)?;
        program.warnings.iter().for_each(|warning| place.note(warning));
        match self.link.send_filter(&program.instructions, program.load_flags()) {
            // Why it has ended is heard later.
            Err(link::Error::Closed) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// What can be done while init is at work, so that little is left when it is ready: the seccomp filter, the program of the device
    /// rules, and the record.
    fn prepare(&mut self, filter: &LateFilter<'_>) -> Result<()> {
        if std::mem::replace(&mut self.done.prepared, true) {
            return Ok(());
        }
        self.send_filter(filter)?;
        self.cgroups.prepare_devices(&self.plan.cgroup)?;
        let (init, _) = self.proc.process(self.init.pid())?;
        self.record.stage = self.then.stage(init);
        Ok(self.reservation.draft(&self.record)?)
    }

    /// What must wait until init has made and opened its devices, and may take rights that init does not have: the device rules, which
    /// in version 1 forbid everything for a moment, before a hook may add to them; and the out-of-memory score.
    fn adjust(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.done.adjusted, true) {
            return Ok(());
        }
        self.cgroups.restrict_devices(&self.plan.cgroup)?;
        // Others have init do it.
        match self.record.owner {
            0 => Ok(self.init.adjust_oom_score(&self.proc, self.plan.process.as_ref())?),
            _ => Ok(()),
        }
    }

    fn limit(&mut self) -> Result<()> {
        Ok(self.init.limit(self.plan.process.as_ref())?)
    }

    /// Where init has not set them itself.
    fn limit_after_all(&mut self) -> Result<()> {
        match init::sets_own_limits(&self.plan.namespaces, self.record.owner) {
            true => Ok(()),
            false => self.limit(),
        }
    }

    /// The conversation with init until it is ready. Limits are set meanwhile.
    pub(super) fn serve(mut self, bundle: &Path, filter: &LateFilter<'_>) -> Result<Self> {
        let begun = self.limit_cgroups();
        self.explained(begun)?;
        // A stage comes before init, and the mappings of its ids before anything else.
        let mut later = !init::may_wait(&self.plan.namespaces);
        loop {
            if !std::mem::replace(&mut later, false) {
                let prepared = self.prepare(filter);
                self.explained(prepared)?;
            }
            let message = match self.hear()? {
                Err(link::Error::Closed) => return Err(died(&mut self).into()),
                message => message?,
            };
            let answered = match message {
                FromInit::Failed(text) => return Err(Error::Init(text).into()),
                FromInit::Ready => {
                    let finished = self.finish();
                    self.explained(finished)?;
                    return Ok(self);
                }
                question => self.answer(question, bundle),
            };
            self.explained(answered)?;
        }
    }

    fn limit_cgroups(&mut self) -> Result<()> {
        self.cgroups.apply(&self.plan.cgroup)?;
        match self.plan.cgroup_owner() {
            Some(owner) => Ok(self.cgroups.give_to(owner)?),
            None => Ok(()),
        }
    }

    fn answer(&mut self, question: FromInit, bundle: &Path) -> Result<()> {
        match question {
            FromInit::Spawned(pid, pidfd) => return Ok(self.init.succeed(pid, pidfd)?),
            FromInit::Terminal(master) => return self.outlet.take(master),
            FromInit::DevicesMade => return self.adjust(),
            FromInit::MapIds => {
                if let Some(maps) = &self.plan.id_maps {
                    idmap::write(&self.proc, self.init.pid(), maps, self.record.owner == 0)?;
                }
            }
            FromInit::MoveDevices => {
                let (pid, kind) = (self.init.pid(), NamespaceKind::Network);
                let container = namespace::of_process(&self.proc, pid, kind)?;
                self.devices.iter_mut().try_for_each(|devices| devices.move_into(&container))?;
            }
            FromInit::RunHooks => {
                self.adjust()?;
                run_hooks(self, bundle)?;
            }
            FromInit::Limit => self.limit()?,
            FromInit::Listen(number) => hand_on(self, number)?,
            FromInit::Executing | FromInit::Born(_) | FromInit::Ready | FromInit::Failed(_) => {
                return Err(link::Error::Garbled.into());
            }
        }
        Ok(self.link.send(ToInit::Proceed)?)
    }

    fn finish(&mut self) -> Result<()> {
        self.adjust()?;
        if let Some(groups) = &self.record.resctrl {
            resctrl::enter(groups, self.init.pid())?;
        }
        self.limit_after_all()
    }

    /// What keg could not do, it may have failed to do because init had ended: systemd takes a cgroup away with its last process.
    /// Then init knows better.
    fn explained(&mut self, done: Result<()>) -> Result<()> {
        done.map_err(|error| {
            // Who ends closes its files first.
            let closed = matches!(error.downcast_ref(), Some(link::Error::Closed));
            self.reason_of_init(closed).map_or(error, Into::into)
        })
    }

    /// Why init has ended by itself, in its own words where it has left some. Who is known to be `ending` is waited for.
    fn reason_of_init(&mut self, ending: bool) -> Option<Error> {
        let mut by_itself = false;
        let mut ended = None;
        loop {
            // A stage is soon done, and without asking anything; killed, it might leave an init behind that asks.
            if ended.is_none() && !self.link.expects_spawned() {
                by_itself = self.ends_by_itself(ending);
                ended = self.init.end();
            }
            match self.link.receive() {
                Ok(FromInit::Failed(text)) => return Some(Error::Init(text)),
                Ok(FromInit::Spawned(pid, pidfd)) => self.init.succeed(pid, pidfd).ok()?,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if ended.is_none() {
            by_itself = self.ends_by_itself(ending);
            ended = self.init.end();
        }
        match ended {
            // A moment ago.
            Some(Ended::Killed(9)) if !by_itself => None,
            ended => Some(died_of(ended, &self.kills)),
        }
    }

    /// Whether init has ended, or is about to: known to be `ending`, or since the kernel has just killed something for want of memory.
    fn ends_by_itself(&self, ending: bool) -> bool {
        const SOON: i32 = 1000;
        self.init.has_ended()
            || (ending || self.kills.any())
                && socket::wait_readable(&[self.init.pidfd().as_fd()], SOON).is_ok_and(|ready| ready[0])
    }

    /// What init says next. It runs hooks that may hang, too.
    fn hear(&self) -> Result<std::result::Result<FromInit, link::Error>> {
        if !self.plan.hooks.create_container.is_empty()
            && let Some(interrupts) = self.then.interrupts()?
        {
            let heard = self.link.receive_unless(interrupts).transpose();
            return Ok(heard.ok_or(Error::Interrupted)?);
        }
        Ok(self.link.receive())
    }

    /// Writes the pid file, puts the record in place, and keeps all that was made.
    pub(super) fn keep(
        mut self,
        pid_file: Option<&Path>,
        answer: ToInit,
    ) -> Result<(ChildGuard, KegEnd, Record, Locked)> {
        let replaced = self.reservation.publish()?;
        self.pidfd_socket.send(self.init.pidfd())?;
        if let Some(path) = pid_file {
            write_pid_file(path, self.init.pid())?;
        }
        let told = self.link.send(answer);
        replaced.remove();
        if told.is_err() {
            pid_file.map_or(Ok(()), std::fs::remove_file).unwrap_or(());
        }
        self.explained(told.map_err(Into::into))?;
        self.init.release();
        self.cgroups.keep();
        if let Some(rootfs) = &mut self.rootfs {
            rootfs.0 = None;
        }
        self.devices.iter_mut().for_each(network::Devices::keep);
        self.resctrl.iter_mut().for_each(resctrl::Groups::keep);
        self.poststop.keep();
        let container = self.reservation.commit();
        std::mem::forget(self.proc);
        Ok((self.init, self.link, self.record, container))
    }

    /// Undoes all, but for the sockets. No hook has run yet.
    pub(super) fn undo(mut self) -> (Outlet, PidfdSocket) {
        self.poststop.keep();
        (self.outlet, self.pidfd_socket)
    }
}

/// As the plan says of everything else that it refuses.
pub(super) fn wrong_profile(error: seccomp::Error) -> plan::Error {
    plan::Error { path: error.path, problem: error.reason.to_string() }
}

/// Why init is gone without a word.
fn died(launched: &mut Launched) -> Error {
    died_of(launched.init.end(), &launched.kills)
}

fn died_of(ended: Option<Ended>, kills: &cgroup::OomKills) -> Error {
    match ended {
        Some(Ended::Killed(9)) if kills.any() => Error::OomKilled,
        Some(Ended::Killed(signal)) => Error::Died(format!("killed by signal {signal}")),
        Some(Ended::Exited(status)) => Error::Died(format!("exit status {status}")),
        None => Error::Died("it is not a child of this process any more".to_owned()),
    }
}

/// Init is about to load a filter with a listener.
fn hand_on(launched: &Launched, number: i32) -> Result<()> {
    let listener = launched.plan.process.as_ref().and_then(Process::listener);
    let Some(listener) = listener else { return Ok(()) };
    let state = hook_state(&launched.record, Status::Creating, Some(launched.init.pid()))?;
    listener::hand_on((&launched.init, &launched.link, number), listener, &state)
}

fn run_hooks(launched: &Launched, bundle: &Path) -> Result<()> {
    let lists = &launched.plan.hooks;
    let outputs = &hooks::Outputs::open(&launched.plan.annotations)?;
    let interrupts = &launched.then.interrupts()?;
    // The specification has the environment created before prestart hooks run, and being created while the others do.
    let lists = [
        ("prestart", &lists.prestart, Status::Created),
        ("createRuntime", &lists.create_runtime, Status::Creating),
    ];
    for (kind, list, status) in lists {
        let document = hook_state(&launched.record, status, Some(launched.init.pid()))?;
        let interrupts = interrupts.as_ref();
        hooks::run(
            list,
            &document,
            &HookPlace { kind, cwd: bundle, environment: None, outputs, interrupts },
        )?;
    }
    Ok(())
}
