//! `keg-hook-cni` with Debian's plugins: alone, through keg, and through runc and crun. Each test is its own host: a network namespace
//! and a `/run` that it makes first.

mod alone;
mod crashes;
mod errors;
mod files;
mod parallel;
mod together;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use harness::command::write_script;
use harness::peers::Kind;
use harness::{Bundle, Command, Runtime, Value, json};

const PLUGINS: &str = "/usr/lib/cni";

/// A host with networks.
struct Net<'a> {
    rt: &'a Runtime,
    dir: PathBuf,
    hook: PathBuf,
}

impl<'a> Net<'a> {
    fn new(rt: &'a Runtime) -> Self {
        assert!(
            Path::new(PLUGINS).join("bridge").exists(),
            "`make setup` installs containernetworking-plugins"
        );
        let beside = rt.binary().with_file_name("keg-hook-cni");
        let built = harness::runtime::target().join("keg-hook-cni");
        let hook = if rt.kind() == Kind::Keg && beside.exists() { beside } else { built };
        assert!(hook.exists(), "{}: `make build` makes it", hook.display());
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let net = Self { rt, dir: rt.dir().join("cni"), hook };
        fs::create_dir(&net.dir).unwrap();
        net.program("ip link set lo up");
        net
    }

    /// A program of the host; its output.
    #[track_caller]
    fn program(&self, words: &str) -> String {
        self.rt.program(&words.split(' ').collect::<Vec<_>>()).run().ok().stdout()
    }

    /// A network list, version 1.0.0.
    fn list(&self, name: &str, plugins: Value) -> PathBuf {
        self.file(name, &json!({"cniVersion": "1.0.0", "name": name, "plugins": plugins}))
    }

    fn file(&self, name: &str, document: &Value) -> PathBuf {
        let path = self.dir.join(format!("{name}.conflist"));
        fs::write(&path, document.to_string()).unwrap();
        path
    }

    /// A bridge with addresses `10.SUBNET.0.FIRST` to `10.SUBNET.0.LAST`.
    fn bridge(&self, subnet: u8, first: u8, last: u8) -> Value {
        json!({
            "type": "bridge", "bridge": format!("keg{subnet}"), "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local", "dataDir": self.dir.join("leases"),
                "ranges": [[{"subnet": format!("10.{subnet}.0.0/24"), "rangeStart": format!("10.{subnet}.0.{first}"),
                             "rangeEnd": format!("10.{subnet}.0.{last}")}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        })
    }

    /// A bridge with published ports and a firewall.
    fn usual(&self, name: &str) -> PathBuf {
        self.list(
            name,
            json!([self.bridge(88, 10, 250), {"type": "portmap", "capabilities": {"portMappings": true}}, {"type": "firewall"}]),
        )
    }

    /// A plugin of the test's own: a shell script that finds its configuration in `$config`.
    fn plugin(&self, name: &str, script: &str) {
        let dir = self.dir.join("plugins");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        let log = self.dir.join("log");
        write_script(&path, &format!("#!/bin/sh\nconfig=$(cat)\nlog={}\n{script}\n", log.display()));
    }

    /// What plugins of the test's own have written to `$log`.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What the hook is given, whatever it is to do.
    fn words(&self, config: &Path) -> Vec<String> {
        let own = self.dir.join("plugins");
        ["--config", config.to_str().unwrap(), "--plugin-dir", PLUGINS, "--plugin-dir", own.to_str().unwrap()]
            .map(str::to_owned)
            .to_vec()
    }

    /// The hook, called by a person.
    fn hook(&self, words: &[String], state: &Value) -> Command {
        let words: Vec<_> =
            std::iter::once(self.hook.display().to_string()).chain(words.iter().cloned()).collect();
        self.rt.program(&words).stdin(state.to_string()).limit(Duration::from_secs(60))
    }

    /// A bundle with the hook in place, as `keg spec --hook` puts it there.
    fn bundle(&self, config: &Path, more: &[&str]) -> Bundle {
        let bundle = self.rt.bundle();
        let words = self.words(config);
        let args: Vec<_> = ["keg-hook-cni"]
            .into_iter()
            .chain(words.iter().map(String::as_str))
            .chain(more.iter().copied())
            .collect();
        let entry = json!([{"path": self.hook, "args": args, "timeout": 60}]);
        bundle.edit(|c| c["hooks"] = json!({"createRuntime": entry, "poststop": entry}));
        bundle
    }

    /// What a network could leave on the host.
    fn look(&self) -> Look {
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        let mut leases =
            names(&self.dir.join("leases")).iter().fold(Vec::new(), |mut all: Vec<String>, network| {
                all.extend(names(&self.dir.join("leases").join(network)));
                all
            });
        // What host-local itself keeps: whose turn it is, and its lock.
        leases.retain(|name| name.parse::<std::net::IpAddr>().is_ok());
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        Look {
            links: self.links(),
            rules: ["iptables-save", "ip6tables-save"]
                .iter()
                .flat_map(|program| rules(&self.program(program)))
                .collect(),
            leases,
            containers: names(Path::new("/run/keg-hook-cni/containers")),
            mounts: mounts.lines().filter(|line| line.contains("/netns ")).map(str::to_owned).collect(),
        }
    }

    /// Interfaces with their addresses, without those that the kernel makes by itself.
    fn links(&self) -> Vec<String> {
        let all: Value = serde_json::from_str(&self.program("ip -j addr")).unwrap();
        let describe = |link: &Value| {
            let addresses =
                link["addr_info"].as_array().unwrap().iter().map(|entry| entry["local"].as_str().unwrap());
            let addresses: Vec<_> = addresses.filter(|address| !address.starts_with("fe80:")).collect();
            format!("{} {addresses:?}", link["ifname"].as_str().unwrap())
        };
        let mut links: Vec<_> = all.as_array().unwrap().iter().map(describe).collect();
        links.sort();
        links
    }

    /// The host as it is once the network has been used: bridges and shared chains stay, by design of their plugins.
    fn used(&self, config: &Path) -> Look {
        let bundle = self.bundle(config, &[]);
        bundle.edit(|c| c["annotations"] = json!({"keg.cni.portMappings": "8999:80"}));
        self.rt.create(&bundle, "first").ok();
        self.rt.delete_force("first");
        let look = self.look();
        assert!(look.is_unused(), "{look:#?}");
        look
    }

    /// Nothing more is there than before. The kernel removes interfaces a moment later than their namespace.
    #[track_caller]
    fn assert_same(&self, before: &Look, when: &str) {
        let start = Instant::now();
        let mut now = self.look();
        while now != *before && start.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(20));
            now = self.look();
        }
        assert_eq!(now, *before, "{when}");
    }
}

impl Drop for Net<'_> {
    /// The harness compares mounts. Containers that a failed test has left are known in its own directory.
    fn drop(&mut self) {
        self.rt.delete_all();
        umount2("/run", MntFlags::MNT_DETACH).unwrap();
    }
}

/// Rules without remarks and counters.
fn rules(saved: &str) -> Vec<String> {
    let lines = saved.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" [").next().unwrap().to_owned()).collect()
}

/// What a network could leave on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    links: Vec<String>,
    rules: Vec<String>,
    leases: Vec<String>,
    containers: Vec<String>,
    mounts: Vec<String>,
}

impl Look {
    fn is_unused(&self) -> bool {
        let no_pairs = self.links.iter().all(|link| !link.starts_with("veth"));
        no_pairs && self.leases.is_empty() && self.containers.is_empty() && self.mounts.is_empty()
    }
}

/// What a server answers to a request for `/`, if it answers.
fn get(address: &str) -> Option<String> {
    let limit = Duration::from_secs(3);
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), limit).ok()?;
    stream.set_read_timeout(Some(limit)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
