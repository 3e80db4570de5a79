//! What the exit status of a command tells its caller, and that a failed exec is an error of `start`.

use harness::command::write_script;
use harness::with_runtime;
use nix::sys::signal::Signal;
use std::time::Duration;

#[test]
fn run_passes_the_status_of_the_process_through() {
    with_runtime(|rt| {
        for status in [0, 1, 7, 126, 255] {
            let bundle = rt.bundle();
            bundle.shell(&format!("exit {status}"));
            assert_eq!(rt.run(&bundle, "c").code(), status);
        }
    });
}

#[test]
fn run_is_128_plus_the_signal_that_ended_the_process() {
    with_runtime(|rt| {
        // The last is a real-time signal.
        for signal in [9, 15, 37] {
            let bundle = rt.bundle();
            bundle.without_namespace("pid");
            bundle.shell(&format!("kill -{signal} $$; sleep 100"));
            assert_eq!(rt.run(&bundle, "c").code(), 128 + signal);
            rt.sleeping("s");
            let script = format!("kill -{signal} $$; sleep 100");
            assert_eq!(rt.command(&["exec", "s", "/bin/sh", "-c", &script]).run().code(), 128 + signal);
            rt.delete_force("s");
        }
    });
}

#[test]
fn run_leaves_nothing_behind_and_prints_nothing_of_its_own() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("echo out; echo err >&2");
        let done = rt.run(&bundle, "c").ok();
        assert_eq!((done.stdout().as_str(), done.stderr().as_str()), ("out\n", "err\n"));
        rt.assert_gone("c");
    });
}

#[test]
fn run_keep_leaves_a_stopped_container() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.shell("exit 3");
        assert_eq!(rt.command(&["run", "--keep", "--bundle", &bundle.arg(), "c"]).run().code(), 3);
        assert_eq!(rt.status("c"), "stopped");
        rt.delete("c").silent();
    });
}

#[test]
fn run_detach_returns_while_the_container_runs() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/bin/sleep", "100"]);
        let pid_file = rt.dir().join("pid");
        let pid_file_arg = pid_file.display().to_string();
        let words = ["run", "--detach", "--pid-file", &pid_file_arg, "--bundle", &bundle.arg(), "c"];
        rt.command(&words).run().silent();
        assert_eq!(rt.status("c"), "running");
        assert_eq!(std::fs::read_to_string(pid_file).unwrap(), rt.pid("c").to_string());
    });
}

#[test]
fn run_reads_stdin() {
    with_runtime(|rt| {
        let bundle = rt.bundle();
        bundle.args(&["/bin/cat"]);
        let done = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).stdin("from outside\n").run().ok();
        assert_eq!(done.stdout(), "from outside\n");
    });
}

#[test]
fn run_forwards_signals_to_the_process() {
    with_runtime(|rt| {
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGINT, "INT"), (Signal::SIGUSR1, "USR1")]
        {
            let bundle = rt.bundle();
            bundle.shell(&format!(
                "trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done"
            ));
            let running = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).spawn();
            harness::wait_until("ready", Duration::from_secs(5), || running.stdout().contains("ready"));
            running.signal(signal);
            let done = running.wait();
            assert_eq!((done.code(), done.stdout()), (5, format!("ready\ngot {name}\n")));
        }
    });
}

#[test]
fn a_missing_program_fails_create() {
    with_runtime(|rt| {
        for command in ["create", "run"] {
            let bundle = rt.bundle();
            bundle.args(&["no-such-program"]);
            let done = rt.command(&[command, "--bundle", &bundle.arg(), "c"]).run();
            done.fails_with("executable file not found in $PATH");
            rt.assert_gone("c");
            bundle.args(&["/no/such/program"]);
            rt.command(&[command, "--bundle", &bundle.arg(), "c"])
                .run()
                .fails_with("no such file or directory");
            rt.assert_gone("c");
        }
    });
}

#[test]
fn a_failed_exec_is_an_error_of_start() {
    with_runtime(|rt| {
        if !rt.only_keg("others report success and lose the error") {
            return;
        }
        let cases = [
            ("#!/no/such/interpreter\n", "no such file or directory"),
            ("not a program of any kind\u{0}\n", "exec format error"),
        ];
        for (content, cause) in cases {
            let bundle = rt.bundle();
            let program = bundle.rootfs().join("program");
            write_script(&program, content);
            bundle.args(&["/program"]);
            rt.create(&bundle, "c").ok();
            let message = rt.start("c").fails_with(cause);
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains("/program"), "{message}");
            rt.wait_stopped("c");
            rt.delete("c").silent();
            rt.run(&bundle, "c").fails_with(cause);
            rt.assert_gone("c");
        }
    });
}
