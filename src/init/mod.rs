//! The container's first process, from its birth to its program. [`run`] is the ordered list of all that happens, one line a step;
//! what a step does is in the room it names. The plan came through the fork in memory: nothing is parsed here.

mod error;
mod join;
mod privileges;
mod program;
mod settle;
mod stage;
mod terminal;

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::hooks::{self, Outputs, Place, Status};
use crate::link::{FromInit, InitEnd, ToInit};
use crate::plan::{Plan, Process};
use crate::rootfs::{Rootfs, Sources};
use crate::sys::cgroup::Tasks;
use crate::sys::proc::Proc;
use crate::sys::{
    Errno, credentials, fd, keyring, limits, memory, namespace, process, schedule, signals, socket, timing,
};
use crate::types::{ContainerId, Gid, NamespaceKind, NamespaceSet, Pid, Signal, Uid};
use crate::{lsm, network};

pub use error::{Error, Step};
pub use join::{Join, join};
pub use stage::{cloned, may_wait, needs_stage, sets_own_limits, stage};

use error::At;
use settle::Kept;

/// What init has besides the plan.
#[derive(Debug)]
pub struct Init<'a> {
    /// The container's name.
    pub id: &'a ContainerId,
    /// The bundle, absolute on the host.
    pub bundle: &'a Path,
    /// All decisions.
    pub plan: &'a Plan,
    /// The conversation with keg.
    pub link: InitEnd,
    /// Where `start` will knock; absent for `run`.
    pub listener: Option<OwnedFd>,
    /// The version 1 cgroups to enter, unless a stage did.
    pub cgroups: Cgroups<'a>,
    /// Namespaces to join, in order. Empty if a stage did it.
    pub joins: Vec<(NamespaceKind, OwnedFd)>,
    /// Bind sources that keg opened.
    pub sources: Sources,
    /// A mount namespace to be copied in place of the host's; absent: init was cloned with its own, or has none.
    pub few_mounts: Option<OwnedFd>,
    /// Whether keg may do what root may.
    pub privileged: bool,
    /// Whether init sets the resource limits of the program, or keg.
    pub own_limits: bool,
    /// The out-of-memory score, where keg cannot set it. Empty if a stage did it.
    pub oom_score: Option<i32>,
    /// How many descriptors after the standard three belong to the container.
    pub preserve_fds: u32,
    /// Where hooks write.
    pub hook_outputs: Outputs,
}

/// How init gets into cgroups that it was not born in.
#[derive(Debug)]
pub enum Cgroups<'a> {
    /// They are there to be entered.
    Ready(&'a Tasks),
    /// keg makes them while init makes its network namespace, which takes about as long, and hands them over.
    Awaited,
    /// Somebody else has seen to it.
    Entered,
}

/// Becomes the container's program, or says why not. The result is an exit status that nobody looks at.
pub fn main(init: Init<'_>) -> i32 {
    timing::name("init");
    let Err((error, link)) = begin(init);
    // keg may be gone; then nobody is left to be told.
    match link.send(&FromInit::Failed(error.to_line())) {
        Ok(()) | Err(_) => 1,
    }
}

fn begin(mut init: Init<'_>) -> Result<Infallible, (Error, InitEnd)> {
    match set_up(&mut init) {
        Ok(program) => wait_and_execute(init, &program),
        Err(error) => Err((error, init.link)),
    }
}

/// The list for create. The order is the design: each line says why where its place matters.
fn set_up(init: &mut Init<'_>) -> Result<program::Program, Error> {
    if may_wait(&init.plan.namespaces) {
        init.link.send(&FromInit::Born(schedule::processor())).at(Step::Link)?;
    }
    own_oom_score(init.oom_score.take()).at(Step::OomScore)?;
    // Before any namespace: a process of the container must never see into this one (CVE-2016-9962).
    // Without privileges keg could not write the mappings of such a process; until then it has nothing to show.
    if init.privileged {
        process::set_undumpable().at(Step::Process)?;
    }
    process::set_parent_death_signal(Some(Signal::KILL)).at(Step::Process)?;
    process::new_session().at(Step::Process)?;
    signals::reset().at(Step::Process)?;
    if let Cgroups::Ready(cgroups) = init.cgroups {
        cgroups.enter_by_copies().at(Step::Cgroup)?;
    }
    if init.plan.new_keyring {
        new_keyring(init.id).at(Step::Keyring)?;
    }
    join_each(&init.joins).at(Step::Namespaces)?;
    init.joins.clear();
    map_ids(init)?;
    own_ipc(init.plan).at(Step::Namespaces)?;
    own_network(init.plan)?;
    if matches!(init.cgroups, Cgroups::Awaited) {
        enter_cgroups(init)?;
    }
    let plan = init.plan;
    // After the cgroups: its root is where this process is then.
    own_cgroup_namespace(plan).at(Step::Namespaces)?;
    move_devices(init)?;
    // Device modes and directory modes are as given.
    let callers_umask = limits::set_umask(0);
    let sources = std::mem::take(&mut init.sources);
    let mut rootfs = Rootfs::open(plan, sources, init.few_mounts.as_ref()).at(Step::Rootfs)?;
    rootfs.mounts().at(Step::Rootfs)?;
    rootfs.devices().at(Step::Rootfs)?;
    run_runtime_hooks(init)?;
    run_container_hooks(init, callers_umask)?;
    // A user namespace that sees only a masked /proc is given no other one.
    let proc = own_proc(plan)?;
    if let Some(wanted) = &plan.process {
        rootfs.make_directory(&wanted.cwd);
    }
    // After the hooks, which may mount; before the root is entered, while the host's null device can be had.
    rootfs.mask().at(Step::Rootfs)?;
    // Its file is made before the root is read-only. What it covers was put there by nobody that runs later (CVE-2025-52565).
    if let Some(wanted) = &plan.process {
        terminal::take(wanted, rootfs.root(), true, &init.link)?;
    }
    // What is left takes about as long as restricting devices does.
    init.link.send(&FromInit::DevicesMade).at(Step::Link)?;
    rootfs.make_read_only().at(Step::Rootfs)?;
    let root = rootfs.enter().at(Step::Rootfs)?;
    names(plan).at(Step::Names)?;
    if let Some(proc) = proc {
        write_proc(plan, &proc)?;
    }
    if let Some(policy) = &plan.memory_policy {
        memory::set_policy(policy.mode, &policy.nodes.0).at(Step::Memory)?;
    }
    let Some(wanted) = &plan.process else {
        limits::set_umask(0o022);
        drop(root);
        settle::ready(kept(init))?;
        return Ok(program::Program::none());
    };
    settle::settle(wanted, root, program::enter_cwd, kept(init))
}

fn kept<'a>(init: &'a mut Init<'_>) -> Kept<'a> {
    let mut others: Vec<_> = init.listener.iter_mut().collect();
    others.extend(init.hook_outputs.files());
    let Init { preserve_fds, own_limits, .. } = *init;
    Kept { link: &mut init.link, others, preserve_fds, own_limits }
}

/// The container is created. Whoever asks for the start hears how it went.
fn wait_and_execute(init: Init<'_>, program: &program::Program) -> Result<Infallible, (Error, InitEnd)> {
    let mut link = init.link;
    match link.receive().at(Step::Link) {
        Ok(ToInit::Start) => {}
        Ok(ToInit::Wait) => {
            let Some(listener) = init.listener else { return Err((Error::garbled(), link)) };
            match accept(&listener) {
                Ok(caller) => link = caller,
                Err(error) => return Err((error, link)),
            }
        }
        Ok(ToInit::Proceed | ToInit::Leave) => return Err((Error::garbled(), link)),
        Err(error) => return Err((error, link)),
    }
    match execute((init.id, init.bundle, init.plan), &init.hook_outputs, &link, program) {
        Err(error) => Err((error, link)),
    }
}

/// Until somebody connects and says so; one that connects and goes away is no `start`.
fn accept(listener: &OwnedFd) -> Result<InitEnd, Error> {
    loop {
        let caller = InitEnd::new(socket::accept(listener).at(Step::Link)?);
        if matches!(caller.receive(), Ok(ToInit::Start)) {
            return Ok(caller);
        }
    }
}

/// The last steps, after `start`.
fn execute(
    (id, bundle, plan): (&ContainerId, &Path, &Plan),
    outputs: &Outputs,
    link: &InitEnd,
    program: &program::Program,
) -> Result<Infallible, Error> {
    let Some(wanted) = &plan.process else {
        return Err(Error::refused(Step::Program, "process property must not be empty"));
    };
    if !plan.hooks.start_container.is_empty() {
        let document = document(id, bundle, plan, Status::Created)?;
        let environment = Some(program.environment());
        let place =
            Place { kind: "startContainer", cwd: Path::new("/"), environment, outputs, interrupts: None };
        hooks::run(&plan.hooks.start_container, &document, &place).at(Step::Hooks)?;
    }
    settle::execute(wanted, link, program)
}

/// The state document as the container sees it: with init's pid in the container's pid namespace.
fn document(id: &ContainerId, bundle: &Path, plan: &Plan, status: Status) -> Result<Vec<u8>, Error> {
    let pid = Pid(std::process::id() as i32);
    hooks::document(id, status, Some(pid), bundle, &plan.annotations).at(Step::Hooks)
}

fn enter_cgroups(init: &mut Init<'_>) -> Result<(), Error> {
    let (cgroups, without) = init.link.receive_cgroups().at(Step::Link)?;
    cgroups.enter().at(Step::Cgroup)?;
    if !without.is_empty() {
        let mut plan = init.plan.clone();
        plan.cgroup.forget(&without);
        // For the rest of this process's life, which ends with execve(2).
        init.plan = Box::leak(Box::new(plan));
    }
    Ok(())
}

fn new_keyring(id: &ContainerId) -> crate::sys::Result<()> {
    match keyring::new_session(&format!("_ses.{id}")) {
        // A kernel without keyrings, or a filter around keg that forbids them: there is none to share.
        Err(error) if error.errno == Errno::ENOSYS => Ok(()),
        done => done,
    }
}

/// The files of a process that is undumpable are root's: whoever is not root writes this before.
fn own_oom_score(score: Option<i32>) -> crate::sys::Result<()> {
    let Some(score) = score else { return Ok(()) };
    let file = Proc::host()?.own_file(Path::new("oom_score_adj"), OFlag::O_WRONLY)?;
    fd::write_once(file, score.to_string().as_bytes())
}

fn join_each(namespaces: &[(NamespaceKind, OwnedFd)]) -> crate::sys::Result<()> {
    namespaces.iter().try_for_each(|(kind, file)| namespace::join(file, *kind))
}

/// Lets keg write the mappings, and becomes root in them.
fn map_ids(init: &Init<'_>) -> Result<(), Error> {
    let namespaces = &init.plan.namespaces;
    let joined = namespaces.join.iter().any(|join| join.kind == NamespaceKind::User);
    if namespaces.new.contains(NamespaceKind::User) {
        ask(&init.link, &FromInit::MapIds)?;
    } else if !joined {
        return Ok(());
    }
    credentials::set_gid(Gid(0)).at(Step::Ids)?;
    credentials::set_uid(Uid(0)).at(Step::Ids)?;
    // A change of ids makes a process dumpable again, and forgets the parent's death.
    process::set_undumpable().at(Step::Process)?;
    process::set_parent_death_signal(Some(Signal::KILL)).at(Step::Process)
}

fn ask(link: &InitEnd, question: &FromInit) -> Result<(), Error> {
    link.send(question).at(Step::Link)?;
    proceed(link)
}

fn proceed(link: &InitEnd) -> Result<(), Error> {
    match link.receive().at(Step::Link)? {
        ToInit::Proceed => Ok(()),
        ToInit::Wait | ToInit::Start | ToInit::Leave => Err(Error::garbled()),
    }
}

/// Where init could not be cloned with it.
fn own_ipc(plan: &Plan) -> crate::sys::Result<()> {
    let kind = NamespaceKind::Ipc;
    match plan.namespaces.new.contains(kind) && !cloned(&plan.namespaces).contains(kind) {
        true => namespace::make(NamespaceSet::from_iter([kind])),
        false => Ok(()),
    }
}

fn own_cgroup_namespace(plan: &Plan) -> crate::sys::Result<()> {
    if plan.namespaces.new.contains(NamespaceKind::Cgroup) {
        return namespace::make(NamespaceSet::from_iter([NamespaceKind::Cgroup]));
    }
    Ok(())
}

fn own_network(plan: &Plan) -> Result<(), Error> {
    let new = &plan.namespaces.new;
    if !new.contains(NamespaceKind::Network) {
        return Ok(());
    }
    if !cloned(&plan.namespaces).contains(NamespaceKind::Network) {
        namespace::make(NamespaceSet::from_iter([NamespaceKind::Network])).at(Step::Namespaces)?;
    }
    network::bring_up_loopback().at(Step::Network)
}

fn move_devices(init: &Init<'_>) -> Result<(), Error> {
    match init.plan.net_devices.is_empty() {
        true => Ok(()),
        // The rights over the host's devices are keg's.
        false => ask(&init.link, &FromInit::MoveDevices),
    }
}

fn run_runtime_hooks(init: &Init<'_>) -> Result<(), Error> {
    let hooks = &init.plan.hooks;
    // The answer comes when the cgroup's limits are set, which decide whether a deadline can be kept.
    let waits = init.plan.process.as_ref().is_some_and(Process::has_deadline_in_cpuset);
    if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() && !waits {
        return Ok(());
    }
    ask(&init.link, &FromInit::RunHooks)
}

fn run_container_hooks(init: &Init<'_>, umask: u32) -> Result<(), Error> {
    let list = &init.plan.hooks.create_container;
    if list.is_empty() {
        return Ok(());
    }
    let document = document(init.id, init.bundle, init.plan, Status::Creating)?;
    let outputs = &init.hook_outputs;
    let place =
        Place { kind: "createContainer", cwd: init.bundle, environment: None, outputs, interrupts: None };
    limits::set_umask(umask);
    hooks::run(list, &document, &place).at(Step::Hooks)?;
    limits::set_umask(0);
    Ok(())
}

fn names(plan: &Plan) -> crate::sys::Result<()> {
    plan.hostname.as_deref().map_or(Ok(()), namespace::set_hostname)?;
    plan.domainname.as_deref().map_or(Ok(()), namespace::set_domainname)
}

/// A procfs that nothing of the container can be mounted over, where one is needed.
fn own_proc(plan: &Plan) -> Result<Option<Proc>, Error> {
    let labelled = |process: &Process| process.apparmor_profile.is_some() || process.selinux_label.is_some();
    match plan.sysctl.is_empty() && !plan.process.as_ref().is_some_and(labelled) {
        true => Ok(None),
        false => Proc::detached().map(Some).at(Step::Proc),
    }
}

/// Kernel parameters and labels.
fn write_proc(plan: &Plan, proc: &Proc) -> Result<(), Error> {
    for (key, value) in &plan.sysctl {
        proc.write(&Path::new("sys").join(key), value.as_bytes()).at(Step::Sysctl)?;
    }
    let Some(process) = &plan.process else { return Ok(()) };
    if let Some(profile) = &process.apparmor_profile {
        lsm::set_apparmor(proc, profile, process.no_new_privileges).at(Step::Label)?;
    }
    if let Some(label) = &process.selinux_label {
        lsm::set_selinux(proc, label).at(Step::Label)?;
    }
    Ok(())
}
