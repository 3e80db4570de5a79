//! The images of `tests/image/cases.rs` that keg accepts, in the hands of umoci and bsdtar: where they refuse one or make another tree of
//! it there is a rule that decides, and `docs/images.md` has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use harness::{Runtime, with_runtime};

use super::cases::{self, Case, Ground, Kind, There, Trick};
use super::layout::Layout;
use super::tar::{Item, tar};
use super::tree::{self, Tree};
use super::{minutes, unpack, unpacks};

/// Many cases in one image, each in a directory of its own.
struct Batch(BTreeMap<usize, Case>);

impl Batch {
    fn layers(&self) -> [Vec<u8>; 2] {
        let mut layers: [Vec<Item>; 2] = [Vec::new(), Vec::new()];
        for (number, case) in &self.0 {
            let (prefix, decoy) = (format!("c{number}/"), format!("/c{number}/outside"));
            let [lower, upper] = case.layers(&Ground { prefix: &prefix, decoy: &decoy });
            layers[0].extend(lower);
            layers[1].extend(upper);
        }
        layers.map(|items| tar(&items))
    }
}

/// What each case has become, without the times of directories: those that no entry names have the present one.
fn trees(rt: &Runtime, root: &Path) -> BTreeMap<usize, Tree> {
    let mut trees: BTreeMap<usize, Tree> = BTreeMap::new();
    for (name, about) in tree::read(rt, root) {
        let name = name.trim_start_matches("./");
        let (case, below) = name.split_once('/').unwrap_or((name, ""));
        let Some(number) = case.strip_prefix('c').and_then(|number| number.parse().ok()) else { continue };
        let about = match about.split_once(' ') {
            Some((mode, rest)) if mode.starts_with('4') => {
                format!("{mode} {}", rest.split(' ').next().unwrap())
            }
            _ => about,
        };
        trees.entry(number).or_default().insert(below.to_owned(), about);
    }
    trees
}

/// What others make of a batch, in a directory that they fill.
fn by_umoci(rt: &Runtime, batch: &Batch, to: &str) -> Result<BTreeMap<usize, Tree>, String> {
    let (layout, out) = (rt.dir().join(format!("{to}-layout")), rt.dir().join(to));
    Layout::of(&batch.layers()).write(&layout);
    let image = format!("{}:latest", layout.display());
    let words = ["umoci", "unpack", "--image", &image, &out.display().to_string()];
    let done = rt.program(&words).limit(minutes(3)).run();
    if done.status.success() { Ok(trees(rt, &out.join("rootfs"))) } else { Err(done.stderr()) }
}

/// It goes on after an entry that it cannot make. Inside its own root, as links that are absolute mean the image.
fn by_bsdtar(rt: &Runtime, batch: &Batch) -> BTreeMap<usize, Tree> {
    let out = rt.dir().join("bsdtar");
    fs::create_dir(&out).unwrap();
    for (number, layer) in batch.layers().iter().enumerate() {
        let file = rt.dir().join(format!("layer-{number}.tar")).display().to_string();
        fs::write(&file, layer).unwrap();
        let out = out.display().to_string();
        let words = ["bsdtar", "--chroot", "-xpP", "--numeric-owner", "-f", &file, "-C", &out];
        assert!(rt.program(&words).limit(minutes(2)).run().status.code().is_some());
    }
    trees(rt, &out)
}

/// Entries that umoci refuses an image for.
fn umocis_rule(case: Case) -> Option<&'static str> {
    match case.kind {
        Kind::Contiguous => Some("streams"),
        Kind::LinkToItself => Some("hardlinks"),
        _ => None,
    }
}

/// Why bsdtar's tree is another.
fn bsdtars_rule(case: Case) -> Option<&'static str> {
    let is_directory =
        case.kind == Kind::Directory || (case.kind == Kind::OldFile && case.trick == Trick::TrailingSlash);
    match (case.kind, case.trick, case.there) {
        (Kind::Whiteout | Kind::Opaque, ..) => Some("whiteouts"),
        (_, Trick::ThroughDangling | Trick::ThroughOut | Trick::ThroughUp, _) => Some("parents"),
        (Kind::LinkToItself, ..) => Some("hardlinks"),
        (_, _, There::SymlinkToDirectory) if is_directory => Some("last"),
        (_, _, There::EmptyDirectory | There::FullDirectory) => Some("last"),
        _ => None,
    }
}

/// The rows `| TOOL | RULE | …` of the document.
fn documented() -> BTreeSet<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let tool = cells.next().filter(|tool| ["umoci", "bsdtar"].contains(tool))?;
        Some((tool.to_owned(), cells.next()?.to_owned()))
    });
    rows.collect()
}

#[test]
fn where_umoci_and_bsdtar_differ_there_is_a_rule() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let accepted =
            cases::all().into_iter().filter(|case| case.refusal().is_none() && case.trick != Trick::Root);
        // No dimension of the cases is a multiple of seven.
        let batch = Batch(accepted.step_by(7).enumerate().collect());
        assert!(batch.0.len() > 700, "{} cases", batch.0.len());
        let layout = rt.dir().join("layout");
        Layout::of(&batch.layers()).write(&layout);
        unpack(rt, &format!("{}:latest", layout.display()), &rt.dir().join("keg")).ok();
        let ours = trees(rt, &rt.dir().join("keg/rootfs"));
        let mut rules = BTreeSet::new();

        let (refused, taken): (BTreeMap<usize, Case>, BTreeMap<usize, Case>) = batch
            .0
            .iter()
            .map(|(number, case)| (*number, *case))
            .partition(|(_, case)| umocis_rule(*case).is_some());
        for kind in [Kind::Contiguous, Kind::LinkToItself] {
            let (number, case) = refused.iter().find(|(_, case)| case.kind == kind).unwrap();
            let one = Batch(BTreeMap::from([(*number, *case)]));
            by_umoci(rt, &one, &format!("umoci-{number}")).unwrap_err();
            rules.insert(("umoci".to_owned(), umocis_rule(*case).unwrap().to_owned()));
        }
        let umoci = by_umoci(rt, &Batch(taken), "umoci").unwrap();
        for (number, theirs) in &umoci {
            let found = tree::differences(&ours[number], theirs);
            assert!(found.is_empty(), "umoci: {:?}, keg first:\n{}", batch.0[number], found.join("\n"));
        }

        let bsdtar = by_bsdtar(rt, &batch);
        for (number, case) in &batch.0 {
            let found = tree::differences(&ours[number], &bsdtar[number]);
            if found.is_empty() {
                continue;
            }
            let rule = bsdtars_rule(*case);
            let rule = rule.unwrap_or_else(|| panic!("bsdtar: {case:?}, keg first:\n{}", found.join("\n")));
            rules.insert(("bsdtar".to_owned(), rule.to_owned()));
        }
        assert_eq!(rules, documented());
    });
}
