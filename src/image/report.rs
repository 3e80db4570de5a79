//! What an unpacking did, for whoever asked for it.

use std::fmt;
use std::time::Duration;

use super::platform::Platform;
use crate::types::Digest;

/// A successful unpacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The image as it was asked for.
    pub image: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// For what it is.
    pub platform: Platform,
    /// How many layers it has.
    pub layers: usize,
    /// Bytes of the layers' blobs.
    pub compressed: u64,
    /// Bytes of the layers, uncompressed.
    pub uncompressed: u64,
    /// Tar entries of all layers.
    pub entries: u64,
    /// What was left out, and how often.
    pub notes: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, digest, platform, layers, entries, .. } = self;
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        writeln!(f, "unpacked {} ({})", harmless(image), harmless(&platform.to_string()))?;
        writeln!(f, "  manifest {digest}")?;
        writeln!(
            f,
            "  {layers} layer{}, {} compressed, {} unpacked, {entries} entr{} in {:.2} s",
            plural(*layers as u64),
            bytes(self.compressed),
            bytes(self.uncompressed),
            if *entries == 1 { "y" } else { "ies" },
            self.duration.as_secs_f64(),
        )?;
        self.notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

/// Words of an image as they are shown: they neither move the cursor nor turn the line around.
fn harmless(text: &str) -> String {
    text.trim().replace(|char: char| char.is_control() || is_format(char), " ")
}

/// [`harmless`], and not so many that they fill the screen.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 160;
    let text = harmless(text);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Characters without a shape of their own: direction of writing, ends of lines, tags, joiners.
fn is_format(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A size as people read it: `170.3 MB`.
pub(super) fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "bytes" { format!("{count} bytes") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::{Report, bytes, shown};
    use crate::image::{ImageRef, Platform};
    use crate::types::Digest;

    #[test]
    fn sizes_as_people_read_them() {
        for (count, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (170_340_000, "170.3 MB"),
            (3 << 40, "3.3 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn words_of_an_image_stay_on_their_line() {
        assert_eq!(shown(" a\u{1b}[2J\r\nb\u{9b}c\u{202e}d\u{2028}e "), "a [2J  b c d e");
        assert_eq!(shown(&"é".repeat(161)), format!("{}...", "é".repeat(160)));
    }

    #[test]
    fn a_report_says_what_was_done() {
        let report = Report {
            image: "/l:latest".parse::<ImageRef>().unwrap().to_string(),
            digest: Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
            platform: "linux/amd64".parse::<Platform>().unwrap(),
            layers: 1,
            compressed: 1_500,
            uncompressed: 3_000_000,
            entries: 7,
            notes: vec!["x (2 times)".into()],
            duration: std::time::Duration::from_millis(1234),
        };
        let expected = format!(
            "unpacked /l:latest (linux/amd64)\n  manifest sha256:{}\n  1 layer, 1.5 kB compressed, 3.0 MB unpacked, \
             7 entries in 1.23 s\n  note: x (2 times)\n",
            "0".repeat(64)
        );
        assert_eq!(report.to_string(), expected);
    }
}
