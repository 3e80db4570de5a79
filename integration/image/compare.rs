//! The same layouts unpacked by keg, by umoci and by GNU tar: the trees must be equal in everything.

use std::fs;
use std::path::Path;

use harness::{Runtime, Value, with_runtime};

use super::layout::Layout;
use super::tar::{dir, file, hardlink, old_sparse_of, symlink, tar, with_prefix};
use super::tree::{Tree, differences, read};
use super::{LAYOUTS, images, minutes, unpack, unpacks};

fn assert_equal(rt: &Runtime, layout: &str, keg: &Path, other: &Path) {
    let (keg, other) = (read(rt, keg), read(rt, other));
    assert!(keg.len() > 100, "{layout}: only {} names", keg.len());
    let found = differences(&keg, &other);
    assert!(found.is_empty(), "{layout}: {} differences, keg first:\n{}", found.len(), found.join("\n"));
}

#[test]
fn umoci_makes_the_same_tree() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        for layout in LAYOUTS {
            let image = format!("{}:latest", images().join(layout).display());
            let (ours, theirs) = (rt.dir().join(layout), rt.dir().join(format!("umoci-{layout}")));
            unpack(rt, &image, &ours).ok();
            let words = ["umoci", "unpack", "--image", &image, &theirs.display().to_string()];
            rt.program(&words).limit(minutes(3)).run().ok();
            assert_equal(rt, layout, &ours.join("rootfs"), &theirs.join("rootfs"));
        }
    });
}

#[test]
fn gnu_tar_makes_the_same_tree() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        for layout in LAYOUTS {
            let (ours, theirs) = (rt.dir().join(layout), rt.dir().join(format!("tar-{layout}")));
            unpack(rt, &format!("{}:latest", images().join(layout).display()), &ours).ok();
            fs::create_dir(&theirs).unwrap();
            let layers = layers(&images().join(layout));
            for script in [APPLY, DIRECTORIES] {
                for (number, layer) in layers.iter().enumerate() {
                    with_tar(rt, script, number, layer, &theirs);
                }
            }
            assert_equal(rt, layout, &ours.join("rootfs"), &theirs);
        }
    });
}

/// What few layers have: a name in two fields, a sparse file whose map goes on behind its header, symlinks with `..` on the way.
#[test]
fn tar_and_umoci_make_the_same_tree_of_old_forms() {
    with_runtime(|rt| {
        if !unpacks(rt) {
            return;
        }
        let mut stretches: Vec<_> = (0..50).map(|n| (n * 8192, vec![b'a' + (n % 26) as u8; 512])).collect();
        // As GNU tar ends a file with a hole.
        stretches.push((50 * 8192, Vec::new()));
        let items = [
            dir("./"),
            dir("p"),
            dir("p/q"),
            dir("a"),
            dir("a/b"),
            dir("c"),
            dir("c/d"),
            symlink("a/b/l", "../../c/d"),
            file("a/b/l/x", "1"),
            symlink("up", "a/b/l/.."),
            file("up/y", "2").mode(0o4711).owner(5, 6),
            hardlink("h", "c/y"),
        ];
        let plain = tar(&items);
        let begin = plain.strip_suffix(&[0; 1024]).unwrap();
        let begin = [begin, &with_prefix(&file("n".repeat(100), "x"), "p/q")].concat();
        let sparse = [&begin[..], &old_sparse_of("many", &stretches, 50 * 8192), &tar(&items[..7])].concat();
        let by_keg = |layer: &[u8], name: &str| {
            let place = rt.dir().join(format!("layout-{name}"));
            Layout::of(&[layer.to_vec()]).write(&place);
            let image = format!("{}:latest", place.display());
            let bundle = rt.dir().join(format!("keg-{name}"));
            unpack(rt, &image, &bundle).ok();
            (image, read(rt, &bundle.join("rootfs")))
        };
        let same = |ours: &Tree, theirs: &Path, name: &str| {
            let found = differences(ours, &read(rt, theirs));
            assert!(found.is_empty(), "{name}, keg first:\n{}", found.join("\n"));
        };
        let out = |name: &str| rt.dir().join(name);

        let (_, ours) = by_keg(&sparse, "tar");
        assert_eq!(ours.len(), 14, "{ours:?}");
        fs::create_dir(out("tar")).unwrap();
        let (layer, to) = (out("layer.tar"), out("tar").display().to_string());
        fs::write(&layer, &sparse).unwrap();
        rt.program(&["tar", "-xpPf", layer.to_str().unwrap(), "--numeric-owner", "-C", &to]).run().ok();
        same(&ours, &out("tar"), "tar");

        // It does not know old sparse files.
        let (image, ours) = by_keg(&[&begin[..], &tar(&items[..7])].concat(), "umoci");
        rt.program(&["umoci", "unpack", "--image", &image, out("umoci").to_str().unwrap()]).run().ok();
        same(&ours, &out("umoci/rootfs"), "umoci");
    });
}

/// The files of an image's layers, lowest first.
fn layers(layout: &Path) -> Vec<String> {
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &Value| layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&index["manifests"][0]["digest"]));
    let layers = manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| blob(&layer["digest"]).display().to_string()).collect()
}

/// What a layer hides is deleted first, then the rest is extracted. The zeros stand for the end that umoci leaves out.
const APPLY: &str = r#"
    set -euo pipefail
    { zcat -f "$1"; head -c 20480 /dev/zero; } >"$2"
    tar -tf "$2" --quoting-style=literal | { grep -E '(^|/)\.wh\.[^/]*$' || true; } | while read -r name; do
        base=${name##*/} directory=${name%"${name##*/}"}
        [ -d "./$directory" ] || continue
        if [ "$base" = .wh..wh..opq ]; then find "./$directory" -mindepth 1 -delete
        else rm -rf "./$directory${base#.wh.}"; fi
    done
    tar -xpf "$2" --numeric-owner --xattrs --xattrs-include='*' --exclude='.wh.*' 2>&1
"#;

/// tar gives a directory the present time whenever a later layer changes something in it without an entry for it. A
/// directory's time is that of its last entry: so the directories are extracted once more, when all else is done.
const DIRECTORIES: &str = r#"
    set -euo pipefail
    tar -tf "$2" --quoting-style=literal | { grep '/$' || true; } | while read -r name; do
        [ ! -d "$name" ] || [ -L "${name%/}" ] || printf '%s\n' "$name"
    done >"$2.names"
    tar -xpf "$2" --numeric-owner --no-recursion --verbatim-files-from -T "$2.names" 2>&1
"#;

fn with_tar(rt: &Runtime, script: &str, number: usize, layer: &str, root: &Path) {
    let plain = rt.dir().join(format!("plain-{number}")).display().to_string();
    rt.program(&["bash", "-c", script, "apply", layer, &plain]).cwd(root).limit(minutes(3)).run().ok();
}
