//! A bundle in the test's private directory: a small root filesystem with busybox and the probe, and a config.json.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::command::write_programs;
use crate::runtime::target;
use crate::{Inside, Runtime, driver};

const APPLETS: &[&str] = &[
    "cat", "chmod", "cp", "dd", "echo", "env", "false", "grep", "hostname", "id", "kill", "ln", "ls",
    "mkdir", "mknod", "mount", "mv", "ps", "pwd", "readlink", "rm", "sh", "sleep", "stat", "test", "touch",
    "true", "umount", "wc",
];

/// A directory with `config.json` and `rootfs`.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
}

impl Bundle {
    /// A new bundle whose process is `true`.
    pub(crate) fn new(runtime: &Runtime) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bundle = Self { path: runtime.dir().join(format!("bundle{number}")) };
        write_programs(|| fill(&bundle.rootfs()));
        bundle.write(&basic(&runtime.cgroups_path(&format!("c{number}"))));
        bundle
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as an argument.
    pub fn arg(&self) -> String {
        self.path.display().to_string()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    pub fn config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path.join("config.json")).unwrap()).unwrap()
    }

    pub fn write(&self, config: &Value) {
        fs::write(self.path.join("config.json"), config.to_string()).unwrap();
    }

    /// Changes config.json in place.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) -> &Self {
        let mut config = self.config();
        change(&mut config);
        self.write(&config);
        self
    }

    pub fn args(&self, args: &[&str]) -> &Self {
        self.edit(|c| c["process"]["args"] = json!(args))
    }

    /// The process is `/bin/sh -c SCRIPT`.
    pub fn shell(&self, script: &str) -> &Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Takes a namespace out of the list.
    pub fn without_namespace(&self, kind: &str) -> &Self {
        self.edit(|c| namespaces(c).retain(|n| n["type"] != kind))
    }

    /// Adds a namespace, or replaces the one of its type.
    pub fn namespace(&self, namespace: &Value) -> &Self {
        self.edit(|c| {
            namespaces(c).retain(|n| n["type"] != namespace["type"]);
            namespaces(c).push(namespace.clone());
        })
    }

    pub fn mount(&self, mount: &Value) -> &Self {
        self.edit(|c| c["mounts"].as_array_mut().unwrap().push(mount.clone()))
    }

    /// The path of its cgroup in every hierarchy.
    pub fn cgroup(&self) -> String {
        driver::cgroup_of(self.config()["linux"]["cgroupsPath"].as_str().unwrap())
    }

    /// Runs the probe as this bundle's process and returns what it saw.
    #[track_caller]
    pub fn probe(&self, runtime: &Runtime) -> Inside {
        self.args(&["/probe"]);
        Inside::parse(&runtime.run(self, "probe").ok())
    }
}

fn namespaces(config: &mut Value) -> &mut Vec<Value> {
    config["linux"]["namespaces"].as_array_mut().unwrap()
}

fn fill(rootfs: &Path) {
    for directory in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", rootfs.join("bin/busybox"))
        .expect("busybox-static is installed by `make setup`");
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    fs::copy(target().join("probe"), rootfs.join("probe")).expect("target/probe is built by `make probe`");
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(rootfs.join("etc/group"), "root:x:0:\n").unwrap();
}

/// What `spec` prints, without a terminal and with a cgroup of its own.
fn basic(cgroup: &str) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/",
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                           {"type": "mount"}, {"type": "cgroup"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                            "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
