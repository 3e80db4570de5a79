//! Any bytes as config.json: a plan or an error, never a panic; and `check` finds an error where `create` does.
#![no_main]

use std::path::PathBuf;

use keg::plan::cgroup::HostCgroups;
use keg::plan::{self, Host, Options, Severity};
use keg::types::{CapSet, CgroupManager, ContainerId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(loaded) = keg::spec::load(bytes) else { return };
    let options = Options {
        id: ContainerId::parse("fuzz").unwrap(),
        cgroup_manager: CgroupManager::Disabled,
        bundle: PathBuf::from("/bundle"),
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
    };
    let capabilities = CapSet::from_bits((1 << 41) - 1);
    for euid in [0, 1000] {
        let host = Host {
            euid,
            in_user_namespace: euid != 0,
            setgroups_denied: false,
            capabilities,
            cgroups: HostCgroups::default(),
        };
        let findings = plan::check(&loaded, &options, &host);
        let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
        assert_eq!(plan::build(&loaded, &options, &host).is_err(), refused);
    }
});
