//! A process between keg and init, where one clone3(2) cannot do it all: a user or pid namespace must be joined, or clock offsets
//! written, before init is born. It joins, makes init as its own sibling, hands over init's pidfd, and ends.

use std::os::fd::OwnedFd;

use super::error::{At, Error, Step};
use super::{Cgroups, Init, join_each, own_oom_score};
use crate::link::FromInit;
use crate::plan::{Namespaces, Plan};
use crate::sys::proc::Proc;
use crate::sys::process::{self, Spawn};
use crate::sys::{credentials, namespace, timing};
use crate::types::{Gid, NamespaceKind, NamespaceSet, Signal, Uid};

/// Whether init needs a stage. Without one init is cloned with all its new namespaces and joins the others by itself; that cannot
/// work where a pid or user namespace is joined, or where a new user namespace would leave no right to join the others.
pub fn needs_stage(namespaces: &Namespaces) -> bool {
    let joins = |kind| namespaces.join.iter().any(|join| join.kind == kind);
    let new_user = namespaces.new.contains(NamespaceKind::User);
    joins(NamespaceKind::User)
        || joins(NamespaceKind::Pid)
        || joins(NamespaceKind::Time)
        || (new_user && !namespaces.join.is_empty())
        || !namespaces.time_offsets.is_empty()
}

/// What init is cloned with: all new namespaces, but for a cgroup namespace, which must wait until init is in its cgroup, and a
/// network namespace, whose making takes longer than that of all others: init makes it, and keg has its hands free meanwhile.
/// Before the ids of a new user namespace are mapped, keg has nothing else to do; and who makes an ipc namespace then has no id in it,
/// and neither has the root of its mqueue file system.
pub fn cloned(namespaces: &Namespaces) -> NamespaceSet {
    let cloned = namespaces.new.without(NamespaceKind::Cgroup);
    match cloned.contains(NamespaceKind::User) {
        true => cloned.without(NamespaceKind::Ipc),
        false => cloned.without(NamespaceKind::Network),
    }
}

/// Whether init says that it runs, and may wait for its cgroups: a stage, or who asks for the mappings of a user namespace, has other
/// things to say first.
pub fn may_wait(namespaces: &Namespaces) -> bool {
    !needs_stage(namespaces) && !namespaces.new.contains(NamespaceKind::User)
}

/// Whether init has the rights to set any resource limit, where keg has: those over the host's user namespace.
pub fn sets_own_limits(namespaces: &Namespaces, euid: u32) -> bool {
    let joined = namespaces.join.iter().any(|join| join.kind == NamespaceKind::User);
    euid == 0 && !joined && !namespaces.new.contains(NamespaceKind::User)
}

/// The stage's whole life; the result is its exit status.
pub fn stage(mut init: Init<'_>) -> i32 {
    timing::name("stage");
    match prepare(&mut init).and_then(|namespaces| spawn(init, namespaces)) {
        Ok(()) => 0,
        Err(()) => 1,
    }
}

type Told = Result<NamespaceSet, ()>;

fn prepare(init: &mut Init<'_>) -> Told {
    match join_all(init) {
        Ok(namespaces) => Ok(namespaces),
        // keg may be gone; then nobody is left to be told.
        Err(error) => match init.link.send(&FromInit::Failed(error.to_line())) {
            Ok(()) | Err(_) => Err(()),
        },
    }
}

fn join_all(init: &mut Init<'_>) -> Result<NamespaceSet, Error> {
    own_oom_score(init.oom_score.take()).at(Step::OomScore)?;
    if init.privileged {
        process::set_undumpable().at(Step::Process)?;
    }
    process::set_parent_death_signal(Some(Signal::KILL)).at(Step::Process)?;
    if let Cgroups::Ready(cgroups) = std::mem::replace(&mut init.cgroups, Cgroups::Entered) {
        cgroups.enter_by_copies().at(Step::Cgroup)?;
    }
    let joins = std::mem::take(&mut init.joins);
    join_each(&joins).at(Step::Namespaces)?;
    if joins.iter().any(|(kind, _)| *kind == NamespaceKind::User) {
        // All capabilities are there, but the ids are still the host's.
        credentials::set_gid(Gid(0)).at(Step::Ids)?;
        credentials::set_uid(Uid(0)).at(Step::Ids)?;
        // A change of ids makes a process dumpable again, and forgets the parent's death.
        process::set_undumpable().at(Step::Process)?;
        process::set_parent_death_signal(Some(Signal::KILL)).at(Step::Process)?;
    }
    offset_clocks(init.plan)
}

/// Offsets can be written only before anybody is in the namespace: it is made here, for children alone.
fn offset_clocks(plan: &Plan) -> Result<NamespaceSet, Error> {
    let namespaces = cloned(&plan.namespaces);
    let offsets = &plan.namespaces.time_offsets;
    if offsets.is_empty() {
        return Ok(namespaces);
    }
    namespace::make(NamespaceSet::from_iter([NamespaceKind::Time])).at(Step::Namespaces)?;
    let lines: String = offsets
        .iter()
        .map(|offset| format!("{} {} {}\n", offset.clock, offset.seconds, offset.nanoseconds))
        .collect();
    let proc = Proc::host().at(Step::Proc)?;
    let file = proc.own_file("timens_offsets".as_ref(), nix::fcntl::OFlag::O_WRONLY).at(Step::Namespaces)?;
    crate::sys::fd::write_once(file, lines.as_bytes()).at(Step::Namespaces)?;
    Ok(namespaces.without(NamespaceKind::Time))
}

fn spawn(init: Init<'_>, namespaces: NamespaceSet) -> Result<(), ()> {
    let link: OwnedFd = crate::sys::fd::duplicate(&init.link).map_err(drop)?;
    let link = crate::link::InitEnd::new(link);
    let how = Spawn { namespaces, cgroup: None, sibling: true };
    let told = match process::spawn(how, || super::main(init)) {
        Ok(child) => link.send(&FromInit::Spawned(child.pid.0, child.pidfd)),
        Err(error) => link.send(&FromInit::Failed(format!("cloning init: {error}"))),
    };
    told.map_err(drop)
}
