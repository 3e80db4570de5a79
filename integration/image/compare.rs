//! The same layouts unpacked by keg, by umoci and by GNU tar: the trees must be equal in everything.

use std::fs;
use std::path::Path;

use harness::{Runtime, Value, with_runtime};

use super::tree::{differences, read};
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
