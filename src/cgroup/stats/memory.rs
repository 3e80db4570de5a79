//! Memory in bytes. As version 1 counts it, `swap` is memory and swap together.

use serde_json::{Map, Value, json};

use super::{Files, Place, entry, number, object, parse, pressure, text};
use crate::sys;

pub(super) fn memory(files: &Files<'_>) -> sys::Result<Value> {
    let mut all = match files.with("memory") {
        Some(Place::V1(path)) => v1(path)?,
        Some(Place::V2(path)) => v2(path)?,
        None => json!({}),
    };
    if let Some(psi) = pressure(files, "memory")? {
        all["psi"] = psi;
    }
    Ok(all)
}

fn v1(path: &std::path::Path) -> sys::Result<Value> {
    let kind = |kind: &str| -> sys::Result<Option<Value>> {
        let members = [
            ("limit", "limit_in_bytes"),
            ("usage", "usage_in_bytes"),
            ("max", "max_usage_in_bytes"),
            ("failcnt", "failcnt"),
        ];
        let mut found = Map::new();
        for (key, file) in members {
            if let Some(value) = number(path, &format!("memory.{kind}{file}"))? {
                found.insert(key.to_owned(), value.into());
            }
        }
        Ok((!found.is_empty()).then_some(Value::Object(found)))
    };
    let stat = text(path, "memory.stat")?.unwrap_or_default();
    Ok(object([
        ("cache", entry(&stat, "cache").map(Value::from)),
        ("usage", kind("")?),
        ("swap", kind("memsw.")?),
        ("kernel", kind("kmem.")?),
        ("kernelTCP", kind("kmem.tcp.")?),
        ("raw", Some(raw(&stat))),
    ]))
}

fn v2(path: &std::path::Path) -> sys::Result<Value> {
    let value = |file: &str| number(path, &format!("memory.{file}"));
    let stat = text(path, "memory.stat")?.unwrap_or_default();
    let failures = |file: &str| -> sys::Result<Option<u64>> {
        Ok(text(path, file)?.and_then(|events| entry(&events, "max")))
    };
    let (usage, limit) = (value("current")?, value("max")?);
    // No limit of one is none of both.
    let both = |memory: Option<u64>, swap: Option<u64>| Some(memory?.saturating_add(swap?));
    let part = |name: &str| object([("usage", entry(&stat, name).map(Value::from))]);
    Ok(object([
        ("cache", entry(&stat, "file").map(Value::from)),
        ("usage", Some(use_of(limit, usage, value("peak")?, failures("memory.events")?))),
        (
            "swap",
            Some(use_of(
                both(limit, value("swap.max")?),
                both(usage, value("swap.current")?),
                None,
                failures("memory.swap.events")?,
            )),
        ),
        ("kernel", Some(part("kernel"))),
        ("kernelTCP", Some(part("sock"))),
        ("raw", Some(raw(&stat))),
    ]))
}

fn use_of(limit: Option<u64>, usage: Option<u64>, max: Option<u64>, failures: Option<u64>) -> Value {
    let members = [("limit", limit), ("usage", usage), ("max", max), ("failcnt", failures)];
    object(members.map(|(key, value)| (key, value.map(Value::from))))
}

/// `memory.stat` as it is.
fn raw(stat: &str) -> Value {
    let entries = stat.lines().filter_map(|line| line.split_once(' '));
    let entries = entries.filter_map(|(key, value)| Some((key.to_owned(), parse(value)?.into())));
    Value::Object(entries.collect())
}
