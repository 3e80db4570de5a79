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
