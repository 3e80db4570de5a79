//! What a layout holds, as a tree: names, indexes, the images in them, and under each what refers to it: signatures, lists of
//! components, attestations. Documents are verified; layers are not read. What cannot be read is shown as such, and no error.

mod gather;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::artifact;
use super::document::{self, Descriptor, Document, Execution, History, ImageConfig, Manifest};
use super::layout::{self, Layout};
use super::limits::Limits;
use super::reference::{ImageRef, Wanted};

/// A layout that cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("open image layout {path:?}")]
    Layout {
        /// Where.
        path: PathBuf,
        /// Why.
        source: layout::Error,
    },
    /// Nothing in it is what was asked for.
    #[error("inspect {0}: nothing in the layout is called so")]
    Nothing(Box<ImageRef>),
}

/// What a layout holds, or the part that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Where it is.
    pub layout: PathBuf,
    /// What `index.json` lists, without what refers to something else in it.
    pub entries: Vec<Node>,
    /// What of it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What something in a layout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A list.
    Index,
    /// One image for one platform.
    Image,
    /// Anything else that has a manifest.
    Artifact,
    /// Missing, damaged, or not looked at.
    Unreadable,
}

/// An index, an image or an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The name the layout gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Of its manifest or index.
    pub digest: String,
    /// As its descriptor has it.
    pub media_type: String,
    /// Bytes of its manifest or index.
    pub size: u64,
    /// For what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// What an artifact is, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// The digest of what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What an image says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    /// The layers of an image, the parts of an artifact.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Part>,
    /// What an index lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Node>,
    /// What refers to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Node>,
}

/// The configuration of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Who runs it.
    pub user: String,
    /// Where it starts.
    pub working_dir: String,
    /// Directories that are volumes.
    pub volumes: Vec<String>,
    /// Ports that it listens on.
    pub exposed_ports: Vec<String>,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// The signal that ends it.
    pub stop_signal: String,
}

/// A layer, or a part of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Of its blob.
    pub digest: String,
    /// What its blob is said to be.
    pub media_type: String,
    /// Bytes of its blob.
    pub size: u64,
    /// What made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// What somebody had to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Looks into a layout.
pub fn inspect(image: &ImageRef, limits: &Limits) -> Result<Inspection, Error> {
    let path = image.layout.clone();
    let layout = Layout::open(&path, limits.document_bytes)
        .map_err(|source| Error::Layout { path: path.clone(), source })?;
    let mut looking =
        Looking { layout: &layout, limits, nodes: 0, bytes: limits.document_bytes.saturating_mul(DOCUMENTS) };
    let (mut entries, problem) = looking.list(&layout.index.manifests, 0);
    let asked: Vec<String> = match &image.wanted {
        Wanted::Only => Vec::new(),
        Wanted::Name(name) => entries
            .iter()
            .filter(|node| node.name.as_ref() == Some(name))
            .map(|node| node.digest.clone())
            .collect(),
        Wanted::Digest(digest) => vec![digest.to_string()],
    };
    gather::gather(&mut entries);
    if image.wanted == Wanted::Only {
        return Ok(Inspection { layout: path, entries, problem });
    }
    // Wherever it stands now; of several names of one image it has the one that was asked for.
    let found = |digest: &String| entries.iter().find_map(|node| node.find(digest)).cloned();
    let mut entries: Vec<Node> = asked.iter().filter_map(found).collect();
    if let Wanted::Name(name) = &image.wanted {
        entries.iter_mut().for_each(|node| node.name = Some(name.clone()));
    }
    if entries.is_empty() {
        return Err(Error::Nothing(Box::new(image.clone())));
    }
    Ok(Inspection { layout: path, entries, problem: None })
}

/// So many of the largest documents are read and no more.
const DOCUMENTS: u64 = 16;

struct Looking<'a> {
    layout: &'a Layout,
    limits: &'a Limits,
    nodes: usize,
    /// Of documents that may still be read.
    bytes: u64,
}

impl Looking<'_> {
    /// As many as are looked at, and what is to be said of the others.
    fn list(&mut self, descriptors: &[Descriptor], depth: usize) -> (Vec<Node>, Option<String>) {
        let mut nodes = Vec::new();
        for descriptor in descriptors {
            if self.nodes >= self.limits.index_nodes {
                break;
            }
            self.nodes += 1;
            nodes.push(self.at(descriptor, depth));
        }
        let left = descriptors.len() - nodes.len();
        (nodes, (left > 0).then(|| format!("{left} more in it are not looked at")))
    }

    fn at(&mut self, descriptor: &Descriptor, depth: usize) -> Node {
        let mut node = Node::of(descriptor);
        let seen = if depth > self.limits.index_depth {
            Err("more than is looked at".to_owned())
        } else {
            self.fill(&mut node, descriptor, depth)
        };
        if let Err(problem) = seen {
            (node.kind, node.problem) = (Kind::Unreadable, Some(problem));
        }
        node
    }

    fn fill(&mut self, node: &mut Node, descriptor: &Descriptor, depth: usize) -> Result<(), String> {
        let said = artifact::from_descriptor(descriptor);
        if document::kind_of(&descriptor.media_type) == document::Kind::Other {
            // No document: it need not be JSON, nor small.
            (node.kind, node.artifact) = (Kind::Artifact, said);
            return self.layout.find(descriptor).map(drop).map_err(|error| chain(&error));
        }
        let bytes = self.read(descriptor)?;
        let document = document::parse(&bytes, &descriptor.media_type).map_err(|error| chain(&error))?;
        let what = said.or_else(|| artifact::from_document(&document));
        let is_artifact = what.is_some();
        (node.kind, node.artifact) = (Kind::Artifact, what);
        match document {
            Document::Index(index) => {
                if !is_artifact {
                    node.kind = Kind::Index;
                }
                node.about(index.subject.as_deref());
                (node.manifests, node.problem) = self.list(&index.manifests, depth + 1);
            }
            Document::Manifest(manifest) => {
                node.about(manifest.subject.as_ref());
                node.layers = manifest.layers.iter().map(Part::of).collect();
                if !is_artifact {
                    self.image(node, &manifest)?;
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        self.bytes = self.bytes.checked_sub(descriptor.size).ok_or("more than is looked at")?;
        self.layout.document(descriptor).map_err(|error| chain(&error))
    }

    fn image(&mut self, node: &mut Node, manifest: &Manifest) -> Result<(), String> {
        node.kind = Kind::Image;
        let bytes = self.read(&manifest.config).map_err(|error| format!("its configuration: {error}"))?;
        let config: ImageConfig = document::from_json(&bytes).map_err(|error| chain(&error))?;
        let steps = config.history.iter().filter(|step| !step.empty_layer);
        for (layer, step) in node.layers.iter_mut().zip(steps) {
            let History { created_by, comment, .. } = step.clone();
            (layer.created_by, layer.comment) = (created_by, comment);
        }
        if node.platform.is_none() {
            let platform = config.platform();
            if let Some(what) = platform.as_ref().and_then(artifact::from_platform) {
                (node.kind, node.artifact) = (Kind::Artifact, Some(what));
                return Ok(());
            }
            node.platform = platform.map(|platform| platform.to_string());
        }
        node.config = Some(Config::of(config));
        Ok(())
    }
}

impl Config {
    fn of(config: ImageConfig) -> Self {
        let ImageConfig { created, author, config, .. } = config;
        let Execution { entrypoint, cmd, env, user, working_dir, labels, stop_signal, .. } = config;
        let volumes = config.volumes.into_keys().collect();
        let exposed_ports = config.exposed_ports.into_keys().collect();
        Self {
            created,
            author,
            entrypoint,
            cmd,
            env,
            user,
            working_dir,
            volumes,
            exposed_ports,
            labels,
            stop_signal,
        }
    }
}

impl Part {
    fn of(descriptor: &Descriptor) -> Self {
        let digest = descriptor.digest().map_or_else(|error| error.0, |digest| digest.to_string());
        let (media_type, size) = (descriptor.media_type.clone(), descriptor.size);
        Self { digest, media_type, size, created_by: None, comment: None }
    }
}

impl Node {
    fn of(descriptor: &Descriptor) -> Self {
        let Part { digest, media_type, size, .. } = Part::of(descriptor);
        let name = descriptor.ref_name().map(str::to_owned);
        let about = descriptor.annotations.get("vnd.docker.reference.digest").cloned();
        let known = descriptor.platform().filter(|platform| !platform.is_unknown());
        Self {
            subject: about.or_else(|| name.as_deref().and_then(tagged)),
            name,
            kind: Kind::Unreadable,
            digest,
            media_type,
            size,
            platform: known.map(|platform| platform.to_string()),
            artifact: None,
            problem: None,
            config: None,
            layers: Vec::new(),
            manifests: Vec::new(),
            referrers: Vec::new(),
        }
    }

    fn about(&mut self, subject: Option<&Descriptor>) {
        if let Some(digest) = subject.and_then(|subject| subject.digest().ok()) {
            self.subject = Some(digest.to_string());
        }
    }

    fn find(&self, digest: &str) -> Option<&Self> {
        if self.digest == digest {
            return Some(self);
        }
        self.manifests.iter().chain(&self.referrers).find_map(|node| node.find(digest))
    }
}

/// Registries without a list of referrers, and cosign, name what refers to `sha256:HEX` by tags: `sha256-HEX`, `sha256-HEX.sig`.
fn tagged(name: &str) -> Option<String> {
    let (algorithm, rest) = name.split_once('-')?;
    let hex = rest.split('.').next()?;
    crate::types::Digest::parse(&format!("{algorithm}:{hex}")).ok().map(|digest| digest.to_string())
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
