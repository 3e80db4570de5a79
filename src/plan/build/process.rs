//! The container's program, or one that joins it: arguments, environment, identity, limits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::CString;

use super::{capabilities, machine, rlimits, schedule};
use crate::plan::finding::Report;
use crate::plan::{Host, IdMaps, Process};
use crate::spec;
use crate::types::{Gid, Uid};

/// What a process is given by the container around it.
pub(super) struct Surroundings<'a> {
    /// Where the process stands: `process`, or empty for a document of its own.
    pub(super) path: &'a str,
    /// It will be in a user namespace made for it, or one that is joined.
    pub(super) user_namespace: bool,
    /// The mappings of that namespace, where they are known.
    pub(super) maps: Option<&'a IdMaps>,
    /// `run.oci.keep_original_groups`
    pub(super) keep_groups: bool,
}

pub(super) fn build(
    listed: &spec::Process,
    around: &Surroundings<'_>,
    host: &Host,
    report: &mut Report,
) -> Process {
    let at = |name: &str| spec::member(around.path, name);
    let args = args(listed, &at("args"), report);
    let env = environment(listed.env().as_deref().unwrap_or_default(), &at("env"), report);
    let value = |name: &str| {
        env.iter().find_map(|entry| entry.to_str().ok()?.split_once('=').filter(|(key, _)| *key == name))
    };
    let search_path = value("PATH").map(|(_, value)| value.to_owned());
    let needs_home = value("HOME").is_none_or(|(_, home)| home.is_empty());
    let cwd = listed.cwd();
    if cwd.as_os_str().is_empty() {
        report.error(at("cwd"), "empty");
    } else if !cwd.is_absolute() {
        report.error(at("cwd"), format!("{cwd:?} is not an absolute path"));
    }
    let terminal = listed.terminal().unwrap_or(false);
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let score = listed.oom_score_adj();
    if let Some(score) = score.filter(|score| !(-1000..=1000).contains(score)) {
        report.error(at("oomScoreAdj"), format!("{score} is not from -1000 to 1000"));
    }
    let umask = listed.user().umask().unwrap_or(0o022);
    if umask > 0o777 {
        report.error(spec::member(&at("user"), "umask"), format!("{umask:04o} is more than 0777"));
    }
    let affinity = listed.exec_cpu_affinity().as_ref();
    let affinity =
        affinity.map(|listed| machine::affinity(listed, &at("execCPUAffinity"), report)).unwrap_or_default();
    let (uid, gid, groups) = identity(listed, around, host, report);
    Process {
        args,
        search_path,
        needs_home,
        env,
        cwd: cwd.clone(),
        terminal,
        console_size: if terminal { console_size(listed, &at("consoleSize"), report) } else { None },
        uid,
        gid,
        groups,
        umask,
        capabilities: capabilities::build(
            listed.capabilities().as_ref(),
            &at("capabilities"),
            host,
            around.user_namespace,
            report,
        ),
        rlimits: rlimits::build(listed.rlimits().as_deref().unwrap_or_default(), &at("rlimits"), report),
        no_new_privileges: listed.no_new_privileges().unwrap_or(false),
        oom_score_adj: score,
        apparmor_profile: text(listed.apparmor_profile()),
        selinux_label: text(listed.selinux_label()),
        scheduler: listed.scheduler().as_ref().map(|s| schedule::scheduler(s, &at("scheduler"), report)),
        has_cpuset: false,
        io_priority: listed.io_priority().map(|io| schedule::io_priority(io, &at("ioPriority"), report)),
        personality: None,
        affinity,
        seccomp: None,
    }
}

fn args(listed: &spec::Process, path: &str, report: &mut Report) -> Vec<CString> {
    let args = listed.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        report.error(path, "args must not be empty");
    }
    let each = args.iter().enumerate();
    each.filter_map(|(n, arg)| report.c_string(format_args!("{path}[{n}]"), arg)).collect()
}

/// One entry for each name, the last one, at the place of the first.
fn environment(listed: &[String], path: &str, report: &mut Report) -> Vec<CString> {
    let mut entries: Vec<&str> = Vec::with_capacity(listed.len());
    let mut places = HashMap::with_capacity(listed.len());
    for (n, entry) in listed.iter().enumerate() {
        match entry.split_once('=') {
            Some((name, _)) if !name.is_empty() => match places.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(entries.len());
                    entries.push(entry);
                }
                Entry::Occupied(occupied) => entries[*occupied.get()] = entry,
            },
            // The entry itself may be a secret, and stays out of the message.
            Some(_) => report.error(format_args!("{path}[{n}]"), "has no name before the ="),
            None => report.error(format_args!("{path}[{n}]"), "has no ="),
        }
    }
    entries.into_iter().filter_map(|entry| report.c_string(path, entry)).collect()
}

fn console_size(listed: &spec::Process, path: &str, report: &mut Report) -> Option<(u16, u16)> {
    let size = listed.console_size()?;
    match (u16::try_from(size.height()), u16::try_from(size.width())) {
        (Ok(height), Ok(width)) => Some((height, width)),
        _ => {
            report.error(path, format!("{}x{} is more than 65535", size.width(), size.height()));
            None
        }
    }
}

fn identity(
    listed: &spec::Process,
    around: &Surroundings<'_>,
    host: &Host,
    report: &mut Report,
) -> (Uid, Gid, Option<Vec<Gid>>) {
    let user = listed.user();
    let path = spec::member(around.path, "user");
    let unknown = IdMaps { uids: Vec::new(), gids: Vec::new() };
    let maps = around.maps.unwrap_or(&unknown);
    let check = |name: &str, what: &str, id: u32, map: &[crate::plan::IdMap], report: &mut Report| {
        if id == u32::MAX {
            report.error(
                format_args!("{path}.{name}"),
                format!("{id} is no {what}, but the kernel's \"none\""),
            );
        } else if around.user_namespace && around.maps.is_some() && !IdMaps::covers(map, id) {
            let what = format!("{what} {id} is not mapped in the user namespace");
            report.error(format_args!("{path}.{name}"), what);
        }
    };
    check("uid", "uid", user.uid(), &maps.uids, report);
    check("gid", "gid", user.gid(), &maps.gids, report);
    let additional = user.additional_gids().as_deref().unwrap_or_default();
    for (n, gid) in additional.iter().enumerate() {
        check(&format!("additionalGids[{n}]"), "gid", *gid, &maps.gids, report);
    }
    // Who maps only himself without the help of newgidmap(1) has to give up setgroups(2) for it (user_namespaces(7)).
    let denied = host.setgroups_denied || host.euid != 0 && matches!(maps.gids[..], [map] if map.size == 1);
    if denied && !additional.is_empty() {
        report.error_with(
            format_args!("{path}.additionalGids"),
            "setgroups is denied in a user namespace with only one's own group mapped",
            "map more groups in linux.gidMappings (newgidmap(1) is used then)",
        );
    }
    let groups = match denied || around.keep_groups {
        true => None,
        false => Some(additional.iter().copied().map(Gid).collect()),
    };
    (Uid(user.uid()), Gid(user.gid()), groups)
}
