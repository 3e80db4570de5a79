//! `check` and `features`: what they say, and that it is true.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::tempdir;

fn keg(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keg")).args(words).output().unwrap()
}

/// A bundle with this config.json, on top of a small one that is right.
fn bundle(dir: &Path, change: impl FnOnce(&mut Value)) {
    std::fs::create_dir_all(dir.join("rootfs")).unwrap();
    let mut config = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network"}]},
    });
    change(&mut config);
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

fn check(dir: &Path, words: &[&str]) -> (i32, String) {
    let words = [&["--cgroup-manager", "disabled", "check"], words, &[dir.to_str().unwrap()]].concat();
    let output = keg(&words);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn check_has_nothing_to_say_about_a_good_bundle() {
    let dir = tempdir().unwrap();
    bundle(dir.path(), |_| {});
    let warnings_only = |found: &str| found.lines().all(|line| line.starts_with("warning: "));
    let (status, text) = check(dir.path(), &[]);
    assert_eq!(status, 0, "{text}");
    assert!(text == "config.json: nothing found\n" || warnings_only(&text), "{text}");
}

#[test]
fn check_finds_all_errors_at_once_each_with_its_place() {
    let dir = tempdir().unwrap();
    bundle(dir.path(), |config| {
        config["ociVersion"] = json!("2.0.0");
        config["hostname"] = json!("name");
        config["process"]["cwd"] = json!("relative");
    });
    let (status, text) = check(dir.path(), &[]);
    assert_eq!(status, 1);
    for start in ["error: ociVersion: ", "error: hostname: ", "error: process.cwd: "] {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start}: {text}");
    }
    let (status, text) = check(dir.path(), &["--json"]);
    assert_eq!(status, 1);
    let found: Vec<Value> = serde_json::from_str(&text).unwrap();
    let hostname = found.iter().find(|finding| finding["path"] == "hostname").unwrap();
    assert_eq!(hostname["severity"], "error");
    assert!(hostname["what"].as_str().unwrap().contains("uts namespace"));
    assert!(hostname["advice"].as_str().unwrap().contains("linux.namespaces"));
}

#[test]
fn check_asks_the_host_too() {
    let dir = tempdir().unwrap();
    bundle(dir.path(), |config| {
        config["root"]["path"] = json!("missing");
        config["mounts"] = json!([{"destination": "/a", "source": "/no/such", "options": ["bind"]}]);
        config["linux"]["namespaces"][2]["path"] = json!("/no/such/namespace");
    });
    let (status, text) = check(dir.path(), &[]);
    assert_eq!(status, 1);
    for start in ["error: root.path: ", "error: mounts[0].source: ", "error: linux.namespaces: network "] {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start}: {text}");
    }
}

#[test]
fn check_says_the_words_of_create() {
    let dir = tempdir().unwrap();
    bundle(dir.path(), |config| config["process"]["args"] = json!([]));
    let (_, text) = check(dir.path(), &[]);
    let root = dir.path().join("state").display().to_string();
    let bundle = dir.path().to_str().unwrap();
    let output = keg(&["--root", &root, "--cgroup-manager", "disabled", "create", "-b", bundle, "c"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let (_, words) = stderr.trim_end().split_once("config.json: ").unwrap();
    assert!(text.contains(words), "{text:?} has not {words:?}");

    bundle_without_root(dir.path());
    let (_, text) = check(dir.path(), &[]);
    let output = keg(&["--root", &root, "--cgroup-manager", "disabled", "create", "-b", bundle, "c"]);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(words.trim_end()), "{text:?} has not {words:?}");
}

/// A bundle whose root directory is not there.
fn bundle_without_root(dir: &Path) {
    bundle(dir, |config| config["root"]["path"] = json!("missing"));
}

fn features() -> Value {
    let output = keg(&["features"]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn features_say_what_callers_look_for() {
    let features = features();
    let has = |list: &Value, name: &str| list.as_array().unwrap().iter().any(|entry| entry == name);
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert!(has(&features["mountOptions"], "rro"));
    assert_eq!(features["linux"]["namespaces"].as_array().unwrap().len(), 8);
    assert!(has(&features["linux"]["namespaces"], "user"));
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert!(has(&features["linux"]["capabilities"], "CAP_CHECKPOINT_RESTORE"));
    let seccomp = &features["linux"]["seccomp"];
    let known = seccomp["knownFlags"].as_array().unwrap();
    assert!(seccomp["supportedFlags"].as_array().unwrap().iter().all(|flag| known.contains(flag)));
}

/// What `features` denies, a container is refused for; what it claims, it is not.
#[test]
fn what_features_claim_is_accepted_and_nothing_else() {
    let features = features();
    let linux = &features["linux"];
    let dir = tempdir().unwrap();
    let notify = linux["seccomp"]["actions"].as_array().unwrap().contains(&json!("SCMP_ACT_NOTIFY"));
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent",
                         "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_NOTIFY"}]});
    for (member, value, claimed) in [
        ("netDevices", json!({}), linux["netDevices"]["enabled"] == true),
        ("memoryPolicy", json!({"mode": "MPOL_LOCAL"}), linux["memoryPolicy"]["modes"].is_array()),
        ("seccomp", profile, notify),
    ] {
        bundle(dir.path(), |config| config["linux"][member] = value);
        let (status, text) = check(dir.path(), &[]);
        assert_eq!(status == 0, claimed, "{member}: {text}");
    }
    let maps = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    bundle(dir.path(), |config| {
        config["mounts"] = json!([{"destination": "/a", "source": "/", "options": ["bind"],
                                   "uidMappings": maps, "gidMappings": maps}]);
    });
    assert_eq!(check(dir.path(), &[]).0 == 0, linux["mountExtensions"]["idmap"]["enabled"] == true);
}

/// Whether it can be had is the kernel's to say, and is said at once.
#[test]
fn a_resctrl_group_is_looked_for() {
    let dir = tempdir().unwrap();
    bundle(dir.path(), |config| config["linux"]["intelRdt"] = json!({"closID": "of-nobody"}));
    assert_eq!(features()["linux"]["intelRdt"]["enabled"], true);
    let (status, text) = check(dir.path(), &[]);
    let causes = ["no resctrl", "resctrl is not mounted", "there is no group \"of-nobody\""];
    assert!(status == 1 && causes.iter().any(|cause| text.contains(cause)), "{text}");
    assert!(text.starts_with("error: linux.intelRdt"), "{text}");
}

#[test]
fn check_knows_which_network_devices_there_are() {
    let dir = tempdir().unwrap();
    bundle(dir.path(), |config| config["linux"]["netDevices"] = json!({"no-such0": {}}));
    let (status, text) = check(dir.path(), &[]);
    let start = "error: linux.netDevices.no-such0: no such device (name a device that";
    assert!(status == 1 && text.starts_with(start), "{text}");
    let all = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let Some(name) = all.map(|entry| entry.file_name().into_string().unwrap()).find(|name| name != "lo")
    else {
        eprintln!("skipped: this host has no network device");
        return;
    };
    bundle(dir.path(), |config| config["linux"]["netDevices"] = json!({name: {}}));
    assert_eq!(check(dir.path(), &[]).0, 0);
}

/// The schemas of the runtime specification, where they are.
fn schemas() -> PathBuf {
    match std::env::var_os("RUNTIME_SPEC_SCHEMAS") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/runtime-spec"),
    }
}

#[test]
fn features_validate_against_the_schema() {
    let file = schemas().join("features-schema.json");
    if !file.exists() {
        eprintln!("skipped: {} is not there; RUNTIME_SPEC_SCHEMAS names the directory", file.display());
        return;
    }
    let schema = read(&file);
    validate(&features(), &schema, &schema, "features");
    let wrong = std::panic::catch_unwind(|| validate(&json!({"hooks": [1]}), &schema, &schema, "wrong"));
    assert!(wrong.is_err(), "the schema refuses something");
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The part of JSON Schema that these schemas use; a word that is not known here is an error.
fn validate(value: &Value, schema: &Value, document: &Value, at: &str) {
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$ref" => {
                let (file, pointer) = rule.as_str().unwrap().split_once('#').unwrap();
                let other = if file.is_empty() { document.clone() } else { read(&schemas().join(file)) };
                validate(value, other.pointer(pointer).unwrap(), &other, at);
            }
            "type" => {
                let fits = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    other => panic!("{at}: the type {other} is new"),
                };
                assert!(fits, "{at}: {value} is no {rule}");
            }
            "enum" => assert!(rule.as_array().unwrap().contains(value), "{at}: {value} is not in {rule}"),
            "required" => rule.as_array().unwrap().iter().for_each(|name| {
                assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: no {name}");
            }),
            "properties" => rule.as_object().unwrap().iter().for_each(|(name, rule)| {
                let member = value.get(name);
                member.into_iter().for_each(|member| {
                    validate(member, rule, document, &format!("{at}.{name}"));
                });
            }),
            "items" => value.as_array().unwrap().iter().for_each(|item| {
                validate(item, rule, document, &format!("{at}[]"));
            }),
            "pattern" | "patternProperties" | "description" | "$schema" | "minLength" => {}
            other => panic!("{at}: the word {other} is new"),
        }
    }
}
