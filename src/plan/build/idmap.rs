//! Id mappings: of the container's user namespace, and of single mounts (`uidMappings`, `idmap`, `ridmap`, `idmap=uids=…;gids=…`).

use crate::plan::finding::Report;
use crate::plan::{IdMap, IdMaps};
use oci_spec::runtime::LinuxIdMapping;

/// The kernel's limit of lines in `uid_map` (user_namespaces(7)).
const MAX_LINES: usize = 340;

/// One list of mappings, checked as the kernel would.
pub(super) fn list(mappings: &[LinuxIdMapping], path: &str, report: &mut Report) -> Vec<IdMap> {
    let maps: Vec<IdMap> = mappings
        .iter()
        .map(|m| IdMap { inside: m.container_id(), outside: m.host_id(), size: m.size() })
        .collect();
    check(&maps, path, report);
    maps
}

fn check(maps: &[IdMap], path: &str, report: &mut Report) {
    if maps.len() > MAX_LINES {
        report.error(path, format!("{} mappings, but the kernel takes at most {MAX_LINES}", maps.len()));
        return;
    }
    for (n, map) in maps.iter().enumerate() {
        let fits = |first: u32| u64::from(first) + u64::from(map.size) <= u64::from(u32::MAX);
        if map.size == 0 {
            report.error(format!("{path}[{n}].size"), "maps nothing");
        } else if !fits(map.inside) || !fits(map.outside) {
            report.error(format!("{path}[{n}]"), "reaches beyond the largest id, 4294967294");
        }
        let overlaps = |a: u32, b: u32, size: u32| {
            u64::from(a) < u64::from(b) + u64::from(size) && u64::from(b) < u64::from(a) + u64::from(map.size)
        };
        let other = maps[..n].iter().position(|other| {
            overlaps(map.inside, other.inside, other.size) || overlaps(map.outside, other.outside, other.size)
        });
        if let Some(other) = other {
            report.error(format!("{path}[{n}]"), format!("overlaps {path}[{other}]"));
        }
    }
}

/// The mappings of a mount, if any of the ways to ask for them was used.
pub(super) struct Request<'a> {
    pub(super) uids: Option<&'a [LinuxIdMapping]>,
    pub(super) gids: Option<&'a [LinuxIdMapping]>,
    /// `idmap` (false) or `ridmap` (true) among the options.
    pub(super) option: Option<bool>,
    /// What followed `idmap=`.
    pub(super) text: Option<&'a str>,
    /// The mount's place in config.json.
    pub(super) path: &'a str,
}

/// Decides how a mount's ids are mapped. Empty mappings stand for those of the container's user namespace.
pub(super) fn of_mount(
    request: &Request<'_>,
    container: Option<&IdMaps>,
    user_namespace: bool,
    report: &mut Report,
) -> Option<(IdMaps, bool)> {
    let path = request.path;
    let filled = |list: Option<&'_ [LinuxIdMapping]>| list.is_some_and(|list| !list.is_empty());
    match (filled(request.uids), filled(request.gids)) {
        (true, true) => {
            let uids = list(request.uids.unwrap_or_default(), &format!("{path}.uidMappings"), report);
            let gids = list(request.gids.unwrap_or_default(), &format!("{path}.gidMappings"), report);
            return Some((IdMaps { uids, gids }, request.option.unwrap_or(false)));
        }
        (true, false) => report.error(format!("{path}.gidMappings"), "required together with uidMappings"),
        (false, true) => report.error(format!("{path}.uidMappings"), "required together with gidMappings"),
        (false, false) => {}
    }
    let recursive = request.option?;
    let path = format!("{path}.options");
    if let Some(text) = request.text {
        return match parse(text, container) {
            Ok(maps) => {
                check(&maps.uids, &path, report);
                check(&maps.gids, &path, report);
                Some((maps, recursive))
            }
            Err(problem) => {
                report.error(path, problem);
                None
            }
        };
    }
    if !user_namespace {
        report.error_with(
            path,
            "idmap without mappings means those of the container's user namespace, but it has none",
            "give the mount uidMappings and gidMappings",
        );
        return None;
    }
    let none = IdMaps { uids: Vec::new(), gids: Vec::new() };
    Some((container.cloned().unwrap_or(none), recursive))
}

/// `uids=0-1-10#10-11-10;gids=0-100-10`: first id of the file system, first id on the host, how many. With an `@` in front of a
/// mapping the second number is an id inside the container.
fn parse(text: &str, container: Option<&IdMaps>) -> Result<IdMaps, String> {
    let mut maps = IdMaps { uids: Vec::new(), gids: Vec::new() };
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (list, own, values) = match part.split_once('=') {
            Some(("uids", values)) => (&mut maps.uids, container.map(|maps| &maps.uids), values),
            Some(("gids", values)) => (&mut maps.gids, container.map(|maps| &maps.gids), values),
            _ => return Err(format!("idmap: {part:?} is neither uids=… nor gids=…")),
        };
        for value in values.split('#').filter(|value| !value.is_empty()) {
            list.push(triplet(value, own.map(Vec::as_slice))?);
        }
    }
    match maps.uids.is_empty() || maps.gids.is_empty() {
        true => Err("idmap: both uids= and gids= are required".to_owned()),
        false => Ok(maps),
    }
}

fn triplet(value: &str, container: Option<&[IdMap]>) -> Result<IdMap, String> {
    let (relative, numbers) = match value.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let invalid = || format!("idmap: {value:?} is not three numbers as in 0-1000-10");
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let parsed: Option<Vec<u32>> = numbers.split('-').map(number).collect();
    let Some(&[inside, second, size]) = parsed.as_deref() else { return Err(invalid()) };
    if !relative {
        return Ok(IdMap { inside, outside: second, size });
    }
    let outside = container
        .and_then(|maps| maps.iter().find(|map| second >= map.inside && second - map.inside < map.size))
        .and_then(|map| map.outside.checked_add(second - map.inside));
    match outside {
        Some(outside) => Ok(IdMap { inside, outside, size }),
        None => {
            Err(format!("idmap: id {second} of {value:?} is not mapped in the container's user namespace"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{IdMaps, Report, Request, of_mount};
    use crate::plan::IdMap;

    fn map(inside: u32, outside: u32, size: u32) -> IdMap {
        IdMap { inside, outside, size }
    }

    fn container() -> IdMaps {
        IdMaps { uids: vec![map(0, 1000, 1), map(1, 2000, 9)], gids: vec![map(0, 1000, 1)] }
    }

    fn option(recursive: bool, text: Option<&str>, maps: Option<&IdMaps>) -> Option<(IdMaps, bool)> {
        let request = Request { uids: None, gids: None, option: Some(recursive), text, path: "mounts[0]" };
        let mut report = Report::default();
        let found = of_mount(&request, maps, true, &mut report);
        assert_eq!(found.is_none(), !report.findings.is_empty());
        found
    }

    #[test]
    fn implied_mappings_are_the_containers() {
        assert_eq!(option(false, None, Some(&container())), Some((container(), false)));
        let unknown = IdMaps { uids: Vec::new(), gids: Vec::new() };
        assert_eq!(option(true, None, None), Some((unknown, true)), "those of a joined namespace");
    }

    #[test]
    fn mappings_as_text() {
        let given = option(true, Some("uids=0-1-10#10-11-10;gids=0-100-10"), None).unwrap();
        let uids = vec![map(0, 1, 10), map(10, 11, 10)];
        assert_eq!(given, (IdMaps { uids, gids: vec![map(0, 100, 10)] }, true));

        let relative = option(false, Some("uids=@1-3-7;gids=@0-0-1"), Some(&container())).unwrap();
        let expected = IdMaps { uids: vec![map(1, 2002, 7)], gids: vec![map(0, 1000, 1)] };
        assert_eq!(relative, (expected, false));

        for bad in
            ["", "uids=0-1-2", "uids=0-1;gids=0-1-2", "x=0-1-2", "uids=@0-99-1;gids=0-0-1", "uids=+0-1-2"]
        {
            assert_eq!(option(false, Some(bad), Some(&container())), None, "{bad}");
        }
    }
}
