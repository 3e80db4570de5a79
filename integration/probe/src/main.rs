//! A container's init for tests: prints as one JSON object what a process inside sees of itself and its world.
//!
//! `probe [--to FILE] [--exit STATUS]`; `probe --notify TEXT` only sends the text to the socket that NOTIFY_SOCKET names. What can't be read (no /proc, say) is `null`, never an error.

mod limits;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut to, mut status) = (None, 0);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--to" => to = arguments.next(),
            "--notify" => return notify(&arguments.next().unwrap_or_default()),
            "--exit" => status = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(99),
            _ => {}
        }
    }
    let text = format!("{}\n", report());
    let written = match to {
        Some(path) => fs::write(path, text),
        None => io::stdout().write_all(text.as_bytes()),
    };
    if written.is_ok() { ExitCode::from(status) } else { ExitCode::from(98) }
}

fn notify(text: &str) -> ExitCode {
    let path = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
    let sent =
        std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(text.as_bytes(), path));
    if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(97) }
}

fn report() -> Value {
    json!({
        "pid": std::process::id(),
        "ppid": nix::unistd::getppid().as_raw(),
        "sid": nix::unistd::getsid(None).ok().map(nix::unistd::Pid::as_raw),
        "pgid": nix::unistd::getpgrp().as_raw(),
        "fds": descriptors(),
        "args": std::env::args().collect::<Vec<_>>(),
        "env": environment(),
        "cwd": std::env::current_dir().ok(),
        "exe": fs::read_link("/proc/self/exe").ok(),
        "status": status(),
        "umask": nix::sys::stat::umask(nix::sys::stat::Mode::empty()).bits(),
        "rlimits": limits::all(),
        "oom_score_adj": line("/proc/self/oom_score_adj").and_then(|s| s.parse::<i64>().ok()),
        "personality": line("/proc/self/personality"),
        "dumpable": nix::sys::prctl::get_dumpable().ok(),
        "hostname": line("/proc/sys/kernel/hostname"),
        "domainname": line("/proc/sys/kernel/domainname"),
        "namespaces": namespaces(),
        "cgroup": lines("/proc/self/cgroup"),
        "uid_map": lines("/proc/self/uid_map"),
        "gid_map": lines("/proc/self/gid_map"),
        "timens_offsets": lines("/proc/self/timens_offsets"),
        "interfaces": names("/sys/class/net"),
        "mounts": lines("/proc/self/mountinfo").map(|all| all.iter().map(|l| mount(l)).collect::<Vec<_>>()),
        "dev": device_files("/dev"),
        "processes": processes(),
    })
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

fn lines(path: &str) -> Option<Vec<String>> {
    line(path).map(|text| text.lines().map(str::to_owned).collect())
}

fn names(directory: &str) -> Option<Vec<String>> {
    let mut all: Vec<_> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    Some(all)
}

/// Every open descriptor with its target, without the one that lists them.
fn descriptors() -> Option<Value> {
    let mut open = Map::new();
    for number in names("/proc/self/fd")? {
        let Ok(target) = fs::read_link(format!("/proc/self/fd/{number}")) else { continue };
        if !target.starts_with(format!("/proc/{}/fd", std::process::id())) {
            open.insert(number, json!(target));
        }
    }
    Some(Value::Object(open))
}

fn environment() -> Vec<String> {
    std::env::vars_os().map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy())).collect()
}

/// The fields of /proc/self/status, as text: `Uid`, `Groups`, `CapEff`, `NoNewPrivs`, `Seccomp`, …
fn status() -> Option<Map<String, Value>> {
    let text = line("/proc/self/status")?;
    let fields = text.lines().filter_map(|l| l.split_once(':'));
    Some(
        fields
            .map(|(k, v)| (k.to_owned(), json!(v.split_whitespace().collect::<Vec<_>>().join(" "))))
            .collect(),
    )
}

fn namespaces() -> Option<Map<String, Value>> {
    let found = names("/proc/self/ns")?;
    let link = |name: &String| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    Some(found.iter().map(|name| (name.clone(), json!(link(name)))).collect())
}

/// One line of mountinfo: `ID PARENT MAJ:MIN ROOT TARGET OPTIONS [tags…] - TYPE SOURCE SUPER`.
fn mount(line: &str) -> Value {
    let (left, right) = line.split_once(" - ").unwrap_or((line, ""));
    let left: Vec<_> = left.split(' ').collect();
    let right: Vec<_> = right.split(' ').collect();
    let at = |part: &[&str], index: usize| part.get(index).copied().unwrap_or_default().to_owned();
    json!({
        "id": at(&left, 0), "parent": at(&left, 1), "device": at(&left, 2), "root": at(&left, 3),
        "target": at(&left, 4), "options": at(&left, 5).split(',').collect::<Vec<_>>(),
        "tags": left.get(6..).unwrap_or_default(), "type": at(&right, 0), "source": at(&right, 1),
        "super": at(&right, 2).split(',').collect::<Vec<_>>(),
    })
}

/// What lies directly in a directory: kind, device number, mode, owner, link target.
fn device_files(directory: &str) -> Option<Map<String, Value>> {
    let mut all = Map::new();
    for name in names(directory)? {
        let path = format!("{directory}/{name}");
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let kind = meta.file_type();
        let letter = [
            (kind.is_char_device(), "c"),
            (kind.is_block_device(), "b"),
            (kind.is_fifo(), "p"),
            (kind.is_symlink(), "l"),
            (kind.is_dir(), "d"),
        ];
        let letter = letter.iter().find(|(is, _)| *is).map_or("f", |(_, letter)| letter);
        all.insert(
            name,
            json!({
                "type": letter, "mode": meta.mode() & 0o7777, "uid": meta.uid(), "gid": meta.gid(),
                "major": nix::sys::stat::major(meta.rdev()), "minor": nix::sys::stat::minor(meta.rdev()),
                "link": fs::read_link(&path).ok(),
            }),
        );
    }
    Some(all)
}

fn processes() -> Option<Vec<u32>> {
    Some(names("/proc")?.iter().filter_map(|name| name.parse().ok()).collect())
}
