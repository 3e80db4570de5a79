//! What can be typed for `update`: flags, which become the document that could be given instead.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::commands::{Command, Typed};
use crate::ops::options::{Limits, UpdateOptions};
use crate::types::ContainerId;

/// `update`
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// A file with the resources part of a config.json, or - for standard input; it takes the place of all other flags
    #[arg(long, short, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// The weight of block device access, from 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The period of the processor limit, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_period: Option<u64>,
    /// The processor time within a period, in microseconds; -1 for no limit
    #[arg(long, value_name = "TIME")]
    cpu_quota: Option<i64>,
    /// The processor time that may be saved for later, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_burst: Option<u64>,
    /// The weight of processor time against other containers, from 2 to 262144
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// The period of the realtime limit, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_rt_period: Option<u64>,
    /// The realtime within a period, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_rt_runtime: Option<i64>,
    /// 1 for processor time that nobody else wants, 0 for the usual
    #[arg(long, value_name = "IDLE")]
    cpu_idle: Option<i64>,
    /// The processors, as in 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// The memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// The memory, as in 512M; -1 for no limit
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<i64>,
    /// The memory that is kept when there is little
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1 for no limit
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_swap: Option<i64>,
    /// The kernel's memory: it counts as the container's, and has no limit of its own
    #[arg(long, value_name = "SIZE", value_parser = size, hide = true)]
    kernel_memory: Option<i64>,
    /// The memory of TCP buffers
    #[arg(long, value_name = "SIZE", value_parser = size)]
    kernel_memory_tcp: Option<i64>,
    /// The number of processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// The processor cache, as a line of resctrl's: L3:0=f;1=f
    #[arg(long, value_name = "SCHEMA", value_parser = |text: &str| line(text, "L3"))]
    l3_cache_schema: Option<String>,
    /// The memory bandwidth, as a line of resctrl's: MB:0=50
    #[arg(long, value_name = "SCHEMA", value_parser = |text: &str| line(text, "MB"))]
    mem_bw_schema: Option<String>,
    /// The container's name
    #[arg(value_parser = ContainerId::parse)]
    id: ContainerId,
}

impl Typed for UpdateArgs {
    fn meant(self) -> Command {
        let limits = match &self.resources {
            Some(path) => Limits::File(path.clone()),
            None => Limits::Document(self.document().to_string()),
        };
        let schemata = self.l3_cache_schema.into_iter().chain(self.mem_bw_schema);
        Command::Update(UpdateOptions { id: self.id, limits, schemata: schemata.collect() })
    }
}

impl UpdateArgs {
    fn document(&self) -> Value {
        let number = |value: Option<i64>| value.map(Value::from);
        let positive = |value: Option<u64>| value.map(Value::from);
        let text = |value: &Option<String>| value.clone().map(Value::from);
        let all = [
            ("blockIO", "weight", self.blkio_weight.map(Value::from)),
            ("cpu", "period", positive(self.cpu_period)),
            ("cpu", "quota", number(self.cpu_quota)),
            ("cpu", "burst", positive(self.cpu_burst)),
            ("cpu", "shares", positive(self.cpu_share)),
            ("cpu", "realtimePeriod", positive(self.cpu_rt_period)),
            ("cpu", "realtimeRuntime", number(self.cpu_rt_runtime)),
            ("cpu", "idle", number(self.cpu_idle)),
            ("cpu", "cpus", text(&self.cpuset_cpus)),
            ("cpu", "mems", text(&self.cpuset_mems)),
            ("memory", "limit", number(self.memory)),
            ("memory", "reservation", number(self.memory_reservation)),
            ("memory", "swap", number(self.memory_swap)),
            ("memory", "kernel", number(self.kernel_memory)),
            ("memory", "kernelTCP", number(self.kernel_memory_tcp)),
            ("pids", "limit", number(self.pids_limit)),
        ];
        let mut document = Map::new();
        for (group, key, value) in all {
            let Some(value) = value else { continue };
            if let Value::Object(group) = document.entry(group).or_insert_with(|| Map::new().into()) {
                group.insert(key.to_owned(), value);
            }
        }
        Value::Object(document)
    }
}

/// One line of a resource whose name begins so.
fn line(text: &str, start: &str) -> Result<String, String> {
    match text.starts_with(start) && !text.contains('\n') {
        true => Ok(text.to_owned()),
        false => Err(format!("no line that begins with {start}")),
    }
}

/// A number of bytes, or of KiB and so on: `512`, `64k`, `1.5G`, `2 MiB`.
fn size(text: &str) -> Result<i64, String> {
    let wrong = || "no size like 512, 64K or 1.5G".to_owned();
    if text == "-1" {
        return Ok(-1);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let power = match unit.strip_suffix('i').unwrap_or(unit) {
        "" if unit.is_empty() => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(wrong()),
    };
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * 1024_f64.powi(power);
    if bytes < i64::MAX as f64 { Ok(bytes as i64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        let table = [
            ("512", 512),
            ("0", 0),
            ("64k", 64 << 10),
            ("64KB", 64 << 10),
            ("2 MiB", 2 << 20),
            ("1.5G", 3 << 29),
            ("3b", 3),
            ("-1", -1),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "-2", "1i", "1x", "1.2.3", "1kk", "9999999p", "1k 1"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
