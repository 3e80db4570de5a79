//! From a reference and a platform to one manifest: through indexes, nested indexes and Docker's
//! manifest lists, past attestations and artifacts.

use std::collections::{BTreeSet, HashSet};

use super::artifact;
use super::blob;
use super::choices::{choices, list};
use super::document::{self, Descriptor, Document, ImageConfig, Kind, Manifest};
use super::layout::Layout;
use super::limits::Limits;
use super::platform::{Distance, Platform};
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

/// A manifest that may be the image, and which of the entries led to it.
struct Candidate {
    descriptor: Descriptor,
    entry: usize,
}

struct Search<'a> {
    layout: &'a Layout,
    limits: &'a Limits,
    /// What `index.json` lists, or of it what was asked for.
    entries: Vec<Descriptor>,
    /// What has been visited. One manifest may be listed for several platforms.
    seen: HashSet<(String, Option<Platform>)>,
    nodes: usize,
    /// Why the first of those that could not be read could not be read.
    unread: Option<Error>,
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
    let mut search = Search::new(layout, limits);
    search.entries = starts(layout, wanted, limits)?;
    for (entry, descriptor) in search.entries.clone().into_iter().enumerate() {
        search.expand(descriptor, entry, 0)?;
    }
    let host = Platform::host();
    search.choose(wanted_platform.unwrap_or(&host))
}

/// The entries of `index.json` that the reference means.
fn starts(layout: &Layout, wanted: &Wanted, limits: &Limits) -> Result<Vec<Descriptor>, Error> {
    let all = &layout.index.manifests;
    match wanted {
        Wanted::Only => Ok(all.clone()),
        Wanted::Name(name) => {
            let some: Vec<_> =
                all.iter().filter(|descriptor| descriptor.ref_name() == Some(name)).cloned().collect();
            if some.is_empty() {
                return Err(Error::NoSuchName { name: name.clone(), have: choices(all.iter()) });
            }
            Ok(some)
        }
        Wanted::Digest(digest) => {
            let mut search = Search::new(layout, limits);
            let found = search.by_digest(digest, all, 0)?;
            match search.unread {
                Some(error) if found.is_empty() => Err(error),
                None if found.is_empty() => Err(Error::NoSuchDigest(digest.clone())),
                _ => Ok(found),
            }
        }
    }
}

impl<'a> Search<'a> {
    fn new(layout: &'a Layout, limits: &'a Limits) -> Self {
        Self {
            layout,
            limits,
            entries: Vec::new(),
            seen: HashSet::new(),
            nodes: 0,
            unread: None,
            candidates: Vec::new(),
            artifacts: Vec::new(),
        }
    }

    /// All that a list has under this digest, or an index in it. What cannot be read may be something else.
    fn by_digest(
        &mut self,
        digest: &Digest,
        list: &[Descriptor],
        depth: usize,
    ) -> Result<Vec<Descriptor>, Error> {
        let is_meant = |descriptor: &&Descriptor| descriptor.digest().is_ok_and(|own| own == *digest);
        let found: Vec<_> = list.iter().filter(is_meant).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        for descriptor in list {
            let may_be_index =
                matches!(document::kind_of(&descriptor.media_type), Kind::Index | Kind::Unsaid);
            if !may_be_index || !self.enter(descriptor, depth)? {
                continue;
            }
            match self.load(descriptor) {
                Ok(Document::Index(index)) => {
                    let found = self.by_digest(digest, &index.manifests, depth + 1)?;
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                Ok(Document::Manifest(_)) => {}
                Err(error) => {
                    self.unread.get_or_insert(error);
                }
            }
        }
        Ok(Vec::new())
    }

    /// Counts a visit; `false` where this has been visited.
    fn enter(&mut self, descriptor: &Descriptor, depth: usize) -> Result<bool, Error> {
        self.nodes += 1;
        if self.nodes > self.limits.index_nodes {
            return Err(Error::Limit("large"));
        }
        if depth > self.limits.index_depth {
            return Err(Error::Limit("deep"));
        }
        Ok(self.seen.insert((descriptor.digest_as_said().to_owned(), descriptor.platform())))
    }

    fn load(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let what = match document::kind_of(&descriptor.media_type) {
            Kind::Index => "index",
            Kind::Manifest | Kind::Unsaid | Kind::Other => "manifest",
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
    fn expand(&mut self, descriptor: Descriptor, entry: usize, depth: usize) -> Result<(), Error> {
        if !self.enter(&descriptor, depth)? {
            return Ok(());
        }
        if let Some(what) = artifact::from_descriptor(&descriptor) {
            self.artifacts.push(what);
            return Ok(());
        }
        let is_manifest = document::kind_of(&descriptor.media_type) == Kind::Manifest;
        if is_manifest && descriptor.platform().is_some() {
            self.candidates.push(Candidate { descriptor, entry });
            return Ok(());
        }
        let document = self.load(&descriptor)?;
        match (artifact::from_document(&document), document) {
            (Some(what), _) => self.artifacts.push(what),
            (None, Document::Manifest(_)) => self.candidates.push(Candidate { descriptor, entry }),
            (None, Document::Index(index)) => {
                for descriptor in index.manifests {
                    self.expand(descriptor, entry, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// What a candidate is that is no image, though its descriptor does not say so. What cannot be read is taken at its word.
    fn artifact(&self, candidate: &Candidate) -> Option<String> {
        match self.open(candidate) {
            Err(Error::Artifact(what)) => Some(what),
            _ => None,
        }
    }

    /// The platform that a candidate is for: as its descriptor says, else as its configuration.
    fn platform(&self, candidate: &Candidate) -> Result<Option<Platform>, Error> {
        match candidate.descriptor.platform() {
            Some(platform) => Ok(Some(platform)),
            None => Ok(self.open(candidate)?.1.platform()),
        }
    }

    fn open(&self, candidate: &Candidate) -> Result<(Manifest, ImageConfig), Error> {
        let document = self.load(&candidate.descriptor)?;
        let manifest = match (artifact::from_document(&document), document) {
            (Some(what), _) => return Err(Error::Artifact(what)),
            (None, Document::Manifest(manifest)) => manifest,
            (None, Document::Index(_)) => {
                return Err(Error::Artifact("an index that its descriptor calls a manifest".to_owned()));
            }
        };
        let what = "image configuration";
        let bytes = self.read(&manifest.config, what)?;
        let digest = manifest.config.digest()?;
        let config: ImageConfig =
            document::from_json(&bytes).map_err(|source| Error::Document { what, digest, source })?;
        let platform = candidate.descriptor.platform().or_else(|| config.platform());
        match platform.as_ref().and_then(artifact::from_platform) {
            Some(what) => Err(Error::Artifact(what)),
            None => Ok((*manifest, config)),
        }
    }

    /// The entries of `index.json` that lead to different images.
    fn leads(&self) -> Vec<&Descriptor> {
        let mut digests = HashSet::new();
        let new = self.candidates.iter().filter(|one| digests.insert(one.descriptor.digest_as_said()));
        let entries: BTreeSet<usize> = new.map(|candidate| candidate.entry).collect();
        entries.into_iter().map(|entry| &self.entries[entry]).collect()
    }

    /// Whether there are images of different names.
    fn is_question(&self) -> bool {
        self.leads().iter().map(|entry| entry.ref_name()).collect::<BTreeSet<_>>().len() > 1
    }

    fn drop_artifacts(&mut self) {
        for candidate in std::mem::take(&mut self.candidates) {
            match self.artifact(&candidate) {
                Some(what) => self.artifacts.push(what),
                None => self.candidates.push(candidate),
            }
        }
    }

    fn choose(mut self, goal: &Platform) -> Result<Image, Error> {
        if self.is_question() {
            self.drop_artifacts();
        }
        if self.is_question() {
            return Err(Error::Ambiguous(choices(self.leads().into_iter())));
        }
        let (mut fitting, mut others, mut artifacts) = (Vec::new(), Vec::new(), self.artifacts.clone());
        for candidate in &self.candidates {
            let platform = match self.platform(candidate) {
                Err(Error::Artifact(what)) => {
                    artifacts.push(what);
                    continue;
                }
                platform => platform?,
            };
            // An image that says nothing about its platform is for whoever wants it.
            match platform.as_ref().map_or(Some(Distance::FARTHEST), |platform| goal.distance(platform)) {
                Some(distance) => fitting.push((distance, candidate, platform)),
                None => others.extend(platform.map(|platform| platform.to_string())),
            }
        }
        // Stable: of one index the specification takes the first that fits.
        fitting.sort_by_key(|(distance, ..)| *distance);
        let mut fitting = fitting.into_iter();
        while let Some((distance, first, platform)) = fitting.next() {
            let opened = match self.open(first) {
                Err(Error::Artifact(what)) => {
                    artifacts.push(what);
                    continue;
                }
                opened => opened,
            };
            let rivals = fitting.take_while(|(other, ..)| *other == distance).map(|(_, other, _)| other);
            let rivals: Vec<_> = rivals.filter(|other| self.is_rival(other, first)).collect();
            if !rivals.is_empty() {
                let entries = std::iter::once(first).chain(rivals).map(|one| &self.entries[one.entry]);
                return Err(Error::Ambiguous(choices(entries)));
            }
            let (manifest, config) = opened?;
            return Ok(Image {
                descriptor: first.descriptor.clone(),
                digest: first.descriptor.digest()?,
                name: self.entries[first.entry].ref_name().map(str::to_owned),
                platform: platform.or_else(|| config.platform()).unwrap_or_else(|| goal.clone()),
                manifest,
                config,
            });
        }
        match artifacts.into_iter().next() {
            _ if !others.is_empty() => {
                Err(Error::NoPlatform { wanted: Box::new(goal.clone()), have: list(&others) })
            }
            artifact => Err(artifact.map_or(Error::Empty, Error::Artifact)),
        }
    }

    /// Whether this is another image than `first`, and no lesser choice: not of one entry with it, which has an order.
    fn is_rival(&self, other: &Candidate, first: &Candidate) -> bool {
        other.entry != first.entry
            && other.descriptor.digest_as_said() != first.descriptor.digest_as_said()
            && self.artifact(other).is_none()
    }
}
