//! The profile, checked: every value that the specification or the kernel refuses is found here.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};

use super::condition::Condition;
use super::error::{Error, Reason};

/// What seccomp(2) calls `SECCOMP_RET_KILL_PROCESS`: for architectures that the profile leaves out.
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
/// `SECCOMP_RET_ERRNO` with ENOSYS: for calls newer than the profile.
pub(super) const ENOSYS: u32 = 0x0005_0000 | 38;

const EPERM: u32 = 1;
const MAX_ERRNO: u32 = 4095;
const MAX_DATA: u32 = 0xffff;

/// A profile whose values have been checked.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    /// What happens to calls without a rule, as the kernel's return value.
    pub(super) default: u32,
    /// Whether calls above the highest named one are to be answered with ENOSYS.
    pub(super) enosys: bool,
    /// Whether some rule asks the listener.
    pub(super) notifies: bool,
    /// The rules, in the order of the profile.
    pub(super) rules: Vec<Rule<'a>>,
}

/// One entry of `syscalls`.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) names: &'a [String],
    /// The kernel's return value.
    pub(super) action: u32,
    /// The arguments it is for: any of these, each a conjunction. Empty: for all arguments.
    pub(super) alternatives: Vec<Vec<Condition>>,
}

/// Checks the profile's default and its rules.
pub(super) fn parse(profile: &LinuxSeccomp) -> Result<Rules<'_>, Error> {
    let action = profile.default_action();
    if action == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::new("linux.seccomp.defaultAction", Reason::NotifyByDefault));
    }
    let default = return_value(action, profile.default_errno_ret())
        .map_err(|reason| Error::new("linux.seccomp.defaultErrnoRet", reason))?;
    let enosys = !matches!(
        action,
        LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog | LinuxSeccompAction::ScmpActTrace
    );
    let mut notifies = false;
    let mut rules = Vec::new();
    for (number, syscall) in profile.syscalls().iter().flatten().enumerate() {
        if syscall.action() == LinuxSeccompAction::ScmpActNotify {
            check_notify(profile, syscall, number)?;
            notifies = true;
        }
        rules.push(rule(syscall, number)?);
    }
    if profile.listener_path().is_none() && profile.listener_metadata().is_some() {
        return Err(Error::new("linux.seccomp.listenerMetadata", Reason::MetadataWithoutListener));
    }
    Ok(Rules { default, enosys, notifies, rules })
}

fn check_notify(profile: &LinuxSeccomp, syscall: &LinuxSyscall, number: usize) -> Result<(), Error> {
    let path = format!("linux.seccomp.syscalls[{number}]");
    if let Some(name) = syscall.names().iter().position(|name| name == "write") {
        return Err(Error::new(format!("{path}.names[{name}]"), Reason::NotifyWrite));
    }
    if profile.listener_path().is_none() {
        return Err(Error::new(format!("{path}.action"), Reason::NotifyWithoutListener));
    }
    Ok(())
}

fn rule(syscall: &LinuxSyscall, number: usize) -> Result<Rule<'_>, Error> {
    let path = || format!("linux.seccomp.syscalls[{number}]");
    if syscall.names().is_empty() {
        return Err(Error::new(format!("{}.names", path()), Reason::NoNames));
    }
    let action = return_value(syscall.action(), syscall.errno_ret())
        .map_err(|reason| Error::new(format!("{}.errnoRet", path()), reason))?;
    let mut conditions = Vec::new();
    for (n, arg) in syscall.args().iter().flatten().enumerate() {
        let arg_path = || format!("{}.args[{n}]", path());
        conditions.push(Condition::parse(arg, arg_path)?);
    }
    Ok(Rule { names: syscall.names(), action, alternatives: alternatives(conditions) })
}

/// All conditions together make one alternative; but where two look at the same argument, each
/// condition is an alternative of its own, as it is for runtimes built on libseccomp.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let mut seen = 0_u8;
    let mut repeated = false;
    for condition in &conditions {
        repeated |= seen & (1 << condition.index()) != 0;
        seen |= 1 << condition.index();
    }
    match (conditions.is_empty(), repeated) {
        (true, _) => Vec::new(),
        (false, false) => vec![conditions],
        (false, true) => conditions.into_iter().map(|condition| vec![condition]).collect(),
    }
}

/// The kernel's return value for an action, checked against what the action can carry.
fn return_value(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, Reason> {
    let largest = match action {
        LinuxSeccompAction::ScmpActErrno => MAX_ERRNO,
        LinuxSeccompAction::ScmpActTrace => MAX_DATA,
        _ if errno.is_some() => return Err(Reason::ErrnoNotTaken(action.to_string())),
        _ => return Ok(action.as_u32(None)),
    };
    let value = errno.unwrap_or(EPERM);
    if value > largest {
        return Err(Reason::ErrnoTooLarge { value, largest });
    }
    Ok(action.as_u32(Some(value)))
}
