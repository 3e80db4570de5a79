//! Any words as the options of mounts of each kind: a plan or an error that names the mount.
#![no_main]

use std::path::PathBuf;

use keg::plan::cgroup::HostCgroups;
use keg::plan::{self, Host, Options};
use keg::types::{CapSet, CgroupManager, ContainerId};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|text: &str| {
    let words: Vec<&str> = text.split([',', '\n']).filter(|word| !word.contains('\0')).collect();
    let maps = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    for kind in ["tmpfs", "proc", "bind", "none", "cgroup", "sysfs"] {
        let config = json!({
            "ociVersion": "1.2.0", "root": {"path": "rootfs"},
            "mounts": [{"destination": "/a", "type": kind, "source": "/b", "options": words}],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": maps, "gidMappings": maps},
        });
        let loaded = keg::spec::load(config.to_string().as_bytes()).unwrap();
        let options = Options {
            id: ContainerId::parse("fuzz").unwrap(),
            cgroup_manager: CgroupManager::Disabled,
            bundle: PathBuf::from("/bundle"),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
        };
        let capabilities = CapSet::from_bits((1 << 41) - 1);
        let host = Host {
            euid: 0,
            in_user_namespace: false,
            setgroups_denied: false,
            capabilities,
            cgroups: HostCgroups::default(),
        };
        if let Err(error) = plan::build(&loaded, &options, &host) {
            assert!(error.path.starts_with("mounts[0]"), "{error}");
        }
    }
});
