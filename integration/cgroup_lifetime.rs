//! Where a container's processes are, that they are never elsewhere, and what is left of it all afterwards.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::host::hierarchies;
use harness::{Driver, Runtime, alive, json, wait_until, with_runtime};
use nix::sys::{ptrace, wait};
use nix::unistd::Pid;

/// The directory of a cgroup in each hierarchy.
fn directories(cgroup: &str) -> Vec<PathBuf> {
    hierarchies().into_iter().map(|mount| mount.join(cgroup.trim_start_matches('/'))).collect()
}

/// The directories of a cgroup, made by the test.
fn make(cgroup: &str) -> Vec<PathBuf> {
    let directories = directories(cgroup);
    directories.iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
    directories
}

/// `/proc/PID/cgroup` without the hierarchies that are not mounted here: number, name and path.
fn cgroups_of(pid: i32) -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let lines = text.lines().map(|line| {
        let mut fields = line.splitn(3, ':').skip(1).map(str::to_owned);
        (fields.next().unwrap(), fields.next().unwrap())
    });
    let mounts: Vec<_> = hierarchies();
    let mounted = |name: &str| {
        let directory = match name.strip_prefix("name=").unwrap_or(name) {
            "" => "unified",
            name => name,
        };
        mounts.iter().any(|mount| mount.ends_with(directory) || name.is_empty() && mount.ends_with("cgroup"))
    };
    lines.filter(|(name, _)| mounted(name)).collect()
}

#[test]
fn every_hierarchy_has_the_process_in_its_own_cgroup() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        rt.create(&bundle, "c").silent();
        let cgroups = cgroups_of(rt.pid("c"));
        assert_eq!(cgroups.len(), hierarchies().len());
        for (name, path) in cgroups {
            assert_eq!(path, bundle.cgroup(), "{name}");
        }
    });
}

#[test]
fn a_relative_path_starts_at_the_callers_cgroup() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("a scope has no path") {
            return;
        }
        if hierarchies().len() < 2 {
            return; // In version 2 it starts elsewhere, as the caller's own cgroup has processes.
        }
        let bundle = rt.bundle();
        let path = format!("keg-test-{}", rt.unique());
        bundle.args(&["/bin/sleep", "100"]).edit(|c| c["linux"]["cgroupsPath"] = path.clone().into());
        rt.create(&bundle, "c").ok();
        let own = cgroups_of(std::process::id() as i32);
        let inside = cgroups_of(rt.pid("c"));
        rt.command(&["delete", "--force", "c"]).run().ok();
        for ((name, path_in), (_, own)) in inside.into_iter().zip(own) {
            assert_eq!(path_in, format!("{}/{path}", own.trim_end_matches('/')), "{name}");
        }
    });
}

#[test]
fn without_a_path_the_cgroup_has_the_containers_name() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let id = format!("keg-test-{}", rt.unique());
        bundle.args(&["/bin/sleep", "100"]).edit(|c| {
            c["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        });
        rt.create(&bundle, &id).ok();
        let pid = rt.pid(&id);
        let expected = match rt.driver() {
            Driver::Cgroupfs => format!("/{id}"),
            Driver::Systemd => format!("/system.slice/keg-{id}.scope"),
        };
        for (name, path) in cgroups_of(pid) {
            assert!(path.ends_with(&expected), "{name}: {path}");
        }
        rt.command(&["delete", "--force", &id]).run().ok();
        assert!(!alive(pid));
    });
}

#[test]
fn parents_that_were_made_are_removed_with_the_container() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("slices are systemd's") {
            return;
        }
        let bundle = rt.bundle();
        let path = format!("{}/a/b/c", rt.cgroup_prefix());
        bundle.edit(|c| c["linux"]["cgroupsPath"] = path.into());
        rt.run(&bundle, "c").ok();
        for directory in directories(&format!("{}/a", rt.cgroup_prefix())) {
            assert!(!directory.exists(), "{directory:?}");
        }
    });
}

#[test]
fn a_cgroup_that_was_there_stays() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("a scope is made for each container") {
            return;
        }
        let bundle = rt.bundle();
        let there = make(&bundle.cgroup());
        bundle.args(&["/bin/sleep", "100"]);
        rt.create(&bundle, "c").ok();
        assert_eq!(cgroups_of(rt.pid("c"))[0].1, bundle.cgroup());
        rt.command(&["delete", "--force", "c"]).run().ok();
        for directory in there {
            assert!(directory.exists(), "{directory:?}");
            fs::remove_dir(directory).unwrap();
        }
    });
}

#[test]
fn what_the_container_made_inside_is_removed() {
    with_runtime(|rt| {
        let bundle = rt.sleeping("c");
        make(&format!("{}/inner/most", bundle.cgroup()));
        make(&format!("{}/other", bundle.cgroup()));
        rt.command(&["delete", "--force", "c"]).run().ok();
        assert!(directories(&bundle.cgroup()).iter().all(|directory| !directory.exists()));
    });
}

#[test]
fn a_cgroup_with_processes_is_refused_and_left_alone() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("systemd:: has a unit that is there") {
            return;
        }
        let (one, two) = (rt.bundle(), rt.bundle());
        one.args(&["/bin/sleep", "100"]);
        rt.create(&one, "one").ok();
        two.edit(|c| c["linux"]["cgroupsPath"] = one.cgroup().into());
        rt.create(&two, "two").fails_with("container's cgroup is not empty");
        rt.assert_gone("two");
        assert_eq!(rt.status("one"), "created");
        assert_eq!(cgroups_of(rt.pid("one"))[0].1, one.cgroup());
    });
}

/// It is there in one hierarchy, and made in the others: what is undone then is not what is in it.
#[test]
fn who_is_in_a_cgroup_that_is_refused_lives_on() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("systemd:: has a unit that is there") {
            return;
        }
        let unified = hierarchies().into_iter().find(|mount| mount.join("cgroup.controllers").exists());
        let (Some(unified), true) = (unified, rt.only_keg("others do not look")) else { return };
        let bundle = rt.bundle();
        let cgroup = unified.join(bundle.cgroup().trim_start_matches('/'));
        fs::create_dir_all(&cgroup).unwrap();
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(cgroup.join("cgroup.procs"), stranger.id().to_string()).unwrap();
        rt.create(&bundle, "c").fails_with("container's cgroup is not empty");
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        fs::remove_dir(&cgroup).unwrap();
    });
}

/// Freezes a cgroup that the test made; false where there is no freezer.
fn freeze(cgroup: &str, frozen: bool) {
    for directory in directories(cgroup) {
        let (v1, v2) = (directory.join("freezer.state"), directory.join("cgroup.freeze"));
        if v1.exists() {
            fs::write(v1, if frozen { "FROZEN" } else { "THAWED" }).unwrap();
        } else if v2.exists() && hierarchies().len() == 1 {
            fs::write(v2, if frozen { "1" } else { "0" }).unwrap();
        }
    }
}

#[test]
fn a_frozen_cgroup_is_refused_and_so_is_a_place_in_one() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("a scope is made for each container") {
            return;
        }
        for below in ["", "/below"] {
            let bundle = rt.bundle();
            let frozen = format!("{}/frozen", rt.cgroup_prefix());
            let there = make(&frozen);
            freeze(&frozen, true);
            bundle.edit(|c| c["linux"]["cgroupsPath"] = format!("{frozen}{below}").into());
            rt.create(&bundle, "c").fails_with("container's cgroup unexpectedly frozen");
            rt.assert_gone("c");
            freeze(&frozen, false);
            there.iter().for_each(|directory| fs::remove_dir(directory).unwrap());
        }
    });
}

#[test]
fn delete_force_ends_a_container_that_is_frozen_in_parts() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("sleep 100 & exec sleep 100");
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let pid = rt.pid("c");
        let children = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
        let child = || fs::read_to_string(&children).unwrap().trim().to_owned();
        wait_until("the child is there", Duration::from_secs(5), || !child().is_empty());
        let nested = format!("{}/nested", bundle.cgroup());
        for directory in make(&nested).iter().filter(|directory| directory.join("freezer.state").exists()) {
            fs::write(directory.join("cgroup.procs"), child()).unwrap();
        }
        freeze(&nested, true);
        freeze(&bundle.cgroup(), true);
        rt.command(&["delete", "--force", "c"]).run().ok();
        assert!(!alive(pid));
    });
}

#[test]
fn delete_force_ends_what_outlived_init() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.without_namespace("pid").shell("sleep 1000 & sleep 1000 & exit 0");
        rt.create(&bundle, "c").ok();
        let pid = rt.pid("c");
        rt.start("c").ok();
        wait_until("init is gone", Duration::from_secs(5), || !alive(pid));
        assert_eq!(members(&bundle.cgroup()).len(), 2);
        rt.command(&["delete", "--force", "c"]).run().ok();
        assert!(members(&bundle.cgroup()).is_empty());
    });
}

/// The processes of a cgroup.
fn members(cgroup: &str) -> Vec<i32> {
    let lists =
        directories(cgroup).into_iter().map(|directory| fs::read_to_string(directory.join("cgroup.procs")));
    let lists = lists.map(Result::unwrap_or_default);
    let mut all: Vec<i32> =
        lists.flat_map(|l| l.lines().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn delete_force_ends_a_fork_bomb_within_two_seconds() {
    with_runtime(|rt| {
        for pid_namespace in [false, true] {
            let bundle = rt.bundle();
            // They end by themselves too, should the test fail.
            let go = bundle.rootfs().join("tmp/go");
            fs::write(&go, "").unwrap();
            // So many, each forking again every other second: what emulation manages is less.
            let (count, nap) = if harness::is_slow_machine() { (300, 20) } else { (2000, 2) };
            bundle.shell(&format!(
                "n=0; while [ $n -lt {count} ]; do (while [ -e /tmp/go ]; do /bin/sleep {nap}; done) & n=$((n+1)); done; wait",
            ));
            bundle.edit(|c| c["linux"]["resources"]["pids"] = json!({"limit": 5000}));
            if !hierarchies().iter().any(|mount| mount.ends_with("pids") || mount.ends_with("cgroup")) {
                eprintln!("skipped: no pids controller here");
                return;
            }
            if !pid_namespace {
                bundle.without_namespace("pid");
            }
            rt.create(&bundle, "c").ok();
            rt.start("c").ok();
            wait_until("all are there", Duration::from_secs(120), || members(&bundle.cgroup()).len() > count);
            let start = Instant::now();
            rt.command(&["delete", "--force", "c"]).limit(Duration::from_secs(100)).run().ok();
            let took = start.elapsed();
            fs::remove_file(go).unwrap();
            // Emulation has no clock worth the name.
            assert!(took < Duration::from_secs(2) || harness::is_slow_machine(), "{took:?}");
            assert!(members(&bundle.cgroup()).is_empty());
        }
    });
}

/// A process whose tracer wants to see it end does not end before.
#[test]
fn who_is_left_in_a_cgroup_is_named_and_waited_for_no_longer_than_ten_seconds() {
    with_runtime(|rt| {
        if !hierarchies().iter().any(|mount| mount.join("cgroup.controllers").exists())
            || !rt.only_keg("others wait for ever, or say nothing")
        {
            eprintln!("skipped: version 1 kills again and again, and that ends it");
            return;
        }
        let bundle = rt.bundle();
        bundle.without_namespace("pid").shell("sleep 1000 & wait");
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let (init, all) = (rt.pid("c"), || members(&bundle.cgroup()));
        wait_until("both are there", Duration::from_secs(20), || all().len() == 2);
        let traced = Pid::from_raw(all().into_iter().find(|pid| *pid != init).unwrap());
        ptrace::seize(traced, ptrace::Options::PTRACE_O_TRACEEXIT).unwrap();
        let delete = || rt.command(&["delete", "--force", "c"]).limit(Duration::from_secs(60)).run();
        let message = delete().fails_with(&format!("after 10 s it still has process {traced}"));
        assert!(message.starts_with("unable to remove \"") && message.lines().count() == 1, "{message}");
        // The name is kept, and what is left can be deleted once it has ended.
        assert_eq!(rt.status("c"), "stopped");
        wait::waitpid(traced, Some(wait::WaitPidFlag::__WALL)).unwrap();
        ptrace::detach(traced, None).unwrap();
        wait_until("it has ended", Duration::from_secs(20), || all().is_empty());
        delete().silent();
        rt.assert_gone("c");
    });
}

#[test]
fn kill_all_ends_a_container_in_anothers_pid_namespace_and_not_the_other() {
    with_runtime(|rt| {
        let (one, two) = (rt.bundle(), rt.bundle());
        one.args(&["/bin/sleep", "1000"]);
        rt.create(&one, "one").ok();
        rt.start("one").ok();
        let other = rt.pid("one");
        two.namespace(&json!({"type": "pid", "path": format!("/proc/{other}/ns/pid")}));
        two.shell("sleep 1000 & sleep 1000 & exit 0");
        rt.create(&two, "two").ok();
        let init = rt.pid("two");
        rt.start("two").ok();
        wait_until("its first process is gone", Duration::from_secs(5), || !alive(init));
        assert_eq!(members(&two.cgroup()).len(), 2);
        rt.command(&["kill", "--all", "two", "KILL"]).run().ok();
        wait_until("nobody is left", Duration::from_secs(5), || members(&two.cgroup()).is_empty());
        assert!(alive(other));
        rt.delete_force("two");
        rt.delete_force("one");
    });
}

#[test]
fn kill_all_reaches_every_process_of_a_container_in_the_hosts_pid_namespace() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.without_namespace("pid").shell("sleep 1000 & sleep 1000 & sleep 1000 & wait");
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let all = || members(&bundle.cgroup());
        wait_until("all are there", Duration::from_secs(5), || all().len() == 4);
        rt.command(&["kill", "--all", "c", "KILL"]).run().ok();
        wait_until("nobody is left", Duration::from_secs(5), || all().is_empty());
        rt.delete_force("c");
    });
}

#[test]
fn the_user_of_a_user_namespace_may_divide_a_cgroup_that_it_can_write_to() {
    with_runtime(|rt| {
        if hierarchies().len() > 1 || !rt.only_keg("crun leaves it to root") {
            return;
        }
        let bundle = rt.bundle();
        let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        bundle.namespace(&json!({"type": "user"}));
        bundle.edit(|c| {
            c["linux"]["uidMappings"] = maps.clone();
            c["linux"]["gidMappings"] = maps;
            let mounts = c["mounts"].as_array_mut().unwrap();
            let cgroup = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
            cgroup["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        });
        fs::set_permissions(rt.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let divide = "mkdir /sys/fs/cgroup/below && echo 0 > /sys/fs/cgroup/below/cgroup.procs && cat /proc/self/cgroup";
        bundle.shell(divide);
        let inside = rt.run(&bundle, "c").ok().stdout();
        assert!(inside.lines().any(|line| line == "0::/below"), "{inside}");
        // Read-only it stays root's.
        bundle.edit(|c| c["mounts"][6]["options"] = json!(["ro"]));
        bundle.shell("stat -c %u /sys/fs/cgroup");
        assert_eq!(rt.run(&bundle, "d").ok().stdout().trim(), "65534");
    });
}

#[test]
fn a_failed_create_removes_what_it_made_and_nothing_else() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("slices are systemd's") {
            return;
        }
        let bundle = rt.bundle();
        let parent = format!("{}/parent", rt.cgroup_prefix());
        let there = make(&parent);
        bundle.edit(|c| {
            c["linux"]["cgroupsPath"] = format!("{parent}/x/y").into();
            c["linux"]["resources"]["memory"] = json!({"limit": 1_000_000_000, "swap": 1});
        });
        rt.create(&bundle, "c").fails_with("");
        rt.assert_gone("c");
        for directory in there {
            assert!(!directory.join("x").exists());
            fs::remove_dir(directory).unwrap();
        }
    });
}

#[test]
fn the_root_cgroup_is_refused() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("a scope has no path") {
            return;
        }
        if !rt.only_keg("the others try to enter it, and to remove it afterwards") {
            return;
        }
        for path in ["/", "/a/.."] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["cgroupsPath"] = path.into());
            rt.create(&bundle, "c").fails_with("linux.cgroupsPath: the root cgroup cannot be a container's");
            rt.assert_gone("c");
        }
    });
}

/// The lines of a trace of a command; descriptors are shown with what they are open for.
fn trace(rt: &Runtime, words: &[&str], calls: &str) -> Vec<String> {
    let file = rt.dir().join("trace");
    let strace = ["strace", "-f", "-y", "-e", calls, "-o", file.to_str().unwrap()];
    rt.command(words).inside(&strace).run().ok();
    fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect()
}

/// Of the processes that keg made itself, one was born in the cgroup. What that makes is where it is itself, so that nobody else need
/// be placed; and nobody is moved.
fn assert_one_is_born_in(cgroup: &str, waiting: usize, lines: &[String]) {
    let keg = lines[0].split(' ').next().unwrap();
    let made = |line: &&String| {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        ["clone(", "clone3(", "fork(", "vfork("].iter().any(|name| call.starts_with(name))
    };
    let of_keg = lines.iter().filter(made).filter(|line| line.split(' ').next() == Some(keg));
    let (into, others): (Vec<_>, Vec<_>) = of_keg.partition(|line| line.contains("CLONE_INTO_CGROUP"));
    assert_eq!((into.len(), others.len()), (1, waiting), "{lines:#?}");
    let number = into[0].split_once("cgroup=").unwrap().1;
    let number: String = number.chars().take_while(char::is_ascii_digit).collect();
    let opened = lines.iter().rev().skip_while(|line| *line != into[0]);
    let opened =
        opened.filter(|line| line.contains(" openat")).find(|line| line.contains(&format!(" = {number}<")));
    let opened = opened.unwrap_or_else(|| panic!("{number} is not opened: {lines:#?}"));
    assert!(opened.ends_with(&format!("{cgroup}>")), "{opened}");
    let threads = lines.iter().filter(|line| line.contains("CLONE_THREAD")).count();
    let moved = lines.iter().filter(|line| line.contains("cgroup.procs\"")).count();
    assert_eq!((threads, moved), (0, 0), "{lines:#?}");
}

#[test]
fn every_process_is_born_in_its_version_2_cgroup_and_nobody_is_moved() {
    const CALLS: &str = "trace=clone,clone3,fork,vfork,openat,openat2";
    with_runtime(|rt| {
        if !rt.only_keg("the others move it afterwards") {
            return;
        }
        if !hierarchies().iter().any(|mount| mount.join("cgroup.controllers").exists()) {
            eprintln!("skipped: no cgroup version 2 here");
            return;
        }
        let (plain, staged) = (rt.bundle(), rt.bundle());
        // Where a namespace is joined init has a parent of its own for a moment.
        let other = rt.bundle();
        other.args(&["/bin/sleep", "1000"]);
        rt.create(&other, "other").ok();
        staged.namespace(&json!({"type": "pid", "path": format!("/proc/{}/ns/pid", rt.pid("other"))}));
        // systemd is given one that only waits.
        let waiting = usize::from(rt.driver() == Driver::Systemd);
        for bundle in [plain, staged] {
            let lines = trace(rt, &["run", "--bundle", &bundle.arg(), "c"], CALLS);
            assert_one_is_born_in(&bundle.cgroup(), waiting, &lines);
        }
        rt.start("other").ok();
        let lines = trace(rt, &["exec", "other", "/bin/true"], CALLS);
        assert_one_is_born_in(&other.cgroup(), 0, &lines);
    });
}

#[test]
fn init_places_itself_in_version_1_without_making_the_kernel_wait() {
    with_runtime(|rt| {
        let v1 = hierarchies().iter().filter(|mount| mount.join("tasks").exists()).count();
        if v1 == 0 || !rt.only_keg("the others write a pid to cgroup.procs") {
            return;
        }
        let bundle = rt.bundle();
        let writes = trace(rt, &["run", "--bundle", &bundle.arg(), "c"], "trace=write");
        let writes: Vec<_> = writes.iter().filter(|line| line.contains("\"0\", 1")).collect();
        assert!(writes.len() >= v1, "{writes:#?}");
    });
}
