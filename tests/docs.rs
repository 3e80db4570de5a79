//! What the documents say of the source must be so: files exist, every dependency has its line, versions agree.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// README.md and every document of `docs`, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut names = vec![PathBuf::from("README.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = Path::new("docs").join(entry.unwrap().file_name());
        if name.extension().is_some_and(|extension| extension == "md") {
            names.push(name);
        }
    }
    names.into_iter().map(|name| (name.clone(), read(name.to_str().unwrap()))).collect()
}

/// What stands between two backticks of one line, outside code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// The names in the sections of a manifest whose header ends in `dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut in_section = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_section = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (in_section, line.split_once('=')) {
            names.insert(name.split('.').next().unwrap().trim().to_owned());
        }
    }
    names
}

/// The value of `key = "value"` in a manifest.
fn value<'a>(manifest: &'a str, key: &str) -> &'a str {
    let start = format!("{key} = \"");
    manifest.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('"')).unwrap()
}

#[test]
fn every_dependency_has_its_line_and_every_line_its_dependency() {
    let text = read("docs/dependencies.md");
    let lines = text.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`: "));
    let listed: Vec<_> = lines.map(|(name, _)| name.to_owned()).collect();
    let parts = ["", "cri/", "probe/"].map(|part| format!("integration/{part}Cargo.toml"));
    let hooks = std::fs::read_dir(root().join("hooks")).unwrap();
    let hooks =
        hooks.map(|entry| format!("hooks/{}/Cargo.toml", entry.unwrap().file_name().to_str().unwrap()));
    let manifests = parts.into_iter().chain(hooks).chain(["Cargo.toml".to_owned()]);
    let mut used: BTreeSet<_> = manifests.flat_map(|name| dependencies(&read(&name))).collect();
    used.remove("integration");
    assert!(used.contains("nix") && used.contains("tempfile"), "no dependencies were found: {used:?}");
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), used);
    assert_eq!(listed.len(), used.len(), "a dependency has two lines: {listed:?}");
}

#[test]
fn every_file_that_a_document_names_exists() {
    let folders = ["src/", "integration/", "tests/", "docs/", "scripts/", "hooks/"];
    let mut missing = Vec::new();
    let mut seen = 0;
    for (document, text) in documents() {
        let files = quoted(&text).into_iter().filter(|word| {
            folders.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '*', '…', '<'])
        });
        for file in files {
            seen += 1;
            if !root().join(file).exists() {
                missing.push(format!("{}: {file}", document.display()));
            }
        }
    }
    assert!(seen > 20, "only {seen} names of files were found");
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn every_link_of_a_document_leads_to_a_file() {
    let mut missing = Vec::new();
    for (document, text) in documents() {
        for (at, open) in text.match_indices("](") {
            let target = text[at + open.len()..].split(')').next().unwrap();
            let file = target.split('#').next().unwrap();
            let beside = root().join(&document).parent().unwrap().join(file);
            if !target.contains("://") && !beside.exists() {
                missing.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// The rows `| `room` | … | may name |` are those of the table in `tests/layers.rs`.
#[test]
fn the_table_of_rooms_is_the_one_that_is_tested() {
    // A long row of the table is broken into lines.
    let tested = read("tests/layers.rs")
        .replace("(\n        \"", "(\"")
        .replace("\",\n        \"", "\", \"")
        .replace("\",\n    )", "\")");
    let text = read("docs/ARCHITECTURE.md");
    let start = text.find("| room |").unwrap();
    let table = text[start..].split("\n\n").next().unwrap();
    let rows: Vec<_> = table.lines().skip(2).map(|row| row.split('|').collect::<Vec<_>>()).collect();
    for row in &rows {
        let (room, names) = (row[1].trim().trim_matches('`'), row[3].trim());
        let names = match names {
            "–" => String::new(),
            "all above" => {
                let above = rows.iter().map(|row| row[1].trim().trim_matches('`'));
                above.take_while(|above| *above != room).collect::<Vec<_>>().join(" ")
            }
            names => names.to_owned(),
        };
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
        let line = tested.lines().find_map(|line| line.trim().strip_prefix(&format!("(\"{room}\", \"")));
        let line = line.unwrap_or_else(|| panic!("{room} is not in tests/layers.rs"));
        assert_eq!(words(line.trim_end_matches("\"),")), words(&names), "{room}");
    }
    let count = tested.lines().filter(|line| line.starts_with("    (\"") && line.ends_with("\"),")).count();
    assert_eq!(rows.len(), count);
}

#[test]
fn the_readme_names_the_two_commands_and_the_rust_version() {
    let readme = read("README.md");
    for command in ["\n    make demo ", "\n    make test "] {
        assert!(readme.contains(command), "{command:?}");
    }
    let version = value(&read("Cargo.toml"), "rust-version").to_owned();
    assert!(readme.contains(&format!("[Rust](https://rustup.rs) {version} or later")), "{version}");
    assert!(read("scripts/setup.sh").contains(&format!("Rust {version} or later")), "{version}");
}

#[test]
fn quoted_words_and_dependencies_are_found() {
    assert_eq!(quoted("a `b` c `d e`\n```\n`no`\n```\n`f`"), ["b", "d e", "f"]);
    let manifest = "[a]\nx = 1\n[dependencies]\ny = \"1\"\nz.workspace = true\n[dev-dependencies]\nw = { v = 2 }\n[lints]\nq = 1\n";
    assert_eq!(dependencies(manifest).into_iter().collect::<Vec<_>>(), ["w", "y", "z"]);
}
