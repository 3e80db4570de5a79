//! What a container uses and has used, as the kernel counts it, in the words and the shape of version 1 that callers parse: the
//! `data` of an event. What the kernel does not count is left out.

mod block_io;
mod cpu;
mod memory;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Error;
use crate::sys::{self, Errno, cgroup as files};
use crate::types::CgroupRecord;

/// No file of statistics is longer.
const LIMIT: usize = 16 << 20;

/// Reads them all.
pub fn stats(record: &CgroupRecord) -> Result<Value, Error> {
    collect(&Files(record)).map_err(|source| Error::Use { doing: "read the statistics of", source })
}

fn collect(files: &Files<'_>) -> sys::Result<Value> {
    Ok(json!({
        "cpu": cpu::usage(files)?,
        "cpuset": cpu::cpuset(files)?,
        "memory": memory::memory(files)?,
        "pids": pids(files)?,
        "blkio": block_io::block_io(files)?,
        "hugetlb": hugepages(files)?,
        "intel_rdt": {},
        "network_interfaces": [],
    }))
}

/// The files of one container, wherever its controllers are.
struct Files<'a>(&'a CgroupRecord);

/// The directory that has a controller, and which version's files are in it.
#[derive(Clone, Copy)]
enum Place<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

impl<'a> Files<'a> {
    /// Version 2 has it where no version 1 hierarchy does.
    fn with(&self, controller: &str) -> Option<Place<'a>> {
        let v1 =
            self.0.directories.iter().find(|dir| dir.hierarchy.split(',').any(|name| name == controller));
        v1.map(|dir| Place::V1(&dir.path)).or_else(|| self.unified().map(Place::V2))
    }

    /// The directory of version 2.
    fn unified(&self) -> Option<&'a Path> {
        self.0.directories.iter().find(|dir| dir.hierarchy.is_empty()).map(|dir| dir.path.as_path())
    }
}

impl<'a> Place<'a> {
    fn path(self) -> &'a Path {
        match self {
            Self::V1(path) | Self::V2(path) => path,
        }
    }
}

/// The text of a file; `None` where the kernel has no such file, or does not count that.
fn text(directory: &Path, name: &str) -> sys::Result<Option<String>> {
    match files::read_to_end(&directory.join(name), LIMIT) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(error.errno, Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::EINVAL) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A file that holds one number; `max` is the largest that there is.
fn number(directory: &Path, name: &str) -> sys::Result<Option<u64>> {
    Ok(text(directory, name)?.and_then(|text| parse(&text)))
}

fn parse(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The number of a key in a file of lines like `key number`.
fn entry(text: &str, key: &str) -> Option<u64> {
    let mut entries = text.lines().filter_map(|line| line.split_once(' '));
    entries.find(|(name, _)| *name == key).and_then(|(_, value)| parse(value))
}

/// An object of what is there.
fn object<'k>(members: impl IntoIterator<Item = (&'k str, Option<Value>)>) -> Value {
    let there = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

/// Pressure stall information of `cpu`, `memory` or `io`, which version 2 has, also beside version 1.
fn pressure(files: &Files<'_>, resource: &str) -> sys::Result<Option<Value>> {
    let Some(directory) = files.unified() else { return Ok(None) };
    Ok(text(directory, &format!("{resource}.pressure"))?.map(|text| pressure_of(&text)))
}

/// Lines like `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn pressure_of(text: &str) -> Value {
    let line = |line: &str| {
        let (kind, values) = line.split_once(' ')?;
        let values = values.split(' ').filter_map(|pair| pair.split_once('='));
        let values = values.filter_map(|(key, value)| {
            let number = match key {
                "total" => value.parse::<u64>().ok().map(Value::from),
                _ => value.parse::<f64>().ok().map(Value::from),
            };
            Some((key.to_owned(), number?))
        });
        Some((kind.to_owned(), Value::Object(values.collect())))
    };
    Value::Object(text.lines().filter_map(line).collect())
}

fn pids(files: &Files<'_>) -> sys::Result<Value> {
    let Some(place) = files.with("pids") else { return Ok(json!({})) };
    let limit = number(place.path(), "pids.max")?.filter(|limit| *limit != u64::MAX);
    let current = number(place.path(), "pids.current")?;
    Ok(object([("current", current.map(Value::from)), ("limit", limit.map(Value::from))]))
}

/// One member for each page size. Version 2 does not know how much was used at most.
fn hugepages(files: &Files<'_>) -> sys::Result<Value> {
    let Some(place) = files.with("hugetlb") else { return Ok(json!({})) };
    let (directory, usage) = match place {
        Place::V1(path) => (path, "usage_in_bytes"),
        Place::V2(path) => (path, "current"),
    };
    let names = files::open_for_walk(directory).and_then(sys::fd::list);
    let names = super::walk::unless_gone(names)?.unwrap_or_default();
    let names = names.iter().filter_map(|name| name.to_str());
    let sizes = names.filter_map(|name| name.strip_prefix("hugetlb.")?.strip_suffix(usage));
    let mut all = Map::new();
    for size in sizes.filter_map(|size| size.strip_suffix('.')).filter(|size| !size.contains('.')) {
        let value = |file: &str| number(directory, &format!("hugetlb.{size}.{file}"));
        let (max, failures) = match place {
            Place::V1(_) => (value("max_usage_in_bytes")?, value("failcnt")?),
            Place::V2(_) => {
                let events = text(directory, &format!("hugetlb.{size}.events"))?;
                (None, events.and_then(|events| entry(&events, "max")))
            }
        };
        let members = [("usage", value(usage)?), ("max", max), ("failcnt", failures)];
        all.insert(size.to_owned(), object(members.map(|(key, value)| (key, value.map(Value::from)))));
    }
    Ok(Value::Object(all))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{entry, parse, pressure_of};

    #[test]
    fn values_of_files() {
        assert_eq!(
            (parse("12\n"), parse("max\n"), parse("x"), parse("")),
            (Some(12), Some(u64::MAX), None, None)
        );
        let text = "low 0\nmax 3\nmaximum 4\nbroken\n";
        assert_eq!((entry(text, "max"), entry(text, "low"), entry(text, "m")), (Some(3), Some(0), None));
    }

    #[test]
    fn pressure_files() {
        let text = "some avg10=0.12 avg60=1.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let zero = json!({"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0});
        let some = json!({"avg10": 0.12, "avg60": 1.0, "avg300": 0.0, "total": 77});
        assert_eq!(pressure_of(text), json!({"some": some, "full": zero}));
        assert_eq!(pressure_of(""), json!({}));
    }
}
