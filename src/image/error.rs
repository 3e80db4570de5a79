//! Why an image was not unpacked. Printed as a chain, each error names the step and the cause.

use std::path::PathBuf;

use super::platform::Platform;
use super::reference::ImageRef;
use super::repack::RepackError;
use super::{config, layer, layout, select, staging};
use crate::sys;
use crate::types::{Digest, InvalidDigest, Signal};

/// An image that was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layout cannot be read.
    #[error("open image layout {path:?}")]
    Layout {
        /// Where.
        path: PathBuf,
        /// Why.
        source: layout::Error,
    },
    /// No image was chosen.
    #[error("choose image {image}")]
    Select {
        /// What was asked for.
        image: Box<ImageRef>,
        /// Why.
        source: Box<select::Error>,
    },
    /// The image is for an operating system that keg is not for.
    #[error("check the image: it is for {0}, keg runs linux")]
    System(Box<Platform>),
    /// The configuration has another kind of root file system.
    #[error("check the image configuration: rootfs is of type {0:?}, not layers")]
    RootFs(String),
    /// Manifest and configuration disagree.
    #[error("check the image configuration: {diff_ids} diff_ids for {layers} layers")]
    Count {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// A layer is damaged or refused.
    #[error("layer {number} of {count}, {digest}")]
    Layer {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Its blob.
        digest: Digest,
        /// Why.
        source: Box<layer::Error>,
    },
    /// A descriptor or `diff_id` of a layer is no digest.
    #[error("check layer {number} of {count}")]
    Digest {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// Why.
        source: InvalidDigest,
    },
    /// The last step of the root file system.
    #[error("finish the root file system")]
    Attributes(#[source] Box<layer::Error>),
    /// config.json.
    #[error("convert the image configuration")]
    Convert(#[source] config::Error),
    /// A file of the bundle.
    #[error("write the bundle")]
    Write(#[source] sys::Error),
    /// The bundle cannot be at its place.
    #[error("make bundle {path:?}")]
    Bundle {
        /// Where.
        path: PathBuf,
        /// Why.
        source: staging::Error,
    },
    /// A signal asked to end.
    #[error("interrupted by a signal ({0})")]
    Interrupted(Signal),
    /// A bundle was not made into an image.
    #[error(transparent)]
    Repack(#[from] RepackError),
    /// The kernel has Landlock and does not confine us.
    #[error("confine the unpacking")]
    Confine(#[source] sys::Error),
    /// The kernel refused what waiting for the work needs.
    #[error("watch over the work")]
    Watch(#[source] sys::Error),
    /// After another error, not everything could be removed.
    #[error("something was left behind ({left}) after an error")]
    LeftBehind {
        /// What could not be removed.
        left: sys::Error,
        /// The first error.
        source: Box<Error>,
    },
}
