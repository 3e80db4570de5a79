//! Limits and device rules as systemd's properties. keg writes the same limits to the files itself, exactly and with those that systemd
//! has no word for; but systemd writes the files again, whenever it thinks fit, from what it was told.

use std::path::Path;

use crate::plan::cgroup::devices::exceptions;
use crate::plan::cgroup::{DeviceClass, DevicePlan, DeviceRule, DirectoryPlan, Step};
use crate::plan::machine::Mask;
use crate::types::dbus::Value;

/// The properties of all limits but those of CPU time.
pub(super) fn limits(directories: &[DirectoryPlan]) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let steps = directories.iter().flat_map(|directory| &directory.steps);
    for write in steps.flat_map(Step::writes) {
        let others = write.otherwise.iter().map(|(file, value)| (file.as_str(), value.as_str()));
        let mut files = others.chain([(write.file.as_str(), write.value.as_str())]);
        all.extend(files.find_map(|(file, value)| limit(file, value)));
    }
    all
}

fn limit(file: &str, value: &str) -> Option<(String, Value)> {
    let name = match file {
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" => "AllowedCPUs",
        "cpuset.mems" => "AllowedMemoryNodes",
        "io.weight" => "IOWeight",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.max" => "MemoryMax",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        _ => return None,
    };
    let value = match (name, value.trim()) {
        ("AllowedCPUs" | "AllowedMemoryNodes", list) => set(list)?,
        (_, "max") => Value::U64(u64::MAX),
        // Systemd knows no limit of none.
        ("TasksMax", number) => Value::U64(number.parse::<u64>().ok()?.max(1)),
        ("IOWeight", text) => Value::U64(text.strip_prefix("default ").unwrap_or(text).parse().ok()?),
        (_, number) => Value::U64(number.parse().ok()?),
    };
    Some((name.to_owned(), value))
}

/// A list like `0-3,7` as bytes, the lowest number in the lowest bit of the first.
fn set(list: &str) -> Option<Value> {
    let mask = Mask::parse(list).ok()?;
    let mut bytes: Vec<u8> = mask.0.iter().flat_map(|word| word.to_le_bytes()).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Some(Value::Array("y".to_owned(), bytes.into_iter().map(Value::Byte).collect()))
}

/// What `cpu.max` is to say, as far as config.json says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuMax {
    /// Microseconds, or `max`.
    pub quota: Option<String>,
    /// Microseconds.
    pub period: Option<u64>,
}

impl CpuMax {
    pub(super) fn of(directories: &[DirectoryPlan]) -> Option<Self> {
        let steps = directories.iter().flat_map(|directory| &directory.steps);
        // The last one is in force.
        let mut found = steps.filter_map(|step| match step {
            Step::CpuPeriod { period, .. } => Some(Self { quota: None, period: Some(*period) }),
            step => {
                let write = step.writes().iter().find(|write| write.file == "cpu.max")?;
                let mut words = write.value.split_whitespace();
                let quota = words.next().map(str::to_owned);
                Some(Self { quota, period: words.next().and_then(|word| word.parse().ok()) })
            }
        });
        found.next_back()
    }
}

/// The properties of CPU time. Systemd keeps the quota in whole percents of a CPU: it is rounded up, so that what a cgroup inside may
/// have by its own quota is never more than what the unit has.
pub fn cpu_max(quota: &str, period: u64) -> Vec<(String, Value)> {
    const PERCENT: u128 = 10_000;
    let per_second = match quota.parse::<u128>() {
        Ok(quota) if period > 0 => {
            let exact = (quota * 1_000_000).div_ceil(period.into());
            u64::try_from(exact.div_ceil(PERCENT) * PERCENT).unwrap_or(u64::MAX)
        }
        _ => u64::MAX,
    };
    vec![
        ("CPUQuotaPerSecUSec".to_owned(), Value::U64(per_second)),
        ("CPUQuotaPeriodUSec".to_owned(), Value::U64(period)),
    ]
}

/// Systemd knows only what is allowed. Rules that cannot be said so are left to keg's own program, which knows them all: what systemd is
/// told is never less than what that allows.
pub(super) fn devices(plan: &DevicePlan) -> Vec<(String, Value)> {
    let DevicePlan::Program(rules) = plan else { return Vec::new() };
    let (policy, allowed) = match exceptions(rules) {
        Ok((false, allowed)) => ("strict", allowed),
        Ok((true, _)) | Err(_) => ("auto", Vec::new()),
    };
    let list = |entries: Vec<Value>| Value::Array("(ss)".to_owned(), entries);
    let mut all = vec![
        ("DevicePolicy".to_owned(), Value::text(policy)),
        // An empty list takes back what was said before; another adds to it.
        ("DeviceAllow".to_owned(), list(Vec::new())),
    ];
    if !allowed.is_empty() {
        let entry =
            |rule| Value::Struct(vec![Value::text(device(rule)), Value::text(rule.access.to_string())]);
        all.push(("DeviceAllow".to_owned(), list(allowed.iter().map(entry).collect())));
    }
    all
}

/// A device of both numbers is a path, which need not be there; otherwise it is a major number or all of a kind.
fn device(rule: &DeviceRule) -> String {
    let class = if rule.class == DeviceClass::Block { "block" } else { "char" };
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => {
            Path::new("/dev").join(class).join(format!("{major}:{minor}")).display().to_string()
        }
        (Some(major), None) => format!("{class}-{major}"),
        (None, _) => format!("{class}-*"),
    }
}
