//! What keg says, and leaves, when systemd cannot be reached, refuses, fails or keeps silent. No systemd is needed here.

mod fake;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};

use fake::{Answer, Bus, answer};
use harness::{Bundle, Command, Runtime, json, with_runtime};

const APPLY: &str = "unable to apply cgroup configuration: ";

/// A host that looks as if version 2 were all it has.
fn on_version_2(body: impl Fn(&Runtime, &Bundle)) {
    with_runtime(|rt| {
        if !rt.only_keg("the words are keg's") {
            return;
        }
        let none = None::<&str>;
        mount(none, "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), none).unwrap();
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["cgroupsPath"] = "system.slice:keg-test:none".into());
        body(rt, &bundle);
        umount("/sys/fs/cgroup").unwrap();
    });
}

fn create(rt: &Runtime, bundle: &Bundle, address: &str) -> Command {
    create_as(rt, bundle, address, "c")
}

fn create_as(rt: &Runtime, bundle: &Bundle, address: &str, id: &str) -> Command {
    let words = ["create", "--bundle", &bundle.arg(), id];
    let command = rt.command_with_globals(&["--systemd-cgroup"], &words);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", address).limit(Duration::from_secs(60))
}

/// `create` fails with exactly this, on one line, and leaves nothing.
#[track_caller]
fn fails(rt: &Runtime, bundle: &Bundle, address: &str, expected: &str) {
    let message = create(rt, bundle, address).run().fails_with(expected);
    assert_eq!(message, format!("{expected}\n"));
    rt.assert_gone("c");
}

/// `create` fails because of what systemd answers.
#[track_caller]
fn fails_by(rt: &Runtime, bundle: &Bundle, how: Answer, expected: &str) -> Receiver<(String, String)> {
    let bus = Bus::start(rt.dir());
    let calls = answer(rt.dir(), how);
    let expected = format!("{APPLY}unable to start systemd unit keg-test-none.scope: {expected}");
    fails(rt, bundle, &bus.address, &expected);
    calls
}

#[test]
fn no_bus() {
    on_version_2(|rt, bundle| {
        let path = rt.dir().join("none").display().to_string();
        let reach = format!("{APPLY}unable to reach systemd over D-Bus: ");
        let expected = format!("{reach}connect({path:?}): no such file or directory");
        fails(rt, bundle, &format!("unix:path={path}"), &expected);
        let expected = format!("{reach}\"tcp:host=a\" is no address of a D-Bus socket of this machine");
        fails(rt, bundle, "tcp:host=a", &expected);
    });
}

#[test]
fn a_bus_without_systemd() {
    on_version_2(|rt, bundle| {
        let bus = Bus::start(rt.dir());
        let message = create(rt, bundle, &bus.address).run().fails_with(APPLY);
        assert!(message.contains("org.freedesktop.systemd1"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        rt.assert_gone("c");
    });
}

#[test]
fn a_property_that_is_refused() {
    on_version_2(|rt, bundle| {
        bundle.edit(|c| c["annotations"] = json!({"org.systemd.property.Foo": "true"}));
        let text = "Cannot set property Foo, or unknown property.";
        let how = Answer::Refuse("org.freedesktop.DBus.Error.PropertyReadOnly", text);
        let calls = fails_by(rt, bundle, how, text);
        let calls: Vec<_> = calls.try_iter().collect();
        let unit = "keg-test-none.scope".to_owned();
        assert_eq!(calls, [("Subscribe".to_owned(), String::new()), ("StartTransientUnit".to_owned(), unit)]);
    });
}

#[test]
fn of_an_error_of_many_lines_the_first_is_told() {
    on_version_2(|rt, bundle| {
        fails_by(rt, bundle, Answer::Refuse("a.b", "one\ntwo"), "one");
    });
}

#[test]
fn an_error_without_words_is_told_by_its_name() {
    on_version_2(|rt, bundle| {
        fails_by(rt, bundle, Answer::Refuse("org.example.Refused", ""), "org.example.Refused");
    });
}

#[test]
fn a_unit_that_is_there_is_tried_once_more_in_case_it_only_failed() {
    on_version_2(|rt, bundle| {
        let how = Answer::Refuse("org.freedesktop.systemd1.UnitExists", "Unit is there.");
        let calls = fails_by(rt, bundle, how, "Unit is there.");
        let calls: Vec<_> = calls.try_iter().map(|(member, _)| member).collect();
        assert_eq!(calls, ["Subscribe", "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
    });
}

#[test]
fn a_job_that_fails() {
    on_version_2(|rt, bundle| {
        let calls = fails_by(rt, bundle, Answer::Job("failed"), "its job ended as \"failed\"");
        assert_eq!(calls.try_iter().last().unwrap().0, "ResetFailedUnit");
    });
}

#[test]
fn a_systemd_that_puts_the_process_nowhere() {
    on_version_2(|rt, bundle| {
        let bus = Bus::start(rt.dir());
        let calls = answer(rt.dir(), Answer::Job("done"));
        let expected = format!("{APPLY}systemd put unit keg-test-none.scope into the cgroup ");
        create(rt, bundle, &bus.address).run().fails_with(&expected);
        rt.assert_gone("c");
        assert_eq!(calls.try_iter().filter(|(member, _)| member == "StopUnit").count(), 1);
    });
}

/// A bus that sends `bytes` to whoever connects, and keeps the connection.
fn stub(rt: &Runtime, bytes: &'static [u8]) -> String {
    let path = rt.dir().join("stub");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(bytes).unwrap();
        // Until keg has had enough.
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap_or_default();
    });
    format!("unix:path={}", path.display())
}

/// All at once, since each takes as long as keg waits.
#[test]
fn nobody_is_waited_for_forever() {
    on_version_2(|rt, bundle| {
        let start = "unable to start systemd unit keg-test-none.scope";
        let directories = ["silent", "endless"].map(|name| rt.dir().join(name));
        directories.iter().for_each(|directory| std::fs::create_dir(directory).unwrap());
        let buses = directories.each_ref().map(|directory| Bus::start(directory));
        let _calls = [answer(&directories[0], Answer::Silence), answer(&directories[1], Answer::EndlessJob)];
        let stub = stub(rt, b"");
        let all = [
            (stub.as_str(), "unable to reach systemd over D-Bus"),
            (&buses[0].address, start),
            (&buses[1].address, start),
        ];
        let running = all.map(|(address, what)| {
            let id = address.rsplit('/').nth(usize::from(what == start)).unwrap();
            (create_as(rt, bundle, address, id).spawn(), what, id)
        });
        for (running, what, id) in running {
            let expected = format!("{APPLY}{what}: no answer within 25 s");
            assert_eq!(running.wait().fails_with(&expected), format!("{expected}\n"));
            rt.assert_gone(id);
        }
    });
}

#[test]
fn a_bus_that_does_not_let_us_in() {
    on_version_2(|rt, bundle| {
        let expected = format!(
            "{APPLY}unable to reach systemd over D-Bus: the bus refused the login: REJECTED EXTERNAL"
        );
        fails(rt, bundle, &stub(rt, b"REJECTED EXTERNAL\r\n"), &expected);
    });
}

#[test]
fn a_bus_that_speaks_something_else() {
    on_version_2(|rt, bundle| {
        let start = format!("{APPLY}unable to start systemd unit keg-test-none.scope: ");
        let expected = format!("{start}the bus sent what is no D-Bus message");
        fails(rt, bundle, &stub(rt, b"OK 1\r\nHTTP/1.1 400 Bad Request\r\n\r\n"), &expected);
    });
}

#[test]
fn a_host_with_version_1_is_told_before_anything_is_asked() {
    with_runtime(|rt| {
        if !rt.only_keg("the words are keg's") || harness::host::hierarchies().len() < 2 {
            return;
        }
        let bundle = rt.bundle();
        bundle.edit(|c| c["linux"]["cgroupsPath"] = "system.slice:keg-test:none".into());
        let message = create(rt, &bundle, "unix:path=/none").run().fails_with("cgroup version 2 alone");
        assert!(message.contains("linux.cgroupsPath"), "{message}");
    });
}
