//! `linux.netDevices`: devices of the host in the container, with their names, addresses and MTU, and back where creating fails.
//! Each test is its own host: a network namespace that it makes first.

use nix::sched::{CloneFlags, unshare};

use harness::{Bundle, Runtime, Value, json, with_runtime};

/// A network namespace of the test's own, with one end of a pair of devices named `dev0` in it, or a line that says why not.
fn is_host(rt: &Runtime) -> bool {
    if !rt.only_keg("Debian's are older than the property") {
        return false;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    if rt.program(&["ip", "link", "add", "dev0", "type", "veth", "peer", "name", "peer0"]).run().code() != 0 {
        eprintln!("skipped: this kernel has no veth devices");
        return false;
    }
    ip(rt, "link set dev0 mtu 1400 address 02:00:00:00:00:07");
    ip(rt, "addr add 192.0.2.7/24 broadcast 192.0.2.255 dev dev0");
    ip(rt, "addr add 192.0.2.8/24 dev dev0 noprefixroute");
    ip(rt, "addr add 2001:db8::7/64 dev dev0 nodad");
    ip(rt, "addr add 192.0.2.9/24 dev dev0 valid_lft 1000 preferred_lft 1000");
    ip(rt, "addr add 198.51.100.9/24 dev dev0 scope link");
    ip(rt, "link set dev0 up");
    ip(rt, "link set peer0 up");
    true
}

/// `ip` in the test's network namespace: its output.
#[track_caller]
fn ip(rt: &Runtime, words: &str) -> String {
    let words: Vec<&str> = std::iter::once("ip").chain(words.split(' ')).collect();
    rt.program(&words).run().ok().stdout()
}

fn device(rt: &Runtime, name: &str) -> Value {
    let all: Value = serde_json::from_str(&ip(rt, "-j addr")).unwrap();
    all.as_array().unwrap().iter().find(|device| device["ifname"] == name).cloned().unwrap_or(Value::Null)
}

/// Addresses of a device as `ip` prints them, sorted, without those that the kernel makes by itself.
fn addresses(device: &Value) -> Vec<String> {
    let all = device["addr_info"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| !entry["local"].as_str().unwrap().starts_with("fe80:"));
    let mut text: Vec<String> = all
        .map(|entry| {
            let route = if entry["noprefixroute"] == true { " noprefixroute" } else { "" };
            format!("{}/{}{route}", entry["local"].as_str().unwrap(), entry["prefixlen"])
        })
        .collect();
    text.sort();
    text
}

/// A bundle that runs for a while; what its network namespace has is read from outside.
fn with_devices(rt: &Runtime, devices: Value) -> Bundle {
    let bundle = rt.bundle();
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.edit(|c| c["linux"]["netDevices"] = devices);
    bundle
}

fn inside(rt: &Runtime, id: &str) -> Vec<Value> {
    let namespace = format!("--net=/proc/{}/ns/net", rt.pid(id));
    let words = ["nsenter", namespace.as_str(), "ip", "-j", "addr"];
    let all: Value = serde_json::from_str(&rt.program(&words).run().ok().stdout()).unwrap();
    all.as_array().unwrap().clone()
}

const LASTING: [&str; 3] = ["192.0.2.7/24", "192.0.2.8/24 noprefixroute", "2001:db8::7/64"];

#[test]
fn a_device_is_moved_with_its_name_addresses_and_mtu() {
    with_runtime(|rt| {
        if !is_host(rt) {
            return;
        }
        rt.create(&with_devices(rt, json!({"dev0": {}})), "c").ok();
        let found = inside(rt, "c");
        let dev = found.iter().find(|device| device["ifname"] == "dev0").unwrap();
        assert_eq!((&dev["mtu"], &dev["address"]), (&json!(1400), &json!("02:00:00:00:00:07")));
        assert_eq!(addresses(dev), LASTING);
        assert!(dev["flags"].as_array().unwrap().contains(&json!("UP")), "{dev}");
        let first = dev["addr_info"].as_array().unwrap().iter().find(|entry| entry["local"] == "192.0.2.7");
        assert_eq!(first.unwrap()["broadcast"], "192.0.2.255");
        let unsure = |entry: &&Value| entry["scope"] == "global" && entry["tentative"] == true;
        assert_eq!(dev["addr_info"].as_array().unwrap().iter().find(unsure), None, "it can be used at once");
        assert_eq!(device(rt, "dev0"), Value::Null, "it is the host's no more");
        assert_ne!(device(rt, "peer0"), Value::Null);
        rt.delete_force("c");
    });
}

#[test]
fn a_device_gets_another_name() {
    with_runtime(|rt| {
        if !is_host(rt) {
            return;
        }
        for (wanted, expected) in [("eth0", "eth0"), ("net%d", "net0")] {
            rt.create(&with_devices(rt, json!({"dev0": {"name": wanted}, "peer0": {}})), "c").ok();
            let found = inside(rt, "c");
            let names: Vec<&str> = found.iter().map(|device| device["ifname"].as_str().unwrap()).collect();
            assert_eq!(names.len(), 3, "{names:?}");
            assert!(["lo", "peer0", expected].iter().all(|name| names.contains(name)), "{names:?}");
            rt.delete_force("c");
            ip(rt, "link add dev0 type veth peer name peer0");
        }
    });
}

#[test]
fn names_may_be_exchanged() {
    with_runtime(|rt| {
        if !is_host(rt) {
            return;
        }
        let devices = json!({"dev0": {"name": "peer0"}, "peer0": {"name": "dev0"}});
        rt.create(&with_devices(rt, devices), "c").ok();
        let found = inside(rt, "c");
        let peer = found.iter().find(|device| device["ifname"] == "peer0").unwrap();
        assert_eq!((&peer["mtu"], addresses(peer)), (&json!(1400), LASTING.map(str::to_owned).to_vec()));
        rt.delete_force("c");
    });
}

/// Creating fails with this, and the device is the host's as it was, but for what was not to last.
#[track_caller]
fn assert_back(rt: &Runtime, bundle: &Bundle, message: &str) {
    rt.create(bundle, "c").fails_with(message);
    rt.assert_gone("c");
    let dev = device(rt, "dev0");
    assert_eq!((&dev["mtu"], &dev["address"]), (&json!(1400), &json!("02:00:00:00:00:07")), "{dev}");
    for address in LASTING {
        assert!(addresses(&dev).contains(&address.to_owned()), "{address}: {dev}");
    }
    assert!(dev["flags"].as_array().unwrap().contains(&json!("UP")), "{dev}");
}

#[test]
fn a_device_goes_back_where_creating_fails() {
    with_runtime(|rt| {
        if !is_host(rt) {
            return;
        }
        let bundle = with_devices(rt, json!({"dev0": {"name": "eth0"}}));
        bundle.args(&["/no/such/program"]);
        assert_back(rt, &bundle, "/no/such/program");
        let missing = with_devices(rt, json!({"dev0": {"name": "eth0"}, "nothing0": {}}));
        assert_back(rt, &missing, "linux.netDevices.nothing0: no such device");
        let hook = with_devices(rt, json!({"dev0": {}}));
        hook.edit(|c| c["hooks"]["createContainer"] = json!([{"path": "/bin/false"}]));
        assert_back(rt, &hook, "createContainer");
    });
}

/// A network namespace that is there already, with a device `taken0`: its path is good as long as the holder runs.
#[test]
fn a_name_that_the_container_has_already_is_refused() {
    with_runtime(|rt| {
        if !is_host(rt) {
            return;
        }
        let holder = rt.program(&["unshare", "--net", "sh", "-c", "echo ready; exec sleep 1000"]).spawn();
        harness::wait_until("the holder runs", std::time::Duration::from_secs(5), || {
            holder.stdout() == "ready\n"
        });
        let path = format!("/proc/{}/ns/net", holder.pid());
        let enter = format!("--net={path}");
        let words =
            ["nsenter", &enter, "ip", "link", "add", "taken0", "type", "veth", "peer", "name", "dev0"];
        rt.program(&words).run().ok();
        for (devices, name) in
            [(json!({"dev0": {"name": "taken0"}}), "taken0"), (json!({"dev0": {}}), "dev0")]
        {
            let bundle = with_devices(rt, devices);
            bundle.namespace(&json!({"type": "network", "path": path}));
            assert_back(
                rt,
                &bundle,
                &format!("linux.netDevices.dev0: the container has another device named \"{name}\""),
            );
        }
        let bundle = with_devices(rt, json!({"dev0": {"name": "eth%d"}}));
        bundle.namespace(&json!({"type": "network", "path": path}));
        rt.create(&bundle, "c").ok();
        let dev = inside(rt, "c").into_iter().find(|device| device["ifname"] == "eth0").unwrap();
        assert_eq!(addresses(&dev), LASTING);
        rt.delete_force("c");
    });
}

#[test]
fn a_device_is_moved_into_a_user_namespace() {
    with_runtime(|rt| {
        if !is_host(rt) {
            return;
        }
        let bundle = with_devices(rt, json!({"dev0": {"name": "eth0"}}));
        std::fs::set_permissions(rt.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle.namespace(&json!({"type": "user"}));
        bundle.edit(|c| {
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
        });
        let words = ["chown", "-R", "-h", "100000:100000", &bundle.rootfs().display().to_string()];
        rt.program(&words).run().ok();
        rt.create(&bundle, "c").ok();
        let dev = inside(rt, "c").into_iter().find(|device| device["ifname"] == "eth0").unwrap();
        assert_eq!(addresses(&dev), LASTING);
        rt.delete_force("c");
    });
}
