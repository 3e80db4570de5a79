//! What can be wrong with a network: one line names plugin and cause, and neither the container nor anything of the network is left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Runtime, json, with_runtime};

use super::Net;

/// `run` fails with this text on one line, and leaves nothing.
#[track_caller]
fn fails(rt: &Runtime, net: &Net<'_>, config: &Path, more: &[&str], text: &str) {
    let before = net.look();
    let bundle = net.bundle(config, more);
    bundle.shell("echo > /ran").edit(|c| c["root"]["readonly"] = json!(false));
    let done = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).limit(Duration::from_secs(60)).run();
    assert!(!done.status.success(), "{}", done.describe());
    let message = done.stderr();
    assert!(
        message.contains("keg-hook-cni: ") || !rt.only_keg("others do not pass on what a hook said"),
        "{message}"
    );
    if rt.kind() != harness::peers::Kind::Crun {
        assert!(message.contains(text), "no {text:?} in: {message}");
        assert_eq!(message.trim().lines().count(), 1, "{message}");
    }
    rt.delete_force("c");
    rt.assert_gone("c");
    assert!(!bundle.rootfs().join("ran").exists(), "the process ran");
    let now = net.look();
    assert!(now.is_unused(), "{now:#?}");
    assert_eq!((&now.leases, &now.containers), (&before.leases, &before.containers));
}

#[test]
fn a_broken_list() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let path = net.dir.join("broken.conflist");
        fs::write(&path, "{\"cniVersion\": \"1.0.0\",\n \"name\": \"broken\" \"plugins\": []}").unwrap();
        fails(rt, &net, &path, &[], "broken.conflist: expected `,` or `}` at line 2 column");
        let empty = net.list("empty", json!([]));
        fails(rt, &net, &empty, &[], "empty.conflist: plugins is no list with a plugin in it");
        let future = net.file(
            "future",
            &json!({"cniVersion": "7.0.0", "name": "future", "plugins": [{"type": "bridge"}]}),
        );
        fails(rt, &net, &future, &[], "future.conflist: cniVersion");
        fails(rt, &net, &net.dir.join("none.conflist"), &[], "no such file or directory");
    });
}

#[test]
fn a_missing_plugin() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        // It comes last: those before it are not run either.
        let config = net.list("lacking", json!([net.bridge(88, 10, 250), {"type": "no-such-plugin"}]));
        fails(rt, &net, &config, &[], "not found in /usr/lib/cni:");
        assert!(!net.links().iter().any(|link| link.starts_with("keg88")), "{:?}", net.links());
        // One that another plugin runs.
        let mut bridge = net.bridge(88, 10, 250);
        bridge["ipam"]["type"] = json!("no-such-plugin");
        fails(rt, &net, &net.list("lacking-too", json!([bridge])), &[], "no-such-plugin");
    });
}

#[test]
fn an_exhausted_range() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = net.list("small", json!([net.bridge(88, 10, 11), {"type": "firewall"}]));
        for id in ["one", "two"] {
            rt.create(&net.bundle(&config, &[]), id).ok();
        }
        let before = net.look();
        let done = rt.create(&net.bundle(&config, &[]), "three");
        assert!(!done.status.success());
        if rt.kind() != harness::peers::Kind::Crun {
            let message = done.stderr();
            assert!(
                message.contains("bridge") && message.contains("no IP addresses available in range set"),
                "{message}"
            );
            assert_eq!(message.trim().lines().count(), 1, "{message}");
        }
        rt.delete_force("three");
        net.assert_same(&before, "after the third");
        // One that goes makes room.
        rt.delete_force("one");
        rt.create(&net.bundle(&config, &[]), "three").ok();
        for id in ["two", "three"] {
            rt.delete_force(id);
        }
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

#[test]
fn a_plugin_that_hangs() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        // With a child, and with one that has left the group of processes.
        let script =
            "[ $CNI_COMMAND = ADD ] || exit 0; sleep 1000 & setsid sleep 1001 & echo $! >> $log; wait";
        net.plugin("stuck", script);
        let config =
            net.list("stuck", json!([net.bridge(88, 10, 250), {"type": "stuck"}, {"type": "firewall"}]));
        let start = Instant::now();
        fails(rt, &net, &config, &["--timeout", "2"], "killed after 2 s without an answer");
        assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
        let left: Vec<_> = net.log().into_iter().filter(|pid| harness::alive(pid.parse().unwrap())).collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!net.log().is_empty());
    });
}

#[test]
fn a_plugin_that_says_no_is_quoted_on_one_line() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let answer = r#"{"cniVersion": "1.0.0", "code": 101, "msg": "no\nway", "details": "it is\tlate"}"#;
        net.plugin("never", &format!("[ $CNI_COMMAND = ADD ] || exit 0\nprintf '%s' '{answer}'; exit 1"));
        let config = net.list("never", json!([net.bridge(88, 10, 250), {"type": "never"}]));
        fails(rt, &net, &config, &[], "no way; it is late (code 101)");
    });
}

#[test]
fn a_container_in_the_hosts_network_is_refused() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = net.usual("usual");
        let bundle = net.bundle(&config, &[]);
        bundle.without_namespace("network");
        bundle.edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["destination"] != "/sys" && mount["destination"] != "/sys/fs/cgroup");
        });
        let done = rt.create(&bundle, "c");
        assert!(!done.status.success(), "{}", done.describe());
        if rt.kind() != harness::peers::Kind::Crun {
            assert!(done.stderr().contains("no network namespace of its own"), "{}", done.describe());
        }
        rt.delete_force("c");
        assert_eq!(net.links().len(), 1, "{:?}", net.links());
    });
}
