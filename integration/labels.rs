//! Labels of security modules, and resctrl groups: applied where the kernel has them, an error before anything is made where it has
//! not. The virtual machine has AppArmor.

use std::path::Path;

use harness::{json, with_runtime};

#[test]
fn an_apparmor_profile_is_put_on_or_refused() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/bin/cat", "/proc/self/attr/apparmor/current"]);
        bundle.edit(|c| c["process"]["apparmorProfile"] = json!("unconfined"));
        if Path::new("/sys/module/apparmor").exists() {
            assert_eq!(rt.run(&bundle, "c").ok().stdout(), "unconfined\n");
            bundle.edit(|c| c["process"]["apparmorProfile"] = json!("no-such-profile"));
            rt.create(&bundle, "c").fails_with("no-such-profile");
        } else if rt.only_keg("some leave it out") {
            let message = rt.create(&bundle, "c").fails_with("AppArmor is not enabled on this host");
            assert!(message.contains("\"unconfined\""), "{message}");
        }
        rt.assert_gone("c");
    });
}

#[test]
fn an_selinux_label_is_refused_where_selinux_is_off() {
    with_runtime(|rt| {
        if Path::new("/sys/fs/selinux/enforce").exists() || !rt.only_keg("some leave it out") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2"));
        rt.create(&bundle, "c").fails_with("SELinux is not enabled on this host");
        rt.assert_gone("c");
    });
}

/// Callers write it on every host; only one with SELinux knows what to do with it.
#[test]
fn a_mount_label_has_no_effect_where_selinux_is_off() {
    with_runtime(|rt| {
        if Path::new("/sys/fs/selinux/enforce").exists() || !rt.only_keg("some pass it on to the kernel") {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2"));
        bundle.mount(&json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        let inside = bundle.probe(rt);
        assert_eq!(inside.mount_at("/tmp").unwrap()["type"], "tmpfs");
        assert!(!inside["mounts"].to_string().contains("context="), "{}", inside["mounts"]);
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
        rt.create(&bundle, "c").fails_with("linux.intelRdt: ");
        rt.assert_gone("c");
        bundle.edit(|c| c["linux"]["intelRdt"] = json!({}));
        rt.run(&bundle, "c").ok();
    });
}
