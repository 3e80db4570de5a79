//! The comparison itself: every number of every architecture, and for calls whose arguments are
//! tested every combination of values at and around the constants.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use keg::seccomp::{Arch as Host, compile};
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction};

use crate::interpreter::{Call, run};
use crate::libseccomp::Oracle;

pub const X32_BIT: u32 = 0x4000_0000;
pub const ENOSYS: u32 = 0x0005_0000 | 38;

/// An architecture as the kernel sees it, with the part of its numbers that `arch` names.
struct Interface {
    arch: Arch,
    audit: u32,
    numbers: &'static [RangeInclusive<u32>],
}

const INTERFACES: [Interface; 5] = [
    Interface {
        arch: Arch::ScmpArchX86_64,
        audit: 0xc000_003e,
        numbers: &[0..=1100, 0x3fff_fff0..=0x3fff_ffff, u32::MAX..=u32::MAX],
    },
    Interface {
        arch: Arch::ScmpArchX32,
        audit: 0xc000_003e,
        numbers: &[X32_BIT..=X32_BIT + 1100, 0x7fff_fff0..=0x8000_0010, 0xffff_fff0..=0xffff_fffe],
    },
    Interface {
        arch: Arch::ScmpArchX86,
        audit: 0x4000_0003,
        numbers: &[0..=1100, 0xffff_fff0..=0xffff_ffff],
    },
    Interface {
        arch: Arch::ScmpArchAarch64,
        audit: 0xc000_00b7,
        numbers: &[0..=1100, 0xffff_fff0..=0xffff_ffff],
    },
    Interface {
        arch: Arch::ScmpArchArm,
        audit: 0x4000_0028,
        numbers: &[0..=1100, 0x000e_fff0..=0x000f_0010, 0xffff_fff0..=0xffff_ffff],
    },
];

/// Where the two programs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    pub arch: Arch,
    pub call: Call,
    pub keg: u32,
    pub libseccomp: u32,
}

/// Compares keg's program for `profile` with libseccomp's, for all architectures of `host`.
/// Numbers above the highest named one, where keg answers ENOSYS, count as equal only if
/// libseccomp has the default action there and the profile's default denies.
pub fn differences(oracle: &Oracle, profile: &LinuxSeccomp, host: Host) -> Vec<Difference> {
    let keg = compile(profile, host).unwrap().instructions;
    let libseccomp = oracle
        .compile(profile, if host == Host::X86_64 { Arch::ScmpArchX86_64 } else { Arch::ScmpArchAarch64 });
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let denies = !matches!(
        profile.default_action(),
        LinuxSeccompAction::ScmpActAllow | LinuxSeccompAction::ScmpActLog | LinuxSeccompAction::ScmpActTrace
    );
    let constants = constants(profile);
    let mut differences = Vec::new();
    let mut seen_newer = false;
    for interface in INTERFACES.iter().filter(|interface| is_of(interface.arch, host)) {
        let named = Named::of(oracle, profile, interface.arch);
        for number in interface.numbers.iter().cloned().flatten() {
            for args in named.arguments(number, &constants) {
                let call = Call { number, arch: interface.audit, args };
                let (ours, theirs) = (run(&keg, &call).0, run(&libseccomp, &call).0);
                let newer = denies && theirs == default && named.is_newer(number);
                seen_newer |= newer;
                if ours != if newer { ENOSYS } else { theirs } {
                    let (arch, keg, libseccomp) = (interface.arch, ours, theirs);
                    differences.push(Difference { arch, call, keg, libseccomp });
                }
            }
        }
    }
    assert_eq!(seen_newer, denies && profile.syscalls().is_some(), "the ENOSYS rule was not met");
    differences
}

fn is_of(arch: Arch, host: Host) -> bool {
    let arm = matches!(arch, Arch::ScmpArchAarch64 | Arch::ScmpArchArm);
    arm == (host == Host::Aarch64)
}

/// Which numbers a profile names on an architecture, by libseccomp's tables.
struct Named {
    arch: Arch,
    /// Number to the arguments that rules test.
    tested: BTreeMap<u32, BTreeSet<usize>>,
    numbers: BTreeSet<u32>,
}

impl Named {
    fn of(oracle: &Oracle, profile: &LinuxSeccomp, arch: Arch) -> Self {
        let mut tested: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        // Each profile's architectures contain the host's own, listed or not.
        let listed = profile.architectures().iter().flatten().any(|listed| *listed == arch);
        let native = matches!(arch, Arch::ScmpArchX86_64 | Arch::ScmpArchAarch64);
        for rule in profile.syscalls().iter().flatten().filter(|_| listed || native) {
            for (name, number) in rule.names().iter().zip(oracle.resolve(arch, rule.names())) {
                // libseccomp gives calls that a multiplexer also reaches a number of its own.
                let direct = if arch == Arch::ScmpArchX86 { direct_i386(name) } else { None };
                if let Some(number) = u32::try_from(number).ok().or(direct) {
                    numbers.insert(number);
                    let indexes = rule.args().iter().flatten().map(|arg| arg.index());
                    tested.entry(number).or_default().extend(indexes);
                }
            }
        }
        // The multiplexers of i386.
        if arch == Arch::ScmpArchX86 {
            for multiplexer in [102, 117] {
                tested.entry(multiplexer).or_default().insert(0);
            }
        }
        Self { arch, tested, numbers }
    }

    fn is_newer(&self, number: u32) -> bool {
        let own_start = match self.arch {
            Arch::ScmpArchX32 => X32_BIT + 512,
            Arch::ScmpArchArm => 0x000f_0000,
            _ => u32::MAX,
        };
        let common = self.numbers.range(..own_start).next_back();
        match self.numbers.last() {
            None => false,
            Some(last) if number > *last => true,
            Some(_) => number < own_start && common.is_none_or(|last| number > *last),
        }
    }

    fn arguments(&self, number: u32, constants: &[u64]) -> Vec<[u64; 6]> {
        let mut all = vec![[0; 6], [u64::MAX; 6]];
        for index in self.tested.get(&number).into_iter().flatten() {
            let before = std::mem::take(&mut all);
            for args in before {
                for constant in constants {
                    let mut args = args;
                    args[*index] = *constant;
                    all.push(args);
                }
            }
        }
        all
    }
}

fn direct_i386(name: &str) -> Option<u32> {
    let position = |names: &[&str]| names.iter().position(|known| *known == name).map(|at| at as u32);
    let socket = position(&[
        "socket",
        "socketpair",
        "bind",
        "connect",
        "listen",
        "accept4",
        "getsockopt",
        "setsockopt",
        "getsockname",
        "getpeername",
        "sendto",
        "sendmsg",
        "recvfrom",
        "recvmsg",
        "shutdown",
    ]);
    let ipc = position(&[
        "semget", "semctl", "shmget", "shmctl", "shmat", "shmdt", "msgget", "msgsnd", "msgrcv", "msgctl",
    ]);
    socket.map(|at| 359 + at).or(ipc.map(|at| 393 + at))
}

/// The values at and around each constant of the profile, in both halves.
fn constants(profile: &LinuxSeccomp) -> Vec<u64> {
    let mut constants = BTreeSet::from([0, 1, u64::MAX]);
    // The selectors of the multiplexers, with a version in the upper half.
    constants.extend(0..=25);
    for arg in profile.syscalls().iter().flatten().flat_map(|rule| rule.args().iter().flatten()) {
        for constant in [arg.value(), arg.value_two().unwrap_or(0)] {
            for near in [constant.wrapping_sub(1), constant, constant.wrapping_add(1), !constant] {
                constants.extend([near, near ^ (1 << 32), near & 0xffff_ffff, near | 0x8000_0000]);
            }
        }
    }
    constants.into_iter().collect()
}
