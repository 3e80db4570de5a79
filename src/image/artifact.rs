//! What lies in a layout beside images: signatures, lists of components, indexes of layers.

use super::document::{self, Descriptor, Document, Index, Kind, Manifest};
use super::platform::Platform;

const ATTESTATION: &str = "a build attestation";

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
        ("application/vnd.syft", "a list of components (Syft)"),
        ("application/sarif", "a report of findings (SARIF)"),
        ("application/vnd.openvex", "a statement on vulnerabilities (OpenVEX)"),
        ("application/vnd.in-toto", "an in-toto attestation"),
        ("application/vnd.dsse.envelope", "a signed attestation (DSSE)"),
        ("application/vnd.cncf.helm", "a Helm chart"),
        ("application/vnd.wasm", "a WebAssembly module"),
        ("application/wasm", "a WebAssembly module"),
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
    if attests {
        return Some(ATTESTATION.to_owned());
    }
    if let Some(what) = descriptor.platform().and_then(|platform| from_platform(&platform)) {
        return Some(what);
    }
    let is_foreign = document::kind_of(&descriptor.media_type) == Kind::Other;
    typed(&descriptor.artifact_type).or_else(|| is_foreign.then(|| describe(&descriptor.media_type)))
}

/// What is for this platform, if nothing can be.
pub fn from_platform(platform: &Platform) -> Option<String> {
    platform.is_unknown().then(|| ATTESTATION.to_owned())
}

/// What a document is, if it is neither an image nor a list of images.
pub fn from_document(document: &Document) -> Option<String> {
    match document {
        Document::Index(index) => from_index(index),
        Document::Manifest(manifest) => from_manifest(manifest),
    }
}

fn from_manifest(manifest: &Manifest) -> Option<String> {
    if let Some(what) = typed(&manifest.artifact_type) {
        return Some(what);
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
    manifest.subject.as_ref().map(about)
}

fn from_index(index: &Index) -> Option<String> {
    typed(&index.artifact_type).or_else(|| index.subject.as_deref().map(about))
}

/// What has this type of artifact, if it has one. Some say of an image that it is one.
fn typed(artifact_type: &str) -> Option<String> {
    (!artifact_type.is_empty() && !is_image_config(artifact_type)).then(|| describe(artifact_type))
}

fn about(subject: &Descriptor) -> String {
    let about = subject.digest().map_or_else(|_| "another manifest".to_owned(), |digest| digest.to_string());
    format!("an artifact about {about}")
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
