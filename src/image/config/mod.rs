//! From an image configuration to config.json (image-spec, conversion.md).

mod bundle;
mod user;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::OFlag;
use oci_spec::runtime::LinuxSeccomp;
use serde::Serialize;

use super::document::{Execution, ImageConfig};
use crate::spec::shipped::Additions;
use crate::sys::fd::{self, Resolve};
use crate::sys::{self, Errno};
use bundle::{
    CAPABILITIES, Capabilities, Config, DeviceRule, Linux, MASKED_PATHS, MOUNTS, Mapping, Mount, NAMESPACES,
    Namespace, Process, READONLY_PATHS, Resources, Rlimit, Root,
};

/// A configuration that cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its user.
    #[error(transparent)]
    User(#[from] user::Error),
    /// A string that cannot be passed to a program.
    #[error("{0} contains a zero byte")]
    Nul(&'static str),
    /// A variable without a name.
    #[error("environment entry {0:?} is no NAME=value")]
    Env(String),
    /// A volume that is no directory of the image.
    #[error("volume {0:?} is no path in the image")]
    Volume(String),
    /// What the image has at the place of one.
    #[error("look at volume {path:?}")]
    VolumeRoot {
        /// Which.
        path: String,
        /// Why.
        source: sys::Error,
    },
    /// It cannot be written as JSON.
    #[error("write as JSON")]
    Json(#[from] serde_json::Error),
}

/// Who will run the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// Root.
    Root,
    /// Somebody else, who becomes root in a user namespace.
    Rootless {
        /// Their user.
        uid: u32,
        /// Their group.
        gid: u32,
    },
}

impl Runner {
    /// Whoever runs this process.
    pub fn this_process() -> Self {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        if uid.is_root() { Self::Root } else { Self::Rootless { uid: uid.as_raw(), gid: gid.as_raw() } }
    }
}

/// What whoever makes the container wants otherwise than the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Arguments at the place of the image's; none: the image's.
    pub args: Vec<String>,
    /// Whether the program gets a terminal.
    pub terminal: bool,
    /// Hooks, and what they need.
    pub additions: Additions,
    /// Annotations, which win over those of the image.
    pub annotations: Vec<(String, String)>,
}

/// The text of config.json. `root` is the unpacked root file system, which says who the user is;
/// `seccomp` is the filter that the container gets.
pub fn convert(
    image: &ImageConfig,
    root: impl AsFd,
    runner: Runner,
    seccomp: Option<LinuxSeccomp>,
    changes: &Changes,
) -> Result<Vec<u8>, Error> {
    let user = user::resolve(&image.config.user, &root)?;
    let config = Config {
        oci_version: "1.0.2",
        process: process(&image.config, &user, changes)?,
        root: Root { path: "rootfs", readonly: false },
        hostname: "keg",
        mounts: mounts(&image.config, &root, runner)?
            .into_iter()
            .chain(changes.additions.mounts.iter().cloned().map(Mount::from))
            .collect(),
        hooks: (!changes.additions.is_empty()).then(|| changes.additions.hooks.clone()),
        annotations: annotations(image, &changes.annotations),
        linux: linux(runner, seccomp),
    };
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    config.serialize(&mut serde_json::Serializer::with_formatter(&mut text, tabs))?;
    text.push(b'\n');
    Ok(text)
}

fn process(execution: &Execution, user: &user::User, changes: &Changes) -> Result<Process, Error> {
    let cmd = if changes.args.is_empty() { &execution.cmd } else { &changes.args };
    let mut args: Vec<String> = execution.entrypoint.iter().chain(cmd).cloned().collect();
    if args.is_empty() {
        args.push("/bin/sh".to_owned());
    }
    let mut env = execution.env.clone();
    if let Some(bad) = env.iter().find(|entry| entry.find('=').is_none_or(|at| at == 0)) {
        return Err(Error::Env(bad.clone()));
    }
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.insert(0, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    }
    let cwd = match execution.working_dir.as_str() {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    for (what, strings) in [("the command", &args), ("the environment", &env)] {
        if strings.iter().any(|text| text.contains('\0')) {
            return Err(Error::Nul(what));
        }
    }
    if cwd.contains('\0') {
        return Err(Error::Nul("the working directory"));
    }
    Ok(Process {
        terminal: changes.terminal,
        user: bundle::User {
            uid: user.uid.0,
            gid: user.gid.0,
            additional_gids: user.additional_gids.iter().map(|gid| gid.0).collect(),
        },
        args,
        env,
        cwd,
        capabilities: Capabilities {
            bounding: CAPABILITIES,
            effective: CAPABILITIES,
            permitted: CAPABILITIES,
        },
        rlimits: [Rlimit { kind: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
        no_new_privileges: true,
    })
}

/// The usual mounts, and one for each volume, which begins with what the image has there.
fn mounts(execution: &Execution, root: impl AsFd, runner: Runner) -> Result<Vec<Mount>, Error> {
    let mut mounts = Vec::new();
    for (destination, kind, source, options) in MOUNTS {
        let mut mount = Mount {
            destination: (*destination).to_owned(),
            kind,
            source: (*source).into(),
            options: options.iter().map(|option| Cow::from(*option)).collect(),
        };
        if runner != Runner::Root {
            // In a user namespace with one user there is no group 5.
            mount.options.retain(|option| option != "gid=5");
        }
        mounts.push(mount);
    }
    for volume in execution.volumes.keys() {
        let parts = || volume.split('/').filter(|part| !part.is_empty() && *part != ".");
        if volume.contains('\0') || parts().any(|part| part == "..") || parts().next().is_none() {
            return Err(Error::Volume(volume.clone()));
        }
        let destination = parts().fold(String::new(), |path, part| path + "/" + part);
        let mut options: Vec<Cow<'_, str>> = ["nosuid", "nodev", "tmpcopyup"].map(Cow::from).into();
        // Somebody who is not root owns everything there is.
        if runner == Runner::Root {
            options.extend(owner(&root, &destination)?);
        }
        mounts.push(Mount { destination, kind: "tmpfs", source: "tmpfs".into(), options });
    }
    Ok(mounts)
}

/// Who owns the directory that a volume covers: runtimes copy what is in it and its mode, but not that.
fn owner(root: impl AsFd, path: &str) -> Result<Vec<Cow<'static, str>>, Error> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let stat = match fd::open(root, Path::new(path), Resolve::InRoot, flags, 0).and_then(fd::stat) {
        Ok(stat) => stat,
        // The runtime makes it, or says why it cannot.
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(Error::VolumeRoot { path: path.to_owned(), source }),
    };
    Ok(match (stat.st_uid, stat.st_gid) {
        (0, 0) => Vec::new(),
        (uid, gid) => vec![format!("uid={uid}").into(), format!("gid={gid}").into()],
    })
}

fn linux(runner: Runner, seccomp: Option<LinuxSeccomp>) -> Linux {
    let mut namespaces: Vec<Namespace> = NAMESPACES.iter().map(|kind| Namespace { kind }).collect();
    let map = |host_id| vec![Mapping { container_id: 0, host_id, size: 1 }];
    let (mut uid_mappings, mut gid_mappings) = (Vec::new(), Vec::new());
    if let Runner::Rootless { uid, gid } = runner {
        namespaces.push(Namespace { kind: "user" });
        (uid_mappings, gid_mappings) = (map(uid), map(gid));
    }
    Linux {
        uid_mappings,
        gid_mappings,
        resources: Resources { devices: [DeviceRule { allow: false, access: "rwm" }] },
        namespaces,
        seccomp,
        masked_paths: MASKED_PATHS,
        readonly_paths: READONLY_PATHS,
    }
}

/// What begins like this is said to keg and its hooks, by whoever runs the container. An image has no say in ports of the host.
const OWN: &str = "keg.";

/// What the conversion document derives from fields of the image; its labels win, and what was typed wins over those.
fn annotations(image: &ImageConfig, typed: &[(String, String)]) -> BTreeMap<String, String> {
    let joined = |list: Vec<&str>| (!list.is_empty()).then(|| list.join(","));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let derived = [
        ("os", some(&image.os)),
        ("architecture", some(&image.architecture)),
        ("variant", image.variant.clone()),
        ("os.version", image.os_version.clone()),
        ("os.features", joined(image.os_features.iter().map(String::as_str).collect())),
        ("author", image.author.clone()),
        ("created", image.created.clone()),
        ("stopSignal", some(&image.config.stop_signal)),
        ("exposedPorts", joined(image.config.exposed_ports.keys().map(String::as_str).collect())),
    ];
    let derived = derived
        .into_iter()
        .filter_map(|(key, value)| Some((format!("org.opencontainers.image.{key}"), value?)));
    let labels = image.config.labels.iter().filter(|(key, _)| !key.is_empty() && !key.starts_with(OWN));
    let labels = labels.map(|(key, value)| (key.clone(), value.clone()));
    derived.chain(labels).chain(typed.iter().cloned()).collect()
}

#[cfg(test)]
mod tests;
