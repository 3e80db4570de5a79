//! config.json as real programs write it becomes a plan, and as people get it wrong an error with its place.
#![allow(clippy::unwrap_used)]

mod errors;
mod examples;
mod mount_errors;
mod properties;
mod render;
mod values;
mod written;

use std::path::{Path, PathBuf};

use keg::plan::cgroup::HostCgroups;
use keg::plan::{self, Host, Options, Plan};
use keg::types::{CapSet, CgroupManager, ContainerId};
use serde_json::{Value, json};

/// A file of `tests/data`.
fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

fn options() -> Options {
    Options {
        id: ContainerId::parse("test").unwrap(),
        cgroup_manager: CgroupManager::Disabled,
        bundle: PathBuf::from("/bundle"),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
    }
}

/// The host as root sees it, with every capability.
fn root() -> Host {
    let capabilities = CapSet::from_bits((1 << 41) - 1);
    Host {
        euid: 0,
        in_user_namespace: false,
        setgroups_denied: false,
        capabilities,
        cgroups: HostCgroups::default(),
    }
}

/// The host as a user without privileges sees it.
fn rootless() -> Host {
    Host { euid: 1000, ..root() }
}

fn plan_on(config: &[u8], host: &Host) -> Result<Plan, String> {
    let loaded = keg::spec::load(config).map_err(|error| error.to_string())?;
    plan::build(&loaded, &options(), host).map_err(|error| error.to_string())
}

fn planned(config: &Value) -> Result<Plan, String> {
    plan_on(config.to_string().as_bytes(), &root())
}

/// A container that wants little, to be changed by [`with`].
fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"], "env": ["PATH=/bin"]},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    })
}

/// [`base`] with values set at JSON pointers; what is missing on the way is made.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut config = base();
    for (pointer, value) in changes {
        let mut place = &mut config;
        for name in pointer.split('/').skip(1) {
            place = match name.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[name],
            };
        }
        *place = value.clone();
    }
    config
}
