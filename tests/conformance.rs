//! docs/conformance.md is made of tables, of properties and their tests, of validation programs that do not pass and of what runs in the
//! virtual machine, by `make conformance`. Here it is held in step with them, and they with the tests and the specification.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

const PROPERTIES: &str = "tests/conformance/properties";
const ANNOTATIONS: &str = "tests/conformance/annotations";
const EXCEPTIONS: &str = "integration/runtime-tools/exceptions";
const SUITE: &str = "integration/vm/suite";
/// The drivers that it names; the last is cgroupfs in another layout.
const DRIVERS: [&str; 3] = ["cgroupfs", "systemd", "hybrid"];
const DOCUMENT: &str = "docs/conformance.md";

/// How many programs runtime-tools has.
const PROGRAMS: usize = 58;

/// What a program may fail for. None of them is keg.
const REASONS: [&str; 5] = [
    "the kernel lacks it",
    "the host lacks it",
    "the program is wrong",
    "older than the specification",
    "callers need the opposite",
];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_default()
}

fn lines(name: &str) -> Vec<String> {
    let text = read(name);
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

/// Property, file, test.
fn properties() -> Vec<(String, String, String)> {
    let rows = lines(PROPERTIES);
    let parts = rows.iter().map(|row| {
        let words: Vec<&str> = row.split(' ').collect();
        let [property, file, test] = words[..] else { panic!("{row:?} is no row") };
        (property.to_owned(), file.to_owned(), test.to_owned())
    });
    parts.collect()
}

/// Program, assertion, reason, details.
fn exceptions() -> Vec<[String; 4]> {
    four_columns(EXCEPTIONS)
}

/// Annotation, what it does, file, test.
fn annotations() -> Vec<[String; 4]> {
    four_columns(ANNOTATIONS)
}

fn four_columns(name: &str) -> Vec<[String; 4]> {
    let parts = |row: &String| -> [String; 4] {
        let parts: Vec<String> = row.split(" | ").map(str::to_owned).collect();
        parts.try_into().unwrap_or_else(|parts| panic!("{parts:?} are not four columns"))
    };
    lines(name).iter().map(parts).collect()
}

fn document() -> String {
    let (properties, exceptions, passing) =
        (properties(), exceptions(), lines("integration/runtime-tools/must-pass"));
    let mut text = String::from("# Conformance\n\n");
    writeln!(
        text,
        "What keg does with each property of config.json is shown by a test, and what the validation programs of runtime-tools say of it by \
         running them. This page is made by\n`make conformance` of `{PROPERTIES}`, `{ANNOTATIONS}`, `{EXCEPTIONS}` and `{SUITE}`.\n"
    )
    .unwrap();
    writeln!(
        text,
        "## Properties\n\nEach property that Linux containers have in version 1.3.0 of the runtime specification, and the test that proves \
         it. Tests below `integration/` look from inside a\ncontainer, those of `tests/seccomp_kernel.rs` let the kernel decide, the others \
         look at what would be written.\n\n| property | test | in |\n|---|---|---|"
    )
    .unwrap();
    for (property, file, test) in &properties {
        writeln!(text, "| {property} | {} | `{file}` |", test.replace('_', " ")).unwrap();
    }
    text += "\n## Annotations\n\nThose that mean something to keg; `keg features` has them as potentially unsafe. All others are passed on to \
             hooks and `state`, and have no effect.\n\n| annotation | what it does | test | in |\n|---|---|---|---|\n";
    for [annotation, what, file, test] in &annotations() {
        writeln!(text, "| {annotation} | {what} | {} | `{file}` |", test.replace('_', " ")).unwrap();
    }
    writeln!(
        text,
        "\n## Validation programs\n\n{} of the {PROGRAMS} programs of runtime-tools pass on the host where keg is developed: cgroups in the \
         hybrid layout, Linux 6.18, no security modules. The runner gives those\nthat want them controllers in hierarchies of version 1, and \
         process_capabilities the root of a user namespace where the host's lacks a capability. The {} others, and why:\n\n| program | what it \
         says | reason | more |\n|---|---|---|---|",
        passing.len(),
        exceptions.len()
    )
    .unwrap();
    for [program, assertion, reason, details] in &exceptions {
        writeln!(text, "| {program} | {assertion} | {reason} | {details} |").unwrap();
    }
    text + &places()
}

/// A file of integration tests: its path, its module, and the text of each of its tests.
struct TestFile {
    path: String,
    module: String,
    tests: Vec<String>,
}

fn test_files() -> Vec<TestFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration");
    let (mut found, mut left) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            match path.is_dir() {
                true => left.push(path),
                false if name.ends_with(".rs") => found.push(name),
                false => {}
            }
        }
    }
    found.sort();
    let files = found.into_iter().map(|name| {
        let path = format!("integration/{name}");
        let tests: Vec<_> = read(&path).split("#[test]\n").skip(1).map(str::to_owned).collect();
        let module = name.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::") + "::";
        TestFile { path, module, tests }
    });
    files.filter(|file| !file.tests.is_empty()).collect()
}

/// A filter and its drivers.
type Selection = (String, Vec<String>);

/// The filters of the suite with their drivers, and the tests that it leaves out with the reasons.
fn suite() -> (Vec<Selection>, Vec<(String, String)>) {
    let (out, run): (Vec<_>, Vec<_>) = lines(SUITE).into_iter().partition(|line| line.starts_with("- "));
    let run = run.iter().map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap(), words.collect())
    });
    let out = out.iter().map(|line| {
        let (test, reason) = line[2..].split_once(": ").unwrap_or_else(|| panic!("{line:?} has no reason"));
        (test.to_owned(), reason.to_owned())
    });
    (run.collect(), out.collect())
}

/// Where the integration tests run.
fn places() -> String {
    let (run, out) = suite();
    let mut text = format!(
        "\n## Where the integration tests run\n\n`make test` runs all of them on its host, whatever cgroups that has (version 1 and hybrid \
         where keg is developed), and those that cgroups, systemd or\nthe lack of root make a difference to once more in a virtual machine \
         with version 2 and systemd, with each cgroup driver, and with cgroupfs in a hybrid\nlayout, where packets are version 1 and all else is \
         version 2: those that `{SUITE}` names. `make vm TEST=FILTER KEG_DRIVER=systemd` runs others \
         there.\n\n| tests in | host | virtual machine, cgroupfs | virtual machine, systemd | virtual machine, hybrid |\n|---|---|---|---|---|\n"
    );
    let spoken = |name: &str| name.replace('_', " ");
    for file in test_files() {
        let named = run.iter().find(|(filter, _)| file.module.starts_with(filter.as_str()));
        let Some((_, drivers)) = named else { continue };
        let cell = |driver: &str| {
            if !drivers.iter().any(|one| one == driver) {
                return "none".to_owned();
            }
            let names = file.tests.iter().filter_map(|test| {
                let name = test.strip_prefix("fn ")?.split('(').next()?;
                let omitted = out.iter().any(|(other, _)| *other == format!("{}{name}", file.module));
                let other = driver == "systemd" && test.contains("only_cgroupfs(");
                (omitted || other).then(|| spoken(name))
            });
            let names: Vec<_> = names.collect();
            if names.is_empty() { "all".to_owned() } else { format!("all but: {}", names.join("; ")) }
        };
        let host = if file.module == "systemd::" { "none" } else { "all" };
        writeln!(text, "| `{}` | {host} | {} |", file.path, DRIVERS.map(cell).join(" | ")).unwrap();
    }
    let selinux = run.iter().filter(|(_, drivers)| drivers.iter().any(|one| one == "selinux"));
    let selinux: Vec<_> = selinux.map(|(filter, _)| format!("`{}`", filter.trim_end_matches("::"))).collect();
    text += "| all other files | all | none | none | none |\n\n";
    writeln!(
        text,
        "The guest has AppArmor. A second one, whose kernel has SELinux instead and loads `integration/vm/selinux.cil`, runs {}. Nothing here \
         has resctrl:\nits groups are made, entered and removed in a directory that looks like one, and a container that wants one where there \
         is none is refused.\n",
        selinux.join(", ")
    )
    .unwrap();
    text += "`integration/clients/scopes.rs` runs in a guest that has containerd, Docker and Podman besides, by `make vm-callers`, and nowhere else.\n\n";
    text += "What a scope cannot have, a path, a place that was there, is not asked of systemd; \
             some tests look for a controller or a device first, and say so where there\nis none. Left out of the virtual machine:\n\n";
    for (test, reason) in out {
        let (module, name) = test.rsplit_once("::").unwrap();
        writeln!(text, "- `{module}`: {}, since {reason}.", spoken(name)).unwrap();
    }
    text
}

#[test]
fn what_the_virtual_machine_runs_exists() {
    let (run, out) = suite();
    let files = test_files();
    for (filter, drivers) in run {
        assert!(files.iter().any(|file| file.module.starts_with(&filter)), "{filter}: no such tests");
        assert!(!drivers.is_empty(), "{filter}: no driver");
        assert!(
            drivers.iter().all(|one| one == "selinux" || DRIVERS.contains(&one.as_str())),
            "{filter}: {drivers:?}"
        );
    }
    for (test, _) in out {
        let (module, name) = test.rsplit_once("::").unwrap();
        let file = files.iter().find(|file| file.module == format!("{module}::"));
        let is = |text: &String| text.starts_with(&format!("fn {name}()"));
        assert!(file.is_some_and(|file| file.tests.iter().any(is)), "{test}: no such test");
    }
}

#[test]
fn the_document_is_what_the_tables_say() {
    let now = document();
    if std::env::var_os("KEG_UPDATE_CONFORMANCE").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT), &now).unwrap();
    }
    assert!(read(DOCUMENT) == now, "{DOCUMENT} is not what the tables say: `make conformance` makes it anew");
}

#[test]
fn every_test_that_is_named_exists() {
    let mut missing = Vec::new();
    let annotations = annotations().into_iter().map(|[annotation, _, file, test]| (annotation, file, test));
    for (property, file, test) in properties().into_iter().chain(annotations) {
        let text = read(&file);
        if !text.contains(&format!("#[test]\n    fn {test}()"))
            && !text.contains(&format!("#[test]\nfn {test}()"))
        {
            missing.push(format!("{property}: {file}: {test}"));
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn the_annotations_are_those_that_features_lists() {
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_keg")).args(["features"]).output().unwrap().stdout;
    let features: Value = serde_json::from_slice(&output).unwrap();
    let listed = features["potentiallyUnsafeConfigAnnotations"].as_array().unwrap();
    let listed: BTreeSet<&str> = listed.iter().map(|name| name.as_str().unwrap()).collect();
    let annotations = annotations();
    let effective = annotations.iter().filter(|[_, what, ..]| !what.starts_with("none: "));
    let known: BTreeSet<&str> = effective.map(|[name, ..]| name.trim_end_matches("NAME")).collect();
    assert_eq!(listed, known);
}

#[test]
fn every_validation_program_passes_or_has_its_reason() {
    let passing: BTreeSet<String> = lines("integration/runtime-tools/must-pass").into_iter().collect();
    let exceptions = exceptions();
    for [program, _, reason, _] in &exceptions {
        assert!(!passing.contains(program), "{program} is in both lists");
        assert!(REASONS.contains(&reason.as_str()), "{program}: {reason:?} is no reason");
    }
    let failing: BTreeSet<&String> = exceptions.iter().map(|[program, ..]| program).collect();
    assert_eq!((failing.len(), passing.len() + failing.len()), (exceptions.len(), PROGRAMS));
}

/// The schemas of the runtime specification, where they are.
fn schemas() -> PathBuf {
    match std::env::var_os("RUNTIME_SPEC_SCHEMAS") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/runtime-spec"),
    }
}

/// The properties that a schema describes, those of other systems left out.
fn leaves(schema: &Value, file: &str, path: &str, found: &mut BTreeSet<String>) {
    let mut inner = false;
    if let Some(reference) = schema["$ref"].as_str() {
        let (other, pointer) = reference.split_once('#').unwrap();
        let file = if other.is_empty() { file } else { other };
        let Ok(text) = std::fs::read(schemas().join(file)) else { return };
        let document: Value = serde_json::from_slice(&text).unwrap();
        leaves(document.pointer(pointer).unwrap(), file, path, found);
        if schema.get("properties").is_none() {
            return;
        }
        inner = true;
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for list in ["allOf", "anyOf", "oneOf"] {
        for part in schema[list].as_array().into_iter().flatten() {
            leaves(part, file, path, found);
            inner = true;
        }
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        leaves(part, file, &below(name), found);
        inner = true;
    }
    for part in schema["patternProperties"].as_object().into_iter().flat_map(|all| all.values()) {
        leaves(part, file, &below("*"), found);
        inner = true;
    }
    if schema["items"].is_object() {
        leaves(&schema["items"], file, &format!("{path}[]"), found);
        inner = true;
    }
    if schema["additionalProperties"].is_object() {
        leaves(&schema["additionalProperties"], file, &below("*"), found);
        inner = true;
    }
    if !inner {
        found.insert(path.to_owned());
    }
}

#[test]
fn every_property_of_the_specification_has_its_row() {
    let file = schemas().join("config-schema.json");
    let Ok(text) = std::fs::read(&file) else {
        eprintln!("skipped: {} is not there; RUNTIME_SPEC_SCHEMAS names the directory", file.display());
        return;
    };
    let mut specified = BTreeSet::new();
    leaves(&serde_json::from_slice(&text).unwrap(), "config-schema.json", "", &mut specified);
    let others = ["solaris", "windows", "vm", "zos", "freebsd"];
    specified.retain(|property| !others.contains(&property.split('.').next().unwrap()));
    let listed: Vec<String> = properties().into_iter().map(|(property, ..)| property).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), specified);
    assert_eq!(listed.len(), specified.len(), "a property has two rows");
}
