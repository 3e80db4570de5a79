//! CRI-O, which Debian 12 has not: the programs named by CRIO and PINNS, by the lines of the page.

use std::time::Duration;

use harness::runtime::{find, target};
use harness::{Note, Runtime, Seen, docs, same_as_runc};
use k8s_cri::v1;

use crate::plugin::{HANDLER, Plugin, class, container, text};

#[test]
fn a_pod_by_cri_o() {
    let (Ok(crio), Ok(pinns)) = (std::env::var("CRIO"), std::env::var("PINNS")) else {
        return eprintln!("skipped: CRIO and PINNS do not name the programs");
    };
    same_as_runc(|rt| {
        store(rt);
        let plugin = Plugin::start_with(rt, &crio, &configuration(rt, &pinns));
        let mut seen = Seen::new();
        let config = plugin.pod("one");
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let script = "trap 'echo asked; exit 3' TERM; id; hostname; while :; do sleep 0.05; done";
        let mut limited = container("c", script);
        limited.linux.as_mut().unwrap().resources = Some(limits(64 << 20));
        let id = plugin.run(&pod, &config, limited);
        let mut note = |what: &str, answer: v1::ExecSyncResponse| {
            seen.push((what.to_owned(), answer.exit_code, text(&answer.stdout) + &text(&answer.stderr)));
        };
        note("status and output", plugin.exec(&id, "echo out; echo err >&2; pwd; exit 5"));
        note("a signal", plugin.exec(&id, "kill -KILL $$"));
        note("what it may do", plugin.exec(&id, "grep -E 'Cap|Seccomp:|NoNew' /proc/self/status"));
        let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
        note("the limit", plugin.exec(&id, limit));
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(limits(96 << 20)),
            ..Default::default()
        };
        plugin.call(|mut c| async move { c.update_container_resources(request).await }).unwrap();
        let new = plugin.exec(&id, limit);
        assert!(text(&new.stdout).starts_with("100663296\n"), "{}", text(&new.stdout));
        note("the new limit", new);
        for program in ["/no/such", "nothing"] {
            // What a runtime says beside the status is its own.
            let outcome = match plugin.exec_words(&id, &[program], 0) {
                Ok(answer) => format!("{} {:?}", answer.exit_code, text(&answer.stdout)),
                Err(error) => class(&error),
            };
            seen.text(program, &outcome);
        }
        plugin.stop(&id, 60).unwrap();
        let (code, reason) = plugin.wait(&id);
        seen.push(("when asked".to_owned(), code, reason));
        seen.text("its log", &format!("{:?}", plugin.log("c.log")));
        let missing = v1::ContainerConfig { command: vec!["/no/such".to_owned()], ..container("d", "") };
        let failed = plugin.create(&pod, &config, missing).and_then(|id| plugin.start_container(&id));
        seen.text("a program that is not there", &class(&failed.unwrap_err()));
        plugin.remove_pod(&pod);
        assert_eq!(plugin.list(), [""; 0]);
        seen
    });
}

fn limits(memory: i64) -> v1::LinuxContainerResources {
    v1::LinuxContainerResources { memory_limit_in_bytes: memory, ..Default::default() }
}

/// The images, in the storage that CRI-O will find.
fn store(rt: &Runtime) {
    let dir = rt.dir().display();
    for name in ["small", "pause"] {
        let from = format!("oci:{}:latest", target().join("images").join(name).display());
        let to = format!("containers-storage:[overlay@{dir}/root+{dir}/runroot]keg.test/{name}:latest");
        let words = ["skopeo", "copy", "-q", "--insecure-policy", &from, &to];
        rt.program(&words).limit(Duration::from_secs(60)).run().ok();
    }
    std::fs::write(rt.dir().join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
        .unwrap();
}

fn configuration(rt: &Runtime, pinns: &str) -> String {
    let dir = rt.dir().display();
    let page = docs::block("cri-o.md", "toml", "runtimes.keg");
    assert!(page.contains(docs::INSTALLED) && page.contains("\"/run/keg\""), "{page}");
    let handler = page.replace(docs::INSTALLED, &rt.binary().display().to_string());
    let handler = handler.replace("/run/keg", &format!("{dir}/states"));
    let runc = find("runc");
    format!(
        r#"[crio]
root = "{dir}/root"
runroot = "{dir}/runroot"
storage_driver = "overlay"
log_dir = "{dir}/crio-logs"
version_file = "{dir}/version"
version_file_persist = "{dir}/version-persist"
clean_shutdown_file = "{dir}/clean"
[crio.api]
listen = "{dir}/sock"
stream_address = "127.0.0.1"
stream_port = "0"
[crio.image]
pause_image = "keg.test/pause:latest"
signature_policy = "{dir}/policy.json"
signature_policy_dir = "{dir}/policies"
namespaced_auth_dir = "{dir}/auth"
[crio.network]
network_dir = "{dir}/cni"
plugin_dirs = ["/usr/lib/cni"]
[crio.nri]
enable_nri = false
[crio.runtime]
default_runtime = "runc"
cgroup_manager = "cgroupfs"
pinns_path = "{pinns}"
namespaces_dir = "{dir}/ns"
container_exits_dir = "{dir}/exits"
container_attach_socket_dir = "{dir}/attach"
[crio.runtime.runtimes.runc]
runtime_path = "{}"
runtime_type = "oci"
runtime_root = "{dir}/runc"
{handler}"#,
        runc.display()
    )
}
