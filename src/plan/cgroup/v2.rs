//! Resources in the words of cgroup version 2 (kernel: Documentation/admin-guide/cgroup-v2.rst),
//! converted where version 1, in whose words config.json is written, counts otherwise.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::resources::{AT, Steps, bytes, not_in_v2, or_max, setting, swappiness, write};
use super::v1::{checked_weight, throttles};
use super::{Error, Step};

pub(super) fn memory(memory: &LinuxMemory, steps: &mut Steps<'_>) -> Result<(), Error> {
    let limit = bytes(memory.limit(), "memory.limit")?;
    let both = bytes(memory.swap(), "memory.swap")?;
    if memory.kernel_tcp().is_some_and(|value| value > 0) {
        return Err(not_in_v2("memory.kernelTCP"));
    }
    if swappiness(memory).is_some() {
        return Err(not_in_v2("memory.swappiness"));
    }
    if memory.disable_oom_killer() == Some(true) {
        return Err(not_in_v2("memory.disableOOMKiller"));
    }
    if memory.use_hierarchy() == Some(false) {
        return Err(not_in_v2("memory.useHierarchy"));
    }
    if let Some(limit) = limit.filter(|limit| *limit > 0 && memory.check_before_update() == Some(true)) {
        let setting = format!("{AT}.memory.limit");
        steps.push("memory", Step::CheckUsage { file: "memory.current", limit, setting }, "memory.limit")?;
    }
    if let Some(both) = both.filter(|both| *both > 0 && limit.is_none() && steps.limited) {
        let setting = format!("{AT}.memory.swap");
        steps.push("memory", Step::SwapWithin { both, setting }, "memory.swap")?;
    } else if let Some(swap) = swap(limit, both)? {
        let mut one = write("memory.swap.max", &or_max(swap), "memory.swap");
        // Without swap accounting the file is absent: no swap to forbid, or nothing to limit.
        one.optional = swap <= 0;
        steps.push("memory", Step::Write(one), "memory.swap")?;
    }
    if let Some(limit) = limit {
        steps.write("memory", "memory.max", &or_max(limit), "memory.limit")?;
    }
    if let Some(value) = bytes(memory.reservation(), "memory.reservation")? {
        steps.write("memory", "memory.low", &or_max(value), "memory.reservation")?;
    }
    Ok(())
}

/// Version 1 limits memory and swap together, version 2 swap alone.
fn swap(limit: Option<i64>, both: Option<i64>) -> Result<Option<i64>, Error> {
    match (limit, both) {
        (_, Some(-1)) | (Some(-1), None) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (None | Some(-1), Some(_)) => Err(setting(
            "memory.swap",
            "cgroup version 2 cannot limit memory and swap together without a memory limit",
        )),
        (Some(limit), Some(both)) if both < limit => {
            Err(setting("memory.swap", format!("{both} is less than the memory limit {limit}")))
        }
        (Some(limit), Some(both)) => Ok(Some(both - limit)),
    }
}

pub(super) fn cpu(cpu: &LinuxCpu, steps: &mut Steps<'_>) -> Result<(), Error> {
    if cpu.realtime_period().is_some_and(|v| v != 0) {
        return Err(not_in_v2("cpu.realtimePeriod"));
    }
    if cpu.realtime_runtime().is_some_and(|v| v != 0) {
        return Err(not_in_v2("cpu.realtimeRuntime"));
    }
    // What is idle has no weight, and what has one is not idle any more.
    let idle = cpu.idle().map(|idle| write("cpu.idle", &idle.to_string(), "cpu.idle"));
    let shares = cpu.shares().filter(|shares| *shares != 0 && cpu.idle() != Some(1));
    let weight =
        shares.map(|shares| write("cpu.weight", &weight_of_shares(shares).to_string(), "cpu.shares"));
    steps.together("cpu", [weight, idle])?;
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    let quota = match (quota.map(or_max), period) {
        (Some(quota), Some(period)) => Some(format!("{quota} {period}")),
        (quota, None) => quota,
        (None, Some(period)) => {
            let setting = format!("{AT}.cpu.period");
            steps.push("cpu", Step::CpuPeriod { period, setting }, "cpu.period")?;
            None
        }
    };
    let quota = quota.map(|quota| write("cpu.max", &quota, "cpu.quota"));
    let burst = cpu.burst().map(|burst| write("cpu.max.burst", &burst.to_string(), "cpu.burst"));
    steps.together("cpu", [quota, burst])
}

/// 2, 1024 and 262144 shares, the least, the default and the most of version 1, become 1, 100 and
/// 10000, which version 2 has in their place.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    let log = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // Rounded up; the small number keeps a result like 100.0000000001 what it is meant to be.
    (10f64.powf(exponent) - 1e-6).ceil() as u64
}

pub(super) fn block_io(block_io: &LinuxBlockIo, steps: &mut Steps<'_>) -> Result<(), Error> {
    if block_io.leaf_weight().is_some_and(|v| v != 0) {
        return Err(not_in_v2("blockIO.leafWeight"));
    }
    let mut weight = |prefix: String, weight: u16, name: &str| {
        let mut one = write("io.bfq.weight", &format!("{prefix}{weight}"), name);
        one.otherwise = Some(("io.weight".to_owned(), format!("{prefix}{}", io_weight(weight))));
        steps.push("io", Step::Write(one), name)
    };
    if let Some(value) = checked_weight(block_io.weight(), "blockIO.weight")? {
        weight(String::new(), value, "blockIO.weight")?;
    }
    for (n, device) in block_io.weight_device().iter().flatten().enumerate() {
        let name = format!("blockIO.weightDevice[{n}]");
        if device.leaf_weight().is_some_and(|v| v != 0) {
            return Err(not_in_v2(&format!("{name}.leafWeight")));
        }
        if let Some(value) = checked_weight(device.weight(), &name)? {
            weight(format!("{}:{} ", device.major(), device.minor()), value, &name)?;
        }
    }
    for (name, key, n, device) in throttles(block_io) {
        let key = match key {
            "read_bps" => "rbps",
            "write_bps" => "wbps",
            "read_iops" => "riops",
            _ => "wiops",
        };
        let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
        let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
        steps.write("io", "io.max", &value, &format!("{name}[{n}]"))?;
    }
    Ok(())
}

/// The weights 10 to 1000 of version 1 (and BFQ) become the weights 1 to 10000 of version 2.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9_999 / 990
}

/// The limits among the files that every cgroup has. The others move processes, end, freeze or divide them.
const CORE_LIMITS: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

/// `unified` is version 2 already: the key is the file, each line of the value one write.
pub(super) fn unified(resources: &LinuxResources, steps: &mut Steps<'_>) -> Result<(), Error> {
    let mut files: Vec<_> = resources.unified().iter().flatten().collect();
    files.sort();
    for (file, value) in files {
        let name = format!("unified[{file:?}]");
        let Some((controller, _)) = file.split_once('.').filter(|_| !file.contains('/')) else {
            return Err(setting(&name, "this is no name of a cgroup file"));
        };
        if controller == "cgroup" && !CORE_LIMITS.contains(&file.as_str()) {
            return Err(setting(&name, "this file sets no limit, and what it does is keg's to do"));
        }
        let controller = Some(controller).filter(|name| *name != "cgroup");
        if let Some(controller) = controller.filter(|controller| !steps.v2_has(controller)) {
            // Callers know how both begin.
            let problem = match steps.v1_has(if controller == "io" { "blkio" } else { controller }) {
                true => {
                    format!("invalid configuration: the {controller} controller is one of version 1 here")
                }
                false => {
                    format!("unknown controller {controller:?} (cgroup version 2 does not have it here)")
                }
            };
            return Err(setting(&name, problem));
        }
        for line in value.lines() {
            steps.write_v2(controller, Step::Write(write(file, line, &name)));
        }
    }
    Ok(())
}
