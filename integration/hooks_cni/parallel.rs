//! Many containers at once.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use harness::{Value, with_runtime};

use super::Net;

const COUNT: usize = 50;

#[test]
fn fifty_containers_come_and_go_at_once() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = net.usual("usual");
        let before = net.used(&config);
        let bundles: Vec<_> = (0..COUNT).map(|_| net.bundle(&config, &["--timeout", "120"])).collect();
        // keg's own limit for its hooks is for those who wait alone.
        for bundle in &bundles {
            bundle.edit(|c| {
                for kind in ["createRuntime", "poststop"] {
                    c["hooks"][kind][0]["timeout"] = 300.into();
                }
            });
        }
        let all = |words: &dyn Fn(usize) -> Vec<String>| {
            let running: Vec<_> =
                (0..COUNT).map(|n| rt.command(&words(n)).limit(Duration::from_secs(240)).spawn()).collect();
            running.into_iter().for_each(|one| drop(one.wait().ok()));
        };
        all(&|n| ["create", "--bundle", &bundles[n].arg(), &format!("c{n}")].map(str::to_owned).to_vec());
        let mut addresses = BTreeSet::new();
        for n in 0..COUNT {
            let record = fs::read_to_string(format!("/run/keg-hook-cni/containers/c{n}/eth0.json")).unwrap();
            let record: Value = record.parse().unwrap();
            addresses.insert(record["result"]["ips"][0]["address"].as_str().unwrap().to_owned());
        }
        assert_eq!(addresses.len(), COUNT, "{addresses:?}");
        assert_eq!(net.look().leases.len(), COUNT);
        // Each knows all others.
        for n in 0..COUNT {
            let hosts = fs::read_to_string(format!("/run/keg-hook-cni/containers/c{n}/hosts")).unwrap();
            assert_eq!(
                hosts.lines().filter(|line| line.starts_with("10.88.")).count(),
                COUNT,
                "c{n}: {hosts}"
            );
        }
        all(&|n| ["delete", "--force", &format!("c{n}")].map(str::to_owned).to_vec());
        net.assert_same(&before, "after all");
    });
}
