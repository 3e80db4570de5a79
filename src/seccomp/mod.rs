//! `linux.seccomp` of config.json becomes a classic BPF program. Pure: nothing here asks the kernel.
//!
//! `rules` checks the profile, `names` knows the numbers, `decide` makes a range table per system
//! call interface, `condition` has seccompiler write the argument tests, `assemble` links it all.

mod assemble;
mod condition;
mod decide;
mod default;
mod error;
mod names;
mod rules;
mod support;

use std::path::PathBuf;

use oci_spec::runtime::{Arch as ProfileArch, LinuxSeccomp, LinuxSeccompFilterFlag};

use assemble::Assembler;
use decide::{Chains, Decisions, X32_BIT};
use names::Abi;
use rules::Rules;

pub use default::default_profile;
pub use error::{Error, Reason};
pub use support::{ACTIONS, ARCHITECTURES, FLAGS, OPERATORS};

/// The kernel's limit on the length of a filter (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

// linux/audit.h
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;

/// The architecture of the host's kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86_64, which also runs i386 and x32 calls.
    X86_64,
    /// aarch64, which also runs arm calls.
    Aarch64,
}

impl Arch {
    /// The architecture that this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The architecture that this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;
}

/// A filter ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Each as `struct sock_filter` lies in memory.
    pub instructions: Vec<[u8; 8]>,
    /// How to load it.
    pub flags: Flags,
    /// Who answers the calls that the filter passes on; set if and only if it passes some on.
    pub notifies: Option<Listener>,
    /// What was passed over.
    pub warnings: Vec<String>,
}

/// Where the listener fd of a filter goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The unix socket of the agent.
    pub path: PathBuf,
    /// What the profile wants the agent to be told.
    pub metadata: Option<String>,
}

/// Flags of seccomp(2) that a profile may ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `SECCOMP_FILTER_FLAG_LOG`
    pub log: bool,
    /// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`
    pub spec_allow: bool,
    /// `SECCOMP_FILTER_FLAG_TSYNC`
    pub tsync: bool,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, only ever set for a filter with a listener.
    pub wait_killable_recv: bool,
}

impl Program {
    /// The flags argument of seccomp(2), `SECCOMP_FILTER_FLAG_NEW_LISTENER` included if the filter
    /// has a listener.
    pub fn load_flags(&self) -> u32 {
        let listener = self.notifies.is_some();
        let bits = [
            (self.flags.tsync, support::FLAG_TSYNC),
            (self.flags.log, support::FLAG_LOG),
            (self.flags.spec_allow, support::FLAG_SPEC_ALLOW),
            (listener, support::FLAG_NEW_LISTENER),
            // With a listener the result is an fd, so a thread that cannot follow must be an errno.
            (self.flags.tsync && listener, support::FLAG_TSYNC_ESRCH),
            (self.flags.wait_killable_recv, support::FLAG_WAIT_KILLABLE_RECV),
        ];
        bits.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum()
    }
}

/// A profile whose values have been checked.
#[derive(Debug)]
pub struct Checked<'a> {
    profile: &'a LinuxSeccomp,
    rules: Rules<'a>,
}

/// Checks all values of `profile`, which takes a small part of the time of compiling it. What can be wrong besides is its size.
pub fn check(profile: &LinuxSeccomp) -> Result<Checked<'_>, Error> {
    Ok(Checked { profile, rules: rules::parse(profile)? })
}

/// Checks `profile` and compiles it for a kernel of architecture `host`.
pub fn compile(profile: &LinuxSeccomp, host: Arch) -> Result<Program, Error> {
    compile_checked(&check(profile)?, host)
}

/// Compiles a profile for a kernel of architecture `host`. The host's own architecture is always
/// filtered; those that it cannot run are passed over.
pub fn compile_checked(Checked { profile, rules }: &Checked<'_>, host: Arch) -> Result<Program, Error> {
    let mut warnings = Vec::new();
    let mut decisions: Vec<_> = interfaces(profile, host, &mut warnings)
        .into_iter()
        .map(|abi| Decisions::new(abi, rules.default))
        .collect();
    let unknown = decide::apply_all(rules, &mut decisions);
    if !unknown.is_empty() {
        warnings.push(format!("linux.seccomp.syscalls: not on this architecture: {}", unknown.join(", ")));
    }
    let flags = flags(profile, rules.notifies, &mut warnings);

    let mut chains = Chains::default();
    let mut architectures = Vec::with_capacity(decisions.len());
    for decision in decisions {
        let abi = decision.abi;
        let base = if abi == Abi::X32 { X32_BIT } else { 0 };
        architectures.push((abi, decision.ranges(base, rules.enosys, &mut chains)));
    }
    let architectures = by_audit_architecture(architectures);
    let instructions = Assembler::new(rules.default, chains.into_vec())
        .program(&architectures, rules::KILL_PROCESS)
        .map_err(|error| Error::new("linux.seccomp.syscalls", Reason::Test(error.to_string())))?;
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(Error::new("linux.seccomp", Reason::TooLarge(instructions.len())));
    }
    let notifies = profile.listener_path().clone().filter(|_| rules.notifies);
    let metadata = profile.listener_metadata().clone();
    let notifies = notifies.map(|path| Listener { path, metadata });
    Ok(Program { instructions, flags, notifies, warnings })
}

/// The system call interfaces to filter, the host's own first, x32 right after x86_64.
fn interfaces(profile: &LinuxSeccomp, host: Arch, warnings: &mut Vec<String>) -> Vec<Abi> {
    let (native, others): (_, &[_]) = match host {
        Arch::X86_64 => (
            (Abi::X86_64, ProfileArch::ScmpArchX86_64),
            &[(Abi::X32, ProfileArch::ScmpArchX32), (Abi::I386, ProfileArch::ScmpArchX86)],
        ),
        Arch::Aarch64 => {
            ((Abi::Aarch64, ProfileArch::ScmpArchAarch64), &[(Abi::Arm, ProfileArch::ScmpArchArm)])
        }
    };
    let listed = profile.architectures().as_deref().unwrap_or_default();
    for arch in listed {
        let known = *arch == ProfileArch::ScmpArchNative || *arch == native.1;
        if !known && others.iter().all(|(_, other)| other != arch) {
            warnings.push(format!("linux.seccomp.architectures: this host never runs {arch}"));
        }
    }
    let also = others.iter().filter(|(_, arch)| listed.contains(arch)).map(|(abi, _)| *abi);
    std::iter::once(native.0).chain(also).collect()
}

/// x86_64 and x32 share an audit architecture, so they become one table.
fn by_audit_architecture(mut tables: Vec<(Abi, Vec<decide::Range>)>) -> Vec<(u32, Vec<decide::Range>)> {
    let mut x32 = tables.iter().position(|(abi, _)| *abi == Abi::X32).map(|at| tables.remove(at).1);
    let mut architectures = Vec::with_capacity(tables.len());
    for (abi, ranges) in tables {
        architectures.push(match abi {
            Abi::X86_64 | Abi::X32 => (AUDIT_ARCH_X86_64, decide::with_x32(ranges, x32.take())),
            Abi::I386 => (AUDIT_ARCH_I386, ranges),
            Abi::Aarch64 => (AUDIT_ARCH_AARCH64, ranges),
            Abi::Arm => (AUDIT_ARCH_ARM, ranges),
        });
    }
    architectures
}

fn flags(profile: &LinuxSeccomp, notifies: bool, warnings: &mut Vec<String>) -> Flags {
    let mut flags = Flags::default();
    for (n, flag) in profile.flags().iter().flatten().enumerate() {
        match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => flags.log = true,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => flags.tsync = true,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => flags.spec_allow = true,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies => {
                flags.wait_killable_recv = true;
            }
            // Without a listener the kernel refuses it.
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                warnings
                    .push(format!("linux.seccomp.flags[{n}]: {flag} has no effect without SCMP_ACT_NOTIFY"));
            }
        }
    }
    flags
}
