//! `check`: everything that is wrong with a bundle's config.json on this host, without making anything.

use std::path::Path;

use super::{Place, Result, bundle, launched, probe, shipped};
use crate::cgroup::Look;
use crate::plan::{self, Finding, MountKind, Options, Plan};
use crate::spec;
use crate::sys::fd::{self, Resolve};
use crate::sys::namespace;
use crate::sys::proc::Proc;
use crate::types::ContainerId;
use crate::{lsm, network, resctrl};

/// The name that stands for the container's in what depends on it.
const NAME: &str = "check";

/// What `create` would find, and more: it stops at the first error, this does not.
pub fn check(place: &Place, bundle: &Path) -> Result<Vec<Finding>> {
    probe::kernel_is_new_enough()?;
    let proc = Proc::host()?;
    let loaded = |(path, json): (_, Vec<u8>)| Ok((path, spec::load(&json)?));
    let (bundle, loaded) = match bundle::read(bundle, &proc).and_then(loaded) {
        Ok(both) => both,
        Err(error) => {
            let spec::Error { path, problem, .. } = *error.downcast()?;
            return Ok(vec![Finding::error(path, problem)]);
        }
    };
    let options = Options {
        id: ContainerId::parse(NAME)?,
        bundle,
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
        cgroup_manager: place.cgroup_manager,
    };
    let host = probe::host(&proc, Look::Thorough)?;
    let mut findings = plan::check(&loaded, &options, &host);
    findings.extend(shipped::findings(&loaded.spec));
    if let Ok(plan) = plan::build(&loaded, &options, &host) {
        look(&plan, &options.id, &proc, &mut findings);
    }
    Ok(findings)
}

/// An error with its causes, as `create` would print it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// An error whose words begin with its place.
fn error_of(text: &str) -> Finding {
    let (path, what) = text.split_once(": ").unwrap_or(("", text));
    Finding::error(path, what)
}

/// Whether what the plan takes from the host is there.
fn look(plan: &Plan, id: &ContainerId, proc: &Proc, findings: &mut Vec<Finding>) {
    if let Err(problem) = fd::check_directory(&plan.rootfs) {
        let place = plan.rootfs.clone();
        findings.push(Finding::error("root.path", chain(&launched::Error::Rootfs(place, problem))));
    }
    if let Some(Err(problem)) = plan.process.as_ref().map(|process| lsm::check(proc, process)) {
        findings.push(Finding::error(problem.path(), chain(&problem)));
    }
    for join in &plan.namespaces.join {
        if let Err(problem) = namespace::open(&join.path, join.kind) {
            findings.push(error_of(&chain(&launched::Error::Namespace(
                join.kind,
                join.path.clone(),
                problem,
            ))));
        }
    }
    for device in &plan.net_devices {
        if !network::exists(&device.name) {
            findings.push(Finding::error(&device.path, "no such device"));
        }
    }
    if let Some(Err(problem)) = plan.intel_rdt.as_ref().map(|wanted| resctrl::Groups::find(wanted, id)) {
        findings.push(error_of(&problem.to_string()));
    }
    for mount in &plan.mounts {
        let MountKind::Bind { source, .. } = &mount.kind else { continue };
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_NOFOLLOW;
        if let Err(problem) = fd::open(fd::cwd(), source, Resolve::Host, flags, 0) {
            findings.push(Finding::error(format!("{}.source", mount.name), problem.to_string()));
        }
    }
}
