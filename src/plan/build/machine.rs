//! Network devices, memory policy, resctrl and CPU affinity, refused where the kernel would refuse them.

use oci_spec::runtime::{
    ExecCPUAffinity, Linux, LinuxIntelRdt, LinuxMemoryPolicy, MemoryPolicyFlagType, MemoryPolicyModeType,
};

use crate::plan::finding::Report;
use crate::plan::{Affinity, IntelRdt, Mask, MemoryPolicy, NetDevice};
use crate::spec::member;
use crate::types::{NamespaceKind, NamespaceSet};

/// IFNAMSIZ without the NUL.
const MAX_DEVICE_NAME: usize = 15;

pub(super) fn net_devices(linux: &Linux, own: NamespaceSet, report: &mut Report) -> Vec<NetDevice> {
    let Some(listed) = linux.net_devices().as_ref().filter(|listed| !listed.is_empty()) else {
        return Vec::new();
    };
    if !own.contains(NamespaceKind::Network) {
        report.error_with(
            "linux.netDevices",
            "needs a network namespace of the container's own",
            "add {\"type\": \"network\"} to linux.namespaces",
        );
    }
    let mut names: Vec<&String> = listed.keys().collect();
    names.sort_unstable();
    let mut devices: Vec<NetDevice> = Vec::with_capacity(names.len());
    for name in names {
        let path = member("linux.netDevices", name);
        let inside = listed[name].name().as_ref().filter(|inside| !inside.is_empty()).unwrap_or(name);
        if !is_device_name(name) {
            report.error(&path, "no name of a network device");
        } else if name == "lo" {
            report.error(&path, "the loopback device stays where it is");
        } else if !is_device_name(&inside.replacen("%d", "0", 1)) {
            report.error(format!("{path}.name"), format!("{inside:?} is no name for a network device"));
        } else if inside == "lo" || devices.iter().any(|device| device.inside == *inside) {
            report
                .error(format!("{path}.name"), format!("the container has another device named {inside:?}"));
        }
        devices.push(NetDevice { path, name: name.clone(), inside: inside.clone() });
    }
    devices
}

/// As the kernel has it.
fn is_device_name(name: &str) -> bool {
    let fits = !name.is_empty() && name.len() <= MAX_DEVICE_NAME && name != "." && name != "..";
    fits && name.bytes().all(|b| !b.is_ascii_whitespace() && !b"/:%\x0b\0".contains(&b))
}

pub(super) fn memory_policy(listed: &LinuxMemoryPolicy, report: &mut Report) -> MemoryPolicy {
    use MemoryPolicyModeType::{
        MpolBind, MpolDefault, MpolInterleave, MpolLocal, MpolPreferred, MpolPreferredMany,
        MpolWeightedInterleave,
    };
    let path = "linux.memoryPolicy";
    let nodes = Mask::parse(listed.nodes().as_deref().unwrap_or_default()).unwrap_or_else(|problem| {
        report.error(format_args!("{path}.nodes"), format!("invalid memory policy node: {problem}"));
        Mask::default()
    });
    let mode = listed.mode();
    match mode {
        MpolDefault | MpolLocal if !nodes.is_empty() => {
            report.error(format_args!("{path}.nodes"), "invalid memory policy node: this mode takes none");
        }
        MpolBind | MpolInterleave | MpolWeightedInterleave | MpolPreferredMany if nodes.is_empty() => {
            report.error(format_args!("{path}.nodes"), "invalid memory policy node: this mode needs some");
        }
        _ => {}
    }
    let mut flags = 0;
    for (n, flag) in listed.flags().iter().flatten().enumerate() {
        let at = format!("{path}.flags[{n}]");
        let (bit, problem) = match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => {
                (1 << 13, (mode != MpolBind).then_some("only MPOL_BIND takes it"))
            }
            MemoryPolicyFlagType::MpolFRelativeNodes => {
                (1 << 14, nodes.is_empty().then_some("there are no nodes"))
            }
            MemoryPolicyFlagType::MpolFStaticNodes => {
                (1 << 15, nodes.is_empty().then_some("there are no nodes"))
            }
        };
        if let Some(problem) = problem {
            report.error(at, format!("invalid memory policy flag: {problem}"));
        }
        flags |= bit;
    }
    if flags & (3 << 14) == 3 << 14 {
        let what = "invalid memory policy flag: nodes are static or relative, not both";
        report.error(format_args!("{path}.flags"), what);
    }
    let number = match mode {
        MpolDefault => 0,
        MpolPreferred => 1,
        MpolBind => 2,
        MpolInterleave => 3,
        MpolLocal => 4,
        MpolPreferredMany => 5,
        MpolWeightedInterleave => 6,
    };
    MemoryPolicy { mode: number | flags, nodes }
}

/// `None` where nothing is asked for.
pub(super) fn intel_rdt(listed: &LinuxIntelRdt, report: &mut Report) -> Option<IntelRdt> {
    if *listed == LinuxIntelRdt::default() {
        return None;
    }
    let path = "linux.intelRdt";
    let group = listed.clos_id().clone();
    if let Some(name) = &group
        && name != "/"
        && (matches!(name.as_str(), "" | "." | ".." | "info" | "mon_groups" | "mon_data")
            || name.contains(['/', '\n']))
    {
        report.error(format_args!("{path}.closID"), format!("{name:?} is no name for a group"));
    }
    let single =
        [("l3CacheSchema", "L3", listed.l3_cache_schema()), ("memBwSchema", "MB", listed.mem_bw_schema())];
    let mut schemata = Vec::new();
    for (name, start, line) in single {
        let Some(line) = line.as_ref().filter(|line| !line.is_empty()) else { continue };
        if !line.starts_with(start) || line.contains('\n') && start == "MB" {
            report.error(
                format_args!("{path}.{name}"),
                format!("{line:?} is no line that begins with {start}"),
            );
        }
        schemata.extend(line.lines().map(str::to_owned));
    }
    for (n, line) in listed.schemata().iter().flatten().enumerate() {
        if line.contains('\n') {
            report.error(format_args!("{path}.schemata[{n}]"), "more than one line");
        }
        schemata.push(line.clone());
    }
    Some(IntelRdt { group, schemata, monitoring: listed.enable_monitoring().unwrap_or(false) })
}

/// `path` is where it stands.
pub(super) fn affinity(listed: &ExecCPUAffinity, path: &str, report: &mut Report) -> Affinity {
    let mut mask = |name: &str, list: &Option<String>| {
        let list = list.as_deref().filter(|list| !list.is_empty())?;
        Mask::parse(list).map_err(|problem| report.error(member(path, name), problem)).ok()
    };
    Affinity { initial: mask("initial", listed.initial()), last: mask("final", listed.cpu_affinity_final()) }
}
