//! The shape of the source: who may import whom, how long files are, how they open, where `unsafe` is.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room, and the rooms it may name. The order is that of the floors: none names one below it here.
const TABLE: [(&str, &str); 19] = [
    ("types", ""),
    ("sys", "types"),
    ("spec", "types"),
    ("seccomp", "types spec"),
    ("plan", "types spec seccomp"),
    ("link", "types sys"),
    ("rootfs", "types sys plan"),
    ("console", "types sys plan"),
    ("idmap", "types sys plan"),
    ("lsm", "types sys plan"),
    ("network", "types sys plan"),
    ("cgroup", "types sys plan"),
    ("resctrl", "types sys plan"),
    ("hooks", "types sys spec plan"),
    ("state", "types sys spec"),
    ("init", "types sys plan link rootfs console lsm network hooks"),
    (
        "ops",
        "types sys spec seccomp plan link rootfs console idmap lsm network cgroup resctrl hooks state init",
    ),
    ("image", "types sys spec"),
    ("cli", "types plan ops image"),
];

/// Every Rust file of `src` with its text.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 20, "src was not found");
    files
}

fn collect(dir: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
            files.insert(path.strip_prefix(root).unwrap().to_owned(), text);
        }
    }
}

/// The room that a file of `src` belongs to; `None` for `lib.rs` and `main.rs`.
fn room(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.trim_end_matches(".rs");
    (!matches!(name, "lib" | "main")).then(|| name.to_owned())
}

/// The text without comments and without what is in quotes.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '/' if chars.peek() == Some(&'/') => {
                code.push('\n');
                while chars.next().is_some_and(|char| char != '\n') {}
            }
            '"' => {
                while let Some(char) = chars.next() {
                    match char {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            // A quote as a character, or the start of a lifetime.
            '\'' => {
                let mut ahead = chars.clone();
                match (ahead.next(), ahead.next()) {
                    (Some('\\'), _) => while chars.next() != Some('\'') {},
                    (Some(_), Some('\'')) => drop((chars.next(), chars.next())),
                    _ => {}
                }
            }
            other => code.push(other),
        }
    }
    code
}

/// The rooms that a text names, as `crate::room` or in `use crate::{room, …}`.
fn named(text: &str) -> BTreeSet<String> {
    let code = code(text);
    let mut rooms = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(top_level(group)),
            None => rooms.extend(word(rest)),
        }
    }
    rooms
}

/// The first word of each item of a `{…}` list.
fn top_level(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut item = String::new();
    let mut items = Vec::new();
    for char in group.chars() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            other => item.push(other),
        }
    }
    items.push(item);
    items.iter().filter_map(|item| word(item.trim())).collect()
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
    (!word.is_empty()).then_some(word)
}

#[test]
fn a_room_names_only_the_rooms_that_the_table_allows() {
    let table: BTreeMap<_, _> = TABLE.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(room) = room(&path) else { continue };
        let allowed = table.get(room.as_str()).unwrap_or_else(|| panic!("no row for {room}"));
        for other in named(&text) {
            let known = other == room || allowed.split(' ').any(|name| name == other);
            if !known {
                wrong.push(format!("{}: {room} may not name {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_a_row_for_each_room_and_no_circle() {
    let rooms: BTreeSet<_> = sources().keys().filter_map(|path| room(path)).collect();
    let rows: BTreeSet<_> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rooms, rows);
    for (at, (name, allowed)) in TABLE.iter().enumerate() {
        for other in allowed.split_whitespace() {
            let floor = TABLE.iter().position(|(row, _)| *row == other);
            assert!(floor.is_some_and(|floor| floor < at), "{name} names {other}, which is not below it");
        }
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    for (text, rooms) in [
        ("use crate::sys::fd;", vec!["sys"]),
        ("use crate::{ops::{self, options}, types};", vec!["ops", "types"]),
        ("let a = crate::plan::X; // crate::image", vec!["plan"]),
        ("let a = \"crate::image \\\" crate::image\"; crate::spec::f('\"', '\\'')", vec!["spec"]),
        ("fn f<'a>(x: &'a str) -> crate::link::Y<'a>", vec!["link"]),
    ] {
        assert_eq!(named(text).into_iter().collect::<Vec<_>>(), rooms, "{text}");
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > 400 {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
        if !text.starts_with("//! ") {
            wrong.push(format!("{} does not open with what it is for", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn main_only_calls_the_library() {
    assert!(sources()[Path::new("main.rs")].lines().count() <= 40);
}

#[test]
fn only_sys_is_unsafe() {
    for (path, text) in sources() {
        let code = code(&text);
        let has =
            code.split(|char: char| !char.is_alphanumeric() && char != '_').any(|word| word == "unsafe");
        assert!(!has || path.starts_with("sys"), "{}", path.display());
    }
}
