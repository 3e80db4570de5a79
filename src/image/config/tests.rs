//! What image configurations become, read back as the runtime will read it.

use super::{Changes, Runner, convert};
use crate::image::document::{ImageConfig, from_json};
use oci_spec::runtime::Spec;
use serde_json::Value;

fn converted(image: &str, runner: Runner) -> Result<Value, super::Error> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    std::fs::write(dir.path().join("etc/passwd"), "app:x:1000:1001\n").unwrap();
    std::fs::write(dir.path().join("etc/group"), "wheel:x:10:app\n").unwrap();
    let image: ImageConfig = from_json(image.as_bytes()).unwrap();
    let text =
        convert(&image, crate::sys::fd::open_dir(dir.path()).unwrap(), runner, None, &Changes::default())?;
    assert!(text.starts_with(b"{\n\t\"ociVersion\"") && text.ends_with(b"\n}\n"));
    // The types of the specification accept it as it stands.
    serde_json::from_slice::<Spec>(&text).unwrap();
    Ok(serde_json::from_slice(&text).unwrap())
}

#[test]
fn every_field_of_the_conversion_document() {
    let config = converted(
        r#"{"created":"2020-01-01T00:00:00Z","author":"a","architecture":"arm64","os":"linux","variant":"v8",
        "os.version":"1","os.features":["x","y"],
        "config":{"User":"app","ExposedPorts":{"80/tcp":{},"443":{}},"Env":["A=b","E="],
        "Entrypoint":["/e","1"],"Cmd":["c"],"Volumes":{"/var//lib/":{}},"WorkingDir":"/w",
        "Labels":{"l":"v","keg.cni.portMappings":"22:22","org.opencontainers.image.author":"label"},"StopSignal":"SIGQUIT"},
        "rootfs":{"type":"layers","diff_ids":[]}}"#,
        Runner::Root,
    )
    .unwrap();
    let process = &config["process"];
    assert_eq!(process["args"], serde_json::json!(["/e", "1", "c"]));
    assert_eq!(process["cwd"], "/w");
    assert_eq!(process["user"], serde_json::json!({"uid": 1000, "gid": 1001, "additionalGids": [10]}));
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(process["env"], serde_json::json!([path, "A=b", "E="]));
    assert_eq!(process["noNewPrivileges"], true);
    assert_eq!(process["capabilities"]["effective"].as_array().unwrap().len(), 14);
    let annotation = |key: &str| config["annotations"][key].as_str().unwrap().to_owned();
    for (key, value) in [
        ("os", "linux"),
        ("architecture", "arm64"),
        ("variant", "v8"),
        ("os.version", "1"),
        ("os.features", "x,y"),
        ("author", "label"),
        ("created", "2020-01-01T00:00:00Z"),
        ("stopSignal", "SIGQUIT"),
        ("exposedPorts", "443,80/tcp"),
    ] {
        assert_eq!(annotation(&format!("org.opencontainers.image.{key}")), value);
    }
    assert_eq!(annotation("l"), "v");
    assert_eq!(config["annotations"].get("keg.cni.portMappings"), None, "an image has no say in this");
    let volume = config["mounts"].as_array().unwrap().last().unwrap();
    assert_eq!((&volume["destination"], &volume["type"]), (&"/var/lib".into(), &"tmpfs".into()));
    let namespaces: Vec<_> =
        config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
    assert_eq!(namespaces, ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
}

#[test]
fn an_image_that_says_nothing_gets_defaults() {
    let config = converted(r#"{"rootfs":{"type":"layers"}}"#, Runner::Root).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["/bin/sh"]));
    assert_eq!(config["process"]["cwd"], "/");
    assert_eq!(config["root"], serde_json::json!({"path": "rootfs", "readonly": false}));
    assert_eq!(config.get("annotations"), None);
}

/// Word for word, so that no container loses or gains anything unnoticed; `integration/image/defaults.rs` compares with containerd's.
#[test]
fn what_every_container_gets() {
    let config = converted("{}", Runner::Root).unwrap();
    let names = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT \
                 KILL AUDIT_WRITE";
    let capabilities: Vec<_> = names.split(' ').map(|name| format!("CAP_{name}")).collect();
    let sets =
        serde_json::json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
    assert_eq!(config["process"]["capabilities"], sets);
    assert_eq!(config["process"]["noNewPrivileges"], true);
    assert_eq!(
        config["process"]["rlimits"],
        serde_json::json!([{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}])
    );
    let mounts: Vec<_> = config["mounts"].as_array().unwrap().iter().map(described).collect();
    assert_eq!(
        mounts,
        [
            "proc proc /proc nosuid,noexec,nodev",
            "tmpfs tmpfs /dev nosuid,strictatime,mode=755,size=65536k",
            "devpts devpts /dev/pts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
            "tmpfs shm /dev/shm nosuid,noexec,nodev,mode=1777,size=65536k",
            "mqueue mqueue /dev/mqueue nosuid,noexec,nodev",
            "sysfs sysfs /sys nosuid,noexec,nodev,ro",
            "cgroup cgroup /sys/fs/cgroup nosuid,noexec,nodev,relatime,ro",
        ]
    );
    let linux = &config["linux"];
    let masked = "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
                  /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap";
    let read_only = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger";
    for (field, paths) in [("maskedPaths", masked), ("readonlyPaths", read_only)] {
        assert_eq!(linux[field], serde_json::json!(paths.split(' ').collect::<Vec<_>>()));
    }
    assert_eq!(linux["resources"]["devices"], serde_json::json!([{"allow": false, "access": "rwm"}]));
}

/// TYPE SOURCE DESTINATION OPTIONS
fn described(mount: &Value) -> String {
    let text = |field: &str| mount[field].as_str().unwrap();
    let options: Vec<_> =
        mount["options"].as_array().unwrap().iter().map(|option| option.as_str().unwrap()).collect();
    format!("{} {} {} {}", text("type"), text("source"), text("destination"), options.join(","))
}

#[test]
fn a_volume_begins_with_what_the_image_has() {
    let image = r#"{"config":{"Volumes":{"/b":{},"a/./c/":{}}}}"#;
    for runner in [Runner::Root, Runner::Rootless { uid: 1000, gid: 100 }] {
        let config = converted(image, runner).unwrap();
        let mounts: Vec<_> = config["mounts"].as_array().unwrap().iter().map(described).collect();
        let volumes = &mounts[mounts.len() - 2..];
        assert_eq!(
            volumes,
            ["tmpfs tmpfs /b nosuid,nodev,tmpcopyup", "tmpfs tmpfs /a/c nosuid,nodev,tmpcopyup"]
        );
    }
}

#[test]
fn where_and_with_what_path_a_program_starts() {
    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (directory, cwd) in [("", "/"), ("/w", "/w"), ("srv/app", "/srv/app"), ("/", "/")] {
        let image = format!(r#"{{"config":{{"WorkingDir":"{directory}"}}}}"#);
        assert_eq!(converted(&image, Runner::Root).unwrap()["process"]["cwd"], cwd, "{directory:?}");
    }
    for (given, env) in [
        ("[]", vec![PATH]),
        (r#"["A=b"]"#, vec![PATH, "A=b"]),
        (r#"["A=b","PATH=/own"]"#, vec!["A=b", "PATH=/own"]),
        (r#"["PATH="]"#, vec!["PATH="]),
        (r#"["PATHS=/own"]"#, vec![PATH, "PATHS=/own"]),
    ] {
        let config = converted(&format!(r#"{{"config":{{"Env":{given}}}}}"#), Runner::Root).unwrap();
        assert_eq!(config["process"]["env"], serde_json::json!(env), "{given}");
    }
}

#[test]
fn who_is_not_root_gets_a_user_namespace() {
    let config = converted("{}", Runner::Rootless { uid: 1000, gid: 100 }).unwrap();
    let mapping = |host: u32| serde_json::json!([{"containerID": 0, "hostID": host, "size": 1}]);
    assert_eq!(config["linux"]["uidMappings"], mapping(1000));
    assert_eq!(config["linux"]["gidMappings"], mapping(100));
    assert!(!config["mounts"].to_string().contains("gid=5"));
}

#[test]
fn what_cannot_be_converted() {
    for (fields, why) in [
        (r#""User":"nobody""#, "no user \"nobody\""),
        (r#""Env":["A"]"#, "no NAME=value"),
        (r#""Env":["=x"]"#, "no NAME=value"),
        (r#""Env":["A=\u0000"]"#, "environment contains a zero byte"),
        (r#""Cmd":["a\u0000"]"#, "command contains a zero byte"),
        (r#""WorkingDir":"/\u0000""#, "working directory contains a zero byte"),
        (r#""Volumes":{"/../x":{}}"#, "no path in the image"),
        (r#""Volumes":{"/":{}}"#, "no path in the image"),
    ] {
        let error = converted(&format!("{{\"config\":{{{fields}}}}}"), Runner::Root).unwrap_err().to_string();
        assert!(error.contains(why), "{fields}: {error}");
    }
}
