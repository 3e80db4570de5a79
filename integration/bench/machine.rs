//! What it was measured on and with, asked of the machine and of the programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::profiles::Engine;
use crate::runtimes::runtimes;
use crate::{Result, target};

/// CPU, memory, kernel: no names and no paths.
pub fn describe() -> Result<Vec<(String, String)>> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let of_cpu = |key: &str| {
        let line = cpus.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let flags = of_cpu("flags");
    let flag = |name: &str| flags.split(' ').any(|flag| flag == name);
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kibibytes: f64 = memory.split_whitespace().nth(1).ok_or("no memory")?.parse()?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let system = fs::read_to_string("/etc/os-release")?;
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("unknown")
        .trim_matches('"');
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let is_mounted = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    let cgroups = match (is_mounted("cgroup"), is_mounted("cgroup2")) {
        (true, true) => "versions 1 and 2 (hybrid)",
        (true, false) => "version 1",
        _ => "version 2",
    };
    let virtual_machine = if flag("hypervisor") { ", in a virtual machine" } else { "" };
    let hashing = if flag("sha_ni") { "with" } else { "without" };
    let version: String = release.chars().take_while(|char| char.is_ascii_digit() || *char == '.').collect();
    let rows = [
        ("CPU", format!("{count} × {}{virtual_machine}, {hashing} SHA instructions", of_cpu("model name"))),
        ("memory", format!("{:.0} GiB", kibibytes / f64::from(1 << 20))),
        ("kernel", format!("Linux {version}")),
        ("system", system.to_owned()),
        ("cgroups of the host", cgroups.to_owned()),
    ];
    Ok(rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The program that each row of the document stands for. What is not there has no line.
pub fn versions() -> Result<Vec<(String, String)>> {
    let mut versions = Vec::new();
    for runtime in runtimes(Path::new("")) {
        let mut version = first_line(&runtime.binary.display().to_string(), "--version").unwrap_or_default();
        if runtime.name == "keg" {
            version = format!("{version}, {} bytes, sha256 {}…", size()?, digest()?);
        }
        versions.push((runtime.name.to_owned(), version));
    }
    for tool in ["umoci", "bsdtar", "pigz", "igzip", "zstd", "tar", "strace"] {
        if let Some(version) = first_line(tool, "--version") {
            versions.push((tool.to_owned(), version));
        }
    }
    for (name, engine) in
        [("Docker's seccomp profile", Engine::Docker), ("Podman's seccomp profile", Engine::Podman)]
    {
        if let Ok((architectures, names)) = engine.size() {
            versions.push((
                name.to_owned(),
                format!("{architectures} architectures, {names} names of system calls"),
            ));
        }
    }
    Ok(versions)
}

fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&said).lines().find(|line| !line.trim().is_empty())?.trim().to_owned();
    // zstd frames its version with stars.
    Some(line.trim_matches('*').trim().to_owned())
}

/// Bytes of the binary.
pub fn size() -> Result<u64> {
    Ok(fs::metadata(target().join("keg"))?.len())
}

/// The first digits of the binary's digest.
pub fn digest() -> Result<String> {
    let digest = Sha256::digest(fs::read(target().join("keg"))?);
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

pub fn date() -> Result<String> {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
