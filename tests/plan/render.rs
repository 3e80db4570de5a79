//! A plan as text, one line for each thing decided, for snapshots.

use std::fmt::Write as _;

use keg::plan::{Mount, Plan, Process};

pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| writeln!(text, "{name}: {value}").unwrap();
    line("new namespaces", kinds(plan));
    for join in &plan.namespaces.join {
        line("join", format!("{} {}", join.kind, join.path.display()));
    }
    line("time offsets", format!("{:?}", plan.namespaces.time_offsets));
    line("id maps", format!("{:?}", plan.id_maps));
    line("rootfs", format!("{:?} readonly={} pivot={}", plan.rootfs, plan.rootfs_readonly, plan.pivot));
    line("rootfs propagation", format!("{:?}", plan.rootfs_propagation));
    for one in &plan.mounts {
        line("mount", mount(one));
    }
    for device in &plan.devices {
        let owner = format!("{:o} {}:{} listed={}", device.mode, device.uid, device.gid, device.listed);
        line("device", format!("{} {:?} {owner}", device.path.display(), device.kind));
    }
    line("bind devices", plan.bind_devices.to_string());
    for (link, target) in &plan.links {
        line("link", format!("{} -> {}", link.display(), target.display()));
    }
    line("masked", format!("{:?}", plan.masked_paths));
    line("readonly", format!("{:?}", plan.readonly_paths));
    line("mount label", format!("{:?}", plan.mount_label.as_ref().map(|label| &label.label)));
    line("hostname", format!("{:?} domainname={:?}", plan.hostname, plan.domainname));
    line("sysctl", format!("{:?}", plan.sysctl));
    line("new keyring", plan.new_keyring.to_string());
    for hook in &plan.hooks.prestart {
        line("prestart", format!("{hook:?}"));
    }
    for hook in &plan.hooks.create_runtime {
        line("createRuntime", format!("{hook:?}"));
    }
    for (key, value) in &plan.annotations {
        line("annotation", format!("{key}={value:?}"));
    }
    if let Some(listed) = &plan.process {
        process(listed, &mut line);
    }
    for warning in &plan.warnings {
        line("warning", warning.clone());
    }
    text
}

fn process(process: &Process, line: &mut impl FnMut(&str, String)) {
    line("args", format!("{:?}", process.args));
    line("env", format!("{:?}", process.env));
    line("search path", format!("{:?} needs_home={}", process.search_path, process.needs_home));
    line("cwd", format!("{:?} umask={:04o}", process.cwd, process.umask));
    line("terminal", format!("{} {:?}", process.terminal, process.console_size));
    line("user", format!("{}:{} groups={:?}", process.uid.0, process.gid.0, process.groups));
    let caps = &process.capabilities;
    for (name, set) in [
        ("bounding", caps.bounding),
        ("effective", caps.effective),
        ("inheritable", caps.inheritable),
        ("permitted", caps.permitted),
        ("ambient", caps.ambient),
    ] {
        line(name, set.iter().map(|cap| cap.to_string()).collect::<Vec<_>>().join(" "));
    }
    for limit in &process.rlimits {
        line("rlimit", format!("{limit:?}"));
    }
    line("no new privileges", process.no_new_privileges.to_string());
    line("oom score", format!("{:?}", process.oom_score_adj));
    line("labels", format!("{:?} {:?}", process.apparmor_profile, process.selinux_label));
    line("scheduler", format!("{:?} {:?} {:?}", process.scheduler, process.io_priority, process.personality));
    line("seccomp", process.seccomp.is_some().to_string());
}

/// One mount, its attributes as hexadecimal masks.
pub fn mount(mount: &Mount) -> String {
    let mut text = format!("{} {:?}", mount.destination.display(), mount.kind);
    for (name, change) in [("attributes", mount.attributes), ("recursive", mount.recursive_attributes)] {
        if !change.is_empty() {
            write!(text, " {name}=+{:#x}-{:#x}", change.set, change.clear).unwrap();
        }
    }
    if let Some(propagation) = mount.propagation {
        write!(text, " {:?}{}", propagation.kind, if propagation.recursive { " recursive" } else { "" })
            .unwrap();
    }
    if let Some(idmap) = &mount.idmap {
        write!(text, " idmap={idmap:?}").unwrap();
    }
    for (name, set) in
        [("read_only_last", mount.read_only_last), ("destination_nofollow", mount.destination_nofollow)]
    {
        if set {
            write!(text, " {name}").unwrap();
        }
    }
    text
}

fn kinds(plan: &Plan) -> String {
    let new = keg::types::NamespaceKind::ALL.into_iter().filter(|kind| plan.namespaces.new.contains(*kind));
    new.map(|kind| kind.to_string()).collect::<Vec<_>>().join(" ")
}
