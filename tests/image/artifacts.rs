//! What is no image is known by name, is never chosen, and hides no image.

use keg::image::{Limits, inspect};
use serde_json::{Value, json};

use super::layout::{CONFIG, INDEX, MANIFEST, architecture, config};
use super::selection::{chosen, image};
use super::{Layout, World, file, tar};

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Every type that has a name, and the name.
const NAMES: &[(&str, &str)] = &[
    ("application/vnd.cncf.notary.signature", "a Notation signature"),
    ("application/vnd.dev.cosign.artifact.sig.v1+json", "a cosign signature"),
    ("application/vnd.dev.cosign.simplesigning.v1+json", "a cosign signature"),
    ("application/vnd.dev.sigstore.bundle.v0.3+json", "a sigstore bundle"),
    ("application/vnd.dsse.envelope.v1+json", "a signed attestation (DSSE)"),
    ("application/vnd.in-toto+json", "an in-toto attestation"),
    ("application/vnd.amazon.soci.index.v1+json", "a SOCI index"),
    ("application/vnd.amazon.soci.index.v2+json", "a SOCI index"),
    ("application/spdx+json", "a list of components (SPDX)"),
    ("text/spdx", "a list of components (SPDX)"),
    ("text/spdx+json", "a list of components (SPDX)"),
    ("application/vnd.cyclonedx", "a list of components (CycloneDX)"),
    ("application/vnd.cyclonedx+json", "a list of components (CycloneDX)"),
    ("application/vnd.syft+json", "a list of components (Syft)"),
    ("application/sarif+json", "a report of findings (SARIF)"),
    ("application/vnd.openvex+json", "a statement on vulnerabilities (OpenVEX)"),
    ("application/vnd.cncf.helm.config.v1+json", "a Helm chart"),
    ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "a Helm chart"),
    ("application/vnd.wasm.config.v0+json", "a WebAssembly module"),
    ("application/wasm", "a WebAssembly module"),
    ("application/vnd.example.thing", "an artifact of type \"application/vnd.example.thing\""),
];

fn reference(descriptor: &Value) -> String {
    format!("@{}", descriptor["digest"].as_str().unwrap())
}

/// Asked for, it is refused by its name, which `inspect` has too; not asked for, it does not stand before the image.
fn is_called(mut layout: Layout, artifact: Value, name: &str) {
    let image = image(&mut layout, "image");
    layout.list(image);
    layout.list(artifact.clone());
    let error = chosen(&layout, &reference(&artifact), None).unwrap_err();
    assert!(error.ends_with(&format!(": not an image but {name}")), "{artifact} is no {name}: {error}");
    assert_eq!(chosen(&layout, "", None).unwrap(), "image");
    let world = World::begin();
    layout.write(&world.layout());
    let image = format!("{}{}", world.layout().display(), reference(&artifact)).parse().unwrap();
    let found = serde_json::to_value(inspect(&image, &Limits::default()).unwrap()).unwrap();
    assert_eq!(
        (&found["entries"][0]["kind"], &found["entries"][0]["artifact"]),
        (&json!("artifact"), &json!(name))
    );
}

/// Wherever the type stands: descriptor, manifest, index, configuration, layer of an otherwise ordinary image.
#[test]
fn artifacts_have_names() {
    for (media_type, name) in NAMES {
        let is_known = !name.starts_with("an artifact of type");
        let mut layout = Layout::empty();
        let image_config = layout.json(CONFIG, &config(&[]));
        let empty = layout.json(EMPTY, &json!({}));
        let part = layout.blob(media_type, b"part".to_vec());
        let typed_config = layout.json(media_type, &json!({"config": 1}));
        let forms = [
            json!({"schemaVersion": 2, "artifactType": media_type, "config": empty, "layers": []}),
            json!({"schemaVersion": 2, "artifactType": media_type, "config": image_config, "layers": []}),
            json!({"schemaVersion": 2, "config": typed_config, "layers": []}),
            json!({"schemaVersion": 2, "config": empty, "layers": [part]}),
            json!({"schemaVersion": 2, "config": image_config, "layers": [part]}),
        ];
        // An image whose layer is of a type that nobody knows is an image that cannot be unpacked.
        for form in forms.iter().take(if is_known { 5 } else { 4 }) {
            let artifact = layout.json(MANIFEST, form);
            is_called(layout.clone(), artifact, name);
        }
        let index = json!({"schemaVersion": 2, "artifactType": media_type, "manifests": []});
        let index = layout.json(INDEX, &index);
        is_called(layout.clone(), index, name);
        let mut described = image(&mut layout, "described");
        described["artifactType"] = json!(media_type);
        is_called(layout.clone(), described, name);
    }
}

/// It is about something: that makes it an artifact, with an artifact's type or without.
#[test]
fn what_has_a_subject_is_no_image() {
    for media_type in [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST] {
        let mut layout = Layout::empty();
        let inside = image(&mut layout, "inside");
        let mut document = layout.document(&inside["digest"]);
        if [INDEX, DOCKER_LIST].contains(&media_type) {
            document = json!({"schemaVersion": 2, "manifests": [inside]});
        }
        document["subject"] = image(&mut layout, "subject");
        let artifact = layout.json(media_type, &document);
        let name = format!("an artifact about {}", &reference(&document["subject"])[1..]);
        is_called(layout, artifact, &name);
    }
}

/// Some builders say of an image that it is one.
#[test]
fn an_image_may_have_the_type_of_an_image() {
    for media_type in [CONFIG, "application/vnd.docker.container.image.v1+json"] {
        let mut layout = Layout::empty();
        let mut inside = image(&mut layout, "image");
        let mut manifest = layout.document(&inside["digest"]);
        manifest["artifactType"] = json!(media_type);
        inside = layout.json(MANIFEST, &manifest);
        inside["artifactType"] = json!(media_type);
        let index = layout
            .json(INDEX, &json!({"schemaVersion": 2, "artifactType": media_type, "manifests": [inside]}));
        layout.tag("latest", index);
        assert_eq!(chosen(&layout, ":latest", None).unwrap(), "image");
    }
}

#[test]
fn attestations_are_known_by_platform_or_annotation() {
    let unknown = json!({"os": "unknown", "architecture": "unknown"});
    let here = json!({"os": "linux", "architecture": architecture()});
    let by_type = json!({"vnd.docker.reference.type": "attestation-manifest"});
    for (platform, annotations) in [
        (unknown.clone(), json!({})),
        (unknown, by_type.clone()),
        (here, by_type.clone()),
        (json!(null), by_type),
        (json!({"os": "unknown", "architecture": architecture()}), json!({})),
        (json!({"os": "linux", "architecture": "unknown"}), json!({})),
    ] {
        let mut layout = Layout::empty();
        let mut attestation = image(&mut layout, "attestation");
        (attestation["platform"], attestation["annotations"]) = (platform, annotations);
        is_called(layout, attestation, "a build attestation");
    }
    // Neither can it be asked for as a platform, nor is it one where only the configuration says so.
    let mut layout = Layout::empty();
    let layers = [tar(&[file("attestation", "")])];
    let mut about = config(&layers);
    (about["os"], about["architecture"]) = (json!("unknown"), json!("unknown"));
    let attestation = layout.image(&layers, about);
    is_called(layout, attestation, "a build attestation");
}

/// A manifest list as BuildKit writes it with Docker's media types: two platforms, and what attests to each.
#[test]
fn a_docker_manifest_list_with_attestations() {
    let mut layout = Layout::empty();
    let mut listed = Vec::new();
    for architecture in ["amd64", "s390x"] {
        let layer = tar(&[file(architecture, "")]);
        let mut about = config(std::slice::from_ref(&layer));
        about["architecture"] = json!(architecture);
        let about = layout.json("application/vnd.docker.container.image.v1+json", &about);
        let layer =
            layout.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", super::layout::gzip(&layer));
        let mut manifest = layout.json(
            DOCKER_MANIFEST,
            &json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": about, "layers": [layer]}),
        );
        manifest["platform"] = json!({"os": "linux", "architecture": architecture});
        listed.push(manifest);
    }
    for image in listed.clone() {
        let about = layout.json(
            "application/vnd.docker.container.image.v1+json",
            &json!({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}),
        );
        let statement = json!({"_type": "https://in-toto.io/Statement/v0.1", "of": image["digest"]});
        let mut statement = layout.json("application/vnd.in-toto+json", &statement);
        statement["annotations"] = json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"});
        let mut attestation = layout.json(
            DOCKER_MANIFEST,
            &json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": about, "layers": [statement]}),
        );
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image["digest"]});
        listed.push(attestation);
    }
    let attestation = reference(&listed[3]);
    let digests: Vec<Value> = listed.iter().map(|listed| listed["digest"].clone()).collect();
    listed.rotate_right(2);
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": listed});
    let list = layout.json(DOCKER_LIST, &list);
    layout.tag("latest", list);
    for reference in ["", ":latest"] {
        for architecture in ["amd64", "s390x"] {
            let platform = format!("linux/{architecture}");
            assert_eq!(chosen(&layout, reference, Some(&platform)).unwrap(), architecture);
        }
        let error = chosen(&layout, reference, Some("linux/riscv64")).unwrap_err();
        assert!(error.ends_with("no image for linux/riscv64; there is linux/amd64, linux/s390x"), "{error}");
        for platform in ["unknown/unknown", "linux/unknown"] {
            let error = chosen(&layout, reference, Some(platform)).unwrap_err();
            assert!(error.contains(&format!("no image for {platform}; ")), "{error}");
        }
    }
    let error = chosen(&layout, &attestation, None).unwrap_err();
    assert!(error.ends_with("not an image but a build attestation"), "{error}");

    let world = World::begin();
    layout.write(&world.layout());
    let image = world.layout().display().to_string().parse().unwrap();
    let found = serde_json::to_value(inspect(&image, &Limits::default()).unwrap()).unwrap();
    let list = &found["entries"][0];
    assert_eq!((&list["kind"], &list["mediaType"]), (&json!("index"), &json!(DOCKER_LIST)), "{found:#}");
    for (at, platform) in ["linux/amd64", "linux/s390x"].iter().enumerate() {
        let image = &list["manifests"][at];
        assert_eq!((&image["platform"], &image["digest"]), (&json!(platform), &digests[at]), "{found:#}");
        let referrer = &image["referrers"][0];
        assert_eq!(
            (&referrer["artifact"], &referrer["digest"], &referrer["layers"][0]["mediaType"]),
            (&json!("a build attestation"), &digests[at + 2], &json!("application/vnd.in-toto+json")),
            "{found:#}"
        );
    }
}

/// A descriptor need not say that it leads to an artifact; it may even name a platform. The image behind it is chosen all the same.
#[test]
fn artifacts_hide_no_image() {
    let here = json!({"os": "linux", "architecture": architecture()});
    let mut layout = Layout::empty();
    let mut image = image(&mut layout, "image");
    image["platform"] = here.clone();
    let empty = layout.json(EMPTY, &json!({}));
    let artifact = json!({"schemaVersion": 2, "artifactType": "application/vnd.amazon.soci.index.v2+json",
        "config": empty, "layers": []});
    let mut artifact = layout.json(MANIFEST, &artifact);
    artifact["platform"] = here;
    let nested = |layout: &mut Layout, manifests: &[&Value]| {
        layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": manifests}))
    };
    let before = layout.clone();
    for both in [[&artifact, &image], [&image, &artifact]] {
        // In one index; side by side, without names; under different names.
        let mut one = before.clone();
        let index = nested(&mut one, &both);
        one.tag("latest", index);
        let mut unnamed = before.clone();
        both.into_iter().for_each(|entry| unnamed.list(entry.clone()));
        let mut named = before.clone();
        for (name, entry) in ["one", "other"].iter().zip(both) {
            named.tag(name, entry.clone());
        }
        let mut apart = before.clone();
        for entry in both {
            let index = nested(&mut apart, &[entry]);
            apart.list(index);
        }
        for layout in [one, unnamed, named, apart] {
            assert_eq!(chosen(&layout, "", None).unwrap(), "image", "{}", layout.index);
        }
    }
    // Also where it would be the better choice, and where the image is for something else.
    let mut layout = before.clone();
    artifact["platform"]["variant"] = json!("v3");
    let index = nested(&mut layout, &[&artifact, &image]);
    layout.tag("latest", index);
    let platform = format!("linux/{}/v3", architecture());
    let platform = if architecture() == "amd64" { platform } else { format!("linux/{}", architecture()) };
    assert_eq!(chosen(&layout, "", Some(&platform)).unwrap(), "image");
    let mut layout = before;
    image["platform"] = json!({"os": "linux", "architecture": "s390x"});
    artifact["platform"].as_object_mut().unwrap().remove("variant");
    let index = nested(&mut layout, &[&artifact, &image]);
    layout.tag("latest", index);
    let error = chosen(&layout, "", None).unwrap_err();
    assert!(error.ends_with("; there is linux/s390x"), "{error}");
    let error = chosen(&layout, &reference(&artifact), None).unwrap_err();
    assert!(error.ends_with("not an image but a SOCI index"), "{error}");
}
