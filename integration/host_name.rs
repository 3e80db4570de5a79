//! Host name, domain name and sysctl: set inside, unseen outside, refused without a namespace of their own.

use harness::{json, with_runtime};

#[test]
fn the_host_name_is_set_inside_only() {
    with_runtime(|rt| {
        let outside = nix::unistd::gethostname().unwrap();
        let bundle = rt.bundle();
        bundle.edit(|c| c["hostname"] = json!("of-the-container"));
        assert_eq!(bundle.probe(rt)["hostname"], "of-the-container");
        assert_eq!(nix::unistd::gethostname().unwrap(), outside);
    });
}

#[test]
fn the_domain_name_is_set() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["domainname"] = json!("example.org"));
        assert_eq!(bundle.probe(rt)["domainname"], "example.org");
    });
}

#[test]
fn a_host_name_needs_a_uts_namespace() {
    with_runtime(|rt| {
        let outside = nix::unistd::gethostname().unwrap();
        let bundle = rt.bundle();
        bundle.without_namespace("uts");
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
        assert_eq!(nix::unistd::gethostname().unwrap(), outside);
    });
}

#[test]
fn sysctls_are_set_inside_only() {
    with_runtime(|rt| {
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let before = (read("/proc/sys/net/ipv4/ip_forward"), read("/proc/sys/kernel/shmmax"));
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["linux"]["sysctl"] = json!({
                "net.ipv4.ip_forward": "1", "net/ipv4/ip_default_ttl": "33", "kernel.shmmax": "12345678",
                "fs.mqueue.msg_max": "7", "kernel.domainname": "by-sysctl",
            });
        });
        bundle.shell(
            "cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/ip_default_ttl kernel/shmmax fs/mqueue/msg_max \
             kernel/domainname",
        );
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), "1\n33\n12345678\n7\nby-sysctl\n");
        assert_eq!((read("/proc/sys/net/ipv4/ip_forward"), read("/proc/sys/kernel/shmmax")), before);
    });
}

#[test]
fn sysctls_of_the_host_are_refused() {
    with_runtime(|rt| {
        let cases = [
            ("kernel.pid_max", "40000", None),
            ("vm.swappiness", "1", None),
            ("net.ipv4.ip_forward", "1", Some("network")),
            ("kernel.shmmax", "1", Some("ipc")),
        ];
        for (key, value, without) in cases {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["sysctl"] = json!({key: value}));
            if let Some(kind) = without {
                bundle.without_namespace(kind);
            }
            rt.create(&bundle, "c").fails_with(key);
            rt.assert_gone("c");
        }
    });
}

#[test]
fn a_sysctl_that_leads_elsewhere_is_refused() {
    with_runtime(|rt| {
        for key in
            ["net.../../kernel/core_pattern", "net/../kernel/core_pattern", "kernel.shmmax/../core_pattern"]
        {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["sysctl"] = json!({key: "|/evil"}));
            rt.create(&bundle, "c").fails_with("");
            rt.assert_gone("c");
        }
        assert!(!std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().contains("evil"));
    });
}
