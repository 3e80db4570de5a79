//! Image layouts in memory: blobs by digest and an index, open to abuse before they are written.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[derive(Debug, Clone)]
pub struct Layout {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub index: Value,
}

pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The architecture that this host's images are for.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

pub fn config(layers: &[Vec<u8>]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| sha256(layer)).collect();
    json!({
        "architecture": architecture(), "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

impl Layout {
    pub fn empty() -> Self {
        Self { blobs: BTreeMap::new(), index: json!({"schemaVersion": 2, "manifests": []}) }
    }

    /// One image called `latest` with these layers, compressed.
    pub fn of(layers: &[Vec<u8>]) -> Self {
        let mut layout = Self::empty();
        let manifest = layout.image(layers, config(layers));
        layout.tag("latest", manifest);
        layout
    }

    /// As [`Self::of`], the layers uncompressed.
    pub fn plain(layers: &[Vec<u8>]) -> Self {
        let mut layout = Self::empty();
        let config = layout.json(CONFIG, &config(layers));
        let layers: Vec<Value> = layers.iter().map(|layer| layout.blob(TAR, layer.clone())).collect();
        let manifest =
            layout.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": layers}));
        layout.tag("latest", manifest);
        layout
    }

    /// Adds a blob, and gives its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = sha256(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        descriptor
    }

    pub fn json(&mut self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, serde_json::to_vec(value).unwrap())
    }

    /// Adds an image and gives its manifest's descriptor.
    pub fn image(&mut self, layers: &[Vec<u8>], config: Value) -> Value {
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(GZIP, gzip(layer))).collect();
        let config = self.json(CONFIG, &config);
        self.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    /// Lists something in `index.json`.
    pub fn list(&mut self, descriptor: Value) {
        self.index["manifests"].as_array_mut().unwrap().push(descriptor);
    }

    /// Lists something in `index.json` under a name.
    pub fn tag(&mut self, name: &str, mut descriptor: Value) {
        descriptor["annotations"]["org.opencontainers.image.ref.name"] = name.into();
        self.list(descriptor);
    }

    /// The document of this digest.
    pub fn document(&self, digest: &Value) -> Value {
        serde_json::from_slice(&self.blobs[digest.as_str().unwrap()]).unwrap()
    }

    /// The manifest of the first image listed.
    pub fn manifest(&self) -> Value {
        self.document(&self.index["manifests"][0]["digest"])
    }

    /// Puts another manifest at the place of the first image's.
    pub fn set_manifest(&mut self, manifest: &Value) {
        self.index["manifests"] = json!([]);
        let descriptor = self.json(MANIFEST, manifest);
        self.tag("latest", descriptor);
    }

    /// Changes the manifest of the first image; digests above it follow.
    pub fn edit_manifest(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        edit(&mut manifest);
        self.set_manifest(&manifest);
    }

    /// Changes the configuration of the first image; digests above it follow.
    pub fn edit_config(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        let digest = manifest["config"]["digest"].as_str().unwrap();
        let mut config: Value = serde_json::from_slice(&self.blobs[digest]).unwrap();
        edit(&mut config);
        manifest["config"] = self.json(CONFIG, &config);
        self.set_manifest(&manifest);
    }

    /// The digest of a layer of the first image.
    pub fn layer(&self, number: usize) -> String {
        self.manifest()["layers"][number]["digest"].as_str().unwrap().to_owned()
    }

    pub fn write(&self, to: &Path) {
        if to.exists() {
            std::fs::remove_dir_all(to).unwrap();
        }
        std::fs::create_dir_all(to.join("blobs/sha256")).unwrap();
        std::fs::write(to.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        std::fs::write(to.join("index.json"), self.index.to_string()).unwrap();
        for (digest, bytes) in &self.blobs {
            let path = to.join("blobs").join(digest.replace(':', "/"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}
