//! From a bundle back to an image: unpacked again, it is what the bundle had become, and nothing is in the layer that need not be.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use keg::image::{self, Changes, LayerCompression, Limits, Progress, RepackOptions, Repacked, UnpackOptions};
use keg::sys::xattr;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use serde_json::{Value, json};

use super::world::{is_root, names};
use super::{Layout, chr, dir, file, hardlink, symlink as link, tar};

/// A layout with one image of two layers, and bundles of it.
pub struct Shop {
    dir: tempfile::TempDir,
}

pub fn layout() -> Layout {
    let lower = tar(&[
        dir("d"),
        file("d/one", "one"),
        file("d/two", "two"),
        dir("d/deep"),
        file("d/deep/x", "x"),
        file("gone", "gone"),
        file("same", "aaaa").pax("mtime", "1000000000.5"),
        file("h1", "hard"),
        hardlink("h2", "h1"),
        hardlink("h3", "h1"),
        link("s", "d"),
        dir("becomes-a-file"),
        file("becomes-a-file/inside", ""),
        file("becomes-a-directory", ""),
    ]);
    Layout::of(&[lower, tar(&[file("d/two", "zwei"), file("upper", "u").mode(0o4755)])])
}

impl Shop {
    fn open() -> Self {
        Self::with(&layout())
    }

    pub fn with(layout: &Layout) -> Self {
        let dir = tempfile::tempdir().unwrap();
        layout.write(&dir.path().join("layout"));
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The root file system of a new bundle.
    pub fn unpack(&self, image: &str, bundle: &str) -> PathBuf {
        let options = UnpackOptions {
            image: self.path(image).display().to_string().parse().unwrap(),
            bundle: self.path(bundle),
            platform: None,
            limits: Limits::default(),
            sync: false,
            changes: Changes::default(),
        };
        image::unpack(&options, None, &mut |_: &Progress| {}).unwrap();
        self.path(bundle).join("rootfs")
    }

    pub fn options(&self, bundle: &str, tag: &str) -> RepackOptions {
        RepackOptions {
            bundle: self.path(bundle),
            layout: self.path("layout"),
            tags: vec![tag.to_owned()],
            author: None,
            created: None,
            created_by: None,
            comment: None,
            compression: LayerCompression::Gzip,
            epoch: None,
            limits: Limits::default(),
            sync: false,
        }
    }

    pub fn json(&self, layout: &str, digest: &str) -> Value {
        let path = self.path(layout).join("blobs").join(digest.replace(':', "/"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    pub fn manifest(&self, layout: &str, made: &Repacked) -> Value {
        self.json(layout, &made.digest.to_string())
    }

    pub fn config(&self, layout: &str, made: &Repacked) -> Value {
        self.json(layout, self.manifest(layout, made)["config"]["digest"].as_str().unwrap())
    }

    /// The names in the uppermost layer, as tar lists them.
    pub fn listed(&self, made: &Repacked) -> Vec<String> {
        let digest =
            self.manifest("layout", made)["layers"].as_array().unwrap().last().unwrap()["digest"].clone();
        let blob = self.path("layout/blobs").join(digest.as_str().unwrap().replace(':', "/"));
        let listed = std::process::Command::new("tar").arg("tzf").arg(blob).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

pub fn repack(options: &RepackOptions) -> Result<Repacked, String> {
    fn chain(error: &dyn std::error::Error) -> String {
        error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
    }
    let done = image::repack(options, &mut |_: &Progress| {}).map_err(|error| chain(&error));
    assert_eq!(
        names(&options.bundle),
        ["config.json", "keg.json", "rootfs"],
        "something was left in the bundle"
    );
    done
}

/// Everything that an image carries, by path.
pub fn tree(root: &Path) -> Vec<String> {
    fn visit(path: &Path, root: &Path, found: &mut Vec<String>) {
        let about = fs::symlink_metadata(path).unwrap();
        let content = if about.is_symlink() {
            format!("{:?}", fs::read_link(path).unwrap())
        } else if about.is_file() {
            format!("{:?}", fs::read(path).unwrap())
        } else {
            String::new()
        };
        let links = if about.is_dir() { 0 } else { about.nlink() };
        let name = path.strip_prefix(root).unwrap().display();
        let (mode, owner, time) =
            (about.mode(), (about.uid(), about.gid()), (about.mtime(), about.mtime_nsec()));
        found.push(format!("{name} {mode:o} {owner:?} {time:?} {links} {content}"));
        if about.is_dir() {
            names(path).iter().for_each(|name| visit(&path.join(name), root, found));
        }
    }
    let mut found = Vec::new();
    visit(root, root, &mut found);
    found
}

/// A change of every kind.
fn change(root: &Path) {
    fs::remove_file(root.join("gone")).unwrap();
    fs::remove_dir_all(root.join("d/deep")).unwrap();
    fs::write(root.join("d/one"), "changed").unwrap();
    fs::write(root.join("new"), "n").unwrap();
    fs::create_dir(root.join("new-directory")).unwrap();
    fs::write(root.join("new-directory").join("x".repeat(200)), "long").unwrap();
    symlink("../nowhere", root.join("new-directory/link")).unwrap();
    fs::hard_link(root.join("new"), root.join("new-directory/linked")).unwrap();
    fs::set_permissions(root.join("upper"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::remove_dir_all(root.join("becomes-a-file")).unwrap();
    fs::write(root.join("becomes-a-file"), "f").unwrap();
    fs::remove_file(root.join("becomes-a-directory")).unwrap();
    fs::create_dir(root.join("becomes-a-directory")).unwrap();
    fs::write(root.join("becomes-a-directory/in"), "").unwrap();
    // Another file under one of three names.
    fs::remove_file(root.join("h3")).unwrap();
    fs::write(root.join("h3"), "hard").unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o640)).unwrap();
}

#[test]
fn what_was_changed_comes_back() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    change(&root);
    let made = repack(&shop.options("bundle", "v2")).unwrap();
    let (deleted, there, _) = made.layer.unwrap();
    assert_eq!(deleted, 2, "{there} entries");
    let again = shop.unpack("layout:v2", "again");
    assert_eq!(tree(&again), tree(&root));
    // The old name still means the old image.
    let old = shop.unpack("layout:latest", "old");
    assert!(old.join("gone").exists() && !old.join("new").exists());
}

#[test]
fn a_layer_of_zstd_is_the_same_layer() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    change(&root);
    fs::write(root.join("long"), "the same again, ".repeat(40_000)).unwrap();
    let with = |compression, tag: &str| {
        shop.unpack("layout:latest", tag);
        let options = RepackOptions { compression, epoch: Some(1_600_000_000), ..shop.options(tag, tag) };
        fs::remove_dir_all(shop.path(tag).join("rootfs")).unwrap();
        let copied = std::process::Command::new("cp").arg("-a").arg(&root).arg(shop.path(tag)).status();
        assert!(copied.unwrap().success());
        repack(&options).unwrap()
    };
    let (zstd, gzip) = (with(LayerCompression::Zstd, "zstd"), with(LayerCompression::Gzip, "gzip"));
    let layer = shop.manifest("layout", &zstd)["layers"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    assert!(layer["size"].as_u64().unwrap() < 20_000, "{layer}");
    let diff_ids = |made: &Repacked| shop.config("layout", made)["rootfs"]["diff_ids"].clone();
    assert_eq!(diff_ids(&zstd), diff_ids(&gzip));
    assert_eq!(tree(&shop.unpack("layout:zstd", "again")), tree(&shop.unpack("layout:gzip", "once-more")));
    assert_eq!(with(LayerCompression::Zstd, "zstd-again").digest, zstd.digest);
}

/// What could not be unpacked again is not written.
#[test]
fn a_tree_that_is_too_deep() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    fs::create_dir_all(root.join("d/".repeat(300))).unwrap();
    let error = repack(&shop.options("bundle", "v2")).unwrap_err();
    assert!(error.contains("more than 256 directories within each other"), "{error}");
}

#[test]
fn deletions_come_first_and_only_what_changed_is_there() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    fs::remove_file(root.join("gone")).unwrap();
    fs::remove_dir_all(root.join("d/deep")).unwrap();
    fs::write(root.join("d/one"), "changed").unwrap();
    let made = repack(&shop.options("bundle", "v2")).unwrap();
    assert_eq!(shop.listed(&made), ["d/.wh.deep", ".wh.gone", "./", "d/", "d/one"]);
}

#[test]
fn an_unchanged_bundle_makes_no_layer() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    let made = repack(&shop.options("bundle", "same")).unwrap();
    assert_eq!(made.layer, None);
    change(&root);
    let first = repack(&shop.options("bundle", "v2")).unwrap();
    assert!(first.layer.is_some());
    let second = repack(&shop.options("bundle", "v3")).unwrap();
    assert_eq!((second.layer, &second.digest), (None, &first.digest));
    assert_eq!(tree(&shop.unpack("layout:v3", "again")), tree(&root));
    // A change of the bundle after that is one layer more.
    fs::write(root.join("later"), "l").unwrap();
    let third = repack(&shop.options("bundle", "v2")).unwrap();
    assert_eq!(shop.listed(&third), ["./", "later"]);
    assert_eq!(shop.manifest("layout", &third)["layers"].as_array().unwrap().len(), 4);
    assert_eq!(tree(&shop.unpack("layout:v2", "once-more")), tree(&root));
}

/// Size, time and mode are as they were; the content is not.
#[test]
fn contents_settle_what_attributes_do_not() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    let time = fs::metadata(root.join("same")).unwrap().modified().unwrap();
    fs::write(root.join("same"), "bbbb").unwrap();
    fs::File::options().write(true).open(root.join("same")).unwrap().set_modified(time).unwrap();
    // Touched, but the same.
    fs::set_permissions(root.join("d/one"), PermissionsExt::from_mode(0o644)).unwrap();
    let made = repack(&shop.options("bundle", "v2")).unwrap();
    assert_eq!(shop.listed(&made), ["./", "same"]);
    assert_eq!(fs::read(shop.unpack("layout:v2", "again").join("same")).unwrap(), b"bbbb");
}

/// Each of these alone makes a file another one.
#[test]
fn one_attribute_is_a_change() {
    type Change = (&'static str, bool, fn(&Path));
    let set_time = |path: &Path, time| {
        let time = [TimeSpec::new(1, 0), time];
        utimensat(AT_FDCWD, path, &time[0], &time[1], UtimensatFlags::NoFollowSymlink).unwrap();
    };
    let changes: [Change; 10] = [
        ("d/one", true, |path| chown(path, Some(7), None).unwrap()),
        ("d/one", true, |path| chown(path, None, Some(7)).unwrap()),
        ("s", true, |path| lchown(path, Some(7), None).unwrap()),
        ("d/one", false, |path| fs::set_permissions(path, PermissionsExt::from_mode(0o640)).unwrap()),
        ("d/one", false, |_| {}),
        ("d/one", false, |path| set_xattr(path, "v")),
        ("coloured", false, |path| set_xattr(path, "other")),
        ("s", false, |path| {
            fs::remove_file(path).unwrap();
            symlink("D", path).unwrap();
        }),
        ("d/deep", false, |path| fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap()),
        ("dev", true, |path| {
            fs::remove_file(path).unwrap();
            let numbers = nix::sys::stat::makedev(1, 5);
            nix::sys::stat::mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o644), numbers).unwrap();
        }),
    ];
    let mut lower = vec![dir("d"), file("d/one", "one"), dir("d/deep"), link("s", "d")];
    lower.push(file("coloured", "").pax("SCHILY.xattr.user.colour", "green"));
    if is_root() {
        lower.push(chr("dev", 1, 3));
    }
    let layout = Layout::of(&[tar(&lower)]);
    for (number, (name, needs_root, change)) in changes.into_iter().enumerate() {
        if needs_root && !is_root() {
            continue;
        }
        let shop = Shop::with(&layout);
        let root = shop.unpack("layout", "bundle");
        let path = root.join(name);
        let before = fs::symlink_metadata(&path).unwrap();
        change(&path);
        // Everything else is as it was; but for the one whose time is the change.
        let late = i64::from(number == 4);
        set_time(&path, TimeSpec::new(before.mtime() + late, before.mtime_nsec()));
        let made = repack(&shop.options("bundle", "v2")).unwrap();
        let listed = shop.listed(&made);
        let last = listed.last().unwrap().trim_end_matches('/').to_owned();
        let above = if name.contains('/') { 3 } else { 2 };
        assert_eq!((last.as_str(), listed.len()), (name, above), "change {number}: {listed:?}");
        let again = shop.unpack("layout:v2", "again");
        assert_eq!(tree(&again), tree(&root), "change {number}");
        let colour = |root: &Path| {
            let is_file = fs::symlink_metadata(root.join(name)).unwrap().is_file();
            is_file.then(|| xattr::get(fs::File::open(root.join(name)).unwrap(), b"user.colour").unwrap())
        };
        assert_eq!(colour(&again), colour(&root), "change {number}");
    }
}

fn set_xattr(path: &Path, value: &str) {
    xattr::set(fs::File::open(path).unwrap(), b"user.colour", value.as_bytes()).unwrap();
}

/// A file with several names is in the layer under all of them, or under none.
#[test]
fn names_of_one_file_stay_together() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    fs::hard_link(root.join("h1"), root.join("h4")).unwrap();
    let made = repack(&shop.options("bundle", "v2")).unwrap();
    assert_eq!(shop.listed(&made), ["./", "h1", "h2", "h3", "h4"]);
    fs::remove_file(root.join("h2")).unwrap();
    let made = repack(&shop.options("bundle", "v2")).unwrap();
    assert_eq!(shop.listed(&made), [".wh.h2", "./", "h1", "h3", "h4"]);
    assert_eq!(tree(&shop.unpack("layout:v2", "again")), tree(&root));
}

#[test]
fn one_moment_gives_one_image() {
    let shop = Shop::open();
    let digests: Vec<_> = ["one", "two"]
        .iter()
        .map(|bundle| {
            let root = shop.unpack("layout:latest", bundle);
            change(&root);
            let options = RepackOptions { epoch: Some(1_500_000_000), ..shop.options(bundle, bundle) };
            let made = repack(&options).unwrap();
            // Times in the bundle are later than in its image; that is no change.
            assert_eq!(repack(&shop.options(bundle, "again")).unwrap().layer, None);
            made.digest
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    let root = shop.unpack("layout:one", "unpacked");
    assert_eq!(fs::metadata(root.join("new")).unwrap().mtime(), 1_500_000_000);
    assert_eq!(fs::metadata(root.join("d/two")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn another_layout_several_names_and_what_is_said_of_the_image() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    fs::write(root.join("new"), "n").unwrap();
    let options = RepackOptions {
        layout: shop.path("other"),
        tags: vec!["a".into(), "b".into()],
        author: Some("somebody".into()),
        created: Some("2024-05-06T07:08:09Z".into()),
        created_by: Some("make".into()),
        comment: Some("why not".into()),
        sync: true,
        ..shop.options("bundle", "")
    };
    let made = repack(&options).unwrap();
    let config = shop.config("other", &made);
    assert_eq!((&config["author"], &config["created"]), (&json!("somebody"), &json!("2024-05-06T07:08:09Z")));
    assert_eq!(config["config"]["Cmd"], json!(["/bin/true"]));
    let history = config["history"].as_array().unwrap();
    assert_eq!(history.len(), config["rootfs"]["diff_ids"].as_array().unwrap().len());
    let step = json!({"created": "2024-05-06T07:08:09Z", "created_by": "make", "author": "somebody", "comment": "why not"});
    assert_eq!(history.last(), Some(&step));
    fs::remove_dir_all(shop.path("layout")).unwrap();
    assert_eq!(tree(&shop.unpack("other:b", "again")), tree(&root));
    assert_eq!(names(&shop.path("other")), ["blobs", "index.json", "oci-layout"]);
    assert_eq!(names(&shop.path("other/blobs/sha256")).len(), 5);
    // The bundle is of that layout now.
    assert_eq!(
        repack(&RepackOptions { layout: shop.path("other"), ..shop.options("bundle", "c") }).unwrap().layer,
        None
    );
}

#[test]
fn a_name_is_taken_from_whoever_had_it_and_nothing_else_changes() {
    let shop = Shop::open();
    let mut index: Value =
        serde_json::from_slice(&fs::read(shop.path("layout/index.json")).unwrap()).unwrap();
    index["annotations"] = json!({"kept": "yes"});
    let mut other = index["manifests"][0].clone();
    other["annotations"] = json!({"org.opencontainers.image.ref.name": "other", "x": "y"});
    index["manifests"].as_array_mut().unwrap().push(other.clone());
    fs::write(shop.path("layout/index.json"), index.to_string()).unwrap();
    let root = shop.unpack("layout:latest", "bundle");
    fs::write(root.join("new"), "n").unwrap();
    let made = repack(&shop.options("bundle", "latest")).unwrap();
    let index: Value = serde_json::from_slice(&fs::read(shop.path("layout/index.json")).unwrap()).unwrap();
    assert_eq!(index["annotations"]["kept"], "yes");
    assert_eq!(index["manifests"][0], other);
    assert_eq!(index["manifests"][1]["digest"], made.digest.to_string());
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

/// Layers have none. What stood at its place is gone all the same.
#[test]
fn sockets_are_left_out_and_said() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    fs::remove_file(root.join("gone")).unwrap();
    fs::remove_dir_all(root.join("d/deep")).unwrap();
    for name in ["gone", "d/deep", "new"] {
        UnixListener::bind(root.join(name)).unwrap();
    }
    let made = repack(&shop.options("bundle", "v2")).unwrap();
    assert_eq!(made.notes.iter().collect::<Vec<_>>(), ["a socket was left out: layers have none"]);
    assert!(made.to_string().ends_with("\n  note: a socket was left out: layers have none\n"), "{made}");
    assert_eq!(shop.listed(&made), ["d/.wh.deep", ".wh.gone", "./", "d/"]);
    let again = shop.unpack("layout:v2", "again");
    assert!(!again.join("gone").exists() && !again.join("d/deep").exists() && !again.join("new").exists());
    assert_eq!(repack(&shop.options("bundle", "v3")).unwrap().layer, None);
}

#[test]
fn what_cannot_be_repacked() {
    let shop = Shop::open();
    let root = shop.unpack("layout", "bundle");
    let before = fs::read(shop.path("layout/index.json")).unwrap();
    fs::write(root.join(".wh.x"), "").unwrap();
    let error = repack(&shop.options("bundle", "v2")).unwrap_err();
    assert!(error.starts_with("write \".wh.x\" to the layer: no name that begins with"), "{error}");
    fs::remove_file(root.join(".wh.x")).unwrap();

    fs::write(shop.path("archive"), "tar").unwrap();
    let archive = RepackOptions { layout: shop.path("archive"), ..shop.options("bundle", "v2") };
    fs::write(root.join("new"), "").unwrap();
    assert!(repack(&archive).unwrap_err().contains("an archive cannot be changed"));

    let blob = shop.path("layout/blobs").join(layout().layer(0).replace(':', "/"));
    let content = fs::read(&blob).unwrap();
    fs::write(&blob, &content[1..]).unwrap();
    assert!(repack(&shop.options("bundle", "v2")).unwrap_err().contains("the blob has"));
    fs::write(&blob, content).unwrap();
    assert_eq!(fs::read(shop.path("layout/index.json")).unwrap(), before);
    assert!(!names(&shop.path("layout/blobs/sha256")).iter().any(|name| name.starts_with('.')));

    fs::write(shop.path("bundle/keg.json"), "{}").unwrap();
    assert!(repack(&shop.options("bundle", "v2")).unwrap_err().starts_with("read keg.json: missing field"));
}
