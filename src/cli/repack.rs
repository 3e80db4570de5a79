//! What can be typed for `repack`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ArgAction;

use super::args::absolute;
use super::commands::{Command, Typed};
use super::limits::LimitFlags;
use super::progress::{Display, Style};
use crate::image::{self, ImageRef, LayerCompression, RepackOptions, Repacked, Wanted};
use crate::ops;

/// `repack`
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct RepackArgs {
    /// The layout to write to, made if it is not there, and the name of the new image in it: LAYOUT[:REF]
    #[arg(long, value_name = "IMAGE", value_parser = ImageRef::from_str)]
    image: ImageRef,
    /// A further name of the new image
    #[arg(long, value_name = "REF", action = ArgAction::Append)]
    tag: Vec<String>,
    /// Who made the image
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// When it was made, as 2006-01-02T15:04:05Z [default: $SOURCE_DATE_EPOCH, or now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    created: Option<String>,
    /// What made it [default: keg repack]
    #[arg(long, value_name = "COMMAND")]
    created_by: Option<String>,
    /// What there is to say about it
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// How the new layer is compressed: gzip or zstd
    #[arg(long, value_name = "HOW", value_parser = compression, default_value = "gzip")]
    compression: LayerCompression,
    /// Have everything on the disk before the names are given
    #[arg(long)]
    sync: bool,
    /// What to show on stderr meanwhile: auto, plain, json or none
    #[arg(long, value_name = "STYLE", value_parser = Style::parse, default_value = "auto")]
    progress: Style,
    #[command(flatten)]
    limits: LimitFlags,
    /// Show nothing
    #[arg(long, short)]
    quiet: bool,
    /// The bundle, as `unpack` made it and somebody has changed it
    #[arg(value_parser = absolute())]
    bundle: PathBuf,
}

impl Typed for RepackArgs {
    fn meant(self) -> Command {
        Command::Repack(Box::new(self))
    }
}

/// What was typed is not enough, or makes no sense.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("a new image has no digest yet: give it a name, as LAYOUT:REF or with --tag")]
    NoName,
    #[error("SOURCE_DATE_EPOCH is {0:?}: no number of seconds")]
    Epoch(String),
}

/// The end of the year 9999: RFC 3339 has no later ones.
const LAST_SECOND: i64 = 253_402_300_799;

/// `repack`; gives what to print.
pub fn repack(args: &RepackArgs) -> ops::Result<String> {
    let mut tags = Vec::new();
    match &args.image.wanted {
        Wanted::Name(name) => tags.push(name.clone()),
        Wanted::Only if !args.tag.is_empty() => {}
        Wanted::Only | Wanted::Digest(_) => return Err(Error::NoName.into()),
    }
    tags.extend(args.tag.iter().filter(|tag| !tag.is_empty()).cloned());
    let epoch = match std::env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty()) {
        None => None,
        Some(value) => {
            let text = value.to_string_lossy().into_owned();
            Some(
                text.parse()
                    .ok()
                    .filter(|epoch| (0..=LAST_SECOND).contains(epoch))
                    .ok_or(Error::Epoch(text))?,
            )
        }
    };
    let options = RepackOptions {
        bundle: args.bundle.clone(),
        layout: args.image.layout.clone(),
        tags,
        author: args.author.clone(),
        created: args.created.clone(),
        created_by: args.created_by.clone(),
        comment: args.comment.clone(),
        compression: args.compression,
        epoch,
        limits: args.limits.limits(),
        sync: args.sync,
    };
    let mut display = Display::new(if args.quiet { Style::None } else { args.progress });
    let done = image::repack(&options, &mut |progress| display.show(progress));
    display.end();
    let done = done?;
    Ok(match args.progress {
        _ if args.quiet => String::new(),
        Style::Json => as_json(&options, &done),
        _ => done.to_string(),
    })
}

fn as_json(options: &RepackOptions, done: &Repacked) -> String {
    let layer = done.layer.as_ref();
    let layer = layer.map(|(deleted, entries, size)| {
        serde_json::json!({"deleted": deleted, "entries": entries, "compressed": size})
    });
    let document = serde_json::json!({
        "layout": options.layout.display().to_string(), "tags": options.tags, "digest": done.digest.to_string(), "layer": layer, "notes": done.notes,
    });
    format!("{document}\n")
}

fn compression(text: &str) -> Result<LayerCompression, String> {
    match text {
        "gzip" => Ok(LayerCompression::Gzip),
        "zstd" => Ok(LayerCompression::Zstd),
        _ => Err("neither gzip nor zstd".to_owned()),
    }
}

/// RFC 3339, by its form.
fn moment(text: &str) -> Result<String, String> {
    let form: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    let rest = form.strip_prefix("0000-00-00T00:00:00").map(|rest| match rest.strip_prefix('.') {
        Some(fraction) if fraction.starts_with('0') => fraction.trim_start_matches('0'),
        _ => rest,
    });
    match rest {
        Some("Z" | "+00:00" | "-00:00") => Ok(text.to_owned()),
        _ => Err("no time like 2006-01-02T15:04:05Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn moments() {
        for good in ["2006-01-02T15:04:05Z", "2006-01-02T15:04:05.123Z", "2006-01-02T15:04:05+01:00"] {
            assert!(moment(good).is_ok(), "{good}");
        }
        for bad in
            ["", "2006-01-02", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z", "2006-01-02T15:04:05.Z", "now"]
        {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
