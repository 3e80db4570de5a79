//! What the lists for create and exec end with: from inside the root to the moment before the program. Its user, its rights, its
//! directory, its environment; nothing else stays open.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::error::{At, Error, Step};
use super::{ask, privileges, proceed, program};
use crate::link::{FromInit, InitEnd};
use crate::plan::Process;
use crate::rootfs::RootFd;
use crate::sys::{self, Errno, descriptors, limits, process, schedule, seccomp, timing};
use crate::types::{Gid, Uid};

/// The descriptors that outlive the closing of all others.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    /// The conversation with keg.
    pub(super) link: &'a mut InitEnd,
    /// Where `start` will knock, and where hooks of the start write.
    pub(super) others: Vec<&'a mut OwnedFd>,
    /// How many after the standard three belong to the program.
    pub(super) preserve_fds: u32,
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
    // keg sets them: raising takes rights that init may not have. Another user's process keg may not be able to limit.
    if !wanted.rlimits.is_empty() && (wanted.uid, wanted.gid) != (Uid(0), Gid(0)) {
        ask(kept.link, &FromInit::Limit)?;
    }
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
    let program = program::find(&root, wanted, environment)?;
    limits::set_umask(wanted.umask);
    // What it holds goes with the others.
    std::mem::forget(root);
    close_others(&mut kept)?;
    if filter_first {
        privileges::raise().at(Step::Seccomp)?;
        load_seccomp(wanted, kept.link)?;
        privileges::finish(wanted)?;
    } else if listens(wanted) {
        // Later than this, keg may not be there to hand its listener on.
        load_seccomp(wanted, kept.link)?;
    }
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
    if wanted.no_new_privileges && !listens(wanted) {
        load_seccomp(wanted, link)?;
    }
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

/// Whether somebody else decides on some calls of the program.
fn listens(wanted: &Process) -> bool {
    wanted.seccomp.as_ref().is_some_and(|program| program.notifies.is_some())
}

/// With a listener, keg hands it to who decides before anything else is done: the next call may be up to them.
fn load_seccomp(wanted: &Process, link: &InitEnd) -> Result<(), Error> {
    let Some(program) = &wanted.seccomp else { return Ok(()) };
    if program.notifies.is_some() {
        let number = descriptors::lowest_free(link).at(Step::Seccomp)?;
        link.send(&FromInit::Listen(number)).at(Step::Link)?;
    }
    let listener = seccomp::load(&program.instructions, program.load_flags()).at(Step::Seccomp)?;
    if listener.is_some() {
        proceed(link)?;
    }
    // A copy in here would keep calls waiting for an answer when who decides is gone.
    drop(listener);
    Ok(())
}
