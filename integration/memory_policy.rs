//! `linux.memoryPolicy` as /proc/self/numa_maps inside shows it.

use harness::{json, with_runtime};

#[test]
fn a_memory_policy_is_the_programs() {
    with_runtime(|rt| {
        if !std::path::Path::new("/proc/self/numa_maps").exists() {
            eprintln!("skipped: this kernel has no NUMA");
            return;
        }
        if !rt.only_keg("Debian's are older than the property") {
            return;
        }
        for (policy, shown) in [
            (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
            (
                json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
                "interleave=static:0",
            ),
            (json!({"mode": "MPOL_DEFAULT"}), "default"),
        ] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["memoryPolicy"] = policy);
            bundle.args(&["/bin/cat", "/proc/self/numa_maps"]);
            let maps = rt.run(&bundle, "c").ok().stdout();
            assert!(!maps.is_empty());
            assert!(maps.lines().all(|line| line.split(' ').nth(1) == Some(shown)), "{shown}: {maps}");
        }
    });
}

#[test]
fn a_node_that_is_not_there_is_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's are older than the property") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "1000"}));
        rt.create(&bundle, "c").fails_with("linux.memoryPolicy");
        rt.assert_gone("c");
    });
}
