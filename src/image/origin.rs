//! What a bundle was made of, in a file of the bundle beside config.json: without it nobody could say later what has changed.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::document::Descriptor;
use crate::sys::times::Time;
use crate::types::{Digest, InvalidDigest};

/// The file's name.
pub const FILE: &str = "keg.json";

/// The image that a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The layout it came from, absolute.
    pub layout: PathBuf,
    media_type: String,
    manifest: String,
    size: u64,
    /// The manifest itself, in base 64, where the index of the layout carried it: it may be nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    unpacked_seconds: i64,
    unpacked_nanoseconds: u32,
    /// The latest time that files of the image have, where such a limit was set when it was made from this bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<i64>,
}

impl Origin {
    /// The bundle holds this image as of now.
    pub fn now(layout: &Path, manifest: &Descriptor) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            layout: std::path::absolute(layout).unwrap_or_else(|_| layout.to_owned()),
            media_type: manifest.media_type.clone(),
            manifest: manifest.digest().map_or_else(|error| error.0, |digest| digest.to_string()),
            size: manifest.size,
            data: manifest.data.clone(),
            unpacked_seconds: since.as_secs().cast_signed(),
            unpacked_nanoseconds: since.subsec_nanos(),
            latest: None,
        }
    }

    /// The same moment, of another image of the same layout, none of whose files is later than `latest`.
    #[must_use]
    pub fn of(self, manifest: &Descriptor, latest: Option<i64>) -> Self {
        let digest = manifest.digest().map_or_else(|error| error.0, |digest| digest.to_string());
        Self {
            media_type: manifest.media_type.clone(),
            manifest: digest,
            size: manifest.size,
            data: manifest.data.clone(),
            latest,
            ..self
        }
    }

    /// The manifest of the image.
    pub fn descriptor(&self) -> Result<Descriptor, InvalidDigest> {
        let mut descriptor = Descriptor::new(&self.media_type, &Digest::parse(&self.manifest)?, self.size);
        descriptor.data.clone_from(&self.data);
        Ok(descriptor)
    }

    /// When the bundle held that image and nothing else.
    pub fn time(&self) -> Time {
        Time { seconds: self.unpacked_seconds, nanoseconds: self.unpacked_nanoseconds }
    }

    /// The file's content.
    pub fn text(&self) -> String {
        // A layout whose path is no text cannot be written down; it cannot be found again then.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
