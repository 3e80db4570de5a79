//! What the compiler can express, for `keg features`, with the kernel's values so that the host can
//! be asked which of it the kernel offers.

use oci_spec::runtime::{Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator};

/// Every action of a profile, with the kernel's return value without its data.
pub const ACTIONS: [(LinuxSeccompAction, u32); 9] = [
    (LinuxSeccompAction::ScmpActAllow, 0x7fff_0000),
    (LinuxSeccompAction::ScmpActErrno, 0x0005_0000),
    (LinuxSeccompAction::ScmpActKill, 0x0000_0000),
    (LinuxSeccompAction::ScmpActKillProcess, 0x8000_0000),
    (LinuxSeccompAction::ScmpActKillThread, 0x0000_0000),
    (LinuxSeccompAction::ScmpActLog, 0x7ffc_0000),
    (LinuxSeccompAction::ScmpActNotify, 0x7fc0_0000),
    (LinuxSeccompAction::ScmpActTrace, 0x7ff0_0000),
    (LinuxSeccompAction::ScmpActTrap, 0x0003_0000),
];

/// Every operator of an argument test.
pub const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
    LinuxSeccompOperator::ScmpCmpNe,
];

/// The architectures whose system call numbers are known here.
pub const ARCHITECTURES: [Arch; 5] =
    [Arch::ScmpArchAarch64, Arch::ScmpArchArm, Arch::ScmpArchX32, Arch::ScmpArchX86, Arch::ScmpArchX86_64];

pub(super) const FLAG_TSYNC: u32 = 1 << 0;
pub(super) const FLAG_LOG: u32 = 1 << 1;
pub(super) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub(super) const FLAG_NEW_LISTENER: u32 = 1 << 3;
pub(super) const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
pub(super) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Every flag of a profile, with the bits of seccomp(2) it is loaded with.
pub const FLAGS: [(LinuxSeccompFilterFlag, u32); 4] = [
    (LinuxSeccompFilterFlag::SeccompFilterFlagLog, FLAG_LOG),
    (LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow, FLAG_SPEC_ALLOW),
    (LinuxSeccompFilterFlag::SeccompFilterFlagTsync, FLAG_TSYNC),
    (LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv, FLAG_WAIT_KILLABLE_RECV | FLAG_NEW_LISTENER),
];
