//! What was read from and written to block devices.

use serde_json::{Map, Value, json};

use super::{Files, Place, pressure, text};
use crate::sys;

/// The members, and the version 1 files that have them: of the BFQ scheduler, of the old CFQ one, of throttling.
const MEMBERS: [(&str, &str); 8] = [
    ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
    ("ioServicedRecursive", "io_serviced_recursive"),
    ("ioQueueRecursive", "io_queued_recursive"),
    ("ioServiceTimeRecursive", "io_service_time_recursive"),
    ("ioWaitTimeRecursive", "io_wait_time_recursive"),
    ("ioMergedRecursive", "io_merged_recursive"),
    ("ioTimeRecursive", "time_recursive"),
    ("sectorsRecursive", "sectors_recursive"),
];

pub(super) fn block_io(files: &Files<'_>) -> sys::Result<Value> {
    let mut all = Map::new();
    match files.with("blkio") {
        Some(Place::V1(path)) => {
            for (member, file) in MEMBERS {
                // A scheduler that is not in use has the file, and no line about a device in it.
                for prefix in ["bfq.", "", "throttle."] {
                    let text = text(path, &format!("blkio.{prefix}{file}"))?;
                    let entries = text.map(|text| v1(&text)).unwrap_or_default();
                    if !entries.is_empty() {
                        all.insert(member.to_owned(), entries.into());
                        break;
                    }
                }
            }
        }
        Some(Place::V2(path)) => {
            let stat = text(path, "io.stat")?.unwrap_or_default();
            let bytes = v2(&stat, [("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard")]);
            let requests = v2(&stat, [("rios", "Read"), ("wios", "Write"), ("dios", "Discard")]);
            for (member, entries) in [(MEMBERS[0].0, bytes), (MEMBERS[1].0, requests)] {
                if !entries.is_empty() {
                    all.insert(member.to_owned(), entries.into());
                }
            }
        }
        None => {}
    }
    if let Some(psi) = pressure(files, "io")? {
        all.insert("psi".to_owned(), psi);
    }
    Ok(Value::Object(all))
}

fn numbers(device: &str) -> Option<(u64, u64)> {
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines like `8:0 Read 4096`, or `8:0 4096` where there is nothing to tell apart; then a sum.
fn v1(text: &str) -> Vec<Value> {
    let entries = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (device, op, value) = match words[..] {
            [device, op, value] => (device, op, value),
            [device, value] => (device, "", value),
            _ => return None,
        };
        let (major, minor) = numbers(device)?;
        Some(json!({"major": major, "minor": minor, "op": op, "value": value.parse::<u64>().ok()?}))
    });
    entries.collect()
}

/// Lines like `8:0 rbytes=4096 wbytes=0 rios=1`.
fn v2(text: &str, keys: [(&str, &str); 3]) -> Vec<Value> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(numbers) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let op = keys.iter().find(|(name, _)| *name == key).map(|(_, op)| *op);
            if let (Some(op), Ok(value)) = (op, value.parse::<u64>()) {
                entries.push(json!({"major": major, "minor": minor, "op": op, "value": value}));
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{v1, v2};

    #[test]
    fn lines_of_both_versions() {
        let entry = |op: &str, value: u64| json!({"major": 8, "minor": 16, "op": op, "value": value});
        assert_eq!(v1("8:16 Read 5\n8:16 Total 9\nTotal 9\n"), [entry("Read", 5), entry("Total", 9)]);
        assert_eq!(v1("8:16 7\nTotal 7\n"), [entry("", 7)]);
        let keys = [("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard")];
        let text = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n(unknown) rbytes=1\n8:32\n";
        assert_eq!(v2(text, keys), [entry("Read", 1), entry("Write", 2), entry("Discard", 5)]);
    }
}
