//! The engines' default seccomp profiles as they arrive in config.json: an engine resolves its own conditions on capabilities and
//! architectures before it writes them there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{Result, target};

/// What Docker and Podman give a container unless told otherwise.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

#[derive(Debug, Clone, Copy)]
pub enum Engine {
    Docker,
    Podman,
}

impl Engine {
    fn file(self) -> PathBuf {
        match self {
            // Of golang-github-docker-docker-dev.
            Self::Docker => target().join("bench/docker-seccomp.json"),
            // Of golang-github-containers-common.
            Self::Podman => PathBuf::from("/usr/share/containers/seccomp.json"),
        }
    }

    /// The profile for this machine, and the capabilities that it is meant for.
    pub fn apply(self, config: &mut Value) -> Result<()> {
        let file = self.file();
        let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        config["linux"]["seccomp"] = resolve(&serde_json::from_slice(&text)?)?;
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(CAPABILITIES);
        }
        Ok(())
    }

    /// The capabilities alone.
    pub fn apply_without(self, config: &mut Value) -> Result<()> {
        self.apply(config)?;
        if let Some(linux) = config["linux"].as_object_mut() {
            linux.remove("seccomp");
        }
        Ok(())
    }

    /// Architectures and different names of system calls.
    pub fn size(self) -> Result<(usize, usize)> {
        let mut config = json!({});
        self.apply(&mut config)?;
        let names = |rule: &Value| rule["names"].as_array().cloned().unwrap_or_default();
        let rules = config["linux"]["seccomp"]["syscalls"].as_array().cloned().unwrap_or_default();
        let names: BTreeSet<String> = rules.iter().flat_map(names).map(|name| name.to_string()).collect();
        let architectures = config["linux"]["seccomp"]["architectures"].as_array().map_or(0, Vec::len);
        Ok((architectures, names.len()))
    }
}

fn resolve(document: &Value) -> Result<Value> {
    let (arch, token) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", "SCMP_ARCH_X86_64"),
        "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
        other => return Err(format!("no profile for {other}").into()),
    };
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut architectures = vec![json!(token)];
    for entry in items(&document["archMap"]).iter().filter(|entry| entry["architecture"] == token) {
        architectures.extend(items(&entry["subArchitectures"]));
    }
    let is_met =
        |wanted: &Value, have: &[&str]| items(wanted).iter().any(|item| have.iter().any(|one| item == one));
    let counts = |rule: &&Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        (includes["caps"].is_null() || is_met(&includes["caps"], &CAPABILITIES))
            && (includes["arches"].is_null() || is_met(&includes["arches"], &[arch]))
            && !is_met(&excludes["caps"], &CAPABILITIES)
            && !is_met(&excludes["arches"], &[arch])
    };
    let rules: Vec<Value> = items(&document["syscalls"]).iter().filter(counts).map(plain).collect();
    let mut seccomp = json!({"defaultAction": document["defaultAction"], "architectures": architectures, "syscalls": rules});
    if !document["defaultErrnoRet"].is_null() {
        seccomp["defaultErrnoRet"] = document["defaultErrnoRet"].clone();
    }
    Ok(seccomp)
}

/// What config.json has of a rule.
fn plain(rule: &Value) -> Value {
    let mut plain = json!({"names": rule["names"], "action": rule["action"]});
    if rule["names"].is_null() {
        plain["names"] = json!([rule["name"]]);
    }
    for key in ["args", "errnoRet"] {
        let is_empty = rule[key].as_array().is_some_and(Vec::is_empty);
        if !rule[key].is_null() && !is_empty {
            plain[key] = rule[key].clone();
        }
    }
    plain
}
