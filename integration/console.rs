//! Terminals: sent over a socket, or joined to the terminal that the runtime was started in; and standard streams that are none.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use harness::terminal::{DescriptorSocket, Screen, Session, Terminal};
use harness::{Bundle, Runtime, alive, json, wait_until, with_runtime};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, OutputFlags};
use nix::unistd::Pid;

/// The first process of a pid namespace is hung up only if it says so.
fn until_hang_up(first: &str) -> String {
    format!("trap 'exit 0' HUP; {first}; while :; do sleep 0.05; done")
}

/// A bundle whose process is a shell script in a terminal.
fn in_terminal(rt: &Runtime, script: &str) -> Bundle {
    let bundle = rt.bundle();
    bundle.shell(script).edit(|c| c["process"]["terminal"] = json!(true));
    bundle
}

/// Creates and starts it; the other side of its terminal.
fn start(rt: &Runtime, bundle: &Bundle) -> Screen {
    let socket = DescriptorSocket::listen(rt.dir(), "console");
    let words = ["create", "--bundle", &bundle.arg(), "--console-socket", &socket.arg(), "c"];
    rt.command(&words).run().silent();
    let (_, master) = socket.receive();
    fs::remove_file(rt.dir().join("console")).unwrap();
    rt.start("c").silent();
    Screen::new(master)
}

/// The runtime's command in a terminal of the host.
fn foreground(rt: &Runtime, terminal: &Terminal, words: &[&str]) -> Session {
    let mut all = rt.invocation();
    all.extend(words.iter().map(|&word| word.to_owned()));
    terminal.spawn(&all)
}

/// `run` in a terminal of the host, once its script says that it is ready.
fn attached(rt: &Runtime, script: &str) -> (Terminal, Session) {
    let bundle = in_terminal(rt, script);
    let mut terminal = Terminal::open(24, 80);
    let session = foreground(rt, &terminal, &["run", "--bundle", &bundle.arg(), "c"]);
    terminal.screen.wait_for("ready");
    (terminal, session)
}

#[test]
fn the_program_gets_a_terminal_of_its_own_devpts() {
    with_runtime(|rt| {
        let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; test -t $n && echo terminal; done; \
                      set -- $(cat /proc/self/stat); echo session $6 controlled by $7; echo end";
        let mut screen = start(rt, &in_terminal(rt, script));
        screen.wait_for("end");
        let lines: Vec<_> = screen.seen().lines().collect();
        let tty = ["/dev/pts/0", "terminal"];
        assert_eq!(lines[..6], [tty, tty, tty].concat()[..], "{lines:?}");
        assert_eq!(lines[6], "session 1 controlled by 34816", "136:0");
    });
}

#[test]
fn the_terminal_is_the_console_and_belongs_to_the_user() {
    with_runtime(|rt| {
        let script = "stat -c '%n %u %g %F %t' /dev/console /dev/pts/0; echo one > /dev/console; \
                      echo two > /dev/tty; echo three > /dev/stdout; echo end";
        let bundle = in_terminal(rt, script);
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 2000}));
        let mut screen = start(rt, &bundle);
        screen.wait_for("end");
        let expected = "/dev/console 1000 5 character special file 88\r\n\
                        /dev/pts/0 1000 5 character special file 88\r\none\r\ntwo\r\nthree\r\nend";
        assert_eq!(screen.seen().trim_end(), expected);
    });
}

#[test]
fn a_terminal_in_a_user_namespace() {
    with_runtime(|rt| {
        let bundle =
            in_terminal(rt, "stat -c '%n %u' /dev/console /dev/pts/0; echo > /dev/console; echo end");
        bundle.namespace(&json!({"type": "user"})).edit(|c| {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            (c["linux"]["uidMappings"], c["linux"]["gidMappings"]) = (map.clone(), map);
            c["process"]["user"] = json!({"uid": 7, "gid": 8});
        });
        for directory in bundle.path().ancestors().take_while(|path| path.starts_with(rt.dir())) {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut screen = start(rt, &bundle);
        screen.wait_for("end");
        assert_eq!(screen.seen().trim_end(), "/dev/console 7\r\n/dev/pts/0 7\r\n\r\nend");
    });
}

#[test]
fn the_size_is_that_of_config_json() {
    with_runtime(|rt| {
        let bundle = in_terminal(rt, "/bin/busybox stty size; echo end");
        bundle.edit(|c| c["process"]["consoleSize"] = json!({"height": 33, "width": 99}));
        let mut screen = start(rt, &bundle);
        screen.wait_for("end");
        assert_eq!(screen.seen(), "33 99\r\nend\r\n");
    });
}

#[test]
fn keys_reach_the_program_and_the_end_of_the_terminal_does_too() {
    with_runtime(|rt| {
        let mut screen = start(rt, &in_terminal(rt, &until_hang_up("read line; echo \"got $line\"")));
        screen.write("hello\n");
        screen.wait_for("got hello\r\n");
        drop(screen);
        rt.wait_stopped("c");
    });
}

#[test]
fn the_name_of_the_master_comes_with_it() {
    with_runtime(|rt| {
        let socket = DescriptorSocket::listen(rt.dir(), "console");
        let bundle = in_terminal(rt, "true");
        let words = ["create", "--bundle", &bundle.arg(), "--console-socket", &socket.arg(), "c"];
        rt.command(&words).run().silent();
        let (name, master) = socket.receive();
        assert_eq!(String::from_utf8(name).unwrap(), "/dev/ptmx");
        assert!(nix::unistd::isatty(&master).unwrap());
        assert!(Screen::new(master).modes().output_flags.contains(OutputFlags::ONLCR), "as terminals are");
    });
}

#[test]
fn sockets_are_relative_to_the_caller_as_documents_are() {
    with_runtime(|rt| {
        let bundle = in_terminal(rt, "exec sleep 100");
        let socket = DescriptorSocket::listen(rt.dir(), "console");
        let name = bundle.path().file_name().unwrap().to_str().unwrap();
        let create = ["create", "--bundle", name, "--console-socket", "console", "c"];
        rt.command(&create).cwd(rt.dir()).run().silent();
        socket.receive();
        rt.start("c").silent();
        let process =
            json!({"args": ["/bin/true"], "cwd": "/", "terminal": true, "user": {"uid": 0, "gid": 0}});
        fs::write(rt.dir().join("process.json"), process.to_string()).unwrap();
        let exec = ["exec", "--detach", "--process", "process.json", "--console-socket", "console", "c"];
        rt.command(&exec).cwd(rt.dir()).run().silent();
        socket.receive();
        if rt.only_keg("Debian's runc and crun do not know --pidfd-socket") {
            let exec = ["exec", "--pidfd-socket", "console", "c", "/bin/true"];
            rt.command(&exec).cwd(rt.dir()).run().silent();
            socket.receive();
        }
    });
}

#[test]
fn exec_sends_a_terminal_too() {
    with_runtime(|rt| {
        rt.sleeping("c");
        let socket = DescriptorSocket::listen(rt.dir(), "console");
        let script = "readlink /proc/self/fd/0; stat -c %u /dev/pts/0; echo hi > /dev/tty; echo end";
        let words = ["exec", "--detach", "--tty", "--user", "5", "--console-socket", &socket.arg(), "c"];
        rt.command(&[&words[..], &["/bin/sh", "-c", script]].concat()).run().silent();
        let mut screen = Screen::new(socket.receive().1);
        screen.wait_for("end");
        assert_eq!(screen.seen().trim_end(), "/dev/pts/0\r\n5\r\nhi\r\nend");
    });
}

#[test]
fn a_terminal_needs_somebody_to_take_it() {
    with_runtime(|rt| {
        let bundle = in_terminal(rt, "true");
        let name = rt.binary().file_name().unwrap().to_string_lossy().into_owned();
        let alone = &format!("cannot allocate tty if {name} will detach without setting console socket");
        rt.create(&bundle, "c").fails_with(alone);
        rt.command(&["run", "--detach", "--bundle", &bundle.arg(), "c"]).run().fails_with(alone);
        let words = ["create", "--bundle", &bundle.arg(), "--console-socket", "/not/there", "c"];
        rt.command(&words).run().fails_with("no such file or directory");
        let setsid = ["setsid", "--wait"];
        let run = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).inside(&setsid).run();
        run.fails_with("/dev/tty");
        bundle.edit(|c| c["process"]["terminal"] = json!(false));
        let useless = &format!("cannot use console socket if {name} will not detach or allocate tty");
        for command in ["create", "run"] {
            let words = [command, "--bundle", &bundle.arg(), "--console-socket", "/not/there", "c"];
            rt.command(&words).run().fails_with(useless);
        }
        rt.assert_gone("c");
        bundle.args(&["/bin/sleep", "100"]);
        rt.create(&bundle, "c").ok();
        rt.start("c").ok();
        for (flags, text) in [
            (&["--detach", "--tty"][..], alone),
            (&["--console-socket", "/not/there"], useless),
            (&["--detach", "--console-socket", "/not/there"], useless),
        ] {
            let done = rt.command(&[&["exec"], flags, &["c", "/bin/true"]].concat()).run();
            assert_eq!(done.code(), 255, "{}", done.describe());
            assert!(done.stderr().contains(text), "{}", done.describe());
        }
    });
}

#[test]
fn run_joins_the_containers_terminal_to_the_callers() {
    with_runtime(|rt| {
        let script = "/bin/busybox stty size; /bin/busybox stty | grep -o -- -onlcr; read line; echo \"got $line\"; \
                      echo done; exit 7";
        let bundle = in_terminal(rt, script);
        let mut terminal = Terminal::open(40, 111);
        let before = terminal.screen.modes();
        let mut session = foreground(rt, &terminal, &["run", "--bundle", &bundle.arg(), "c"]);
        terminal.screen.wait_for("-onlcr");
        let raw = terminal.screen.modes();
        assert!(!raw.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
        terminal.screen.write("keys\r");
        terminal.screen.wait_for("done\r\n");
        assert_eq!(session.wait().code(), Some(7));
        assert_eq!(terminal.screen.seen(), "40 111\r\n-onlcr\r\nkeys\r\ngot keys\r\ndone\r\n");
        assert_eq!(terminal.screen.modes(), before);
        rt.assert_gone("c");
    });
}

#[test]
fn exec_joins_a_terminal_to_the_callers() {
    with_runtime(|rt| {
        rt.sleeping("c");
        let mut terminal = Terminal::open(22, 77);
        let before = terminal.screen.modes();
        let script = "/bin/busybox stty size; readlink /proc/self/fd/1; kill -9 $$";
        let mut session = foreground(rt, &terminal, &["exec", "-t", "c", "/bin/sh", "-c", script]);
        assert_eq!(session.wait().code(), Some(137));
        terminal.screen.wait_for("/dev/pts/0\r\n");
        assert_eq!(terminal.screen.seen(), "22 77\r\n/dev/pts/0\r\n");
        assert_eq!(terminal.screen.modes(), before);
    });
}

#[test]
fn the_modes_are_put_back_whatever_happens() {
    with_runtime(|rt| {
        let bundle = in_terminal(rt, "echo up; exec sleep 100");
        let mut terminal = Terminal::open(24, 80);
        let before = terminal.screen.modes();
        let mut session = foreground(rt, &terminal, &["run", "--bundle", &bundle.arg(), "c"]);
        terminal.screen.wait_for("up\r\n");
        kill(Pid::from_raw(session.pid()), Signal::SIGUSR1).unwrap();
        rt.kill("c", "KILL").ok();
        assert_eq!(session.wait().code(), Some(137));
        assert_eq!(terminal.screen.modes(), before);

        bundle.args(&["/no/such/program"]);
        let mut session = foreground(rt, &terminal, &["run", "--bundle", &bundle.arg(), "c"]);
        assert_eq!(session.wait().code(), Some(1));
        assert_eq!(terminal.screen.modes(), before);
        rt.assert_gone("c");
    });
}

#[test]
fn the_size_follows_that_of_the_callers_terminal() {
    with_runtime(|rt| {
        let script = "trap '/bin/busybox stty size' WINCH; trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        let (mut terminal, mut session) = attached(rt, script);
        terminal.resize(51, 132);
        terminal.screen.wait_for("51 132\r\n");
        // So does that of a further process.
        let mut other = Terminal::open(24, 80);
        let mut exec = foreground(rt, &other, &["exec", "--tty", "c", "/bin/sh", "-c", script]);
        other.screen.wait_for("ready");
        other.resize(52, 133);
        other.screen.wait_for("52 133\r\n");
        kill(Pid::from_raw(exec.pid()), Signal::SIGTERM).unwrap();
        assert_eq!(exec.wait().code(), Some(3));
        rt.kill("c", "TERM").ok();
        assert_eq!(session.wait().code(), Some(3));
    });
}

#[test]
fn the_interrupt_key_is_for_the_container() {
    with_runtime(|rt| {
        let script = "trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 0.05; done";
        let (mut terminal, mut session) = attached(rt, script);
        terminal.screen.write("\x03");
        terminal.screen.wait_for("interrupted");
        assert_eq!(session.wait().code(), Some(4));
    });
}

#[test]
fn signals_are_passed_on_with_a_terminal_too() {
    with_runtime(|rt| {
        let script = "trap 'echo terminated; exit 6' TERM; echo ready; while :; do sleep 0.05; done";
        let (mut terminal, mut session) = attached(rt, script);
        kill(Pid::from_raw(session.pid()), Signal::SIGTERM).unwrap();
        terminal.screen.wait_for("terminated");
        assert_eq!(session.wait().code(), Some(6));
    });
}

#[test]
fn a_terminal_that_hangs_up_hangs_up_the_containers() {
    with_runtime(|rt| {
        let (terminal, mut session) = attached(rt, &until_hang_up("echo ready"));
        let pid = rt.pid("c");
        terminal.hang_up();
        session.wait();
        assert!(!alive(pid));
        rt.assert_gone("c");
    });
}

#[test]
fn nothing_is_lost_of_much_output() {
    with_runtime(|rt| {
        let bundle = in_terminal(rt, "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done");
        let mut terminal = Terminal::open(24, 80);
        let mut session = foreground(rt, &terminal, &["run", "--bundle", &bundle.arg(), "c"]);
        terminal.screen.wait_for("line 4999\r\n");
        assert_eq!(session.wait().code(), Some(0));
        let expected: String = (0..5000).map(|n| format!("line {n}\r\n")).collect();
        assert!(terminal.screen.seen() == expected, "{} bytes", terminal.screen.seen().len());
    });
}

#[test]
fn input_that_is_no_terminal_ends_inside_too() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave the program waiting") {
            return;
        }
        let bundle = in_terminal(rt, "/bin/busybox stty -echo; cat; echo end");
        let file = rt.dir().join("input");
        for (text, seen) in
            [("one\ntwo\n", "one\r\ntwo\r\nend\r\n"), ("half", "halfend\r\n"), ("", "end\r\n")]
        {
            fs::write(&file, text).unwrap();
            let mut terminal = Terminal::open(24, 80);
            let script = format!(
                "exec {} run --bundle {} c < {}",
                rt.invocation().join(" "),
                bundle.arg(),
                file.display()
            );
            let mut session = terminal.spawn(&["sh".to_owned(), "-c".to_owned(), script]);
            assert_eq!(session.wait().code(), Some(0));
            terminal.screen.wait_for("end\r\n");
            assert!(terminal.screen.seen().ends_with(seen), "{text:?}: {:?}", terminal.screen.seen());
        }
    });
}

/// A decoy outside the root, in whose place something could be made.
fn decoy(rt: &Runtime) -> std::path::PathBuf {
    let decoy = rt.dir().join("decoy");
    fs::create_dir_all(&decoy).unwrap();
    decoy
}

/// /dev is a directory of the image, with a devpts.
fn image_dev(bundle: &Bundle, readonly: bool) {
    bundle.edit(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev") || m["type"] == "devpts");
        c["root"]["readonly"] = json!(readonly);
    });
    fs::create_dir_all(bundle.rootfs().join("dev/pts")).unwrap();
}

#[test]
fn the_console_of_an_image_cannot_lead_out() {
    with_runtime(|rt| {
        if !rt.only_keg("CVE-2026-88264 and its like") {
            return;
        }
        let decoy = decoy(rt);
        for readonly in [false, true] {
            for target in
                [decoy.join("made"), Path::new("/etc/inside").to_owned(), Path::new("/dev/null").to_owned()]
            {
                let bundle = in_terminal(rt, "true");
                image_dev(&bundle, readonly);
                symlink(&target, bundle.rootfs().join("dev/console")).unwrap();
                let socket = DescriptorSocket::listen(rt.dir(), "console");
                let words = ["create", "--bundle", &bundle.arg(), "--console-socket", &socket.arg(), "c"];
                let message = rt.command(&words).run().fails_with("/dev/console");
                assert_eq!(message.lines().count(), 1, "{message}");
                fs::remove_file(rt.dir().join("console")).unwrap();
                assert!(!bundle.rootfs().join("etc/inside").exists());
            }
        }
        assert_eq!(fs::read_dir(&decoy).unwrap().count(), 0);
    });
}

#[test]
fn a_console_that_is_there_is_covered_and_one_that_is_not_is_made() {
    with_runtime(|rt| {
        for (there, readonly) in [(false, false), (true, false), (false, true), (true, true)] {
            let bundle = in_terminal(rt, "echo through > /dev/console; echo end; sleep 100");
            image_dev(&bundle, readonly);
            if there {
                fs::write(bundle.rootfs().join("dev/console"), "content").unwrap();
            }
            let mut screen = start(rt, &bundle);
            screen.wait_for("through\r\nend");
            rt.delete_force("c");
            if rt.only_keg("others empty the file") {
                let content = fs::read_to_string(bundle.rootfs().join("dev/console")).unwrap();
                assert_eq!(content, if there { "content" } else { "" });
            }
        }
    });
}

#[test]
fn a_terminal_needs_a_devpts() {
    with_runtime(|rt| {
        if !rt.only_keg("others take the terminal of whatever is there") {
            return;
        }
        let bundle = in_terminal(rt, "true");
        image_dev(&bundle, false);
        bundle.edit(|c| c["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "devpts"));
        let dev = bundle.rootfs().join("dev");
        symlink("/dev/null", dev.join("pts/ptmx")).unwrap();
        let socket = DescriptorSocket::listen(rt.dir(), "console");
        let words = ["create", "--bundle", &bundle.arg(), "--console-socket", &socket.arg(), "c"];
        rt.command(&words).run().fails_with("a terminal needs a devpts mounted at /dev/pts");
        fs::remove_dir_all(dev.join("pts")).unwrap();
        symlink("/proc/1/root/dev/pts", dev.join("pts")).unwrap();
        rt.command(&words).run().fails_with("");
        rt.assert_gone("c");
    });
}

#[test]
fn pipes_belong_to_the_user_and_files_and_the_null_device_stay_as_they_are() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.edit(|c| c["process"]["user"] = json!({"uid": 1000, "gid": 1000}));
        let null = || fs::metadata("/dev/null").map(|m| (m.uid(), m.gid(), m.mode())).unwrap();
        let before = null();
        bundle.shell("echo through > /dev/stdout; stat -L -c %u /proc/self/fd/1");
        let script =
            format!("{} run --bundle {} c < /dev/null | cat", rt.invocation().join(" "), bundle.arg());
        let done = rt.program(&["sh", "-c", &script]).run().ok();
        assert_eq!((done.stdout().as_str(), done.stderr().as_str()), ("through\n1000\n", ""));
        assert_eq!(null(), before);
        if rt.only_keg("others change the owner of a file of the host") {
            bundle.args(&["/bin/true"]);
            let file = rt.dir().join("file");
            fs::write(&file, "content").unwrap();
            let redirection = format!(">>'{}'", file.display());
            rt.command(&["run", "--bundle", &bundle.arg(), "c"]).redirect(&redirection).run().ok();
            assert_eq!(fs::metadata(&file).unwrap().uid(), 0);
            let socket = rt.dir().join("file");
            assert_eq!(fs::read_to_string(socket).unwrap(), "content");
        }
    });
}

#[test]
fn a_pidfd_of_the_process_is_sent() {
    with_runtime(|rt| {
        if !rt.only_keg("Debian's runc and crun do not know --pidfd-socket") {
            return;
        }
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        let socket = DescriptorSocket::listen(rt.dir(), "pidfd");
        let pid_of = |fd: &std::os::fd::OwnedFd| {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).unwrap();
            let line = info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned();
            line.parse::<i32>().unwrap()
        };
        rt.command(&["create", "--bundle", &bundle.arg(), "--pidfd-socket", &socket.arg(), "c"])
            .run()
            .silent();
        assert_eq!(pid_of(&socket.receive().1), rt.pid("c"));
        rt.start("c").ok();
        let file = rt.dir().join("pid");
        let words =
            ["exec", "-d", "--pidfd-socket", &socket.arg(), "--pid-file", file.to_str().unwrap(), "c"];
        rt.command(&[&words[..], &["/bin/sleep", "100"]].concat()).run().silent();
        assert_eq!(pid_of(&socket.receive().1).to_string(), fs::read_to_string(&file).unwrap());
        let words = ["exec", "--pidfd-socket", "/not/there", "c", "/bin/true"];
        assert_eq!(rt.command(&words).run().code(), 255);
        // Another who wants it is named by an annotation.
        rt.delete_force("c");
        let other = DescriptorSocket::listen(rt.dir(), "receiver");
        bundle.edit(|c| c["annotations"] = json!({"run.oci.pidfd_receiver": other.arg()}));
        rt.command(&["create", "--bundle", &bundle.arg(), "--pidfd-socket", &socket.arg(), "d"])
            .run()
            .silent();
        let pids = [&socket, &other].map(|socket| pid_of(&socket.receive().1));
        assert_eq!(pids, [rt.pid("d"); 2]);
        bundle.edit(|c| c["annotations"]["run.oci.pidfd_receiver"] = json!("/not/there"));
        rt.create(&bundle, "e").fails_with("connecting to the pidfd socket");
    });
}

#[test]
fn a_runtime_that_is_killed_leaves_no_process_without_a_keeper() {
    with_runtime(|rt| {
        let (_terminal, mut session) = attached(rt, &until_hang_up("echo ready"));
        let pid = rt.pid("c");
        kill(Pid::from_raw(session.pid()), Signal::SIGKILL).unwrap();
        assert_eq!(session.wait().signal(), Some(9));
        // The other side of the container's terminal is gone, so it hangs up.
        wait_until("the container ends", Duration::from_secs(5), || !alive(pid));
    });
}
