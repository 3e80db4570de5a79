//! Pods: what their containers share, and their lives from start to removal.

use harness::host::shim_counts;
use harness::{Note, Seen, same_as_runc, wait_until};
use k8s_cri::v1;

use crate::plugin::{HANDLER, Plugin, SOON, class, container, text};

#[test]
fn two_containers_share_the_namespaces_of_their_pod() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        for pids in [v1::NamespaceMode::Pod, v1::NamespaceMode::Container] {
            let mut config = plugin.pod("web");
            pid_mode(config.linux.as_mut().unwrap().security_context.as_mut(), pids);
            let pod = plugin.run_pod(HANDLER, &config).unwrap();
            let with_mode = |mut container: v1::ContainerConfig| {
                let security = container.linux.as_mut().unwrap().security_context.as_mut().unwrap();
                security.namespace_options.as_mut().unwrap().pid = pids as i32;
                container
            };
            let serve = "echo hello > /tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp";
            let server = plugin.run(&pod, &config, with_mode(container("server", serve)));
            let client = plugin.run(&pod, &config, with_mode(container("client", "exec sleep 1000")));

            let get = || plugin.exec(&client, "busybox wget -qO- http://127.0.0.1:8080/");
            wait_until("the neighbour answers", SOON, || get().stdout == b"hello\n");
            seen.text("the neighbour", &text(&get().stdout));
            seen.text("the name of the pod", &text(&plugin.exec(&client, "hostname").stdout));
            let processes = "cat /proc/1/comm; cat /proc/[0-9]*/comm 2>/dev/null | grep -cx busybox";
            seen.text("its processes", &text(&plugin.exec(&client, processes).stdout));

            let namespaces = |id: &str| {
                let links = "for n in net ipc uts pid mnt cgroup; do readlink /proc/self/ns/$n; done";
                text(&plugin.exec(id, links).stdout).lines().map(str::to_owned).collect::<Vec<_>>()
            };
            let same: Vec<_> = namespaces(&server)
                .into_iter()
                .zip(namespaces(&client))
                .map(|(one, other)| one == other)
                .collect();
            assert_eq!(same[..3], [true; 3]);
            assert_eq!((same[3], same[4]), (pids == v1::NamespaceMode::Pod, false));
            seen.text("which namespaces are one", &format!("{same:?}"));

            let address = plugin.address(&pod);
            let url = format!("http://{address}:8080/index.html");
            let outside = rt.program(&["busybox", "wget", "-q", "-O", "-", &url]).run();
            seen.all("from outside", &outside);
            plugin.remove_pod(&pod);
        }
        assert_eq!(plugin.list(), [""; 0]);
        seen
    });
}

fn pid_mode(security: Option<&mut v1::LinuxSandboxSecurityContext>, mode: v1::NamespaceMode) {
    security.unwrap().namespace_options.as_mut().unwrap().pid = mode as i32;
}

#[test]
fn a_program_is_run_inside_and_its_status_comes_back() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        let config = plugin.pod("one");
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let id = plugin.run(&pod, &config, container("c", "exec sleep 1000"));
        let mut note = |what: &str, answer: v1::ExecSyncResponse| {
            seen.push((what.to_owned(), answer.exit_code, text(&answer.stdout) + &text(&answer.stderr)));
        };
        note("status and output", plugin.exec(&id, "echo out; echo err >&2; id -u; pwd; exit 5"));
        note("a signal", plugin.exec(&id, "kill -KILL $$"));
        note("much output", plugin.exec(&id, "busybox seq 20000 | md5sum; busybox seq 20000"));
        note("what it may do", plugin.exec(&id, "grep -E 'Cap|Seccomp:|NoNew' /proc/self/status"));
        for program in ["/no/such", "nothing", "/etc/passwd", "/etc"] {
            let error = plugin.exec_words(&id, &[program], 0).unwrap_err();
            seen.text(program, &class(&error));
        }
        let late = plugin.exec_words(&id, &["/bin/sleep", "1000"], 1).unwrap_err();
        seen.text("too late", &class(&late));
        plugin.stop(&id, 0).unwrap();
        let error = plugin.exec_words(&id, &["/bin/true"], 0).unwrap_err();
        seen.text("in a container that has ended", &class(&error));
        plugin.remove_pod(&pod);
        seen
    });
}

fn used(plugin: &Plugin, pod: &str, id: &str) {
    let request = v1::ContainerStatsRequest { container_id: id.to_owned() };
    let stats = plugin.call(|mut c| async move { c.container_stats(request).await }).unwrap();
    let stats = stats.stats.unwrap();
    let cpu = stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value;
    let memory = stats.memory.unwrap().working_set_bytes.unwrap().value;
    assert!(cpu > 0 && memory > 0 && memory < 64 << 20, "{cpu} {memory}");
    let request = v1::ListContainerStatsRequest { filter: None };
    let all = plugin.call(|mut c| async move { c.list_container_stats(request).await }).unwrap();
    assert_eq!(all.stats.len(), 1);
    let request = v1::PodSandboxStatsRequest { pod_sandbox_id: pod.to_owned() };
    let of_pod = plugin.call(|mut c| async move { c.pod_sandbox_stats(request).await }).unwrap();
    let linux = of_pod.stats.unwrap().linux.unwrap();
    assert_eq!(linux.containers.len(), 1);
    assert!(linux.memory.unwrap().working_set_bytes.unwrap().value > 0);
}

#[test]
fn what_is_used_is_measured_and_limits_can_be_changed() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        let config = plugin.pod("one");
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let limits = |memory: i64, quota: i64, shares: i64| v1::LinuxContainerResources {
            memory_limit_in_bytes: memory,
            cpu_quota: quota,
            cpu_period: 100_000,
            cpu_shares: shares,
            cpuset_cpus: "0".to_owned(),
            ..Default::default()
        };
        let mut busy = container("c", "x=$(busybox seq 100000); exec sleep 1000");
        busy.linux.as_mut().unwrap().resources = Some(limits(64 << 20, 50_000, 512));
        let id = plugin.run(&pod, &config, busy);
        let files = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus";
        seen.text("limits", &text(&plugin.exec(&id, files).stdout));

        if shim_counts() {
            used(&plugin, &pod, &id);
        }

        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(limits(96 << 20, 70_000, 256)),
            ..Default::default()
        };
        plugin.call(|mut c| async move { c.update_container_resources(request).await }).unwrap();
        seen.text("new limits", &text(&plugin.exec(&id, files).stdout));
        assert!(seen[1].2.starts_with("100663296\n70000\n256\n"), "{seen:?}");
        plugin.remove_pod(&pod);
        seen
    });
}

#[test]
fn how_containers_end() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        let config = plugin.pod("one");
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let rows = [
            ("well", "echo begun; echo out; echo err >&2", None),
            ("ill", "echo begun; exit 7", None),
            ("by a signal", "echo begun; kill -KILL $$", None),
            // It is asked as soon as it has begun.
            ("when asked", "trap 'exit 3' TERM; echo begun; while :; do sleep 0.05; done", Some(20)),
            ("when made to", "trap '' TERM; echo begun; while :; do sleep 0.05; done", Some(1)),
        ];
        for (name, script, patience) in rows {
            let name = name.replace(' ', "-");
            let id = plugin.run(&pod, &config, container(&name, script));
            wait_until("it has begun", SOON, || !plugin.log(&format!("{name}.log")).is_empty());
            if let Some(seconds) = patience {
                plugin.stop(&id, seconds).unwrap();
            }
            let (code, reason) = plugin.wait(&id);
            let mut log = plugin.log(&format!("{name}.log"));
            log.sort();
            seen.push((name, code, format!("{reason} {log:?}")));
            plugin.remove(&id).unwrap();
        }
        let mut hungry = container("hungry", "tail /dev/zero");
        let memory = v1::LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..Default::default() };
        hungry.linux.as_mut().unwrap().resources = Some(memory);
        let id = plugin.run(&pod, &config, hungry);
        let (code, _) = plugin.wait(&id);
        // The event travels beside that of the end.
        wait_until("the reason is known", SOON, || plugin.status(&id).reason == "OOMKilled");
        assert_eq!(code, 137);

        for (program, directory) in [
            ("/no/such", ""),
            ("nothing", ""),
            ("/etc/passwd", ""),
            ("/etc", ""),
            ("/bin/true", "/etc/passwd"),
        ] {
            let mut config_of = container("c", "");
            config_of.command = vec![program.to_owned()];
            config_of.working_dir = directory.to_owned();
            let id = plugin.create(&pod, &config, config_of).unwrap();
            let error = plugin.start_container(&id).unwrap_err();
            seen.text(&format!("{program} {directory}"), &class(&error));
            let status = plugin.status(&id);
            seen.push((program.to_owned(), status.exit_code, status.reason));
            plugin.remove(&id).unwrap();
        }
        let id = plugin.run(&pod, &config, container("c", "exec sleep 1000"));
        seen.text("removal while it runs", &format!("{:?}", plugin.remove(&id).map_err(|e| class(&e))));
        seen.text("removal once more", &format!("{:?}", plugin.remove(&id).map_err(|e| class(&e))));
        let id = plugin.run(&pod, &config, container("d", "exec sleep 1000"));
        plugin.stop_pod(&pod);
        seen.push(("with its pod".to_owned(), plugin.wait(&id).0, String::new()));
        plugin.remove_pod(&pod);
        assert_eq!(plugin.list(), [""; 0]);
        seen
    });
}

#[test]
fn pods_outlive_containerd() {
    same_as_runc(|rt| {
        let mut plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        let config = plugin.pod("one");
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let stays = plugin.run(&pod, &config, container("stays", "exec sleep 1000"));
        let ends = plugin.run(
            &pod,
            &config,
            container("ends", "until [ -e /tmp/end ]; do sleep 0.05; done; exit 9"),
        );
        let pid = plugin.pid(&ends);
        plugin.down();
        std::fs::write(format!("/proc/{pid}/root/tmp/end"), "").unwrap();
        wait_until("it has ended", SOON, || !harness::alive(pid));
        plugin.up();
        seen.push(("while nobody looked".to_owned(), plugin.wait(&ends).0, String::new()));
        seen.text("the other", &text(&plugin.exec(&stays, "echo still here").stdout));
        let later = plugin.run(&pod, &config, container("later", "exit 4"));
        seen.push(("a further one".to_owned(), plugin.wait(&later).0, String::new()));
        plugin.remove_pod(&pod);
        seen
    });
}
