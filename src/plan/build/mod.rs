//! How a plan is built: one file for each part of config.json. Each part reports what is wrong with it and goes on with something
//! harmless in its place, so that all findings come to light at once.

mod capabilities;
mod devices;
mod exec;
mod hooks;
mod idmap;
mod machine;
mod mounts;
mod namespaces;
mod options;
mod process;
mod rlimits;
mod schedule;
mod sysctl;

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Linux;

use super::annotations::{CRIU_CONFIG, FILES};
use super::cgroup::{self, CgroupPlan};
use super::finding::{Finding, Report};
use super::{Error, Filter, Hook, Host, MountLabel, Options, Plan, Process, Propagation, PropagationKind};
use crate::seccomp;
use crate::spec::{LinuxSeccomp, Loaded, Spec, member};
use crate::types::{NamespaceKind, NamespaceSet};

pub use exec::exec;
pub(super) use options::known as known_mount_options;
pub(super) use sysctl::keeper_of;

/// The longest name of sethostname(2) and setdomainname(2).
const MAX_NAME: usize = 64;

/// What does not come from config.json.
struct Facts<'a> {
    options: &'a Options,
    host: &'a Host,
}

/// The plan for a container, or the first thing that is wrong.
pub fn build(loaded: &Loaded, options: &Options, host: &Host) -> Result<Plan, Error> {
    let mut report = Report::default();
    let mut plan = assemble(loaded, &Facts { options, host }, &mut report);
    plan.warnings = report.into_warnings()?;
    Ok(plan)
}

/// Everything that is wrong with a config.json that could be loaded.
pub fn check(loaded: &Loaded, options: &Options, host: &Host) -> Vec<Finding> {
    let mut report = Report::default();
    assemble(loaded, &Facts { options, host }, &mut report);
    report.findings
}

/// Hooks that a record kept, as `build` would make them.
pub fn hooks_of(listed: &[oci_spec::runtime::Hook], path: &str) -> Result<Vec<Hook>, Error> {
    let mut report = Report::default();
    let made = hooks::list(listed, path, &mut report);
    report.into_warnings().map(|_| made)
}

fn cgroup(
    linux: Option<&Linux>,
    annotations: &BTreeMap<String, String>,
    facts: &Facts<'_>,
    report: &mut Report,
) -> CgroupPlan {
    let Options { id, cgroup_manager, .. } = facts.options;
    let user = facts.host.euid != 0 || facts.host.in_user_namespace;
    let memory = linux.and_then(|linux| linux.resources().as_ref()?.memory().as_ref());
    if memory.is_some_and(|memory| memory.kernel().is_some()) {
        report.warn("linux.resources.memory.kernel", "the kernel has no such limit since Linux 5.16");
    }
    let request = cgroup::Request { linux, annotations, id, manager: *cgroup_manager, user };
    match cgroup::build(request, &facts.host.cgroups) {
        Ok(plan) => plan,
        Err(Error { path, problem }) => {
            report.error(path, problem);
            CgroupPlan::none(facts.host.cgroups.version)
        }
    }
}

fn assemble(loaded: &Loaded, facts: &Facts<'_>, report: &mut Report) -> Plan {
    let spec = &loaded.spec;
    for warning in &loaded.warnings {
        report.warn(&warning.path, warning.what.clone());
    }
    version(spec, report);
    let linux = spec.linux().as_ref();
    let rootfs = rootfs(spec, facts, report);
    let own = namespaces::build(linux, facts, report);
    let hostname = name(spec.hostname(), "hostname", own.own, report);
    let domainname = name(spec.domainname(), "domainname", own.own, report);
    let mounts = mounts::build(spec.mounts().as_deref().unwrap_or_default(), facts, &own, report);
    let listed = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let (devices, links) = devices::build(listed, &mounts, report);
    let annotations = annotations(spec, report);
    let process = process(spec, &annotations, &own, facts, report);
    Plan {
        sysctl: sysctl::build(linux, own.own, hostname.as_deref(), domainname.as_deref(), report),
        rootfs,
        rootfs_readonly: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        rootfs_propagation: linux.and_then(|linux| rootfs_propagation(linux, report)),
        pivot: !facts.options.no_pivot,
        mounts,
        devices,
        bind_devices: facts.host.in_user_namespace || own.own.contains(NamespaceKind::User),
        links,
        masked_paths: paths(linux.map(Linux::masked_paths), "linux.maskedPaths", own.own, report),
        readonly_paths: paths(linux.map(Linux::readonly_paths), "linux.readonlyPaths", own.own, report),
        mount_label: linux.and_then(|linux| mount_label(linux, &annotations, report)),
        hostname,
        domainname,
        cgroup: cgroup(linux, &annotations, facts, report),
        net_devices: linux.map(|linux| machine::net_devices(linux, own.own, report)).unwrap_or_default(),
        memory_policy: linux
            .and_then(|linux| linux.memory_policy().as_ref())
            .map(|listed| machine::memory_policy(listed, report)),
        intel_rdt: linux
            .and_then(|linux| linux.intel_rdt().as_ref())
            .and_then(|listed| machine::intel_rdt(listed, report)),
        new_keyring: !facts.options.no_new_keyring,
        process,
        hooks: hooks::build(spec.hooks().as_ref(), report),
        annotations,
        id_maps: own.maps.filter(|_| own.namespaces.new.contains(NamespaceKind::User)),
        namespaces: own.namespaces,
        warnings: Vec::new(),
    }
}

fn process(
    spec: &Spec,
    annotations: &BTreeMap<String, String>,
    own: &namespaces::Outcome,
    facts: &Facts<'_>,
    report: &mut Report,
) -> Option<Process> {
    let around = process::Surroundings {
        path: "process",
        user_namespace: own.own.contains(NamespaceKind::User),
        maps: own.maps.as_ref(),
        keep_groups: annotations.get("run.oci.keep_original_groups").is_some_and(|value| value == "1"),
    };
    let mut process = process::build(spec.process().as_ref()?, &around, facts.host, report);
    if let Some(linux) = spec.linux() {
        let personality = linux.personality().as_ref();
        process.has_cpuset = schedule::has_cpuset(linux);
        process.personality = personality.map(|listed| schedule::personality(listed, report));
        process.seccomp =
            linux.seccomp().as_ref().and_then(|listed| seccomp(listed, report)).map(Filter::Linked);
    }
    Some(process)
}

fn version(spec: &Spec, report: &mut Report) {
    let text = spec.version();
    match major(text) {
        Some("1") => {}
        Some(_) => report.error("ociVersion", format!("{text:?} is not supported, versions 1.x.y are")),
        None => report.error("ociVersion", format!("{text:?} is no version such as 1.2.0")),
    }
}

/// The major number of a SemVer 2.0.0 version, if it is one.
fn major(text: &str) -> Option<&str> {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let build_fits = build.is_none_or(|build| build.split('.').all(word));
    let pre_fits =
        pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || number(part))));
    let parts: Vec<&str> = core.split('.').collect();
    let core_fits = parts.len() == 3 && parts.iter().all(|part| number(part));
    (core_fits && pre_fits && build_fits).then(|| parts[0])
}

fn rootfs(spec: &Spec, facts: &Facts<'_>, report: &mut Report) -> PathBuf {
    let Some(root) = spec.root() else {
        report.error("root", "missing, but required");
        return PathBuf::new();
    };
    if root.path().as_os_str().is_empty() {
        report.error("root.path", "empty");
    }
    // Components, because "rootfs/." and "." are to read as the directory itself.
    facts.options.bundle.join(root.path()).components().collect()
}

fn name(
    listed: &Option<String>,
    what: &'static str,
    own: NamespaceSet,
    report: &mut Report,
) -> Option<String> {
    let name = listed.clone().filter(|name| !name.is_empty())?;
    if !own.contains(NamespaceKind::Uts) {
        report.error_with(
            what,
            "needs a uts namespace of the container's own",
            "add {\"type\": \"uts\"} to linux.namespaces",
        );
    }
    if name.len() > MAX_NAME {
        report.error(what, format!("{} bytes are more than the kernel's limit of {MAX_NAME}", name.len()));
    }
    Some(name)
}

fn annotations(spec: &Spec, report: &mut Report) -> BTreeMap<String, String> {
    let listed = spec.annotations().iter().flatten();
    let annotations: BTreeMap<String, String> =
        listed.map(|(key, value)| (key.clone(), value.clone())).collect();
    if annotations.contains_key("") {
        report.error(member("annotations", ""), "a key may not be empty");
    }
    if annotations.contains_key(CRIU_CONFIG) {
        report.warn(member("annotations", CRIU_CONFIG), "has no effect: keg makes no checkpoints");
    }
    for key in FILES {
        if let Some(value) =
            annotations.get(key).filter(|value| !value.starts_with('/') || value.contains('\0'))
        {
            report.error(member("annotations", key), format!("{value:?} is not an absolute path"));
        }
    }
    annotations
}

/// The annotation that says which of the kernel's options takes `linux.mountLabel`.
const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";

fn mount_label(
    linux: &Linux,
    annotations: &BTreeMap<String, String>,
    report: &mut Report,
) -> Option<MountLabel> {
    const OPTIONS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];
    let asked = annotations.get(MOUNT_CONTEXT).map_or(OPTIONS[0], String::as_str);
    let option = OPTIONS.into_iter().find(|option| *option == asked);
    if option.is_none() {
        let what = format!("unknown value {asked:?}, known are {}", OPTIONS.join(", "));
        report.error(member("annotations", MOUNT_CONTEXT), what);
    }
    let label = linux.mount_label().clone().filter(|label| !label.is_empty())?;
    Some(MountLabel { option: option.unwrap_or(OPTIONS[0]), label })
}

fn rootfs_propagation(linux: &Linux, report: &mut Report) -> Option<Propagation> {
    let text = linux.rootfs_propagation().as_deref().filter(|text| !text.is_empty())?;
    let (recursive, word) = match text.strip_prefix('r') {
        Some(word) => (true, word),
        None => (false, text),
    };
    let kind = match word {
        "private" => PropagationKind::Private,
        "shared" => PropagationKind::Shared,
        "slave" => PropagationKind::Slave,
        "unbindable" => PropagationKind::Unbindable,
        _ => {
            let what = format!("unknown value {text:?}, known are private, shared, slave, unbindable");
            report.error("linux.rootfsPropagation", what);
            return None;
        }
    };
    Some(Propagation { kind, recursive })
}

fn paths(
    listed: Option<&Option<Vec<String>>>,
    name: &str,
    own: NamespaceSet,
    report: &mut Report,
) -> Vec<PathBuf> {
    let listed = listed.and_then(|listed| listed.as_deref()).unwrap_or_default();
    if !listed.is_empty() && !own.contains(NamespaceKind::Mount) {
        report.error_with(
            name,
            "needs a mount namespace of the container's own",
            "add {\"type\": \"mount\"} to linux.namespaces",
        );
    }
    for (n, path) in listed.iter().enumerate() {
        if !path.starts_with('/') {
            report.error(format_args!("{name}[{n}]"), format!("{path:?} is not an absolute path"));
        }
    }
    listed.iter().map(PathBuf::from).collect()
}

fn seccomp(listed: &LinuxSeccomp, report: &mut Report) -> Option<seccomp::Program> {
    match seccomp::compile(listed, seccomp::Arch::NATIVE) {
        Ok(program) => {
            for warning in &program.warnings {
                let (path, what) = warning.split_once(": ").unwrap_or(("linux.seccomp", warning));
                report.warn(path, what);
            }
            Some(program)
        }
        Err(error) => {
            report.error(&error.path, error.reason.to_string());
            None
        }
    }
}
