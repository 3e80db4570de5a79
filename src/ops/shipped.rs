//! The hooks that keg ships, for who makes a config.json: where their programs are, what they need on the host; and, for `check`, whether
//! all of that is there.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::Result;
use crate::plan::{Finding, Severity};
use crate::spec::shipped::{self, Additions, Point, Takes, WantedHook};
use crate::spec::{self, Hook, Spec};
use crate::sys::error::describe_io;
use crate::sys::seal;

/// Where programs are that only others call.
const LIBEXEC: &str = "/usr/libexec/keg";

/// Why a hook cannot be had.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("hook {0}: no {1} beside keg, in PATH or in {LIBEXEC}")]
    Missing(&'static str, String),
    #[error("hook {0}: {1:?}")]
    File(&'static str, PathBuf, #[source] io::Error),
    #[error("hook {0}: {1:?} is no text that config.json can hold")]
    Text(&'static str, PathBuf),
    #[error("hook {0}: given twice")]
    Twice(&'static str),
}

/// What config.json gets, and the files that were made for it; those are gone when this is dropped, unless they are kept.
#[derive(Debug, Default)]
pub struct Placed {
    /// For config.json.
    pub additions: Additions,
    made: Vec<PathBuf>,
}

impl Placed {
    /// There is a config.json that needs the files. Those hooks that are called inside a container append to them as its user.
    pub fn keep(mut self, bundle: &Path) -> Result<()> {
        if let Some(owner) = self.made.first().map(|_| user_of(bundle)).transpose()? {
            let own =
                |file: &PathBuf| fs::metadata(file).is_ok_and(|about| (about.uid(), about.gid()) == owner);
            for file in self.made.iter().filter(|file| !own(file)) {
                chown(file, Some(owner.0), Some(owner.1))
                    .map_err(|error| Error::File("trace", file.clone(), error))?;
            }
        }
        self.made.clear();
        Ok(())
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // What somebody else has removed is gone as well.
        self.made.iter().for_each(|file| fs::remove_file(file).unwrap_or_default());
    }
}

/// The ids of a bundle's program. In a user namespace they are not the host's, and whoever called keg has the right ones.
fn user_of(bundle: &Path) -> Result<(u32, u32)> {
    let loaded = spec::load(&super::bundle::read_config(bundle)?)?;
    let maps = loaded.spec.linux().as_ref().and_then(|linux| linux.uid_mappings().as_ref());
    let own = (crate::sys::credentials::effective_uid().0, crate::sys::credentials::effective_gid().0);
    match (loaded.spec.process(), maps.is_none_or(Vec::is_empty)) {
        (Some(process), true) => Ok((process.user().uid(), process.user().gid())),
        _ => Ok(own),
    }
}

/// Finds the programs and files of the hooks that are wanted.
pub fn place(wanted: &[WantedHook]) -> Result<Placed> {
    let mut placed = Placed::default();
    for (at, WantedHook { hook, config }) in wanted.iter().enumerate() {
        let name = hook.name;
        if wanted[..at].iter().any(|earlier| earlier.hook == *hook) {
            return Err(Error::Twice(name).into());
        }
        let program = format!("{}{name}", shipped::PREFIX);
        let path = find(&program).ok_or(Error::Missing(name, program))?;
        for file in config.iter().flat_map(|config| hook.takes.files(config)) {
            let failed = |error| Error::File(name, file.to_owned(), error);
            match hook.takes {
                Takes::Networks => fs::metadata(file).map(drop).map_err(failed)?,
                Takes::Output if make(file).map_err(failed)? => placed.made.push(file.to_owned()),
                Takes::Output => {}
            }
        }
        let path = path.to_str().ok_or_else(|| Error::Text(name, path.clone()))?;
        placed.additions.add(hook, path, config.as_deref());
    }
    Ok(placed)
}

/// Makes a file that is not there; whether it did.
fn make(file: &Path) -> io::Result<bool> {
    match fs::OpenOptions::new().append(true).create_new(true).open(file) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::OpenOptions::new().append(true).open(file).map(|_| false)
        }
        Err(error) => Err(error),
    }
}

/// Beside keg, in PATH, where programs are that only others call.
fn find(program: &str) -> Option<PathBuf> {
    let own = seal::own_directory();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    let places = own.into_iter().chain(path).chain([PathBuf::from(LIBEXEC)]);
    places.map(|dir| dir.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

const ADVICE: &str =
    "`make build` makes the hooks that keg ships; `keg spec --hook NAME` shows where they are found";

/// What is wrong with the hooks of a config.json: programs that are not there, and more of those that keg ships.
pub(super) fn findings(spec: &Spec) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(hooks) = spec.hooks() else { return found };
    #[allow(deprecated)]
    let prestart = hooks.prestart();
    for (point, list) in [
        (Point::Prestart, prestart),
        (Point::CreateRuntime, hooks.create_runtime()),
        (Point::CreateContainer, hooks.create_container()),
        (Point::StartContainer, hooks.start_container()),
        (Point::Poststart, hooks.poststart()),
        (Point::Poststop, hooks.poststop()),
    ] {
        for (n, hook) in list.iter().flatten().enumerate() {
            found.extend(finding(hook, point, &format!("hooks.{}[{n}]", point.name())));
        }
    }
    found
}

fn finding(hook: &Hook, point: Point, place: &str) -> Option<Finding> {
    let error =
        |part: &str, what, advice| Finding { advice, ..Finding::error(format!("{place}.{part}"), what) };
    let program = hook.path();
    // One that is called inside the container is looked for there; if it comes by a mount, the mount's source is looked at.
    let missing = point != Point::StartContainer && program.is_absolute() && !is_program(program);
    match shipped::recognise(program) {
        Some(Err(name)) => {
            let what = format!("keg ships no hook {name:?}, known are {}", shipped::names());
            let severity = if missing { Severity::Error } else { Severity::Warning };
            Some(Finding { severity, ..error("path", what, "correct the name") })
        }
        None if missing => {
            let what = format!("{program:?} is no program that can be executed");
            Some(error("path", what, "correct the path, or leave the hook out"))
        }
        Some(Ok(hook)) if missing => {
            Some(error("path", format!("the hook {}: {program:?} is not there", hook.name), ADVICE))
        }
        Some(Ok(known)) if !known.points.contains(&point) => {
            let points: Vec<_> = known.points.iter().map(|point| point.name()).collect();
            let what = format!("the hook {} is for {}", known.name, points.join(" and "));
            Some(error("path", what, "`keg spec --hook NAME` puts it where it belongs"))
        }
        Some(Ok(known)) if point != Point::StartContainer => {
            let missing = |file: &Path| {
                // What is written is made by the first call.
                let there = if known.takes == Takes::Output { file.parent()? } else { file };
                let problem = describe_io(&fs::metadata(there).err()?);
                Some(format!("the hook {}: {there:?}: {problem}", known.name))
            };
            let what = known.takes.files(config(hook, known.takes)?).find_map(missing)?;
            Some(error("args", what, "name a file that is there, or leave the hook out"))
        }
        _ => None,
    }
}

/// The CONFIG among its arguments.
fn config(hook: &Hook, takes: Takes) -> Option<&str> {
    let flag = match takes {
        Takes::Networks => "--config",
        Takes::Output => "--file",
    };
    let args = hook.args().as_deref()?;
    args.iter().skip_while(|word| *word != flag).nth(1).map(String::as_str)
}
