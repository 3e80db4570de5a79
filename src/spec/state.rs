//! The state document (runtime.md, "State"): what hooks get on standard input and `state` prints.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::types::{ContainerId, Pid};

/// The newest version of the runtime specification whose properties are known here.
pub const VERSION: &str = "1.3.0";

/// The states of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; the program has not been started.
    Created,
    /// The program runs.
    Running,
    /// The program has ended.
    Stopped,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// The document as one line of JSON. `pid` is that of the container's program as the reader's pid namespace has it.
pub fn state(
    id: &ContainerId,
    status: Status,
    pid: Option<Pid>,
    bundle: &Path,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, serde_json::Error> {
    let pid = pid.map(|pid| pid.0);
    serde_json::to_vec(&State { oci_version: VERSION, id: id.as_str(), status, pid, bundle, annotations })
}
