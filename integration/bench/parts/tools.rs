//! How each tool is told to unpack an image: keg and umoci verify it, the others only read its layers in order.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Result, target};

/// An image of the set, with the files of its layers.
#[derive(Debug)]
pub struct Image {
    pub name: &'static str,
    layout: PathBuf,
    layers: Vec<PathBuf>,
    /// The same layers, not compressed.
    tars: Vec<PathBuf>,
}

pub const IMAGES: [(&str, &str); 4] = [
    ("base", "one layer, a small Debian"),
    ("python", "eight layers of Python, 40,000 entries"),
    ("fat", "one fat layer"),
    ("zstd", "the eight layers, zstd"),
];

impl Image {
    pub fn load(images: &Path, name: &'static str) -> Result<Self> {
        let layout = images.join(name);
        let blob = |descriptor: &Value| -> Result<PathBuf> {
            let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
            Ok(layout.join("blobs/sha256").join(digest.ok_or("a descriptor without a digest")?))
        };
        let read = |path: PathBuf| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
        let index = read(layout.join("index.json"))?;
        let manifest = read(blob(&index["manifests"][0])?)?;
        let layers: Result<Vec<PathBuf>> =
            manifest["layers"].as_array().into_iter().flatten().map(blob).collect();
        let order =
            ["base", "interpreter", "science", "pictures", "engines", "collections", "small", "changes"];
        let names: &[&str] = match name {
            "base" => &["base"],
            "fat" => &["fat"],
            _ => &order,
        };
        let tars = names.iter().map(|name| images.join("tars").join(format!("{name}.tar"))).collect();
        Ok(Self { name, layout, layers: layers?, tars })
    }

    fn is_zstd(&self) -> bool {
        self.name == "zstd"
    }

    /// Compressed and not compressed, in bytes.
    pub fn sizes(&self) -> Result<(u64, u64)> {
        let size = |files: &[PathBuf]| -> Result<u64> {
            files.iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
        };
        Ok((size(&self.layers)?, size(&self.tars)?))
    }

    /// Reads everything once, so that no run is the first.
    pub fn warm(&self) -> Result<()> {
        for file in self.layers.iter().chain(&self.tars) {
            std::io::copy(&mut fs::File::open(file)?, &mut std::io::sink())?;
        }
        Ok(())
    }

    /// What is measured: a name, and the words of a command that leaves the tree below TARGET, which does not exist yet.
    pub fn tools(&self, place: &Path) -> Result<Vec<(&'static str, Vec<String>)>> {
        let image = format!("{}:latest", self.layout.display());
        let bundle = place.display().to_string();
        let keg = target().join("keg").display().to_string();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let mut tools = vec![
            ("keg", words(&[&keg, "unpack", "-q", "--image", &image, &bundle])),
            ("umoci", words(&["umoci", "unpack", "--image", &image, &bundle])),
            ("bsdtar", self.pipeline(&bundle, "bsdtar --numeric-owner -xpf {} -C", &self.layers)),
        ];
        if self.is_zstd() {
            tools.push((
                "zstd|tar",
                self.pipeline(&bundle, "zstd -dcq {} | tar --numeric-owner -xpf - -C", &self.layers),
            ));
        } else {
            tools.push((
                "pigz|tar",
                self.pipeline(&bundle, "pigz -dc {} | tar --numeric-owner -xpf - -C", &self.layers),
            ));
            tools.push((
                "igzip|tar",
                self.pipeline(&bundle, "igzip -dc {} | tar --numeric-owner -xpf - -C", &self.layers),
            ));
        }
        Ok(tools)
    }

    /// What no unpacking can be faster than.
    pub fn limits(&self, place: &Path) -> Result<Vec<(&'static str, Vec<String>)>> {
        let bundle = place.display().to_string();
        let own = std::env::current_exe()?.display().to_string();
        let limit = |what: &str, files: &[PathBuf]| {
            let files = files.iter().map(|file| file.display().to_string());
            [own.clone(), "limit".to_owned(), what.to_owned()].into_iter().chain(files).collect::<Vec<_>>()
        };
        let mut limits = match self.is_zstd() {
            true => {
                vec![("zstd -d alone", self.pipeline(&bundle, "zstd -dcq {} >/dev/null; :", &self.layers))]
            }
            false => vec![
                ("inflate alone, zlib-rs", limit("inflate", &self.layers)),
                ("inflate alone, igzip", self.pipeline(&bundle, "igzip -dc {} >/dev/null; :", &self.layers)),
            ],
        };
        limits.push(("sha256 alone", limit("sha256", &self.tars)));
        limits
            .push(("write alone, tar", self.pipeline(&bundle, "tar --numeric-owner -xpf {} -C", &self.tars)));
        Ok(limits)
    }

    /// A shell script that gives each file to the command in turn; `{}` is the file, and the directory comes last.
    fn pipeline(&self, bundle: &str, command: &str, files: &[PathBuf]) -> Vec<String> {
        let command = command.replace("{}", "\"$file\"");
        let script =
            format!("dir=$1; shift; mkdir -p \"$dir\"; for file; do {command} \"$dir\" || exit; done");
        let head = ["bash", "-o", "pipefail", "-c", &script, "bash", bundle].map(str::to_owned);
        head.into_iter().chain(files.iter().map(|file| file.display().to_string())).collect()
    }
}

/// Where `layouts.sh` has built them.
pub fn images() -> PathBuf {
    target().join("bench/images")
}
