//! Without root: a user who has nothing but a home, a session directory and, where granted, subordinate ids. In the virtual machine it
//! is a login with a session of systemd's; elsewhere the user is made up, in files that only this test's mount namespace has.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::terminal::Terminal;
use harness::{Command, Driver, Inside, Runtime, Value, json, wait_until, with_runtime};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The login of the virtual machine: `as-user COMMAND...`.
const LOGIN: &str = "/usr/local/bin/as-user";
const LOGIN_ID: u32 = 1000;
const MADE_UP_ID: u32 = 4321;
/// The first of the 65,536 subordinate ids.
const SUBORDINATE: u32 = 100_000;

/// Somebody who is not root.
pub(crate) struct User<'a> {
    rt: &'a Runtime,
    id: u32,
    pub(crate) home: PathBuf,
    session: PathBuf,
    /// What a command is run by: it ends where further variables may be set.
    pub(crate) prefix: Vec<String>,
    /// The runtime under test, where anybody may run it.
    pub(crate) runtime: String,
}

impl<'a> User<'a> {
    /// With a session, where this machine has sessions.
    pub(crate) fn log_in(rt: &'a Runtime) -> Self {
        match Path::new(LOGIN).exists() {
            true => {
                let session = PathBuf::from(format!("/run/user/{LOGIN_ID}"));
                Self::new(rt, LOGIN_ID, session, vec![LOGIN.to_owned()])
            }
            false => Self::without_session(rt),
        }
    }

    /// In the cgroup of whoever calls.
    pub(crate) fn without_session(rt: &'a Runtime) -> Self {
        let session = rt.dir().join("session");
        let id = format!("{MADE_UP_ID}");
        let mut prefix: Vec<_> =
            ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"].map(str::to_owned).into();
        prefix.extend(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"].map(str::to_owned));
        prefix.push(format!("HOME={}", rt.dir().join("home").display()));
        prefix.push(format!("XDG_RUNTIME_DIR={}", session.display()));
        let user = Self::new(rt, MADE_UP_ID, session, prefix);
        user.own_directory(&user.session);
        user.enter("passwd", &format!("tester:x:{id}:{id}::/:/bin/sh\n"));
        for name in ["subuid", "subgid"] {
            user.enter(name, &format!("tester:{SUBORDINATE}:65536\n"));
        }
        user
    }

    fn new(rt: &'a Runtime, id: u32, session: PathBuf, prefix: Vec<String>) -> Self {
        fs::set_permissions(rt.dir(), PermissionsExt::from_mode(0o755)).unwrap();
        let runtime = rt.dir().join(rt.binary().file_name().unwrap());
        // The build directory may be nobody else's to look into.
        if !runtime.exists() {
            fs::copy(rt.binary(), &runtime).unwrap();
        }
        let runtime = runtime.display().to_string();
        let user = Self { rt, id, home: rt.dir().join("home"), session, prefix, runtime };
        user.own_directory(&user.home);
        user
    }

    fn own_directory(&self, path: &Path) {
        fs::create_dir_all(path).unwrap();
        chown(path, Some(self.id), Some(self.id)).unwrap();
    }

    /// Adds a line to a file of /etc, for this test alone.
    fn enter(&self, name: &str, line: &str) {
        let file = Path::new("/etc").join(name);
        let own = self.rt.dir().join(format!("etc-{name}"));
        if own.exists() {
            return;
        }
        fs::write(&own, fs::read_to_string(&file).unwrap_or_default() + line).unwrap();
        if file.exists() {
            mount(Some(&own), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        }
    }

    fn words<S: AsRef<str>>(&self, words: &[S]) -> Vec<String> {
        let mut all = self.prefix.clone();
        all.push(self.runtime.clone());
        // Who has no session has no systemd.
        if self.id == LOGIN_ID {
            let command = words.first().map_or("", AsRef::as_ref);
            all.extend(self.rt.driver().globals(command).iter().map(|&word| word.to_owned()));
        }
        all.extend(words.iter().map(|word| word.as_ref().to_owned()));
        all
    }

    /// A command of the runtime. Containers are where they are by default.
    fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        self.rt.program(&self.words(words)).cwd(&self.home)
    }

    /// A bundle of the user's own with what `spec --rootless` writes, without a terminal.
    fn bundle(&self) -> Bundle {
        let bundle = Bundle(self.home.join("bundle"));
        self.own_directory(&bundle.0);
        self.command(&["spec", "--rootless", "--bundle", &bundle.arg()]).run().silent();
        self.copy(&self.rt.bundle().rootfs(), &bundle.0.join("rootfs"));
        bundle.edit(|c| c["process"]["terminal"] = json!(false));
        bundle
    }

    /// A directory of root's as one of the user's.
    pub(crate) fn copy(&self, from: &Path, to: &Path) {
        let (from, to) = (from.display().to_string(), to.display().to_string());
        self.rt.program(&["cp", "-r", "--no-target-directory", &from, &to]).run().ok();
        let owner = format!("{0}:{0}", self.id);
        self.rt.program(&["chown", "-R", "-h", &owner, &to]).run().ok();
    }

    fn run(&self, bundle: &Bundle) -> harness::Finished {
        self.command(&["run", "--bundle", &bundle.arg(), &self.id()]).run()
    }

    /// The name of the test's only container; in the virtual machine all tests share a directory for them.
    fn id(&self) -> String {
        format!("c-{}", self.rt.unique())
    }

    /// What a process inside sees.
    fn probe(&self, bundle: &Bundle) -> Inside {
        bundle.args(&["/probe"]);
        Inside::parse(&self.run(bundle).ok())
    }

    fn output(&self, bundle: &Bundle, script: &str) -> String {
        bundle.args(&["/bin/sh", "-c", script]);
        self.run(bundle).ok().stdout()
    }

    fn create(&self, bundle: &Bundle) {
        self.command(&["create", "--bundle", &bundle.arg(), &self.id()]).run().silent();
    }

    fn delete(&self) {
        self.command(&["delete", "--force", &self.id()]).run().silent();
        self.assert_gone();
    }

    #[track_caller]
    fn assert_gone(&self) {
        let name = Path::new(&self.runtime).file_name().unwrap();
        let left = self.session.join(name).join(self.id());
        assert!(!left.exists(), "{left:?}");
    }
}

impl Drop for User<'_> {
    /// What was put over files of /etc.
    fn drop(&mut self) {
        for name in ["passwd", "subuid", "subgid"] {
            if self.rt.dir().join(format!("etc-{name}")).exists() {
                umount2(&Path::new("/etc").join(name), MntFlags::MNT_DETACH).unwrap_or_default();
            }
        }
    }
}

struct Bundle(PathBuf);

impl Bundle {
    fn arg(&self) -> String {
        self.0.display().to_string()
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.0.join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
    }

    fn args(&self, args: &[&str]) {
        self.edit(|c| c["process"]["args"] = json!(args));
    }

    /// All that the user was granted: himself as root, and his subordinate ids from 1 on.
    fn map_many(&self, user: &User<'_>) {
        let map = json!([{"containerID": 0, "hostID": user.id, "size": 1},
                         {"containerID": 1, "hostID": SUBORDINATE, "size": 65536}]);
        self.edit(|c| {
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
        });
    }

    fn mount(&self, mount: Value) {
        self.edit(|c| c["mounts"].as_array_mut().unwrap().push(mount));
    }
}

#[test]
fn what_spec_writes_runs() {
    with_runtime(|rt| {
        let user = User::log_in(rt);
        let inside = user.probe(&user.bundle());
        let map = inside["uid_map"][0].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(map, format!("0 {} 1", user.id));
        assert_eq!((inside.status("Uid"), inside.status("Gid")), ("0 0 0 0", "0 0 0 0"));
        assert_eq!(inside["pid"], 1);
        for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
            let device = &inside["dev"][name];
            assert_eq!(
                (&device["type"], &device["major"], &device["minor"]),
                (&json!("c"), &json!(1), &json!(minor))
            );
        }
        user.assert_gone();
    });
}

#[test]
fn a_container_lives_where_the_session_keeps_its_files() {
    with_runtime(|rt| {
        let user = User::log_in(rt);
        let bundle = user.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        user.create(&bundle);
        let id = user.id();
        let state = |field: &str| user.command(&["state", &id]).run().ok().json()[field].clone();
        assert_eq!(state("status"), "created");
        let name = Path::new(&user.runtime).file_name().unwrap();
        assert_eq!(fs::metadata(user.session.join(name).join(&id)).unwrap().uid(), user.id);
        user.command(&["start", &id]).run().silent();
        assert_eq!(state("status"), "running");
        let status = fs::read_to_string(format!("/proc/{}/status", state("pid"))).unwrap();
        assert!(status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", user.id)), "{status}");
        let seen =
            user.command(&["exec", &id, "/bin/sh", "-c", "echo $$ $(cat /proc/self/uid_map); exit 7"]).run();
        assert_eq!(seen.code(), 7, "{}", seen.describe());
        assert!(seen.stdout().contains(&format!(" 0 {} 1", user.id)), "{}", seen.describe());
        user.command(&["kill", &id, "KILL"]).run().silent();
        wait_until("it has ended", Duration::from_secs(20), || state("status") == "stopped");
        user.command(&["delete", &id]).run().silent();
        user.assert_gone();
    });
}

#[test]
fn subordinate_ids_are_mapped() {
    with_runtime(|rt| {
        let user = User::log_in(rt);
        let bundle = user.bundle();
        bundle.map_many(&user);
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 33, "gid": 44, "additionalGids": [55]}));
        user.create(&bundle);
        let id = user.id();
        let state = user.command(&["state", &id]).run().ok().json();
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).unwrap();
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(field("Uid:"), format!("{0}\t{0}\t{0}\t{0}", SUBORDINATE + 32));
        assert_eq!(field("Gid:"), format!("{0}\t{0}\t{0}\t{0}", SUBORDINATE + 43));
        assert_eq!(field("Groups:"), format!("{}", SUBORDINATE + 54));
        user.delete();
    });
}

#[test]
fn ids_that_were_not_granted_are_refused() {
    with_runtime(|rt| {
        if !rt.only_keg("others have more to say on lines of their own") {
            return;
        }
        let user = User::log_in(rt);
        let bundle = user.bundle();
        bundle.map_many(&user);
        bundle.edit(|c| c["linux"]["uidMappings"][1]["hostID"] = json!(SUBORDINATE - 7));
        let text = user.run(&bundle).fails_with("newuidmap: ");
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        user.assert_gone();
    });
}

#[test]
fn files_are_bound_with_the_users_rights() {
    with_runtime(|rt| {
        let user = User::log_in(rt);
        let bundle = user.bundle();
        let (own, roots) = (user.home.join("own"), rt.dir().join("of-root"));
        user.own_directory(&own);
        fs::create_dir(&roots).unwrap();
        fs::write(roots.join("secret"), "secret\n").unwrap();
        fs::set_permissions(roots.join("secret"), PermissionsExt::from_mode(0o600)).unwrap();
        for (destination, source, access) in
            [("/mnt/rw", &own, "rw"), ("/mnt/ro", &own, "ro"), ("/mnt/root", &roots, "rw")]
        {
            bundle.mount(json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", access]}));
        }
        bundle.mount(
            json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}),
        );
        let script = "cd /mnt; echo new > rw/file && cat ro/file; for f in ro/x root/x; do touch $f 2>/dev/null || echo no $f; done
            cat root/secret 2>/dev/null || echo kept; echo x > /dev/null; dd if=/dev/zero bs=1 count=2 2>/dev/null | wc -c
            touch /tmp/x && stat -c %u /tmp/x; mknod /tmp/null c 1 3 2>/dev/null || echo no device";
        let seen = user.output(&bundle, script);
        assert_eq!(seen, "new\nno ro/x\nno root/x\nkept\n2\n0\nno device\n");
        assert_eq!(fs::metadata(own.join("file")).unwrap().uid(), user.id);
    });
}

#[test]
fn kernel_parameters_are_set_behind_masked_paths() {
    with_runtime(|rt| {
        let user = User::log_in(rt);
        let bundle = user.bundle();
        bundle.edit(|c| {
            c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "network");
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
            c["process"]["oomScoreAdj"] = json!(600);
            c["hostname"] = json!("name");
        });
        let script =
            "cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; wc -c < /proc/timer_list; hostname
            echo 0 > /proc/sys/net/ipv4/ip_forward";
        bundle.args(&["/bin/sh", "-c", script]);
        let finished = user.run(&bundle);
        assert_eq!(finished.code(), 1, "{}", finished.describe());
        assert_eq!(finished.stdout(), "1\n600\n0\nname\n");
    });
}

#[test]
fn a_limit_without_a_delegated_cgroup_is_an_error_that_says_so() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("who has no session has no systemd") {
            return;
        }
        let user = User::without_session(rt);
        let bundle = user.bundle();
        bundle.edit(|c| c["linux"]["resources"] = json!({"pids": {"limit": 100}}));
        let text = user.run(&bundle).fails_with(if rt.kind() == harness::peers::Kind::Keg {
            "permission denied"
        } else {
            ""
        });
        user.assert_gone();
        if rt.kind() == harness::peers::Kind::Keg {
            let begin = "unable to apply cgroup configuration: linux.resources.pids.limit needs a cgroup that is delegated to the caller";
            assert!(text.starts_with(begin), "{text}");
            assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        }
        bundle.edit(|c| {
            c["linux"].as_object_mut().unwrap().remove("resources");
            c["linux"]["cgroupsPath"] = json!(format!("{}/c", rt.cgroup_prefix()));
        });
        user.run(&bundle).fails_with(if rt.kind() == harness::peers::Kind::Keg {
            "permission denied"
        } else {
            ""
        });
        user.assert_gone();
    });
}

#[test]
fn limits_hold_in_a_delegated_cgroup() {
    with_runtime(|rt| {
        if !rt.only_cgroupfs("who has no session has no systemd") {
            return;
        }
        let [hierarchy] = &harness::host::hierarchies()[..] else {
            eprintln!("skipped: no controllers in cgroups of version 2 here");
            return;
        };
        let user = User::without_session(rt);
        let bundle = user.bundle();
        let delegated = hierarchy.join(rt.cgroup_prefix().trim_start_matches('/'));
        let login = delegated.join("login");
        fs::create_dir_all(&login).unwrap();
        for parent in [hierarchy.as_path(), delegated.parent().unwrap(), &delegated] {
            fs::write(parent.join("cgroup.subtree_control"), "+memory +pids").unwrap();
        }
        for directory in [&delegated, &login] {
            for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(directory.join(name), Some(user.id), Some(user.id)).unwrap();
            }
        }
        bundle.edit(|c| {
            c["linux"]["resources"] = json!({"pids": {"limit": 23}, "memory": {"limit": 50_000_000},
                                             "devices": [{"allow": false, "access": "rwm"}]});
            c["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/sys/fs/cgroup");
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}));
        });
        let id = user.id();
        let script = "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max /proc/self/cgroup";
        bundle.args(&["/bin/sh", "-c", script]);
        let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", login.display());
        let command = user.command(&["run", "--bundle", &bundle.arg(), &id]);
        let seen = command.inside(&["sh", "-ec", &enter, "sh"]).run().ok();
        assert_eq!(seen.stdout(), "23\n49999872\n0::/\n");
        assert!(!delegated.join(&id).exists());
        user.assert_gone();
        fs::remove_dir(login).unwrap();
        fs::remove_dir(delegated).unwrap();
    });
}

#[test]
fn a_login_gets_limits_from_its_session() {
    with_runtime(|rt| {
        if !Path::new(LOGIN).exists() {
            eprintln!("skipped: there are no sessions here");
            return;
        }
        let user = User::log_in(rt);
        let bundle = user.bundle();
        bundle.edit(|c| c["linux"]["resources"] = json!({"pids": {"limit": 23}}));
        bundle.args(&["/bin/sleep", "1000"]);
        user.create(&bundle);
        let pid = user.command(&["state", &user.id()]).run().ok().json()["pid"].clone();
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let cgroup = Path::new("/sys/fs/cgroup").join(cgroup.trim().trim_start_matches("0::/"));
        let name = match rt.driver() {
            Driver::Cgroupfs => user.id(),
            Driver::Systemd => format!("keg-{}.scope", user.id()),
        };
        assert!(cgroup.ends_with(name), "{cgroup:?}");
        assert_eq!(fs::read_to_string(cgroup.join("pids.max")).unwrap(), "23\n");
        user.command(&["start", &user.id()]).run().silent();
        user.command(&["exec", &user.id(), "/bin/true"]).run().silent();
        // Device rules are root's to change; what else is named changes.
        let document = json!({"pids": {"limit": 24}, "devices": [{"allow": false, "access": "rwm"}]});
        user.command(&["update", "-r", "-", &user.id()]).stdin(document.to_string()).run().silent();
        assert_eq!(fs::read_to_string(cgroup.join("pids.max")).unwrap(), "24\n");
        user.delete();
        // What has become empty systemd removes in its own time.
        wait_until("the cgroup is gone", Duration::from_secs(20), || !cgroup.exists());
    });
}

/// As who has logged in: a session of logind's, outside the user's own systemd.
fn logged_in(rt: &Runtime, command: &str) -> Command {
    rt.program(&["systemctl", "start", "systemd-logind.service"]).run().ok();
    rt.program(&["su", "--login", "user", "--command", command])
}

#[test]
fn a_login_has_limits_in_its_own_systemd_and_outside_of_it_is_told_what_to_do() {
    with_runtime(|rt| {
        if !Path::new(LOGIN).exists() || !rt.only_keg("others have systemd move their processes") {
            eprintln!("skipped: there are no sessions here");
            return;
        }
        let user = User::log_in(rt);
        let bundle = user.bundle();
        let session = logged_in(rt, "cat /proc/self/cgroup; echo $XDG_RUNTIME_DIR").run().ok().stdout();
        assert!(session.contains("/session-") && session.contains("/run/user/1000\n"), "{session}");
        let root = user.home.join("root");
        let keg = format!("{} --root {} --systemd-cgroup", user.runtime, root.display());
        let id = user.id();
        bundle.edit(|c| {
            c["linux"]["resources"] = json!({"pids": {"limit": 23}, "memory": {"limit": 64 << 20}})
        });
        bundle.args(&["/bin/sleep", "1000"]);
        let create = format!("{keg} create --bundle {} {id} </dev/null >/dev/null", bundle.arg());
        let message =
            logged_in(rt, &create).run().fails_with("as `systemd-run --user --scope` does: clone3(");
        assert!(
            message.trim_end().ends_with("permission denied") && message.lines().count() == 1,
            "{message}"
        );
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        // What the message says works.
        logged_in(rt, &format!("systemd-run --user --scope -q {create}")).run().silent();
        let state = logged_in(rt, &format!("{keg} state {id}")).run().ok().json();
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).unwrap();
        let own = format!("0::/user.slice/user-1000.slice/user@1000.service/user.slice/keg-{id}.scope");
        assert_eq!(cgroup.trim(), own);
        let cgroup = Path::new("/sys/fs/cgroup").join(own.trim_start_matches("0::/"));
        let file = |name: &str| fs::read_to_string(cgroup.join(name)).unwrap();
        assert_eq!((file("pids.max"), file("memory.max")), ("23\n".into(), format!("{}\n", 64 << 20)));
        logged_in(rt, &format!("{keg} start {id}")).run().silent();
        let exec = format!("exec {id} /bin/true");
        let outside = logged_in(rt, &format!("{keg} {exec}")).run();
        assert!(
            outside.code() == 255 && outside.stderr().contains("systemd-run --user --scope"),
            "{}",
            outside.describe()
        );
        logged_in(rt, &format!("systemd-run --user --scope -q {keg} {exec}")).run().silent();
        logged_in(rt, &format!("{keg} delete --force {id}")).run().silent();
        wait_until("the cgroup is gone", Duration::from_secs(20), || !cgroup.exists());
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    });
}

#[test]
fn root_of_a_user_namespace_runs_containers_in_it() {
    with_runtime(|rt| {
        let user = User::log_in(rt);
        let bundle = user.bundle();
        bundle.edit(|c| {
            c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "user");
            for maps in ["uidMappings", "gidMappings"] {
                c["linux"].as_object_mut().unwrap().remove(maps);
            }
        });
        bundle.args(&["/probe"]);
        let root = user.home.join("root").display().to_string();
        let mut words = user.prefix.clone();
        words.extend(["unshare", "--user", "--map-root-user", "--mount"].map(str::to_owned));
        words.extend(
            [user.runtime.as_str(), "--root", &root, "run", "--bundle", &bundle.arg(), "c"]
                .map(str::to_owned),
        );
        let inside = Inside::parse(&rt.program(&words).run().ok());
        assert_eq!(inside.status("Uid"), "0 0 0 0");
        assert_eq!(inside["dev"]["null"]["major"], 1);
        assert_eq!(fs::read_dir(root).unwrap().count(), 0);
    });
}

#[test]
fn a_terminal_is_the_users_own() {
    with_runtime(|rt| {
        let user = User::log_in(rt);
        let bundle = user.bundle();
        bundle.edit(|c| c["process"]["terminal"] = json!(true));
        bundle.args(&["/bin/sh", "-c", "stat -c '%F %u' -L /proc/self/fd/0; exit 5"]);
        let mut terminal = Terminal::open(30, 90);
        let mut session = terminal.spawn(&user.words(&["run", "--bundle", &bundle.arg(), &user.id()]));
        terminal.screen.wait_for("character special file 0");
        assert_eq!(session.wait().code(), Some(5));
        user.assert_gone();
    });
}

#[test]
fn an_image_is_unpacked_into_files_of_the_callers() {
    with_runtime(|rt| {
        if !rt.only_keg("others do not unpack") {
            return;
        }
        let user = User::log_in(rt);
        let image = user.home.join("image");
        user.copy(&harness::runtime::target().join("images/small"), &image);
        let image = format!("{}:latest", image.display());
        let bundle = Bundle(user.home.join("unpacked"));
        let unpack = user.command(&["unpack", "--image", &image, &bundle.arg()]);
        unpack.limit(Duration::from_secs(120)).run().ok();
        let find = ["find", &bundle.arg(), "!", "-user", &user.id.to_string()];
        assert_eq!(rt.program(&find).run().ok().stdout(), "");
        let file = bundle.0.join("rootfs/srv/app/owned-by-1000");
        let words = ["getfattr", "--absolute-names", "-e", "hex", "-n", "user.rootlesscontainers"];
        let owner = rt.program(&[&words[..], &[file.to_str().unwrap()]].concat()).run().ok();
        // Uid 1000 and gid 1000, in protocol buffers.
        assert!(owner.stdout().contains("=0x08e80710e807\n"), "{}", owner.describe());
        bundle.args(&["/bin/sh", "-c", "id -u; cat /etc/issue.net; echo $GREETING"]);
        let seen = user.run(&bundle).ok().stdout();
        assert_eq!(seen, "0\nchanged by the application layer\nhello\n");
        user.assert_gone();
    });
}

#[test]
fn a_user_without_a_session_is_told_where_containers_cannot_be_kept() {
    with_runtime(|rt| {
        if !rt.only_keg("others keep them elsewhere") {
            return;
        }
        let mut user = User::without_session(rt);
        let bundle = user.bundle();
        user.prefix.retain(|word| !word.starts_with("XDG_RUNTIME_DIR="));
        let text = user.run(&bundle).fails_with("permission denied");
        assert!(text.starts_with("cannot use the state directory \"/run/keg\""), "{text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    });
}
