//! Resource limits of a process (getrlimit(2)).

use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

use crate::plan::Rlimit;
use crate::plan::finding::Report;

pub(super) fn build(listed: &[PosixRlimit], path: &str, report: &mut Report) -> Vec<Rlimit> {
    let mut limits: Vec<Rlimit> = Vec::with_capacity(listed.len());
    for (n, one) in listed.iter().enumerate() {
        let (resource, name) = resource(one.typ());
        if limits.iter().any(|known| known.resource == resource) {
            report.error(format!("{path}[{n}].type"), format!("{name} is given twice"));
        }
        if one.soft() > one.hard() {
            let what = format!("the soft limit {} is above the hard limit {}", one.soft(), one.hard());
            report.error(format!("{path}[{n}].soft"), what);
        }
        limits.push(Rlimit { resource, name, soft: one.soft(), hard: one.hard() });
    }
    limits
}

/// Its number on x86_64 and aarch64, and its name.
fn resource(typ: PosixRlimitType) -> (u32, &'static str) {
    match typ {
        PosixRlimitType::RlimitCpu => (libc::RLIMIT_CPU, "RLIMIT_CPU"),
        PosixRlimitType::RlimitFsize => (libc::RLIMIT_FSIZE, "RLIMIT_FSIZE"),
        PosixRlimitType::RlimitData => (libc::RLIMIT_DATA, "RLIMIT_DATA"),
        PosixRlimitType::RlimitStack => (libc::RLIMIT_STACK, "RLIMIT_STACK"),
        PosixRlimitType::RlimitCore => (libc::RLIMIT_CORE, "RLIMIT_CORE"),
        PosixRlimitType::RlimitRss => (libc::RLIMIT_RSS, "RLIMIT_RSS"),
        PosixRlimitType::RlimitNproc => (libc::RLIMIT_NPROC, "RLIMIT_NPROC"),
        PosixRlimitType::RlimitNofile => (libc::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
        PosixRlimitType::RlimitMemlock => (libc::RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"),
        PosixRlimitType::RlimitAs => (libc::RLIMIT_AS, "RLIMIT_AS"),
        PosixRlimitType::RlimitLocks => (libc::RLIMIT_LOCKS, "RLIMIT_LOCKS"),
        PosixRlimitType::RlimitSigpending => (libc::RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING"),
        PosixRlimitType::RlimitMsgqueue => (libc::RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE"),
        PosixRlimitType::RlimitNice => (libc::RLIMIT_NICE, "RLIMIT_NICE"),
        PosixRlimitType::RlimitRtprio => (libc::RLIMIT_RTPRIO, "RLIMIT_RTPRIO"),
        PosixRlimitType::RlimitRttime => (libc::RLIMIT_RTTIME, "RLIMIT_RTTIME"),
    }
}
