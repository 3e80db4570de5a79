//! `features`: what keg can do, as the runtime specification's features document. Each list comes from the table that the code
//! itself works with.

use serde_json::{Value, json};

use super::SPEC_VERSION;
use crate::plan;
use crate::plan::annotations::{HOOKS_STDERR, HOOKS_STDOUT, PIDFD_RECEIVER};
use crate::seccomp::{ACTIONS, ARCHITECTURES, FLAGS, OPERATORS};
use crate::sys::seccomp::flags_available;
use crate::types::{Capability, NamespaceKind};

/// The oldest version of the specification whose config.json is understood.
const OLDEST_VERSION: &str = "1.0.0";

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Annotations of config.json that change what a container may do.
const UNSAFE_ANNOTATIONS: [&str; 7] = [
    "org.systemd.property.",
    HOOKS_STDERR,
    HOOKS_STDOUT,
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
    PIDFD_RECEIVER,
    "run.oci.systemd.subgroup",
];

const MEMORY_MODES: [&str; 7] = [
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

const MEMORY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// The document.
pub fn features() -> Value {
    json!({
        "ociVersionMin": OLDEST_VERSION,
        "ociVersionMax": SPEC_VERSION,
        "hooks": HOOKS,
        "mountOptions": plan::mount_options().collect::<Vec<_>>(),
        "linux": {
            "namespaces": sorted(NamespaceKind::ALL.map(NamespaceKind::spec_name)),
            "capabilities": Capability::all().map(Capability::name).collect::<Vec<_>>(),
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true},
            "memoryPolicy": {"modes": MEMORY_MODES, "flags": MEMORY_FLAGS},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}

fn sorted<const N: usize>(mut names: [&str; N]) -> Vec<String> {
    names.sort_unstable();
    names.map(str::to_owned).to_vec()
}

fn seccomp() -> Value {
    let supported = FLAGS.iter().filter(|(_, bits)| flags_available(*bits));
    json!({
        "enabled": true,
        "actions": ACTIONS.iter().map(|(action, _)| action).collect::<Vec<_>>(),
        "operators": OPERATORS,
        "archs": ARCHITECTURES,
        "knownFlags": FLAGS.iter().map(|(flag, _)| flag).collect::<Vec<_>>(),
        "supportedFlags": supported.map(|(flag, _)| flag).collect::<Vec<_>>(),
    })
}
