//! `update`: other limits for a container that is there.

use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::options::{Limits, UpdateOptions};
use super::{Place, Result, own_cgroup, probe};
use crate::state::Store;
use crate::sys::fd::{self, Resolve};
use crate::sys::proc::Proc;
use crate::{cgroup, plan, resctrl, spec, sys};

/// The limits could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the resources {0:?}")]
struct Unreadable(PathBuf, #[source] sys::Error);

/// A limit makes no sense, or cannot be had here. The document is the resources part of a config.json, and so are its paths.
#[derive(Debug, thiserror::Error)]
#[error("resources: {path}: {problem}")]
struct Refused {
    path: String,
    problem: String,
}

impl From<plan::Error> for Refused {
    fn from(plan::Error { path, problem }: plan::Error) -> Self {
        let inner = path.strip_prefix("linux.resources.").map(str::to_owned);
        Self { path: inner.unwrap_or(path), problem }
    }
}

/// Sets the limits that are named, and no others.
pub fn update(place: &Place, options: &UpdateOptions) -> Result<()> {
    let resources = spec::load_resources(&document(&options.limits)?)?;
    let container = Store::open(&place.root)?.lock(&options.id)?;
    let record = container.record()?;
    let proc = Proc::host()?;
    container.state(&record, &proc)?.to_signal()?;
    if !options.schemata.is_empty() {
        resctrl::update(record.resctrl.as_ref(), &options.schemata)?;
    }
    let cgroup = own_cgroup(&record)?;
    let user = place.gives_way(&probe::without_cgroups(&proc)?);
    if user && resources.devices().is_some() {
        place.note(cgroup::NO_DEVICE_RULES);
    }
    let host = cgroup::probe(cgroup::Look::Thorough)?;
    let plan = plan::cgroup::update(&resources, cgroup, &host, user).map_err(Refused::from)?;
    Ok(cgroup::update(&plan)?)
}

fn document(limits: &Limits) -> Result<Vec<u8>> {
    let path = match limits {
        Limits::Document(text) => return Ok(text.clone().into_bytes()),
        Limits::File(path) => path,
    };
    let bytes = match path == Path::new("-") {
        true => fd::read_all(std::io::stdin(), spec::MAX_SIZE),
        false => fd::open(fd::cwd(), path, Resolve::Host, OFlag::O_RDONLY | OFlag::O_NOCTTY, 0)
            .and_then(|file| fd::read_all(file, spec::MAX_SIZE)),
    };
    Ok(bytes.map_err(|source| Unreadable(path.clone(), source))?)
}
