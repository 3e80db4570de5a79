//! What a profile means, said as plainly as possible: the specification that programs are held to.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

/// The kernel's return value for a call named `name` whose number is not newer than the profile.
pub fn outcome(profile: &LinuxSeccomp, name: &str, args: &[u64; 6], bits: u32) -> u32 {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let rules = || {
        let named =
            profile.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(|known| known == name));
        named.filter(|rule| rule.action().as_u32(rule.errno_ret()) != default)
    };
    let unconditional = rules().find(|rule| rule.args().iter().flatten().next().is_none());
    let first = unconditional.or_else(|| rules().find(|rule| matches(rule, args, bits)));
    first.map_or(default, |rule| rule.action().as_u32(rule.errno_ret()))
}

fn matches(rule: &LinuxSyscall, args: &[u64; 6], bits: u32) -> bool {
    let conditions = || rule.args().iter().flatten();
    let repeated =
        (0..6).any(|index| conditions().filter(|condition| condition.index() == index).count() > 1);
    if repeated {
        conditions().any(|condition| holds(condition, args, bits))
    } else {
        conditions().all(|condition| holds(condition, args, bits))
    }
}

fn holds(condition: &LinuxSeccompArg, args: &[u64; 6], bits: u32) -> bool {
    let arg = args[condition.index()] & (u64::MAX >> (64 - bits));
    let value = condition.value();
    match condition.op() {
        LinuxSeccompOperator::ScmpCmpNe => arg != value,
        LinuxSeccompOperator::ScmpCmpLt => arg < value,
        LinuxSeccompOperator::ScmpCmpLe => arg <= value,
        LinuxSeccompOperator::ScmpCmpEq => arg == value,
        LinuxSeccompOperator::ScmpCmpGe => arg >= value,
        LinuxSeccompOperator::ScmpCmpGt => arg > value,
        LinuxSeccompOperator::ScmpCmpMaskedEq => arg & value == condition.value_two().unwrap_or(0) & value,
    }
}
