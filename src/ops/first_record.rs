//! A container's record as it is written before anything of the container is made.

use std::path::Path;

use super::Result;
use super::options::CreateOptions;
use crate::plan::Plan;
use crate::rootfs;
use crate::spec::Loaded;
use crate::state::{Hooks as KeptHooks, Record, Stage, boot_id};
use crate::sys::proc::Proc;
use crate::types::Timestamp;

/// Its cgroups are still to be named.
pub(super) fn first_record(
    plan: &Plan,
    options: &CreateOptions,
    bundle: &Path,
    loaded: &Loaded,
    proc: &Proc,
    euid: u32,
) -> Result<Record> {
    let hooks = loaded.spec.hooks().as_ref();
    let list = |hooks: Option<&Vec<oci_spec::runtime::Hook>>| hooks.cloned().unwrap_or_default();
    Ok(Record {
        id: options.id.clone(),
        stage: Stage::Creating,
        bundle: bundle.to_owned(),
        rootfs: plan.rootfs.clone(),
        created: Timestamp::from(std::time::SystemTime::now()).to_string(),
        owner: euid,
        oci_version: loaded.spec.version().clone(),
        annotations: plan.annotations.clone(),
        boot_id: boot_id(proc)?,
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        cgroup: None,
        covered_mount: rootfs::covered(plan)?,
        resctrl: None,
        keyring: plan.new_keyring,
        hooks: KeptHooks {
            poststart: list(hooks.and_then(|hooks| hooks.poststart().as_ref())),
            poststop: list(hooks.and_then(|hooks| hooks.poststop().as_ref())),
        },
    })
}
