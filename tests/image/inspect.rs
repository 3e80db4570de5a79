//! What `inspect` shows of layouts with everything that registries and builders put into them.

use keg::image::{Inspection, Limits, inspect};
use serde_json::{Value, json};

use super::layout::{INDEX, MANIFEST, config};
use super::{Layout, World, file, tar};

fn within(layout: &Layout, reference: &str, limits: &Limits) -> Result<Inspection, String> {
    let world = World::begin();
    layout.write(&world.layout());
    let image = format!("{}{reference}", world.layout().display()).parse().unwrap();
    inspect(&image, limits).map_err(|error| error.to_string())
}

fn look(layout: &Layout, reference: &str) -> Result<Inspection, String> {
    within(layout, reference, &Limits::default())
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

/// An artifact about something.
fn artifact(layout: &mut Layout, kind: &str, about: &Value) -> Value {
    let empty = layout.json("application/vnd.oci.empty.v1+json", &json!({}));
    let part = layout.blob(kind, kind.as_bytes().to_vec());
    let manifest = json!({"schemaVersion": 2, "artifactType": kind, "config": empty, "layers": [part], "subject": about});
    layout.json(MANIFEST, &manifest)
}

/// Two platforms in a nested index, an attestation, a Notation signature of the image, a SOCI index, a list of components of the
/// signature, a cosign tag, and a signature of something that is elsewhere.
fn rich() -> (Layout, Vec<String>) {
    let mut layout = Layout::empty();
    let layers = [tar(&[file("a", "")])];
    let mut about = config(&layers);
    about["created"] = json!("2024-05-06T07:08:09Z");
    about["author"] = json!("somebody");
    about["config"] = json!({"Entrypoint": ["/bin/app", "two words"], "Env": ["A=b"], "Labels": {"k": "v\u{1b}[2J\u{202e}"}});
    about["history"] =
        json!([{"created_by": "ENV A=b", "empty_layer": true}, {"created_by": "COPY a /", "comment": "c"}]);
    let mut amd64 = layout.image(&layers, about);
    amd64["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut arm = layout.image(&layers, config(&layers));
    arm["platform"] = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
    let mut attestation = artifact(&mut layout, "application/vnd.in-toto+json", &json!(null));
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest(&amd64)});
    let inner = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [arm.clone()]}));
    let index =
        layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [amd64.clone(), attestation, inner]}));
    layout.tag("v1", index);
    let signature = artifact(&mut layout, "application/vnd.cncf.notary.signature", &amd64);
    layout.list(signature.clone());
    let soci = artifact(&mut layout, "application/vnd.amazon.soci.index.v1+json", &amd64);
    layout.list(soci);
    let components = artifact(&mut layout, "application/spdx+json", &signature);
    layout.list(components);
    let cosign = artifact(&mut layout, "application/vnd.dev.cosign.simplesigning.v1+json", &json!(null));
    layout.tag(&format!("{}.sig", digest(&arm).replace(':', "-")), cosign);
    let elsewhere = artifact(
        &mut layout,
        "application/vnd.cyclonedx+json",
        &json!({"digest": format!("sha256:{}", "1".repeat(64)), "size": 1}),
    );
    layout.list(elsewhere);
    (layout, vec![digest(&amd64), digest(&arm)])
}

#[test]
fn everything_stands_under_what_it_is_about() {
    let (layout, _) = rich();
    let found = serde_json::to_value(look(&layout, "").unwrap()).unwrap();
    let entries = found["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{found:#}");
    let index = &entries[0];
    assert_eq!((&index["name"], &index["kind"]), (&json!("v1"), &json!("index")));
    let (amd64, arm) = (&index["manifests"][0], &index["manifests"][1]["manifests"][0]);
    assert_eq!(amd64["platform"], "linux/amd64");
    assert_eq!(arm["platform"], "linux/arm/v7");
    let named = |node: &Value| -> Vec<String> {
        let all = node["referrers"].as_array().cloned().unwrap_or_default();
        all.iter().map(|node| node["artifact"].as_str().unwrap().to_owned()).collect()
    };
    let mut referrers = named(amd64);
    referrers.sort();
    assert_eq!(referrers, ["a Notation signature", "a SOCI index", "a build attestation"]);
    let signature =
        amd64["referrers"].as_array().unwrap().iter().find(|node| node["artifact"] == "a Notation signature");
    assert_eq!(named(signature.unwrap()), ["a list of components (SPDX)"]);
    assert_eq!(named(arm), ["a cosign signature"]);
    assert_eq!(entries[1]["artifact"], "a list of components (CycloneDX)");
    assert_eq!(amd64["layers"][0]["createdBy"], "COPY a /");
    assert_eq!(amd64["config"]["entrypoint"], json!(["/bin/app", "two words"]));
}

#[test]
fn the_same_for_people() {
    let (layout, digests) = rich();
    let text = look(&layout, ":v1").unwrap().to_string();
    for line in [
        &format!("  image for linux/amd64 {}", digests[0]),
        "    runs /bin/app \"two words\"",
        "    created 2024-05-06T07:08:09Z",
        "    author somebody",
        "    env A=b",
        "    label k=v [2J",
        "      COPY a /",
        "    referred to by:",
        "    image for linux/arm/v7",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(text.starts_with("v1: index of 2 sha256:") && !text.contains("CycloneDX"), "{text}");
    let text = look(&layout, "").unwrap().to_string();
    assert!(text.contains(&format!("about sha256:{}, which is not here", "1".repeat(64))), "{text}");
    let text = look(&layout, &format!("@{}", digests[1])).unwrap().to_string();
    assert!(text.starts_with("image for linux/arm/v7"), "{text}");
}

#[test]
fn what_cannot_be_read_is_shown_as_such() {
    let (mut layout, digests) = rich();
    layout.blobs.remove(&digests[1]);
    layout.blobs.get_mut(&digests[0]).unwrap()[3] ^= 1;
    let text = look(&layout, "").unwrap().to_string();
    assert!(
        text.contains("not readable for linux/arm/v7") && text.contains("problem: the blob is missing"),
        "{text}"
    );
    assert!(text.contains("problem: the blob is damaged: its content has digest sha256:"), "{text}");
    assert!(look(&layout, ":v2").unwrap_err().ends_with("nothing in the layout is called so"));
    assert_eq!(look(&Layout::empty(), "").unwrap().to_string(), "the layout holds no image\n");
}

fn value(layout: &Layout, reference: &str) -> Value {
    serde_json::to_value(look(layout, reference).unwrap()).unwrap()
}

/// What something is called, with what refers to it.
fn outline(node: &Value) -> String {
    let name = node["artifact"].as_str().or(node["name"].as_str()).unwrap_or("image");
    let referrers = node["referrers"].as_array().cloned().unwrap_or_default();
    match referrers.iter().map(outline).collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => name.to_owned(),
        some => format!("{name} ({some})"),
    }
}

fn outlines(found: &Value) -> Vec<String> {
    found["entries"].as_array().unwrap().iter().map(outline).collect()
}

#[test]
fn of_two_names_each_shows_what_refers_to_the_image() {
    let layers = [tar(&[file("a", "")])];
    let mut layout = Layout::empty();
    let image = layout.image(&layers, config(&layers));
    layout.tag("v1", image.clone());
    layout.tag("v2", image.clone());
    let signature = artifact(&mut layout, "application/vnd.cncf.notary.signature", &image);
    layout.list(signature);
    for name in ["v1", "v2"] {
        let found = value(&layout, &format!(":{name}"));
        assert_eq!(outlines(&found), [format!("{name} (a Notation signature)")], "{found:#}");
    }
}

#[test]
fn an_artifact_is_found_by_its_own_name() {
    let (layout, digests) = rich();
    let found = value(&layout, &format!(":{}.sig", digests[1].replace(':', "-")));
    assert_eq!(outlines(&found), ["a cosign signature"], "{found:#}");
}

#[test]
fn what_refers_to_what_is_not_here_keeps_what_refers_to_itself() {
    let mut layout = Layout::empty();
    let missing = json!({"digest": format!("sha256:{}", "1".repeat(64)), "size": 1});
    let components = artifact(&mut layout, "application/spdx+json", &missing);
    let signature = artifact(&mut layout, "application/vnd.cncf.notary.signature", &components);
    let list = json!({"schemaVersion": 2, "artifactType": "application/vnd.in-toto+json", "manifests": [], "subject": signature});
    let list = layout.json(INDEX, &list);
    for node in [list, signature, components] {
        layout.list(node);
    }
    let expected = "a list of components (SPDX) (a Notation signature (an in-toto attestation))";
    assert_eq!(outlines(&value(&layout, "")), [expected]);
}

/// Annotations are bound by no digest: they can name each other, or themselves.
#[test]
fn circles_are_shown() {
    let mut layout = Layout::empty();
    let mut nodes: Vec<Value> =
        ["application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"]
            .iter()
            .map(|kind| artifact(&mut layout, kind, &json!(null)))
            .collect();
    let subjects = [digest(&nodes[1]), digest(&nodes[0]), digest(&nodes[2])];
    for (node, subject) in nodes.iter_mut().zip(subjects) {
        node["annotations"] = json!({"vnd.docker.reference.digest": subject});
        layout.list(node.clone());
    }
    let found = value(&layout, "").to_string();
    for what in ["(SPDX)", "(CycloneDX)", "an in-toto attestation"] {
        assert_eq!(found.matches(what).count(), 1, "{found}");
    }
}

#[test]
fn what_is_looked_at_is_bounded_and_the_rest_counted() {
    let layers = [tar(&[file("a", "")])];
    let mut layout = Layout::empty();
    let image = layout.image(&layers, config(&layers));
    let wide = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": vec![image.clone(); 3_000]}));
    layout.tag("wide", wide);
    layout.list(image.clone());
    layout.list(image);
    let found = value(&layout, "");
    let entries = found["entries"].as_array().unwrap();
    assert_eq!((entries.len(), entries[0]["manifests"].as_array().unwrap().len()), (1, 1_023));
    assert_eq!(entries[0]["problem"], "1977 more in it are not looked at");
    assert_eq!(found["problem"], "2 more in it are not looked at");
    let text = look(&layout, "").unwrap().to_string();
    assert!(text.ends_with("\nproblem: 2 more in it are not looked at\n"), "{text}");

    let mut layout = Layout::empty();
    let mut about = config(&layers);
    about["config"] = json!({"Labels": {"k": "v".repeat(25_000)}});
    let image = layout.image(&layers, about);
    (0..30).for_each(|_| layout.list(image.clone()));
    let limits = Limits { document_bytes: 30_000, ..Limits::default() };
    let text = within(&layout, "", &limits).unwrap().to_string();
    let (shown, not) = (text.matches("label k=").count(), text.matches("more than is looked at").count());
    assert!(shown + not == 30 && shown > 0 && not > 0, "{text}");
}

/// Every line that people see: tags, platforms, digests, sizes, media types, history, configuration, and what refers to what.
#[test]
fn the_whole_text() {
    let mut layout = Layout::empty();
    let layers = [tar(&[file("a", vec![b'a'; 3_000])]), tar(&[file("b", "")])];
    let mut about = config(&layers);
    (about["created"], about["author"]) = (json!("2024-05-06T07:08:09Z"), json!("somebody"));
    about["config"] = json!({"Entrypoint": ["/bin/app"], "Cmd": ["serve", "two words", ""], "WorkingDir": "/srv",
        "User": "app:app", "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}, "/log": {}},
        "Env": ["A=b", "C=d"], "Labels": {"k": "v", "l": "w"}});
    about["history"] = json!([{"created_by": "COPY a /"}, {"created_by": "ENV A=b", "empty_layer": true},
        {"created_by": "COPY b /", "comment": "the second"}]);
    let mut amd64 = layout.image(&layers, about);
    amd64["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let bare = json!({"os": "linux", "architecture": "arm", "variant": "v6", "os.version": "6.1", "os.features": ["x"],
        "rootfs": {"type": "layers", "diff_ids": []}});
    let arm = layout.image(&[], bare);
    let signature = artifact(&mut layout, "application/vnd.cncf.notary.signature", &amd64);
    let components = artifact(&mut layout, "application/spdx+json", &signature);
    let index = layout.json(INDEX, &json!({"schemaVersion": 2, "manifests": [amd64, arm]}));
    layout.tag("v1", index.clone());
    layout.list(components.clone());
    layout.list(signature.clone());
    let list = json!({"schemaVersion": 2, "manifests": [], "subject": arm});
    let list = layout.json(INDEX, &list);
    layout.list(list.clone());
    let xml = layout.blob("application/xml", b"<x/>".to_vec());
    layout.list(xml.clone());
    let mut missing = layout.blob("application/xml", b"<y/>".to_vec());
    layout.blobs.remove(&digest(&missing));
    missing["platform"] = json!({"os": "linux", "architecture": "386"});
    layout.list(missing.clone());

    let parts = layout.document(&amd64["digest"])["layers"].as_array().unwrap().clone();
    let (size, all) = (|part: &Value| part["size"].as_u64().unwrap(), parts.iter());
    let total: u64 = all.map(size).sum();
    let [amd64, arm, signature, components, index, list, xml, missing] =
        [&amd64, &arm, &signature, &components, &index, &list, &xml, &missing].map(digest);
    let part_of = |kind: &str| super::layout::sha256(kind.as_bytes());
    let expected = format!(
        "v1: index of 2 {index}
  image for linux/amd64 {amd64}
    size {total} bytes in 2 layers
    created 2024-05-06T07:08:09Z
    author somebody
    runs /bin/app serve \"two words\" \"\"
    in /srv
    as app:app
    stopped by SIGQUIT
    ports 53/udp, 80/tcp
    volumes /data, /log
    env A=b
    env C=d
    label k=v
    label l=w
    layer 1: {} {} bytes, application/vnd.oci.image.layer.v1.tar+gzip
      COPY a /
    layer 2: {} {} bytes, application/vnd.oci.image.layer.v1.tar+gzip
      COPY b /
      the second
    referred to by:
      a Notation signature {signature}
        part 1: {} 37 bytes, application/vnd.cncf.notary.signature
        referred to by:
          a list of components (SPDX) {components}
            part 1: {} 21 bytes, application/spdx+json
  image for linux(6.1+x)/arm/v6 {arm}
    referred to by:
      an artifact about {arm} {list}
an artifact of type \"application/xml\" {xml}
not readable for linux/386 {missing}
  problem: the blob is missing
",
        digest(&parts[0]),
        parts[0]["size"],
        digest(&parts[1]),
        parts[1]["size"],
        part_of("application/vnd.cncf.notary.signature"),
        part_of("application/spdx+json"),
    );
    assert_eq!(look(&layout, "").unwrap().to_string(), expected);
}
