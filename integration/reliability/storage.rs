//! A full disk: commands that need room say so and leave nothing, commands that remove things work.

use std::fs;
use std::path::Path;

use harness::{Host, Runtime, json, with_runtime};

fn mount(rt: &Runtime, at: &Path, options: &str) {
    fs::create_dir_all(at).unwrap();
    rt.program(&["mount", "-t", "tmpfs", "-o", options, "none", at.to_str().unwrap()]).run().ok();
}

fn umount(rt: &Runtime, at: &Path) {
    rt.program(&["umount", at.to_str().unwrap()]).run().ok();
}

fn fill(at: &Path) {
    let file = at.join("full");
    let mut size = 1 << 20;
    let mut text = Vec::new();
    while size > 0 {
        text.resize(size, b'x');
        let written = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &text));
        if written.is_err() {
            size /= 2;
        }
    }
}

#[test]
fn the_state_directory_is_full() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave the container half made") {
            return;
        }
        let bundle = rt.bundle();
        for options in ["size=4k", "size=64k,nr_inodes=2", "size=64k,nr_inodes=3", "size=64k,nr_inodes=4"] {
            mount(rt, &rt.root(), options);
            if options == "size=4k" {
                fill(&rt.root());
            }
            let before = Host::look(rt);
            let done = rt.create(&bundle, "c");
            if !done.status.success() {
                done.fails_with("no space left on device");
                before.assert_same(rt);
            }
            rt.delete_force("c");
            before.assert_same(rt);
            umount(rt, &rt.root());
        }
    });
}

#[test]
fn the_state_directory_is_full_later() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave the container half made") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "1000"]);
        mount(rt, &rt.root(), "size=64k");
        let before = Host::look(rt);
        rt.create(&bundle, "c").ok();
        fill(&rt.root());
        let started = rt.start("c");
        let status = rt.status("c");
        // Either it runs and says so, or it does not.
        assert_eq!(
            status,
            if started.status.success() { "running" } else { "created" },
            "{}",
            started.describe()
        );
        rt.kill("c", "KILL").ok();
        fs::remove_file(rt.root().join("full")).unwrap();
        rt.delete_force("c");
        before.assert_same(rt);
        rt.create(&bundle, "c").ok();
        fill(&rt.root());
        rt.delete_force("c");
        rt.assert_gone("c");
        fs::remove_file(rt.root().join("full")).unwrap();
        before.assert_same(rt);
        umount(rt, &rt.root());
    });
}

#[test]
fn the_image_is_on_a_full_disk() {
    with_runtime(|rt| {
        if !rt.only_keg("others have other words") {
            return;
        }
        let bundle = rt.bundle();
        let small = rt.dir().join("small");
        mount(rt, &small, "size=4m,nr_inodes=100");
        rt.program(&["cp", "-a", bundle.rootfs().to_str().unwrap(), small.to_str().unwrap()]).run().ok();
        // No room for one more name either.
        fill(&small);
        while fs::File::create_new(small.join(format!("full{}", fs::read_dir(&small).unwrap().count())))
            .is_ok()
        {}
        bundle.edit(|c| {
            c["root"] = json!({"path": small.join("rootfs"), "readonly": false});
        });
        bundle.mount(&json!({"destination": "/new/place", "type": "tmpfs", "source": "tmpfs"}));
        let before = Host::look(rt);
        let message = rt.create(&bundle, "c").fails_with("no space left on device");
        assert!(message.contains("/new/place"), "{message}");
        before.assert_same(rt);
        umount(rt, &small);
    });
}
