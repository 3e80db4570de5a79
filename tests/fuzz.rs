//! The targets of fuzz/ as `make fuzz` has them, but without libFuzzer: they go on compiling, and hold for documents that are right, for
//! the same with damage, and for noise. What they open of keg is in builds with assertions alone.

#![cfg(debug_assertions)]
#![allow(clippy::unwrap_used, unused_attributes)]
#![allow(clippy::duplicate_mod, reason = "each target is a program of its own, and some share a file")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The targets look for their macro in this crate.
extern crate self as libfuzzer_sys;

/// Makes a function of what libFuzzer would call.
macro_rules! function {
    (|$bytes:ident: &[u8]| $body:block) => {
        pub fn target($bytes: &[u8]) {
            $body
        }
    };
    (|$text:ident: &str| $body:block) => {
        pub fn target(bytes: &[u8]) {
            if let Ok($text) = std::str::from_utf8(bytes) {
                $body
            }
        }
    };
}

pub(crate) use function as fuzz_target;

#[path = "../fuzz/fuzz_targets/config.rs"]
mod config;
#[path = "../fuzz/fuzz_targets/image_config.rs"]
mod image_config;
#[path = "../fuzz/fuzz_targets/image_index.rs"]
mod image_index;
#[path = "../fuzz/fuzz_targets/image_layer.rs"]
mod image_layer;
#[path = "../fuzz/fuzz_targets/image_manifest.rs"]
mod image_manifest;
#[path = "../fuzz/fuzz_targets/image_pax.rs"]
mod image_pax;
#[path = "../fuzz/fuzz_targets/image_runtime_config.rs"]
mod image_runtime_config;
#[path = "../fuzz/fuzz_targets/image_tar.rs"]
mod image_tar;
#[path = "../fuzz/fuzz_targets/mount_options.rs"]
mod mount_options;
#[path = "../fuzz/fuzz_targets/seccomp.rs"]
mod seccomp;

/// A target, and something that means something to it.
type Target = (&'static str, fn(&[u8]), Vec<u8>);

const IMAGE: &str = r#"{"architecture":"amd64","os":"linux","config":{"User":"app","Env":["A=b"],"Cmd":["c"],"WorkingDir":"w",
    "Volumes":{"/etc":{}},"ExposedPorts":{"80/tcp":{}},"Labels":{"l":"v"}},"rootfs":{"type":"layers","diff_ids":[]},
    "history":[{"created_by":"x","empty_layer":true}]}"#;
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":
    "application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "size":0,"data":""},"layers":[],"annotations":{"a":"b"}}"#;
const INDEX: &str = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,
    "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","platform":{"os":"linux",
    "architecture":"amd64","variant":"v2"},"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}"#;

fn targets() -> [Target; 10] {
    let read = |name: &str| fs::read(Path::new("tests/data").join(name)).unwrap();
    let loaded: serde_json::Value = serde_json::from_slice(&read("docker.json")).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    tar.append_data(&mut header, "d/".to_owned() + &"long".repeat(60), &b"hello"[..]).unwrap();
    [
        ("config", config::target, read("podman.json")),
        ("image_config", image_config::target, IMAGE.into()),
        ("image_index", image_index::target, INDEX.into()),
        ("image_layer", image_layer::target, (0..=255).collect()),
        ("image_manifest", image_manifest::target, MANIFEST.into()),
        ("image_pax", image_pax::target, b"14 path=a/b/c\n30 mtime=1350244992.023960108\n".into()),
        ("image_runtime_config", image_runtime_config::target, IMAGE.into()),
        ("image_tar", image_tar::target, tar.into_inner().unwrap()),
        ("mount_options", mount_options::target, b"ro,size=64k,idmap=uids=0-1-2,rbind,mode=0755".into()),
        ("seccomp", seccomp::target, loaded["linux"]["seccomp"].to_string().into()),
    ]
}

/// The same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// With a byte changed, with a piece gone, with a piece twice, cut off, or something else altogether.
fn damaged(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (one, other) = (numbers.below(bytes.len()), numbers.below(bytes.len()));
    let piece = one.min(other)..one.max(other);
    match numbers.below(5) {
        0 => bytes[one] = numbers.below(256) as u8,
        1 => drop(bytes.drain(piece)),
        2 => {
            let piece = bytes[piece].to_vec();
            bytes.splice(other..other, piece);
        }
        3 => bytes.truncate(one),
        _ => bytes = (0..one).map(|_| numbers.below(256) as u8).collect(),
    }
    bytes
}

#[test]
fn every_target_holds() {
    for (_, target, bytes) in targets() {
        let mut numbers = Numbers(1);
        target(&bytes);
        target(b"");
        for _ in 0..300 {
            target(&damaged(&bytes, &mut numbers));
        }
    }
}

#[test]
fn every_target_is_here_and_in_the_manifest() {
    let here: BTreeSet<_> = targets().iter().map(|(name, ..)| (*name).to_owned()).collect();
    let files = fs::read_dir("fuzz/fuzz_targets").unwrap();
    let files: BTreeSet<_> =
        files.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(files, here);
    let manifest = fs::read_to_string("fuzz/Cargo.toml").unwrap();
    let bins = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""));
    assert_eq!(bins.map(str::to_owned).collect::<BTreeSet<_>>(), here);
}
