//! Labels of security modules, and resctrl groups: applied where the kernel has them, an error before anything is made where it has
//! not. The virtual machine boots once with AppArmor and once with SELinux.

use std::fs;
use std::path::Path;

use harness::{Bundle, Host, Runtime, json, with_runtime};

/// Where a process of a container finds its AppArmor label.
const APPARMOR: &str = "/proc/self/attr/apparmor/current";

/// Of the policy that the virtual machine loads, and of those that distributions have.
const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";
const OTHER_LABEL: &str = "system_u:system_r:container_t:s0:c0";
const FILE_LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

/// Whether AppArmor is on and takes profiles.
fn has_apparmor() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let parser = Path::new("/sbin/apparmor_parser").exists();
    if enabled != "Y\n" || !parser {
        eprintln!("skipped: this host has no AppArmor, or no parser of profiles");
    }
    enabled == "Y\n" && parser
}

/// Whether SELinux is on with a policy that knows the labels.
fn has_selinux() -> bool {
    let known = fs::write("/sys/fs/selinux/context", LABEL).is_ok();
    if !known {
        eprintln!("skipped: this host has no SELinux, or no policy that knows {LABEL}");
    }
    known
}

/// An AppArmor profile that is loaded while this lives.
struct Profile<'a> {
    rt: &'a Runtime,
    name: String,
    file: String,
}

impl<'a> Profile<'a> {
    fn load(rt: &'a Runtime, name: &str, rules: &str) -> Self {
        let name = format!("keg-test-{}-{name}", rt.unique());
        let file = rt.dir().join(&name).display().to_string();
        let rules = format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{\n{rules}\n}}\n");
        fs::write(&file, rules).unwrap();
        let profile = Self { rt, name, file };
        profile.parser("--add");
        profile
    }

    fn parser(&self, how: &str) {
        self.rt.program(&["/sbin/apparmor_parser", "--skip-cache", how, &self.file]).run().ok();
    }

    fn enforced(&self) -> String {
        format!("{} (enforce)\n", self.name)
    }
}

impl Drop for Profile<'_> {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

/// All that programs in these tests do, but for writing one file.
const CONTAINER: &str = "file,\n capability,\n signal,\n unix,\n network,\n deny /tmp/forbidden w,";
/// What keg itself does; of profiles it may add others to this one, and not change to another.
const CALLER: &str = "file,\n capability,\n signal,\n unix,\n network,\n mount,\n umount,\n pivot_root,\n ptrace,\n change_profile -> &**,";

/// A bundle whose program prints a file of its own.
fn printing(rt: &Runtime, file: &str) -> Bundle {
    let bundle = rt.bundle();
    bundle.args(&["/bin/cat", file]);
    bundle
}

fn in_user_namespace(rt: &Runtime, bundle: &Bundle) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.namespace(&json!({"type": "user"}));
    bundle.edit(|c| {
        c["linux"]["uidMappings"] = map.clone();
        c["linux"]["gidMappings"] = map;
    });
    fs::set_permissions(rt.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    rt.program(&["chown", "-R", "-h", "100000:100000", &bundle.rootfs().display().to_string()]).run().ok();
}

#[test]
fn an_apparmor_profile_is_put_on_or_refused() {
    with_runtime(|rt| {
        let bundle = printing(rt, APPARMOR);
        bundle.edit(|c| c["process"]["apparmorProfile"] = json!("unconfined"));
        if has_apparmor() {
            assert_eq!(rt.run(&bundle, "c").ok().stdout(), "unconfined\n");
            bundle.edit(|c| c["process"]["apparmorProfile"] = json!("no-such-profile"));
            let before = Host::look(rt);
            let message = rt.create(&bundle, "c").fails_with("no-such-profile");
            let known = message.contains("\"no-such-profile\": no such profile is loaded");
            assert!(known || !rt.only_keg("others say it otherwise"), "{message}");
            before.assert_same(rt);
        } else if rt.only_keg("some leave it out") {
            let before = Host::look(rt);
            let message = rt.create(&bundle, "c").fails_with("AppArmor is not enabled on this host");
            assert!(message.contains("\"unconfined\""), "{message}");
            before.assert_same(rt);
            let found = rt.command(&["check", &bundle.arg()]).run();
            let words = message.trim_end().split_once("setting the ").unwrap().1;
            let line = format!("error: process.apparmorProfile: setting the {words}");
            assert!(found.code() == 1 && found.stdout().contains(&line), "{}", found.describe());
        }
        rt.assert_gone("c");
    });
}

#[test]
fn an_apparmor_profile_confines_the_program() {
    with_runtime(|rt| {
        if !has_apparmor() {
            return;
        }
        let profile = Profile::load(rt, "c", CONTAINER);
        let bundle = rt.bundle();
        let script = format!(
            "cat {APPARMOR}; echo x >/tmp/allowed && echo fine; echo x >/tmp/forbidden || echo refused"
        );
        bundle.shell(&script);
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        let expected = format!("{}fine\nrefused\n", profile.enforced());
        for no_new_privileges in [true, false] {
            bundle.edit(|c| {
                c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                c["process"]["apparmorProfile"] = json!(profile.name);
            });
            assert_eq!(rt.run(&bundle, "c").ok().stdout(), expected, "{no_new_privileges}");
        }
        in_user_namespace(rt, &bundle);
        assert_eq!(rt.run(&bundle, "c").ok().stdout(), expected, "in a user namespace");
    });
}

#[test]
fn a_further_process_has_the_containers_profile_or_its_own() {
    with_runtime(|rt| {
        if !has_apparmor() {
            return;
        }
        let (profile, other) = (Profile::load(rt, "c", CONTAINER), Profile::load(rt, "e", CONTAINER));
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| c["process"]["apparmorProfile"] = json!(profile.name));
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let exec = |flags: &[&str]| {
            let words = [&["exec"], flags, &["c", "/bin/cat", APPARMOR]].concat();
            rt.command(&words).run()
        };
        assert_eq!(exec(&[]).ok().stdout(), profile.enforced());
        assert_eq!(exec(&["--apparmor", &other.name]).ok().stdout(), other.enforced());
        let refused = exec(&["--apparmor", "no-such-profile"]);
        assert!(
            refused.code() != 0 && refused.stderr().contains("no-such-profile"),
            "{}",
            refused.describe()
        );
        rt.delete_force("c");
    });
}

/// Who is confined may not leave its profile for another one: the container's comes on top of it.
#[test]
fn under_a_profile_of_the_callers_both_confine() {
    with_runtime(|rt| {
        if !has_apparmor() || !rt.only_keg("some fail") {
            return;
        }
        let (profile, caller) = (Profile::load(rt, "c", CONTAINER), Profile::load(rt, "k", CALLER));
        let bundle = printing(rt, APPARMOR);
        for no_new_privileges in [true, false] {
            bundle.edit(|c| {
                c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                c["process"]["apparmorProfile"] = json!(profile.name);
            });
            let run = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
            let label = run.inside(&["aa-exec", "-p", &caller.name, "--"]).run().ok().stdout();
            let both = label.contains("//&") && label.contains(&profile.name) && label.contains(&caller.name);
            assert!(both, "{no_new_privileges}: {label}");
        }
    });
}

#[test]
fn an_selinux_label_is_refused_where_selinux_is_off() {
    with_runtime(|rt| {
        if Path::new("/sys/fs/selinux").exists() || !rt.only_keg("some leave it out") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["selinuxLabel"] = json!(LABEL));
        let before = Host::look(rt);
        rt.create(&bundle, "c").fails_with("SELinux is not enabled on this host");
        before.assert_same(rt);
        rt.assert_gone("c");
        let found = rt.command(&["check", &bundle.arg()]).run();
        let line = format!(
            "error: process.selinuxLabel: setting the SELinux label {LABEL:?}: SELinux is not enabled on this host"
        );
        assert!(found.code() == 1 && found.stdout().contains(&line), "{}", found.describe());
    });
}

#[test]
fn an_selinux_label_is_the_programs() {
    with_runtime(|rt| {
        if !has_selinux() {
            return;
        }
        let bundle = printing(rt, "/proc/self/attr/current");
        for no_new_privileges in [true, false] {
            bundle.edit(|c| {
                c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                c["process"]["selinuxLabel"] = json!(LABEL);
            });
            assert_eq!(rt.run(&bundle, "c").ok().stdout().trim_end_matches('\0'), LABEL);
        }
        in_user_namespace(rt, &bundle);
        assert_eq!(rt.run(&bundle, "c").ok().stdout().trim_end_matches('\0'), LABEL, "in a user namespace");
        bundle.edit(|c| c["process"]["selinuxLabel"] = json!("system_u:no_such_role:container_t:s0"));
        let before = Host::look(rt);
        let message = rt.create(&bundle, "c").fails_with("invalid argument");
        let known = message.contains("setting the SELinux label \"system_u:no_such_role:container_t:s0\"");
        assert!(known || !rt.only_keg("others say it otherwise"), "{message}");
        before.assert_same(rt);
    });
}

#[test]
fn a_further_process_has_the_containers_label_or_its_own() {
    with_runtime(|rt| {
        if !has_selinux() {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.edit(|c| c["process"]["selinuxLabel"] = json!(LABEL));
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        let exec = |flags: &[&str]| {
            let words = [&["exec"], flags, &["c", "/bin/cat", "/proc/self/attr/current"]].concat();
            rt.command(&words).run().ok().stdout().trim_end_matches('\0').to_owned()
        };
        assert_eq!(exec(&[]), LABEL);
        assert_eq!(exec(&["--process-label", OTHER_LABEL]), OTHER_LABEL);
        rt.delete_force("c");
    });
}

#[test]
fn a_further_process_has_labels_of_its_own_or_none_is_made() {
    with_runtime(|rt| {
        if !rt.only_keg("some leave them out") {
            return;
        }
        rt.sleeping("c");
        let exec = |flags: &[&str]| {
            let words = [&["exec"], flags, &["c", "/bin/cat", "/proc/self/attr/apparmor/current"]].concat();
            rt.command(&words).run()
        };
        let fails = |flags: &[&str], text: &str| {
            let done = exec(flags);
            assert_eq!(done.code(), 255, "{}", done.describe());
            assert!(done.stderr().contains(text), "{}", done.describe());
        };
        // Where it is compiled in and turned off, its directory is there too.
        match fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text == "Y\n") {
            true => {
                assert_eq!(exec(&["--apparmor", "unconfined"]).ok().stdout(), "unconfined\n");
                fails(&["--apparmor", "no-such-profile"], "no-such-profile");
            }
            false => fails(&["--apparmor", "unconfined"], "AppArmor is not enabled on this host"),
        }
        if !Path::new("/sys/fs/selinux").exists() {
            fails(&["--process-label", "a_u:b_r:c_t:s0"], "SELinux is not enabled on this host");
        }
    });
}

/// Callers write it on every host; only one with SELinux knows what to do with it.
#[test]
fn a_mount_label_has_no_effect_where_selinux_is_off() {
    with_runtime(|rt| {
        if Path::new("/sys/fs/selinux").exists() || !rt.only_keg("some pass it on to the kernel") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["mountLabel"] = json!(FILE_LABEL));
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        let inside = bundle.probe(rt);
        assert_eq!(inside.mount_at("/tmp").unwrap()["type"], "tmpfs");
        assert!(!inside["mounts"].to_string().contains("context="), "{}", inside["mounts"]);
    });
}

/// All that are the container's own: not proc and sysfs, which show the kernel's objects.
#[test]
fn new_file_systems_have_the_mount_label() {
    with_runtime(|rt| {
        if !has_selinux() {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["mountLabel"] = json!(FILE_LABEL));
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        let labelled = |option: &str, place: &str| {
            let mounts = rt.run(bundle.args(&["/bin/cat", "/proc/self/mountinfo"]), "c").ok().stdout();
            let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(place)).unwrap().to_owned();
            line.split([' ', ',']).any(|word| word.starts_with(&format!("{option}=\"{}", &FILE_LABEL[..20])))
        };
        for place in ["/tmp", "/dev", "/dev/shm", "/dev/pts"] {
            assert!(labelled("context", place), "{place}");
        }
        assert!(!labelled("context", "/proc") && !labelled("context", "/sys"));
        // Its instance is as old as the ipc namespace: no option can label it.
        rt.create(bundle.args(&["/bin/true"]), "m").ok();
        let place = format!("/proc/{}/root/dev/mqueue", rt.pid("m"));
        let words = ["getfattr", "--absolute-names", "--only-values", "-n", "security.selinux", &place];
        assert_eq!(rt.program(&words).run().ok().stdout().trim_end_matches('\0'), FILE_LABEL);
        rt.delete_force("m");
        if rt.only_keg("most know no annotation") {
            for option in ["fscontext", "rootcontext"] {
                bundle.edit(|c| c["annotations"] = json!({"run.oci.mount_context_type": option}));
                assert!(labelled(option, "/tmp") && !labelled("context", "/tmp"), "{option}");
            }
        }
    });
}

#[test]
fn a_resctrl_group_that_cannot_be_had_is_an_error_before_anything_is_made() {
    with_runtime(|rt| {
        if Path::new("/sys/fs/resctrl/schemata").exists() || !rt.only_keg("others say it otherwise") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["intelRdt"] = json!({"l3CacheSchema": "L3:0=f"}));
        let before = Host::look(rt);
        rt.create(&bundle, "c").fails_with("linux.intelRdt: ");
        before.assert_same(rt);
        rt.assert_gone("c");
        bundle.edit(|c| c["linux"]["intelRdt"] = json!({}));
        rt.run(&bundle, "c").ok();
    });
}
