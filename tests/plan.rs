//! config.json as real programs write it becomes a plan, and as people get it wrong an error with its place.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use keg::plan::cgroup::HostCgroups;
use keg::plan::{self, Host, Options, Plan};
use keg::types::{CapSet, CgroupManager, ContainerId};

fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/data").join(name)).unwrap()
}

fn options() -> Options {
    Options {
        id: ContainerId::parse("test").unwrap(),
        bundle: PathBuf::from("/bundle"),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        cgroup_manager: CgroupManager::Disabled,
    }
}

fn root() -> Host {
    Host {
        euid: 0,
        in_user_namespace: false,
        capabilities: CapSet::from_bits((1 << 41) - 1),
        cgroups: HostCgroups::default(),
    }
}

fn plan(config: &[u8], host: &Host) -> Result<Plan, String> {
    let loaded = keg::spec::load(config).map_err(|error| error.to_string())?;
    plan::build(&loaded, &options(), host).map_err(|error| error.to_string())
}

#[test]
fn runc_spec() {
    let plan = plan(&data("runc-spec.json"), &root()).unwrap();
    assert_eq!(plan.rootfs, Path::new("/bundle/rootfs"));
    let destinations: Vec<_> = plan.mounts.iter().map(|mount| mount.destination.to_str().unwrap()).collect();
    let expected = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"];
    assert_eq!(destinations, expected);
}
