//! What a layout holds, as a tree: names, indexes, the images in them, and under each what refers to it: signatures, lists of
//! components, attestations. Documents are verified; layers are not read. What cannot be read is shown as such, and no error.

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
    let mut looking = Looking { layout: &layout, limits, nodes: 0 };
    let mut entries: Vec<Node> =
        layout.index.manifests.iter().map(|descriptor| looking.at(descriptor, 0)).collect();
    gather(&mut entries);
    match &image.wanted {
        Wanted::Only => {}
        Wanted::Name(name) => entries.retain(|node| node.name.as_ref() == Some(name)),
        Wanted::Digest(digest) => {
            let wanted = digest.to_string();
            entries = entries.iter().find_map(|node| node.find(&wanted)).cloned().into_iter().collect();
        }
    }
    if entries.is_empty() && image.wanted != Wanted::Only {
        return Err(Error::Nothing(Box::new(image.clone())));
    }
    Ok(Inspection { layout: path, entries })
}

struct Looking<'a> {
    layout: &'a Layout,
    limits: &'a Limits,
    nodes: usize,
}

impl Looking<'_> {
    fn at(&mut self, descriptor: &Descriptor, depth: usize) -> Node {
        let mut node = Node::of(descriptor);
        self.nodes += 1;
        let seen = if depth > self.limits.index_depth || self.nodes > self.limits.index_nodes {
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
        let bytes = self.layout.document(descriptor).map_err(|error| chain(&error))?;
        match document::parse(&bytes, &descriptor.media_type).map_err(|error| chain(&error))? {
            Document::Index(index) => {
                node.kind = Kind::Index;
                node.manifests = index.manifests.iter().map(|next| self.at(next, depth + 1)).collect();
            }
            Document::Manifest(manifest) => {
                if let Some(subject) = &manifest.subject {
                    node.subject = subject.digest().ok().map(|digest| digest.to_string());
                }
                node.layers = manifest.layers.iter().map(Part::of).collect();
                let attests = artifact::from_descriptor(descriptor);
                match attests.or_else(|| artifact::from_manifest(&manifest)) {
                    Some(what) => (node.kind, node.artifact) = (Kind::Artifact, Some(what)),
                    None => self.image(node, &manifest)?,
                }
            }
        }
        Ok(())
    }

    fn image(&self, node: &mut Node, manifest: &Manifest) -> Result<(), String> {
        node.kind = Kind::Image;
        let bytes = self.layout.document(&manifest.config);
        let bytes = bytes.map_err(|error| format!("its configuration: {}", chain(&error)))?;
        let config: ImageConfig = document::from_json(&bytes).map_err(|error| chain(&error))?;
        let steps = config.history.iter().filter(|step| !step.empty_layer);
        for (layer, step) in node.layers.iter_mut().zip(steps) {
            let History { created_by, comment, .. } = step.clone();
            (layer.created_by, layer.comment) = (created_by, comment);
        }
        let platform = config.platform().map(|platform| platform.to_string());
        node.platform = node.platform.take().or(platform);
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

    fn find(&self, digest: &str) -> Option<&Self> {
        if self.digest == digest {
            return Some(self);
        }
        self.manifests.iter().chain(&self.referrers).find_map(|node| node.find(digest))
    }

    fn find_mut(&mut self, digest: &str) -> Option<&mut Self> {
        if self.digest == digest {
            return Some(self);
        }
        self.manifests.iter_mut().chain(&mut self.referrers).find_map(|node| node.find_mut(digest))
    }
}

/// Registries without a list of referrers, and cosign, name what refers to `sha256:HEX` by tags: `sha256-HEX`, `sha256-HEX.sig`.
fn tagged(name: &str) -> Option<String> {
    let (algorithm, rest) = name.split_once('-')?;
    let hex = rest.split('.').next()?;
    crate::types::Digest::parse(&format!("{algorithm}:{hex}")).ok().map(|digest| digest.to_string())
}

/// Puts what refers to something else under that.
fn gather(entries: &mut Vec<Node>) {
    let mut referrers = Vec::new();
    take_referrers(entries, &mut referrers);
    loop {
        let before = referrers.len();
        for node in std::mem::take(&mut referrers) {
            let subject = node.subject.clone().unwrap_or_default();
            match entries.iter_mut().find_map(|entry| entry.find_mut(&subject)) {
                Some(about) => about.referrers.push(node),
                None => referrers.push(node),
            }
        }
        if referrers.len() == before {
            // What they are about is not here.
            entries.append(&mut referrers);
            return;
        }
    }
}

fn take_referrers(nodes: &mut Vec<Node>, referrers: &mut Vec<Node>) {
    for mut node in std::mem::take(nodes) {
        take_referrers(&mut node.manifests, referrers);
        if node.subject.is_some() { referrers.push(node) } else { nodes.push(node) }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
