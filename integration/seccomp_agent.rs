//! SCMP_ACT_NOTIFY: the agent at listenerPath gets the listener and is told whose it is, before the program runs.

use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use harness::{Bundle, Runtime, Value, json, wait_until, with_runtime};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// An agent's socket, and a bundle whose mkdir calls are the agent's to decide.
fn agent(rt: &Runtime) -> (UnixListener, Bundle) {
    let path = rt.dir().join("agent.sock");
    let socket = UnixListener::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let bundle = rt.bundle();
    bundle.edit(|c| {
        c["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "from the test",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        });
    });
    bundle.edit(|c| c["root"]["readonly"] = json!(false));
    bundle.shell("mkdir /tmp/new || echo refused");
    (socket, bundle)
}

/// What the agent is told, and what its descriptor is. It answers nothing: it goes away.
fn receive(socket: &UnixListener) -> (Value, String) {
    let mut found = None;
    wait_until("the runtime connects", Duration::from_secs(10), || match socket.accept() {
        Ok((stream, _)) => {
            found = Some(stream);
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    });
    let stream = found.unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut buffer = vec![0; 65536];
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let mut sent = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(list) = control {
            sent.extend(list);
        }
    }
    let length = message.bytes;
    assert_eq!(sent.len(), 1);
    let kind = fs::read_link(format!("/proc/self/fd/{}", sent[0])).unwrap().display().to_string();
    nix::unistd::close(sent[0]).unwrap();
    (serde_json::from_slice(&buffer[..length]).unwrap(), kind)
}

fn assert_told(told: &(Value, String), id: &str) {
    let (document, kind) = told;
    assert_eq!(kind, "anon_inode:seccomp notify");
    assert_eq!(document["fds"], json!(["seccompFd"]));
    assert_eq!(document["metadata"], "from the test");
    assert_eq!(document["state"]["id"], id);
    assert!(document["pid"].as_i64().unwrap() > 1, "{document}");
}

#[test]
fn the_agent_gets_the_listener_in_create() {
    with_runtime(|rt| {
        for no_new_privileges in [true, false] {
            let (socket, bundle) = agent(rt);
            bundle.edit(|c| c["process"]["noNewPrivileges"] = json!(no_new_privileges));
            let running = rt.command(&["run", "--bundle", &bundle.arg(), "c"]).spawn();
            assert_told(&receive(&socket), "c");
            // With the listener gone, the kernel says that there is no such call.
            let finished = running.wait();
            assert_eq!(finished.stdout(), "refused\n", "{}", finished.describe());
            fs::remove_file(rt.dir().join("agent.sock")).unwrap();
        }
    });
}

#[test]
fn without_an_agent_nothing_is_created() {
    with_runtime(|rt| {
        let (socket, bundle) = agent(rt);
        drop(socket);
        let words = if rt.only_keg("own words") { "failed to connect with seccomp agent" } else { "" };
        rt.create(&bundle, "c").fails_with(words);
        rt.assert_gone("c");
    });
}

#[test]
fn the_agent_gets_the_listener_of_exec_too() {
    with_runtime(|rt| {
        let (socket, bundle) = agent(rt);
        bundle.args(&["/bin/sleep", "1000"]);
        let running = rt.command(&["create", "--bundle", &bundle.arg(), "c"]).spawn();
        assert_told(&receive(&socket), "c");
        running.wait().ok();
        rt.start("c").ok();
        let pid = rt.pid("c");
        let running = rt.command(&["exec", "c", "/bin/sh", "-c", "mkdir /tmp/new || echo refused"]).spawn();
        let told = receive(&socket);
        assert_told(&told, "c");
        assert_ne!(told.0["pid"], pid);
        assert_eq!(told.0["state"]["pid"], pid);
        assert_eq!(told.0["state"]["status"], "running");
        assert_eq!(running.wait().stdout(), "refused\n");
        rt.delete_force("c");
    });
}
