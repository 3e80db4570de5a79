//! CPU scheduling, I/O priority and execution domain of a process, refused where sched_setattr(2) and its like would refuse them.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, Scheduler as Listed,
};

use crate::plan::IoPriority;
use crate::plan::finding::Report;
use crate::types::Scheduler;

pub(super) fn scheduler(listed: &Listed, path: &str, report: &mut Report) -> Scheduler {
    use LinuxSchedulerPolicy::{
        SchedBatch, SchedDeadline, SchedFifo, SchedIdle, SchedIso, SchedOther, SchedRr,
    };
    let policy = *listed.policy();
    let (nice, priority) = (listed.nice().unwrap_or(0), listed.priority().unwrap_or(0));
    let (runtime, deadline, period) =
        (listed.runtime().unwrap_or(0), listed.deadline().unwrap_or(0), listed.period().unwrap_or(0));
    let number = match policy {
        SchedOther => 0,
        SchedFifo => 1,
        SchedRr => 2,
        SchedBatch => 3,
        SchedIso => 4,
        SchedIdle => 5,
        SchedDeadline => Scheduler::DEADLINE,
    };
    if policy == SchedIso {
        report.error(format_args!("{path}.policy"), "SCHED_ISO is reserved, no Linux has it");
    }
    if !(-20..=19).contains(&nice) {
        report.error(format_args!("{path}.nice"), format!("{nice} is not from -20 to 19"));
    } else if nice != 0 && !matches!(policy, SchedOther | SchedBatch) {
        let what = "has a meaning only with SCHED_OTHER and SCHED_BATCH";
        report.error(format_args!("{path}.nice"), what);
    }
    let real_time = matches!(policy, SchedFifo | SchedRr);
    if real_time && !(1..=99).contains(&priority) {
        report.error(format_args!("{path}.priority"), format!("{priority} is not from 1 to 99"));
    } else if !real_time && priority != 0 {
        report.error(format_args!("{path}.priority"), "has a meaning only with SCHED_FIFO and SCHED_RR");
    }
    if policy == SchedDeadline {
        // A period of zero is the deadline (sched(7)).
        let whole = if period == 0 { deadline } else { period };
        if runtime < 1024 || runtime > deadline || deadline > whole || whole >= 1 << 63 {
            report.error(path, "must have 1024 <= runtime <= deadline <= period");
        }
    } else if runtime != 0 || deadline != 0 || period != 0 {
        report.error(path, "runtime, deadline and period have a meaning only with SCHED_DEADLINE");
    }
    Scheduler {
        policy: number,
        flags: listed.flags().iter().flatten().map(|one| flag(*one)).fold(0, |sum, bit| sum | bit),
        nice,
        priority: u32::try_from(priority).unwrap_or(0),
        runtime,
        deadline,
        period,
    }
}

/// Whether `linux.resources` has a list of CPUs.
pub(super) fn has_cpuset(linux: &Linux) -> bool {
    let resources = linux.resources().as_ref();
    let cpu = resources.and_then(|resources| resources.cpu().as_ref()?.cpus().as_ref());
    let unified = resources.and_then(|resources| resources.unified().as_ref()?.get("cpuset.cpus"));
    cpu.or(unified).is_some_and(|list| !list.is_empty())
}

fn flag(listed: LinuxSchedulerFlag) -> u64 {
    match listed {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

pub(super) fn io_priority(listed: LinuxIOPriority, path: &str, report: &mut Report) -> IoPriority {
    let class = match listed.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u8::try_from(listed.priority()).ok().filter(|level| *level <= 7);
    if level.is_none() {
        report.error(format_args!("{path}.priority"), format!("{} is not from 0 to 7", listed.priority()));
    }
    IoPriority { class, level: level.unwrap_or(0) }
}

/// The number for personality(2).
pub(super) fn personality(listed: &LinuxPersonality, report: &mut Report) -> u64 {
    if listed.flags().iter().flatten().next().is_some() {
        report.error("linux.personality.flags", "the specification has no flags yet");
    }
    match listed.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }
}
