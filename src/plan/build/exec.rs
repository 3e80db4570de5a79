//! A further process of a container, from the container's config.json, perhaps a document of its own, and what was typed.

use oci_spec::runtime::{Linux, LinuxNamespaceType};

use super::{idmap, process, schedule, seccomp};
use crate::plan::finding::Report;
use crate::plan::{Capabilities, Error, Exec, Filter, Host, IdMaps, ProcessOptions};
use crate::spec::{self, Loaded};
use crate::types::CapSet;

/// The process, or the first thing that is wrong with it. Without a `document` it is like the container's own.
pub fn exec(
    container: &Loaded,
    document: Option<spec::Process>,
    typed: &ProcessOptions,
    host: &Host,
) -> Result<Exec, Error> {
    let mut report = Report::default();
    let path = if document.is_some() { "" } else { "process" };
    let mut listed = match (document, container.spec.process()) {
        (Some(document), own) => confine(document, own.as_ref()),
        (None, Some(own)) => like(own.clone()),
        (None, None) => {
            let problem = "process property must not be empty".to_owned();
            return Err(Error { path: path.to_owned(), problem });
        }
    };
    amend(&mut listed, typed);
    let linux = container.spec.linux().as_ref();
    let maps = linux.and_then(|linux| maps(linux, &mut report));
    let annotations = container.spec.annotations().iter().flatten();
    let around = process::Surroundings {
        path,
        user_namespace: linux.is_some_and(has_user_namespace),
        maps: maps.as_ref(),
        keep_groups: annotations
            .into_iter()
            .any(|(key, value)| key == "run.oci.keep_original_groups" && value == "1"),
    };
    let mut process = process::build(&listed, &around, host, &mut report);
    let can = if around.user_namespace { typed.capabilities } else { host.capabilities };
    add(&mut process.capabilities, typed.capabilities, can, &mut report);
    let personality = linux.and_then(|linux| linux.personality().as_ref());
    process.has_cpuset = linux.is_some_and(schedule::has_cpuset);
    process.personality = personality.map(|listed| schedule::personality(listed, &mut report));
    process.seccomp =
        linux.and_then(|linux| seccomp(linux.seccomp().as_ref()?, &mut report).map(Filter::Linked));
    Ok(Exec { process, warnings: report.into_warnings()? })
}

/// What confines the container's own process confines any other whose document does not speak of it.
fn confine(mut document: spec::Process, own: Option<&spec::Process>) -> spec::Process {
    let Some(own) = own else { return document };
    if document.capabilities().is_none() {
        document.set_capabilities(own.capabilities().clone());
    }
    if document.rlimits().is_none() {
        document.set_rlimits(own.rlimits().clone());
    }
    if document.oom_score_adj().is_none() {
        document.set_oom_score_adj(own.oom_score_adj());
    }
    if document.apparmor_profile().is_none() {
        document.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if document.selinux_label().is_none() {
        document.set_selinux_label(own.selinux_label().clone());
    }
    document
}

/// What a further process takes over from the container's own: all but its program and its terminal.
fn like(mut own: spec::Process) -> spec::Process {
    own.set_args(None).set_terminal(None);
    own
}

/// Puts what was typed over what is listed.
fn amend(listed: &mut spec::Process, typed: &ProcessOptions) {
    if !typed.args.is_empty() {
        listed.set_args(Some(typed.args.clone()));
    }
    if typed.terminal {
        listed.set_terminal(Some(true));
    }
    if let Some(cwd) = &typed.cwd {
        listed.set_cwd(cwd.clone());
    }
    if !typed.env.is_empty() {
        let env = listed.env().iter().flatten().chain(&typed.env).cloned().collect();
        listed.set_env(Some(env));
    }
    let user = listed.user_mut();
    if let Some(wanted) = typed.user {
        user.set_uid(wanted.uid.0);
        if let Some(gid) = wanted.gid {
            user.set_gid(gid.0);
        }
    }
    if !typed.additional_gids.is_empty() {
        let further = typed.additional_gids.iter().map(|gid| gid.0);
        let groups = user.additional_gids().iter().flatten().copied().chain(further).collect();
        user.set_additional_gids(Some(groups));
    }
    if let Some(label) = &typed.process_label {
        listed.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &typed.apparmor {
        listed.set_apparmor_profile(Some(profile.clone()));
    }
    if typed.no_new_privileges {
        listed.set_no_new_privileges(Some(true));
    }
}

/// Never to the inheritable set: a program with file capabilities would hand them on (CVE-2022-29162).
fn add(sets: &mut Capabilities, wanted: CapSet, can: CapSet, report: &mut Report) {
    for cap in wanted.iter() {
        if !can.contains(cap) {
            report.error("--cap", format!("{cap} is not in keg's own bounding set"));
        }
        sets.bounding.insert(cap);
        sets.permitted.insert(cap);
        sets.effective.insert(cap);
    }
}

fn has_user_namespace(linux: &Linux) -> bool {
    let mut listed = linux.namespaces().iter().flatten();
    listed.any(|namespace| namespace.typ() == LinuxNamespaceType::User)
}

/// The mappings of the user namespace, where config.json has them.
fn maps(linux: &Linux, report: &mut Report) -> Option<IdMaps> {
    let uids = linux.uid_mappings().as_deref().filter(|maps| !maps.is_empty())?;
    let gids = linux.gid_mappings().as_deref().filter(|maps| !maps.is_empty())?;
    Some(IdMaps {
        uids: idmap::list(uids, "linux.uidMappings", report),
        gids: idmap::list(gids, "linux.gidMappings", report),
    })
}
