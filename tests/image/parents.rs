//! Where symlinks on the way lead: an entry lands in the directory that the kernel finds under its parent's name, with the root as `/`.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::{Item, Layout, World, dir, file, symlink, tar};

/// Numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % count
    }

    fn path(&mut self, names: &[&str], most: usize) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| names[self.below(names.len())]).collect::<Vec<_>>().join("/")
    }
}

const DIRECTORIES: [&str; 6] = ["a", "a/b", "a/b/c", "d", "d/e", "d/e/f"];
const LINKS: [&str; 6] = ["u", "v", "w", "x", "y", "z"];

/// Directories, a file, and symlinks among them that lead anywhere: up, down, to each other, in circles, out, to nothing. And all paths.
fn forest(dice: &mut Dice) -> (Vec<Item>, Vec<String>) {
    let places: Vec<String> = LINKS
        .iter()
        .map(|link| format!("{}{link}", ["", "a/", "a/b/", "d/", "d/e/"][dice.below(5)]))
        .collect();
    let there = DIRECTORIES.iter().map(|name| (*name).to_owned()).chain(places.clone());
    let there: Vec<String> = there.chain(["a/file".to_owned()]).collect();
    let mut items: Vec<Item> = DIRECTORIES.iter().map(dir).collect();
    items.push(file("a/file", ""));
    for place in places {
        let up = "../".repeat(dice.below(6));
        let from = ["/", "", &up][dice.below(3)];
        let to = &there[dice.below(there.len())];
        let after = ["", "", "/..", "/../..", "/.", "/../a", "/b/../../d", "/"][dice.below(8)];
        items.push(symlink(place, format!("{from}{to}{after}")));
    }
    (items, there)
}

/// The directory that the kernel finds, from the root.
fn resolved(root: &Path, path: &str) -> Result<PathBuf, Errno> {
    let opened = std::fs::File::open(root).unwrap();
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // EAGAIN: something was mounted or renamed elsewhere while this walked through "..".
    let found = loop {
        match openat2(&opened, path, how) {
            Err(Errno::EAGAIN) => continue,
            found => break found?,
        }
    };
    use std::os::fd::AsRawFd;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap();
    Ok(real.strip_prefix(root.canonicalize().unwrap()).unwrap().to_owned())
}

#[test]
fn symlinks_lead_where_the_kernel_says() {
    let mut dice = Dice(7);
    let (mut led, mut through_links, mut refused) = (0, 0, 0);
    for _ in 0..16 {
        let (items, there) = forest(&mut dice);
        let lower = tar(&items);
        let world = World::begin();
        let root = world.accept(std::slice::from_ref(&lower));
        let names = ["a", "b", "c", "d", "e", "f", "u", "v", "w", "x", "y", "z", "file"];
        let (mut marks, mut wrong) = (Vec::new(), Vec::new());
        for number in 0..40 {
            let (first, then) = (&there[dice.below(there.len())], dice.path(&names, 2));
            let path = if number % 2 == 0 { first.clone() } else { format!("{first}/{then}") };
            match resolved(&root, &path) {
                Ok(real) => marks.push((format!("mark-{number}"), path, real)),
                // What is missing is made.
                Err(Errno::ENOENT) => {}
                Err(Errno::ELOOP) => wrong.push((path, "too many symlinks")),
                Err(Errno::ENOTDIR) => wrong.push((path, "is no directory")),
                Err(other) => panic!("{path}: {other}"),
            }
        }
        world.clear();
        let upper: Vec<Item> =
            marks.iter().map(|(name, path, _)| file(format!("{path}/{name}"), "")).collect();
        let root = world.accept(&[lower.clone(), tar(&upper)]);
        for (name, path, real) in &marks {
            let mark = root.join(real).join(name);
            assert!(std::fs::symlink_metadata(&mark).is_ok(), "{path}/{name} is not at {}", mark.display());
            (led, through_links) = (led + 1, through_links + u32::from(Path::new(path) != real));
        }
        world.clear();
        for (path, why) in wrong.iter().take(4) {
            world.refuse(&Layout::of(&[lower.clone(), tar(&[file(format!("{path}/x"), "")])]), why);
            refused += 1;
        }
    }
    assert!(led > 100 && through_links > 20 && refused > 20, "{led} {through_links} {refused}");
}
