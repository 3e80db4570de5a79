//! From a reference and a platform to one manifest: through indexes, nested indexes and Docker's
//! manifest lists, past attestations and artifacts.

use std::collections::{BTreeSet, HashSet};

use super::artifact;
use super::blob;
use super::document::{self, Descriptor, Document, ImageConfig, Kind, Manifest};
use super::layout::Layout;
use super::limits::Limits;
use super::platform::Platform;
use super::reference::Wanted;
use crate::types::{Digest, InvalidDigest};

/// Why no image was chosen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layout has no image at all.
    #[error("the layout holds no image")]
    Empty,
    /// No image has that name.
    #[error("no image is named {name:?}; there is {have}")]
    NoSuchName {
        /// What was asked for.
        name: String,
        /// What there is.
        have: String,
    },
    /// Nothing has that digest.
    #[error("no manifest or index has digest {0}")]
    NoSuchDigest(Digest),
    /// Several images and no name, or several for one name.
    #[error("several images fit, name one: {0}")]
    Ambiguous(String),
    /// Nothing for this platform.
    #[error("no image for {wanted}; there is {have}")]
    NoPlatform {
        /// What was asked for.
        wanted: Box<Platform>,
        /// What there is.
        have: String,
    },
    /// What was asked for cannot be unpacked.
    #[error("not an image but {0}")]
    Artifact(String),
    /// A descriptor whose digest is none.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// A document is broken.
    #[error("{what} {digest}")]
    Document {
        /// An index, a manifest or a configuration.
        what: &'static str,
        /// Which.
        digest: Digest,
        /// Why.
        source: document::Error,
    },
    /// A document is missing or damaged.
    #[error("{what} {digest}")]
    Blob {
        /// An index, a manifest or a configuration.
        what: &'static str,
        /// Which.
        digest: Digest,
        /// Why.
        source: blob::Error,
    },
    /// More indexes within indexes, or descriptors, than any honest image has.
    #[error("the image index is too {0}")]
    Limit(&'static str),
}

/// The image that was chosen.
#[derive(Debug)]
pub struct Image {
    /// What points to the manifest.
    pub descriptor: Descriptor,
    /// The manifest's digest.
    pub digest: Digest,
    /// The name the layout gives it.
    pub name: Option<String>,
    /// For what it is.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfig,
}

/// A manifest that may be the image, with the name of the entry of `index.json` that led to it.
#[derive(Clone)]
struct Candidate {
    descriptor: Descriptor,
    name: Option<String>,
    entry: usize,
}

struct Search<'a> {
    layout: &'a Layout,
    limits: &'a Limits,
    seen: HashSet<Digest>,
    nodes: usize,
    candidates: Vec<Candidate>,
    artifacts: Vec<String>,
}

/// Chooses. Without `wanted_platform` it is the host's.
pub fn select(
    layout: &Layout,
    wanted: &Wanted,
    wanted_platform: Option<&Platform>,
    limits: &Limits,
) -> Result<Image, Error> {
    let mut search = Search {
        layout,
        limits,
        seen: HashSet::new(),
        nodes: 0,
        candidates: Vec::new(),
        artifacts: Vec::new(),
    };
    for (entry, descriptor) in search.starts(wanted)?.into_iter().enumerate() {
        let name = descriptor.ref_name().map(str::to_owned);
        search.expand(&Candidate { descriptor, name, entry }, 0)?;
    }
    search.choose(wanted_platform)
}

impl Search<'_> {
    /// The entries of `index.json` that the reference means.
    fn starts(&mut self, wanted: &Wanted) -> Result<Vec<Descriptor>, Error> {
        let all = self.layout.index.manifests.clone();
        match wanted {
            Wanted::Only => Ok(all),
            Wanted::Name(name) => {
                let have = || names(all.iter().map(|descriptor| descriptor.ref_name()));
                let some: Vec<_> =
                    all.iter().filter(|descriptor| descriptor.ref_name() == Some(name)).cloned().collect();
                if some.is_empty() {
                    return Err(Error::NoSuchName { name: name.clone(), have: have() });
                }
                Ok(some)
            }
            Wanted::Digest(digest) => {
                let found = self.by_digest(digest, &all, 0)?;
                (self.seen, self.nodes) = (HashSet::new(), 0);
                found.map(|descriptor| vec![descriptor]).ok_or_else(|| Error::NoSuchDigest(digest.clone()))
            }
        }
    }

    fn by_digest(
        &mut self,
        digest: &Digest,
        list: &[Descriptor],
        depth: usize,
    ) -> Result<Option<Descriptor>, Error> {
        if let Some(found) = list.iter().find(|descriptor| descriptor.digest().is_ok_and(|d| d == *digest)) {
            return Ok(Some(found.clone()));
        }
        for descriptor in
            list.iter().filter(|descriptor| document::kind_of(&descriptor.media_type) == Kind::Index)
        {
            if !self.enter(descriptor, depth)? {
                continue;
            }
            if let Document::Index(index) = self.load(descriptor)?
                && let Some(found) = self.by_digest(digest, &index.manifests, depth + 1)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Counts a visit; `false` where this blob has been visited.
    fn enter(&mut self, descriptor: &Descriptor, depth: usize) -> Result<bool, Error> {
        self.nodes += 1;
        if self.nodes > self.limits.index_nodes {
            return Err(Error::Limit("large"));
        }
        if depth > self.limits.index_depth {
            return Err(Error::Limit("deep"));
        }
        Ok(self.seen.insert(descriptor.digest()?))
    }

    fn load(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let what = match document::kind_of(&descriptor.media_type) {
            Kind::Index => "index",
            Kind::Manifest | Kind::Other => "manifest",
        };
        let bytes = self.read(descriptor, what)?;
        let digest = descriptor.digest()?;
        document::parse(&bytes, &descriptor.media_type).map_err(|source| Error::Document {
            what,
            digest,
            source,
        })
    }

    fn read(&self, descriptor: &Descriptor, what: &'static str) -> Result<Vec<u8>, Error> {
        let digest = descriptor.digest()?;
        self.layout.document(descriptor).map_err(|source| Error::Blob { what, digest, source })
    }

    /// Adds the manifests that a descriptor leads to. A manifest whose descriptor says so and for
    /// which platform is not read: in a layout with one platform only, the others are missing.
    fn expand(&mut self, from: &Candidate, depth: usize) -> Result<(), Error> {
        if !self.enter(&from.descriptor, depth)? {
            return Ok(());
        }
        if let Some(what) = artifact::from_descriptor(&from.descriptor) {
            self.artifacts.push(what);
            return Ok(());
        }
        let kind = document::kind_of(&from.descriptor.media_type);
        if kind == Kind::Manifest && from.descriptor.platform().is_some() {
            self.candidates.push(from.clone());
            return Ok(());
        }
        match self.load(&from.descriptor)? {
            Document::Index(index) => {
                for descriptor in index.manifests {
                    let next = Candidate { descriptor, name: from.name.clone(), entry: from.entry };
                    self.expand(&next, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => match artifact::from_manifest(&manifest) {
                Some(what) => self.artifacts.push(what),
                None => self.candidates.push(from.clone()),
            },
        }
        Ok(())
    }

    /// The platform that a candidate is for: as its descriptor says, else as its configuration.
    fn platform(&self, candidate: &Candidate) -> Result<Option<Platform>, Error> {
        match candidate.descriptor.platform() {
            Some(platform) => Ok(Some(platform)),
            None => Ok(self.open(candidate)?.1.platform()),
        }
    }

    fn open(&self, candidate: &Candidate) -> Result<(Manifest, ImageConfig), Error> {
        let Document::Manifest(manifest) = self.load(&candidate.descriptor)? else {
            return Err(Error::Artifact("an index that its descriptor calls a manifest".to_owned()));
        };
        if let Some(what) = artifact::from_manifest(&manifest) {
            return Err(Error::Artifact(what));
        }
        let what = "image configuration";
        let bytes = self.read(&manifest.config, what)?;
        let digest = manifest.config.digest()?;
        let config =
            document::from_json(&bytes).map_err(|source| Error::Document { what, digest, source })?;
        Ok((*manifest, config))
    }

    fn choose(&self, wanted: Option<&Platform>) -> Result<Image, Error> {
        if self.candidates.is_empty() {
            return Err(self.artifacts.first().cloned().map_or(Error::Empty, Error::Artifact));
        }
        let named: BTreeSet<_> = self.candidates.iter().map(|candidate| candidate.name.as_deref()).collect();
        if named.len() > 1 {
            return Err(Error::Ambiguous(names(named.into_iter())));
        }
        let host = Platform::host();
        let goal = wanted.unwrap_or(&host);
        let mut fitting = Vec::new();
        let mut have = Vec::new();
        for candidate in &self.candidates {
            let platform = self.platform(candidate)?;
            // An image that says nothing about its platform is for whoever wants it.
            let distance = platform.as_ref().map_or(Some(u32::MAX), |platform| goal.distance(platform));
            have.push(platform.as_ref().map_or("an unnamed platform".to_owned(), Platform::to_string));
            if let Some(distance) = distance {
                fitting.push((distance, candidate, platform));
            }
        }
        let Some(best) = fitting.iter().map(|(distance, ..)| *distance).min() else {
            return Err(Error::NoPlatform { wanted: Box::new(goal.clone()), have: have.join(", ") });
        };
        fitting.retain(|(distance, ..)| *distance == best);
        let (_, first, platform) = &fitting[0];
        // Of one index the specification takes the first that fits; two images are a question.
        let others = fitting.iter().filter(|(_, other, _)| other.entry != first.entry);
        if others.count() > 0 {
            return Err(Error::Ambiguous(names(fitting.iter().map(|(_, one, _)| one.name.as_deref()))));
        }
        let (manifest, config) = self.open(first)?;
        Ok(Image {
            descriptor: first.descriptor.clone(),
            digest: first.descriptor.digest()?,
            name: first.name.clone(),
            platform: platform.clone().or_else(|| config.platform()).unwrap_or_else(|| goal.clone()),
            manifest,
            config,
        })
    }
}

fn names<'a>(all: impl Iterator<Item = Option<&'a str>>) -> String {
    let names: Vec<&str> = all.map(|name| name.unwrap_or("an image without a name")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
