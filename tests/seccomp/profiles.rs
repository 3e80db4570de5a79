//! Profiles as the engines' files have them, and as they arrive in config.json: engines resolve
//! their own conditions on capabilities, architectures and kernels before they write it.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::Value;

/// The engines' own files: Podman's and buildah's (Debian's golang-github-containers-common), then
/// Docker's (golang-github-docker-docker-dev). More can be named in KEG_TEST_SECCOMP_PROFILES.
const FILES: [&str; 2] = [
    "/usr/share/containers/seccomp.json",
    "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json",
];

/// The text of each of those files that exists here.
pub fn engines() -> Vec<String> {
    let named = std::env::var("KEG_TEST_SECCOMP_PROFILES").unwrap_or_default();
    let files = FILES.into_iter().chain(named.split(':'));
    files.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
}

/// The profile in an engine's file, resolved for a host of `arch` (Go's name) and `caps`.
pub fn resolve(text: &str, arch: &str, caps: &[&str]) -> LinuxSeccomp {
    let mut document: Value = serde_json::from_str(text).unwrap();
    let token = match arch {
        "amd64" => "SCMP_ARCH_X86_64",
        "arm64" => "SCMP_ARCH_AARCH64",
        _ => panic!("unknown architecture {arch}"),
    };
    let mut architectures = vec![Value::from(token)];
    for entry in document["archMap"].as_array().into_iter().flatten() {
        if entry["architecture"] == token {
            architectures.extend(entry["subArchitectures"].as_array().unwrap().iter().cloned());
        }
    }
    document["architectures"] = architectures.into();
    let holds = |wanted: &Value, have: &dyn Fn(&str) -> bool| -> Option<bool> {
        wanted.as_array().map(|wanted| wanted.iter().any(|item| have(item.as_str().unwrap())))
    };
    let rules = document["syscalls"].as_array().unwrap().iter().filter(|rule| {
        let has_cap = |cap: &str| caps.contains(&cap);
        let is_arch = |name: &str| name == arch;
        holds(&rule["includes"]["caps"], &has_cap) != Some(false)
            && holds(&rule["includes"]["arches"], &is_arch) != Some(false)
            && holds(&rule["excludes"]["caps"], &has_cap) != Some(true)
            && holds(&rule["excludes"]["arches"], &is_arch) != Some(true)
    });
    document["syscalls"] = rules.cloned().collect();
    serde_json::from_value(document).unwrap()
}

/// A profile from its JSON.
pub fn parse(profile: Value) -> LinuxSeccomp {
    serde_json::from_value(profile).unwrap()
}
