//! Processor time in nanoseconds, and which processors it may be spent on.

use serde_json::{Map, Value, json};

use super::{Files, Place, entry, number, object, pressure, text};
use crate::sys;

pub(super) fn usage(files: &Files<'_>) -> sys::Result<Value> {
    let usage = match files.with("cpuacct") {
        Some(Place::V1(path)) => {
            let count = |name: &str| Ok(number(path, &format!("cpuacct.{name}"))?.unwrap_or(0));
            let each = |name: &str| Ok(text(path, &format!("cpuacct.{name}"))?.map(|text| numbers(&text)));
            object([
                ("total", Some(count("usage")?.into())),
                ("percpu", each("usage_percpu")?),
                ("percpu_kernel", each("usage_percpu_sys")?),
                ("percpu_user", each("usage_percpu_user")?),
                ("kernel", Some(count("usage_sys")?.into())),
                ("user", Some(count("usage_user")?.into())),
            ])
        }
        Some(Place::V2(path)) => {
            let stat = text(path, "cpu.stat")?.unwrap_or_default();
            let ns = |key: &str| entry(&stat, key).unwrap_or(0) * 1000;
            json!({"total": ns("usage_usec"), "kernel": ns("system_usec"), "user": ns("user_usec")})
        }
        None => json!({"total": 0, "kernel": 0, "user": 0}),
    };
    let members =
        [("usage", Some(usage)), ("throttling", Some(throttling(files)?)), ("psi", pressure(files, "cpu")?)];
    Ok(object(members))
}

fn throttling(files: &Files<'_>) -> sys::Result<Value> {
    let Some(place) = files.with("cpu") else { return Ok(json!({})) };
    let stat = text(place.path(), "cpu.stat")?.unwrap_or_default();
    let time = match place {
        Place::V1(_) => entry(&stat, "throttled_time"),
        Place::V2(_) => entry(&stat, "throttled_usec").map(|time| time * 1000),
    };
    let members = [
        ("periods", entry(&stat, "nr_periods")),
        ("throttledPeriods", entry(&stat, "nr_throttled")),
        ("throttledTime", time),
    ];
    Ok(object(members.map(|(key, value)| (key, value.map(Value::from)))))
}

/// Numbers between spaces.
fn numbers(text: &str) -> Value {
    text.split_whitespace().filter_map(|number| number.parse::<u64>().ok()).collect()
}

pub(super) fn cpuset(files: &Files<'_>) -> sys::Result<Value> {
    let Some(place) = files.with("cpuset") else { return Ok(json!({})) };
    let mut all = Map::new();
    for key in ["cpus", "mems"] {
        let name = match place {
            Place::V1(_) => format!("cpuset.{key}"),
            Place::V2(_) => format!("cpuset.{key}.effective"),
        };
        if let Some(text) = text(place.path(), &name)? {
            all.insert(key.to_owned(), list(&text));
        }
    }
    if let Place::V1(path) = place {
        let flags = [
            "cpu_exclusive",
            "mem_hardwall",
            "mem_exclusive",
            "memory_migrate",
            "memory_spread_page",
            "memory_spread_slab",
            "memory_pressure",
            "sched_load_balance",
            "sched_relax_domain_level",
        ];
        for flag in flags {
            let value = text(path, &format!("cpuset.{flag}"))?;
            if let Some(value) = value.and_then(|text| text.trim().parse::<i64>().ok()) {
                all.insert(flag.to_owned(), value.into());
            }
        }
    }
    Ok(Value::Object(all))
}

/// `0-2,7` is 0, 1, 2 and 7.
fn list(text: &str) -> Value {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{list, numbers};

    #[test]
    fn lists() {
        assert_eq!(list("0-2,7\n"), json!([0, 1, 2, 7]));
        assert_eq!(list("\n"), json!([]));
        assert_eq!(numbers("12 0 7 \n"), json!([12, 0, 7]));
    }
}
