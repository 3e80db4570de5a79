//! What the lists for create and exec end with: from inside the root to the moment before the program. Its user, its rights, its
//! directory, its environment; nothing else stays open.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::error::{At, Error, Step};
use super::{ask, privileges, proceed, program};
use crate::link::{Filter, FromInit, InitEnd};
use crate::plan::{self, Process, Rlimit};
use crate::rootfs::RootFd;
use crate::sys::{self, Errno, descriptors, limits, process, schedule, seccomp, timing};
use crate::types::{Gid, Pid, Uid};

/// The descriptors that outlive the closing of all others.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    /// The conversation with keg.
    pub(super) link: &'a mut InitEnd,
    /// Where `start` will knock, and where hooks of the start write.
    pub(super) others: Vec<&'a mut OwnedFd>,
    /// How many after the standard three belong to the program.
    pub(super) preserve_fds: u32,
    /// Whether this process sets its own resource limits, or keg does: raising one takes rights over the host's user namespace.
    pub(super) own_limits: bool,
}

/// The last part of the list, up to `Ready`. `enter` enters the working directory.
pub(super) fn settle(
    wanted: &Process,
    root: RootFd,
    enter: fn(&RootFd, &Path) -> sys::Result<()>,
    mut kept: Kept<'_>,
) -> Result<program::Program, Error> {
    apply_schedule(wanted).at(Step::Schedule)?;
    let here = enter(&root, &wanted.cwd);
    let environment = program::environment(&root, wanted).at(Step::Program)?;
    limit(wanted, &kept)?;
    own_stdio(wanted).at(Step::Privileges)?;
    privileges::change_ids(wanted)?;
    // Without no_new_privs a filter needs CAP_SYS_ADMIN. What comes after the filter must be little: it may forbid all but a few calls.
    let filter_first = !wanted.no_new_privileges && wanted.seccomp.is_some();
    match filter_first {
        true => privileges::look_as(wanted).at(Step::Privileges)?,
        false => privileges::finish(wanted)?,
    }
    // A directory that only the user may enter is entered as the user.
    match here {
        Ok(()) => {}
        Err(_) => enter(&root, &wanted.cwd).at(Step::Cwd)?,
    }
    program::check_cwd().at(Step::Cwd)?;
    let mut program = program::find(&root, wanted, environment)?;
    let mut filter = filter(wanted, kept.link)?;
    limits::set_umask(wanted.umask);
    // What it holds goes with the others.
    std::mem::forget(root);
    close_others(&mut kept)?;
    // Late, since they would bind what comes before. They are not above what they are by now, which anybody may do.
    if kept.own_limits && is_root(wanted) {
        wanted.rlimits.iter().try_for_each(set_limit).at(Step::Limits)?;
    }
    if filter_first {
        privileges::raise().at(Step::Seccomp)?;
        load_seccomp(filter.take().as_ref(), wanted, kept.link)?;
        privileges::finish(wanted)?;
    } else if listens(wanted) {
        // Later than this, keg may not be there to hand its listener on.
        load_seccomp(filter.take().as_ref(), wanted, kept.link)?;
    }
    program.filter = filter;
    tell_ready(&kept)?;
    Ok(program)
}

/// The end of the list for a container without a process.
pub(super) fn ready(mut kept: Kept<'_>) -> Result<(), Error> {
    close_others(&mut kept)?;
    tell_ready(&kept)
}

/// Closes whatever else is open (CVE-2024-21626).
fn close_others(kept: &mut Kept<'_>) -> Result<(), Error> {
    let mut open = vec![kept.link.socket_mut()];
    open.extend(kept.others.iter_mut().map(|other| &mut **other));
    descriptors::keep_only(&mut open, 3 + kept.preserve_fds).at(Step::Descriptors)
}

fn tell_ready(kept: &Kept<'_>) -> Result<(), Error> {
    // A keg that has heard `Ready` may end at once, and rightly. One that ends too early is seen by the end of the link.
    process::set_parent_death_signal(None).at(Step::Process)?;
    kept.link.send(&FromInit::Ready).at(Step::Link)
}

/// Becomes the program. Comes back only with the reason why it failed.
pub(super) fn execute(
    wanted: &Process,
    link: &InitEnd,
    program: &program::Program,
) -> Result<Infallible, Error> {
    // Said before the filter is there, which need not allow more than execve(2). A failure after it is still told where it can be.
    link.send(&FromInit::Executing).at(Step::Link)?;
    execute_untold(wanted, link, program)
}

/// The same without a word to keg, which may have gone.
pub(super) fn execute_untold(
    wanted: &Process,
    link: &InitEnd,
    program: &program::Program,
) -> Result<Infallible, Error> {
    load_seccomp(program.filter.as_ref(), wanted, link)?;
    timing::last("execve");
    Err(program.execute())
}

/// A terminal or pipe that the program has for standard input, output or error belongs to its user, who else could not open
/// /dev/stdout; what is everybody's stays so (CVE-2026-88265). Where the file system does not let it be changed it stays as it is.
fn own_stdio(wanted: &Process) -> crate::sys::Result<()> {
    if wanted.uid == Uid(0) {
        return Ok(());
    }
    for number in 0..3 {
        match descriptors::give_standard(number, wanted.uid) {
            Err(error)
                if !matches!(error.errno, Errno::EPERM | Errno::EROFS | Errno::EINVAL | Errno::EBADF) =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The kernel does not schedule the process as it should be.
#[derive(Debug, thiserror::Error)]
enum Unscheduled {
    /// Callers know these words.
    #[error("process scheduler can't be used together with AllowedCPUs")]
    Cpuset(#[source] sys::Error),
    #[error(transparent)]
    Other(#[from] sys::Error),
}

fn apply_schedule(wanted: &Process) -> Result<(), Unscheduled> {
    if let Some(to) = wanted.scheduler {
        schedule::set_scheduler(to).map_err(|error| match error.errno {
            Errno::EPERM if wanted.has_deadline_in_cpuset() => Unscheduled::Cpuset(error),
            _ => Unscheduled::Other(error),
        })?;
    }
    if let Some(to) = wanted.io_priority {
        schedule::set_io_priority(to.class, to.level)?;
    }
    if let Some(to) = wanted.personality {
        schedule::set_personality(to)?;
    }
    Ok(())
}

/// The filter, from the plan or, where that was made without it, from keg.
fn filter(wanted: &Process, link: &InitEnd) -> Result<Option<Filter>, Error> {
    Ok(match &wanted.seccomp {
        None => None,
        Some(plan::Filter::Linked(program)) => {
            Some(Filter { flags: program.load_flags(), instructions: program.instructions.clone() })
        }
        Some(plan::Filter::Awaited) => Some(link.receive_filter().at(Step::Link)?),
    })
}

fn is_root(wanted: &Process) -> bool {
    (wanted.uid, wanted.gid) == (Uid(0), Gid(0))
}

/// The resource limits, while there are all rights. Those of root's bind its set-up, and are only made possible here.
fn limit(wanted: &Process, kept: &Kept<'_>) -> Result<(), Error> {
    match (is_root(wanted), kept.own_limits) {
        (true, true) => wanted.rlimits.iter().try_for_each(raise_limit).at(Step::Limits),
        (false, true) => wanted.rlimits.iter().try_for_each(set_limit).at(Step::Limits),
        // Another user's process keg may not be able to limit.
        (false, false) if !wanted.rlimits.is_empty() => ask(kept.link, &FromInit::Limit),
        _ => Ok(()),
    }
}

/// A resource limit that cannot be set.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unlimited(&'static str, #[source] sys::Error);

fn set_limit(limit: &Rlimit) -> Result<(), Unlimited> {
    let set = limits::set(Pid(0), limit.resource, limit.soft, limit.hard);
    set.map_err(|error| Unlimited(limit.name, error))
}

fn raise_limit(limit: &Rlimit) -> Result<(), Unlimited> {
    limits::raise(limit.resource, limit.hard).map_err(|error| Unlimited(limit.name, error))
}

/// Whether somebody else decides on some calls of the program.
fn listens(wanted: &Process) -> bool {
    wanted.listener().is_some()
}

/// With a listener, keg hands it to who decides before anything else is done: the next call may be up to them.
fn load_seccomp(filter: Option<&Filter>, wanted: &Process, link: &InitEnd) -> Result<(), Error> {
    let Some(filter) = filter else { return Ok(()) };
    if listens(wanted) {
        let number = descriptors::lowest_free(link).at(Step::Seccomp)?;
        link.send(&FromInit::Listen(number)).at(Step::Link)?;
    }
    let listener = seccomp::load(&filter.instructions, filter.flags).at(Step::Seccomp)?;
    if listener.is_some() {
        proceed(link)?;
    }
    // A copy in here would keep calls waiting for an answer when who decides is gone.
    drop(listener);
    Ok(())
}
