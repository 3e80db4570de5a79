//! Unpacking the image set into memory: time, CPU and the largest process, beside what no unpacking can be faster than.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};

use crate::Result;
use crate::parts::memory::Usage;
use crate::parts::tools::{IMAGES, Image, images};
use crate::rest::rest;
use crate::results::Row;

pub const CPU: &str = "CPU";
pub const PEAK: &str = "largest process";
/// Sizes of an image's layers.
pub const PACKED: &str = "compressed";
pub const UNPACKED: &str = "layers";

pub fn measure(rounds: usize) -> Result<Vec<Row>> {
    let images = images();
    if !images.join(".complete").exists() {
        return Err("the image set is not built".into());
    }
    let dir = tempfile::Builder::new().prefix("keg-bench.").tempdir()?;
    // In a mount namespace of this process's own: it goes with it.
    mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let mut rows = Vec::new();
    for (name, _) in IMAGES {
        let image = Image::load(&images, name)?;
        image.warm()?;
        let (packed, unpacked) = image.sizes()?;
        let size = |name: &str, bytes: u64| Row::new(image.name, name, "MB").with(vec![bytes as f64 / 1e6]);
        rows.extend([size(PACKED, packed), size(UNPACKED, unpacked)]);
        rows.extend(compare(&image, dir.path(), rounds)?);
    }
    nix::mount::umount(dir.path())?;
    Ok(rows)
}

/// A tool or a limit, and what it has to show so far.
struct Subject {
    name: &'static str,
    words: Vec<String>,
    runs: usize,
    usages: Vec<Usage>,
    why: String,
}

/// All tools in turn, several times over; the limits half as often.
fn compare(image: &Image, dir: &Path, rounds: usize) -> Result<Vec<Row>> {
    let place = dir.join("unpacked");
    let subject =
        |runs| move |(name, words)| Subject { name, words, runs, usages: Vec::new(), why: String::new() };
    let tools = image.tools(&place)?.into_iter().map(subject(rounds));
    let limits = image.limits(&place)?.into_iter().map(subject(rounds.div_ceil(2)));
    let mut subjects: Vec<Subject> = tools.chain(limits).collect();
    for round in 0..rounds {
        for subject in &mut subjects {
            if round >= subject.runs || !subject.why.is_empty() {
                continue;
            }
            rest();
            match once(&subject.words, dir) {
                Ok(usage) => subject.usages.push(usage),
                Err(error) => subject.why = error.to_string(),
            }
            if place.exists() {
                fs::remove_dir_all(&place)?;
            }
        }
    }
    Ok(subjects.iter().flat_map(|subject| rows(image, subject)).collect())
}

fn rows(image: &Image, subject: &Subject) -> [Row; 3] {
    let of = |workload: &str, unit: &str, value: fn(&Usage) -> f64| {
        Row::new(workload, subject.name, unit).with(subject.usages.iter().map(value).collect())
    };
    [
        of(image.name, "s", |usage| usage.wall).noting(subject.why.as_str()),
        of(&format!("{}: {CPU}", image.name), "s", |usage| usage.cpu),
        of(&format!("{}: {PEAK}", image.name), "KiB", |usage| usage.peak),
    ]
}

fn once(words: &[String], dir: &Path) -> Result<Usage> {
    let file = dir.join("usage");
    let said = dir.join("said");
    let mut command = Command::new(std::env::current_exe()?.with_file_name("usage"));
    command
        .arg(&file)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said)?);
    match command.status()?.success() {
        true => Usage::read(&file),
        false => {
            let text = fs::read_to_string(&said)?;
            let line = text.lines().last().unwrap_or("(nothing said)").trim();
            Err(line.to_owned().into())
        }
    }
}
