//! From an image on disk to a bundle: `layout` and `select` find the image, `blob` reads and
//! verifies, `layer` builds the root file system, `config` writes config.json, `staging` publishes
//! all of it at once or nothing.
//!
//! Everything here comes from somebody else and is trusted in nothing: see docs/ARCHITECTURE.md.

mod archive;
mod artifact;
mod base64;
mod blob;
mod config;
mod document;
mod error;
mod layer;
mod layout;
mod limits;
mod platform;
mod reference;
mod remove;
mod report;
mod select;
mod staging;

pub use error::Error;
pub use limits::Limits;
pub use platform::{InvalidPlatform, Platform};
pub use reference::{ImageRef, InvalidReference, Wanted};
pub use report::Report;

use std::path::PathBuf;
use std::time::Instant;

use oci_spec::runtime::LinuxSeccomp;

use crate::types::Digest;
use config::Runner;
use document::Descriptor;
use layer::{Owners, Totals, Tree};
use layout::Layout;
use select::Image;
use staging::Staging;

/// What to unpack and where.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Which image.
    pub image: ImageRef,
    /// Where the bundle shall stand. Nothing, or an empty directory, may be there.
    pub bundle: PathBuf,
    /// For which platform; the host's if not given.
    pub platform: Option<Platform>,
    /// How much the image may ask for.
    pub limits: Limits,
}

/// A layer whose descriptor and `diff_id` have been looked at.
struct Layer {
    descriptor: Descriptor,
    digest: Digest,
    diff_id: Digest,
}

/// What will be unpacked.
struct Chosen {
    layout: Layout,
    image: Image,
    layers: Vec<Layer>,
}

/// Unpacks an image into a bundle, whose containers get the filter `seccomp`. On an error the bundle does not exist, and nothing else has
/// been left anywhere.
pub fn unpack(options: &UnpackOptions, seccomp: Option<LinuxSeccomp>) -> Result<Report, Error> {
    let start = Instant::now();
    let layout = Layout::open(&options.image.layout, options.limits.document_bytes)
        .map_err(|source| Error::Layout { path: options.image.layout.clone(), source })?;
    let image =
        select::select(&layout, &options.image.wanted, options.platform.as_ref(), &options.limits).map_err(
            |source| Error::Select { image: Box::new(options.image.clone()), source: Box::new(source) },
        )?;
    let layers = check(&layout, &image)?;
    let chosen = Chosen { layout, image, layers };

    let staging = Staging::begin(&options.bundle)
        .map_err(|source| Error::Bundle { path: options.bundle.clone(), source })?;
    let (totals, notes) = match fill(&staging, &chosen, &options.limits, seccomp) {
        Ok(done) => done,
        Err(error) => {
            return match staging.discard() {
                Ok(()) => Err(error),
                Err(left) => Err(Error::LeftBehind { left, source: Box::new(error) }),
            };
        }
    };
    staging.publish().map_err(|source| Error::Bundle { path: options.bundle.clone(), source })?;
    let Chosen { image, layers, .. } = chosen;
    Ok(Report {
        image: name(&options.image, &image),
        digest: image.digest,
        platform: image.platform,
        layers: layers.len(),
        compressed: layers.iter().map(|layer| layer.descriptor.size).sum(),
        uncompressed: totals.bytes,
        entries: totals.entries,
        notes,
        duration: start.elapsed(),
    })
}

/// The image as it was asked for, with the name it has where none was given.
fn name(asked: &ImageRef, image: &Image) -> String {
    match (&asked.wanted, &image.name) {
        (Wanted::Only, Some(name)) => format!("{asked}:{name}"),
        _ => asked.to_string(),
    }
}

/// Looks at everything that can be known before a byte is unpacked.
fn check(layout: &Layout, image: &Image) -> Result<Vec<Layer>, Error> {
    let rootfs = &image.config.rootfs;
    if image.platform.os != "linux" {
        return Err(Error::System(Box::new(image.platform.clone())));
    }
    if !matches!(rootfs.kind.as_str(), "layers" | "") {
        return Err(Error::RootFs(rootfs.kind.clone()));
    }
    let count = image.manifest.layers.len();
    if count != rootfs.diff_ids.len() {
        return Err(Error::Count { layers: count, diff_ids: rootfs.diff_ids.len() });
    }
    let mut layers = Vec::new();
    for (at, (descriptor, diff_id)) in image.manifest.layers.iter().zip(&rootfs.diff_ids).enumerate() {
        let number = at + 1;
        let no_digest = |source| Error::Digest { number, count, source };
        let digest = descriptor.digest().map_err(no_digest)?;
        let diff_id = Digest::parse(diff_id).map_err(no_digest)?;
        let failed =
            |source| Error::Layer { number, count, digest: digest.clone(), source: Box::new(source) };
        if !layer::is_layer(&descriptor.media_type) {
            return Err(failed(layer::Error::MediaType(descriptor.media_type.clone())));
        }
        layout.find(descriptor).map_err(|error| failed(error.into()))?;
        layers.push(Layer { descriptor: descriptor.clone(), digest, diff_id });
    }
    Ok(layers)
}

/// Everything that happens in the private directory.
fn fill(
    staging: &Staging,
    chosen: &Chosen,
    limits: &Limits,
    seccomp: Option<LinuxSeccomp>,
) -> Result<(Totals, Vec<String>), Error> {
    let root = staging.rootfs().map_err(Error::Write)?;
    let mut tree = Tree::new(
        crate::sys::fd::duplicate(&root).map_err(Error::Write)?,
        limits.depth,
        Owners::of_this_process(),
    );
    let totals = apply_layers(&mut tree, chosen, limits)?;
    let text = config::convert(&chosen.image.config, &root, Runner::this_process(), seccomp)
        .map_err(Error::Convert)?;
    staging.write("config.json", &text).map_err(Error::Write)?;
    Ok((totals, tree.notes.iter().map(|(note, times)| format!("{note} ({times} times)")).collect()))
}

fn apply_layers(tree: &mut Tree, chosen: &Chosen, limits: &Limits) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    let count = chosen.layers.len();
    for (at, one) in chosen.layers.iter().enumerate() {
        let failed = |source| Error::Layer {
            number: at + 1,
            count,
            digest: one.digest.clone(),
            source: Box::new(source),
        };
        tree.next_layer(at > 0);
        let blob = chosen.layout.blob(&one.descriptor).map_err(|error| failed(error.into()))?;
        layer::apply(tree, blob, one.diff_id.clone(), limits, &mut totals).map_err(failed)?;
    }
    layer::finish(tree).map_err(|error| Error::Attributes(Box::new(error)))?;
    Ok(totals)
}
