//! Containers as scopes of a systemd that runs the machine: in the virtual machine, or on any host that has one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Bundle, Finished, Host, Runtime, json, wait_until, with_runtime};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs a test where systemd runs the machine and version 2 is the only cgroup file system.
fn with_systemd(body: impl Fn(&Runtime)) {
    let unified = fs::read_to_string("/proc/self/cgroup").unwrap().lines().count() == 1;
    if !Path::new("/run/systemd/system").exists() || !unified {
        eprintln!("skipped: systemd does not run this machine with cgroups of version 2 alone");
        return;
    }
    body_of(&body);
}

fn body_of(body: &dyn Fn(&Runtime)) {
    with_runtime(|rt| {
        body(rt);
        rt.delete_all();
        assert_eq!(units(rt), "", "units are left");
        assert_eq!(scopes(rt), BTreeSet::new(), "cgroups are left");
    });
}

/// The prefix of this test's units.
fn prefix(rt: &Runtime) -> String {
    format!("keg-test-{}", rt.unique())
}

/// A bundle whose container is the scope of that name.
fn bundle(rt: &Runtime, name: &str) -> Bundle {
    let bundle = rt.bundle();
    let path = format!("system.slice:{}:{name}", prefix(rt));
    bundle.edit(|c| c["linux"]["cgroupsPath"] = path.into());
    bundle
}

fn unit(rt: &Runtime, name: &str) -> String {
    format!("{}-{name}.scope", prefix(rt))
}

fn directory(rt: &Runtime, name: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup/system.slice").join(unit(rt, name))
}

/// The cgroups of this test's scopes.
fn scopes(rt: &Runtime) -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/fs/cgroup/system.slice").unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix(rt))).collect()
}

fn systemctl(rt: &Runtime, words: &[&str]) -> String {
    let words: Vec<_> = ["systemctl"].iter().chain(words).collect();
    rt.program(&words).limit(LIMIT).run().ok().stdout()
}

/// This test's units that systemd knows, failed ones included.
fn units(rt: &Runtime) -> String {
    systemctl(rt, &["list-units", "--all", "--plain", "--no-legend", &format!("{}*", prefix(rt))])
}

fn property(rt: &Runtime, name: &str, property: &str) -> String {
    systemctl(rt, &["show", "--value", "-p", property, &unit(rt, name)]).trim().to_owned()
}

/// `create` or `run`: the only commands that are told of systemd.
fn keg(rt: &Runtime, command: &str, bundle: &Bundle, id: &str) -> Finished {
    let words = [command, "--bundle", &bundle.arg(), id];
    rt.command_with_globals(&["--systemd-cgroup"], &words).limit(LIMIT).run()
}

/// A command that must need no flag.
fn later(rt: &Runtime, words: &[&str]) -> Finished {
    rt.command(words).limit(LIMIT).run()
}

fn file(rt: &Runtime, name: &str, file: &str) -> String {
    fs::read_to_string(directory(rt, name).join(file)).unwrap().trim().to_owned()
}

#[test]
fn a_container_is_a_scope_from_create_to_delete() {
    with_systemd(|rt| {
        let bundle = bundle(rt, "c");
        bundle.args(&["/bin/sleep", "1000"]);
        keg(rt, "create", &bundle, "c").silent();
        let pid = rt.pid("c");
        let path = format!("0::/system.slice/{}\n", unit(rt, "c"));
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap(), path);
        // The process that held the place is gone.
        assert_eq!(file(rt, "c", "cgroup.procs"), pid.to_string());
        for (name, value) in
            [("ActiveState", "active"), ("Slice", "system.slice"), ("Delegate", "yes"), ("Transient", "yes")]
        {
            assert_eq!(property(rt, "c", name), value, "{name}");
        }
        later(rt, &["start", "c"]).silent();
        assert_eq!(rt.status("c"), "running");
        let inside = later(rt, &["exec", "c", "/bin/cat", "/proc/self/cgroup"]).ok().stdout();
        assert_eq!(inside, "0::/\n");
        later(rt, &["pause", "c"]).silent();
        assert_eq!((rt.status("c").as_str(), file(rt, "c", "cgroup.freeze").as_str()), ("paused", "1"));
        later(rt, &["resume", "c"]).silent();
        assert_eq!(rt.status("c"), "running");
        assert_eq!(later(rt, &["ps", "--format", "json", "c"]).ok().json(), json!([pid]));
        later(rt, &["kill", "c", "KILL"]).silent();
        rt.wait_stopped("c");
        // An empty scope goes by itself.
        wait_until("systemd has removed the scope", LIMIT, || scopes(rt).is_empty());
        later(rt, &["delete", "c"]).silent();
        rt.assert_gone("c");
    });
}

#[test]
fn run_hands_on_the_status_and_leaves_nothing() {
    with_systemd(|rt| {
        let bundle = bundle(rt, "c");
        bundle.shell("exit 7");
        assert_eq!(keg(rt, "run", &bundle, "c").code(), 7);
        assert_eq!((units(rt).as_str(), scopes(rt).len()), ("", 0));
    });
}

#[test]
fn init_has_the_last_word_though_systemd_has_taken_its_cgroup_away() {
    with_systemd(|rt| {
        if !rt.only_keg("the others restrict devices before init is at work") {
            return;
        }
        let bundle = bundle(rt, "c");
        bundle.edit(|c| {
            c["linux"]["devices"] = json!([{"path": "/bin", "type": "c", "major": 10, "minor": 229}])
        });
        let before = Host::look(rt);
        let trace = rt.dir().join("trace");
        // keg alone, which is late with its program for the devices.
        let late = ["strace", "-qq", "-e", "trace=bpf", "-e", "inject=bpf:delay_enter=1s"];
        let wrapper = [&late[..], &["-o", trace.to_str().unwrap()]].concat();
        let words = ["create", "--bundle", &bundle.arg(), "c"];
        // Now and then init has failed, and its cgroup has gone, before keg gets there.
        let was_late = (0..10).any(|_| {
            let create = rt.command_with_globals(&["--systemd-cgroup"], &words).inside(&wrapper);
            let create = create.limit(LIMIT).run();
            create.fails_with("making the device \"/bin\": another file exists there");
            fs::read_to_string(&trace).unwrap().contains("(DELAYED)")
        });
        assert!(was_late);
        before.assert_same(rt);
        assert_eq!((units(rt).as_str(), scopes(rt).len()), ("", 0));
    });
}

#[test]
fn init_is_born_in_the_scope() {
    with_systemd(|rt| {
        if !rt.only_keg("the others move it there") {
            return;
        }
        let bundle = bundle(rt, "c");
        let words = ["run", "--bundle", &bundle.arg(), "c"];
        let trace = rt.dir().join("trace");
        let wrapper = ["strace", "-f", "-e", "trace=clone3", "-o", trace.to_str().unwrap()];
        let command = rt.command_with_globals(&["--systemd-cgroup"], &words).inside(&wrapper);
        command.limit(LIMIT).run().ok();
        let trace = fs::read_to_string(&trace).unwrap();
        let clones: Vec<_> = trace.lines().filter(|line| line.contains("CLONE_NEWPID")).collect();
        assert_eq!(clones.len(), 1, "{trace}");
        assert!(clones[0].contains("CLONE_INTO_CGROUP"), "{trace}");
    });
}

#[test]
fn a_slice_lies_in_the_slices_of_its_name() {
    with_systemd(|rt| {
        let unique = rt.unique().to_lowercase();
        let slice = format!("kegtest-a{unique}.slice");
        let bundle = rt.bundle();
        let path = format!("{slice}::{}", prefix(rt));
        bundle.args(&["/bin/sleep", "1000"]).edit(|c| c["linux"]["cgroupsPath"] = path.into());
        keg(rt, "create", &bundle, "c").ok();
        let expected = format!("0::/kegtest.slice/{slice}/{}.scope\n", prefix(rt));
        assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", rt.pid("c"))).unwrap(), expected);
        later(rt, &["delete", "--force", "c"]).silent();
        systemctl(rt, &["stop", &slice]);
    });
}

#[test]
fn limits_hold_after_a_reload_of_systemd_and_after_an_update() {
    with_systemd(|rt| {
        let bundle = bundle(rt, "c");
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| {
            c["linux"]["resources"]["memory"] = json!({"limit": 50 << 20, "reservation": 10 << 20});
            c["linux"]["resources"]["cpu"] =
                json!({"shares": 512, "quota": 12_345, "period": 50_000, "cpus": "0"});
            c["linux"]["resources"]["pids"] = json!({"limit": 30});
            c["linux"]["resources"]["unified"] =
                json!({"memory.high": "41943040", "hugetlb.2MB.max": "4194304"});
        });
        keg(rt, "create", &bundle, "c").ok();
        later(rt, &["start", "c"]).ok();
        let check = |expected: &[(&str, &str)]| {
            for (name, value) in expected {
                assert_eq!(file(rt, "c", name), *value, "{name}");
            }
        };
        let kept = [
            ("memory.max", "52428800"),
            ("memory.low", "10485760"),
            ("memory.high", "41943040"),
            ("hugetlb.2MB.max", "4194304"),
            ("cpu.weight", "59"),
            ("cpuset.cpus", "0"),
            ("pids.max", "30"),
        ];
        check(&kept);
        check(&[("cpu.max", "12345 50000")]);
        for (name, value) in [
            ("MemoryMax", "52428800"),
            ("MemoryHigh", "41943040"),
            ("CPUWeight", "59"),
            ("CPUQuotaPerSecUSec", "250ms"),
            ("CPUQuotaPeriodUSec", "50ms"),
            ("AllowedCPUs", "0"),
            ("TasksMax", "30"),
        ] {
            assert_eq!(property(rt, "c", name), value, "{name}");
        }
        systemctl(rt, &["daemon-reload"]);
        check(&kept);
        let resources = json!({
            "memory": {"limit": 60 << 20}, "cpu": {"quota": 23_456}, "pids": {"limit": 40}, "unified": {"memory.high": "max"},
        });
        let update = rt.command(&["update", "-r", "-", "c"]).stdin(resources.to_string());
        update.limit(LIMIT).run().silent();
        let updated = [
            ("memory.max", "62914560"),
            ("memory.low", "10485760"),
            ("memory.high", "max"),
            ("pids.max", "40"),
        ];
        check(&updated);
        check(&[("cpu.max", "23456 50000"), ("cpu.weight", "59")]);
        // One that fails changes nothing, and none at all is what systemd would round up to one.
        let resources = json!({"memory": {"limit": 70 << 20}, "unified": {"memory.oom.group": "x"}});
        let update = rt.command(&["update", "-r", "-", "c"]).stdin(resources.to_string());
        update.limit(LIMIT).run().fails_with("");
        check(&updated);
        assert_eq!(property(rt, "c", "MemoryMax"), "62914560");
        let update = rt.command(&["update", "-r", "-", "c"]).stdin(r#"{"pids": {"limit": 0}}"#);
        update.limit(LIMIT).run().silent();
        check(&[("pids.max", "0")]);
        let update = rt.command(&["update", "-r", "-", "c"]).stdin(r#"{"pids": {"limit": 40}}"#);
        update.limit(LIMIT).run().silent();
        // What systemd itself writes from now on is what was asked for.
        systemctl(rt, &["set-property", "--runtime", &unit(rt, "c"), "CPUWeight=77"]);
        systemctl(rt, &["daemon-reload"]);
        check(&updated);
        check(&[("cpu.weight", "77")]);
    });
}

#[test]
fn devices_are_allowed_and_forbidden_before_and_after_a_reload_and_an_update() {
    with_systemd(|rt| {
        let bundle = bundle(rt, "c");
        bundle.edit(|c| {
            let caps = json!(["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SYSLOG"]);
            c["process"]["capabilities"] = json!({"bounding": caps, "permitted": caps, "effective": caps});
            c["mounts"][3]["options"] = json!(["nosuid", "noexec"]);
            c["linux"]["resources"]["devices"] = json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"},
            ]);
        });
        bundle.args(&["/bin/sleep", "1000"]);
        keg(rt, "create", &bundle, "c").ok();
        later(rt, &["start", "c"]).ok();
        let look = || {
            // null, kmsg, and the host's first disk, the last two made inside.
            let script = "cd /dev/shm; rm -f k d; mknod k c 1 11; mknod d b 254 0; \
                          for try in '< /dev/null' '> /dev/null' '< k' '> k' '< d'; do \
                          (eval \": $try\") 2>/dev/null && echo -n 'yes ' || echo -n 'no '; done";
            later(rt, &["exec", "c", "/bin/sh", "-c", script]).ok().stdout()
        };
        assert_eq!(look(), "yes yes no yes no ");
        systemctl(rt, &["daemon-reload"]);
        assert_eq!(look(), "yes yes no yes no ");
        let rules = json!({"devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "b", "major": 254, "minor": 0, "access": "r"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"},
        ]});
        let update = rt.command(&["update", "-r", "-", "c"]).stdin(rules.to_string());
        update.limit(LIMIT).run().silent();
        assert_eq!(look(), "yes yes yes no yes ");
        systemctl(rt, &["daemon-reload"]);
        assert_eq!(look(), "yes yes yes no yes ");
    });
}

#[test]
fn annotations_set_properties_and_a_refused_one_leaves_nothing() {
    with_systemd(|rt| {
        let bundle = bundle(rt, "c");
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| {
            c["annotations"] = json!({
                "org.systemd.property.TimeoutStopSec": "uint64 17",
                "org.systemd.property.Documentation": "['man:keg(1)']",
                "org.systemd.property.Description": "'of the test'",
            });
        });
        keg(rt, "create", &bundle, "c").ok();
        for (name, value) in
            [("TimeoutStopUSec", "17s"), ("Documentation", "man:keg(1)"), ("Description", "of the test")]
        {
            assert_eq!(property(rt, "c", name).trim_matches('"'), value, "{name}");
        }
        later(rt, &["delete", "--force", "c"]).silent();
        for (name, value) in [("NoSuchProperty", "true"), ("CollectMode", "uint64 5")] {
            let annotation = json!({format!("org.systemd.property.{name}"): value});
            bundle.edit(|c| c["annotations"] = annotation);
            let message = keg(rt, "create", &bundle, "c").fails_with("unable to apply cgroup configuration");
            assert_eq!(message.lines().count(), 1, "{message}");
            rt.assert_gone("c");
            assert_eq!((units(rt).as_str(), scopes(rt).len()), ("", 0), "{name}");
        }
    });
}

#[test]
fn a_subgroup_of_the_scope_can_be_asked_for() {
    with_systemd(|rt| {
        if !rt.only_keg("crun alone knows the annotation, and makes one anyway") {
            return;
        }
        let bundle = bundle(rt, "c");
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| {
            c["annotations"] = json!({"run.oci.systemd.subgroup": "inner"});
            c["linux"]["resources"]["pids"] = json!({"limit": 9});
        });
        keg(rt, "create", &bundle, "c").ok();
        let path = format!("0::/system.slice/{}/inner\n", unit(rt, "c"));
        assert_eq!(fs::read_to_string(format!("/proc/{}/cgroup", rt.pid("c"))).unwrap(), path);
        assert_eq!((file(rt, "c", "inner/pids.max"), file(rt, "c", "pids.max")), ("9".into(), "9".into()));
        assert_eq!(file(rt, "c", "cgroup.procs"), "");
        later(rt, &["delete", "--force", "c"]).silent();
    });
}

#[test]
fn a_unit_that_is_there_is_refused_and_left_alone() {
    with_systemd(|rt| {
        let (one, two) = (bundle(rt, "c"), bundle(rt, "c"));
        one.args(&["/bin/sleep", "1000"]);
        keg(rt, "create", &one, "one").ok();
        keg(rt, "create", &two, "two").fails_with(&unit(rt, "c"));
        rt.assert_gone("two");
        assert_eq!(rt.status("one"), "created");
        // The other way round: the first ends, its name is taken, and then it is removed.
        later(rt, &["kill", "one", "KILL"]).ok();
        rt.wait_stopped("one");
        wait_until("its scope is gone", LIMIT, || scopes(rt).is_empty());
        two.args(&["/bin/sleep", "1000"]);
        keg(rt, "create", &two, "two").ok();
        later(rt, &["kill", "--all", "one", "KILL"]);
        later(rt, &["delete", "--force", "one"]).ok();
        assert_eq!(
            (rt.status("two").as_str(), property(rt, "c", "ActiveState").as_str()),
            ("created", "active")
        );
        later(rt, &["delete", "--force", "two"]).silent();
    });
}

#[test]
fn delete_force_ends_everything_and_no_failed_unit_remains() {
    with_systemd(|rt| {
        // Frozen, with children that have no terminal to hang up, one in a cgroup of its own.
        let bundle = bundle(rt, "c");
        bundle.shell("for i in 1 2 3 4 5; do sleep 1000 & done; wait");
        bundle.without_namespace("pid");
        keg(rt, "create", &bundle, "c").ok();
        later(rt, &["start", "c"]).ok();
        let members = || file(rt, "c", "cgroup.procs").lines().map(str::to_owned).collect::<Vec<_>>();
        wait_until("all of them run", LIMIT, || members().len() == 6);
        let inner = directory(rt, "c").join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("cgroup.procs"), members().last().unwrap()).unwrap();
        later(rt, &["pause", "c"]).ok();
        later(rt, &["delete", "--force", "c"]).silent();
        assert_eq!((units(rt).as_str(), scopes(rt).len()), ("", 0));
        // One that the kernel kills for want of memory.
        bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"limit": 8 << 20, "swap": 8 << 20}));
        bundle.shell("x=x; while :; do x=$x$x; done");
        assert_eq!(keg(rt, "run", &bundle, "c").code(), 137);
        assert_eq!((units(rt).as_str(), scopes(rt).len()), ("", 0));
    });
}

#[test]
fn many_at_once_leave_no_failed_unit_no_cgroup_and_no_scope() {
    const AT_ONCE: usize = 32;
    let rounds = if std::env::var("KEG_SWEEP").is_ok_and(|value| value == "full") { 50 } else { 1 };
    with_systemd(|rt| {
        let bundles: Vec<_> = (0..AT_ONCE).map(|n| bundle(rt, &format!("c{n}"))).collect();
        for bundle in &bundles {
            bundle.args(&["/bin/sleep", "1000"]);
        }
        for round in 0..rounds {
            std::thread::scope(|scope| {
                for (n, bundle) in bundles.iter().enumerate() {
                    scope.spawn(move || {
                        let id = format!("c{n}");
                        keg(rt, "create", bundle, &id).silent();
                        later(rt, &["start", &id]).silent();
                        later(rt, &["delete", "--force", &id]).silent();
                    });
                }
            });
            assert_eq!((units(rt).as_str(), scopes(rt)), ("", BTreeSet::new()), "round {round}");
        }
        assert_eq!(systemctl(rt, &["list-units", "--failed", "--plain", "--no-legend"]), "");
    });
}
