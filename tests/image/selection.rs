//! Which image is chosen: by name, digest and platform, past everything that is no image.

use serde_json::{Value, json};
use sha2::Digest as _;

use super::layout::{CONFIG, INDEX, architecture, config, gzip};
use super::world::names;
use super::{Layout, World, dir, file, tar};

/// An image whose only file says who it is.
pub fn image(layout: &mut Layout, who: &str) -> Value {
    let layers = [tar(&[file(who, "")])];
    layout.image(&layers, config(&layers))
}

/// An image for a platform, and its descriptor saying so.
pub fn image_for(layout: &mut Layout, platform: &str) -> Value {
    let parts: Vec<&str> = platform.split('/').collect();
    let layers = [tar(&[file(platform.replace('/', "-"), "")])];
    let mut about = config(&layers);
    (about["os"], about["architecture"]) = (json!(parts[0]), json!(parts[1]));
    let mut descriptor = layout.image(&layers, about);
    descriptor["platform"] = json!({"os": parts[0], "architecture": parts[1]});
    if let Some(variant) = parts.get(2) {
        descriptor["platform"]["variant"] = json!(variant);
    }
    descriptor
}

pub fn chosen(layout: &Layout, reference: &str, platform: Option<&str>) -> Result<String, String> {
    let mut world = World::begin();
    world.platform = platform.map(|platform| platform.parse().unwrap());
    world.unpack(layout, reference).map(|root| names(&root).join(","))
}

#[test]
fn by_name() {
    let mut layout = Layout::empty();
    assert!(chosen(&layout, "", None).unwrap_err().contains("the layout holds no image"));
    let one = image(&mut layout, "one");
    layout.tag("v1", one.clone());
    assert_eq!(chosen(&layout, "", None).unwrap(), "one");
    // Two names of one image are no question.
    layout.tag("docker.io/library/x:v1", one.clone());
    assert_eq!(chosen(&layout, "", None).unwrap(), "one");
    assert_eq!(chosen(&layout, ":docker.io/library/x:v1", None).unwrap(), "one");
    let two = image(&mut layout, "two");
    layout.tag("v2", two.clone());
    assert_eq!(chosen(&layout, ":v2", None).unwrap(), "two");
    let error = chosen(&layout, "", None).unwrap_err();
    assert!(error.ends_with("several images fit, name one: v1, v2"), "{error}");
    let error = chosen(&layout, ":v3", None).unwrap_err();
    assert!(error.ends_with("no image is named \"v3\"; there is v1, docker.io/library/x:v1, v2"), "{error}");
    layout.tag("v2", one);
    assert!(chosen(&layout, ":v2", None).unwrap_err().contains("several images fit"));
    let digest = two["digest"].as_str().unwrap();
    assert_eq!(chosen(&layout, &format!("@{digest}"), None).unwrap(), "two");
    let none = format!("@sha256:{}", "0".repeat(64));
    assert!(chosen(&layout, &none, None).unwrap_err().contains("no manifest or index has digest"));
}

#[test]
fn by_platform_through_nested_indexes() {
    let mut layout = Layout::empty();
    let mut inner = Vec::new();
    for platform in
        ["linux/amd64", "linux/arm64/v8", "linux/arm/v5", "linux/arm/v6", "windows/amd64", "linux/s390x"]
    {
        inner.push(image_for(&mut layout, platform));
    }
    let mut attestation = image(&mut layout, "attestation");
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    inner.insert(0, attestation);
    let (left, right) = inner.split_at(3);
    let left = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": left}));
    let docker = "application/vnd.docker.distribution.manifest.list.v2+json";
    let right = layout.json(docker, &json!({"schemaVersion": 2, "mediaType": docker, "manifests": right}));
    let both = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [left, right]}));
    layout.tag("all", both.clone());
    for (platform, file) in [
        ("linux/amd64", "linux-amd64"),
        ("linux/amd64/v3", "linux-amd64"),
        ("linux/arm64", "linux-arm64-v8"),
        ("linux/aarch64", "linux-arm64-v8"),
        ("linux/arm/v7", "linux-arm-v6"),
        ("linux/arm/v5", "linux-arm-v5"),
        ("linux/s390x", "linux-s390x"),
    ] {
        for reference in ["", ":all"] {
            assert_eq!(chosen(&layout, reference, Some(platform)).unwrap(), file, "{platform}");
        }
    }
    let host = format!("linux-{}", architecture());
    assert!(chosen(&layout, "", None).unwrap().starts_with(&host));
    let error = chosen(&layout, ":all", Some("linux/riscv64")).unwrap_err();
    assert!(error.contains("no image for linux/riscv64; there is linux/amd64, linux/arm64/v8"), "{error}");
    assert!(!error.contains("unknown"), "{error}");
    let inside = format!("@{}", right["digest"].as_str().unwrap());
    assert_eq!(chosen(&layout, &inside, Some("linux/s390x")).unwrap(), "linux-s390x");
}

/// A layout with one platform of an index has only that platform's blobs.
#[test]
fn what_is_not_chosen_may_be_missing() {
    let mut layout = Layout::empty();
    let here = image_for(&mut layout, &format!("linux/{}", architecture()));
    let mut other = image_for(&mut layout, "linux/s390x");
    layout.blobs.remove(other["digest"].as_str().unwrap());
    other["size"] = json!(3);
    let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [other, here]}));
    layout.tag("latest", index);
    assert!(chosen(&layout, "", None).unwrap().starts_with("linux-"));
    let error = chosen(&layout, "", Some("linux/s390x")).unwrap_err();
    assert!(error.contains("the blob is missing"), "{error}");
}

#[test]
fn artifacts_beside_an_image_are_passed_over_and_named_when_asked_for() {
    let mut layout = Layout::empty();
    let one = image(&mut layout, "one");
    layout.tag("v1", one.clone());
    let empty = layout.json("application/vnd.oci.empty.v1+json", &json!({}));
    let signature = json!({"schemaVersion": 2, "config": empty, "layers": [], "subject": one,
        "artifactType": "application/vnd.cncf.notary.signature"});
    let signature = layout.json("application/vnd.oci.image.manifest.v1+json", &signature);
    layout.list(signature.clone());
    assert_eq!(chosen(&layout, "", None).unwrap(), "one");
    let digest = signature["digest"].as_str().unwrap();
    let error = chosen(&layout, &format!("@{digest}"), None).unwrap_err();
    assert!(error.ends_with("not an image but a Notation signature"), "{error}");
}

#[test]
fn dockers_media_types_and_plain_layers() {
    let mut layout = Layout::empty();
    let layers = [tar(&[dir("d")]), tar(&[file("d/f", "")])];
    let config = layout.json("application/vnd.docker.container.image.v1+json", &config(&layers));
    let plain = layout.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", layers[0].clone());
    let members = [gzip(&layers[1][..512]), gzip(&layers[1][512..])].concat();
    let members = layout.blob("application/vnd.oci.image.layer.v1.tar", members);
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest =
        json!({"schemaVersion": 2, "mediaType": docker, "config": config, "layers": [plain, members]});
    let manifest = layout.json(docker, &manifest);
    layout.tag("latest", manifest);
    let world = World::begin();
    let root = world.unpack(&layout, ":latest").unwrap();
    assert_eq!(names(&root.join("d")), ["f"]);
}

#[test]
fn manifests_of_dockers_first_kind_are_named() {
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "",
    ] {
        let mut layout = Layout::empty();
        let old = json!({"schemaVersion": 1, "name": "old", "tag": "latest", "architecture": "amd64",
            "fsLayers": [{"blobSum": format!("sha256:{:064}", 0)}], "history": [{"v1Compatibility": "{}"}]});
        let old = layout.json(media_type, &old);
        layout.tag("latest", old);
        let error = chosen(&layout, ":latest", None).unwrap_err();
        assert!(error.ends_with("Docker manifests of schema 1 are not supported"), "{media_type:?}: {error}");
    }
}

#[test]
fn embedded_data_stands_for_its_blob_and_is_verified() {
    let mut layout = Layout::of(&[tar(&[file("f", "")])]);
    let mut manifest = layout.manifest();
    manifest["config"] = layout.json(CONFIG, &config(&[tar(&[file("f", "")])]));
    let digest = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let bytes = layout.blobs.remove(&digest).unwrap();
    let encoded = base64(&bytes);
    manifest["config"]["data"] = json!(encoded);
    layout.set_manifest(&manifest);
    assert_eq!(chosen(&layout, "", None).unwrap(), "f");
    manifest["config"]["data"] = json!(encoded.replacen('b', "c", 1));
    layout.set_manifest(&manifest);
    assert!(chosen(&layout, "", None).unwrap_err().contains("the blob is damaged"));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[test]
fn other_digests() {
    type Hash = fn(&[u8]) -> String;
    let sha512 =
        |bytes: &[u8]| sha2::Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let hashes: [(&str, Hash); 2] =
        [("sha512", sha512), ("blake3", |bytes| blake3::hash(bytes).to_hex().to_string())];
    for (algorithm, hash) in hashes {
        let layer = tar(&[file("f", "")]);
        let mut layout = Layout::of(std::slice::from_ref(&layer));
        layout.edit_config(|config| {
            config["rootfs"]["diff_ids"][0] = json!(format!("{algorithm}:{}", hash(&layer)));
        });
        let digest = layout.layer(0);
        let bytes = layout.blobs.remove(&digest).unwrap();
        let digest = hash(&bytes);
        layout.blobs.insert(format!("{algorithm}:{digest}"), bytes);
        layout.edit_manifest(|manifest| {
            manifest["layers"][0]["digest"] = json!(format!("{algorithm}:{digest}"));
        });
        assert_eq!(chosen(&layout, "", None).unwrap(), "f");
        let other =
            |digest: &str| digest.replace(&digest[..1], if digest.starts_with('0') { "1" } else { "0" });
        let mut wrong = layout.clone();
        wrong.edit_config(|config| {
            config["rootfs"]["diff_ids"][0] = json!(format!("{algorithm}:{}", other(&hash(&layer))));
        });
        let error = chosen(&wrong, "", None).unwrap_err();
        assert!(
            error.contains(&format!("the uncompressed layer has {algorithm}:{}", hash(&layer))),
            "{error}"
        );
        let wrong = other(&digest);
        let bytes = layout.blobs.remove(&format!("{algorithm}:{digest}")).unwrap();
        layout.blobs.insert(format!("{algorithm}:{wrong}"), bytes);
        layout.edit_manifest(|manifest| {
            manifest["layers"][0]["digest"] = json!(format!("{algorithm}:{wrong}"))
        });
        let error = chosen(&layout, "", None).unwrap_err();
        assert!(
            error.ends_with(&format!("the blob is damaged: its content has digest {algorithm}:{digest}")),
            "{error}"
        );
    }
}

/// Which version of the system an image is for, and what the system must be able to do, decide too.
#[test]
fn by_version_and_features_of_the_system() {
    let mut layout = Layout::empty();
    let mut described = |who: &str, version: Option<&str>, features: &[&str]| {
        let mut descriptor = image(&mut layout, who);
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture()});
        if let Some(version) = version {
            descriptor["platform"]["os.version"] = json!(version);
        }
        if !features.is_empty() {
            descriptor["platform"]["os.features"] = json!(features);
        }
        descriptor
    };
    let all = [
        described("special", None, &["special"]),
        described("five", Some("5"), &[]),
        described("six", Some("6"), &[]),
    ];
    let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": all}));
    layout.tag("all", index);
    for (platform, who) in
        [("linux(5)", "five"), ("linux(6)", "six"), ("linux(+special)", "special"), ("linux", "five")]
    {
        let platform = format!("{platform}/{}", architecture());
        assert_eq!(chosen(&layout, ":all", Some(&platform)).unwrap(), who, "{platform}");
    }
    assert_eq!(chosen(&layout, ":all", None).unwrap(), "five");
    let none = format!("linux(7)/{}", architecture());
    let error = chosen(&layout, ":all", Some(&none)).unwrap_err();
    assert!(error.contains("no image for linux(7)/") && error.contains("linux(+special)/"), "{error}");
}

/// What names the version that was wished for, or makes use of what there is, comes before what is for any system, wherever it stands.
#[test]
fn the_nearest_system_comes_first() {
    let mut layout = Layout::empty();
    let mut all: Vec<Value> = ["any", "six", "seven", "special", "six-special"]
        .iter()
        .map(|who| {
            let mut descriptor = image(&mut layout, who);
            descriptor["platform"] = json!({"os": "linux", "architecture": architecture()});
            if who.starts_with("s") && *who != "special" {
                descriptor["platform"]["os.version"] = json!(if who.starts_with("six") { "6" } else { "7" });
            }
            if who.ends_with("special") {
                descriptor["platform"]["os.features"] = json!(["special"]);
            }
            descriptor
        })
        .collect();
    for _ in 0..2 {
        let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": all}));
        layout.index["manifests"] = json!([]);
        layout.tag("all", index);
        for (system, who) in [
            ("linux(6)", "six"),
            ("linux(7+special)", "seven"),
            ("linux(6+special)", "six-special"),
            ("linux(8+special)", "special"),
            ("linux(8+other)", "any"),
        ] {
            let platform = format!("{system}/{}", architecture());
            assert_eq!(chosen(&layout, ":all", Some(&platform)).unwrap(), who, "{platform}");
        }
        all.reverse();
    }
}

#[test]
fn one_image_may_be_for_several_platforms() {
    let mut layout = Layout::empty();
    let one = image(&mut layout, "one");
    let listed: Vec<Value> = ["amd64", "arm64", "s390x"]
        .iter()
        .map(|architecture| {
            let mut listed = one.clone();
            listed["platform"] = json!({"os": "linux", "architecture": architecture});
            listed
        })
        .collect();
    let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": listed}));
    layout.tag("all", index);
    // Under another name, and without a platform, it is the same image.
    let mut again = layout.clone();
    again.tag("again", one.clone());
    for platform in ["linux/amd64", "linux/arm64", "linux/s390x"] {
        for reference in ["", ":all", &format!("@{}", one["digest"].as_str().unwrap())] {
            assert_eq!(chosen(&layout, reference, Some(platform)).unwrap(), "one", "{platform} {reference}");
        }
        assert_eq!(chosen(&again, "", Some(platform)).unwrap(), "one", "{platform}");
    }
}

/// Where names cannot be typed to tell images apart, digests are shown, and can be.
#[test]
fn choices_can_be_told_apart() {
    let mut layout = Layout::empty();
    let images: Vec<Value> = ["one", "two", "three"].iter().map(|who| image(&mut layout, who)).collect();
    let digests: Vec<String> =
        images.iter().map(|image| format!("@{}", image["digest"].as_str().unwrap())).collect();
    layout.list(images[0].clone());
    layout.list(images[1].clone());
    let error = chosen(&layout, "", None).unwrap_err();
    let both = format!("several images fit, name one: {}, {}", digests[0], digests[1]);
    assert!(error.ends_with(&both), "{error}");
    assert_eq!(chosen(&layout, &digests[1], None).unwrap(), "two");
    let error = chosen(&layout, ":v1", None).unwrap_err();
    let have = format!("no image is named \"v1\"; there is {}, {}", digests[0], digests[1]);
    assert!(error.ends_with(&have), "{error}");

    layout.index["manifests"] = json!([]);
    layout.tag("v1", images[0].clone());
    layout.tag("v1", images[1].clone());
    layout.tag("v2", images[2].clone());
    let choices = format!("{} (v1), {} (v1)", digests[0], digests[1]);
    let error = chosen(&layout, ":v1", None).unwrap_err();
    assert!(error.ends_with(&format!("several images fit, name one: {choices}")), "{error}");
    let error = chosen(&layout, "", None).unwrap_err();
    assert!(error.ends_with(&format!("several images fit, name one: {choices}, v2")), "{error}");

    // Indexes are named by their own digests: the platform decides what is in them.
    let mut layout = Layout::empty();
    let mut digests = Vec::new();
    for who in ["one", "two"] {
        let mut image = image(&mut layout, who);
        image["platform"] = json!({"os": "linux", "architecture": architecture()});
        let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [image]}));
        digests.push(format!("@{}", index["digest"].as_str().unwrap()));
        layout.list(index);
    }
    let error = chosen(&layout, "", None).unwrap_err();
    assert!(error.ends_with(&format!("name one: {}, {}", digests[0], digests[1])), "{error}");
    assert_eq!(chosen(&layout, &digests[0], None).unwrap(), "one");

    let mut layout = Layout::empty();
    for number in 0..100 {
        let image = image(&mut layout, &number.to_string());
        layout.tag(&format!("v{number}"), image);
    }
    let error = chosen(&layout, "", None).unwrap_err();
    assert!(error.ends_with("v14, v15 and 84 more"), "{error}");
}

/// Neither descriptors nor documents need say what they are.
#[test]
fn media_types_may_be_missing() {
    let mut layout = Layout::empty();
    let mut wanted = image_for(&mut layout, &format!("linux/{}", architecture()));
    let who = format!("linux-{}", architecture());
    let mut manifest = layout.document(&wanted["digest"]);
    manifest["config"]["mediaType"].take();
    manifest["layers"][0].as_object_mut().unwrap().remove("mediaType");
    let untyped = layout.json("", &manifest);
    (wanted["digest"], wanted["size"]) = (untyped["digest"].clone(), untyped["size"].clone());
    wanted.as_object_mut().unwrap().remove("mediaType");
    let other = image_for(&mut layout, "linux/s390x");
    let nested = |layout: &mut Layout, inside: &[&Value]| {
        let mut index = layout.json("", &json!({"schemaVersion": 2, "manifests": inside}));
        index.as_object_mut().unwrap().remove("mediaType");
        index
    };
    let inner = nested(&mut layout, &[&wanted, &other]);
    let outer = nested(&mut layout, &[&inner]);
    layout.tag("all", outer.clone());
    for reference in ["", ":all"].map(str::to_owned).into_iter().chain(
        [&outer, &inner, &wanted].map(|descriptor| format!("@{}", descriptor["digest"].as_str().unwrap())),
    ) {
        assert_eq!(chosen(&layout, &reference, None).unwrap(), who, "{reference}");
    }
    let other = format!("@{}", other["digest"].as_str().unwrap());
    assert_eq!(chosen(&layout, &other, Some("linux/s390x")).unwrap(), "linux-s390x");
}

/// One that looks for a digest passes over what it cannot read, and says so if it finds nothing.
#[test]
fn a_digest_is_found_behind_what_cannot_be_read() {
    let mut layout = Layout::empty();
    let one = image(&mut layout, "one");
    let missing = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": []}));
    layout.blobs.remove(missing["digest"].as_str().unwrap());
    let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [one]}));
    layout.list(missing.clone());
    layout.list(index);
    let digest = |descriptor: &Value| format!("@{}", descriptor["digest"].as_str().unwrap());
    assert_eq!(chosen(&layout, &digest(&one), None).unwrap(), "one");
    let error = chosen(&layout, &format!("@sha256:{}", "0".repeat(64)), None).unwrap_err();
    assert!(error.contains(&format!("index {}: the blob is missing", &digest(&missing)[1..])), "{error}");
}

#[test]
fn limits_hold_for_a_digest_too() {
    let mut layout = Layout::empty();
    let one = image(&mut layout, "one");
    let digest = format!("@{}", one["digest"].as_str().unwrap());
    let mut inner = one.clone();
    for _ in 0..5 {
        inner = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [inner]}));
    }
    let deep = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [inner]}));
    layout.list(inner);
    assert_eq!(chosen(&layout, &digest, None).unwrap(), "one");
    layout.index["manifests"] = json!([deep]);
    let error = chosen(&layout, &digest, None).unwrap_err();
    assert!(error.ends_with("the image index is too deep"), "{error}");

    let mut layout = Layout::empty();
    let indexes: Vec<_> = (0..2_000)
        .map(|n| {
            layout.json(
                INDEX,
                &json!({"schemaVersion": 2, "manifests": [], "annotations": {"n": n.to_string()}}),
            )
        })
        .collect();
    layout.index["manifests"] = indexes.into();
    let error = chosen(&layout, &digest, None).unwrap_err();
    assert!(error.ends_with("the image index is too large"), "{error}");
}

/// An entry that nobody can read is no error where something else is wanted: it may be of a future kind.
#[test]
fn what_is_unknown_is_passed_over() {
    let mut layout = Layout::empty();
    let one = image(&mut layout, "one");
    layout.tag("v1", one.clone());
    let xml = layout.blob("application/xml", b"<x/>".to_vec());
    layout.tag("about", xml.clone());
    let schema1 = "application/vnd.docker.distribution.manifest.v1+json";
    let mut old = layout.json(schema1, &json!({"schemaVersion": 1, "fsLayers": []}));
    old["platform"] = json!({"os": "linux", "architecture": "386"});
    layout.list(old);
    let mut unverifiable = one;
    unverifiable["digest"] = json!("md5:d41d8cd98f00b204e9800998ecf8427e");
    unverifiable["platform"] = json!({"os": "linux", "architecture": "arm"});
    layout.tag("v1", unverifiable);
    let here = format!("linux/{}", architecture());
    assert_eq!(chosen(&layout, ":v1", Some(&here)).unwrap(), "one");
    let error = chosen(&layout, ":v1", Some("linux/arm")).unwrap_err();
    assert!(error.ends_with("invalid digest \"md5:d41d8cd98f00b204e9800998ecf8427e\""), "{error}");
    for reference in [":about", &format!("@{}", xml["digest"].as_str().unwrap())] {
        let error = chosen(&layout, reference, None).unwrap_err();
        assert!(error.ends_with("not an image but an artifact of type \"application/xml\""), "{error}");
    }
    layout.index["manifests"].as_array_mut().unwrap().retain(|one| one["platform"].is_null());
    assert_eq!(chosen(&layout, "", None).unwrap(), "one");
}
