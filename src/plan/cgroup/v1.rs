//! Resources in the words of cgroup version 1 (kernel: Documentation/admin-guide/cgroup-v1).

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxThrottleDevice};

use super::resources::{Steps, bytes, not_in_v2, setting, swappiness, write};
use super::{Error, Step, Write};

pub(super) fn memory(memory: &LinuxMemory, steps: &mut Steps<'_>) -> Result<(), Error> {
    let limit = bytes(memory.limit(), "memory.limit")?;
    // Without a limit of memory there is none of memory and swap.
    let swap = bytes(memory.swap(), "memory.swap")?.or(limit.filter(|limit| *limit == -1));
    match (limit, swap) {
        (Some(limit), Some(swap)) if swap != -1 && (swap < limit || limit == -1) => {
            return Err(setting("memory.swap", format!("{swap} is less than the memory limit {limit}")));
        }
        _ => {}
    }
    if let Some(limit) = limit.filter(|limit| *limit > 0 && memory.check_before_update() == Some(true)) {
        let setting = format!("{}.memory.limit", super::resources::AT);
        steps.push(
            "memory",
            Step::CheckUsage { file: "memory.usage_in_bytes", limit, setting },
            "memory.limit",
        )?;
    }
    let limit = limit.map(|v| write("memory.limit_in_bytes", &v.to_string(), "memory.limit"));
    let swap = swap.map(|v| write("memory.memsw.limit_in_bytes", &v.to_string(), "memory.swap"));
    let swap = swap.map(|swap| Write { optional: limit.is_some() && swap.value == "-1", ..swap });
    steps.together("memory", [limit, swap])?;
    if let Some(value) = bytes(memory.reservation(), "memory.reservation")? {
        steps.write("memory", "memory.soft_limit_in_bytes", &value.to_string(), "memory.reservation")?;
    }
    if let Some(value) = bytes(memory.kernel_tcp(), "memory.kernelTCP")? {
        steps.write("memory", "memory.kmem.tcp.limit_in_bytes", &value.to_string(), "memory.kernelTCP")?;
    }
    if let Some(value) = swappiness(memory) {
        if value > 100 {
            return Err(setting("memory.swappiness", format!("{value} is not between 0 and 100")));
        }
        steps.write("memory", "memory.swappiness", &value.to_string(), "memory.swappiness")?;
    }
    if memory.disable_oom_killer() == Some(true) {
        steps.write("memory", "memory.oom_control", "1", "memory.disableOOMKiller")?;
    }
    if memory.use_hierarchy() == Some(false) {
        return Err(setting(
            "memory.useHierarchy",
            "the kernel always counts what is in sub-cgroups, since 5.11",
        ));
    }
    Ok(())
}

pub(super) fn cpu(cpu: &LinuxCpu, steps: &mut Steps<'_>) -> Result<(), Error> {
    // What is idle has no shares, and what has shares is not idle any more.
    let idle = cpu.idle().map(|idle| write("cpu.idle", &idle.to_string(), "cpu.idle"));
    let shares = cpu.shares().filter(|shares| *shares != 0 && cpu.idle() != Some(1));
    let shares = shares.map(|shares| write("cpu.shares", &shares.to_string(), "cpu.shares"));
    steps.together("cpu", [shares, idle])?;
    let period = cpu.period().filter(|period| *period != 0);
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = period.map(|v| write("cpu.cfs_period_us", &v.to_string(), "cpu.period"));
    let quota = quota.map(|v| write("cpu.cfs_quota_us", &v.max(-1).to_string(), "cpu.quota"));
    let burst = cpu.burst().map(|v| write("cpu.cfs_burst_us", &v.to_string(), "cpu.burst"));
    steps.together("cpu", [period, quota, burst])?;
    let period = cpu.realtime_period().filter(|period| *period != 0);
    let runtime = cpu.realtime_runtime().filter(|runtime| *runtime != 0);
    let period = period.map(|v| write("cpu.rt_period_us", &v.to_string(), "cpu.realtimePeriod"));
    let runtime = runtime.map(|v| write("cpu.rt_runtime_us", &v.to_string(), "cpu.realtimeRuntime"));
    steps.together("cpu", [period, runtime])
}

pub(super) fn block_io(block_io: &LinuxBlockIo, steps: &mut Steps<'_>) -> Result<(), Error> {
    let mut weight = |file: &str, value: String, name: &str| {
        let mut one = write(&format!("blkio.{file}"), &value, name);
        one.otherwise = Some((format!("blkio.bfq.{file}"), value));
        steps.push("blkio", Step::Write(one), name)
    };
    if let Some(value) = checked_weight(block_io.weight(), "blockIO.weight")? {
        weight("weight", value.to_string(), "blockIO.weight")?;
    }
    if let Some(value) = checked_weight(block_io.leaf_weight(), "blockIO.leafWeight")? {
        weight("leaf_weight", value.to_string(), "blockIO.leafWeight")?;
    }
    for (n, device) in block_io.weight_device().iter().flatten().enumerate() {
        let name = format!("blockIO.weightDevice[{n}]");
        let at = format!("{}:{}", device.major(), device.minor());
        if let Some(value) = checked_weight(device.weight(), &name)? {
            weight("weight_device", format!("{at} {value}"), &name)?;
        }
        if let Some(value) = checked_weight(device.leaf_weight(), &name)? {
            weight("leaf_weight_device", format!("{at} {value}"), &name)?;
        }
    }
    for (name, key, n, device) in throttles(block_io) {
        let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
        steps.write("blkio", &format!("blkio.throttle.{key}_device"), &value, &format!("{name}[{n}]"))?;
    }
    Ok(())
}

/// 10 to 1000; 0 is as good as absent.
pub(super) fn checked_weight(weight: Option<u16>, name: &str) -> Result<Option<u16>, Error> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight @ 10..=1000) => Ok(Some(weight)),
        Some(weight) => Err(setting(name, format!("the weight {weight} is not between 10 and 1000"))),
    }
}

/// Every throttled device: the name of the setting, of its version 1 file, its number in the list.
pub(super) fn throttles(
    block_io: &LinuxBlockIo,
) -> impl Iterator<Item = (&'static str, &'static str, usize, &LinuxThrottleDevice)> {
    let lists = [
        ("blockIO.throttleReadBpsDevice", "read_bps", block_io.throttle_read_bps_device()),
        ("blockIO.throttleWriteBpsDevice", "write_bps", block_io.throttle_write_bps_device()),
        ("blockIO.throttleReadIOPSDevice", "read_iops", block_io.throttle_read_iops_device()),
        ("blockIO.throttleWriteIOPSDevice", "write_iops", block_io.throttle_write_iops_device()),
    ];
    lists.into_iter().flat_map(|(name, key, list)| {
        list.iter().flatten().enumerate().map(move |(n, device)| (name, key, n, device))
    })
}

/// The net_cls and net_prio controllers exist in version 1 only.
pub(super) fn network(network: &LinuxNetwork, steps: &mut Steps<'_>) -> Result<(), Error> {
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        if steps.version("net_cls") == 2 {
            return Err(not_in_v2("network.classID"));
        }
        steps.write("net_cls", "net_cls.classid", &class.to_string(), "network.classID")?;
    }
    for (n, priority) in network.priorities().iter().flatten().enumerate() {
        let name = format!("network.priorities[{n}]");
        if steps.version("net_prio") == 2 {
            return Err(not_in_v2(&name));
        }
        let value = format!("{} {}", priority.name(), priority.priority());
        steps.write("net_prio", "net_prio.ifpriomap", &value, &name)?;
    }
    Ok(())
}
