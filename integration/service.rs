//! What a service manager gives: listening sockets, the socket on which to say that one is ready, and its logs.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use harness::runtime::target;
use harness::{Runtime, json, with_runtime};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A socket as a service manager has it. What comes is asked for in its order.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).trim_end().to_owned()
    }

    fn assert_silent(&self) {
        self.0.set_nonblocking(true).unwrap();
        let more = self.0.recv(&mut [0; 16]);
        assert!(more.is_err(), "it was told more");
    }
}

/// A container that says something to its NOTIFY_SOCKET, and then that it is ready.
fn service(rt: &Runtime, then: &str) -> harness::Bundle {
    let bundle = rt.bundle();
    fs::copy(target().join("probe"), bundle.rootfs().join("probe")).unwrap();
    bundle.shell(&format!(
        "/probe --notify MAINPID=1 && /probe --notify STATUS=busy && /probe --notify READY=1 && {then}"
    ));
    bundle
}

#[test]
fn listening_sockets_are_passed_on_before_other_descriptors() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("echo $LISTEN_FDS $LISTEN_PID; readlink /proc/self/fd/3; readlink /proc/self/fd/4");
        bundle.edit(|c| c["process"]["env"].as_array_mut().unwrap().push(json!("LISTEN_FDS=99")));
        for name in ["one", "two"] {
            fs::write(rt.dir().join(name), "").unwrap();
        }
        let run = |pid: &str, flags: &[&str]| {
            let script = format!("LISTEN_FDS=1 LISTEN_PID={pid} exec \"$0\" \"$@\"");
            let first = ["sh", "-c", &script].map(str::to_owned).into_iter().chain(rt.invocation());
            let last = ["run", "--bundle", &bundle.arg()].map(str::to_owned);
            let words: Vec<_> = first.chain(last).chain(flags.iter().map(|w| (*w).to_owned())).collect();
            let files = ["one", "two"].map(|name| rt.dir().join(name).display().to_string());
            let done =
                rt.program(&words).redirect(&format!("3<{}", files[0])).redirect(&format!("4<{}", files[1]));
            done.run().stdout()
        };
        let (one, two) = (rt.dir().join("one"), rt.dir().join("two"));
        assert_eq!(run("$$", &["c"]), format!("1 1\n{}\n", one.display()));
        assert_eq!(
            run("$$", &["--preserve-fds", "1", "c"]),
            format!("1 1\n{}\n{}\n", one.display(), two.display())
        );
        assert_eq!(run("1", &["c"]), "99\n");
    });
}

#[test]
fn a_manager_hears_that_the_container_is_ready_and_who_it_is() {
    with_runtime(|rt| {
        let socket = rt.dir().join("manager");
        let manager = Manager::listen(&socket);
        let socket = socket.display().to_string();
        let bundle = service(rt, "exec sleep 1000");
        let create = ["create", "--bundle", &bundle.arg(), "c"];
        rt.command(&create).env("NOTIFY_SOCKET", &socket).run().silent();
        let mut start = rt.command(&["start", "c"]).env("NOTIFY_SOCKET", &socket).spawn();
        assert_eq!(manager.next(), "READY=1");
        assert_eq!(manager.next(), format!("MAINPID={}", rt.pid("c")));
        assert!(!start.has_ended());
        assert_eq!(manager.next(), "BARRIER=1");
        start.wait().silent();
        rt.delete_force("c");

        let run = ["run", "--detach", "--bundle", &bundle.arg(), "c"];
        let run = rt.command(&run).env("NOTIFY_SOCKET", &socket).spawn();
        assert_eq!(manager.next(), "READY=1");
        assert_eq!(manager.next(), format!("MAINPID={}", rt.pid("c")));
        assert_eq!(manager.next(), "BARRIER=1");
        run.wait().silent();
        manager.assert_silent();
    });
}

#[test]
fn in_the_foreground_the_main_process_is_the_runtime() {
    with_runtime(|rt| {
        let socket = rt.dir().join("manager");
        let manager = Manager::listen(&socket);
        let bundle = service(rt, "exit 7");
        let run = ["run", "--bundle", &bundle.arg(), "c"];
        let running = rt.command(&run).env("NOTIFY_SOCKET", socket.to_str().unwrap()).spawn();
        let own = running.pid();
        let done = running.wait();
        assert_eq!(done.code(), 7, "{}", done.describe());
        assert_eq!(manager.next(), "READY=1");
        assert_eq!(manager.next(), format!("MAINPID={own}"));
        manager.assert_silent();
        bundle.shell("exit 8");
        let done = rt.command(&run).env("NOTIFY_SOCKET", socket.to_str().unwrap()).run();
        assert_eq!(done.code(), 8, "a container that never says so: {}", done.describe());
        bundle.shell("echo $NOTIFY_SOCKET; ls /run");
        assert_eq!(rt.run(&bundle, "c").ok().stdout().trim(), "notify", "what was made for the mount");
    });
}

#[test]
fn the_journal_and_the_systems_log_take_errors() {
    with_runtime(|rt| {
        if !rt.only_keg("runc logs to files only") {
            return;
        }
        let none = None::<&str>;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        fs::create_dir_all("/run/systemd/journal").unwrap();
        let journal = Manager::listen(Path::new("/run/systemd/journal/socket"));
        rt.command_with_globals(&["--log", "journald:web"], &["state", "missing"])
            .run()
            .fails_with("does not exist");
        let entry = journal.next();
        assert!(entry.starts_with("PRIORITY=3\nSYSLOG_IDENTIFIER=web\nMESSAGE="), "{entry}");
        assert!(entry.ends_with("container does not exist: missing"), "{entry}");

        let message = rt.command_with_globals(&["--log", "syslog:web"], &["state", "missing"]).run();
        let message = message.fails_with("does not exist");
        assert!(Path::new("/dev/log").exists() || message.contains("cannot write the log file"), "{message}");
        umount2("/run", MntFlags::MNT_DETACH).unwrap();
    });
}
