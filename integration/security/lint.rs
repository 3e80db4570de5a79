//! Between the opening of the root directory and the entry into it, no path below it is ever given to the kernel as a whole: every name
//! is looked up with openat2(2) confined to the root, or is a single one in a directory that was looked up so.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use harness::{Runtime, json, with_runtime};

/// The calls of the process that enters the root, one a line as strace shows them with descriptors as paths.
fn traced(rt: &Runtime, words: &[&str]) -> Vec<String> {
    let to = rt.dir().join("trace");
    let trace = ["strace", "-f", "-y", "-qq", "-s", "4096", "-o", to.to_str().unwrap()];
    rt.command(words).inside(&trace).run().ok();
    let text = fs::read_to_string(to).unwrap();
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let (init, _) =
        lines.iter().find(|(_, call)| call.trim().starts_with("pivot_root")).expect("no pivot_root");
    // A call that another process interrupts is two lines.
    let (mut calls, mut begun) = (Vec::new(), String::new());
    for (_, line) in lines.iter().filter(|(pid, _)| pid == init) {
        let line = line.trim();
        match (line.strip_suffix(" <unfinished ...>"), line.split_once(" resumed>")) {
            (Some(beginning), _) => begun = beginning.to_owned(),
            (None, Some((_, end))) => calls.push(std::mem::take(&mut begun) + end),
            (None, None) => calls.push(line.to_owned()),
        }
    }
    calls
}

/// The strings among a call's arguments, up to its result.
fn strings(line: &str) -> impl Iterator<Item = &str> {
    line.split_once(") = ").map_or(line, |(call, _)| call).split('"').skip(1).step_by(2)
}

/// File systems that keg has made, by the descriptors of their roots: mount(2) follows symlinks, and in these nobody else can have put one.
#[derive(Default)]
struct Own<'a> {
    types: HashMap<&'a str, &'a str>,
    /// Descriptor and name.
    made: Vec<(&'a str, &'a str)>,
    here: &'a str,
}

impl<'a> Own<'a> {
    /// Learns from a call that succeeded.
    fn learn(&mut self, line: &'a str) {
        let Some((call, rest)) = line.split_once('(') else { return };
        let result = line.rsplit_once(" = ").map_or("", |(_, result)| result);
        let of = |text: &'a str| text.split(['<', ',', ')', ' ']).next().unwrap_or_default();
        let (first, made, name) = (of(rest), of(result), strings(line).next().unwrap_or_default());
        match call {
            "fsopen" => drop(self.types.insert(made, name)),
            "fsmount" => {
                let fstype = self.types.get(first).copied().unwrap_or_default();
                self.types.insert(made, fstype);
            }
            "openat2" if name == "fs/cgroup" && self.types.get(first) == Some(&"sysfs") => {
                self.types.insert(made, "tmpfs");
            }
            "mkdirat" if result.starts_with('0') => self.made.push((first, name)),
            "fchdir" => self.here = first,
            "chdir" => self.here = "",
            _ => {}
        }
    }

    /// Whether a mount over this name in the working directory follows no symlink of an image's.
    fn may_mount(&self, name: &str) -> bool {
        match self.types.get(self.here) {
            Some(&"tmpfs") => self.made.contains(&(self.here, name)) && !name.contains('/'),
            Some(&("proc" | "sysfs")) => !name.contains('/') || name == "fs/cgroup",
            _ => false,
        }
    }
}

fn offends(line: &str, rootfs: &str, own: &Own<'_>) -> Option<&'static str> {
    let (call, arguments) = line.split_once('(')?;
    // An absolute path is not looked up in the working directory.
    let is_elsewhere =
        arguments.starts_with("AT_FDCWD<") && strings(line).next().is_some_and(|path| path.starts_with('/'));
    let below = !is_elsewhere && arguments.contains(&format!("<{rootfs}"));
    let confined = ["RESOLVE_IN_ROOT", "RESOLVE_BENEATH"].iter().any(|flag| line.contains(flag));
    match call {
        "mount" => {
            let target = strings(line).nth(1).unwrap_or_default();
            (!own.may_mount(target)).then_some("mount(2) takes paths")
        }
        "openat2" if below && !confined => Some("not confined to the root"),
        "openat2" => strings(line)
            .any(|path| path.starts_with(&format!("{rootfs}/")))
            .then_some("a path below the root"),
        "symlinkat" if below => {
            strings(line).nth(1).is_some_and(|name| name.contains('/')).then_some("not a single name")
        }
        "fsconfig" | "write" | "sendmsg" | "recvmsg" | "read" | "readlink" | "pread64" | "execve" => None,
        _ if below && strings(line).any(|name| name.contains('/') && name != "/") => {
            Some("not a single name")
        }
        _ if strings(line).any(|path| path.starts_with(&format!("{rootfs}/"))) => {
            Some("a path below the root")
        }
        _ => None,
    }
}

#[test]
fn every_name_below_the_root_is_looked_up_inside_it() {
    with_runtime(|rt| {
        if !rt.only_keg("others use paths") {
            return;
        }
        let volume = rt.dir().join("source");
        fs::create_dir_all(&volume).unwrap();
        let bundle = rt.bundle();
        bundle.edit(|c| {
            c["root"]["readonly"] = json!(false);
            c["linux"]["devices"] =
                json!([{"path": "/dev/sub/node", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 7, "gid": 7}]);
        });
        for (destination, options) in [("/a/b/c", vec!["rbind", "ro"]), ("/etc/../d", vec!["bind", "rslave"])]
        {
            bundle.mount(&json!({"destination": destination, "source": volume, "options": options}));
        }
        let trace = traced(rt, &["run", "--bundle", &bundle.arg(), "c"]);
        rt.delete_force("c");
        let rootfs = bundle.rootfs();
        let rootfs = rootfs.to_str().unwrap();
        let open = trace.iter().position(|line| line.starts_with("open_tree") && line.contains(rootfs));
        let entered = trace.iter().position(|line| line.starts_with("pivot_root"));
        let (open, entered) = (open.expect("the root is cloned"), entered.expect("the root is entered"));
        assert!(open < entered);
        let (mut own, mut offences) = (Own::default(), Vec::new());
        for line in &trace[open + 1..entered] {
            own.learn(line);
            offences.extend(offends(line, rootfs, &own).map(|offence| (offence, line)));
        }
        assert!(offences.is_empty(), "{offences:#?}");
        assert!(own.types.len() > 4 && own.made.len() > 3, "{:?} {:?}", own.types, own.made);
        let lookups = trace[open..entered].iter().filter(|line| line.contains(&format!("<{rootfs}")));
        assert!(lookups.count() > 20, "the trace shows nothing");
    });
}

/// Nothing is opened through `/proc` of whoever mounted it once the root is entered.
#[test]
fn procfs_is_the_runtimes_own_inside() {
    with_runtime(|rt| {
        if !rt.only_keg("others open /proc by its path") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"}));
        let trace = traced(rt, &["run", "--bundle", &bundle.arg(), "c"]);
        rt.delete_force("c");
        let entered = trace.iter().position(|line| line.starts_with("pivot_root")).unwrap();
        let through = trace[entered..].iter().filter(|line| {
            let path = strings(line).next().unwrap_or_default();
            line.starts_with("open") && Path::new(path).starts_with("/proc") && !line.contains("ENOENT")
        });
        let through: Vec<_> = through.filter(|line| !line.contains("/proc/self/fd")).collect();
        assert!(through.is_empty(), "{through:#?}");
        // The container's own, and one that nobody else sees.
        let mounted = trace.iter().filter(|line| line.contains("fsopen(\"proc\"")).count();
        assert_eq!(mounted, 2, "no procfs of its own");
        assert!(
            trace[entered..].iter().any(|line| line.contains("sys/net/ipv4/ip_forward")),
            "the parameter was not written"
        );
    });
}
