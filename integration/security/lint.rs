//! Between the opening of the root directory and the entry into it, no path below it is ever given to the kernel as a whole: every name
//! is looked up with openat2(2) confined to the root, or is a single one in a directory that was looked up so.

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
    lines.iter().filter(|(pid, _)| pid == init).map(|(_, call)| call.trim().to_owned()).collect()
}

/// The strings among a call's arguments, up to its result.
fn strings(line: &str) -> impl Iterator<Item = &str> {
    line.split_once(") = ").map_or(line, |(call, _)| call).split('"').skip(1).step_by(2)
}

/// `own` are the names that were made in file systems that were attached nowhere then, if the working directory is one.
fn offends(line: &str, rootfs: &str, own: &[&str]) -> Option<&'static str> {
    let (call, arguments) = line.split_once('(')?;
    let below = arguments.contains(&format!("<{rootfs}"));
    let confined = ["RESOLVE_IN_ROOT", "RESOLVE_BENEATH"].iter().any(|flag| line.contains(flag));
    match call {
        "mount" => {
            let [_, target] = strings(line).collect::<Vec<_>>()[..] else {
                return Some("mount(2) of a type");
            };
            (!own.contains(&target) || !line.contains("NULL, MS_BIND, NULL"))
                .then_some("mount(2) takes paths")
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
        let made = trace.iter().filter_map(|line| line.strip_prefix("mkdirat(")?.split_once("</>, \""));
        let made: Vec<_> = made.filter_map(|(file, rest)| Some((file, rest.split_once('"')?.0))).collect();
        assert!(made.iter().all(|(_, name)| !name.contains('/')), "{made:?}");
        let mut here = Vec::new();
        let mut offences = Vec::new();
        for line in &trace[open + 1..entered] {
            if let Some((call @ ("fchdir" | "chdir"), file)) = line.split_once('(') {
                let same = |of: &str| call == "fchdir" && file.starts_with(&format!("{of}<"));
                here = made.iter().filter(|(of, _)| same(of)).map(|(_, name)| *name).collect();
            }
            offences.extend(offends(line, rootfs, &here).map(|offence| (offence, line)));
        }
        assert!(offences.is_empty(), "{offences:#?}");
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
