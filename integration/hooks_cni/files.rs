//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`: what a container gets, whatever its image has in their places.

use std::fs;
use std::os::unix::fs::symlink;

use harness::{Bundle, Runtime, json, with_runtime};

use super::Net;

const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// What a container that runs for a while sees in a file.
fn cat(rt: &Runtime, id: &str, path: &str) -> String {
    rt.command(&["exec", id, "/bin/cat", path]).run().ok().stdout()
}

fn run(rt: &Runtime, bundle: &Bundle, id: &str) {
    bundle.args(&["/bin/sleep", "1000"]);
    rt.create(bundle, id).ok();
    rt.start(id).ok();
}

/// A network that names its servers.
fn network(net: &Net<'_>) -> std::path::PathBuf {
    let mut bridge = net.bridge(88, 10, 250);
    bridge["dns"] = json!({"nameservers": ["10.88.0.53"], "search": ["keg.example"], "options": ["ndots:2"]});
    net.list("named", json!([bridge]))
}

#[test]
fn a_container_gets_them_and_its_root_directory_does_not() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let bundle = net.bundle(&network(&net), &[]);
        fs::write(bundle.rootfs().join("etc/hosts"), "of the image\n").unwrap();
        run(rt, &bundle, "c");
        assert_eq!(
            cat(rt, "c", "/etc/hosts"),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.88.0.10\tc inside\n"
        );
        assert_eq!(cat(rt, "c", "/etc/hostname"), "inside\n");
        assert_eq!(
            cat(rt, "c", "/etc/resolv.conf"),
            "nameserver 10.88.0.53\nsearch keg.example\noptions ndots:2\n"
        );
        // They change with the network, not by the container.
        let write = rt.command(&["exec", "c", "/bin/sh", "-c", "echo 10.88.0.66 bank >> /etc/hosts"]).run();
        assert!(
            !write.status.success() && write.stderr().contains("Read-only file system"),
            "{}",
            write.describe()
        );
        run(rt, &net.bundle(&network(&net), &[]), "d");
        assert!(
            cat(rt, "c", "/etc/hosts").ends_with("10.88.0.10\tc inside\n10.88.0.11\td\n"),
            "{}",
            cat(rt, "c", "/etc/hosts")
        );
        assert!(
            cat(rt, "d", "/etc/hosts").ends_with("10.88.0.11\td inside\n10.88.0.10\tc\n"),
            "{}",
            cat(rt, "d", "/etc/hosts")
        );
        rt.delete_force("c");
        rt.delete_force("d");
        assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/hosts")).unwrap(), "of the image\n");
    });
}

#[test]
fn links_of_an_image_lead_nowhere() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let (config, outside) = (network(&net), rt.dir().join("outside"));
        fs::create_dir(&outside).unwrap();
        for target in [
            outside.join("file").display().to_string(),
            "/proc/1/root/etc/passwd".to_owned(),
            "../../../../nowhere".to_owned(),
        ] {
            fs::write(outside.join("file"), "of the host\n").unwrap();
            let bundle = net.bundle(&config, &[]);
            for name in NAMES {
                symlink(&target, bundle.rootfs().join("etc").join(name)).unwrap();
            }
            run(rt, &bundle, "c");
            assert!(cat(rt, "c", "/etc/hosts").contains("10.88.0."), "{target}");
            assert!(cat(rt, "c", "/etc/resolv.conf").contains("10.88.0.53"), "{target}");
            assert_eq!(cat(rt, "c", "/etc/hostname"), "inside\n", "{target}");
            rt.delete_force("c");
            assert_eq!(
                fs::read_link(bundle.rootfs().join("etc/hosts")).unwrap().to_str(),
                Some(target.as_str())
            );
            assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "of the host\n");
        }
        // A directory that is a link could be anywhere: nothing is made there.
        let bundle = net.bundle(&config, &[]);
        fs::rename(bundle.rootfs().join("etc"), bundle.rootfs().join("etc2")).unwrap();
        symlink(&outside, bundle.rootfs().join("etc")).unwrap();
        fs::remove_file(outside.join("file")).unwrap();
        assert!(!rt.create(&bundle, "c").status.success());
        rt.delete_force("c");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

#[test]
fn containers_with_one_root_directory_have_their_own() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = network(&net);
        let first = net.bundle(&config, &[]);
        let second = net.bundle(&config, &[]);
        second.edit(|c| {
            c["root"]["path"] = json!(first.rootfs());
            c["hostname"] = json!("second");
        });
        run(rt, &first, "one");
        run(rt, &second, "two");
        assert_eq!(
            (cat(rt, "one", "/etc/hostname"), cat(rt, "two", "/etc/hostname")),
            ("inside\n".into(), "second\n".into())
        );
        assert!(cat(rt, "one", "/etc/hosts").contains("\tone inside\n"));
        assert!(cat(rt, "two", "/etc/hosts").contains("\ttwo second\n"));
        rt.delete_force("one");
        assert_eq!(cat(rt, "two", "/etc/hostname"), "second\n");
        rt.delete_force("two");
    });
}

#[test]
fn only_what_was_asked_for_is_mounted() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = network(&net);
        let mounts =
            |id: &str| cat(rt, id, "/proc/mounts").lines().filter(|line| line.contains(" /etc/")).count();
        run(rt, &net.bundle(&config, &["--files", "none"]), "none");
        assert_eq!(mounts("none"), 0);
        run(rt, &net.bundle(&config, &["--files", "resolv.conf"]), "one");
        assert_eq!(mounts("one"), 1);
        // What the configuration mounts is its own.
        let bundle = net.bundle(&config, &[]);
        let own = bundle.path().join("own-hosts");
        fs::write(&own, "my own\n").unwrap();
        fs::write(bundle.rootfs().join("etc/hosts"), "").unwrap();
        bundle
            .mount(&json!({"destination": "/etc/hosts", "type": "bind", "source": own, "options": ["bind"]}));
        run(rt, &bundle, "own");
        assert_eq!(cat(rt, "own", "/etc/hosts"), "my own\n");
        assert_eq!(mounts("own"), 3);
        for id in ["none", "one", "own"] {
            rt.delete_force(id);
        }
        assert_eq!(fs::read_to_string(own).unwrap(), "my own\n");
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

/// Names are somebody's words in everybody's file.
#[test]
fn a_name_cannot_be_more_than_a_name() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = network(&net);
        run(rt, &net.bundle(&config, &[]), "victim");
        let bundle = net.bundle(&config, &[]);
        bundle.edit(|c| c["annotations"] = json!({"keg.cni.aliases": "x\n10.88.0.66 bank"}));
        assert!(!rt.create(&bundle, "thief").status.success());
        rt.delete_force("thief");
        bundle.edit(|c| c["annotations"] = json!({"keg.cni.aliases": "victim,localhost2"}));
        run(rt, &bundle, "thief");
        let hosts = cat(rt, "victim", "/etc/hosts");
        assert!(hosts.contains("\tvictim inside\n") && hosts.contains("\tthief localhost2\n"), "{hosts}");
        rt.delete_force("thief");
        rt.delete_force("victim");
    });
}

/// What hooks that were killed on their last steps have left.
#[test]
fn remains_of_a_former_container_are_no_others() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = network(&net);
        run(rt, &net.bundle(&config, &[]), "stays");
        // No attachment any more, but files; and a name that nobody has taken out.
        let left = std::path::Path::new("/run/keg-hook-cni/containers/c");
        fs::create_dir(left).unwrap();
        for name in NAMES {
            fs::write(left.join(name), "of the former\n").unwrap();
        }
        fs::write("/run/keg-hook-cni/containers/stays/hosts", "10.88.0.99\tgone\n").unwrap();
        run(rt, &net.bundle(&config, &[]), "c");
        for name in NAMES {
            assert!(!cat(rt, "c", &format!("/etc/{name}")).contains("former"), "{name}");
        }
        assert!(cat(rt, "c", "/etc/hosts").contains("\tstays\n"));
        rt.delete_force("c");
        fs::write("/run/keg-hook-cni/containers/stays/hosts", "10.88.0.99\tgone\n").unwrap();
        let state = json!({"id": "c", "status": "stopped", "bundle": "/nowhere"});
        net.hook(&[], &state).run().silent();
        let hosts = cat(rt, "stays", "/etc/hosts");
        assert!(hosts.contains("\tstays inside\n") && !hosts.contains("gone"), "{hosts}");
        rt.delete_force("stays");
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}
