//! keg as a handler beside runc, as a RuntimeClass of Kubernetes names it.

use harness::{Note, Seen, docs, same_as_runc};
use k8s_cri::v1;

use crate::plugin::{HANDLER, Plugin, class, container, text};

/// What stands behind `key:` in a manifest, wherever it stands.
fn field<'a>(manifest: &'a str, key: &str) -> &'a str {
    let value = |line: &'a str| line.trim().strip_prefix(key)?.strip_prefix(": ");
    manifest.lines().find_map(value).unwrap_or_else(|| panic!("no {key} in {manifest}"))
}

/// The pages say the same: the class leads to the handler, and the pod to the class.
#[test]
fn the_manifests_of_the_page_lead_to_the_handler() {
    let class = docs::block("kubernetes.md", "yaml", "kind: RuntimeClass");
    let pod = docs::block("kubernetes.md", "yaml", "kind: Pod");
    assert_eq!(field(&class, "apiVersion"), "node.k8s.io/v1");
    assert_eq!(field(&class, "handler"), HANDLER);
    assert_eq!(field(&pod, "runtimeClassName"), field(&class, "name"));
    assert!(docs::block("containerd.md", "toml", "runtimes.keg").contains(&format!("runtimes.{HANDLER}]")));
}

#[test]
fn a_handler_beside_runc() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        let mut pods = Vec::new();
        for handler in ["", HANDLER, "runc"] {
            let config = plugin.pod(&format!("with-{handler}"));
            let pod = plugin.run_pod(handler, &config).unwrap();
            let id = plugin.run(&pod, &config, container(&format!("c-{handler}"), "exec sleep 1000"));
            pods.push((pod, id));
        }
        for (pod, id) in &pods {
            let request = v1::PodSandboxStatusRequest { pod_sandbox_id: pod.clone(), verbose: true };
            let status = plugin.call(|mut c| async move { c.pod_sandbox_status(request).await }).unwrap();
            let info: harness::Value = serde_json::from_str(&status.info["info"]).unwrap();
            seen.text("its handler", &format!("{:?}", status.status.unwrap().runtime_handler));
            seen.text("its runtime's type", &info["runtimeType"].to_string());
            seen.text("it runs", &text(&plugin.exec(id, "echo here").stdout));
        }
        // Both keep their containers in one directory: each lists its own.
        let binary = rt.binary().display().to_string();
        let list = rt.program(&[&binary, "--root", "/run/containerd/runc/k8s.io", "list", "-q"]).run().ok();
        assert!(list.stdout().lines().any(|id| id == pods[1].1), "{}", list.describe());

        let error = plugin.run_pod("nobody", &plugin.pod("none")).unwrap_err();
        seen.text("no such handler", &class(&error));
        for (pod, _) in &pods {
            plugin.remove_pod(pod);
        }
        seen
    });
}
