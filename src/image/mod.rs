//! From an image on disk to a bundle: `layout` and `select` find the image, `blob` reads and
//! verifies, `layer` builds the root file system, `config` writes config.json, `staging` publishes
//! all of it at once or nothing.
//!
//! Everything here comes from somebody else and is trusted in nothing: see docs/ARCHITECTURE.md.

mod archive;
mod artifact;
mod base64;
mod blob;
mod choices;
mod config;
mod document;
mod error;
#[cfg(any(fuzzing, debug_assertions))]
pub mod fuzz;
mod hash;
mod inspect;
mod layer;
mod layout;
mod leftovers;
mod limits;
mod lists;
mod origin;
mod pipeline;
mod platform;
mod pool;
pub mod private;
mod progress;
mod reference;
mod remove;
mod repack;
mod report;
mod select;
mod staging;
mod watch;

pub use config::Changes;
pub use error::Error;
pub use inspect::{Inspection, inspect};
pub use limits::Limits;
pub use platform::{InvalidPlatform, Platform};
pub use progress::{LayerProgress, Progress};
pub use reference::{ImageRef, InvalidReference, Wanted};
pub use repack::{LayerCompression, RepackError, RepackOptions, Repacked, repack};
pub use report::Report;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use oci_spec::runtime::LinuxSeccomp;

use crate::sys::signals::Interrupts;
use crate::sys::{landlock, timing};
use crate::types::Digest;
use config::Runner;
use document::Descriptor;
use layer::{Owners, Tree};
use layout::Layout;
use origin::Origin;
use pipeline::Totals;
use select::Image;
use staging::Staging;

/// What to unpack and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Which image.
    pub image: ImageRef,
    /// Where the bundle shall stand. Nothing, or an empty directory, may be there.
    pub bundle: PathBuf,
    /// For which platform; the host's if not given.
    pub platform: Option<Platform>,
    /// How much the image may ask for.
    pub limits: Limits,
    /// Have everything on the disk before the bundle appears.
    pub sync: bool,
    /// What the container is to have otherwise than the image says.
    pub changes: Changes,
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

impl Chosen {
    fn progress(&self) -> Progress {
        Progress::new(self.layers.iter().map(|layer| (layer.digest.clone(), layer.descriptor.size)))
    }
}

/// Unpacks an image into a bundle, whose containers get the filter `seccomp`. On an error, and on a signal that asks to end, the bundle
/// does not exist, and nothing else has been left anywhere. `watch` is called ten times a second. The bundle's directory is given with the
/// report; it is locked (flock(2)) until that descriptor is closed.
pub fn unpack(
    options: &UnpackOptions,
    seccomp: Option<LinuxSeccomp>,
    watch: &mut dyn FnMut(&Progress),
) -> Result<(Report, OwnedFd), Error> {
    let start = Instant::now();
    let layout = Layout::open(&options.image.layout, options.limits.document_bytes)
        .map_err(|source| Error::Layout { path: options.image.layout.clone(), source })?;
    let image =
        select::select(&layout, &options.image.wanted, options.platform.as_ref(), &options.limits).map_err(
            |source| Error::Select { image: Box::new(options.image.clone()), source: Box::new(source) },
        )?;
    let layers = check(&layout, &image)?;
    timing::lap("read the layout");
    let chosen = Chosen { layout, image, layers };

    let no_bundle = |source| Error::Bundle { path: options.bundle.clone(), source };
    let progress = chosen.progress();
    let interrupts = Interrupts::hold().map_err(Error::Watch)?;
    let staging = Staging::begin(&options.bundle).map_err(no_bundle)?;
    let work = || fill(&staging, &chosen, options, seccomp, &progress);
    timing::lap("make a private directory");
    let done = watch::supervise(&progress, &interrupts, watch, work);
    timing::lap("wait for the threads");
    let (totals, notes) = match done {
        Ok(done) => done,
        Err(error) => {
            return match staging.discard() {
                Ok(()) => Err(error),
                Err(left) => Err(Error::LeftBehind { left, source: Box::new(error) }),
            };
        }
    };
    let bundle = staging.publish(options.sync).map_err(no_bundle)?;
    timing::lap("publish the bundle");
    let Chosen { image, layers, .. } = chosen;
    let report = Report {
        image: name(&options.image, &image),
        digest: image.digest,
        platform: image.platform,
        layers: layers.len(),
        compressed: layers.iter().map(|layer| layer.descriptor.size).sum(),
        uncompressed: totals.bytes,
        entries: totals.entries,
        notes,
        duration: start.elapsed(),
    };
    Ok((report, bundle))
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
        layout.find(descriptor).map_err(|error| failed(elsewhere(descriptor, error)))?;
        layers.push(Layer { descriptor: descriptor.clone(), digest, diff_id });
    }
    Ok(layers)
}

/// A foreign layer need not be in the layout.
fn elsewhere(descriptor: &Descriptor, error: blob::Error) -> layer::Error {
    match (error, descriptor.urls.as_slice()) {
        (blob::Error::Missing, [_, ..]) => layer::Error::Foreign(descriptor.urls.join(" or ")),
        (error, _) => error.into(),
    }
}

/// Everything that happens in the private directory.
fn fill(
    staging: &Staging,
    chosen: &Chosen,
    options: &UnpackOptions,
    seccomp: Option<LinuxSeccomp>,
    progress: &Progress,
) -> Result<(Totals, Vec<String>), Error> {
    timing::thread("write");
    let (root, totals, notes) = root_of(staging, chosen, &options.limits, progress)?;
    timing::lap("times of directories");
    let text =
        config::convert(&chosen.image.config, &root, Runner::this_process(), seccomp, &options.changes)
            .map_err(Error::Convert)?;
    staging.write("config.json", &text).map_err(Error::Write)?;
    let origin = Origin::now(&options.image.layout, &chosen.image.descriptor);
    staging.write(origin::FILE, origin.text().as_bytes()).map_err(Error::Write)?;
    timing::lap("write config.json");
    Ok((totals, notes))
}

/// The root file system, and what was left out of it. From here on this thread reaches nothing but the private directory and the layout.
fn root_of(
    staging: &Staging,
    chosen: &Chosen,
    limits: &Limits,
    progress: &Progress,
) -> Result<(OwnedFd, Totals, Vec<String>), Error> {
    let root = staging.rootfs().map_err(Error::Write)?;
    let owners = Owners::of_this_process();
    let layout = chosen.layout.directory();
    landlock::confine(staging.directory.as_fd(), layout.as_slice()).map_err(Error::Confine)?;
    let own = crate::sys::fd::duplicate(&root).map_err(Error::Write)?;
    let mut tree = Tree::new(own, limits, owners);
    let totals = pipeline::apply(&mut tree, chosen, limits, progress)?;
    let notes = tree.notes.iter().map(|(note, times)| format!("{note} ({times} times)"));
    Ok((root, totals, notes.collect()))
}
