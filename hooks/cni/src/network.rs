//! A network: a list of plugins from a `.conflist`, or the one of a `.conf`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{self, Doing, Error, Result};
use crate::version::{FIRST, Version};

/// A JSON object.
pub type Object = Map<String, Value>;

/// What an administrator wrote, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Its name, unique on the host.
    pub name: String,
    /// The versions of the CNI specification that it may be run with, the best first.
    pub versions: Vec<Version>,
    /// CHECK is not to be used.
    #[serde(default)]
    pub disable_check: bool,
    /// GC is not to be used.
    #[serde(default)]
    pub disable_gc: bool,
    /// The configuration of each plugin, in the order of ADD.
    pub plugins: Vec<Object>,
}

/// The networks that were named; without a name the first in the directory.
pub fn load_all(named: &[String], dir: &Path) -> Result<Vec<Network>> {
    match named {
        [] => Ok(vec![first(dir)?]),
        named => named.iter().map(|name| load(name, dir)).collect(),
    }
}

fn load(named: &str, dir: &Path) -> Result<Network> {
    let path = Path::new(named);
    if named.contains('/') || is_configuration(path) {
        return read(path);
    }
    let mut broken = Vec::new();
    for path in files(dir)? {
        match read(&path) {
            Ok(network) if network.name == named => return Ok(network),
            Ok(_) => {}
            Err(error) => broken.push(error::one_line(&error)),
        }
    }
    let broken = broken.first().map(|first| format!(" (there is also {first})")).unwrap_or_default();
    Err(Error::Wrong(format!("no network {named:?} in {}{broken}", dir.display())))
}

fn first(dir: &Path) -> Result<Network> {
    match files(dir)?.first() {
        Some(path) => read(path),
        None => Err(Error::Wrong(format!("no network configuration in {}", dir.display()))),
    }
}

fn is_configuration(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["conflist", "conf", "json"].iter().any(|known| extension == *known))
}

/// The configurations of a directory, in lexical order.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).doing("reading", dir)? {
        let path = entry.doing("reading", dir)?.path();
        if is_configuration(&path) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Network> {
    let text = fs::read(path).doing("reading", path)?;
    let object: Object = serde_json::from_slice(&text).map_err(|error| error::json(path, error))?;
    parse(object).map_err(|problem| Error::Wrong(format!("{}: {problem}", path.display())))
}

/// A list has `plugins`, a single plugin has not.
fn parse(mut object: Object) -> std::result::Result<Network, String> {
    let name = match object.get("name") {
        Some(Value::String(name)) if is_name(name) => name.clone(),
        Some(other) => return Err(format!("name {other} is no name for a network")),
        None => return Err("name is missing".to_owned()),
    };
    let versions = versions(&object)?;
    let disable_check = flag(&object, "disableCheck")?;
    let disable_gc = flag(&object, "disableGC")?;
    let plugins = match object.remove("plugins") {
        None => vec![object],
        Some(Value::Array(list)) if !list.is_empty() => {
            let objects = list.into_iter().map(|plugin| match plugin {
                Value::Object(plugin) => Ok(plugin),
                other => Err(format!("plugins: {other} is no object")),
            });
            objects.collect::<std::result::Result<_, _>>()?
        }
        Some(_) => return Err("plugins is no list with a plugin in it".to_owned()),
    };
    for plugin in &plugins {
        match plugin.get("type") {
            Some(Value::String(kind)) if is_type(kind) => {}
            Some(other) => return Err(format!("type {other} is no name of a plugin")),
            None => return Err("a plugin has no type".to_owned()),
        }
    }
    Ok(Network { name, versions, disable_check, disable_gc, plugins })
}

/// `cniVersion`, and `cniVersions` of which those that are not known here are left out.
fn versions(object: &Object) -> std::result::Result<Vec<Version>, String> {
    let one = match object.get("cniVersion") {
        None => None,
        Some(Value::String(text)) => Some(Version::parse(text).map_err(|error| error.to_string())),
        Some(other) => Some(Err(format!("cniVersion {other} is no string"))),
    };
    let mut all: Vec<Version> = match object.get("cniVersions") {
        None => Vec::new(),
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).filter_map(|text| Version::parse(text).ok()).collect()
        }
        Some(_) => return Err("cniVersions is no list".to_owned()),
    };
    match one {
        Some(Ok(version)) => all.push(version),
        // Another one of the list will do.
        Some(Err(problem)) if all.is_empty() => return Err(problem),
        None if all.is_empty() => all.push(FIRST),
        _ => {}
    }
    all.sort_by(|a, b| b.cmp(a));
    all.dedup();
    Ok(all)
}

/// A boolean, or its word: the first versions of the specification had strings.
fn flag(object: &Object, key: &str) -> std::result::Result<bool, String> {
    match object.get(key) {
        None => Ok(false),
        Some(Value::Bool(set)) => Ok(*set),
        Some(Value::String(word)) if word == "true" || word == "false" => Ok(word == "true"),
        Some(other) => Err(format!("{key} is {other}, not true or false")),
    }
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// The name of a file in one of the directories of plugins.
fn is_type(kind: &str) -> bool {
    !kind.is_empty() && !kind.contains(['/', '\0']) && kind != "." && kind != ".."
}

/// The type of a plugin, which was checked when it was read.
pub fn kind(plugin: &Object) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a plugin declares a capability.
pub fn declares(plugin: &Object, capability: &str) -> bool {
    let declared = plugin.get("capabilities").and_then(|all| all.get(capability));
    declared.and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Network, declares, load, load_all, parse};
    use crate::error::one_line;

    fn of(value: Value) -> Result<Network, String> {
        let Value::Object(object) = value else { panic!("no object") };
        parse(object)
    }

    fn versions(value: Value) -> Vec<String> {
        of(value).unwrap().versions.into_iter().map(String::from).collect()
    }

    #[test]
    fn a_list_and_a_single_plugin_are_networks() {
        let list = of(json!({"cniVersion": "1.0.0", "name": "n", "disableCheck": "true",
            "plugins": [{"type": "bridge", "capabilities": {"mac": true, "ips": false}}, {"type": "portmap"}]}))
        .unwrap();
        assert_eq!((list.plugins.len(), list.disable_check, list.disable_gc), (2, true, false));
        assert!(declares(&list.plugins[0], "mac") && !declares(&list.plugins[0], "ips"));
        assert!(!declares(&list.plugins[1], "mac"));
        let single = of(json!({"cniVersion": "0.4.0", "name": "n", "type": "ptp", "mtu": 1400})).unwrap();
        assert_eq!(single.plugins[0]["mtu"], 1400);
    }

    #[test]
    fn the_best_known_version_comes_first() {
        let with = |more: Value| {
            let mut all = json!({"name": "n", "type": "t"});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(versions(with(json!({}))), ["0.1.0"]);
        assert_eq!(versions(with(json!({"cniVersion": "1.0.0"}))), ["1.0.0"]);
        let several = json!({"cniVersion": "0.4.0", "cniVersions": ["1.1.0", "0.4.0", "9.0.0", "1.0.0"]});
        assert_eq!(versions(with(several)), ["1.1.0", "1.0.0", "0.4.0"]);
        assert_eq!(versions(with(json!({"cniVersion": "2.0.0", "cniVersions": ["1.0.0"]}))), ["1.0.0"]);
        let error = of(with(json!({"cniVersion": "2.0.0"}))).unwrap_err();
        assert_eq!(error, "cniVersion \"2.0.0\" is not known, only 0.1.0 to 1.1.0");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, words) in [
            (json!({"type": "t"}), "name is missing"),
            (json!({"name": "a b", "type": "t"}), "name \"a b\" is no name for a network"),
            (json!({"name": "-a", "type": "t"}), "no name for a network"),
            (json!({"name": "n"}), "a plugin has no type"),
            (json!({"name": "n", "type": "../sh"}), "type \"../sh\" is no name of a plugin"),
            (json!({"name": "n", "type": ".."}), "is no name of a plugin"),
            (json!({"name": "n", "plugins": []}), "plugins is no list"),
            (json!({"name": "n", "plugins": [1]}), "plugins: 1 is no object"),
            (json!({"name": "n", "type": "t", "disableCheck": 1}), "disableCheck is 1"),
            (json!({"name": "n", "type": "t", "cniVersion": 1}), "cniVersion 1 is no string"),
        ] {
            let error = of(value).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn networks_are_found_by_path_by_name_and_by_order() {
        let dir = std::env::temp_dir().join(format!("keg-hook-cni-network-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        write("10-b.conf", r#"{"name": "b", "type": "t"}"#);
        write("20-a.conflist", r#"{"name": "a", "plugins": [{"type": "t"}]}"#);
        write("05-readme.txt", "no configuration");
        assert_eq!(load_all(&[], &dir).unwrap()[0].name, "b");
        assert_eq!(load("a", &dir).unwrap().name, "a");
        let path = dir.join("20-a.conflist").display().to_string();
        assert_eq!(load(&path, "/nowhere".as_ref()).unwrap().name, "a");
        write("00-broken.conf", "{");
        assert_eq!(load("a", &dir).unwrap().name, "a", "somebody else's mistake");
        let first = one_line(&load_all(&[], &dir).unwrap_err());
        assert!(first.contains("00-broken.conf: EOF while parsing"), "{first}");
        let missing = one_line(&load("c", &dir).unwrap_err());
        assert!(
            missing.starts_with("no network \"c\" in ") && missing.contains("00-broken.conf"),
            "{missing}"
        );
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(one_line(&load("a", &dir).unwrap_err()).ends_with("no such file or directory"));
    }
}
