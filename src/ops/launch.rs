//! What `create` and `run` share: from config.json to an init that is set up and waits. Everything made on the way is undone when it
//! is dropped, so a command that fails leaves the host as it was.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::first_record::first_record;
use super::guard::{AttachedRootfs, Poststop};
use super::launched::{Done, Error, Launched, Then, wrong_profile};
use super::options::CreateOptions;
use super::outlet::{Outlet, PidfdSocket};
use super::process::ChildGuard;
use super::{Place, Result, bundle, mapped_ids, probe, service};
use crate::cgroup::{self, Look};
use crate::hooks;
use crate::init::{self, Cgroups, Init};
use crate::link::{self, KegEnd};
use crate::plan::annotations::PIDFD_RECEIVER;
use crate::plan::cgroup::CgroupPlan;
use crate::plan::{self, Filter, Host, Options, Plan};
use crate::rootfs::{self, Sources};
use crate::spec::{self, LinuxSeccomp, Loaded, Spec};
use crate::state::Store;
use crate::sys::fd;
use crate::sys::proc::Proc;
use crate::sys::process::{self, Spawn};
use crate::sys::{descriptors, namespace, socket};
use crate::types::{NamespaceKind, NamespaceSet};
use crate::{lsm, network, resctrl, seccomp};

/// The socket on which a created container's init waits for `start`.
pub(super) const START_SOCKET: &str = "start.sock";

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
    let (bundle, json) = bundle::read(&options.bundle, &proc)?;
    let mut loaded = spec::load(&json)?;
    let profile = late_profile(&mut loaded.spec);
    let notify = service::offer(&mut loaded.spec, place, &options.id, then == Then::Attend);
    let host = probe::host(&proc, look)?;
    if place.gives_way(&host) && look == Look::Quick {
        // Who can make some cgroups only is told which.
        return launch_after(Look::Thorough, place, options, then, sockets);
    }
    let mut plan = match decide(place, options, &bundle, &loaded, &host, profile.is_some()) {
        // What is asked for may be in a place that was not looked at.
        Err(_) if look == Look::Quick && host.cgroups.unified.is_none() => {
            return launch_after(Look::Thorough, place, options, then, sockets);
        }
        decided => decided?,
    };
    if sockets.is_none() {
        // The second look comes to the same warnings.
        plan.warnings.iter().for_each(|warning| place.note(warning));
    }
    let profile = profile.as_ref().map(seccomp::check).transpose().map_err(wrong_profile)?;
    check_rootfs(&plan)?;
    plan.process.as_ref().map_or(Ok(()), |process| lsm::check(&proc, process))?;
    let devices = network::Devices::find(&plan)?;
    let mut resctrl = resctrl_groups(&plan, options)?;
    let (outlet, pidfd_socket) = sockets.map_or_else(|| connect(&plan, options, then), Ok)?;

    let reservation = Store::open(&place.root)?.reserve(&options.id)?;
    let mut record = first_record(&plan, options, &bundle, &loaded, &proc, host.euid)?;
    record.cgroup = Some(cgroup::foresee(&plan.cgroup)?);
    record.resctrl = resctrl.as_ref().map(|groups| groups.record().clone());
    reservation.write(&record)?;
    reservation.save_config(&json)?;
    notify.as_deref().map_or(Ok(()), service::make_directory)?;
    let again = look == Look::Quick && plan.cgroup.unit.is_none();
    let waits = init::may_wait(&plan.namespaces) && cgroup::are_entered(&plan.cgroup);
    let mut cgroups = match make_cgroups(&mut plan.cgroup, waits) {
        Err(_) if again => {
            drop(reservation);
            return launch_after(Look::Thorough, place, options, then, Some((outlet, pidfd_socket)));
        }
        made => made?,
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
    let kills = cgroup::OomKills::watch(cgroups.record());
    let (init, link) =
        spawn((&plan, &host, &proc), options, &bundle, &cgroups.take_placement(), waits, listener)?;
    let mut launched = Launched {
        init,
        proc,
        link,
        cgroups,
        kills,
        rootfs,
        devices,
        resctrl,
        poststop: Poststop::of(&record),
        record,
        reservation,
        plan,
        outlet,
        pidfd_socket,
        then,
        done: Done::default(),
    };
    launched.await_birth()?;
    if waits {
        let completed = launched.complete_cgroups();
        if again && completed.is_err() {
            return launch_after(Look::Thorough, place, options, then, Some(launched.undo()));
        }
        launched.tell_cgroups(&completed?)?;
    }
    launched.serve(&bundle, &(place, profile))
}

/// Takes the profile away where its filter may be linked while init is at work. Of one with a listener both sides know from the start.
fn late_profile(spec: &mut Spec) -> Option<LinuxSeccomp> {
    spec.process().as_ref()?;
    let profile = spec.linux_mut().as_mut()?.seccomp_mut();
    profile.take_if(|profile| profile.listener_path().is_none())
}

fn resctrl_groups(plan: &Plan, options: &CreateOptions) -> Result<Option<resctrl::Groups>> {
    let groups = plan.intel_rdt.as_ref().map(|wanted| resctrl::Groups::find(wanted, &options.id));
    Ok(groups.transpose()?)
}

/// Those that init can wait for are made when it is there.
fn make_cgroups(plan: &mut CgroupPlan, waits: bool) -> std::result::Result<cgroup::Created, cgroup::Error> {
    let mut cgroups = cgroup::create(plan)?;
    if !waits {
        cgroups.complete(plan)?;
    }
    Ok(cgroups)
}

fn connect(plan: &Plan, options: &CreateOptions, then: Then) -> Result<(Outlet, PidfdSocket)> {
    let terminal = plan.process.as_ref().is_some_and(|process| process.terminal);
    let outlet = Outlet::find(terminal, then != Then::Attend, options.console_socket.as_deref())?;
    let annotation = plan.annotations.get(PIDFD_RECEIVER);
    Ok((outlet, PidfdSocket::connect(options.pidfd_socket.as_deref(), annotation)?))
}

fn decide(
    place: &Place,
    options: &CreateOptions,
    bundle: &Path,
    loaded: &Loaded,
    host: &Host,
    filtered: bool,
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
    if let (Some(process), true) = (&mut plan.process, filtered) {
        process.seccomp = Some(Filter::Awaited);
    }
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
    (plan, host, proc): (&Plan, &Host, &Proc),
    options: &CreateOptions,
    bundle: &Path,
    placement: &cgroup::Placement,
    waits: bool,
    listener: Option<OwnedFd>,
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
    let staged = init::needs_stage(&plan.namespaces);
    let few_mounts = if staged { None } else { namespace::with_few_mounts(proc) };
    let few_mounts = few_mounts.filter(|_| rootfs::can_be_apart(plan));
    let namespaces = match (staged, &few_mounts) {
        (true, _) => NamespaceSet::EMPTY,
        (false, None) => init::cloned(&plan.namespaces),
        (false, Some(_)) => init::cloned(&plan.namespaces).without(NamespaceKind::Mount),
    };
    let init = Init {
        id: &options.id,
        bundle,
        plan,
        link: init_link,
        listener,
        cgroups: if waits { Cgroups::Awaited } else { Cgroups::Ready(placement.tasks()) },
        joins,
        sources,
        few_mounts,
        privileged: host.euid == 0,
        own_limits: init::sets_own_limits(&plan.namespaces, host.euid),
        oom_score: score.filter(|_| host.euid != 0),
        hook_outputs: hooks::Outputs::open(&plan.annotations)?,
        preserve_fds: options.preserve_fds.saturating_add(service::listening()),
    };
    let cgroup = placement.into_cgroup();
    if staged {
        link.expect_spawned();
    }
    let how = Spawn { namespaces, cgroup, sibling: false };
    let child = process::spawn(how, || {
        // With a copy of keg's end in hand, init would not hear of keg's end.
        descriptors::close_copy(&link);
        if staged { init::stage(init) } else { init::main(init) }
    });
    let child = child.map_err(|error| placement.refused(error))?;
    Ok((ChildGuard::new(child), link))
}

/// Sources that keg must open: those that get other ids, and all where a user namespace may not reach them.
fn sources(plan: &Plan, joins: &[(NamespaceKind, OwnedFd)]) -> Result<Sources> {
    let user = joins.iter().find(|(kind, _)| *kind == NamespaceKind::User).map(|(_, file)| file);
    let mapped = mapped_ids::namespaces(plan, user)?;
    Ok(Sources::open(plan, plan.id_maps.is_some() || user.is_some(), &mapped)?)
}
