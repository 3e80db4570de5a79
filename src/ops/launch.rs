//! What `create` and `run` share: from config.json to an init that is set up and waits. Everything made on the way is undone when it
//! is dropped, so a command that fails leaves the host as it was.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::first_record::first_record;
use super::guard::{AttachedRootfs, Poststop};
use super::options::CreateOptions;
use super::outlet::{Outlet, PidfdSocket};
use super::process::{ChildGuard, write_pid_file};
use super::{Place, Result, bundle, hook_state, listener, mapped_ids, probe, service};
use crate::cgroup::{self, Look};
use crate::hooks::{self, Place as HookPlace, Status};
use crate::init::{self, Init};
use crate::link::{self, FromInit, KegEnd, ToInit};
use crate::plan::{self, Host, Options, Plan};
use crate::rootfs::{self, Sources};
use crate::spec::{self, Loaded};
use crate::state::{Locked, Record, Reservation, Stage, Store};
use crate::sys::fd;
use crate::sys::proc::Proc;
use crate::sys::process::{self, Ended, Spawn};
use crate::sys::{self, descriptors, namespace, socket};
use crate::types::{NamespaceKind, ProcessRef};
use crate::{idmap, network, resctrl};

/// The socket on which a created container's init waits for `start`.
pub(super) const START_SOCKET: &str = "start.sock";

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
}

/// A container whose init is set up. Dropped before it is kept, it is gone: fields are dropped in their order.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) init: ChildGuard,
    pub(super) proc: Proc,
    pub(super) link: KegEnd,
    cgroups: cgroup::Created,
    rootfs: Option<AttachedRootfs>,
    devices: Option<network::Devices>,
    resctrl: Option<resctrl::Groups>,
    poststop: Poststop,
    pub(super) record: Record,
    reservation: Reservation,
    pub(super) plan: Plan,
    pub(super) outlet: Outlet,
    pidfd_socket: PidfdSocket,
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

impl Launched {
    /// What needs init to stand still, or rights that it may not have: the device rules, which in version 1
    /// forbid everything for a moment, after init has made its devices and before a hook may add to them;
    /// and the out-of-memory score.
    fn adjust(&mut self, done: &mut bool) -> Result<()> {
        if std::mem::replace(done, true) {
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

    /// Init as the record names it.
    pub(super) fn reference(&self) -> Result<ProcessRef> {
        Ok(self.proc.process(self.init.pid())?.0)
    }

    /// Writes the record and the pid file, and keeps all that was made.
    pub(super) fn keep(
        mut self,
        stage: Stage,
        pid_file: Option<&Path>,
        answer: ToInit,
    ) -> Result<(ChildGuard, KegEnd, Record, Locked)> {
        self.record.stage = stage;
        self.reservation.write(&self.record)?;
        self.pidfd_socket.send(self.init.pidfd())?;
        if let Some(path) = pid_file {
            write_pid_file(path, self.init.pid())?;
        }
        self.link.send(answer)?;
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
}

/// Reads, plans, reserves, makes.
pub(super) fn launch(place: &Place, options: &CreateOptions, then: Then) -> Result<Launched> {
    launch_after(Look::Quick, place, options, then, None)
}

/// Who listens on a socket accepts once: a second look keeps the `sockets` of the first.
fn launch_after(
    look: Look,
    place: &Place,
    options: &CreateOptions,
    then: Then,
    sockets: Option<(Outlet, PidfdSocket)>,
) -> Result<Launched> {
    probe::kernel_is_new_enough()?;
    let proc = Proc::host()?;
    let bundle = bundle::absolute(&options.bundle, &proc)?;
    let json = bundle::read_config(&bundle)?;
    let mut loaded = spec::load(&json)?;
    let notify = service::offer(&mut loaded.spec, place, &options.id, then == Then::Attend);
    let host = probe::host(&proc, look)?;
    let euid = host.euid;
    if place.gives_way(&host) && look == Look::Quick {
        // Who can make some cgroups only is told which.
        return launch_after(Look::Thorough, place, options, then, sockets);
    }
    let mut plan = decide(place, options, &bundle, &loaded, &host)?;
    check_rootfs(&plan)?;
    let devices = network::Devices::find(&plan)?;
    let groups = plan.intel_rdt.as_ref().map(|wanted| resctrl::Groups::find(wanted, &options.id));
    let mut resctrl = groups.transpose()?;
    let (outlet, pidfd_socket) = match sockets {
        Some(sockets) => sockets,
        None => connect(&plan, options, then)?,
    };

    let reservation = Store::open(&place.root)?.reserve(&options.id)?;
    let mut record = first_record(&plan, options, &bundle, &loaded, &proc, euid)?;
    record.cgroup = Some(cgroup::foresee(&plan.cgroup)?);
    record.resctrl = resctrl.as_ref().map(|groups| groups.record().clone());
    reservation.write(&record)?;
    reservation.save_config(&json)?;
    notify.as_deref().map_or(Ok(()), service::make_directory)?;
    let mut cgroups = match cgroup::create(&mut plan.cgroup) {
        Err(_) if look == Look::Quick && plan.cgroup.unit.is_none() => {
            drop(reservation);
            return launch_after(Look::Thorough, place, options, then, Some((outlet, pidfd_socket)));
        }
        made => {
            // Not before: the second look comes to the same warnings.
            plan.warnings.iter().for_each(|warning| place.note(warning));
            made?
        }
    };
    resctrl.iter_mut().try_for_each(resctrl::Groups::make)?;
    record.cgroup = Some(cgroups.record().clone());
    if plan.cgroup.unit.is_some() {
        // Where systemd makes it could not be foreseen.
        reservation.write(&record)?;
    }
    let listener =
        if then == Then::Wait { Some(socket::listen(reservation.dir(), START_SOCKET)?) } else { None };
    let rootfs = record.covered_mount.map(|covered| AttachedRootfs(Some((plan.rootfs.clone(), covered))));
    let (init, link) = spawn(&plan, options, &bundle, &cgroups.take_placement(), listener, euid)?;
    let mut launched = Launched {
        init,
        proc,
        link,
        cgroups,
        rootfs,
        devices,
        resctrl,
        poststop: Poststop::of(&record),
        record,
        reservation,
        plan,
        outlet,
        pidfd_socket,
    };
    serve(&mut launched, &bundle)?;
    Ok(launched)
}

fn connect(plan: &Plan, options: &CreateOptions, then: Then) -> Result<(Outlet, PidfdSocket)> {
    let terminal = plan.process.as_ref().is_some_and(|process| process.terminal);
    let outlet = Outlet::find(terminal, then != Then::Attend, options.console_socket.as_deref())?;
    Ok((outlet, PidfdSocket::connect(options.pidfd_socket.as_deref())?))
}

fn decide(
    place: &Place,
    options: &CreateOptions,
    bundle: &Path,
    loaded: &Loaded,
    host: &Host,
) -> Result<Plan> {
    let typed = Options {
        id: options.id.clone(),
        bundle: bundle.to_owned(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: options.preserve_fds,
        cgroup_manager: place.cgroup_manager,
    };
    let mut plan = plan::build(loaded, &typed, host)?;
    if place.gives_way(host) {
        let path = loaded.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
        let named = path.is_some_and(|path| !path.as_os_str().is_empty());
        cgroup::give_way(&mut plan.cgroup, named)?.into_iter().for_each(|note| place.note(note));
    }
    Ok(plan)
}

/// Said before anything is made; init opens the directory again in its own mount namespace.
fn check_rootfs(plan: &Plan) -> Result<()> {
    fd::check_directory(&plan.rootfs).map_err(|error| Error::Rootfs(plan.rootfs.clone(), error))?;
    Ok(())
}

/// Makes init (through a stage where one clone is not enough).
fn spawn(
    plan: &Plan,
    options: &CreateOptions,
    bundle: &Path,
    placement: &cgroup::Placement,
    listener: Option<OwnedFd>,
    euid: u32,
) -> Result<(ChildGuard, KegEnd)> {
    let mut joins = Vec::new();
    for join in &plan.namespaces.join {
        let file = namespace::open(&join.path, join.kind);
        let file = file.map_err(|error| Error::Namespace(join.kind, join.path.clone(), error))?;
        if plan.changes(join.kind) && namespace::is_own(&file, join.kind)? {
            return Err(Error::HostNamespace(join.kind, join.path.clone()).into());
        }
        joins.push((join.kind, file));
    }
    let sources = sources(plan, &joins)?;
    let (link, init_link) = link::pair()?;
    let score = plan.process.as_ref().and_then(|process| process.oom_score_adj);
    let init = Init {
        id: &options.id,
        bundle,
        plan,
        link: init_link,
        listener,
        cgroups: Some(placement.tasks()),
        joins,
        sources,
        privileged: euid == 0,
        oom_score: score.filter(|_| euid != 0),
        preserve_fds: options.preserve_fds.saturating_add(service::listening()),
    };
    let cgroup = placement.into_cgroup();
    let staged = init::needs_stage(&plan.namespaces);
    if staged {
        link.expect_spawned();
    }
    let namespaces = if staged { Default::default() } else { init::cloned(&plan.namespaces) };
    let how = Spawn { namespaces, cgroup, sibling: false };
    let child = process::spawn(how, || {
        // With a copy of keg's end in hand, init would not hear of keg's end.
        descriptors::close_copy(&link);
        if staged { init::stage(init) } else { init::main(init) }
    })?;
    Ok((ChildGuard::new(child), link))
}

/// Sources that keg must open: those that get other ids, and all where a user namespace may not reach them.
fn sources(plan: &Plan, joins: &[(NamespaceKind, OwnedFd)]) -> Result<Sources> {
    let user = joins.iter().find(|(kind, _)| *kind == NamespaceKind::User).map(|(_, file)| file);
    let mapped = mapped_ids::namespaces(plan, user)?;
    Ok(rootfs::open_sources(plan, plan.id_maps.is_some() || user.is_some(), &mapped)?)
}

/// The conversation with init until it is ready. Limits are set meanwhile.
fn serve(launched: &mut Launched, bundle: &Path) -> Result<()> {
    launched.cgroups.apply(&launched.plan.cgroup)?;
    if let Some(owner) = launched.plan.cgroup_owner() {
        launched.cgroups.give_to(owner)?;
    }
    let mut adjusted = false;
    loop {
        let message = match launched.link.receive() {
            Err(link::Error::Closed) => return Err(died(launched).into()),
            message => message?,
        };
        match message {
            FromInit::Spawned(pid, pidfd) => launched.init.succeed(pid, pidfd)?,
            FromInit::MapIds => {
                if let Some(maps) = &launched.plan.id_maps {
                    idmap::write(&launched.proc, launched.init.pid(), maps, launched.record.owner == 0)?;
                }
                launched.link.send(ToInit::Proceed)?;
            }
            FromInit::MoveDevices => {
                let (pid, kind) = (launched.init.pid(), NamespaceKind::Network);
                let container = namespace::of_process(&launched.proc, pid, kind)?;
                launched.devices.iter_mut().try_for_each(|devices| devices.move_into(&container))?;
                launched.link.send(ToInit::Proceed)?;
            }
            FromInit::RunHooks => {
                launched.adjust(&mut adjusted)?;
                run_hooks(launched, bundle)?;
                launched.link.send(ToInit::Proceed)?;
            }
            FromInit::Limit => {
                launched.limit()?;
                launched.link.send(ToInit::Proceed)?;
            }
            FromInit::Listen(number) => {
                hand_on(launched, number)?;
                launched.link.send(ToInit::Proceed)?;
            }
            FromInit::Ready => {
                launched.adjust(&mut adjusted)?;
                if let Some(groups) = &launched.record.resctrl {
                    resctrl::enter(groups, launched.init.pid())?;
                }
                return launched.limit();
            }
            FromInit::Failed(text) => return Err(Error::Init(text).into()),
            FromInit::Terminal(master) => launched.outlet.take(master)?,
            FromInit::Executing => return Err(link::Error::Garbled.into()),
        }
    }
}

/// Why init is gone without a word.
fn died(launched: &mut Launched) -> Error {
    let ended = launched.init.end();
    match ended {
        Some(Ended::Killed(9)) if cgroup::was_oom_killed(launched.cgroups.record()) => Error::OomKilled,
        Some(Ended::Killed(signal)) => Error::Died(format!("killed by signal {signal}")),
        Some(Ended::Exited(status)) => Error::Died(format!("exit status {status}")),
        None => Error::Died("it is not a child of this process any more".to_owned()),
    }
}

/// Init is about to load a filter with a listener.
fn hand_on(launched: &Launched, number: i32) -> Result<()> {
    let seccomp = launched.plan.process.as_ref().and_then(|process| process.seccomp.as_ref());
    let Some(listener) = seccomp.and_then(|program| program.notifies.as_ref()) else { return Ok(()) };
    let state = hook_state(&launched.record, Status::Creating, Some(launched.init.pid()))?;
    listener::hand_on((&launched.init, &launched.link, number), listener, &state)
}

fn run_hooks(launched: &Launched, bundle: &Path) -> Result<()> {
    let lists = &launched.plan.hooks;
    // The specification has the environment created before prestart hooks run, and being created while the others do.
    let lists = [
        ("prestart", &lists.prestart, Status::Created),
        ("createRuntime", &lists.create_runtime, Status::Creating),
    ];
    for (kind, list, status) in lists {
        let document = hook_state(&launched.record, status, Some(launched.init.pid()))?;
        hooks::run(list, &document, &HookPlace { kind, cwd: bundle, environment: None })?;
    }
    Ok(())
}
