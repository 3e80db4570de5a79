//! What can be typed for images: `unpack`, `inspect`, and the flags with which `create` and `run` take an image instead of a bundle;
//! and how the rooms for images and for containers are brought together, neither of which knows the other.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;

use super::args::absolute;
use super::commands::{Command, Typed};
use super::limits::{DocumentLimits, LimitFlags};
use super::progress::{Display, Style};
use super::timing::TimingFlag;
use crate::image::{self, Changes, ImageRef, Platform, Report, UnpackOptions, private};
use crate::ops::options::{CreateOptions, DeleteOptions, RunOptions, WantedHook};
use crate::ops::{self, Place};
use crate::plan;
use crate::types::ContainerId;

/// How an image is chosen and unpacked.
#[derive(Debug, Default, clap::Args)]
pub struct UnpackFlags {
    /// For which platform, as os[(version[+feature...])]/architecture[/variant] [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = Platform::from_str)]
    platform: Option<Platform>,
    /// What to show on stderr meanwhile: auto, plain, json or none
    #[arg(long, value_name = "STYLE", value_parser = Style::parse, default_value = "auto")]
    progress: Style,
    /// Have everything on the disk before the bundle appears
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    limits: LimitFlags,
    /// Have a hook that keg ships called: cni[=NETWORK,...] or trace=FILE
    #[arg(long, value_name = "NAME[=CONFIG]", value_parser = WantedHook::from_str, action = clap::ArgAction::Append)]
    hook: Vec<WantedHook>,
    /// An annotation of the container, for its hooks and for whoever asks for its state
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation, action = clap::ArgAction::Append)]
    annotation: Vec<(String, String)>,
}

impl UnpackFlags {
    fn options(self, image: ImageRef, bundle: PathBuf, changes: Changes) -> UnpackOptions {
        let limits = self.limits.limits();
        let changes = Changes { annotations: self.annotation, ..changes };
        UnpackOptions { image, bundle, platform: self.platform, limits, sync: self.sync, changes }
    }
}

/// `unpack`
#[derive(Debug, clap::Args)]
pub struct UnpackArgs {
    /// An OCI image layout, and which of its images: LAYOUT, LAYOUT:REF or LAYOUT@DIGEST
    #[arg(long, value_name = "IMAGE", value_parser = ImageRef::from_str)]
    image: ImageRef,
    #[command(flatten)]
    flags: UnpackFlags,
    /// Show nothing
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    timing: TimingFlag,
    /// The directory to make
    #[arg(value_parser = absolute())]
    bundle: PathBuf,
}

/// `unpack`, as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpack {
    /// What and where.
    pub options: UnpackOptions,
    /// Hooks of the new bundle.
    pub hooks: Vec<WantedHook>,
    /// What to show meanwhile.
    pub progress: Style,
    /// Say nothing afterwards either.
    pub quiet: bool,
}

impl Typed for UnpackArgs {
    fn meant(self) -> Command {
        let progress = if self.quiet { Style::None } else { self.flags.progress };
        let hooks = self.flags.hook.clone();
        let options = self.flags.options(self.image, self.bundle, Changes::default());
        let command = Command::Unpack(Box::new(Unpack { options, hooks, progress, quiet: self.quiet }));
        self.timing.around("unpack", command)
    }
}

/// `inspect`
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct InspectArgs {
    /// Show it as a JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    limits: DocumentLimits,
    /// An OCI image layout, or one thing in it: LAYOUT, LAYOUT:REF or LAYOUT@DIGEST
    #[arg(value_parser = ImageRef::from_str)]
    pub image: ImageRef,
}

impl Typed for InspectArgs {
    fn meant(self) -> Command {
        Command::Inspect(self)
    }
}

/// Of `create` and `run`: an image at the place of a bundle.
#[derive(Debug, Default, clap::Args)]
pub struct ImageFlags {
    /// Unpack this image and make the container of it, instead of a bundle: LAYOUT, LAYOUT:REF or LAYOUT@DIGEST. What follows `ID --`
    /// takes the place of the arguments that the image has
    #[arg(long, value_name = "IMAGE", value_parser = ImageRef::from_str, conflicts_with = "bundle")]
    image: Option<ImageRef>,
    /// Leave the bundle that was made of the image when the container is removed
    #[arg(long)]
    keep_bundle: bool,
    /// Give the program of the image a terminal
    #[arg(long, short)]
    tty: bool,
    #[command(flatten)]
    flags: UnpackFlags,
    #[arg(long, hide = true, action = clap::ArgAction::Append)]
    args: Vec<String>,
}

/// An image that is to become a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromImage {
    /// What to unpack. Where to is not decided here.
    pub options: UnpackOptions,
    /// Hooks of the container.
    pub hooks: Vec<WantedHook>,
    /// What to show meanwhile.
    pub progress: Style,
    /// Leave the bundle when the container is removed.
    pub keep_bundle: bool,
}

/// An image, none, or flags that mean nothing without one.
pub type MaybeImage = Result<Option<FromImage>, &'static str>;

impl ImageFlags {
    /// What they ask for.
    pub fn meant(self) -> MaybeImage {
        let progress = self.flags.progress;
        let Some(image) = self.image else {
            let unused = [
                (!self.args.is_empty(), "arguments after \"--\" are for a container of an --image"),
                (self.keep_bundle, "--keep-bundle is for a container of an --image"),
                (self.tty, "--tty is for a container of an --image"),
                (
                    !self.flags.hook.is_empty(),
                    "--hook is for a container of an --image; for a bundle `keg spec` has it",
                ),
                (
                    !self.flags.annotation.is_empty(),
                    "--annotation is for a container of an --image; a bundle has them in config.json",
                ),
            ];
            return unused.iter().find(|(given, _)| *given).map_or(Ok(None), |(_, why)| Err(why));
        };
        let changes = Changes { args: self.args, terminal: self.tty, ..Changes::default() };
        let hooks = self.flags.hook.clone();
        let options = self.flags.options(image, PathBuf::new(), changes);
        Ok(Some(FromImage { options, hooks, progress, keep_bundle: self.keep_bundle }))
    }
}

/// `unpack`; gives what to print.
pub fn unpack(unpack: &Unpack) -> ops::Result<String> {
    let (report, _) = unpack_to(unpack.options.clone(), &unpack.hooks, Display::new(unpack.progress))?;
    Ok(match unpack.progress {
        _ if unpack.quiet => String::new(),
        Style::Json => as_json(&report),
        _ => report.to_string(),
    })
}

fn unpack_to(
    mut options: UnpackOptions,
    hooks: &[WantedHook],
    mut display: Display,
) -> ops::Result<(Report, OwnedFd)> {
    let profile = plan::default_profile()?;
    let mut placed = ops::shipped::place(hooks)?;
    options.changes.additions = std::mem::take(&mut placed.additions);
    let unpacked = image::unpack(&options, Some(profile), &mut |progress| display.show(progress));
    display.end();
    let unpacked = unpacked?;
    placed.keep(&options.bundle)?;
    Ok(unpacked)
}

fn as_json(report: &Report) -> String {
    let Report { image, layers, compressed, uncompressed, entries, notes, .. } = report;
    let document = serde_json::json!({
        "image": image, "digest": report.digest.to_string(), "platform": report.platform.to_string(), "layers": layers,
        "compressed": compressed, "uncompressed": uncompressed, "entries": entries, "notes": notes,
        "seconds": report.duration.as_secs_f64(),
    });
    format!("{document}\n")
}

/// `inspect`; gives what to print.
pub fn inspect(args: &InspectArgs) -> ops::Result<String> {
    let found = image::inspect(&args.image, &args.limits.limits())?;
    Ok(if args.json { serde_json::to_string_pretty(&found)? + "\n" } else { found.to_string() })
}

/// The exit status of a command that a signal has ended.
pub fn interrupted(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    match error.downcast_ref() {
        Some(image::Error::Interrupted(signal)) => u8::try_from(128 + signal.number()).ok(),
        _ => None,
    }
}

/// `create`, of a bundle or of an image.
pub fn create(place: &Place, options: &CreateOptions, image: &MaybeImage) -> ops::Result<()> {
    match image.as_ref().map_err(|why| *why)? {
        None => ops::create::create(place, options),
        Some(from) => {
            let (bundle, _held) = bundle(place, &options.id, from)?;
            let options = CreateOptions { bundle, ..options.clone() };
            let done = ops::create::create(place, &options);
            if done.is_err() {
                dispose(place, &options.id, from)?;
            }
            done
        }
    }
}

/// `run`, of a bundle or of an image, whose bundle goes when the container goes.
pub fn run(place: &Place, options: &RunOptions, image: &MaybeImage) -> ops::Result<i32> {
    match image.as_ref().map_err(|why| *why)? {
        None => ops::run::run(place, options),
        Some(from) => {
            let id = &options.create.id;
            let (bundle, _held) = bundle(place, id, from)?;
            let create = CreateOptions { bundle, ..options.create.clone() };
            let status = ops::run::run(place, &RunOptions { create, ..options.clone() });
            if status.is_err() || !(options.detach || options.keep) {
                dispose(place, id, from)?;
            }
            status
        }
    }
}

/// `delete`, with the bundle that was made for the container.
pub fn delete(place: &Place, options: &DeleteOptions) -> ops::Result<()> {
    ops::delete::delete(place, options)?;
    Ok(private::remove(&place.root, &options.id, options.force)?)
}

/// Unpacks the image for this container. While what is given with the bundle is open nobody takes the bundle for a leftover.
fn bundle(place: &Place, id: &ContainerId, from: &FromImage) -> ops::Result<(PathBuf, Option<OwnedFd>)> {
    let bundle = private::place(&place.root, id, from.keep_bundle)?;
    let is_used = || ops::state::state(place, id).is_ok();
    // One that exists has its bundle, and `ops` says that it exists.
    if is_used() {
        return Ok((bundle, None));
    }
    if !from.keep_bundle {
        private::make_room(&bundle, is_used)?;
    }
    let options = UnpackOptions { bundle: bundle.clone(), ..from.options.clone() };
    match unpack_to(options, &from.hooks, Display::discreet(from.progress)) {
        Ok((_, held)) => Ok((bundle, Some(held))),
        Err(error) => {
            if !from.keep_bundle {
                private::make_room(&bundle, is_used)?;
            }
            private::tidy(&place.root)?;
            Err(error)
        }
    }
}

/// Removes a bundle that no container has.
fn dispose(place: &Place, id: &ContainerId, from: &FromImage) -> ops::Result<()> {
    if !from.keep_bundle && ops::state::state(place, id).is_err() {
        private::remove(&place.root, id, false)?;
    }
    Ok(())
}

/// `KEY=VALUE`
fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("no annotation: KEY=VALUE".to_owned()),
    }
}
