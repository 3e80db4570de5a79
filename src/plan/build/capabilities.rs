//! The five capability sets, cut down to what the kernel and the host allow.

use std::collections::HashSet;

use oci_spec::runtime::{Capability as Listed, LinuxCapabilities};

use crate::plan::finding::Report;
use crate::plan::{Capabilities, Host};
use crate::types::{CapSet, Capability};

/// `path` is where the sets stand. Absent sets are empty.
pub(super) fn build(
    listed: Option<&LinuxCapabilities>,
    path: &str,
    host: &Host,
    user_namespace: bool,
    report: &mut Report,
) -> Capabilities {
    let Some(listed) = listed else { return Capabilities::default() };
    // A new user namespace grants all that the kernel has; elsewhere nothing beyond keg's own bounding set can be had.
    let mut missing = CapSet::EMPTY;
    let mut read = |set: &Option<HashSet<Listed>>| {
        let wanted: CapSet = set.iter().flatten().filter_map(|one| number(*one)).collect();
        if user_namespace {
            return wanted;
        }
        for cap in wanted.iter().filter(|cap| !host.capabilities.contains(*cap)) {
            missing.insert(cap);
        }
        wanted.intersection(host.capabilities)
    };
    let mut sets = Capabilities {
        bounding: read(listed.bounding()),
        effective: read(listed.effective()),
        inheritable: read(listed.inheritable()),
        permitted: read(listed.permitted()),
        ambient: read(listed.ambient()),
    };
    for cap in missing.iter() {
        report.warn(path, format!("{cap} is left out: keg does not have it"));
    }
    for cap in sets.effective.iter().filter(|cap| !sets.permitted.contains(*cap)) {
        report.error(format_args!("{path}.effective"), format!("{cap} is not among the permitted"));
    }
    let raisable = sets.permitted.intersection(sets.inheritable);
    for cap in sets.ambient.iter().filter(|cap| !raisable.contains(*cap)) {
        let what = format!("can't raise ambient capability {cap}: it is not both permitted and inheritable");
        report.warn(format_args!("{path}.ambient"), what);
    }
    sets.ambient = sets.ambient.intersection(raisable);
    sets
}

fn number(listed: Listed) -> Option<Capability> {
    let number = match listed {
        Listed::Chown => 0,
        Listed::DacOverride => 1,
        Listed::DacReadSearch => 2,
        Listed::Fowner => 3,
        Listed::Fsetid => 4,
        Listed::Kill => 5,
        Listed::Setgid => 6,
        Listed::Setuid => 7,
        Listed::Setpcap => 8,
        Listed::LinuxImmutable => 9,
        Listed::NetBindService => 10,
        Listed::NetBroadcast => 11,
        Listed::NetAdmin => 12,
        Listed::NetRaw => 13,
        Listed::IpcLock => 14,
        Listed::IpcOwner => 15,
        Listed::SysModule => 16,
        Listed::SysRawio => 17,
        Listed::SysChroot => 18,
        Listed::SysPtrace => 19,
        Listed::SysPacct => 20,
        Listed::SysAdmin => 21,
        Listed::SysBoot => 22,
        Listed::SysNice => 23,
        Listed::SysResource => 24,
        Listed::SysTime => 25,
        Listed::SysTtyConfig => 26,
        Listed::Mknod => 27,
        Listed::Lease => 28,
        Listed::AuditWrite => 29,
        Listed::AuditControl => 30,
        Listed::Setfcap => 31,
        Listed::MacOverride => 32,
        Listed::MacAdmin => 33,
        Listed::Syslog => 34,
        Listed::WakeAlarm => 35,
        Listed::BlockSuspend => 36,
        Listed::AuditRead => 37,
        Listed::Perfmon => 38,
        Listed::Bpf => 39,
        Listed::CheckpointRestore => 40,
    };
    Capability::from_number(number)
}
