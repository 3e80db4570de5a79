//! The JSON documents of an image, read by content: what a document holds decides what it is, and
//! one that could be two things is refused (CVE-2021-41190). Fields keg does not use are let pass.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::lists::bounded;
use super::platform::Platform;
use crate::types::{Digest, InvalidDigest};

/// `null` reads as the empty value, as Go writes it.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Points to a blob (image-spec, descriptor.md).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    /// What the blob is said to be; empty where nothing is said.
    #[serde(deserialize_with = "nullable")]
    pub media_type: String,
    digest: String,
    /// How many bytes the blob has.
    pub size: u64,
    /// The blob itself, in base 64.
    pub data: Option<String>,
    /// Where else the blob may be had.
    #[serde(deserialize_with = "nullable")]
    pub urls: Vec<String>,
    /// Free text, of which `org.opencontainers.image.ref.name` names an image.
    #[serde(deserialize_with = "nullable")]
    pub annotations: BTreeMap<String, String>,
    platform: Option<DescribedPlatform>,
    /// What an artifact is.
    #[serde(deserialize_with = "nullable")]
    pub artifact_type: String,
}

impl Descriptor {
    /// Of a blob that is known.
    pub fn new(media_type: &str, digest: &Digest, size: u64) -> Self {
        let (media_type, digest) = (media_type.to_owned(), digest.to_string());
        Self { media_type, digest, size, ..Self::default() }
    }

    /// The blob's digest, which may be missing or none that keg verifies.
    pub fn digest(&self) -> Result<Digest, InvalidDigest> {
        Digest::parse(&self.digest)
    }

    /// The blob's digest as it stands, whatever it is.
    pub fn digest_as_said(&self) -> &str {
        &self.digest
    }

    /// For which platform the blob is said to be.
    pub fn platform(&self) -> Option<Platform> {
        self.platform.as_ref().map(|given| Platform {
            os: given.os.clone(),
            architecture: given.architecture.clone(),
            variant: given.variant.clone().filter(|variant| !variant.is_empty()),
            os_version: given.os_version.clone().filter(|version| !version.is_empty()),
            os_features: given.os_features.clone(),
        })
    }

    /// The name that a layout gives to this image.
    pub fn ref_name(&self) -> Option<&str> {
        self.annotations.get("org.opencontainers.image.ref.name").map(String::as_str)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct DescribedPlatform {
    #[serde(deserialize_with = "nullable")]
    os: String,
    #[serde(deserialize_with = "nullable")]
    architecture: String,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    #[serde(rename = "os.features", deserialize_with = "nullable")]
    os_features: Vec<String>,
}

/// An image index or a Docker manifest list: one image for several platforms, or several images; an artifact may have this form, too.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// What it lists.
    #[serde(deserialize_with = "bounded")]
    pub manifests: Vec<Descriptor>,
    /// What an artifact is.
    #[serde(default, deserialize_with = "nullable")]
    pub artifact_type: String,
    /// What an artifact is about.
    #[serde(default)]
    pub subject: Option<Box<Descriptor>>,
}

/// One image for one platform, or an artifact.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "bounded")]
    pub layers: Vec<Descriptor>,
    /// What an artifact is.
    #[serde(default, deserialize_with = "nullable")]
    pub artifact_type: String,
    /// What an artifact is about.
    #[serde(default)]
    pub subject: Option<Descriptor>,
}

/// The image configuration (image-spec, config.md).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When the image was made (RFC 3339).
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// GOARCH.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// GOOS.
    #[serde(deserialize_with = "nullable")]
    pub os: String,
    /// The processor's variant.
    pub variant: Option<String>,
    /// Version of the operating system.
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
    /// What the operating system must be able to do.
    #[serde(rename = "os.features", deserialize_with = "nullable")]
    pub os_features: Vec<String>,
    /// How to run it.
    #[serde(deserialize_with = "nullable")]
    pub config: Execution,
    /// What it consists of.
    #[serde(deserialize_with = "nullable")]
    pub rootfs: RootFs,
    /// How it came about, step by step.
    #[serde(deserialize_with = "bounded")]
    pub history: Vec<History>,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct History {
    /// The command.
    pub created_by: Option<String>,
    /// What somebody had to say about it.
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(deserialize_with = "nullable")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// The platform the image says it is for, if it says one.
    pub fn platform(&self) -> Option<Platform> {
        (!self.os.is_empty() && !self.architecture.is_empty()).then(|| Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
            os_version: self.os_version.clone().filter(|version| !version.is_empty()),
            os_features: self.os_features.clone(),
        })
    }
}

/// The layers' digests before compression.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    /// One for each layer of the manifest, in the same order.
    #[serde(deserialize_with = "bounded")]
    pub diff_ids: Vec<String>,
}

/// The execution parameters of an image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// `user`, `uid`, `user:group` and so on.
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    /// Ports the program listens on.
    #[serde(deserialize_with = "nullable")]
    pub exposed_ports: BTreeMap<String, IgnoredAny>,
    /// `NAME=value`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// The program.
    #[serde(deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    /// Its default arguments, or the program where there is no entry point.
    #[serde(deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// Directories whose content is no part of the image.
    #[serde(deserialize_with = "nullable")]
    pub volumes: BTreeMap<String, IgnoredAny>,
    /// Where the program starts.
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    /// Free text, which becomes annotations.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end.
    #[serde(deserialize_with = "nullable")]
    pub stop_signal: String,
}

/// A document that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON, or a field has the wrong type.
    #[error("invalid document: {0}")]
    Json(#[from] serde_json::Error),
    /// It has the fields of an index and of a manifest.
    #[error("the document is index and manifest at once")]
    Ambiguous,
    /// It has the fields of neither.
    #[error("the document is neither an index nor a manifest")]
    Neither,
    /// A manifest of Docker's first kind.
    #[error("Docker manifests of schema 1 are not supported")]
    Schema1,
    /// It says that it is one thing and is another.
    #[error("the media type says {said}, the content is {is}")]
    Contradiction {
        /// The media type.
        said: String,
        /// What the content is.
        is: &'static str,
    },
}

/// An index or a manifest.
#[derive(Debug, Clone)]
pub enum Document {
    /// A list of manifests and indexes.
    Index(Index),
    /// One image or artifact.
    Manifest(Box<Manifest>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default, deserialize_with = "nullable")]
    media_type: String,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Reads an index or a manifest. `said` is the media type of the descriptor that led here; it and
/// the document's own may be missing, and may be OCI's or Docker's, but not of the other kind.
pub fn parse(bytes: &[u8], said: &str) -> Result<Document, Error> {
    let shape: Shape = from_json(bytes)?;
    let manifest = shape.config.is_some() || shape.layers.is_some();
    let (document, is) = match (shape.manifests.is_some(), manifest, shape.fs_layers.is_some()) {
        (true, false, false) => (Document::Index(from_json(bytes)?), "an index"),
        (false, true, false) => (Document::Manifest(from_json(bytes)?), "a manifest"),
        (false, false, false) => return Err(Error::Neither),
        (false, false, true) => return Err(Error::Schema1),
        _ => return Err(Error::Ambiguous),
    };
    for said in [said, &shape.media_type] {
        let fits = match kind_of(said) {
            Kind::Index => matches!(document, Document::Index(_)),
            Kind::Manifest => matches!(document, Document::Manifest(_)),
            Kind::Unsaid | Kind::Other => true,
        };
        if !fits {
            return Err(Error::Contradiction { said: said.to_owned(), is });
        }
    }
    Ok(document)
}

/// What a media type promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An index or a manifest list.
    Index,
    /// A manifest, or one of Docker's first kind, which is refused.
    Manifest,
    /// Nothing.
    Unsaid,
    /// Something that is neither.
    Other,
}

/// What a media type promises.
pub fn kind_of(media_type: &str) -> Kind {
    match media_type {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => Kind::Index,
        "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json"
        | "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Kind::Manifest,
        "" => Kind::Unsaid,
        _ => Kind::Other,
    }
}

/// Reads a document whose kind is known. A field given twice is refused.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::{Document, Error, ImageConfig, from_json, parse};

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    #[test]
    fn content_decides_and_ambiguity_is_refused() {
        let manifest = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let index = r#"{"schemaVersion":2,"manifests":null}"#;
        assert!(matches!(parse(manifest.as_bytes(), ""), Ok(Document::Manifest(_))));
        assert!(matches!(parse(manifest.as_bytes(), MANIFEST), Ok(Document::Manifest(_))));
        assert!(matches!(parse(index.as_bytes(), INDEX), Err(Error::Neither)));
        assert!(matches!(parse(br#"{"manifests":[]}"#, INDEX), Ok(Document::Index(_))));
        assert!(matches!(parse(manifest.as_bytes(), INDEX), Err(Error::Contradiction { .. })));
        let own = format!(r#"{{"mediaType":"{INDEX}","config":{{}}}}"#);
        assert!(matches!(parse(own.as_bytes(), ""), Err(Error::Contradiction { .. })));
        let both = br#"{"manifests":[],"layers":[],"config":{}}"#;
        assert!(matches!(parse(both, ""), Err(Error::Ambiguous)));
        assert!(matches!(parse(br#"{"fsLayers":[]}"#, ""), Err(Error::Schema1)));
        assert!(matches!(parse(br#"{"layers":[],"layers":[]}"#, ""), Err(Error::Json(_))));
        assert!(matches!(parse(b"[]", ""), Err(Error::Json(_))));
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(matches!(parse(deep.as_bytes(), ""), Err(Error::Json(_))));
    }

    #[test]
    fn dockers_nulls_read_as_nothing() {
        let config: ImageConfig = from_json(
            br#"{"architecture":"amd64","os":"linux","config":{"User":"","Env":null,"Cmd":["sh"],
            "Volumes":null,"Entrypoint":null,"Labels":null,"OnBuild":null,"ExposedPorts":{"80/tcp":{}}},
            "rootfs":{"type":"layers","diff_ids":null}}"#,
        )
        .unwrap();
        assert_eq!(config.config.cmd, ["sh"]);
        assert!(config.config.env.is_empty() && config.rootfs.diff_ids.is_empty());
        assert_eq!(config.platform().unwrap().to_string(), "linux/amd64");
    }
}
