//! What lies in a layout beside images: signatures, lists of components, indexes of layers.

use super::document::{Descriptor, Index, Manifest};

/// What an artifact of this type is called, with its article.
fn name(media_type: &str) -> Option<&'static str> {
    let known = [
        ("application/vnd.cncf.notary.signature", "a Notation signature"),
        ("application/vnd.dev.cosign", "a cosign signature"),
        ("application/vnd.dev.sigstore", "a sigstore bundle"),
        ("application/vnd.amazon.soci.index", "a SOCI index"),
        ("application/spdx", "a list of components (SPDX)"),
        ("text/spdx", "a list of components (SPDX)"),
        ("application/vnd.cyclonedx", "a list of components (CycloneDX)"),
        ("application/vnd.in-toto", "an in-toto attestation"),
        ("application/vnd.cncf.helm", "a Helm chart"),
        ("application/vnd.wasm", "a WebAssembly module"),
    ];
    known.iter().find(|(prefix, _)| media_type.starts_with(prefix)).map(|(_, name)| *name)
}

fn describe(media_type: &str) -> String {
    name(media_type).map_or_else(|| format!("an artifact of type {media_type:?}"), str::to_owned)
}

/// What a descriptor's blob is, if the descriptor alone shows that it is no image.
pub fn from_descriptor(descriptor: &Descriptor) -> Option<String> {
    let attests = descriptor
        .annotations
        .get("vnd.docker.reference.type")
        .is_some_and(|kind| kind == "attestation-manifest");
    if attests || descriptor.platform().is_some_and(|platform| platform.is_unknown()) {
        return Some("a build attestation".to_owned());
    }
    (!descriptor.artifact_type.is_empty() && !is_image_config(&descriptor.artifact_type))
        .then(|| describe(&descriptor.artifact_type))
}

/// What a manifest is, if it is no image.
pub fn from_manifest(manifest: &Manifest) -> Option<String> {
    if !manifest.artifact_type.is_empty() && !is_image_config(&manifest.artifact_type) {
        return Some(describe(&manifest.artifact_type));
    }
    let config = &manifest.config.media_type;
    if !config.is_empty() && !is_image_config(config) {
        return Some(match config.as_str() {
            "application/vnd.oci.empty.v1+json" => {
                describe(manifest.layers.first().map_or("", |layer| &layer.media_type))
            }
            other => describe(other),
        });
    }
    if let Some(in_toto) = manifest.layers.iter().find(|layer| name(&layer.media_type).is_some()) {
        return Some(describe(&in_toto.media_type));
    }
    let subject = manifest.subject.as_ref()?;
    let about = subject.digest().map_or_else(|_| "another manifest".to_owned(), |digest| digest.to_string());
    Some(format!("an artifact about {about}"))
}

/// What an index is, if it says that it is no list of images.
pub fn from_index(index: &Index) -> Option<String> {
    (!index.artifact_type.is_empty()).then(|| describe(&index.artifact_type))
}

fn is_image_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    )
}

#[cfg(test)]
mod tests {
    use super::{from_descriptor, from_manifest};

    #[test]
    fn artifacts_are_known_by_name() {
        let manifest = |json: &str| from_manifest(&serde_json::from_str(json).unwrap());
        let image = r#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[]}"#;
        assert_eq!(manifest(image), None);
        assert_eq!(manifest(r#"{"config":{},"layers":[]}"#), None);
        for (json, what) in [
            (
                r#"{"config":{"mediaType":"application/vnd.cncf.notary.signature"},"layers":[]}"#,
                "a Notation signature",
            ),
            (
                r#"{"artifactType":"application/vnd.amazon.soci.index.v1+json","config":{},"layers":[]}"#,
                "a SOCI index",
            ),
            (
                r#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},
                    "layers":[{"mediaType":"application/vnd.in-toto+json"}]}"#,
                "an in-toto attestation",
            ),
            (
                r#"{"config":{"mediaType":"application/vnd.oci.empty.v1+json"},"layers":[{"mediaType":"x/y"}]}"#,
                "an artifact of type \"x/y\"",
            ),
            (r#"{"config":{},"layers":[],"subject":{}}"#, "an artifact about another manifest"),
        ] {
            assert_eq!(manifest(json).as_deref(), Some(what));
        }
        let descriptor = |json: &str| from_descriptor(&serde_json::from_str(json).unwrap());
        let unknown = r#"{"platform":{"os":"unknown","architecture":"unknown"}}"#;
        assert_eq!(descriptor(unknown).as_deref(), Some("a build attestation"));
        assert_eq!(descriptor(r#"{"platform":{"os":"linux","architecture":"amd64"}}"#), None);
    }
}
