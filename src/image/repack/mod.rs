//! From a bundle back to an image: what has changed since it was unpacked becomes one more layer ([`compare`], [`layer`], [`tar`]), with a
//! new configuration and manifest, in the same layout or another ([`store`]).
//!
//! The image is unpacked once more, beside, and the two trees are compared: nothing had to be noted down while it was unpacked first, and
//! nothing that was noted down can be wrong.

mod compare;
mod frames;
mod layer;
mod store;
mod tar;

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use serde_json::{Value, json};

use super::document::{self, Descriptor, Document, ImageConfig};
use super::layout::Layout;
use super::limits::Limits;
use super::origin::{self, Origin};
use super::platform::Platform;
use super::progress::Progress;
use super::report::bytes;
use super::select::Image;
use super::staging::Staging;
use super::{Chosen, Error, blob, watch};
use crate::sys::fd::{self, Resolve};
use crate::sys::signals::Interrupts;
use crate::sys::{self, Errno};
use crate::types::{Digest, Timestamp};
use compare::Compare;
use layer::{Layer, Written};

pub use layer::LayerCompression;
use store::Store;

/// What to make of which bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepackOptions {
    /// The bundle.
    pub bundle: PathBuf,
    /// The layout to write to, which may be new.
    pub layout: PathBuf,
    /// The names of the new image there; at least one.
    pub tags: Vec<String>,
    /// Who made it.
    pub author: Option<String>,
    /// When it was made (RFC 3339).
    pub created: Option<String>,
    /// What made it.
    pub created_by: Option<String>,
    /// What there is to say about it.
    pub comment: Option<String>,
    /// How the new layer is compressed.
    pub compression: LayerCompression,
    /// `SOURCE_DATE_EPOCH`: when it was made if nothing else is said, and no file of the layer is later.
    pub epoch: Option<i64>,
    /// How much the image may ask for.
    pub limits: Limits,
    /// Have everything on the disk before the names are given.
    pub sync: bool,
}

/// A bundle that was not made into an image.
#[derive(Debug, thiserror::Error)]
pub enum RepackError {
    /// The bundle does not say where it is from.
    #[error("read {}", .path.display())]
    Origin {
        /// The file that should say so.
        path: PathBuf,
        /// Why it does not.
        source: sys::Error,
    },
    /// A document is none.
    #[error("read {what}")]
    Json {
        /// Which.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A document has not the form that it should have.
    #[error("{0} has not the form that it should have")]
    Shape(&'static str),
    /// The image cannot be unpacked for comparison.
    #[error("unpack the image that the bundle was made of")]
    Base(#[source] Box<Error>),
    /// A blob of it is not there or not what it should be.
    #[error("read blob {}", .digest.as_ref().map_or_else(String::new, Digest::to_string))]
    Blob {
        /// Which.
        digest: Option<Digest>,
        /// Why.
        source: blob::Error,
    },
    /// The trees cannot be compared.
    #[error("compare the bundle with its image")]
    Compare(#[source] sys::Error),
    /// A file cannot be put into the layer.
    #[error("write {path:?} to the layer")]
    Entry {
        /// Which.
        path: String,
        /// Why.
        source: layer::Plain,
    },
    /// The layout cannot be written to.
    #[error("write image layout {path:?}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: sys::Error,
    },
    /// It is an archive.
    #[error("write image layout {0:?}: an archive cannot be changed, only a directory")]
    Archive(PathBuf),
    /// There is no media type for it.
    #[error("an image of Docker's media types has no layers of zstd: compress with gzip")]
    DockerZstd,
    /// Somebody asked to end.
    #[error("stopped")]
    Stopped,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repacked {
    /// The layout and the names in it.
    pub image: String,
    /// The manifest.
    pub digest: Digest,
    /// The new layer: names that it deletes, names that it has, bytes of its blob. None where nothing has changed.
    pub layer: Option<(usize, usize, u64)>,
    /// What was left out.
    pub notes: BTreeSet<String>,
}

impl fmt::Display for Repacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "repacked {}", self.image)?;
        writeln!(f, "  manifest {}", self.digest)?;
        match self.layer {
            None => writeln!(f, "  nothing has changed, no layer was added")?,
            Some((deleted, there, size)) => {
                writeln!(
                    f,
                    "  1 layer added, {there} entries, {deleted} deleted, {} compressed",
                    bytes(size)
                )?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

/// Makes an image of a bundle. On an error no name has changed, and what was added to the layout nobody refers to.
pub fn repack(options: &RepackOptions, watch: &mut dyn FnMut(&Progress)) -> Result<Repacked, Error> {
    let directory = fd::open_dir(&options.bundle)
        .map_err(|source| RepackError::Origin { path: options.bundle.clone(), source })?;
    let origin = read_origin(options, &directory)?;
    let base = base(&origin, &options.limits)?;
    if is_docker(&base) && options.compression == LayerCompression::Zstd {
        return Err(RepackError::DockerZstd.into());
    }
    let progress = base.progress();
    let interrupts = Interrupts::hold().map_err(Error::Watch)?;
    let beside = options.bundle.join("base");
    let began = Origin::now(&options.layout, &base.image.descriptor).time().seconds;
    let staging = Staging::begin(&beside).map_err(|source| Error::Bundle { path: beside, source })?;
    let unpack = || super::root_of(&staging, &base, &options.limits, &progress).map(|(root, ..)| root);
    let unpacked = watch::supervise(&progress, &interrupts, watch, unpack);
    let old = unpacked.map_err(|error| match error {
        Error::Interrupted(_) => error,
        error => RepackError::Base(Box::new(error)).into(),
    })?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let new = fd::open(&directory, Path::new("rootfs"), Resolve::BeneathMounts, flags, 0);
    let new = new.map_err(RepackError::Compare)?;
    let progress = Progress::new([]);
    let work = || {
        let (done, next) = make(options, &origin, &base, &old, &new, began, &progress)?;
        let text = next.text();
        store::place(&directory, origin::FILE, text.as_bytes(), options.sync)
            .map_err(RepackError::Compare)?;
        Ok(done)
    };
    let done = watch::supervise(&progress, &interrupts, &mut |_| {}, work);
    let removed = staging.discard();
    let done = done?;
    removed.map_err(Error::Write)?;
    Ok(done)
}

fn read_origin(options: &RepackOptions, directory: &OwnedFd) -> Result<Origin, RepackError> {
    let path = options.bundle.join(origin::FILE);
    let text = fd::read_file(directory, Path::new(origin::FILE), 8 << 20)
        .map_err(|source| RepackError::Origin { path, source })?;
    serde_json::from_slice(&text).map_err(|source| RepackError::Json { what: origin::FILE, source })
}

/// The image that the bundle was made of, by its digest alone: its name may be another image's by now.
fn base(origin: &Origin, limits: &Limits) -> Result<Chosen, Error> {
    let path = origin.layout.clone();
    let layout =
        Layout::open(&path, limits.document_bytes).map_err(|source| Error::Layout { path, source })?;
    let descriptor = origin.descriptor().map_err(|error| blob_error(None, error.into()))?;
    let digest = descriptor.digest().map_err(|error| blob_error(None, error.into()))?;
    let read = |descriptor: &Descriptor| {
        layout.document(descriptor).map_err(|source| blob_error(descriptor.digest().ok(), source))
    };
    let broken = |_| RepackError::Shape("the image's manifest or configuration");
    let Document::Manifest(manifest) =
        document::parse(&read(&descriptor)?, &descriptor.media_type).map_err(broken)?
    else {
        return Err(RepackError::Shape("the image's manifest").into());
    };
    let config: ImageConfig = document::from_json(&read(&manifest.config)?).map_err(broken)?;
    let platform = config.platform().unwrap_or_else(Platform::host);
    let image = Image { descriptor, digest, name: None, platform, manifest: *manifest, config };
    let layers = super::check(&layout, &image)?;
    Ok(Chosen { layout, image, layers })
}

fn blob_error(digest: Option<Digest>, source: blob::Error) -> RepackError {
    RepackError::Blob { digest, source }
}

/// Compares, and writes what there is to write. Gives also what the bundle is from now on.
fn make(
    options: &RepackOptions,
    origin: &Origin,
    base: &Chosen,
    old: &OwnedFd,
    new: &OwnedFd,
    began: i64,
    progress: &Progress,
) -> Result<(Repacked, Origin), RepackError> {
    let stopped = |error: sys::Error| match error.errno {
        Errno::EINTR if progress.is_stopped() => RepackError::Stopped,
        _ => RepackError::Compare(error),
    };
    // What changes from here on is for the next time.
    let seen = Origin::now(&options.layout, &base.image.descriptor);
    let (unpacked, latest, depth) = (origin.time(), origin.latest, options.limits.depth);
    let compare = Compare { old, new, unpacked, latest, began, depth, progress };
    let changes = compare.run().map_err(stopped)?;
    let image = &base.image;
    let store = Store::open(&options.layout, progress)?;
    let mut blobs = image.manifest.layers.clone();
    let manifest = if changes.paths.is_empty() {
        blobs.extend([image.manifest.config.clone(), image.descriptor.clone()]);
        store.take(&base.layout, &blobs, progress)?;
        (image.descriptor.clone(), None)
    } else {
        store.take(&base.layout, &blobs, progress)?;
        let layer = Layer::new(store.blob()?, options.compression, new, options.epoch, progress);
        let written = layer.write_changes(&changes)?;
        let deleted = changes.paths.values().filter(|change| **change == compare::Change::Deleted).count();
        let counts = (deleted, changes.paths.len() - deleted, written.size);
        (documents(options, base, &store, &written)?, Some(counts))
    };
    let (descriptor, layer) = manifest;
    let known = &image.config;
    let mut platform = Value::Null;
    if !known.os.is_empty() && !known.architecture.is_empty() {
        platform = json!({"os": known.os, "architecture": known.architecture});
        if let Some(variant) = known.variant.as_ref().filter(|variant| !variant.is_empty()) {
            platform["variant"] = json!(variant);
        }
    }
    if progress.is_stopped() {
        return Err(RepackError::Stopped);
    }
    store.tag(&descriptor, &platform, &options.tags, options.sync, progress)?;
    let digest = descriptor.digest().map_err(|error| blob_error(None, error.into()))?;
    let latest = if layer.is_some() { options.epoch.or(origin.latest) } else { origin.latest };
    let next = seen.of(&descriptor, latest);
    let image = format!("{}:{}", options.layout.display(), options.tags.join(", "));
    Ok((Repacked { image, digest, layer, notes: changes.notes }, next))
}

/// The new configuration and the new manifest: the old ones, fields keg does not know included, and one layer more.
fn documents(
    options: &RepackOptions,
    base: &Chosen,
    store: &Store,
    layer: &Written,
) -> Result<Descriptor, RepackError> {
    let read = |descriptor: &Descriptor, what| {
        let bytes = base.layout.document(descriptor);
        let bytes = bytes.map_err(|source| blob_error(descriptor.digest().ok(), source))?;
        serde_json::from_slice::<Value>(&bytes).map_err(|source| RepackError::Json { what, source })
    };
    let image = &base.image;
    let created = options.created.clone().unwrap_or_else(|| created(options.epoch));
    let mut step =
        json!({"created": created, "created_by": options.created_by.as_deref().unwrap_or("keg repack")});
    let mut config = read(&image.manifest.config, "the image configuration")?;
    config["created"] = json!(created);
    if let Some(author) = &options.author {
        (config["author"], step["author"]) = (json!(author), json!(author));
    }
    if let Some(comment) = &options.comment {
        step["comment"] = json!(comment);
    }
    push(&mut config["rootfs"]["diff_ids"], json!(layer.diff_id.to_string()))?;
    let steps = image.config.history.iter().filter(|step| !step.empty_layer).count();
    for _ in steps..image.manifest.layers.len() {
        push(&mut config["history"], json!({"comment": "nothing is known about this layer"}))?;
    }
    push(&mut config["history"], step)?;
    let config = store.document(&image.manifest.config.media_type, &config)?;

    let media_type = match (is_docker(base), options.compression) {
        (true, _) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        (false, LayerCompression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
        (false, LayerCompression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    let mut manifest = read(&image.descriptor, "the image manifest")?;
    let config_digest = config.digest().map_err(|error| blob_error(None, error.into()))?;
    manifest["config"]["digest"] = json!(config_digest.to_string());
    manifest["config"]["size"] = json!(config.size);
    if let Some(fields) = manifest["config"].as_object_mut() {
        fields.remove("data");
    }
    let layer = json!({"mediaType": media_type, "digest": layer.digest.to_string(), "size": layer.size});
    push(&mut manifest["layers"], layer)?;
    let media_type = match image.descriptor.media_type.as_str() {
        "" => "application/vnd.oci.image.manifest.v1+json",
        said => said,
    };
    store.document(media_type, &manifest)
}

fn is_docker(base: &Chosen) -> bool {
    base.image.manifest.config.media_type.starts_with("application/vnd.docker.")
}

fn push(list: &mut Value, item: Value) -> Result<(), RepackError> {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().map(|list| list.push(item)).ok_or(RepackError::Shape("the image's configuration"))
}

/// Now, or the moment that every making of this image is to have.
fn created(epoch: Option<i64>) -> String {
    let fixed = epoch.map(|epoch| UNIX_EPOCH + Duration::from_secs(u64::try_from(epoch).unwrap_or(0)));
    Timestamp::from(fixed.unwrap_or_else(SystemTime::now)).whole_seconds().to_string()
}
