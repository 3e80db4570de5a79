//! What a container is given and what it is kept from, as a pod's manifest asks for it.

use std::fs;

use harness::peers::Kind;
use harness::{Note, Runtime, Seen, json, same_as_runc};
use k8s_cri::v1;
use k8s_cri::v1::security_profile::ProfileType;

use crate::plugin::{HANDLER, Plugin, container, text};

const STATUS: &str = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid|Gid)' /proc/self/status";

type Edit = fn(&Runtime, &mut v1::ContainerConfig);

/// What it is called, what is asked for, and a script that looks at it from inside.
const ROWS: &[(&str, Edit, &str)] = &[
    ("nothing", |_, _| {}, STATUS),
    (
        "seccomp, the default",
        |_, c| profile(c, ProfileType::RuntimeDefault, ""),
        "grep Seccomp: /proc/self/status; unshare -U true; echo $?",
    ),
    ("seccomp, none", |_, c| profile(c, ProfileType::Unconfined, ""), "grep Seccomp: /proc/self/status"),
    (
        "seccomp, a file",
        |rt, c| {
            let file = rt.dir().join("seccomp.json");
            profile(c, ProfileType::Localhost, &file.display().to_string());
        },
        "grep Seccomp: /proc/self/status; mkdir /x; echo $?; touch /y; echo $?",
    ),
    (
        "a read-only root",
        |_, c| security(c).readonly_rootfs = true,
        "touch /y; echo $?; grep ' / ' /proc/mounts | grep -c ' ro,'; touch /dev/shm/x; echo $?",
    ),
    (
        "a user",
        |_, c| {
            security(c).run_as_user = Some(v1::Int64Value { value: 1000 });
            security(c).run_as_group = Some(v1::Int64Value { value: 1001 });
            security(c).supplemental_groups = vec![7, 8];
        },
        STATUS,
    ),
    ("a user by name", |_, c| security(c).run_as_username = "app".to_owned(), "id; echo $HOME"),
    ("no new privileges", |_, c| security(c).no_new_privs = true, STATUS),
    (
        "capabilities",
        |_, c| {
            security(c).capabilities = Some(v1::Capability {
                add_capabilities: vec!["NET_ADMIN".to_owned()],
                drop_capabilities: vec!["CHOWN".to_owned(), "SETUID".to_owned()],
                ..Default::default()
            });
        },
        STATUS,
    ),
    (
        "no capabilities",
        |_, c| {
            security(c).capabilities =
                Some(v1::Capability { drop_capabilities: vec!["ALL".to_owned()], ..Default::default() });
        },
        STATUS,
    ),
    (
        "masked and read-only paths",
        |_, c| {
            security(c).masked_paths = vec!["/proc/kcore".to_owned(), "/usr/local".to_owned()];
            security(c).readonly_paths = vec!["/proc/sys".to_owned()];
        },
        "ls /usr/local | wc -l; wc -c < /proc/kcore; echo x > /proc/sys/kernel/hostname; echo $?",
    ),
    (
        "mounts",
        |rt, c| {
            let host_path = rt.dir().join("volume").display().to_string();
            let mount = |container_path: &str, readonly, propagation: v1::MountPropagation| v1::Mount {
                container_path: container_path.to_owned(),
                host_path: host_path.clone(),
                readonly,
                propagation: propagation as i32,
                ..Default::default()
            };
            c.mounts = vec![
                mount("/rw", false, v1::MountPropagation::PropagationPrivate),
                mount("/ro", true, v1::MountPropagation::PropagationHostToContainer),
            ];
        },
        "touch /rw/a; touch /ro/b; ls /ro; grep -E ' /r[ow] ' /proc/self/mountinfo | sed 's/.* - //' | cut -d' ' -f1 | uniq; \
                grep -E ' /r[ow] ' /proc/mounts | cut -d' ' -f4 | cut -c1-2; grep ' /ro ' /proc/self/mountinfo | grep -c master:",
    ),
    // No driver answers for it, but the question comes after that of the permission.
    (
        "a device",
        |rt, c| {
            c.devices = vec![v1::Device {
                container_path: "/dev/other".to_owned(),
                host_path: rt.dir().join("device").display().to_string(),
                permissions: "r".to_owned(),
            }];
        },
        "ls -l /dev/other | cut -c1-10; cat /dev/other; echo > /dev/other",
    ),
    (
        "surroundings",
        |_, c| {
            c.envs = vec![v1::KeyValue { key: "A".to_owned(), value: "b c".to_owned() }];
            c.working_dir = "/made/for/this".to_owned();
            let resources = v1::LinuxContainerResources { oom_score_adj: 500, ..Default::default() };
            c.linux.as_mut().unwrap().resources = Some(resources);
        },
        "echo $A; pwd; hostname; cat /proc/self/oom_score_adj",
    ),
    ("a terminal", |_, c| c.tty = true, "tty; stty -a 2>/dev/null | grep -o -- '-*onlcr'; echo x"),
];

#[test]
fn what_a_container_is_given() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        let rules = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]});
        fs::write(rt.dir().join("seccomp.json"), rules.to_string()).unwrap();
        let volume = rt.dir().join("volume").display().to_string();
        fs::create_dir(&volume).unwrap();
        rt.program(&["mount", "-t", "tmpfs", "tmpfs", &volume]).run().ok();
        rt.program(&["mount", "--make-shared", &volume]).run().ok();
        let device = rt.dir().join("device").display().to_string();
        rt.program(&["mknod", &device, "c", "60", "0"]).run().ok();
        let config = plugin.pod("one");
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        for (n, (name, edit, script)) in ROWS.iter().enumerate() {
            let log = format!("c{n}");
            let mut container = container(&log, &format!("{{ {script}; }} 2>&1"));
            edit(rt, &mut container);
            let id = plugin.run(&pod, &config, container);
            let (code, _) = plugin.wait(&id);
            let lines: Vec<_> = plugin.log(&format!("{log}.log")).into_iter().map(|(_, line)| line).collect();
            assert!(!lines.is_empty(), "{name}");
            seen.push((name.to_string(), code, lines.join("\n")));
        }
        plugin.remove_pod(&pod);
        seen
    });
}

fn security(container: &mut v1::ContainerConfig) -> &mut v1::LinuxContainerSecurityContext {
    container.linux.as_mut().unwrap().security_context.as_mut().unwrap()
}

fn profile(container: &mut v1::ContainerConfig, kind: ProfileType, file: &str) {
    security(container).seccomp =
        Some(v1::SecurityProfile { profile_type: kind as i32, localhost_ref: file.to_owned() });
}

#[test]
fn a_privileged_container() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut config = plugin.pod("privileged");
        config.linux.as_mut().unwrap().security_context.as_mut().unwrap().privileged = true;
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let script = "mount -t tmpfs t /tmp && ls /dev/kmsg && grep -E 'CapEff|Seccomp:' /proc/self/status; \
            grep -E ' (/sys|/proc/sys) ' /proc/mounts | cut -d' ' -f2,4 | cut -d, -f1";
        let mut container = container("c", script);
        security(&mut container).privileged = true;
        let id = plugin.create(&pod, &config, container).unwrap();
        match plugin.start_container(&id) {
            Ok(()) => {
                assert_eq!(plugin.wait(&id).0, 0);
                let lines = plugin.log("c.log");
                assert!(lines.iter().any(|(_, line)| line == "/dev/kmsg"), "{lines:?}");
            }
            // runc refuses where the caller itself lacks one of the capabilities.
            Err(error) => assert!(rt.kind() == Kind::Runc, "{error:?}"),
        }
        plugin.remove_pod(&pod);
        Seen::new()
    });
}

#[test]
fn namespaces_of_the_host() {
    same_as_runc(|rt| {
        let plugin = Plugin::start(rt);
        let mut seen = Seen::new();
        let mut config = plugin.pod("host");
        config.hostname = String::new();
        let node = v1::NamespaceMode::Node as i32;
        let all = v1::NamespaceOption { network: node, pid: node, ipc: node, ..Default::default() };
        let linux = config.linux.as_mut().unwrap();
        linux.security_context.as_mut().unwrap().namespace_options = Some(all.clone());
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let mut container = container("c", "exec sleep 1000");
        security(&mut container).namespace_options = Some(all);
        let id = plugin.run(&pod, &config, container);
        for name in ["net", "ipc", "pid", "uts"] {
            let inside = text(&plugin.exec(&id, &format!("readlink /proc/self/ns/{name}")).stdout);
            let own = fs::read_link(format!("/proc/thread-self/ns/{name}")).unwrap();
            seen.text(name, &format!("{}", inside.trim() == own.to_str().unwrap()));
        }
        assert!(seen[..3].iter().all(|(_, _, same)| same == "true"), "{seen:?}");
        plugin.remove_pod(&pod);

        let mut config = plugin.pod("sysctl");
        let linux = config.linux.as_mut().unwrap();
        linux.sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "80".to_owned());
        let pod = plugin.run_pod(HANDLER, &config).unwrap();
        let id = plugin.run(&pod, &config, crate::plugin::container("d", "exec sleep 1000"));
        let file = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
        seen.text("sysctl", &text(&plugin.exec(&id, file).stdout));
        plugin.remove_pod(&pod);
        seen
    });
}
