//! Everything that can be said about a file tree, a line for each name, so that two can be compared.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use harness::Runtime;

/// What is known about each name.
pub type Tree = BTreeMap<String, String>;

/// Types, modes, owners, times, link counts and groups, devices, contents, targets and extended attributes.
pub fn read(rt: &Runtime, root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut links = HashMap::new();
    visit(root, ".", &mut links, &mut tree);
    for (name, attributes) in attributes(rt, root) {
        tree.get_mut(&name).unwrap_or_else(|| panic!("getfattr names {name:?}")).push_str(&attributes);
    }
    tree
}

fn visit(path: &Path, name: &str, links: &mut HashMap<u64, String>, tree: &mut Tree) {
    let about = fs::symlink_metadata(path).unwrap();
    let kind = about.file_type();
    let mut text = format!(
        "{:o} {}:{} {}.{:09}",
        about.mode(),
        about.uid(),
        about.gid(),
        about.mtime(),
        about.mtime_nsec()
    );
    if !kind.is_dir() && about.nlink() > 1 {
        let first = links.entry(about.ino()).or_insert_with(|| name.to_owned());
        text += &format!(" {} links with {first}", about.nlink());
    }
    if kind.is_char_device() || kind.is_block_device() {
        text += &format!(" device {:x}", about.rdev());
    } else if kind.is_symlink() {
        text += &format!(" -> {:?}", fs::read_link(path).unwrap());
    } else if kind.is_file() {
        let mut hasher = DefaultHasher::new();
        fs::read(path).unwrap().hash(&mut hasher);
        text += &format!(" {} bytes {:x}", about.len(), hasher.finish());
    }
    tree.insert(name.to_owned(), text);
    if kind.is_dir() {
        let mut children: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        children.sort();
        for child in children {
            visit(&path.join(&child), &format!("{name}/{}", child.to_string_lossy()), links, tree);
        }
    }
}

/// What getfattr prints: `# file: NAME`, then a line for each attribute.
fn attributes(rt: &Runtime, root: &Path) -> Vec<(String, String)> {
    let words = ["getfattr", "-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."];
    let printed = rt.program(&words).cwd(root).limit(super::minutes(1)).run().ok().stdout();
    let mut found = Vec::new();
    for block in printed.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let (name, attributes) = block.trim().split_once('\n').unwrap();
        let name = name.strip_prefix("# file: ").unwrap();
        let name = if name == "." { name.to_owned() } else { format!("./{}", name.trim_start_matches("./")) };
        found.push((name, format!(" {}", attributes.replace('\n', " "))));
    }
    found
}

/// The names at which two trees differ, with what each says.
pub fn differences(one: &Tree, other: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let nothing = "nothing".to_owned();
    for name in one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))) {
        let (one, other) = (one.get(name).unwrap_or(&nothing), other.get(name).unwrap_or(&nothing));
        if one != other {
            found.push(format!("{name}\n  {one}\n  {other}"));
        }
    }
    found
}
