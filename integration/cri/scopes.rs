//! Pods whose cgroups systemd makes, as on most nodes: in the virtual machine, with keg alone unless all is asked for.

use harness::caller::{cgroup_of, with_scopes};
use harness::{Note, wait_until};
use k8s_cri::v1;

use crate::plugin::{HANDLER, Plugin, SOON, container, text};

fn limits(memory: i64, quota: i64) -> v1::LinuxContainerResources {
    v1::LinuxContainerResources {
        memory_limit_in_bytes: memory,
        cpu_quota: quota,
        cpu_period: 100_000,
        ..Default::default()
    }
}

#[test]
fn a_pod_in_scopes() {
    let expected = [
        ("limits", 0, "67108864\n50000 100000\n"),
        ("new limits", 0, "100663296\n70000 100000\n"),
        ("exec", 5, "out\n"),
        ("when asked", 3, "Error"),
        ("out of memory", 137, "OOMKilled"),
    ];
    with_scopes("cri-containerd-*", &expected, |rt, seen| {
        let plugin = Plugin::start(rt);
        let config = plugin.pod("one");
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let script = "trap 'exit 3' TERM; cat /proc/self/cgroup; while :; do sleep 0.05; done";
        let mut limited = container("c", script);
        limited.linux.as_mut().unwrap().resources = Some(limits(64 << 20, 50_000));
        let id = plugin.run(&pod, &config, limited);
        // The sandbox has a scope of its own.
        for name in [&id, &pod] {
            let cgroup = cgroup_of(plugin.pid(name));
            assert_eq!(cgroup, format!("/system.slice/cri-containerd-{name}.scope"));
        }
        let files = "cd /sys/fs/cgroup; cat memory.max cpu.max";
        seen.text("limits", &text(&plugin.exec(&id, files).stdout));
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(limits(96 << 20, 70_000)),
            ..Default::default()
        };
        plugin.call(|mut c| async move { c.update_container_resources(request).await }).unwrap();
        seen.text("new limits", &text(&plugin.exec(&id, files).stdout));
        let answer = plugin.exec(&id, "echo out; exit 5");
        seen.push(("exec".to_owned(), answer.exit_code, text(&answer.stdout)));
        let request = v1::ContainerStatsRequest { container_id: id.clone() };
        let stats = plugin.call(|mut c| async move { c.container_stats(request).await }).unwrap();
        let memory = stats.stats.unwrap().memory.unwrap().working_set_bytes.unwrap().value;
        assert!(memory > 0 && memory < 96 << 20, "{memory}");
        plugin.stop(&id, 60).unwrap();
        let (code, reason) = plugin.wait(&id);
        seen.push(("when asked".to_owned(), code, reason));

        let mut hungry = container("hungry", "tail /dev/zero");
        hungry.linux.as_mut().unwrap().resources = Some(limits(16 << 20, 0));
        let id = plugin.run(&pod, &config, hungry);
        let (code, _) = plugin.wait(&id);
        wait_until("the reason is known", SOON, || plugin.status(&id).reason == "OOMKilled");
        seen.push(("out of memory".to_owned(), code, plugin.status(&id).reason));
        plugin.remove_pod(&pod);
        assert_eq!(plugin.list(), [""; 0]);
    });
}
