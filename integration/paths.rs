//! Masked and read-only paths.

use std::fs;

use harness::{json, with_runtime};

#[test]
fn a_masked_file_reads_as_empty_and_a_masked_directory_is_empty() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::create_dir(bundle.rootfs().join("secret")).unwrap();
        fs::write(bundle.rootfs().join("secret/file"), "secret").unwrap();
        fs::write(bundle.rootfs().join("etc/secret"), "secret").unwrap();
        bundle.edit(|c| {
            c["linux"]["maskedPaths"] = json!(["/secret", "/etc/secret", "/no/such/path", "/proc/kcore"]);
            c["root"]["readonly"] = json!(false);
        });
        bundle.shell(
            "ls -A /secret | wc -l; cat /etc/secret | wc -c; cat /proc/kcore | wc -c; ls -d /no 2>/dev/null",
        );
        assert_eq!(rt.run(&bundle, "c").stdout(), "0\n0\n0\n");
        assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/secret")).unwrap(), "secret");
    });
}

#[test]
fn a_masked_path_can_neither_be_written_nor_changed() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::create_dir(bundle.rootfs().join("secret")).unwrap();
        fs::write(bundle.rootfs().join("etc/secret"), "secret").unwrap();
        bundle.edit(|c| {
            c["linux"]["maskedPaths"] = json!(["/secret", "/etc/secret"]);
            c["root"]["readonly"] = json!(false);
        });
        bundle
            .shell("echo x > /secret/file || echo refused; echo gone > /etc/secret; cat /etc/secret | wc -c");
        assert_eq!(rt.run(&bundle, "c").stdout(), "refused\n0\n");
        assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/secret")).unwrap(), "secret");
    });
}

#[test]
fn read_only_paths_can_be_read_but_not_written() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        fs::create_dir(bundle.rootfs().join("data")).unwrap();
        fs::write(bundle.rootfs().join("data/file"), "content\n").unwrap();
        bundle.edit(|c| {
            c["linux"]["readonlyPaths"] = json!(["/data", "/proc/sys", "/no/such/path", "/etc/group"]);
            c["root"]["readonly"] = json!(false);
        });
        let script = "cat /data/file; for f in /data/file /data/new /proc/sys/kernel/domainname /etc/group; do \
                      echo x 2>/dev/null > $f || echo refused; done; echo ok > /etc/other && echo written";
        bundle.shell(script);
        assert_eq!(rt.run(&bundle, "c").stdout(), format!("content\n{}written\n", "refused\n".repeat(4)));
        let inside = bundle.probe(rt);
        assert!(inside.has_option("/data", "ro") && inside.has_option("/proc/sys", "ro"));
    });
}

#[test]
fn a_mask_is_one_mount() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            let caps = json!(["CAP_SYS_ADMIN"]);
            c["process"]["capabilities"] = json!({"bounding": caps, "permitted": caps, "effective": caps});
            c["linux"]["maskedPaths"] = json!(["/proc/meminfo", "/proc/timer_list"]);
        });
        let inside = bundle.probe(rt);
        let masks = inside["mounts"].as_array().unwrap().iter().filter(|m| m["target"] == "/proc/meminfo");
        assert_eq!(masks.count(), 1, "exactly one mount covers it");
    });
}
