//! The bundles that are started: what `keg spec` writes, with a static busybox as the root filesystem, changed as a workload needs it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::views::PARENT;

/// A root filesystem that every bundle shares, and the configuration that each begins with.
#[derive(Debug)]
pub struct Bundles {
    dir: PathBuf,
    base: Value,
}

/// Places in the root filesystem that a bundle's own mounts go to.
pub const PLACES: usize = 1000;

impl Bundles {
    pub fn new(dir: &Path, keg: &Path) -> Result<Self> {
        // A container in a user namespace has to get there.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        let rootfs = dir.join("rootfs");
        fs::create_dir_all(rootfs.join("bin"))?;
        for directory in ["proc", "dev", "sys", "m"] {
            fs::create_dir(rootfs.join(directory))?;
        }
        for number in 0..PLACES {
            fs::create_dir(rootfs.join(format!("m/{number}")))?;
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
        for applet in ["true", "sleep"] {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        fs::create_dir(dir.join("source"))?;
        fs::create_dir(dir.join("spec"))?;
        if !Command::new(keg).args(["spec", "--bundle"]).arg(dir.join("spec")).status()?.success() {
            return Err("keg spec failed".into());
        }
        let mut base: Value = serde_json::from_slice(&fs::read(dir.join("spec/config.json"))?)?;
        base["process"]["terminal"] = json!(false);
        base["process"]["args"] = json!(["/bin/true"]);
        base["root"]["path"] = json!(rootfs);
        // The oldest that all of them take.
        base["ociVersion"] = json!("1.0.2");
        Ok(Self { dir: dir.to_owned(), base })
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// A new bundle with a cgroup of its own; its path.
    pub fn make(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<String> {
        let bundle = self.dir.join("bundles").join(name);
        fs::create_dir_all(&bundle)?;
        let mut config = self.base.clone();
        config["linux"]["cgroupsPath"] = json!(format!("{PARENT}/{name}"));
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string())?;
        Ok(bundle.display().to_string())
    }

    /// Adds this many mounts of a directory of the host.
    pub fn add_mounts(&self, config: &mut Value, count: usize) {
        let source = self.dir.join("source");
        let one = |number| json!({"destination": format!("/m/{number}"), "type": "bind", "source": source, "options": ["bind"]});
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.extend((0..count).map(one));
        }
    }
}

/// The container's root is another user on the host.
pub fn add_user_namespace(config: &mut Value) {
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["uidMappings"] = mapping.clone();
    config["linux"]["gidMappings"] = mapping;
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.push(json!({"type": "user"}));
    }
}

pub fn without_network_namespace(config: &mut Value) {
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
    }
}

/// The program waits.
pub fn waiting(config: &mut Value) {
    config["process"]["args"] = json!(["/bin/sleep", "100000"]);
}
