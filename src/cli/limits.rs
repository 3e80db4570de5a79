//! The flags that move the limits of [`Limits`]: of everything that unpacks, and those of them that matter where documents alone are read.

use crate::image::Limits;

/// How much of an image's documents is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct DocumentLimits {
    /// The most bytes of an index, manifest or configuration [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_document_size: Option<u64>,
    /// The most indexes within each other [default: 4]
    #[arg(long, value_name = "N")]
    max_index_depth: Option<usize>,
}

impl DocumentLimits {
    /// The usual limits, but for these.
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            document_bytes: self.max_document_size.unwrap_or(usual.document_bytes),
            index_depth: self.max_index_depth.unwrap_or(usual.index_depth),
            ..usual
        }
    }
}

/// How much an image may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct LimitFlags {
    /// The most uncompressed bytes of a layer [default: 64G]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_layer_size: Option<u64>,
    /// The most uncompressed bytes of all layers [default: 128G]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_image_size: Option<u64>,
    /// The most entries of all layers [default: 3500000]
    #[arg(long, value_name = "N")]
    max_entries: Option<u64>,
    /// The most directories above an entry [default: 256]
    #[arg(long, value_name = "N")]
    max_depth: Option<usize>,
    /// The most uncompressed bytes for each compressed one, once a layer has 64M [default: 4000]
    #[arg(long, value_name = "N")]
    max_ratio: Option<u64>,
    /// The most memory that a zstd layer may ask for [default: 128M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_window: Option<u64>,
    /// The most bytes of an entry's extended header [default: 1M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_header_size: Option<u64>,
    /// The most memory for names and attributes of directories [default: 40M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_directory_memory: Option<u64>,
    #[command(flatten)]
    documents: DocumentLimits,
}

impl LimitFlags {
    /// The usual limits, but for these.
    pub fn limits(&self) -> Limits {
        let usual = self.documents.limits();
        Limits {
            layer_bytes: self.max_layer_size.unwrap_or(usual.layer_bytes),
            image_bytes: self.max_image_size.unwrap_or(usual.image_bytes),
            entries: self.max_entries.unwrap_or(usual.entries),
            depth: self.max_depth.unwrap_or(usual.depth),
            ratio: self.max_ratio.unwrap_or(usual.ratio),
            window: self.max_window.unwrap_or(usual.window),
            header_bytes: self.max_header_size.unwrap_or(usual.header_bytes),
            directory_bytes: self.max_directory_memory.unwrap_or(usual.directory_bytes),
            ..usual
        }
    }
}

/// A number of bytes: `4096`, `64M`, `2GiB`. The units are powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "k" | "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err("no size: a number, and k, M, G or T".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "no size: a number, and k, M, G or T".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("1k", 1024), ("64MiB", 64 << 20), ("2GB", 2 << 30), ("1T", 1 << 40)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "G", "-1", "1.5G", "1x", "99999999T", "0x10"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
