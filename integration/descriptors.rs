//! File descriptors: the container gets stdin, stdout and stderr, what --preserve-fds names, and nothing else.

use harness::{Inside, json, with_runtime};

#[test]
fn the_process_has_three_descriptors() {
    with_runtime(|rt| {
        assert_eq!(rt.bundle().probe(rt).descriptors(), [0, 1, 2]);
    });
}

#[test]
fn inherited_descriptors_are_closed() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/probe"]);
        let mut command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
        for number in 3..33 {
            command = command.redirect(&format!("{number}</"));
        }
        assert_eq!(Inside::parse(&command.run().ok()).descriptors(), [0, 1, 2]);
    });
}

/// Whatever keg opens first would get the number of one that is closed, and be the program's standard stream.
#[test]
fn closed_standard_streams_are_null_devices() {
    with_runtime(|rt| {
        if !rt.only_keg("others hand on what they find") {
            return;
        }
        let bundle = rt.bundle();
        bundle.shell("for n in 0 1 2; do readlink /proc/self/fd/$n; done > /dev/shm/seen; cat /dev/shm/seen > /out/seen");
        std::fs::create_dir_all(bundle.path().join("out")).unwrap();
        bundle.mount(&json!({"destination": "/out", "type": "bind", "source": bundle.path().join("out"), "options": ["bind", "rw"]}));
        for closed in [vec!["0<&-"], vec!["1>&-"], vec!["0<&-", "1>&-", "2>&-"]] {
            let mut command = rt.command(&["run", "--bundle", &bundle.arg(), "c"]);
            for redirection in &closed {
                command = command.redirect(redirection);
            }
            command.run();
            let seen = std::fs::read_to_string(bundle.path().join("out/seen")).unwrap();
            let seen: Vec<_> = seen.lines().collect();
            for redirection in &closed {
                let number: usize = redirection[..1].parse().unwrap();
                // The shell itself writes its output to a file meanwhile.
                let expected = if number == 1 { "/dev/shm/seen" } else { "/dev/null" };
                assert_eq!(seen[number], expected, "{closed:?}: {seen:?}");
            }
            std::fs::remove_file(bundle.path().join("out/seen")).unwrap();
        }
    });
}

#[test]
fn create_and_start_leave_no_descriptor_either() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/probe"]);
        let words = ["create", "--bundle", &bundle.arg(), "c"];
        let out = rt.command(&words).redirect("3</").redirect("17</proc").run().ok();
        rt.command(&["start", "c"]).redirect("3</").run().ok();
        rt.wait_stopped("c");
        assert_eq!(Inside::parse(&out).descriptors(), [0, 1, 2]);
    });
}

#[test]
fn preserved_descriptors_are_passed_on() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/probe"]);
        let words = ["run", "--preserve-fds", "2", "--bundle", &bundle.arg(), "c"];
        let mut command = rt.command(&words);
        for redirection in ["3</etc", "4</usr", "5</var", "9</"] {
            command = command.redirect(redirection);
        }
        let inside = Inside::parse(&command.run().ok());
        assert_eq!(inside.descriptors(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn preserved_descriptors_work_inside() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        let file = rt.dir().join("handed down");
        std::fs::write(&file, "content\n").unwrap();
        bundle.shell("cat <&3; echo reply >&4");
        let words = ["run", "--preserve-fds=2", "--bundle", &bundle.arg(), "c"];
        let reply = rt.dir().join("reply");
        let command = rt.command(&words).redirect(&format!("3<'{}'", file.display()));
        let done = command.redirect(&format!("4>'{}'", reply.display())).run().ok();
        assert_eq!(done.stdout(), "content\n");
        assert_eq!(std::fs::read_to_string(reply).unwrap(), "reply\n");
    });
}

#[test]
fn the_init_of_a_created_container_holds_no_host_directory_open_for_the_program() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| {
            let all = json!(["CAP_SYS_PTRACE"]);
            c["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
        });
        bundle.shell("for f in /proc/*/fd/*; do readlink $f; done 2>/dev/null; readlink /proc/1/cwd");
        let seen = rt.run(&bundle, "c").ok().stdout();
        assert!(!seen.contains("keg-test.") || seen.contains("/streams/"), "{seen}");
        assert!(!seen.lines().any(|l| l.contains("/rootfs") || l.contains("/bundle")), "{seen}");
    });
}
