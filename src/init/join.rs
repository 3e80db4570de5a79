//! A further process of a running container. A stage leaves the host for the container's namespaces, all in one call, and makes the
//! real process, which holds nothing of the host any more; from the working directory on it goes the way of the container's own.
//!
//! ```text
//!   keg ──clone──▶ stage ──setns(pidfd)──clone──▶ the process ──execve──▶ the program
//!    │               ╰─ ends at once                    │
//!    ╰─────────────────────── link ─────────────────────╯
//! ```

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::fcntl::OFlag;

use super::error::{At, Error, Step};
use super::settle::{self, Kept};
use super::{new_keyring, own_oom_score, program, terminal};
use crate::link::{FromInit, InitEnd, ToInit};
use crate::lsm;
use crate::plan::Process;
use crate::rootfs::RootFd;
use crate::sys::cgroup::Tasks;
use crate::sys::fd::{self, Resolve};
use crate::sys::proc::Proc;
use crate::sys::process::{self, Spawn};
use crate::sys::{self, credentials, descriptors, mount, namespace, signals, timing};
use crate::types::{Capability, ContainerId, Gid, NamespaceKind, NamespaceSet, Signal, Uid};

/// What joins, and what it joins.
#[derive(Debug)]
pub struct Join<'a> {
    /// The container's name.
    pub id: &'a ContainerId,
    /// All decisions.
    pub process: &'a Process,
    /// The conversation with keg.
    pub link: InitEnd,
    /// The container's first process.
    pub init: BorrowedFd<'a>,
    /// Its namespaces that are not keg's own.
    pub namespaces: NamespaceSet,
    /// The container's root directory on the host, where it has no mount namespace of its own.
    pub rootfs: Option<&'a Path>,
    /// The container has a session keyring.
    pub keyring: bool,
    /// The version 1 cgroups to enter.
    pub cgroups: &'a Tasks,
    /// The out-of-memory score, where keg cannot set it.
    pub oom_score: Option<i32>,
    /// Whether the process sets its own resource limits, or keg.
    pub own_limits: bool,
    /// How many descriptors after the standard three belong to the process.
    pub preserve_fds: u32,
}

/// The stage's whole life, and where no pid namespace is joined the process's; the result is an exit status.
pub fn join(mut join: Join<'_>) -> i32 {
    timing::name("stage");
    match enter(&mut join) {
        Ok(()) if join.namespaces.contains(NamespaceKind::Pid) => spawn(join),
        Ok(()) => main(join),
        Err(error) => told(&join.link, &FromInit::Failed(error.to_line()), 1),
    }
}

/// keg may be gone; then nobody is left to be told.
fn told(link: &InitEnd, message: &FromInit, status: i32) -> i32 {
    match link.send(message) {
        Ok(()) => status,
        Err(_) => 1,
    }
}

/// The stage's list.
fn enter(join: &mut Join<'_>) -> Result<(), Error> {
    own_oom_score(join.oom_score).at(Step::OomScore)?;
    // Before any namespace: a process of the container must never see into this one, nor into its child (CVE-2016-9962).
    process::set_undumpable().at(Step::Process)?;
    process::set_parent_death_signal(Some(Signal::KILL)).at(Step::Process)?;
    // As the host's user, in the host's cgroup namespace: the container's need not allow it.
    join.cgroups.enter_by_copies().at(Step::Cgroup)?;
    // A cpuset has just made it as wide as it allows.
    if let Some(cpus) = &join.process.affinity.last {
        sys::schedule::set_affinity(&cpus.0).at(Step::Schedule)?;
    }
    if join.keyring {
        new_keyring(join.id).at(Step::Keyring)?;
    }
    // On the host, where /proc is what it seems. The child inherits them.
    labels(join.process)?;
    join_namespaces(join.init, join.namespaces).at(Step::Namespaces)?;
    if join.namespaces.contains(NamespaceKind::User) {
        become_root()?;
    }
    if let Some(rootfs) = join.rootfs {
        enter_root(rootfs).at(Step::Rootfs)?;
    }
    // Before a process exists that the container can see: a privileged one could look into it all the same (CVE-2024-21626).
    descriptors::keep_only(&mut [join.link.socket_mut()], 3 + join.preserve_fds).at(Step::Descriptors)
}

/// The labels that the next execve(2) puts on.
fn labels(wanted: &Process) -> Result<(), Error> {
    if wanted.apparmor_profile.is_none() && wanted.selinux_label.is_none() {
        return Ok(());
    }
    let proc = Proc::host().at(Step::Proc)?;
    if let Some(profile) = &wanted.apparmor_profile {
        lsm::set_apparmor(&proc, profile, wanted.no_new_privileges).at(Step::Label)?;
    }
    if let Some(label) = &wanted.selinux_label {
        lsm::set_selinux(&proc, label).at(Step::Label)?;
    }
    Ok(())
}

/// All at once. Who has no rights over them gets those first, by joining the user namespace.
fn join_namespaces(init: BorrowedFd<'_>, mut kinds: NamespaceSet) -> sys::Result<()> {
    let [effective, ..] = credentials::caps()?;
    if kinds.contains(NamespaceKind::User) && !effective.contains(Capability::SYS_ADMIN) {
        namespace::join_process(init, NamespaceSet::from_iter([NamespaceKind::User]))?;
        kinds = kinds.without(NamespaceKind::User);
    }
    if kinds.is_empty() {
        return Ok(());
    }
    namespace::join_process(init, kinds)
}

/// All capabilities are there, but the ids are still the host's.
fn become_root() -> Result<(), Error> {
    credentials::set_gid(Gid(0)).at(Step::Ids)?;
    credentials::set_uid(Uid(0)).at(Step::Ids)?;
    // A change of ids makes a process dumpable again, and forgets the parent's death.
    process::set_undumpable().at(Step::Process)?;
    process::set_parent_death_signal(Some(Signal::KILL)).at(Step::Process)
}

/// The root directory as `create` attached it: the mount namespace is the host's.
fn enter_root(rootfs: &Path) -> sys::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    mount::change_root(fd::open(fd::cwd(), rootfs, Resolve::Host, flags, 0)?)
}

/// Makes the real process, a child of keg's, and tells keg.
fn spawn(join: Join<'_>) -> i32 {
    let how = Spawn { namespaces: NamespaceSet::EMPTY, cgroup: None, sibling: true };
    let telling = match fd::duplicate(join.link.as_fd()) {
        Ok(telling) => InitEnd::new(telling),
        Err(error) => return told(&join.link, &FromInit::Failed(error.to_string()), 1),
    };
    match process::spawn(how, || main(join)) {
        Ok(child) => told(&telling, &FromInit::Spawned(child.pid.0, child.pidfd), 0),
        Err(error) => told(&telling, &FromInit::Failed(format!("cloning the process: {error}")), 1),
    }
}

/// Becomes the program, or says why not. The result is an exit status that nobody looks at.
fn main(mut join: Join<'_>) -> i32 {
    timing::name("process");
    let Err(error) =
        set_up(&mut join).and_then(|program| wait_and_execute(join.process, &join.link, &program));
    told(&join.link, &FromInit::Failed(error.to_line()), 1)
}

/// The list for exec.
fn set_up(join: &mut Join<'_>) -> Result<program::Program, Error> {
    let Join { process: wanted, preserve_fds, own_limits, .. } = *join;
    process::set_parent_death_signal(Some(Signal::KILL)).at(Step::Process)?;
    process::new_session().at(Step::Process)?;
    signals::reset().at(Step::Process)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let root = fd::open(fd::cwd(), Path::new("/"), Resolve::Host, flags, 0).at(Step::Rootfs)?;
    let root = RootFd::new(root);
    terminal::take(wanted, &root, false, &join.link)?;
    let kept = Kept { link: &mut join.link, others: Vec::new(), preserve_fds, own_limits };
    settle::settle(wanted, root, program::enter_existing_cwd, kept)
}

/// keg says when: it may have limits to set before.
fn wait_and_execute(
    wanted: &Process,
    link: &InitEnd,
    program: &program::Program,
) -> Result<Infallible, Error> {
    match link.receive().at(Step::Link)? {
        ToInit::Start => settle::execute(wanted, link, program),
        ToInit::Leave => settle::execute_untold(wanted, link, program),
        ToInit::Wait | ToInit::Proceed => Err(Error::garbled()),
    }
}
